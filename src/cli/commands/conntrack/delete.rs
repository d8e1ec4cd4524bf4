//! `-D`, and `-F` with a filter: deletes what matches, each entry by tuple, zone and id.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::list::{complete, dump};
use super::printer::Printer;
use super::{Chosen, Stop, counted, say_as_the_tool};
use crate::cli::args::Common;
use crate::cli::commands::plan::remember;
use crate::cli::render::number::grouped;
use crate::cli::terminal::{Color, say};
use crate::conntrack::filter::Filter;
use crate::conntrack::options::{Given, Verb};
use crate::conntrack::print::Happened;
use crate::idle::{Evidence, Idle, Window};
use crate::kernel::flush::{self, FlushError};
use crate::kernel::sweep::{Answered, Outgoing};
use crate::kernel::{Change, Feeder, Live, SweepOptions, aside};
use crate::observe::{Observe, Record, Visit};
use crate::plan::Options;
use crate::policy::Seconds;

pub(super) fn run(chosen: &Chosen<'_>, counts: bool) -> Result<u8, Stop> {
    let line = chosen.line;
    let flushes = line.verb() == Verb::Flush;
    // The tool passes over the family, and takes nothing else.
    let passed_over = line.given == Given::FAMILY && line.like_conntrack;
    if flushes && (line.given.is_empty() || passed_over) {
        return empty();
    }
    if line.states.new {
        return Err(Stop::usage(
            "no entry is in a state NEW: netfilter calls the first packet of one so",
        )
        .hint("`-u UNREPLIED` narrows a list to entries without a reply; `conntidy delete --status unreplied` deletes them")
        .hint("`--state SYN_SENT` are TCP connections that nobody answered yet"));
    }
    if line.states.invalid {
        say!(
            "note: no entry is INVALID: packets that netfilter calls so belong to none, and a rule drops them \
             (`ct state invalid drop`); `-S` counts them"
        );
        if line.states.named.is_empty() {
            return Ok(counted(0, "flow entries have been deleted"));
        }
    }
    let count = delete(chosen, !flushes)?;
    let code = if counts {
        counted(count, "flow entries have been deleted")
    } else {
        0
    };
    // A flush that finds nothing to do is done.
    Ok(if flushes { 0 } else { code })
}

fn empty() -> Result<u8, Stop> {
    flush::everything().map_err(|error| match error {
        FlushError::Socket(error) => Stop::kernel(&error, Verb::Flush),
        error => Stop::failed(format!("Operation failed: {error}")),
    })?;
    say_as_the_tool("connection tracking table has been emptied.");
    Ok(0)
}

/// Deletes, and prints each that went; how many those were.
fn delete(chosen: &Chosen<'_>, shows: bool) -> Result<u64, Stop> {
    let idle = match chosen.line.timeout {
        Some(seconds) if !chosen.line.like_conntrack => Some(Proof::new(seconds)?),
        _ => None,
    };
    let printed = Arc::new(Mutex::new(Printed::default()));
    let sweep = Live::default().loading().sweep(printing(&printed, shows))?;
    let mut deletes = Deletes {
        filter: Filter::acting(chosen.line, chosen.labels),
        printer: Printer::bare(chosen),
        feeder: sweep.feeder(),
        idle,
        unknown: 0,
        without_id: 0,
    };
    let dumped = dump(chosen, &mut deletes);
    let (unknown, without_id) = (deletes.unknown, deletes.without_id);
    let seconds = chosen.line.timeout.unwrap_or(0);
    drop(deletes);
    let tally = sweep.finish();
    let mut printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
    let total = tally.total();
    if unknown > 0 {
        say!(
            "note: of {} more it is not known whether they were idle for {seconds} s: nothing proves it of their \
             timers (no record of the timeouts for so long, unacknowledged data, a helper); they were left alone",
            grouped(unknown)
        );
        say!(
            "hint: `conntidy expire --idle-for {seconds}s` shortens their timers instead, which no live connection \
             feels; `conntidy apply`, from its timer, keeps the record that proves"
        );
    }
    if without_id > 0 {
        say!("note: {without_id} entries have no id and were left alone");
    }
    if total.busy > 0 {
        say!(
            "note: {} entries are in a flowtable, which keeps them",
            total.busy
        );
    }
    if total.unknown > 0 {
        say!("note: of {} deletes the answer was lost", total.unknown);
    }
    let dumped = dumped?;
    if let Some(error) = tally.stopped {
        return Err(error.into());
    }
    if let Some(failure) = total.failures.first().filter(|_| total.failed > 0) {
        let why = io::Error::from_raw_os_error(failure.errno);
        return Err(Stop::failed(format!(
            "Operation failed: {} deletes, the first of {}: {why}",
            total.failed, failure.key
        )));
    }
    complete(dumped)?;
    std::mem::replace(&mut printed.written, Ok(()))?;
    Ok(total.done + total.unknown)
}

/// What proves an entry idle.
struct Proof {
    evidence: Evidence,
    window: Window,
}

impl Proof {
    fn new(seconds: u32) -> Result<Self, Stop> {
        let common = Common {
            color: Color::Auto,
            quiet: true,
            verbose: 0,
        };
        let mut header = Live::default().loading().header()?;
        // Without a record of earlier runs less is proven, which is said in the end.
        let _ = remember(&common, &mut header, &mut Options::default());
        let evidence = Evidence::new(&header);
        let window = evidence.window(Seconds(seconds.into()), false);
        Ok(Self { evidence, window })
    }
}

struct Deletes<'c, 's> {
    filter: Filter<'c>,
    printer: Printer<'c>,
    feeder: Feeder<'s>,
    idle: Option<Proof>,
    unknown: u64,
    without_id: u64,
}

impl Visit for Deletes<'_, '_> {
    fn visit(&mut self, record: &Record<'_>) {
        let flow = &record.flow;
        if !self.filter.matches(flow, &record.extra) {
            return;
        }
        if let Some(Proof { evidence, window }) = &self.idle {
            match evidence.idle(flow, &record.extra, window) {
                Idle::Proven => {}
                Idle::NotIdle => return,
                Idle::Presumed | Idle::Unknown(_) => {
                    self.unknown += 1;
                    return;
                }
            }
        }
        let Some(id) = flow.id() else {
            self.without_id += 1;
            return;
        };
        let happened = if self.printer.saves() {
            Some(Happened::Destroy)
        } else {
            None
        };
        let aside = aside(record.message);
        let line = self.feeder.record();
        self.printer.entry(line, record, &aside, happened);
        let key = flow.key();
        self.feeder.push(0, &Change::Delete { key, id });
    }
}

/// Lines of batches that are under way, and what went wrong with printing.
struct Printed {
    batches: VecDeque<Vec<u8>>,
    written: io::Result<()>,
}

impl Default for Printed {
    fn default() -> Self {
        Self {
            batches: VecDeque::new(),
            written: Ok(()),
        }
    }
}

impl Printed {
    fn print(&mut self, bytes: &[u8]) {
        if self.written.is_ok() && !bytes.is_empty() {
            let mut stdout = io::stdout().lock();
            self.written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        }
    }
}

/// Prints the lines of those that went, when that is known.
fn printing(printed: &Arc<Mutex<Printed>>, shows: bool) -> SweepOptions {
    let lock = |printed: &Mutex<Printed>, work: &mut dyn FnMut(&mut Printed)| {
        work(&mut printed.lock().unwrap_or_else(PoisonError::into_inner));
    };
    let (before, after) = (Arc::clone(printed), Arc::clone(printed));
    SweepOptions {
        before: Some(Box::new(move |outgoing: &Outgoing<'_>| {
            lock(&before, &mut |printed| {
                printed.batches.push_back(outgoing.record.to_vec());
            });
            Ok(())
        })),
        after: Some(Box::new(move |answered: &Answered<'_>| {
            lock(&after, &mut |printed| {
                let lines = printed.batches.pop_front().unwrap_or_default();
                let mut gone = Vec::with_capacity(lines.len());
                let mut made = answered.made();
                for line in lines.split_inclusive(|byte| *byte == b'\n') {
                    if made.next().unwrap_or(false) {
                        gone.extend_from_slice(line);
                    }
                }
                if shows {
                    printed.print(&gone);
                }
            });
        })),
        ..SweepOptions::default()
    }
}
