//! `-D`, and `-F` with a filter: deletes what matches, each entry by tuple, zone and id.

use std::io::{self, Write};
use std::sync::mpsc::{Sender, channel};

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
use crate::kernel::sweep::AfterBatch;
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
    let (failed, failures) = channel();
    let options = SweepOptions {
        after: shows.then(|| printing(failed)),
        ..SweepOptions::default()
    };
    let sweep = Live::default().loading().sweep(options)?;
    let mut deletes = Deletes {
        filter: Filter::acting(chosen.line, chosen.labels),
        printer: shows.then(|| Printer::bare(chosen)),
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
    if let Ok(error) = failures.try_recv() {
        return Err(error.into());
    }
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
    printer: Option<Printer<'c>>,
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
        if let Some(printer) = &mut self.printer {
            let happened = printer.saves().then_some(Happened::Destroy);
            let aside = aside(record.message);
            printer.entry(self.feeder.record(), record, &aside, happened);
        }
        let key = flow.key();
        self.feeder.push(0, &Change::Delete { key, id });
    }
}

/// Prints the lines of those that went, when that is known, until that fails.
fn printing(failed: Sender<io::Error>) -> AfterBatch {
    let mut gone = Vec::new();
    let mut fails = false;
    Box::new(move |answered| {
        let lines = answered.record.split_inclusive(|byte| *byte == b'\n');
        gone.clear();
        for (line, made) in lines.zip(answered.made()) {
            if made {
                gone.extend_from_slice(line);
            }
        }
        if fails || gone.is_empty() {
            return;
        }
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(&gone).and_then(|()| stdout.flush()) {
            fails = true;
            // Whoever waits for the end of the deletes hears of it then.
            let _ = failed.send(error);
        }
    })
}
