//! A flow as one line of text, in the order in which the `conntrack` tool shows its parts.

use std::io::{self, Write};

use crate::flow::{Counters, Flow, Present, Protocol, Status, Tuple, text};
use crate::observe::Record;
use crate::snapshot::Group;

/// Appends a flow's line, line end included. Nothing is allocated but what `out` needs to grow:
/// a table has a million of them.
pub(crate) fn write(out: &mut Vec<u8>, record: &Record<'_>) {
    let flow = &record.flow;
    let extra = &record.extra;
    head(out, flow);
    tuple(out, flow, &flow.orig);
    counters(out, flow, Present::COUNTERS_ORIG, flow.counters_orig);
    let status = flow.status().unwrap_or_default();
    if flow.status().is_some() && !status.contains(Status::SEEN_REPLY) {
        out.extend_from_slice(b" [UNREPLIED]");
    }
    tuple(out, flow, &flow.reply);
    counters(out, flow, Present::COUNTERS_REPLY, flow.counters_reply);
    for (bits, word) in [
        (Status::ASSURED, " [ASSURED]"),
        (Status::HW_OFFLOAD, " [HW_OFFLOAD]"),
        (Status::OFFLOAD, " [OFFLOAD]"),
        (Status::FIXED_TIMEOUT, " [FIXED_TIMEOUT]"),
        (Status::EXPECTED, " [EXPECTED]"),
    ] {
        if status.contains(bits) {
            out.extend_from_slice(word.as_bytes());
        }
    }
    if flow.present.contains(Present::MARK) {
        number(out, " mark=", flow.mark);
    }
    match (flow.zone_orig, flow.zone_reply) {
        (0, 0) => {}
        (orig, reply) if orig == reply => number(out, " zone=", orig),
        (orig, reply) => {
            for (name, zone) in [(" zone-orig=", orig), (" zone-reply=", reply)] {
                if zone != 0 {
                    number(out, name, zone);
                }
            }
        }
    }
    if let Some(helper) = extra.helper {
        word(out, " helper=", helper);
    }
    if let Some(secctx) = extra.secctx {
        word(out, " secctx=", secctx);
    }
    labels(out, extra.labels.unwrap_or(0));
    if let Some(id) = flow.id() {
        number(out, " id=", id);
    }
    out.push(b'\n');
}

/// Up to the state.
fn head(out: &mut Vec<u8>, flow: &Flow) {
    out.extend_from_slice(flow.family.name().as_bytes());
    out.push(b' ');
    let at = out.len();
    match flow.protocol.name() {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => text::decimal(out, flow.protocol.0.into()),
    }
    pad(out, at + 9);
    text::decimal(out, flow.protocol.0.into());
    pad(out, at + 12);
    if let Some(left) = flow.remaining() {
        number(out, " ", left);
    }
    match (flow.state_name(), flow.state()) {
        (Some(name), _) => word(out, " ", name),
        (None, Some(state)) => number(out, " state-", state),
        (None, None) => {}
    }
}

/// Fills up to a length with spaces, of which a few are missing.
fn pad(out: &mut Vec<u8>, length: usize) {
    text::append(out, [b' '; 16], length.saturating_sub(out.len()));
}

fn word(out: &mut Vec<u8>, name: &str, word: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(word.as_bytes());
}

fn number(out: &mut Vec<u8>, name: &str, number: impl Into<u64>) {
    out.extend_from_slice(name.as_bytes());
    text::decimal(out, number.into());
}

/// Appends a group's line, line end included: its number of flows, then what they have in common.
pub(crate) fn write_group(out: &mut Vec<u8>, group: &Group) {
    group_line(out, group).expect("a vector takes every write");
}

fn group_line(out: &mut Vec<u8>, group: &Group) -> io::Result<()> {
    let Group { common, totals } = group;
    let flow = common.flow();
    write!(
        out,
        "{:>9} {} {:<8}",
        totals.flows, common.family, common.protocol
    )?;
    match (flow.state_name(), common.state) {
        (Some(name), _) => write!(out, " {name}")?,
        (None, Some(number)) => write!(out, " state-{number}")?,
        (None, None) => {}
    }
    if let Some(src) = common.src_ip() {
        write!(out, " src={src}")?;
    }
    if let Some(dst) = common.dst_ip() {
        write!(out, " dst={dst}")?;
    }
    if let Some(port) = common.dport {
        write!(out, " dport={port}")?;
    }
    if let Some(kind) = common.icmp_type {
        write!(out, " type={kind}")?;
    }
    let status = common.status.unwrap_or_default();
    if common.status.is_some() && !status.contains(Status::SEEN_REPLY) {
        write!(out, " [UNREPLIED]")?;
    }
    for (bits, word) in [
        (Status::ASSURED, "ASSURED"),
        (Status::SRC_NAT, "SRC_NAT"),
        (Status::DST_NAT, "DST_NAT"),
        (Status::HW_OFFLOAD, "HW_OFFLOAD"),
        (Status::OFFLOAD, "OFFLOAD"),
    ] {
        if status.contains(bits) {
            write!(out, " [{word}]")?;
        }
    }
    if let Some(mark) = common.mark {
        write!(out, " mark={mark}")?;
    }
    if common.zone != 0 {
        write!(out, " zone-orig={}", common.zone)?;
    }
    if totals.counted > 0 {
        let packets = totals.packets.saturating_add(totals.reply_packets);
        let bytes = totals.bytes.saturating_add(totals.reply_bytes);
        write!(out, " packets={packets} bytes={bytes}")?;
    }
    writeln!(out)
}

fn tuple(out: &mut Vec<u8>, flow: &Flow, tuple: &Tuple) {
    out.extend_from_slice(b" src=");
    text::address(out, tuple.src_ip(flow.family));
    out.extend_from_slice(b" dst=");
    text::address(out, tuple.dst_ip(flow.family));
    match flow.protocol {
        Protocol::ICMP | Protocol::ICMPV6 => {
            number(out, " type=", tuple.icmp_type());
            number(out, " code=", tuple.icmp_code());
            number(out, " id=", tuple.src_port);
        }
        Protocol::GRE => {
            for (name, key) in [
                (" srckey=0x", tuple.src_port),
                (" dstkey=0x", tuple.dst_port),
            ] {
                out.extend_from_slice(name.as_bytes());
                text::hexadecimal(out, key);
            }
        }
        protocol if protocol.has_ports() => {
            number(out, " sport=", tuple.src_port);
            number(out, " dport=", tuple.dst_port);
        }
        _ => {}
    }
}

fn counters(out: &mut Vec<u8>, flow: &Flow, present: Present, counters: Counters) {
    if flow.present.contains(present) {
        number(out, " packets=", counters.packets);
        number(out, " bytes=", counters.bytes);
    }
}

fn labels(out: &mut Vec<u8>, labels: u128) {
    let mut before = " labels=";
    let mut rest = labels;
    while rest != 0 {
        number(out, before, rest.trailing_zeros());
        rest &= rest - 1;
        before = ",";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::protocol::tcp;
    use crate::flow::{Extra, Family};

    #[test]
    fn a_flow_reads_as_people_know_it() {
        let orig = Tuple::new([10, 0, 0, 1].into(), [192, 0, 2, 2].into(), 1001, 443);
        let mut flow = Flow::new(Family::Ipv4, Protocol::TCP, orig);
        flow.reply.dst[..4].copy_from_slice(&[203, 0, 113, 1]);
        flow.state = tcp::TIME_WAIT;
        flow.timeout = 77;
        flow.status = Status::SEEN_REPLY | Status::ASSURED | Status::SRC_NAT;
        flow.present = Present::STATUS | Present::STATE | Present::TIMEOUT | Present::MARK;
        (flow.zone_orig, flow.mark) = (9, 16);
        let extra = Extra {
            helper: Some("ftp"),
            labels: Some(0b101),
            ..Extra::default()
        };
        let mut out = Vec::new();
        let record = Record {
            flow,
            extra,
            message: &[],
        };
        write(&mut out, &record);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "ipv4 tcp      6   77 TIME_WAIT src=10.0.0.1 dst=192.0.2.2 sport=1001 dport=443 \
             src=192.0.2.2 dst=203.0.113.1 sport=443 dport=1001 [ASSURED] mark=16 zone-orig=9 \
             helper=ftp labels=0,2\n"
        );
    }
}
