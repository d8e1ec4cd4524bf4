//! A flow to its line.

use super::STATUS_WORDS;
use crate::flow::text;
use crate::flow::{Counters, Extra, Flow, Present, Protocol, SeqAdjust, Status, Tuple, protocol};

/// Appends a flow's line, line end included. Nothing is allocated but what `out` needs to grow.
pub fn write_flow(flow: &Flow, extra: &Extra<'_>, out: &mut Vec<u8>) {
    let mut line = Line { out };
    line.out.extend_from_slice(b"{\"family\":\"");
    line.out.extend_from_slice(flow.family.name().as_bytes());
    line.out.push(b'"');
    line.zones(flow);
    line.protocol(flow.protocol);
    line.original(flow);
    line.reply(flow);
    line.attributes(flow);
    line.counters(flow);
    line.extra(extra);
    line.out.extend_from_slice(b"}\n");
}

/// Names of the four parts of one direction's tuple, in the order in which they are written.
struct Names {
    src: &'static str,
    dst: &'static str,
    src_port: &'static str,
    dst_port: &'static str,
    src_key: &'static str,
    dst_key: &'static str,
    icmp_id: &'static str,
    icmp_type: &'static str,
    icmp_code: &'static str,
}

const ORIGINAL: Names = Names {
    src: "src",
    dst: "dst",
    src_port: "sport",
    dst_port: "dport",
    src_key: "srckey",
    dst_key: "dstkey",
    icmp_id: "icmp_id",
    icmp_type: "icmp_type",
    icmp_code: "icmp_code",
};

const REPLY: Names = Names {
    src: "reply_src",
    dst: "reply_dst",
    src_port: "reply_sport",
    dst_port: "reply_dport",
    src_key: "reply_srckey",
    dst_key: "reply_dstkey",
    icmp_id: "reply_icmp_id",
    icmp_type: "reply_icmp_type",
    icmp_code: "reply_icmp_code",
};

struct Line<'a> {
    out: &'a mut Vec<u8>,
}

impl Line<'_> {
    fn key(&mut self, name: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn number(&mut self, name: &str, value: impl Into<u64>) {
        self.key(name);
        text::decimal(self.out, value.into());
    }

    /// Text that needs no escapes.
    fn word(&mut self, name: &str, text: &str) {
        self.key(name);
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
    }

    fn text(&mut self, name: &str, text: &str) {
        self.key(name);
        serde_json::to_writer(&mut *self.out, text).expect("a vector takes every write");
    }

    fn flag(&mut self, name: &str, value: bool) {
        self.key(name);
        self.out
            .extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn address(&mut self, name: &str, address: std::net::IpAddr) {
        self.key(name);
        self.out.push(b'"');
        text::address(self.out, address);
        self.out.push(b'"');
    }

    fn zones(&mut self, flow: &Flow) {
        if flow.zone_orig == flow.zone_reply {
            if flow.zone_orig != 0 {
                self.number("zone", flow.zone_orig);
            }
            return;
        }
        for (name, zone) in [
            ("orig_zone", flow.zone_orig),
            ("reply_zone", flow.zone_reply),
        ] {
            if zone != 0 {
                self.number(name, zone);
            }
        }
    }

    fn protocol(&mut self, protocol: Protocol) {
        if let Some(name) = protocol.name() {
            self.word("protocol", name);
        } else {
            self.key("protocol");
            self.out.push(b'"');
            text::decimal(self.out, protocol.0.into());
            self.out.push(b'"');
        }
    }

    fn original(&mut self, flow: &Flow) {
        self.address(ORIGINAL.src, flow.orig.src_ip(flow.family));
        self.address(ORIGINAL.dst, flow.orig.dst_ip(flow.family));
        let absent = Tuple {
            src_port: 0,
            dst_port: 0,
            ..flow.orig
        };
        // Where the protocol has these parts they are written even when they are zero.
        let written = matches!(
            flow.protocol,
            Protocol::ICMP | Protocol::ICMPV6 | Protocol::GRE
        ) || flow.protocol.has_ports();
        self.parts(
            &ORIGINAL,
            flow.protocol,
            &flow.orig,
            (!written).then_some(&absent),
        );
    }

    fn reply(&mut self, flow: &Flow) {
        if !flow.present.contains(Present::REPLY) {
            self.flag("reply", false);
        }
        let inverse = flow.orig.inverse(flow.protocol);
        if flow.reply == inverse {
            return;
        }
        if flow.reply.src != inverse.src {
            self.address(REPLY.src, flow.reply.src_ip(flow.family));
        }
        if flow.reply.dst != inverse.dst {
            self.address(REPLY.dst, flow.reply.dst_ip(flow.family));
        }
        self.parts(&REPLY, flow.protocol, &flow.reply, Some(&inverse));
    }

    /// What the protocol has in place of ports; with `known`, only what differs from it.
    fn parts(&mut self, names: &Names, protocol: Protocol, tuple: &Tuple, known: Option<&Tuple>) {
        if let Protocol::ICMP | Protocol::ICMPV6 = protocol {
            if known.is_none_or(|known| known.icmp_type() != tuple.icmp_type()) {
                self.number(names.icmp_type, tuple.icmp_type());
            }
            if known.is_none_or(|known| known.icmp_code() != tuple.icmp_code()) {
                self.number(names.icmp_code, tuple.icmp_code());
            }
            if known.is_none_or(|known| known.src_port != tuple.src_port) {
                self.number(names.icmp_id, tuple.src_port);
            }
            return;
        }
        let (src, dst) = if protocol == Protocol::GRE {
            (names.src_key, names.dst_key)
        } else {
            (names.src_port, names.dst_port)
        };
        if known.is_none_or(|known| known.src_port != tuple.src_port) {
            self.number(src, tuple.src_port);
        }
        if known.is_none_or(|known| known.dst_port != tuple.dst_port) {
            self.number(dst, tuple.dst_port);
        }
    }

    fn attributes(&mut self, flow: &Flow) {
        if let Some(status) = flow.status() {
            self.status(status);
        }
        if let Some(state) = flow.state() {
            if let Some(name) = protocol::state_name(flow.protocol, state) {
                self.word("state", name);
            } else {
                self.key("state");
                self.out.push(b'"');
                text::decimal(self.out, state.into());
                self.out.push(b'"');
            }
        }
        if flow.present.contains(Present::TCP_FLAGS) {
            self.number("tcp_flags", flow.tcp_flags_orig);
            self.number("reply_tcp_flags", flow.tcp_flags_reply);
        }
        if let Some((original, reply)) = flow.wscale() {
            self.number("wscale", original);
            self.number("reply_wscale", reply);
        }
        if let Some(seconds) = flow.remaining() {
            self.number("timeout", seconds);
        }
        if flow.present.contains(Present::MARK) {
            self.number("mark", flow.mark);
        }
        if let Some(id) = flow.id() {
            self.number("id", id);
        }
        if flow.present.contains(Present::MASTER) {
            self.flag("master", true);
        }
    }

    fn status(&mut self, status: Status) {
        self.key("status");
        let mut before = b'[';
        let mut bits = status.bits();
        while bits != 0 {
            let bit = bits.trailing_zeros();
            bits &= bits - 1;
            self.out.push(before);
            before = b',';
            self.out.push(b'"');
            if let Some(word) = STATUS_WORDS.get(bit as usize) {
                self.out.extend_from_slice(word.as_bytes());
            } else {
                self.out.extend_from_slice(b"bit-");
                text::decimal(self.out, bit.into());
            }
            self.out.push(b'"');
        }
        if before == b'[' {
            self.out.push(b'[');
        }
        self.out.push(b']');
    }

    fn counters(&mut self, flow: &Flow) {
        if let Some(start_ns) = flow.start_ns() {
            self.number("start_ns", start_ns);
        }
        let mut direction = |present, counters: Counters, packets, bytes| {
            if flow.present.contains(present) {
                self.number(packets, counters.packets);
                self.number(bytes, counters.bytes);
            }
        };
        direction(
            Present::COUNTERS_ORIG,
            flow.counters_orig,
            "packets",
            "bytes",
        );
        direction(
            Present::COUNTERS_REPLY,
            flow.counters_reply,
            "reply_packets",
            "reply_bytes",
        );
    }

    fn extra(&mut self, extra: &Extra<'_>) {
        if let Some(helper) = extra.helper {
            self.text("helper", helper);
        }
        if let Some(labels) = extra.labels {
            self.labels(labels);
        }
        if let Some(secctx) = extra.secctx {
            self.text("secctx", secctx);
        }
        if let Some((original, reply)) = extra.sctp_vtags {
            self.number("vtag", original);
            self.number("reply_vtag", reply);
        }
        if let Some(role) = extra.dccp_role {
            self.number("dccp_role", role);
        }
        if let Some((original, reply)) = extra.seq_adjust {
            self.seq_adjust("seq_adjust", original);
            self.seq_adjust("reply_seq_adjust", reply);
        }
    }

    fn labels(&mut self, labels: u128) {
        self.key("labels");
        self.out.push(b'[');
        let mut rest = labels;
        while rest != 0 {
            text::decimal(self.out, rest.trailing_zeros().into());
            rest &= rest - 1;
            if rest != 0 {
                self.out.push(b',');
            }
        }
        self.out.push(b']');
    }

    fn seq_adjust(&mut self, name: &str, adjust: SeqAdjust) {
        self.key(name);
        self.out.extend_from_slice(b"{\"correction\":");
        text::decimal(self.out, adjust.correction.into());
        self.out.extend_from_slice(b",\"before\":");
        text::signed(self.out, adjust.before);
        self.out.extend_from_slice(b",\"after\":");
        text::signed(self.out, adjust.after);
        self.out.push(b'}');
    }
}
