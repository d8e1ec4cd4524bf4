//! Rules that get in each other's way: overlaps that names would decide, and shadowed rules.

use super::cell::{CellSet, Cells};
use super::diagnostic::{Code, Diagnostic};
use super::effect::rule_key;
use super::relation::{can_both_hold, includes};
use super::{Action, Predicate, Rule, Test};

/// Pairs of rules with the same order and different action that surely take some flow both.
///
/// What a set holds is not looked at, since it may change: a rule that uses one is never blamed.
#[must_use]
pub fn overlaps(cells: &Cells<'_>) -> Vec<Diagnostic> {
    let rules: Vec<_> = cells.rules().collect();
    let mut found = Vec::new();
    for (index, (a, a_cells)) in rules.iter().enumerate() {
        for (b, b_cells) in &rules[index + 1..] {
            if a.order != b.order {
                break;
            }
            if excludes(a.action, b.action) && a_cells.intersects(b_cells) && surely_meet(a, b) {
                found.push(
                    Diagnostic::error(
                        Code::Overlap,
                        rule_key(b, &[]),
                        format!(
                            "`{}` and `{}` can take the same flow, do different things with it, \
                             and have the same order ({})",
                            a.name, b.name, a.order
                        ),
                    )
                    .at_key()
                    .help("give the one that shall win a lower `order`, or narrow one match"),
                );
            }
        }
    }
    found
}

/// Rules whose flows an earlier one claims all.
#[must_use]
pub fn shadows(cells: &Cells<'_>) -> Vec<Diagnostic> {
    let rules: Vec<_> = cells.rules().collect();
    let mut found = Vec::new();
    for (index, (late, late_cells)) in rules.iter().enumerate() {
        if late_cells.is_empty() {
            continue;
        }
        let earlier = rules[..index]
            .iter()
            .find(|(early, _)| claims_all(early, late, late_cells, cells));
        if let Some((early, _)) = earlier {
            found.push(
                Diagnostic::warning(
                    Code::Shadowed,
                    rule_key(late, &[]),
                    format!(
                        "`{}` never gets a flow: `{}` comes first and takes all of them",
                        late.name, early.name
                    ),
                )
                .at_key()
                .help(format!(
                    "give `{}` a lower `order`, or remove it",
                    late.name
                )),
            );
        }
    }
    found
}

/// A rule that only reports claims nothing, so it is in nobody's way.
fn excludes(a: Action, b: Action) -> bool {
    matches!(
        (a, b),
        (Action::Expire { .. }, Action::Delete) | (Action::Delete, Action::Expire { .. })
    )
}

fn surely_meet(a: &Rule, b: &Rule) -> bool {
    let is_opaque = |rule: &Rule| {
        rule.predicate.sets().next().is_some() || rule.over.is_some() || rule.persisted.is_some()
    };
    if is_opaque(a) || is_opaque(b) {
        return false;
    }
    let (a, b) = (&a.predicate, &b.predicate);
    let pairs_meet = a
        .tests
        .iter()
        .all(|a| b.tests.iter().all(|b| can_both_hold(a, b)));
    pairs_meet && !is_excluded_by(a, b) && !is_excluded_by(b, a)
}

/// Whether what one predicate asks for is what the other excludes.
fn is_excluded_by(one: &Predicate, other: &Predicate) -> bool {
    other
        .not
        .iter()
        .any(|not| one.tests.iter().any(|test| includes(not, test)))
}

fn claims_all(early: &Rule, late: &Rule, late_cells: &CellSet, cells: &Cells<'_>) -> bool {
    let claims = !matches!(early.action, Action::Report) && {
        early.over.is_none()
            && early.persisted.is_none()
            // It claims nothing while it waits.
            && early.when.is_none()
            && early.every.is_none()
    };
    // A delete asks for better proof of idleness than the other actions do.
    let needs_more_proof = early.action == Action::Delete && late.action != Action::Delete;
    let trusts_less = late.ignore_ct_timeout && !early.ignore_ct_timeout;
    if !claims || (early.predicate.idle_for().is_some() && (needs_more_proof || trusts_less)) {
        return false;
    }
    let late = &late.predicate;
    let holds = |test: &Test| {
        late.tests.iter().any(|narrow| includes(test, narrow))
            || cells
                .of(late_cells)
                .all(|cell| cells.outcomes(test, cell).is_always())
    };
    let fails = |test: &Test| {
        late.not.iter().any(|wide| includes(wide, test))
            || cells
                .of(late_cells)
                .all(|cell| cells.outcomes(test, cell).is_never())
    };
    early.predicate.tests.iter().all(holds) && early.predicate.not.iter().all(fails)
}
