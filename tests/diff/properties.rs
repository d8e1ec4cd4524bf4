//! What holds for every two tables.

#[path = "../snapshot/arbitrary.rs"]
mod arbitrary;

use std::collections::{BTreeMap, BTreeSet};

use conntidy::flow::{Flow, FlowKey, OwnedExtra};
use conntidy::group;
use conntidy::observe::{Dumped, Header, Record};
use conntidy::snapshot::SnapshotError;
use conntidy::snapshot::diff::{Change, Diff, Flows, Options, Table, diff};
use proptest::prelude::*;

use crate::incident::{Entry, header};

struct List<'a>(std::slice::Iter<'a, Entry>);

impl Flows for List<'_> {
    fn next_flow(&mut self) -> Result<Option<Record<'_>>, SnapshotError> {
        Ok(self.0.next().map(|(flow, extra)| Record {
            flow: *flow,
            extra: extra.borrow(),
            message: &[],
        }))
    }
}

pub(crate) fn compare(
    (old, before): (&Header, &[Entry]),
    (new, after): (&Header, &[Entry]),
    by: &[&str],
    top: usize,
    tell: &mut dyn FnMut(Change<'_>),
) -> Diff {
    let table = |header, name: &str| Table {
        name: name.to_owned(),
        header,
        dumped: Dumped::default(),
    };
    let options = Options {
        by: by.iter().map(|by| by.parse().unwrap()).collect(),
        top,
        min_change: 1,
    };
    diff(
        (&table(old, "a"), &mut List(before.iter())),
        (&table(new, "b"), &mut List(after.iter())),
        &options,
        tell,
    )
    .unwrap()
}

/// Groupings of every kind.
pub(crate) fn all() -> Vec<&'static str> {
    let some = ["src/24,dport", "protocol,state", "class", "status,nat,mark"];
    some.into_iter().chain(group::names()).collect()
}

/// Entries in the order of their keys, each key once.
fn table() -> impl Strategy<Value = Vec<Entry>> {
    let entry = (arbitrary::flow(), arbitrary::extra());
    prop::collection::vec(entry, 0..40).prop_map(|entries| {
        let by_key: BTreeMap<FlowKey, Entry> = (entries.into_iter())
            .map(|(flow, extra)| (flow.key(), (flow, extra)))
            .collect();
        by_key.into_values().collect()
    })
}

/// A table, and what became of it: of each entry whether it stays, and with which state and mark.
pub(crate) fn two_tables() -> impl Strategy<Value = (Vec<Entry>, Vec<Entry>)> {
    let fates = prop::collection::vec(any::<(bool, bool, u32)>(), 40);
    (table(), table(), fates).prop_map(|(before, more, fates)| {
        let mut after: BTreeMap<FlowKey, Entry> = more
            .into_iter()
            .map(|entry| (entry.0.key(), entry))
            .collect();
        for ((flow, extra), (stays, changes, number)) in before.iter().zip(fates) {
            let mut flow: Flow = *flow;
            if changes {
                flow.mark = number;
                flow.state = (number % 9) as u8;
                flow.id ^= number & 1;
            }
            if stays {
                after.insert(flow.key(), (flow, extra.clone()));
            }
        }
        (before, after.into_values().collect())
    })
}

fn agrees(found: &Diff, before: &[Entry], after: &[Entry]) {
    let flows = &found.flows;
    let fates = flows.fates.unwrap();
    let lived = fates.recreated + fates.changed + fates.unchanged;
    assert_eq!(flows.before, before.len() as u64);
    assert_eq!(flows.after, after.len() as u64);
    assert_eq!(flows.before, fates.gone + lived);
    assert_eq!(flows.after, fates.new + lived);
    assert_eq!(found.fill.before.total(), flows.before);
    assert_eq!(found.fill.after.total(), flows.after);
    let kinds = found.composition.iter();
    let sums = kinds.fold((0, 0), |sum, one| (sum.0 + one.before, sum.1 + one.after));
    assert_eq!(sums, (flows.before, flows.after));
    for grouping in &found.groupings {
        let listed: Vec<_> = grouping.growers.iter().chain(&grouping.shrinkers).collect();
        let old: u64 = listed.iter().map(|group| group.before).sum();
        let new: u64 = listed.iter().map(|group| group.after).sum();
        assert_eq!(old + grouping.rest.before, flows.before, "{}", grouping.by);
        assert_eq!(new + grouping.rest.after, flows.after, "{}", grouping.by);
        let net = i128::from(grouping.growth) - i128::from(grouping.shrinkage);
        assert_eq!(net, i128::from(flows.after) - i128::from(flows.before));
        assert_eq!(listed.len() as u64 + grouping.rest.groups, grouping.groups);
        for group in listed {
            let fates = group.fates.unwrap();
            assert!(fates.new <= group.after && fates.gone <= group.before);
            assert_eq!(group.share.is_some(), group.change > 0);
        }
    }
}

proptest! {
    #[test]
    fn a_table_does_not_differ_from_itself(table in table()) {
        let header = header(false);
        let mut told = 0;
        let found = compare((&header, &table), (&header, &table), &all(), 3, &mut |_| told += 1);
        prop_assert!(!found.differs());
        prop_assert_eq!((told, found.flows.fates.unwrap().unchanged), (0, table.len() as u64));
        agrees(&found, &table, &table);
    }

    #[test]
    fn counts_sums_and_groups_agree((before, after) in two_tables(), top in 0..6_usize) {
        let (old, new) = (header(false), header(true));
        let mut told = [0_u64; 4];
        let found = compare((&old, &before), (&new, &after), &all(), top, &mut |change| {
            told[match change {
                Change::New(_) => 0,
                Change::Gone(_) => 1,
                Change::Recreated(..) => 2,
                Change::Changed(..) => 3,
            }] += 1;
        });
        agrees(&found, &before, &after);
        let flows = found.flows.fates.unwrap();
        prop_assert_eq!(told, [flows.new, flows.gone, flows.recreated, flows.changed]);
        let keys = |table: &[Entry]| -> BTreeSet<FlowKey> {
            table.iter().map(|(flow, _)| flow.key()).collect()
        };
        let (one, other) = (keys(&before), keys(&after));
        prop_assert_eq!(flows.new, other.difference(&one).count() as u64);
        prop_assert_eq!(flows.gone, one.difference(&other).count() as u64);
    }

    #[test]
    fn the_other_way_round_new_is_gone((before, after) in two_tables()) {
        let header = header(false);
        let none: &mut dyn FnMut(Change<'_>) = &mut |_| ();
        let there = compare((&header, &before), (&header, &after), &all(), 99, none);
        let back = compare((&header, &after), (&header, &before), &all(), 99, none);
        let (one, other) = (there.flows.fates.unwrap(), back.flows.fates.unwrap());
        prop_assert_eq!((one.new, one.gone), (other.gone, other.new));
        for (one, other) in there.groupings.iter().zip(&back.groupings) {
            let keys = |groups: &[conntidy::snapshot::diff::Group]| -> BTreeSet<String> {
                groups.iter().map(|group| format!("{:?}", group.key)).collect()
            };
            prop_assert_eq!(keys(&one.growers), keys(&other.shrinkers));
        }
    }
}

#[test]
fn a_restored_table_differs_in_ids_starts_counters_and_timers_alone() {
    let before = crate::incident::before();
    let restored: Vec<(Flow, OwnedExtra)> = before
        .iter()
        .map(|(flow, extra)| {
            let mut flow = *flow;
            flow.id = !flow.id;
            flow.start_ns += 1;
            flow.timeout /= 2;
            (flow.counters_orig, flow.counters_reply) = Default::default();
            (flow, extra.clone())
        })
        .collect();
    let sorted = |mut entries: Vec<Entry>| {
        entries.sort_by_key(|(flow, _)| flow.key());
        entries
    };
    let (before, restored) = (sorted(before), sorted(restored));
    let mut elsewhere = header(true);
    elsewhere.netns.inode += 1;
    elsewhere.tunables = header(false).tunables;
    let found = compare(
        (&header(false), &before),
        (&elsewhere, &restored),
        &all(),
        3,
        &mut |_| (),
    );
    assert!(!found.differs(), "{:?}", found.flows);
}
