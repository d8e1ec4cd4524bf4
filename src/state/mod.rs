//! What conntidy keeps between runs: one directory a network namespace.
//!
//! ```text
//! STATE/netns-<device>-<inode>/lock         held while a run acts
//!                             /state.json   history of this boot, rules on hold, when rules ran
//!                             /persisted.zst    flows that rules with `persisted` follow
//!                             /unconfirmed  the run that waits to be confirmed
//!                             /audit/RUN.json
//!                             /undo/RUN.flows   deleted entries as the kernel dumped them
//!                             /undo/RUN.sent    which of them were sent, in order
//!                             /undo/RUN.kept    which of those deleted nothing
//! ```
//! Files are replaced whole (temporary file, rename), so none is ever half written; the undo files
//! only grow, and a torn last record is ignored.

mod audit;
mod confirm;
mod health;
mod lock;
mod memory;
mod persisted;
mod undo;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::observe::Netns;
use crate::ownership;

pub use audit::RunName;
pub use health::{Counted, Health};
pub use lock::Lock;
pub use memory::{Memory, is_other};
pub use undo::{Deleted, UndoReader, UndoWriter, frame, mark};

/// State of one network namespace.
#[derive(Clone, Debug)]
pub struct State {
    directory: PathBuf,
    /// [`Netns::created_ns`]: tells it from an earlier one with the same directory.
    created_ns: Option<u64>,
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
    /// What runs tell each other says something that this version does not understand.
    #[error("{} is damaged or of another version", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The record of a run says something that this version does not understand.
    #[error("the record of run `{run}`, {}, is damaged or of another version", path.display())]
    DamagedRecord {
        /// The run.
        run: String,
        /// Where its record is.
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

/// The state directory of the machine's root, which is also what systemd makes of
/// `StateDirectory=conntidy`.
const SYSTEM: &str = "/var/lib/conntidy";

/// What decides where state is kept.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `$STATE_DIRECTORY`: systemd sets it, to a list.
    pub state_directory: Option<PathBuf>,
    /// The caller is root of the machine, not of a user namespace.
    pub system: bool,
    /// `$XDG_STATE_HOME`.
    pub xdg_state_home: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
}

/// The state directory: the first of `$STATE_DIRECTORY` where that names any, else
/// `/var/lib/conntidy` for the machine's root, so that a timer and a shell share lock and history,
/// else `conntidy` in `$XDG_STATE_HOME`, else in `~/.local/state`.
#[must_use]
pub fn root(surroundings: &Surroundings) -> Option<PathBuf> {
    let list = surroundings.state_directory.as_ref();
    let list = list.map(|list| list.to_string_lossy()).unwrap_or_default();
    if let Some(first) = list.split(':').find(|path| !path.is_empty()) {
        return Some(PathBuf::from(first));
    }
    if surroundings.system {
        return Some(PathBuf::from(SYSTEM));
    }
    let of_home = || Some(surroundings.home.as_ref()?.join(".local/state"));
    surroundings
        .xdg_state_home
        .clone()
        .filter(|path| path.is_absolute())
        .or_else(of_home)
        .map(|state| state.join("conntidy"))
}

impl State {
    /// The state of a namespace under a root; nothing is made yet.
    #[must_use]
    pub fn of(root: &Path, netns: &Netns) -> Self {
        Self {
            directory: root.join(format!("netns-{}-{}", netns.device, netns.inode)),
            created_ns: netns.created_ns,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the directories, for the owner of the state alone.
    ///
    /// # Errors
    /// Where that fails.
    pub fn create(&self) -> Result<(), StateError> {
        for directory in [
            self.directory.clone(),
            self.audit_directory(),
            self.undo_directory(),
        ] {
            ownership::create_directory(&directory, 0o700)
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

/// Replaces a file whole: a reader sees the old or the new content, never a part. From here on the
/// new one stays, also where the machine goes down.
fn replace(path: &Path, content: &[u8]) -> Result<(), StateError> {
    replace_soon(path, content)?;
    let directory = directory_of(path);
    let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(StateError::file("write", path))
}

/// The same, but where the machine goes down soon afterwards the old content may be back.
fn replace_soon(path: &Path, content: &[u8]) -> Result<(), StateError> {
    let directory = directory_of(path);
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".")
            .suffix(HALF_WRITTEN)
            .tempfile_in(directory)?;
        ownership::hand_over(file.as_file(), directory)?;
        io::Write::write_all(&mut file, content)?;
        // Else there may be neither.
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(StateError::file("write", path))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_wins_over_the_system_and_that_over_xdg() {
        let path = |text: &str| Some(PathBuf::from(text));
        let mut surroundings = Surroundings {
            state_directory: path("/run/a:/var/lib/other"),
            system: true,
            xdg_state_home: path("/x/state"),
            home: path("/home/a"),
        };
        assert_eq!(root(&surroundings), path("/run/a"));
        for unset in [None, path(""), path(":")] {
            surroundings.state_directory = unset;
            assert_eq!(root(&surroundings), path("/var/lib/conntidy"));
        }
        surroundings.system = false;
        assert_eq!(root(&surroundings), path("/x/state/conntidy"));
        surroundings.xdg_state_home = path("relative");
        assert_eq!(root(&surroundings), path("/home/a/.local/state/conntidy"));
        assert_eq!(root(&Surroundings::default()), None);
    }
}
