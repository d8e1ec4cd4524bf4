//! Which flows: tests of what an entry tells.

use ipnet::IpNet;

use super::Seconds;
use crate::flow::field::{self, Field};
use crate::flow::{Family, Protocol, status::StatusWord};

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
    /// Index into [`Policy::sets`](super::Policy::sets).
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

impl Test {
    /// The field that it tests.
    #[must_use]
    pub fn field(&self) -> Field {
        match self {
            Self::Family(_) => field::FAMILY,
            Self::Protocol(_) => field::PROTOCOL,
            Self::State(_) => field::STATE,
            Self::Status(_) => field::STATUS,
            Self::Address(AddressField::Src, _) => field::SRC,
            Self::Address(AddressField::Dst, _) => field::DST,
            Self::Address(AddressField::ReplySrc, _) => field::REPLY_SRC,
            Self::Address(AddressField::ReplyDst, _) => field::REPLY_DST,
            Self::Address(AddressField::Any, _) => field::ADDRESS,
            Self::Address(AddressField::NatSrc, _) => field::NAT_SRC,
            Self::Address(AddressField::NatDst, _) => field::NAT_DST,
            Self::Port(PortField::Src, _) => field::SPORT,
            Self::Port(PortField::Dst, _) => field::DPORT,
            Self::Port(PortField::ReplySrc, _) => field::REPLY_SPORT,
            Self::Port(PortField::ReplyDst, _) => field::REPLY_DPORT,
            Self::Port(PortField::Either, _) => field::PORT,
            Self::IcmpType(_) => field::ICMP_TYPE,
            Self::IcmpCode(_) => field::ICMP_CODE,
            Self::GreKey(_) => field::GRE_KEY,
            Self::Nat(_) => field::NAT,
            Self::Path(_) => field::PATH,
            Self::Mark(_) => field::MARK,
            Self::Zone(_) => field::ZONE,
            Self::OrigZone(_) => field::ORIG_ZONE,
            Self::ReplyZone(_) => field::REPLY_ZONE,
            Self::Label(_) => field::LABEL,
            Self::Helper(_) => field::HELPER,
            Self::IdleFor(_) => field::IDLE_FOR,
            Self::AgeAbove(_) => field::AGE_ABOVE,
            Self::RemainingAbove(_) => field::REMAINING_ABOVE,
            Self::RemainingBelow(_) => field::REMAINING_BELOW,
            Self::BytesAbove(_) => field::BYTES_ABOVE,
            Self::BytesBelow(_) => field::BYTES_BELOW,
            Self::PacketsAbove(_) => field::PACKETS_ABOVE,
            Self::PacketsBelow(_) => field::PACKETS_BELOW,
        }
    }

    /// The sets that it compares with, by index.
    pub fn sets(&self) -> impl Iterator<Item = usize> {
        let terms = match self {
            Self::Address(_, terms) => terms.as_slice(),
            _ => &[],
        };
        terms.iter().filter_map(|term| match term {
            AddressTerm::Set(index) => Some(*index),
            AddressTerm::Prefix(_) => None,
        })
    }
}

impl Predicate {
    /// Its tests, then those under `not`.
    pub fn all_tests(&self) -> impl Iterator<Item = &Test> {
        self.tests.iter().chain(&self.not)
    }

    /// The sets that it uses, by index; one may come twice.
    pub fn sets(&self) -> impl Iterator<Item = usize> {
        self.all_tests().flat_map(Test::sets)
    }

    /// Its idle time, where it asks for one.
    #[must_use]
    pub fn idle_for(&self) -> Option<super::Seconds> {
        self.tests.iter().find_map(|test| match test {
            Test::IdleFor(seconds) => Some(*seconds),
            _ => None,
        })
    }

    /// Whether an entry alone tells if it holds, without sets, this host's addresses, clocks and
    /// timeouts.
    #[must_use]
    pub fn asks_entries_alone(&self) -> bool {
        self.all_tests().all(|test| {
            let asks_more = matches!(test, Test::Path(_) | Test::IdleFor(_) | Test::AgeAbove(_));
            !asks_more && test.sets().next().is_none()
        })
    }
}
