//! Others that write the same tunables, and kernels that lack them.

use conntidy::flow::Protocol;
use libtest_mimic::Failed;
use serde_json::Value;

use crate::fixture::{self, read_tunable, write_tunable};
use crate::flows::{self, flow};
use crate::gateway::{Gateway, Ran};

crate::trials!(
    what_somebody_changed_is_shown_as_drifted_and_corrected,
    the_third_correction_within_an_hour_contests_a_key,
    a_contest_ends_with_another_wish_and_with_taking_the_key,
    taking_what_is_not_contested_is_a_mistake_and_does_nothing,
    a_module_that_was_loaded_anew_is_no_fight,
    what_was_put_back_by_undo_is_nobodys,
    without_the_module_everything_is_pending,
    a_key_that_this_kernel_does_not_have_is_no_error,
);

const KEY: &str = "nf_conntrack_icmp_timeout";
const POLICY: &str = "[timeouts]\nicmp = 11\n";

/// Runs `apply -p policy.toml -o json` with more arguments.
fn apply(gateway: &Gateway, more: &[&str]) -> Result<Ran, Failed> {
    gateway.run(&[&["apply", "-p", "policy.toml", "-o", "json"], more].concat())
}

/// The only step of a plan document.
fn step(plan: &Value) -> &Value {
    &plan["sysctl"][0]
}

/// A gateway whose key somebody has changed back three times; the last correction is in force.
fn contested() -> Result<(Gateway, Ran), Failed> {
    let gateway = Gateway::new()?;
    gateway.run_apply(POLICY)?.exits(0)?;
    for _ in 0..2 {
        write_tunable(KEY, 40)?;
        gateway.run_apply(POLICY)?.exits(0)?;
    }
    write_tunable(KEY, 41)?;
    let third = gateway.run_apply(POLICY)?;
    Ok((gateway, third))
}

fn what_somebody_changed_is_shown_as_drifted_and_corrected() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let first = gateway.run_apply(POLICY)?.exits(0)?.document()?;
    assert_eq!(first["sysctl"][0]["drift"], Value::Null);
    write_tunable(KEY, 40)?;
    let run = first["run"].as_str().ok_or("no run")?;
    let plan = gateway.run(&["plan", "-p", "policy.toml"])?.exits(0)?;
    let told = format!("drifted: was 11 by run {run}, found 40");
    assert!(plan.out.contains(&told), "{}", plan.out);
    let report = gateway.run_apply(POLICY)?.exits(0)?.document()?;
    let drift = &report["sysctl"][0]["drift"];
    assert_eq!((&drift["was"], &drift["found"]), (&11.into(), &"40".into()));
    assert_eq!(
        (&drift["run"], &drift["reset"]),
        (&run.into(), &false.into())
    );
    assert_eq!(read_tunable(KEY)?, 11);
    Ok(())
}

fn the_third_correction_within_an_hour_contests_a_key() -> Result<(), Failed> {
    let (gateway, third) = contested()?;
    let report = third.exits(5)?.document()?;
    assert_eq!(report["sysctl"][0]["contested"], true);
    assert_eq!(read_tunable(KEY)?, 11);
    let doctor = gateway.run(&["doctor"])?;
    assert!(doctor.out.contains("! not-written"), "{}", doctor.out);
    write_tunable(KEY, 42)?;
    let report = apply(&gateway, &[])?.exits(5)?.document()?;
    assert_eq!(read_tunable(KEY)?, 42);
    assert_eq!(report["sysctl"], Value::Array(Vec::new()));
    let step = step(&report["plan"]);
    assert_eq!(step["state"], "contested");
    let corrected = step["drift"]["corrected"].as_array().ok_or("no list")?;
    let found: Vec<&Value> = corrected.iter().map(|one| &one["found"]).collect();
    assert_eq!(found, ["40", "40", "41"]);
    let plan = gateway.run(&["plan", "-p", "policy.toml"])?.exits(0)?;
    let line = plan.out.lines().find(|line| line.contains("contested"));
    let line = line.ok_or("not shown")?;
    assert!(line.contains("42 -> 11"), "{line}");
    for one in corrected {
        assert!(
            line.contains(one["at"].as_str().ok_or("no time")?),
            "{line}"
        );
    }
    Ok(())
}

fn a_contest_ends_with_another_wish_and_with_taking_the_key() -> Result<(), Failed> {
    let (gateway, _) = contested()?;
    write_tunable(KEY, 42)?;
    // What else changes in the policy is another matter.
    let wider = format!("{POLICY}generic = 500\n");
    gateway.run_apply(&wider)?.exits(5)?;
    assert_eq!(read_tunable(KEY)?, 42);
    for name in ["timeouts.icmp", KEY] {
        write_tunable(KEY, 42)?;
        gateway.write_policy(POLICY)?;
        apply(&gateway, &["--take", name])?.exits(0)?;
        assert_eq!(read_tunable(KEY)?, 11);
        for code in [0, 0, 5] {
            write_tunable(KEY, 42)?;
            apply(&gateway, &[])?.exits(code)?;
        }
    }
    write_tunable(KEY, 42)?;
    gateway.run_apply("[timeouts]\nicmp = 12\n")?.exits(0)?;
    assert_eq!(read_tunable(KEY)?, 12);
    Ok(())
}

fn taking_what_is_not_contested_is_a_mistake_and_does_nothing() -> Result<(), Failed> {
    let (gateway, _) = contested()?;
    write_tunable(KEY, 42)?;
    gateway.write_policy(&format!("{POLICY}generic = 500\n"))?;
    let generic = "nf_conntrack_generic_timeout";
    let before = read_tunable(generic)?;
    let ran = apply(&gateway, &["--take", KEY, "--take", generic])?.exits(64)?;
    assert!(ran.err.contains(&format!("contested: {KEY}")) || ran.err.contains("no key is"));
    let ran = apply(&gateway, &["--take", "nf_conntrack_nonsense"])?.exits(64)?;
    assert!(ran.err.contains("nf_conntrack_nonsense"), "{}", ran.err);
    assert_eq!((read_tunable(generic)?, read_tunable(KEY)?), (before, 42));
    // All or none: the first one was not taken either.
    apply(&gateway, &[])?.exits(5)?;
    Ok(())
}

fn a_module_that_was_loaded_anew_is_no_fight() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    for load in 1..8 {
        write_tunable(KEY, 30)?;
        let report = gateway.apply_as(POLICY, |header| header.module_load = Some(load))?;
        assert_eq!(read_tunable(KEY)?, 11);
        assert!(!report.disagrees());
        let drift = report.sysctl[0].drift.as_ref();
        assert_eq!(drift.map(|drift| drift.reset), (load > 1).then_some(true));
    }
    // The same load, the same value: now it is somebody.
    for contested in [false, false, true] {
        write_tunable(KEY, 30)?;
        let report = gateway.apply_as(POLICY, |header| header.module_load = Some(7))?;
        assert_eq!(report.disagrees(), contested);
    }
    Ok(())
}

fn what_was_put_back_by_undo_is_nobodys() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    for _ in 0..5 {
        let report = gateway.run_apply(POLICY)?.exits(0)?.document()?;
        assert_eq!(report["sysctl"][0]["drift"], Value::Null);
        gateway.run(&["undo", "--sysctl"])?.exits(0)?;
        assert_eq!(read_tunable(KEY)?, 30);
    }
    Ok(())
}

fn without_the_module_everything_is_pending() -> Result<(), Failed> {
    crate::needs!("unshare", "mount");
    flows::create([&flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53")])?;
    let gateway = Gateway::new()?;
    gateway.write_policy(
        r#"
        [table]
        buckets = "auto"
        [timeouts]
        icmp = 11
        apply-to-existing = true
        [sets.own]
        local = true
        [rules.dns]
        match = { protocol = "udp", dport = 53 }
        action = "delete"
        [rules.old]
        match = { src = "@own", protocol = "tcp" }
        action = "expire"
        "#,
    )?;
    let ran = gateway.run_in_own_mounts(
        "mount -t tmpfs none /proc/sys/net/netfilter
         \"$1\" plan -p policy.toml >/dev/null
         \"$1\" apply -p policy.toml --confirm 60s >/dev/null
         \"$1\" apply -p policy.toml -o json",
    )?;
    let report = ran.exits(0)?.document()?;
    let steps = report["plan"]["sysctl"].as_array().ok_or("no steps")?;
    assert_eq!(steps.len(), 2);
    for step in steps {
        assert_eq!(step["state"], "pending", "{step}");
    }
    assert_eq!(report["rules"], Value::Array(Vec::new()));
    assert_eq!(fixture::keys()?.len(), 1);
    // Applied once the module is there; only then an empty set refuses its rule.
    gateway.run(&["apply", "-p", "policy.toml"])?.exits(3)?;
    assert_eq!(read_tunable(KEY)?, 11);
    Ok(())
}

fn a_key_that_this_kernel_does_not_have_is_no_error() -> Result<(), Failed> {
    crate::needs!("unshare", "mount");
    let gateway = Gateway::new()?;
    gateway.write_policy("[sysctl]\nnf_conntrack_acct = true\n[timeouts]\nicmp = 11\n")?;
    let ran = gateway.run_in_own_mounts(
        "mkdir empty copy
         cp /proc/sys/net/netfilter/nf_conntrack_* copy 2>/dev/null || true
         rm copy/nf_conntrack_icmp_timeout
         mount --bind copy /proc/sys/net/netfilter
         \"$1\" apply -p policy.toml -o json",
    )?;
    let report = ran.exits(0)?.document()?;
    let steps = report["plan"]["sysctl"].as_array().ok_or("no steps")?;
    let absent = steps.iter().find(|step| step["name"] == KEY);
    assert_eq!(absent.ok_or("no step")?["state"], "not-on-this-kernel");
    Ok(())
}
