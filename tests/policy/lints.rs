//! Doubts with and without knowledge of the kernel, and those that must not be raised.

use std::collections::BTreeMap;

use conntidy::observe::{Header, Reading};
use conntidy::policy::diagnostic::Code;
use conntidy::policy::{Text, lint, load};

use crate::meaning::load_policy;

fn header(readings: &[(&str, u64)]) -> Header {
    let tunables: BTreeMap<_, _> = readings
        .iter()
        .map(|(name, value)| {
            let reading = Reading {
                value: Some(value.to_string()),
                writable: true,
                error: None,
            };
            ((*name).to_owned(), reading)
        })
        .collect();
    Header {
        tunables,
        ..Header::default()
    }
}

fn codes(text: &str, header: Option<&Header>) -> Vec<Code> {
    let policy = load_policy(&format!("version = 1\n{text}"));
    let mut codes: Vec<_> = lint::lint(&policy, header)
        .iter()
        .map(|found| found.code)
        .collect();
    codes.sort_unstable();
    codes
}

fn errors(text: &str) -> Vec<Code> {
    let loaded = load::load(&[Text::file("a", format!("version = 1\n{text}"))]);
    loaded.diagnostics.iter().map(|found| found.code).collect()
}

const BY_BYTES: &str = "[rules.a]\nmatch = { bytes-above = 5 }\naction = \"report\"\n";

#[test]
fn accounting_that_the_kernel_has_on_is_no_doubt() {
    assert_eq!(codes(BY_BYTES, None), [Code::NeverMatches]);
    assert_eq!(
        codes(BY_BYTES, Some(&header(&[("nf_conntrack_acct", 0)]))),
        [Code::NeverMatches]
    );
    assert_eq!(
        codes(BY_BYTES, Some(&header(&[("nf_conntrack_acct", 1)]))),
        []
    );
}

#[test]
fn accounting_that_the_policy_switches_is_what_counts() {
    let on = format!("[sysctl]\nnf_conntrack_acct = true\n{BY_BYTES}");
    let off = format!("[sysctl]\nnf_conntrack_acct = false\n{BY_BYTES}");
    let observed =
        format!("[sysctl]\nnf_conntrack_acct = {{ value = true, mode = \"observe\" }}\n{BY_BYTES}");
    assert_eq!(codes(&on, Some(&header(&[("nf_conntrack_acct", 0)]))), []);
    assert_eq!(
        codes(&off, Some(&header(&[("nf_conntrack_acct", 1)]))),
        [Code::NeverMatches]
    );
    assert_eq!(codes(&observed, None), [Code::NeverMatches]);
}

#[test]
fn an_established_timeout_is_compared_with_the_kernel_s_keepalive_time() {
    let three_hours = "[timeouts]\ntcp.established = \"3h\"\n";
    assert_eq!(codes(three_hours, None), []);
    let late = header(&[("net.ipv4.tcp_keepalive_time", 14_400)]);
    assert_eq!(codes(three_hours, Some(&late)), [Code::ShortEstablished]);
    assert_eq!(
        codes("[timeouts]\ntcp.established = \"2h3m\"\n", None),
        [Code::ShortEstablished]
    );
    assert_eq!(codes("[timeouts]\ntcp.established = \"2h4m\"\n", None), []);
}

#[test]
fn a_timeout_that_the_kernel_has_shorter_makes_an_idle_time_impossible() {
    let rule =
        "[rules.a]\nmatch = { protocol = \"udp\", idle-for = \"1m\" }\naction = \"report\"\n";
    assert_eq!(codes(rule, None), []);
    let short = header(&[
        ("nf_conntrack_udp_timeout_stream", 60),
        ("nf_conntrack_udp_timeout", 30),
    ]);
    assert_eq!(codes(rule, Some(&short)), [Code::NeverMatches]);
}

#[test]
fn a_timeout_at_least_so_long_does_not_forbid_longer_idle_times() {
    let rule = "[timeouts]\ntcp.established = { value = \"1d\", mode = \"at-least\" }\n\
                [rules.a]\nmatch = { protocol = \"tcp\", idle-for = \"2d\" }\naction = \"report\"\n";
    assert_eq!(errors(rule), []);
    let exactly = rule.replace("at-least", "at-most");
    assert_eq!(errors(&exactly), [Code::ImpossibleIdle]);
}

#[test]
fn a_later_narrower_rule_is_shadowed() {
    let text = |first: &str, second: &str| {
        format!(
            "[rules.a]\nmatch = {first}\naction = \"expire\"\n[rules.b]\nmatch = {second}\naction = \"expire\"\n"
        )
    };
    let shadowed = |first, second| codes(&text(first, second), None).contains(&Code::Shadowed);
    assert!(shadowed(
        "{ protocol = \"tcp\" }",
        "{ protocol = \"tcp\", dport = 22 }"
    ));
    assert!(shadowed(
        "{ protocol = \"tcp\" }",
        "{ state = \"ESTABLISHED\", protocol = \"tcp\" }"
    ));
    assert!(shadowed("{ dport = \"1-1024\" }", "{ dport = [22, 80] }"));
    assert!(shadowed(
        "{ protocol = \"tcp\", not = { dport = 22 } }",
        "{ protocol = \"tcp\", src = \"10.0.0.0/8\", not = { dport = \"20-30\" } }"
    ));
    assert!(shadowed(
        "{ status = \"assured\" }",
        "{ nat = \"src\", status = \"assured\" }"
    ));
    // A flow whose port is unknown is not excluded by the first rule, and not taken by it either.
    assert!(!shadowed(
        "{ family = \"ipv4\", not = { dport = 22 } }",
        "{ family = \"ipv4\" }"
    ));
    assert!(!shadowed(
        "{ protocol = \"tcp\", dport = 22 }",
        "{ protocol = \"tcp\" }"
    ));
    assert!(!shadowed(
        "{ src = \"10.0.0.0/8\" }",
        "{ dst = \"10.0.0.0/8\" }"
    ));
    assert!(!shadowed(
        "{ protocol = \"tcp\", idle-for = \"1h\" }",
        "{ protocol = \"tcp\", idle-for = \"30m\" }"
    ));
}

#[test]
fn overlaps_are_only_said_where_they_are_sure() {
    let overlaps = |first: &str, second: &str| {
        let text = format!(
            "[sets.s]\naddresses = [\"10.0.0.0/8\"]\n\
             [rules.a]\nmatch = {first}\naction = \"delete\"\n\
             [rules.b]\nmatch = {second}\naction = \"expire\"\ngrace = \"5s\"\n"
        );
        errors(&text).contains(&Code::Overlap)
    };
    assert!(overlaps(
        "{ protocol = \"tcp\", state = \"SYN_RECV\" }",
        "{ src = \"10.0.0.0/8\" }"
    ));
    assert!(overlaps(
        "{ src = \"10.0.0.0/8\" }",
        "{ dst = \"10.0.0.0/8\" }"
    ));
    assert!(!overlaps(
        "{ protocol = \"tcp\" }",
        "{ protocol = \"udp\" }"
    ));
    assert!(!overlaps(
        "{ src = \"10.0.0.0/8\" }",
        "{ src = \"192.168.0.0/16\" }"
    ));
    assert!(!overlaps(
        "{ src = \"10.0.0.0/8\" }",
        "{ protocol = \"udp\", src = \"@s\" }"
    ));
    assert!(!overlaps(
        "{ dport = 22 }",
        "{ protocol = \"udp\", not = { dport = \"1-100\" } }"
    ));
    assert!(!overlaps(
        "{ nat-src = \"10.0.0.1\" }",
        "{ protocol = \"udp\", reply-dst = \"10.0.0.2\" }"
    ));
    assert!(!overlaps(
        "{ status = \"assured\" }",
        "{ protocol = \"udp\", status = \"unreplied\" }"
    ));
    assert!(!overlaps(
        "{ zone = 1 }",
        "{ protocol = \"udp\", orig-zone = 2 }"
    ));
    assert!(!overlaps(
        "{ mark = 1 }",
        "{ protocol = \"udp\", mark = \"0x2/0xf\" }"
    ));
}

#[test]
fn a_protect_rule_with_its_protocols_named_is_no_doubt() {
    let broad = "[protect.a]\nmatch = { dport = 53 }\n";
    assert_eq!(codes(broad, None), [Code::BroadProtect]);
    let narrow = "[protect.a]\nmatch = { protocol = [\"tcp\", \"udp\"], dport = 53 }\n";
    assert_eq!(codes(narrow, None), []);
    let negated = "[protect.a]\nmatch = { src = \"10.0.0.1\", not = { state = \"TIME_WAIT\" } }\n";
    assert_eq!(codes(negated, None), [Code::BroadProtect]);
}

#[test]
fn a_delete_that_says_more_than_ports_is_no_doubt() {
    let delete = |fields: &str| {
        let text = format!(
            "[rules.a]\nmatch = {{ {fields} }}\naction = \"delete\"\nbudget = {{ count = 9 }}\n"
        );
        codes(&text, None)
    };
    assert_eq!(
        delete("protocol = \"tcp\", dport = 80"),
        [Code::PortOnlyDelete]
    );
    for more in [
        "dst = \"10.0.0.1\"",
        "mark = 5",
        "state = \"TIME_WAIT\"",
        "idle-for = \"1h\"",
    ] {
        assert_eq!(
            delete(&format!("protocol = \"tcp\", dport = 80, {more}")),
            [],
            "{more}"
        );
    }
}

#[test]
fn a_mistaken_timeout_hides_no_mistake_that_does_not_depend_on_it() {
    let text = "[timeouts]\ntcp.close = \"soon\"\n\
        [rules.half]\nmatch = { state = \"FIN_WAIT\" }\naction = \"delete\"\n\
        [rules.risky]\nmatch = { protocol = \"tcp\", state = \"ESTABLISHED\" }\naction = \"expire\"\ngrace = \"1m\"\n\
        [rules.idle]\nmatch = { state = \"CLOSE\", idle-for = \"1h\" }\naction = \"report\"\n";
    assert_eq!(
        errors(text),
        [Code::InvalidValue, Code::HalfClosed, Code::RiskyGrace]
    );
}

#[test]
fn a_sysctl_with_its_dots_is_one_mistake_that_names_the_key() {
    let text = "version = 1\n[sysctl]\nnet.netfilter.nf_conntrack_acct = true\n";
    let loaded = load::load(&[Text::file("a", text)]);
    let [found] = loaded.diagnostics.as_slice() else {
        panic!("{:?}", loaded.diagnostics)
    };
    assert_eq!(found.help, ["write `nf_conntrack_acct`"]);
}

#[test]
fn too_many_mistakes_are_said_last_and_of_their_file() {
    let lines: Vec<_> = (0..300).map(|n| format!("key{n} = {n}")).collect();
    let texts = [
        Text::file("good", "version = 1\n"),
        Text::file("bad", lines.join("\n")),
    ];
    let diagnostics = load::load(&texts).diagnostics;
    let last = diagnostics.last().unwrap();
    assert_eq!(last.code, Code::TooMany);
    assert_eq!(last.place.as_ref().unwrap().text, 1);
}

#[test]
fn a_rule_that_may_empty_the_table_is_a_doubt_unless_something_stops_it() {
    let policy = |limit: u8, budget: u8, assured: bool| {
        let text = format!(
            "[limits]\ndelete = \"{limit}%\"\n[rules.a]\neverything = true\naction = \"delete\"\n\
             allow-assured = {assured}\nbudget = {{ percent = {budget} }}\n"
        );
        codes(&text, None).contains(&Code::EmptiesTable)
    };
    assert!(policy(100, 100, true));
    assert!(!policy(50, 100, true));
    assert!(!policy(100, 99, true));
    assert!(!policy(100, 100, false));
}

#[test]
fn snapshots_without_end_are_a_doubt_and_a_key_without_pseudonyms_too() {
    let every = "[snapshot]\nevery = \"15m\"\n";
    assert_eq!(codes(every, None), [Code::UnboundedStore]);
    assert_eq!(codes(&format!("{every}keep = {{ last = 3 }}"), None), []);
    let pressure = "[snapshot]\non-pressure = { above = \"90%\" }\n";
    assert_eq!(codes(pressure, None), [Code::UnboundedStore]);
    assert_eq!(codes("[snapshot]\ncompression = \"none\"", None), []);
    for key in ["credential = \"key\"", "detail = \"full\""] {
        assert_eq!(errors(&format!("[snapshot]\n{key}")), [Code::NoEffect]);
    }
}
