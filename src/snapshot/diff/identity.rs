//! Whether two entries with the same key are one flow at two times, and what differs between them.
//!
//! In one boot of one namespace, the first that tells decides:
//!
//! 1. Start times. The kernel sets one when the entry is confirmed and never again. Only one with
//!    a start time after the first observation, beside one without: another entry.
//! 2. What a living entry never loses: the bits seen-reply, assured, src-nat and dst-nat, its reply
//!    tuple, its id. The id is a hash of the entry's address in memory: another id is another
//!    entry, the same id proves nothing, since memory is used again.
//! 3. Counters, which only grow (`conntrack -z` aside, after which a flow looks like another one).
//! 4. Else it is presumed that it lived on; how often is said.
//!
//! After a reboot nothing lived on. Between two tables nothing is concluded: entries with the same
//! key are compared as they are.

use std::collections::BTreeMap;

use super::document::{Changed, LivedOn, Traffic, Transition};
use super::relation::Relation;
use crate::flow::protocol::state_name;
use crate::flow::{Flow, Present, Protocol, Status};
use crate::observe::{Header, Record};

/// What became of a flow whose key both tables have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The entry is the same, by its start time; or the two tables are not compared in time.
    LivedOn,
    /// Nothing speaks against it, and nothing proves it.
    Presumed,
    /// It ended, and another one took the tuple.
    Recreated,
}

/// The two observations, as far as identity goes.
pub(super) struct Meeting {
    relation: Relation,
    before_ns: u64,
    reversed: bool,
}

/// Bits that an entry never loses.
const LASTING: Status = Status::SEEN_REPLY
    .union(Status::ASSURED)
    .union(Status::SRC_NAT)
    .union(Status::DST_NAT);

impl Meeting {
    pub(super) fn new(before: &Header, after: &Header) -> Self {
        let relation = Relation::between(before, after);
        Self {
            relation,
            before_ns: before.time_ns,
            reversed: super::relation::seconds(relation, before, after) < 0.0,
        }
    }

    pub(super) fn relation(&self) -> Relation {
        self.relation
    }

    /// Whether counters of a flow that lived on went on from one to the other.
    pub(super) fn counts_on(&self) -> bool {
        matches!(self.relation, Relation::SameTable | Relation::Unknown) && !self.reversed
    }

    pub(super) fn fate(&self, old: &Flow, new: &Flow) -> Fate {
        match self.relation {
            Relation::OtherBoot => Fate::Recreated,
            Relation::OtherTable => Fate::LivedOn,
            Relation::SameTable | Relation::Unknown if self.reversed => self.in_time(new, old),
            Relation::SameTable | Relation::Unknown => self.in_time(old, new),
        }
    }

    fn in_time(&self, old: &Flow, new: &Flow) -> Fate {
        match (old.start_ns(), new.start_ns()) {
            (Some(old), Some(new)) if old == new => return Fate::LivedOn,
            (Some(_), Some(_)) => return Fate::Recreated,
            (None, Some(new)) if new > self.before_ns && !self.reversed => return Fate::Recreated,
            _ => {}
        }
        let both = |bits| old.present.contains(bits) && new.present.contains(bits);
        let other_id =
            self.relation == Relation::SameTable && both(Present::ID) && old.id != new.id;
        let lost = both(Present::STATUS) && (old.status & LASTING).bits() & !new.status.bits() != 0;
        let other_reply = both(Present::REPLY) && old.reply != new.reply;
        let fewer = |bits, old: crate::flow::Counters, new: crate::flow::Counters| {
            both(bits) && (new.packets < old.packets || new.bytes < old.bytes)
        };
        let counted_down = fewer(Present::COUNTERS_ORIG, old.counters_orig, new.counters_orig)
            || fewer(
                Present::COUNTERS_REPLY,
                old.counters_reply,
                new.counters_reply,
            );
        if other_id || lost || other_reply || counted_down {
            Fate::Recreated
        } else {
            Fate::Presumed
        }
    }
}

/// What differs between flows that lived on, counted.
#[derive(Default)]
pub(super) struct Differences {
    changed: Changed,
    transitions: BTreeMap<(u8, u8, u8), u64>,
    traffic: Traffic,
}

impl Differences {
    /// Adds what a flow moved meanwhile.
    pub(super) fn traffic(&mut self, old: &Flow, new: &Flow) {
        let (Some(old), Some(new)) = (old.total(), new.total()) else {
            return;
        };
        let packets = new.packets.saturating_sub(old.packets);
        self.traffic.flows += 1;
        self.traffic.silent += u64::from(packets == 0);
        self.traffic.packets = self.traffic.packets.saturating_add(packets);
        let bytes = new.bytes.saturating_sub(old.bytes);
        self.traffic.bytes = self.traffic.bytes.saturating_add(bytes);
    }

    /// Counts what differs; whether anything does. What one of the two does not provide is no
    /// difference.
    pub(super) fn compare(&mut self, old: &Record<'_>, new: &Record<'_>) -> bool {
        let (one, other) = (&old.flow, &new.flow);
        let both = |bits| one.present.contains(bits) && other.present.contains(bits);
        let mut any = false;
        let mut note = |differs: bool, count: &mut u64| {
            *count += u64::from(differs);
            any |= differs;
        };
        let changed = &mut self.changed;
        let state = both(Present::STATE) && one.state != other.state;
        note(state, &mut changed.state);
        let bits = (one.status ^ other.status) & Status::WORDED;
        note(
            both(Present::STATUS) && !bits.is_empty(),
            &mut changed.status,
        );
        note(
            both(Present::REPLY) && one.reply != other.reply,
            &mut changed.reply,
        );
        note(
            both(Present::MARK) && one.mark != other.mark,
            &mut changed.mark,
        );
        note(one.zone_reply != other.zone_reply, &mut changed.zone);
        let (was, is) = (&old.extra, &new.extra);
        note(was.helper != is.helper, &mut changed.helper);
        let labels = was.labels.unwrap_or(0) != is.labels.unwrap_or(0);
        note(labels, &mut changed.label);
        let secctx = was.secctx.is_some() && is.secctx.is_some() && was.secctx != is.secctx;
        note(secctx, &mut changed.secctx);
        if state {
            let way = (one.protocol.0, one.state, other.state);
            *self.transitions.entry(way).or_default() += 1;
        }
        any
    }

    pub(super) fn document(&self) -> LivedOn {
        LivedOn {
            changed: self.changed,
            transitions: self.transitions(),
            traffic: (self.traffic.flows > 0).then_some(self.traffic),
        }
    }

    /// From state to state, the most frequent first.
    fn transitions(&self) -> Vec<Transition> {
        let name = |protocol, state: u8| {
            state_name(protocol, state).map_or_else(|| state.to_string(), str::to_owned)
        };
        let mut list: Vec<_> = self
            .transitions
            .iter()
            .map(|((protocol, from, to), flows)| {
                let protocol = Protocol(*protocol);
                Transition {
                    protocol: protocol.to_string(),
                    from: name(protocol, *from),
                    to: name(protocol, *to),
                    flows: *flows,
                }
            })
            .collect();
        list.sort_by_key(|transition| std::cmp::Reverse(transition.flows));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Counters, Family, Tuple};

    fn flow() -> Flow {
        let mut flow = Flow::new(Family::Ipv4, Protocol::TCP, Tuple::default());
        flow.present = Present::STATUS | Present::ID | Present::REPLY | Present::COUNTERS;
        flow.status = Status::SEEN_REPLY | Status::ASSURED;
        flow.id = 7;
        flow.counters_orig = Counters {
            packets: 10,
            bytes: 1000,
        };
        flow
    }

    fn meeting(relation: Relation) -> Meeting {
        Meeting {
            relation,
            before_ns: 1_000,
            reversed: false,
        }
    }

    fn fate(change: impl FnOnce(&mut Flow, &mut Flow)) -> Fate {
        let (mut old, mut new) = (flow(), flow());
        change(&mut old, &mut new);
        meeting(Relation::SameTable).fate(&old, &new)
    }

    fn started(flow: &mut Flow, start_ns: u64) {
        flow.present |= Present::START;
        flow.start_ns = start_ns;
    }

    #[test]
    fn the_start_time_decides_where_both_have_one() {
        let lived = fate(|old, new| {
            started(old, 500);
            started(new, 500);
            // Counters were zeroed.
            new.counters_orig.packets = 0;
        });
        assert_eq!(lived, Fate::LivedOn);
        let recreated = fate(|old, new| {
            started(old, 500);
            started(new, 1_500);
        });
        assert_eq!(recreated, Fate::Recreated);
    }

    #[test]
    fn a_start_after_the_first_look_is_another_entry() {
        assert_eq!(fate(|_, new| started(new, 1_001)), Fate::Recreated);
        assert_eq!(fate(|_, new| started(new, 999)), Fate::Presumed);
    }

    #[test]
    fn what_a_living_entry_never_loses_tells_another_one() {
        assert_eq!(fate(|_, new| new.id = 8), Fate::Recreated);
        assert_eq!(
            fate(|_, new| new.status = Status::SEEN_REPLY),
            Fate::Recreated
        );
        assert_eq!(fate(|_, new| new.reply.dst_port = 9), Fate::Recreated);
        assert_eq!(
            fate(|_, new| new.counters_orig.bytes = 999),
            Fate::Recreated
        );
    }

    #[test]
    fn the_same_id_proves_nothing() {
        assert_eq!(
            fate(|_, new| new.counters_orig.packets = 11),
            Fate::Presumed
        );
        assert_eq!(fate(|_, new| new.status |= Status::OFFLOAD), Fate::Presumed);
    }

    #[test]
    fn nothing_survives_a_reboot_and_two_tables_prove_nothing() {
        let (old, mut new) = (flow(), flow());
        new.id = 99;
        let fate = |relation| meeting(relation).fate(&old, &new);
        assert_eq!(fate(Relation::OtherBoot), Fate::Recreated);
        assert_eq!(fate(Relation::OtherTable), Fate::LivedOn);
        // Ids of what was imported are of no boot.
        assert_eq!(fate(Relation::Unknown), Fate::Presumed);
    }

    #[test]
    fn the_order_of_the_two_does_not_matter_to_identity() {
        let (old, mut new) = (flow(), flow());
        new.counters_orig.packets = 11;
        let reversed = Meeting {
            reversed: true,
            ..meeting(Relation::SameTable)
        };
        assert_eq!(reversed.fate(&new, &old), Fate::Presumed);
        assert_eq!(reversed.fate(&old, &new), Fate::Recreated);
    }
}
