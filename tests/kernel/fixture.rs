//! What tests against the kernel share.

use std::process::Command;

use conntidy::flow::{Flow, FlowKey, OwnedExtra};
use conntidy::kernel::Live;
use conntidy::observe::{Dumped, Observe, Record, Visit};
use libtest_mimic::Failed;

/// Says why a test does not run; a failure where everything is required.
pub(crate) fn skip(name: &str, why: &str) -> Result<(), Failed> {
    if std::env::var_os("CONNTIDY_REQUIRE_ALL").is_some_and(|value| value == "1") {
        return Err(format!("cannot run: {why}").into());
    }
    eprintln!("skipped {name}: {why}");
    Ok(())
}

/// A program of the system. Those for networks lie where the paths of ordinary users often do not lead.
fn tool(program: &str) -> Command {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    let mut command = Command::new(program);
    command.env("PATH", path);
    command
}

/// Whether a program is there to judge.
pub(crate) fn has(program: &str) -> bool {
    // The word that every one of them knows.
    tool(program)
        .arg("-V")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Runs a program in this thread's namespace; its output, or a failure with what it said.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, Failed> {
    let output = tool(program).args(arguments).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {}: {said}", arguments.join(" ")).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The words of one command line.
pub(crate) fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Runs the `conntrack` tool.
pub(crate) fn conntrack(line: &str) -> Result<String, Failed> {
    run("conntrack", &words(line))
}

/// One entry, owned.
pub(crate) type Entry = (Flow, OwnedExtra);

/// The whole table, sorted by key.
pub(crate) fn table() -> Result<Vec<Entry>, Failed> {
    let mut all: Vec<Entry> = Vec::new();
    let mut keep = |record: &Record<'_>| all.push((record.flow, record.extra.to_owned()));
    let dumped = Live::default().dump(&mut [&mut keep as &mut dyn Visit])?;
    sound(dumped, all.len())?;
    all.sort_by_key(|(flow, _)| flow.key());
    Ok(all)
}

/// The keys of the whole table, sorted.
pub(crate) fn keys() -> Result<Vec<FlowKey>, Failed> {
    Ok(table()?.iter().map(|(flow, _)| flow.key()).collect())
}

/// Fails if a dump left something out or counted wrongly.
pub(crate) fn sound(dumped: Dumped, visited: usize) -> Result<(), Failed> {
    if dumped.undecoded != 0 || dumped.entries != visited as u64 {
        return Err(format!("{dumped:?}, but {visited} visited").into());
    }
    Ok(())
}

/// Fails unless two sorted lists of keys are the same, and then shows a few that differ.
pub(crate) fn same_keys(seen: &[FlowKey], wanted: &[FlowKey]) -> Result<(), Failed> {
    if seen == wanted {
        return Ok(());
    }
    let only = |here: &[FlowKey], there: &[FlowKey]| -> Vec<FlowKey> {
        let there: std::collections::HashSet<_> = there.iter().collect();
        here.iter()
            .filter(|key| !there.contains(key))
            .take(3)
            .copied()
            .collect()
    };
    Err(format!(
        "{} keys, not {}; too many such as {:?}, missing such as {:?}",
        seen.len(),
        wanted.len(),
        only(seen, wanted),
        only(wanted, seen)
    )
    .into())
}

/// Sets a tunable of this namespace.
pub(crate) fn write_tunable(name: &str, value: u64) -> Result<(), Failed> {
    use conntidy::kernel::sysctl::{LiveTunables, Tunables};
    Ok(LiveTunables.write(name, &value.to_string())?)
}

/// A tunable of this namespace.
pub(crate) fn read_tunable(name: &str) -> Result<u64, Failed> {
    use conntidy::kernel::sysctl::{LiveTunables, Tunables};
    Ok(LiveTunables.read(name)?.parse()?)
}

/// Starts a program that has no capability whoever runs it.
pub(crate) const NO_PRIVILEGE: [&str; 3] = ["setpriv", "--bounding-set=-all", "--"];
