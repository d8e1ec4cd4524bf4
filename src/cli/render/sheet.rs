//! A small table: aligned text, Markdown or CSV.

use std::io::{self, Write};

use anstyle::Style;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Words: to the left.
    Words,
    /// Numbers: to the right.
    Number,
}

/// Columns with a head each, and rows.
#[derive(Clone, Debug)]
pub(crate) struct Sheet {
    heads: Vec<(String, Kind)>,
    rows: Vec<Vec<String>>,
}

const DIM: Style = Style::new().dimmed();

impl Sheet {
    pub(crate) fn new(heads: impl IntoIterator<Item = (String, Kind)>) -> Self {
        Self {
            heads: heads.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.heads.len());
        self.rows.push(cells);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes it aligned, each line after `indent`.
    pub(crate) fn text(&self, out: &mut impl Write, indent: &str) -> io::Result<()> {
        let widths: Vec<usize> = (self.heads.iter().enumerate())
            .map(|(column, (head, _))| {
                let cells = self.rows.iter().map(|row| width(&row[column]));
                cells.chain([width(head)]).max().unwrap_or(0)
            })
            .collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for (cell, ((_, kind), width_)) in cells.zip(self.heads.iter().zip(&widths)) {
                let pad = " ".repeat(width_ - width(cell));
                if !line.is_empty() {
                    line.push_str("  ");
                }
                match kind {
                    Kind::Words => line.extend([cell, &pad]),
                    Kind::Number => line.extend([&pad, cell]),
                }
            }
            line.truncate(line.trim_end().len());
            line
        };
        let heads = line(&mut self.heads.iter().map(|(head, _)| head.as_str()));
        writeln!(out, "{indent}{DIM}{heads}{DIM:#}")?;
        for row in &self.rows {
            writeln!(out, "{indent}{}", line(&mut row.iter().map(String::as_str)))?;
        }
        Ok(())
    }

    /// Writes it as a table of GitHub's Markdown.
    pub(crate) fn markdown(&self, out: &mut impl Write) -> io::Result<()> {
        let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
        let heads: Vec<_> = self.heads.iter().map(|(head, _)| escaped(head)).collect();
        let rules: Vec<_> = (self.heads.iter())
            .map(|(_, kind)| match kind {
                Kind::Words => "---".to_owned(),
                Kind::Number => "---:".to_owned(),
            })
            .collect();
        writeln!(out, "{}\n{}", line(&heads), line(&rules))?;
        for row in &self.rows {
            let cells: Vec<_> = row.iter().map(|cell| escaped(cell)).collect();
            writeln!(out, "{}", line(&cells))?;
        }
        Ok(())
    }

    /// Writes it as RFC 4180 has it, with the line ends of Unix.
    pub(crate) fn csv(&self, out: &mut impl Write) -> io::Result<()> {
        let quoted = |cell: &String| {
            if cell.contains(['"', ',', '\n', '\r']) {
                format!("\"{}\"", cell.replace('"', "\"\""))
            } else {
                cell.clone()
            }
        };
        let heads: Vec<_> = self.heads.iter().map(|(head, _)| quoted(head)).collect();
        writeln!(out, "{}", heads.join(","))?;
        for row in &self.rows {
            writeln!(
                out,
                "{}",
                row.iter().map(quoted).collect::<Vec<_>>().join(",")
            )?;
        }
        Ok(())
    }
}

/// Columns on a terminal, where each character takes one.
fn width(text: &str) -> usize {
    text.chars().count()
}

/// Text of which Markdown makes nothing else.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '|' | '\\' | '`' | '*' | '[' | ']' | '~' => escaped.extend(['\\', character]),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\n' | '\r' => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::new([
            ("who".to_owned(), Kind::Words),
            ("flows".to_owned(), Kind::Number),
        ]);
        sheet.row(vec!["a|b, \"c\"".to_owned(), "7".to_owned()]);
        sheet.row(vec!["<x>".to_owned(), "1,234".to_owned()]);
        sheet
    }

    fn written(write: impl FnOnce(&Sheet, &mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&sheet(), &mut out).unwrap();
        anstream::adapter::strip_bytes(&out).to_string_lossy()
    }

    trait Lossy {
        fn to_string_lossy(self) -> String;
    }

    impl Lossy for anstream::adapter::StrippedBytes<'_> {
        fn to_string_lossy(self) -> String {
            String::from_utf8_lossy(&self.into_vec()).into_owned()
        }
    }

    #[test]
    fn text_is_aligned() {
        assert_eq!(
            written(|sheet, out| sheet.text(out, "  ")),
            "  who       flows\n  a|b, \"c\"      7\n  <x>       1,234\n"
        );
    }

    #[test]
    fn markdown_and_csv_keep_cells_apart() {
        assert_eq!(
            written(Sheet::markdown),
            "| who | flows |\n| --- | ---: |\n| a\\|b, \"c\" | 7 |\n| &lt;x&gt; | 1,234 |\n"
        );
        assert_eq!(
            written(Sheet::csv),
            "who,flows\n\"a|b, \"\"c\"\"\",7\n<x>,\"1,234\"\n"
        );
    }
}
