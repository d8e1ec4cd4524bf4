//! `apply --confirm`: what is not confirmed is put back, whatever happens.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use conntidy::flow::Protocol;
use libtest_mimic::Failed;

use crate::fixture::{self, read_tunable, write_tunable};
use crate::flows::{self, flow};
use crate::gateway::{Gateway, Ran};

crate::trials!(
    what_nobody_confirms_is_put_back_and_no_rule_acts,
    a_second_command_confirms_and_then_rules_act,
    a_saved_plan_is_applied_once_it_is_confirmed,
    signals_put_things_back_at_once,
    on_a_terminal_enter_confirms,
    on_a_terminal_everything_else_is_no_confirmation,
    what_a_killed_run_left_is_put_back_by_the_next,
    what_was_not_confirmed_is_not_written_without_asking,
    where_nothing_is_written_nothing_is_asked,
    a_value_that_somebody_else_wrote_meanwhile_is_left,
    nothing_is_written_that_nobody_was_asked_about,
);

const KEY: &str = "nf_conntrack_icmp_timeout";
const POLICY: &str = r#"
    [timeouts]
    icmp = 11
    [rules.dns]
    match = { protocol = "udp", dport = 53 }
    action = "delete"
    budget = { percent = 100 }
"#;

/// A gateway with a policy that changes a key and deletes the only flow.
fn gateway() -> Result<Gateway, Failed> {
    flows::create([&flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53")])?;
    let gateway = Gateway::new()?;
    gateway.write_policy(POLICY)?;
    Ok(gateway)
}

/// Fails unless the key was put back and no rule acted.
fn is_as_before() -> Result<(), Failed> {
    assert_eq!(read_tunable(KEY)?, 30);
    assert_eq!(fixture::keys()?.len(), 1);
    Ok(())
}

/// Starts a run that waits, without a terminal.
fn waiting(gateway: &Gateway, within: &str) -> Result<Child, Failed> {
    waiting_for(gateway, &["--confirm", within])
}

/// The same of a run with these arguments.
fn waiting_for(gateway: &Gateway, arguments: &[&str]) -> Result<Child, Failed> {
    let mut command = gateway.command(&[], &["apply", "-p", "policy.toml", "-o", "json"]);
    let child = command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    until(|| Ok(read_tunable(KEY)? == 11 && gateway.state()?.unconfirmed()?.is_some()))?;
    Ok(child)
}

/// Waits for something that comes soon.
fn until(mut there: impl FnMut() -> Result<bool, Failed>) -> Result<(), Failed> {
    for _ in 0..600 {
        if there()? {
            return Ok(());
        }
        sleep(Duration::from_millis(50));
    }
    Err("it did not come".into())
}

fn ended(child: Child) -> Result<Ran, Failed> {
    Ok(child.wait_with_output()?.into())
}

fn what_nobody_confirms_is_put_back_and_no_rule_acts() -> Result<(), Failed> {
    let gateway = gateway()?;
    let report = ended(waiting(&gateway, "1s")?)?.exits(4)?.document()?;
    assert_eq!(report["confirmation"]["answer"], "timed-out");
    assert_eq!(report["undone"][0]["sysctl"][0]["name"], KEY);
    is_as_before()?;
    gateway.run(&["confirm"])?.exits(1)?;
    Ok(())
}

fn a_second_command_confirms_and_then_rules_act() -> Result<(), Failed> {
    let gateway = gateway()?;
    let child = waiting(&gateway, "10m")?;
    assert_eq!(fixture::keys()?.len(), 1);
    // Meanwhile nobody else acts.
    gateway.run(&["apply", "-p", "policy.toml"])?.exits(75)?;
    gateway.run(&["confirm"])?.exits(0)?;
    let report = ended(child)?.exits(0)?.document()?;
    assert_eq!(report["confirmation"]["answer"], "command");
    assert_eq!(report["sysctl"][0]["outcome"], "written");
    assert_eq!(report["plan"]["sysctl"][0]["state"], "change");
    assert_eq!(report["rules"][0]["done"], 1);
    assert_eq!(read_tunable(KEY)?, 11);
    assert!(fixture::keys()?.is_empty());
    // Both can be undone.
    gateway.run(&["undo"])?.exits(0)?;
    gateway.run(&["undo", "--sysctl"])?.exits(0)?;
    is_as_before()
}

fn a_saved_plan_is_applied_once_it_is_confirmed() -> Result<(), Failed> {
    let gateway = gateway()?;
    let plan = || gateway.run(&["plan", "-p", "policy.toml", "--out", "plan.json"]);
    let start = |within| waiting_for(&gateway, &["plan.json", "--confirm", within]);
    plan()?.exits(0)?;
    let report = ended(start("1s")?)?.exits(4)?.document()?;
    assert_eq!(report["confirmation"]["answer"], "timed-out");
    is_as_before()?;
    // Since nobody confirmed it, a new plan leaves the key, and so does whoever applies that one.
    let planned = plan()?;
    assert_eq!(planned.code, Some(0), "{planned:?}");
    let arguments = ["apply", "-p", "policy.toml", "plan.json", "--confirm", "1s"];
    gateway.run(&arguments)?.exits(3)?;
    assert_eq!(read_tunable(KEY)?, 30);
    assert!(fixture::keys()?.is_empty());
    // The saved plan names the flow that was there, and no other.
    flows::create([&flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53")])?;
    gateway
        .run(&["apply", "-p", "policy.toml", "--take", KEY])?
        .exits(0)?;
    flows::create([&flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53")])?;
    write_tunable(KEY, 30)?;
    plan()?.exits(0)?;
    let child = start("10m")?;
    flows::create([&flow(Protocol::UDP, "10.0.0.2:1", "192.0.2.1:53")])?;
    gateway.run(&["confirm"])?.exits(0)?;
    let report = ended(child)?.exits(0)?.document()?;
    assert_eq!(report["rules"][0]["done"], 1);
    assert_eq!(read_tunable(KEY)?, 11);
    assert_eq!(fixture::keys()?.len(), 1);
    Ok(())
}

fn signals_put_things_back_at_once() -> Result<(), Failed> {
    let gateway = gateway()?;
    for signal in ["HUP", "INT", "TERM", "QUIT", "TSTP"] {
        let child = waiting(&gateway, "10m")?;
        // A second one must not end what the first one began.
        for _ in 0..2 {
            fixture::run("kill", &["-s", signal, &child.id().to_string()])?;
        }
        let report = ended(child)?.exits(4)?.document()?;
        assert_eq!(
            report["confirmation"]["answer"]["signal"],
            format!("SIG{signal}")
        );
        is_as_before()?;
    }
    Ok(())
}

/// Runs `apply --confirm` on a terminal of its own and types once it asks; `None` ends the input.
fn on_a_terminal(gateway: &Gateway, typed: Option<&str>) -> Result<Ran, Failed> {
    let program = env!("CARGO_BIN_EXE_conntidy");
    // A shell that waits would get what is typed as well, and end by it.
    let line = format!("exec {program} apply -p policy.toml --confirm 10m");
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .current_dir(gateway.path())
        .env("SHELL", "/bin/sh")
        .env("STATE_DIRECTORY", gateway.state_root())
        .env_remove("SSH_CONNECTION")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut out = child.stdout.take().ok_or("no output")?;
    let mut shown = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&shown).contains("No rule acts before.") {
        if out.read(&mut byte)? == 0 {
            return Err(format!("not asked: {}", String::from_utf8_lossy(&shown)).into());
        }
        shown.push(byte[0]);
    }
    let mut input = child.stdin.take().ok_or("no input")?;
    // Once: a control character throws away what the terminal has not shown yet.
    if let Some(typed) = typed {
        input.write_all(typed.as_bytes())?;
        input.flush()?;
        until(|| Ok(child.try_wait()?.is_some()))?;
    }
    drop(input);
    out.read_to_end(&mut shown)?;
    Ok(Ran {
        code: child.wait()?.code(),
        out: String::from_utf8_lossy(&shown).into_owned(),
        err: String::new(),
    })
}

fn on_a_terminal_enter_confirms() -> Result<(), Failed> {
    crate::needs!("script");
    for typed in ["\r", "yes\r"] {
        write_tunable(KEY, 30)?;
        let gateway = gateway()?;
        let ran = on_a_terminal(&gateway, Some(typed))?.exits(0)?;
        assert!(ran.out.contains("confirmed at the terminal"), "{}", ran.out);
        assert_eq!(read_tunable(KEY)?, 11);
        assert!(fixture::keys()?.is_empty());
    }
    Ok(())
}

fn on_a_terminal_everything_else_is_no_confirmation() -> Result<(), Failed> {
    crate::needs!("script");
    let gateway = gateway()?;
    for (typed, tolds) in [
        (Some("n\r"), &["the answer was no"][..]),
        (Some("\u{4}"), &["the terminal was lost"]),
        (Some("\u{3}"), &["SIGINT came"]),
        (Some("\u{1a}"), &["SIGTSTP came"]),
        // Either may be seen first.
        (None, &["the terminal was lost", "SIGHUP came"]),
    ] {
        let ran = on_a_terminal(&gateway, typed)?.exits(4)?;
        let told = |told| ran.out.contains(&format!("not confirmed: {told}"));
        assert!(tolds.iter().any(told), "{}", ran.out);
        is_as_before()?;
    }
    Ok(())
}

fn what_a_killed_run_left_is_put_back_by_the_next() -> Result<(), Failed> {
    let gateway = gateway()?;
    let mut child = waiting(&gateway, "10m")?;
    child.kill()?;
    child.wait()?;
    assert_eq!(read_tunable(KEY)?, 11);
    let ran = gateway.run(&["confirm"])?.exits(1)?;
    assert!(ran.err.contains("it was killed"), "{}", ran.err);
    assert!(ran.err.contains("undo --sysctl"), "{}", ran.err);
    let ran = gateway.run(&["apply", "-p", "policy.toml"])?.exits(3)?;
    assert!(
        ran.err.contains(&format!("{KEY} is 30 again")),
        "{}",
        ran.err
    );
    assert_eq!(read_tunable(KEY)?, 30);
    let again = gateway.run(&["apply", "-p", "policy.toml"])?.exits(3)?;
    assert!(!again.err.contains("killed"), "{}", again.err);
    Ok(())
}

fn what_was_not_confirmed_is_not_written_without_asking() -> Result<(), Failed> {
    let gateway = gateway()?;
    ended(waiting(&gateway, "1s")?)?.exits(4)?;
    let report = gateway.run_apply(POLICY)?.exits(3)?.document()?;
    assert_eq!(report["plan"]["sysctl"][0]["state"], "refused");
    assert_eq!(read_tunable(KEY)?, 30);
    // With the question it is tried again, and once confirmed it stays so.
    let child = waiting(&gateway, "10m")?;
    gateway.run(&["confirm"])?.exits(0)?;
    ended(child)?.exits(0)?;
    write_tunable(KEY, 30)?;
    gateway.run_apply(POLICY)?.exits(0)?;
    assert_eq!(read_tunable(KEY)?, 11);
    write_tunable(KEY, 30)?;
    ended(waiting(&gateway, "1s")?)?.exits(4)?;
    gateway
        .run(&["apply", "-p", "policy.toml", "--take", KEY])?
        .exits(0)?;
    assert_eq!(read_tunable(KEY)?, 11);
    Ok(())
}

fn where_nothing_is_written_nothing_is_asked() -> Result<(), Failed> {
    let gateway = gateway()?;
    write_tunable(KEY, 11)?;
    let ran = gateway.run(&["apply", "-p", "policy.toml", "--confirm", "10m"])?;
    ran.exits(0)?;
    assert!(fixture::keys()?.is_empty());
    assert_eq!(gateway.state()?.left_unconfirmed()?, None);
    for time in ["0", "0s", "1.5s", "soon"] {
        gateway.run(&["apply", "--confirm", time])?.exits(64)?;
    }
    Ok(())
}

fn a_value_that_somebody_else_wrote_meanwhile_is_left() -> Result<(), Failed> {
    let gateway = gateway()?;
    let child = waiting(&gateway, "10m")?;
    write_tunable(KEY, 77)?;
    fixture::run("kill", &[&child.id().to_string()])?;
    let report = ended(child)?.exits(4)?.document()?;
    assert_eq!(report["undone"][0]["sysctl_left"][KEY]["value"], "77");
    assert_eq!(read_tunable(KEY)?, 77);
    Ok(())
}

fn nothing_is_written_that_nobody_was_asked_about() -> Result<(), Failed> {
    const OTHER: &str = "nf_conntrack_generic_timeout";
    let gateway = gateway()?;
    write_tunable(OTHER, 600)?;
    gateway.write_policy(&POLICY.replace(
        "icmp = 11",
        "icmp = 11\n    generic = 600\n    apply-to-existing = [\"generic\", \"icmp\"]",
    ))?;
    let run = waiting(&gateway, "60s")?;
    // In order when the run began, and so not among what is to be confirmed.
    write_tunable(OTHER, 700)?;
    gateway.run(&["confirm"])?.exits(0)?;
    let report = ended(run)?.exits(3)?.document()?;
    assert_eq!((read_tunable(OTHER)?, read_tunable(KEY)?), (700, 11));
    assert_eq!(report["sysctl"].as_array().map(Vec::len), Some(1));
    let existing = report["plan"]["existing"].as_array().ok_or("none")?;
    let refused = existing.iter().find(|one| one["name"] == OTHER);
    let refused = refused.map(|one| &one["refused"]["kind"]);
    assert_eq!(refused, Some(&"not-in-force".into()));
    assert!(fixture::keys()?.is_empty());
    Ok(())
}
