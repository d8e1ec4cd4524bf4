//! `-o save`: a line that makes the entry again, for `-R`. It tells no mark, labels, helper or
//! counters; that is how the tool has it.

use super::{Happened, address, number, state_name, write};
use crate::flow::{Extra, Flow, Present, Protocol, Status, Tuple};

/// What the tool names of a status, in the order of the bits.
const STATUS: [(Status, &str); 4] = [
    (Status::EXPECTED, "EXPECTED"),
    (Status::SEEN_REPLY, "SEEN_REPLY"),
    (Status::ASSURED, "ASSURED"),
    (Status::FIXED_TIMEOUT, "FIXED_TIMEOUT"),
];

/// `SCTP_CONNTRACK_HEARTBEAT_SENT`.
const HEARTBEAT_SENT: u8 = 8;

/// Appends the line of an entry, without its end.
pub fn line(out: &mut Vec<u8>, flow: &Flow, extra: &Extra<'_>, happened: Happened) {
    out.extend_from_slice(match happened {
        Happened::New => b"-A",
        Happened::Update => b"-U",
        Happened::Destroy => b"-D",
    });
    if let Some(left) = flow.remaining() {
        number(out, " -t ", left);
    }
    if let Some(status) = flow.status() {
        let mut before = " -u ";
        for (_, name) in STATUS.iter().filter(|(bit, _)| status.contains(*bit)) {
            out.extend_from_slice(before.as_bytes());
            out.extend_from_slice(name.as_bytes());
            before = ",";
        }
        if before != "," {
            out.extend_from_slice(b" -u UNSET");
        }
    }
    match (flow.zone_orig, flow.zone_reply) {
        (0, 0) => {}
        (orig, reply) if orig == reply => number(out, " -w ", orig),
        (orig, 0) => number(out, " --orig-zone ", orig),
        (_, reply) => number(out, " --reply-zone ", reply),
    }
    let mut put = |option: &str, bytes: &[u8; 16]| {
        out.extend_from_slice(option.as_bytes());
        address(out, bytes, flow.family);
    };
    put(" -s ", &flow.orig.src);
    put(" -d ", &flow.orig.dst);
    if flow.present.contains(Present::REPLY) {
        let translated =
            |done, differs| differs && flow.status().is_none_or(|status| status.contains(done));
        let dst = translated(Status::DST_NAT_DONE, flow.reply.src != flow.orig.dst);
        let src = translated(Status::SRC_NAT_DONE, flow.reply.dst != flow.orig.src);
        put(if dst { " -g " } else { " -r " }, &flow.reply.src);
        put(if src { " -n " } else { " -q " }, &flow.reply.dst);
    }
    layer_4(out, flow, extra);
}

fn layer_4(out: &mut Vec<u8>, flow: &Flow, extra: &Extra<'_>) {
    let protocol = flow.protocol;
    let name = super::protocol_name(protocol);
    if name == "unknown" {
        return number(out, " -p ", protocol.0);
    }
    out.extend_from_slice(b" -p ");
    out.extend_from_slice(name.as_bytes());
    match protocol {
        Protocol::ICMP => icmp(out, "icmp", &flow.orig),
        Protocol::ICMPV6 => icmp(out, "icmpv6", &flow.orig),
        Protocol::GRE => {
            let names = [
                " --srckey ",
                " --dstkey ",
                " --reply-key-src ",
                " --reply-key-dst ",
            ];
            ends(out, flow, names);
        }
        _ => {
            let names = [
                " --sport ",
                " --dport ",
                " --reply-port-src ",
                " --reply-port-dst ",
            ];
            ends(out, flow, names);
        }
    }
    if let Some(state) = flow.state() {
        out.extend_from_slice(b" --state ");
        // The tool's word for the one state that it has no name for here.
        let is_nameless = protocol == Protocol::SCTP && state == HEARTBEAT_SENT;
        let name = if is_nameless {
            "(null)"
        } else {
            state_name(protocol, state)
        };
        out.extend_from_slice(name.as_bytes());
    }
    if let Some((orig, reply)) = extra.sctp_vtags {
        // The tool takes them for numbers in network order, here and where it reads them.
        number(out, " --orig-vtag ", u32::from_be(orig));
        number(out, " --reply-vtag ", u32::from_be(reply));
    }
    if let Some(role) = extra.dccp_role {
        out.extend_from_slice(if role == 0 {
            b" --role client"
        } else {
            b" --role server"
        });
    }
}

fn ends(out: &mut Vec<u8>, flow: &Flow, names: [&str; 4]) {
    let [src, dst, reply_src, reply_dst] = names;
    number(out, src, flow.orig.src_port);
    number(out, dst, flow.orig.dst_port);
    if flow.present.contains(Present::REPLY) {
        number(out, reply_src, flow.reply.src_port);
        number(out, reply_dst, flow.reply.dst_port);
    }
}

fn icmp(out: &mut Vec<u8>, name: &str, tuple: &Tuple) {
    for (part, value) in [
        ("type", u16::from(tuple.icmp_type())),
        ("code", u16::from(tuple.icmp_code())),
        ("id", tuple.src_port),
    ] {
        out.extend_from_slice(b" --");
        out.extend_from_slice(name.as_bytes());
        out.push(b'-');
        out.extend_from_slice(part.as_bytes());
        out.push(b' ');
        write::decimal(out, value.into());
    }
}
