//! One record a run, and how long it is kept.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

use crate::policy::AuditKeep;
use crate::report::Report;

use super::{HALF_WRITTEN, State, StateError, replace, replace_soon};

/// Names a run: its start in UTC and its process, as `20261122T091500.123Z-4711`; sorts by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunName(String);

impl RunName {
    /// The name of a run that starts now.
    #[must_use]
    pub fn new(time_ns: u64, pid: u32) -> Self {
        let time = i64::try_from(time_ns)
            .map(chrono::DateTime::from_timestamp_nanos)
            .unwrap_or_default();
        Self(format!("{}-{pid}", time.format("%Y%m%dT%H%M%S%.3fZ")))
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a text names no run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run is named like `20261122T091500.123Z-4711`")]
pub struct RunNameError;

impl FromStr for RunName {
    type Err = RunNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        if plain && text.starts_with(|c: char| c.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RunNameError)
        }
    }
}

impl State {
    fn audit_path(&self, run: &RunName) -> PathBuf {
        self.audit_directory().join(format!("{run}.json"))
    }

    /// Writes a run's record, whole, before its first change.
    ///
    /// # Errors
    /// Where that fails.
    pub fn write_audit(&self, run: &RunName, report: &Report) -> Result<(), StateError> {
        replace(&self.audit_path(run), &self.audit_text(run, report)?)
    }

    /// Replaces the record by one that tells more. Where the machine goes down soon afterwards, the
    /// one before may be back: that of a run that was killed.
    ///
    /// # Errors
    /// Where that fails.
    pub fn update_audit(&self, run: &RunName, report: &Report) -> Result<(), StateError> {
        replace_soon(&self.audit_path(run), &self.audit_text(run, report)?)
    }

    fn audit_text(&self, run: &RunName, report: &Report) -> Result<Vec<u8>, StateError> {
        serde_json::to_vec(report).map_err(|source| StateError::File {
            what: "write",
            path: self.audit_path(run),
            source: source.into(),
        })
    }

    /// Reads a run's record.
    ///
    /// # Errors
    /// Where there is none, or it cannot be read.
    pub fn read_audit(&self, run: &RunName) -> Result<Report, StateError> {
        let path = self.audit_path(run);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StateError::NoRun {
                    run: run.to_string(),
                    directory: self.audit_directory(),
                });
            }
            Err(source) => return Err(StateError::file("read", &path)(source)),
        };
        serde_json::from_slice(&text).map_err(|source| StateError::DamagedRecord {
            run: run.to_string(),
            path,
            source: source.into(),
        })
    }

    /// The recorded runs, newest first.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn runs(&self) -> Result<Vec<RunName>, StateError> {
        let directory = self.audit_directory();
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(StateError::file("list", &directory)(source)),
        };
        let mut runs = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StateError::file("list", &directory))?;
            if let Some(run) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.strip_suffix(".json"))
                .and_then(|name| name.parse().ok())
            {
                runs.push(run);
            }
        }
        runs.sort_unstable();
        runs.reverse();
        Ok(runs)
    }

    /// Removes the oldest runs until both limits hold; `current`, the run at work, always stays.
    /// What killed runs left half written goes too, so the lock must be held.
    ///
    /// Age is told by when the record was last written, the name aside: neither holds where the
    /// clock is set back, as at boot on a machine whose clock has no battery.
    ///
    /// # Errors
    /// Where a file cannot be removed.
    pub fn prune(&self, keep: AuditKeep, current: &RunName) -> Result<(), StateError> {
        for directory in [self.directory.clone(), self.audit_directory()] {
            remove_half_written(&directory).map_err(StateError::file("tidy", &directory))?;
        }
        let mut bytes = 0_u64;
        for (index, run) in (0_u64..).zip(self.by_age(current)?) {
            bytes += self
                .files(&run)
                .iter()
                .filter_map(|path| fs::metadata(path).ok())
                .map(|metadata| metadata.len())
                .sum::<u64>();
            if run == *current || (index < keep.runs && bytes <= keep.max_bytes) {
                continue;
            }
            self.forget(&run)?;
        }
        Ok(())
    }

    /// Removes all that a run left.
    ///
    /// # Errors
    /// Where a file cannot be removed.
    pub fn forget(&self, run: &RunName) -> Result<(), StateError> {
        // The record goes last, so that a killed run leaves nothing that no record names.
        for path in self.files(run).iter().rev() {
            match fs::remove_file(path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(StateError::file("remove", path)(source)),
            }
        }
        Ok(())
    }

    /// A run's files, its record first.
    fn files(&self, run: &RunName) -> [PathBuf; 4] {
        [
            self.audit_path(run),
            self.undo_flows_path(run),
            self.undo_kept_path(run),
            self.undo_sent_path(run),
        ]
    }

    /// The recorded runs: the one at work, then the others, the last written first.
    fn by_age(&self, current: &RunName) -> Result<Vec<RunName>, StateError> {
        let mut runs: Vec<(bool, Option<SystemTime>, RunName)> = self
            .runs()?
            .into_iter()
            .map(|run| {
                let written = fs::metadata(self.audit_path(&run)).and_then(|file| file.modified());
                (run == *current, written.ok(), run)
            })
            .collect();
        runs.sort_unstable();
        Ok(runs.into_iter().rev().map(|(_, _, run)| run).collect())
    }
}

fn remove_half_written(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(b".") && name.ends_with(HALF_WRITTEN.as_bytes()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observe::Netns;

    #[test]
    fn runs_sort_by_time_and_cannot_leave_their_directory() {
        let early = RunName::new(1_700_000_000_000_000_000, 99);
        let late = RunName::new(1_700_000_001_000_000_000, 1);
        assert!(early < late);
        assert_eq!(early.to_string(), "20231114T221320.000Z-99");
        assert_eq!(early.to_string().parse(), Ok(early));
        assert!("../../etc/passwd".parse::<RunName>().is_err());
    }

    /// Records of runs, by day and by when they were written.
    fn recorded(runs: &[(u64, u64)]) -> (tempfile::TempDir, State, Vec<RunName>) {
        let root = tempfile::tempdir().unwrap();
        let state = State::of(root.path(), &Netns::default());
        state.create().unwrap();
        let mut names = Vec::new();
        for (day, written) in runs {
            let run = RunName::new(day * 86_400_000_000_000, 1);
            let file = fs::File::create(state.audit_path(&run)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(*written))
                .unwrap();
            names.push(run);
        }
        (root, state, names)
    }

    const TWO: AuditKeep = AuditKeep {
        runs: 2,
        max_bytes: u64::MAX,
    };

    #[test]
    fn the_run_at_work_stays_also_where_the_clock_was_set_back() {
        let (_root, state, runs) = recorded(&[(20_000, 70), (0, 10), (20_001, 80), (19_999, 60)]);
        state.prune(TWO, &runs[1]).unwrap();
        assert_eq!(state.runs().unwrap(), [runs[2].clone(), runs[1].clone()]);
    }

    #[test]
    fn the_last_written_stay_and_among_equals_the_last_named() {
        let (_root, state, runs) = recorded(&[(9, 10), (1, 90), (2, 50), (3, 50)]);
        state.prune(TWO, &runs[1]).unwrap();
        assert_eq!(state.runs().unwrap(), [runs[3].clone(), runs[1].clone()]);
    }
}
