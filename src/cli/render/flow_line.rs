//! A flow as one line of text, in the order in which the `conntrack` tool shows its parts.

use std::io::{self, Write};

use crate::flow::{Counters, Flow, Present, Protocol, Status, Tuple};
use crate::observe::Record;

/// Appends a flow's line, line end included.
pub(crate) fn write(out: &mut Vec<u8>, record: &Record<'_>) {
    line(out, record).expect("a vector takes every write");
}

fn line(out: &mut Vec<u8>, record: &Record<'_>) -> io::Result<()> {
    let flow = &record.flow;
    let extra = &record.extra;
    write!(
        out,
        "{} {:<8} {:<3}",
        flow.family, flow.protocol, flow.protocol.0
    )?;
    if let Some(left) = flow.remaining() {
        write!(out, " {left}")?;
    }
    match (flow.state_name(), flow.state()) {
        (Some(name), _) => write!(out, " {name}")?,
        (None, Some(number)) => write!(out, " state-{number}")?,
        (None, None) => {}
    }
    tuple(out, flow, &flow.orig)?;
    counters(out, flow, Present::COUNTERS_ORIG, flow.counters_orig)?;
    let has = |bits| flow.status().is_some_and(|status| status.intersects(bits));
    if flow.status().is_some() && !has(Status::SEEN_REPLY) {
        write!(out, " [UNREPLIED]")?;
    }
    tuple(out, flow, &flow.reply)?;
    counters(out, flow, Present::COUNTERS_REPLY, flow.counters_reply)?;
    for (bits, word) in [
        (Status::ASSURED, "ASSURED"),
        (Status::HW_OFFLOAD, "HW_OFFLOAD"),
        (Status::OFFLOAD, "OFFLOAD"),
        (Status::FIXED_TIMEOUT, "FIXED_TIMEOUT"),
        (Status::EXPECTED, "EXPECTED"),
    ] {
        if has(bits) {
            write!(out, " [{word}]")?;
        }
    }
    if flow.present.contains(Present::MARK) {
        write!(out, " mark={}", flow.mark)?;
    }
    match (flow.zone_orig, flow.zone_reply) {
        (0, 0) => {}
        (orig, reply) if orig == reply => write!(out, " zone={orig}")?,
        (orig, 0) => write!(out, " zone-orig={orig}")?,
        (0, reply) => write!(out, " zone-reply={reply}")?,
        (orig, reply) => write!(out, " zone-orig={orig} zone-reply={reply}")?,
    }
    if let Some(helper) = extra.helper {
        write!(out, " helper={helper}")?;
    }
    if let Some(secctx) = extra.secctx {
        write!(out, " secctx={secctx}")?;
    }
    labels(out, extra.labels.unwrap_or(0))?;
    if let Some(id) = flow.id() {
        write!(out, " id={id}")?;
    }
    writeln!(out)
}

fn tuple(out: &mut Vec<u8>, flow: &Flow, tuple: &Tuple) -> io::Result<()> {
    let (src, dst) = (tuple.src_ip(flow.family), tuple.dst_ip(flow.family));
    write!(out, " src={src} dst={dst}")?;
    match flow.protocol {
        Protocol::ICMP | Protocol::ICMPV6 => write!(
            out,
            " type={} code={} id={}",
            tuple.icmp_type(),
            tuple.icmp_code(),
            tuple.src_port
        ),
        Protocol::GRE => write!(
            out,
            " srckey={:#x} dstkey={:#x}",
            tuple.src_port, tuple.dst_port
        ),
        protocol if protocol.has_ports() => {
            write!(out, " sport={} dport={}", tuple.src_port, tuple.dst_port)
        }
        _ => Ok(()),
    }
}

fn counters(
    out: &mut Vec<u8>,
    flow: &Flow,
    present: Present,
    counters: Counters,
) -> io::Result<()> {
    if flow.present.contains(present) {
        write!(
            out,
            " packets={} bytes={}",
            counters.packets, counters.bytes
        )?;
    }
    Ok(())
}

fn labels(out: &mut Vec<u8>, labels: u128) -> io::Result<()> {
    let mut before = " labels=";
    for number in 0..u128::BITS {
        if labels & (1 << number) != 0 {
            write!(out, "{before}{number}")?;
            before = ",";
        }
    }
    Ok(())
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
