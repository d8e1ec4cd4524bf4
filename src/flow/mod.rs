//! One connection tracking entry, as plain data.
//!
//! This module knows nothing of netlink, files or clocks. [`Flow`] is flat and `Copy`, so that a
//! million of them are one allocation; what few entries carry (helper, labels, security context,
//! SCTP tags) travels beside it as [`Extra`].

mod class;
mod expectation;
mod extra;
pub mod field;
mod key;
pub mod protocol;
pub mod status;
pub(crate) mod text;
pub(crate) mod tuple;

pub use class::Class;
pub use expectation::{Expectation, ExpectationLine};
pub use extra::{Extra, ExtraTable, OwnedExtra, SeqAdjust};
pub use key::{FlowKey, FlowKeyError, KeyOrder};
pub use protocol::Protocol;
pub use status::Status;
pub use tuple::{Family, Tuple};

bitflags::bitflags! {
    /// Which optional attributes the kernel sent for an entry.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Present: u16 {
        /// `CTA_STATUS`.
        const STATUS = 1 << 0;
        /// `CTA_TIMEOUT`; absent on offloaded entries.
        const TIMEOUT = 1 << 1;
        /// `CTA_MARK`.
        const MARK = 1 << 2;
        /// `CTA_ID`.
        const ID = 1 << 3;
        /// `CTA_PROTOINFO` with a state; absent on offloaded entries.
        const STATE = 1 << 4;
        /// `CTA_COUNTERS_ORIG`.
        const COUNTERS_ORIG = 1 << 5;
        /// `CTA_COUNTERS_REPLY`.
        const COUNTERS_REPLY = 1 << 6;
        /// `CTA_TIMESTAMP` with a start.
        const START = 1 << 7;
        /// `CTA_TUPLE_REPLY`.
        const REPLY = 1 << 8;
        /// TCP flags of both directions in `CTA_PROTOINFO_TCP`.
        const TCP_FLAGS = 1 << 9;
        /// TCP window scales of both directions in `CTA_PROTOINFO_TCP`.
        const TCP_WSCALE = 1 << 10;
        /// The entry has a master (`CTA_TUPLE_MASTER`): it was expected by another flow's helper.
        const MASTER = 1 << 11;
        /// Both directions of counters.
        const COUNTERS = Self::COUNTERS_ORIG.bits() | Self::COUNTERS_REPLY.bits();
    }
}

/// Packets and bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counters {
    /// Packets seen since the entry was made.
    pub packets: u64,
    /// Bytes seen since the entry was made, network layer headers included.
    pub bytes: u64,
}

/// One entry of the connection tracking table.
///
/// Fields hold zero where the kernel sent nothing; [`Flow::present`] tells which were sent, and the
/// accessors that return `Option` are the way to read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// When the entry was confirmed, nanoseconds of the wall clock (`CTA_TIMESTAMP_START`).
    pub start_ns: u64,
    /// Counters of the original direction.
    pub counters_orig: Counters,
    /// Counters of the reply direction.
    pub counters_reply: Counters,
    /// The tuple of the first packet.
    pub orig: Tuple,
    /// The tuple that a reply has; differs from the inverse of `orig` where there is NAT.
    pub reply: Tuple,
    /// `IPS_*` bits.
    pub status: Status,
    /// Seconds until the entry expires, rounded down by the kernel.
    pub timeout: u32,
    /// The connection mark.
    pub mark: u32,
    /// `CTA_ID`: a hash of the entry's address in memory and its tuple; no proof of identity.
    pub id: u32,
    /// Index into an [`ExtraTable`]; 0 means none. Only meaningful beside that table.
    pub extra: u32,
    /// Zone of the original direction.
    pub zone_orig: u16,
    /// Zone of the reply direction.
    pub zone_reply: u16,
    /// Which optional attributes were sent.
    pub present: Present,
    /// Address family of both tuples.
    pub family: Family,
    /// IP protocol.
    pub protocol: Protocol,
    /// Protocol state as the kernel numbers it; read it through [`Flow::state`].
    pub state: u8,
    /// `IP_CT_TCP_FLAG_*` of the original direction.
    pub tcp_flags_orig: u8,
    /// `IP_CT_TCP_FLAG_*` of the reply direction.
    pub tcp_flags_reply: u8,
    /// Window scale factors: original direction in the low four bits, reply in the high four.
    pub tcp_wscale: u8,
}

/// `IP_CT_TCP_FLAG_DATA_UNACKNOWLEDGED`: data was sent that the other side has not acknowledged.
pub const TCP_FLAG_DATA_UNACKNOWLEDGED: u8 = 0x10;

impl Flow {
    /// An entry of which only the original tuple is known; the reply is its inverse.
    #[must_use]
    pub fn new(family: Family, protocol: Protocol, orig: Tuple) -> Self {
        Self {
            start_ns: 0,
            counters_orig: Counters::default(),
            counters_reply: Counters::default(),
            orig,
            reply: orig.inverse(protocol),
            status: Status::empty(),
            timeout: 0,
            mark: 0,
            id: 0,
            extra: 0,
            zone_orig: 0,
            zone_reply: 0,
            present: Present::empty(),
            family,
            protocol,
            state: 0,
            tcp_flags_orig: 0,
            tcp_flags_reply: 0,
            tcp_wscale: 0,
        }
    }

    /// What identifies the entry in the table.
    #[must_use]
    pub fn key(&self) -> FlowKey {
        FlowKey {
            family: self.family,
            zone: self.zone_orig,
            protocol: self.protocol,
            orig: self.orig,
        }
    }

    /// Seconds until the entry expires; `None` where the kernel sent none (offloaded).
    #[must_use]
    pub fn remaining(&self) -> Option<u32> {
        self.present
            .contains(Present::TIMEOUT)
            .then_some(self.timeout)
    }

    /// Status bits; `None` where the kernel sent none.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.present
            .contains(Present::STATUS)
            .then_some(self.status)
    }

    /// The protocol's state number; `None` for protocols without one and for offloaded entries.
    #[must_use]
    pub fn state(&self) -> Option<u8> {
        self.present.contains(Present::STATE).then_some(self.state)
    }

    /// The name of the protocol's state, as the kernel's own listing spells it.
    #[must_use]
    pub fn state_name(&self) -> Option<&'static str> {
        self.state()
            .and_then(|state| protocol::state_name(self.protocol, state))
    }

    /// The entry's `CTA_ID`.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.present.contains(Present::ID).then_some(self.id)
    }

    /// Start of the entry in nanoseconds of the wall clock; needs `nf_conntrack_timestamp`.
    #[must_use]
    pub fn start_ns(&self) -> Option<u64> {
        self.present
            .contains(Present::START)
            .then_some(self.start_ns)
    }

    /// Packets and bytes of both directions; needs `nf_conntrack_acct`.
    #[must_use]
    pub fn total(&self) -> Option<Counters> {
        self.present.contains(Present::COUNTERS).then(|| Counters {
            packets: self
                .counters_orig
                .packets
                .saturating_add(self.counters_reply.packets),
            bytes: self
                .counters_orig
                .bytes
                .saturating_add(self.counters_reply.bytes),
        })
    }

    /// Window scale factors, original and reply direction.
    #[must_use]
    pub fn wscale(&self) -> Option<(u8, u8)> {
        self.present
            .contains(Present::TCP_WSCALE)
            .then_some((self.tcp_wscale & 0x0f, self.tcp_wscale >> 4))
    }

    /// Whether the source is translated, by status bits; `None` where the status is unknown.
    #[must_use]
    pub fn is_src_nat(&self) -> Option<bool> {
        self.status().map(|s| s.contains(Status::SRC_NAT))
    }

    /// Whether the destination is translated, by status bits; `None` where the status is unknown.
    #[must_use]
    pub fn is_dst_nat(&self) -> Option<bool> {
        self.status().map(|s| s.contains(Status::DST_NAT))
    }

    /// A TCP connection that has ended: `TIME_WAIT` or `CLOSE` (POLICY 4.2).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.protocol == Protocol::TCP
            && matches!(
                self.state(),
                Some(protocol::tcp::TIME_WAIT | protocol::tcp::CLOSE)
            )
    }

    /// Handled by the flowtable; its timer says nothing.
    #[must_use]
    pub fn is_offloaded(&self) -> bool {
        self.status.intersects(Status::OFFLOAD | Status::HW_OFFLOAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_stays_within_144_bytes() {
        assert!(size_of::<Flow>() <= 144, "{}", size_of::<Flow>());
    }
}
