//! Aggregates and redacted snapshots, beside the flows that they were made of.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::assert::OutputAssertExt;
use conntidy::kernel::Recorded;
use conntidy::observe::{Observe, Redaction};
use conntidy::policy::{Compression, Detail};
use conntidy::snapshot::{Group, Line, Redactor, Snapshot, SnapshotError, Summary, salvage_lines};
use conntidy::store::{Form, take};
use serde_json::Value;

const KEY: &[u8] = b"a key for tests only, 32 bytes..";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The sample gateway again, in another form.
fn again(form: &Form) -> Vec<u8> {
    let gateway = Recorded::open(path("examples/gateway.jsonl.zst")).unwrap();
    let header = gateway.header().unwrap();
    take(&gateway, &header, Vec::new(), form, |_| ()).unwrap().0
}

fn aggregate(compression: Compression, redactor: Option<Redactor>) -> Vec<u8> {
    again(&Form {
        compression,
        detail: Detail::Aggregate,
        redactor,
    })
}

fn groups(file: &[u8]) -> Result<Vec<Group>, SnapshotError> {
    let mut snapshot = Snapshot::open(Cursor::new(file))?;
    let mut groups = snapshot.groups()?;
    let mut all = Vec::new();
    while let Some(group) = groups.next_group()? {
        all.push(group);
    }
    Ok(all)
}

/// The lines of the sample, as any program reads them.
fn lines() -> Vec<Value> {
    let text = zstd::decode_all(File::open(path("examples/gateway.jsonl.zst")).unwrap()).unwrap();
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

#[test]
fn groups_count_what_the_lines_of_the_flows_count() {
    let mut expected: BTreeMap<(String, String, u64), (u64, u64)> = BTreeMap::new();
    for line in lines().iter().filter(|line| line.get("src").is_some()) {
        let mut cut = Redactor::prefix();
        let src = line["src"].as_str().unwrap().parse().unwrap();
        let key = (
            cut.address(src).to_string(),
            line["state"].as_str().unwrap_or("").to_owned(),
            line["dport"].as_u64().unwrap_or(0),
        );
        let one = expected.entry(key).or_default();
        one.0 += 1;
        if line.get("packets").is_some() && line.get("reply_packets").is_some() {
            one.1 += line["bytes"].as_u64().unwrap();
        }
    }
    for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
        let file = aggregate(compression, None);
        let mut found: BTreeMap<(String, String, u64), (u64, u64)> = BTreeMap::new();
        let groups = groups(&file).unwrap();
        for Group { common, totals } in &groups {
            let state = common.flow().state_name().unwrap_or("");
            let key = (
                common.src_ip().unwrap().to_string(),
                state.to_owned(),
                common.dport.unwrap_or(0).into(),
            );
            let one = found.entry(key).or_default();
            one.0 += totals.flows;
            one.1 += totals.bytes;
        }
        assert_eq!(found, expected);
        assert!(groups.len() < 5_000, "{}", groups.len());
    }
}

#[test]
fn an_aggregate_and_its_flows_are_summed_up_alike() {
    let mut of_groups = Summary::default();
    for group in groups(&aggregate(Compression::Zstd, None)).unwrap() {
        of_groups.add_group(&group);
    }
    let mut of_flows = Summary::default();
    let gateway = Recorded::open(path("examples/gateway.jsonl.zst")).unwrap();
    let mut add = |record: &conntidy::observe::Record<'_>| of_flows.add(record);
    gateway.dump(&mut [&mut add]).unwrap();
    let (of_groups, of_flows) = (of_groups.finish(), of_flows.finish());
    assert_eq!(of_groups.flows, of_flows.flows);
    let sorted = |summary: &Summary| {
        let mut counts: Vec<_> = (summary.protocols.iter())
            .map(|count| (count.protocol.clone(), count.state.clone(), count.flows))
            .collect();
        counts.sort();
        counts
    };
    assert_eq!(sorted(&of_groups), sorted(&of_flows));
    assert_eq!(of_groups.assured, of_flows.assured);
    assert_eq!(of_groups.unreplied, of_flows.unreplied);
    assert_eq!(of_groups.src_nat, of_flows.src_nat);
    assert_eq!(of_groups.marked, of_flows.marked);
    assert_eq!(of_groups.counted, of_flows.counted);
}

#[test]
fn no_address_is_left_in_a_redacted_snapshot() {
    let header = &lines()[0];
    let mut addresses: Vec<String> = (header["addresses"].as_array().unwrap().iter())
        .map(|address| address.as_str().unwrap().to_owned())
        .collect();
    for line in lines().iter().skip(1) {
        for field in ["src", "dst", "reply_src", "reply_dst"] {
            addresses.extend(line[field].as_str().map(str::to_owned));
        }
    }
    // Those that are the first of their network stay so; loopback is nobody's.
    addresses.retain(|address| {
        !(address.ends_with(".0") || address.ends_with(':') || address.starts_with("127."))
            && address != "::1"
    });
    addresses.sort();
    addresses.dedup();
    for redactor in [Redactor::prefix(), Redactor::pseudonym(KEY).unwrap()] {
        for detail in [Detail::Full, Detail::Aggregate] {
            let file = again(&Form {
                compression: Compression::None,
                detail,
                redactor: Some(redactor.clone()),
            });
            let text = String::from_utf8(file).unwrap();
            let words: std::collections::HashSet<&str> = text.split('"').collect();
            let left: Vec<_> = (addresses.iter())
                .filter(|address| words.contains(address.as_str()))
                .collect();
            assert!(left.is_empty(), "{detail:?}: {left:?}");
        }
    }
}

#[test]
fn pseudonyms_keep_who_is_who() {
    let hidden = again(&Form {
        redactor: Some(Redactor::pseudonym(KEY).unwrap()),
        ..Form::default()
    });
    let mut snapshot = Snapshot::open(Cursor::new(hidden)).unwrap();
    let mut flows = snapshot.flows().unwrap();
    let mut of_client: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(record) = flows.next_flow().unwrap() {
        let src = record.flow.orig.src_ip(record.flow.family);
        *of_client.entry(src.to_string()).or_default() += 1;
    }
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for line in lines() {
        if let Some(src) = line["src"].as_str() {
            *expected.entry(src.to_owned()).or_default() += 1;
        }
    }
    let sorted = |counts: BTreeMap<String, u64>| {
        let mut counts: Vec<u64> = counts.into_values().collect();
        counts.sort_unstable();
        counts
    };
    assert_eq!(sorted(of_client), sorted(expected));
}

#[test]
fn no_truncation_of_an_aggregate_goes_unnoticed_and_the_rest_is_salvaged() {
    let small = |compression| {
        let file = aggregate(compression, None);
        assert_eq!(salvaged(&file).1, 0);
        file
    };
    for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
        let file = small(compression);
        let whole = groups(&file).unwrap().len();
        for part in 1..12 {
            let length = file.len() * part / 12;
            assert!(groups(&file[..length]).is_err(), "{compression:?} {length}");
            let (found, damages) = salvaged(&file[..length]);
            assert!(damages > 0 && found < whole, "{compression:?} {length}");
        }
        assert!(salvaged(&file[..file.len() / 2]).0 > whole / 4);
    }
}

/// Groups and damages.
fn salvaged(file: &[u8]) -> (usize, usize) {
    let mut found = 0;
    let salvaged = salvage_lines(Cursor::new(file), |line| {
        found += usize::from(matches!(line, Line::Group(_)));
    });
    (found, salvaged.map_or(1, |found| found.damages.len()))
}

fn conntidy(arguments: &[&str], file: &Path) -> assert_cmd::assert::Assert {
    Command::new(env!("CARGO_BIN_EXE_conntidy"))
        .args(arguments)
        .arg(file)
        .assert()
}

#[test]
fn what_needs_flows_refuses_an_aggregate() {
    let file = path("tests/cases/snapshot/aggregate-1.jsonl.zst");
    let policy = path("examples/gateway.toml");
    let plan = ["plan", "-p", policy.to_str().unwrap(), "--from"];
    let refused = conntidy(&plan, &file).code(1);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("groups with counts and no flows"), "{said}");
    assert!(said.contains("aggregate-1"), "{said}");
}

#[test]
fn a_plan_on_redacted_addresses_takes_nothing_by_address_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.toml");
    fs::write(
        &policy,
        "version = 1\n[rules.all]\nmatch = { src = \"0.0.0.0/0\" }\naction = \"report\"\n\
         [rules.tcp]\nmatch = { protocol = \"tcp\" }\naction = \"report\"\n",
    )
    .unwrap();
    let file = path("tests/cases/snapshot/version-1-pseudonym.jsonl.gz");
    let plan = [
        "plan",
        "-o",
        "json",
        "-p",
        policy.to_str().unwrap(),
        "--from",
    ];
    let planned = conntidy(&plan, &file).success();
    let output = planned.get_output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("pseudonyms in place of addresses"), "{said}");
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rules = plan["rules"].as_array().unwrap();
    assert_eq!(rules[0]["matched"], 0, "{}", rules[0]);
    assert_ne!(rules[1]["matched"], 0, "{}", rules[1]);
}

/// The files that keep the first version of what they hold; see `docs/snapshot-format.md`.
#[test]
fn the_first_versions_are_read() {
    let bytes = fs::read(path("tests/cases/snapshot/aggregate-1.jsonl.zst")).unwrap();
    let read = groups(&bytes).unwrap();
    let flows: u64 = read.iter().map(|group| group.totals.flows).sum();
    let snapshot = Snapshot::open(Cursor::new(&bytes)).unwrap();
    assert_eq!(snapshot.detail(), Detail::Aggregate);
    assert_eq!(snapshot.trailer().table_flows(), flows);
    assert_eq!(snapshot.trailer().flows, read.len() as u64);

    let bytes = fs::read(path("tests/cases/snapshot/version-1-pseudonym.jsonl.gz")).unwrap();
    let mut snapshot = Snapshot::open(Cursor::new(&bytes)).unwrap();
    assert_eq!(snapshot.compression(), Compression::Gzip);
    let key = "4670036b9302811d".to_owned();
    assert_eq!(
        snapshot.header().redaction,
        Some(Redaction::Pseudonym { key })
    );
    let whole = snapshot.trailer().flows;
    let mut merged = snapshot.flows().unwrap();
    let mut count = 0;
    while merged.next_flow().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, whole);
}

#[test]
#[ignore = "writes the files of the test above; only for a new version"]
fn first_versions_are_written() {
    let source = Recorded::open(path("tests/cases/snapshot/version-1.jsonl.zst")).unwrap();
    let header = source.header().unwrap();
    let write = |name: &str, form: &Form| {
        let (bytes, _) = take(&source, &header, Vec::new(), form, |_| ()).unwrap();
        fs::write(path("tests/cases/snapshot").join(name), bytes).unwrap();
    };
    write(
        "aggregate-1.jsonl.zst",
        &Form {
            detail: Detail::Aggregate,
            ..Form::default()
        },
    );
    write(
        "version-1-pseudonym.jsonl.gz",
        &Form {
            compression: Compression::Gzip,
            redactor: Some(Redactor::pseudonym(KEY).unwrap()),
            ..Form::default()
        },
    );
}
