//! One expectation from a netlink message, borrowed.

use super::attribute::{Attributes, Malformed, expect};
use super::decode::{DecodeError, be16, be32, text};
use super::decode_tuple::{self, Direction};
use super::message::{HEADER, Message, NFGENMSG};
use crate::flow::{Expectation, Family, Protocol, Tuple};

/// Decodes what a dump of expectations or an event of one delivers.
///
/// # Errors
/// Where a known attribute does not hold what it should, or a tuple is missing.
pub(crate) fn expectation<'a>(message: &Message<'a>) -> Result<Expectation<'a>, DecodeError> {
    let family = *message.bytes.get(HEADER).ok_or(DecodeError::Truncated)?;
    let attributes = message
        .bytes
        .get(HEADER + NFGENMSG..)
        .ok_or(DecodeError::Truncated)?;
    let family = Family::from_number(family).ok_or(DecodeError::Family(family))?;
    let (mut expected, mut mask, mut master): (Option<Direction>, _, Option<Direction>) =
        (None, None, None);
    let mut one = Expectation {
        family,
        protocol: Protocol(0),
        tuple: Tuple::default(),
        mask: Tuple::default(),
        master_protocol: Protocol(0),
        master: Tuple::default(),
        timeout: None,
        id: None,
        flags: None,
        class: None,
        helper: None,
        function: None,
        zone: 0,
    };
    for attribute in Attributes::new(attributes) {
        let (number, payload) = attribute.map_err(|Malformed| DecodeError::Malformed(0))?;
        let tuple = || decode_tuple::tuple(family, number, payload);
        match number {
            expect::TUPLE => expected = Some(tuple()?),
            expect::MASK => mask = Some(tuple()?.tuple),
            expect::MASTER => master = Some(tuple()?),
            expect::TIMEOUT => one.timeout = Some(be32(number, payload)?),
            expect::ID => one.id = Some(be32(number, payload)?),
            expect::FLAGS => one.flags = Some(be32(number, payload)?),
            expect::CLASS => one.class = Some(be32(number, payload)?),
            expect::ZONE => one.zone = be16(number, payload)?,
            expect::HELP_NAME => one.helper = Some(text(number, payload)?),
            expect::FN => one.function = Some(text(number, payload)?),
            _ => {}
        }
    }
    let (Some(expected), Some(mask), Some(master)) = (expected, mask, master) else {
        return Err(DecodeError::Tuple);
    };
    (one.protocol, one.tuple, one.mask) = (expected.protocol, expected.tuple, mask);
    (one.master_protocol, one.master) = (master.protocol, master.tuple);
    Ok(one)
}
