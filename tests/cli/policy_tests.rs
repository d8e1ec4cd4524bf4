//! `conntidy test`.

use std::path::Path;

use serde_json::Value;

use crate::fixture::{Cli, Ran};

const POLICY: &str = r#"version = 1
[rules.closed]
match = { protocol = "tcp", state = "TIME_WAIT" }
action = "delete"
budget = { count = 2, percent = 0 }
[rules.idle]
match = { protocol = "tcp", state = "ESTABLISHED", idle-for = "1h" }
action = "expire"
[protect.ssh]
match = { protocol = "tcp", dport = 22 }
"#;

const FLOWS: &str = "flows = '''
tcp 6 20 TIME_WAIT src=10.0.0.5 dst=192.0.2.1 sport=1 dport=443 src=192.0.2.1 dst=10.0.0.5 sport=443 dport=1 [ASSURED]
tcp 6 20 TIME_WAIT src=10.0.0.5 dst=192.0.2.1 sport=2 dport=22 src=192.0.2.1 dst=10.0.0.5 sport=22 dport=2 [ASSURED]
tcp 6 400000 ESTABLISHED src=10.0.0.5 dst=192.0.2.1 sport=3 dport=443 src=192.0.2.1 dst=10.0.0.5 sport=443 dport=3 [ASSURED]
tcp 6 431999 ESTABLISHED src=10.0.0.5 dst=192.0.2.1 sport=4 dport=443 src=192.0.2.1 dst=10.0.0.5 sport=443 dport=4 [ASSURED]
'''
";

fn test(text: &str, args: &[&str]) -> Ran {
    let cli = Cli::new();
    cli.write("policy.toml", POLICY);
    cli.write("a.test.toml", format!("policy = \"policy.toml\"\n{text}"));
    let mut all = vec!["test"];
    all.extend(args);
    cli.run(all)
}

#[test]
fn what_is_as_expected_passes() {
    let expect = "expect.closed = { matched = 2, selected = 1, refused = false, flows = [\"tcp 10.0.0.5:1 192.0.2.1:443\"] }\n\
        expect.idle = { flows = [\"tcp 10.0.0.5:3 192.0.2.1:443\"] }\n";
    let ran = test(&format!("[tests.table]\n{FLOWS}{expect}"), &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout, "a.test.toml:2 table: ok\n1 passed, 0 failed.\n");
}

#[test]
fn what_is_not_as_expected_is_told_and_exits_1() {
    let expect = "expect.closed = { selected = 5, refused = true }\n\
        expect.idle = { flows = [\"tcp 10.0.0.5:4 192.0.2.1:443\"] }\n";
    let text = format!("[tests.table]\n{FLOWS}{expect}");
    let ran = test(&text, &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    for told in [
        "closed: selected 1, expected 5",
        "closed: not refused, and was to be",
        "idle: does not take tcp 10.0.0.5:4 192.0.2.1:443",
        "idle: also takes tcp 10.0.0.5:3 192.0.2.1:443",
        "0 passed, 1 failed.",
    ] {
        assert!(ran.stdout.contains(told), "{told}: {}", ran.stdout);
    }
    let ran = test(&text, &["-o", "junit"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("failures=\"1\""), "{}", ran.stdout);
    let ran = test(&text, &["-o", "json"]);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["failed"], 1);
    assert_eq!(document["tests"][0]["line"], 2);
}

#[test]
fn mistakes_are_shown_with_their_place_and_exit_78() {
    for (text, place, told) in [
        ("[tests.a]\nexpct = 1\n", "a.test.toml:3:1", "expct"),
        (
            "[tests.a]\nexpect = {}\n",
            "a.test.toml:2",
            "either `flows` or a `snapshot`",
        ),
        (
            "[tests.a]\nflows = ''\nexpect.closd = { selected = 0 }\n",
            "a.test.toml:4:8",
            "no rule `closd`",
        ),
        (
            "[tests.a]\nflows = ''\nexpect.closed = { flows = [\"nonsense\"] }\n",
            "a.test.toml:4:28",
            "nonsense",
        ),
        (
            "[tests.a]\nflows = 'garbage'\nexpect = {}\n",
            "a.test.toml:3:9",
            "could not be read",
        ),
        (
            "[tests.a]\nsnapshot = 'nosuch'\nexpect = {}\n",
            "a.test.toml:3:12",
            "nosuch: No such file",
        ),
        (
            "[tests.a]\nflows = ''\nexpect.closed = 3\n",
            "a.test.toml:4:17",
            "expected a table, as `{ selected = 1 }`",
        ),
        ("[tests.a\n", "a.test.toml:2", "expected"),
    ] {
        let ran = test(text, &[]);
        assert_eq!(ran.code, 78, "{text}: {ran:?}");
        assert!(ran.stderr.contains(place), "{place}: {}", ran.stderr);
        assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
    }
    let ran = test("[tests.a]\nflows = ''\nexpect.closd = {}\n", &[]);
    assert!(ran.stderr.contains("did you mean `closed`?"), "{ran:?}");
}

#[test]
fn a_directory_without_tests_is_a_usage_error() {
    assert_eq!(Cli::new().run(["test"]).code, 64);
}

#[test]
fn the_example_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("examples/ci/gateway.test.toml");
    let ran = Cli::new().run(["test".as_ref(), file.as_os_str()]);
    assert_eq!(ran.code, 0, "{ran:?}");
}
