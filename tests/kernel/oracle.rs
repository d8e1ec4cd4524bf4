//! netlink-packet-netfilter as the judge of the decoder: what both know they must agree on.

use conntidy::flow::{Family, Flow, Present, Protocol, Tuple};
use conntidy::kernel::decode::decode;
use netlink_packet_core::{Emitable, NetlinkMessage, NetlinkPayload, Nla};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoInfo, ProtoInfoTCP, ProtoTuple,
    Tuple as TupleAttribute,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner};

const CTA_COUNTERS_ORIG: u16 = 9;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;

/// Panics unless both decoders agree on one message.
pub(crate) fn agrees(bytes: &[u8]) {
    let ours = decode(bytes).expect("ours decodes").flow;
    let theirs = NetlinkMessage::<NetfilterMessage>::deserialize(bytes).expect("theirs decodes");
    let NetlinkPayload::InnerMessage(message) = theirs.payload else {
        panic!("no entry: {theirs:?}");
    };
    assert_eq!(u8::from(message.header.family), ours.family as u8);
    let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) = message.inner else {
        panic!("no entry: {message:?}");
    };
    let mut seen = Present::empty();
    for attribute in &attributes {
        seen |= agree_on(attribute, &ours);
    }
    let known = Present::STATUS
        | Present::TIMEOUT
        | Present::MARK
        | Present::REPLY
        | Present::STATE
        | Present::COUNTERS_ORIG
        | Present::ID;
    assert_eq!(seen, ours.present & known, "{ours:?}");
}

fn agree_on(attribute: &ConntrackAttribute, ours: &Flow) -> Present {
    match attribute {
        ConntrackAttribute::CtaTupleOrig(tuple) => {
            assert_eq!(tuple_of(tuple, ours), (ours.orig, ours.protocol));
            Present::empty()
        }
        ConntrackAttribute::CtaTupleReply(tuple) => {
            assert_eq!(tuple_of(tuple, ours), (ours.reply, ours.protocol));
            Present::REPLY
        }
        ConntrackAttribute::CtaStatus(status) => {
            assert_eq!(status.bits(), ours.status.bits());
            Present::STATUS
        }
        ConntrackAttribute::CtaTimeout(timeout) => {
            assert_eq!(*timeout, ours.timeout);
            Present::TIMEOUT
        }
        ConntrackAttribute::CtaMark(mark) => {
            assert_eq!(*mark, ours.mark);
            Present::MARK
        }
        ConntrackAttribute::CtaProtoInfo(infos) => protoinfo(infos, ours),
        ConntrackAttribute::Other(other) => {
            let value = value_of(other);
            // A raw attribute keeps its nested bit.
            match other.kind() & 0x3fff {
                CTA_ID => {
                    assert_eq!(value, ours.id.to_be_bytes());
                    Present::ID
                }
                CTA_ZONE => {
                    assert_eq!(value, ours.zone_orig.to_be_bytes());
                    assert_eq!(ours.zone_orig, ours.zone_reply);
                    Present::empty()
                }
                // Packets and bytes, each behind its own attribute header.
                CTA_COUNTERS_ORIG => {
                    assert_eq!(value[4..12], ours.counters_orig.packets.to_be_bytes());
                    assert_eq!(value[16..24], ours.counters_orig.bytes.to_be_bytes());
                    Present::COUNTERS_ORIG
                }
                _ => Present::empty(),
            }
        }
        other => panic!("the crate knows more by now: {other:?}"),
    }
}

fn protoinfo(infos: &[ProtoInfo], ours: &Flow) -> Present {
    for info in infos {
        let ProtoInfo::TCP(attributes) = info else {
            // States of other protocols only ours knows.
            return ours.present & Present::STATE;
        };
        for attribute in attributes {
            match attribute {
                ProtoInfoTCP::State(state) => assert_eq!(Some(*state), ours.state()),
                ProtoInfoTCP::OriginalWindowScale(scale) => {
                    assert_eq!(Some(*scale), ours.wscale().map(|both| both.0));
                }
                ProtoInfoTCP::ReplyWindowScale(scale) => {
                    assert_eq!(Some(*scale), ours.wscale().map(|both| both.1));
                }
                ProtoInfoTCP::OriginalFlags(flags) => assert_eq!(flags.flags, ours.tcp_flags_orig),
                ProtoInfoTCP::ReplyFlags(flags) => assert_eq!(flags.flags, ours.tcp_flags_reply),
                _ => {}
            }
        }
    }
    Present::STATE
}

fn value_of(attribute: &impl Nla) -> Vec<u8> {
    let mut bytes = vec![0; attribute.buffer_len()];
    attribute.emit(&mut bytes);
    bytes[4..4 + attribute.value_len()].to_vec()
}

fn tuple_of(attributes: &[TupleAttribute], ours: &Flow) -> (Tuple, Protocol) {
    let unknown = match ours.family {
        Family::Ipv4 => "0.0.0.0",
        Family::Ipv6 => "::",
    };
    let unknown = unknown.parse().expect("an address");
    let (mut src, mut dst) = (unknown, unknown);
    let (mut src_port, mut dst_port, mut kinds) = (0, 0, [0; 2]);
    let mut protocol = Protocol(0);
    for attribute in attributes {
        match attribute {
            TupleAttribute::Ip(ends) => {
                for end in ends {
                    match end {
                        IPTuple::SourceAddress(address) => src = *address,
                        IPTuple::DestinationAddress(address) => dst = *address,
                        other => panic!("{other:?}"),
                    }
                }
            }
            TupleAttribute::Proto(parts) => {
                for part in parts {
                    match part {
                        ProtoTuple::Protocol(number) => protocol = Protocol(u8::from(*number)),
                        ProtoTuple::SourcePort(port) => src_port = *port,
                        ProtoTuple::DestinationPort(port) => dst_port = *port,
                        ProtoTuple::Other(other) => {
                            let value = value_of(other);
                            match other.kind() {
                                4 | 7 => src_port = u16::from_be_bytes([value[0], value[1]]),
                                5 | 8 => kinds[0] = value[0],
                                6 | 9 => kinds[1] = value[0],
                                kind => panic!("attribute {kind}"),
                            }
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            _ => {}
        }
    }
    if kinds != [0; 2] || matches!(protocol, Protocol::ICMP | Protocol::ICMPV6) {
        dst_port = u16::from_be_bytes(kinds);
    }
    (Tuple::new(src, dst, src_port, dst_port), protocol)
}
