//! What the values of options say: names, numbers and addresses, as the tool reads them.

use std::net::{IpAddr, Ipv4Addr};

use super::line::{Events, Output, UsageError};
use super::number::whole;
use super::options::Given;
use crate::flow::{Protocol, Status};

/// Whether a word out of place looks like the value of an option.
pub(super) fn is_value(word: &str) -> bool {
    let plain = word.split('/').next().unwrap_or_default();
    plain.parse::<IpAddr>().is_ok()
        || word
            .split(['-', ','])
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

pub(super) const STATUS: [(&str, Status); 7] = [
    ("ASSURED", Status::ASSURED),
    ("SEEN_REPLY", Status::SEEN_REPLY),
    ("UNSET", Status::empty()),
    ("FIXED_TIMEOUT", Status::FIXED_TIMEOUT),
    ("EXPECTED", Status::EXPECTED),
    ("OFFLOAD", Status::OFFLOAD),
    ("HW_OFFLOAD", Status::HW_OFFLOAD),
];

/// Whether a name starts with a word, whatever the case.
pub(super) fn starts(name: &str, word: &str) -> bool {
    name.get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word))
}

pub(super) fn event(word: &str) -> Result<Events, UsageError> {
    let all = [
        ("ALL", Events::all()),
        ("NEW", Events::NEW),
        ("UPDATES", Events::UPDATE),
        ("DESTROYED", Events::DESTROY),
    ];
    all.iter()
        .find(|(name, _)| !word.is_empty() && starts(name, word))
        .map(|(_, events)| *events)
        .ok_or_else(|| UsageError::new(format!("Bad parameter `{word}'")))
}

pub(super) fn output(word: &str) -> Result<Output, UsageError> {
    let all = [
        ("xml", Output::XML),
        ("extended", Output::EXTENDED),
        ("timestamp", Output::TIMESTAMP),
        ("id", Output::ID),
        ("ktimestamp", Output::KTIMESTAMP),
        ("labels", Output::LABELS),
        ("userspace", Output::USERSPACE),
        ("save", Output::SAVE),
    ];
    all.iter()
        .find(|(name, _)| !word.is_empty() && starts(name, word))
        .map(|(_, output)| *output)
        .ok_or_else(|| UsageError::new(format!("Bad parameter `{word}'")))
}

pub(super) fn labels(value: &str) -> impl Iterator<Item = String> + '_ {
    value.split(',').map(str::to_owned)
}

pub(super) fn protocol(value: &str) -> Result<Protocol, UsageError> {
    Protocol::from_name_alone(value)
        .or_else(|| whole(value, 255).map(|number| Protocol(low_byte(number))))
        .ok_or_else(|| UsageError::new(format!("`{value}' unsupported protocol")))
}

pub(super) fn number(option: Given, value: &str, max: u64) -> Result<u64, UsageError> {
    whole(value, max).ok_or_else(|| UsageError::unexpected(value, option))
}

/// Address and port of `1.2.3.4:80` or `[2001:db8::1]:80`; an address alone has no port.
pub(super) fn split_port(word: &str) -> Result<(&str, Option<u16>), UsageError> {
    let (address, port) = if let Some(rest) = word.strip_prefix('[') {
        let (address, rest) = rest
            .split_once(']')
            .ok_or_else(|| UsageError::new("No closing ']' around IPv6 address"))?;
        if address.is_empty() {
            return Err(UsageError::new("No IPv6 address specified"));
        }
        (address, rest.strip_prefix(':'))
    } else if word.matches(':').count() == 1 {
        word.split_once(':')
            .map_or((word, None), |(address, port)| (address, Some(port)))
    } else {
        (word, None)
    };
    let Some(port) = port else {
        return Ok((address, None));
    };
    if port.is_empty() {
        return Err(UsageError::new("No port specified after `:'"));
    }
    let plain = port.bytes().all(|b| b.is_ascii_digit());
    match port.parse() {
        Ok(number) if plain => Ok((address, Some(number))),
        _ => Err(UsageError::new(format!("Invalid port `{port}'"))),
    }
}

/// So many bits set at the start.
pub(super) fn prefix(length: u32) -> [u8; 16] {
    let bits = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    bits.to_be_bytes()
}

/// What C's `inet_aton` makes of a text: one to four numbers, the last filling what is left.
pub(super) fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.split('.').collect();
    let (last, first) = parts.split_last()?;
    if first.len() > 3 {
        return None;
    }
    let mut address = 0_u64;
    for part in first {
        address = address << 8 | whole(part, 255)?;
    }
    let left = 8 * (4 - u32::try_from(first.len()).ok()?);
    let last = whole(last, (1_u64 << left) - 1)?;
    Some(Ipv4Addr::from(u32::try_from(address << left | last).ok()?))
}

pub(super) fn low(number: u64) -> u32 {
    u32::try_from(number).expect("checked to be within 32 bits")
}

pub(super) fn port(number: u64) -> u16 {
    u16::try_from(number).expect("checked to be within 16 bits")
}

pub(super) fn low_byte(number: u64) -> u8 {
    u8::try_from(number).expect("checked to be within 8 bits")
}
