//! What conntidy keeps between runs: one directory a network namespace.
//!
//! ```text
//! STATE/netns-<device>-<inode>/lock         held while a run acts
//!                             /state.json   history of this boot, rules on hold
//!                             /audit/RUN.json
//!                             /undo/RUN.flows   deleted entries as the kernel dumped them
//!                             /undo/RUN.sent    which of them were sent, in order
//! ```
//! Files are replaced whole (temporary file, rename), so none is ever half written; the undo files
//! only grow, and a torn last record is ignored.

mod audit;
mod lock;
mod memory;
mod undo;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::observe::Netns;

pub use audit::RunName;
pub use lock::Lock;
pub use memory::Memory;
pub use undo::{Deleted, UndoReader, UndoWriter, frame, mark};

/// State of one network namespace.
#[derive(Clone, Debug)]
pub struct State {
    directory: PathBuf,
}

/// Why state could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another run holds the lock.
    #[error("another run is at work in this network namespace: {holder}")]
    Busy {
        /// Who, as far as it said.
        holder: String,
    },
    /// A file or directory refused.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file says something that this version does not understand.
    #[error("{} is damaged or of another version", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no such run.
    #[error("no run `{run}` in {}", directory.display())]
    NoRun {
        /// The run that was asked for.
        run: String,
        /// Where it was looked for.
        directory: PathBuf,
    },
}

impl StateError {
    fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}

/// The state directory: `$STATE_DIRECTORY` (systemd; the first of a list), else `conntidy` in
/// `$XDG_STATE_HOME`, else in `~/.local/state`. The values of these variables are passed in.
#[must_use]
pub fn root(
    state_directory: Option<&Path>,
    xdg_state_home: Option<&Path>,
    home: Option<&Path>,
) -> Option<PathBuf> {
    if let Some(list) = state_directory {
        let text = list.to_string_lossy();
        let first = text.split(':').next().filter(|first| !first.is_empty())?;
        return Some(PathBuf::from(first));
    }
    xdg_state_home
        .filter(|path| path.is_absolute())
        .map(Path::to_owned)
        .or_else(|| home.map(|home| home.join(".local/state")))
        .map(|state| state.join("conntidy"))
}

impl State {
    /// The state of a namespace under a root; nothing is made yet.
    #[must_use]
    pub fn of(root: &Path, netns: &Netns) -> Self {
        Self {
            directory: root.join(format!("netns-{}-{}", netns.device, netns.inode)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the directories, for the owner alone.
    ///
    /// # Errors
    /// Where that fails.
    pub fn create(&self) -> Result<(), StateError> {
        for directory in [
            self.directory.clone(),
            self.audit_directory(),
            self.undo_directory(),
        ] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .map_err(StateError::file("create", &directory))?;
        }
        Ok(())
    }

    fn audit_directory(&self) -> PathBuf {
        self.directory.join("audit")
    }

    fn undo_directory(&self) -> PathBuf {
        self.directory.join("undo")
    }
}

/// How the name of a file ends that is not written to its end, before it is renamed.
const HALF_WRITTEN: &str = ".tmp";

/// Replaces a file whole: a reader sees the old or the new content, never a part.
fn replace(path: &Path, content: &[u8]) -> Result<(), StateError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".")
            .suffix(HALF_WRITTEN)
            .tempfile_in(directory)?;
        io::Write::write_all(&mut file, content)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        fs::File::open(directory)?.sync_all()
    };
    write().map_err(StateError::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_wins_over_xdg_and_its_first_directory_counts() {
        let path = |text| Some(Path::new(text));
        assert_eq!(
            root(path("/var/lib/conntidy:/var/lib/other"), path("/x"), None),
            Some("/var/lib/conntidy".into())
        );
        assert_eq!(
            root(None, path("/x/state"), path("/home/a")),
            Some("/x/state/conntidy".into())
        );
        assert_eq!(
            root(None, path("relative"), path("/home/a")),
            Some("/home/a/.local/state/conntidy".into())
        );
        assert_eq!(root(None, None, None), None);
    }
}
