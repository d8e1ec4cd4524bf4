//! Whether a snapshot is due.

use crate::observe::Trigger;
use crate::policy::{Detail, OnPressure, Percent, SnapshotSettings};

/// A snapshot that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// What it holds.
    pub detail: Detail,
    /// Why it is due.
    pub trigger: Trigger,
}

/// What was taken of this namespace before, seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// The newest readable snapshot.
    pub newest: Option<i64>,
    /// The newest that was taken because of pressure.
    pub newest_of_pressure: Option<i64>,
}

/// How full the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Entries.
    pub count: u64,
    /// `nf_conntrack_max`; 0 is no limit.
    pub max: u64,
}

/// Whether a snapshot is due now. Pressure goes before the interval: what is taken because of it
/// says more, and counts as the interval's too.
///
/// An interval is over when 0.9 of it have passed, so that a timer that fires a little early does
/// not skip every other one. What seems to have been taken in the future (the clock was set back)
/// holds nothing up.
#[must_use]
pub fn snapshot_due(
    settings: &SnapshotSettings,
    now: i64,
    past: Past,
    fill: Option<Fill>,
) -> Option<Due> {
    let since = |then: Option<i64>| {
        then.and_then(|then| u64::try_from(now.saturating_sub(then)).ok())
            .unwrap_or(u64::MAX)
    };
    if let Some(pressure) = &settings.on_pressure
        && fill.is_some_and(|fill| is_pressed(pressure, fill))
        && since(past.newest_of_pressure) >= pressure.again_after.0
    {
        return Some(Due {
            detail: pressure.detail,
            trigger: Trigger::Pressure,
        });
    }
    let every = settings.every?.0;
    (u128::from(since(past.newest)) * 10 >= u128::from(every) * 9).then_some(Due {
        detail: settings.detail,
        trigger: Trigger::Interval,
    })
}

fn is_pressed(pressure: &OnPressure, fill: Fill) -> bool {
    let share = u128::from(fill.count) * u128::from(Percent::ALL.0);
    fill.max > 0 && share > u128::from(fill.max) * u128::from(pressure.above.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Seconds;

    const NOW: i64 = 1_769_860_800;

    fn settings() -> SnapshotSettings {
        SnapshotSettings {
            every: Some(Seconds(900)),
            on_pressure: Some(OnPressure {
                above: Percent(9000),
                again_after: Seconds(600),
                detail: Detail::Full,
            }),
            ..SnapshotSettings::default()
        }
    }

    fn fill(count: u64) -> Fill {
        Fill { count, max: 1000 }
    }

    fn newest(ago: i64) -> Past {
        Past {
            newest: Some(NOW - ago),
            newest_of_pressure: None,
        }
    }

    const INTERVAL: Due = Due {
        detail: Detail::Aggregate,
        trigger: Trigger::Interval,
    };
    const PRESSURE: Due = Due {
        detail: Detail::Full,
        trigger: Trigger::Pressure,
    };

    #[test]
    fn an_interval_is_over_when_nine_tenths_have_passed() {
        let due = |past| snapshot_due(&settings(), NOW, past, Some(fill(100)));
        assert_eq!(due(Past::default()), Some(INTERVAL));
        assert_eq!(due(newest(810)), Some(INTERVAL));
        assert_eq!(due(newest(809)), None);
        assert_eq!(due(newest(-5000)), Some(INTERVAL), "the clock was set back");
    }

    #[test]
    fn pressure_asks_again_only_after_a_while() {
        let due = |past, count| snapshot_due(&settings(), NOW, past, Some(fill(count)));
        assert_eq!(due(newest(10), 900), None, "at the share, not above it");
        assert_eq!(due(newest(10), 901), Some(PRESSURE));
        let pressed = |ago| Past {
            newest_of_pressure: Some(NOW - ago),
            ..newest(ago)
        };
        assert_eq!(due(pressed(599), 999), None);
        assert_eq!(due(pressed(600), 999), Some(PRESSURE));
        assert_eq!(
            due(pressed(-1), 999),
            Some(PRESSURE),
            "the clock was set back"
        );
    }

    #[test]
    fn nothing_is_due_that_nobody_asked_for() {
        let none = SnapshotSettings::default();
        assert_eq!(
            snapshot_due(&none, NOW, Past::default(), Some(fill(1000))),
            None
        );
        let pressure = SnapshotSettings {
            every: None,
            ..settings()
        };
        assert_eq!(snapshot_due(&pressure, NOW, Past::default(), None), None);
        let unlimited = Some(Fill { count: 9, max: 0 });
        assert_eq!(
            snapshot_due(&pressure, NOW, Past::default(), unlimited),
            None
        );
    }
}
