//! Which flows a command by hand is about: one by its tuple or id, or those that a filter takes.

use std::path::PathBuf;

use clap::Args;

use super::filter::FilterArgs;
use super::{CliError, complete, policy};
use crate::flow::{Family, FlowKey, FlowKeyError, Protocol, Tuple};
use crate::kernel::Only;
use crate::policy::diagnostic::nearest;
use crate::policy::{
    Action, AddressField, AddressTerm, Members, Policy, PortField, Predicate, Rule, Test,
};

/// Which flows, and where.
#[derive(Args, Clone, Debug)]
pub struct SelectArgs {
    /// One entry: protocol, source and destination of its original direction, ` zone N` where it has
    /// one
    #[arg(value_name = "FLOW", num_args = 0..)]
    pub flow: Vec<String>,
    /// Which flows.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// The entry with this id, as `list -o jsonl` shows it
    #[arg(long, value_name = "ID")]
    pub id: Option<u32>,
    /// Only the flows that this rule of the policy would take, which no earlier rule takes. Budgets do
    /// not count
    #[arg(long, value_name = "RULE", add = complete::rules())]
    pub rule: Option<String>,
    /// The policy that has the rules, sets `@name` and protected flows [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// The flows that were named.
pub(super) struct Selection {
    /// Which flows; every one that `only` lets through where it is empty.
    pub(super) predicate: Predicate,
    /// Index of the rule of the policy whose flows they are.
    pub(super) rule: Option<usize>,
    /// That rule, or one before it, asks for the size of groups.
    pub(super) goes_by_groups: bool,
    /// What narrows the look at the table.
    pub(super) only: Only,
    /// The policy in force, empty where there is none.
    pub(super) policy: Policy,
    /// Members of its sets.
    pub(super) members: Vec<Members>,
}

impl SelectArgs {
    /// Nothing was asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.flow.is_empty() && self.filter.is_empty() && self.id.is_none() && self.rule.is_none()
    }

    /// What was asked for is said with the policy's words.
    pub(super) fn needs_policy(&self) -> bool {
        self.rule.is_some() || self.filter.names_sets()
    }

    /// Reads what was asked for, with the policy where it is needed; for what it protects as well.
    pub(super) fn read(&self, protects: bool) -> Result<Selection, CliError> {
        let asks = self.needs_policy();
        let (policy, members) = match policy::load_where(asks, self.policy.as_ref())? {
            Some(loaded) => loaded,
            None if protects => policy::load_or_empty()?,
            None => policy::empty()?,
        };
        let predicate = self.filter.predicate(&policy.sets)?;
        let rule = match &self.rule {
            Some(name) => Some(rule(&policy, name)?),
            None => None,
        };
        // Who looks at one flow does not see how large its group is.
        let goes_by_groups = rule.is_some_and(|rule| {
            let mut tried = policy.rules[..=rule].iter();
            tried.any(|rule| rule.over.is_some())
        });
        if goes_by_groups && (!self.flow.is_empty() || self.id.is_some()) {
            return Err(CliError::usage(
                "this rule, or one before it, goes by groups of flows: a single one does not tell of them",
            )
            .hint("narrow it by a filter, as `-s` and `--sport`"));
        }
        let key = if goes_by_groups {
            None
        } else if self.flow.is_empty() {
            whole_key(&predicate, None)
        } else {
            let named = self.flow.join(" ").parse();
            Some(named.map_err(|error: FlowKeyError| CliError::usage(error.to_string()))?)
        };
        let only = Only {
            key,
            id: self.id,
            dying: false,
        };
        Ok(Selection {
            predicate,
            rule,
            goes_by_groups,
            only,
            policy,
            members,
        })
    }
}

impl Selection {
    /// Nothing narrows it: every flow of the table.
    pub(super) fn is_everything(&self) -> bool {
        let rule = self.rule.map(|rule| &self.policy.rules[rule]);
        let is_narrow = |predicate: &Predicate| *predicate != Predicate::default();
        self.only == Only::default()
            && !is_narrow(&self.predicate)
            && rule.is_none_or(|rule| !is_narrow(&rule.predicate) && rule.over.is_none())
    }

    /// The policy that does this to them and nothing else; at most to so many of them.
    pub(super) fn policy(self, action: Action, most: Option<u64>) -> (Policy, Vec<Members>, Only) {
        let mut by_hand = Rule::by_hand(self.predicate, action, most);
        if let Some(rule) = self.rule {
            by_hand = by_hand.by_hand_as(&self.policy.rules[rule]);
        }
        let earlier = self.rule.unwrap_or(0);
        (
            self.policy.by_hand(by_hand, earlier),
            self.members,
            self.only,
        )
    }
}

/// A rule of the policy by its name.
fn rule(policy: &Policy, name: &str) -> Result<usize, CliError> {
    let Some(index) = policy.rules.iter().position(|rule| rule.name == name) else {
        let names = || policy.rules.iter().map(|rule| rule.name.as_str());
        let error = CliError::usage(format!("the policy has no rule `{name}` that is enabled"));
        return Err(match nearest(name, names()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("`--policy FILE` names another policy"),
        });
    };
    Ok(index)
}

/// The one entry that a predicate can be true of, where it fixes protocol, addresses, ports and
/// zone; `zone` stands in where it fixes none.
pub(super) fn whole_key(predicate: &Predicate, zone: Option<u16>) -> Option<FlowKey> {
    let tests = &predicate.tests;
    let one = |field: AddressField| {
        tests.iter().find_map(|test| match test {
            Test::Address(at, terms) if *at == field => match terms.as_slice() {
                [AddressTerm::Prefix(net)] if net.prefix_len() == net.max_prefix_len() => {
                    Some(net.addr())
                }
                _ => None,
            },
            _ => None,
        })
    };
    let port = |field: PortField| {
        tests.iter().find_map(|test| match test {
            Test::Port(at, ranges) if *at == field => match ranges.as_slice() {
                [(from, to)] if from == to => Some(*from),
                _ => None,
            },
            _ => None,
        })
    };
    let protocol = tests.iter().find_map(|test| match test {
        Test::Protocol(protocols) => <[Protocol; 1]>::try_from(protocols.as_slice()).ok(),
        _ => None,
    });
    let fixed = tests.iter().find_map(|test| match test {
        Test::Zone(zones) => Some(<[u16; 1]>::try_from(zones.as_slice()).ok()),
        _ => None,
    });
    let zone = match fixed {
        Some(zones) => zones?[0],
        None => zone?,
    };
    let [protocol] = protocol.filter(|[protocol]| protocol.has_ports())?;
    let (src, dst) = (one(AddressField::Src)?, one(AddressField::Dst)?);
    if src.is_ipv4() != dst.is_ipv4() {
        return None;
    }
    Some(FlowKey {
        family: if src.is_ipv4() {
            Family::Ipv4
        } else {
            Family::Ipv6
        },
        zone,
        protocol,
        orig: Tuple::new(src, dst, port(PortField::Src)?, port(PortField::Dst)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::filter::filter;

    fn key(table: &str) -> Option<String> {
        let filter = filter(&[], &[table.to_owned()], &[]);
        assert_eq!(filter.diagnostics, []);
        whole_key(&filter.predicate, None).map(|key| key.to_string())
    }

    #[test]
    fn a_filter_that_fixes_every_part_names_one_entry() {
        let whole = r#"protocol = "tcp", src = "10.0.0.1", dst = "10.0.0.2", sport = 1, dport = 2, zone = 7"#;
        assert_eq!(
            key(whole).as_deref(),
            Some("tcp 10.0.0.1:1 10.0.0.2:2 zone 7")
        );
        for (part, other) in [
            (", zone = 7", ""),
            ("zone = 7", "zone = [7, 8]"),
            ("10.0.0.2", "10.0.0.0/31"),
            ("sport = 1", "sport = \"1-2\""),
            ("dport = 2", "reply-dport = 2"),
            ("\"tcp\"", "[\"tcp\", \"udp\"]"),
            ("src = \"10.0.0.1\"", "src = [\"10.0.0.1\", \"10.0.0.3\"]"),
        ] {
            assert_eq!(key(&whole.replace(part, other)), None, "{other}");
        }
    }
}
