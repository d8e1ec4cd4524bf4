//! A snapshot in place of the kernel: dry runs in CI, plans without root.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::flow::Family;
use crate::observe::{Dumped, Header, Observe, ObserveError, Visit};
use crate::policy::Detail;
use crate::snapshot::{Snapshot, SnapshotError};

/// A table as a snapshot recorded it. Flows come in the order of their keys.
#[derive(Clone, Debug)]
pub struct Recorded {
    path: PathBuf,
    header: Header,
}

impl Recorded {
    /// Opens a snapshot. Its flows are read, and found to be whole, with each dump.
    ///
    /// # Errors
    /// Where there is no such file, or it is no snapshot, an aggregate or a damaged one.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ObserveError> {
        let path = path.into();
        let snapshot = open(&path)?;
        if snapshot.detail() == Detail::Aggregate {
            return Err(observe(&path, SnapshotError::Aggregate));
        }
        let header = snapshot.header().clone();
        Ok(Self { path, header })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Observe for Recorded {
    fn header(&self) -> Result<Header, ObserveError> {
        Ok(self.header.clone())
    }

    fn dump(&self, visitors: &mut [&mut dyn Visit]) -> Result<Dumped, ObserveError> {
        let failed = |error| observe(&self.path, error);
        let mut snapshot = open(&self.path)?;
        let trailer = snapshot.trailer();
        let dumped = Dumped {
            entries: trailer.flows,
            undecoded: trailer.undecoded,
            resized: trailer.resized,
        };
        let mut flows = snapshot.flows().map_err(failed)?;
        while let Some(record) = flows.next_flow().map_err(failed)? {
            match visitors {
                [] => {}
                [only] => only.visit(&record),
                [first, second, ..] => match record.flow.family {
                    Family::Ipv4 => first.visit(&record),
                    Family::Ipv6 => second.visit(&record),
                },
            }
        }
        Ok(dumped)
    }
}

fn open(path: &Path) -> Result<Snapshot<File>, ObserveError> {
    let file = File::open(path).map_err(|source| ObserveError::Failed {
        what: format!("open the snapshot {}", path.display()),
        source: source.into(),
    })?;
    Snapshot::open(file).map_err(|error| observe(path, error))
}

fn observe(path: &Path, error: SnapshotError) -> ObserveError {
    match error {
        SnapshotError::Read(source) | SnapshotError::Write(source) => ObserveError::Failed {
            what: format!("read the snapshot {}", path.display()),
            source: source.into(),
        },
        error => ObserveError::Damaged(format!("{}: {error}", path.display())),
    }
}
