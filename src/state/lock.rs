//! One run at a time in a namespace.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::{State, StateError};
use crate::ownership;

/// Held as long as a run acts; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl State {
    /// Takes the lock; `holder` is what a second run will be told.
    ///
    /// # Errors
    /// [`StateError::Busy`] where another run holds it.
    pub fn lock(&self, holder: &str) -> Result<Lock, StateError> {
        self.create()?;
        let path = self.directory.join("lock");
        let mut file = self
            .open_lock(&path)
            .map_err(StateError::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Whoever it is, the lock is taken.
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim();
                return Err(StateError::Busy {
                    holder: if holder.is_empty() { "unknown" } else { holder }.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => {
                return Err(StateError::file("lock", &path)(source));
            }
        }
        let mut name_holder = || {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(holder.as_bytes())
        };
        name_holder().map_err(StateError::file("write", &path))?;
        Ok(Lock { _file: file })
    }

    /// Opens the file, made where it is missing; never through a link, which root may have been led to.
    fn open_lock(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        match options.clone().create_new(true).open(path) {
            Ok(file) => {
                ownership::hand_over(&file, &self.directory)?;
                Ok(file)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Netns;

    #[test]
    fn a_second_run_is_told_who_holds_the_lock() {
        let root = tempfile::tempdir().unwrap();
        let state = State::of(root.path(), &Netns::default());
        let first = state.lock("pid 7, apply").unwrap();
        let busy = state.lock("pid 8, apply").unwrap_err();
        assert!(matches!(busy, StateError::Busy { holder } if holder == "pid 7, apply"));
        drop(first);
        state.lock("pid 8, apply").unwrap();
    }
}
