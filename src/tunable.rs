//! The known tunables: what they are called, what they may hold, and what the kernel does with
//! values that it should refuse.
//!
//! The kernel takes 0 and negative timeouts (new entries then expire at once) and a `max` of 0 (no
//! limit); conntidy refuses them itself. Ranges were tried on 6.18.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::flow::{Flow, Protocol, Status, protocol::tcp};

/// Timeouts above this are refused by kernels with `HZ=1000`: `INT_MAX / HZ` seconds.
pub const LARGEST_TIMEOUT: u64 = 2_147_483;

/// The kernel's fixed timeout of `SYN_SENT2`, seconds; it has no sysctl.
pub const SYN_SENT2_TIMEOUT: u32 = 120;

/// Bytes of one entry: 256 of the object and 128 of extensions.
pub const BYTES_PER_ENTRY: u64 = 384;

/// Bytes of one hash bucket.
pub const BYTES_PER_BUCKET: u64 = 8;

/// The kernel rounds bucket counts up to a multiple of this.
pub const BUCKET_STEP: u64 = 512;

/// What a tunable's number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Entries, buckets, retransmissions.
    Count,
    /// 0 or 1.
    Switch,
    /// A small enumeration.
    Choice,
    /// Bytes.
    Bytes,
}

/// Where a tunable can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// One value for the machine, writable in the initial network namespace alone.
    Machine,
    /// A value a network namespace.
    Namespace,
}

/// The policy section in which a tunable is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// `[table]`, under this key.
    Table(&'static str),
    /// `[timeouts]`, under this dotted key.
    Timeouts(&'static str),
    /// `[sysctl]`, under its own name.
    Sysctl,
    /// Nowhere: read-only.
    ReadOnly,
}

/// One known tunable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunable {
    /// Name under `net.netfilter`.
    pub name: &'static str,
    /// Unit of its number.
    pub unit: Unit,
    /// Smallest value that does what it says.
    pub min: u64,
    /// Largest value that every kernel takes.
    pub max: u64,
    /// Where it can be written.
    pub scope: Scope,
    /// Where a policy declares it.
    pub home: Home,
}

const fn timeout(name: &'static str, key: &'static str) -> Tunable {
    Tunable {
        name,
        unit: Unit::Seconds,
        min: 1,
        max: LARGEST_TIMEOUT,
        scope: Scope::Namespace,
        home: Home::Timeouts(key),
    }
}

const fn other(name: &'static str, unit: Unit, min: u64, max: u64) -> Tunable {
    Tunable {
        name,
        unit,
        min,
        max,
        scope: Scope::Namespace,
        home: Home::Sysctl,
    }
}

const fn table(name: &'static str, key: &'static str, min: u64, max: u64) -> Tunable {
    Tunable {
        name,
        unit: Unit::Count,
        min,
        max,
        scope: Scope::Machine,
        home: Home::Table(key),
    }
}

/// Every known tunable.
pub const TUNABLES: &[Tunable] = &[
    table("nf_conntrack_max", "max", 1, i32::MAX as u64),
    table("nf_conntrack_buckets", "buckets", 1, (1 << 28) - 1),
    table("nf_conntrack_expect_max", "expect-max", 1, i32::MAX as u64),
    Tunable {
        name: "nf_conntrack_count",
        unit: Unit::Count,
        min: 0,
        max: u64::MAX,
        scope: Scope::Namespace,
        home: Home::ReadOnly,
    },
    timeout("nf_conntrack_generic_timeout", "generic"),
    timeout("nf_conntrack_icmp_timeout", "icmp"),
    timeout("nf_conntrack_icmpv6_timeout", "icmpv6"),
    timeout("nf_conntrack_tcp_timeout_syn_sent", "tcp.syn-sent"),
    timeout("nf_conntrack_tcp_timeout_syn_recv", "tcp.syn-recv"),
    timeout("nf_conntrack_tcp_timeout_established", "tcp.established"),
    timeout("nf_conntrack_tcp_timeout_fin_wait", "tcp.fin-wait"),
    timeout("nf_conntrack_tcp_timeout_close_wait", "tcp.close-wait"),
    timeout("nf_conntrack_tcp_timeout_last_ack", "tcp.last-ack"),
    timeout("nf_conntrack_tcp_timeout_time_wait", "tcp.time-wait"),
    timeout("nf_conntrack_tcp_timeout_close", "tcp.close"),
    timeout("nf_conntrack_tcp_timeout_max_retrans", "tcp.max-retrans"),
    timeout(
        "nf_conntrack_tcp_timeout_unacknowledged",
        "tcp.unacknowledged",
    ),
    timeout("nf_conntrack_udp_timeout", "udp.unreplied"),
    timeout("nf_conntrack_udp_timeout_stream", "udp.stream"),
    timeout("nf_conntrack_gre_timeout", "gre.unreplied"),
    timeout("nf_conntrack_gre_timeout_stream", "gre.stream"),
    timeout("nf_conntrack_sctp_timeout_closed", "sctp.closed"),
    timeout("nf_conntrack_sctp_timeout_cookie_wait", "sctp.cookie-wait"),
    timeout(
        "nf_conntrack_sctp_timeout_cookie_echoed",
        "sctp.cookie-echoed",
    ),
    timeout("nf_conntrack_sctp_timeout_established", "sctp.established"),
    timeout(
        "nf_conntrack_sctp_timeout_shutdown_sent",
        "sctp.shutdown-sent",
    ),
    timeout(
        "nf_conntrack_sctp_timeout_shutdown_recd",
        "sctp.shutdown-recd",
    ),
    timeout(
        "nf_conntrack_sctp_timeout_shutdown_ack_sent",
        "sctp.shutdown-ack-sent",
    ),
    timeout(
        "nf_conntrack_sctp_timeout_heartbeat_sent",
        "sctp.heartbeat-sent",
    ),
    timeout("nf_conntrack_dccp_timeout_request", "dccp.request"),
    timeout("nf_conntrack_dccp_timeout_respond", "dccp.respond"),
    timeout("nf_conntrack_dccp_timeout_partopen", "dccp.partopen"),
    timeout("nf_conntrack_dccp_timeout_open", "dccp.open"),
    timeout("nf_conntrack_dccp_timeout_closereq", "dccp.closereq"),
    timeout("nf_conntrack_dccp_timeout_closing", "dccp.closing"),
    timeout("nf_conntrack_dccp_timeout_timewait", "dccp.timewait"),
    other("nf_conntrack_acct", Unit::Switch, 0, 1),
    other("nf_conntrack_checksum", Unit::Switch, 0, 1),
    other("nf_conntrack_dccp_loose", Unit::Switch, 0, 1),
    other("nf_conntrack_events", Unit::Choice, 0, 2),
    other(
        "nf_conntrack_frag6_high_thresh",
        Unit::Bytes,
        0,
        u32::MAX as u64,
    ),
    other(
        "nf_conntrack_frag6_low_thresh",
        Unit::Bytes,
        0,
        u32::MAX as u64,
    ),
    other(
        "nf_conntrack_frag6_timeout",
        Unit::Seconds,
        1,
        LARGEST_TIMEOUT,
    ),
    other("nf_conntrack_helper", Unit::Switch, 0, 1),
    other("nf_conntrack_log_invalid", Unit::Choice, 0, 255),
    other("nf_conntrack_tcp_be_liberal", Unit::Switch, 0, 1),
    other("nf_conntrack_tcp_ignore_invalid_rst", Unit::Switch, 0, 1),
    other("nf_conntrack_tcp_loose", Unit::Switch, 0, 1),
    other("nf_conntrack_tcp_max_retrans", Unit::Count, 0, 255),
    other("nf_conntrack_timestamp", Unit::Switch, 0, 1),
    other(
        "nf_flowtable_tcp_timeout",
        Unit::Seconds,
        1,
        LARGEST_TIMEOUT,
    ),
    other(
        "nf_flowtable_udp_timeout",
        Unit::Seconds,
        1,
        LARGEST_TIMEOUT,
    ),
];

/// Finds a tunable by its name under `net.netfilter`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Tunable> {
    TUNABLES.iter().find(|tunable| tunable.name == name)
}

/// The timeout that the kernel writes for an entry in this state, before TCP's caps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Governing {
    /// The value of this sysctl.
    Sysctl(&'static str),
    /// A constant of the kernel, seconds.
    Fixed(u32),
}

impl Governing {
    /// What histories call it: the sysctl's name, or one of the same form for a constant.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sysctl(name) => name,
            Self::Fixed(_) => "nf_conntrack_tcp_timeout_syn_sent2",
        }
    }
}

/// Which timeout governs a flow, by protocol and state; `None` where that cannot be told.
///
/// TCP and SCTP need the state; UDP needs the status (`udp_timeout_stream` governs assured flows
/// alone), UDP-Lite and GRE likewise (replied).
#[must_use]
pub fn governing(flow: &Flow) -> Option<Governing> {
    use Governing::{Fixed, Sysctl};
    Some(match flow.protocol {
        Protocol::TCP => match flow.state()? {
            tcp::SYN_SENT => Sysctl("nf_conntrack_tcp_timeout_syn_sent"),
            tcp::SYN_RECV => Sysctl("nf_conntrack_tcp_timeout_syn_recv"),
            tcp::ESTABLISHED => Sysctl("nf_conntrack_tcp_timeout_established"),
            tcp::FIN_WAIT => Sysctl("nf_conntrack_tcp_timeout_fin_wait"),
            tcp::CLOSE_WAIT => Sysctl("nf_conntrack_tcp_timeout_close_wait"),
            tcp::LAST_ACK => Sysctl("nf_conntrack_tcp_timeout_last_ack"),
            tcp::TIME_WAIT => Sysctl("nf_conntrack_tcp_timeout_time_wait"),
            tcp::CLOSE => Sysctl("nf_conntrack_tcp_timeout_close"),
            tcp::SYN_SENT2 => Fixed(SYN_SENT2_TIMEOUT),
            _ => return None,
        },
        Protocol::UDP if flow.status()?.contains(Status::ASSURED) => {
            Sysctl("nf_conntrack_udp_timeout_stream")
        }
        Protocol::UDPLITE if flow.status()?.contains(Status::SEEN_REPLY) => {
            Sysctl("nf_conntrack_udp_timeout_stream")
        }
        Protocol::UDP | Protocol::UDPLITE => Sysctl("nf_conntrack_udp_timeout"),
        Protocol::ICMP => Sysctl("nf_conntrack_icmp_timeout"),
        Protocol::ICMPV6 => Sysctl("nf_conntrack_icmpv6_timeout"),
        Protocol::GRE if flow.status()?.contains(Status::SEEN_REPLY) => {
            Sysctl("nf_conntrack_gre_timeout_stream")
        }
        Protocol::GRE => Sysctl("nf_conntrack_gre_timeout"),
        Protocol::SCTP => Sysctl(match flow.state()? {
            1 => "nf_conntrack_sctp_timeout_closed",
            2 => "nf_conntrack_sctp_timeout_cookie_wait",
            3 => "nf_conntrack_sctp_timeout_cookie_echoed",
            4 => "nf_conntrack_sctp_timeout_established",
            5 => "nf_conntrack_sctp_timeout_shutdown_sent",
            6 => "nf_conntrack_sctp_timeout_shutdown_recd",
            7 => "nf_conntrack_sctp_timeout_shutdown_ack_sent",
            8 => "nf_conntrack_sctp_timeout_heartbeat_sent",
            _ => return None,
        }),
        Protocol::DCCP => Sysctl(match flow.state()? {
            1 => "nf_conntrack_dccp_timeout_request",
            2 => "nf_conntrack_dccp_timeout_respond",
            3 => "nf_conntrack_dccp_timeout_partopen",
            4 => "nf_conntrack_dccp_timeout_open",
            5 => "nf_conntrack_dccp_timeout_closereq",
            6 => "nf_conntrack_dccp_timeout_closing",
            7 => "nf_conntrack_dccp_timeout_timewait",
            _ => return None,
        }),
        _ => Sysctl("nf_conntrack_generic_timeout"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_listed_once() {
        for (index, tunable) in TUNABLES.iter().enumerate() {
            assert!(
                TUNABLES[..index].iter().all(|t| t.name != tunable.name),
                "{}",
                tunable.name
            );
        }
    }
}
