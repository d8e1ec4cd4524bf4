//! `-L`: entries as they come, in the order of the table as the tool shows them.

use std::io;

use super::printer::Printer;
use super::{Chosen, Stop, say_as_the_tool};
use crate::cli::pipe;
use crate::conntrack::filter::Filter;
use crate::conntrack::line::Table;
use crate::conntrack::options::{Given, Verb};
use crate::kernel::direct::{Direct, Special};
use crate::kernel::{Live, aside};
use crate::observe::{Dumped, Observe, Record, Visit};

/// Lines go out by this many bytes.
const BATCH: usize = 64 << 10;

pub(super) fn run(chosen: &Chosen<'_>) -> Result<u8, Stop> {
    pipe::widen();
    let filter = Filter::looking(chosen.line, chosen.labels);
    let mut lines = Lines::new(chosen);
    let mut written = Ok(());
    let mut count = 0;
    let dumped = dump(chosen, &mut |record: &Record<'_>| {
        if !filter.matches(&record.flow, &record.extra) {
            return;
        }
        count += 1;
        if written.is_ok() {
            lines.entry(record);
            // Whoever waits sees the first at once.
            if lines.out.len() >= BATCH || count == 1 {
                written = lines.write();
            }
        }
    });
    let written = written.and_then(|()| lines.end());
    let dumped = dumped?;
    written?;
    if chosen.line.states.invalid {
        crate::cli::terminal::say!(
            "note: no entry is INVALID: packets of that kind have none; `-S` counts them"
        );
    }
    say_as_the_tool(&format!("{count} flow entries have been shown."));
    complete(dumped)
}

/// Delivers what the line's table holds.
pub(super) fn dump(chosen: &Chosen<'_>, visitor: &mut dyn Visit) -> Result<Dumped, Stop> {
    let line = chosen.line;
    let special = match line.table {
        Table::Dying => Special::Dying,
        Table::Unconfirmed => Special::Unconfirmed,
        _ if line.given.contains(Given::ZERO) => Special::Zeroed,
        _ => return Ok(Live::default().loading().dump(&mut [visitor])?),
    };
    Direct::dump(special, None, visitor).map_err(|error| Stop::kernel(&error, Verb::List))
}

/// Whether all was seen; else it is said, and the exit code tells.
pub(super) fn complete(dumped: Dumped) -> Result<u8, Stop> {
    if dumped.undecoded > 0 {
        return Err(Stop::failed(format!(
            "{} entries could not be decoded and are missing here",
            dumped.undecoded
        )));
    }
    if dumped.resized {
        crate::cli::terminal::say!(
            "note: the hash table changed its size meanwhile: entries may be missing or doubled"
        );
    }
    Ok(0)
}

/// Lines that wait to be written.
struct Lines<'c> {
    printer: Printer<'c>,
    out: Vec<u8>,
}

impl<'c> Lines<'c> {
    fn new(chosen: &'c Chosen<'_>) -> Self {
        Self {
            printer: Printer::new(chosen),
            out: Vec::with_capacity(BATCH),
        }
    }

    fn entry(&mut self, record: &Record<'_>) {
        let aside = aside(record.message);
        self.printer.entry(&mut self.out, record, &aside, None);
    }

    fn write(&mut self) -> io::Result<()> {
        pipe::write(&self.out)?;
        self.out.clear();
        self.printer.tick();
        Ok(())
    }

    fn end(mut self) -> io::Result<()> {
        self.printer.end(&mut self.out);
        self.write()
    }
}
