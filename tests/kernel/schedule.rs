//! When rules run: the timer's intervals, pressure, boot grace, boot, breaker.

use std::fs;

use conntidy::flow::{Flow, Protocol};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::fixture::{self, read_tunable, write_tunable};
use crate::flows::{self, flow};
use crate::gateway::{Gateway, assured, is_about, lasting, left};

crate::trials!(
    a_timer_runs_only_what_is_due_and_always_puts_tunables_right,
    a_timer_with_nothing_to_do_leaves_table_and_records_alone,
    a_rule_that_waits_claims_nothing,
    a_corrected_timeout_puts_off_no_other_one,
    pressure_begins_at_one_mark_and_ends_at_the_other,
    a_plan_changes_nothing_that_runs_tell_each_other,
    within_the_boot_grace_tunables_are_set_and_rules_count,
    booting_sets_tunables_and_touches_no_flow,
    booting_needs_no_place_for_state,
    a_rule_that_keeps_being_refused_is_broken_until_it_is_released,
    a_set_that_is_away_for_long_breaks_no_rule,
);

fn dns(host: u8) -> Flow {
    flow(Protocol::UDP, &format!("10.0.0.{host}:1"), "192.0.2.1:53")
}

const DNS: &str = r#"
    [timeouts]
    icmp = 11
    [rules.dns]
    match = { protocol = "udp", dport = 53 }
    action = "delete"
    budget = { percent = 50 }
"#;

fn run(gateway: &Gateway, arguments: &[&str], code: i32) -> Result<Value, Failed> {
    let fixed = ["-p", "policy.toml", "-o", "json"];
    gateway
        .run(&[arguments, &fixed].concat())?
        .exits(code)?
        .document()
}

/// Audit records.
fn records(gateway: &Gateway) -> Result<usize, Failed> {
    Ok(fs::read_dir(gateway.state()?.directory().join("audit"))?.count())
}

fn a_timer_runs_only_what_is_due_and_always_puts_tunables_right() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    gateway.write_policy(DNS)?;
    flows::create([&dns(1)])?;
    let first = run(&gateway, &["apply", "--due"], 0)?;
    assert_eq!(first["rules"][0]["done"], 1);
    flows::create([&dns(2)])?;
    write_tunable("nf_conntrack_icmp_timeout", 77)?;
    let second = run(&gateway, &["apply", "--due"], 0)?;
    assert_eq!(second["plan"]["rules"][0]["waiting"]["kind"], "not-due");
    assert_eq!(second["rules"], json!([]));
    assert_eq!(read_tunable("nf_conntrack_icmp_timeout")?, 11);
    assert_eq!(fixture::keys()?.len(), 1);
    let asked = run(&gateway, &["apply"], 0)?;
    assert_eq!(asked["rules"][0]["done"], 1);
    // That run counts, too.
    flows::create([&dns(3)])?;
    let plan = run(&gateway, &["plan", "--due"], 0)?;
    let due_in = plan["rules"][0]["waiting"]["due_in"].as_u64();
    assert!(
        due_in.is_some_and(|due_in| (260..=270).contains(&due_in)),
        "{plan}"
    );
    assert_eq!(run(&gateway, &["plan"], 0)?["rules"][0]["selected"], 1);
    // The interval is what the policy says now.
    gateway.write_policy(&format!("{DNS}every = \"1s\""))?;
    std::thread::sleep(std::time::Duration::from_millis(950));
    let due = run(&gateway, &["apply", "--due"], 0)?;
    assert_eq!(due["rules"][0]["done"], 1);
    Ok(())
}

fn a_timer_with_nothing_to_do_leaves_table_and_records_alone() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    gateway.write_policy(DNS)?;
    run(&gateway, &["apply", "--due"], 0)?;
    flows::create([&dns(2)])?;
    let kept = records(&gateway)?;
    let idle = run(&gateway, &["apply", "--due"], 0)?;
    assert_eq!(idle["plan"]["table"]["dumped"], 0);
    assert_eq!(idle["plan"]["table"]["count"], 1);
    assert_eq!(records(&gateway)?, kept);
    let text = gateway
        .run(&["apply", "--due", "-p", "policy.toml"])?
        .exits(0)?;
    assert!(text.out.contains("due in 4m"), "{}", text.out);
    Ok(())
}

fn a_rule_that_waits_claims_nothing() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let later = r#"
        [rules.later]
        match = { protocol = "udp" }
        action = "expire"
        grace = "5s"
        order = 60
        every = "1s"
    "#;
    gateway.write_policy(&format!("{DNS}{later}"))?;
    run(&gateway, &["apply", "--due"], 0)?;
    flows::create([&lasting(dns(1), 30)])?;
    std::thread::sleep(std::time::Duration::from_millis(950));
    let report = run(&gateway, &["apply", "--due"], 0)?;
    assert_eq!(report["plan"]["rules"][0]["waiting"]["kind"], "not-due");
    assert_eq!(report["plan"]["rules"][0]["matched"], 0);
    assert_eq!(report["plan"]["rules"][1]["selected"], 1);
    is_about(left(&dns(1))?, 5)
}

fn a_corrected_timeout_puts_off_no_other_one() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    gateway.write_policy(
        "[timeouts]\nicmp = 11\nudp.stream = 60\napply-to-existing = true\n[run]\nevery = \"1h\"",
    )?;
    run(&gateway, &["apply", "--due"], 0)?;
    let path = gateway.state()?.directory().join("state.json");
    let applied_at = || -> Result<Value, Failed> {
        let state: Value = serde_json::from_slice(&fs::read(&path)?)?;
        Ok(state["rounds"]["existing_ns"].clone())
    };
    let before = applied_at()?;
    assert!(before.is_u64(), "{before}");
    write_tunable("nf_conntrack_udp_timeout_stream", 120)?;
    let stream = flow(Protocol::UDP, "10.0.0.9:9", "192.0.2.1:80");
    let stream = assured(lasting(stream, 110));
    flows::create([&stream])?;
    let corrected = run(&gateway, &["apply", "--due"], 0)?;
    assert_eq!(corrected["rules"][0]["done"], 1, "{corrected}");
    is_about(left(&stream)?, 60)?;
    assert_eq!(applied_at()?, before);
    Ok(())
}

/// Flows that fill the table to so many hundredths of a percent, and a few more.
fn filling(hundredths: u64) -> Result<Vec<Flow>, Failed> {
    let max = read_tunable("nf_conntrack_max")?;
    Ok(flows::many(u32::try_from(max * hundredths / 10_000 + 2)?))
}

fn pressure_begins_at_one_mark_and_ends_at_the_other() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    gateway.write_policy(
        r#"
        [rules.pressure]
        when = { fill-above = 0.03, until-below = 0.01 }
        match = { dst = "203.0.113.99" }
        action = "delete"
        budget = { count = 1000 }
        "#,
    )?;
    let stale = flow(Protocol::UDP, "10.9.9.9:1", "203.0.113.99:53");
    flows::create([&stale])?;
    let low = run(&gateway, &["apply"], 0)?;
    assert_eq!(low["plan"]["rules"][0]["waiting"]["kind"], "not-pressed");
    assert_eq!(low["plan"]["rules"][0]["waiting"]["above"], 3);
    let many = filling(3)?;
    flows::create(&many)?;
    let plan = run(&gateway, &["plan"], 0)?;
    assert_eq!(plan["rules"][0]["selected"], 1);
    let full = run(&gateway, &["apply", "--due"], 0)?;
    assert_eq!(full["rules"][0]["done"], 1);
    // Emptier than the first mark, but not than the second.
    let rest = filling(1)?.len();
    let gone: Vec<Flow> = many[rest..].to_vec();
    delete(&gone)?;
    flows::create([&stale])?;
    assert_eq!(run(&gateway, &["apply"], 0)?["rules"][0]["done"], 1);
    delete(&many[..rest])?;
    flows::create([&stale])?;
    let low = run(&gateway, &["apply"], 0)?;
    assert_eq!(low["plan"]["rules"][0]["waiting"]["kind"], "not-pressed");
    // Between the marks a table that was not full is not full.
    flows::create(&many[..rest])?;
    let between = run(&gateway, &["apply"], 0)?;
    assert_eq!(
        between["plan"]["rules"][0]["waiting"]["kind"],
        "not-pressed"
    );
    assert!(left(&stale)?.is_some());
    Ok(())
}

fn delete(doomed: &[Flow]) -> Result<(), Failed> {
    let doomed = flows::keys_of(doomed);
    let changes: Vec<_> = fixture::table()?
        .into_iter()
        .filter(|(flow, _)| doomed.contains(&flow.key()))
        .map(|(flow, _)| conntidy::kernel::Change::Delete {
            key: flow.key(),
            id: flow.id,
        })
        .collect();
    flows::all_done(&flows::change(changes.into_iter())?)
}

fn a_plan_changes_nothing_that_runs_tell_each_other() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    gateway.write_policy(&format!(
        "{DNS}[rules.stuck]\nmatch = {{ protocol = \"udp\", persisted = \"1s\" }}\naction = \"report\""
    ))?;
    flows::create([&dns(1)])?;
    run(&gateway, &["apply"], 0)?;
    let directory = gateway.state()?.directory().to_owned();
    let state = || -> Result<_, Failed> {
        Ok((
            fs::read(directory.join("state.json"))?,
            fs::read(directory.join("persisted.zst"))?,
        ))
    };
    let before = state()?;
    for arguments in [&["plan"][..], &["plan", "--due"]] {
        run(&gateway, arguments, 0)?;
    }
    assert!(state()? == before);
    Ok(())
}

fn within_the_boot_grace_tunables_are_set_and_rules_count() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let stream = assured(lasting(
        flow(Protocol::UDP, "10.0.0.9:9", "192.0.2.1:80"),
        110,
    ));
    flows::create([&dns(1), &stream])?;
    gateway.write_policy(&format!(
        "[run]\nboot-grace = \"10000w\"\n{DNS}[timeouts.udp]\nstream = 60\n"
    ))?;
    let existing = ["--set", "timeouts.apply-to-existing=true"];
    let apply = [&["apply"][..], &existing].concat();
    for arguments in [&apply[..], &[&apply[..], &["--due"]].concat()] {
        let held = run(&gateway, arguments, 0)?;
        assert_eq!(held["plan"]["rules"][0]["waiting"]["kind"], "boot-grace");
        assert_eq!(held["plan"]["rules"][0]["matched"], 1);
        assert_eq!(held["plan"]["rules"][0]["selected"], 0);
        assert_eq!(held["rules"], json!([]));
    }
    assert_eq!(read_tunable("nf_conntrack_icmp_timeout")?, 11);
    assert_eq!(read_tunable("nf_conntrack_udp_timeout_stream")?, 60);
    is_about(left(&stream)?, 110)?;
    let text = gateway.run(&["plan", "-p", "policy.toml"])?.exits(0)?;
    assert!(text.out.contains("boot grace until 2"), "{}", text.out);
    let lifted = [&apply[..], &["--set", "run.boot-grace=0"]].concat();
    let report = run(&gateway, &lifted, 0)?;
    assert_eq!(report["plan"]["summary"]["delete"], 1);
    is_about(left(&stream)?, 60)?;
    assert_eq!(fixture::keys()?.len(), 1);
    Ok(())
}

fn booting_sets_tunables_and_touches_no_flow() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let stream = assured(lasting(
        flow(Protocol::UDP, "10.0.0.9:9", "192.0.2.1:80"),
        110,
    ));
    flows::create([&dns(1), &stream])?;
    gateway.write_policy(&format!("{DNS}[timeouts.udp]\nstream = 60\n"))?;
    let booted = run(
        &gateway,
        &[
            "apply",
            "--boot",
            "--set",
            "timeouts.apply-to-existing=true",
        ],
        0,
    )?;
    assert_eq!(booted["plan"]["rules"][0]["waiting"]["kind"], "boot");
    assert_eq!(booted["plan"]["table"]["dumped"], 0);
    assert_eq!(read_tunable("nf_conntrack_icmp_timeout")?, 11);
    is_about(left(&stream)?, 110)?;
    assert_eq!(fixture::keys()?.len(), 2);
    // Nothing is looked at, so nothing about a flow is in doubt.
    let idle = "--set=rules.idle={match={idle-for=\"20s\"},action=\"report\"}";
    let booted = run(&gateway, &["apply", "--boot", idle], 0)?;
    assert_eq!(booted["plan"]["doubts"], json!([]));
    // Rules did not run by that.
    let due = run(&gateway, &["apply", "--due"], 0)?;
    assert_eq!(due["rules"][0]["done"], 1);
    let both = gateway.run(&["apply", "--boot", "--due", "-p", "policy.toml"])?;
    both.exits(64)?;
    Ok(())
}

fn booting_needs_no_place_for_state() -> Result<(), Failed> {
    crate::needs!("unshare", "mount");
    let gateway = Gateway::new()?;
    gateway.write_policy(DNS)?;
    let ran = gateway.run_in_own_mounts(
        "mount -t tmpfs -o ro none \"$2\"
         \"$1\" apply --boot -p policy.toml",
    )?;
    let ran = ran.exits(0)?;
    assert!(
        ran.err.contains("nothing of this run is remembered"),
        "{}",
        ran.err
    );
    assert_eq!(read_tunable("nf_conntrack_icmp_timeout")?, 11);
    write_tunable("nf_conntrack_icmp_timeout", 30)?;
    let nowhere = ["apply", "--boot", "-p", "policy.toml"];
    let ran = gateway.command(&[], &nowhere).env_clear().output()?;
    crate::gateway::Ran::from(ran).exits(0)?;
    assert_eq!(read_tunable("nf_conntrack_icmp_timeout")?, 11);
    // What an earlier run left and nobody can read keeps no tunable from being set.
    fs::create_dir_all(gateway.state()?.directory())?;
    fs::write(gateway.state()?.directory().join("state.json"), "{")?;
    write_tunable("nf_conntrack_icmp_timeout", 30)?;
    run(&gateway, &["apply", "--boot"], 0)?;
    assert_eq!(read_tunable("nf_conntrack_icmp_timeout")?, 11);
    fs::remove_file(gateway.state()?.directory().join("state.json"))?;
    fs::write(gateway.state()?.directory().join("unconfirmed"), "{")?;
    write_tunable("nf_conntrack_icmp_timeout", 30)?;
    let due = gateway.run(&["apply", "--due", "-p", "policy.toml"])?;
    due.exits(1)?;
    assert_eq!(read_tunable("nf_conntrack_icmp_timeout")?, 30);
    run(&gateway, &["apply", "--boot"], 0)?;
    assert_eq!(read_tunable("nf_conntrack_icmp_timeout")?, 11);
    Ok(())
}

fn a_rule_that_keeps_being_refused_is_broken_until_it_is_released() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let refused = DNS.replace("percent = 50", "count = 0");
    let other = r#"
        [rules.other]
        match = { protocol = "udp" }
        action = "expire"
        grace = "5s"
        order = 60
    "#;
    gateway.write_policy(&format!("{refused}{other}"))?;
    flows::create([&lasting(dns(1), 30)])?;
    for _ in 0..3 {
        let report = run(&gateway, &["apply"], 3)?;
        assert_eq!(report["plan"]["rules"][0]["refused"]["kind"], "over-budget");
        assert_eq!(report["plan"]["rules"][1]["selected"], 0);
    }
    gateway.write_policy(&format!("{DNS}{other}"))?;
    let broken = json!({ "kind": "broken", "runs": 3 });
    assert_eq!(run(&gateway, &["plan"], 0)?["rules"][0]["refused"], broken);
    let report = run(&gateway, &["apply"], 3)?;
    assert_eq!(report["plan"]["rules"][0]["refused"], broken);
    assert_eq!(report["plan"]["rules"][0]["matched"], 1);
    assert_eq!(report["rules"][0]["name"], "other");
    assert_eq!(fixture::keys()?.len(), 1);
    let doctor = gateway.run(&["doctor"])?;
    assert!(doctor.out.contains("`dns` (3 in a row)"), "{}", doctor.out);
    let wrong = gateway.run(&["apply", "-p", "policy.toml", "--release", "other"])?;
    let wrong = wrong.exits(64)?;
    assert!(wrong.err.contains("on hold: dns"), "{}", wrong.err);
    let released = run(&gateway, &["apply", "--release", "dns"], 0)?;
    assert_eq!(released["rules"][0]["name"], "dns");
    assert_eq!(released["rules"][0]["done"], 1);
    assert!(fixture::keys()?.is_empty());
    Ok(())
}

fn a_set_that_is_away_for_long_breaks_no_rule() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let rule = DNS.replace("dport = 53", "dport = 53, not = { src = \"@uplink\" }");
    let with = |set: &str| gateway.write_policy(&format!("{rule}\n[sets.uplink]\n{set}\n"));
    flows::create([&dns(1)])?;
    with("interface = \"ppp0\"")?;
    for _ in 0..4 {
        let report = run(&gateway, &["apply"], 3)?;
        let refused = &report["plan"]["rules"][0]["refused"];
        assert_eq!(refused["kind"], "unreadable-set");
    }
    with("addresses = [\"10.9.9.9\"]")?;
    assert_eq!(run(&gateway, &["apply"], 0)?["rules"][0]["done"], 1);
    Ok(())
}
