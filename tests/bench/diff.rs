//! Two snapshots to compare, large ones: `diff make DIRECTORY FLOWS` writes `before.jsonl.zst` and
//! `after.jsonl.zst` there. `scripts/measure-diff` measures with them.
//!
//! A quarter is IPv6, three quarters TCP, a fifth translated, a twentieth in a zone; all have
//! counters, start times and ids. Of the first, four fifths are in the second, most of them with
//! other counters and timers and a tenth of them in another state; a fifth of the second is new,
//! most of it from one network.

use std::fs::File;
use std::io::BufWriter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::ExitCode;

use conntidy::flow::protocol::tcp;
use conntidy::flow::{Counters, Extra, Family, Flow, Present, Protocol, Status, Tuple};
use conntidy::observe::{CpuStatistics, Dumped, Header, Netns, Reading};
use conntidy::policy::Compression;
use conntidy::snapshot::write;

const SECOND: u64 = 1_000_000_000;
const BEFORE: u64 = 1_769_860_800 * SECOND;
const AFTER: u64 = BEFORE + 900 * SECOND;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = (arguments.iter().map(String::as_str))
        .filter(|word| !word.starts_with("--"))
        .collect();
    let ["make", directory, flows] = words[..] else {
        println!("usage: diff make DIRECTORY FLOWS");
        return ExitCode::SUCCESS;
    };
    let made = flows
        .parse()
        .map_err(Into::into)
        .and_then(|flows| make(Path::new(directory), flows));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn make(directory: &Path, flows: u32) -> Result<(), Box<dyn std::error::Error>> {
    let gone = flows / 5;
    let before = (0..flows).map(|number| flow(number, false));
    let after = (gone..flows + gone).map(|number| {
        if number < flows {
            flow(number, true)
        } else {
            grown(number)
        }
    });
    snapshot(&directory.join("before.jsonl.zst"), BEFORE, flows, before)?;
    snapshot(&directory.join("after.jsonl.zst"), AFTER, flows, after)
}

fn snapshot(
    path: &Path,
    time_ns: u64,
    flows: u32,
    entries: impl Iterator<Item = Flow>,
) -> Result<(), Box<dyn std::error::Error>> {
    let reading = |value: &str| Reading {
        value: Some(value.to_owned()),
        writable: true,
        error: None,
    };
    let header = Header {
        host: "gw1".to_owned(),
        boot_id: "f0".to_owned(),
        kernel: "6.18.0".to_owned(),
        netns: Netns {
            name: "init".to_owned(),
            ..Netns::default()
        },
        time_ns,
        uptime_ns: time_ns - BEFORE + 86_400 * SECOND,
        conntrack: true,
        count: Some(flows.into()),
        tunables: [("nf_conntrack_max".to_owned(), reading("2000000"))].into(),
        cpu: vec![CpuStatistics {
            drop: u32::try_from((time_ns - BEFORE) / SECOND)?,
            ..CpuStatistics::default()
        }],
        ..Header::default()
    };
    let dumped = Dumped {
        entries: flows.into(),
        ..Dumped::default()
    };
    let entries = entries.map(|flow| (flow, Extra::default()));
    let out = BufWriter::new(File::create(path)?);
    write(out, &header, Compression::Zstd, entries, dumped)?;
    Ok(())
}

/// Splittable and even: no two numbers give the same.
fn mixed(number: u32) -> u32 {
    let mut x = number.wrapping_add(0x9e37_79b9);
    x = (x ^ (x >> 16)).wrapping_mul(0x21f0_aaad);
    x = (x ^ (x >> 15)).wrapping_mul(0x735a_2d97);
    x ^ (x >> 15)
}

fn flow(number: u32, later: bool) -> Flow {
    let bits = mixed(number);
    let [a, b, c, d] = bits.to_be_bytes();
    let port = 1024 + (number % 60_000) as u16;
    let (family, src, dst): (Family, IpAddr, IpAddr) = if number.is_multiple_of(4) {
        let src = Ipv6Addr::new(
            0x2001,
            0xdb8,
            0,
            (bits % 4096) as u16,
            0,
            0,
            0,
            (bits >> 16) as u16,
        );
        let dst = Ipv6Addr::new(0x2600, 0, 0, c.into(), 0, 0, 0, d.into());
        (Family::Ipv6, src.into(), dst.into())
    } else {
        let src = Ipv4Addr::new(10, a & 0x0f, b, c);
        (
            Family::Ipv4,
            src.into(),
            Ipv4Addr::new(198, 51, 100, d).into(),
        )
    };
    let is_tcp = bits % 100 < 74;
    let protocol = if is_tcp { Protocol::TCP } else { Protocol::UDP };
    let dport = [443, 80, 53, 22, 5060, 123, 8080, 993][usize::from(d & 7)];
    let mut flow = Flow::new(family, protocol, Tuple::new(src, dst, port, dport));
    flow.present = Present::STATUS
        | Present::TIMEOUT
        | Present::MARK
        | Present::ID
        | Present::COUNTERS
        | Present::START
        | Present::REPLY;
    flow.status = Status::CONFIRMED | Status::SEEN_REPLY | Status::ASSURED;
    if is_tcp {
        flow.present |= Present::STATE | Present::TCP_FLAGS | Present::TCP_WSCALE;
        flow.state = match c % 10 {
            0..6 => tcp::ESTABLISHED,
            6..9 => tcp::TIME_WAIT,
            _ => tcp::SYN_RECV,
        };
        (flow.tcp_flags_orig, flow.tcp_flags_reply, flow.tcp_wscale) = (0x23, 0x23, 0x77);
    }
    if family == Family::Ipv4 && bits.is_multiple_of(5) {
        flow.status |= Status::SRC_NAT | Status::SRC_NAT_DONE;
        flow.reply.dst[..4].copy_from_slice(&[203, 0, 113, 1]);
    }
    if bits % 20 == 7 {
        (flow.zone_orig, flow.zone_reply) = (7, 7);
    }
    flow.timeout = if later { bits % 7000 } else { bits % 7200 };
    flow.mark = u32::from(a & 3);
    flow.id = mixed(bits);
    flow.start_ns = BEFORE - u64::from(bits % 7_000) * SECOND - u64::from(number);
    let grown = if later { u64::from(d) } else { 0 };
    flow.counters_orig = Counters {
        packets: u64::from(bits % 5000) + grown,
        bytes: u64::from(bits) + grown * 400,
    };
    flow.counters_reply = Counters {
        packets: u64::from(bits % 7000) + grown,
        bytes: u64::from(bits) * 3 + grown * 1200,
    };
    if later && is_tcp && bits % 10 == 3 {
        flow.state = tcp::TIME_WAIT;
    }
    flow
}

/// What filled the table.
fn grown(number: u32) -> Flow {
    let mut flow = flow(number, true);
    flow.start_ns = BEFORE + u64::from(number % 900) * SECOND + u64::from(number);
    if flow.family == Family::Ipv4 && !number.is_multiple_of(3) {
        let host = (mixed(number) % 16) as u8;
        flow.orig.src[..4].copy_from_slice(&[10, 77, 7, host]);
        flow.orig.dst[..4].copy_from_slice(&mixed(number).to_be_bytes());
        flow.reply = flow.orig.inverse(flow.protocol);
        flow.status = Status::CONFIRMED;
    }
    flow
}
