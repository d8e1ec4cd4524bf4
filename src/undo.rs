//! Puts back what a run deleted, as far as that can be done, and says how far.
//!
//! An entry made again is a new object with the old tuple, translation and remaining time. Nothing
//! here claims that its connection lives.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::apply::{result, tunable};
use crate::flow::{Flow, FlowKey, Status};
use crate::kernel::decode::decode;
use crate::kernel::sysctl::Tunables;
use crate::kernel::{Change, Feeder, Live, SweepError, SweepOptions, identity};
use crate::observe::{Header, Observe, ObserveError, Record};
use crate::plan::{Resize, TunableState, may_write, rfc3339};
use crate::policy::Update;
use crate::rebuild;
use crate::report::{Report, TunableLeft, TunableOutcome, TunableResult, Undone};
use crate::state::{Deleted, Memory, RunName, State, StateError, UndoReader, is_other};
use crate::tunable::{Governing, governing};

/// `undo` leaves the last tenth of the table to new connections.
const ROOM_TENTHS: u64 = 9;

/// Tags of what is sent.
const MADE: u32 = 0;
const RESTORED: u32 = 1;

/// A timer that differs by no more than this from what a run would have left of it now was not set
/// by anybody since.
const TIMER_SLACK: u32 = 10;

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
        let (report, header, mut memory) = self.begin()?;
        let undone = self.create(&report, &header, &mut memory)?;
        Ok(self.record(report, undone, &memory))
    }

    /// Keeps what was done beside what earlier undos did. It is done, so whoever called has to be told of it, recorded or not.
    fn record(&self, mut report: Report, mut undone: Undone, memory: &Memory) -> Report {
        if let Err(error) = self.state.remember(memory) {
            undone.problems.push(told(&error));
        }
        report.undone.push(undone);
        if let Err(error) = self.state.write_audit(self.run, &report)
            && let Some(undone) = report.undone.last_mut()
        {
            undone.problems.push(told(&error));
        }
        report
    }

    /// Puts back the tunables that the run wrote, where they still are what it made them and the
    /// rails allow the value that they had.
    ///
    /// # Errors
    /// Where nothing was put back.
    pub fn sysctl(&self, resize: Resize) -> Result<Report, UndoError> {
        self.put_back(resize, false)
    }

    /// The same for a run that nobody confirmed: what it wrote is not written again by a run that
    /// does not ask to be confirmed either, until the policy asks for another value.
    ///
    /// # Errors
    /// Where nothing was put back.
    pub fn unconfirmed(&self, resize: Resize) -> Result<Report, UndoError> {
        self.put_back(resize, true)
    }

    fn put_back(&self, resize: Resize, keep_from: bool) -> Result<Report, UndoError> {
        let (report, header, mut memory) = self.begin()?;
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
            if put_back.outcome == TunableOutcome::Written {
                // Nobody's any more: the next run that writes it corrects nobody.
                memory.history.forget_write(&result.name);
                if keep_from {
                    let (value, run) = (result.wanted, &report.run);
                    memory.history.record_unconfirmed(&result.name, value, run);
                }
            }
            let value = put_back.after.as_deref().and_then(|text| text.parse().ok());
            if let Some(value) = value
                && crate::tunable::is_timeout(&result.name)
            {
                let at_ns = identity::uptime_ns();
                memory.history.record_timeout(&result.name, at_ns, value);
            }
            undone.sysctl.push(put_back);
        }
        Ok(self.record(report, undone, &memory))
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

    /// What the run's undo files tell; `None` where it left none, since it was killed before it
    /// selected anything.
    fn reader(&self) -> Result<Option<UndoReader>, UndoError> {
        match self.state.undo_reader(self.run) {
            Ok(reader) => Ok(Some(reader)),
            Err(StateError::NoRun { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks through what was sent, not at the report's numbers: a run that was killed did not come
    /// to write those.
    fn past(
        &self,
        mut reader: UndoReader,
        report: &Report,
        there: &HashMap<FlowKey, Now>,
    ) -> Result<Past, UndoError> {
        let mut past = Past::default();
        loop {
            let next = reader.next_deleted().map_err(|source| UndoError::Files {
                run: self.run.clone(),
                source,
            })?;
            let Some(deleted) = next else {
                return Ok(past);
            };
            past.entries += 1;
            let message = deleted.message.as_ref().ok();
            if let Some(record) = message.and_then(|bytes| decode(bytes).ok())
                && (report.by_hand.is_some() || !there.contains_key(&record.flow.key()))
                && left(&record.flow, &deleted, report.uptime_ns).is_some()
                && let Some(most) = record.flow.remaining()
            {
                past.rules.insert(deleted.rule);
                past.timers.note(&record.flow, most);
            }
        }
    }

    fn create(
        &self,
        report: &Report,
        header: &Header,
        memory: &mut Memory,
    ) -> Result<Undone, UndoError> {
        let mut undone = Undone {
            at: rfc3339(identity::time_ns()),
            ..Undone::default()
        };
        let (Some(first), Some(mut reader)) = (self.reader()?, self.reader()?) else {
            return Ok(undone);
        };
        let there = self.table()?;
        let past = self.past(first, report, &there)?;
        let sweep = self.live.sweep(SweepOptions::default())?;

        // Known before anything is made: where this is killed, the next run would delete the same
        // entries again, or take them for idle.
        let (history, holds) = (memory.history.clone(), memory.holds.clone());
        self.hold(&names(report, &past.rules), memory);
        past.timers.record(memory);
        self.state.remember(memory)?;

        let mut maker = Maker {
            room: room(header, there.len() as u64),
            there,
            seen: HashSet::new(),
            sets: sets(report),
            began_ns: report.uptime_ns,
            timers: Timers::default(),
            rules: BTreeSet::new(),
            feeder: sweep.feeder(),
            undone: &mut undone,
        };
        let mut read = 0;
        loop {
            match reader.next_deleted() {
                Ok(Some(deleted)) => maker.make(&deleted),
                Ok(None) => break,
                Err(error) => {
                    maker.undone.failed += past.entries.saturating_sub(read);
                    note(&mut maker.undone.errors, error.to_string());
                    break;
                }
            }
            read += 1;
        }
        let timers = std::mem::take(&mut maker.timers);
        let rules = std::mem::take(&mut maker.rules);
        drop(maker);
        let sent = sweep.finish();
        let (count, restored) = (sent.count(MADE), sent.count(RESTORED));
        // Only timers that were set, and rules whose entries were tried.
        (memory.history, memory.holds) = (history, holds);
        timers.record(memory);
        undone.holds = names(report, &rules);
        self.hold(&undone.holds, memory);
        undone.created = count.done;
        undone.taken = count.exists;
        undone.restored = restored.done;
        undone.expired += restored.gone;
        for count in [&count, &restored] {
            undone.failed += count.failed + count.busy + count.unsent;
            undone.unknown += count.unknown;
            let failures = count.failures.iter().map(result::failure);
            undone.errors.extend(failures);
        }
        undone.failed += count.gone;
        if let Some(error) = &sent.stopped {
            undone.problems.push(format!("stopped: {error}"));
        }
        Ok(undone)
    }

    fn hold(&self, rules: &[String], memory: &mut Memory) {
        for rule in rules {
            memory.holds.insert(rule.clone(), self.run.to_string());
        }
    }

    fn table(&self) -> Result<HashMap<FlowKey, Now>, UndoError> {
        let mut table = HashMap::new();
        let mut visit = |record: &Record<'_>| {
            let flow = &record.flow;
            let now = Now {
                id: flow.id(),
                mark: flow.mark,
                remaining: flow.remaining(),
            };
            table.insert(flow.key(), now);
        };
        self.live.dump(&mut [&mut visit])?;
        Ok(table)
    }
}

/// What tells of an entry of the table whether it still is as a run left it.
#[derive(Clone, Copy, Debug)]
struct Now {
    id: Option<u32>,
    mark: u32,
    remaining: Option<u32>,
}

/// What a run's undo files tell before anything is made.
#[derive(Default)]
struct Past {
    /// Entries that it deleted, or may have.
    entries: u64,
    /// The rules that deleted those of them that may have to be made again, by index.
    rules: BTreeSet<u16>,
    /// The most that may be left of those.
    timers: Timers,
}

/// The largest remaining time of each governing timeout.
#[derive(Default)]
struct Timers(BTreeMap<&'static str, (Governing, u32)>);

impl Timers {
    fn note(&mut self, flow: &Flow, left: u32) {
        if let Some(governing) = governing(flow) {
            let entry = self.0.entry(governing.name()).or_insert((governing, 0));
            entry.1 = entry.1.max(left);
        }
    }

    fn record(self, memory: &mut Memory) {
        let at_ns = identity::uptime_ns();
        for (governing, seconds) in self.0.into_values() {
            memory.history.record_retime(governing, at_ns, seconds);
        }
    }
}

/// Makes entries again.
struct Maker<'a> {
    /// Entries of the table as it was found.
    there: HashMap<FlowKey, Now>,
    /// What each rule set without deleting, by index.
    sets: Vec<Option<Update>>,
    /// Entries dealt with: a run that looked several times may have recorded one several times.
    seen: HashSet<FlowKey>,
    /// Entries that the table has room for.
    room: u64,
    /// When the run began, since boot.
    began_ns: u64,
    /// Those of the entries made.
    timers: Timers,
    /// The rules that deleted the entries made, by index.
    rules: BTreeSet<u16>,
    feeder: Feeder<'a>,
    undone: &'a mut Undone,
}

impl Maker<'_> {
    fn make(&mut self, deleted: &Deleted<'_>) {
        let record = match &deleted.message {
            Ok(message) => match decode(message) {
                Ok(record) => record,
                Err(_) => return self.failed("an entry that cannot be decoded".to_owned()),
            },
            Err(error) => return self.failed(error.to_string()),
        };
        let key = record.flow.key();
        if !self.seen.insert(key) {
            return;
        }
        let left = left(&record.flow, deleted, self.began_ns);
        if let Some(&now) = self.there.get(&key) {
            match self.put_back(deleted, &record, now, left) {
                Some(update) => {
                    self.timers.note(&record.flow, update.timeout.unwrap_or(0));
                    let status = Status::empty();
                    let change = Change::Update {
                        key,
                        status,
                        update,
                    };
                    self.feeder.push(RESTORED, &change);
                }
                None if left.is_none() => self.undone.expired += 1,
                None => self.undone.there += 1,
            }
            return;
        }
        let Some(left) = left else {
            self.undone.expired += 1;
            return;
        };
        if self.room == 0 {
            self.undone.no_room += 1;
            return;
        }
        let mut rebuilt = match rebuild::rebuild(&record.flow, record.extra) {
            Ok(rebuilt) => rebuilt,
            Err(impossible) => return self.failed(format!("{key}: {impossible}")),
        };
        self.room -= 1;
        rebuilt.flow.timeout = left;
        for reason in rebuilt.lost.reasons() {
            *self.undone.lost.entry(reason.to_owned()).or_default() += 1;
        }
        self.timers.note(&record.flow, left);
        self.rules.insert(deleted.rule);
        self.feeder.push(
            MADE,
            &Change::Create {
                flow: &rebuilt.flow,
                extra: rebuilt.extra,
            },
        );
    }

    /// What of an entry that is still there is set back: what the run set and nobody has set since.
    fn put_back(
        &mut self,
        changed: &Deleted<'_>,
        record: &Record<'_>,
        now: Now,
        left: Option<u32>,
    ) -> Option<Update> {
        let set = (*self.sets.get(usize::from(changed.rule))?)?;
        if record.flow.id() != now.id {
            return None;
        }
        let mut back = Update::default();
        if let (Some(seconds), Some(left), Some(remaining)) = (set.timeout, left, now.remaining) {
            let untouched = seconds.saturating_sub(seconds_since(changed, self.began_ns));
            if remaining.abs_diff(untouched) <= TIMER_SLACK {
                back.timeout = Some(left);
            }
        }
        if let Some((value, mask)) = set.mark
            && now.mark & mask == value
        {
            back.mark = Some((record.flow.mark & mask, mask));
        }
        if let Some((_, mask)) = set.labels {
            back.labels = Some((record.extra.labels.unwrap_or(0) & mask, mask));
        }
        let is_fixed = set.status.contains(Status::FIXED_TIMEOUT);
        if is_fixed && back.timeout.take().is_some() {
            let why = "the remaining time, since its timer was fixed".to_owned();
            *self.undone.lost.entry(why).or_default() += 1;
        }
        if !record.flow.status.contains(set.status) {
            let why = "status bits, which the kernel does not clear".to_owned();
            *self.undone.lost.entry(why).or_default() += 1;
        }
        (!back.is_empty()).then_some(back)
    }

    fn failed(&mut self, why: String) {
        self.undone.failed += 1;
        note(&mut self.undone.errors, why);
    }
}

/// Seconds that an entry of a run would have left by now; `None` where it would have ended.
fn left(flow: &Flow, deleted: &Deleted<'_>, began_ns: u64) -> Option<u32> {
    let left = flow
        .remaining()?
        .saturating_sub(seconds_since(deleted, began_ns));
    Some(left).filter(|&left| left > 0)
}

/// Seconds since an entry of a run was seen.
fn seconds_since(deleted: &Deleted<'_>, began_ns: u64) -> u32 {
    let seen_ns = began_ns + u64::from(deleted.at_ms) * 1_000_000;
    let passed = identity::uptime_ns().saturating_sub(seen_ns) / 1_000_000_000;
    u32::try_from(passed).unwrap_or(u32::MAX)
}

/// What each rule of a run by hand set; nothing where it deleted.
fn sets(report: &Report) -> Vec<Option<Update>> {
    let rules = report.plan.rules.iter();
    rules
        .map(|rule| match (&rule.sets, rule.grace) {
            (Some(sets), _) => Some(sets.into()),
            (None, Some(grace)) => Some(Update {
                timeout: Some(u32::try_from(grace).unwrap_or(u32::MAX)),
                ..Update::default()
            }),
            (None, None) => None,
        })
        .collect()
}

/// The names of rules of a run, by their index; of none where a person asked for what it did: no
/// later run does that again.
fn names(report: &Report, rules: &BTreeSet<u16>) -> Vec<String> {
    if report.by_hand.is_some() {
        return Vec::new();
    }
    rules
        .iter()
        .filter_map(|rule| Some(report.plan.rules.get(usize::from(*rule))?.name.clone()))
        .collect()
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

/// An error and its cause, in a row.
fn told(error: &StateError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn room(header: &Header, count: u64) -> u64 {
    match header.number("nf_conntrack_max") {
        Some(0) => u64::MAX,
        Some(max) => (max / 10 * ROOM_TENTHS).saturating_sub(count),
        None => 0,
    }
}
