//! Messages of the real kernel, judged by another decoder. With `CONNTIDY_CAPTURE=DIRECTORY` they
//! are written there; `tests/captures` was made so.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;

use conntidy::kernel::Live;
use conntidy::kernel::sysctl::{LiveTunables, Tunables};
use conntidy::observe::{Observe, Record, Visit};
use libtest_mimic::Failed;

use crate::{fixture, flows, oracle};

crate::trials!(
    another_decoder_agrees_on_made_entries,
    another_decoder_agrees_on_entries_with_counters_and_timestamps,
    another_decoder_agrees_on_real_traffic,
);

/// Compares every message of a dump, and keeps them where that is asked for.
fn judge(name: &str, least: usize) -> Result<(), Failed> {
    let (mut all, mut count) = (Vec::new(), 0);
    let mut visit = |record: &Record<'_>| {
        oracle::agrees(record.message);
        all.extend_from_slice(record.message);
        count += 1;
    };
    let dumped = Live::default().dump(&mut [&mut visit as &mut dyn Visit])?;
    fixture::sound(dumped, count)?;
    assert!(count >= least, "{count} entries");
    if let Some(directory) = std::env::var_os("CONNTIDY_CAPTURE") {
        let release = conntidy::kernel::identity::kernel_release();
        let version: Vec<_> = release.split(['.', '-']).take(2).collect();
        let file = format!("linux-{}-{name}.bin", version.join("."));
        std::fs::write(Path::new(&directory).join(file), all)?;
    }
    Ok(())
}

fn use_labels() -> Result<(), Failed> {
    if fixture::has("nft") {
        let script =
            "table inet l { chain c { type filter hook input priority 0; ct label set 1; }; }";
        fixture::run("nft", &[script])?;
    }
    Ok(())
}

fn another_decoder_agrees_on_made_entries() -> Result<(), Failed> {
    use_labels()?;
    let all = flows::catalogue();
    flows::create_with(&all)?;
    judge("made", all.len())
}

fn another_decoder_agrees_on_entries_with_counters_and_timestamps() -> Result<(), Failed> {
    LiveTunables.write("nf_conntrack_acct", "1")?;
    LiveTunables.write("nf_conntrack_timestamp", "1")?;
    let all = flows::catalogue();
    flows::create_with(&all)?;
    judge("extended", all.len())
}

fn another_decoder_agrees_on_real_traffic() -> Result<(), Failed> {
    if !fixture::has("nft") || fixture::run("ip", &["-V"]).is_err() {
        return fixture::skip("another_decoder_agrees_on_real_traffic", "no nft or no ip");
    }
    LiveTunables.write("nf_conntrack_acct", "1")?;
    LiveTunables.write("nf_conntrack_timestamp", "1")?;
    fixture::run("ip", &fixture::words("link set lo up"))?;
    let script = "table inet t { chain c { type filter hook input priority 0; ct state new accept; }; \
                  chain n { type nat hook output priority -100; udp dport 5353 redirect to :5300; }; }";
    fixture::run("nft", &[script])?;
    let before = conntidy::kernel::identity::time_ns();
    for local in ["127.0.0.1", "[::1]"] {
        let listener = TcpListener::bind(format!("{local}:0"))?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        drop((client, server));
        let server = UdpSocket::bind(format!("{local}:5300"))?;
        let client = UdpSocket::bind(format!("{local}:0"))?;
        client.send_to(b"question", format!("{local}:5353"))?;
        let (_, peer) = server.recv_from(&mut [0; 16])?;
        server.send_to(b"answer", peer)?;
    }
    for (flow, _) in fixture::table()? {
        let start = flow.start_ns().ok_or("no start")?;
        let now = conntidy::kernel::identity::time_ns();
        assert!((before..=now).contains(&start), "{before} {start} {now}");
        let total = flow.total().ok_or("no counters")?;
        assert!(total.packets >= 2 && total.bytes >= 60, "{total:?}");
        let translated = flow.protocol == conntidy::flow::Protocol::UDP;
        assert_eq!(flow.is_dst_nat(), Some(translated));
        if translated {
            assert_eq!((flow.orig.dst_port, flow.reply.src_port), (5353, 5300));
        }
    }
    judge("traffic", 4)
}
