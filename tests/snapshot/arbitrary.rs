//! Arbitrary flows: every attribute there or not, every value that it can hold.

use conntidy::flow::{
    Counters, Extra, Family, Flow, OwnedExtra, Present, Protocol, SeqAdjust, Status, Tuple,
};
use proptest::option;
use proptest::prelude::*;

fn tuple(family: Family) -> impl Strategy<Value = Tuple> {
    (
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        any::<u16>(),
        any::<u16>(),
    )
        .prop_map(move |(mut src, mut dst, src_port, dst_port)| {
            if family == Family::Ipv4 {
                src[4..].fill(0);
                dst[4..].fill(0);
            }
            Tuple {
                src,
                dst,
                src_port,
                dst_port,
            }
        })
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![
        4 => prop::sample::select(vec![1, 6, 17, 33, 47, 50, 58, 132, 136]),
        1 => any::<u8>(),
    ]
    .prop_map(Protocol)
}

/// A flow whose absent attributes are zero, as decoding leaves them.
pub(crate) fn flow() -> impl Strategy<Value = Flow> {
    let tuples = prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)].prop_flat_map(|family| {
        (
            Just(family),
            protocol(),
            tuple(family),
            option::of(tuple(family)),
        )
    });
    let numbers = (
        any::<(u32, u32, u32)>(),
        prop_oneof![Just(0_u32), any::<u32>()],
        any::<u64>(),
        any::<[u64; 4]>(),
    );
    let small = (
        prop_oneof![Just((0, 0)), Just((7, 7)), any::<(u16, u16)>()],
        any::<u16>(),
        any::<[u8; 4]>(),
        any::<u8>(),
    );
    (tuples, numbers, small).prop_map(|(tuples, numbers, small)| {
        let (family, protocol, orig, reply) = tuples;
        let ((status, timeout, id), mark, start_ns, counters) = numbers;
        let ((zone_orig, zone_reply), present, bytes, mixture) = small;
        let mut flow = Flow::new(family, protocol, orig);
        let present = Present::from_bits_truncate(present);
        let has = |bit| present.contains(bit);
        flow.present = present;
        (flow.zone_orig, flow.zone_reply) = (zone_orig, zone_reply);
        if let Some(reply) = reply {
            // Most real replies differ from the inverse in a part only.
            if mixture & 1 != 0 {
                flow.reply.src = reply.src;
            }
            if mixture & 2 != 0 {
                flow.reply.dst = reply.dst;
            }
            if mixture & 4 != 0 {
                flow.reply.src_port = reply.src_port;
            }
            if mixture & 8 != 0 {
                flow.reply.dst_port = reply.dst_port;
            }
        }
        let [packets, sent, answers, received] = counters;
        let [state, flags_orig, flags_reply, wscale] = bytes;
        if has(Present::STATUS) {
            flow.status = Status::from_bits_retain(status);
        }
        if has(Present::TIMEOUT) {
            flow.timeout = timeout;
        }
        if has(Present::ID) {
            flow.id = id;
        }
        if has(Present::MARK) {
            flow.mark = mark;
        }
        if has(Present::START) {
            flow.start_ns = start_ns;
        }
        if has(Present::COUNTERS_ORIG) {
            flow.counters_orig = Counters {
                packets,
                bytes: sent,
            };
        }
        if has(Present::COUNTERS_REPLY) {
            flow.counters_reply = Counters {
                packets: answers,
                bytes: received,
            };
        }
        if has(Present::STATE) {
            flow.state = if mixture & 16 == 0 { state % 10 } else { state };
        }
        if has(Present::TCP_FLAGS) {
            (flow.tcp_flags_orig, flow.tcp_flags_reply) = (flags_orig, flags_reply);
        }
        if has(Present::TCP_WSCALE) {
            flow.tcp_wscale = wscale;
        }
        flow
    })
}

fn seq_adjust() -> impl Strategy<Value = SeqAdjust> {
    any::<(u32, i32, i32)>().prop_map(|(correction, before, after)| SeqAdjust {
        correction,
        before,
        after,
    })
}

/// Extras, most of them empty.
pub(crate) fn extra() -> impl Strategy<Value = OwnedExtra> {
    let some = (
        option::of(prop_oneof![Just("ftp".to_owned()), any::<String>()]),
        option::of(any::<u128>()),
        option::of(any::<String>()),
        option::of(any::<(u32, u32)>()),
        option::of(any::<u8>()),
        option::of((seq_adjust(), seq_adjust())),
    )
        .prop_map(
            |(helper, labels, secctx, sctp_vtags, dccp_role, seq_adjust)| {
                Extra {
                    helper: helper.as_deref(),
                    labels,
                    secctx: secctx.as_deref(),
                    sctp_vtags,
                    dccp_role,
                    seq_adjust,
                }
                .to_owned()
            },
        );
    prop_oneof![3 => Just(OwnedExtra::default()), 1 => some]
}
