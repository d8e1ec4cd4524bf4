//! IP protocol numbers and protocol states, as the kernel numbers and names them.

use std::fmt;

/// An IP protocol number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// DCCP.
    pub const DCCP: Self = Self(33);
    /// GRE.
    pub const GRE: Self = Self(47);
    /// `ICMPv6`.
    pub const ICMPV6: Self = Self(58);
    /// SCTP.
    pub const SCTP: Self = Self(132);
    /// UDP-Lite.
    pub const UDPLITE: Self = Self(136);

    /// The name of a protocol that conntrack treats by itself, or a common other one.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        NAMES
            .iter()
            .find(|(number, _)| *number == self.0)
            .map(|(_, name)| *name)
    }

    /// Finds a protocol by name (any case) or decimal number.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if let Ok(number) = name.parse() {
            return Some(Self(number));
        }
        Self::from_name_alone(name)
    }

    /// Finds a protocol by name (any case).
    #[must_use]
    pub fn from_name_alone(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, n)| n.eq_ignore_ascii_case(name))
            .map(|(number, _)| Self(*number))
    }

    /// Whether the tuple carries ports.
    #[must_use]
    pub fn has_ports(self) -> bool {
        matches!(
            self,
            Self::TCP | Self::UDP | Self::UDPLITE | Self::SCTP | Self::DCCP
        )
    }

    /// Whether entries have a protocol state.
    #[must_use]
    pub fn has_states(self) -> bool {
        matches!(self, Self::TCP | Self::SCTP | Self::DCCP)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => self.0.fmt(f),
        }
    }
}

/// Protocol names, by number.
pub const NAMES: [(u8, &str); 17] = [
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipip"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (41, "ipv6"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "icmpv6"),
    (89, "ospf"),
    (94, "ipip-kip"),
    (103, "pim"),
    (112, "vrrp"),
    (132, "sctp"),
    (136, "udplite"),
];

/// TCP states (`enum tcp_conntrack`).
pub mod tcp {
    /// No packet yet.
    pub const NONE: u8 = 0;
    /// SYN seen.
    pub const SYN_SENT: u8 = 1;
    /// SYN-ACK seen.
    pub const SYN_RECV: u8 = 2;
    /// Handshake complete.
    pub const ESTABLISHED: u8 = 3;
    /// One FIN seen.
    pub const FIN_WAIT: u8 = 4;
    /// The FIN was acknowledged; the other side may go on sending.
    pub const CLOSE_WAIT: u8 = 5;
    /// Both FINs seen.
    pub const LAST_ACK: u8 = 6;
    /// Both FINs acknowledged.
    pub const TIME_WAIT: u8 = 7;
    /// RST seen.
    pub const CLOSE: u8 = 8;
    /// SYN seen from both sides (simultaneous open).
    pub const SYN_SENT2: u8 = 9;
}

const TCP_STATES: [&str; 10] = [
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
];

const SCTP_STATES: [&str; 9] = [
    "NONE",
    "CLOSED",
    "COOKIE_WAIT",
    "COOKIE_ECHOED",
    "ESTABLISHED",
    "SHUTDOWN_SENT",
    "SHUTDOWN_RECD",
    "SHUTDOWN_ACK_SENT",
    "HEARTBEAT_SENT",
];

const DCCP_STATES: [&str; 10] = [
    "NONE", "REQUEST", "RESPOND", "PARTOPEN", "OPEN", "CLOSEREQ", "CLOSING", "TIMEWAIT", "IGNORE",
    "INVALID",
];

/// The state names of a protocol, indexed by state number; empty for protocols without states.
#[must_use]
pub fn state_names(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::TCP => &TCP_STATES,
        Protocol::SCTP => &SCTP_STATES,
        Protocol::DCCP => &DCCP_STATES,
        _ => &[],
    }
}

/// The name of a state.
#[must_use]
pub fn state_name(protocol: Protocol, state: u8) -> Option<&'static str> {
    state_names(protocol).get(usize::from(state)).copied()
}

/// The number of a state of one protocol, by name in any case, `-` for `_` allowed.
#[must_use]
pub fn state_number(protocol: Protocol, name: &str) -> Option<u8> {
    let name = name.replace('-', "_");
    state_names(protocol)
        .iter()
        .position(|n| n.eq_ignore_ascii_case(&name))
        .and_then(|index| u8::try_from(index).ok())
}

/// The ICMP type of the answer to a request, as the kernel's `invmap` has it; a type without an
/// answer stays as it is.
#[must_use]
pub fn icmp_answer(protocol: Protocol, request: u8) -> u8 {
    match (protocol, request) {
        (Protocol::ICMP, 0) => 8,
        (Protocol::ICMP, 8) => 0,
        (Protocol::ICMP, 13) => 14,
        (Protocol::ICMP, 14) => 13,
        (Protocol::ICMP, 15) => 16,
        (Protocol::ICMP, 16) => 15,
        (Protocol::ICMP, 17) => 18,
        (Protocol::ICMP, 18) => 17,
        (Protocol::ICMPV6, 128) => 129,
        (Protocol::ICMPV6, 129) => 128,
        (Protocol::ICMPV6, 139) => 140,
        (Protocol::ICMPV6, 140) => 139,
        (_, other) => other,
    }
}
