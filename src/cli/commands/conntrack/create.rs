//! `-I` and `-A`: entries made by hand.

use std::net::IpAddr;

use super::{Chosen, Stop, counted};
use crate::conntrack::line::{Line, NatEnd};
use crate::conntrack::options::{Given, Verb};
use crate::flow::{FlowKey, Protocol, Tuple};
use crate::kernel::direct::{Direct, Wanted};
use crate::rebuild::Endpoint;

pub(super) fn run(chosen: &Chosen<'_>, counts: bool) -> Result<u8, Stop> {
    let verb = chosen.line.verb();
    let failed = |error| Stop::kernel(&error, verb);
    let wanted = wanted(chosen)?;
    let mut direct = Direct::open().map_err(failed)?;
    direct
        .create(&wanted, verb == Verb::Create)
        .map_err(failed)?;
    let what = if verb == Verb::Create {
        "flow entries have been created"
    } else {
        "flow entries have been added"
    };
    Ok(if counts { counted(1, what) } else { 0 })
}

/// The tuple of the first packet, where the line gives its addresses.
pub(super) fn orig(line: &Line) -> Option<Tuple> {
    let (src, dst) = (line.src?, line.dst?);
    Some(tuple(
        line,
        (src.address, dst.address),
        (line.ports.sport, line.ports.dport),
    ))
}

/// The tuple of a reply, where the line gives its addresses.
pub(super) fn reply(line: &Line) -> Option<Tuple> {
    let ends = (line.reply_src?, line.reply_dst?);
    let ports = (line.ports.reply_sport, line.ports.reply_dport);
    Some(tuple(line, ends, ports))
}

fn tuple(line: &Line, ends: ([u8; 16], [u8; 16]), ports: (Option<u16>, Option<u16>)) -> Tuple {
    let (kind, code, id) = line.icmp;
    let (src_port, dst_port) = match line.protocol {
        Some(Protocol::ICMP | Protocol::ICMPV6) => (
            id.unwrap_or(0),
            u16::from_be_bytes([kind.unwrap_or(0), code.unwrap_or(0)]),
        ),
        _ => (ports.0.unwrap_or(0), ports.1.unwrap_or(0)),
    };
    Tuple {
        src: ends.0,
        dst: ends.1,
        src_port,
        dst_port,
    }
}

fn wanted(chosen: &Chosen<'_>) -> Result<Wanted, Stop> {
    let line = chosen.line;
    let (Some(family), Some(protocol)) = (line.family, line.protocol) else {
        return Err(Stop::usage("you have to specify addresses and a protocol"));
    };
    // What is given of a direction counts; the rest is the other direction, turned round.
    let orig = match (orig(line), reply(line)) {
        (Some(orig), _) => orig,
        (None, Some(reply)) => reply.inverse(protocol),
        (None, None) => return Err(Stop::usage("you have to specify `--src' and `--dst'")),
    };
    let mut reply = orig.inverse(protocol);
    reply.src = line.reply_src.unwrap_or(reply.src);
    reply.dst = line.reply_dst.unwrap_or(reply.dst);
    if protocol.has_ports() || protocol == Protocol::GRE {
        reply.src_port = line.ports.reply_sport.unwrap_or(reply.src_port);
        reply.dst_port = line.ports.reply_dport.unwrap_or(reply.dst_port);
    }
    // Where the reply is translated, the kernel makes its tuple of the plain one.
    let (src_nat, dst_nat) = (line.src_nat.and_then(end), line.dst_nat.and_then(end));
    let key = FlowKey {
        family,
        zone: line.zone.unwrap_or(0),
        protocol,
        orig,
    };
    Ok(Wanted {
        reply: Some(reply),
        orig_zone: line.orig_zone.unwrap_or(0),
        reply_zone: line.reply_zone.unwrap_or(0),
        status: (line.given.contains(Given::STATUS)).then_some(line.status.set),
        timeout: line.timeout,
        mark: line.mark.map(|(mark, _)| mark),
        state: line.states.only(),
        vtags: vtags(line),
        role: line.role,
        src_nat,
        dst_nat,
        labels: (chosen.add != 0).then_some((chosen.add, 0)),
        ..Wanted::of(&key)
    })
}

/// The tool takes them for numbers in network order.
pub(super) fn vtags(line: &Line) -> Option<(u32, u32)> {
    match line.vtags {
        (None, None) => None,
        (orig, reply) => Some((
            u32::from_be(orig.unwrap_or(0)),
            u32::from_be(reply.unwrap_or(0)),
        )),
    }
}

fn end(end: NatEnd) -> Option<Endpoint> {
    let mut address = [0; 16];
    match end.address? {
        IpAddr::V4(v4) => address[..4].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => address = v6.octets(),
    }
    Some(Endpoint {
        address,
        port: end.port,
    })
}
