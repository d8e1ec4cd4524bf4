//! Two small snapshots of a gateway, a quarter of an hour apart: somebody scans from 10.7.7.23.
//!
//! `CONNTIDY_REMAKE=1 cargo test --test diff` writes `tests/cases/diff` anew after a change here.

use std::path::PathBuf;

use conntidy::flow::protocol::tcp;
use conntidy::flow::{Counters, Extra, Family, Flow, OwnedExtra, Present, Protocol, Status, Tuple};
use conntidy::observe::{CpuStatistics, Dumped, Header, Netns, Reading};
use conntidy::policy::Compression;
use conntidy::snapshot::write;

const SECOND: u64 = 1_000_000_000;
/// 2026-01-31 03:00 UTC.
const BEFORE: u64 = 1_769_828_400 * SECOND;
const BETWEEN: u64 = 900 * SECOND;

pub(crate) type Entry = (Flow, OwnedExtra);

pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases/diff")
        .join(name)
}

pub(crate) fn header(after: bool) -> Header {
    let reading = |value: &str| Reading {
        value: Some(value.to_owned()),
        writable: true,
        error: None,
    };
    let shift = if after { BETWEEN } else { 0 };
    let mut header = Header {
        host: "gw1".to_owned(),
        boot_id: "5f1c7e2a-0001-4000-8000-000000000001".to_owned(),
        kernel: "6.12.8".to_owned(),
        conntidy: "0.1.0".to_owned(),
        netns: Netns {
            name: "init".to_owned(),
            device: 4,
            inode: 4_026_531_840,
            initial: true,
            created_ns: None,
        },
        time_ns: BEFORE + shift,
        uptime_ns: 86_400 * SECOND + shift,
        cores: 2,
        memory: 4 << 30,
        conntrack: true,
        ..Header::default()
    };
    let timeout = if after { "86400" } else { "432000" };
    for (name, value) in [
        ("nf_conntrack_max", "1024"),
        ("nf_conntrack_buckets", "1024"),
        ("nf_conntrack_tcp_timeout_established", timeout),
        ("nf_conntrack_udp_timeout", "30"),
    ] {
        header.tunables.insert(name.to_owned(), reading(value));
    }
    let cpu = |cpu, early_drop, insert_failed, invalid| CpuStatistics {
        cpu,
        early_drop,
        insert_failed,
        invalid,
        ..CpuStatistics::default()
    };
    header.cpu = if after {
        // The second processor's count of invalid packets passed 2^32.
        vec![cpu(0, 37, 12, 160), cpu(1, 0, 3, 8)]
    } else {
        vec![cpu(0, 1, 12, 100), cpu(1, 0, 0, u32::MAX - 1)]
    };
    header
}

fn base(protocol: Protocol, src: [u8; 4], dst: [u8; 4], sport: u16, dport: u16) -> Flow {
    let tuple = Tuple::new(src.into(), dst.into(), sport, dport);
    let mut flow = Flow::new(Family::Ipv4, protocol, tuple);
    flow.present = Present::STATUS
        | Present::TIMEOUT
        | Present::MARK
        | Present::ID
        | Present::REPLY
        | Present::START
        | Present::COUNTERS;
    flow.id = u32::from(sport) << 8 | u32::from(src[3]);
    flow.start_ns = BEFORE - u64::from(sport) * SECOND;
    flow.timeout = 300;
    flow.status = Status::CONFIRMED | Status::SEEN_REPLY | Status::ASSURED;
    flow.counters_orig = Counters {
        packets: 10,
        bytes: 1200,
    };
    flow.counters_reply = Counters {
        packets: 12,
        bytes: 9000,
    };
    flow
}

fn web(number: u16, state: u8) -> Flow {
    let client = [10, 7, (number % 3) as u8, (number % 40) as u8];
    let mut flow = base(
        Protocol::TCP,
        client,
        [203, 0, 113, 80],
        30_000 + number,
        443,
    );
    flow.present |= Present::STATE;
    flow.state = state;
    flow.status |= Status::SRC_NAT | Status::SRC_NAT_DONE;
    flow.reply.dst[..4].copy_from_slice(&[198, 51, 100, 1]);
    flow
}

/// Before: 200 web connections, 60 DNS questions, an FTP session.
pub(crate) fn before() -> Vec<Entry> {
    let mut flows: Vec<Flow> = (0..200)
        .map(|number| {
            web(
                number,
                if number < 150 {
                    tcp::ESTABLISHED
                } else {
                    tcp::TIME_WAIT
                },
            )
        })
        .collect();
    flows.extend((0..60).map(|number| dns(number, 0)));
    let mut entries: Vec<Entry> = (flows.into_iter())
        .map(|flow| (flow, OwnedExtra::default()))
        .collect();
    let mut ftp = base(Protocol::TCP, [10, 7, 2, 9], [203, 0, 113, 21], 40_001, 21);
    ftp.present |= Present::STATE;
    ftp.state = tcp::ESTABLISHED;
    let extra = Extra {
        helper: Some("ftp"),
        ..Extra::default()
    };
    entries.push((ftp, extra.to_owned()));
    entries
}

fn dns(number: u16, later: u64) -> Flow {
    let client = [10, 7, 1, (number % 20) as u8];
    let mut flow = base(Protocol::UDP, client, [10, 7, 0, 53], 20_000 + number, 53);
    flow.status = Status::CONFIRMED | Status::SEEN_REPLY;
    flow.start_ns += later;
    flow
}

/// After: of the web connections the closed ones are gone, 30 of the others closed, one has a mark;
/// every DNS question is another one on the same tuple for 20 of them, the rest is gone; and 600
/// SYNs are unanswered.
pub(crate) fn after() -> Vec<Entry> {
    let mut entries: Vec<Entry> = before()
        .into_iter()
        .filter(|(flow, _)| flow.protocol == Protocol::TCP && flow.state == tcp::ESTABLISHED)
        .collect();
    for (number, (flow, _)) in entries.iter_mut().enumerate() {
        flow.timeout -= 20;
        flow.counters_orig.packets += (number % 2) as u64;
        flow.counters_orig.bytes += (number % 2) as u64 * 5000;
        match number {
            0..30 => flow.state = tcp::TIME_WAIT,
            30 => flow.mark = 7,
            _ => {}
        }
    }
    let mut more: Vec<Flow> = (0..20).map(|number| dns(number, 40_000 * SECOND)).collect();
    more.extend((0..600).map(|number| {
        let target = [192, 0, 2, (number % 250) as u8];
        let mut flow = base(Protocol::TCP, [10, 7, 7, 23], target, 1024 + number, 23);
        flow.present |= Present::STATE;
        flow.state = tcp::SYN_SENT;
        flow.status = Status::CONFIRMED;
        flow.start_ns = BEFORE + 700 * SECOND + u64::from(number);
        (flow.counters_orig.packets, flow.counters_reply) = (1, Counters::default());
        flow
    }));
    entries.extend(more.into_iter().map(|flow| (flow, OwnedExtra::default())));
    entries
}

/// A snapshot as bytes.
pub(crate) fn snapshot(mut header: Header, entries: &[Entry], compression: Compression) -> Vec<u8> {
    header.count = Some(entries.len() as u64);
    let dumped = Dumped {
        entries: entries.len() as u64,
        ..Dumped::default()
    };
    let flows = entries.iter().map(|(flow, extra)| (*flow, extra.borrow()));
    write(Vec::new(), &header, compression, flows, dumped)
        .unwrap()
        .0
}

#[test]
fn the_files_are_what_the_generator_makes() {
    for (name, after_, entries) in [
        ("before.jsonl.zst", false, before()),
        ("after.jsonl.zst", true, after()),
    ] {
        let made = snapshot(header(after_), &entries, Compression::Zstd);
        if std::env::var_os("CONNTIDY_REMAKE").is_some() {
            std::fs::write(path(name), &made).unwrap();
        }
        let unpack = |bytes: &[u8]| zstd::decode_all(bytes).unwrap();
        let kept = unpack(&std::fs::read(path(name)).unwrap());
        assert!(kept == unpack(&made), "{name} is another one");
    }
}
