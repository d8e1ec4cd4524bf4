//! Puts back what a run deleted, as far as that can be done, and says how far.
//!
//! An entry made again is a new object with the old tuple, translation and remaining time. Nothing
//! here claims that its connection lives.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::apply::{result, tunable};
use crate::flow::FlowKey;
use crate::kernel::decode::decode;
use crate::kernel::sysctl::Tunables;
use crate::kernel::{Change, Live, SweepError, SweepOptions, identity};
use crate::observe::{Header, Observe, ObserveError, Record};
use crate::plan::{Resize, TunableState, may_write, rfc3339};
use crate::rebuild;
use crate::report::{Report, TunableLeft, TunableOutcome, TunableResult, Undone};
use crate::state::{Memory, RunName, State, StateError, is_other};
use crate::tunable::{Governing, governing};

/// `undo` leaves the last tenth of the table to new connections.
const ROOM_TENTHS: u64 = 9;

/// Why nothing was put back.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// The machine was booted since: the table that the run changed is gone.
    #[error("run {run} was made in another boot: the table that it changed is gone")]
    OtherBoot {
        /// The run.
        run: RunName,
    },
    /// The namespace that the run changed is gone; another one has its number.
    #[error(
        "run {run} was made in another network namespace, which is gone: this one only has its number"
    )]
    OtherNamespace {
        /// The run.
        run: RunName,
    },
    /// State could not be read or kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// The undo files cannot be read.
    #[error("cannot read the undo files of run {run}")]
    Files {
        /// The run.
        run: RunName,
        /// Why.
        source: std::io::Error,
    },
    /// The table cannot be seen.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The table cannot be changed.
    #[error(transparent)]
    Sweep(#[from] SweepError),
}

/// What to undo.
pub struct Undo<'a> {
    /// The kernel.
    pub live: &'a Live,
    /// The namespace's state; its lock is held by the caller.
    pub state: &'a State,
    /// The run.
    pub run: &'a RunName,
}

impl Undo<'_> {
    /// Puts back deleted entries, and holds the rules that deleted them.
    ///
    /// # Errors
    /// Where nothing was put back.
    pub fn flows(&self) -> Result<Report, UndoError> {
        let (mut report, header, mut memory) = self.begin()?;
        let undone = self.create(&report, &header, &mut memory)?;
        for rule in &undone.holds {
            memory.holds.insert(rule.clone(), self.run.to_string());
        }
        self.state.remember(&memory)?;
        report.undone = Some(undone);
        self.state.write_audit(self.run, &report)?;
        Ok(report)
    }

    /// Puts back the tunables that the run wrote, where they still are what it made them and the
    /// rails allow the value that they had.
    ///
    /// # Errors
    /// Where nothing was put back.
    pub fn sysctl(&self, resize: Resize) -> Result<Report, UndoError> {
        let (mut report, header, mut memory) = self.begin()?;
        let tunables = self.live.tunables();
        let mut undone = Undone {
            at: rfc3339(identity::time_ns()),
            ..Undone::default()
        };
        let written = report
            .sysctl
            .iter()
            .filter(|result| result.outcome != TunableOutcome::Failed);
        for result in written {
            let now = tunables.read(&result.name).ok();
            let before = match may_put_back(result, now.as_ref(), &header, resize) {
                Ok(before) => before,
                Err((state, reason)) => {
                    let left = TunableLeft {
                        value: now,
                        state,
                        reason,
                    };
                    undone.sysctl_left.insert(result.name.clone(), left);
                    continue;
                }
            };
            let put_back = tunable::write_one(&tunables, &result.name, before, now);
            let value = put_back.after.as_deref().and_then(|text| text.parse().ok());
            if let Some(value) = value
                && crate::tunable::is_timeout(&result.name)
            {
                let at_ns = identity::uptime_ns();
                memory.history.record_timeout(&result.name, at_ns, value);
            }
            undone.sysctl.push(put_back);
        }
        self.state.remember(&memory)?;
        report.undone = Some(undone);
        self.state.write_audit(self.run, &report)?;
        Ok(report)
    }

    fn begin(&self) -> Result<(Report, Header, Memory), UndoError> {
        let report = self.state.read_audit(self.run)?;
        let header = self.live.header()?;
        if report.plan.boot_id != header.boot_id {
            return Err(UndoError::OtherBoot {
                run: self.run.clone(),
            });
        }
        if is_other(report.netns_created_ns, header.netns.created_ns) {
            return Err(UndoError::OtherNamespace {
                run: self.run.clone(),
            });
        }
        let memory = self.state.memory(&header.boot_id)?;
        Ok((report, header, memory))
    }

    fn create(
        &self,
        report: &Report,
        header: &Header,
        memory: &mut Memory,
    ) -> Result<Undone, UndoError> {
        let files = |source| UndoError::Files {
            run: self.run.clone(),
            source,
        };
        let mut undone = Undone {
            at: rfc3339(identity::time_ns()),
            ..Undone::default()
        };
        let mut reader = match self.state.undo_reader(self.run) {
            Ok(reader) => reader,
            // The run was killed before it selected anything.
            Err(StateError::NoRun { .. }) => return Ok(undone),
            Err(error) => return Err(error.into()),
        };
        let there = self.keys()?;
        let mut room = room(header, there.len() as u64);
        // From what was sent, not from the report: a run that was killed did not come to write that.
        let mut rules = BTreeSet::new();
        let mut timers: BTreeMap<&'static str, (Governing, u32)> = BTreeMap::new();
        let sweep = self.live.sweep(SweepOptions::default())?;
        let mut feeder = sweep.feeder();
        while let Some(deleted) = reader.next_deleted().map_err(files)? {
            rules.insert(usize::from(deleted.rule));
            let Ok(record) = decode(deleted.message) else {
                undone.failed += 1;
                note(
                    &mut undone.errors,
                    "an entry that cannot be decoded".to_owned(),
                );
                continue;
            };
            let seen_ns = report.uptime_ns + u64::from(deleted.at_ms) * 1_000_000;
            let passed = identity::uptime_ns().saturating_sub(seen_ns) / 1_000_000_000;
            let left = record
                .flow
                .remaining()
                .map(|left| u64::from(left).saturating_sub(passed))
                .and_then(|left| u32::try_from(left).ok())
                .filter(|&left| left > 0);
            let Some(left) = left else {
                undone.expired += 1;
                continue;
            };
            if there.contains(&record.flow.key()) {
                undone.there += 1;
                continue;
            }
            if room == 0 {
                undone.no_room += 1;
                continue;
            }
            let mut rebuilt = match rebuild::rebuild(&record.flow, record.extra) {
                Ok(rebuilt) => rebuilt,
                Err(impossible) => {
                    undone.failed += 1;
                    note(
                        &mut undone.errors,
                        format!("{}: {impossible}", record.flow.key()),
                    );
                    continue;
                }
            };
            room -= 1;
            rebuilt.flow.timeout = left;
            for reason in rebuilt.lost.reasons() {
                *undone.lost.entry(reason.to_owned()).or_default() += 1;
            }
            if let Some(governing) = governing(&record.flow) {
                let entry = timers.entry(governing.name()).or_insert((governing, 0));
                entry.1 = entry.1.max(left);
            }
            feeder.push(
                0,
                &Change::Create {
                    flow: &rebuilt.flow,
                    extra: rebuilt.extra,
                },
            );
        }
        drop(feeder);
        let count = sweep.finish().total();
        for (governing, seconds) in timers.into_values() {
            let at_ns = identity::uptime_ns();
            memory.history.record_retime(governing, at_ns, seconds);
        }
        undone.holds = rules
            .into_iter()
            .filter_map(|rule| Some(report.plan.rules.get(rule)?.name.clone()))
            .collect();
        undone.created = count.done;
        undone.taken = count.exists;
        undone.failed += count.failed + count.gone + count.busy + count.unsent;
        undone.unknown = count.unknown;
        undone
            .errors
            .extend(count.failures.iter().map(result::failure));
        Ok(undone)
    }

    fn keys(&self) -> Result<HashSet<FlowKey>, UndoError> {
        let mut keys = HashSet::new();
        let mut visit = |record: &Record<'_>| {
            keys.insert(record.flow.key());
        };
        self.live.dump(&mut [&mut visit])?;
        Ok(keys)
    }
}

/// The value that a tunable had before a run wrote it, if it may have that again.
fn may_put_back(
    result: &TunableResult,
    now: Option<&String>,
    header: &Header,
    resize: Resize,
) -> Result<u64, (Option<TunableState>, String)> {
    if now != result.after.as_ref() {
        return Err((None, "not any more what the run made it".to_owned()));
    }
    let before = result.before.as_deref().and_then(|b| b.trim().parse().ok());
    let Some(before) = before else {
        let reason = "its value before the run is no number".to_owned();
        return Err((Some(TunableState::Refused), reason));
    };
    match may_write(&result.name, before, header, resize) {
        Ok(()) => Ok(before),
        Err((state, reason)) => Err((Some(state), reason.unwrap_or_default())),
    }
}

/// Keeps the first few.
fn note(errors: &mut Vec<String>, text: String) {
    const FEW: usize = 8;
    if errors.len() < FEW {
        errors.push(text);
    }
}

fn room(header: &Header, count: u64) -> u64 {
    match header.number("nf_conntrack_max") {
        Some(0) => u64::MAX,
        Some(max) => (max / 10 * ROOM_TENTHS).saturating_sub(count),
        None => 0,
    }
}
