//! The snapshot directory: names, atomic writes, what is there.
//!
//! A snapshot is `20260131T120000Z-init.jsonl.zst`: when, and of which network namespace. Names
//! sort by time. A second one within the same second is `20260131T120000Z-init~2.jsonl.zst`.

pub(crate) mod atomic;
mod contents;
mod due;
mod form;
mod name;
mod prune;
mod take;

pub use contents::Contents;
pub use due::{DueError, TakenDue, take_due};
pub use form::{Form, KeyError};
pub use name::SnapshotName;
pub use prune::Pruned;
pub use take::{TakeError, take};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use atomic::Pending;

use crate::observe::{Header, Observe};
use crate::ownership;
use crate::snapshot::{SnapshotError, Trailer};

/// Temporary files older than this belong to no living writer.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Why the store does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made or listed.
    #[error("snapshot directory {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A file cannot be written; nothing is left of it.
    #[error("write the snapshot {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The snapshot could not be taken; nothing is left of it.
    #[error(transparent)]
    Take(#[from] TakeError),
}

/// A snapshot that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub trailer: Trailer,
    /// Its size.
    pub bytes: u64,
}

/// A snapshot in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where it is.
    pub path: PathBuf,
    /// What its name says.
    pub name: SnapshotName,
    /// Its size.
    pub bytes: u64,
}

/// A directory of snapshots.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// The store in this directory, which need not exist yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Takes a snapshot into the directory, which is made if it is missing. Only a whole snapshot
    /// ever has its name. `progress` hears the number of flows now and then.
    ///
    /// # Errors
    /// Where the source cannot be seen or the file not be written; then nothing is left behind.
    pub fn take(
        &self,
        source: &dyn Observe,
        header: &Header,
        form: &Form,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<Taken, StoreError> {
        let directory = |source| StoreError::Directory {
            path: self.directory.clone(),
            source,
        };
        ownership::create_directory(&self.directory, 0o750).map_err(directory)?;
        self.sweep_abandoned();
        let (pending, trailer) = settled(|| {
            let pending = Pending::create(&self.directory).map_err(directory)?;
            let taken = take(source, header, pending, form, &mut progress)?;
            Ok(taken)
        })?;
        let name = SnapshotName::new(header.time_ns, &header.netns.name, form.compression);
        let failed = |source| StoreError::Write {
            path: self.directory.join(name.to_string()),
            source,
        };
        let (path, bytes) = pending
            .persist_new(|attempt| self.directory.join(name.attempt(attempt).to_string()))
            .map_err(failed)?;
        Ok(Taken {
            path,
            trailer,
            bytes,
        })
    }

    /// The snapshots in the directory, the newest first. Other files are passed over; a directory
    /// that does not exist is empty.
    ///
    /// # Errors
    /// Where it cannot be listed.
    pub fn list(&self) -> Result<Vec<Stored>, StoreError> {
        let failed = |source| StoreError::Directory {
            path: self.directory.clone(),
            source,
        };
        let mut stored = Vec::new();
        for entry in self.entries().map_err(failed)? {
            let Some(name) = entry.file_name().to_str().and_then(SnapshotName::parse) else {
                continue;
            };
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_file() {
                stored.push(Stored {
                    path: entry.path(),
                    name,
                    bytes: metadata.len(),
                });
            }
        }
        stored.sort_by(|a, b| b.name.cmp(&a.name));
        Ok(stored)
    }

    fn entries(&self) -> io::Result<Vec<fs::DirEntry>> {
        match fs::read_dir(&self.directory) {
            Ok(entries) => entries.collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Removes what killed writers left. A file that cannot be removed hinders nobody.
    fn sweep_abandoned(&self) {
        let now = SystemTime::now();
        for entry in self.entries().unwrap_or_default() {
            let old = entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|modified| {
                    now.duration_since(modified)
                        .is_ok_and(|age| age > ABANDONED)
                });
            if old && atomic::is_pending(&entry.file_name()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Takes a snapshot into one file, replacing what is there. The file appears whole or not at all,
/// unless it is none: a pipe or device is written as it goes.
///
/// # Errors
/// As [`Store::take`].
pub fn take_to(
    path: &Path,
    source: &dyn Observe,
    header: &Header,
    form: &Form,
    mut progress: impl FnMut(u64) + Send,
) -> Result<Taken, StoreError> {
    let failed = |source| StoreError::Write {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(failed)?;
        let (_, trailer) = take(source, header, file, form, progress)?;
        return Ok(Taken {
            path: path.to_owned(),
            trailer,
            bytes: 0,
        });
    }
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let (pending, trailer) = settled(|| {
        let pending = Pending::create(parent).map_err(failed)?;
        let taken = take(source, header, pending, form, &mut progress)?;
        Ok(taken)
    })?;
    let bytes = pending.persist(path).map_err(failed)?;
    Ok(Taken {
        path: path.to_owned(),
        trailer,
        bytes,
    })
}

/// Takes again where the hash was resized meanwhile; what does not settle is kept as it is, and its
/// trailer says so.
fn settled(
    mut take: impl FnMut() -> Result<(Pending, Trailer), StoreError>,
) -> Result<(Pending, Trailer), StoreError> {
    const TRIES: usize = 3;
    let mut taken = take()?;
    for _ in 1..TRIES {
        if !taken.1.resized {
            break;
        }
        taken = take()?;
    }
    Ok(taken)
}

impl StoreError {
    /// The snapshot's own error, where it is one.
    #[must_use]
    pub fn snapshot(&self) -> Option<&SnapshotError> {
        match self {
            Self::Take(TakeError::Snapshot(error)) => Some(error),
            _ => None,
        }
    }
}
