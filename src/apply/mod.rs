//! From a policy to a changed table: look, decide, write, verify, report.
//!
//! Order of a run, each step resting on the one before:
//! 1. read header and history; remember the timeouts as they are now;
//! 2. one dump for all rules; rules that nothing can refuse act meanwhile (streaming), the others
//!    are collected;
//! 3. budgets and limits decide which collected rules act;
//! 4. tunables are written and read back;
//! 5. timeouts that came into force in step 4 are applied to existing entries, by a dump of their
//!    own;
//! 6. the collected rules act: expires first, since the kernel compares no id there.
//!
//! A run that is to be confirmed writes tunables first and waits; only then it looks, and rules act.
//!
//! Rules decide before the timeouts change: idle time is reckoned from the timeouts under which
//! the entries were written.

mod collected;
mod conclude;
mod confirmed;
pub(crate) mod result;
mod sink;
pub mod tunable;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::history::Write;
use crate::kernel::sweep::{Answered, BeforeBatch, Outgoing};
use crate::kernel::{Live, Sweep, SweepOptions, Tally as Sent, identity};
use crate::observe::{Dumped, Header, Observe, ObserveError, Tell, Told, Visit};
use crate::plan::{
    self, Act, DUMP_TRIES, Judge, Options, PlanError, Saved, Scan, Selected, Tally, TunableState,
};
use crate::policy::{Action, Members, Policy, RunMode, Seconds, Test};
use crate::report::{Confirmation, Report, TunableOutcome, TunableResult};
use crate::schedule::{Rounds, When};
use crate::state::{Memory, RunName, State, StateError};
use sink::{ActSink, Undo};

/// History is kept at least this long, for policies still to come.
const SHORTEST_MEMORY: Seconds = Seconds(30 * 86_400);

/// Why a run ended before it changed anything, or lost sight of what it changed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Nothing could be seen.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// State could not be kept; without it nothing is changed.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Waits until what was written is confirmed, or is not; `None` where there is nothing to confirm.
pub type Confirm<'a> = dyn Fn(&[TunableResult]) -> Option<Confirmation> + 'a;

/// What a run works with.
pub struct Apply<'a> {
    /// The kernel.
    pub live: &'a Live,
    /// The namespace's state; its lock is held by the caller.
    pub state: &'a State,
    /// Name of the run.
    pub run: &'a RunName,
    /// What was observed when the run began, but for the history, which the state has.
    pub header: Header,
    /// The policy.
    pub policy: &'a Policy,
    /// Members of its sets as they were read, by index.
    pub members: &'a [Members],
    /// Choices that are no part of the policy; holds, schedule and followed flows come from the
    /// state.
    pub options: Options,
    /// What kind of run it is.
    pub when: When,
    /// What a person asked for, as the record shall tell it; with [`When::ByHand`].
    pub by_hand: Option<String>,
    /// A plan made before: only flows that it names are changed, and none while a dump runs.
    pub saved: Option<&'a Saved>,
    /// Told how far a dump is.
    pub tell: &'a Tell<'a>,
    /// Told how many of the collected changes are handed over.
    pub changing: &'a Tell<'a>,
    /// Asked, with what came of the tunables and before any rule acts, whether that may stay.
    pub confirm: Option<&'a Confirm<'a>>,
}

impl Apply<'_> {
    /// Runs it. The report is also the run's audit record, which exists from before the first
    /// change.
    ///
    /// # Errors
    /// Where nothing can be seen, or state cannot be kept: nothing was changed then. What goes wrong
    /// after the first change is told in the report.
    pub fn run(mut self) -> Result<Report, ApplyError> {
        let started = Instant::now();
        let mut header = std::mem::take(&mut self.header);
        let mut memory = self.state.memory(&header.boot_id)?;
        header.history = memory.history.clone();
        let is_by_hand = self.when == When::ByHand;
        let mut rounds = memory.rounds.clone();
        if !is_by_hand {
            self.options.holds = memory.holds();
        }
        rounds.see(self.policy, &header);
        self.options.schedule = rounds.schedule(self.policy, &header, self.when);
        let lost = self.recall(&header).err();
        self.state.create()?;
        memory.history.record(&header);
        memory
            .history
            .prune(header.uptime_ns, self.longest_window());
        if !is_by_hand {
            memory.health.started(header.time_ns);
            self.state.remember(&memory)?;
        }
        let members = plan::members(self.policy, self.members, &header);
        if self.saved.is_none() {
            self.foresee_streamed(&mut header, &members);
        }
        let judge = Judge::new(self.policy, &members, &header, &self.options);
        let nothing = Tally::new(&judge, Act::All);
        let plan = plan::build(&judge, &self.options, &nothing, Dumped::default());
        let mut report = Report::new(self.run.to_string(), &header, plan);
        report.by_hand.clone_from(&self.by_hand);
        let mut running = Running {
            apply: &self,
            started,
            started_ns: header.uptime_ns,
            sent: Vec::new(),
            report,
            memory,
            rounds,
            is_recorded: true,
        };
        if let Some(error) = lost {
            running.problem(format!(
                "which flows earlier runs saw is lost, so none has persisted: {error}: {}",
                source_of(&error)
            ));
        }
        if self.when == When::Due && running.has_nothing_to_do(&judge) {
            // A timer's idle runs would push out the records of those that did something.
            running.is_recorded = false;
            running.conclude(&judge, &mut Tally::new(&judge, Act::All));
            return Ok(running.finish());
        }
        self.state.write_audit(self.run, &running.report)?;
        if self.confirm.is_some() {
            self.state.await_confirmation(self.run)?;
        }
        if self.policy.mode == RunMode::Report || !header.conntrack {
            if let Some(confirm) = self.confirm {
                confirm(&[]);
            }
            running.only_plan(&judge)?;
        } else if let Some(confirm) = self.confirm {
            running.act_once_confirmed(confirm, judge, &header);
        } else {
            running.act(judge, &header, Writes::All)?;
        }
        Ok(running.finish())
    }

    /// What this run may set while it still looks must not look idle when it is seen again: a dump
    /// can show an entry twice, or be repeated.
    fn foresee_streamed(&self, header: &mut Header, members: &[Members]) {
        let streamed = Judge::new(self.policy, members, header, &self.options).streamed_timers();
        for (governing, seconds) in streamed {
            let now = header.uptime_ns;
            header.history.record_retime(governing, now, seconds);
        }
    }

    /// Reads which flows earlier runs saw, where a rule that runs asks for it.
    fn recall(&mut self, header: &Header) -> Result<(), StateError> {
        let schedule = &self.options.schedule;
        let asks = self.policy.rules.iter().enumerate().any(|(index, rule)| {
            let rests = schedule
                .waiting(index)
                .is_some_and(|waiting| !waiting.counts());
            rule.persisted.is_some() && !rests
        });
        if asks {
            self.options.persisted = self.state.persisted(&header.boot_id)?;
        }
        Ok(())
    }

    fn longest_window(&self) -> Seconds {
        self.policy
            .rules
            .iter()
            .flat_map(|rule| &rule.predicate.tests)
            .filter_map(|test| match test {
                Test::IdleFor(seconds) => Some(*seconds),
                _ => None,
            })
            .max()
            .map_or(SHORTEST_MEMORY, |longest| longest.max(SHORTEST_MEMORY))
    }
}

/// A run at work.
struct Running<'a> {
    apply: &'a Apply<'a>,
    started: Instant,
    /// Time since boot at `started`, nanoseconds.
    started_ns: u64,
    memory: Memory,
    /// What the next run shall know, once this one has seen all that it wanted to see.
    rounds: Rounds,
    report: Report,
    /// Whether the run leaves an audit record.
    is_recorded: bool,
    /// What became of everything that was sent.
    sent: Vec<Sent>,
}

/// Which tunables a run writes while its rules act.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    /// All that differ.
    All,
    /// None: they were written before, and confirmed.
    None,
}

/// What a dump selected.
struct Looked {
    tally: Tally,
    dumped: Dumped,
    selected: Vec<Selected>,
    /// Why an undo record could not be kept.
    error: Option<std::io::Error>,
}

impl Running<'_> {
    fn only_plan(&mut self, judge: &Judge<'_>) -> Result<(), ApplyError> {
        let apply = self.apply;
        match plan::count_all(apply.live, judge, apply.tell) {
            Ok((mut tally, dumped)) => {
                self.report.plan = plan::build(judge, &apply.options, &tally, dumped);
                if apply.when != When::ByHand {
                    self.conclude(judge, &mut tally);
                }
            }
            Err(PlanError::Observe(error)) => return Err(error.into()),
            Err(unsettled @ PlanError::Unsettled { .. }) => self.problem(unsettled.to_string()),
        }
        self.report.timings.dump_ms = milliseconds(self.started);
        Ok(())
    }

    fn act(
        &mut self,
        mut judge: Judge<'_>,
        header: &Header,
        writes: Writes,
    ) -> Result<(), ApplyError> {
        let apply = self.apply;
        let undo: Undo = Arc::new(Mutex::new(apply.state.undo_writer(apply.run)?));
        let steps = plan::tunables(apply.policy, header, &apply.options);
        let changing: Vec<&str> = steps
            .iter()
            .filter(|step| step.state == TunableState::Change)
            .map(|step| step.name.as_str())
            .collect();
        let later = match writes {
            Writes::All => judge.existing_names().any(|name| changing.contains(&name)),
            Writes::None => {
                for name in changing {
                    judge.refuse_existing(name);
                }
                false
            }
        };
        let act = if later { Act::Rules } else { Act::All };
        let looked = if judge.needs_dump(act) {
            self.look(&judge, act, &undo)?
        } else {
            Some(Looked {
                tally: Tally::new(&judge, act),
                dumped: Dumped::default(),
                selected: Vec::new(),
                error: None,
            })
        };
        let has_settled = looked.is_some();
        self.report.timings.dump_ms = milliseconds(self.started);
        let mut tally = Tally::new(&judge, Act::All);
        let mut dumped = Dumped::default();
        let mut selected = Vec::new();
        if let Some(looked) = looked {
            tally = looked.tally;
            dumped = looked.dumped;
            selected = looked.selected;
        }
        self.report.plan = plan::build(&judge, &apply.options, &tally, dumped);

        if writes == Writes::All {
            let began = Instant::now();
            self.write_tunables(&mut judge);
            self.tell_what_was_written();
            self.report.timings.sysctl_ms = milliseconds(began);
        }

        let began = Instant::now();
        if later {
            match self.look(&judge, Act::Existing, &undo) {
                Ok(Some(looked)) => {
                    tally.adopt_existing(looked.tally);
                    selected.extend(looked.selected);
                }
                Ok(None) => {}
                // Tunables are written by now, which the report has to tell.
                Err(error) => self.problem(format!(
                    "timeouts are not applied to existing entries: {error}: {}",
                    source_of(&error)
                )),
            }
            self.report.plan = plan::build(&judge, &apply.options, &tally, dumped);
        }
        self.act_on_collected(&judge, &selected, &undo);
        // Records of what was refused would push out those of runs that can be undone. Only room is
        // lost where this fails.
        let _ = (undo.lock().unwrap_or_else(PoisonError::into_inner)).forget_unsent();
        if has_settled && apply.when != When::ByHand {
            self.conclude(&judge, &mut tally);
        }
        self.report.timings.act_ms = milliseconds(began);
        Ok(())
    }

    /// No rule is due, and no tunable differs.
    fn has_nothing_to_do(&self, judge: &Judge<'_>) -> bool {
        let mut steps = self.report.plan.sysctl.iter();
        !judge.needs_dump(Act::All) && !steps.any(|step| step.state == TunableState::Change)
    }

    /// One dump: streaming rules act meanwhile, the others are collected. `None` where the table
    /// does not settle, which is then noted.
    fn look(
        &mut self,
        judge: &Judge<'_>,
        act: Act,
        undo: &Undo,
    ) -> Result<Option<Looked>, ApplyError> {
        let apply = self.apply;
        let rules = 0..judge.rule_count();
        let streaming: Vec<usize> = rules
            .filter(|_| apply.saved.is_none())
            .filter(|&rule| judge.streams(rule) && act.concerns(rule, apply.policy.rules.len()))
            .collect();
        let before = self.memory.history.clone();
        let sets_timers = streaming.iter().any(|&rule| {
            rule < apply.policy.rules.len() && matches!(judge.action(rule), Action::Expire { .. })
        });
        if sets_timers {
            self.note_retimes(judge, streaming.iter().copied())?;
        }
        let mut sweep = if streaming.is_empty() {
            None
        } else {
            let record = Arc::clone(undo);
            let hook = move |batch: &Outgoing<'_>| {
                let mut undo = record.lock().unwrap_or_else(PoisonError::into_inner);
                undo.append_sent(batch.record)
            };
            self.sweep(Box::new(hook), undo)
        };
        let mut streamed = Sent::default();
        let mut settled = Ok(None);
        for _ in 0..DUMP_TRIES {
            let looked = dump(apply, judge, act, undo, sweep.as_ref(), self.started);
            // What a dump did not settle cannot be relied on: from then on nothing acts meanwhile.
            if let Some(sweep) = sweep.take() {
                streamed = sweep.finish();
            }
            match looked {
                Ok(looked) if looked.dumped.resized => {}
                looked => {
                    settled = looked.map(Some);
                    break;
                }
            }
        }
        // Only timers that were set can make an entry look idle.
        self.memory.history = before;
        let set = streaming
            .into_iter()
            .filter(|&rule| u32::try_from(rule).is_ok_and(|tag| streamed.count(tag).total() > 0));
        // What was done is done and has to be told, so this is no error any more.
        if sets_timers && let Err(error) = self.note_retimes(judge, set) {
            self.problem(format!("{error}: {}", source_of(&error)));
        }
        let made = streamed.total().done;
        self.sent.push(streamed);
        let mut settled = match settled {
            Ok(Some(looked)) => Some(looked),
            Ok(None) => {
                let tries = DUMP_TRIES;
                self.problem(format!(
                    "{}{}",
                    PlanError::Unsettled { tries },
                    already(made)
                ));
                None
            }
            Err(error) => {
                let cause = source_of(&error);
                self.problem(format!(
                    "the table could not be read to its end, so no rule acts: {error}: {cause}{}",
                    already(made)
                ));
                None
            }
        };
        if let Some(looked) = &mut settled
            && let Some(error) = looked.error.take()
        {
            self.problem(format!(
                "no undo record could be written, so nothing is deleted: {error}"
            ));
            looked
                .selected
                .retain(|flow| !judge.can_be_undone(usize::from(flow.rule)));
            let mut undo = undo.lock().unwrap_or_else(PoisonError::into_inner);
            // Only room is lost where this fails.
            let _ = undo.forget_unsent();
        }
        Ok(settled)
    }

    fn sweep(&mut self, before: BeforeBatch, undo: &Undo) -> Option<Sweep> {
        let undo = Arc::clone(undo);
        let after = move |batch: &Answered<'_>| {
            let mut undo = undo.lock().unwrap_or_else(PoisonError::into_inner);
            undo.answered(batch.made());
        };
        let options = SweepOptions {
            pace: self.apply.policy.limits.pace.and_then(NonZeroU32::new),
            before: Some(before),
            after: Some(Box::new(after)),
            ..SweepOptions::default()
        };
        match self.apply.live.sweep(options) {
            Ok(sweep) => Some(sweep),
            Err(error) => {
                self.problem(format!("the table cannot be changed: {error}"));
                None
            }
        }
    }

    /// Remembers that rules set timers, before they do so and again afterwards: an entry whose
    /// timer was set looks idle.
    fn note_retimes(
        &mut self,
        judge: &Judge<'_>,
        rules: impl Iterator<Item = usize>,
    ) -> Result<(), ApplyError> {
        let now = self.uptime_ns();
        let own = 0..self.apply.policy.rules.len();
        // A timer set to the very timeout in force looks like one that a packet has just set.
        for rule in rules.filter(|rule| own.contains(rule)) {
            if let Some(seconds) = judge.action(rule).timer() {
                for governing in judge.governing(rule) {
                    self.memory.history.record_retime(governing, now, seconds);
                }
            }
        }
        Ok(self.apply.state.remember_history(&self.memory)?)
    }

    fn write_tunables(&mut self, judge: &mut Judge<'_>) {
        let mut results = tunable::write(&self.apply.live.tunables(), &self.report.plan.sysctl);
        if results.is_empty() {
            return;
        }
        let now = self.uptime_ns();
        for result in &mut results {
            if result.outcome == TunableOutcome::Written {
                result.contested = self.memory.history.record_write(Write {
                    name: &result.name,
                    found: result.before.as_deref(),
                    value: result.wanted,
                    run: &self.report.run,
                    at_ns: now,
                    module_load: judge.header().module_load,
                    corrects: result.drift.as_ref().is_some_and(|drift| !drift.reset),
                });
            } else {
                judge.refuse_existing(&result.name);
            }
            let value = result.after.as_deref().and_then(|text| text.parse().ok());
            if let Some(value) = value
                && crate::tunable::is_timeout(&result.name)
            {
                self.memory.history.record_timeout(&result.name, now, value);
            }
        }
        self.report.sysctl.extend(results);
        if let Err(error) = self.apply.state.remember_history(&self.memory) {
            self.problem(format!("{error}: {}", source_of(&error)));
        }
    }

    /// A run that is killed from then on has told what it wrote.
    fn tell_what_was_written(&mut self) {
        let apply = self.apply;
        if !self.report.sysctl.is_empty()
            && let Err(error) = apply.state.update_audit(apply.run, &self.report)
        {
            self.problem(format!("{error}: {}", source_of(&error)));
        }
    }

    /// Time since boot by the header's clock, which in a rehearsal is the snapshot's.
    fn uptime_ns(&self) -> u64 {
        let elapsed = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.started_ns.saturating_add(elapsed)
    }

    fn problem(&mut self, text: String) {
        self.report.problems.push(text);
    }

    fn finish(mut self) -> Report {
        let apply = self.apply;
        self.report.rules = result::rules(&self.report.plan, &self.sent);
        for sent in &self.sent {
            if let Some(error) = &sent.stopped {
                self.report.problems.push(format!("stopped: {error}"));
            }
        }
        self.report.count_after = apply.live.count().ok();
        self.report.timings.total_ms = milliseconds(self.started);
        let time_ns = identity::time_ns();
        self.report.finished = Some(plan::rfc3339(time_ns));
        let uptime_ns = self.uptime_ns();
        // By hand nothing new is to be remembered: set timers were when they were set.
        if apply.when != When::ByHand {
            (self.memory.health).ended(&self.report, time_ns, uptime_ns);
            if let Err(error) = apply.state.remember(&self.memory) {
                self.problem(format!("{error}: {}", source_of(&error)));
            }
        }
        if apply.when == When::ByHand && self.report.rules.is_empty() {
            // Nothing was changed: the record would only push out those of runs that can be undone.
            self.is_recorded = false;
            if let Err(error) = apply.state.forget(apply.run) {
                self.problem(format!("{error}: {}", source_of(&error)));
            }
        }
        if !self.is_recorded {
            return self.report;
        }
        // The changes are made: whoever called has to be told of them, recorded or not. Without
        // this the record reads as that of a run that was killed, which `undo` can undo.
        if let Err(error) = apply.state.update_audit(apply.run, &self.report) {
            self.problem(format!(
                "the run's record is not finished: {error}: {}",
                source_of(&error)
            ));
        }
        if let Err(error) = apply.state.prune(apply.policy.audit, apply.run) {
            self.problem(format!("{error}: {}", source_of(&error)));
        }
        self.report
    }
}

/// One dump into one sink where something streams (two senders would only wait for each other),
/// else into two.
fn dump(
    apply: &Apply<'_>,
    judge: &Judge<'_>,
    act: Act,
    undo: &Undo,
    sweep: Option<&Sweep>,
    started: Instant,
) -> Result<Looked, ObserveError> {
    let scan = || {
        let sink = ActSink::new(judge, undo, sweep.map(Sweep::feeder), started);
        Told::new(Scan::new(judge, act, sink), apply.tell)
    };
    let (mut first, mut second) = (scan(), scan());
    let mut visitors: Vec<&mut dyn Visit> = vec![&mut first];
    if sweep.is_none() {
        visitors.push(&mut second);
    }
    let dumped = apply.live.dump(&mut visitors)?;
    let (mut tally, first) = first.into_inner().into_parts();
    let (rest, second) = second.into_inner().into_parts();
    tally.merge(rest);
    let (mut selected, error) = first.into_selected();
    let (more, second_error) = second.into_selected();
    selected.extend(more);
    selected.extend(tally.resolve(judge));
    Ok(Looked {
        tally,
        dumped,
        selected,
        error: error.or(second_error),
    })
}

/// What streaming rules had done before a dump failed.
fn already(made: u64) -> String {
    match made {
        0 => String::new(),
        made => format!("; {made} changes of streaming rules had been made by then"),
    }
}

/// The causes of an error, in a row.
fn source_of(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
