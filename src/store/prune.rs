//! Removes snapshots that need not stay.

use std::fs;
use std::io;

use super::{Store, StoreError, Stored};
use crate::observe::Trigger;
use crate::policy::SnapshotKeep;
use crate::snapshot::SnapshotError;
use crate::snapshot::retention::{Candidate, Fate, Stay, retain};

/// What pruning comes to, and did.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Every readable snapshot, the newest first, with what becomes of it.
    pub judged: Vec<(Stored, Fate)>,
    /// Files that cannot be read. They count for nothing and stay.
    pub unreadable: Vec<(Stored, SnapshotError)>,
    /// Files that were to go and could not be removed.
    pub failed: Vec<(Stored, io::Error)>,
}

impl Pruned {
    /// Those that go.
    pub fn going(&self) -> impl Iterator<Item = &Stored> {
        let going = self.judged.iter();
        going
            .filter(|(_, fate)| matches!(fate, Fate::Goes(_)))
            .map(|(stored, _)| stored)
    }
}

impl Store {
    /// Says what becomes of each snapshot. `now` is seconds since 1970.
    ///
    /// Another program may take and prune at the same time: a file that is gone by now is passed
    /// over.
    ///
    /// # Errors
    /// Where the directory cannot be listed.
    pub fn judge(&self, keep: &SnapshotKeep, now: i64) -> Result<Pruned, StoreError> {
        let mut readable = Vec::new();
        let mut imported = Vec::new();
        let mut unreadable = Vec::new();
        for stored in self.list()? {
            match stored.contents() {
                Ok(contents) if contents.header.trigger == Some(Trigger::Import) => {
                    imported.push((stored, Fate::Stays(vec![Stay::Import])));
                }
                Ok(contents) => readable.push((stored, contents.detail)),
                Err(SnapshotError::Read(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => unreadable.push((stored, error)),
            }
        }
        let candidates: Vec<Candidate<'_>> = readable
            .iter()
            .map(|(stored, detail)| Candidate {
                time: stored.name.time,
                number: stored.name.number,
                netns: &stored.name.netns,
                detail: *detail,
                bytes: stored.bytes,
            })
            .collect();
        let fates = retain(keep, now, &candidates);
        let stored = readable.into_iter().map(|(stored, _)| stored);
        let mut judged: Vec<_> = stored.zip(fates).chain(imported).collect();
        judged.sort_by(|(a, _), (b, _)| b.name.cmp(&a.name));
        Ok(Pruned {
            judged,
            unreadable,
            failed: Vec::new(),
        })
    }

    /// Removes what need not stay, the oldest first, so that whatever interrupts it leaves the
    /// newest.
    ///
    /// # Errors
    /// Where the directory cannot be listed.
    pub fn prune(&self, keep: &SnapshotKeep, now: i64) -> Result<Pruned, StoreError> {
        self.sweep_abandoned();
        let mut pruned = self.judge(keep, now)?;
        let mut failed = Vec::new();
        for (stored, fate) in pruned.judged.iter().rev() {
            if let Fate::Goes(_) = fate
                && let Err(error) = fs::remove_file(&stored.path)
                && error.kind() != io::ErrorKind::NotFound
            {
                failed.push((stored.clone(), error));
            }
        }
        pruned.failed = failed;
        Ok(pruned)
    }
}
