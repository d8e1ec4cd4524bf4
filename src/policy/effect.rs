//! Rules whose action cannot do what it says: mistakes, since nobody writes them on purpose.

use super::cell::{CellSet, Cells};
use super::diagnostic::{Code, Diagnostic};
use super::key::KeyPath;
use super::timing::Origin;
use super::{Action, DEFAULT_GRACE, Rule, Seconds, Test};
use crate::flow::protocol::tcp;
use crate::flow::status::StatusWord;
use crate::flow::{Flow, Protocol, Status};

/// Every such rule of the policy. Where timeouts are not known, what depends on them is left out,
/// and so are rules that tell flows apart by time.
#[must_use]
pub fn check(cells: &Cells<'_>, timeouts_are_known: bool) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (rule, possible) in cells.rules() {
        if timeouts_are_known {
            found.extend(impossible_idle(rule, possible, cells));
        }
        let goes_by_time = rule.predicate.all_tests().any(|test| {
            matches!(
                test,
                Test::IdleFor(_) | Test::RemainingAbove(_) | Test::RemainingBelow(_)
            )
        });
        match rule.action {
            Action::Expire { grace } => {
                if expires_offloaded(rule) {
                    found.push(offloaded(rule));
                    continue;
                }
                if !timeouts_are_known && goes_by_time {
                    continue;
                }
                found.extend(risky_grace(rule, grace, possible, cells));
                if timeouts_are_known {
                    found.extend(useless_grace(rule, grace, possible, cells));
                }
            }
            Action::Delete if !timeouts_are_known && goes_by_time => {}
            Action::Delete => found.extend(half_closed(rule, possible, cells)),
            Action::Report | Action::Update(_) => {}
        }
    }
    found
}

pub(super) fn rule_key(rule: &Rule, keys: &[&str]) -> KeyPath {
    KeyPath::of(
        ["rules", rule.name.as_str()]
            .into_iter()
            .chain(keys.iter().copied()),
    )
}

/// An assured flow that is not closed, or an established connection: living until proven otherwise.
fn is_alive(cell: &Flow) -> bool {
    let is_established = cell.protocol == Protocol::TCP && cell.state() == Some(tcp::ESTABLISHED);
    is_established || (cell.status.contains(Status::ASSURED) && !cell.is_closed())
}

/// An idle time that no entry which the rule could take can reach.
fn impossible_idle(rule: &Rule, possible: &CellSet, cells: &Cells<'_>) -> Option<Diagnostic> {
    let idle = rule.predicate.idle_for()?;
    let if_idle = cells.possible_if_idle(&rule.predicate);
    if !possible.is_empty() || if_idle.is_empty() {
        return None;
    }
    let longest = cells
        .of(&if_idle)
        .filter(|cell| !cell.is_offloaded())
        .filter_map(|cell| cells.timing.governing(cell))
        .max_by_key(|(seconds, _)| *seconds)?;
    let key = rule_key(rule, &["match", "idle-for"]);
    let message = format!(
        "no entry that this rule matches can be idle for {idle}: {}",
        says(longest, cells)
    );
    Some(
        Diagnostic::error(Code::ImpossibleIdle, key, message)
            .expected(format!("less than {}", Seconds(longest.0))),
    )
}

/// How long an entry lives, and who says so.
fn says((seconds, name): (u64, Option<&'static str>), cells: &Cells<'_>) -> String {
    let seconds = Seconds(seconds);
    let Some(name) = name else {
        return format!("the kernel ends it after {seconds}");
    };
    match cells.timing.value(name).map(|(_, origin)| origin) {
        Some(Origin::Policy) => format!("this policy sets {name} to {seconds}"),
        Some(Origin::Kernel) => format!("{name} is {seconds}"),
        _ => format!("{name} is {seconds} unless `[timeouts]` says otherwise"),
    }
}

/// A grace that is not below what any flow of the rule has left.
fn useless_grace(
    rule: &Rule,
    grace: Seconds,
    possible: &CellSet,
    cells: &Cells<'_>,
) -> Option<Diagnostic> {
    let idle = rule.predicate.idle_for().unwrap_or(Seconds(0));
    let longest = cells
        .of(possible)
        .filter(|cell| !cell.is_offloaded())
        .filter_map(|cell| cells.timing.governing(cell))
        .max_by_key(|(seconds, _)| *seconds)?;
    let left = longest.0.saturating_sub(idle.0);
    if grace.0 < left {
        return None;
    }
    let key = rule_key(rule, &["grace"]);
    let rest = if idle.0 == 0 {
        String::new()
    } else {
        format!(", which leaves an idle flow {}", Seconds(left))
    };
    Some(
        Diagnostic::error(
            Code::UselessGrace,
            key,
            format!(
                "a grace of {grace} shortens nothing here: {}{rest}",
                says(longest, cells)
            ),
        )
        .expected(format!("a grace below {}", Seconds(left))),
    )
}

fn risky_grace(
    rule: &Rule,
    grace: Seconds,
    possible: &CellSet,
    cells: &Cells<'_>,
) -> Option<Diagnostic> {
    if grace >= DEFAULT_GRACE || rule.accept_risk.is_some() {
        return None;
    }
    let mut touched = cells
        .of(possible)
        .filter(|cell| !cell.is_offloaded())
        .peekable();
    touched.peek()?;
    if !touched.all(is_alive) {
        return None;
    }
    Some(
        Diagnostic::error(
            Code::RiskyGrace,
            rule_key(rule, &["grace"]),
            format!(
                "a living connection may be silent for longer than {grace}, and this rule takes \
                 established and assured flows alone"
            ),
        )
        .expected("at least 2h4m (RFC 5382)")
        .help("say why it is right: `accept-risk = \"…\"` in this rule"),
    )
}

fn expires_offloaded(rule: &Rule) -> bool {
    let is_offload =
        |word: &StatusWord| matches!(word, StatusWord::Offload | StatusWord::HwOffload);
    rule.predicate
        .tests
        .iter()
        .any(|test| matches!(test, Test::Status(words) if words.iter().any(is_offload)))
}

fn offloaded(rule: &Rule) -> Diagnostic {
    Diagnostic::error(
        Code::Offloaded,
        rule_key(rule, &["match", "status"]),
        "offloaded flows have no timer that could be shortened: the flowtable would undo it",
    )
    .help("remove `offload` from the match; offloaded flows are left alone in any case")
}

/// A rule that only takes half-closed connections, which may be downloads in full flight.
fn half_closed(rule: &Rule, possible: &CellSet, cells: &Cells<'_>) -> Option<Diagnostic> {
    if rule.predicate.idle_for().is_some() || possible.is_empty() {
        return None;
    }
    let is_half_closed = |cell: &Flow| {
        cell.protocol == Protocol::TCP
            && matches!(
                cell.state(),
                Some(tcp::FIN_WAIT | tcp::CLOSE_WAIT | tcp::LAST_ACK)
            )
    };
    if !cells.of(possible).all(is_half_closed) {
        return None;
    }
    Some(
        Diagnostic::error(
            Code::HalfClosed,
            rule_key(rule, &["match"]),
            "a half-closed connection may still be sending, so this rule would delete nothing",
        )
        .help("add `idle-for`, as `idle-for = \"30s\"`"),
    )
}
