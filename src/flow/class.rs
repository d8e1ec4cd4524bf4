//! What an entry is to a table that fills up: five classes, of which every entry has one.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::protocol::{Protocol, tcp};
use super::{Flow, Status};

/// The class of an entry; the first that holds, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// In a flowtable: its packets pass by the table, and its timer says nothing.
    Offloaded,
    /// At least one end has said goodbye: the states that the kernel itself throws out early when
    /// the table is nearly full (`can_early_drop`), of TCP, SCTP and DCCP.
    Closing,
    /// No packet came back.
    Unreplied,
    /// Packets went both ways; not dropped early. These are what a full table is full of in earnest.
    Assured,
    /// Answered and not assured: short exchanges, and entries whose status is not known.
    Other,
}

impl Class {
    /// Every class, in the order of listings.
    pub const ALL: [Self; 5] = [
        Self::Assured,
        Self::Unreplied,
        Self::Closing,
        Self::Offloaded,
        Self::Other,
    ];

    /// The class of an entry.
    #[must_use]
    pub fn of(flow: &Flow) -> Self {
        if flow.is_offloaded() {
            return Self::Offloaded;
        }
        if is_closing(flow) {
            return Self::Closing;
        }
        match flow.status() {
            Some(status) if !status.contains(Status::SEEN_REPLY) => Self::Unreplied,
            Some(status) if status.contains(Status::ASSURED) => Self::Assured,
            _ => Self::Other,
        }
    }

    /// Its name, as options and documents spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Offloaded => "offloaded",
            Self::Closing => "closing",
            Self::Unreplied => "unreplied",
            Self::Assured => "assured",
            Self::Other => "other",
        }
    }

    /// The class of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// `tcp_can_early_drop`, `sctp_can_early_drop` and `dccp_can_early_drop` of the kernel.
fn is_closing(flow: &Flow) -> bool {
    let Some(state) = flow.state() else {
        return false;
    };
    match flow.protocol {
        Protocol::TCP => matches!(
            state,
            tcp::FIN_WAIT | tcp::CLOSE_WAIT | tcp::LAST_ACK | tcp::TIME_WAIT | tcp::CLOSE
        ),
        // SHUTDOWN_SENT, SHUTDOWN_RECD, SHUTDOWN_ACK_SENT; CLOSEREQ, CLOSING, TIMEWAIT.
        Protocol::SCTP | Protocol::DCCP => matches!(state, 5..=7),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Family, Present, Tuple};

    fn flow(protocol: Protocol, status: Status, state: Option<u8>) -> Flow {
        let mut flow = Flow::new(Family::Ipv4, protocol, Tuple::default());
        flow.status = status;
        flow.present = Present::STATUS;
        if let Some(state) = state {
            flow.present |= Present::STATE;
            flow.state = state;
        }
        flow
    }

    #[test]
    fn every_entry_has_the_first_class_that_holds() {
        let both = Status::SEEN_REPLY | Status::ASSURED;
        for (protocol, status, state, class) in [
            (Protocol::TCP, both, Some(tcp::ESTABLISHED), Class::Assured),
            (Protocol::TCP, both, Some(tcp::TIME_WAIT), Class::Closing),
            (Protocol::TCP, both, Some(tcp::CLOSE_WAIT), Class::Closing),
            (
                Protocol::TCP,
                Status::empty(),
                Some(tcp::SYN_SENT),
                Class::Unreplied,
            ),
            (
                Protocol::TCP,
                both | Status::OFFLOAD,
                None,
                Class::Offloaded,
            ),
            (Protocol::UDP, Status::SEEN_REPLY, None, Class::Other),
            (Protocol::UDP, both, None, Class::Assured),
            (Protocol::SCTP, both, Some(7), Class::Closing),
        ] {
            assert_eq!(Class::of(&flow(protocol, status, state)), class);
        }
        let unknown = Flow::new(Family::Ipv4, Protocol::UDP, Tuple::default());
        assert_eq!(Class::of(&unknown), Class::Other);
    }

    #[test]
    fn names_lead_back() {
        for class in Class::ALL {
            assert_eq!(Class::from_name(class.name()), Some(class));
        }
    }
}
