//! Doubts: what is allowed but probably not meant. Pure functions of a policy and of what is known
//! of its kernel, so that `check` runs them without a kernel and `plan` again with one.

use super::cell::{CellSet, Cells};
use super::diagnostic::{Code, Diagnostic};
use super::effect::rule_key;
use super::key::KeyPath;
use super::overlap;
use super::relation::can_both_hold;
use super::timing::{Origin, Timing};
use super::{
    Action, DEFAULT_GRACE, Goal, Mode, Percent, Policy, Predicate, Protect, Rule, Seconds,
    SetSource, Test, Want,
};
use crate::flow::status::StatusWord;
use crate::flow::{Flow, Protocol, Status};
use crate::observe::Header;

const ACCOUNTING: &str = "nf_conntrack_acct";
const TIMESTAMPS: &str = "nf_conntrack_timestamp";
const ESTABLISHED: &str = "nf_conntrack_tcp_timeout_established";
const KEEPALIVE: &str = "net.ipv4.tcp_keepalive_time";

/// Every doubt about a valid policy. Without a header the kernel's own defaults are assumed.
///
/// The diagnostics know keys; [`SpanIndex::locate`](super::SpanIndex::locate) gives them places.
#[must_use]
pub fn lint(policy: &Policy, header: Option<&Header>) -> Vec<Diagnostic> {
    let cells = Cells::new(Timing { policy, header });
    let mut found = Vec::new();
    found.extend(short_established(&cells.timing));
    for (rule, possible) in cells.rules() {
        let never = never_matches(rule, possible, &cells);
        if never.is_some() {
            found.extend(never);
        } else {
            found.extend(port_only_delete(rule));
            found.extend(one_way_udp(rule, possible, &cells));
        }
        found.extend(weak_identity(rule, &cells.timing));
        found.extend(no_budget(rule));
        found.extend(empties_table(rule, policy));
    }
    found.extend(overlap::shadows(&cells));
    for protect in &policy.protect {
        found.extend(broad_protect(protect, &cells));
    }
    found.extend(empty_sets(policy));
    found.extend(unbounded_store(policy));
    found
}

/// An established timeout that ends connections which their hosts still hold.
fn short_established(timing: &Timing<'_>) -> Option<Diagnostic> {
    let goal = timing.policy.goals.iter().find(|g| g.name == ESTABLISHED)?;
    let Goal {
        want: Want::Number(seconds),
        mode: Mode::Enforce | Mode::AtMost,
        ..
    } = goal
    else {
        return None;
    };
    let keepalive = timing.value(KEEPALIVE).map_or(0, |(seconds, _)| seconds);
    let shown = Seconds(*seconds);
    let message = if *seconds < keepalive {
        format!(
            "{shown} is shorter than tcp_keepalive_time ({}): keepalives come too late to keep a \
             silent connection",
            Seconds(keepalive)
        )
    } else if *seconds < DEFAULT_GRACE.0 {
        format!(
            "{shown} is shorter than the 2h4m that RFC 5382 asks of a NAT: silent connections break"
        )
    } else {
        return None;
    };
    Some(
        Diagnostic::warning(
            Code::ShortEstablished,
            KeyPath::of(["timeouts", "tcp", "established"]),
            message,
        )
        .help("flush idle flows with an `expire` rule instead; a living one re-arms"),
    )
}

fn never_matches(rule: &Rule, possible: &CellSet, cells: &Cells<'_>) -> Option<Diagnostic> {
    let tests = &rule.predicate.tests;
    let warn = |key: &[&str], message: String| {
        let mut path = vec!["match"];
        path.extend(key);
        Diagnostic::warning(Code::NeverMatches, rule_key(rule, &path), message)
    };
    for test in tests {
        let name = test.field().name;
        if let Some((sysctl, what)) = needs_switch(test)
            && let (false, origin) = cells.timing.switch(sysctl)
        {
            let why = match origin {
                Origin::Policy => format!("this policy switches {what} off"),
                Origin::Kernel => format!("{what} is off"),
                Origin::Default => format!("kernels have {what} off unless told otherwise"),
            };
            return Some(
                warn(&[name], format!("`{name}` is never known: {why}"))
                    .help(format!("add `{sysctl} = true` to `[sysctl]`")),
            );
        }
    }
    for (index, a) in tests.iter().enumerate() {
        for b in &tests[index + 1..] {
            let is_pair = matches!(
                (a, b),
                (Test::RemainingAbove(_), Test::RemainingBelow(_))
                    | (Test::BytesAbove(_), Test::BytesBelow(_))
                    | (Test::PacketsAbove(_), Test::PacketsBelow(_))
            );
            if is_pair && !can_both_hold(a, b) {
                let (a, b) = (a.field().name, b.field().name);
                return Some(warn(
                    &[a],
                    format!("no number lies between `{a}` and `{b}`"),
                ));
            }
        }
    }
    if let Some(excluded) = excluded_by_not(&rule.predicate) {
        let name = excluded.field().name;
        return Some(warn(
            &["not", name],
            format!("`not` excludes all that `{name}` asks for"),
        ));
    }
    if rule.predicate.idle_for().is_some() && tests.iter().any(hides_idleness) {
        return Some(warn(
            &["idle-for"],
            "idleness is never known of flows with a helper, a fixed timeout or offload".to_owned(),
        ));
    }
    if possible.is_empty() {
        return Some(contradiction(rule, cells, &warn));
    }
    if !matches!(rule.action, Action::Report) {
        if cells.of(possible).all(Flow::is_offloaded) {
            let message = "every flow that it matches is offloaded, and those are left alone";
            return Some(warn(&[], message.to_owned()));
        }
        let is_assured = |cell: &Flow| cell.status.contains(Status::ASSURED) && !cell.is_closed();
        if rule.action == Action::Delete
            && !rule.allow_assured
            && cells.of(possible).all(is_assured)
        {
            let message = "every flow that it matches is assured, and those are left alone";
            return Some(
                warn(&[], message.to_owned())
                    .help("say `allow-assured = true` if they shall be deleted"),
            );
        }
    }
    None
}

/// Which fields exclude each other: the last one without which there would be something left.
fn contradiction(
    rule: &Rule,
    cells: &Cells<'_>,
    warn: &dyn Fn(&[&str], String) -> Diagnostic,
) -> Diagnostic {
    let tests = &rule.predicate.tests;
    let culprit = (0..tests.len()).rev().find(|index| {
        let mut without = rule.predicate.clone();
        without.tests.remove(*index);
        !cells.possible(&without).is_empty()
    });
    match culprit {
        Some(index) => {
            let test = &tests[index];
            let name = test.field().name;
            if matches!(test, Test::IdleFor(_)) {
                let message = "no entry that this rule matches can be idle for so long";
                return warn(&[name], message.to_owned());
            }
            warn(
                &[name],
                format!("`{name}` contradicts the other fields: no entry has all of them"),
            )
        }
        None => warn(&[], "no entry has all of these fields".to_owned()),
    }
}

fn needs_switch(test: &Test) -> Option<(&'static str, &'static str)> {
    match test {
        Test::AgeAbove(_) => Some((TIMESTAMPS, "timestamping")),
        Test::BytesAbove(_)
        | Test::BytesBelow(_)
        | Test::PacketsAbove(_)
        | Test::PacketsBelow(_) => Some((ACCOUNTING, "accounting")),
        _ => None,
    }
}

fn hides_idleness(test: &Test) -> bool {
    match test {
        Test::Helper(_) => true,
        Test::Status(words) => words.iter().all(|word| {
            matches!(
                word,
                StatusWord::Helper
                    | StatusWord::FixedTimeout
                    | StatusWord::Offload
                    | StatusWord::HwOffload
            )
        }),
        _ => false,
    }
}

fn excluded_by_not(predicate: &Predicate) -> Option<&Test> {
    predicate.not.iter().find(|not| {
        let mut tests = predicate.tests.iter();
        tests.any(|test| super::relation::includes(not, test))
    })
}

/// Without its start an entry cannot be told from a later one that got the same id.
fn weak_identity(rule: &Rule, timing: &Timing<'_>) -> Option<Diagnostic> {
    rule.persisted?;
    if timing.switch(TIMESTAMPS).0 {
        return None;
    }
    Some(
        Diagnostic::warning(
            Code::WeakIdentity,
            rule_key(rule, &["match", "persisted"]),
            "without timestamps a flow is not surely told from a later one of the same addresses \
             and ports",
        )
        .help(format!("add `{TIMESTAMPS} = true` to `[sysctl]`")),
    )
}

/// Ports alone say too little: any host's flow may have them.
fn port_only_delete(rule: &Rule) -> Option<Diagnostic> {
    let is_port_or_protocol =
        |test: &Test| matches!(test, Test::Port(..) | Test::Protocol(_) | Test::Family(_));
    let tests = &rule.predicate.tests;
    let has_port = tests.iter().any(|test| matches!(test, Test::Port(..)));
    if rule.action != Action::Delete || !has_port || !tests.iter().all(is_port_or_protocol) {
        return None;
    }
    Some(
        Diagnostic::warning(
            Code::PortOnlyDelete,
            rule_key(rule, &["match"]),
            "this deletes by port alone: every host's flows with that port, and replies to it",
        )
        .help("add an address, a mark, a zone, a state or `idle-for`"),
    )
}

/// A timeout below which one-way traffic may well pause: the kernel's own for unreplied UDP.
const ONE_WAY_PAUSE: Seconds = Seconds(30);

/// One-way traffic (syslog, telemetry, streams) looks unreplied while it is alive.
fn one_way_udp(rule: &Rule, possible: &CellSet, cells: &Cells<'_>) -> Option<Diagnostic> {
    let takes_one_way = cells.of(possible).any(|cell| {
        matches!(cell.protocol, Protocol::UDP | Protocol::UDPLITE)
            && !cell.status.contains(Status::SEEN_REPLY)
    });
    if !takes_one_way || rule.predicate.idle_for().is_some() {
        return None;
    }
    let names_udp = rule.predicate.tests.iter().any(|test| match test {
        Test::Protocol(protocols) => protocols.contains(&Protocol::UDP),
        Test::Status(words) => words.contains(&StatusWord::Unreplied),
        _ => false,
    });
    let (key, message) = match rule.action {
        Action::Expire { grace } if grace < ONE_WAY_PAUSE => (
            "grace",
            format!(
                "one-way UDP traffic looks unreplied while it is alive, and may pause for longer \
                 than {grace}"
            ),
        ),
        Action::Delete if names_udp && singles_out_unreplied(rule) => (
            "match",
            "one-way UDP traffic looks unreplied while it is alive, and this deletes it".to_owned(),
        ),
        _ => return None,
    };
    Some(
        Diagnostic::warning(Code::OneWayUdp, rule_key(rule, &[key]), message)
            .help("add `idle-for`, or exclude the senders that are known"),
    )
}

fn singles_out_unreplied(rule: &Rule) -> bool {
    rule.predicate
        .tests
        .iter()
        .any(|test| matches!(test, Test::Status(words) if words.contains(&StatusWord::Unreplied)))
}

fn no_budget(rule: &Rule) -> Option<Diagnostic> {
    if rule.action != Action::Delete || rule.budget.is_some() {
        return None;
    }
    Some(
        Diagnostic::warning(
            Code::NoBudget,
            rule_key(rule, &[]),
            format!(
                "`{}` deletes without a budget of its own: 50 % of the table, 5 % for assured flows",
                rule.name
            ),
        )
        .at_key()
        .help("add `budget = { count = …, percent = … }` with what is usual here"),
    )
}

/// A rule that no rail stops short of the last entry.
fn empties_table(rule: &Rule, policy: &Policy) -> Option<Diagnostic> {
    let all = Percent(10_000);
    let is_unbounded = rule
        .budget
        .is_some_and(|budget| budget.count.is_none() && budget.percent == Some(all));
    let takes_all = rule.everything && rule.allow_assured && rule.action == Action::Delete;
    if !takes_all || !is_unbounded || policy.limits.delete < all {
        return None;
    }
    Some(
        Diagnostic::warning(
            Code::EmptiesTable,
            rule_key(rule, &["everything"]),
            "this empties the table: it takes every entry, and no budget and no limit stops it",
        )
        .at_key()
        .help("lower `budget.percent` of this rule, or `limits.delete`"),
    )
}

/// Protect rules hold on unknown: a field that an entry does not have protects the entry.
fn broad_protect(protect: &Protect, cells: &Cells<'_>) -> Option<Diagnostic> {
    let predicate = &protect.predicate;
    let depends_on_protocol = |test: &&Test| {
        matches!(
            test,
            Test::Port(..)
                | Test::State(_)
                | Test::IcmpType(_)
                | Test::IcmpCode(_)
                | Test::GreKey(_)
        )
    };
    let test = predicate.all_tests().find(depends_on_protocol)?;
    let may_hold = |cell: &Flow| {
        let mut tests = predicate.tests.iter();
        let mut not = predicate.not.iter();
        tests.all(|test| !cells.outcomes(test, cell).is_never())
            && not.all(|test| !cells.outcomes(test, cell).is_always())
    };
    let by_lack = cells.select(|cell| {
        !cell.is_offloaded()
            && may_hold(cell)
            && predicate
                .all_tests()
                .filter(depends_on_protocol)
                .any(|test| cells.outcomes(test, cell).is_unknowable())
    });
    let mut protocols: Vec<_> = cells.of(&by_lack).map(|cell| cell.protocol).collect();
    protocols.sort_unstable();
    protocols.dedup();
    let shown: Vec<_> = protocols
        .iter()
        .filter_map(|protocol| protocol.name())
        .collect();
    if protocols.is_empty() {
        return None;
    }
    let shown = if shown.is_empty() {
        "other".to_owned()
    } else {
        shown.join(", ")
    };
    let name = test.field().name;
    let key = KeyPath::of(["protect", &protect.name, "match"]);
    Some(
        Diagnostic::warning(
            Code::BroadProtect,
            key,
            format!(
                "this also protects {shown} flows, unless another field excludes them: they have \
                 no `{name}`, and what is unknown is protected"
            ),
        )
        .help("name the protocols that are meant, as `protocol = \"tcp\"`"),
    )
}

/// Sets without members, as far as the policy itself shows.
fn empty_sets(policy: &Policy) -> Vec<Diagnostic> {
    let sets = policy.sets.iter().enumerate();
    sets.filter(|(_, set)| matches!(&set.source, SetSource::Addresses(list) if list.is_empty()))
        .filter_map(|(index, _)| empty_set(policy, index, "addresses"))
        .collect()
}

/// The doubt about a set of which `key` was found to give no members: rules that use it are refused.
#[must_use]
pub fn empty_set(policy: &Policy, index: usize, key: &str) -> Option<Diagnostic> {
    let set = policy.sets.get(index)?;
    let mut rules = policy.rules.iter();
    let is_used = rules.any(|rule| rule.predicate.sets().any(|set| set == index));
    if set.allow_empty || !is_used {
        return None;
    }
    Some(
        Diagnostic::warning(
            Code::EmptySet,
            KeyPath::of(["sets", &set.name, key]),
            format!(
                "`@{}` is empty, so every rule that uses it is refused",
                set.name
            ),
        )
        .help("say `allow-empty = true` if an empty set means what it says"),
    )
}

/// Snapshots that are taken on and on and never go.
fn unbounded_store(policy: &Policy) -> Option<Diagnostic> {
    let snapshot = &policy.snapshot;
    let key = match (snapshot.every, snapshot.on_pressure) {
        (Some(_), _) => "every",
        (None, Some(_)) => "on-pressure",
        (None, None) => return None,
    };
    snapshot.keep.is_everything().then(|| {
        Diagnostic::warning(
            Code::UnboundedStore,
            KeyPath::of(["snapshot", key]),
            "snapshots are taken and none ever goes: they fill the disk",
        )
        .help("say `keep = { last = 96, daily = 14, max-bytes = \"1GiB\" }`")
    })
}
