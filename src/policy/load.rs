//! Texts -> policy, with everything that is wrong or doubtful in them.

use super::cell::Cells;
use super::diagnostic::{Code, Diagnostic, Place, Severity};
use super::key::KeyPath;
use super::layers;
use super::text::{SpanIndex, Text};
use super::timing::Timing;
use super::validate;
use super::{Policy, effect, lint, overlap};

/// A policy and what was found in its texts.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The policy; `None` where a diagnostic is an error.
    pub policy: Option<Policy>,
    /// Mistakes and doubts, in the order of the texts.
    pub diagnostics: Vec<Diagnostic>,
    /// Where each key stands.
    pub spans: SpanIndex,
}

/// Reads, merges and validates the texts; later ones win.
#[must_use]
pub fn load(texts: &[Text]) -> Loaded {
    let merged = layers::merge(texts);
    let mut diagnostics = merged.diagnostics.clone();
    let mut policy = None;
    if !merged.is_foreign {
        let validated = validate::validate(&merged);
        let mut found = validated.diagnostics;
        if !validated.policy.rules.is_empty() && merged.broken.is_empty() {
            let timing = Timing {
                policy: &validated.policy,
                header: None,
            };
            let cells = Cells::new(timing);
            let timeouts_are_known = timeouts_are_known(&merged, &found);
            found.extend(effect::check(&cells, timeouts_are_known));
            found.extend(overlap::overlaps(&cells));
        }
        if !has_errors(&diagnostics) && !has_errors(&found) {
            found.extend(lint::lint(&validated.policy, None));
        }
        merged.spans.locate(&mut found);
        place_at_start(&mut found, texts);
        found.retain(|diagnostic| is_certain(diagnostic, &merged));
        diagnostics.extend(found);
        policy = Some(validated.policy);
    }
    if has_errors(&diagnostics) {
        policy = None;
    }
    sort(&mut diagnostics);
    Loaded {
        policy,
        diagnostics,
        spans: merged.spans,
    }
}

/// What is missing from the document as a whole is missing at the start of its first text.
fn place_at_start(diagnostics: &mut [Diagnostic], texts: &[Text]) {
    if texts.is_empty() {
        return;
    }
    for diagnostic in diagnostics.iter_mut().filter(|found| found.place.is_none()) {
        diagnostic.place = Some(Place {
            text: 0,
            span: 0..0,
        });
    }
}

fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error)
}

/// A mistaken timeout must not make rules look impossible.
fn timeouts_are_known(merged: &layers::Merged, found: &[Diagnostic]) -> bool {
    let timeouts = KeyPath::of(["timeouts"]);
    let is_hidden = |key: &KeyPath| key.is_within(&timeouts) || timeouts.is_within(key);
    !merged.dropped.iter().any(is_hidden)
        && !found
            .iter()
            .any(|diagnostic| is_hidden(&diagnostic.key) && diagnostic.key.0.len() > 1)
}

/// Whether a finding holds although some text could be read in part only: what seems to be missing
/// may stand in the unread part.
fn is_certain(diagnostic: &Diagnostic, merged: &layers::Merged) -> bool {
    if merged.broken.is_empty() {
        return true;
    }
    let is_about_absence = matches!(
        diagnostic.code,
        Code::MissingKey | Code::UnknownSet | Code::EmptyMatch | Code::UnboundedRule
    );
    let is_in_broken = diagnostic
        .place
        .as_ref()
        .is_none_or(|place| merged.broken.contains(&place.text));
    !is_about_absence && !is_in_broken
}

/// By text and place; what has no place comes first.
pub fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by_key(|diagnostic| {
        diagnostic
            .place
            .as_ref()
            .map(|place| (place.text, place.span.start, place.span.end))
    });
}

/// A text that is no UTF-8 from this byte on.
#[must_use]
pub fn not_utf8(text: usize, byte: usize) -> Diagnostic {
    Diagnostic::error(Code::Syntax, KeyPath::root(), "this is not UTF-8").at(Place {
        text,
        span: byte..byte + 1,
    })
}
