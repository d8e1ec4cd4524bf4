//! State between runs: locked, damaged, not to be written, torn by a kill.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Instant;

use conntidy::flow::protocol::tcp;
use conntidy::flow::{Flow, FlowKey, Protocol};
use conntidy::kernel::decode::decode;
use conntidy::kernel::identity;
use conntidy::kernel::namespace::within_new;
use conntidy::state::State;
use libtest_mimic::Failed;

use crate::fixture;
use crate::flows::{self, flow, in_state};
use crate::gateway::{Gateway, Ran, assured, lasting};

crate::trials!(
    a_second_run_is_told_who_holds_the_lock,
    damaged_state_stops_a_run_before_it_changes_anything,
    a_state_directory_that_cannot_be_written_stops_a_run,
    nothing_is_deleted_whose_undo_record_cannot_be_written,
    a_full_disk_costs_no_entry_without_its_record,
    a_killed_run_is_told_by_its_records,
);

/// Past nothing that could refuse it a rule streams; otherwise it is collected.
fn doomed(percent: u8, name: &str) -> String {
    format!(
        r#"
        [limits]
        delete = "{percent}%"
        expire = "{percent}%"
        [rules.{name}]
        match = {{ protocol = "udp", dport = 53 }}
        action = "delete"
        budget = {{ percent = {percent} }}
        [rules.web]
        match = {{ protocol = "tcp", dport = 443 }}
        action = "expire"
        budget = {{ percent = {percent} }}
        "#
    )
}

/// Flows that the rule takes, and some that it does not.
fn fill(taken: u16, spared: u16) -> Result<BTreeSet<FlowKey>, Failed> {
    let one = |n: u16, protocol, port: u16| -> Flow {
        let src = format!("10.1.{}.{}:{}", n / 200, n % 200, 1_024 + n);
        let flow = flow(protocol, &src, &format!("192.0.2.1:{port}"));
        lasting(flow, 20_000)
    };
    let web = |n| assured(in_state(one(n, Protocol::TCP, 443), tcp::ESTABLISHED));
    let names = |n| one(n, Protocol::UDP, 53);
    let all: Vec<Flow> = (0..taken).map(names).chain((0..spared).map(web)).collect();
    flows::create(&all)?;
    Ok(all.iter().map(Flow::key).collect())
}

fn present() -> Result<BTreeSet<FlowKey>, Failed> {
    Ok(fixture::keys()?.into_iter().collect())
}

fn a_second_run_is_told_who_holds_the_lock() -> Result<(), Failed> {
    let all = fill(10, 0)?;
    let gateway = Gateway::new()?;
    let lock = gateway.state()?.lock("`conntidy apply`, process 4711")?;
    for command in ["apply", "plan"] {
        gateway.write_policy(&doomed(90, "dns"))?;
        let ran = gateway.run(&[command, "-p", "policy.toml"])?;
        if command == "apply" {
            let ran = ran.exits(75)?;
            assert!(ran.err.contains("process 4711"), "{}", ran.err);
        } else {
            ran.exits(0)?;
        }
    }
    assert_eq!(present()?, all);
    drop(lock);
    gateway.run_apply(&doomed(90, "dns"))?.exits(0)?;
    Ok(())
}

fn damaged_state_stops_a_run_before_it_changes_anything() -> Result<(), Failed> {
    let all = fill(10, 10)?;
    let gateway = Gateway::new()?;
    let state = gateway.state()?;
    state.create()?;
    let file = state.directory().join("state.json");
    for damage in [
        "",
        "{",
        "{\"schema\": \"conntidy.state/9\", \"boot_id\": \"x\"}",
    ] {
        fs::write(&file, damage)?;
        for percent in [90, 100] {
            let ran = gateway.run_apply(&doomed(percent, "dns"))?.exits(1)?;
            assert!(ran.err.contains("state.json"), "{}", ran.err);
            assert!(ran.err.contains("hint"), "{}", ran.err);
        }
    }
    assert_eq!(present()?, all);
    assert!(
        fixture::table()?
            .iter()
            .all(|(flow, _)| flow.timeout > 19_000)
    );
    Ok(())
}

fn a_state_directory_that_cannot_be_written_stops_a_run() -> Result<(), Failed> {
    crate::needs!("unshare", "mount");
    let all = fill(10, 10)?;
    let gateway = Gateway::new()?;
    gateway.write_policy(&doomed(100, "dns"))?;
    let ran = gateway.run_in_own_mounts(
        "mount -t tmpfs -o ro none \"$2\"
         exec \"$1\" apply -p policy.toml",
    )?;
    let ran = ran.exits(1)?;
    assert!(ran.err.contains("Read-only file system"), "{}", ran.err);
    assert_eq!(present()?, all);
    Ok(())
}

fn nothing_is_deleted_whose_undo_record_cannot_be_written() -> Result<(), Failed> {
    crate::needs!("unshare", "mount");
    let all = fill(2_000, 50)?;
    for (number, percent) in [(0, 100), (1, 99)] {
        let gateway = Gateway::new()?;
        gateway.write_policy(&doomed(percent, "dns"))?;
        // 32 KiB a file: room for reports, not for what is to be deleted.
        let ran = gateway.run_in_own_mounts(
            "trap '' XFSZ
             ulimit -f 64
             exec \"$1\" apply -p policy.toml -o json",
        )?;
        let report = ran.exits(4)?.document()?;
        let problems = report["problems"].to_string();
        assert!(problems.contains("File too large"), "{problems}");
        assert_eq!(present()?, all, "way {number}");
        // What needs no undo record went on.
        let web = report["rules"].as_array().into_iter().flatten();
        let done: u64 = web
            .filter(|rule| rule["name"] == "web")
            .filter_map(|rule| rule["done"].as_u64())
            .sum();
        if percent == 99 {
            assert_eq!(done, 50);
        }
    }
    Ok(())
}

fn a_full_disk_costs_no_entry_without_its_record() -> Result<(), Failed> {
    crate::needs!("unshare", "mount");
    for percent in [100, 99] {
        within_new(|| a_full_disk(percent))??;
    }
    Ok(())
}

fn a_full_disk(percent: u8) -> Result<(), Failed> {
    let all = fill(6_000, 50)?;
    let gateway = Gateway::new()?;
    gateway.write_policy(&doomed(percent, "dns"))?;
    let ran = gateway.run_in_own_mounts(
        "mount -t tmpfs -o size=600k none \"$2\"
             code=0
             \"$1\" apply -p policy.toml -o json || code=$?
             mkdir kept
             cp -R \"$2/.\" kept/
             exit $code",
    )?;
    let ran = ran.exits(4)?;
    assert!(ran.out.contains("No space left on device"), "{}", ran.out);
    let kept = State::of(&gateway.path().join("kept"), &identity::netns()?);
    let present = present()?;
    let missing: BTreeSet<FlowKey> = all.difference(&present).copied().collect();
    assert!(missing.is_subset(&recorded(&kept)?), "{percent} %");
    assert!(missing.len() < 6_000, "the disk was large enough");
    Ok(())
}

/// What the newest run of a state says it handed to the kernel to be deleted.
fn recorded(state: &State) -> Result<BTreeSet<FlowKey>, Failed> {
    let mut keys = BTreeSet::new();
    let Some(run) = state.runs()?.into_iter().next() else {
        return Ok(keys);
    };
    if state.may_have_deleted(&run)? == 0 {
        return Ok(keys);
    }
    let mut reader = state.undo_reader(&run)?;
    while let Some(deleted) = reader.next_deleted()? {
        let record = decode(deleted.message?).map_err(|error| format!("{error:?}"))?;
        keys.insert(record.flow.key());
    }
    Ok(keys)
}

/// How many runs are killed; `scripts/deep` asks for more.
fn kills() -> Result<u32, Failed> {
    match env::var("CONNTIDY_KILLS") {
        Ok(text) => Ok(text.parse()?),
        Err(_) => Ok(20),
    }
}

fn a_killed_run_is_told_by_its_records() -> Result<(), Failed> {
    let all = fill(3_000, 300)?;
    let gateway = Gateway::new()?;
    let began = Instant::now();
    gateway.run_apply(&doomed(99, "whole"))?.exits(0)?;
    let whole = began.elapsed();
    gateway.run(&["undo"])?.exits(0)?;
    assert_eq!(present()?, all);
    let kills = kills()?;
    let (mut partly, mut wholly) = (0, 0);
    for kill in 1..=kills {
        let percent = if kill % 2 == 0 { 100 } else { 99 };
        gateway.write_policy(&doomed(percent, &format!("dns-{kill}")))?;
        let newest = gateway.state()?.runs()?.into_iter().next();
        let mut child = gateway
            .command(&[], &["apply", "-p", "policy.toml"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        sleep(whole * kill / kills);
        child.kill()?;
        child.wait()?;
        let state = gateway.state()?;
        let survivors = present()?;
        let missing: BTreeSet<FlowKey> = all.difference(&survivors).copied().collect();
        assert!(survivors.is_subset(&all), "nothing new appears");
        let run = state.runs()?.into_iter().next();
        if run == newest {
            assert!(missing.is_empty(), "a run without a record deletes nothing");
            continue;
        }
        let run = run.ok_or("no run")?;
        let report = state.read_audit(&run)?;
        let told = recorded(&state)?;
        assert!(
            missing.is_subset(&told),
            "kill {kill}: {} untold",
            missing.difference(&told).count()
        );
        assert!(told.is_subset(&all));
        if report.finished.is_some() {
            wholly += 1;
            assert_eq!(
                missing.len() as u64,
                report
                    .rules
                    .iter()
                    .filter(|rule| rule.action == "delete")
                    .map(|rule| rule.done)
                    .sum::<u64>()
            );
        } else if !missing.is_empty() {
            partly += 1;
        }
        if !missing.is_empty() {
            let undone = gateway.undo(&run.to_string())?;
            assert_eq!(undone.created, missing.len() as u64, "{undone:?}");
        }
        assert_eq!(present()?, all, "kill {kill}");
    }
    eprintln!("{partly} of {kills} runs died while they deleted, {wholly} after that");
    let last: Ran = gateway.run_apply(&doomed(99, "last"))?.exits(0)?;
    assert_eq!(
        last.document()?["rules"][0]["done"],
        3_000,
        "the next run works"
    );
    let state = gateway.state()?;
    for directory in [
        state.directory().to_owned(),
        state.directory().join("audit"),
    ] {
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            assert!(!name.starts_with('.'), "{name} is left over");
        }
    }
    Ok(())
}
