//! A run that waits to be confirmed, and how another process confirms it.
//!
//! `unconfirmed` names the run from before its first write. Whoever confirms renames the file to
//! `confirmed`, the run that gives up waiting to `reverting`: one of them comes first, the other one
//! finds nothing. What a killed run leaves there tells the next run what to put back.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::{RunName, State, StateError, replace};

impl State {
    fn unconfirmed_path(&self) -> PathBuf {
        self.directory.join("unconfirmed")
    }

    fn confirmed_path(&self) -> PathBuf {
        self.directory.join("confirmed")
    }

    fn reverting_path(&self) -> PathBuf {
        self.directory.join("reverting")
    }

    /// Tells that a run waits to be confirmed.
    ///
    /// # Errors
    /// Where that cannot be kept: nothing may be written then.
    pub fn await_confirmation(&self, run: &RunName) -> Result<(), StateError> {
        replace(&self.unconfirmed_path(), run.to_string().as_bytes())
    }

    /// The run that waits to be confirmed, or was killed while it did.
    ///
    /// # Errors
    /// Where that cannot be told.
    pub fn unconfirmed(&self) -> Result<Option<RunName>, StateError> {
        named(self.unconfirmed_path())
    }

    /// The run that was killed before it was confirmed, or before all was put back; to be asked with
    /// the lock held.
    ///
    /// # Errors
    /// Where that cannot be told.
    pub fn left_unconfirmed(&self) -> Result<Option<RunName>, StateError> {
        match self.unconfirmed()? {
            None => named(self.reverting_path()),
            run => Ok(run),
        }
    }

    /// Confirms the run that waits; false where none does any more.
    ///
    /// # Errors
    /// Where that cannot be told to it.
    pub fn confirm(&self) -> Result<bool, StateError> {
        let path = self.unconfirmed_path();
        match fs::rename(&path, self.confirmed_path()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(StateError::file("rename", &path)(source)),
        }
    }

    /// Whether somebody has confirmed the run. Doubt is no confirmation.
    #[must_use]
    pub fn is_confirmed(&self, run: &RunName) -> bool {
        !self.unconfirmed_path().exists()
            && fs::read_to_string(self.confirmed_path())
                .is_ok_and(|text| text.trim() == run.to_string())
    }

    /// Ends the waiting; from then on nobody can confirm the run. Whether somebody did before.
    pub fn end_waiting(&self, run: &RunName) -> bool {
        let ended = fs::rename(self.unconfirmed_path(), self.reverting_path());
        let confirmed = ended.is_err() && self.is_confirmed(run);
        // It has told what it had to tell; the next run's is written over it anyway.
        let _ = fs::remove_file(self.confirmed_path());
        confirmed
    }

    /// Nothing waits any more, and nothing is left to be put back.
    pub fn forget_unconfirmed(&self) {
        for path in [self.unconfirmed_path(), self.reverting_path()] {
            // What stays is put back once more, where it still is what the run made it.
            let _ = fs::remove_file(path);
        }
    }
}

fn named(path: PathBuf) -> Result<Option<RunName>, StateError> {
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(run) => Ok(Some(run)),
            Err(error) => Err(StateError::Damaged {
                path,
                source: Box::new(error),
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::file("read", &path)(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Netns;

    fn waiting() -> (tempfile::TempDir, State, RunName) {
        let root = tempfile::tempdir().unwrap();
        let state = State::of(root.path(), &Netns::default());
        state.create().unwrap();
        let run = RunName::new(1, 7);
        state.await_confirmation(&run).unwrap();
        (root, state, run)
    }

    #[test]
    fn who_comes_first_decides_whether_a_run_is_confirmed() {
        let (_root, state, run) = waiting();
        assert!(!state.is_confirmed(&run));
        assert_eq!(state.unconfirmed().unwrap(), Some(run.clone()));
        assert!(state.confirm().unwrap());
        assert!(state.is_confirmed(&run));
        assert!(state.end_waiting(&run));
        assert_eq!(state.left_unconfirmed().unwrap(), None);
        let (_root, state, run) = waiting();
        assert!(!state.end_waiting(&run));
        assert!(!state.confirm().unwrap());
        assert!(!state.is_confirmed(&run));
        assert_eq!(state.unconfirmed().unwrap(), None);
        assert_eq!(state.left_unconfirmed().unwrap(), Some(run));
        state.forget_unconfirmed();
        assert_eq!(state.left_unconfirmed().unwrap(), None);
    }

    #[test]
    fn what_confirmed_another_run_confirms_none() {
        let (_root, state, run) = waiting();
        state.confirm().unwrap();
        let other = RunName::new(2, 7);
        state.await_confirmation(&other).unwrap();
        assert!(!state.is_confirmed(&run));
        assert!(!state.is_confirmed(&other));
        assert!(!state.end_waiting(&other));
    }

    #[test]
    fn lost_state_confirms_nothing() {
        let (_root, state, run) = waiting();
        fs::remove_dir_all(state.directory()).unwrap();
        assert!(!state.is_confirmed(&run));
        assert!(!state.end_waiting(&run));
    }
}
