//! One direction of an entry (`CTA_TUPLE_*`).

use super::attribute::{self, ip, proto, tuple as level};
use super::decode::{DecodeError, be16, byte, fixed, walk};
use crate::flow::{Family, Protocol, Tuple};

/// What a tuple attribute holds.
pub(super) struct Direction {
    pub(super) tuple: Tuple,
    pub(super) protocol: Protocol,
    /// Zone of this direction alone; 0 where there is none.
    pub(super) zone: u16,
}

/// The header of an attribute as the kernel writes it.
pub(super) const fn head(length: u16, number: u16) -> [u8; 4] {
    let (l, n) = (length.to_ne_bytes(), number.to_ne_bytes());
    [l[0], l[1], n[0], n[1]]
}

const NESTED: u16 = attribute::NESTED;

/// Decodes `CTA_TUPLE_ORIG` or `CTA_TUPLE_REPLY`.
#[inline]
pub(super) fn tuple(family: Family, number: u16, payload: &[u8]) -> Result<Direction, DecodeError> {
    match usual(family, payload) {
        Some(direction) => Ok(direction),
        None => any(family, number, payload),
    }
}

/// Two addresses and two ports, in the kernel's order, and nothing else.
#[inline]
pub(super) fn usual(family: Family, payload: &[u8]) -> Option<Direction> {
    match family {
        Family::Ipv4 => usual_v4(payload),
        Family::Ipv6 => usual_v6(payload),
    }
}

#[inline]
fn usual_v4(payload: &[u8]) -> Option<Direction> {
    let bytes: &[u8; 48] = payload.try_into().ok()?;
    let usual = bytes[0..4] == head(20, level::IP | NESTED)
        && bytes[4..8] == head(8, ip::V4_SRC)
        && bytes[12..16] == head(8, ip::V4_DST)
        && usual_ports(bytes[20..48].try_into().ok()?);
    if !usual {
        return None;
    }
    let (mut src, mut dst) = ([0; 16], [0; 16]);
    src[..4].copy_from_slice(&bytes[8..12]);
    dst[..4].copy_from_slice(&bytes[16..20]);
    Some(Direction {
        tuple: Tuple {
            src,
            dst,
            src_port: u16::from_be_bytes([bytes[36], bytes[37]]),
            dst_port: u16::from_be_bytes([bytes[44], bytes[45]]),
        },
        protocol: Protocol(bytes[28]),
        zone: 0,
    })
}

#[inline]
fn usual_v6(payload: &[u8]) -> Option<Direction> {
    let bytes: &[u8; 72] = payload.try_into().ok()?;
    let usual = bytes[0..4] == head(44, level::IP | NESTED)
        && bytes[4..8] == head(20, ip::V6_SRC)
        && bytes[24..28] == head(20, ip::V6_DST)
        && usual_ports(bytes[44..72].try_into().ok()?);
    if !usual {
        return None;
    }
    Some(Direction {
        tuple: Tuple {
            src: bytes[8..24].try_into().ok()?,
            dst: bytes[28..44].try_into().ok()?,
            src_port: u16::from_be_bytes([bytes[60], bytes[61]]),
            dst_port: u16::from_be_bytes([bytes[68], bytes[69]]),
        },
        protocol: Protocol(bytes[52]),
        zone: 0,
    })
}

#[inline]
fn usual_ports(bytes: &[u8; 28]) -> bool {
    bytes[0..4] == head(28, level::PROTO | NESTED)
        && bytes[4..8] == head(5, proto::NUM)
        && bytes[12..16] == head(6, proto::SRC_PORT)
        && bytes[20..24] == head(6, proto::DST_PORT)
        && !matches!(Protocol(bytes[8]), Protocol::ICMP | Protocol::ICMPV6)
}

#[inline(never)]
fn any(family: Family, number: u16, payload: &[u8]) -> Result<Direction, DecodeError> {
    let (mut src, mut dst) = (None, None);
    let mut protocol = None;
    let mut ports = (None, None);
    let mut icmp = (None, None, None);
    let mut zone = 0;
    for attribute in walk(number, payload) {
        let (inner, payload) = attribute?;
        match inner {
            level::IP => {
                for attribute in walk(number, payload) {
                    let (number, payload) = attribute?;
                    match (family, number) {
                        (Family::Ipv4, ip::V4_SRC) => src = Some(v4(number, payload)?),
                        (Family::Ipv4, ip::V4_DST) => dst = Some(v4(number, payload)?),
                        (Family::Ipv6, ip::V6_SRC) => src = Some(fixed(number, payload)?),
                        (Family::Ipv6, ip::V6_DST) => dst = Some(fixed(number, payload)?),
                        _ => {}
                    }
                }
            }
            level::PROTO => {
                for attribute in walk(number, payload) {
                    let (number, payload) = attribute?;
                    match number {
                        proto::NUM => protocol = Some(Protocol(byte(number, payload)?)),
                        proto::SRC_PORT => ports.0 = Some(be16(number, payload)?),
                        proto::DST_PORT => ports.1 = Some(be16(number, payload)?),
                        proto::ICMP_ID | proto::ICMPV6_ID => icmp.0 = Some(be16(number, payload)?),
                        proto::ICMP_TYPE | proto::ICMPV6_TYPE => {
                            icmp.1 = Some(byte(number, payload)?);
                        }
                        proto::ICMP_CODE | proto::ICMPV6_CODE => {
                            icmp.2 = Some(byte(number, payload)?);
                        }
                        _ => {}
                    }
                }
            }
            level::ZONE => zone = be16(inner, payload)?,
            _ => {}
        }
    }
    let (Some(src), Some(dst), Some(protocol)) = (src, dst, protocol) else {
        return Err(DecodeError::Tuple);
    };
    let (src_port, dst_port) = match protocol {
        Protocol::ICMP | Protocol::ICMPV6 => match icmp {
            (Some(id), Some(kind), Some(code)) => (id, u16::from_be_bytes([kind, code])),
            _ => return Err(DecodeError::Tuple),
        },
        // Always tracked with ports. A kernel built without another protocol tracks it as generic
        // and sends none.
        Protocol::TCP | Protocol::UDP => match ports {
            (Some(src), Some(dst)) => (src, dst),
            _ => return Err(DecodeError::Tuple),
        },
        _ => (ports.0.unwrap_or(0), ports.1.unwrap_or(0)),
    };
    Ok(Direction {
        tuple: Tuple {
            src,
            dst,
            src_port,
            dst_port,
        },
        protocol,
        zone,
    })
}

fn v4(number: u16, payload: &[u8]) -> Result<[u8; 16], DecodeError> {
    let four: [u8; 4] = fixed(number, payload)?;
    let mut address = [0; 16];
    address[..4].copy_from_slice(&four);
    Ok(address)
}
