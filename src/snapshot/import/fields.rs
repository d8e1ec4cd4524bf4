//! The fields of one entry, whichever form they stood in.

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::flow::{Flow, OwnedExtra, Protocol, Status};
use crate::rebuild::Translation;
use crate::snapshot::record::read_flow;

/// The direction that a field belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Side {
    #[default]
    Original,
    Reply,
}

/// An entry as a line of a snapshot has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    line: Map<String, Value>,
    protocol: Option<Protocol>,
    status: Status,
    /// It says that no reply was seen, or does not speak of replies otherwise.
    pub(super) unreplied: bool,
    pub(super) has_named_labels: bool,
}

impl Fields {
    /// The protocol, by number or name.
    pub(super) fn protocol(&mut self, text: &str) -> Result<(), String> {
        let protocol = (text.parse().ok().map(Protocol))
            .or_else(|| Protocol::from_name(text))
            .ok_or_else(|| format!("`{text}` is no protocol"))?;
        self.protocol = Some(protocol);
        self.line
            .insert("protocol".to_owned(), protocol.to_string().into());
        Ok(())
    }

    pub(super) fn is(&self, protocol: Protocol) -> bool {
        self.protocol == Some(protocol)
    }

    pub(super) fn is_icmp(&self) -> bool {
        self.is(Protocol::ICMP) || self.is(Protocol::ICMPV6)
    }

    pub(super) fn protocol_has_ports(&self) -> bool {
        self.protocol.is_some_and(Protocol::has_ports)
    }

    pub(super) fn has(&self, side: Side, name: &str) -> bool {
        self.line.contains_key(&sided(side, name))
    }

    /// An address.
    pub(super) fn address(&mut self, side: Side, name: &str, text: &str) -> Result<(), String> {
        let address: IpAddr = text
            .parse()
            .map_err(|_| format!("`{text}` is no address"))?;
        let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        self.line.insert("family".to_owned(), family.into());
        self.line
            .insert(sided(side, name), address.to_string().into());
        Ok(())
    }

    /// A number of one direction, decimal or `0x…`.
    pub(super) fn number(&mut self, side: Side, name: &str, text: &str) -> Result<(), String> {
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        let number = number.map_err(|_| format!("`{name}`: `{text}` is no number"))?;
        self.line.insert(sided(side, name), number.into());
        Ok(())
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.line.insert(name.to_owned(), text.into());
    }

    pub(super) fn status(&mut self, bits: Status) {
        self.status |= bits;
    }

    /// Labels by number; those by name are none that can be told.
    pub(super) fn labels(&mut self, text: &str) {
        let numbers: Option<Vec<u8>> = text.split(',').map(|label| label.parse().ok()).collect();
        match numbers {
            Some(numbers) => drop(self.line.insert("labels".to_owned(), numbers.into())),
            None => self.has_named_labels = true,
        }
    }

    /// The entry.
    pub(super) fn flow(&self) -> Result<(Flow, OwnedExtra), String> {
        for needed in ["protocol", "src", "dst"] {
            if !self.line.contains_key(needed) {
                return Err(format!("`{needed}` is missing"));
            }
        }
        let mut line = self.line.clone();
        if !line.contains_key("reply_src") || !line.contains_key("reply_dst") {
            line.insert("reply".to_owned(), false.into());
        }
        // A counter of one kind alone is none.
        for [packets, bytes] in [["packets", "bytes"], ["reply_packets", "reply_bytes"]] {
            if line.contains_key(packets) != line.contains_key(bytes) {
                line.remove(packets);
                line.remove(bytes);
            }
        }
        let text = serde_json::to_vec(&line).map_err(|error| error.to_string())?;
        let (mut flow, extra) = read_flow(&text).map_err(|error| said(&error.to_string()))?;
        let mut status = self.status | Status::CONFIRMED | Translation::of(&flow).status();
        status.set(Status::SEEN_REPLY, !self.unreplied);
        status.set(Status::HELPER, extra.borrow().helper.is_some());
        flow.status = status;
        flow.present |= crate::flow::Present::STATUS;
        Ok((flow, extra))
    }
}

/// The error without the place in a line that nobody sees.
fn said(error: &str) -> String {
    error
        .split_once(" at line 1 ")
        .map_or(error, |(what, _)| what)
        .to_owned()
}

/// Names of the reply direction, as lines of snapshots have them.
fn sided(side: Side, name: &str) -> String {
    match side {
        Side::Original => name.to_owned(),
        Side::Reply => format!("reply_{name}"),
    }
}
