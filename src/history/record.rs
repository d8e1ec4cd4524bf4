//! What a run adds to the history, and how little of it is kept.

use super::{ClockOffset, CtTimeoutSeen, History, Observation, Retime};
use crate::observe::Header;
use crate::policy::Seconds;
use crate::tunable::{Governing, Home, TUNABLES};

/// Most observations of one timeout, retimes of one timeout, and clock offsets.
pub const LONGEST_RECORD: usize = 64;

/// A smaller change of the clock's offset is the distance of two readings, or slewing.
const SEEN_TO_DIFFER_NS: u64 = 100_000_000;

impl History {
    /// Records the timeouts, clocks and addresses that a run read.
    pub fn record(&mut self, header: &Header) {
        for tunable in TUNABLES {
            let value = header.number(tunable.name).map(u32::try_from);
            if let (Home::Timeouts(_), Some(Ok(value))) = (tunable.home, value) {
                self.record_timeout(tunable.name, header.uptime_ns, value);
            }
        }
        self.record_ct_timeouts(header);
        self.record_clock(header.time_ns, header.uptime_ns);
        self.record_addresses(header);
    }

    /// Records for which protocols `ct timeout` objects exist, or existed until now.
    fn record_ct_timeouts(&mut self, header: &Header) {
        let Some(protocols) = &header.ct_timeout_protocols else {
            return;
        };
        for (protocol, seen) in &mut self.ct_timeouts {
            if seen.present {
                seen.until_ns = header.uptime_ns;
                seen.present = protocols.contains(protocol);
            }
        }
        for &protocol in protocols {
            let seen = CtTimeoutSeen {
                until_ns: header.uptime_ns,
                present: true,
            };
            self.ct_timeouts.insert(protocol, seen);
        }
    }

    /// Records a timeout's value in seconds, read or written at a time since boot.
    pub fn record_timeout(&mut self, name: &str, at_ns: u64, seconds: u32) {
        let new = Observation {
            at_ns,
            value: seconds,
        };
        match self.timeouts.get_mut(name) {
            Some(list) if list.last().is_some_and(|last| last.value == seconds) => {}
            Some(list) => list.push(new),
            None => {
                self.timeouts.insert(name.to_owned(), vec![new]);
            }
        }
    }

    /// Records that the remaining time of entries was set, to at most `seconds`.
    pub fn record_retime(&mut self, timeout: Governing, at_ns: u64, seconds: u32) {
        let name = timeout.name();
        // An earlier one that wrote no more is told by this one as long as it matters.
        self.retimes
            .retain(|earlier| earlier.timeout != name || earlier.seconds > seconds);
        self.retimes.push(Retime {
            at_ns,
            timeout: name.to_owned(),
            seconds,
        });
    }

    /// Records the clock's offset if it is not the one last seen.
    pub fn record_clock(&mut self, time_ns: u64, uptime_ns: u64) {
        let offset = i128::from(time_ns) - i128::from(uptime_ns);
        let Ok(offset_ns) = i64::try_from(offset) else {
            return;
        };
        let known = self
            .clock
            .last()
            .is_some_and(|last| last.offset_ns.abs_diff(offset_ns) < SEEN_TO_DIFFER_NS);
        if !known {
            self.clock.push(ClockOffset {
                at_ns: uptime_ns,
                offset_ns,
            });
        }
    }

    /// Forgets what no later run can need: values out of force for longer than the longest window,
    /// and retimes whose entries have expired or were refreshed since.
    ///
    /// Where more is left than [`LONGEST_RECORD`], the oldest two become one that proves less.
    pub fn prune(&mut self, now_ns: u64, longest: Seconds) {
        let since = now_ns.saturating_sub(nanoseconds(longest.0));
        for list in self.timeouts.values_mut() {
            list.dedup_by_key(|observation| observation.value);
            let later = list.partition_point(|observation| observation.at_ns <= since);
            list.drain(..later.saturating_sub(1));
            while list.len() > LONGEST_RECORD {
                let second = list.remove(1);
                list[0].value = list[0].value.min(second.value);
            }
        }
        self.timeouts.retain(|_, list| !list.is_empty());
        self.ct_timeouts
            .retain(|_, seen| seen.present || seen.until_ns >= since);
        self.prune_addresses(since);
        self.prune_retimes(now_ns);
        let surplus = self.clock.len().saturating_sub(LONGEST_RECORD);
        self.clock.drain(..surplus);
    }

    fn prune_retimes(&mut self, now_ns: u64) {
        // The kernel counts in ticks and rounds down; a second is more than both.
        self.retimes.retain(|retime| {
            now_ns
                <= retime
                    .at_ns
                    .saturating_add(nanoseconds(u64::from(retime.seconds) + 1))
        });
        let mut kept: Vec<Retime> = Vec::with_capacity(self.retimes.len());
        for retime in self.retimes.drain(..).rev() {
            let same = kept.iter().filter(|k| k.timeout == retime.timeout).count();
            if same < LONGEST_RECORD {
                kept.push(retime);
            } else if let Some(oldest) = kept.iter_mut().rfind(|k| k.timeout == retime.timeout) {
                oldest.seconds = oldest.seconds.max(retime.seconds);
            }
        }
        kept.reverse();
        self.retimes = kept;
    }
}

fn nanoseconds(seconds: u64) -> u64 {
    seconds.saturating_mul(1_000_000_000)
}
