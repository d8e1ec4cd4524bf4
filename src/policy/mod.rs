//! What the user wants, in a form in which only valid wishes can be said.
//!
//! A [`Policy`] comes out of validation alone; everything in it is resolved but for what depends on
//! the machine (sizes, set members), which planning resolves against what it observes.

mod by_hand;
pub mod cell;
pub mod diagnostic;
mod document;
pub mod effect;
pub mod filter;
mod key;
pub mod layers;
pub mod leaf;
pub mod lint;
pub mod load;
mod match_table;
mod members;
pub mod overlap;
mod predicate;
mod quantity;
mod relation;
mod rule;
mod seconds;
mod set_source;
mod shape;
mod snapshot;
pub mod term;
mod text;
pub mod timing;
mod tree;
mod update;
mod validate;

pub use document::Document;
pub use key::KeyPath;
pub use members::Members;
pub use predicate::{AddressField, AddressTerm, NatWord, PathWord, PortField, Predicate, Test};
pub use quantity::{Bytes, Count, Pace};
pub use rule::{Action, Budget, DEFAULT_GRACE, GroupField, Over, Pressure, Rule};
pub use seconds::Seconds;
pub use set_source::{DEFAULT_SETTLE, InterfaceName, NftSet, SetSource};
pub use snapshot::{
    AddressForm, AddressSetting, Compression, Detail, KeySource, OnPressure, SnapshotKeep,
    SnapshotSettings,
};
pub use text::{SpanIndex, Text, TextKind};
pub use update::{Sets, Update};

/// A valid policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// `[run] mode`.
    pub mode: RunMode,
    /// `[run] every`: how often a rule runs that does not say.
    pub every: Seconds,
    /// `[run] boot-grace`: for so long after boot or module load rules only report; 0 is none.
    pub boot_grace: Seconds,
    /// `[run] strict-filter`: the ruleset refuses TCP flows that it sees from the middle.
    pub strict_filter: bool,
    /// `[limits]`.
    pub limits: Limits,
    /// `[table]`, `[timeouts]` and `[sysctl]`, by sysctl name.
    pub goals: Vec<Goal>,
    /// Timeouts, by sysctl name, whose new value also shortens existing entries.
    pub apply_to_existing: Vec<ApplyToExisting>,
    /// `[timeouts] accept-risk`: why an established timeout below 7440 s may shorten existing flows.
    pub timeouts_accept_risk: Option<String>,
    /// `[sets]`; [`AddressTerm::Set`] points here by index.
    pub sets: Vec<Set>,
    /// Enabled rules in the order in which they are tried.
    pub rules: Vec<Rule>,
    /// Enabled protect rules, by name.
    pub protect: Vec<Protect>,
    /// `[snapshot]`.
    pub snapshot: SnapshotSettings,
    /// `[audit] keep`.
    pub audit: AuditKeep,
    /// SHA-256 of the merged document in canonical form, hex.
    pub sha256: String,
}

/// Whether a run acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunMode {
    /// It does what the rules say.
    #[default]
    Act,
    /// Every rule only counts, and no tunable is written.
    Report,
}

/// Limits over all rules of one run; past them nothing of that kind is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Most entries that may be deleted, percent of the entries dumped.
    pub delete: Percent,
    /// Most entries that may be expired, percent of the entries dumped.
    pub expire: Percent,
    /// Most changes a second.
    pub pace: Option<u32>,
    /// After so many refused or failed runs in a row a rule only reports until it is released.
    pub breaker: u32,
}

/// A share in hundredths of a percent, at most 10,000; so that equal texts are equal values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u16);

impl Percent {
    /// All of it.
    pub const ALL: Self = Self(10_000);

    /// This share of a count, rounded down.
    ///
    /// # Panics
    /// Never, as long as the share is at most [`Self::ALL`].
    #[must_use]
    pub fn of(self, count: u64) -> u64 {
        u64::try_from(u128::from(count) * u128::from(self.0) / 10_000)
            .expect("a share of a count is not above the count")
    }
}

/// A wish for one tunable.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// Sysctl name: bare under `net.netfilter` (`nf_conntrack_max`), else full.
    pub name: String,
    /// What it should be.
    pub want: Want,
    /// How strictly.
    pub mode: Mode,
    /// Where the policy says so, a dotted key path.
    pub path: String,
}

/// A tunable's wished value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// This number; booleans are 0 and 1.
    Number(u64),
    /// A table size reckoned from the machine.
    Scaled(Scaled),
    /// `nf_conntrack_max` rounded up to 512.
    BucketsAuto,
}

/// A size from cores and memory. Where both are given, the larger result counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaled {
    /// Entries a processor.
    pub per_core: Option<u64>,
    /// Entries a GiB of memory.
    pub per_gib: Option<u64>,
    /// Not below this.
    pub min: Option<u64>,
    /// Not above this.
    pub cap: Option<u64>,
}

/// How strictly a tunable is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Exactly this value.
    Enforce,
    /// Raised when below.
    AtLeast,
    /// Lowered when above.
    AtMost,
    /// Never written; a difference is shown.
    Observe,
}

/// A timeout whose value is also applied to entries that exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyToExisting {
    /// Sysctl name of the timeout.
    pub name: String,
    /// Listed by key, not by `true`: then also where `ct timeout` objects exist.
    pub by_key: bool,
}

/// A named set of addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    /// Its name, without `@`.
    pub name: String,
    /// Where its members come from.
    pub source: SetSource,
    /// Whether rules may use it while it is empty; true of [`SetSource::Lost`] unless the policy
    /// says otherwise, since an empty one is how things should be.
    pub allow_empty: bool,
}

/// A protect rule: flows on which its predicate is true or unknown are left alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Protect {
    /// Its name.
    pub name: String,
    /// What it is for, in the user's words.
    pub description: Option<String>,
    /// Which flows.
    pub predicate: Predicate,
}

/// How much of the audit and undo records is kept; both limits hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditKeep {
    /// Newest runs.
    pub runs: u64,
    /// Bytes of audit and undo records together.
    pub max_bytes: u64,
}
