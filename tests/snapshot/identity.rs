use std::io::Cursor;

use conntidy::flow::{Family, Flow, OwnedExtra, Protocol, Tuple};
use conntidy::observe::{Dumped, Header};
use conntidy::policy::Compression;
use conntidy::snapshot::record::{read_flow, write_flow};
use conntidy::snapshot::{RUN_FLOWS, Snapshot, write};
use proptest::prelude::*;

use crate::arbitrary;

/// Writes flows and reads them back.
fn roundtrip(flows: &[(Flow, OwnedExtra)], compression: Compression) -> Vec<(Flow, OwnedExtra)> {
    let header = Header {
        host: "gw1".to_owned(),
        ..Header::default()
    };
    let dumped = Dumped {
        entries: flows.len() as u64,
        undecoded: 3,
        resized: true,
    };
    let flows = flows.iter().map(|(flow, extra)| (*flow, extra.borrow()));
    let (file, _) = write(Vec::new(), &header, compression, flows, dumped).unwrap();
    let mut snapshot = Snapshot::open(Cursor::new(file)).unwrap();
    assert_eq!(snapshot.header(), &header);
    assert_eq!(snapshot.trailer().undecoded, 3);
    assert!(snapshot.trailer().resized);
    assert_eq!(snapshot.compression(), compression);
    let mut read = Vec::new();
    let mut flows = snapshot.flows().unwrap();
    while let Some(record) = flows.next_flow().unwrap() {
        read.push((record.flow, record.extra.to_owned()));
    }
    read
}

proptest! {
    #[test]
    fn a_line_says_everything_of_a_flow(flow in arbitrary::flow(), extra in arbitrary::extra()) {
        let mut line = Vec::new();
        write_flow(&flow, &extra.borrow(), &mut line);
        prop_assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        let (read, read_extra) = read_flow(&line).map_err(|error| {
            TestCaseError::fail(format!("{error}: {}", String::from_utf8_lossy(&line)))
        })?;
        prop_assert_eq!(read, flow, "{}", String::from_utf8_lossy(&line));
        prop_assert_eq!(read_extra, extra);
    }

    #[test]
    fn a_line_is_json_that_other_programs_read(flow in arbitrary::flow(), extra in arbitrary::extra()) {
        let mut line = Vec::new();
        write_flow(&flow, &extra.borrow(), &mut line);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        prop_assert_eq!(value["src"].as_str().unwrap(), flow.orig.src_ip(flow.family).to_string());
        prop_assert_eq!(value["timeout"].as_u64(), flow.remaining().map(u64::from));
        prop_assert_eq!(value["start_ns"].as_u64(), flow.start_ns());
        prop_assert_eq!(value.get("status").is_some(), flow.status().is_some());
    }

    #[test]
    fn flows_come_back_whole_and_in_the_order_of_their_keys(
        flows in prop::collection::vec((arbitrary::flow(), arbitrary::extra()), 0..40),
        compressed: bool,
    ) {
        let compression = if compressed { Compression::Zstd } else { Compression::None };
        let read = roundtrip(&flows, compression);
        let mut expected = flows;
        expected.sort_by_key(|(flow, _)| flow.key());
        prop_assert_eq!(read, expected);
    }
}

/// A flow whose place in the order has nothing to do with its number.
fn scattered(number: u32) -> Flow {
    let mut src = [0; 16];
    src[..4].copy_from_slice(&number.wrapping_mul(0x9E37_79B1).to_be_bytes());
    let orig = Tuple {
        src,
        src_port: 40_000,
        dst_port: 443,
        ..Tuple::default()
    };
    Flow::new(Family::Ipv4, Protocol::TCP, orig)
}

#[test]
fn several_runs_are_merged_into_one_order() {
    let count = RUN_FLOWS + 17;
    let flows: Vec<_> = (0..u32::try_from(count).unwrap())
        .map(|number| (scattered(number), OwnedExtra::default()))
        .collect();
    for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
        let read = roundtrip(&flows, compression);
        assert_eq!(read.len(), count);
        assert!(
            read.windows(2)
                .all(|pair| pair[0].0.key() < pair[1].0.key())
        );
    }
}

#[test]
fn an_empty_table_has_no_run() {
    assert_eq!(roundtrip(&[], Compression::Zstd), []);
    assert_eq!(roundtrip(&[], Compression::None), []);
}

#[test]
fn an_unpacked_file_is_the_snapshot_still() {
    let flows = (0..500).map(|number| (scattered(number), conntidy::flow::Extra::default()));
    let (file, trailer) = write(
        Vec::new(),
        &Header::default(),
        Compression::Zstd,
        flows,
        Dumped::default(),
    )
    .unwrap();
    // As `zstdcat` does it: frames one after the other, the seek table passed over.
    let text = zstd::decode_all(Cursor::new(file)).unwrap();
    let snapshot = Snapshot::open(Cursor::new(text)).unwrap();
    assert_eq!(snapshot.compression(), Compression::None);
    assert_eq!(snapshot.trailer(), &trailer);
}

#[test]
fn fields_of_later_versions_are_passed_over() {
    let line =
        br#"{"family":"ipv4","protocol":"esp","src":"10.0.0.1","dst":"10.0.0.2","later":[1]}"#;
    let (flow, _) = read_flow(line).unwrap();
    assert_eq!(flow.protocol, Protocol(50));
}

#[test]
fn lines_that_contradict_themselves_are_refused() {
    let base = r#""family":"ipv4","src":"10.0.0.1","dst":"10.0.0.2""#;
    for (rest, complaint) in [
        (r#""protocol":"tcp","sport":1"#, "`dport` is missing"),
        (r#""protocol":"quic"#, "EOF"),
        (r#""protocol":"quic""#, "`protocol` cannot be `quic`"),
        (
            r#""protocol":"icmp","icmp_type":8,"icmp_code":0,"icmp_id":1,"sport":2"#,
            "`sport` does not belong to icmp",
        ),
        (
            r#""protocol":"esp","packets":1"#,
            "`packets` and `bytes` go together",
        ),
        (
            r#""protocol":"esp","reply_src":"::1""#,
            "`reply_src` cannot be `::1`",
        ),
        (
            r#""protocol":"esp","status":["unreplied"]"#,
            "unknown status `unreplied`",
        ),
        (
            r#""protocol":"esp","zone":1,"orig_zone":1"#,
            "`zone` cannot be `1`",
        ),
        (
            r#""protocol":"esp","wscale":16,"reply_wscale":0"#,
            "`wscale` cannot be `16`",
        ),
        (r#""protocol":"esp","labels":[128]"#, "no label 128"),
    ] {
        let error = read_flow(format!("{{{base},{rest}}}").as_bytes()).unwrap_err();
        assert!(error.to_string().contains(complaint), "{rest}: {error}");
    }
}
