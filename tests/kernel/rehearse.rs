//! `rehearse`, the program's main job, with each of the policies that it ships.

use std::path::Path;
use std::process::Command;

use conntidy::kernel::{Live, Recorded};
use conntidy::observe::Observe;
use conntidy::rehearse::fill;
use libtest_mimic::Failed;
use serde_json::Value;

crate::trials!(
    every_example_is_checked_planned_and_rehearsed,
    every_entry_of_the_original_is_told_of,
    a_rehearsal_takes_nothing_by_addresses_that_are_not_real,
    a_rehearsal_touches_nothing_of_the_namespace_it_was_called_from,
);

fn conntidy(arguments: &[&str]) -> Result<(i32, Vec<u8>, String), Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_conntidy"))
        .args(arguments)
        .output()?;
    let code = output.status.code().ok_or("ended by a signal")?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((code, output.stdout, errors))
}

fn examples() -> Result<Vec<String>, Failed> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut policies = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            policies.push(path.display().to_string());
        }
    }
    policies.sort();
    Ok(policies)
}

fn every_example_is_checked_planned_and_rehearsed() -> Result<(), Failed> {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/gateway.jsonl.zst");
    let policies = examples()?;
    assert_eq!(policies.len(), 6, "{policies:?}");
    for policy in &policies {
        let (code, _, errors) = conntidy(&["check", "--strict", policy])?;
        assert_eq!(code, 0, "check {policy}: {errors}");
        let (code, plan, errors) =
            conntidy(&["plan", "-p", policy, "--from", sample, "-o", "json"])?;
        assert_eq!(code, 0, "plan {policy}: {errors}");
        let plan: Value = serde_json::from_slice(&plan)?;
        assert_eq!(plan["schema"], "conntidy.plan/1");
        let (code, rehearsal, errors) = conntidy(&["rehearse", policy, "-o", "json"])?;
        assert_eq!(code, 0, "rehearse {policy}: {errors}");
        let rehearsal: Value = serde_json::from_slice(&rehearsal)?;
        rehearsed(policy, &rehearsal);
    }
    Ok(())
}

fn every_entry_of_the_original_is_told_of() -> Result<(), Failed> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gateway.jsonl.zst");
    let original = Recorded::open(sample)?;
    let header = original.header()?;
    // The second time every tuple is taken.
    for _ in 0..2 {
        let filled = fill(&Live::default(), &original, &header)?;
        let impossible: u64 = filled.impossible.values().sum();
        assert_eq!(
            filled.created + filled.exists + filled.failed + impossible,
            filled.original,
            "{filled:#?}"
        );
    }
    Ok(())
}

fn a_rehearsal_takes_nothing_by_addresses_that_are_not_real() -> Result<(), Failed> {
    let original = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/cases/snapshot/version-1-pseudonym.jsonl.gz"
    );
    let directory = tempfile::tempdir()?;
    let policy = directory.path().join("policy.toml");
    // Of a pseudonym, neither is known: whether it is in the network, and whether it is not.
    std::fs::write(
        &policy,
        "version = 1\n\
         [rules.out]\nmatch = { protocol = \"tcp\", not = { src = \"10.0.0.0/8\" } }\n\
         action = \"delete\"\nallow-assured = true\nbudget = { percent = 100 }\n\
         [rules.rest]\nmatch = { protocol = \"icmp\" }\naction = \"delete\"\norder = 60\n\
         [protect.lan]\nmatch = { protocol = \"icmp\", address = \"10.0.0.0/8\" }\n",
    )?;
    let policy = policy.display().to_string();
    let (code, rehearsal, errors) =
        conntidy(&["rehearse", &policy, "--from", original, "-o", "json"])?;
    assert_eq!(code, 0, "{errors}");
    assert!(
        errors.contains("whatever tests addresses is unknown"),
        "{errors}"
    );
    let rehearsal: Value = serde_json::from_slice(&rehearsal)?;
    let summary = &rehearsal["plan"]["summary"];
    assert_eq!(summary["delete"], 0, "{rehearsal}");
    assert_eq!(summary["protected"], 1, "{rehearsal}");
    Ok(())
}

fn rehearsed(policy: &str, rehearsal: &Value) {
    let number = |pointer: &str| rehearsal.pointer(pointer).and_then(Value::as_u64);
    assert!(
        number("/filled/created") > Some(19_000),
        "{policy}: {}",
        rehearsal["filled"]
    );
    assert_eq!(number("/filled/failed"), Some(0), "{policy}");
    let planned =
        number("/plan/summary/delete").unwrap_or(0) + number("/plan/summary/expire").unwrap_or(0);
    assert!(
        planned > 1000,
        "{policy} does little: {}",
        rehearsal["plan"]
    );
    assert!(rehearsal["report"]["problems"].is_null(), "{policy}");
    for rule in rehearsal["report"]["rules"]
        .as_array()
        .into_iter()
        .flatten()
    {
        // A short timer may run out between dump and change.
        let kept = rule["done"].as_u64().unwrap_or(0) + rule["gone"].as_u64().unwrap_or(0);
        assert_eq!(Some(kept), rule["sent"].as_u64(), "{policy}: {rule}");
    }
    assert_eq!(number("/again/summary/change"), Some(0), "{policy}");
    assert_eq!(number("/again/summary/refused"), Some(0), "{policy}");
}

fn a_rehearsal_touches_nothing_of_the_namespace_it_was_called_from() -> Result<(), Failed> {
    let read = || {
        let directory = Path::new("/proc/sys/net/netfilter");
        let mut values = Vec::new();
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let value = std::fs::read_to_string(entry.path()).unwrap_or_default();
            values.push((entry.file_name(), value));
        }
        values.sort();
        values
    };
    let before = read();
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/gateway.toml");
    let (code, _, errors) = conntidy(&["rehearse", policy])?;
    assert_eq!(code, 0, "{errors}");
    assert_eq!(before, read());
    assert!(crate::fixture::keys()?.is_empty());
    Ok(())
}
