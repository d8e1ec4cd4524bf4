//! The gateway itself: what a header says of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use conntidy::history::{ClockOffset, History, Observation};
use conntidy::observe::{Connection, CpuStatistics, Header, Netns, Reading};
use conntidy::tunable::{Home, TUNABLES};

/// 2026-01-31 12:00 UTC, and a bit.
pub(crate) const NOW_NS: u64 = 1_769_860_800_123_456_789;
const SECOND_NS: u64 = 1_000_000_000;
const DAY_NS: u64 = 86_400 * SECOND_NS;
/// 41 days and some hours.
pub(crate) const UPTIME_NS: u64 = 41 * DAY_NS + 30_000 * SECOND_NS;

/// Towards clients, the demilitarised zone and the world.
pub(crate) const LAN: [u8; 4] = [10, 0, 0, 1];
pub(crate) const DMZ: [u8; 4] = [10, 0, 3, 1];
pub(crate) const WAN: [u8; 4] = [203, 0, 113, 1];
pub(crate) const SECOND_WAN: [u8; 4] = [203, 0, 113, 2];
pub(crate) const LAN6: &str = "2001:db8:1::1";
pub(crate) const WAN6: &str = "2001:db8:f00::2";

/// Who looks: an operator's session.
pub(crate) const OPERATOR: ([u8; 4], u16) = ([10, 0, 0, 50], 51_514);

/// As Linux 6.1 starts on a machine with 4 cores and 4 GiB, but for accounting and timestamps.
const TUNABLES_READ: [(&str, u32); 46] = [
    ("nf_conntrack_max", 65_536),
    ("nf_conntrack_buckets", 65_536),
    ("nf_conntrack_expect_max", 1024),
    ("nf_conntrack_generic_timeout", 600),
    ("nf_conntrack_icmp_timeout", 30),
    ("nf_conntrack_icmpv6_timeout", 30),
    ("nf_conntrack_tcp_timeout_syn_sent", 120),
    ("nf_conntrack_tcp_timeout_syn_recv", 60),
    ("nf_conntrack_tcp_timeout_established", 432_000),
    ("nf_conntrack_tcp_timeout_fin_wait", 120),
    ("nf_conntrack_tcp_timeout_close_wait", 60),
    ("nf_conntrack_tcp_timeout_last_ack", 30),
    ("nf_conntrack_tcp_timeout_time_wait", 120),
    ("nf_conntrack_tcp_timeout_close", 10),
    ("nf_conntrack_tcp_timeout_max_retrans", 300),
    ("nf_conntrack_tcp_timeout_unacknowledged", 300),
    ("nf_conntrack_udp_timeout", 30),
    ("nf_conntrack_udp_timeout_stream", 120),
    ("nf_conntrack_gre_timeout", 30),
    ("nf_conntrack_gre_timeout_stream", 180),
    ("nf_conntrack_sctp_timeout_closed", 10),
    ("nf_conntrack_sctp_timeout_cookie_wait", 3),
    ("nf_conntrack_sctp_timeout_cookie_echoed", 3),
    ("nf_conntrack_sctp_timeout_established", 210),
    ("nf_conntrack_sctp_timeout_shutdown_sent", 3),
    ("nf_conntrack_sctp_timeout_shutdown_recd", 3),
    ("nf_conntrack_sctp_timeout_shutdown_ack_sent", 3),
    ("nf_conntrack_sctp_timeout_heartbeat_sent", 30),
    ("nf_conntrack_dccp_timeout_request", 240),
    ("nf_conntrack_dccp_timeout_respond", 480),
    ("nf_conntrack_dccp_timeout_partopen", 480),
    ("nf_conntrack_dccp_timeout_open", 43_200),
    ("nf_conntrack_dccp_timeout_closereq", 64),
    ("nf_conntrack_dccp_timeout_closing", 64),
    ("nf_conntrack_dccp_timeout_timewait", 240),
    ("nf_conntrack_acct", 1),
    ("nf_conntrack_checksum", 1),
    ("nf_conntrack_dccp_loose", 1),
    ("nf_conntrack_events", 2),
    ("nf_conntrack_log_invalid", 0),
    ("nf_conntrack_tcp_be_liberal", 0),
    ("nf_conntrack_tcp_ignore_invalid_rst", 0),
    ("nf_conntrack_tcp_loose", 1),
    ("nf_conntrack_tcp_max_retrans", 3),
    ("nf_conntrack_timestamp", 1),
    ("net.ipv4.tcp_keepalive_time", 7200),
];

/// The timeout that governs, by sysctl name.
pub(crate) fn timeout(name: &str) -> u64 {
    TUNABLES_READ
        .iter()
        .find(|(known, _)| *known == name)
        .map_or_else(|| panic!("no {name}"), |(_, value)| u64::from(*value))
}

/// The header, but for the count.
pub(crate) fn header() -> Header {
    Header {
        host: "gw1".to_owned(),
        boot_id: "6f1d5f0e-3c53-4a3e-9b9b-5d8f4c1a7e20".to_owned(),
        kernel: "6.1.0-28-amd64".to_owned(),
        conntidy: "0.1.0".to_owned(),
        netns: Netns {
            name: "init".to_owned(),
            device: 4,
            inode: 4_026_531_840,
            initial: true,
            created_ns: None,
        },
        time_ns: NOW_NS,
        uptime_ns: UPTIME_NS,
        cores: 4,
        memory: 4 << 30,
        conntrack: true,
        tunables: TUNABLES_READ
            .iter()
            .map(|(name, value)| (name.to_string(), reading(*value)))
            .collect(),
        cpu: (0..4).map(cpu).collect(),
        addresses: Some(addresses()),
        ct_timeout_protocols: Some(Vec::new()),
        session: vec![Connection {
            protocol: 6,
            local: LAN.into(),
            local_port: 22,
            peer: OPERATOR.0.into(),
            peer_port: OPERATOR.1,
        }],
        history: history(),
        ..Header::default()
    }
}

fn reading(value: u32) -> Reading {
    Reading {
        value: Some(value.to_string()),
        writable: true,
        error: None,
    }
}

fn cpu(number: u16) -> CpuStatistics {
    let n = u32::from(number);
    CpuStatistics {
        cpu: number,
        found: 1200 + 310 * n,
        invalid: 48_211 + 977 * n,
        insert_failed: 14 + n,
        drop: 3 * n,
        early_drop: 5 * n,
        error: 210 + 17 * n,
        search_restart: 9120 + 331 * n,
        clash_resolve: 640 + 12 * n,
        ..CpuStatistics::default()
    }
}

fn addresses() -> Vec<IpAddr> {
    let v4 = [[127, 0, 0, 1], LAN, DMZ, WAN, SECOND_WAN].map(IpAddr::from);
    let v6 = ["::1", LAN6, WAN6, "fe80::1"].map(|text| text.parse().unwrap());
    v4.into_iter().chain(v6).collect()
}

/// Nine days of runs, so that every idle time below that can be proven.
fn history() -> History {
    let first = UPTIME_NS - 9 * DAY_NS;
    let mut timeouts: BTreeMap<String, Vec<Observation>> = TUNABLES
        .iter()
        .filter(|tunable| matches!(tunable.home, Home::Timeouts(_)))
        .map(|tunable| {
            let value = u32::try_from(timeout(tunable.name)).unwrap();
            let since = Observation {
                at_ns: first,
                value,
            };
            (tunable.name.to_owned(), vec![since])
        })
        .collect();
    // Two days ago the operator lowered one.
    timeouts.insert(
        "nf_conntrack_udp_timeout_stream".to_owned(),
        vec![
            Observation {
                at_ns: first,
                value: 180,
            },
            Observation {
                at_ns: UPTIME_NS - 2 * DAY_NS,
                value: 120,
            },
        ],
    );
    History {
        timeouts,
        clock: vec![ClockOffset {
            at_ns: first,
            offset_ns: i64::try_from(NOW_NS - UPTIME_NS).unwrap(),
        }],
        ..History::default()
    }
}
