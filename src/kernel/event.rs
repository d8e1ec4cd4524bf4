//! What the kernel tells of an entry that came, changed or went, borrowed from one message.

use super::attribute::{self, Attributes};
use super::decode::{self, DecodeError};
use super::decode_expectation;
use super::message::{CT_DELETE, CT_NEW, EXP_DELETE, EXP_NEW, Message, NFGENMSG, NLM_F_CREATE};
use crate::flow::Expectation;
use crate::observe::Record;

bitflags::bitflags! {
    /// Which events are listened for; each is a netlink group of its own.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Groups: u8 {
        /// Entries that were made.
        const NEW = 1 << 0;
        /// Entries that changed: status, state, mark, labels, helper; never timeout or counters.
        const UPDATE = 1 << 1;
        /// Entries that went: expired, deleted, thrown out.
        const DESTROY = 1 << 2;
        /// Expectations that were made.
        const EXPECT_NEW = 1 << 3;
        /// Expectations that went. The kernel tells nothing of those that changed.
        const EXPECT_DESTROY = 1 << 5;
        /// Everything of flows.
        const FLOWS = Self::NEW.bits() | Self::UPDATE.bits() | Self::DESTROY.bits();
        /// Everything of expectations.
        const EXPECTATIONS = Self::EXPECT_NEW.bits() | Self::EXPECT_DESTROY.bits();
    }
}

impl Groups {
    /// The numbers of the netlink groups (`NFNLGRP_CONNTRACK_*`).
    pub(crate) fn numbers(self) -> impl Iterator<Item = u32> {
        (0..u8::BITS)
            .filter(move |bit| self.bits() >> bit & 1 == 1)
            .map(|bit| bit + 1)
    }
}

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// It was made.
    New,
    /// It changed.
    Update,
    /// It went.
    Destroy,
}

impl Kind {
    /// Every kind, in the order of an entry's life.
    pub const ALL: [Self; 3] = [Self::New, Self::Update, Self::Destroy];

    /// `new`, `update` or `destroy`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Update => "update",
            Self::Destroy => "destroy",
        }
    }
}

/// The entry that an event is about.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// Of the connection tracking table. It holds only what the kernel sends with this kind of
    /// event: counters and start with a destroy alone, a state where it changed.
    Flow(Record<'a>),
    /// Of the expectation table.
    Expectation(Expectation<'a>),
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What happened.
    pub kind: Kind,
    /// To which entry.
    pub entry: Entry<'a>,
    /// Netlink port of the program that caused it over ctnetlink; 0 where a packet or a timer did.
    pub port: u32,
    message: &'a [u8],
}

impl Event<'_> {
    /// When it happened, nanoseconds of the wall clock (`CTA_TIMESTAMP_EVENT`): kernels from 6.14
    /// on, for entries made while `nf_conntrack_timestamp` was on.
    #[must_use]
    pub fn time_ns(&self) -> Option<u64> {
        self.nanoseconds(attribute::TIMESTAMP_EVENT, None)
    }

    /// When the entry ended, nanoseconds of the wall clock; with a destroy, where
    /// `nf_conntrack_timestamp` was on when the entry was made.
    #[must_use]
    pub fn stop_ns(&self) -> Option<u64> {
        self.nanoseconds(attribute::TIMESTAMP, Some(attribute::timestamp::STOP))
    }

    fn nanoseconds(&self, outer: u16, inner: Option<u16>) -> Option<u64> {
        let mut bytes = find(self.message, outer)?;
        if let Some(inner) = inner {
            bytes = find(bytes, inner)?;
        }
        Some(u64::from_be_bytes(*bytes.first_chunk()?)).filter(|time| *time > 0)
    }
}

fn find(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut all = Attributes::new(attributes).filter_map(Result::ok);
    all.find(|(number, _)| *number == wanted)
        .map(|(_, payload)| payload)
}

/// Decodes an event; `None` for a message that is none.
///
/// # Errors
/// Where its entry cannot be understood.
pub fn event<'a>(message: &Message<'a>) -> Option<Result<Event<'a>, DecodeError>> {
    let kind = match message.kind {
        CT_NEW | EXP_NEW if message.flags & NLM_F_CREATE != 0 => Kind::New,
        CT_NEW | EXP_NEW => Kind::Update,
        CT_DELETE | EXP_DELETE => Kind::Destroy,
        _ => return None,
    };
    let entry = match message.kind {
        CT_NEW | CT_DELETE => decode::entry(message).map(Entry::Flow),
        _ => decode_expectation::expectation(message).map(Entry::Expectation),
    };
    Some(entry.map(|entry| Event {
        kind,
        entry,
        port: message.port(),
        message: message.payload().get(NFGENMSG..).unwrap_or(&[]),
    }))
}
