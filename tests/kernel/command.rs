//! The built program: privileges, namespaces, pipes.

use std::process::Stdio;

use conntidy::flow::Protocol;
use conntidy::kernel::namespace::within_new;
use libtest_mimic::Failed;

use crate::fixture;
use crate::flows::{self, flow};
use crate::gateway::{Gateway, Ran};

crate::trials!(
    without_privilege_the_way_out_is_told,
    another_namespace_is_worked_in_by_its_path,
    an_unknown_namespace_is_named,
    looking_needs_no_place_for_state,
    a_closed_pipe_is_no_error,
    a_closed_pipe_hides_no_refusal,
    nobody_who_reads_what_is_said_keeps_nothing_from_being_done,
    differences_and_refusals_are_exit_codes_where_asked_for,
);

const POLICY: &str = r#"
    [rules.dns]
    match = { protocol = "udp", dport = 53 }
    action = "delete"
"#;

fn without_privilege_the_way_out_is_told() -> Result<(), Failed> {
    crate::needs!("setpriv");
    let dns = flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53");
    flows::create([&dns])?;
    let gateway = Gateway::new()?;
    gateway.write_policy(POLICY)?;
    for command in ["plan", "apply"] {
        let output = gateway
            .command(&fixture::NO_PRIVILEGE, &[command, "-p", "policy.toml"])
            .output()?;
        let ran = Ran::from(output).exits(77)?;
        assert!(ran.err.contains("CAP_NET_ADMIN"), "{}", ran.err);
        assert!(ran.err.contains("hint: run as root"), "{}", ran.err);
        assert_eq!(ran.out, "");
    }
    assert_eq!(fixture::keys()?.len(), 1);
    Ok(())
}

fn another_namespace_is_worked_in_by_its_path() -> Result<(), Failed> {
    let dns = flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53");
    flows::create([&dns])?;
    let gateway = Gateway::new()?;
    gateway.write_policy(&format!("{POLICY}[timeouts]\nicmp = 11\n"))?;
    let thread = std::fs::read_link("/proc/thread-self")?;
    let here = format!("/proc/{}/ns/net", thread.display());
    let arguments = ["apply", "-p", "policy.toml", "-o", "json", "--netns", &here];
    let report = within_new(|| gateway.run(&arguments))??.exits(0)?;
    let report = report.document()?;
    assert_eq!(report["plan"]["netns"], here);
    assert_eq!(report["rules"][0]["done"], 1);
    assert!(fixture::keys()?.is_empty());
    assert_eq!(fixture::read_tunable("nf_conntrack_icmp_timeout")?, 11);
    // State belongs to the namespace, however it was named.
    gateway.run(&["undo"])?.exits(0)?;
    fixture::same_keys(&fixture::keys()?, &flows::keys_of([&dns]))
}

fn an_unknown_namespace_is_named() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    gateway.write_policy(POLICY)?;
    for command in ["plan", "apply"] {
        let ran = gateway
            .run(&[command, "-p", "policy.toml", "--netns", "no-such-netns"])?
            .exits(1)?;
        assert!(ran.err.contains("no-such-netns"), "{}", ran.err);
        assert!(ran.err.contains("ip netns list"), "{}", ran.err);
    }
    Ok(())
}

fn looking_needs_no_place_for_state() -> Result<(), Failed> {
    flows::create([&flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53")])?;
    let gateway = Gateway::new()?;
    gateway.write_policy(POLICY)?;
    let nowhere = |arguments: &[&str]| -> Result<Ran, Failed> {
        Ok(gateway.command(&[], arguments).env_clear().output()?.into())
    };
    let policy = ["-p", "policy.toml"];
    let explain = ["explain", "udp", "10.0.0.1:1", "192.0.2.1:53"];
    let take = ["snapshot", "take", "--out", "taken.jsonl"];
    for command in [&["plan"][..], &explain, &take] {
        let ran = nowhere(&[command, &policy].concat())?.exits(0)?;
        assert!(
            ran.err.contains("no place for state between runs"),
            "{}",
            ran.err
        );
    }
    let ran = nowhere(&[&["apply"][..], &policy].concat())?.exits(1)?;
    assert!(ran.err.contains("set STATE_DIRECTORY"), "{}", ran.err);
    Ok(())
}

fn a_closed_pipe_is_no_error() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    gateway.write_policy(POLICY)?;
    for arguments in [
        &["plan", "-p", "policy.toml"][..],
        &["plan", "-p", "policy.toml", "-o", "json"],
        &["apply", "-p", "policy.toml"],
        &["undo", "--list"],
        &["doctor"],
        &["schema", "plan"],
    ] {
        unread(&gateway, arguments)?.exits(0)?;
    }
    Ok(())
}

/// As on a full disk, or a terminal that is gone.
fn nobody_who_reads_what_is_said_keeps_nothing_from_being_done() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    // With a warning about the rule, which deletes by port alone.
    gateway.write_policy(POLICY)?;
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full");
    let dns = flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53");
    flows::create([&dns])?;
    let apply = ["apply", "-p", "policy.toml"];
    let mut deaf = gateway.command(&[], &apply);
    let status = deaf.stdout(Stdio::null()).stderr(full()?).status()?;
    assert_eq!(status.code(), Some(0));
    assert!(fixture::keys()?.is_empty());
    let mut silent = gateway.command(&[], &apply);
    let status = silent.stdout(full()?).stderr(full()?).status()?;
    assert_eq!(status.code(), Some(1), "the report could not be printed");
    Ok(())
}

/// Runs the program with nobody at the other end of its pipe.
fn unread(gateway: &Gateway, arguments: &[&str]) -> Result<Ran, Failed> {
    let mut child = gateway
        .command(&[], arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    Ok(child.wait_with_output()?.into())
}

fn a_closed_pipe_hides_no_refusal() -> Result<(), Failed> {
    flows::create([&flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53")])?;
    let gateway = Gateway::new()?;
    gateway.write_policy(&format!("{POLICY}budget = {{ count = 0 }}"))?;
    for (arguments, code) in [
        (&["apply", "-p", "policy.toml"][..], 3),
        (&["apply", "-p", "policy.toml", "-o", "json"], 3),
        (&["plan", "-p", "policy.toml", "--fail-on", "refused"], 3),
    ] {
        unread(&gateway, arguments)?.exits(code)?;
    }
    Ok(())
}

fn differences_and_refusals_are_exit_codes_where_asked_for() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let plan = ["plan", "-p", "policy.toml", "--detailed-exitcode"];
    gateway.write_policy(POLICY)?;
    gateway.run(&plan)?.exits(0)?;
    flows::create([&flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53")])?;
    gateway.run(&plan)?.exits(2)?;
    gateway.write_policy(&format!("{POLICY}budget = {{ count = 0 }}"))?;
    let refused = ["plan", "-p", "policy.toml", "--fail-on", "refused"];
    gateway.run(&refused)?.exits(3)?;
    gateway.run(&refused[..3])?.exits(0)?;
    gateway.write_policy("nonsense = 1")?;
    gateway.run(&plan)?.exits(78)?;
    gateway.run(&["plan", "--nonsense"])?.exits(64)?;
    Ok(())
}
