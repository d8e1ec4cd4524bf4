//! Groups in the order in which they are shown, with their growth.

use std::cmp::Ordering;

use super::look::Counts;

/// Groups that are listed at most.
pub(super) const ROWS: usize = 1000;

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// The most flows.
    #[default]
    Flows,
    /// The most growth since the last look.
    Last,
    /// The most growth since the start.
    Start,
    /// The lowest key.
    Key,
}

impl Sort {
    pub(super) const ALL: [Self; 4] = [Self::Flows, Self::Last, Self::Start, Self::Key];
}

/// A group as it is shown. A growth is `None` where the count before is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Encoded key.
    pub(super) key: Box<[u8]>,
    pub(super) flows: u64,
    pub(super) last: Option<i64>,
    pub(super) start: Option<i64>,
}

/// The difference of two counts.
pub(super) fn growth(before: u64, now: u64) -> i64 {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    if now >= before {
        signed(now - before)
    } else {
        -signed(before - now)
    }
}

/// The first groups, at most [`ROWS`].
pub(super) fn rank(
    now: &Counts,
    before: Option<&Counts>,
    start: Option<&Counts>,
    sort: Sort,
    reversed: bool,
) -> Vec<Row> {
    struct Borrowed<'a>(&'a [u8], u64, Option<i64>, Option<i64>);
    let mut rows: Vec<_> = now
        .groups
        .iter()
        .map(|(key, &flows)| {
            let since = |then: Option<&Counts>| Some(growth(then?.of(key)?, flows));
            Borrowed(key, flows, since(before), since(start))
        })
        .collect();
    let compare = |a: &Borrowed<'_>, b: &Borrowed<'_>| {
        let first = match sort {
            Sort::Flows => b.1.cmp(&a.1),
            Sort::Last => b.2.cmp(&a.2).then(b.1.cmp(&a.1)),
            Sort::Start => b.3.cmp(&a.3).then(b.1.cmp(&a.1)),
            Sort::Key => Ordering::Equal,
        };
        let first = first.then_with(|| a.0.cmp(b.0));
        if reversed { first.reverse() } else { first }
    };
    if rows.len() > ROWS {
        rows.select_nth_unstable_by(ROWS, compare);
        rows.truncate(ROWS);
    }
    rows.sort_unstable_by(compare);
    rows.into_iter()
        .map(|Borrowed(key, flows, last, start)| Row {
            key: key.into(),
            flows,
            last,
            start,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(groups: &[(&str, u64)]) -> Counts {
        let mut counts = Counts::default();
        for (key, flows) in groups {
            *counts.groups.of(key.as_bytes()) = *flows;
        }
        counts
    }

    fn keys(rows: &[Row]) -> Vec<&str> {
        let keys = rows.iter().map(|row| std::str::from_utf8(&row.key));
        keys.map(Result::unwrap).collect()
    }

    #[test]
    fn every_sort_has_its_own_first() {
        let start = counts(&[("a", 1), ("b", 9), ("c", 5)]);
        let before = counts(&[("a", 8), ("b", 9), ("c", 1)]);
        let now = counts(&[("a", 8), ("b", 10), ("c", 6)]);
        let by = |sort, reversed| rank(&now, Some(&before), Some(&start), sort, reversed);
        assert_eq!(keys(&by(Sort::Flows, false)), ["b", "a", "c"]);
        assert_eq!(keys(&by(Sort::Last, false)), ["c", "b", "a"]);
        assert_eq!(keys(&by(Sort::Start, false)), ["a", "b", "c"]);
        assert_eq!(keys(&by(Sort::Key, true)), ["c", "b", "a"]);
        let c = &by(Sort::Last, false)[0];
        assert_eq!((c.flows, c.last, c.start), (6, Some(5), Some(1)));
    }

    #[test]
    fn what_was_not_kept_apart_then_has_no_growth() {
        let now = counts(&[("a", 8)]);
        let mut before = Counts::default();
        assert_eq!(
            rank(&now, Some(&before), None, Sort::Flows, false)[0].last,
            Some(8)
        );
        before.beyond = 1;
        let row = &rank(&now, Some(&before), None, Sort::Flows, false)[0];
        assert_eq!((row.last, row.start), (None, None));
    }

    #[test]
    fn only_the_first_are_listed() {
        let now: Vec<_> = (0..3000).map(|n| (format!("{n:04}"), n)).collect();
        let now: Vec<_> = now.iter().map(|(key, n)| (key.as_str(), *n)).collect();
        let rows = rank(&counts(&now), None, None, Sort::Flows, false);
        assert_eq!(
            (rows.len(), rows[0].flows, rows[999].flows),
            (ROWS, 2999, 2000)
        );
    }
}
