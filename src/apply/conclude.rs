//! What a run tells the next about when rules ran, how that went, and which flows they follow.

use std::sync::Arc;

use super::{Running, result, source_of};
use crate::history::{Followed, Persisted, fingerprint};
use crate::plan::{Judge, Refusal, Tally};
use crate::policy::Action;
use crate::schedule::Came;

impl Running<'_> {
    /// Remembers a run that saw all that it wanted to see. One that did not changes nothing of this.
    pub(super) fn conclude(&mut self, judge: &Judge<'_>, tally: &mut Tally) {
        let now_ns = self.started_ns;
        let results = result::rules(&self.report.plan, &self.sent);
        for (index, plan) in self.report.plan.rules.iter().enumerate() {
            // Without a table it had nothing to look at.
            if plan.waiting.is_some() || !judge.header().conntrack {
                continue;
            }
            let result = results.iter().find(|result| result.name == plan.name);
            let failed = result.is_some_and(|r| r.failed > 0 || r.unknown > 0 || r.unsent > 0);
            let came = match &plan.refused {
                // An uplink that is down, or a list not filled yet, is no fault of the rule.
                Some(
                    Refusal::OnHold { .. }
                    | Refusal::Broken { .. }
                    | Refusal::EmptySet { .. }
                    | Refusal::UnreadableSet { .. },
                ) => Came::Held,
                _ if judge.action(index) == Action::Report => Came::Held,
                Some(_) => Came::Wrong,
                None if failed => Came::Wrong,
                None => Came::Well,
            };
            self.rounds.ran(&plan.name, now_ns, came);
        }
        self.rounds.note_broken(self.apply.policy);
        // Between two intervals only what was corrected is applied, not what the interval is for.
        let is_due = self.apply.options.schedule.existing().is_none();
        if is_due && judge.existing_names().next().is_some() {
            self.rounds.applied_to_existing(now_ns);
        }
        if self.memory.rounds != self.rounds {
            self.memory.rounds = self.rounds.clone();
            if let Err(error) = self.apply.state.remember(&self.memory) {
                self.problem(format!("{error}: {}", source_of(&error)));
            }
        }
        if let Err(error) = self.follow(judge, tally) {
            self.problem(format!("{error}: {}", source_of(&error)));
        }
    }

    fn follow(&self, judge: &Judge<'_>, tally: &mut Tally) -> Result<(), crate::state::StateError> {
        let apply = self.apply;
        let policy = apply.policy;
        let mut persisted = Persisted::default();
        let asks = policy.rules.iter().any(|rule| rule.persisted.is_some());
        if asks && !(0..policy.rules.len()).any(|rule| judge.follows(rule)) {
            // Every rule that asks waits: what they followed stays, unread.
            return Ok(());
        }
        for (index, rule) in policy.rules.iter().enumerate() {
            if rule.persisted.is_none() {
                continue;
            }
            if judge.follows(index) {
                let tally = &mut tally.rules[index];
                let mut flows = std::mem::take(&mut tally.sightings);
                if self.report.plan.rules[index].refused.is_none() {
                    let mut number = 0;
                    let mut taken = tally.taken.iter().peekable();
                    flows.retain(|_| {
                        let is_taken = taken.next_if_eq(&&number).is_some();
                        number += 1;
                        !is_taken
                    });
                }
                let followed = Followed::new(fingerprint(policy, rule), self.started_ns, flows);
                persisted.keep(&rule.name, Arc::new(followed));
            } else if let Some(before) = apply.options.persisted.of(policy, rule, self.started_ns) {
                persisted.keep(&rule.name, before);
            }
        }
        apply
            .state
            .remember_persisted(&self.memory.boot_id, &persisted)
    }
}
