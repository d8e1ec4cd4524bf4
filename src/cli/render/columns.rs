//! Flows as rows of chosen columns. A row allocates nothing but what the buffer needs to grow.

use crate::column::{Column, Reader};
use crate::observe::Record;

/// What rows look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Values with a blank between them.
    Plain,
    /// The same in columns, below their names.
    Aligned,
    /// RFC 4180 with the line ends of Unix, below the names.
    Csv,
    /// A JSON object a row.
    Json,
}

/// A table that is written row by row.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    style: Style,
    columns: Vec<Column>,
    /// Each row begins with the network namespace.
    of_several: bool,
}

/// As wide as most names of namespaces.
const NETNS: (&str, usize) = ("netns", 12);

impl Rows {
    pub(crate) fn new(style: Style, columns: Vec<Column>, of_several: bool) -> Self {
        Self {
            style,
            columns,
            of_several,
        }
    }

    /// Appends the line of names, where this style has one.
    pub(crate) fn head(&self, out: &mut Vec<u8>) {
        let netns = self.of_several.then_some(NETNS);
        let columns = self.columns.iter().map(|column| {
            let description = column.description();
            (description.name, description.width)
        });
        let names = netns.into_iter().chain(columns);
        let mut cells = Cells::new(self.style, out);
        match self.style {
            Style::Plain | Style::Json => return,
            Style::Aligned => {
                let upper = |name: &str| name.to_ascii_uppercase();
                names.for_each(|(name, width)| {
                    cells.put(name, width, |out| {
                        out.extend_from_slice(upper(name).as_bytes());
                    });
                });
            }
            Style::Csv => names.for_each(|(name, width)| {
                cells.put(name, width, |out| out.extend_from_slice(name.as_bytes()));
            }),
        }
        cells.end();
    }

    /// Appends a flow's row.
    pub(crate) fn row(
        &self,
        out: &mut Vec<u8>,
        reader: &Reader,
        record: &Record<'_>,
        netns: Option<&str>,
    ) {
        let mut cells = Cells::new(self.style, out);
        if let (true, Some(name)) = (self.of_several, netns) {
            self.cell(&mut cells, NETNS, crate::column::Value::from(name));
        }
        for &column in &self.columns {
            let description = column.description();
            let head = (description.name, description.width);
            self.cell(&mut cells, head, reader.value(column, record));
        }
        cells.end();
    }

    fn cell(
        &self,
        cells: &mut Cells<'_>,
        (name, width): (&str, usize),
        value: crate::column::Value<'_>,
    ) {
        cells.put(name, width, |out| match self.style {
            Style::Plain | Style::Aligned => value.text(out),
            Style::Csv => value.csv(out),
            Style::Json => value.json(out),
        });
    }
}

/// One line while it is written.
struct Cells<'a> {
    style: Style,
    out: &'a mut Vec<u8>,
    is_first: bool,
    /// Where the next cell would begin if none before it were too wide.
    next: usize,
}

impl<'a> Cells<'a> {
    fn new(style: Style, out: &'a mut Vec<u8>) -> Self {
        let next = out.len();
        Self {
            style,
            out,
            is_first: true,
            next,
        }
    }

    fn put(&mut self, name: &str, width: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let out = &mut *self.out;
        let is_first = std::mem::take(&mut self.is_first);
        match self.style {
            Style::Aligned => {
                if !is_first {
                    out.extend_from_slice(b"  ");
                }
                // A cell that is too wide takes its room from those behind it.
                if out.len() < self.next {
                    out.resize(self.next, b' ');
                }
                self.next += width.max(name.len()) + 2;
            }
            Style::Plain if !is_first => out.push(b' '),
            Style::Csv if !is_first => out.push(b','),
            Style::Plain | Style::Csv => {}
            Style::Json => {
                out.extend_from_slice(if is_first { b"{\"" } else { b",\"" });
                // As snapshots and jq have it.
                out.extend(
                    name.bytes()
                        .map(|byte| if byte == b'-' { b'_' } else { byte }),
                );
                out.extend_from_slice(b"\":");
            }
        }
        write(out);
    }

    fn end(self) {
        if self.style == Style::Json {
            self.out.push(b'}');
        }
        self.out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Extra, Family, Flow, Protocol, Tuple};
    use crate::matcher::Context;
    use crate::observe::Header;

    fn written(style: Style, src: &str) -> String {
        let columns = vec![Column::Src, Column::Dport, Column::ReplySrc];
        let rows = Rows::new(style, columns, true);
        let src: std::net::IpAddr = src.parse().unwrap();
        let family = if src.is_ipv4() {
            Family::Ipv4
        } else {
            Family::Ipv6
        };
        let flow = Flow::new(family, Protocol::TCP, Tuple::new(src, src, 1, 443));
        let record = Record {
            flow,
            extra: Extra::default(),
            message: &[],
        };
        let header = Header::default();
        let reader = Reader::new(&Context::new(&header, &[], &[]));
        let mut out = b"before\n".to_vec();
        rows.head(&mut out);
        rows.row(&mut out, &reader, &record, Some("gw1"));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_style_has_its_head_and_its_separators() {
        for (style, text) in [
            (Style::Plain, "before\ngw1 10.0.0.1 443 -\n"),
            (
                Style::Aligned,
                "before\nNETNS         SRC              DPORT  REPLY-SRC\n\
                 gw1           10.0.0.1         443    -\n",
            ),
            (
                Style::Csv,
                "before\nnetns,src,dport,reply-src\ngw1,10.0.0.1,443,\n",
            ),
            (
                Style::Json,
                "before\n{\"netns\":\"gw1\",\"src\":\"10.0.0.1\",\"dport\":443,\"reply_src\":null}\n",
            ),
        ] {
            assert_eq!(written(style, "10.0.0.1"), text);
        }
    }

    #[test]
    fn a_wide_cell_takes_its_room_from_the_next() {
        let text = written(Style::Aligned, "2001:db8::1:2:3");
        let (wide, narrow) = (text, written(Style::Aligned, "2001:db8:10:20:30::1"));
        for (text, row) in [
            (wide, "gw1           2001:db8::1:2:3  443    -"),
            (narrow, "gw1           2001:db8:10:20:30::1  443  -"),
        ] {
            assert_eq!(text.lines().last(), Some(row));
        }
    }
}
