//! Entries in the format that the line asks for.

use chrono::{DateTime, Datelike, Local, TimeZone, Timelike};

use super::Chosen;
use crate::conntrack::line::Output;
use crate::conntrack::print::xml::When;
use crate::conntrack::print::{Aside, Happened, Style, save, text, xml};
use crate::kernel::identity;
use crate::observe::Record;

/// Writes entries into a buffer.
pub(super) struct Printer<'c> {
    style: Style<'c>,
    output: Output,
    /// Where a document of many entries is concerned: whether its head was written.
    is_begun: bool,
}

impl<'c> Printer<'c> {
    pub(super) fn new(chosen: &'c Chosen<'_>) -> Self {
        let output = chosen.line.output;
        Self {
            style: Style {
                family: output.contains(Output::EXTENDED),
                id: output.contains(Output::ID),
                times: output.contains(Output::KTIMESTAMP),
                labels: chosen.map.as_ref(),
                happened: None,
                now: now(),
                local: ctime,
            },
            output,
            is_begun: false,
        }
    }

    /// The same without what stands around the elements of a document: the tool leaves it out of what
    /// it deleted or updated.
    pub(super) fn bare(chosen: &'c Chosen<'_>) -> Self {
        Self {
            is_begun: true,
            ..Self::new(chosen)
        }
    }

    /// Whether lines are commands that can be loaded.
    pub(super) fn saves(&self) -> bool {
        self.output.contains(Output::SAVE)
    }

    /// Looks at the clock anew.
    pub(super) fn tick(&mut self) {
        self.style.now = now();
    }

    /// Appends an entry, and a line end.
    pub(super) fn entry(
        &mut self,
        out: &mut Vec<u8>,
        record: &Record<'_>,
        aside: &Aside,
        happened: Option<Happened>,
    ) {
        self.style.happened = happened;
        let (flow, extra) = (&record.flow, &record.extra);
        if self.output.contains(Output::SAVE) {
            save::line(out, flow, extra, happened.unwrap_or(Happened::New));
        } else if self.output.contains(Output::XML) {
            if !std::mem::replace(&mut self.is_begun, true) {
                out.extend_from_slice(xml::HEAD.as_bytes());
            }
            let when = (happened.is_some() && self.output.contains(Output::TIMESTAMP)).then(when);
            xml::flow(out, flow, extra, aside, &self.style, when.as_ref());
        } else {
            text::line(out, flow, extra, aside, &self.style);
        }
        out.push(b'\n');
    }

    /// Appends what ends a document that was begun.
    pub(super) fn end(&self, out: &mut Vec<u8>) {
        if self.is_begun {
            out.extend_from_slice(xml::TAIL.as_bytes());
        }
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    identity::time_ns() / 1_000_000_000
}

/// Local time as C's `ctime` writes it, without the line end.
fn ctime(out: &mut Vec<u8>, seconds: i64) {
    let text = match Local.timestamp_opt(seconds, 0).earliest() {
        Some(time) => time.format("%a %b %e %H:%M:%S %Y").to_string(),
        None => seconds.to_string(),
    };
    out.extend_from_slice(text.as_bytes());
}

/// The present moment in local time.
pub(super) fn when() -> When {
    let now: DateTime<Local> = Local::now();
    When {
        year: u32::try_from(now.year()).unwrap_or(0),
        month: now.month(),
        day: now.day(),
        weekday: now.weekday().number_from_sunday(),
        hour: now.hour(),
        minute: now.minute(),
        second: now.second(),
    }
}
