//! What predicates say of themselves.

use super::{AddressField, AddressTerm, PortField, Predicate, Test};
use crate::flow::field::{self, Field};

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
