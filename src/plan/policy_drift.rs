//! What changes for one table if the policy does: `plan --compare`.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::{RulePlan, Saved, TunableStep};
use crate::flow::FlowKey;

/// Two policies on the same table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PolicyDrift {
    /// `conntidy.policy-drift/1`.
    pub schema: &'static str,
    /// SHA-256 of the old policy, hex.
    pub old_sha256: String,
    /// SHA-256 of the new policy, hex.
    pub new_sha256: String,
    /// Rules that do something else; a timeout that is applied to existing entries by its sysctl's name.
    pub rules: Vec<RuleDrift>,
    /// Flows that another rule would change than before, or none.
    pub moved: Vec<Moved>,
    /// Tunables that get another value.
    pub tunables: Vec<TunableDrift>,
}

/// One rule under both policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RuleDrift {
    /// Its name.
    pub name: String,
    /// Under the old policy; null where it has no such rule.
    pub old: Option<Does>,
    /// Under the new one.
    pub new: Option<Does>,
}

/// What a rule does with the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Does {
    /// `delete`, `expire` or `report`.
    pub action: String,
    /// For `expire`, seconds left to silent flows.
    pub grace: Option<u64>,
    /// Flows that it claims.
    pub matched: u64,
    /// Flows that it would change.
    pub selected: u64,
    /// Whether a rail refuses it.
    pub refused: bool,
}

/// Flows that pass from one rule to another; null is no rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Moved {
    /// The rule that would change them under the old policy.
    pub old: Option<String>,
    /// The rule that would change them under the new one.
    pub new: Option<String>,
    /// How many.
    pub flows: u64,
}

/// A tunable under both policies; null where the policy leaves it alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TunableDrift {
    /// The sysctl.
    pub name: String,
    /// The old wish.
    pub old: Option<u64>,
    /// The new wish.
    pub new: Option<u64>,
}

impl PolicyDrift {
    /// Compares what two policies make of one table.
    #[must_use]
    pub fn of(old: &Saved, new: &Saved) -> Self {
        Self {
            schema: "conntidy.policy-drift/1",
            old_sha256: old.plan.policy_sha256.clone(),
            new_sha256: new.plan.policy_sha256.clone(),
            rules: rules(old, new),
            moved: moved(old, new),
            tunables: tunables(&old.plan.sysctl, &new.plan.sysctl),
        }
    }

    /// Whether nothing changes for this table.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.moved.is_empty() && self.tunables.is_empty()
    }
}

fn does(saved: &Saved) -> BTreeMap<&str, Does> {
    let all = saved.plan.rules.iter().chain(&saved.plan.existing);
    let one = |rule: &RulePlan| Does {
        action: rule.action.clone(),
        grace: rule.grace,
        matched: rule.matched,
        selected: rule.selected,
        refused: rule.refused.is_some(),
    };
    all.map(|rule| (rule.name.as_str(), one(rule))).collect()
}

fn rules(old: &Saved, new: &Saved) -> Vec<RuleDrift> {
    let (old, new) = (does(old), does(new));
    let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    let differ = names
        .into_iter()
        .filter(|name| old.get(name) != new.get(name));
    differ
        .map(|name| RuleDrift {
            name: name.to_owned(),
            old: old.get(name).cloned(),
            new: new.get(name).cloned(),
        })
        .collect()
}

/// The rule that changes each flow.
fn takers(saved: &Saved) -> BTreeMap<FlowKey, &str> {
    let all = saved.rules.iter().chain(&saved.existing);
    all.flat_map(|(name, flows)| flows.iter().map(move |flow| (flow.key, name.as_str())))
        .collect()
}

fn moved(old: &Saved, new: &Saved) -> Vec<Moved> {
    let (old, new) = (takers(old), takers(new));
    let mut counts: BTreeMap<(Option<&str>, Option<&str>), u64> = BTreeMap::new();
    for (key, rule) in &old {
        *counts
            .entry((Some(rule), new.get(key).copied()))
            .or_default() += 1;
    }
    for (_, rule) in new.iter().filter(|(key, _)| !old.contains_key(key)) {
        *counts.entry((None, Some(rule))).or_default() += 1;
    }
    let mut moved: Vec<Moved> = counts
        .into_iter()
        .filter(|((old, new), _)| old != new)
        .map(|((old, new), flows)| Moved {
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
            flows,
        })
        .collect();
    moved.sort_by_key(|moved| std::cmp::Reverse(moved.flows));
    moved
}

fn tunables(old: &[TunableStep], new: &[TunableStep]) -> Vec<TunableDrift> {
    let wishes = |steps: &[TunableStep]| -> BTreeMap<String, u64> {
        let each = steps.iter().map(|step| (step.name.clone(), step.wanted));
        each.collect()
    };
    let (old, new) = (wishes(old), wishes(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differ = names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name));
    differ
        .map(|name| TunableDrift {
            name: name.clone(),
            old: old.get(name).copied(),
            new: new.get(name).copied(),
        })
        .collect()
}
