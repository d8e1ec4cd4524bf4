//! What deleting a flow does to the connection behind it, if that is alive.
//!
//! The forecast says no more than what was measured between real sockets, on a router whose entry
//! of an established TCP connection was deleted before the client sent one more byte:
//!
//! | NAT | `tcp_loose` | filter | the connection |
//! |---|---|---|---|
//! | masquerade, port kept | 1 | none | survives: picked up again |
//! | masquerade, port remapped | 1 | none | is reset |
//! | masquerade | 0 | none | hangs |
//! | masquerade | 1 | new needs SYN | hangs |
//! | DNAT | 1 | none | survives, when the client speaks first |
//! | DNAT | 0 | none | is reset |
//! | DNAT | 1 | new needs SYN | hangs |
//!
//! Without NAT the kernel picks a TCP connection up again where `tcp_loose` is 1. UDP and ICMP have
//! no connection to pick up: their next packet makes an entry like the old one, unless the source
//! port (ICMP: the id) had been remapped, which may come out differently.

use crate::flow::{Extra, Flow, Present, Protocol, Status, protocol::tcp};
use crate::observe::Header;

/// What becomes of a connection whose entry is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Impact {
    /// It goes on, or was over already.
    Survives,
    /// One end gets a reset.
    Reset,
    /// Packets are lost until an end gives up.
    Hangs,
    /// Not measured, or not known.
    Unknown,
}

impl Impact {
    /// As plans name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Survives => "survives",
            Self::Reset => "reset",
            Self::Hangs => "hangs",
            Self::Unknown => "unknown",
        }
    }
}

/// What of a machine decides over deleted flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// `nf_conntrack_tcp_loose`: TCP connections are picked up from the middle; `None` if unread.
    pub tcp_loose: Option<bool>,
    /// The ruleset refuses TCP flows that it sees from the middle.
    pub strict_filter: bool,
}

impl Surroundings {
    /// From what was observed and what the policy says of the ruleset.
    #[must_use]
    pub fn new(header: &Header, strict_filter: bool) -> Self {
        Self {
            tcp_loose: header.number("nf_conntrack_tcp_loose").map(|on| on != 0),
            strict_filter,
        }
    }
}

/// What an entry's NAT does, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nat {
    None,
    SourcePortKept,
    SourcePortRemapped,
    Destination,
}

/// Forecasts the deletion of one flow.
#[must_use]
pub fn forecast(flow: &Flow, extra: &Extra<'_>, surroundings: Surroundings) -> Impact {
    let Some(nat) = nat(flow) else {
        return Impact::Unknown;
    };
    if flow.is_closed() {
        return Impact::Survives;
    }
    if depends_on_more_than_the_ruleset(flow, extra) {
        return Impact::Unknown;
    }
    match flow.protocol {
        Protocol::TCP if flow.state() == Some(tcp::ESTABLISHED) => established(nat, surroundings),
        Protocol::UDP | Protocol::UDPLITE | Protocol::ICMP | Protocol::ICMPV6 => match nat {
            Nat::None | Nat::SourcePortKept | Nat::Destination => Impact::Survives,
            Nat::SourcePortRemapped => Impact::Unknown,
        },
        _ => Impact::Unknown,
    }
}

fn established(nat: Nat, surroundings: Surroundings) -> Impact {
    let Some(loose) = surroundings.tcp_loose else {
        return Impact::Unknown;
    };
    match (nat, loose, surroundings.strict_filter) {
        (Nat::None | Nat::SourcePortKept | Nat::Destination, true, false) => Impact::Survives,
        (Nat::SourcePortRemapped, true, false) | (Nat::Destination, false, false) => Impact::Reset,
        (Nat::SourcePortKept | Nat::SourcePortRemapped, false, false)
        | (Nat::SourcePortKept | Nat::SourcePortRemapped | Nat::Destination, true, true) => {
            Impact::Hangs
        }
        (Nat::None, _, _) | (_, false, true) => Impact::Unknown,
    }
}

/// The kind of NAT; `None` where the kernel did not say, or for both kinds at once.
fn nat(flow: &Flow) -> Option<Nat> {
    let status = flow.status()?;
    let (src, dst) = (
        status.contains(Status::SRC_NAT),
        status.contains(Status::DST_NAT),
    );
    match (src, dst) {
        (false, false) => Some(Nat::None),
        (false, true) => Some(Nat::Destination),
        (true, true) => None,
        (true, false) if !flow.present.contains(Present::REPLY) => None,
        (true, false) => {
            // ICMP has its id in the source port of both directions.
            let mapped = match flow.protocol {
                Protocol::ICMP | Protocol::ICMPV6 => flow.reply.src_port,
                _ => flow.reply.dst_port,
            };
            Some(if mapped == flow.orig.src_port {
                Nat::SourcePortKept
            } else {
                Nat::SourcePortRemapped
            })
        }
    }
}

/// A new entry lacks what an expectation, a helper or a flowtable gave the old one.
fn depends_on_more_than_the_ruleset(flow: &Flow, extra: &Extra<'_>) -> bool {
    flow.is_offloaded()
        || flow.present.contains(Present::MASTER)
        || flow
            .status
            .intersects(Status::EXPECTED | Status::HELPER | Status::SEQ_ADJUST)
        || extra.helper.is_some()
        || extra.seq_adjust.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Family, Tuple};

    fn flow(protocol: Protocol, status: Status) -> Flow {
        let client = "192.168.1.2:40000".parse().unwrap();
        let server = "203.0.113.9:443".parse().unwrap();
        let mut flow = Flow::new(Family::Ipv4, protocol, Tuple::between(client, server));
        flow.present = Present::STATUS | Present::REPLY;
        flow.status = status;
        if protocol == Protocol::TCP {
            flow.present |= Present::STATE;
            flow.state = tcp::ESTABLISHED;
        }
        flow
    }

    fn remapped(mut flow: Flow) -> Flow {
        flow.reply.dst_port = 1024;
        flow
    }

    fn impact(flow: &Flow, tcp_loose: bool, strict_filter: bool) -> Impact {
        let surroundings = Surroundings {
            tcp_loose: Some(tcp_loose),
            strict_filter,
        };
        forecast(flow, &Extra::default(), surroundings)
    }

    #[test]
    fn the_measured_table_comes_back() {
        let kept = flow(Protocol::TCP, Status::SRC_NAT);
        let remapped = remapped(kept);
        let dnat = flow(Protocol::TCP, Status::DST_NAT);
        for (flow, loose, strict, expected) in [
            (kept, true, false, Impact::Survives),
            (remapped, true, false, Impact::Reset),
            (kept, false, false, Impact::Hangs),
            (remapped, false, false, Impact::Hangs),
            (kept, true, true, Impact::Hangs),
            (remapped, true, true, Impact::Hangs),
            (dnat, true, false, Impact::Survives),
            (dnat, false, false, Impact::Reset),
            (dnat, true, true, Impact::Hangs),
        ] {
            assert_eq!(impact(&flow, loose, strict), expected, "{flow:?}");
        }
    }

    #[test]
    fn what_was_not_measured_is_unknown() {
        let plain = flow(Protocol::TCP, Status::empty());
        assert_eq!(impact(&plain, false, false), Impact::Unknown);
        assert_eq!(impact(&plain, true, true), Impact::Unknown);
        let hairpin = flow(Protocol::TCP, Status::SRC_NAT | Status::DST_NAT);
        assert_eq!(impact(&hairpin, true, false), Impact::Unknown);
        let dnat = flow(Protocol::TCP, Status::DST_NAT);
        assert_eq!(impact(&dnat, false, true), Impact::Unknown);
        for state in [tcp::SYN_SENT, tcp::CLOSE_WAIT, tcp::LAST_ACK] {
            let mut flow = flow(Protocol::TCP, Status::SRC_NAT);
            flow.state = state;
            assert_eq!(impact(&flow, true, false), Impact::Unknown, "{state}");
        }
        for protocol in [Protocol::SCTP, Protocol::GRE, Protocol(50)] {
            let flow = flow(protocol, Status::empty());
            assert_eq!(impact(&flow, true, false), Impact::Unknown, "{protocol}");
        }
    }

    #[test]
    fn a_missing_status_reply_or_sysctl_is_unknown() {
        let mut no_status = flow(Protocol::TCP, Status::empty());
        no_status.present.remove(Present::STATUS);
        assert_eq!(impact(&no_status, true, false), Impact::Unknown);
        let mut no_reply = flow(Protocol::TCP, Status::SRC_NAT);
        no_reply.present.remove(Present::REPLY);
        assert_eq!(impact(&no_reply, true, false), Impact::Unknown);
        let unread = Surroundings {
            tcp_loose: None,
            strict_filter: false,
        };
        let tcp = flow(Protocol::TCP, Status::SRC_NAT);
        assert_eq!(forecast(&tcp, &Extra::default(), unread), Impact::Unknown);
    }

    #[test]
    fn a_flow_with_helper_master_or_adjusted_sequence_numbers_is_unknown() {
        let plain = flow(Protocol::TCP, Status::empty());
        assert_eq!(impact(&plain, true, false), Impact::Survives);
        for status in [Status::EXPECTED, Status::HELPER, Status::SEQ_ADJUST] {
            let flow = flow(Protocol::TCP, status);
            assert_eq!(impact(&flow, true, false), Impact::Unknown, "{status:?}");
        }
        let mut expected = plain;
        expected.present |= Present::MASTER;
        assert_eq!(impact(&expected, true, false), Impact::Unknown);
    }

    #[test]
    fn a_closed_connection_has_nothing_to_lose() {
        let mut flow = remapped(flow(Protocol::TCP, Status::SRC_NAT));
        flow.state = tcp::TIME_WAIT;
        assert_eq!(impact(&flow, false, true), Impact::Survives);
    }

    #[test]
    fn udp_and_icmp_survive_unless_their_source_port_or_id_was_remapped() {
        for protocol in [Protocol::UDP, Protocol::ICMP] {
            let kept = flow(protocol, Status::SRC_NAT);
            assert_eq!(impact(&kept, false, true), Impact::Survives, "{protocol}");
            let mut remapped = kept;
            match protocol {
                Protocol::ICMP => remapped.reply.src_port += 1,
                _ => remapped.reply.dst_port += 1,
            }
            assert_eq!(
                impact(&remapped, true, false),
                Impact::Unknown,
                "{protocol}"
            );
        }
    }
}
