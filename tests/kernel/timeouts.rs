//! Tunables: written, read back, and brought to entries that exist.

use conntidy::flow::protocol::tcp;
use conntidy::flow::{Flow, FlowKey, Protocol};
use conntidy::kernel::Change;
use conntidy::kernel::namespace::within_new;
use conntidy::plan::{Refusal, TunableState};
use conntidy::report::TunableOutcome;
use libtest_mimic::Failed;

use crate::fixture::{self, read_tunable, write_tunable};
use crate::flows::{self, flow, in_state};
use crate::gateway::{Gateway, assured, is_about, lasting, left, result, rule};

crate::trials!(
    tunables_are_written_and_read_back_in_this_namespace_alone,
    modes_are_content_with_what_they_allow,
    what_the_initial_namespace_alone_can_set_is_a_status,
    a_lowered_timeout_shortens_what_is_above_it_in_the_same_run,
    a_timeout_in_force_already_is_applied_to_existing_entries_too,
    what_is_said_of_existing_entries_stands_below_their_own_key,
    timeout_objects_keep_a_timeout_from_existing_entries_unless_it_is_named,
    a_key_that_cannot_be_written_shortens_nothing,
    a_timeout_applied_to_existing_entries_hides_no_idleness,
    a_timer_that_the_sysctl_never_set_is_not_cut_to_it,
    what_became_established_meanwhile_is_not_shortened,
    what_a_packet_refreshed_under_a_timeout_lowered_meanwhile_is_not_idle,
    a_read_only_proc_sys_is_a_status_and_rules_work,
);

const STREAM: &str = "nf_conntrack_udp_timeout_stream";

fn stream(port: u16, seconds: u32) -> Flow {
    let one = flow(Protocol::UDP, &format!("10.0.0.1:{port}"), "192.0.2.1:53");
    assured(lasting(one, seconds))
}

fn tunables_are_written_and_read_back_in_this_namespace_alone() -> Result<(), Failed> {
    const POLICY: &str = r#"
        [timeouts]
        tcp.time-wait = "30s"
        icmp = "10s"
        [sysctl]
        nf_conntrack_acct = true
        nf_conntrack_tcp_be_liberal = { value = true, mode = "observe" }
    "#;
    let gateway = Gateway::new()?;
    let report = gateway.apply(POLICY)?;
    let written: Vec<_> = report
        .sysctl
        .iter()
        .map(|one| {
            (
                one.name.as_str(),
                one.before.as_deref(),
                one.after.as_deref(),
            )
        })
        .collect();
    assert!(written.contains(&(
        "nf_conntrack_tcp_timeout_time_wait",
        Some("120"),
        Some("30")
    )));
    assert!(written.contains(&("nf_conntrack_icmp_timeout", Some("30"), Some("10"))));
    assert!(written.contains(&("nf_conntrack_acct", Some("0"), Some("1"))));
    assert_eq!(written.len(), 3);
    assert!(
        report
            .sysctl
            .iter()
            .all(|one| one.outcome == TunableOutcome::Written)
    );
    assert_eq!(read_tunable("nf_conntrack_tcp_timeout_time_wait")?, 30);
    assert_eq!(read_tunable("nf_conntrack_tcp_be_liberal")?, 0);
    assert!(gateway.plan(POLICY)?.summary.is_empty());
    let elsewhere = within_new(|| read_tunable("nf_conntrack_tcp_timeout_time_wait"))??;
    assert_eq!(elsewhere, 120);
    Ok(())
}

fn modes_are_content_with_what_they_allow() -> Result<(), Failed> {
    let report = Gateway::new()?.apply(
        r#"
        [timeouts]
        icmp = { value = "20s", mode = "at-least" }
        udp.unreplied = { value = "60s", mode = "at-most" }
        generic = { value = "5m", mode = "at-most" }
        "#,
    )?;
    let names: Vec<&str> = report.sysctl.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["nf_conntrack_generic_timeout"]);
    assert_eq!(read_tunable("nf_conntrack_generic_timeout")?, 300);
    Ok(())
}

fn what_the_initial_namespace_alone_can_set_is_a_status() -> Result<(), Failed> {
    let report = Gateway::new()?
        .run_apply(
            "[table]\nmax = 777777\nmode = \"enforce\"\nbuckets = 777728\nexpect-max = 4097\n",
        )?
        .exits(0)?
        .document()?;
    let steps = report["plan"]["sysctl"].as_array().ok_or("no steps")?;
    assert_eq!(steps.len(), 3);
    for step in steps {
        assert_eq!(step["state"], "initial-namespace", "{step}");
    }
    assert_eq!(report["plan"]["summary"]["change"], 0);
    Ok(())
}

fn a_lowered_timeout_shortens_what_is_above_it_in_the_same_run() -> Result<(), Failed> {
    const POLICY: &str = r#"
        [timeouts]
        udp.stream = "60s"
        apply-to-existing = true
    "#;
    let (long, short) = (stream(1, 115), stream(2, 40));
    let unreplied = lasting(flow(Protocol::UDP, "10.0.0.1:3", "192.0.2.1:53"), 90);
    flows::create([&long, &short, &unreplied])?;
    let gateway = Gateway::new()?;
    assert_eq!(rule(&gateway.plan(POLICY)?, STREAM).selected, 1);
    let report = gateway.apply(POLICY)?;
    assert_eq!(read_tunable(STREAM)?, 60);
    assert_eq!(result(&report, STREAM).done, 1);
    assert_eq!(rule(&report.plan, STREAM).selected, 1);
    is_about(left(&long)?, 60)?;
    is_about(left(&short)?, 40)?;
    is_about(left(&unreplied)?, 90)?;
    assert!(gateway.plan(POLICY)?.summary.is_empty());
    Ok(())
}

fn a_timeout_in_force_already_is_applied_to_existing_entries_too() -> Result<(), Failed> {
    let (claimed, other) = (stream(1, 115), stream(2, 115));
    flows::create([&claimed, &other])?;
    write_tunable(STREAM, 60)?;
    let report = Gateway::new()?.apply(
        r#"
        [timeouts]
        udp.stream = "60s"
        apply-to-existing = ["udp.stream"]
        [rules.first]
        match = { protocol = "udp", sport = 1 }
        action = "delete"
        "#,
    )?;
    // What a rule claims it keeps, also where a rail leaves it.
    assert_eq!(rule(&report.plan, "first").left.assured, 1);
    assert_eq!(rule(&report.plan, STREAM).selected, 1);
    assert!(report.sysctl.is_empty());
    is_about(left(&claimed)?, 115)?;
    is_about(left(&other)?, 60)
}

fn what_is_said_of_existing_entries_stands_below_their_own_key() -> Result<(), Failed> {
    flows::create([&stream(1, 115)])?;
    write_tunable(STREAM, 60)?;
    let gateway = Gateway::new()?;
    gateway.write_policy(
        "[timeouts]\ntcp.time-wait = 30\nudp.stream = 60\nicmp = 30\n\
         apply-to-existing = [\"udp.stream\"]\n",
    )?;
    let plan = ["plan", "-p", "policy.toml"];
    for (arguments, others) in [(&plan[..], true), (&[&plan[..], &["-v"]].concat(), false)] {
        let text = gateway.run(arguments)?.exits(0)?.out;
        let (key, said) = text
            .lines()
            .zip(text.lines().skip(1))
            .find(|(_, below)| below.contains("existing entry"))
            .ok_or_else(|| text.clone())?;
        // It is in sync: without an arrow.
        let words: Vec<&str> = key.split_whitespace().collect();
        assert_eq!(words, [STREAM, "60"], "{text}");
        assert!(said.contains("1 existing entry above 60 s"), "{text}");
        assert_eq!(text.contains("1 key in sync"), others, "{text}");
    }
    Ok(())
}

fn timeout_objects_keep_a_timeout_from_existing_entries_unless_it_is_named() -> Result<(), Failed> {
    crate::needs!("nft");
    let script = "table ip t { ct timeout u { protocol udp; policy = { replied : 7 }; }; }";
    fixture::run("nft", &[script])?;
    let long = stream(1, 115);
    flows::create([&long])?;
    let policy =
        |which: &str| format!("[timeouts]\nudp.stream = \"60s\"\napply-to-existing = {which}\n");
    let gateway = Gateway::new()?;
    let report = gateway.apply(&policy("true"))?;
    assert_eq!(rule(&report.plan, STREAM).refused, Some(Refusal::CtTimeout));
    assert_eq!(read_tunable(STREAM)?, 60);
    is_about(left(&long)?, 115)?;
    gateway.apply(&policy("[\"udp.stream\"]"))?;
    is_about(left(&long)?, 60)
}

fn a_key_that_cannot_be_written_shortens_nothing() -> Result<(), Failed> {
    crate::needs!("unshare", "mount");
    let long = stream(1, 115);
    flows::create([&long])?;
    let gateway = Gateway::new()?;
    gateway.write_policy("[timeouts]\nudp.stream = \"60s\"\napply-to-existing = true\n")?;
    // In its place stands a key that takes 0 and 1 alone.
    let ran = gateway.run_in_own_mounts(
        "cd /proc/sys/net/netfilter
         mount --bind nf_conntrack_acct nf_conntrack_udp_timeout_stream
         cd \"$2/..\"
         exec \"$1\" apply -p policy.toml -o json",
    )?;
    let report = ran.exits(4)?.document()?;
    assert_eq!(report["sysctl"][0]["outcome"], "failed");
    assert_eq!(
        report["plan"]["existing"][0]["refused"]["kind"],
        "not-in-force"
    );
    is_about(left(&long)?, 115)
}

fn a_timeout_applied_to_existing_entries_hides_no_idleness() -> Result<(), Failed> {
    const POLICY: &str = r#"
        [timeouts]
        udp.stream = "120s"
        apply-to-existing = true
        [rules.idle]
        match = { protocol = "udp", idle-for = "30s" }
        action = "expire"
        grace = "10s"
        accept-risk = "a test"
    "#;
    let gateway = Gateway::new()?;
    gateway.apply(POLICY)?;
    let idle = stream(1, 60);
    flows::create([&idle])?;
    assert_eq!(result(&gateway.apply(POLICY)?, "idle").done, 1);
    is_about(left(&idle)?, 10)
}

fn a_timer_that_the_sysctl_never_set_is_not_cut_to_it() -> Result<(), Failed> {
    let lengthened = stream(1, 3600);
    flows::create([&lengthened])?;
    let gateway = Gateway::new()?;
    let report = gateway.apply("[timeouts]\nudp.stream = \"60s\"\napply-to-existing = true\n")?;
    assert_eq!(rule(&report.plan, STREAM).left.fixed_timeout, 1);
    is_about(left(&lengthened)?, 3600)
}

fn what_became_established_meanwhile_is_not_shortened() -> Result<(), Failed> {
    const PORTS: std::ops::Range<u16> = 1..80;
    let syn = |port: u16| {
        let one = flow(Protocol::TCP, &format!("10.0.0.1:{port}"), "192.0.2.1:443");
        lasting(in_state(one, tcp::SYN_SENT), 100)
    };
    let established = |port: u16| assured(lasting(in_state(syn(port), tcp::ESTABLISHED), 400_000));
    let scans: Vec<Flow> = PORTS.map(syn).collect();
    flows::create(&scans)?;
    let gateway = Gateway::new()?;
    gateway.write_policy(
        r#"
        [limits]
        expire = "100%"
        pace = "10/s"
        [rules.half-open]
        match = { protocol = "tcp", state = "SYN_SENT" }
        action = "expire"
        grace = "20s"
        budget = { count = 1000 }
        "#,
    )?;
    let arguments = ["apply", "-p", "policy.toml", "-o", "json"];
    let run = gateway
        .command(&[], &arguments)
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    std::thread::sleep(std::time::Duration::from_secs(2));
    let waiting: Vec<FlowKey> = crate::gateway::remaining()?
        .into_iter()
        .filter(|(_, left)| *left > 20)
        .map(|(key, _)| key)
        .collect();
    assert!(waiting.len() > 20, "the run was faster than its pace");
    let ids: Vec<(FlowKey, u32)> = fixture::table()?
        .into_iter()
        .map(|(flow, _)| (flow.key(), flow.id))
        .filter(|(key, _)| waiting.contains(key))
        .collect();
    let deletes = ids.into_iter().map(|(key, id)| Change::Delete { key, id });
    flows::change(deletes)?;
    let answered: Vec<Flow> = waiting
        .iter()
        .map(|key| established(key.orig.src_port))
        .collect();
    flows::create(&answered)?;
    let report: serde_json::Value = serde_json::from_slice(&run.wait_with_output()?.stdout)?;
    let left = crate::gateway::remaining()?;
    for flow in &answered {
        let left = left.get(&flow.key());
        // What was on its way within five seconds of the dump cannot be called back.
        assert!(left.is_some(), "{}: {report}", flow.key());
    }
    let cut = answered
        .iter()
        .filter(|flow| left[&flow.key()] <= 20)
        .count();
    assert!(cut <= 40, "{cut} of {} were cut: {report}", answered.len());
    assert!(cut < answered.len(), "all were cut: {report}");
    Ok(())
}

fn what_a_packet_refreshed_under_a_timeout_lowered_meanwhile_is_not_idle() -> Result<(), Failed> {
    const REQUESTS: &str = "nf_conntrack_udp_timeout";
    let request = |port: u16| {
        let one = flow(Protocol::UDP, &format!("10.0.0.1:{port}"), "192.0.2.1:53");
        lasting(one, 150)
    };
    write_tunable(REQUESTS, 300)?;
    flows::create(&(1..80).map(request).collect::<Vec<Flow>>())?;
    let gateway = Gateway::new()?;
    gateway.write_policy(
        r#"
        [limits]
        expire = "100%"
        pace = "10/s"
        [timeouts]
        udp.unreplied = "60s"
        [rules.old]
        match = { protocol = "udp", idle-for = "100s" }
        action = "expire"
        grace = "10s"
        accept-risk = "a test"
        budget = { count = 1000 }
        "#,
    )?;
    let run = gateway
        .command(&[], &["apply", "-p", "policy.toml", "-o", "json"])
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(read_tunable(REQUESTS)?, 60);
    let waiting: Vec<FlowKey> = crate::gateway::remaining()?
        .into_iter()
        .filter(|(_, left)| *left > 10)
        .map(|(key, _)| key)
        .collect();
    assert!(waiting.len() > 50, "the run was faster than its pace");
    // As the kernel does for a packet.
    let packets = waiting
        .iter()
        .map(|&key| Change::Retime { key, seconds: 60 });
    flows::change(packets)?;
    let report: serde_json::Value = serde_json::from_slice(&run.wait_with_output()?.stdout)?;
    let left = crate::gateway::remaining()?;
    let cut = waiting.iter().filter(|key| left[key] <= 10).count();
    // What was on its way within five seconds of the dump cannot be called back.
    assert!(cut <= 40, "{cut} of {} were cut: {report}", waiting.len());
    Ok(())
}

fn a_read_only_proc_sys_is_a_status_and_rules_work() -> Result<(), Failed> {
    crate::needs!("unshare", "mount");
    let long = stream(1, 115);
    flows::create([&long, &flow(Protocol::UDP, "10.0.0.1:2", "192.0.2.1:123")])?;
    let gateway = Gateway::new()?;
    gateway.write_policy(
        r#"
        [timeouts]
        udp.stream = "60s"
        apply-to-existing = true
        [rules.time]
        match = { protocol = "udp", dport = 123 }
        action = "delete"
        "#,
    )?;
    let ran = gateway.run_in_own_mounts(
        "mount --bind /proc/sys /proc/sys
         mount -o remount,bind,ro /proc/sys
         exec \"$1\" apply -p policy.toml -o json",
    )?;
    let report = ran.exits(4)?.document()?;
    assert_eq!(
        report["plan"]["sysctl"][0]["state"],
        serde_json::to_value(TunableState::NotWritable)?
    );
    assert_eq!(report["rules"][0]["done"], 1);
    is_about(left(&long)?, 115)?;
    fixture::same_keys(&fixture::keys()?, &flows::keys_of([&long]))
}
