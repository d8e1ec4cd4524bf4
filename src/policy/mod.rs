//! What the user wants, in a form in which only valid wishes can be said.
//!
//! A [`Policy`] comes out of validation alone; everything in it is resolved but for what depends on
//! the machine (sizes, set members), which planning resolves against what it observes.

use ipnet::IpNet;

use crate::flow::{Family, Protocol, status::StatusWord};

pub mod cell;
pub mod diagnostic;
mod document;
pub mod effect;
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
mod seconds;
mod shape;
pub mod term;
mod text;
pub mod timing;
mod tree;
mod validate;

pub use document::Document;
pub use key::KeyPath;
pub use members::Members;
pub use quantity::{Bytes, Count, Pace};
pub use seconds::Seconds;
pub use text::{SpanIndex, Text, TextKind};

/// The default grace of `expire`: 2 h 4 min, the shortest established timeout that RFC 5382
/// (REQ-5) allows a NAT.
pub const DEFAULT_GRACE: Seconds = Seconds(7440);

/// A valid policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// `[run] mode`.
    pub mode: RunMode,
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
    /// Whether rules may use it while it is empty.
    pub allow_empty: bool,
}

/// Where a set's members come from.
#[derive(Clone, Debug, PartialEq)]
pub enum SetSource {
    /// Written in the policy.
    Addresses(Vec<IpNet>),
    /// A file with an address or prefix a line, `#` starts a comment; relative to the policy file.
    File(String),
    /// This host's own addresses.
    Local,
}

/// A flush rule.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the policy")]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// What it is for, in the user's words.
    pub description: Option<String>,
    /// Which flows.
    pub predicate: Predicate,
    /// `everything = true`: the empty predicate is meant.
    pub everything: bool,
    /// What happens to them.
    pub action: Action,
    /// Rules are tried by order, then by name; default 50.
    pub order: i32,
    /// Most entries it may change; `None` means the defaults of [`Action`].
    pub budget: Option<Budget>,
    /// It may delete assured flows that are not closed.
    pub allow_assured: bool,
    /// It also takes flows of this host itself.
    pub include_host: bool,
    /// It trusts idle times although `ct timeout` objects exist.
    pub ignore_ct_timeout: bool,
    /// Why a grace below [`DEFAULT_GRACE`] is right for assured flows.
    pub accept_risk: Option<String>,
    /// Only flows of large groups.
    pub over: Option<Over>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Set the remaining time to `grace` where it is longer.
    Expire {
        /// Seconds left to a flow that stays silent.
        grace: Seconds,
    },
    /// Remove the entry.
    Delete,
    /// Count only.
    Report,
}

/// The most entries that a rule may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Not more than this many.
    pub count: Option<u64>,
    /// Not more than this share of the entries dumped.
    pub percent: Option<Percent>,
}

/// Only flows of groups with more than `count` flows that match the rule's other fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// What makes a group.
    pub per: GroupField,
    /// IPv4 addresses are cut to this prefix length.
    pub prefix4: u8,
    /// IPv6 addresses are cut to this prefix length.
    pub prefix6: u8,
    /// A group of this many is not yet over.
    pub count: u64,
}

/// A field that makes groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupField {
    /// Source of the original direction.
    Src,
    /// Destination of the original direction.
    Dst,
    /// Source of the reply direction.
    ReplySrc,
    /// Destination of the reply direction.
    ReplyDst,
    /// Destination port of the original direction.
    Dport,
    /// Connection mark.
    Mark,
    /// Zone of the original direction.
    Zone,
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

/// All of `tests` hold and none of `not` does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predicate {
    /// Each must be true.
    pub tests: Vec<Test>,
    /// Each must be false.
    pub not: Vec<Test>,
}

/// One field of a predicate. A list holds alternatives and is never empty.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// `family`.
    Family(Vec<Family>),
    /// `protocol`.
    Protocol(Vec<Protocol>),
    /// `state`: every protocol's state with one of the names that were written.
    State(Vec<(Protocol, u8)>),
    /// `status`.
    Status(Vec<StatusWord>),
    /// `src`, `dst`, `reply-src`, `reply-dst`, `address`, `nat-src`, `nat-dst`.
    Address(AddressField, Vec<AddressTerm>),
    /// `sport`, `dport`, `reply-sport`, `reply-dport`, `port`; inclusive ranges.
    Port(PortField, Vec<(u16, u16)>),
    /// `icmp-type`, inclusive ranges.
    IcmpType(Vec<(u8, u8)>),
    /// `icmp-code`, inclusive ranges.
    IcmpCode(Vec<(u8, u8)>),
    /// `gre-key`, inclusive ranges.
    GreKey(Vec<(u16, u16)>),
    /// `nat`.
    Nat(Vec<NatWord>),
    /// `path`.
    Path(Vec<PathWord>),
    /// `mark`: value and mask.
    Mark(Vec<(u32, u32)>),
    /// `zone`: both directions.
    Zone(Vec<u16>),
    /// `orig-zone`.
    OrigZone(Vec<u16>),
    /// `reply-zone`.
    ReplyZone(Vec<u16>),
    /// `label`: bit numbers.
    Label(Vec<u8>),
    /// `helper`.
    Helper(Vec<String>),
    /// `idle-for`; never under a rule's `not`.
    IdleFor(Seconds),
    /// `age-above`.
    AgeAbove(Seconds),
    /// `remaining-above`.
    RemainingAbove(Seconds),
    /// `remaining-below`.
    RemainingBelow(Seconds),
    /// `bytes-above`.
    BytesAbove(u64),
    /// `bytes-below`.
    BytesBelow(u64),
    /// `packets-above`.
    PacketsAbove(u64),
    /// `packets-below`.
    PacketsBelow(u64),
}

/// Which address a test looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressField {
    /// Source of the original direction.
    Src,
    /// Destination of the original direction.
    Dst,
    /// Source of the reply direction.
    ReplySrc,
    /// Destination of the reply direction.
    ReplyDst,
    /// Any of the four.
    Any,
    /// What the source is translated to: the reply destination of a source-NATed flow.
    NatSrc,
    /// What the destination is translated to: the reply source of a destination-NATed flow.
    NatDst,
}

/// An address, prefix or set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressTerm {
    /// A prefix; a single address is one of full length.
    Prefix(IpNet),
    /// Index into [`Policy::sets`].
    Set(usize),
}

/// Which port a test looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortField {
    /// Source of the original direction.
    Src,
    /// Destination of the original direction.
    Dst,
    /// Source of the reply direction.
    ReplySrc,
    /// Destination of the reply direction.
    ReplyDst,
    /// Source or destination of the original direction.
    Either,
}

/// A word of `nat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatWord {
    /// Source-NATed.
    Src,
    /// Destination-NATed.
    Dst,
    /// Either.
    Any,
    /// Neither.
    None,
}

/// A word of `path`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathWord {
    /// Neither end is this host.
    Forward,
    /// The reply comes from an address of this host.
    Input,
    /// The first packet came from an address of this host.
    Output,
}

/// `[snapshot]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSettings {
    /// Where snapshots are kept.
    pub directory: String,
    /// How they are compressed.
    pub compression: Compression,
}

impl Default for SnapshotSettings {
    fn default() -> Self {
        Self {
            directory: "/var/lib/conntidy/snapshots".to_owned(),
            compression: Compression::default(),
        }
    }
}

/// Compression of a snapshot file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Zstandard, a frame a run.
    #[default]
    Zstd,
    /// None.
    None,
}

/// How much of the audit and undo records is kept; both limits hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditKeep {
    /// Newest runs.
    pub runs: u64,
    /// Bytes of audit and undo records together.
    pub max_bytes: u64,
}
