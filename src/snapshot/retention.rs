//! Which snapshots stay, and why.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use chrono::{DateTime, Datelike, Timelike, Utc};

use crate::policy::{Detail, SnapshotKeep};

/// A snapshot that may stay or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// When it was taken, seconds since 1970.
    pub time: i64,
    /// Which of those within one second.
    pub number: u32,
    /// Its network namespace.
    pub netns: &'a str,
    /// What it holds. Counts hold for each namespace and detail on their own.
    pub detail: Detail,
    /// Its size.
    pub bytes: u64,
}

/// What becomes of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays, for at least one reason.
    Stays(Vec<Stay>),
    /// It goes.
    Goes(Go),
}

/// Why a snapshot stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stay {
    /// Nothing says that any goes.
    NoKeep,
    /// It is the newest of its namespace and detail, which stays whatever the counts; the
    /// newest of all stays whatever the limits, too.
    Newest,
    /// There are no counts, and it is within the limits.
    Within,
    /// `last`.
    Last,
    /// `hourly`.
    Hourly,
    /// `daily`.
    Daily,
    /// `weekly`.
    Weekly,
    /// `monthly`.
    Monthly,
    /// It was imported: somebody put it there, and no timer made it.
    Import,
}

/// Why a snapshot goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// No count keeps it.
    Uncounted,
    /// It is older than `max-age`.
    Old,
    /// With it and all newer ones the directory has more than `max-bytes`.
    Large,
}

impl fmt::Display for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKeep => "no `keep`",
            Self::Newest => "newest",
            Self::Within => "within the limits",
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Import => "imported",
        })
    }
}

impl fmt::Display for Go {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uncounted => "no count keeps it",
            Self::Old => "older than max-age",
            Self::Large => "past max-bytes",
        })
    }
}

/// The fate of each candidate, in their order. `now` is seconds since 1970.
#[must_use]
pub fn retain(keep: &SnapshotKeep, now: i64, candidates: &[Candidate<'_>]) -> Vec<Fate> {
    if keep.is_everything() {
        return vec![Fate::Stays(vec![Stay::NoKeep]); candidates.len()];
    }
    let mut newest_first: Vec<usize> = (0..candidates.len()).collect();
    newest_first.sort_by_key(|&index| {
        let one = &candidates[index];
        std::cmp::Reverse((one.time, one.number, one.netns, one.detail))
    });
    let mut reasons = vec![Vec::new(); candidates.len()];
    let mut series: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for &index in &newest_first {
        let one = &candidates[index];
        series
            .entry((one.netns, one.detail))
            .or_default()
            .push(index);
    }
    for members in series.values() {
        reasons[members[0]].push(Stay::Newest);
        count(keep, candidates, members, &mut reasons);
    }
    let mut fates: Vec<Fate> = reasons.into_iter().map(fate).collect();
    if let Some(&newest) = newest_first.first() {
        limit_age(keep, now, candidates, newest, &mut fates);
    }
    limit_bytes(keep, candidates, &newest_first, &mut fates);
    fates
}

fn fate(mut reasons: Vec<Stay>) -> Fate {
    if reasons.is_empty() {
        return Fate::Goes(Go::Uncounted);
    }
    reasons.sort_unstable();
    Fate::Stays(reasons)
}

/// The hour, day, week or month that a time lies in.
type Period = fn(&DateTime<Utc>) -> (i32, u32, u32);

/// Adds what the counts keep of one series, which is the newest first.
fn count(
    keep: &SnapshotKeep,
    candidates: &[Candidate<'_>],
    series: &[usize],
    reasons: &mut [Vec<Stay>],
) {
    if keep.counts().next().is_none() {
        for &index in series {
            reasons[index].push(Stay::Within);
        }
        return;
    }
    let wanted = |count: Option<u64>| usize::try_from(count.unwrap_or(0)).unwrap_or(usize::MAX);
    for &index in series.iter().take(wanted(keep.last)) {
        reasons[index].push(Stay::Last);
    }
    let calendar: [(Option<u64>, Stay, Period); 4] = [
        (keep.hourly, Stay::Hourly, |at| {
            (at.year(), at.ordinal(), at.hour())
        }),
        (keep.daily, Stay::Daily, |at| (at.year(), at.ordinal(), 0)),
        (keep.weekly, Stay::Weekly, |at| {
            let week = at.iso_week();
            (week.year(), week.week(), 0)
        }),
        (keep.monthly, Stay::Monthly, |at| (at.year(), at.month(), 0)),
    ];
    for (count, stay, period_of) in calendar {
        let mut periods = HashSet::new();
        for &index in series {
            if periods.len() >= wanted(count) {
                break;
            }
            let Some(at) = DateTime::from_timestamp(candidates[index].time, 0) else {
                continue;
            };
            if periods.insert(period_of(&at)) {
                reasons[index].push(stay);
            }
        }
    }
}

/// `newest` has the index of the one that stays whatever its age.
fn limit_age(
    keep: &SnapshotKeep,
    now: i64,
    candidates: &[Candidate<'_>],
    newest: usize,
    fates: &mut [Fate],
) {
    let Some(max_age) = keep.max_age else {
        return;
    };
    let max_age = i64::try_from(max_age.0).unwrap_or(i64::MAX);
    for (index, (one, fate)) in candidates.iter().zip(fates).enumerate() {
        if now.saturating_sub(one.time) > max_age && index != newest {
            *fate = Fate::Goes(Go::Old);
        }
    }
}

/// The first of `newest_first` stays whatever its size.
fn limit_bytes(
    keep: &SnapshotKeep,
    candidates: &[Candidate<'_>],
    newest_first: &[usize],
    fates: &mut [Fate],
) {
    let Some(max_bytes) = keep.max_bytes else {
        return;
    };
    let mut bytes = 0_u64;
    let mut is_full = false;
    for (place, &index) in newest_first.iter().enumerate() {
        if matches!(fates[index], Fate::Goes(_)) {
            continue;
        }
        bytes = bytes.saturating_add(candidates[index].bytes);
        // A small old one does not outlive a large newer one.
        is_full |= bytes > max_bytes;
        if is_full && place > 0 {
            fates[index] = Fate::Goes(Go::Large);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Seconds;

    const HOUR: i64 = 3600;
    /// 2026-01-31T12:00:00Z, a Saturday.
    const NOW: i64 = 1_769_860_800;

    fn at(time: i64) -> Candidate<'static> {
        Candidate {
            time,
            number: 1,
            netns: "init",
            detail: Detail::Aggregate,
            bytes: 10,
        }
    }

    fn stays(keep: SnapshotKeep, candidates: &[Candidate<'_>]) -> Vec<bool> {
        (retain(&keep, NOW, candidates).iter())
            .map(|fate| matches!(fate, Fate::Stays(_)))
            .collect()
    }

    #[test]
    fn without_keep_everything_stays() {
        let keep = SnapshotKeep::default();
        assert_eq!(stays(keep, &[at(0), at(NOW)]), [true, true]);
    }

    #[test]
    fn each_count_keeps_the_newest_of_its_periods() {
        let keep = SnapshotKeep {
            last: Some(1),
            hourly: Some(2),
            daily: Some(2),
            ..SnapshotKeep::default()
        };
        let times = [0, -1, -HOUR, -HOUR - 1, -13 * HOUR, -14 * HOUR, -50 * HOUR];
        let fates = retain(&keep, NOW, &times.map(|ago| at(NOW + ago)));
        let goes = Fate::Goes(Go::Uncounted);
        assert_eq!(
            fates,
            [
                Fate::Stays(vec![Stay::Newest, Stay::Last, Stay::Hourly, Stay::Daily]),
                // In the hour from 11 to 12, as the next two.
                Fate::Stays(vec![Stay::Hourly]),
                goes.clone(),
                goes.clone(),
                Fate::Stays(vec![Stay::Daily]),
                goes.clone(),
                goes,
            ]
        );
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        let keep = SnapshotKeep {
            weekly: Some(2),
            monthly: Some(1),
            ..SnapshotKeep::default()
        };
        let day = 24 * HOUR;
        // Sunday before Monday 26 January, Monday, Saturday.
        let fates = stays(keep, &[at(NOW - 6 * day), at(NOW - 5 * day), at(NOW)]);
        assert_eq!(fates, [true, false, true]);
    }

    #[test]
    fn namespaces_and_details_are_counted_on_their_own() {
        let keep = SnapshotKeep {
            last: Some(1),
            ..SnapshotKeep::default()
        };
        let full = Candidate {
            detail: Detail::Full,
            ..at(NOW - 9 * HOUR)
        };
        let other = Candidate {
            netns: "blue",
            ..at(NOW - 10 * HOUR)
        };
        let candidates = [at(NOW - HOUR), full, other, at(NOW)];
        assert_eq!(stays(keep, &candidates), [false, true, true, true]);
    }

    #[test]
    fn age_wins_over_counts_and_bytes_win_over_both() {
        let keep = SnapshotKeep {
            last: Some(9),
            max_age: Some(Seconds(3600)),
            ..SnapshotKeep::default()
        };
        let candidates = [at(NOW - 2 * HOUR), at(NOW - HOUR), at(NOW)];
        assert_eq!(stays(keep, &candidates), [false, true, true]);
        let keep = SnapshotKeep {
            max_bytes: Some(15),
            ..keep
        };
        assert_eq!(retain(&keep, NOW, &candidates)[1], Fate::Goes(Go::Large));
        assert_eq!(stays(keep, &candidates), [false, false, true]);
    }

    #[test]
    fn the_newest_stays_whatever_its_age_and_size() {
        let keep = SnapshotKeep {
            max_age: Some(Seconds(1)),
            max_bytes: Some(1),
            ..SnapshotKeep::default()
        };
        assert_eq!(stays(keep, &[at(NOW - 9 * HOUR), at(0)]), [true, false]);
    }

    #[test]
    fn what_comes_from_the_future_is_not_old() {
        let keep = SnapshotKeep {
            max_age: Some(Seconds(3600)),
            ..SnapshotKeep::default()
        };
        assert_eq!(
            stays(keep, &[at(NOW + HOUR), at(NOW + 2 * HOUR)]),
            [true, true]
        );
    }

    fn keep() -> impl Strategy<Value = SnapshotKeep> {
        let count = || prop::option::of(0..5_u64);
        (
            (count(), count(), count(), count(), count()),
            prop::option::of((1..2_000_000_u64).prop_map(Seconds)),
            prop::option::of(1..400_u64),
        )
            .prop_map(
                |((last, hourly, daily, weekly, monthly), max_age, max_bytes)| SnapshotKeep {
                    last,
                    hourly,
                    daily,
                    weekly,
                    monthly,
                    max_age,
                    max_bytes,
                },
            )
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate<'static>>> {
        let one = (
            NOW - 5_000_000..NOW,
            1..3_u32,
            prop::sample::select(vec!["init", "blue"]),
            any::<bool>(),
            1..60_u64,
        );
        let one = one.prop_map(|(time, number, netns, full, bytes)| Candidate {
            time,
            number,
            netns,
            detail: if full {
                Detail::Full
            } else {
                Detail::Aggregate
            },
            bytes,
        });
        prop::collection::vec(one, 0..40)
    }

    proptest! {
        #[test]
        fn what_stayed_stays_when_asked_again_and_the_limits_hold(
            keep in keep(),
            candidates in candidates(),
        ) {
            let fates = retain(&keep, NOW, &candidates);
            let left: Vec<_> = (candidates.iter().zip(&fates))
                .filter(|(_, fate)| matches!(fate, Fate::Stays(_)))
                .map(|(one, _)| *one)
                .collect();
            prop_assert!(stays(keep, &left).iter().all(|stays| *stays));
            let newest = left.iter().max_by_key(|one| (one.time, one.number));
            if let Some(max) = keep.max_bytes {
                let bytes: u64 = left.iter().map(|one| one.bytes).sum();
                prop_assert!(bytes <= max || left.len() == 1);
            }
            if let Some(max) = keep.max_age {
                let old = |one: &&Candidate<'_>| NOW - one.time > i64::try_from(max.0).unwrap();
                prop_assert!(left.iter().filter(old).all(|one| Some(one) == newest));
            }
            prop_assert_eq!(candidates.is_empty(), left.is_empty());
            // Each namespace and detail that had one still has one, within the limits.
            if keep.max_bytes.is_some() || keep.max_age.is_some() {
                return Ok(());
            }
            let series = |all: &[Candidate<'static>]| -> HashSet<_> {
                all.iter().map(|one| (one.netns, one.detail)).collect()
            };
            prop_assert_eq!(series(&candidates), series(&left));
        }
    }
}
