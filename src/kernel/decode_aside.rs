//! What only the `conntrack` tool's own lines need of a message.

use super::attribute::{self, Attributes};
use super::message::{HEADER, NFGENMSG};
use crate::conntrack::print::Aside;

/// Reads it out of a whole message, header included; what is not there, or cannot be read, is left
/// out.
#[must_use]
pub fn aside(message: &[u8]) -> Aside {
    let mut aside = Aside::default();
    let attributes = message.get(HEADER + NFGENMSG..).unwrap_or(&[]);
    for (number, payload) in Attributes::new(attributes).filter_map(Result::ok) {
        match number {
            attribute::USE => aside.uses = payload.first_chunk().copied().map(u32::from_be_bytes),
            attribute::TIMESTAMP_EVENT => aside.event_ns = be64(payload),
            attribute::TIMESTAMP => {
                aside.stop_ns = Attributes::new(payload)
                    .filter_map(Result::ok)
                    .find(|(number, _)| *number == attribute::timestamp::STOP)
                    .and_then(|(_, stop)| be64(stop));
            }
            _ => {}
        }
    }
    aside
}

fn be64(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().copied().map(u64::from_be_bytes)
}
