//! Completion as bash does it, with the script that `completions` prints.

use std::path::Path;
use std::process::Command;

use crate::fixture::Cli;

const POLICY: &str = r#"
version = 1
[sets.backends]
addresses = ["10.0.0.1"]
[rules.idle-tcp]
match = { protocol = "tcp", state = "ESTABLISHED", idle-for = "12h" }
action = "expire"
[rules.stale-dns]
match = { protocol = "udp", dport = 53 }
action = "report"
"#;

/// What bash offers for the last word of a line, sorted.
fn offered(cli: &Cli, line: &str) -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_conntidy"));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    // As bash itself calls it: the words, which of them is completed, and that word.
    let asks = r#"
        source <(conntidy completions bash)
        complete -p conntidy >/dev/null || exit 9
        COMP_WORDS=($LINE); [ "${LINE%% }" = "$LINE" ] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_TYPE=9
        _clap_complete_conntidy conntidy "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let asked = Command::new("bash")
        .args(["--norc", "-c", asks])
        .env_clear()
        .envs([("PATH", path.as_str()), ("LINE", line)])
        .current_dir(cli.root())
        .output()
        .unwrap();
    assert!(asked.status.success(), "{asked:?}");
    assert_eq!(String::from_utf8_lossy(&asked.stderr), "");
    let mut words: Vec<_> = String::from_utf8(asked.stdout)
        .unwrap()
        .lines()
        .map(|word| word.trim().to_owned())
        .collect();
    words.sort_unstable();
    words
}

#[test]
fn bash_completes_commands_and_options() {
    let cli = Cli::new();
    assert_eq!(offered(&cli, "conntidy snap"), ["snapshot"]);
    assert_eq!(offered(&cli, "conntidy snapshot imp"), ["import"]);
    assert_eq!(
        offered(&cli, "conntidy plan --deta"),
        ["--detailed-exitcode"]
    );
    assert_eq!(offered(&cli, "conntidy list -o js"), ["json", "jsonl"]);
}

#[test]
fn bash_completes_the_words_of_fields_also_behind_a_comma() {
    let cli = Cli::new();
    for (line, words) in [
        ("conntidy list --state est", &["ESTABLISHED"][..]),
        (
            "conntidy list --state TIME_WAIT,syn",
            &[
                "TIME_WAIT,SYN_RECV",
                "TIME_WAIT,SYN_SENT",
                "TIME_WAIT,SYN_SENT2",
            ],
        ),
        ("conntidy count --status hw", &["hw-offload"]),
        ("conntidy count --not-status unr", &["unreplied"]),
        ("conntidy list -p icmp", &["icmp", "icmpv6"]),
        ("conntidy list --nat s", &["src"]),
        ("conntidy list --columns src,orig-b", &["src,orig-bytes"]),
        ("conntidy list --sort by", &["bytes"]),
        ("conntidy count --by reply-s", &["reply-sport", "reply-src"]),
        (
            "conntidy events --summary --by reply-s",
            &["reply-sport", "reply-src"],
        ),
        ("conntidy list --netns al", &["all"]),
        ("conntidy top --netns al", &[""]),
        ("conntidy list --netns red,al", &[""]),
    ] {
        assert_eq!(offered(&cli, line), words, "{line}");
    }
}

#[test]
fn bash_completes_rules_and_sets_of_the_policy_that_the_line_names() {
    let cli = Cli::new();
    cli.write("gw.toml", POLICY);
    for (line, words) in [
        (
            "conntidy list --policy gw.toml --rule s",
            &["stale-dns"][..],
        ),
        (
            "conntidy count --policy gw.toml --rule ",
            &["idle-tcp", "stale-dns"],
        ),
        ("conntidy list --policy gw.toml --rule idle-tcp,s", &[""]),
        ("conntidy apply -p gw.toml --release idle", &["idle-tcp"]),
        ("conntidy list --policy gw.toml --dst @", &["@backends"]),
    ] {
        assert_eq!(offered(&cli, line), words, "{line}");
    }
}

#[test]
fn bash_completes_snapshots_of_the_store_that_the_line_names() {
    let cli = Cli::new();
    let name = "20260131T031200Z-init.jsonl.zst";
    cli.write(&format!("store/{name}"), "");
    let offered = offered(&cli, "conntidy diff --directory store 2026");
    assert_eq!(offered, [name]);
}

#[test]
fn every_shell_gets_a_script_that_asks_the_program() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = Cli::new().run(["completions", shell]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains("CONNTIDY_COMPLETE"), "{}", ran.stdout);
    }
}

#[test]
fn an_unknown_shell_is_a_usage_error_that_lists_the_known_ones() {
    let ran = Cli::new().run(["completions", "cmd"]);
    assert_eq!(ran.code, 64);
    assert!(ran.stderr.contains("powershell"), "{}", ran.stderr);
}
