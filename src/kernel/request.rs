//! The rare requests, made with `netlink-packet-netfilter`. The frequent ones, which are written
//! into a batch, are in [`encode`](super::encode).
//!
//! Only looking is encodable here. A delete is written in `encode` and always carries a tuple, the
//! zone and the id; a flush in [`flush`](super::flush) alone.

use netlink_packet_core::{DefaultNla, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Tuple as TupleAttribute,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    NetfilterSubsystem,
};

use super::attribute::{self, proto};
use super::message::{
    CT_GET_STATS, CT_GET_STATS_CPU, EXP_GET_STATS_CPU, NLM_F_DUMP, NLM_F_REQUEST,
};
use crate::flow::{Family, FlowKey, Protocol, Tuple};

/// A dump of the whole table, or of one family. Needs `NLM_F_DUMP`'s answer loop.
pub(crate) fn dump(family: Option<Family>, sequence: u32) -> Vec<u8> {
    let message = ConntrackMessage::Get(Vec::new());
    finish(family, message, NLM_F_DUMP, sequence)
}

/// One entry by its key.
pub(crate) fn get(key: &FlowKey, sequence: u32) -> Vec<u8> {
    let message = ConntrackMessage::Get(key_attributes(key));
    finish(Some(key.family), message, 0, sequence)
}

/// Entries and limit of this namespace.
pub(crate) fn stats(sequence: u32) -> Vec<u8> {
    finish(None, other(CT_GET_STATS), 0, sequence)
}

/// Counters of each processor.
pub(crate) fn stats_cpu(sequence: u32) -> Vec<u8> {
    finish(None, other(CT_GET_STATS_CPU), NLM_F_DUMP, sequence)
}

/// Counters of expectations, of each processor.
pub(crate) fn stats_expect(sequence: u32) -> Vec<u8> {
    let [subsystem, message_type] = EXP_GET_STATS_CPU.to_be_bytes();
    dump_subsystem(subsystem, message_type, Vec::new(), sequence)
}

/// A dump of another netfilter subsystem.
pub(crate) fn dump_subsystem(
    subsystem: u8,
    message_type: u8,
    attributes: Vec<DefaultNla>,
    sequence: u32,
) -> Vec<u8> {
    let message = NetfilterMessageInner::Other {
        subsys: NetfilterSubsystem::from(subsystem),
        message_type,
        attributes,
    };
    finish(None, message, NLM_F_DUMP, sequence)
}

/// A dump by the whole number of its message type: the list of dying entries, expectations.
pub(crate) fn dump_kind(kind: u16, family: Option<Family>, sequence: u32) -> Vec<u8> {
    finish(family, plain(kind), NLM_F_DUMP, sequence)
}

fn plain(kind: u16) -> NetfilterMessageInner {
    let [subsystem, message_type] = kind.to_be_bytes();
    NetfilterMessageInner::Other {
        subsys: NetfilterSubsystem::from(subsystem),
        message_type,
        attributes: Vec::new(),
    }
}

/// The attributes that name an entry: original tuple and, if it is not the default, the zone.
pub(crate) fn key_attributes(key: &FlowKey) -> Vec<ConntrackAttribute> {
    let mut attributes = vec![ConntrackAttribute::CtaTupleOrig(tuple_attributes(
        key.family,
        key.protocol,
        &key.orig,
    ))];
    if key.zone != 0 {
        let zone = key.zone.to_be_bytes().to_vec();
        attributes.push(ConntrackAttribute::Other(DefaultNla::new(
            attribute::ZONE,
            zone,
        )));
    }
    attributes
}

/// A tuple as the crate writes it.
pub(crate) fn tuple_attributes(
    family: Family,
    protocol: Protocol,
    tuple: &Tuple,
) -> Vec<TupleAttribute> {
    let plain = |number, value: &[u8]| ProtoTuple::Other(DefaultNla::new(number, value.to_vec()));
    let mut inner = vec![ProtoTuple::Protocol(protocol.0.into())];
    match protocol {
        Protocol::ICMP | Protocol::ICMPV6 => {
            let numbers = if protocol == Protocol::ICMP {
                [proto::ICMP_ID, proto::ICMP_TYPE, proto::ICMP_CODE]
            } else {
                [proto::ICMPV6_ID, proto::ICMPV6_TYPE, proto::ICMPV6_CODE]
            };
            inner.push(plain(numbers[0], &tuple.src_port.to_be_bytes()));
            inner.push(plain(numbers[1], &[tuple.icmp_type()]));
            inner.push(plain(numbers[2], &[tuple.icmp_code()]));
        }
        _ => {
            inner.push(ProtoTuple::SourcePort(tuple.src_port));
            inner.push(ProtoTuple::DestinationPort(tuple.dst_port));
        }
    }
    vec![
        TupleAttribute::Ip(vec![
            IPTuple::SourceAddress(tuple.src_ip(family)),
            IPTuple::DestinationAddress(tuple.dst_ip(family)),
        ]),
        TupleAttribute::Proto(inner),
    ]
}

fn other(kind: u16) -> ConntrackMessage {
    ConntrackMessage::Other {
        message_type: kind.to_be_bytes()[1],
        attributes: Vec::new(),
    }
}

pub(crate) fn finish(
    family: Option<Family>,
    message: impl Into<NetfilterMessageInner>,
    flags: u16,
    sequence: u32,
) -> Vec<u8> {
    let family = match family {
        None => NetfilterProtoFamily::Unspec,
        Some(Family::Ipv4) => NetfilterProtoFamily::IPv4,
        Some(Family::Ipv6) => NetfilterProtoFamily::IPv6,
    };
    let header = NetfilterHeader::new(family, 0, 0);
    let mut netlink = NetlinkHeader::default();
    netlink.flags = NLM_F_REQUEST | flags;
    netlink.sequence_number = sequence;
    let payload = NetlinkPayload::InnerMessage(NetfilterMessage::new(header, message));
    let mut message = NetlinkMessage::new(netlink, payload);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}
