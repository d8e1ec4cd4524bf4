//! The age of an entry from its start on the wall clock, which may have been stepped meanwhile.

use std::fmt;

use super::{ClockOffset, History};

/// Two offsets of one unstepped clock differ by less than this, nanoseconds.
const STEP_NS: i128 = 1_000_000_000;

/// The wall clock and the time since boot of one run, and how they were to each other before.
#[derive(Clone, Debug)]
pub struct Clock {
    time_ns: u64,
    uptime_ns: u64,
    /// When an offset was first seen, and whether it differs from today's by a step.
    stepped: Vec<(u64, bool)>,
    /// The largest offset ever seen: it makes lives longest.
    largest_offset_ns: i128,
}

/// Why the age of an entry cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgeDoubt {
    /// The kernel sent no start (`nf_conntrack_timestamp` is off, or was when the entry was made).
    NoStart,
    /// The entry starts after the observation.
    Future,
    /// It would be older than this boot.
    BeforeBoot,
    /// The clock was stepped since the entry was made, as far as can be told.
    Stepped,
}

impl fmt::Display for AgeDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoStart => "the kernel sent no start time",
            Self::Future => "it starts after the observation",
            Self::BeforeBoot => "it would be older than this boot",
            Self::Stepped => "the clock was stepped since it was made",
        })
    }
}

impl Clock {
    /// From the wall clock and the time since boot of an observation, both nanoseconds.
    #[must_use]
    pub fn new(time_ns: u64, uptime_ns: u64, history: &History) -> Self {
        let now = i128::from(time_ns) - i128::from(uptime_ns);
        let mut offsets = history.clock.clone();
        offsets.sort_by_key(|offset| offset.at_ns);
        let differs = |offset: &ClockOffset| (i128::from(offset.offset_ns) - now).abs() > STEP_NS;
        Self {
            time_ns,
            uptime_ns,
            stepped: offsets.iter().map(|o| (o.at_ns, differs(o))).collect(),
            largest_offset_ns: offsets
                .iter()
                .map(|offset| i128::from(offset.offset_ns))
                .fold(now, i128::max),
        }
    }

    /// Nanoseconds since a time of the wall clock.
    ///
    /// The life since then is taken as long as any offset ever seen makes it; an offset that
    /// differs from today's by more than a second within that life, or in force at its begin,
    /// means that the clock was stepped.
    ///
    /// # Errors
    /// Where the clock makes the start unusable.
    pub fn age(&self, start_ns: u64) -> Result<u64, AgeDoubt> {
        let age = self.time_ns.checked_sub(start_ns).ok_or(AgeDoubt::Future)?;
        if age > self.uptime_ns {
            return Err(AgeDoubt::BeforeBoot);
        }
        let begin = i128::from(start_ns) - self.largest_offset_ns;
        let later = self
            .stepped
            .partition_point(|(at_ns, _)| i128::from(*at_ns) <= begin);
        if self.stepped[later.saturating_sub(1)..]
            .iter()
            .any(|(_, differs)| *differs)
        {
            return Err(AgeDoubt::Stepped);
        }
        Ok(age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn clock(uptime: u64, offset: i64, seen: &[(u64, i64)]) -> Clock {
        let history = History {
            clock: seen
                .iter()
                .map(|&(at, offset)| ClockOffset {
                    at_ns: at * S,
                    offset_ns: offset * 1_000_000_000,
                })
                .collect(),
            ..History::default()
        };
        Clock::new(
            uptime * S + offset.cast_unsigned() * S,
            uptime * S,
            &history,
        )
    }

    #[test]
    fn an_age_is_the_difference_on_an_unstepped_clock() {
        let clock = clock(1000, 5_000_000, &[(10, 5_000_000)]);
        assert_eq!(clock.age((5_000_000 + 400) * S), Ok(600 * S));
    }

    #[test]
    fn a_start_before_boot_or_after_now_has_no_age() {
        let clock = clock(1000, 5_000_000, &[]);
        assert_eq!(clock.age(4_999_999 * S), Err(AgeDoubt::BeforeBoot));
        assert_eq!(clock.age(5_001_001 * S), Err(AgeDoubt::Future));
    }

    #[test]
    fn an_entry_made_before_a_step_has_no_age_and_one_made_after_has() {
        for (before, after) in [(5_000_000, 5_000_300), (5_000_300, 5_000_000)] {
            let clock = clock(9000, after, &[(10, before), (2000, after)]);
            let wall = |offset: i64, at: u64| (offset.cast_unsigned() + at) * S;
            assert_eq!(clock.age(wall(before, 1500)), Err(AgeDoubt::Stepped));
            // Today's offset alone would put this one behind the backward step.
            assert_eq!(clock.age(wall(before, 1900)), Err(AgeDoubt::Stepped));
            assert_eq!(clock.age(wall(after, 8000)), Ok(1000 * S));
        }
    }

    #[test]
    fn a_step_that_no_run_has_seen_yet_counts() {
        let clock = clock(9000, 5_000_300, &[(10, 5_000_000)]);
        assert_eq!(clock.age((5_000_300 + 8000) * S), Err(AgeDoubt::Stepped));
    }

    #[test]
    fn a_slewed_clock_is_not_a_stepped_one() {
        let mut clock = clock(9000, 5_000_000, &[(10, 5_000_001)]);
        assert_eq!(clock.age((5_000_000 + 8000) * S), Ok(1000 * S));
        clock.stepped[0].1 = true;
        assert!(clock.age((5_000_000 + 8000) * S).is_err());
    }
}
