//! Files that were damaged in every way that comes to mind, handed to the built program: it says what is wrong, or shows
/// what is right. Never does it show something else without a word.
use std::collections::HashSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use conntidy::kernel::Recorded;
use conntidy::observe::Observe;
use conntidy::policy::{Compression, Detail};
use conntidy::store::{Form, take_to};

use crate::damage::random;
use crate::store::Numbered;

/// How many files; `scripts/deep` asks for more.
fn files() -> usize {
    env::var("CONNTIDY_MUTATIONS").map_or(60, |text| text.parse().unwrap())
}

/// A snapshot as it was written.
struct Original {
    name: String,
    bytes: Vec<u8>,
    /// What is shown of it.
    shown: Shown,
}

#[derive(Debug, PartialEq, Eq)]
struct Shown {
    summary: String,
    flows: String,
}

fn show(file: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conntidy"))
        .args(["snapshot", "show"])
        .arg(file)
        .args(arguments)
        .env_clear()
        .output()
        .unwrap()
}

/// What a file holds; `None` where the program refuses it, in words.
fn shown(file: &Path, salvage: &[&str]) -> Option<Shown> {
    let read = |arguments: &[&str]| {
        let output = show(file, &[arguments, salvage].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("panicked"), "{said}");
        match output.status.code() {
            Some(0) => Some(String::from_utf8(output.stdout).unwrap()),
            Some(1 | 4) => {
                let told = said + &String::from_utf8_lossy(&output.stdout);
                assert!(
                    told.contains("damage")
                        || told.contains("not a conntidy snapshot")
                        || told.contains("this version reads"),
                    "{told}"
                );
                None
            }
            code => panic!("{code:?}: {said}"),
        }
    };
    let (summary, flows) = (read(&["-o", "json"]), read(&["--flows", "-o", "jsonl"]));
    assert_eq!(summary.is_some(), flows.is_some(), "{}", file.display());
    Some(Shown {
        summary: summary?,
        flows: flows?,
    })
}

fn originals(directory: &Path) -> Vec<Original> {
    // One that has what flows rarely have, and one of several runs.
    let version_1 =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/snapshot/version-1.jsonl.zst");
    let recorded = Recorded::open(version_1).unwrap();
    let numbered = Numbered::new(400);
    let sources: [(&str, &dyn Observe); 2] = [("recorded", &recorded), ("numbered", &numbered)];
    let mut originals = Vec::new();
    for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
        for detail in [Detail::Full, Detail::Aggregate] {
            for (kind, source) in sources {
                let form = Form {
                    compression,
                    detail,
                    ..Form::default()
                };
                let path = directory.join("file");
                take_to(&path, source, &source.header().unwrap(), &form, |_| ()).unwrap();
                originals.push(Original {
                    name: format!("{kind}, {compression:?}, {detail:?}"),
                    bytes: fs::read(&path).unwrap(),
                    shown: shown(&path, &[]).unwrap(),
                });
            }
        }
    }
    originals
}

/// Another file: a few bytes, a part, or the rest of it.
fn mutate(bytes: &[u8], other: &[u8], state: &mut u64) -> Vec<u8> {
    let mut mutated = bytes.to_vec();
    for _ in 0..=random(state) % 3 {
        let at = random(state) % mutated.len().max(1);
        let end = (at + random(state) % 600).min(mutated.len());
        match random(state) % 9 {
            _ if mutated.is_empty() => break,
            0 | 1 => mutated[at] ^= 1 << (random(state) % 8),
            2 => drop(mutated.remove(at)),
            3 => mutated.insert(at, b"0\n{}\"9"[random(state) % 6]),
            4 => mutated.truncate(at),
            // What a disk makes of a sector that was never written.
            5 => mutated[at..end].fill(0),
            6 => drop(mutated.splice(
                at..at,
                bytes[at.min(bytes.len())..end.min(bytes.len())].to_vec(),
            )),
            7 => drop(mutated.drain(at..end)),
            // Two writers of one file.
            _ => {
                let from = at.min(other.len());
                mutated.truncate(from);
                mutated.extend_from_slice(&other[from..]);
            }
        }
    }
    mutated
}

#[test]
fn no_mutated_file_is_shown_as_something_else() {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("file");
    let originals = originals(directory.path());
    let whole: Vec<HashSet<&str>> = originals
        .iter()
        .map(|one| one.shown.flows.lines().collect())
        .collect();
    let mut state = 7;
    let (mut refused, mut salvaged) = (0, 0);
    for number in 0..files() {
        let (at, other) = (
            number % originals.len(),
            random(&mut state) % originals.len(),
        );
        let original = &originals[at];
        let mutated = mutate(&original.bytes, &originals[other].bytes, &mut state);
        fs::write(&path, &mutated).unwrap();
        let said = format!("{number}: {}", original.name);
        // Such a file may be the whole of the other one.
        let is_one = |shown: &Shown| originals.iter().any(|one| one.shown == *shown);
        let read = shown(&path, &[]);
        let salvage = shown(&path, &["--salvage"]);
        if let Some(read) = &read {
            assert!(is_one(read), "{said}: {read:?}");
        } else {
            refused += 1;
        }
        // Whoever salvages is told of every damage that stops a reader.
        assert_eq!(
            salvage.is_some(),
            read.is_some(),
            "{said}: {}",
            String::from_utf8_lossy(&show(&path, &[]).stderr)
        );
        if salvage.is_none() {
            let flows = show(&path, &["--flows", "-o", "jsonl", "--salvage"]);
            let flows = String::from_utf8(flows.stdout).unwrap();
            salvaged += usize::from(flows.lines().any(|line| whole[at].contains(line)));
        }
    }
    eprintln!(
        "{refused} of {} files refused, of {salvaged} something was salvaged",
        files()
    );
    assert!(refused * 10 > files() * 8, "{refused}");
    assert!(salvaged * 4 > files(), "{salvaged}");
}
