//! Acts on what a dump collected, once nothing can refuse it any more.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::sink::Undo;
use super::{Running, source_of};
use crate::flow::FlowKey;
use crate::idle::note_lowered;
use crate::kernel::sweep::Outgoing;
use crate::kernel::sysctl::Tunables;
use crate::kernel::{Change, Feeder, Sweep};
use crate::observe::{Header, Observe, Record};
use crate::plan::{Judge, Selected};
use crate::policy::Action;
use crate::report::FromSaved;
use crate::state::mark;
use crate::tunable::{TUNABLES, is_timeout};

/// The kernel compares no id when a timer is set, so a tuple taken anew since the dump would be
/// shortened: what was seen longer ago than this is looked at again (POLICY 4.7).
const FRESH: Duration = Duration::from_secs(5);

/// Changes after which it is told how far it is. The channel to the sender holds few, so it is no
/// further than that either.
const TELL_EVERY: u64 = 64;

impl Running<'_> {
    /// Sends the collected changes of every rule that is not refused: timers first, since deletes
    /// are compared by id and can wait.
    pub(super) fn act_on_collected(
        &mut self,
        judge: &Judge<'_>,
        selected: &[Selected],
        undo: &Undo,
    ) {
        let policy_rules = self.report.plan.rules.len();
        let refused = |flow: &Selected| {
            let rule = usize::from(flow.rule);
            match rule.checked_sub(policy_rules) {
                None => self.report.plan.rules[rule].refused.is_some(),
                Some(existing) => self.report.plan.existing[existing].refused.is_some(),
            }
        };
        let allowed: Vec<&Selected> = selected
            .iter()
            .filter(|flow| !refused(flow))
            .filter(|flow| self.is_planned(flow))
            .collect();
        if let Some(saved) = self.apply.saved {
            let still = allowed.len() as u64;
            let selected = selected.iter().filter(|flow| !refused(flow)).count() as u64;
            self.report.saved = Some(FromSaved {
                generated: saved.plan.generated.clone(),
                planned: saved.flows(),
                still,
                new: selected - still,
            });
        }
        let (deletes, timers): (Vec<&Selected>, Vec<&Selected>) = allowed
            .into_iter()
            .partition(|flow| judge.action(usize::from(flow.rule)) == Action::Delete);
        if deletes.is_empty() && timers.is_empty() {
            return;
        }
        let mut rules: Vec<usize> = timers.iter().map(|flow| usize::from(flow.rule)).collect();
        rules.sort_unstable();
        rules.dedup();
        let sets_timers = rules
            .iter()
            .any(|rule| judge.action(*rule).timer().is_some());
        if sets_timers && let Err(error) = self.note_retimes(judge, rules.iter().copied()) {
            self.problem(format!(
                "that timers are set cannot be remembered, so none is: {error}: {}",
                source_of(&error)
            ));
            return;
        }
        let record = Arc::clone(undo);
        let hook = move |batch: &Outgoing<'_>| {
            let mut undo = record.lock().unwrap_or_else(PoisonError::into_inner);
            undo.mark_sent(batch.record)
        };
        let Some(sweep) = self.sweep(Box::new(hook), undo) else {
            return;
        };
        if let Err(problem) = self.set_timers(judge, &timers, &sweep) {
            self.problem(problem);
        }
        let mut feeder = sweep.feeder();
        for (handed, flow) in (0_u64..).zip(deletes) {
            if handed.is_multiple_of(TELL_EVERY) {
                (self.apply.changing)(handed);
            }
            mark(feeder.record(), flow.offset, flow.rule);
            let (key, id) = (flow.key, flow.id);
            feeder.push(flow.rule.into(), &Change::Delete { key, id });
        }
        drop(feeder);
        self.sent.push(sweep.finish());
        if sets_timers && let Err(error) = self.note_retimes(judge, rules.into_iter()) {
            self.problem(format!("{error}: {}", source_of(&error)));
        }
    }

    /// Whether the saved plan names a flow, where there is one.
    fn is_planned(&self, flow: &Selected) -> bool {
        let saved = self.apply.saved;
        saved.is_none_or(|saved| saved.names(&self.report.plan, flow))
    }

    fn set_timers(
        &self,
        judge: &Judge<'_>,
        timers: &[&Selected],
        sweep: &Sweep,
    ) -> Result<(), String> {
        // What an update sends goes by what the flow is.
        let is_update =
            |flow: &&Selected| matches!(judge.action(usize::from(flow.rule)), Action::Update(_));
        if timers.iter().any(is_update) {
            return self.set_timers_anew(judge, timers, sweep);
        }
        let mut feeder = sweep.feeder();
        for (index, flow) in timers.iter().enumerate() {
            let seen = self.started + Duration::from_millis(flow.at_ms.into());
            if (index as u64).is_multiple_of(TELL_EVERY) {
                (self.apply.changing)(index as u64);
            }
            if seen.elapsed() > FRESH {
                feeder.flush();
                return self.set_timers_anew(judge, &timers[index..], sweep);
            }
            set_timer(&mut feeder, judge, flow);
        }
        Ok(())
    }

    /// Sets the timers of those entries that a new dump still shows as the same ones, as it shows
    /// them.
    fn set_timers_anew(
        &self,
        judge: &Judge<'_>,
        timers: &[&Selected],
        sweep: &Sweep,
    ) -> Result<(), String> {
        let wanted: HashMap<FlowKey, &Selected> =
            timers.iter().map(|flow| (flow.key, *flow)).collect();
        let header = self.header_of_second_look(judge.header());
        let members = judge.context().members;
        let judge = &Judge::new(judge.policy(), members, &header, &self.apply.options);
        let mut feeder = sweep.feeder();
        let mut visit = |record: &Record<'_>| {
            let flow = &record.flow;
            let Some(selected) = wanted.get(&flow.key()) else {
                return;
            };
            // It may have been refreshed, established or protected since.
            if flow.id() != Some(selected.id) || !judge.still_selects(selected.rule, record) {
                return;
            }
            match judge.action(usize::from(selected.rule)) {
                Action::Update(update) => {
                    note(&mut feeder, judge, selected);
                    let key = selected.key;
                    let status = flow.status;
                    let change = Change::Update {
                        key,
                        status,
                        update,
                    };
                    feeder.push(selected.rule.into(), &change);
                }
                _ => set_timer(&mut feeder, judge, selected),
            }
        };
        match self.apply.live.dump(&mut [&mut visit]) {
            Ok(dumped) if dumped.resized => Err(
                "the hash was resized while the table was read again: some timers may not be set"
                    .to_owned(),
            ),
            Ok(_) => Ok(()),
            Err(error) => Err(format!(
                "timers could not all be set, since the table could not be read again: {error}"
            )),
        }
    }
}

impl Running<'_> {
    /// What entries are judged by that are looked at again: what was observed when the run began,
    /// and that timeouts were lowered since, be it by the run itself.
    fn header_of_second_look(&self, header: &Header) -> Header {
        let mut header = header.clone();
        let tunables = self.apply.live.tunables();
        let at_ns = self.uptime_ns();
        for timeout in TUNABLES.iter().filter(|one| is_timeout(one.name)) {
            let now = tunables.read(timeout.name).ok();
            let now = now.and_then(|text| text.trim().parse::<u32>().ok());
            if let (Some(before), Some(now)) = (header.number(timeout.name), now)
                && u64::from(now) < before
            {
                note_lowered(&mut header.history, timeout.name, at_ns, now);
            }
        }
        header
    }
}

/// Says that a kept entry is about to be changed, where that can be undone.
fn note(feeder: &mut Feeder<'_>, judge: &Judge<'_>, flow: &Selected) {
    if judge.can_be_undone(usize::from(flow.rule)) {
        mark(feeder.record(), flow.offset, flow.rule);
    }
}

fn set_timer(feeder: &mut Feeder<'_>, judge: &Judge<'_>, flow: &Selected) {
    if let Some(seconds) = judge.action(usize::from(flow.rule)).timer() {
        note(feeder, judge, flow);
        let key = flow.key;
        feeder.push(flow.rule.into(), &Change::Retime { key, seconds });
    }
}
