//! Plans that are saved, and applied later to the flows that they name.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use conntidy::flow::{Flow, Protocol};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::fixture;
use crate::flows::{self, flow};
use crate::gateway::{Gateway, Ran};

crate::trials!(
    only_flows_of_the_saved_plan_are_changed,
    a_rule_that_could_stream_waits_for_the_whole_dump,
    a_tuple_that_was_taken_anew_is_left_alone,
    a_rule_that_is_over_its_budget_by_now_is_refused_whole,
    timers_are_set_for_flows_of_the_plan_alone,
    timeouts_reach_only_existing_entries_of_the_plan,
    a_plan_of_other_circumstances_is_refused_and_nothing_changes,
    a_file_that_is_no_saved_plan_is_named_with_the_place_of_the_mistake,
);

const POLICY: &str = r#"
    timeouts.icmp = 20
    [rules.dns]
    match = { protocol = "udp", dport = 53 }
    action = "delete"
    budget = { percent = 100 }
    [limits]
    delete = "60%"
"#;

fn dns(first: u16, count: u16) -> Vec<Flow> {
    (first..first + count)
        .map(|port| flow(Protocol::UDP, &format!("10.0.0.1:{port}"), "192.0.2.1:53"))
        .collect()
}

/// Flows that no rule takes.
fn others(count: u16) -> Vec<Flow> {
    (1..=count)
        .map(|port| flow(Protocol::UDP, &format!("10.0.0.2:{port}"), "192.0.2.1:99"))
        .collect()
}

fn save(gateway: &Gateway, policy: &str) -> Result<Value, Failed> {
    gateway.write_policy(policy)?;
    gateway
        .run(&["plan", "-p", "policy.toml", "--out", "plan.json"])?
        .exits(0)?;
    Ok(serde_json::from_slice(&fs::read(
        gateway.path().join("plan.json"),
    )?)?)
}

fn apply(gateway: &Gateway, more: &[&str]) -> Result<Ran, Failed> {
    let mut arguments = vec!["apply", "plan.json", "-p", "policy.toml", "-o", "json"];
    arguments.extend(more);
    gateway.run(&arguments)
}

fn only_flows_of_the_saved_plan_are_changed() -> Result<(), Failed> {
    let (old, new, kept) = (dns(1, 10), dns(100, 7), others(20));
    flows::create(old.iter().chain(&kept))?;
    let gateway = Gateway::new()?;
    let saved = save(&gateway, POLICY)?;
    assert_eq!(saved["schema"], "conntidy.saved-plan/1");
    assert_eq!(saved["rules"]["dns"].as_array().map(Vec::len), Some(10));
    let mode = fs::metadata(gateway.path().join("plan.json"))?.permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    flows::create(&new)?;
    let report = apply(&gateway, &[])?.exits(0)?.document()?;
    assert_eq!(report["rules"][0]["done"], 10);
    assert_eq!(report["saved"]["planned"], 10);
    assert_eq!(report["saved"]["still"], 10);
    assert_eq!(report["saved"]["new"], 7);
    assert_eq!(fixture::read_tunable("nf_conntrack_icmp_timeout")?, 20);
    let left: Vec<Flow> = new.into_iter().chain(kept).collect();
    fixture::same_keys(&fixture::keys()?, &flows::keys_of(&left))?;
    // What it did can be undone as what any run did.
    gateway.run(&["undo"])?.exits(0)?;
    assert_eq!(fixture::keys()?.len(), left.len() + 10);
    Ok(())
}

fn a_rule_that_could_stream_waits_for_the_whole_dump() -> Result<(), Failed> {
    let (old, new) = (dns(1, 10), dns(100, 7));
    flows::create(&old)?;
    let gateway = Gateway::new()?;
    let policy = POLICY.replace("60%", "100%");
    let saved = save(&gateway, &policy)?;
    assert_eq!(saved["plan"]["rules"][0]["streams"], true);
    flows::create(&new)?;
    apply(&gateway, &[])?.exits(0)?;
    fixture::same_keys(&fixture::keys()?, &flows::keys_of(&new))
}

fn a_tuple_that_was_taken_anew_is_left_alone() -> Result<(), Failed> {
    let (old, kept) = (dns(1, 3), others(20));
    flows::create(old.iter().chain(&kept))?;
    let gateway = Gateway::new()?;
    let mut saved = save(&gateway, POLICY)?;
    // Ids come from addresses of memory, which a new entry may well get again.
    let id = saved["rules"]["dns"][0][0].as_u64();
    saved["rules"]["dns"][0][0] = json!(id.map_or(1, |id| id ^ 1));
    fs::write(gateway.path().join("plan.json"), saved.to_string())?;
    let report = apply(&gateway, &[])?.exits(0)?.document()?;
    assert_eq!(report["rules"][0]["done"], 2);
    assert_eq!(report["saved"]["still"], 2);
    assert_eq!(fixture::keys()?.len(), 21);
    Ok(())
}

fn a_rule_that_is_over_its_budget_by_now_is_refused_whole() -> Result<(), Failed> {
    flows::create(&dns(1, 60))?;
    let gateway = Gateway::new()?;
    save(
        &gateway,
        &POLICY
            .replace("percent = 100", "count = 65")
            .replace("60%", "100%"),
    )?;
    flows::create(&dns(100, 10))?;
    let report = apply(&gateway, &[])?.exits(3)?.document()?;
    assert_eq!(report["plan"]["rules"][0]["refused"]["kind"], "over-budget");
    assert_eq!(fixture::keys()?.len(), 70);
    Ok(())
}

fn timers_are_set_for_flows_of_the_plan_alone() -> Result<(), Failed> {
    let (old, new) = (dns(1, 5), dns(100, 5));
    let long = |flow: &Flow| crate::gateway::lasting(*flow, 20_000);
    flows::create(&old.iter().map(long).collect::<Vec<_>>())?;
    let gateway = Gateway::new()?;
    let policy = POLICY.replace(
        "\"delete\"",
        "\"expire\"\ngrace = \"10s\"\naccept-risk = \"a test\"",
    );
    save(&gateway, &policy)?;
    flows::create(&new.iter().map(long).collect::<Vec<_>>())?;
    apply(&gateway, &[])?.exits(0)?;
    let times = crate::gateway::remaining()?;
    let is_long = |flow: &Flow| times[&flow.key()] > 10_000;
    assert!(new.iter().all(is_long), "{times:?}");
    assert!(!old.iter().any(is_long), "{times:?}");
    Ok(())
}

fn timeouts_reach_only_existing_entries_of_the_plan() -> Result<(), Failed> {
    let (old, new) = (dns(1, 5), dns(100, 5));
    let long = |flow: &Flow| crate::gateway::lasting(*flow, 29);
    flows::create(&old.iter().map(long).collect::<Vec<_>>())?;
    let gateway = Gateway::new()?;
    let policy = "[timeouts]\nudp.unreplied = 10\napply-to-existing = [\"udp.unreplied\"]\n";
    let saved = save(&gateway, policy)?;
    let named = &saved["existing"]["nf_conntrack_udp_timeout"];
    assert_eq!(named.as_array().map(Vec::len), Some(5), "{saved:#}");
    flows::create(&new.iter().map(long).collect::<Vec<_>>())?;
    apply(&gateway, &[])?.exits(0)?;
    let times = crate::gateway::remaining()?;
    let is_long = |flow: &Flow| times[&flow.key()] > 10;
    assert!(new.iter().all(is_long), "{times:?}");
    assert!(!old.iter().any(is_long), "{times:?}");
    Ok(())
}

fn a_plan_of_other_circumstances_is_refused_and_nothing_changes() -> Result<(), Failed> {
    flows::create(dns(1, 10).iter().chain(&others(20)))?;
    let gateway = Gateway::new()?;
    let saved = save(&gateway, POLICY)?;
    let refused = |more: &[&str], why: &str| -> Result<(), Failed> {
        let ran = apply(&gateway, more)?.exits(3)?;
        assert!(ran.err.contains(why), "{why}: {ran:#?}");
        assert_eq!(fixture::keys()?.len(), 30, "{why}");
        Ok(())
    };
    let edited = |change: &dyn Fn(&mut Value)| -> Result<(), Failed> {
        let mut edited = saved.clone();
        change(&mut edited);
        fs::write(gateway.path().join("plan.json"), edited.to_string())?;
        Ok(())
    };
    refused(&["--max-age", "0"], "old, and at most 0")?;
    refused(&["--set", "timeouts.icmp=21"], "another policy")?;
    edited(&|saved| saved["plan"]["boot_id"] = json!("00000000"))?;
    refused(&[], "another boot")?;
    edited(&|saved| saved["netns"]["inode"] = json!(1))?;
    refused(&[], "another network namespace")?;
    edited(&|saved| saved["schema"] = json!("conntidy.saved-plan/2"))?;
    refused(&[], "conntidy.saved-plan/2")?;
    edited(&|saved| saved["uptime_ns"] = json!(u64::MAX))?;
    refused(&[], "old, and at most")?;
    edited(&|_| {})?;
    fixture::write_tunable("nf_conntrack_icmp_timeout", 25)?;
    refused(&[], "nf_conntrack_icmp_timeout was 30, to be changed to 20")?;
    assert_eq!(fixture::read_tunable("nf_conntrack_icmp_timeout")?, 25);
    fixture::write_tunable("nf_conntrack_icmp_timeout", 30)?;
    apply(&gateway, &[])?.exits(0)?;
    assert_eq!(fixture::keys()?.len(), 20);
    Ok(())
}

fn a_file_that_is_no_saved_plan_is_named_with_the_place_of_the_mistake() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    gateway.write_policy(POLICY)?;
    let ran = apply(&gateway, &[])?.exits(1)?;
    assert!(ran.err.contains("plan.json cannot be read"), "{ran:#?}");
    let plan = gateway.run(&["plan", "-p", "policy.toml", "-o", "json"])?;
    fs::write(gateway.path().join("plan.json"), plan.out)?;
    let ran = apply(&gateway, &[])?.exits(1)?;
    assert!(ran.err.contains("plan.json is no saved plan"), "{ran:#?}");
    assert!(ran.err.contains(" line "), "{ran:#?}");
    // Somebody gives the policy as `check` takes it.
    let ran = gateway.run(&["apply", "policy.toml"])?.exits(64)?;
    assert!(ran.err.contains("`--policy policy.toml`"), "{ran:#?}");
    Ok(())
}
