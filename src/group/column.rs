//! One field of a grouping: how its value stands in a key, and how it is shown.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::by::{ByError, Untold};
use super::cell::Cell;
use super::{cut, state};
use crate::flow::field::{self, Field};
use crate::flow::status::STATUS_WORDS;
use crate::flow::{Class, Family, Flow, Present, Protocol, Status};
use crate::observe::Record;
use crate::policy::diagnostic::nearest;

/// Prefix lengths of a whole address.
pub const WHOLE: (u8, u8) = (32, 128);

/// IPv6 prefix where only the IPv4 one is given: a customer's network, as `over` has it.
const PREFIX6: u8 = 64;

/// One field of an entry, as a group knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Attribute {
    Family,
    Protocol,
    State,
    Class,
    Status,
    Src,
    Dst,
    ReplySrc,
    ReplyDst,
    Sport,
    Dport,
    ReplySport,
    ReplyDport,
    IcmpType,
    IcmpCode,
    Nat,
    NatSrc,
    NatDst,
    Mark,
    Zone,
    OrigZone,
    ReplyZone,
    Label,
    Helper,
}

/// `class` is no field of the match vocabulary, but of what is counted.
const CLASS: Field = Field {
    name: "class",
    value: "assured | unreplied | closing | offloaded | other",
    help: "What the entry is to a table that fills up.",
};

/// Every field that groups can have, in the order of the help.
const FIELDS: [(Attribute, Field); 24] = [
    (Attribute::Family, field::FAMILY),
    (Attribute::Protocol, field::PROTOCOL),
    (Attribute::State, field::STATE),
    (Attribute::Class, CLASS),
    (Attribute::Status, field::STATUS),
    (Attribute::Src, field::SRC),
    (Attribute::Dst, field::DST),
    (Attribute::ReplySrc, field::REPLY_SRC),
    (Attribute::ReplyDst, field::REPLY_DST),
    (Attribute::Sport, field::SPORT),
    (Attribute::Dport, field::DPORT),
    (Attribute::ReplySport, field::REPLY_SPORT),
    (Attribute::ReplyDport, field::REPLY_DPORT),
    (Attribute::IcmpType, field::ICMP_TYPE),
    (Attribute::IcmpCode, field::ICMP_CODE),
    (Attribute::Nat, field::NAT),
    (Attribute::NatSrc, field::NAT_SRC),
    (Attribute::NatDst, field::NAT_DST),
    (Attribute::Mark, field::MARK),
    (Attribute::Zone, field::ZONE),
    (Attribute::OrigZone, field::ORIG_ZONE),
    (Attribute::ReplyZone, field::REPLY_ZONE),
    (Attribute::Label, field::LABEL),
    (Attribute::Helper, field::HELPER),
];

/// The names that `--by` takes, for help and completion.
pub fn names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(_, field)| field.name)
}

/// One field of a grouping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Column {
    attribute: Attribute,
    pub(super) name: &'static str,
    /// Prefix lengths of an address.
    pub(super) prefix: (u8, u8),
    /// Bits of a mark.
    mask: u32,
}

impl Column {
    pub(super) fn parse(word: &str) -> Result<Self, ByError> {
        let (name, suffix) = match word.split_once('/') {
            Some((name, suffix)) => (name, Some(suffix)),
            None => (word, None),
        };
        if name.is_empty() {
            return Err(ByError::Empty);
        }
        let folded = name.to_ascii_lowercase().replace('_', "-");
        let Some((attribute, field)) = FIELDS.iter().find(|(_, field)| field.name == folded) else {
            return Err(ByError::Unknown {
                name: name.to_owned(),
                suggestion: nearest(name, names()),
            });
        };
        let mut column = Self {
            attribute: *attribute,
            name: field.name,
            prefix: WHOLE,
            mask: u32::MAX,
        };
        match suffix {
            None => {}
            Some(suffix) if column.is_address() => column.prefix = prefixes(suffix)?,
            Some(suffix) if column.attribute == Attribute::Mark => column.mask = mask(suffix)?,
            Some(_) => return Err(ByError::NoSuffix(column.name)),
        }
        Ok(column)
    }

    pub(super) fn is_address(&self) -> bool {
        matches!(
            self.attribute,
            Attribute::Src
                | Attribute::Dst
                | Attribute::ReplySrc
                | Attribute::ReplyDst
                | Attribute::NatSrc
                | Attribute::NatDst
        )
    }

    /// Appends the flow's value: 0 where it has none, else 1 and the value.
    pub(super) fn encode(&self, record: &Record<'_>, key: &mut Vec<u8>) {
        let flow = &record.flow;
        let at = key.len();
        key.push(1);
        let told = match self.attribute {
            Attribute::Family => put(key, [flow.family as u8]),
            Attribute::Protocol => put(key, [flow.protocol.0]),
            Attribute::State => state::encode(flow).is_some_and(|state| put(key, state)),
            Attribute::Class => put(key, [Class::of(flow) as u8]),
            Attribute::Status => flow
                .status()
                .is_some_and(|status| put(key, (status & Status::WORDED).bits().to_be_bytes())),
            Attribute::Src => self.address(flow, flow.orig.src, key),
            Attribute::Dst => self.address(flow, flow.orig.dst, key),
            Attribute::ReplySrc => replied(flow) && self.address(flow, flow.reply.src, key),
            Attribute::ReplyDst => replied(flow) && self.address(flow, flow.reply.dst, key),
            Attribute::Sport => port(flow, flow.orig.src_port, key),
            Attribute::Dport => port(flow, flow.orig.dst_port, key),
            Attribute::ReplySport => replied(flow) && port(flow, flow.reply.src_port, key),
            Attribute::ReplyDport => replied(flow) && port(flow, flow.reply.dst_port, key),
            Attribute::IcmpType => is_icmp(flow) && put(key, [flow.orig.icmp_type()]),
            Attribute::IcmpCode => is_icmp(flow) && put(key, [flow.orig.icmp_code()]),
            Attribute::Nat => flow.status().is_some_and(|status| {
                let bits = status & (Status::SRC_NAT | Status::DST_NAT);
                put(key, bits.bits().to_be_bytes())
            }),
            Attribute::NatSrc => {
                flow.is_src_nat() == Some(true)
                    && replied(flow)
                    && self.address(flow, flow.reply.dst, key)
            }
            Attribute::NatDst => {
                flow.is_dst_nat() == Some(true)
                    && replied(flow)
                    && self.address(flow, flow.reply.src, key)
            }
            Attribute::Mark => {
                flow.present.contains(Present::MARK)
                    && put(key, (flow.mark & self.mask).to_be_bytes())
            }
            Attribute::Zone => {
                flow.zone_orig == flow.zone_reply && put(key, flow.zone_orig.to_be_bytes())
            }
            Attribute::OrigZone => put(key, flow.zone_orig.to_be_bytes()),
            Attribute::ReplyZone => put(key, flow.zone_reply.to_be_bytes()),
            Attribute::Label => record
                .extra
                .labels
                .is_some_and(|labels| put(key, labels.to_be_bytes())),
            Attribute::Helper => record.extra.helper.is_some_and(|name| text(name, key)),
        };
        if !told {
            key.truncate(at);
            key.push(0);
        }
    }

    fn address(&self, flow: &Flow, address: [u8; 16], key: &mut Vec<u8>) -> bool {
        let bits = u128::from_be_bytes(address);
        match flow.family {
            Family::Ipv4 => {
                let [a, b, c, d, ..] = cut(bits, self.prefix.0).to_be_bytes();
                put(key, [Family::Ipv4 as u8, a, b, c, d])
            }
            Family::Ipv6 => {
                key.push(Family::Ipv6 as u8);
                put(key, cut(bits, self.prefix.1).to_be_bytes())
            }
        }
    }

    /// Reads what [`encode`](Self::encode) appended.
    pub(super) fn decode(&self, key: &mut &[u8]) -> Cell {
        if take::<1>(key) == [0] {
            return Cell::Absent;
        }
        match self.attribute {
            Attribute::Family => {
                let [number] = take(key);
                let name = Family::from_number(number).map_or("?", Family::name);
                Cell::Text(name.to_owned())
            }
            Attribute::Protocol => Cell::Text(Protocol(take::<1>(key)[0]).to_string()),
            Attribute::State => Cell::Text(state::decode(take(key))),
            Attribute::Helper => {
                let [length] = take(key);
                let (text, rest) = key.split_at(usize::from(length).min(key.len()));
                *key = rest;
                Cell::Text(String::from_utf8_lossy(text).into_owned())
            }
            Attribute::Class => {
                let [number] = take(key);
                let class = Class::ALL.into_iter().find(|one| *one as u8 == number);
                Cell::Text(class.unwrap_or(Class::Other).name().to_owned())
            }
            Attribute::Status => Cell::Text(words(Status::from_bits_retain(u32::from_be_bytes(
                take(key),
            )))),
            Attribute::Nat => {
                let bits = Status::from_bits_retain(u32::from_be_bytes(take(key)));
                let name = match (
                    bits.contains(Status::SRC_NAT),
                    bits.contains(Status::DST_NAT),
                ) {
                    (false, false) => "none",
                    (true, false) => "src",
                    (false, true) => "dst",
                    (true, true) => "src+dst",
                };
                Cell::Text(name.to_owned())
            }
            Attribute::Src
            | Attribute::Dst
            | Attribute::ReplySrc
            | Attribute::ReplyDst
            | Attribute::NatSrc
            | Attribute::NatDst => Cell::Text(self.shown_address(key)),
            Attribute::Sport
            | Attribute::Dport
            | Attribute::ReplySport
            | Attribute::ReplyDport
            | Attribute::Zone
            | Attribute::OrigZone
            | Attribute::ReplyZone => Cell::Number(u16::from_be_bytes(take(key)).into()),
            Attribute::IcmpType | Attribute::IcmpCode => Cell::Number(take::<1>(key)[0].into()),
            Attribute::Mark => Cell::Number(u32::from_be_bytes(take(key))),
            Attribute::Label => {
                let labels = u128::from_be_bytes(take(key));
                let numbers = (0..u128::BITS).filter(|number| labels & (1 << number) != 0);
                let numbers: Vec<_> = numbers.map(|number| number.to_string()).collect();
                Cell::Text(if numbers.is_empty() {
                    "none".to_owned()
                } else {
                    numbers.join("+")
                })
            }
        }
    }

    /// The value as a match table has it, where that means this value and no other.
    pub(super) fn term(&self, value: &Cell) -> Option<String> {
        let text = match value {
            Cell::Absent => return None,
            Cell::Number(mark) if self.attribute == Attribute::Mark => {
                format!("{mark}/{:#x}", self.mask)
            }
            Cell::Number(number) => number.to_string(),
            Cell::Text(text) => text.clone(),
        };
        let is_exact = match self.attribute {
            Attribute::Class | Attribute::Status | Attribute::Label => false,
            // `src` also takes what is translated in both directions.
            Attribute::Nat => text == "none",
            Attribute::State | Attribute::Helper => text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)),
            _ => true,
        };
        is_exact.then_some(text)
    }

    fn shown_address(&self, key: &mut &[u8]) -> String {
        let (address, prefix, whole): (IpAddr, u8, u8) = if take::<1>(key) == [Family::Ipv4 as u8] {
            (Ipv4Addr::from(take::<4>(key)).into(), self.prefix.0, 32)
        } else {
            (Ipv6Addr::from(take::<16>(key)).into(), self.prefix.1, 128)
        };
        if prefix == whole {
            address.to_string()
        } else {
            format!("{address}/{prefix}")
        }
    }

    /// Appends that there is no value where a group of flows leaves it out.
    pub(super) fn encode_told(&self, record: &Record<'_>, untold: Untold, key: &mut Vec<u8>) {
        let field = match self.attribute {
            Attribute::Src => Untold::SRC,
            Attribute::Dst => Untold::DST,
            Attribute::Dport => Untold::DPORT,
            _ => Untold::empty(),
        };
        if untold.intersects(field) {
            key.push(0);
        } else {
            self.encode(record, key);
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if self.is_address() && self.prefix != WHOLE {
            write!(f, "/{}", self.prefix.0)?;
            if self.prefix.1 != PREFIX6 {
                write!(f, "/{}", self.prefix.1)?;
            }
        }
        if self.mask != u32::MAX {
            write!(f, "/{:#x}", self.mask)?;
        }
        Ok(())
    }
}

fn prefixes(suffix: &str) -> Result<(u8, u8), ByError> {
    let wrong = || ByError::Prefix(format!("/{suffix}"));
    let number = |text: &str, most: u8| -> Result<u8, ByError> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let length = text.parse().ok().filter(|length| digits && *length <= most);
        length.ok_or_else(wrong)
    };
    match suffix.split_once('/') {
        Some((v4, v6)) => Ok((number(v4, 32)?, number(v6, 128)?)),
        None => Ok((number(suffix, 32)?, PREFIX6)),
    }
}

fn mask(suffix: &str) -> Result<u32, ByError> {
    let parsed = match suffix.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => suffix.parse(),
    };
    parsed.map_err(|_| ByError::Mask(format!("/{suffix}")))
}

fn words(status: Status) -> String {
    let words: Vec<_> = STATUS_WORDS
        .iter()
        .filter(|(word, _)| word.holds(status))
        .map(|(_, name)| *name)
        .collect();
    words.join("+")
}

fn put<const N: usize>(key: &mut Vec<u8>, bytes: [u8; N]) -> bool {
    key.extend_from_slice(&bytes);
    true
}

/// Text of at most 255 bytes; names of helpers are far shorter.
fn text(text: &str, key: &mut Vec<u8>) -> bool {
    let bytes = &text.as_bytes()[..text.len().min(255)];
    key.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    key.extend_from_slice(bytes);
    true
}

fn port(flow: &Flow, port: u16, key: &mut Vec<u8>) -> bool {
    flow.protocol.has_ports() && put(key, port.to_be_bytes())
}

fn replied(flow: &Flow) -> bool {
    flow.present.contains(Present::REPLY)
}

fn is_icmp(flow: &Flow) -> bool {
    matches!(flow.protocol, Protocol::ICMP | Protocol::ICMPV6)
}

/// The first bytes of a key that this module made; zeros past its end.
fn take<const N: usize>(key: &mut &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    let (first, rest) = key.split_at(N.min(key.len()));
    bytes[..first.len()].copy_from_slice(first);
    *key = rest;
    bytes
}
