//! Three hosts: client 10.77.1.2 -- NAT router -- server 10.77.2.2 and 10.77.2.3.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::namespace::Namespace;

/// The client's side of the router: what clients of a published service talk to.
pub(crate) const ROUTER_INSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
/// The server, and the first backend of the published UDP service.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 2);
/// The second backend, another address of the same namespace.
pub(crate) const BACKEND_B: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 3);
/// The client.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 2);
/// The server's IPv6 address, reached without NAT.
pub(crate) const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, 2);
/// The UDP port that the router publishes for a backend.
pub(crate) const PUBLISHED: u16 = 5353;
/// Ports that masqueraded TCP leaves from: beyond what clients pick themselves, so every one is remapped,
/// and a flow that loses its entry cannot get its mapping back by itself.
pub(crate) const MASQUERADE_PORTS: std::ops::RangeInclusive<u16> = 61_000..=65_000;

/// The namespaces of one test. Links and entries go with them when the last handle is dropped.
pub(crate) struct Topology {
    pub(crate) client: Namespace,
    pub(crate) router: Namespace,
    pub(crate) server: Namespace,
}

impl Topology {
    /// Three namespaces joined by two links; the router forwards, tracks, counts and translates.
    pub(crate) fn new() -> io::Result<Self> {
        let topology = Self {
            client: Namespace::new()?,
            router: Namespace::new()?,
            server: Namespace::new()?,
        };
        for namespace in [&topology.client, &topology.router, &topology.server] {
            // Nothing else can own these addresses; the wait for that to be sure costs a second or two.
            namespace.set("ipv6/conf/default/accept_dad", 0)?;
        }
        topology.link("in0", &topology.client)?;
        topology.link("out0", &topology.server)?;
        for (namespace, words) in [
            (&topology.router, "addr add 10.77.1.1/24 dev in0"),
            (&topology.router, "addr add 10.77.2.1/24 dev out0"),
            (&topology.router, "addr add fd77:1::1/64 dev in0 nodad"),
            (&topology.router, "addr add fd77:2::1/64 dev out0 nodad"),
            (&topology.client, "addr add 10.77.1.2/24 dev eth0"),
            (&topology.client, "addr add fd77:1::2/64 dev eth0 nodad"),
            (&topology.server, "addr add 10.77.2.2/24 dev eth0"),
            (&topology.server, "addr add 10.77.2.3/24 dev eth0"),
            (&topology.server, "addr add fd77:2::2/64 dev eth0 nodad"),
            (&topology.router, "link set in0 up"),
            (&topology.router, "link set out0 up"),
            (&topology.client, "link set eth0 up"),
            (&topology.server, "link set eth0 up"),
            (&topology.client, "route add default via 10.77.1.1"),
            (&topology.client, "-6 route add default via fd77:1::1"),
            (&topology.server, "route add default via 10.77.2.1"),
            (&topology.server, "-6 route add default via fd77:2::1"),
        ] {
            namespace.ip(words)?;
        }
        topology.router.nft(&format!(
            "table ip house {{
                chain backend {{
                    udp dport {PUBLISHED} dnat to {SERVER};
                }}
                chain prerouting {{
                    type nat hook prerouting priority dstnat;
                    iifname in0 ip daddr {ROUTER_INSIDE} jump backend;
                }}
                chain postrouting {{
                    type nat hook postrouting priority srcnat;
                    oifname out0 ip saddr 10.77.1.0/24 meta l4proto tcp masquerade to :{}-{};
                    oifname out0 ip saddr 10.77.1.0/24 masquerade;
                }}
            }}
            table ip6 house {{
                chain forward {{
                    type filter hook forward priority filter;
                    ct state established accept;
                }}
            }}",
            MASQUERADE_PORTS.start(),
            MASQUERADE_PORTS.end(),
        ))?;
        for (key, value) in [
            ("ipv4/ip_forward", 1),
            ("ipv6/conf/all/forwarding", 1),
            ("netfilter/nf_conntrack_acct", 1),
            ("netfilter/nf_conntrack_timestamp", 1),
        ] {
            topology.router.set(key, value)?;
        }
        Ok(topology)
    }

    fn link(&self, router_end: &str, peer: &Namespace) -> io::Result<()> {
        self.router.ip(&format!(
            "link add {router_end} type veth peer name eth0 netns {}",
            peer.path()
        ))
    }

    /// Sends new flows to the published service to `backend`; existing entries keep the old one.
    pub(crate) fn publish(&self, backend: Ipv4Addr) -> io::Result<()> {
        self.router.nft(&format!(
            "flush chain ip house backend
             add rule ip house backend udp dport {PUBLISHED} dnat to {backend}"
        ))
    }
}

/// The server's address of either family.
pub(crate) fn server(six: bool) -> IpAddr {
    if six { SERVER_V6.into() } else { SERVER.into() }
}
