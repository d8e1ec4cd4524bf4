//! docs/policy.md says what the language has: no key more and none less.

use std::collections::{BTreeMap, BTreeSet};

use conntidy::policy::diagnostic::Code;
use conntidy::policy::{Document, Text, load};
use conntidy::tunable::{Home, TUNABLES};

const REFERENCE: &str = include_str!("../../docs/policy.md");

/// Tables of the schema and the headings under which their keys are documented.
const HEADINGS: [(&str, &str); 27] = [
    ("", "A policy file"),
    ("Run", "`[run]`"),
    ("LimitsTable", "`[limits]`"),
    ("Table", "`[table]`"),
    ("Sizing", "Size from the machine"),
    ("ModedSeconds", "Modes"),
    ("ModedCount", "Modes"),
    ("ModedBuckets", "Modes"),
    ("ModedSysctl", "Modes"),
    ("Timeouts", "`[timeouts]`"),
    ("TcpTimeouts", "TCP timeouts"),
    ("UdpTimeouts", "UDP and GRE timeouts"),
    ("GreTimeouts", "UDP and GRE timeouts"),
    ("SctpTimeouts", "SCTP timeouts"),
    ("DccpTimeouts", "DCCP timeouts"),
    ("SetTable", "`[sets.NAME]`"),
    ("RuleTable", "`[rules.NAME]`"),
    ("WhenTable", "When"),
    ("BudgetTable", "Budget"),
    ("ProtectTable", "`[protect.NAME]`"),
    ("Match", "Match"),
    ("OverTable", "Over"),
    ("SnapshotTable", "`[snapshot]`"),
    ("OnPressureTable", "On pressure"),
    ("SnapshotKeepTable", "Keep of snapshots"),
    ("AuditTable", "`[audit]`"),
    ("KeepTable", "Keep"),
];

/// The keys of every table of the schema; the document's own under the empty name.
fn schema_tables() -> BTreeMap<String, BTreeSet<String>> {
    let schema = schemars::schema_for!(Document).to_value();
    let keys = |table: &serde_json::Value| {
        let properties = table.get("properties")?.as_object()?;
        Some(properties.keys().cloned().collect())
    };
    let mut tables = BTreeMap::from([(String::new(), keys(&schema).unwrap())]);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        if let Some(keys) = keys(definition) {
            tables.insert(name.clone(), keys);
        }
    }
    tables
}

/// First cells in backquotes, by heading.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let mut heading = String::new();
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in REFERENCE.lines() {
        if line.starts_with('#') {
            line.trim_start_matches('#').trim().clone_into(&mut heading);
        } else if let Some((key, _)) = line.strip_prefix("| `").and_then(|row| row.split_once('`'))
        {
            found
                .entry(heading.clone())
                .or_default()
                .insert(key.to_owned());
        }
    }
    found
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let mut tables = schema_tables();
    let documented = documented();
    let fields = tables.remove("Fields").unwrap();
    let mut of_match = tables["Match"].clone();
    of_match.remove("not");
    of_match.remove("over");
    of_match.remove("persisted");
    assert_eq!(
        fields, of_match,
        "`not` is documented as `match` without its own three keys"
    );
    for (table, heading) in HEADINGS {
        let keys = tables
            .remove(table)
            .unwrap_or_else(|| panic!("no table {table}"));
        assert_eq!(Some(&keys), documented.get(heading), "{heading}");
    }
    assert!(tables.is_empty(), "not documented: {tables:?}");
}

#[test]
fn every_diagnostic_is_documented_and_no_other() {
    let mut codes: BTreeSet<String> = Code::ALL
        .iter()
        .map(|code| code.name().to_owned())
        .collect();
    let documented = documented();
    for code in &documented["What `check` says"] {
        assert!(codes.remove(code), "{code} is no code");
    }
    assert!(codes.is_empty(), "not documented: {codes:?}");
}

#[test]
fn every_sysctl_is_named() {
    for tunable in TUNABLES {
        if matches!(tunable.home, Home::Sysctl | Home::Timeouts(_)) {
            assert!(
                REFERENCE.contains(&format!("`{}`", tunable.name)),
                "{}",
                tunable.name
            );
        }
    }
}

#[test]
fn the_reference_s_own_policies_are_valid() {
    let mut count = 0;
    for block in REFERENCE.split("```toml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        if text.starts_with("version = 1") {
            let loaded = load::load(&[Text::file("docs/policy.md", text)]);
            assert_eq!(loaded.diagnostics, []);
            count += 1;
        }
    }
    assert!(count > 0);
}
