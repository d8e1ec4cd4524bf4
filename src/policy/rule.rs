//! A flush rule: which flows, what happens to them, and when.

use super::{Percent, Predicate, Seconds, Update};

/// The default grace of `expire`: 2 h 4 min, the shortest established timeout that RFC 5382
/// (REQ-5) allows a NAT.
pub const DEFAULT_GRACE: Seconds = Seconds(7440);

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
    /// How often it runs; `None` means [`Policy::every`](super::Policy::every).
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
