//! What became of each rule, from what the kernel answered.

use std::io;

use crate::kernel::Tally;
use crate::kernel::tally::{Count, Failure};
use crate::plan::{Plan, RulePlan};
use crate::report::RuleResult;

/// Results of every rule that sent something, existing-entry timeouts first.
pub(super) fn rules(plan: &Plan, sent: &[Tally]) -> Vec<RuleResult> {
    let policy_rules = plan.rules.len();
    let existing = (policy_rules..).zip(&plan.existing);
    existing
        .chain((0..).zip(&plan.rules))
        .filter_map(|(index, rule)| {
            let tag = u32::try_from(index).ok()?;
            let counts: Vec<Count> = sent.iter().map(|tally| tally.count(tag)).collect();
            let result = result(rule, &counts);
            (result.sent + result.unsent > 0).then_some(result)
        })
        .collect()
}

fn result(rule: &RulePlan, counts: &[Count]) -> RuleResult {
    let mut result = RuleResult {
        name: rule.name.clone(),
        action: rule.action.clone(),
        ..RuleResult::default()
    };
    for count in counts {
        result.sent += count.total() - count.unsent;
        result.done += count.done;
        result.gone += count.gone;
        result.busy += count.busy;
        result.failed += count.failed + count.exists;
        result.unknown += count.unknown;
        result.unsent += count.unsent;
        result.errors.extend(count.failures.iter().map(failure));
    }
    result
}

/// `tcp 10.0.0.1:1 -> 10.0.0.2:2: Operation not permitted: the kernel's sentence`.
pub(crate) fn failure(failure: &Failure) -> String {
    let error = io::Error::from_raw_os_error(failure.errno);
    if failure.sentence.is_empty() {
        format!("{}: {error}", failure.key)
    } else {
        format!("{}: {error}: {}", failure.key, failure.sentence)
    }
}
