//! `-L`: entries as they come.
//!
//! The thread that dumps spends its time in the kernel; another makes lines of what it got, where
//! there is a processor for it.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::printer::Printer;
use super::{Chosen, Stop, say_as_the_tool};
use crate::conntrack::filter::Filter;
use crate::conntrack::options::{Given, Verb};
use crate::conntrack::parse::Table;
use crate::kernel::decode::decode;
use crate::kernel::direct::{Direct, Special};
use crate::kernel::message::messages;
use crate::kernel::{Live, aside};
use crate::observe::{Dumped, Observe, Record, Visit};

/// Messages are handed over by this many bytes.
const BATCH: usize = 64 << 10;

/// Batches that may wait for the writer.
const WAITING: usize = 2;

pub(super) fn run(chosen: &Chosen<'_>) -> Result<u8, Stop> {
    // On one processor two threads would only take turns.
    let several = thread::available_parallelism().is_ok_and(|processors| processors.get() > 1);
    let (dumped, count) = if several {
        pass_on(chosen)?
    } else {
        print(chosen)?
    };
    if chosen.line.states.invalid {
        crate::cli::terminal::say!(
            "note: no entry is INVALID: packets of that kind have none; `-S` counts them"
        );
    }
    say_as_the_tool(&format!("{count} flow entries have been shown."));
    complete(dumped)
}

/// Prints in the thread that dumps.
fn print(chosen: &Chosen<'_>) -> Result<(Dumped, u64), Stop> {
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
    Ok((dumped, count))
}

/// Passes on to another thread what that prints.
fn pass_on(chosen: &Chosen<'_>) -> Result<(Dumped, u64), Stop> {
    let (full, waiting) = sync_channel(WAITING);
    let (back, empty) = channel();
    let (written, dumped, count) = thread::scope(|scope| {
        let writer = scope.spawn(move || write(chosen, &waiting, &back));
        let mut entries = Entries {
            filter: Filter::looking(chosen.line, chosen.labels),
            batch: Vec::new(),
            full: Some(full),
            empty,
            count: 0,
        };
        let dumped = dump(chosen, &mut entries);
        entries.hand_over();
        entries.full = None;
        let written = writer
            .join()
            .unwrap_or_else(|payload| std::panic::resume_unwind(payload));
        (written, dumped, entries.count)
    });
    let dumped = dumped?;
    written?;
    Ok((dumped, count))
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

/// Collects the messages of entries that the line is about.
struct Entries<'c> {
    filter: Filter<'c>,
    batch: Vec<u8>,
    /// `None` once nobody writes any more.
    full: Option<SyncSender<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
    count: u64,
}

impl Entries<'_> {
    fn hand_over(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let next = self.empty.try_recv().unwrap_or_default();
        let batch = std::mem::replace(&mut self.batch, next);
        if let Some(full) = &self.full
            && full.send(batch).is_err()
        {
            self.full = None;
        }
    }
}

impl Visit for Entries<'_> {
    fn visit(&mut self, record: &Record<'_>) {
        if !self.filter.matches(&record.flow, &record.extra) {
            return;
        }
        self.count += 1;
        if self.full.is_none() {
            return;
        }
        self.batch.extend_from_slice(record.message);
        self.batch.resize(self.batch.len().next_multiple_of(4), 0);
        // Whoever waits sees the first at once.
        if self.batch.len() >= BATCH || self.count == 1 {
            self.hand_over();
        }
    }
}

/// Writes lines until no more batches come. An error ends it, and with it the waiting end.
fn write(
    chosen: &Chosen<'_>,
    waiting: &Receiver<Vec<u8>>,
    back: &Sender<Vec<u8>>,
) -> io::Result<()> {
    let mut lines = Lines::new(chosen);
    for mut batch in waiting {
        // They were decoded once already.
        for message in messages(&batch).filter_map(Result::ok) {
            if let Ok(record) = decode(message.bytes) {
                lines.entry(&record);
            }
        }
        lines.write()?;
        batch.clear();
        // Nobody takes it back where the last has come.
        let _ = back.send(batch);
    }
    lines.end()
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
        let mut stdout = io::stdout().lock();
        stdout.write_all(&self.out)?;
        stdout.flush()?;
        self.out.clear();
        self.printer.tick();
        Ok(())
    }

    fn end(mut self) -> io::Result<()> {
        self.printer.end(&mut self.out);
        self.write()
    }
}
