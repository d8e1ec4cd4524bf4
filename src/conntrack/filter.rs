//! Which entries a line is about.

use std::net::IpAddr;

use super::line::{Line, NatEnd, Network};
use crate::flow::{Extra, Family, Flow, Present, Protocol, Status, Tuple};

/// A line's filter, ready for a million entries. It allocates nothing for one.
#[derive(Clone, Debug)]
pub struct Filter<'a> {
    line: &'a Line,
    /// Bits that all labels asked for have.
    labels: u128,
    /// What is found will go or change: where the tool compares loosely, this does not.
    strict: bool,
    /// The dangerous reading (`--like-conntrack`).
    like_conntrack: bool,
    /// Exactly so much is left; the tool's reading of `-t` on a delete.
    remaining: Option<u32>,
}

impl<'a> Filter<'a> {
    /// For whoever only looks: it compares as the tool does, also where that is loose.
    ///
    /// `labels` are the bits of the line's labels.
    #[must_use]
    pub fn looking(line: &'a Line, labels: u128) -> Self {
        Self {
            line,
            labels,
            strict: false,
            like_conntrack: false,
            remaining: None,
        }
    }

    /// For whoever deletes or changes: never more than the tool takes, and nothing that the line
    /// does not say, unless [`Line::like_conntrack`] asks for it.
    #[must_use]
    pub fn acting(line: &'a Line, labels: u128) -> Self {
        let like_conntrack = line.like_conntrack;
        Self {
            line,
            labels,
            strict: !like_conntrack,
            like_conntrack,
            remaining: line
                .timeout
                .filter(|_| like_conntrack && line.is_narrowed()),
        }
    }

    /// Whether the line is about an entry of a table. `NEW` is one without a reply there.
    #[must_use]
    pub fn matches(&self, flow: &Flow, extra: &Extra<'_>) -> bool {
        let states = &self.line.states;
        self.matches_but_state(flow, extra)
            && (states.is_empty()
                || self.is_in_state(flow)
                || (states.new && (flow.status()).is_some_and(|s| !s.contains(Status::SEEN_REPLY))))
    }

    /// The same for events, whose states are more than those of the entry.
    #[must_use]
    pub fn matches_but_state(&self, flow: &Flow, extra: &Extra<'_>) -> bool {
        let line = self.line;
        line.family.is_none_or(|family| family == flow.family)
            && self.tuples(flow)
            && self.zones(flow)
            && self.status(flow)
            && line.mark.is_none_or(|(value, mask)| {
                flow.present.contains(Present::MARK) && flow.mark & mask == value
            })
            && line.id.is_none_or(|id| flow.id() == Some(id))
            && self
                .remaining
                .is_none_or(|left| flow.remaining() == Some(left))
            && (self.labels == 0 || extra.labels.unwrap_or(0) & self.labels == self.labels)
            && self.translated(flow)
    }

    /// The same for an update, whose other options say what is to become of the entry.
    #[must_use]
    pub fn matches_tuple(&self, flow: &Flow, extra: &Extra<'_>) -> bool {
        let line = self.line;
        line.family.is_none_or(|family| family == flow.family)
            && self.tuples(flow)
            && line.id.is_none_or(|id| flow.id() == Some(id))
            && (self.labels == 0 || extra.labels.unwrap_or(0) & self.labels == self.labels)
            && self.translated(flow)
    }

    fn tuples(&self, flow: &Flow) -> bool {
        let line = self.line;
        let (orig, reply) = (&flow.orig, &flow.reply);
        let within = |network: &Option<Network>, mask: Option<[u8; 16]>, address: &[u8; 16]| {
            network.is_none_or(|network| {
                let mask = u128::from_be_bytes(mask.unwrap_or(network.mask));
                let (one, other) = (network.address, *address);
                (u128::from_be_bytes(one) ^ u128::from_be_bytes(other)) & mask == 0
            })
        };
        let is = |wanted: Option<[u8; 16]>, address: &[u8; 16]| {
            wanted.is_none_or(|wanted| wanted == *address)
        };
        within(&line.src, line.mask_src, &orig.src)
            && within(&line.dst, line.mask_dst, &orig.dst)
            && is(line.reply_src, &reply.src)
            && is(line.reply_dst, &reply.dst)
            && line
                .protocol
                .is_none_or(|protocol| protocol == flow.protocol)
            && self.ends(flow.protocol, orig, reply)
    }

    fn ends(&self, protocol: Protocol, orig: &Tuple, reply: &Tuple) -> bool {
        let ports = &self.line.ports;
        let is = |wanted: Option<u16>, port: u16| wanted.is_none_or(|wanted| wanted == port);
        let asked = [
            ports.sport,
            ports.dport,
            ports.reply_sport,
            ports.reply_dport,
        ];
        if asked.iter().any(Option::is_some) {
            let compared = protocol.has_ports()
                // Of GRE the tool compares no keys.
                || (protocol == Protocol::GRE && self.strict);
            let same = is(ports.sport, orig.src_port)
                && is(ports.dport, orig.dst_port)
                && is(ports.reply_sport, reply.src_port)
                && is(ports.reply_dport, reply.dst_port);
            if compared && !same {
                return false;
            }
            // Without `-p` a port is one of a protocol that has ports.
            if !compared && self.line.protocol.is_none() {
                return false;
            }
        }
        let (kind, code, id) = self.line.icmp;
        if kind.is_none() && code.is_none() && id.is_none() {
            return true;
        }
        matches!(protocol, Protocol::ICMP | Protocol::ICMPV6)
            && kind.is_none_or(|kind| kind == orig.icmp_type())
            && code.is_none_or(|code| code == orig.icmp_code())
            && is(id, orig.src_port)
    }

    fn zones(&self, flow: &Flow) -> bool {
        let line = self.line;
        // The tool knows three zones of an entry, of which the kernel sends one: that of both
        // directions or that of one. Zone 0 of a direction is also what it takes for the absent one.
        let (both, orig, reply) = match (flow.zone_orig, flow.zone_reply) {
            (orig, reply) if orig == reply => (orig, 0, 0),
            (orig, reply) => (0, orig, reply),
        };
        let is = |wanted: Option<u16>, zone: u16, of_direction: u16| {
            wanted.is_none_or(|wanted| wanted == zone && (!self.strict || wanted == of_direction))
        };
        line.zone.is_none_or(|wanted| {
            wanted == both
                && (!self.strict || (flow.zone_orig, flow.zone_reply) == (wanted, wanted))
        }) && is(line.orig_zone, orig, flow.zone_orig)
            && is(line.reply_zone, reply, flow.zone_reply)
    }

    fn status(&self, flow: &Flow) -> bool {
        let asked = &self.line.status;
        let has = flow.status().unwrap_or_default();
        if !has.contains(asked.set) {
            return false;
        }
        if self.like_conntrack {
            return true;
        }
        let words = Status::ASSURED
            | Status::SEEN_REPLY
            | Status::FIXED_TIMEOUT
            | Status::EXPECTED
            | Status::OFFLOAD
            | Status::HW_OFFLOAD;
        // `UNSET` beside a whole tuple narrows nothing: `-E -o save` writes such lines.
        let none = asked.none && asked.set.is_empty() && !self.strict;
        !has.intersects(asked.unset | if none { words } else { Status::empty() })
    }

    /// Whether the entry tells a state that the line names.
    #[must_use]
    pub fn is_in_state(&self, flow: &Flow) -> bool {
        flow.state()
            .is_some_and(|state| self.line.states.named.contains(&(flow.protocol, state)))
    }

    fn translated(&self, flow: &Flow) -> bool {
        let line = self.line;
        if let Some(end) = line.any_nat {
            return self.src_nat(flow, end) || self.dst_nat(flow, end);
        }
        line.src_nat.is_none_or(|end| self.src_nat(flow, end))
            && line.dst_nat.is_none_or(|end| self.dst_nat(flow, end))
    }

    fn src_nat(&self, flow: &Flow, end: NatEnd) -> bool {
        let done = flow
            .status()
            .is_none_or(|s| s.contains(Status::SRC_NAT_DONE));
        let address = flow.reply.dst != flow.orig.src;
        let port = flow.reply.dst_port != flow.orig.src_port;
        self.end(
            flow,
            done,
            end,
            (address, flow.reply.dst),
            (port, flow.reply.dst_port),
        )
    }

    fn dst_nat(&self, flow: &Flow, end: NatEnd) -> bool {
        let done = flow
            .status()
            .is_none_or(|s| s.contains(Status::DST_NAT_DONE));
        let address = flow.reply.src != flow.orig.dst;
        let port = flow.reply.src_port != flow.orig.dst_port;
        self.end(
            flow,
            done,
            end,
            (address, flow.reply.src),
            (port, flow.reply.src_port),
        )
    }

    fn end(
        &self,
        flow: &Flow,
        done: bool,
        end: NatEnd,
        address: (bool, [u8; 16]),
        port: (bool, u16),
    ) -> bool {
        // ICMP's type and code stand where ports do: a request and its answer differ there without
        // any translation, which the tool takes for one.
        let port = (
            port.0 && (flow.protocol.has_ports() || !self.strict),
            port.1,
        );
        // The tool compares addresses of IPv4 alone.
        let wanted = end
            .address
            .filter(|address| address.is_ipv4() || !self.like_conntrack);
        done && match (wanted, end.port) {
            (None, None) => address.0 || port.0,
            (Some(wanted), None) => address.0 && same(flow.family, &address.1, wanted),
            (None, Some(wanted)) => port.0 && port.1 == wanted,
            (Some(one), Some(other)) => {
                address.0 && same(flow.family, &address.1, one) && port.0 && port.1 == other
            }
        }
    }
}

fn same(family: Family, bytes: &[u8; 16], address: IpAddr) -> bool {
    match (family, address) {
        (Family::Ipv4, IpAddr::V4(v4)) => bytes[..4] == v4.octets(),
        (Family::Ipv6, IpAddr::V6(v6)) => *bytes == v6.octets(),
        _ => false,
    }
}
