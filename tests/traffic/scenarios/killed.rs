//! Killed at any moment, a run leaves a state that the next one understands, and nothing is lost for `undo`.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::namespace::{Namespace, tool};
use crate::program::Program;
use crate::tracked::{Tracked, tracked};

/// How many runs are killed; `scripts/deep` asks for more.
const KILLS: &str = "CONNTIDY_KILLS";
/// Entries that the rule takes.
const DOOMED: u32 = 5_000;
/// Entries that it does not.
const SPARED: u32 = 500;

/// A rule that deletes: past nothing that could refuse it while the dump runs, otherwise after it.
fn policy(run: u32) -> String {
    let percent = if run.is_multiple_of(2) { 100 } else { 99 };
    // An undone rule is on hold, so each run has one of its own.
    format!(
        r#"
        [limits]
        delete = "{percent}%"
        [rules.doomed-{run}]
        match = {{ protocol = "udp", dport = 53 }}
        action = "delete"
        budget = {{ percent = {percent} }}
        "#
    )
}

pub(crate) fn a_killed_run_leaves_nothing_half_done() -> Result<(), Failed> {
    let kills = match env::var(KILLS) {
        Ok(text) => text.parse()?,
        Err(_) => 20,
    };
    let router = Namespace::new()?;
    let program = Program::new(&router, &policy(0))?;
    let all = fill(&router)?;
    let start = Instant::now();
    program.apply()?;
    let whole_run = start.elapsed();
    program.undo()?;
    assert_eq!(tuples(&router)?, all, "undo brings all of a whole run back");

    let mut interrupted = 0;
    for kill in 1..=kills {
        program.set_policy(&policy(kill))?;
        let moment = moment(kill - 1, kills, whole_run);
        let mut run = program.command(&["apply", "--policy", "policy.toml", "-o", "json"]);
        run.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = router.enter(|| run.spawn())?;
        thread::sleep(moment);
        child.kill()?;
        child.wait()?;

        let left = tuples(&router)?;
        assert!(left.is_subset(&all), "nothing new appears");
        if left.len() < all.len() && left.len() > SPARED as usize {
            interrupted += 1;
        }
        if left.len() < all.len() {
            program.undo()?;
            let again = program.run(&["apply", "--policy", "policy.toml"])?;
            assert_eq!(again.code, Some(3), "what was undone is on hold");
        }
        let back = tuples(&router)?;
        assert_eq!(
            back.symmetric_difference(&all).count(),
            0,
            "killed after {moment:?} with {} entries deleted, undo left {} missing",
            all.len() - left.len(),
            all.len() - back.len(),
        );
    }
    program.set_policy(&policy(kills + 1))?;
    program.apply()?;
    assert_eq!(
        tuples(&router)?.len(),
        SPARED as usize,
        "the next run works"
    );
    eprintln!("{interrupted} of {kills} runs died with part of the entries deleted");
    Ok(())
}

/// `undo` without a name means the run that did something.
pub(crate) fn undo_passes_over_a_run_that_was_killed_before_it_deleted() -> Result<(), Failed> {
    let router = Namespace::new()?;
    let program = Program::new(&router, &policy(0))?;
    let all = fill(&router)?;
    program.apply()?;
    assert_eq!(tuples(&router)?.len(), SPARED as usize);
    for run in 1..=10 {
        program.set_policy(&policy(run))?;
        let mut command = program.command(&["apply", "--policy", "policy.toml"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = router.enter(|| command.spawn())?;
        thread::sleep(Duration::from_millis(u64::from(run) * 4));
        child.kill()?;
        child.wait()?;
    }
    program.undo()?;
    assert!(tuples(&router)? == all, "the run before is undone");
    Ok(())
}

/// Moments are spread over the whole run, and random within their share of it.
fn moment(kill: u32, kills: u32, whole_run: Duration) -> Duration {
    let chance = u32::try_from(RandomState::new().hash_one(kill) >> 48).expect("16 bits are left");
    whole_run * (kill * 65_536 + chance) / 65_536 / kills
}

/// Makes the entries with the conntrack tool; returns them as it shows them.
fn fill(router: &Namespace) -> Result<BTreeSet<String>, Failed> {
    let mut script = String::new();
    for n in 0..DOOMED + SPARED {
        let (address, port) = (n / 1_000, 10_000 + n % 1_000);
        let dport = if n < DOOMED { 53 } else { 123 };
        writeln!(
            script,
            "-I -p udp -s 10.1.0.{address} -d 10.2.0.1 --sport {port} --dport {dport} -t 6000"
        )?;
    }
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), script)?;
    let mut load = tool("conntrack");
    load.arg("-R").arg(file.path());
    router.succeed(load)?;
    let all = tuples(router)?;
    assert_eq!(all.len(), (DOOMED + SPARED) as usize);
    Ok(all)
}

fn tuples(router: &Namespace) -> Result<BTreeSet<String>, Failed> {
    Ok(tracked(router)?.iter().map(Tracked::tuples).collect())
}
