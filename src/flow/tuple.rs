//! One direction of a flow: addresses and what the protocol has in place of ports.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::protocol::Protocol;

/// Network layer protocol, numbered as the kernel's `AF_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// `AF_INET`.
    Ipv4 = 2,
    /// `AF_INET6`.
    Ipv6 = 10,
}

impl Family {
    /// From `nfgen_family`; `None` for families that carry no flows.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            2 => Some(Self::Ipv4),
            10 => Some(Self::Ipv6),
            _ => None,
        }
    }

    /// `ipv4` or `ipv6`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Addresses and protocol-specific part of one direction.
///
/// `src_port` and `dst_port` hold ports for tcp, udp, udplite, sctp and dccp, keys for gre, and
/// for icmp and icmpv6 the id in `src_port` and type and code in the high and low byte of
/// `dst_port`. Other protocols have zero in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    /// Source address; IPv4 in the first four bytes, the rest zero.
    pub src: [u8; 16],
    /// Destination address; IPv4 in the first four bytes, the rest zero.
    pub dst: [u8; 16],
    /// Source port, GRE key, or ICMP id.
    pub src_port: u16,
    /// Destination port, GRE key, or ICMP type and code.
    pub dst_port: u16,
}

impl Tuple {
    /// From two addresses of one family.
    ///
    /// # Panics
    /// Never; addresses of different families give a tuple that no entry has.
    #[must_use]
    pub fn new(src: IpAddr, dst: IpAddr, src_port: u16, dst_port: u16) -> Self {
        Self {
            src: octets(src),
            dst: octets(dst),
            src_port,
            dst_port,
        }
    }

    /// From two socket addresses of one family.
    #[must_use]
    pub fn between(src: SocketAddr, dst: SocketAddr) -> Self {
        Self::new(src.ip(), dst.ip(), src.port(), dst.port())
    }

    /// Source address.
    #[must_use]
    pub fn src_ip(&self, family: Family) -> IpAddr {
        address(self.src, family)
    }

    /// Destination address.
    #[must_use]
    pub fn dst_ip(&self, family: Family) -> IpAddr {
        address(self.dst, family)
    }

    /// ICMP type; only for icmp and icmpv6.
    #[must_use]
    pub fn icmp_type(&self) -> u8 {
        self.dst_port.to_be_bytes()[0]
    }

    /// ICMP code; only for icmp and icmpv6.
    #[must_use]
    pub fn icmp_code(&self) -> u8 {
        self.dst_port.to_be_bytes()[1]
    }

    /// The tuple of a reply where there is no NAT, as the kernel's `nf_ct_invert_tuple` makes it.
    #[must_use]
    pub fn inverse(&self, protocol: Protocol) -> Self {
        let (src_port, dst_port) = match protocol {
            Protocol::ICMP | Protocol::ICMPV6 => {
                let answer = super::protocol::icmp_answer(protocol, self.icmp_type());
                let code = self.icmp_code();
                (self.src_port, u16::from_be_bytes([answer, code]))
            }
            _ => (self.dst_port, self.src_port),
        };
        Self {
            src: self.dst,
            dst: self.src,
            src_port,
            dst_port,
        }
    }
}

/// An address as a tuple holds it: IPv4 in the first four bytes.
pub(crate) fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            bytes
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn address(bytes: [u8; 16], family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::from(bytes)),
    }
}
