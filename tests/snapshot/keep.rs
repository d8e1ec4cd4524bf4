//! The store over time: what is due, what stays, and what many writers leave.

use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use assert_cmd::assert::OutputAssertExt;
use conntidy::observe::{Header, Observe, Reading, Trigger};
use conntidy::policy::{Detail, OnPressure, Percent, Seconds, SnapshotKeep, SnapshotSettings};
use conntidy::snapshot::Snapshot;
use conntidy::snapshot::retention::Fate;
use conntidy::store::{Form, Store, take_due};
use serde_json::Value;

use crate::damage::random;
use crate::store::Numbered;

const NOW: i64 = 1_769_860_800;

fn last(count: u64) -> SnapshotKeep {
    SnapshotKeep {
        last: Some(count),
        ..SnapshotKeep::default()
    }
}

fn header(time: i64) -> Header {
    let mut header = Numbered::new(0).header().unwrap();
    header.time_ns = u64::try_from(time).unwrap() * 1_000_000_000;
    header
}

fn take(store: &Store, time: i64, detail: Detail) {
    let form = Form {
        detail,
        ..Form::default()
    };
    (store.take(&Numbered::new(50), &header(time), &form, |_| ())).unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn conntidy(directory: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    Command::new(env!("CARGO_BIN_EXE_conntidy"))
        .arg("snapshot")
        .args(arguments)
        .arg("--directory")
        .arg(directory)
        .env_clear()
        .assert()
}

#[test]
fn pruning_says_why_and_a_dry_run_removes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    for hour in 0..4 {
        take(&store, NOW + hour * 3600, Detail::Aggregate);
    }
    take(&store, NOW, Detail::Full);
    let before = names(directory.path());
    assert_eq!(before.len(), 5);

    let keep = ["--set", "snapshot.keep={ last = 1, hourly = 2 }"];
    let dry = conntidy(
        directory.path(),
        &[&["prune", "--dry-run", "-o", "json"], &keep[..]].concat(),
    )
    .success();
    assert_eq!(names(directory.path()), before);
    let document: Value = serde_json::from_slice(&dry.get_output().stdout).unwrap();
    let reasons: Vec<(bool, String)> = (document["snapshots"].as_array().unwrap().iter())
        .map(|one| {
            let reasons = one["reasons"].as_array().unwrap().iter();
            let reasons: Vec<_> = reasons.map(|text| text.as_str().unwrap()).collect();
            (one["stays"].as_bool().unwrap(), reasons.join(", "))
        })
        .collect();
    let told = |stays, reason: &str| (stays, reason.to_owned());
    assert_eq!(
        reasons,
        [
            told(true, "newest, last, hourly"),
            told(true, "hourly"),
            told(false, "no count keeps it"),
            told(true, "newest, last, hourly"),
            told(false, "no count keeps it"),
        ]
    );
    let went = conntidy(directory.path(), &[&["prune"], &keep[..]].concat()).success();
    let said = String::from_utf8_lossy(&went.get_output().stdout).into_owned();
    assert!(said.contains("2 snapshots went"), "{said}");
    assert_eq!(names(directory.path()).len(), 3);
}

#[test]
fn a_damaged_file_is_named_counts_for_nothing_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    for hour in 0..3 {
        take(&store, NOW + hour * 3600, Detail::Full);
    }
    let newest = store.list().unwrap()[0].path.clone();
    let whole = fs::read(&newest).unwrap();
    fs::write(&newest, &whole[..whole.len() / 2]).unwrap();

    let pruned = store.prune(&last(1), NOW + 3 * 3600).unwrap();
    assert_eq!(pruned.unreadable.len(), 1);
    assert_eq!(pruned.unreadable[0].0.path, newest);
    assert!(pruned.unreadable[0].1.to_string().contains("at byte"));
    let left: Vec<_> = store.list().unwrap();
    assert_eq!(left.len(), 2, "the damaged one, and the newest whole one");
    assert!(left[1].contents().is_ok());

    let listed = conntidy(directory.path(), &["list"]).code(4);
    let said = String::from_utf8_lossy(&listed.get_output().stdout).into_owned();
    assert!(
        said.contains("unreadable") && said.contains("at byte"),
        "{said}"
    );
}

#[test]
fn other_files_in_the_directory_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    take(&store, NOW, Detail::Full);
    take(&store, NOW + 1, Detail::Full);
    for name in ["notes.txt", "incident.jsonl.zst"] {
        fs::write(directory.path().join(name), "mine").unwrap();
    }
    store.prune(&last(1), NOW + 2).unwrap();
    assert_eq!(
        names(directory.path()),
        [
            "20260131T120001Z-init.jsonl.zst",
            "incident.jsonl.zst",
            "notes.txt"
        ]
    );
}

#[test]
fn many_writers_at_once_lose_and_leave_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..8 {
                    take(store, NOW + round * 10 + writer % 2, Detail::Full);
                    let pruned = store.prune(&last(5), NOW + 1000).unwrap();
                    assert!(pruned.failed.is_empty() && pruned.unreadable.is_empty());
                }
            });
        }
    });
    store.prune(&last(5), NOW + 1000).unwrap();
    let left = store.list().unwrap();
    assert_eq!(left.len(), 5);
    assert_eq!(left[0].name.time, NOW + 71, "the newest");
    assert!(left.iter().all(|stored| stored.contents().is_ok()));
    assert_eq!(names(directory.path()).len(), 5, "no temporary file");
}

const KILLED: &str = "CONNTIDY_TEST_KILLED_WHILE_KEEPING";

/// How often; `scripts/deep` asks for more.
fn kills() -> u64 {
    env::var("CONNTIDY_KILLS").map_or(12, |text| text.parse().unwrap())
}

#[test]
#[ignore = "the part that is killed, run by the next test"]
fn killed() {
    let Some(directory) = env::var_os(KILLED) else {
        return;
    };
    let store = Store::new(directory);
    let newest = store.list().unwrap()[0].name.time;
    store.prune(&last(3), newest).unwrap();
    for second in 1..=3 {
        let form = Form {
            detail: in_turn(second),
            ..Form::default()
        };
        let header = header(newest + second);
        (store.take(&Numbered::new(500), &header, &form, |_| ())).unwrap();
    }
    store.prune(&last(3), newest + 3).unwrap();
}

fn in_turn(second: i64) -> Detail {
    if second % 2 == 0 {
        Detail::Full
    } else {
        Detail::Aggregate
    }
}

/// Gives the store more than will stay.
fn fill_up(store: &Store) {
    let listed = store.list().unwrap();
    let newest = listed.first().map_or(NOW, |stored| stored.name.time);
    for second in 1..=12 {
        take(store, newest + second, in_turn(second));
    }
}

/// Starts what may be killed.
fn start_keeping(directory: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "--ignored", "keep::killed"])
        .env(KILLED, directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Every listed snapshot of one kind, the newest first; each is read to its end.
fn whole(store: &Store, detail: Detail) -> Vec<i64> {
    let mut times = Vec::new();
    for stored in store.list().unwrap() {
        let mut snapshot = Snapshot::open(File::open(&stored.path).unwrap()).unwrap();
        if snapshot.detail() != detail {
            continue;
        }
        if detail == Detail::Full {
            let mut flows = snapshot.flows().unwrap();
            while flows.next_flow().unwrap().is_some() {}
        } else {
            let mut groups = snapshot.groups().unwrap();
            while groups.next_group().unwrap().is_some() {}
        }
        times.push(stored.name.time);
    }
    times
}

#[test]
fn whoever_is_killed_while_taking_and_pruning_leaves_a_sound_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    fill_up(&store);
    let began = Instant::now();
    assert!(start_keeping(directory.path()).wait().unwrap().success());
    let whole_run = began.elapsed();
    let details = [Detail::Full, Detail::Aggregate];
    let (mut torn, mut pruned, mut state) = (0, 0, 3);
    for _ in 0..kills() {
        fill_up(&store);
        let before = details.map(|detail| whole(&store, detail));
        let mut child = start_keeping(directory.path());
        let share = u32::try_from(random(&mut state) % 1000).unwrap();
        std::thread::sleep(whole_run * share / 1000);
        child.kill().unwrap();
        child.wait().unwrap();
        for (detail, before) in details.into_iter().zip(before) {
            let left = whole(&store, detail);
            for gone in before.iter().filter(|time| !left.contains(time)) {
                let newer = left.iter().filter(|time| *time > gone).count();
                assert!(newer >= 3, "{detail:?}, {gone} went: {left:?}");
            }
            pruned += u32::from(before.iter().any(|time| !left.contains(time)));
        }
        let temporary = |name: &String| name.starts_with('.');
        torn += u32::from(names(directory.path()).iter().any(temporary));
        for name in names(directory.path())
            .iter()
            .filter(|name| temporary(name))
        {
            fs::remove_file(directory.path().join(name)).unwrap();
        }
    }
    eprintln!(
        "{torn} of {} died while they took; {pruned} times some were pruned",
        kills()
    );
    assert!(torn + pruned > 0);
}

fn settings(directory: &Path) -> SnapshotSettings {
    SnapshotSettings {
        directory: directory.to_str().unwrap().to_owned(),
        every: Some(Seconds(900)),
        on_pressure: Some(OnPressure {
            above: Percent(9000),
            again_after: Seconds(600),
            detail: Detail::Full,
        }),
        keep: last(2),
        ..SnapshotSettings::default()
    }
}

#[test]
fn what_is_due_is_taken_into_the_store_which_is_the_memory_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let run = |time: i64, count: u64| {
        let mut header = header(time);
        header.count = Some(count);
        let max = Reading {
            value: Some("100".to_owned()),
            writable: false,
            error: None,
        };
        header.tunables.insert("nf_conntrack_max".to_owned(), max);
        let taken = take_due(&settings, &Numbered::new(9), &header, None, |_| ()).unwrap();
        taken.map(|taken| {
            let contents = Store::new(directory.path()).list().unwrap()[0].contents();
            let header = contents.unwrap().header;
            assert_eq!(header.trigger, Some(taken.due.trigger));
            taken.due.trigger
        })
    };
    assert_eq!(run(NOW, 10), Some(Trigger::Interval));
    assert_eq!(run(NOW + 60, 10), None);
    assert_eq!(run(NOW + 120, 95), Some(Trigger::Pressure));
    assert_eq!(run(NOW + 180, 95), None, "not again so soon");
    assert_eq!(run(NOW + 720, 95), Some(Trigger::Pressure));
    assert_eq!(run(NOW + 780, 10), None);
    assert_eq!(run(NOW + 720 + 810, 10), Some(Trigger::Interval));
    assert_eq!(run(NOW + 720 + 820, 99), Some(Trigger::Pressure));
    let store = Store::new(directory.path());
    let judged = store.judge(&settings.keep, NOW).unwrap().judged;
    assert_eq!(judged.len(), 4, "two of each detail");
    assert!(
        judged
            .iter()
            .all(|(_, fate)| matches!(fate, Fate::Stays(_)))
    );
}
