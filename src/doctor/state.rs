//! Where state between runs is, and whether `apply` can keep its records there.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};

use super::{Finding, Verdict};
use crate::observe::Header;
use crate::state::State;

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
        Err(error) => Finding::new(
            name,
            Verdict::Missing,
            format!(
                "{} may not be written ({}), so {wanted} cannot be kept, and without it nothing is changed",
                place.display(),
                io::Error::from(error)
            ),
            &[ELSEWHERE],
        ),
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

fn memory(header: &Header, state: &State) -> Option<Finding> {
    let name = ("state", "memory");
    match state.memory(&header.boot_id) {
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            Some(Finding::new(
                name,
                Verdict::Missing,
                format!("{error}: {}", cause.unwrap_or_default()),
                &[
                    "remove the file to start anew: rules on hold and proof of idleness are forgotten then",
                ],
            ))
        }
        Ok(memory) if memory.holds.is_empty() => None,
        Ok(memory) => {
            let holds: Vec<String> = memory
                .holds
                .iter()
                .map(|(rule, run)| format!("`{rule}` (run {run})"))
                .collect();
            Some(Finding::new(
                name,
                Verdict::Note,
                format!("on hold since they were undone: {}", holds.join(", ")),
                &["`conntidy apply --release RULE` ends it"],
            ))
        }
    }
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
