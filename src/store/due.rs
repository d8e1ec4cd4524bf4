//! Takes the snapshot that is due.

use std::path::Path;

use super::{Form, KeyError, Pruned, SnapshotName, Store, StoreError, Taken};
use crate::observe::{Header, Observe, Trigger};
use crate::policy::{Compression, SnapshotSettings};
use crate::snapshot::due::{Due, Fill, Past, snapshot_due};

/// A snapshot that was due and taken.
#[derive(Debug)]
pub struct TakenDue {
    /// Why, and what it holds.
    pub due: Due,
    /// The snapshot.
    pub taken: Taken,
    /// What was pruned afterwards.
    pub pruned: Result<Pruned, StoreError>,
}

/// Why a due snapshot was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DueError {
    /// There is no key for its pseudonyms.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// What was taken before of the namespace with this name. Files that cannot be read are passed
    /// over.
    ///
    /// # Errors
    /// Where the directory cannot be listed.
    pub fn past(&self, netns: &str) -> Result<Past, StoreError> {
        let netns = SnapshotName::new(0, netns, Compression::default()).netns;
        let mut past = Past::default();
        for stored in self.list()? {
            if stored.name.netns != netns {
                continue;
            }
            let Ok(contents) = stored.contents() else {
                continue;
            };
            past.newest.get_or_insert(stored.name.time);
            if contents.header.trigger == Some(Trigger::Pressure) {
                past.newest_of_pressure = Some(stored.name.time);
                break;
            }
        }
        Ok(past)
    }

    /// Whether a snapshot of the observed table is due.
    ///
    /// # Errors
    /// Where the directory cannot be listed.
    pub fn due(
        &self,
        settings: &SnapshotSettings,
        header: &Header,
    ) -> Result<Option<Due>, StoreError> {
        if settings.every.is_none() && settings.on_pressure.is_none() {
            return Ok(None);
        }
        let fill = (header.count)
            .zip(header.number("nf_conntrack_max"))
            .map(|(count, max)| Fill { count, max });
        let past = self.past(&header.netns.name)?;
        Ok(snapshot_due(settings, seconds(header), past, fill))
    }
}

/// Takes a snapshot into the policy's directory if one is due, and prunes afterwards. Call it before
/// the rules run: afterwards what filled the table is gone. `credentials` is
/// `$CREDENTIALS_DIRECTORY`.
///
/// # Errors
/// Where it is due and was not taken: nothing is left of it, and everything older is still there.
pub fn take_due(
    settings: &SnapshotSettings,
    source: &dyn Observe,
    header: &Header,
    credentials: Option<&Path>,
    progress: impl FnMut(u64) + Send,
) -> Result<Option<TakenDue>, DueError> {
    let store = Store::new(&settings.directory);
    let Some(due) = store.due(settings, header)? else {
        return Ok(None);
    };
    let form = Form {
        compression: settings.compression,
        detail: due.detail,
        redactor: Form::redactor(&settings.addresses, credentials)?,
    };
    let mut header = header.clone();
    header.trigger = Some(due.trigger);
    let taken = store.take(source, &header, &form, progress)?;
    let pruned = store.prune(&settings.keep, seconds(&header));
    Ok(Some(TakenDue { due, taken, pruned }))
}

fn seconds(header: &Header) -> i64 {
    i64::try_from(header.time_ns / 1_000_000_000).expect("2^64 ns are far below 2^63 s")
}
