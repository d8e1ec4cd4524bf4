//! What a whole policy decides, by the letter of POLICY.md, section 4.

use std::collections::BTreeMap;

use conntidy::flow::{Extra, Flow, Present, Protocol, Status};
use conntidy::observe::{Connection, Header};
use conntidy::policy::{
    Action, AddressTerm, GroupField, Limits, Members, Over, Percent, Policy, Predicate, Rule,
    RunMode, Test,
};

use crate::idle::Certainty;
use crate::strategies::Earlier;
use crate::truth::{self, View};

/// What a policy decides over a table; rules are told by their index in [`Policy::rules`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decision {
    /// One verdict a flow, in the order of the flows.
    pub(crate) flows: Vec<Verdict>,
    /// Rules that are refused whole, and why. What a refused rule had selected stays in `flows`
    /// as [`Outcome::Selected`]: nothing of it may be done.
    pub(crate) refused: BTreeMap<usize, Refusal>,
}

/// What is decided over one flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The rule that claims the flow; `report` rules claim nothing.
    pub(crate) claimed: Option<usize>,
    /// What that rule does with it.
    pub(crate) outcome: Outcome,
    /// `report` rules that match it, whatever else happens to it.
    pub(crate) reported: Vec<usize>,
}

/// What a rule does with a flow that it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No rule claims it.
    Unclaimed,
    /// It is deleted or expired, unless the rule is refused.
    Selected,
    /// It is left alone, by this rail: `offloaded`, `protected`, `session`, `host`,
    /// `fixed-timeout`, `already`, `grace`, `unknown`, `assured`, `half-closed`.
    Left(&'static str),
}

/// Why a rule is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It uses a set that is empty or unreadable.
    Set,
    /// It selects more than its budget.
    Budget,
    /// All rules together select more than `[limits]`.
    Limit,
}

impl Decision {
    /// The rule that acts on a flow, if one does.
    pub(crate) fn acts_on(&self, flow: usize) -> Option<usize> {
        let verdict = &self.flows[flow];
        match verdict.outcome {
            Outcome::Selected => verdict
                .claimed
                .filter(|rule| !self.refused.contains_key(rule)),
            Outcome::Unclaimed | Outcome::Left(_) => None,
        }
    }
}

/// Decides, slowly.
pub(crate) fn model(
    policy: &Policy,
    header: &Header,
    members: &[Members],
    flows: &[(Flow, Extra<'_>)],
    earlier: &Earlier,
) -> Decision {
    let view = View {
        header,
        sets: &policy.sets,
        members,
        ignore_ct_timeout: false,
        certainty: Certainty::Proven,
    };
    let mut order: Vec<usize> = (0..policy.rules.len()).collect();
    order.sort_by_key(|index| {
        (
            policy.rules[*index].order,
            policy.rules[*index].name.clone(),
        )
    });

    let mut refused = BTreeMap::new();
    for (index, rule) in policy.rules.iter().enumerate() {
        // What does not run is not refused.
        if !earlier.rests(index)
            && sets_of(&rule.predicate).any(|set| !truth::is_set_usable(view, set))
        {
            refused.insert(index, Refusal::Set);
        }
    }
    let matches: Vec<Vec<bool>> = policy
        .rules
        .iter()
        .enumerate()
        .map(|(index, rule)| {
            // A refused rule keeps its claims: without its set, all that it may take.
            let blind = refused.contains_key(&index);
            let mut matches = rule_matches(view, rule, action(policy, rule), flows, blind);
            for (number, matches) in matches.iter_mut().enumerate() {
                *matches &= !earlier.rests(index);
                if let Some(wanted) = rule.persisted.filter(|_| !blind) {
                    let identified = flows[number].0.present.contains(Present::ID);
                    let age = earlier.age(index, number).unwrap_or(0);
                    *matches &= identified && age >= wanted.0;
                }
            }
            matches
        })
        .collect();

    let verdicts: Vec<Verdict> = (0..flows.len())
        .map(|flow| {
            let matching: Vec<usize> = order
                .iter()
                .copied()
                .filter(|r| matches[*r][flow])
                .collect();
            let is_report = |index: &usize| action(policy, &policy.rules[*index]) == Action::Report;
            let claimed = matching.iter().copied().find(|index| !is_report(index));
            let (flow, extra) = &flows[flow];
            let outcome = match claimed {
                None => Outcome::Unclaimed,
                Some(index) => match left(view, policy, &policy.rules[index], flow, extra) {
                    Some(rail) => Outcome::Left(rail),
                    None => Outcome::Selected,
                },
            };
            Verdict {
                claimed,
                outcome,
                reported: matching.into_iter().filter(is_report).collect(),
            }
        })
        .collect();

    let entries = flows.len() as u64;
    for (index, rule) in policy.rules.iter().enumerate() {
        let selected: Vec<&Flow> = verdicts
            .iter()
            .zip(flows)
            .filter(|(v, _)| v.claimed == Some(index) && v.outcome == Outcome::Selected)
            .map(|(_, (flow, _))| flow)
            .collect();
        if is_over_budget(rule, &selected, entries) {
            refused.entry(index).or_insert(Refusal::Budget);
        }
    }
    refuse_over_limits(policy, &verdicts, entries, &mut refused);
    Decision {
        flows: verdicts,
        refused,
    }
}

/// `mode = "report"` turns every rule into a report.
fn action(policy: &Policy, rule: &Rule) -> Action {
    match policy.mode {
        RunMode::Act => rule.action,
        RunMode::Report => Action::Report,
    }
}

fn sets_of(predicate: &Predicate) -> impl Iterator<Item = usize> + '_ {
    let tests = predicate.tests.iter().chain(&predicate.not);
    tests.flat_map(|test| {
        let terms: &[AddressTerm] = match test {
            Test::Address(_, terms) => terms,
            _ => &[],
        };
        terms.iter().filter_map(|term| match term {
            AddressTerm::Set(index) => Some(*index),
            AddressTerm::Prefix(_) => None,
        })
    })
}

fn is_closed(flow: &Flow) -> bool {
    flow.protocol == Protocol::TCP && matches!(flow.state_name(), Some("TIME_WAIT" | "CLOSE"))
}

/// Which flows a rule takes, its groups included.
fn rule_matches(
    view: View<'_>,
    rule: &Rule,
    action: Action,
    flows: &[(Flow, Extra<'_>)],
    blind: bool,
) -> Vec<bool> {
    let by_fields: Vec<bool> = flows
        .iter()
        .map(|(flow, extra)| {
            let certainty = if action == Action::Delete && !is_closed(flow) {
                Certainty::Proven
            } else {
                Certainty::Presumed
            };
            let view = View {
                ignore_ct_timeout: rule.ignore_ct_timeout,
                certainty,
                ..view
            };
            let truth = truth::holds(view, &rule.predicate, flow, extra);
            truth == Some(true) || (blind && truth.is_none())
        })
        .collect();
    let Some(over) = rule.over else {
        return by_fields;
    };
    flows
        .iter()
        .zip(&by_fields)
        .map(|((flow, _), matches)| {
            let Some(group) = group(flow, &over) else {
                return false;
            };
            let same = flows
                .iter()
                .zip(&by_fields)
                .filter(|((other, _), matches)| {
                    **matches && self::group(other, &over).as_ref() == Some(&group)
                })
                .count();
            *matches && same as u64 > over.count
        })
        .collect()
}

/// A flow's group, as text.
pub(crate) fn group(flow: &Flow, over: &Over) -> Option<String> {
    let reply = flow.present.contains(Present::REPLY);
    let address = match over.per {
        GroupField::Src => flow.orig.src_ip(flow.family),
        GroupField::Dst => flow.orig.dst_ip(flow.family),
        GroupField::ReplySrc if reply => flow.reply.src_ip(flow.family),
        GroupField::ReplyDst if reply => flow.reply.dst_ip(flow.family),
        GroupField::Dport if flow.protocol.has_ports() => {
            return Some(flow.orig.dst_port.to_string());
        }
        GroupField::Mark if flow.present.contains(Present::MARK) => {
            return Some(flow.mark.to_string());
        }
        GroupField::Zone => return Some(flow.zone_orig.to_string()),
        _ => return None,
    };
    let length = if address.is_ipv4() {
        over.prefix4
    } else {
        over.prefix6
    };
    let prefix = ipnet::IpNet::new(address, length).expect("a valid prefix length");
    Some(prefix.trunc().to_string())
}

/// The first rail that leaves a claimed flow alone.
fn left(
    view: View<'_>,
    policy: &Policy,
    rule: &Rule,
    flow: &Flow,
    extra: &Extra<'_>,
) -> Option<&'static str> {
    let header = view.header;
    let status = |bit| flow.present.contains(Present::STATUS) && flow.status.contains(bit);
    if status(Status::OFFLOAD) || status(Status::HW_OFFLOAD) {
        return Some("offloaded");
    }
    if policy
        .protect
        .iter()
        .any(|protect| truth::holds(view, &protect.predicate, flow, extra) != Some(false))
    {
        return Some("protected");
    }
    if header.session.iter().any(|session| is_of(flow, session)) {
        return Some("session");
    }
    let own = truth::either(truth::from_host(header, flow), truth::to_host(header, flow));
    if own != Some(false) && !rule.include_host {
        return Some("host");
    }
    let state = flow.state_name();
    let unknown_status = !flow.present.contains(Present::STATUS);
    match rule.action {
        // No policy says `update`.
        Action::Report | Action::Update(_) => None,
        Action::Expire { grace } => {
            if !flow.present.contains(Present::TIMEOUT) || status(Status::FIXED_TIMEOUT) {
                return Some("fixed-timeout");
            }
            if u64::from(flow.timeout) <= grace.0 {
                return Some("already");
            }
            if unknown_status {
                return Some("unknown");
            }
            // Without its state a TCP flow may be established.
            let maybe_established =
                flow.protocol == Protocol::TCP && state.is_none_or(|state| state == "ESTABLISHED");
            let risky = status(Status::ASSURED) || maybe_established;
            (risky && grace.0 < 7440 && rule.accept_risk.is_none()).then_some("grace")
        }
        Action::Delete => {
            if unknown_status || !flow.present.contains(Present::ID) {
                return Some("unknown");
            }
            if !is_closed(flow) && status(Status::ASSURED) && !rule.allow_assured {
                return Some("assured");
            }
            let idle = rule
                .predicate
                .tests
                .iter()
                .any(|test| matches!(test, Test::IdleFor(_)));
            // Without its state a TCP flow may be half-closed.
            let maybe_half_closed = flow.protocol == Protocol::TCP
                && state.is_none_or(|s| ["CLOSE_WAIT", "FIN_WAIT", "LAST_ACK"].contains(&s));
            (maybe_half_closed && !idle).then_some("half-closed")
        }
    }
}

/// Whether a flow is a connection of the caller's session, in either direction, before or after NAT.
fn is_of(flow: &Flow, session: &Connection) -> bool {
    if flow.protocol.0 != session.protocol {
        return false;
    }
    let local = (session.local, session.local_port);
    let peer = (session.peer, session.peer_port);
    let mut tuples = vec![flow.orig];
    if flow.present.contains(Present::REPLY) {
        tuples.push(flow.reply);
    }
    tuples.into_iter().any(|tuple| {
        let src = (tuple.src_ip(flow.family), tuple.src_port);
        let dst = (tuple.dst_ip(flow.family), tuple.dst_port);
        (src, dst) == (local, peer) || (src, dst) == (peer, local)
    })
}

/// A share of the entries, but never below 50 entries.
fn share(percent: Percent, entries: u64) -> u64 {
    (entries * u64::from(percent.0) / 10_000).max(50)
}

fn is_over_budget(rule: &Rule, selected: &[&Flow], entries: u64) -> bool {
    let all = selected.len() as u64;
    if let Some(budget) = rule.budget {
        let by_count = budget.count.unwrap_or(u64::MAX);
        let by_percent = budget.percent.map_or(u64::MAX, |p| share(p, entries));
        return all > by_count.min(by_percent);
    }
    match rule.action {
        Action::Report | Action::Update(_) => false,
        Action::Expire { grace } => grace.0 < 7440 && all > share(Percent(5000), entries),
        Action::Delete => {
            let open = selected
                .iter()
                .filter(|flow| flow.status.contains(Status::ASSURED) && !is_closed(flow))
                .count() as u64;
            all > share(Percent(5000), entries) || open > share(Percent(500), entries)
        }
    }
}

fn refuse_over_limits(
    policy: &Policy,
    verdicts: &[Verdict],
    entries: u64,
    refused: &mut BTreeMap<usize, Refusal>,
) {
    let Limits { delete, expire, .. } = policy.limits;
    let is_delete = |rule: usize| policy.rules[rule].action == Action::Delete;
    let before = refused.clone();
    for (deletes, limit) in [(true, delete), (false, expire)] {
        let acting = verdicts
            .iter()
            .filter(|verdict| verdict.outcome == Outcome::Selected)
            .filter_map(|verdict| verdict.claimed)
            .filter(|rule| !before.contains_key(rule) && is_delete(*rule) == deletes)
            .count() as u64;
        if acting <= share(limit, entries) || policy.mode == RunMode::Report {
            continue;
        }
        for (index, rule) in policy.rules.iter().enumerate() {
            let selects = verdicts
                .iter()
                .any(|v| v.claimed == Some(index) && v.outcome == Outcome::Selected);
            if selects && rule.action != Action::Report && is_delete(index) == deletes {
                refused.entry(index).or_insert(Refusal::Limit);
            }
        }
    }
}
