//! How runs went and how many entries they left, whether or not they left a record: a timer's idle
//! runs leave none.

use serde::{Deserialize, Serialize};

use crate::report::Report;

/// Counts kept; with a run a minute, a quarter of an hour.
const MOST_COUNTS: usize = 16;

/// Counts nearer together say more of chance than of growth.
const APART_NS: u64 = 50 * SECOND_NS;

/// Growth since longer ago says nothing of what is to come.
const LONGEST_NS: u64 = 3_600 * SECOND_NS;

const SECOND_NS: u64 = 1_000_000_000;

/// How the last runs went. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// When the last run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// When a run last came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
    /// When a run last did all that it had decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<u64>,
    /// The run that ended last did not do all that it had decided.
    #[serde(default)]
    pub incomplete: bool,
    /// A tunable read back different in it, or is contested.
    #[serde(default)]
    pub disagrees: bool,
    /// A rail refused a rule or a value in it.
    #[serde(default)]
    pub refused: bool,
    /// How many entries runs left, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<Counted>,
}

/// Entries at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Nanoseconds since boot.
    pub at_ns: u64,
    /// Entries.
    pub entries: u64,
}

impl Health {
    /// A run begins.
    pub(crate) fn started(&mut self, time_ns: u64) {
        self.started = Some(time_ns / SECOND_NS);
    }

    /// A run has come to its end.
    pub(crate) fn ended(&mut self, report: &Report, time_ns: u64, uptime_ns: u64) {
        let now = time_ns / SECOND_NS;
        self.ended = Some(now);
        self.incomplete = report.is_incomplete();
        self.disagrees = report.disagrees();
        self.refused = report.has_refusals();
        if !self.incomplete {
            self.succeeded = Some(now);
        }
        let apart = |last: &Counted| uptime_ns.saturating_sub(last.at_ns) >= APART_NS;
        if let Some(entries) = report.count_after
            && self.counts.last().is_none_or(apart)
        {
            let surplus = (self.counts.len() + 1).saturating_sub(MOST_COUNTS);
            self.counts.drain(..surplus);
            self.counts.push(Counted {
                at_ns: uptime_ns,
                entries,
            });
        }
    }

    /// What of it still holds after a boot: its clock began anew.
    pub(super) fn of_other_boot(self) -> Self {
        Self {
            counts: Vec::new(),
            ..self
        }
    }

    /// Entries a second by which the table grew, net of what rules removed, since the oldest count
    /// of the last hour; `None` where none is old enough.
    #[must_use]
    pub fn growth(&self, entries: u64, uptime_ns: u64) -> Option<f64> {
        let age = |one: &Counted| uptime_ns.saturating_sub(one.at_ns);
        let before = self.counts.iter().find(|one| age(one) <= LONGEST_NS)?;
        let age = age(before);
        #[expect(
            clippy::cast_precision_loss,
            reason = "far below 2^53, and a rate is no count"
        )]
        (age >= APART_NS)
            .then(|| (entries as f64 - before.entries as f64) / (age as f64 / SECOND_NS as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(counts: &[(u64, u64)]) -> Health {
        let count = |&(seconds, entries): &(u64, u64)| Counted {
            at_ns: seconds * SECOND_NS,
            entries,
        };
        Health {
            counts: counts.iter().map(count).collect(),
            ..Health::default()
        }
    }

    #[test]
    fn growth_is_known_from_counts_that_are_neither_too_new_nor_too_old() {
        let two = health(&[(1_000, 500), (1_060, 700)]);
        assert_eq!(two.growth(1_700, 1_120 * SECOND_NS), Some(10.0));
        assert_eq!(two.growth(200, 1_120 * SECOND_NS), Some(-2.5));
        assert_eq!(health(&[(1_000, 5)]).growth(9, 1_010 * SECOND_NS), None);
        assert_eq!(health(&[(1_000, 5)]).growth(9, 9_000 * SECOND_NS), None);
        assert_eq!(health(&[]).growth(9, SECOND_NS), None);
    }

    #[test]
    fn counts_belong_to_one_boot_and_the_rest_outlives_it() {
        let mut before = health(&[(1, 2)]);
        before.succeeded = Some(7);
        let after = before.of_other_boot();
        assert_eq!((after.counts.len(), after.succeeded), (0, Some(7)));
    }
}
