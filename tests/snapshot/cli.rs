use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::assert::{Assert, OutputAssertExt};

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gateway.jsonl.zst")
}

/// The file of this format's first version; see `docs/snapshot-format.md`.
fn version_1() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/snapshot/version-1.jsonl.zst")
}

fn show(file: &Path, arguments: &[&str]) -> Assert {
    Command::new(env!("CARGO_BIN_EXE_conntidy"))
        .args(["snapshot", "show"])
        .arg(file)
        .args(arguments)
        .assert()
}

fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn stderr(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

#[test]
fn the_summary_counts_by_protocol_and_state() {
    let text = stdout(&show(&sample(), &[]).success());
    insta::assert_snapshot!(text.lines().take(10).collect::<Vec<_>>().join("\n"), @r"
    snapshot   host gw1   netns init   2026-01-31T12:00:00Z   kernel 6.1.0-28-amd64   conntidy 0.1.0
    table      20,277 / 65,536 (30 %)   buckets 65,536
    flows      20,277   ipv4 16,678   ipv6 3,599
    status     assured 15,980   unreplied 2,051   offloaded 420
    nat        source 13,813   destination 1,980
    also       marked 8,855   in a zone 800   with a helper 33   labelled 107   with counters 19,510   with a start time 19,510
    protocols
      9,084  tcp      ESTABLISHED
      4,058  tcp      TIME_WAIT
      3,954  udp
    ");
    assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
}

#[test]
fn the_json_summary_agrees_with_the_lines_of_the_file() {
    let shown: serde_json::Value =
        serde_json::from_str(&stdout(&show(&sample(), &["-o", "json"]).success())).unwrap();
    let one_line = stdout(&show(&sample(), &["-o", "jsonl"]).success());
    assert_eq!(one_line.lines().count(), 1);
    assert_eq!(
        shown,
        serde_json::from_str::<serde_json::Value>(&one_line).unwrap()
    );
    let text = zstd::decode_all(fs::File::open(sample()).unwrap()).unwrap();
    let flows: Vec<serde_json::Value> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"{\"family\""))
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let count = |holds: &dyn Fn(&serde_json::Value) -> bool| {
        flows.iter().filter(|flow| holds(flow)).count() as u64
    };
    let says = |flow: &serde_json::Value, word: &str| {
        let status = flow["status"].as_array().unwrap();
        status.iter().any(|one| one == word)
    };
    let summary = &shown["summary"];
    assert_eq!(summary["flows"], flows.len() as u64);
    assert_eq!(summary["unreplied"], count(&|f| !says(f, "seen-reply")));
    assert_eq!(summary["src_nat"], count(&|f| says(f, "src-nat")));
    assert_eq!(
        summary["src_nat"],
        count(&|f| !f["reply_dst"].is_null() || !f["reply_dport"].is_null())
    );
    assert_eq!(summary["ipv6"], count(&|f| f["family"] == "ipv6"));
    assert_eq!(
        summary["protocols"][0],
        serde_json::json!({
            "protocol": "tcp",
            "state": "ESTABLISHED",
            "flows": count(&|f| f["protocol"] == "tcp" && f["state"] == "ESTABLISHED"),
        })
    );
}

#[test]
fn flows_are_listed_in_three_forms() {
    let text = stdout(&show(&version_1(), &["--flows"]).success());
    let lines = stdout(&show(&version_1(), &["--flows", "-o", "jsonl"]).success());
    let array = stdout(&show(&version_1(), &["--flows", "-o", "json"]).success());
    let array: Vec<serde_json::Value> = serde_json::from_str(&array).unwrap();
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(array, lines);
    assert_eq!(text.lines().count(), lines.len());
    insta::assert_snapshot!(text, @r"
    ipv4 tcp      6   431000 ESTABLISHED src=10.0.16.9 dst=45.1.2.3 sport=40113 dport=21 src=45.1.2.3 dst=10.0.16.9 sport=21 dport=40113 [ASSURED] mark=0 helper=ftp secctx=system_u:object_r:unlabeled_t:s0 labels=0,64,127 id=2
    ipv4 tcp      6   src=10.0.16.9 dst=45.1.2.3 sport=40114 dport=20001 src=45.1.2.3 dst=10.0.16.9 sport=20001 dport=40114 [ASSURED] [HW_OFFLOAD] [OFFLOAD] [EXPECTED] mark=0 id=3
    ipv4 tcp      6   119 SYN_SENT src=10.0.16.9 dst=45.1.2.3 sport=40115 dport=80 [UNREPLIED] src=45.1.2.3 dst=10.0.16.9 sport=80 dport=40115 mark=0 id=4
    ipv4 tcp      6   431990 ESTABLISHED src=10.0.16.9 dst=142.250.9.1 sport=40112 dport=443 packets=12 bytes=3400 src=142.250.9.1 dst=203.0.113.1 sport=443 dport=61001 packets=20 bytes=18000 [ASSURED] mark=16 id=2589492386
    ipv4 tcp      6   77 TIME_WAIT src=198.51.100.7 dst=203.0.113.1 sport=51000 dport=443 src=10.0.3.9 dst=10.0.3.1 sport=8443 dport=51000 [ASSURED] mark=0 id=1
    ipv4 dccp     33  470 PARTOPEN src=10.0.5.10 dst=45.1.2.3 sport=5001 dport=5002 src=45.1.2.3 dst=10.0.5.10 sport=5002 dport=5001
    ipv4 sctp     132 200 ESTABLISHED src=10.0.5.10 dst=45.1.2.3 sport=2905 dport=2905 src=45.1.2.3 dst=10.0.5.10 sport=2905 dport=2905 [ASSURED]
    ipv4 253      253 state-200 src=10.0.5.10 dst=45.1.2.3 src=45.1.2.3 dst=10.0.5.10
    ipv4 icmp     1   29 src=10.0.16.9 dst=9.9.9.9 type=8 code=0 id=77 src=9.9.9.9 dst=203.0.113.1 type=0 code=0 id=1077 zone=7
    ipv4 gre      47  29 src=10.0.16.9 dst=45.1.2.3 srckey=0x100 dstkey=0x200 [UNREPLIED] src=45.1.2.3 dst=10.0.16.9 srckey=0x1 dstkey=0x100 zone-orig=9 zone-reply=10
    ipv6 udp      17  29 src=2001:db8:1::5 dst=2606:4700::1 sport=50000 dport=53 packets=18446744073709551615 bytes=18446744073709551615 src=2606:4700::1 dst=2001:db8:1::5 sport=53 dport=50000 mark=4294967295 id=4294967295
    ipv6 icmpv6   58  29 src=2001:db8:1::5 dst=2606:4700::1 type=128 code=0 id=5 [UNREPLIED] src=2606:4700::1 dst=2001:db8:1::5 type=129 code=0 id=5 [FIXED_TIMEOUT] zone-orig=9
    ");
}

#[test]
fn the_first_version_is_still_read() {
    let shown = stdout(&show(&version_1(), &["-o", "json"]).success());
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["header"]["host"], "gw1");
    assert_eq!(shown["summary"]["flows"], 12);
}

#[test]
fn a_damaged_snapshot_fails_with_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let damaged = directory.path().join("damaged");
    let mut bytes = fs::read(sample()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&damaged, bytes).unwrap();
    let plain = show(&damaged, &[]).code(1);
    let said = stderr(&plain);
    assert!(said.contains("the snapshot is damaged at byte"), "{said}");
    assert!(said.contains("(run 1, line"), "{said}");
    assert!(said.contains("--salvage"), "{said}");
    assert_eq!(stdout(&plain), "");

    let salvaged = show(&damaged, &["--salvage"]).code(4);
    let text = stdout(&salvaged);
    assert!(text.contains("damage at byte"), "{text}");
    assert!(text.contains("no checksum vouches for"), "{text}");
    let flows = show(&damaged, &["--salvage", "--flows"]).code(4);
    assert!(stdout(&flows).lines().count() > 1000);
    assert!(stderr(&flows).starts_with("damage: at byte"));
    show(&sample(), &["--salvage"]).success();
}

#[test]
fn another_file_is_no_snapshot() {
    let said = stderr(&show(Path::new(env!("CARGO_BIN_EXE_conntidy")), &[]).code(1));
    assert!(said.contains("not a conntidy snapshot"), "{said}");
    let said = stderr(&show(Path::new("/nonexistent"), &[]).code(1));
    assert!(said.contains("No such file"), "{said}");
    for command in [
        "snapshot show /dev/stdin",
        "snapshot show --salvage /dev/stdin",
        "plan --policy \"$2\" --from /dev/stdin",
    ] {
        let piped = Command::new("sh")
            .args(["-c", &format!("cat \"$1\" | \"$0\" {command}")])
            .arg(env!("CARGO_BIN_EXE_conntidy"))
            .arg(sample())
            .arg(sample().with_file_name("gateway.toml"))
            .output()
            .unwrap();
        assert_eq!(piped.status.code(), Some(1), "{command}");
        let said = String::from_utf8_lossy(&piped.stderr);
        assert!(said.contains("not from a pipe"), "{said}");
        assert!(said.contains("/dev/stdin"), "{said}");
        assert!(said.contains("snapshot take --out FILE"), "{said}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let cut = directory.path().join("cut");
    let bytes = fs::read(sample()).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 0x10;
    let damaged = directory.path().join("damaged");
    fs::write(&damaged, flipped).unwrap();
    for file in [Path::new("/etc/passwd"), directory.path(), &cut, &damaged] {
        let said = stderr(&show(file, &[]).code(1));
        assert!(said.contains(&file.display().to_string()), "{said}");
    }
}

fn within(directory: &Path, arguments: &[&str]) -> Assert {
    Command::new(env!("CARGO_BIN_EXE_conntidy"))
        .args(arguments)
        .current_dir(directory)
        .assert()
}

#[test]
fn a_snapshot_of_the_store_goes_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let name = "20260131T120000Z-init";
    let store = directory.path().join("store");
    fs::create_dir(&store).unwrap();
    fs::copy(sample(), store.join(format!("{name}.jsonl.zst"))).unwrap();
    for name in [name, &format!("{name}.jsonl.zst")] {
        let show = ["snapshot", "show", name, "--directory", "store"];
        let said = stdout(&within(directory.path(), &show).success());
        assert!(said.starts_with("snapshot   host gw1"), "{said}");
    }
    let show = ["snapshot", "show", "nosuch", "--directory", "store"];
    let said = stderr(&within(directory.path(), &show).code(1));
    assert!(
        said.contains("the newest there: 20260131T120000Z-init"),
        "{said}"
    );
}

#[test]
fn a_text_without_one_entry_makes_no_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let import = |text: &str, code: i32| {
        fs::write(directory.path().join("text"), text).unwrap();
        let import = ["snapshot", "import", "text", "--out", "made"];
        within(directory.path(), &import).code(code)
    };
    let said = stderr(&import("root:x:0:0\nbin:x:1:1\n", 1));
    assert!(
        said.contains("line 1") && said.contains("root:x:0:0"),
        "{said}"
    );
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    import("", 0);
    let udp = "udp 17 9 src=10.0.0.5 dst=192.0.2.1 sport=1 dport=53 src=192.0.2.1 dst=10.0.0.5 \
               sport=53 dport=1\ngarbage\n";
    import(udp, 4);
    let said = stdout(&show(&directory.path().join("made"), &[]).success());
    assert!(
        said.starts_with("snapshot   host unknown   netns imported"),
        "{said}"
    );
}

#[test]
fn what_an_import_does_not_know_is_said_to_be_unknown() {
    let directory = tempfile::tempdir().unwrap();
    let line = "udp 17 29 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 \
                sport=2 dport=1 mark=0 use=1\n";
    fs::write(directory.path().join("text"), line).unwrap();
    let import = ["snapshot", "import", "text", "--out", "made"];
    within(directory.path(), &import).success();
    let said = stdout(&within(directory.path(), &["snapshot", "show", "made"]).success());
    assert!(said.starts_with("snapshot   host unknown"), "{said}");
    assert!(said.contains("kernel unknown   conntidy"), "{said}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let output = Command::new("sh")
        .args(["-c", "\"$0\" snapshot show \"$1\" --flows | head -n 1"])
        .arg(env!("CARGO_BIN_EXE_conntidy"))
        .arg(sample())
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_reader_that_has_seen_enough_hides_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let damaged = directory.path().join("damaged");
    let bytes = fs::read(sample()).unwrap();
    fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    for arguments in [&[][..], &["--flows"], &["-o", "json"], &["-o", "jsonl"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_conntidy"))
            .args(["snapshot", "show", "--salvage"])
            .arg(&damaged)
            .args(arguments)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(4), "{arguments:?}");
    }
}

#[test]
fn the_documentation_names_every_field_of_the_schema() {
    let documentation = include_str!("../../docs/snapshot-format.md");
    let schema = conntidy::snapshot::schema().to_value();
    let definitions = &schema["$defs"];
    for line in [
        "Header",
        "Flow",
        "Group",
        "Trailer",
        "Aggregated",
        "SeqAdjust",
    ] {
        let fields = definitions[line]["properties"].as_object().unwrap();
        for field in fields.keys() {
            // A family of fields is named by its first and the endings of the others.
            let ending = field.rsplit('_').next().unwrap();
            assert!(
                documentation.contains(&format!("`{field}`"))
                    || documentation.contains(&format!("`_{ending}`"))
                    || documentation.contains(&format!("\"{field}\"")),
                "{line}: {field}"
            );
        }
    }
}
