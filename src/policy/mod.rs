//! What the user wants, in a form in which only valid wishes can be said.
//!
//! A [`Policy`] comes out of validation alone; everything in it is resolved but for what depends on
//! the machine (sizes, set members), which planning resolves against what it observes.

use ipnet::IpNet;

use crate::flow::{Family, Protocol, status::StatusWord};

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
mod seconds;
mod set_source;
mod shape;
pub mod term;
mod text;
pub mod timing;
mod tree;
mod update;
mod validate;

pub use document::Document;
pub use key::KeyPath;
pub use members::Members;
pub use quantity::{Bytes, Count, Pace};
pub use seconds::Seconds;
pub use set_source::{DEFAULT_SETTLE, InterfaceName, NftSet, SetSource};
pub use text::{SpanIndex, Text, TextKind};
pub use update::{Sets, Update};

/// The default grace of `expire`: 2 h 4 min, the shortest established timeout that RFC 5382
/// (REQ-5) allows a NAT.
pub const DEFAULT_GRACE: Seconds = Seconds(7440);

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
    /// Of those, only flows that this is true of too; groups are counted without it. By hand alone.
    pub narrowed: Predicate,
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
    /// It may delete half-closed flows that are not proven idle. No policy can say so.
    pub allow_half_closed: bool,
    /// A person asks for it, once: what it does to timers can be undone. No policy can say so.
    pub by_hand: bool,
    /// It keeps its flows from the rules after it, and does nothing to them: it is tried before one
    /// [`by_hand`](Rule::by_hand). No policy can say so.
    pub only_claims: bool,
    /// It also takes flows of this host itself.
    pub include_host: bool,
    /// It trusts idle times although `ct timeout` objects exist.
    pub ignore_ct_timeout: bool,
    /// Why a grace below [`DEFAULT_GRACE`] is right for assured flows.
    pub accept_risk: Option<String>,
    /// Only flows of large groups.
    pub over: Option<Over>,
    /// Only flows that matched in at least two runs whose first and last lie that far apart; never
    /// beside `over`.
    pub persisted: Option<Seconds>,
    /// How often it runs; `None` means [`Policy::every`].
    pub every: Option<Seconds>,
    /// Only while the table is full.
    pub when: Option<Pressure>,
}

/// Fills of the table between which a rule is active, with hysteresis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// It begins above this share of `nf_conntrack_max`.
    pub above: Percent,
    /// It ends below this one, which is smaller and not 0.
    pub until_below: Percent,
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
    /// Set some of what the kernel lets be set; only by hand.
    Update(Update),
}

impl Action {
    /// The word for it, as policies and documents have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Expire { .. } => "expire",
            Self::Delete => "delete",
            Self::Report => "report",
            Self::Update(_) => "update",
        }
    }

    /// The seconds that it leaves to flows, where it sets their timers.
    #[must_use]
    pub fn timer(self) -> Option<u32> {
        match self {
            Self::Expire { grace } => Some(u32::try_from(grace.0).unwrap_or(u32::MAX)),
            Self::Update(update) => update.timeout,
            Self::Delete | Self::Report => None,
        }
    }
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
    /// How often one is due; `None`: never by time.
    pub every: Option<Seconds>,
    /// What those hold.
    pub detail: Detail,
    /// When one is due because the table fills up.
    pub on_pressure: Option<OnPressure>,
    /// How addresses are recorded.
    pub addresses: AddressSetting,
    /// How they are compressed.
    pub compression: Compression,
    /// Which of them stay.
    pub keep: SnapshotKeep,
}

impl Default for SnapshotSettings {
    fn default() -> Self {
        Self {
            directory: "/var/lib/conntidy/snapshots".to_owned(),
            every: None,
            detail: Detail::Aggregate,
            on_pressure: None,
            addresses: AddressSetting::Plain,
            compression: Compression::default(),
            keep: SnapshotKeep::default(),
        }
    }
}

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detail {
    /// Every flow.
    #[default]
    Full,
    /// Groups of flows with counts.
    Aggregate,
}

/// `[snapshot] on-pressure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnPressure {
    /// Fuller than this share of `nf_conntrack_max` is pressure.
    pub above: Percent,
    /// While it lasts, the next snapshot is due after this.
    pub again_after: Seconds,
    /// What it holds.
    pub detail: Detail,
}

/// A word of `addresses`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressForm {
    /// As they are.
    Plain,
    /// Cut to a prefix.
    Prefix,
    /// Replaced, the same by the same under one key.
    Pseudonym,
}

/// How addresses are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AddressSetting {
    /// As they are.
    #[default]
    Plain,
    /// Cut to a prefix.
    Prefix,
    /// As pseudonyms under this key.
    Pseudonym(KeySource),
}

/// Where the key of pseudonyms is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// In a file, by absolute path.
    File(String),
    /// In the systemd credential of this name.
    Credential(String),
}

/// Which snapshots stay. Nothing in it: all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotKeep {
    /// So many of the newest.
    pub last: Option<u64>,
    /// The newest of each of so many hours.
    pub hourly: Option<u64>,
    /// The newest of each of so many days.
    pub daily: Option<u64>,
    /// The newest of each of so many weeks.
    pub weekly: Option<u64>,
    /// The newest of each of so many months.
    pub monthly: Option<u64>,
    /// None that is older, but for the newest.
    pub max_age: Option<Seconds>,
    /// Not more bytes in the directory; wins over everything but the newest.
    pub max_bytes: Option<u64>,
}

impl SnapshotKeep {
    /// The counts that are given.
    pub fn counts(&self) -> impl Iterator<Item = u64> {
        let counts = [
            self.last,
            self.hourly,
            self.daily,
            self.weekly,
            self.monthly,
        ];
        counts.into_iter().flatten()
    }

    /// Whether everything stays.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

/// Compression of a snapshot file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// Zstandard, a frame a run.
    #[default]
    Zstd,
    /// Gzip, a member a run.
    Gzip,
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
