//! What identifies an entry: two live entries may differ in their zone direction alone.

use std::fmt;
use std::net::SocketAddr;

use super::{Family, Protocol, Tuple};

/// Family, zone of the original direction, protocol and original tuple.
///
/// The order is that of snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// Address family.
    pub family: Family,
    /// Zone of the original direction.
    pub zone: u16,
    /// IP protocol.
    pub protocol: Protocol,
    /// Original tuple.
    pub orig: Tuple,
}

/// `tcp 10.0.0.5:40112 -> 10.0.9.5:5432`, with the zone behind it where it is not 0.
impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let src = self.orig.src_ip(self.family);
        let dst = self.orig.dst_ip(self.family);
        write!(f, "{} ", self.protocol)?;
        if self.protocol.has_ports() {
            write!(
                f,
                "{} -> {}",
                SocketAddr::new(src, self.orig.src_port),
                SocketAddr::new(dst, self.orig.dst_port)
            )?;
        } else {
            write!(f, "{src} -> {dst}")?;
        }
        match self.protocol {
            Protocol::ICMP | Protocol::ICMPV6 => write!(
                f,
                " type {} code {} id {}",
                self.orig.icmp_type(),
                self.orig.icmp_code(),
                self.orig.src_port
            )?,
            Protocol::GRE => write!(f, " keys {} {}", self.orig.src_port, self.orig.dst_port)?,
            _ => {}
        }
        if self.zone != 0 {
            write!(f, " zone {}", self.zone)?;
        }
        Ok(())
    }
}
