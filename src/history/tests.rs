//! What is recorded, and that forgetting can only prove less.

use super::*;
use crate::observe::Header;
use crate::policy::Seconds;
use crate::tunable::Governing;
use proptest::prelude::*;

const S: u64 = 1_000_000_000;
const UDP: &str = "nf_conntrack_udp_timeout";

fn values(history: &History) -> Vec<(u64, u32)> {
    let list = history.timeouts.get(UDP).into_iter().flatten();
    list.map(|o| (o.at_ns / S, o.value)).collect()
}

#[test]
fn an_unchanged_timeout_keeps_the_time_when_it_was_first_seen() {
    let mut history = History::default();
    for (at, value) in [(1, 30), (2, 30), (3, 60), (4, 60), (5, 30)] {
        history.record_timeout(UDP, at * S, value);
    }
    assert_eq!(values(&history), [(1, 30), (3, 60), (5, 30)]);
}

#[test]
fn a_run_records_the_timeouts_and_clocks_that_it_read() {
    let mut header = crate::observe::Header {
        time_ns: 100 * S,
        uptime_ns: 40 * S,
        ..Default::default()
    };
    for (name, value) in [
        (UDP, Some("30")),
        ("nf_conntrack_max", Some("5")),
        ("other", None),
    ] {
        let reading = crate::observe::Reading {
            value: value.map(str::to_owned),
            writable: false,
            error: None,
        };
        header.tunables.insert(name.to_owned(), reading);
    }
    let mut history = History::default();
    history.record(&header);
    assert_eq!(values(&history), [(40, 30)]);
    assert_eq!(history.timeouts.len(), 1);
    assert_eq!(history.clock.len(), 1);
    assert_eq!(history.clock[0].offset_ns, 60_000_000_000);
}

#[test]
fn a_clock_offset_is_recorded_when_it_differs() {
    let mut history = History::default();
    for (at, wall) in [(1, 101), (2, 102), (3, 203), (4, 204)] {
        history.record_clock(wall * S, at * S);
    }
    let seen: Vec<u64> = history.clock.iter().map(|c| c.at_ns / S).collect();
    assert_eq!(seen, [1, 3]);
}

#[test]
fn pruning_keeps_the_value_in_force_at_the_begin_of_the_longest_window() {
    let mut history = History::default();
    for (at, value) in [(10, 1), (20, 2), (30, 3), (100, 4)] {
        history.record_timeout(UDP, at * S, value);
    }
    history.prune(135 * S, Seconds(100));
    assert_eq!(values(&history), [(30, 3), (100, 4)]);
}

#[test]
fn a_smaller_retime_does_not_hide_a_larger_one() {
    let mut history = History::default();
    let udp = Governing::Sysctl(UDP);
    for (at, seconds) in [(1, 50), (2, 100), (3, 60), (4, 60)] {
        history.record_retime(udp, at * S, seconds);
    }
    let list: Vec<_> = history
        .retimes
        .iter()
        .map(|r| (r.at_ns / S, r.seconds))
        .collect();
    assert_eq!(list, [(2, 100), (4, 60)]);
}

#[test]
fn a_retime_is_forgotten_when_its_entries_have_expired() {
    let mut history = History::default();
    history.record_retime(Governing::Sysctl(UDP), 10 * S, 30);
    history.prune(40 * S, Seconds(1));
    assert_eq!(history.retimes.len(), 1);
    history.prune(42 * S, Seconds(1));
    assert!(history.retimes.is_empty());
}

/// The lowest value since a time, as a history tells it.
fn lowest(history: &History, since: u64) -> Option<u32> {
    let list = history.timeouts.get(UDP)?;
    let in_force = list.iter().rposition(|o| o.at_ns <= since)?;
    list[in_force..].iter().map(|o| o.value).min()
}

/// The largest retime since a time.
fn largest(history: &History, since: u64) -> Option<u32> {
    let list = history.retimes.iter();
    list.filter(|r| r.at_ns >= since).map(|r| r.seconds).max()
}

proptest! {
    #[test]
    fn pruning_is_bounded_and_proves_nothing_that_was_not_proven(
        steps in prop::collection::vec((1..50_u64, 1..200_u32, 1..5000_u32), 0..300),
        window in 1..8000_u64,
        probe in 0..8000_u64,
    ) {
        let mut whole = History::default();
        let mut pruned = History::default();
        let mut now = 0;
        for (gap, value, seconds) in steps {
            now += gap * S;
            for history in [&mut whole, &mut pruned] {
                history.record_timeout(UDP, now, value);
                history.record_clock(now + u64::from(value) * S, now);
                history.record_retime(Governing::Sysctl(UDP), now, seconds);
            }
            pruned.prune(now, Seconds(window));
        }
        prop_assert!(values(&pruned).len() <= LONGEST_RECORD);
        prop_assert!(pruned.retimes.len() <= LONGEST_RECORD);
        prop_assert!(pruned.clock.len() <= LONGEST_RECORD);
        let since = now.saturating_sub(probe * S);
        if let Some(by_pruned) = lowest(&pruned, since) {
            prop_assert!(Some(by_pruned) <= lowest(&whole, since));
        }
        // Entries that a retime left with time to spare are still told of.
        let alive = |r: &Retime| r.at_ns + u64::from(r.seconds) * S >= now;
        if whole.retimes.iter().any(|r| alive(r) && r.at_ns >= since) {
            let mut living = whole.clone();
            living.retimes.retain(alive);
            prop_assert!(largest(&pruned, since) >= largest(&living, since));
        }
    }
}

#[test]
fn objects_that_are_gone_may_have_been_there_until_they_were_missed() {
    let mut history = History::default();
    let mut look = |at_ns, protocols: &[u8]| {
        let header = Header {
            uptime_ns: at_ns,
            ct_timeout_protocols: Some(protocols.to_vec()),
            ..Header::default()
        };
        history.record(&header);
        history.ct_timeouts.get(&6).copied()
    };
    let seen = |until_ns, present| Some(CtTimeoutSeen { until_ns, present });
    assert_eq!(look(10, &[]), None);
    assert_eq!(look(20, &[6]), seen(20, true));
    assert_eq!(look(30, &[6]), seen(30, true));
    assert_eq!(look(40, &[]), seen(40, false));
    assert_eq!(look(50, &[]), seen(40, false));
}
