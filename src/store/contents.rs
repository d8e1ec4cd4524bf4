//! What a stored snapshot is, by its first and last line.

use std::fs::File;

use super::Stored;
use crate::observe::Header;
use crate::policy::Detail;
use crate::snapshot::{Snapshot, SnapshotError, Trailer};

/// The first and the last line of a snapshot.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Everything but the flows.
    pub header: Header,
    /// Whether it has flows or groups.
    pub detail: Detail,
    /// What it comes to.
    pub trailer: Trailer,
}

impl Stored {
    /// Reads header and trailer; the flows between them are not looked at.
    ///
    /// # Errors
    /// Where it cannot be read or is damaged, as a file that was cut short is.
    pub fn contents(&self) -> Result<Contents, SnapshotError> {
        let file = File::open(&self.path).map_err(SnapshotError::Read)?;
        let snapshot = Snapshot::open(file)?;
        Ok(Contents {
            header: snapshot.header().clone(),
            detail: snapshot.detail(),
            trailer: snapshot.trailer().clone(),
        })
    }
}
