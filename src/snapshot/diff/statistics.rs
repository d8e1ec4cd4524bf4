//! What the kernel's counters did between two observations, and what that means.

use schemars::JsonSchema;
use serde::Serialize;

use super::relation::Relation;
use crate::observe::{CpuStatistics, Header};

/// The counters of all processors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Statistics {
    /// Why there are no deltas; null where there are.
    pub incomparable: Option<String>,
    /// Processors that only one of the two has; what they counted is left out.
    pub left_out: Vec<u16>,
    /// Each counter, the gravest first.
    pub counters: Vec<CounterChange>,
}

/// How grave it is that a counter moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Packets or flows of users were lost.
    Loss,
    /// Packets may have been lost.
    Doubt,
    /// Only worth knowing.
    Note,
}

/// One counter, summed over processors.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CounterChange {
    /// Its name, as the kernel calls it.
    pub name: &'static str,
    /// Sum over processors, before.
    pub before: u64,
    /// Sum over processors, after.
    pub after: u64,
    /// What was counted in between; null where that cannot be told.
    pub delta: Option<u64>,
    /// The same a second; null where that cannot be told.
    pub per_second: Option<f64>,
    /// The counter of a processor passed 2^32 and began at 0 again; the delta allows for that once.
    pub wrapped: bool,
    /// What each processor counted, where that is not 0.
    pub cpus: Vec<CpuDelta>,
    /// How grave it is that it moved.
    pub weight: Weight,
    /// What it counts.
    pub meaning: &'static str,
    /// What to do where it moves; null where nothing is to be done.
    pub advice: Option<&'static str>,
}

/// What one processor counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CpuDelta {
    /// Its number.
    pub cpu: u16,
    /// What it counted.
    pub delta: u64,
}

/// A counter of each processor.
pub(crate) struct Counter {
    /// Its name, as the kernel calls it.
    pub(crate) name: &'static str,
    /// What a processor counted.
    pub(crate) value: fn(&CpuStatistics) -> u32,
    /// How grave it is that it moves.
    pub(crate) weight: Weight,
    /// What it counts.
    pub(crate) meaning: &'static str,
    /// What to do where it moves.
    pub(crate) advice: Option<&'static str>,
}

/// By gravity. What each counts is as of Linux 5.10 to 6.18.
pub(crate) const COUNTERS: [Counter; 10] = [
    Counter {
        name: "drop",
        value: |cpu| cpu.drop,
        weight: Weight::Loss,
        meaning: "packets of new flows were dropped: the table was full and nothing could be thrown out, or memory was short",
        advice: Some(
            "raise table.max, or age what the top growers hold: shorter timeouts, a rule under pressure",
        ),
    },
    Counter {
        name: "early_drop",
        value: |cpu| cpu.early_drop,
        weight: Weight::Loss,
        meaning: "flows that were not assured were thrown out to make room: the table was full",
        advice: Some(
            "raise table.max, or shorten the timeouts of what is unreplied and closing before the kernel picks at random",
        ),
    },
    Counter {
        name: "chain_toolong",
        value: |cpu| cpu.chain_toolong,
        weight: Weight::Loss,
        meaning: "new flows were refused because their hash chain was too long: too few buckets for this table",
        advice: Some(
            "set table.buckets = \"auto\", which follows max; with enough buckets somebody is aiming at the hash",
        ),
    },
    Counter {
        name: "insert_failed",
        value: |cpu| cpu.insert_failed,
        weight: Weight::Doubt,
        meaning: "a packet was dropped because another one had just made the same flow or taken its port: DNS that hangs for 5 s is this",
        advice: Some(
            "no cleaning helps: notrack for local DNS, a caching resolver, fully-random on masquerade and snat",
        ),
    },
    Counter {
        name: "error",
        value: |cpu| cpu.error,
        weight: Weight::Note,
        meaning: "packets had broken headers or were ICMP errors that fit nothing",
        advice: Some("a few are the Internet; many are a scanner, or a broken device"),
    },
    Counter {
        name: "invalid",
        value: |cpu| cpu.invalid,
        weight: Weight::Note,
        meaning: "packets fitted no flow: outside the TCP window, with a wrong checksum, or of a flow that the table had lost",
        advice: Some(
            "set nf_conntrack_log_invalid to see them; look for asymmetric routes, and for flows deleted while they lived",
        ),
    },
    Counter {
        name: "clash_resolve",
        value: |cpu| cpu.clash_resolve,
        weight: Weight::Note,
        meaning: "two packets made the same flow at once, and both were kept",
        advice: None,
    },
    Counter {
        name: "search_restart",
        value: |cpu| cpu.search_restart,
        weight: Weight::Note,
        meaning: "lookups began anew because entries moved beneath them: it costs time, and loses nothing",
        advice: Some("where it climbs with the load, the hash has too few buckets"),
    },
    Counter {
        name: "found",
        value: |cpu| cpu.found,
        weight: Weight::Note,
        meaning: "NAT looked for a free tuple and found it taken",
        advice: Some(
            "where it climbs, a translated address runs out of ports: use more addresses, or shorter timeouts",
        ),
    },
    Counter {
        name: "insert",
        value: |cpu| cpu.insert,
        weight: Weight::Note,
        meaning: "entries were made by a program or by a resolved clash, not by a packet alone",
        advice: None,
    },
];

impl Statistics {
    pub(super) fn between(
        relation: Relation,
        seconds: f64,
        before: &Header,
        after: &Header,
    ) -> Self {
        let why = incomparable(relation, seconds, before, after);
        let pairs: Vec<(&CpuStatistics, &CpuStatistics)> = (after.cpu.iter())
            .filter_map(|new| Some((before.cpu.iter().find(|old| old.cpu == new.cpu)?, new)))
            .collect();
        let paired = |cpu: u16| pairs.iter().any(|(old, _)| old.cpu == cpu);
        let mut left_out: Vec<u16> = (before.cpu.iter().chain(&after.cpu))
            .map(|one| one.cpu)
            .filter(|cpu| !paired(*cpu))
            .collect();
        left_out.sort_unstable();
        left_out.dedup();
        let counters = COUNTERS.iter().map(|counter| {
            let sum = |header: &Header| {
                header
                    .cpu
                    .iter()
                    .map(|cpu| u64::from((counter.value)(cpu)))
                    .sum()
            };
            let mut change = CounterChange {
                name: counter.name,
                before: sum(before),
                after: sum(after),
                delta: None,
                per_second: None,
                wrapped: false,
                cpus: Vec::new(),
                weight: counter.weight,
                meaning: counter.meaning,
                advice: counter.advice,
            };
            if why.is_none() {
                change.count(&pairs, counter.value, seconds);
            }
            change
        });
        Self {
            counters: counters.collect(),
            left_out: if why.is_some() { Vec::new() } else { left_out },
            incomparable: why,
        }
    }

    /// Those that moved, or of which that cannot be told.
    pub fn moved(&self) -> impl Iterator<Item = &CounterChange> {
        self.counters
            .iter()
            .filter(|counter| counter.delta.is_some_and(|delta| delta > 0))
    }
}

impl CounterChange {
    fn count(
        &mut self,
        pairs: &[(&CpuStatistics, &CpuStatistics)],
        value: fn(&CpuStatistics) -> u32,
        seconds: f64,
    ) {
        let mut total = 0;
        for (old, new) in pairs {
            let (from, to) = (value(old), value(new));
            self.wrapped |= to < from;
            let delta = u64::from(to.wrapping_sub(from));
            total += delta;
            if delta > 0 {
                self.cpus.push(CpuDelta {
                    cpu: new.cpu,
                    delta,
                });
            }
        }
        self.delta = Some(total);
        if seconds > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "a rate needs three digits")]
            let rate = (total as f64 / seconds * 1000.0).round() / 1000.0;
            self.per_second = Some(rate);
        }
    }
}

/// Why counters of the two say nothing of what lies between.
fn incomparable(
    relation: Relation,
    seconds: f64,
    before: &Header,
    after: &Header,
) -> Option<String> {
    if before.cpu.is_empty() || after.cpu.is_empty() {
        return Some("one of the two recorded no counters".to_owned());
    }
    match relation {
        Relation::SameTable if seconds < 0.0 => {
            Some("the second was taken before the first".to_owned())
        }
        Relation::SameTable if restarted(before, after) => Some(
            "counters went down without passing 2^32: connection tracking was loaded anew in between"
                .to_owned(),
        ),
        Relation::SameTable => None,
        Relation::OtherBoot => Some("the machine was booted in between".to_owned()),
        Relation::OtherTable => Some("they are of two tables".to_owned()),
        Relation::Unknown => Some("it is not known whether they are of one boot".to_owned()),
    }
}

/// A counter that fell by less than half its range did not wrap: it began anew.
fn restarted(before: &Header, after: &Header) -> bool {
    after.cpu.iter().any(|new| {
        before
            .cpu
            .iter()
            .filter(|old| old.cpu == new.cpu)
            .any(|old| {
                COUNTERS.iter().any(|counter| {
                    let (from, to) = ((counter.value)(old), (counter.value)(new));
                    to < from && from - to <= u32::MAX / 2
                })
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(cpus: &[CpuStatistics]) -> Header {
        Header {
            cpu: cpus.to_vec(),
            ..Header::default()
        }
    }

    fn dropped(cpu: u16, drop: u32) -> CpuStatistics {
        CpuStatistics {
            cpu,
            drop,
            ..CpuStatistics::default()
        }
    }

    fn between(
        relation: Relation,
        before: &[CpuStatistics],
        after: &[CpuStatistics],
    ) -> (Statistics, CounterChange) {
        let statistics = Statistics::between(relation, 10.0, &header(before), &header(after));
        let drops = statistics.counters[0].clone();
        assert_eq!(drops.name, "drop");
        (statistics, drops)
    }

    #[test]
    fn deltas_are_summed_over_processors_and_have_a_rate() {
        let (statistics, drops) = between(
            Relation::SameTable,
            &[dropped(0, 5), dropped(1, 7)],
            &[dropped(0, 5), dropped(1, 32)],
        );
        assert_eq!((drops.before, drops.after), (12, 37));
        assert_eq!((drops.delta, drops.per_second), (Some(25), Some(2.5)));
        assert_eq!(drops.cpus, [CpuDelta { cpu: 1, delta: 25 }]);
        assert_eq!(statistics.moved().count(), 1);
    }

    #[test]
    fn a_counter_that_passed_its_range_went_on() {
        let near = u32::MAX - 4;
        let (_, drops) = between(Relation::SameTable, &[dropped(0, near)], &[dropped(0, 5)]);
        assert_eq!((drops.delta, drops.wrapped), (Some(10), true));
    }

    #[test]
    fn a_counter_that_began_anew_is_not_compared() {
        let (statistics, drops) =
            between(Relation::SameTable, &[dropped(0, 500)], &[dropped(0, 5)]);
        assert_eq!(drops.delta, None);
        assert!(statistics.incomparable.unwrap().contains("loaded anew"));
    }

    #[test]
    fn other_boots_and_tables_have_no_deltas() {
        for relation in [Relation::OtherBoot, Relation::OtherTable, Relation::Unknown] {
            let (statistics, drops) = between(relation, &[dropped(0, 1)], &[dropped(0, 5)]);
            assert_eq!(drops.delta, None);
            assert!(statistics.incomparable.is_some());
        }
    }

    #[test]
    fn a_processor_of_one_side_alone_is_left_out_and_named() {
        let (statistics, drops) = between(
            Relation::SameTable,
            &[dropped(0, 1), dropped(1, 1)],
            &[dropped(0, 2), dropped(2, 100)],
        );
        assert_eq!(drops.delta, Some(1));
        assert_eq!(statistics.left_out, [1, 2]);
    }
}
