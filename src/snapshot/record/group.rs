//! One group of an aggregate, one line of JSON.

use std::borrow::Cow;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::line::state_number;
use super::read::octets;
use super::{RecordError, STATUS_WORDS, status_bit};
use crate::flow::{Family, Flow, Present, Protocol, Status, protocol};

/// The status bits by which flows are grouped.
pub(in crate::snapshot) const GROUPED_STATUS: Status = Status::SEEN_REPLY
    .union(Status::ASSURED)
    .union(Status::SRC_NAT)
    .union(Status::DST_NAT)
    .union(Status::OFFLOAD)
    .union(Status::HW_OFFLOAD);

/// How a group's line starts, and no flow's.
pub(in crate::snapshot) const START: &[u8] = b"{\"flows\":";

/// Flows that have all of [`Common`] in common, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// What they have in common.
    pub common: Common,
    /// What they come to together.
    pub totals: Totals,
}

/// What the flows of one group have in common. `None` is what they do not have, or what was left
/// out of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Common {
    /// Address family.
    pub family: Family,
    /// Zone of the original direction.
    pub zone: u16,
    /// IP protocol.
    pub protocol: Protocol,
    /// Network of the original direction's source, by its first address: /24 of IPv4, in the first
    /// four bytes, and /48 of IPv6.
    pub src: Option<[u8; 16]>,
    /// Destination of the original direction, where it names a service of this host or behind it:
    /// one of the host's own addresses, or one that is translated.
    pub dst: Option<[u8; 16]>,
    /// Destination port of the original direction.
    pub dport: Option<u16>,
    /// ICMP or `ICMPv6` type of the original direction.
    pub icmp_type: Option<u8>,
    /// State of the protocol, as the kernel numbers it.
    pub state: Option<u8>,
    /// Of the status: seen reply, assured, translations, offloaded.
    pub status: Option<Status>,
    /// Connection mark.
    pub mark: Option<u32>,
}

/// What the flows of one group come to together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many they are.
    pub flows: u64,
    /// How many of them have counters of both directions; the four below are of these.
    pub counted: u64,
    /// Packets of the original direction.
    pub packets: u64,
    /// Bytes of the original direction.
    pub bytes: u64,
    /// Packets of the reply direction.
    pub reply_packets: u64,
    /// Bytes of the reply direction.
    pub reply_bytes: u64,
}

impl Totals {
    /// Counts one more flow.
    pub fn add(&mut self, flow: &Flow) {
        self.flows += 1;
        if flow.present.contains(Present::COUNTERS) {
            self.counted += 1;
            let sum = |total: &mut u64, more: u64| *total = total.saturating_add(more);
            sum(&mut self.packets, flow.counters_orig.packets);
            sum(&mut self.bytes, flow.counters_orig.bytes);
            sum(&mut self.reply_packets, flow.counters_reply.packets);
            sum(&mut self.reply_bytes, flow.counters_reply.bytes);
        }
    }
}

impl Common {
    /// A flow that has this and nothing else: what groups and summaries look at is there, all else
    /// is zero and not [`Present`].
    #[must_use]
    pub fn flow(&self) -> Flow {
        let orig = crate::flow::Tuple {
            src: self.src.unwrap_or_default(),
            dst: self.dst.unwrap_or_default(),
            src_port: 0,
            dst_port: match (self.dport, self.icmp_type) {
                (Some(port), _) => port,
                (None, Some(kind)) => u16::from_be_bytes([kind, 0]),
                (None, None) => 0,
            },
        };
        let mut flow = Flow::new(self.family, self.protocol, orig);
        (flow.zone_orig, flow.zone_reply) = (self.zone, self.zone);
        if let Some(state) = self.state {
            flow.state = state;
            flow.present |= Present::STATE;
        }
        if let Some(status) = self.status {
            flow.status = status;
            flow.present |= Present::STATUS;
        }
        if let Some(mark) = self.mark {
            flow.mark = mark;
            flow.present |= Present::MARK;
        }
        flow
    }

    /// The source as an address.
    #[must_use]
    pub fn src_ip(&self) -> Option<IpAddr> {
        self.src.map(|_| self.flow().orig.src_ip(self.family))
    }

    /// The destination as an address.
    #[must_use]
    pub fn dst_ip(&self) -> Option<IpAddr> {
        self.dst.map(|_| self.flow().orig.dst_ip(self.family))
    }
}

/// Flows of an aggregate that have all of this in common, with their number.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(expecting = "a group")]
#[schemars(title = "Group", rename = "Group")]
pub struct GroupLine<'a> {
    /// How many flows they are.
    flows: u64,
    /// Address family.
    #[schemars(extend("enum" = ["ipv4", "ipv6"]))]
    #[serde(borrow)]
    family: Cow<'a, str>,
    /// Zone of the original direction; absent where it is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<u16>,
    /// IP protocol by name, or its number as text.
    #[serde(borrow)]
    protocol: Cow<'a, str>,
    /// First address of the source's network, /24 of IPv4 and /48 of IPv6; absent in the groups that
    /// take what is past the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    src: Option<IpAddr>,
    /// Destination of the original direction, where it is one of the host's own addresses or
    /// translated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dst: Option<IpAddr>,
    /// Destination port of the original direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dport: Option<u16>,
    /// ICMP or `ICMPv6` type of the original direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    icmp_type: Option<u8>,
    /// State of the protocol by name, or its number as text.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    state: Option<Cow<'a, str>>,
    /// Of the status: seen-reply, assured, src-nat, dst-nat, offload, hw-offload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Vec<String>>,
    /// Connection mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<u32>,
    /// How many of the flows have counters of both directions; absent where none has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counted: Option<u64>,
    /// Packets of the original direction, of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    packets: Option<u64>,
    /// Bytes of the original direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Packets of the reply direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_packets: Option<u64>,
    /// Bytes of the reply direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_bytes: Option<u64>,
}

/// Appends a group's line, line end included.
///
/// # Panics
/// Never; a vector takes every write.
pub fn write_group(group: &Group, out: &mut Vec<u8>) {
    let Group { common, totals } = group;
    let counted = |value| (totals.counted > 0).then_some(value);
    let line = GroupLine {
        flows: totals.flows,
        family: common.family.name().into(),
        zone: (common.zone != 0).then_some(common.zone),
        protocol: common.protocol.to_string().into(),
        src: common.src_ip(),
        dst: common.dst_ip(),
        dport: common.dport,
        icmp_type: common.icmp_type,
        state: common.state.map(|state| {
            protocol::state_name(common.protocol, state)
                .map_or_else(|| state.to_string().into(), Cow::from)
        }),
        status: common.status.map(|status| {
            let words = (0..).zip(STATUS_WORDS);
            words
                .filter(|(bit, _)| status.bits() & (1_u32 << bit) != 0)
                .map(|(_, word)| word.to_owned())
                .collect()
        }),
        mark: common.mark,
        counted: counted(totals.counted),
        packets: counted(totals.packets),
        bytes: counted(totals.bytes),
        reply_packets: counted(totals.reply_packets),
        reply_bytes: counted(totals.reply_bytes),
    };
    serde_json::to_writer(&mut *out, &line).expect("a vector takes every write");
    out.push(b'\n');
}

/// Reads a group from its line; the line end may be there or not. Fields that this version does not
/// know are passed over.
pub fn read_group(line: &[u8]) -> Result<Group, RecordError> {
    let line: GroupLine<'_> = serde_json::from_slice(line)?;
    let family = super::read::family(&line.family)?;
    let protocol = super::read::protocol(&line.protocol)?;
    let address = |address: Option<IpAddr>, field| {
        address
            .map(|address| octets(address, family, field))
            .transpose()
    };
    let state = |text: &str| {
        state_number(protocol, text).ok_or_else(|| RecordError::Value {
            field: "state",
            value: text.to_owned(),
        })
    };
    let mut status = None;
    for word in line.status.iter().flatten() {
        let bit = status_bit(word).ok_or_else(|| RecordError::Value {
            field: "status",
            value: word.clone(),
        })?;
        status = Some(status.unwrap_or(Status::empty()) | bit);
    }
    let status = status.or(line.status.is_some().then_some(Status::empty()));
    Ok(Group {
        common: Common {
            family,
            zone: line.zone.unwrap_or(0),
            protocol,
            src: address(line.src, "src")?,
            dst: address(line.dst, "dst")?,
            dport: line.dport,
            icmp_type: line.icmp_type,
            state: line.state.as_deref().map(state).transpose()?,
            status,
            mark: line.mark,
        },
        totals: Totals {
            flows: line.flows,
            counted: line.counted.unwrap_or(0),
            packets: line.packets.unwrap_or(0),
            bytes: line.bytes.unwrap_or(0),
            reply_packets: line.reply_packets.unwrap_or(0),
            reply_bytes: line.reply_bytes.unwrap_or(0),
        },
    })
}
