//! What passes the filter, written or counted as it comes.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::rates::{Counts, Rates, Summary};
use crate::cli::CliError;
use crate::cli::render::event_line::EventWriter;
use crate::kernel::event::{Entry, Event};
use crate::kernel::identity;
use crate::matcher::{Compiled, Grade, Truth};
use crate::observe::{Record, Visit};

/// Lines go out by this many bytes, or when nothing more is there to be read.
const BUFFER: usize = 64 << 10;
/// Longer lines make the buffer grow.
const ROOM: usize = 4 << 10;

/// A stream of events, and what became of it.
pub(super) struct Stream<'a> {
    filter: Compiled,
    json: bool,
    writer: EventWriter<'a>,
    out: Vec<u8>,
    /// Where events are counted in place of being written.
    rates: Option<Rates>,
    /// So many more at most, of all streams together.
    left: Option<&'a AtomicU64>,
    /// Events that came, whether they passed or not.
    pub(super) heard: u64,
    /// Those that passed.
    pub(super) passed: Counts,
    /// Those that do not tell whether they pass.
    pub(super) doubtful: u64,
    /// Gaps so far, and how many events are missing in those that tell.
    pub(super) gaps: u64,
    pub(super) lost: u64,
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        filter: Compiled,
        json: bool,
        rates: Option<Rates>,
        left: Option<&'a AtomicU64>,
        netns: Option<&'a str>,
    ) -> Self {
        Self {
            filter,
            json,
            writer: EventWriter::new(json, netns),
            out: Vec::with_capacity(BUFFER + ROOM),
            rates,
            left,
            heard: 0,
            passed: Counts::default(),
            doubtful: 0,
            gaps: 0,
            lost: 0,
        }
    }

    /// Takes an event. Allocates nothing for it, but for a group that was not seen before.
    pub(super) fn take(&mut self, event: &Event<'_>) {
        self.heard += 1;
        let expected;
        let record = match &event.entry {
            Entry::Flow(record) => record,
            Entry::Expectation(one) => {
                let (flow, extra) = one.as_flow();
                expected = Record {
                    flow,
                    extra,
                    message: &[],
                };
                &expected
            }
        };
        match self
            .filter
            .eval(&record.flow, &record.extra, Grade::Presumed)
        {
            Truth::True if self.has_room() => {}
            Truth::True | Truth::False => return,
            Truth::Unknown => {
                self.doubtful += 1;
                return;
            }
        }
        self.passed.add(event.kind);
        match &mut self.rates {
            Some(rates) => rates.add(event.kind, record),
            None => self.writer.event(&mut self.out, event, identity::time_ns()),
        }
    }

    /// Takes the room for one more.
    fn has_room(&self) -> bool {
        let take = |left: u64| left.checked_sub(1);
        self.left
            .is_none_or(|left| left.fetch_update(Relaxed, Relaxed, take).is_ok())
    }

    /// So many passed as were asked for.
    pub(super) fn is_full(&self) -> bool {
        self.left.is_some_and(|left| left.load(Relaxed) == 0)
    }

    /// Takes that events are missing here.
    pub(super) fn gap(&mut self, lost: Option<u64>) {
        // Counted with the gap before already.
        if lost == Some(0) {
            return;
        }
        self.gaps += 1;
        self.lost += lost.unwrap_or(0);
        match &mut self.rates {
            Some(rates) => rates.lose(lost),
            None => self.writer.gap(&mut self.out, lost, identity::time_ns()),
        }
    }

    /// What the table holds follows.
    pub(super) fn resync(&mut self) -> Present<'_, 'a> {
        self.writer.resync(&mut self.out, identity::time_ns());
        Present {
            stream: self,
            entries: 0,
            error: None,
        }
    }

    /// What was counted since the last time, where events are counted.
    pub(super) fn take_rates(&mut self, whole: &mut Rates, time: Duration) -> Option<Summary> {
        let rates = self.rates.as_mut()?;
        let summary = rates.summary(time, false);
        rates.pour_into(whole);
        Some(summary)
    }

    /// Writes a summary.
    pub(super) fn summarize(&mut self, summary: &Summary) -> Result<(), CliError> {
        let now = identity::time_ns();
        if self.json {
            self.writer.summary(&mut self.out, summary, now);
            return self.flush();
        }
        self.writer.moment(&mut self.out, now);
        // What others write must not come between.
        let _whole = io::stdout().lock();
        self.flush()?;
        // Only this goes by what a terminal can show.
        let mut out = anstream::stdout().lock();
        summary.text(&mut out)?;
        Ok(out.flush()?)
    }

    /// Writes what has come together, if it is much.
    pub(super) fn flush_if_full(&mut self) -> Result<(), CliError> {
        if self.out.len() < BUFFER {
            return Ok(());
        }
        self.flush()
    }

    /// Writes what has come together.
    pub(super) fn flush(&mut self) -> Result<(), CliError> {
        Ok(self.write_out()?)
    }

    fn write_out(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(&self.out)?;
        self.out.clear();
        stdout.flush()
    }
}

/// Takes what a dump finds.
pub(super) struct Present<'s, 'a> {
    stream: &'s mut Stream<'a>,
    entries: u64,
    error: Option<io::Error>,
}

impl Present<'_, '_> {
    /// This was all; unless `whole`, it is done again.
    pub(super) fn end(self, whole: bool) -> Result<(), CliError> {
        if let Some(error) = self.error {
            return Err(error.into());
        }
        let Self {
            stream, entries, ..
        } = self;
        (stream.writer).resynced(&mut stream.out, entries, whole, identity::time_ns());
        stream.flush()
    }
}

impl Visit for Present<'_, '_> {
    fn visit(&mut self, record: &Record<'_>) {
        let stream = &mut *self.stream;
        let filter = &stream.filter;
        if filter.eval(&record.flow, &record.extra, Grade::Presumed) != Truth::True {
            return;
        }
        self.entries += 1;
        (stream.writer).present(&mut stream.out, record, identity::time_ns());
        if stream.out.len() >= BUFFER && self.error.is_none() {
            self.error = stream.write_out().err();
        }
        if self.error.is_some() {
            stream.out.clear();
        }
    }
}
