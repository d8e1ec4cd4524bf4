//! Document -> Policy, with every mistake that the document's form alone does not show.

mod predicate;
mod rules;
mod sets;
mod snapshot;
mod tunables;

use std::collections::BTreeSet;

pub(super) use tunables::homeless;

use super::diagnostic::{Code, Diagnostic};
use super::document::Document;
use super::key::KeyPath;
use super::layers::Merged;
use super::match_table::Match;
use super::{AuditKeep, Count, Limits, Percent, Policy, Predicate, RunMode, Seconds, Set};

/// What a rate of changes is by default: fast, and event listeners keep up.
const DEFAULT_PACE: u32 = 100_000;

/// How often a rule runs that does not say.
const DEFAULT_EVERY: Seconds = Seconds(300);

/// How long after a boot rules only report: services, addresses and sets are not all there yet.
const DEFAULT_BOOT_GRACE: Seconds = Seconds(600);

/// Refused or failed runs in a row after which somebody has to look.
const DEFAULT_BREAKER: u64 = 3;

/// What validation makes of a document: the policy as far as it is right.
#[derive(Clone, Debug)]
pub(super) struct Validated {
    /// Only to be used if no diagnostic is an error.
    pub(super) policy: Policy,
    /// What was found.
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// Resolves a merged document.
pub(super) fn validate(merged: &Merged) -> Validated {
    let mut validation = Validation {
        document: &merged.document,
        dropped: &merged.dropped,
        found: Vec::new(),
        sets: Vec::new(),
        disabled_sets: BTreeSet::new(),
    };
    let policy = validation.policy(merged.sha256.clone());
    Validated {
        policy,
        diagnostics: validation.found,
    }
}

/// Resolves a match table that stands outside of any policy; keys are relative to it.
pub(super) fn filter(table: &Match, sets: &[Set]) -> (Predicate, Vec<Diagnostic>) {
    let mut validation = Validation {
        document: &Document::default(),
        dropped: &BTreeSet::new(),
        found: Vec::new(),
        sets: sets.to_vec(),
        disabled_sets: BTreeSet::new(),
    };
    let predicate = validation.predicate(table, &KeyPath::root());
    (predicate, validation.found)
}

struct Validation<'a> {
    document: &'a Document,
    dropped: &'a BTreeSet<KeyPath>,
    found: Vec<Diagnostic>,
    sets: Vec<Set>,
    disabled_sets: BTreeSet<String>,
}

/// A part that cannot be used; why was already recorded.
struct Unusable;

impl Validation<'_> {
    fn policy(&mut self, sha256: String) -> Policy {
        let document = self.document;
        self.version();
        let run = document.run.clone().unwrap_or_default();
        let limits = document.limits.clone().unwrap_or_default();
        if let Some(every) = run.every {
            self.positive(every, &KeyPath::of(["run", "every"]));
        }
        let goals = self.goals();
        let apply_to_existing = self.apply_to_existing(&goals);
        self.sets = self.read_sets();
        let rules = self.rules();
        let protect = self.protect();
        Policy {
            mode: run.mode.unwrap_or(RunMode::Act),
            every: run.every.unwrap_or(DEFAULT_EVERY),
            boot_grace: run.boot_grace.unwrap_or(DEFAULT_BOOT_GRACE),
            strict_filter: run.strict_filter.unwrap_or(false),
            limits: Limits {
                delete: limits.delete.unwrap_or(Percent(5000)),
                expire: limits.expire.unwrap_or(Percent(8000)),
                pace: Some(limits.pace.map_or(DEFAULT_PACE, |pace| pace.0)),
                breaker: self.breaker(limits.breaker),
            },
            goals,
            apply_to_existing,
            timeouts_accept_risk: document
                .timeouts
                .as_ref()
                .and_then(|timeouts| timeouts.accept_risk.clone()),
            sets: std::mem::take(&mut self.sets),
            rules,
            protect,
            snapshot: self.snapshot(),
            audit: self.audit(),
            sha256,
        }
    }

    fn version(&mut self) {
        if self.document.version.is_none() {
            self.missing(
                &KeyPath::root(),
                "version",
                "no file says which version of the policy language it speaks",
                "begin with `version = 1`",
            );
        }
    }

    fn breaker(&mut self, written: Option<Count>) -> u32 {
        let runs = written.map_or(DEFAULT_BREAKER, |count| count.0);
        if runs == 0 {
            self.found.push(
                Diagnostic::error(
                    Code::OutOfRange,
                    KeyPath::of(["limits", "breaker"]),
                    "a breaker of 0 would let no rule run at all",
                )
                .expected("at least 1"),
            );
        }
        u32::try_from(runs).unwrap_or(u32::MAX)
    }

    fn audit(&mut self) -> AuditKeep {
        let keep = self.document.audit.clone().unwrap_or_default().keep;
        let keep = keep.unwrap_or_default();
        let runs = keep.runs.map_or(50, |runs| runs.0);
        if runs == 0 {
            self.found.push(
                Diagnostic::error(
                    Code::OutOfRange,
                    KeyPath::of(["audit", "keep", "runs"]),
                    "keeping no run at all leaves nothing to undo",
                )
                .expected("at least 1"),
            );
        }
        AuditKeep {
            runs,
            max_bytes: keep.max_bytes.map_or(256 << 20, |bytes| bytes.0),
        }
    }

    /// Records a key that must be there, unless it was there and mistaken.
    fn missing(&mut self, table: &KeyPath, key: &str, message: &str, help: &str) {
        let path = table.child(key);
        if self.dropped.iter().any(|gone| path.is_within(gone)) {
            return;
        }
        // There is no place for what is missing: the table's own is the nearest.
        self.found.push(
            Diagnostic::error(Code::MissingKey, path, message)
                .at_key()
                .help(help),
        );
    }

    /// Whether something at or below this key was left out because of a mistake: as it was read, or
    /// because its value is none that it can have.
    fn lacks(&self, path: &KeyPath) -> bool {
        let out_of_range = |found: &&Diagnostic| found.code == Code::OutOfRange;
        let refused = self.found.iter().filter(out_of_range);
        (self.dropped.iter())
            .chain(refused.map(|found| &found.key))
            .any(|gone| gone.is_within(path) || path.is_within(gone))
    }

    fn check_name(&mut self, kind: &str, path: &KeyPath) {
        let name = path.last();
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
            self.found.push(
                Diagnostic::error(
                    Code::InvalidName,
                    path.clone(),
                    format!("{name:?} cannot name a {kind}"),
                )
                .at_key()
                .expected("1 to 64 letters, digits, `-`, `_` and `.`"),
            );
        }
    }

    fn positive(&mut self, seconds: Seconds, path: &KeyPath) {
        if seconds.0 == 0 {
            self.found.push(
                Diagnostic::error(Code::OutOfRange, path.clone(), "0 seconds say nothing here")
                    .expected("at least 1 second"),
            );
        }
    }
}
