//! `-o xml`: an element an entry, without a line end in it.
//!
//! As the tool has it: ICMP has no type, code or id, the reply's counters are shown where the
//! original's are known, and the helper stands behind the rest. A state of SCTP or DCCP is named out
//! of TCP's table; that too is kept, since whoever parses this knows no other names.

use super::{Aside, Happened, NANOSECONDS, Style, address, element, number, protocol_name, write};
use crate::flow::{Counters, Extra, Flow, Present, Protocol, Status, Tuple, protocol};

/// Before the first element.
pub const HEAD: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<conntrack>\n";
/// Behind the last element.
pub const TAIL: &str = "</conntrack>\n";

/// Appends the element of an entry, without a line end. `when` writes the local time of events with
/// `-o timestamp`.
pub fn flow(
    out: &mut Vec<u8>,
    flow: &Flow,
    extra: &Extra<'_>,
    aside: &Aside,
    style: &Style<'_>,
    when: Option<&When>,
) {
    out.extend_from_slice(opening(style.happened).as_bytes());
    let zones = match (flow.zone_orig, flow.zone_reply) {
        (orig, reply) if orig == reply => (0, 0),
        zones => zones,
    };
    direction(
        out,
        flow,
        "original",
        &flow.orig,
        zones.0,
        flow.counters_orig,
    );
    direction(
        out,
        flow,
        "reply",
        &flow.reply,
        zones.1,
        flow.counters_reply,
    );
    out.extend_from_slice(b"<meta direction=\"independent\">");
    if let Some(state) = flow.state() {
        let named = protocol::state_name(Protocol::TCP, state).unwrap_or("NONE");
        element(out, "state", |out| out.extend_from_slice(named.as_bytes()));
    }
    if let Some(left) = flow.remaining() {
        counted(out, "timeout", left);
    }
    if flow.present.contains(Present::MARK) {
        counted(out, "mark", flow.mark);
    }
    if let (Some(map), Some(labels)) = (style.labels, extra.labels) {
        element(out, "labels", |out| {
            for name in map.set(labels) {
                element(out, "label", |out| out.extend_from_slice(name.as_bytes()));
            }
        });
    }
    if let Some(secctx) = extra.secctx {
        element(out, "secctx", |out| {
            out.extend_from_slice(secctx.as_bytes());
        });
    }
    if zones == (0, 0) && flow.zone_orig != 0 {
        counted(out, "zone", flow.zone_orig);
    }
    if let Some(uses) = aside.uses {
        counted(out, "use", uses);
    }
    if let Some(id) = flow.id() {
        counted(out, "id", id);
    }
    if let Some(status) = flow.status() {
        if status.contains(Status::ASSURED) {
            out.extend_from_slice(b"<assured/>");
        }
        if !status.contains(Status::SEEN_REPLY) {
            out.extend_from_slice(b"<unreplied/>");
        }
    }
    times(out, flow, aside, style);
    out.extend_from_slice(b"</meta>");
    if let Some(when) = when {
        when.write(out);
    }
    if let Some(helper) = extra.helper {
        element(out, "helper", |out| {
            out.extend_from_slice(helper.as_bytes());
        });
    }
    out.extend_from_slice(b"</flow>");
}

/// The start of an entry's or an expectation's element.
pub(super) fn opening(happened: Option<Happened>) -> &'static str {
    match happened {
        None => "<flow>",
        Some(Happened::New) => "<flow type=\"new\">",
        Some(Happened::Update) => "<flow type=\"update\">",
        Some(Happened::Destroy) => "<flow type=\"destroy\">",
    }
}

fn counted(out: &mut Vec<u8>, name: &str, value: impl Into<u64>) {
    element(out, name, |out| write::decimal(out, value.into()));
}

fn direction(
    out: &mut Vec<u8>,
    flow: &Flow,
    name: &str,
    tuple: &Tuple,
    zone: u16,
    counters: Counters,
) {
    out.extend_from_slice(b"<meta direction=\"");
    out.extend_from_slice(name.as_bytes());
    number(out, "\"><layer3 protonum=\"", flow.family as u8);
    out.extend_from_slice(b"\" protoname=\"");
    out.extend_from_slice(flow.family.name().as_bytes());
    out.extend_from_slice(b"\">");
    element(out, "src", |out| address(out, &tuple.src, flow.family));
    element(out, "dst", |out| address(out, &tuple.dst, flow.family));
    number(out, "</layer3><layer4 protonum=\"", flow.protocol.0);
    out.extend_from_slice(b"\" protoname=\"");
    out.extend_from_slice(protocol_name(flow.protocol).as_bytes());
    out.extend_from_slice(b"\">");
    ends(out, flow.protocol, tuple);
    out.extend_from_slice(b"</layer4>");
    if zone != 0 {
        counted(out, "zone", zone);
    }
    if flow.present.contains(Present::COUNTERS_ORIG) {
        element(out, "counters", |out| {
            counted(out, "packets", counters.packets);
            counted(out, "bytes", counters.bytes);
        });
    }
    out.extend_from_slice(b"</meta>");
}

/// Appends the two ports or keys of a tuple.
pub(super) fn ends(out: &mut Vec<u8>, protocol: Protocol, tuple: &Tuple) {
    if protocol.has_ports() {
        counted(out, "sport", tuple.src_port);
        counted(out, "dport", tuple.dst_port);
    } else if protocol == Protocol::GRE {
        for (name, key) in [("srckey", tuple.src_port), ("dstkey", tuple.dst_port)] {
            element(out, name, |out| {
                out.extend_from_slice(b"0x");
                write::hexadecimal(out, key);
            });
        }
    }
}

fn times(out: &mut Vec<u8>, flow: &Flow, aside: &Aside, style: &Style<'_>) {
    let (start, stop) = (flow.start_ns(), aside.stop_ns);
    if style.times && (start.is_some() || stop.is_some()) {
        element(out, "timestamp", |out| {
            if let Some(start) = start {
                counted(out, "start", start);
            }
            if let Some(stop) = stop {
                counted(out, "stop", stop);
            }
        });
    }
    if let Some(start) = start {
        let age = match stop {
            Some(stop) => stop.wrapping_sub(start) / NANOSECONDS,
            None => style.now.wrapping_sub(start / NANOSECONDS),
        };
        counted(out, "deltatime", age);
    }
}

/// A moment in local time, part by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// Year.
    pub year: u32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 1 (Sunday) to 7.
    pub weekday: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 60.
    pub second: u32,
}

impl When {
    /// Appends its element.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let two = |out: &mut Vec<u8>, value: u32| {
            if value < 10 {
                out.push(b'0');
            }
            write::decimal(out, value.into());
        };
        element(out, "when", |out| {
            counted(out, "hour", self.hour);
            element(out, "min", |out| two(out, self.minute));
            element(out, "sec", |out| two(out, self.second));
            counted(out, "wday", self.weekday);
            counted(out, "day", self.day);
            counted(out, "month", self.month);
            counted(out, "year", self.year);
        });
    }
}
