use std::net::IpAddr;

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, ProtoInfo, ProtoInfoTCP, Status as CrateStatus, TCPFlags,
};
use proptest::prelude::*;

use super::*;
use crate::kernel::decode::decode;
use crate::kernel::{message, request};

fn tuple(src: &str, dst: &str, src_port: u16, dst_port: u16) -> Tuple {
    let parse = |text: &str| text.parse::<IpAddr>().unwrap();
    Tuple::new(parse(src), parse(dst), src_port, dst_port)
}

fn key(family: Family, protocol: Protocol, zone: u16, orig: Tuple) -> FlowKey {
    FlowKey {
        family,
        zone,
        protocol,
        orig,
    }
}

fn keys() -> Vec<FlowKey> {
    let v4 = tuple("10.1.2.3", "192.0.2.9", 40_000, 443);
    let v6 = tuple("fd00::1", "2001:db8::9", 40_000, 443);
    vec![
        key(Family::Ipv4, Protocol::TCP, 0, v4),
        key(Family::Ipv6, Protocol::UDP, 7, v6),
        key(
            Family::Ipv4,
            Protocol::ICMP,
            0,
            tuple("10.1.2.3", "10.0.0.1", 77, 0x0800),
        ),
        key(
            Family::Ipv6,
            Protocol::ICMPV6,
            65_535,
            tuple("fd00::1", "fd00::2", 9, 0x8000),
        ),
        key(
            Family::Ipv4,
            Protocol::GRE,
            3,
            tuple("10.1.2.3", "10.0.0.1", 0, 0x0123),
        ),
        key(
            Family::Ipv4,
            Protocol(50),
            0,
            tuple("10.1.2.3", "10.0.0.1", 0, 0),
        ),
    ]
}

fn encoded(change: &Change<'_>, sequence: u32) -> Vec<u8> {
    let mut out = Vec::new();
    change.encode(sequence, &mut out);
    out
}

#[test]
fn a_delete_is_what_the_crate_writes() {
    for key in keys() {
        let mut attributes = request::key_attributes(&key);
        attributes.push(ConntrackAttribute::Other(DefaultNla::new(
            attribute::ID,
            0xdead_beef_u32.to_be_bytes().to_vec(),
        )));
        let message = ConntrackMessage::Delete(attributes);
        let theirs = request::finish(Some(key.family), message, 0, 42);
        let ours = encoded(
            &Change::Delete {
                key,
                id: 0xdead_beef,
            },
            42,
        );
        assert_eq!(ours, theirs, "{key:?}");
    }
}

#[test]
fn a_retime_is_what_the_crate_writes() {
    for key in keys() {
        let mut attributes = request::key_attributes(&key);
        attributes.push(ConntrackAttribute::CtaTimeout(300));
        let message = ConntrackMessage::New(attributes);
        let theirs = request::finish(Some(key.family), message, 0, 43);
        let ours = encoded(&Change::Retime { key, seconds: 300 }, 43);
        assert_eq!(ours, theirs, "{key:?}");
    }
}

#[test]
fn a_plain_create_is_what_the_crate_writes() {
    let orig = tuple("10.1.2.3", "192.0.2.9", 40_000, 443);
    let mut flow = Flow::new(Family::Ipv4, Protocol::TCP, orig);
    flow.timeout = 500;
    flow.mark = 9;
    flow.status = Status::SEEN_REPLY | Status::ASSURED | Status::SRC_NAT_DONE;
    flow.state = 3;
    flow.tcp_wscale = 0x97;
    flow.tcp_flags_orig = 0xff;
    flow.present = Present::all();
    let flags = |flags| TCPFlags::parse(&[flags, TCP_FLAGS_KEPT]).unwrap();
    let attributes = vec![
        ConntrackAttribute::CtaTupleOrig(request::tuple_attributes(
            flow.family,
            flow.protocol,
            &orig,
        )),
        ConntrackAttribute::CtaTupleReply(request::tuple_attributes(
            flow.family,
            flow.protocol,
            &flow.reply,
        )),
        ConntrackAttribute::CtaTimeout(500),
        ConntrackAttribute::CtaStatus(CrateStatus::from_bits_retain(0xe)),
        ConntrackAttribute::CtaMark(9),
        ConntrackAttribute::CtaProtoInfo(vec![ProtoInfo::TCP(vec![
            ProtoInfoTCP::State(3),
            ProtoInfoTCP::OriginalWindowScale(7),
            ProtoInfoTCP::ReplyWindowScale(9),
            ProtoInfoTCP::OriginalFlags(flags(TCP_FLAGS_KEPT)),
            ProtoInfoTCP::ReplyFlags(flags(0)),
        ])]),
    ];
    let message = ConntrackMessage::New(attributes);
    let theirs = request::finish(Some(flow.family), message, NLM_F_CREATE | NLM_F_EXCL, 1);
    let change = Change::Create {
        flow: &flow,
        extra: Extra::default(),
    };
    assert_eq!(encoded(&change, 1), theirs);
}

#[test]
fn every_delete_names_a_tuple_and_an_id() {
    for key in keys() {
        let bytes = encoded(&Change::Delete { key, id: 5 }, 1);
        let message = message::split(&bytes).unwrap();
        assert_eq!(message.kind, CT_DELETE);
        let numbers: Vec<_> = attribute::Attributes::new(&message.payload()[4..])
            .map(|attribute| attribute.unwrap().0)
            .collect();
        assert_eq!(numbers.first(), Some(&attribute::TUPLE_ORIG));
        assert_eq!(numbers.last(), Some(&attribute::ID));
        assert_eq!(numbers.contains(&attribute::ZONE), key.zone != 0);
    }
}

proptest! {
    #[test]
    fn what_a_create_carries_is_what_the_decoder_reads(
        v6: bool, protocol in prop::sample::select(vec![1u8, 6, 17, 33, 47, 58, 132, 136]),
        src: [u8; 16], dst: [u8; 16], ports: (u16, u16), timeout: u32, mark: u32,
        state in 0u8..10, wscale: u8, flags: (u8, u8), zone: u16, labels in 1u128..,
        vtags: (u32, u32),
    ) {
        let family = if v6 { Family::Ipv6 } else { Family::Ipv4 };
        let width = if v6 { 16 } else { 4 };
        let cut = |address: [u8; 16]| {
            let mut cut = [0; 16];
            cut[..width].copy_from_slice(&address[..width]);
            cut
        };
        let orig = Tuple { src: cut(src), dst: cut(dst), src_port: ports.0, dst_port: ports.1 };
        let protocol = Protocol(protocol);
        let mut flow = Flow::new(family, protocol, orig);
        flow.timeout = timeout;
        flow.mark = mark;
        flow.zone_orig = zone;
        flow.zone_reply = zone;
        flow.state = state;
        flow.tcp_wscale = wscale;
        flow.tcp_flags_orig = flags.0;
        flow.tcp_flags_reply = flags.1;
        flow.status = Status::SEEN_REPLY;
        flow.present = Present::TIMEOUT | Present::REPLY | Present::STATUS;
        if protocol.has_states() {
            flow.present |= Present::STATE;
        }
        if protocol == Protocol::TCP {
            flow.present |= Present::TCP_FLAGS | Present::TCP_WSCALE;
        }
        let extra = Extra {
            helper: Some("ftp"),
            labels: Some(labels),
            sctp_vtags: (protocol == Protocol::SCTP).then_some(vtags),
            dccp_role: (protocol == Protocol::DCCP).then_some(1),
            seq_adjust: Some((SeqAdjust { correction: 1, before: -2, after: 3 }, SeqAdjust::default())),
            ..Extra::default()
        };
        let bytes = encoded(&Change::Create { flow: &flow, extra }, 1);
        let record = decode(&bytes).unwrap();
        let read = record.flow;
        prop_assert_eq!(read.key(), flow.key());
        prop_assert_eq!(read.reply, flow.reply);
        prop_assert_eq!((read.zone_orig, read.zone_reply), (zone, zone));
        prop_assert_eq!((read.timeout, read.mark), (timeout, mark));
        prop_assert_eq!(read.state(), flow.state());
        prop_assert_eq!(read.wscale(), flow.wscale());
        if protocol == Protocol::TCP {
            prop_assert_eq!(read.tcp_flags_orig, flags.0 & TCP_FLAGS_KEPT);
        }
        prop_assert_eq!(record.extra, extra);
    }
}
