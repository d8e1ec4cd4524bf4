//! Budgets and run limits: rules are refused whole, never cut short.

use crate::history::MOST_FLOWS;
use crate::policy::{Action, Budget, DEFAULT_GRACE, Percent};

use super::judge::Judge;
use super::tally::{RuleTally, Tally};
use super::{Refusal, RulePlan};

/// A share of a small table would refuse everything: this many entries are always within it.
const FLOOR: u64 = 50;

/// Share of the table that a delete rule without a budget may take.
const DEFAULT_DELETE: Percent = Percent(5_000);

/// Share of the table that it may take in assured flows that are not closed.
const DEFAULT_ASSURED: Percent = Percent(500);

/// Share of the table that an expire rule with a grace below the default may take.
const DEFAULT_EXPIRE: Percent = Percent(5_000);

/// What a rule does whose flows a change by hand leaves alone.
const KEEP: &str = "keep";

/// The timeout that no retransmission refreshes.
const SYN_SENT: &str = "nf_conntrack_tcp_timeout_syn_sent";

/// `min(count, max(percent of the entries, 50))`; `None` where nothing limits.
#[must_use]
pub fn limit(budget: Budget, entries: u64) -> Option<u64> {
    let share = budget
        .percent
        .filter(|&percent| percent < Percent::ALL)
        .map(|percent| percent.of(entries).max(FLOOR));
    match (budget.count, share) {
        (Some(count), Some(share)) => Some(count.min(share)),
        (count, share) => count.or(share),
    }
}

/// Turns counts into what each rule would do: existing-entry timeouts first, then the rules.
pub(super) fn decide(
    judge: &Judge<'_>,
    tally: &Tally,
    entries: u64,
) -> (Vec<RulePlan>, Vec<RulePlan>) {
    let (rules, existing) = tally.rules.split_at(judge.rules.len());
    let mut plans: Vec<RulePlan> = judge
        .rules
        .iter()
        .zip(rules)
        .enumerate()
        .map(|(index, (judged, tally))| {
            let mut plan = rule_plan(&judged.rule.name, judged.action, tally);
            plan.accept_risk.clone_from(&judged.rule.accept_risk);
            plan.streams = judge.streams(index);
            plan.waiting.clone_from(&judged.waiting);
            plan.rearms = matches!(judged.action, Action::Expire { .. })
                .then(|| judge.governing(index).iter().all(|g| g.name() != SYN_SENT));
            plan.budget = own_limit(judged.action, judged.rule.budget, entries);
            plan.proof_in = tally.proof_at.map(|at| {
                at.saturating_sub(judge.header().uptime_ns)
                    .div_ceil(1_000_000_000)
            });
            if judged.rule.only_claims {
                KEEP.clone_into(&mut plan.action);
                return plan;
            }
            plan.refused = judged
                .refused
                .clone()
                .or_else(|| {
                    let limit = MOST_FLOWS as u64;
                    tally.overfull.then_some(Refusal::TooManyFollowed { limit })
                })
                .or_else(|| over_budget(judged.action, judged.rule.budget, tally, entries));
            plan
        })
        .collect();
    refuse_past_run_limits(judge, &mut plans, entries);
    let existing = judge
        .existing
        .iter()
        .zip(existing)
        .map(|(timeout, tally)| {
            let grace = crate::policy::Seconds(timeout.seconds);
            let mut plan = rule_plan(timeout.name, Action::Expire { grace }, tally);
            plan.refused.clone_from(&timeout.refused);
            plan.streams = timeout.refused.is_none();
            plan.rearms = Some(timeout.name != SYN_SENT);
            plan
        })
        .collect();
    (existing, plans)
}

fn rule_plan(name: &str, action: Action, tally: &RuleTally) -> RulePlan {
    RulePlan {
        name: name.to_owned(),
        action: action.word().to_owned(),
        sets: match action {
            Action::Update(update) => Some(update.into()),
            _ => None,
        },
        grace: match action {
            Action::Expire { grace } => Some(grace.0),
            _ => None,
        },
        rearms: None,
        matched: tally.matched,
        selected: tally.selected,
        already: tally.already,
        left: tally.left,
        unproven: tally.unproven,
        doubtful: tally.doubtful,
        not_persisted: tally.not_persisted,
        waiting: None,
        proof_in: None,
        refused: None,
        budget: None,
        impact: (action == Action::Delete).then_some(tally.impact),
        streams: false,
        accept_risk: None,
        sample: tally.sample.lines(),
    }
}

fn own_limit(action: Action, budget: Option<Budget>, entries: u64) -> Option<u64> {
    let default = |percent| Budget {
        count: None,
        percent: Some(percent),
    };
    match (action, budget) {
        (Action::Report, _) => None,
        (_, Some(budget)) => limit(budget, entries),
        (Action::Delete, None) => limit(default(DEFAULT_DELETE), entries),
        (Action::Expire { grace }, None) if grace < DEFAULT_GRACE => {
            limit(default(DEFAULT_EXPIRE), entries)
        }
        (Action::Expire { .. } | Action::Update(_), None) => None,
    }
}

fn over_budget(
    action: Action,
    budget: Option<Budget>,
    tally: &RuleTally,
    entries: u64,
) -> Option<Refusal> {
    if let Some(limit) = own_limit(action, budget, entries)
        && tally.selected > limit
    {
        return Some(Refusal::OverBudget { limit });
    }
    if action == Action::Delete && budget.is_none() {
        let limit = DEFAULT_ASSURED.of(entries).max(FLOOR);
        if tally.assured > limit {
            return Some(Refusal::OverAssuredBudget {
                assured: tally.assured,
                limit,
            });
        }
    }
    None
}

fn refuse_past_run_limits(judge: &Judge<'_>, plans: &mut [RulePlan], entries: u64) {
    let limits = judge.policy().limits;
    for (action, percent) in [("delete", limits.delete), ("expire", limits.expire)] {
        if percent >= Percent::ALL {
            continue;
        }
        let limit = percent.of(entries).max(FLOOR);
        let total: u64 = plans
            .iter()
            .filter(|plan| plan.refused.is_none() && plan.action == action)
            .map(|plan| plan.selected)
            .sum();
        if total <= limit {
            continue;
        }
        for plan in plans
            .iter_mut()
            .filter(|plan| plan.refused.is_none() && plan.action == action && plan.selected > 0)
        {
            plan.refused = Some(Refusal::OverRunLimit { total, limit });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_the_smaller_of_count_and_share_with_a_floor_of_50() {
        let budget = |count, percent: Option<u16>| Budget {
            count,
            percent: percent.map(Percent),
        };
        assert_eq!(limit(budget(Some(500), Some(200)), 100_000), Some(500));
        assert_eq!(limit(budget(Some(5000), Some(200)), 100_000), Some(2000));
        assert_eq!(limit(budget(None, Some(200)), 100), Some(50));
        assert_eq!(limit(budget(Some(10), Some(200)), 100), Some(10));
        assert_eq!(limit(budget(None, Some(10_000)), 100), None);
    }
}
