//! What became of a sweep's changes.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::message::Answer;
use super::sweep::SweepError;
use crate::flow::FlowKey;

/// Failures kept word for word for each tag; the others are only counted.
const FAILURES: usize = 8;

/// What became of every change that was pushed.
#[derive(Debug, Default)]
pub struct Tally {
    /// By the tag that a change was pushed with.
    pub tags: BTreeMap<u32, Count>,
    /// Why the sweep stopped, if it did.
    pub stopped: Option<SweepError>,
}

/// What became of the changes of one tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Done. For a delete this includes entries that were dying already: the kernel says the same.
    pub done: u64,
    /// Was not there any more, or was another entry by then (`ENOENT`).
    pub gone: u64,
    /// In the flowtable (`EBUSY`), or not to be changed in this way.
    pub busy: u64,
    /// Create only: the tuple is taken (`EEXIST`).
    pub exists: u64,
    /// Any other error.
    pub failed: u64,
    /// Sent, but the answer was lost: it may have been done or not.
    pub unknown: u64,
    /// Never sent, since the sweep had stopped.
    pub unsent: u64,
    /// The first failures.
    pub failures: Vec<Failure>,
}

/// One change that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The entry.
    pub key: FlowKey,
    /// The error number.
    pub errno: i32,
    /// The kernel's own sentence; often empty.
    pub sentence: String,
}

/// What became of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Unknown,
    Unsent,
}

impl Count {
    /// Changes of every outcome together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.done + self.gone + self.busy + self.exists + self.failed + self.unknown + self.unsent
    }
}

impl Tally {
    /// The count of one tag; zero for a tag that nothing was pushed with.
    #[must_use]
    pub fn count(&self, tag: u32) -> Count {
        self.tags.get(&tag).cloned().unwrap_or_default()
    }

    /// The counts of all tags together, with the first failures of each.
    #[must_use]
    pub fn total(&self) -> Count {
        let mut total = Count::default();
        for count in self.tags.values() {
            total.done += count.done;
            total.gone += count.gone;
            total.busy += count.busy;
            total.exists += count.exists;
            total.failed += count.failed;
            total.unknown += count.unknown;
            total.unsent += count.unsent;
            total.failures.extend_from_slice(&count.failures);
        }
        total
    }

    pub(crate) fn add(&mut self, tag: u32, outcome: Outcome) {
        let count = self.tags.entry(tag).or_default();
        match outcome {
            Outcome::Done => count.done += 1,
            Outcome::Unknown => count.unknown += 1,
            Outcome::Unsent => count.unsent += 1,
        }
    }

    pub(crate) fn answer(&mut self, tag: u32, key: &FlowKey, answer: Answer<'_>) {
        let count = self.tags.entry(tag).or_default();
        // Compared as numbers: the kernel's answer may be one that is no error number to rustix.
        match answer.errno {
            0 => count.done += 1,
            errno if errno == Errno::NOENT.raw_os_error() => count.gone += 1,
            errno if errno == Errno::BUSY.raw_os_error() => count.busy += 1,
            errno if errno == Errno::EXIST.raw_os_error() => count.exists += 1,
            _ => {
                count.failed += 1;
                if count.failures.len() < FAILURES {
                    count.failures.push(Failure {
                        key: *key,
                        errno: answer.errno,
                        sentence: answer.sentence.to_owned(),
                    });
                }
            }
        }
    }
}
