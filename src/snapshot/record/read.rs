//! A line to its flow.

use std::net::IpAddr;

use super::line::{FlowLine, SeqAdjustLine, state_number};
use crate::flow::{Counters, Extra, Family, Flow, OwnedExtra, Present, Protocol, SeqAdjust, Tuple};

/// Why a line is no flow.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// No JSON, a field of another type, or a required field missing.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A value that the field does not take.
    #[error("`{field}` cannot be `{value}`")]
    Value {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
    },
    /// Two fields that go together, and only one is there.
    #[error("`{0}` and `{1}` go together, and one is missing")]
    Half(&'static str, &'static str),
    /// A part of the tuple that every flow of the protocol has.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A part of the tuple that no flow of the protocol has.
    #[error("`{0}` does not belong to {1}")]
    Foreign(&'static str, Protocol),
}

/// Reads a flow from its line; the line end may be there or not. Fields that this version does not
/// know are passed over.
pub fn read_flow(line: &[u8]) -> Result<(Flow, OwnedExtra), RecordError> {
    let mut flow = Flow::new(Family::Ipv4, Protocol(0), Tuple::default());
    let mut extra = OwnedExtra::default();
    read_flow_into(line, &mut flow, &mut extra)?;
    Ok((flow, extra))
}

/// The same into what is there already: nothing is moved or freed for most lines.
///
/// # Errors
/// Those of [`read_flow`]; what is there is then worth nothing.
pub(in crate::snapshot) fn read_flow_into(
    line: &[u8],
    flow: &mut Flow,
    extra: &mut OwnedExtra,
) -> Result<(), RecordError> {
    if super::fast::read(line, flow).is_some() {
        if *extra != OwnedExtra::default() {
            *extra = OwnedExtra::default();
        }
    } else {
        (*flow, *extra) = read_any(line)?;
    }
    Ok(())
}

/// Reads a line that may have its fields in any order.
pub(super) fn read_any(line: &[u8]) -> Result<(Flow, OwnedExtra), RecordError> {
    let line: FlowLine<'_> = serde_json::from_slice(line)?;
    let family = family(&line.family.0)?;
    let protocol = protocol(&line.protocol.0)?;
    let (src_port, dst_port) = parts(&line, protocol, Side::Original, None)?;
    let orig = Tuple {
        src: octets(line.src, family, "src")?,
        dst: octets(line.dst, family, "dst")?,
        src_port,
        dst_port,
    };
    let mut flow = Flow::new(family, protocol, orig);
    flow.reply = reply(&line, &flow)?;
    zones(&line, &mut flow)?;
    attributes(&line, &mut flow)?;
    counters(&line, &mut flow)?;
    let extra = extra(&line)?;
    Ok((flow, extra))
}

fn refuse<T>(field: &'static str, value: &(impl ToString + ?Sized)) -> Result<T, RecordError> {
    Err(RecordError::Value {
        field,
        value: value.to_string(),
    })
}

fn both<T>(
    first: Option<T>,
    second: Option<T>,
    names: (&'static str, &'static str),
) -> Result<Option<(T, T)>, RecordError> {
    match (first, second) {
        (Some(first), Some(second)) => Ok(Some((first, second))),
        (None, None) => Ok(None),
        _ => Err(RecordError::Half(names.0, names.1)),
    }
}

pub(super) fn family(text: &str) -> Result<Family, RecordError> {
    [Family::Ipv4, Family::Ipv6]
        .into_iter()
        .find(|family| family.name() == text)
        .map_or_else(|| refuse("family", text), Ok)
}

pub(super) fn protocol(text: &str) -> Result<Protocol, RecordError> {
    Protocol::from_name(text).map_or_else(|| refuse("protocol", text), Ok)
}

pub(super) fn octets(
    address: IpAddr,
    family: Family,
    field: &'static str,
) -> Result<[u8; 16], RecordError> {
    match (address, family) {
        (IpAddr::V4(v4), Family::Ipv4) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&v4.octets());
            Ok(octets)
        }
        (IpAddr::V6(v6), Family::Ipv6) => Ok(v6.octets()),
        _ => refuse(field, &address),
    }
}

fn reply(line: &FlowLine<'_>, flow: &Flow) -> Result<Tuple, RecordError> {
    let mut reply = flow.reply;
    if let Some(address) = line.reply_src {
        reply.src = octets(address, flow.family, "reply_src")?;
    }
    if let Some(address) = line.reply_dst {
        reply.dst = octets(address, flow.family, "reply_dst")?;
    }
    (reply.src_port, reply.dst_port) = parts(line, flow.protocol, Side::Reply, Some(&flow.reply))?;
    Ok(reply)
}

#[derive(Clone, Copy)]
enum Side {
    Original,
    Reply,
}

/// Both ports, or what stands in their place. `known` has what is not named.
fn parts(
    line: &FlowLine<'_>,
    protocol: Protocol,
    side: Side,
    known: Option<&Tuple>,
) -> Result<(u16, u16), RecordError> {
    let is_icmp = matches!(protocol, Protocol::ICMP | Protocol::ICMPV6);
    let is_gre = protocol == Protocol::GRE;
    let (ports, keys, icmp) = match side {
        Side::Original => (
            [("sport", line.sport), ("dport", line.dport)],
            [("srckey", line.srckey), ("dstkey", line.dstkey)],
            [
                ("icmp_type", line.icmp_type.map(u16::from)),
                ("icmp_code", line.icmp_code.map(u16::from)),
                ("icmp_id", line.icmp_id),
            ],
        ),
        Side::Reply => (
            [
                ("reply_sport", line.reply_sport),
                ("reply_dport", line.reply_dport),
            ],
            [
                ("reply_srckey", line.reply_srckey),
                ("reply_dstkey", line.reply_dstkey),
            ],
            [
                ("reply_icmp_type", line.reply_icmp_type.map(u16::from)),
                ("reply_icmp_code", line.reply_icmp_code.map(u16::from)),
                ("reply_icmp_id", line.reply_icmp_id),
            ],
        ),
    };
    let foreign = |fields: &[(&'static str, Option<u16>)]| {
        fields
            .iter()
            .find(|(_, value)| value.is_some())
            .map_or(Ok(()), |(name, _)| {
                Err(RecordError::Foreign(name, protocol))
            })
    };
    let value = |(name, value): (&'static str, Option<u16>), known: Option<u16>| {
        value.or(known).ok_or(RecordError::Missing(name))
    };
    if is_icmp {
        foreign(&ports)?;
        foreign(&keys)?;
        let [kind, code, id] = icmp;
        let kind = value(kind, known.map(|known| known.icmp_type().into()))?;
        let code = value(code, known.map(|known| known.icmp_code().into()))?;
        let id = value(id, known.map(|known| known.src_port))?;
        return Ok((id, kind << 8 | code));
    }
    foreign(&icmp)?;
    let pair = if is_gre {
        foreign(&ports)?;
        keys
    } else {
        foreign(&keys)?;
        ports
    };
    let absent = Tuple::default();
    // Protocols that conntrack does not know by itself have no ports, which is zero in a tuple.
    let known = if is_gre || protocol.has_ports() {
        known
    } else {
        Some(known.unwrap_or(&absent))
    };
    Ok((
        value(pair[0], known.map(|known| known.src_port))?,
        value(pair[1], known.map(|known| known.dst_port))?,
    ))
}

fn zones(line: &FlowLine<'_>, flow: &mut Flow) -> Result<(), RecordError> {
    let Some(zone) = line.zone else {
        flow.zone_orig = line.orig_zone.unwrap_or(0);
        flow.zone_reply = line.reply_zone.unwrap_or(0);
        return Ok(());
    };
    if line.orig_zone.is_some() || line.reply_zone.is_some() {
        return refuse("zone", &zone);
    }
    (flow.zone_orig, flow.zone_reply) = (zone, zone);
    Ok(())
}

fn attributes(line: &FlowLine<'_>, flow: &mut Flow) -> Result<(), RecordError> {
    let mut present = Present::empty();
    present.set(Present::REPLY, line.reply != Some(false));
    present.set(Present::MASTER, line.master == Some(true));
    if let Some(status) = line.status {
        present |= Present::STATUS;
        flow.status = status.0;
    }
    if let Some(state) = &line.state {
        present |= Present::STATE;
        flow.state = match state_number(flow.protocol, &state.0) {
            Some(number) => number,
            None => return refuse("state", &state.0),
        };
    }
    let flags = both(
        line.tcp_flags,
        line.reply_tcp_flags,
        ("tcp_flags", "reply_tcp_flags"),
    )?;
    if let Some((original, reply)) = flags {
        present |= Present::TCP_FLAGS;
        (flow.tcp_flags_orig, flow.tcp_flags_reply) = (original, reply);
    }
    if let Some((original, reply)) =
        both(line.wscale, line.reply_wscale, ("wscale", "reply_wscale"))?
    {
        for (field, factor) in [("wscale", original), ("reply_wscale", reply)] {
            if factor > 15 {
                return refuse(field, &factor);
            }
        }
        present |= Present::TCP_WSCALE;
        flow.tcp_wscale = original | reply << 4;
    }
    if let Some(seconds) = line.timeout {
        present |= Present::TIMEOUT;
        flow.timeout = seconds;
    }
    if let Some(mark) = line.mark {
        present |= Present::MARK;
        flow.mark = mark;
    }
    if let Some(id) = line.id {
        present |= Present::ID;
        flow.id = id;
    }
    if let Some(start_ns) = line.start_ns {
        present |= Present::START;
        flow.start_ns = start_ns;
    }
    flow.present = present;
    Ok(())
}

fn counters(line: &FlowLine<'_>, flow: &mut Flow) -> Result<(), RecordError> {
    if let Some((packets, bytes)) = both(line.packets, line.bytes, ("packets", "bytes"))? {
        flow.present |= Present::COUNTERS_ORIG;
        flow.counters_orig = Counters { packets, bytes };
    }
    if let Some((packets, bytes)) = both(
        line.reply_packets,
        line.reply_bytes,
        ("reply_packets", "reply_bytes"),
    )? {
        flow.present |= Present::COUNTERS_REPLY;
        flow.counters_reply = Counters { packets, bytes };
    }
    Ok(())
}

fn extra(line: &FlowLine<'_>) -> Result<OwnedExtra, RecordError> {
    let extra = Extra {
        helper: line.helper.as_ref().map(|text| text.0.as_ref()),
        labels: line.labels.map(|list| list.0),
        secctx: line.secctx.as_ref().map(|text| text.0.as_ref()),
        sctp_vtags: both(line.vtag, line.reply_vtag, ("vtag", "reply_vtag"))?,
        dccp_role: line.dccp_role,
        seq_adjust: both(
            line.seq_adjust,
            line.reply_seq_adjust,
            ("seq_adjust", "reply_seq_adjust"),
        )?
        .map(|(original, reply)| (adjust(original), adjust(reply))),
    };
    Ok(extra.to_owned())
}

fn adjust(line: SeqAdjustLine) -> SeqAdjust {
    SeqAdjust {
        correction: line.correction,
        before: line.before,
        after: line.after,
    }
}
