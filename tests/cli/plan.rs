//! `plan --from` as a step of continuous integration: no root, no kernel.

use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::fixture::{Cli, Ran};

const POLICY: &str = r#"version = 1
timeouts.tcp.established = "1d"

[rules.greedy]
match = { protocol = "tcp" }
action = "delete"
allow-assured = true
budget = { count = 5, percent = 0 }

[rules.closed]
match = { protocol = "tcp", state = "TIME_WAIT" }
action = "delete"
budget = { percent = 50 }
"#;

/// What it would do is known, but doubtful.
const WARNED: &str = "version = 1\n[rules.dns]\nmatch = { dport = 53 }\naction = \"delete\"\n";

fn plan(policy: &str, args: &[&str]) -> Ran {
    let cli = Cli::new();
    cli.write("p.toml", policy);
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gateway.jsonl.zst");
    let sample = sample.to_str().unwrap();
    let mut all = vec!["plan", "--quiet", "-p", "p.toml", "--from", sample];
    all.extend(args);
    cli.run(all)
}

#[test]
fn a_refused_rule_is_annotated_at_its_line() {
    let ran = plan(POLICY, &["-o", "github"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let first = ran.stdout.lines().next().unwrap();
    assert!(
        first.starts_with("::error file=p.toml,line=4,col=8,endLine=4,endColumn=14,title=conntidy%3A rule greedy::"),
        "{first}"
    );
    assert!(first.ends_with("over its budget of 5: rule refused"));
    let deletes = "::notice file=p.toml,line=10,col=8,endLine=10,endColumn=14,title=conntidy%3A rule closed::would delete";
    assert!(ran.stdout.contains(deletes), "{}", ran.stdout);
}

#[test]
fn mistakes_of_a_policy_are_annotated_too_and_exit_78() {
    for format in ["github", "markdown", "junit"] {
        let ran = plan("version = 1\nnonsense = 1\n", &["-o", format]);
        assert_eq!(ran.code, 78, "{format}");
        assert!(ran.stdout.contains("unknown-key"), "{}", ran.stdout);
        assert!(ran.stdout.contains("p.toml"), "{}", ran.stdout);
    }
}

#[test]
fn each_failure_has_its_own_exit_code() {
    for (policy, args, code) in [
        (POLICY, &[][..], 0),
        (POLICY, &["--fail-on", "refused"], 3),
        (POLICY, &["--fail-on", "warning", "--fail-on", "refused"], 3),
        (POLICY, &["--detailed-exitcode"], 2),
        (POLICY, &["--detailed-exitcode", "--fail-on", "refused"], 3),
        (WARNED, &["--fail-on", "refused"], 0),
        (WARNED, &["--fail-on", "refused,warning"], 78),
        (
            "version = 1\n[table]\nmax = 8000\nmode = \"enforce\"\n",
            &["--fail-on", "warning"],
            4,
        ),
        (POLICY, &["--fail-on", "everything"], 64),
    ] {
        for format in ["text", "json", "github", "markdown", "junit"] {
            let mut all = vec!["-o", format];
            all.extend(args);
            let ran = plan(policy, &all);
            assert_eq!(ran.code, code, "{args:?} {format}: {}", ran.stdout);
        }
    }
}

#[test]
fn markdown_stays_below_its_size_shows_the_worst_first_and_says_what_is_cut() {
    let whole = plan(POLICY, &["-o", "markdown"]).stdout;
    assert!(!whole.contains("Cut here"), "{whole}");
    let at = |text: &str| whole.find(text).unwrap();
    assert!(at("error | rule greedy") < at("| closed |"));
    assert!(at("| greedy |") < at("| closed |"));
    for most in [0, 300, 600, 900, 1200] {
        let size = most.to_string();
        let ran = plan(POLICY, &["-o", "markdown", "--max-bytes", &size]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.len() <= most.max(256), "{}", ran.stdout);
        let is_whole = ran.stdout == whole;
        assert_ne!(is_whole, ran.stdout.contains("Cut here"), "{}", ran.stdout);
        if most == 900 {
            assert!(ran.stdout.contains("rule greedy"), "{}", ran.stdout);
        }
    }
}

#[test]
fn two_policies_are_compared_on_one_table() {
    let cli = Cli::new();
    cli.write("old.toml", POLICY);
    let new = POLICY
        .replace("\"1d\"", "\"2d\"")
        .replace("rules.closed", "rules.shut");
    cli.write("new.toml", new);
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gateway.jsonl.zst");
    let run = |new: &str, more: &[&str]| {
        let mut all = vec!["plan", "-q", "-p", new, "--compare", "old.toml", "--from"];
        all.push(sample.to_str().unwrap());
        all.extend(more);
        cli.run(all)
    };
    let ran = run("new.toml", &["-o", "json", "--detailed-exitcode"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    let drift: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(drift["tunables"][0]["old"], 86_400);
    assert_eq!(drift["tunables"][0]["new"], 172_800);
    // By name `closed` comes before `greedy`, and `shut` after it.
    assert_eq!(drift["rules"].as_array().unwrap().len(), 3, "{drift:#}");
    assert_eq!(drift["moved"][0]["old"], "closed");
    let same = run("old.toml", &["--detailed-exitcode"]);
    assert_eq!(same.code, 0);
    assert!(same.stdout.ends_with("Nothing changes for this table.\n"));
    let text = run("new.toml", &["-o", "markdown"]).stdout;
    assert!(text.contains("| closed | no rule |"), "{text}");
    assert_eq!(run("new.toml", &["-o", "junit"]).code, 64);
}

fn attribute(element: &BytesStart<'_>, name: &str) -> String {
    let found = element.try_get_attribute(name).unwrap();
    let found = found.unwrap_or_else(|| panic!("{name} is missing"));
    found.unescape_value().unwrap().into_owned()
}

/// What the schemas of Jenkins and of the Ant task ask of a document.
#[test]
fn junit_has_the_counts_and_attributes_that_its_readers_ask_for() {
    let text = plan(POLICY, &["-o", "junit"]).stdout;
    let mut reader = Reader::from_str(&text);
    let (mut path, mut counts, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let mut case = String::new();
    loop {
        let event = reader.read_event().unwrap();
        let is_empty = matches!(event, Event::Empty(_));
        match event {
            Event::Start(element) | Event::Empty(element) => {
                let name = String::from_utf8(element.name().as_ref().to_vec()).unwrap();
                match name.as_str() {
                    "testsuite" => {
                        for needed in ["name", "id", "package", "hostname", "time"] {
                            attribute(&element, needed);
                        }
                        let time = attribute(&element, "timestamp");
                        assert_eq!(time.len(), "2026-01-31T12:00:00".len());
                        let of = |name| attribute(&element, name).parse::<usize>().unwrap();
                        counts.push((of("tests"), of("failures"), of("skipped"), of("errors")));
                    }
                    "testcase" => {
                        case = attribute(&element, "name");
                        attribute(&element, "classname");
                        attribute(&element, "time");
                        counts.last_mut().unwrap().0 -= 1;
                    }
                    "failure" => {
                        assert_eq!(attribute(&element, "type"), "refused");
                        attribute(&element, "message");
                        failed.push(case.clone());
                        counts.last_mut().unwrap().1 -= 1;
                    }
                    "skipped" => counts.last_mut().unwrap().2 -= 1,
                    "testsuites" | "properties" | "system-out" | "system-err" => {}
                    other => panic!("no reader knows <{other}>"),
                }
                if !is_empty {
                    path.push(name);
                }
            }
            Event::End(_) => drop(path.pop().unwrap()),
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(path.is_empty());
    assert_eq!(counts, [(0, 0, 0, 0); 3]);
    assert_eq!(failed, ["greedy"]);
}
