//! The flows that are not the same, a line each.

use std::io::{self, Write};

use super::super::flow_line;
use crate::observe::Record;
use crate::snapshot::diff::Change;
use crate::snapshot::record::write_flow;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `+` new, `-` gone, `%` re-created, `~` changed; the last two are two lines, before and after.
    Text,
    /// One object a line.
    Jsonl,
}

/// Writes flows as they are found. Past the first line that cannot be written nothing is.
pub(crate) struct Lines<W: Write> {
    form: Form,
    out: W,
    line: Vec<u8>,
    written: io::Result<()>,
}

impl<W: Write> Lines<W> {
    pub(crate) fn new(form: Form, out: W) -> Self {
        Self {
            form,
            out,
            line: Vec::new(),
            written: Ok(()),
        }
    }

    pub(crate) fn write(&mut self, change: &Change<'_>) {
        if self.written.is_err() {
            return;
        }
        self.line.clear();
        match (self.form, change) {
            (Form::Text, Change::New(flow)) => self.text("+ ", flow),
            (Form::Text, Change::Gone(flow)) => self.text("- ", flow),
            (Form::Text, Change::Recreated(old, new)) => {
                self.text("%- ", old);
                self.text("%+ ", new);
            }
            (Form::Text, Change::Changed(old, new)) => {
                self.text("~- ", old);
                self.text("~+ ", new);
            }
            (Form::Jsonl, Change::New(flow)) => self.json("new", None, Some(flow)),
            (Form::Jsonl, Change::Gone(flow)) => self.json("gone", Some(flow), None),
            (Form::Jsonl, Change::Recreated(old, new)) => {
                self.json("recreated", Some(old), Some(new));
            }
            (Form::Jsonl, Change::Changed(old, new)) => self.json("changed", Some(old), Some(new)),
        }
        self.written = self.out.write_all(&self.line);
    }

    fn text(&mut self, sign: &str, flow: &Record<'_>) {
        self.line.extend_from_slice(sign.as_bytes());
        flow_line::write(&mut self.line, flow);
    }

    /// Flows are as in a snapshot.
    fn json(&mut self, change: &str, before: Option<&Record<'_>>, after: Option<&Record<'_>>) {
        self.line.extend_from_slice(b"{\"change\":\"");
        self.line.extend_from_slice(change.as_bytes());
        self.line.push(b'"');
        for (name, flow) in [("before", before), ("after", after)] {
            let Some(flow) = flow else {
                continue;
            };
            self.line.extend_from_slice(b",\"");
            self.line.extend_from_slice(name.as_bytes());
            self.line.extend_from_slice(b"\":");
            write_flow(&flow.flow, &flow.extra, &mut self.line);
            // Its line end.
            self.line.pop();
        }
        self.line.extend_from_slice(b"}\n");
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.written?;
        self.out.flush()
    }
}
