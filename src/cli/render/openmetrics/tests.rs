//! Format and completeness, without a kernel.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::observe::Reading;
use crate::state::Counted;

/// Everything that can be known.
fn full() -> Metrics {
    let mut header = Header {
        conntidy: "1.2.3".to_owned(),
        conntrack: true,
        count: Some(900),
        uptime_ns: 200_000_000_000,
        cpu: vec![CpuStatistics {
            cpu: 3,
            drop: 7,
            ..CpuStatistics::default()
        }],
        ..Header::default()
    };
    header.netns.name = "a\"b\\c\nd".to_owned();
    for (name, value) in [
        ("nf_conntrack_max", "1000"),
        ("nf_conntrack_buckets", "256"),
    ] {
        let reading = Reading {
            value: Some(value.to_owned()),
            writable: true,
            error: None,
        };
        header.tunables.insert(name.to_owned(), reading);
    }
    let rule = |name: &str, refused: Option<&str>| RuleSample {
        name: name.to_owned(),
        refused: refused.map(ToOwned::to_owned),
        waiting: None,
        ran: Some(RuleRun {
            at: 1,
            matched: 5,
            expired: 4,
            deleted: 3,
            failed: 2,
        }),
    };
    Metrics {
        header,
        classes: Some([5, 4, 3, 2, 1]),
        state: Some(Own {
            health: Health {
                started: Some(1),
                ended: Some(2),
                succeeded: Some(2),
                counts: vec![Counted {
                    at_ns: 100_000_000_000,
                    entries: 400,
                }],
                ..Health::default()
            },
            exit_code: 3,
            rules: vec![rule("a", Some("over-budget")), rule("b", None)],
            holds: vec!["c".to_owned()],
            tunables: vec![("nf_conntrack_max".to_owned(), true)],
        }),
    }
}

/// Metric, kind and help of each family.
fn families(text: &str) -> BTreeMap<String, String> {
    let help = |line: &str| {
        let (name, help) = line.strip_prefix("# HELP ")?.split_once(' ')?;
        Some((name.to_owned(), help.to_owned()))
    };
    text.lines().filter_map(help).collect()
}

#[test]
fn values_are_what_is_known_and_labels_are_escaped() {
    let text = render(&full());
    let netns = r#"netns="a\"b\\c\nd""#;
    for line in [
        format!("conntidy_table_entries{{{netns}}} 900"),
        format!("conntidy_table_fill_ratio{{{netns}}} 0.9"),
        format!("conntidy_table_growth_entries_per_second{{{netns}}} 5"),
        format!("conntidy_table_time_to_full_seconds{{{netns}}} 20"),
        format!("conntidy_table_class_entries{{{netns},class=\"closing\"}} 3"),
        format!("conntidy_cpu_drop_total{{{netns},cpu=\"3\"}} 7"),
        format!("conntidy_run_last_exit_code{{{netns}}} 3"),
        format!("conntidy_rule_refused{{{netns},rule=\"a\",reason=\"over-budget\"}} 1"),
        format!("conntidy_rule_refused{{{netns},rule=\"b\"}} 0"),
        format!("conntidy_rule_deleted_entries{{{netns},rule=\"b\"}} 3"),
        format!("conntidy_rule_on_hold{{{netns},rule=\"c\"}} 1"),
        format!("conntidy_tunable_contested{{{netns},tunable=\"nf_conntrack_max\"}} 1"),
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
}

#[test]
fn what_is_not_known_is_absent() {
    let text = render(&Metrics::default());
    let names: Vec<_> = families(&text).into_keys().collect();
    assert_eq!(
        names,
        [
            "conntidy_build_info",
            "conntidy_conntrack_loaded",
            "conntidy_state_readable"
        ]
    );
    assert!(text.contains("conntidy_conntrack_loaded{netns=\"\"} 0"));
    let mut shrinking = full();
    shrinking.header.count = Some(100);
    let text = render(&shrinking);
    assert!(!text.contains("time_to_full"), "{text}");
    assert!(
        text.contains("per_second{netns=\"a\\\"b\\\\c\\nd\"} -3\n"),
        "{text}"
    );
}

/// Words that look like metrics.
fn named(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("conntidy_"))
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn the_documentation_lists_every_metric_with_its_help_and_no_other() {
    let known = families(&render(&full()));
    let page = include_str!("../../../../docs/metrics.md");
    for (name, help) in &known {
        let row = format!("| `{name}` |");
        let row = page.lines().find(|line| line.starts_with(&row));
        assert!(row.is_some_and(|row| row.contains(help)), "{name}: {help}");
    }
    for name in named(page) {
        assert!(known.contains_key(&name), "no such metric: {name}");
    }
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_exist_only() {
    let known = families(&render(&full()));
    for (file, text) in [
        (
            "conntidy.rules.yml",
            include_str!("../../../../examples/prometheus/conntidy.rules.yml"),
        ),
        (
            "conntidy.json",
            include_str!("../../../../examples/grafana/conntidy.json"),
        ),
    ] {
        let asked = named(text);
        assert!(asked.len() > 5, "{file}");
        for name in asked {
            assert!(known.contains_key(&name), "{file}: no such metric: {name}");
        }
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../../../examples/grafana/conntidy.json")).unwrap();
    assert!(
        dashboard["panels"]
            .as_array()
            .is_some_and(|all| all.len() > 5)
    );
}
