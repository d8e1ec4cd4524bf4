//! The values that match fields compare with, as policies and flags write them.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::leaf::{Leaf, LeafError, leaves, words};
use super::{AddressForm, Compression, Detail, GroupField, Mode, NatWord, PathWord, RunMode};
use crate::flow::status::StatusWord;
use crate::flow::{Family, Protocol, protocol};

/// An address, a prefix, or `@set`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressText {
    /// An address is a prefix of full length.
    Prefix(IpNet),
    /// A set's name, without `@`.
    Set(String),
}

impl Leaf for AddressText {
    const EXPECTED: &'static str = "an address, a prefix or \"@set\"";

    fn read(text: &str) -> Result<Self, LeafError> {
        match text.strip_prefix('@') {
            Some("") => Err(LeafError::invalid("`@` names no set")),
            Some(name) => Ok(Self::Set(name.to_owned())),
            None => Prefix::read(text).map(|prefix| Self::Prefix(prefix.0)),
        }
    }
}

/// An address or prefix without host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix(pub IpNet);

impl Leaf for Prefix {
    const EXPECTED: &'static str = "an address or a prefix";

    fn read(text: &str) -> Result<Self, LeafError> {
        let text = text.trim();
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.into()));
        }
        let prefix: IpNet = text
            .parse()
            .map_err(|_| LeafError::invalid(format!("`{text}` is no address and no prefix")))?;
        if prefix.trunc() == prefix {
            return Ok(Self(prefix));
        }
        Err(LeafError::invalid(format!(
            "`{text}` has bits set behind its prefix length; the network is `{}`",
            prefix.trunc()
        )))
    }
}

/// A number or an inclusive range `"low-high"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<T>(pub T, pub T);

fn range<T: std::str::FromStr + PartialOrd>(text: &str, what: &str) -> Result<Range<T>, LeafError> {
    let invalid = || LeafError::invalid(format!("`{text}` is no {what}"));
    let number = |text: &str| text.trim().parse::<T>().map_err(|_| invalid());
    let (low, high) = match text.split_once('-') {
        Some((low, high)) => (number(low)?, number(high)?),
        None => return Ok(Range(number(text)?, number(text)?)),
    };
    if low > high {
        return Err(LeafError::invalid(format!(
            "`{text}` is an empty range: it ends before it starts"
        )));
    }
    Ok(Range(low, high))
}

/// Ports, or GRE keys.
pub type PortRange = Range<u16>;
/// ICMP types or codes.
pub type ByteRange = Range<u8>;

impl Leaf for PortRange {
    const EXPECTED: &'static str = "a number from 0 to 65535 or a range as \"8000-8100\"";
    const INTEGERS: bool = true;

    fn read(text: &str) -> Result<Self, LeafError> {
        range(text, "number from 0 to 65535")
    }
}

impl Leaf for ByteRange {
    const EXPECTED: &'static str = "a number from 0 to 255 or a range as \"8-10\"";
    const INTEGERS: bool = true;

    fn read(text: &str) -> Result<Self, LeafError> {
        range(text, "number from 0 to 255")
    }
}

/// `value` or `value/mask`, decimal or `0x` hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What the mark must be.
    pub value: u32,
    /// Which of its bits are looked at.
    pub mask: u32,
}

impl Leaf for Mark {
    const EXPECTED: &'static str = "a mark as 16 or \"0x10/0xff\"";
    const INTEGERS: bool = true;

    fn read(text: &str) -> Result<Self, LeafError> {
        let number = |part: &str| {
            let part = part.trim();
            match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
                // from_str_radix takes a sign, which has no place after 0x.
                Some(digits) if !digits.starts_with(['+', '-']) => {
                    u32::from_str_radix(digits, 16).ok()
                }
                Some(_) => None,
                None => part.parse().ok(),
            }
            .ok_or_else(|| LeafError::invalid(format!("`{text}` is no mark of 32 bits")))
        };
        let (value, mask) = match text.split_once('/') {
            Some((value, mask)) => (number(value)?, number(mask)?),
            None => (number(text)?, u32::MAX),
        };
        if value & !mask != 0 {
            return Err(LeafError::invalid(format!(
                "`{text}` never matches: the value has bits outside the mask ({:#x})",
                value & !mask
            )));
        }
        Ok(Self { value, mask })
    }
}

/// A zone number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(pub u16);

impl Leaf for Zone {
    const EXPECTED: &'static str = "a zone from 0 to 65535";
    const INTEGERS: bool = true;

    fn read(text: &str) -> Result<Self, LeafError> {
        text.parse()
            .map(Self)
            .map_err(|_| LeafError::invalid(format!("`{text}` is no zone")))
    }
}

/// A label's bit number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(pub u8);

impl Leaf for Label {
    const EXPECTED: &'static str = "a label's bit number from 0 to 127";
    const INTEGERS: bool = true;

    fn read(text: &str) -> Result<Self, LeafError> {
        match text.parse() {
            Ok(bit @ 0..=127) => Ok(Self(bit)),
            _ => Err(LeafError::invalid(format!("`{text}` is no label"))),
        }
    }
}

/// The kernel's limit of a helper's name (`NF_CT_HELPER_NAME_LEN`), without the final zero.
const LONGEST_HELPER: usize = 15;

/// A conntrack helper's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperName(pub String);

impl Leaf for HelperName {
    const EXPECTED: &'static str = "a helper's name as \"ftp\"";

    fn read(text: &str) -> Result<Self, LeafError> {
        if text.is_empty() || text.len() > LONGEST_HELPER {
            return Err(LeafError::invalid(format!(
                "`{text}` is no helper: names have 1 to {LONGEST_HELPER} bytes"
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

const FAMILIES: &[&str] = &["ipv4", "ipv6"];

impl Leaf for Family {
    const EXPECTED: &'static str = "\"ipv4\" or \"ipv6\"";
    const WORDS: &'static [&'static str] = FAMILIES;

    fn read(text: &str) -> Result<Self, LeafError> {
        [Self::Ipv4, Self::Ipv6]
            .into_iter()
            .find(|family| family.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| LeafError::unknown::<Self>(text))
    }
}

const PROTOCOLS: &[&str] = &{
    let mut names = [""; protocol::NAMES.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = protocol::NAMES[index].1;
        index += 1;
    }
    names
};

impl Leaf for Protocol {
    const EXPECTED: &'static str = "a protocol's name or its number from 0 to 255";
    const WORDS: &'static [&'static str] = PROTOCOLS;
    const INTEGERS: bool = true;

    fn read(text: &str) -> Result<Self, LeafError> {
        let is_number = text.starts_with(['-', '+']) || text.bytes().all(|b| b.is_ascii_digit());
        match Self::from_name(text) {
            Some(protocol) => Ok(protocol),
            None if is_number => Err(LeafError::invalid(format!(
                "`{text}` is no protocol number"
            ))),
            None => Err(LeafError::unknown::<Self>(text)),
        }
    }
}

/// Protocols whose entries have states.
pub const STATEFUL: [Protocol; 3] = [Protocol::TCP, Protocol::SCTP, Protocol::DCCP];

/// A state's name, and every protocol's state that is called so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateName {
    /// As the kernel spells it.
    pub name: &'static str,
    /// Protocol and state number.
    pub states: Vec<(Protocol, u8)>,
}

const STATES: &[&str] = &[
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
    "CLOSED",
    "COOKIE_WAIT",
    "COOKIE_ECHOED",
    "SHUTDOWN_SENT",
    "SHUTDOWN_RECD",
    "SHUTDOWN_ACK_SENT",
    "HEARTBEAT_SENT",
    "REQUEST",
    "RESPOND",
    "PARTOPEN",
    "OPEN",
    "CLOSEREQ",
    "CLOSING",
    "TIMEWAIT",
    "IGNORE",
    "INVALID",
];

impl Leaf for StateName {
    const EXPECTED: &'static str = "a TCP, SCTP or DCCP state as \"TIME_WAIT\"";
    const WORDS: &'static [&'static str] = STATES;

    fn read(text: &str) -> Result<Self, LeafError> {
        let states: Vec<_> = STATEFUL
            .into_iter()
            .filter_map(|protocol| Some((protocol, protocol::state_number(protocol, text)?)))
            .collect();
        let name = states
            .first()
            .and_then(|(protocol, state)| protocol::state_name(*protocol, *state))
            .ok_or_else(|| LeafError::unknown::<Self>(text))?;
        Ok(Self { name, states })
    }
}

const STATUSES: &[&str] = &[
    "assured",
    "seen-reply",
    "unreplied",
    "src-nat",
    "dst-nat",
    "offload",
    "hw-offload",
    "fixed-timeout",
    "expected",
    "helper",
];

impl Leaf for StatusWord {
    const EXPECTED: &'static str = "a status as \"assured\"";
    const WORDS: &'static [&'static str] = STATUSES;

    fn read(text: &str) -> Result<Self, LeafError> {
        Self::from_name(text).ok_or_else(|| LeafError::unknown::<Self>(text))
    }
}

words!(NatWord, "\"src\", \"dst\", \"any\" or \"none\"",
    Src "src", Dst "dst", Any "any", None "none");
words!(PathWord, "\"forward\", \"input\" or \"output\"",
    Forward "forward", Input "input", Output "output");
words!(RunMode, "\"act\" or \"report\"", Act "act", Report "report");
words!(Mode, "\"enforce\", \"at-least\", \"at-most\" or \"observe\"",
    Enforce "enforce", AtLeast "at-least", AtMost "at-most", Observe "observe");
words!(Compression, "\"zstd\", \"gzip\" or \"none\"", Zstd "zstd", Gzip "gzip", None "none");
words!(Detail, "\"aggregate\" or \"full\"", Aggregate "aggregate", Full "full");
words!(
    AddressForm,
    "\"plain\", \"prefix\" or \"pseudonym\"",
    Plain "plain", Prefix "prefix", Pseudonym "pseudonym",
);
words!(GroupField, "a field that makes groups",
    Src "src", Dst "dst", ReplySrc "reply-src", ReplyDst "reply-dst",
    Dport "dport", Mark "mark", Zone "zone");

/// What a rule does, without its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionWord {
    /// Shorten the remaining time.
    Expire,
    /// Remove the entry.
    Delete,
    /// Count only.
    Report,
}

words!(ActionWord, "\"expire\", \"delete\" or \"report\"",
    Expire "expire", Delete "delete", Report "report");

impl fmt::Display for ActionWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

leaves!(
    AddressText,
    Prefix,
    PortRange,
    ByteRange,
    Mark,
    Zone,
    Label,
    HelperName,
    Family,
    Protocol,
    StateName,
    StatusWord,
    NatWord,
    PathWord,
    RunMode,
    Mode,
    AddressForm,
    Compression,
    Detail,
    GroupField,
    ActionWord,
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::status::STATUS_WORDS;

    #[test]
    fn every_state_and_status_that_the_flow_knows_has_a_word() {
        for protocol in STATEFUL {
            for name in protocol::state_names(protocol) {
                assert!(STATES.contains(name), "{name}");
            }
        }
        for name in STATES {
            assert!(StateName::read(name).is_ok(), "{name}");
        }
        assert!(
            STATUS_WORDS
                .iter()
                .map(|(_, name)| *name)
                .eq(STATUSES.iter().copied())
        );
    }

    #[test]
    fn states_are_read_in_any_case_with_hyphens() {
        let state = StateName::read("time-wait").unwrap();
        assert_eq!(state.states, [(Protocol::TCP, 7)]);
        assert_eq!(StateName::read("Established").unwrap().states.len(), 2);
    }

    #[test]
    fn a_mark_with_value_bits_outside_the_mask_is_refused() {
        assert_eq!(
            Mark::read("0x10/0xff"),
            Ok(Mark {
                value: 0x10,
                mask: 0xff
            })
        );
        assert_eq!(
            Mark::read("16"),
            Ok(Mark {
                value: 16,
                mask: u32::MAX
            })
        );
        for text in ["0x100/0xff", "0x1_0", "", "/", "-1", "0x-1", "4294967296"] {
            assert!(Mark::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_with_host_bits_is_refused_and_names_the_network() {
        assert!(Prefix::read("10.0.0.0/8").is_ok());
        let error = Prefix::read("10.0.0.1/8").unwrap_err().to_string();
        assert!(error.contains("10.0.0.0/8"), "{error}");
    }

    #[test]
    fn ranges_are_inclusive_and_never_empty() {
        assert_eq!(PortRange::read("8000-8100"), Ok(Range(8000, 8100)));
        assert_eq!(PortRange::read("22"), Ok(Range(22, 22)));
        for text in ["70000", "2-1", "-1", "1-", "http"] {
            assert!(PortRange::read(text).is_err(), "{text}");
        }
    }
}
