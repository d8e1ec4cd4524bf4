//! One look at the table: what passes the filter, by class, protocol, state and group, and the
//! flows of one group.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use crate::flow::{Class, Flow, FlowKey, OwnedExtra, Protocol};
use crate::group::{By, PerGroup};
use crate::matcher::{Compiled, Grade, Truth};
use crate::observe::{CpuStatistics, Record, Visit};
use crate::policy::Predicate;

/// Groups that are kept apart at most. The table is hashed, so a group of many flows comes early
/// and is among them.
pub(super) const GROUPS: usize = 65_536;

/// Flows of a group that are shown at most.
pub(super) const FLOWS: usize = 500;

/// A dump may take this part of one core's time.
const PART: u32 = 4;

/// What a look is to see.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// Counts the changes of what is asked; the answer has it too.
    pub(super) version: u64,
    /// Which flows.
    pub(super) predicate: Predicate,
    /// Whether sets of the policy are named in it.
    pub(super) names_sets: bool,
    /// What makes a group.
    pub(super) by: By,
    /// The group whose flows are wanted.
    pub(super) within: Option<Box<[u8]>>,
    /// Which of its flows come first.
    pub(super) order: Order,
    /// The other way round.
    pub(super) reversed: bool,
    /// One flow by itself, whether it passes or not.
    pub(super) flow: Option<FlowKey>,
    /// How often to look.
    pub(super) every: Duration,
    /// Not to look until something else is asked.
    pub(super) paused: bool,
}

/// An entry of the table.
pub(super) type Entry = (Flow, OwnedExtra);

/// In which order flows are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// The longest left until it expires first; those without a timer last.
    #[default]
    Left,
    /// The most bytes first; those that are not counted last.
    Bytes,
    /// The most packets first; those that are not counted last.
    Packets,
    /// As keys are ordered: by address.
    Address,
}

impl Order {
    pub(super) const ALL: [Self; 4] = [Self::Left, Self::Bytes, Self::Packets, Self::Address];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Left => "time left",
            Self::Bytes => "bytes",
            Self::Packets => "packets",
            Self::Address => "address",
        }
    }

    fn compare(self, a: &Flow, b: &Flow) -> Ordering {
        let total = |flow: &Flow| flow.total();
        let first = match self {
            Self::Left => b.remaining().cmp(&a.remaining()),
            Self::Bytes => total(b).map(|t| t.bytes).cmp(&total(a).map(|t| t.bytes)),
            Self::Packets => total(b)
                .map(|t| t.packets)
                .cmp(&total(a).map(|t| t.packets)),
            Self::Address => Ordering::Equal,
        };
        first.then_with(|| a.key().cmp(&b.key()))
    }
}

/// How many flows each group has.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// By encoded key.
    pub(super) groups: PerGroup<u64>,
    /// Flows of the groups beyond [`GROUPS`].
    pub(super) beyond: u64,
}

impl Counts {
    /// Allocates only for groups not seen before.
    fn add(&mut self, key: &[u8]) {
        if self.groups.len() < GROUPS || self.groups.get(key).is_some() {
            *self.groups.of(key) += 1;
        } else {
            self.beyond += 1;
        }
    }

    /// A group's flows; `None` where it may be among those that were not kept apart.
    pub(super) fn of(&self, key: &[u8]) -> Option<u64> {
        let known = self.groups.get(key).copied();
        known.or((self.beyond == 0).then_some(0))
    }
}

/// What one walk of the table saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Flows that pass the filter.
    pub(super) passed: u64,
    /// Flows that do not tell whether they do.
    pub(super) doubtful: u64,
    /// Passing flows by [`Class`].
    pub(super) classes: [u64; Class::ALL.len()],
    /// Passing flows by protocol.
    pub(super) protocols: HashMap<Protocol, u64>,
    /// Passing flows by protocol and state, where they have one.
    pub(super) states: HashMap<(Protocol, u8), u64>,
    /// Passing flows by group.
    pub(super) groups: Counts,
    /// Flows of the group that was asked for.
    pub(super) within: u64,
    /// The first of them, at most [`FLOWS`].
    pub(super) flows: Vec<Entry>,
}

/// Counts while the table is walked.
pub(super) struct Walk<'a> {
    ask: &'a Ask,
    filter: &'a Compiled,
    key: Vec<u8>,
    seen: Seen,
}

impl<'a> Walk<'a> {
    pub(super) fn new(ask: &'a Ask, filter: &'a Compiled) -> Self {
        Self {
            ask,
            filter,
            key: Vec::new(),
            seen: Seen::default(),
        }
    }

    pub(super) fn finish(mut self) -> Seen {
        self.trim();
        let (order, reversed) = (self.ask.order, self.ask.reversed);
        let flows = &mut self.seen.flows;
        flows.sort_unstable_by(|a, b| compare(order, reversed, a, b));
        self.seen
    }

    fn keep(&mut self, record: &Record<'_>) {
        self.seen.within += 1;
        let entry = (record.flow, record.extra.to_owned());
        self.seen.flows.push(entry);
        if self.seen.flows.len() >= 2 * FLOWS {
            self.trim();
        }
    }

    /// Keeps the first ones.
    fn trim(&mut self) {
        let (order, reversed) = (self.ask.order, self.ask.reversed);
        let flows = &mut self.seen.flows;
        if flows.len() > FLOWS {
            flows.select_nth_unstable_by(FLOWS, |a, b| compare(order, reversed, a, b));
            flows.truncate(FLOWS);
        }
    }
}

fn compare(order: Order, reversed: bool, a: &Entry, b: &Entry) -> Ordering {
    let first = order.compare(&a.0, &b.0);
    if reversed { first.reverse() } else { first }
}

impl Visit for Walk<'_> {
    fn visit(&mut self, record: &Record<'_>) {
        let flow = &record.flow;
        match self.filter.eval(flow, &record.extra, Grade::Presumed) {
            Truth::True => {}
            Truth::False => return,
            Truth::Unknown => {
                self.seen.doubtful += 1;
                return;
            }
        }
        let seen = &mut self.seen;
        seen.passed += 1;
        seen.classes[Class::of(flow) as usize] += 1;
        *seen.protocols.entry(flow.protocol).or_default() += 1;
        if let Some(state) = flow.state() {
            *seen.states.entry((flow.protocol, state)).or_default() += 1;
        }
        self.ask.by.encode(record, &mut self.key);
        seen.groups.add(&self.key);
        if self.ask.within.as_deref() == Some(self.key.as_slice()) {
            self.keep(record);
        }
    }
}

/// Packets and entries that the table lost, of all processors together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Packets dropped because no entry could be made.
    pub(super) full: u64,
    /// Unassured entries that had to make room.
    pub(super) early: u64,
    /// Insertions that failed.
    pub(super) failed: u64,
}

impl Losses {
    pub(super) fn of(processors: &[CpuStatistics]) -> Self {
        let sum = |of: fn(&CpuStatistics) -> u32| processors.iter().map(|c| u64::from(of(c))).sum();
        Self {
            full: sum(|cpu| cpu.drop),
            early: sum(|cpu| cpu.early_drop),
            failed: sum(|cpu| cpu.insert_failed),
        }
    }

    pub(super) fn since(self, before: Self) -> Self {
        Self {
            full: self.full.saturating_sub(before.full),
            early: self.early.saturating_sub(before.early),
            failed: self.failed.saturating_sub(before.failed),
        }
    }
}

/// An answer to an [`Ask`].
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// Of the ask that it answers.
    pub(super) version: u64,
    /// When, as people read it.
    pub(super) clock: String,
    /// When, nanoseconds of the wall clock.
    pub(super) time_ns: u64,
    /// Entries of the table, as the kernel counts them.
    pub(super) entries: u64,
    /// Entries that it may have; `None` where there is no limit, or it cannot be read.
    pub(super) limit: Option<u64>,
    /// What was lost since boot.
    pub(super) losses: Losses,
    /// What was seen.
    pub(super) seen: Seen,
    /// The flow that was asked for by itself, if it still exists.
    pub(super) flow: Option<Entry>,
    /// Entries that could not be decoded.
    pub(super) undecoded: u64,
    /// The hash table changed its size meanwhile.
    pub(super) resized: bool,
    /// Time of one core that it took.
    pub(super) cost: Duration,
    /// From its start to the start of the next.
    pub(super) pause: Duration,
}

/// From the start of a look that took so much of a core to the start of the next.
pub(super) fn pace(every: Duration, cost: Duration) -> Duration {
    every.max(cost * PART)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::flow::Extra;
    use crate::matcher::Context;
    use crate::observe::Header;

    fn walk(ask: &Ask, flows: impl IntoIterator<Item = Flow>) -> Seen {
        let header = Header::default();
        let filter = Compiled::new(&ask.predicate, &Context::new(&header, &[], &[]), false);
        let mut walk = Walk::new(ask, &filter);
        for flow in flows {
            let extra = Extra::default();
            walk.visit(&Record {
                flow,
                extra,
                message: &[],
            });
        }
        walk.finish()
    }

    #[test]
    fn what_passes_is_counted_in_every_way() {
        let ask = fixture::ask("src/24", "-p tcp");
        let seen = walk(
            &ask,
            (0..10)
                .map(|n| fixture::tcp(n, 443))
                .chain([fixture::udp(1)]),
        );
        assert_eq!(seen.passed, 10);
        assert_eq!(seen.classes.iter().sum::<u64>(), 10);
        assert_eq!(seen.protocols, HashMap::from([(Protocol::TCP, 10)]));
        assert_eq!(seen.groups.groups.len(), 1);
        assert!(seen.flows.is_empty());
    }

    #[test]
    fn groups_beyond_the_bound_are_counted_together_and_said_to_be_unknown() {
        let ask = fixture::ask("sport,zone", "");
        let many = u32::try_from(GROUPS).unwrap() + 10;
        let seen = walk(&ask, (0..many).map(|n| fixture::tcp(n, 443)));
        assert_eq!(seen.groups.groups.len(), GROUPS);
        assert_eq!(seen.groups.beyond, 10);
        assert_eq!(seen.groups.of(b"never seen"), None);
        assert_eq!(Counts::default().of(b"never seen"), Some(0));
    }

    #[test]
    fn of_a_group_the_first_flows_are_kept_whatever_their_number() {
        let mut ask = fixture::ask("dport", "");
        let mut key = Vec::new();
        let flow = fixture::tcp(0, 443);
        let extra = Extra::default();
        let record = Record {
            flow,
            extra,
            message: &[],
        };
        ask.by.encode(&record, &mut key);
        ask.within = Some(key.into());
        let flows = || {
            (0..5000).map(|n| {
                let mut flow = fixture::tcp(n, 443);
                flow.timeout = n * 7919 % 5000;
                flow
            })
        };
        let seen = walk(&ask, flows());
        assert_eq!((seen.within, seen.flows.len()), (5000, FLOWS));
        let left: Vec<_> = seen.flows.iter().map(|(flow, _)| flow.timeout).collect();
        assert_eq!(left, (4500..5000).rev().collect::<Vec<_>>());
        ask.reversed = true;
        let left: Vec<_> = walk(&ask, flows())
            .flows
            .iter()
            .map(|f| f.0.timeout)
            .collect();
        assert_eq!(left, (0..500).collect::<Vec<_>>());
    }

    #[test]
    fn looking_takes_at_most_a_quarter_of_a_core() {
        let seconds = Duration::from_secs;
        assert_eq!(pace(seconds(2), Duration::from_millis(300)), seconds(2));
        assert_eq!(pace(seconds(2), Duration::from_millis(1500)), seconds(6));
    }
}
