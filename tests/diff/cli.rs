//! The command on two small snapshots.

use std::fs;
use std::path::Path;
use std::process::Command;

use conntidy::policy::Compression;
use serde_json::Value;
use tempfile::TempDir;

use crate::incident::{after, before, header, path, snapshot};

pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn run(directory: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_conntidy"))
        .args(arguments)
        .env_clear()
        .env("TZ", "UTC")
        .env("HOME", directory)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// `diff` of the two files.
fn compared(arguments: &[&str]) -> Ran {
    let cases = path("");
    let files = ["diff", "before.jsonl.zst", "after.jsonl.zst"];
    run(&cases, &[&files[..], arguments].concat())
}

fn json(arguments: &[&str]) -> Value {
    let ran = compared(&[&["-o", "json"], arguments].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    serde_json::from_str(&ran.stdout).unwrap()
}

/// A store with the two, and an older one of another namespace.
fn store() -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, later, entries) in [
        ("20260131T030000Z-init.jsonl", false, before()),
        ("20260131T031500Z-init.jsonl", true, after()),
        ("20260131T031000Z-blue.jsonl", false, before()),
    ] {
        let bytes = snapshot(header(later), &entries, Compression::None);
        fs::write(directory.path().join(name), bytes).unwrap();
    }
    directory
}

#[test]
fn the_one_who_filled_the_table_is_named_first() {
    let ran = compared(&["--by", "src"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!(ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.trim_end() == line));
}

#[test]
fn the_document_tells_flows_by_their_fate() {
    let document = json(&["--by", "src/24,dport"]);
    assert_eq!(document["schema"], "conntidy.diff/1");
    assert_eq!(document["relation"], "same-table");
    let flows = &document["flows"];
    // 50 closed and 40 of DNS; 20 of DNS came again; 30 closed and one was marked.
    assert_eq!(flows["gone"], 90);
    assert_eq!(flows["recreated"], 20);
    assert_eq!(flows["changed"], 31);
    assert_eq!(flows["new"], 600);
    assert_eq!(flows["presumed"], 0);
    let first = &document["groupings"][0]["growers"][0];
    assert_eq!(
        first["key"],
        serde_json::json!({"src": "10.7.7.0/24", "dport": 23})
    );
    assert_eq!(
        (&first["change"], &first["share"]),
        (&600.into(), &1.0.into())
    );
    let counters = document["statistics"]["counters"].as_array().unwrap();
    let of = |name: &str| counters.iter().find(|one| one["name"] == name).unwrap();
    assert_eq!(of("early_drop")["delta"], 36);
    assert_eq!(
        (&of("invalid")["delta"], &of("invalid")["wrapped"]),
        (&70.into(), &true.into())
    );
    assert_eq!(
        document["tunables"][0]["name"],
        "nf_conntrack_tcp_timeout_established"
    );
}

#[test]
fn flows_are_listed_as_text_and_as_lines_of_json() {
    let text = compared(&["--flows"]).stdout;
    let starting = |sign: &str| text.lines().filter(|line| line.starts_with(sign)).count();
    assert_eq!(starting("+ "), 600);
    assert_eq!(starting("- "), 90);
    assert_eq!((starting("%- "), starting("%+ ")), (20, 20));
    assert_eq!((starting("~- "), starting("~+ ")), (31, 31));
    let lines = compared(&["--flows", "-o", "jsonl"]).stdout;
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 741);
    let marked = lines
        .iter()
        .find(|line| line["after"]["mark"] == 7)
        .unwrap();
    assert_eq!(
        (&marked["change"], &marked["before"]["mark"]),
        (&"changed".into(), &0.into())
    );
}

#[test]
fn columns_of_csv_add_up_to_the_tables() {
    let text = compared(&["-o", "csv", "--by", "protocol,dport", "--top", "1"]).stdout;
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(
        rows[0],
        [
            "protocol",
            "dport",
            "before",
            "after",
            "change",
            "share",
            "new",
            "gone",
            "recreated"
        ]
    );
    assert_eq!(rows[1][..5], ["tcp", "23", "0", "600", "600"]);
    let sum = |column: usize| -> u64 {
        rows[1..]
            .iter()
            .map(|row| row[column].parse::<u64>().unwrap())
            .sum()
    };
    assert_eq!((sum(2), sum(3)), (261, 771));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = compared(&["-o", "html"]).stdout;
    assert!(page.starts_with("<!DOCTYPE html>"));
    for wanted in [
        "<svg",
        "prefers-color-scheme: dark",
        "10.7.7.23",
        "early_drop",
        "SYN_SENT",
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
    for unwanted in ["http:", "https:", "<script", "@import", "url(", "src=\""] {
        assert!(!page.contains(unwanted), "{unwanted}");
    }
}

#[test]
fn what_a_snapshot_says_is_no_markup() {
    let directory = TempDir::new().unwrap();
    let mut evil = header(false);
    evil.host = "<img src=x onerror=alert(1)>|`x`".to_owned();
    for (name, entries) in [("a.jsonl", before()), ("b.jsonl", after())] {
        let bytes = snapshot(evil.clone(), &entries, Compression::None);
        fs::write(directory.path().join(name), bytes).unwrap();
    }
    let page = run(
        directory.path(),
        &["diff", "a.jsonl", "b.jsonl", "-o", "html"],
    )
    .stdout;
    assert!(!page.contains("<img") && page.contains("&lt;img src=x"));
    let markdown = run(
        directory.path(),
        &["diff", "a.jsonl", "b.jsonl", "-o", "markdown"],
    )
    .stdout;
    assert!(!markdown.contains("<img") && markdown.contains("\\|\\`x\\`"));
}

#[test]
fn markdown_has_a_table_a_grouping() {
    let text = compared(&["-o", "markdown", "--by", "src", "--by", "dport"]).stdout;
    assert!(text.contains("### By src\n\n| src | before |"), "{text}");
    assert!(
        text.contains("| 10.7.7.23 | 0 | 600 | +600 | 100 % | 600 | 0 |"),
        "{text}"
    );
    assert!(text.contains("- **early_drop** 36"), "{text}");
}

#[test]
fn differences_have_an_exit_code_where_one_asks() {
    assert_eq!(
        compared(&["--detailed-exitcode", "-o", "csv"]).code,
        Some(2)
    );
    let same = [
        "diff",
        "before.jsonl.zst",
        "before.jsonl.zst",
        "--detailed-exitcode",
    ];
    let ran = run(&path(""), &same);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.ends_with("No difference\n"), "{}", ran.stdout);
}

#[test]
fn snapshots_of_the_store_go_by_number_by_time_and_by_name() {
    let store = store();
    let sides = |arguments: &[&str]| {
        let all = [&["diff", "--directory", ".", "-o", "json"], arguments].concat();
        let ran = run(store.path(), &all);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
        let document: Value = serde_json::from_str(&ran.stdout).unwrap();
        ["before", "after"].map(|side| document[side]["name"].as_str().unwrap().to_owned())
    };
    let both = ["20260131T030000Z-init.jsonl", "20260131T031500Z-init.jsonl"];
    assert_eq!(sides(&["--last", "2"]), both);
    assert_eq!(sides(&["--last", "9"]), both);
    let ran = run(
        store.path(),
        &["diff", "--directory", ".", "--last", "9", "-o", "json"],
    );
    assert!(ran.stderr.contains("has 2 snapshots"), "{}", ran.stderr);
    assert!(ran.stderr.contains("not 9"), "{}", ran.stderr);
    assert_eq!(sides(&["--at", "2026-01-31 03:12"]), both);
    assert_eq!(sides(&["--at", "2026-01-31T03:00:00Z"]), both);
    fs::create_dir(store.path().join("elsewhere")).unwrap();
    let ran = run(
        &store.path().join("elsewhere"),
        &[
            "diff",
            "--directory",
            "..",
            "20260131T030000Z-init",
            both[1],
        ],
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn what_is_not_there_says_what_is() {
    let store = store();
    for (arguments, code, said) in [
        (
            &["--at", "2026-01-31 02:00"][..],
            1,
            "the oldest is 20260131T030000Z-init.jsonl",
        ),
        (
            &["--at", "2026-01-31 04:00"],
            1,
            "the newest is 20260131T031500Z-init.jsonl",
        ),
        (
            &["--at", "noonish"],
            64,
            "`noonish` is no time; it is written as `03:12`",
        ),
        (
            &["--last", "2", "--netns", "red"],
            1,
            "no snapshot of the namespace red",
        ),
        (&["--last", "2", "--netns", "blue"], 1, "a diff needs two"),
        (&["yesterdays", "live"], 1, "no such snapshot in ."),
        (&["live", "live"], 64, "one of the two only"),
        (&["a.jsonl"], 64, "name two snapshots, or one and `live`"),
        (&[], 64, "`--last 2` are the two newest of the store"),
        (&["--last", "1"], 64, "1 is not in 2.."),
        (&["--last", "2", "--by", "srcs"], 64, "did you mean `src`?"),
        (&["--last", "2", "-o", "jsonl"], 64, "needs `--flows`"),
        (
            &["--last", "2", "-o", "csv", "--by", "src", "--by", "dst"],
            64,
            "one table",
        ),
    ] {
        let all = [&["diff", "--directory", "."], arguments].concat();
        let ran = run(store.path(), &all);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn a_damaged_snapshot_is_named_and_nothing_is_shown() {
    let store = store();
    let name = "20260131T031500Z-init.jsonl";
    let mut bytes = fs::read(store.path().join(name)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(store.path().join(name), bytes).unwrap();
    let ran = run(store.path(), &["diff", "20260131T030000Z-init.jsonl", name]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(
        ran.stderr.contains(name) && ran.stderr.contains("damaged at byte"),
        "{}",
        ran.stderr
    );
}

#[test]
fn other_boots_and_other_hosts_are_said() {
    let directory = TempDir::new().unwrap();
    let mut rebooted = header(true);
    rebooted.boot_id = "other".to_owned();
    let mut elsewhere = rebooted.clone();
    elsewhere.host = "gw2".to_owned();
    for (name, header) in [("a", header(false)), ("b", rebooted), ("c", elsewhere)] {
        let bytes = snapshot(header, &before(), Compression::None);
        fs::write(directory.path().join(name), bytes).unwrap();
    }
    let document = |other: &str| -> Value {
        let ran = run(
            directory.path(),
            &["diff", "./a", &format!("./{other}"), "-o", "json"],
        );
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let after_boot = document("b");
    assert_eq!(after_boot["relation"], "other-boot");
    assert_eq!(after_boot["flows"]["recreated"], 261);
    assert!(after_boot["statistics"]["incomparable"].is_string());
    assert_eq!(
        after_boot["statistics"]["counters"][0]["delta"],
        Value::Null
    );
    let mut nobody = header(true);
    nobody.host = String::new();
    let bytes = snapshot(nobody, &before(), Compression::None);
    fs::write(directory.path().join("d"), bytes).unwrap();
    for (format, said) in [
        ("text", "   host gw1 -> unknown   "),
        ("markdown", ": gw1 -&gt; unknown ("),
        ("html", "on gw1 -&gt; unknown: "),
    ] {
        let ran = run(directory.path(), &["diff", "./a", "./d", "-o", format]);
        assert!(ran.stdout.contains(said), "{}", ran.stdout);
    }
    let two = document("c");
    assert_eq!(two["relation"], "other-table");
    assert_eq!(two["flows"]["unchanged"], 261);
}

#[test]
fn a_series_has_a_sparkline_a_group_and_adds_up() {
    let store = store();
    let shown = |arguments: &[&str]| {
        let all = [&["series", "--directory", ".", "--top", "2"], arguments].concat();
        let ran = run(store.path(), &all);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stdout
    };
    insta::assert_snapshot!(shown(&["--by", "src/24", "--last", "5"]));
    let document: Value = serde_json::from_str(&shown(&["-o", "json"])).unwrap();
    assert_eq!(document["schema"], "conntidy.series/1");
    for (at, point) in document["points"].as_array().unwrap().iter().enumerate() {
        for grouping in document["groupings"].as_array().unwrap() {
            let lines = grouping["lines"].as_array().unwrap().iter();
            let listed: u64 = lines.map(|line| line["flows"][at].as_u64().unwrap()).sum();
            let rest = grouping["rest"][at].as_u64().unwrap();
            assert_eq!(Some(listed + rest), point["flows"].as_u64());
        }
    }
    let rows = shown(&[
        "-o",
        "csv",
        "--since",
        "2026-01-31 03:10",
        "--by",
        "protocol",
    ]);
    assert_eq!(
        rows,
        "time,protocol,flows\n2026-01-31T03:15:00Z,tcp,751\n2026-01-31T03:15:00Z,udp,20\n\
         2026-01-31T03:15:00Z,*,0\n"
    );
    assert!(shown(&["-o", "markdown"]).contains("### By src/24"));
}

#[test]
fn a_damaged_snapshot_of_the_store_hides_no_other_from_a_series() {
    let store = store();
    let damaged = "20260131T032000Z-init.jsonl";
    let whole = fs::read_to_string(store.path().join("20260131T031500Z-init.jsonl")).unwrap();
    // Found when it is opened, and only when its flows are read.
    for text in [
        "{\"schema\":",
        &whole.replace("\"dport\":443", "\"dport\":444"),
    ] {
        fs::write(store.path().join(damaged), text).unwrap();
        hides_no_other(&store, damaged);
    }
}

fn hides_no_other(store: &TempDir, damaged: &str) {
    let series = [
        "series",
        "--directory",
        ".",
        "--netns",
        "init",
        "-o",
        "json",
    ];
    let ran = run(store.path(), &series);
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.stderr.contains(damaged), "{}", ran.stderr);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["points"].as_array().unwrap().len(), 2);
    let notes = document["notes"].as_array().unwrap();
    assert!(
        notes.contains(&"1 snapshot could not be read: not shown".into()),
        "{notes:?}"
    );
    let ran = run(
        store.path(),
        &["series", "20260131T030000Z-init.jsonl", damaged],
    );
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    let alone = tempfile::tempdir().unwrap();
    fs::copy(store.path().join(damaged), alone.path().join(damaged)).unwrap();
    let ran = run(alone.path(), &series);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
}

#[test]
fn the_page_of_a_series_needs_nothing_from_elsewhere() {
    let store = store();
    let directory = store.path().to_str().unwrap();
    let arguments = ["series", "--directory", directory, "-o", "html"];
    let ran = run(store.path(), &arguments);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let page = ran.stdout;
    for wanted in [
        "Connection tracking on gw1: 261 -&gt; 771",
        "default-src 'none'",
        "<polygon points=\"0.0,",
        "style=\"fill:var(--unreplied)\"",
        "up to 771 of 1,024",
        "<td class=\"key\">10.7.7.0/24</td>",
        "<td class=\"num up\">+600</td>",
        "By protocol,state",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    for unwanted in ["http:", "https:", "src=", "<script", "url("] {
        assert!(!page.contains(unwanted), "{unwanted}");
    }
}
