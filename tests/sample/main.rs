//! The sample table of `examples/gateway.jsonl.zst`, and the generator that makes it.
//!
//! After a change here, `CONNTIDY_REMAKE=1 cargo test --test sample` writes the file anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod gateway;
mod random;
mod table;
mod traffic;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Cursor;
use std::path::PathBuf;

use conntidy::flow::{Flow, OwnedExtra, Present, Protocol, Status, protocol};
use conntidy::observe::Dumped;
use conntidy::policy::Compression;
use conntidy::rebuild::{Impossible, rebuild};
use conntidy::snapshot::{Snapshot, Summary, write};
use conntidy::tunable::governing;

type Entry = (Flow, OwnedExtra);

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/gateway.jsonl.zst")
}

/// The snapshot as the generator makes it.
fn made() -> Vec<u8> {
    let entries = traffic::entries();
    let mut header = gateway::header();
    header.count = Some(entries.len() as u64);
    let dumped = Dumped {
        entries: entries.len() as u64,
        ..Dumped::default()
    };
    let flows = entries.iter().map(|(flow, extra)| (*flow, extra.borrow()));
    write(Vec::new(), &header, Compression::Zstd, flows, dumped)
        .unwrap()
        .0
}

fn entries() -> Vec<Entry> {
    let mut snapshot = Snapshot::open(File::open(path()).unwrap()).unwrap();
    let mut flows = snapshot.flows().unwrap();
    let mut entries = Vec::new();
    while let Some(record) = flows.next_flow().unwrap() {
        entries.push((record.flow, record.extra.to_owned()));
    }
    entries
}

#[test]
fn the_file_is_what_the_generator_makes() {
    let made = made();
    if std::env::var_os("CONNTIDY_REMAKE").is_some() {
        // The other tests read it meanwhile.
        let other = path().with_extension("tmp");
        fs::write(&other, &made).unwrap();
        fs::rename(other, path()).unwrap();
    }
    let there = fs::read(path()).unwrap();
    assert!(there.len() < 1_000_000, "{} bytes", there.len());
    // The text counts: another version of the compressor packs it otherwise.
    let text = |file| zstd::decode_all(Cursor::new(file)).unwrap();
    assert!(
        text(made) == text(there),
        "made otherwise; `CONNTIDY_REMAKE=1 cargo test --test sample` writes it anew"
    );
}

#[test]
fn the_table_is_a_gateways_in_all_its_variety() {
    let entries = entries();
    let mut summary = Summary::default();
    let mut states = BTreeSet::new();
    for (flow, extra) in &entries {
        summary.add(&conntidy::observe::Record {
            flow: *flow,
            extra: extra.borrow(),
            message: &[],
        });
        if let Some(state) = flow.state_name() {
            states.insert((flow.protocol.0, state));
        }
    }
    assert!(
        (18_000..=22_000).contains(&entries.len()),
        "{}",
        entries.len()
    );
    for protocol in [Protocol::TCP, Protocol::SCTP] {
        // No entry of the table is in NONE.
        for state in &protocol::state_names(protocol)[1..] {
            assert!(states.contains(&(protocol.0, state)), "{protocol} {state}");
        }
    }
    let protocols: BTreeSet<u8> = entries.iter().map(|(flow, _)| flow.protocol.0).collect();
    for number in [1, 6, 17, 47, 50, 58, 132, 136] {
        assert!(protocols.contains(&number), "{number}");
    }
    let table = format!("{summary:#?}");
    for (what, count, least) in [
        ("ipv6", summary.ipv6, 3000),
        ("source-translated", summary.src_nat, 8000),
        ("destination-translated", summary.dst_nat, 1500),
        ("unreplied", summary.unreplied, 2000),
        ("offloaded", summary.offloaded, 300),
        ("marked", summary.marked, 3000),
        ("zoned", summary.zoned, 700),
        ("helped", summary.helped, 20),
        ("labelled", summary.labelled, 80),
    ] {
        assert!(count >= least, "{what}: {count}\n{table}");
    }
    let total = entries.len() as u64;
    assert!(summary.counted * 10 > total * 8 && summary.counted < total);
    assert!(summary.timestamped * 10 > total * 8 && summary.timestamped < total);
}

#[test]
fn what_is_left_and_how_old_a_flow_is_fit_the_timeouts() {
    let header = gateway::header();
    for (flow, _) in &entries() {
        let Some(left) = flow.remaining() else {
            assert!(flow.is_offloaded(), "{flow:?}");
            continue;
        };
        let timeout = header
            .number(governing(flow).unwrap().name())
            .unwrap_or(u64::from(conntidy::tunable::SYN_SENT2_TIMEOUT));
        assert!(u64::from(left) <= timeout, "{flow:?}");
        if let Some(start_ns) = flow.start_ns() {
            let age = (header.time_ns - start_ns) / 1_000_000_000;
            let capped = timeout > 300 && left <= 300;
            assert!(capped || age + 1 >= timeout - u64::from(left), "{flow:?}");
            assert!(start_ns > header.time_ns - header.uptime_ns, "{flow:?}");
        }
    }
}

#[test]
fn the_kernel_could_hold_every_flow() {
    let mut replies = BTreeSet::new();
    for (flow, extra) in &entries() {
        assert!(flow.status.contains(Status::CONFIRMED));
        assert!(flow.present.contains(Present::REPLY | Present::STATUS));
        let reply = (flow.family, flow.zone_reply, flow.protocol, flow.reply);
        assert!(
            replies.insert(reply),
            "two flows have the reply of {flow:?}"
        );
        match rebuild(flow, extra.borrow()) {
            Ok(_) | Err(Impossible::Offloaded) => {}
            Err(other) => panic!("{other}: {flow:?}"),
        }
    }
}
