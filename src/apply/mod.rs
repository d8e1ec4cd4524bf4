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
//! Rules decide before the timeouts change: idle time is reckoned from the timeouts under which
//! the entries were written.

mod collected;
pub(crate) mod result;
mod sink;
pub mod tunable;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::kernel::sweep::{Answered, BeforeBatch, Outgoing};
use crate::kernel::{Live, Sweep, SweepOptions, Tally as Sent, identity};
use crate::observe::{Dumped, Header, Observe, ObserveError, Tell, Told, Visit};
use crate::plan::{
    self, Act, DUMP_TRIES, Judge, Options, PlanError, Scan, Selected, Tally, TunableState,
};
use crate::policy::{Action, Members, Policy, RunMode, Seconds, Test};
use crate::report::{Report, TunableOutcome};
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
    /// Choices that are no part of the policy; the holds are read from the state.
    pub options: Options,
    /// Told how far a dump is.
    pub tell: &'a Tell<'a>,
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
        self.options.holds = memory.holds();
        self.state.create()?;
        memory.history.record(&header);
        memory
            .history
            .prune(header.uptime_ns, self.longest_window());
        self.state.remember(&memory)?;
        let members = plan::members(self.policy, self.members, &header);
        // What this run may set while it still looks must not look idle when it is seen again: a
        // dump can show an entry twice, or be repeated.
        let streamed = Judge::new(self.policy, &members, &header, &self.options).streamed_timers();
        for (governing, seconds) in streamed {
            let now = header.uptime_ns;
            header.history.record_retime(governing, now, seconds);
        }
        let judge = Judge::new(self.policy, &members, &header, &self.options);
        let nothing = Tally::new(&judge, Act::All);
        let plan = plan::build(&judge, &self.options, &nothing, Dumped::default());
        let mut running = Running {
            apply: &self,
            started,
            started_ns: header.uptime_ns,
            sent: Vec::new(),
            report: Report::new(self.run.to_string(), &header, plan),
            memory,
        };
        self.state.write_audit(self.run, &running.report)?;
        if self.policy.mode == RunMode::Report || !header.conntrack {
            running.only_plan(&judge)?;
        } else {
            running.act(judge, &header)?;
        }
        Ok(running.finish())
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
    report: Report,
    /// What became of everything that was sent.
    sent: Vec<Sent>,
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
        match plan::plan(apply.live, judge, &apply.options, apply.tell) {
            Ok(plan) => self.report.plan = plan,
            Err(PlanError::Observe(error)) => return Err(error.into()),
            Err(unsettled @ PlanError::Unsettled { .. }) => self.problem(unsettled.to_string()),
        }
        self.report.timings.dump_ms = milliseconds(self.started);
        Ok(())
    }

    fn act(&mut self, mut judge: Judge<'_>, header: &Header) -> Result<(), ApplyError> {
        let apply = self.apply;
        let undo: Undo = Arc::new(Mutex::new(apply.state.undo_writer(apply.run)?));
        let steps = plan::tunables(apply.policy, header, apply.options.resize);
        let later = judge.existing_names().any(|name| {
            steps
                .iter()
                .any(|step| step.name == name && step.state == TunableState::Change)
        });
        let act = if later { Act::Rules } else { Act::All };
        let looked = self.look(&judge, act, &undo)?;
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

        let began = Instant::now();
        self.write_tunables(&mut judge);
        // A run that is killed from here on has told what it wrote.
        if !self.report.sysctl.is_empty()
            && let Err(error) = apply.state.write_audit(apply.run, &self.report)
        {
            self.problem(format!("{error}: {}", source_of(&error)));
        }
        self.report.timings.sysctl_ms = milliseconds(began);

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
        self.report.timings.act_ms = milliseconds(began);
        Ok(())
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
                .retain(|flow| judge.action(usize::from(flow.rule)) != Action::Delete);
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
            if let Action::Expire { grace } = judge.action(rule) {
                let seconds = u32::try_from(grace.0).unwrap_or(u32::MAX);
                for governing in judge.governing(rule) {
                    self.memory.history.record_retime(governing, now, seconds);
                }
            }
        }
        Ok(self.apply.state.remember(&self.memory)?)
    }

    fn write_tunables(&mut self, judge: &mut Judge<'_>) {
        let results = tunable::write(&self.apply.live.tunables(), &self.report.plan.sysctl);
        if results.is_empty() {
            return;
        }
        let now = self.uptime_ns();
        for result in &results {
            let in_force = result.outcome == TunableOutcome::Written;
            if !in_force {
                judge.refuse_existing(&result.name);
            }
            let value = result.after.as_deref().and_then(|text| text.parse().ok());
            if let Some(value) = value
                && crate::tunable::is_timeout(&result.name)
            {
                self.memory.history.record_timeout(&result.name, now, value);
            }
        }
        self.report.sysctl = results;
        if let Err(error) = self.apply.state.remember(&self.memory) {
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
        self.report.finished = Some(plan::rfc3339(identity::time_ns()));
        // The changes are made: whoever called has to be told of them, recorded or not. Without
        // this the record reads as that of a run that was killed, which `undo` can undo.
        if let Err(error) = apply.state.write_audit(apply.run, &self.report) {
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
