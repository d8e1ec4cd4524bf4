//! Where state between runs is, and whether `apply` can keep its records there.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};

use super::{Finding, Verdict};
use crate::observe::Header;
use crate::policy::Seconds;
use crate::state::{Memory, State};

/// Bytes of one undo record, with counters, start time and labels.
const UNDO_BYTES: u64 = 320;

const ELSEWHERE: &str =
    "set STATE_DIRECTORY to a directory of your own, or run as the owner of this one";

pub(super) fn findings(header: &Header, root: Option<PathBuf>) -> Vec<Finding> {
    let name = ("state", "directory");
    let Some(root) = root else {
        return vec![Finding::new(
            name,
            Verdict::Missing,
            "there is no place for state between runs, and without it nothing is changed",
            &["set STATE_DIRECTORY (systemd's `StateDirectory=` does), XDG_STATE_HOME or HOME"],
        )];
    };
    let state = State::of(&root, &header.netns);
    let place = nearest(state.directory());
    let directory = directory(&state, &place);
    if directory.verdict == Verdict::Missing {
        return vec![directory];
    }
    let mut findings = vec![directory];
    findings.extend(space(header, &place));
    findings.extend(memory(header, &state));
    findings
}

/// The directory itself, or the nearest one above it that is there.
fn nearest(path: &Path) -> PathBuf {
    path.ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(Path::new("/"))
        .to_owned()
}

fn directory(state: &State, place: &Path) -> Finding {
    let name = ("state", "directory");
    let wanted = state.directory().display();
    let write_and_enter = Access::WRITE_OK | Access::EXEC_OK;
    match accessat(CWD, place, write_and_enter, AtFlags::EACCESS) {
        Ok(()) if place == state.directory() => {
            Finding::new(name, Verdict::Good, format!("{wanted}"), &[])
        }
        Ok(()) => Finding::new(
            name,
            Verdict::Good,
            format!("{wanted}; the first run makes it"),
            &[],
        ),
        Err(error) => {
            let error = io::Error::from(error);
            let kept = if place == state.directory() {
                String::new()
            } else {
                format!(", so {wanted} cannot be kept")
            };
            let place = place.display();
            let problem = format!(
                "{place} may not be written ({error}){kept}, and without it nothing is changed"
            );
            Finding::new(name, Verdict::Missing, problem, &[ELSEWHERE])
        }
    }
}

/// A run that cannot keep what it is about to delete deletes nothing.
fn space(header: &Header, place: &Path) -> Option<Finding> {
    let disk = statvfs(place).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let wanted = header.count?.saturating_mul(UNDO_BYTES);
    (free < wanted).then(|| {
        Finding::new(
            ("state", "space"),
            Verdict::Warning,
            format!(
                "{} MiB are free, and the undo records of a whole table take {} MiB: past that nothing is deleted",
                free >> 20,
                wanted.div_ceil(1 << 20)
            ),
            &["`[audit] keep` makes room earlier"],
        )
    })
}

fn memory(header: &Header, state: &State) -> Vec<Finding> {
    let name = ("state", "memory");
    match state.memory(&header.boot_id) {
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            vec![Finding::new(
                name,
                Verdict::Missing,
                format!("{error}: {}", cause.unwrap_or_default()),
                &[
                    "remove the file to start anew: rules on hold and proof of idleness are forgotten then",
                ],
            )]
        }
        Ok(memory) => {
            let found = [
                holds(&memory),
                gone_wrong(&memory),
                kept(&memory),
                lost(header, &memory),
            ];
            found.into_iter().flatten().collect()
        }
    }
}

fn holds(memory: &Memory) -> Option<Finding> {
    let holds: Vec<String> = memory
        .holds
        .iter()
        .map(|(rule, run)| format!("`{rule}` (run {run})"))
        .collect();
    (!holds.is_empty()).then(|| {
        Finding::new(
            ("state", "memory"),
            Verdict::Note,
            format!("on hold since they were undone: {}", holds.join(", ")),
            &["`conntidy apply --release RULE` ends it"],
        )
    })
}

/// Rules that the breaker holds, or will hold if that goes on.
fn gone_wrong(memory: &Memory) -> Option<Finding> {
    let rules: Vec<String> = memory
        .rounds
        .gone_wrong()
        .map(|rule| format!("`{rule}` ({} in a row)", memory.rounds.failures(rule)))
        .collect();
    (!rules.is_empty()).then(|| {
        Finding::new(
            ("state", "breaker"),
            Verdict::Warning,
            format!("refused or failed in their last runs: {}", rules.join(", ")),
            &[
                "past `[limits] breaker` a rule only counts; `conntidy apply --release RULE` ends it",
            ],
        )
    })
}

/// Tunables that are not written any more.
fn kept(memory: &Memory) -> Option<Finding> {
    let keys = memory.history.kept_from_writing();
    (!keys.is_empty()).then(|| {
        Finding::new(
            ("state", "not-written"),
            Verdict::Warning,
            format!(
                "contested, or put back since nobody confirmed them: {}",
                keys.join(", ")
            ),
            &["`conntidy plan` says why; `conntidy apply --take KEY` writes it again"],
        )
    })
}

/// What sets with `local = "lost"` hold, whatever their `settle` is.
fn lost(header: &Header, memory: &Memory) -> Option<Finding> {
    let present = header.addresses.as_deref()?;
    let now = header.uptime_ns;
    let lost = memory.history.lost(present, now, Seconds(0));
    let texts: Vec<String> = lost
        .iter()
        .map(|address| {
            let seen = memory.history.addresses.get(address);
            match seen.and_then(|seen| seen.missing_ns) {
                Some(since) => {
                    let seconds = now.saturating_sub(since) / 1_000_000_000;
                    format!("{address} (missed for {})", Seconds(seconds))
                }
                None => format!("{address} (missed by no run yet)"),
            }
        })
        .collect();
    (!texts.is_empty()).then(|| {
        Finding::new(
            ("state", "lost-addresses"),
            Verdict::Note,
            format!("this host's own in an earlier run: {}", texts.join(", ")),
            &["a set with `local = \"lost\"` holds those that were missed for its `settle`"],
        )
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn verdict_of(findings: &[Finding], name: &str) -> Option<Verdict> {
        let finding = findings.iter().find(|finding| finding.name == name)?;
        Some(finding.verdict)
    }

    #[test]
    fn a_directory_that_is_not_there_yet_is_fine_where_it_can_be_made() {
        let root = tempfile::tempdir().unwrap();
        let findings = findings(&Header::default(), Some(root.path().join("a/b")));
        assert_eq!(verdict_of(&findings, "directory"), Some(Verdict::Good));
        assert!(!root.path().join("a").exists(), "looking makes nothing");
    }

    #[test]
    fn no_place_and_damaged_state_are_lacks() {
        let none = findings(&Header::default(), None);
        assert_eq!(verdict_of(&none, "directory"), Some(Verdict::Missing));
        let root = tempfile::tempdir().unwrap();
        let state = State::of(root.path(), &Header::default().netns);
        state.create().unwrap();
        fs::write(state.directory().join("state.json"), "{").unwrap();
        let damaged = findings(&Header::default(), Some(root.path().to_owned()));
        assert_eq!(verdict_of(&damaged, "memory"), Some(Verdict::Missing));
    }

    #[test]
    fn a_disk_without_room_for_undo_is_worth_a_look() {
        let root = tempfile::tempdir().unwrap();
        let header = Header {
            count: Some(u64::MAX / UNDO_BYTES),
            ..Header::default()
        };
        let findings = findings(&header, Some(root.path().to_owned()));
        assert_eq!(verdict_of(&findings, "space"), Some(Verdict::Warning));
    }
}
