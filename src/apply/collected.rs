//! Acts on what a dump collected, once nothing can refuse it any more.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::sink::Undo;
use super::{Running, source_of};
use crate::flow::FlowKey;
use crate::kernel::sweep::Outgoing;
use crate::kernel::{Change, Feeder, Sweep};
use crate::observe::{Observe, Record};
use crate::plan::{Judge, Selected};
use crate::policy::Action;
use crate::state::mark;

/// The kernel compares no id when a timer is set, so a tuple taken anew since the dump would be
/// shortened: what was seen longer ago than this is looked at again (POLICY 4.7).
const FRESH: Duration = Duration::from_secs(5);

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
        let (deletes, timers): (Vec<&Selected>, Vec<&Selected>) = selected
            .iter()
            .filter(|flow| !refused(flow))
            .partition(|flow| judge.action(usize::from(flow.rule)) == Action::Delete);
        if deletes.is_empty() && timers.is_empty() {
            return;
        }
        let mut rules: Vec<usize> = timers.iter().map(|flow| usize::from(flow.rule)).collect();
        rules.sort_unstable();
        rules.dedup();
        if !rules.is_empty()
            && let Err(error) = self.note_retimes(judge, rules.iter().copied())
        {
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
        for flow in deletes {
            mark(feeder.record(), flow.offset, flow.rule);
            let (key, id) = (flow.key, flow.id);
            feeder.push(flow.rule.into(), &Change::Delete { key, id });
        }
        drop(feeder);
        self.sent.push(sweep.finish());
        if !rules.is_empty()
            && let Err(error) = self.note_retimes(judge, rules.into_iter())
        {
            self.problem(format!("{error}: {}", source_of(&error)));
        }
    }

    fn set_timers(
        &self,
        judge: &Judge<'_>,
        timers: &[&Selected],
        sweep: &Sweep,
    ) -> Result<(), String> {
        let mut feeder = sweep.feeder();
        for (index, flow) in timers.iter().enumerate() {
            let seen = self.started + Duration::from_millis(flow.at_ms.into());
            if seen.elapsed() > FRESH {
                feeder.flush();
                return self.set_timers_anew(judge, &timers[index..], sweep);
            }
            set_timer(&mut feeder, judge, flow.rule, flow.key);
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
        let mut feeder = sweep.feeder();
        let mut visit = |record: &Record<'_>| {
            let flow = &record.flow;
            let Some(selected) = wanted.get(&flow.key()) else {
                return;
            };
            // It may have been refreshed, established or protected since.
            if flow.id() == Some(selected.id) && judge.still_selects(selected.rule, record) {
                set_timer(&mut feeder, judge, selected.rule, selected.key);
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

fn set_timer(feeder: &mut Feeder<'_>, judge: &Judge<'_>, rule: u16, key: FlowKey) {
    if let Action::Expire { grace } = judge.action(usize::from(rule)) {
        let seconds = u32::try_from(grace.0).unwrap_or(u32::MAX);
        feeder.push(rule.into(), &Change::Retime { key, seconds });
    }
}
