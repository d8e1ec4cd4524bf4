//! How the `conntrack` tool writes an entry: byte for byte, and as fast as a table of millions asks.

pub mod expectation;
pub mod save;
pub mod text;
pub mod xml;

use std::net::{IpAddr, Ipv4Addr};

use super::labels::LabelMap;
use crate::flow::{Family, Protocol, Tuple, protocol, text as write};

/// What a dump or an event tells of an entry beside its [`Flow`](crate::flow::Flow).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    /// References to the entry (`CTA_USE`).
    pub uses: Option<u32>,
    /// When the entry ended, nanoseconds of the wall clock (`CTA_TIMESTAMP_STOP`); in events alone.
    pub stop_ns: Option<u64>,
    /// When the event happened, nanoseconds of the wall clock (`CTA_TIMESTAMP_EVENT`).
    pub event_ns: Option<u64>,
}

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It came.
    New,
    /// It changed.
    Update,
    /// It went.
    Destroy,
}

/// Appends a moment, seconds since 1970, as local time in the form of C's `ctime`.
pub type LocalTime = fn(&mut Vec<u8>, i64);

/// What is written beside the plain entry, and what that takes.
#[derive(Clone, Copy, Debug)]
pub struct Style<'a> {
    /// `-o extended`: the family in front.
    pub family: bool,
    /// `-o id`.
    pub id: bool,
    /// `-o ktimestamp`: start and end, where the kernel told them.
    pub times: bool,
    /// `-o labels`: the names of labels.
    pub labels: Option<&'a LabelMap>,
    /// What happened, for events.
    pub happened: Option<Happened>,
    /// Now, seconds since 1970: the age of an entry ends here.
    pub now: u64,
    /// Writes local time.
    pub local: LocalTime,
}

impl Default for Style<'_> {
    fn default() -> Self {
        Self {
            family: false,
            id: false,
            times: false,
            labels: None,
            happened: None,
            now: 0,
            local: |out, seconds| {
                write::decimal(out, seconds.unsigned_abs());
            },
        }
    }
}

const NANOSECONDS: u64 = 1_000_000_000;

/// The tool's name of a protocol; it knows those that the kernel tracks.
#[must_use]
pub fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::TCP => "tcp",
        Protocol::UDP => "udp",
        Protocol::ICMP => "icmp",
        Protocol::ICMPV6 => "icmpv6",
        Protocol::SCTP => "sctp",
        Protocol::DCCP => "dccp",
        Protocol::GRE => "gre",
        Protocol::UDPLITE => "udplite",
        _ => "unknown",
    }
}

/// The name of a state; of one that has none, that of the first.
fn state_name(protocol: Protocol, state: u8) -> &'static str {
    protocol::state_name(protocol, state).unwrap_or("NONE")
}

/// Appends an address as `inet_ntop` writes it, which differs from RFC 5952 in `::a.b.c.d`.
fn address(out: &mut Vec<u8>, bytes: &[u8; 16], family: Family) {
    match family {
        Family::Ipv4 => {
            let [a, b, c, d, ..] = *bytes;
            write::address(out, Ipv4Addr::new(a, b, c, d).into());
        }
        Family::Ipv6 if bytes[..12] == [0; 12] && bytes[12..14] != [0; 2] => {
            let [.., a, b, c, d] = *bytes;
            out.extend_from_slice(b"::");
            write::address(out, Ipv4Addr::new(a, b, c, d).into());
        }
        Family::Ipv6 => write::address(out, IpAddr::V6((*bytes).into())),
    }
}

/// Appends `<name>`, what `fill` writes, and `</name>`.
fn element(out: &mut Vec<u8>, name: &str, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
    fill(out);
    out.extend_from_slice(b"</");
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
}

/// Appends a number behind a text.
fn number(out: &mut Vec<u8>, before: &str, number: impl Into<u64>) {
    out.extend_from_slice(before.as_bytes());
    write::decimal(out, number.into());
}

/// Appends ports, keys, or ICMP's type, code and id, each with a blank before it.
fn ends(out: &mut Vec<u8>, protocol: Protocol, tuple: &Tuple) {
    match protocol {
        Protocol::TCP | Protocol::UDP | Protocol::UDPLITE | Protocol::SCTP | Protocol::DCCP => {
            number(out, " sport=", tuple.src_port);
            number(out, " dport=", tuple.dst_port);
        }
        Protocol::GRE => {
            out.extend_from_slice(b" srckey=0x");
            write::hexadecimal(out, tuple.src_port);
            out.extend_from_slice(b" dstkey=0x");
            write::hexadecimal(out, tuple.dst_port);
        }
        Protocol::ICMP | Protocol::ICMPV6 => {
            number(out, " type=", tuple.icmp_type());
            number(out, " code=", tuple.icmp_code());
            number(out, " id=", tuple.src_port);
        }
        _ => {}
    }
}
