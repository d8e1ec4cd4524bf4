//! Why a snapshot cannot be written or read.

use std::fmt;
use std::io;

/// Why a snapshot cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Writing failed; what was written is no snapshot.
    #[error("the snapshot could not be written")]
    Write(#[source] io::Error),
    /// Reading failed for a reason that is not the snapshot's.
    #[error("the snapshot could not be read")]
    Read(#[source] io::Error),
    /// It is something else.
    #[error("not a conntidy snapshot: {0}")]
    Foreign(String),
    /// It has another format version.
    #[error("the snapshot has the format `{found}`, and this version reads `{known}`")]
    Version {
        /// What the header says.
        found: String,
        /// What can be read.
        known: &'static str,
    },
    /// It holds groups, and flows were asked for.
    #[error("it is an aggregate: it has groups with counts and no flows")]
    Aggregate,
    /// It holds flows, and groups were asked for.
    #[error("it has flows and no groups: it is no aggregate")]
    Full,
    /// It was one, and is damaged.
    #[error("the snapshot is damaged {0}")]
    Damaged(#[from] Damage),
}

/// What is wrong with a snapshot, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Offset in the file.
    pub offset: u64,
    /// The run, counted from 1.
    pub run: Option<usize>,
    /// The line of the text, counted from 1; for a compressed file that of `zstdcat`.
    pub line: Option<u64>,
    /// What is wrong there.
    pub what: String,
}

impl Damage {
    pub(super) fn at(offset: u64, what: impl Into<String>) -> Self {
        Self {
            offset,
            run: None,
            line: None,
            what: what.into(),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}", self.offset)?;
        match (self.run, self.line) {
            (Some(run), Some(line)) => write!(f, " (run {run}, line {line})")?,
            (Some(run), None) => write!(f, " (run {run})")?,
            (None, Some(line)) => write!(f, " (line {line})")?,
            (None, None) => {}
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for Damage {}
