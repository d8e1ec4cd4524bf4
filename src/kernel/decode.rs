//! One entry from a netlink message, borrowed: nothing is allocated, nothing panics, whatever the
//! bytes are.
//!
//! Attributes may come in any order and unknown ones are passed over. What the kernel sends for
//! almost every entry, a tuple with two addresses and two ports, has a fixed shape and is read in
//! one step; any other shape takes the walk.

use super::attribute::{self, Attributes, Malformed};
use super::decode_tuple::{self, Direction, head};
use super::message::{self, CT_NEW, HEADER, Message, NFGENMSG};
use crate::flow::{Counters, Extra, Family, Flow, Present, Protocol, SeqAdjust, Status, Tuple};
use crate::observe::Record;

/// Why a message is no entry that could be understood. Such an entry is counted and left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than its headers, or than it says itself.
    #[error("the message is cut short")]
    Truncated,
    /// Not `IPCTNL_MSG_CT_NEW`, which is what entries are sent as.
    #[error("message type {0:#x} is no entry")]
    NotAnEntry(u16),
    /// Neither IPv4 nor IPv6.
    #[error("address family {0} carries no flows")]
    Family(u8),
    /// Attribute lengths that do not fit each other.
    #[error("malformed attributes in attribute {0}")]
    Malformed(u16),
    /// A known attribute with too few bytes.
    #[error("attribute {number} has {length} bytes")]
    Length {
        /// Number of the attribute on its level.
        number: u16,
        /// Bytes it has.
        length: usize,
    },
    /// No original tuple, or a tuple without addresses, protocol or ports.
    #[error("a tuple is incomplete")]
    Tuple,
    /// A name that is not UTF-8.
    #[error("attribute {0} is not text")]
    Text(u16),
}

/// Decodes one message, `nlmsghdr` included, as a dump delivers it.
///
/// # Errors
/// Where a known attribute does not hold what it should; see [`DecodeError`].
#[inline]
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, DecodeError> {
    decode_message(&message::split(bytes).ok_or(DecodeError::Truncated)?)
}

/// The same of a message whose header was read.
#[inline]
pub(super) fn decode_message<'a>(message: &Message<'a>) -> Result<Record<'a>, DecodeError> {
    if message.kind != CT_NEW {
        return Err(DecodeError::NotAnEntry(message.kind));
    }
    entry(message)
}

/// The entry that a message of any type holds.
#[inline]
pub(super) fn entry<'a>(message: &Message<'a>) -> Result<Record<'a>, DecodeError> {
    let family = *message.bytes.get(HEADER).ok_or(DecodeError::Truncated)?;
    let attributes = message
        .bytes
        .get(HEADER + NFGENMSG..)
        .ok_or(DecodeError::Truncated)?;
    let family = Family::from_number(family).ok_or(DecodeError::Family(family))?;
    let mut entry = Entry::new(family);
    let rest = entry.take_usual(attributes).unwrap_or(attributes);
    for attribute in Attributes::new(rest) {
        let (number, payload) = attribute.map_err(|Malformed| DecodeError::Malformed(0))?;
        entry.take(number, payload)?;
    }
    entry.finish(message.bytes)
}

/// What has been read of an entry so far.
struct Entry<'a> {
    flow: Flow,
    extra: Extra<'a>,
    has_orig: bool,
    zone: u16,
    protoinfo: Protoinfo,
    seq_adjust: (Option<SeqAdjust>, Option<SeqAdjust>),
}

/// `CTA_PROTOINFO`, kept until the protocol is known.
#[derive(Clone, Copy)]
enum Protoinfo {
    None,
    Tcp {
        state: Option<u8>,
        wscale: (Option<u8>, Option<u8>),
        flags: (Option<u8>, Option<u8>),
    },
    Dccp {
        state: Option<u8>,
        role: Option<u8>,
    },
    Sctp {
        state: Option<u8>,
        vtags: (Option<u32>, Option<u32>),
    },
}

impl<'a> Entry<'a> {
    #[inline]
    fn new(family: Family) -> Self {
        let mut flow = Flow::new(family, Protocol(0), Tuple::default());
        flow.reply = Tuple::default();
        Self {
            flow,
            extra: Extra::default(),
            has_orig: false,
            zone: 0,
            protoinfo: Protoinfo::None,
            seq_adjust: (None, None),
        }
    }

    /// Takes what nearly every entry of a dump begins with, if that is all there and in the kernel's
    /// order; gives back what follows it.
    #[inline]
    fn take_usual(&mut self, attributes: &'a [u8]) -> Option<&'a [u8]> {
        match self.flow.family {
            Family::Ipv4 => self.take_start::<52>(attributes),
            Family::Ipv6 => self.take_start::<76>(attributes),
        }
    }

    /// `TUPLE` is the length of a tuple with addresses and ports.
    #[inline]
    fn take_start<const TUPLE: usize>(&mut self, attributes: &'a [u8]) -> Option<&'a [u8]> {
        use attribute::{ID, MARK, NESTED, STATUS, TIMEOUT, TUPLE_ORIG, TUPLE_REPLY, USE};
        let (orig, rest) = attributes.split_first_chunk::<TUPLE>()?;
        let (reply, rest) = rest.split_first_chunk::<TUPLE>()?;
        let (words, rest) = rest.split_first_chunk::<40>()?;
        let length = u16::try_from(TUPLE).ok()?;
        let usual = orig[..4] == head(length, TUPLE_ORIG | NESTED)
            && reply[..4] == head(length, TUPLE_REPLY | NESTED)
            && words[..4] == head(8, STATUS)
            && words[8..12] == head(8, MARK)
            && words[16..20] == head(8, ID)
            && words[24..28] == head(8, USE)
            && words[32..36] == head(8, TIMEOUT);
        if !usual {
            return None;
        }
        let flow = &mut self.flow;
        let orig = decode_tuple::usual(flow.family, &orig[4..])?;
        let reply = decode_tuple::usual(flow.family, &reply[4..])?;
        let word = |at: usize| words[at..].first_chunk().copied().map(u32::from_be_bytes);
        flow.status = Status::from_bits_retain(word(4)?);
        flow.mark = word(12)?;
        flow.id = word(20)?;
        flow.timeout = word(36)?;
        flow.present |=
            Present::REPLY | Present::STATUS | Present::MARK | Present::ID | Present::TIMEOUT;
        (flow.orig, flow.reply) = (orig.tuple, reply.tuple);
        flow.protocol = orig.protocol;
        self.has_orig = true;
        Some(rest)
    }

    #[inline]
    fn take(&mut self, number: u16, payload: &'a [u8]) -> Result<(), DecodeError> {
        let flow = &mut self.flow;
        match number {
            attribute::TUPLE_ORIG => {
                let direction = self.tuple(number, payload)?;
                self.flow.orig = direction.tuple;
                self.flow.protocol = direction.protocol;
                self.flow.zone_orig = direction.zone;
                self.has_orig = true;
            }
            attribute::TUPLE_REPLY => {
                let direction = self.tuple(number, payload)?;
                self.flow.reply = direction.tuple;
                self.flow.zone_reply = direction.zone;
                self.flow.present |= Present::REPLY;
            }
            attribute::STATUS => {
                flow.status = Status::from_bits_retain(be32(number, payload)?);
                flow.present |= Present::STATUS;
            }
            attribute::TIMEOUT => {
                flow.timeout = be32(number, payload)?;
                flow.present |= Present::TIMEOUT;
            }
            attribute::MARK => {
                flow.mark = be32(number, payload)?;
                flow.present |= Present::MARK;
            }
            attribute::ID => {
                flow.id = be32(number, payload)?;
                flow.present |= Present::ID;
            }
            attribute::ZONE => self.zone = be16(number, payload)?,
            attribute::PROTOINFO => match usual_tcp(payload) {
                Some(info) => self.protoinfo = info,
                None => self.protoinfo(payload)?,
            },
            attribute::COUNTERS_ORIG => {
                if let Some(counters) = counters(number, payload)? {
                    flow.counters_orig = counters;
                    flow.present |= Present::COUNTERS_ORIG;
                }
            }
            attribute::COUNTERS_REPLY => {
                if let Some(counters) = counters(number, payload)? {
                    flow.counters_reply = counters;
                    flow.present |= Present::COUNTERS_REPLY;
                }
            }
            attribute::TIMESTAMP => {
                if let Some(start) = find(number, payload, attribute::timestamp::START)? {
                    flow.start_ns = be64(number, start)?;
                    flow.present |= Present::START;
                }
            }
            attribute::TUPLE_MASTER => flow.present |= Present::MASTER,
            attribute::HELP => self.extra.helper = name(number, payload)?,
            attribute::SECCTX => self.extra.secctx = name(number, payload)?,
            attribute::LABELS => self.extra.labels = labels(payload)?,
            attribute::SEQ_ADJ_ORIG => self.seq_adjust.0 = Some(seq_adjust(number, payload)?),
            attribute::SEQ_ADJ_REPLY => self.seq_adjust.1 = Some(seq_adjust(number, payload)?),
            _ => {}
        }
        Ok(())
    }

    #[inline]
    fn tuple(&self, number: u16, payload: &[u8]) -> Result<Direction, DecodeError> {
        decode_tuple::tuple(self.flow.family, number, payload)
    }

    #[inline(never)]
    fn protoinfo(&mut self, payload: &'a [u8]) -> Result<(), DecodeError> {
        use attribute::{dccp, protoinfo, sctp, tcp};
        for attribute in walk(attribute::PROTOINFO, payload) {
            let (kind, payload) = attribute?;
            let mut info = match kind {
                protoinfo::TCP => Protoinfo::Tcp {
                    state: None,
                    wscale: (None, None),
                    flags: (None, None),
                },
                protoinfo::DCCP => Protoinfo::Dccp {
                    state: None,
                    role: None,
                },
                protoinfo::SCTP => Protoinfo::Sctp {
                    state: None,
                    vtags: (None, None),
                },
                _ => continue,
            };
            for attribute in walk(attribute::PROTOINFO, payload) {
                let (number, payload) = attribute?;
                match (&mut info, number) {
                    (Protoinfo::Tcp { state, .. }, tcp::STATE)
                    | (Protoinfo::Dccp { state, .. }, dccp::STATE)
                    | (Protoinfo::Sctp { state, .. }, sctp::STATE) => {
                        *state = Some(byte(number, payload)?);
                    }
                    (Protoinfo::Tcp { wscale, .. }, tcp::WSCALE_ORIG) => {
                        wscale.0 = Some(byte(number, payload)?);
                    }
                    (Protoinfo::Tcp { wscale, .. }, tcp::WSCALE_REPLY) => {
                        wscale.1 = Some(byte(number, payload)?);
                    }
                    // {flags, mask}: a dump leaves the mask empty.
                    (Protoinfo::Tcp { flags, .. }, tcp::FLAGS_ORIG) => {
                        flags.0 = Some(byte(number, payload)?);
                    }
                    (Protoinfo::Tcp { flags, .. }, tcp::FLAGS_REPLY) => {
                        flags.1 = Some(byte(number, payload)?);
                    }
                    (Protoinfo::Dccp { role, .. }, dccp::ROLE) => {
                        *role = Some(byte(number, payload)?);
                    }
                    (Protoinfo::Sctp { vtags, .. }, sctp::VTAG_ORIG) => {
                        vtags.0 = Some(be32(number, payload)?);
                    }
                    (Protoinfo::Sctp { vtags, .. }, sctp::VTAG_REPLY) => {
                        vtags.1 = Some(be32(number, payload)?);
                    }
                    _ => {}
                }
            }
            self.protoinfo = info;
        }
        Ok(())
    }

    #[inline]
    fn finish(mut self, message: &'a [u8]) -> Result<Record<'a>, DecodeError> {
        if !self.has_orig {
            return Err(DecodeError::Tuple);
        }
        let flow = &mut self.flow;
        if self.zone != 0 {
            flow.zone_orig = self.zone;
            flow.zone_reply = self.zone;
        }
        // A protoinfo of another protocol than the tuple's is not understood, so not believed.
        let state = match self.protoinfo {
            Protoinfo::Tcp {
                state,
                wscale,
                flags,
            } if flow.protocol == Protocol::TCP => {
                if let (Some(orig), Some(reply)) = flags {
                    flow.tcp_flags_orig = orig;
                    flow.tcp_flags_reply = reply;
                    flow.present |= Present::TCP_FLAGS;
                }
                if let (Some(orig), Some(reply)) = wscale {
                    flow.tcp_wscale = (orig & 0x0f) | (reply << 4);
                    flow.present |= Present::TCP_WSCALE;
                }
                state
            }
            Protoinfo::Dccp { state, role } if flow.protocol == Protocol::DCCP => {
                self.extra.dccp_role = role;
                state
            }
            Protoinfo::Sctp { state, vtags } if flow.protocol == Protocol::SCTP => {
                if let (Some(orig), Some(reply)) = vtags {
                    self.extra.sctp_vtags = Some((orig, reply));
                }
                state
            }
            _ => None,
        };
        if let Some(state) = state {
            flow.state = state;
            flow.present |= Present::STATE;
        }
        if self.seq_adjust != (None, None) {
            let (orig, reply) = self.seq_adjust;
            self.extra.seq_adjust = Some((orig.unwrap_or_default(), reply.unwrap_or_default()));
        }
        Ok(Record {
            flow: self.flow,
            extra: self.extra,
            message,
        })
    }
}

/// All that the kernel tells of a TCP connection, in its order, and nothing else.
#[inline]
fn usual_tcp(payload: &[u8]) -> Option<Protoinfo> {
    use attribute::{NESTED, protoinfo, tcp};
    let bytes: &[u8; 44] = payload.try_into().ok()?;
    let usual = bytes[0..4] == head(44, protoinfo::TCP | NESTED)
        && bytes[4..8] == head(5, tcp::STATE)
        && bytes[12..16] == head(5, tcp::WSCALE_ORIG)
        && bytes[20..24] == head(5, tcp::WSCALE_REPLY)
        && bytes[28..32] == head(6, tcp::FLAGS_ORIG)
        && bytes[36..40] == head(6, tcp::FLAGS_REPLY);
    usual.then(|| Protoinfo::Tcp {
        state: Some(bytes[8]),
        wscale: (Some(bytes[16]), Some(bytes[24])),
        flags: (Some(bytes[32]), Some(bytes[40])),
    })
}

/// Walks nested attributes; an error names the attribute that holds them.
#[inline]
pub(super) fn walk(
    outer: u16,
    payload: &[u8],
) -> impl Iterator<Item = Result<(u16, &[u8]), DecodeError>> {
    Attributes::new(payload)
        .map(move |attribute| attribute.map_err(|Malformed| DecodeError::Malformed(outer)))
}

fn find(outer: u16, payload: &[u8], wanted: u16) -> Result<Option<&[u8]>, DecodeError> {
    for attribute in walk(outer, payload) {
        let (number, payload) = attribute?;
        if number == wanted {
            return Ok(Some(payload));
        }
    }
    Ok(None)
}

#[inline]
pub(super) fn fixed<const N: usize>(number: u16, payload: &[u8]) -> Result<[u8; N], DecodeError> {
    payload.first_chunk().copied().ok_or(DecodeError::Length {
        number,
        length: payload.len(),
    })
}

#[inline]
pub(super) fn byte(number: u16, payload: &[u8]) -> Result<u8, DecodeError> {
    fixed::<1>(number, payload).map(|[byte]| byte)
}

#[inline]
pub(super) fn be16(number: u16, payload: &[u8]) -> Result<u16, DecodeError> {
    fixed(number, payload).map(u16::from_be_bytes)
}

#[inline]
pub(super) fn be32(number: u16, payload: &[u8]) -> Result<u32, DecodeError> {
    fixed(number, payload).map(u32::from_be_bytes)
}

#[inline]
fn be64(number: u16, payload: &[u8]) -> Result<u64, DecodeError> {
    fixed(number, payload).map(u64::from_be_bytes)
}

fn counters(outer: u16, payload: &[u8]) -> Result<Option<Counters>, DecodeError> {
    let (mut packets, mut bytes) = (None, None);
    for attribute in walk(outer, payload) {
        let (number, payload) = attribute?;
        match number {
            attribute::counters::PACKETS => packets = Some(be64(number, payload)?),
            attribute::counters::BYTES => bytes = Some(be64(number, payload)?),
            _ => {}
        }
    }
    Ok(match (packets, bytes) {
        (Some(packets), Some(bytes)) => Some(Counters { packets, bytes }),
        _ => None,
    })
}

fn name(outer: u16, payload: &[u8]) -> Result<Option<&str>, DecodeError> {
    find(outer, payload, attribute::NAME)?
        .map(|name| text(outer, name))
        .transpose()
}

/// Text that ends with its first zero byte; an error names the attribute that holds it.
pub(super) fn text(outer: u16, payload: &[u8]) -> Result<&str, DecodeError> {
    let text = payload.split(|byte| *byte == 0).next().unwrap_or(&[]);
    std::str::from_utf8(text).map_err(|_| DecodeError::Text(outer))
}

/// A bitmap of the kernel's `unsigned long` words, in the host's byte order.
fn labels(payload: &[u8]) -> Result<Option<u128>, DecodeError> {
    if payload.len() > 16 || !payload.len().is_multiple_of(4) {
        return Err(DecodeError::Length {
            number: attribute::LABELS,
            length: payload.len(),
        });
    }
    let word = usize::BITS / 8;
    let mut labels = 0;
    for (index, chunk) in (0u32..).zip(payload.chunks(word as usize)) {
        let mut bytes = [0; size_of::<usize>()];
        bytes[..chunk.len()].copy_from_slice(chunk);
        labels |= (usize::from_ne_bytes(bytes) as u128) << (index * usize::BITS);
    }
    // The kernel leaves the attribute out where no label is set; so does the record.
    Ok((labels != 0).then_some(labels))
}

fn seq_adjust(outer: u16, payload: &[u8]) -> Result<SeqAdjust, DecodeError> {
    let mut adjust = SeqAdjust::default();
    for attribute in walk(outer, payload) {
        let (number, payload) = attribute?;
        match number {
            attribute::seq_adjust::CORRECTION => adjust.correction = be32(number, payload)?,
            attribute::seq_adjust::BEFORE => {
                adjust.before = be32(number, payload)?.cast_signed();
            }
            attribute::seq_adjust::AFTER => {
                adjust.after = be32(number, payload)?.cast_signed();
            }
            _ => {}
        }
    }
    Ok(adjust)
}
