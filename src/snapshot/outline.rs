//! What an aggregate tells of a flow.

use std::collections::HashSet;
use std::net::IpAddr;

use super::record::{Common, GROUPED_STATUS};
use super::redact::network;
use crate::flow::{Family, Flow, Present, Protocol, Status, Tuple};
use crate::observe::Header;

/// Leaves of a flow what an aggregate tells of it. Addresses are not redacted.
#[derive(Clone, Debug)]
pub struct Outline {
    own: HashSet<(Family, [u8; 16])>,
}

impl Outline {
    /// For the flows of one table. `header` has the same addresses as its flows: both real, or both
    /// pseudonyms.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        let own = header.addresses.iter().flatten();
        Self {
            own: own.map(|address| octets(*address)).collect(),
        }
    }

    /// The group of a flow. Allocates nothing.
    #[must_use]
    pub fn of(&self, flow: &Flow) -> Common {
        let Tuple { src, dst, .. } = flow.orig;
        let is_service =
            flow.status.contains(Status::DST_NAT) || self.own.contains(&(flow.family, dst));
        let is_icmp = matches!(flow.protocol, Protocol::ICMP | Protocol::ICMPV6);
        Common {
            family: flow.family,
            zone: flow.zone_orig,
            protocol: flow.protocol,
            src: Some(network(flow.family, src)),
            dst: is_service.then_some(dst),
            dport: flow.protocol.has_ports().then_some(flow.orig.dst_port),
            icmp_type: is_icmp.then(|| flow.orig.icmp_type()),
            state: flow.state(),
            status: flow.status().map(|status| status & GROUPED_STATUS),
            mark: flow.present.contains(Present::MARK).then_some(flow.mark),
        }
    }
}

fn octets(address: IpAddr) -> (Family, [u8; 16]) {
    let family = if address.is_ipv4() {
        Family::Ipv4
    } else {
        Family::Ipv6
    };
    (family, Tuple::new(address, address, 0, 0).src)
}
