//! How many flows each group had and has.

use std::cmp::Ordering;

use xxhash_rust::xxh3::xxh3_64;

use super::document::{Group, GroupFates, GroupKey, Grouping, Rest};
use crate::group::{By, PerGroup};
use crate::observe::Record;
use crate::snapshot::Counted;

/// Groups of one grouping at most, so that memory stays bounded whatever the fields.
///
/// Where there would be more, the smallest ones are counted together from then on. A group that
/// matters is never among them; it may be told as smaller than it is by what was dropped of it
/// while it was small, and by how much at most is said.
pub const MOST_GROUPS: usize = 400_000;

/// What happened to a flow that one side alone has.
#[derive(Clone, Copy)]
pub(super) enum Event {
    New,
    Gone,
}

/// Flows of one group. A table of more than 2^32 flows does not exist.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    before: u32,
    after: u32,
    new: u32,
    gone: u32,
    recreated: u32,
}

impl Counts {
    fn change(&self) -> i64 {
        i64::from(self.after) - i64::from(self.before)
    }

    fn add(&mut self, other: &Self) {
        self.before += other.before;
        self.after += other.after;
        self.new += other.new;
        self.gone += other.gone;
        self.recreated += other.recreated;
    }
}

/// The groups of one grouping.
pub(super) struct Tally {
    by: By,
    most: usize,
    groups: PerGroup<Counts>,
    /// Flows of groups that were too small to keep apart.
    others: Counts,
    /// How much smaller than it is a group may be told at most.
    short_by: u64,
    /// Whether it is known of each flow if it is the same.
    paired: bool,
    key: Vec<u8>,
    /// Groups found lately, each in the place that its key gives it, and what is to be added to
    /// them: most flows are of one of few groups, and to find it here costs little.
    recent: Vec<(Vec<u8>, Counts)>,
}

/// Groups that are kept at hand.
const RECENT: usize = 256;

impl Tally {
    pub(super) fn new(by: By) -> Self {
        Self {
            by,
            most: MOST_GROUPS,
            groups: PerGroup::default(),
            others: Counts::default(),
            short_by: 0,
            paired: true,
            key: Vec::new(),
            recent: vec![(Vec::new(), Counts::default()); RECENT],
        }
    }

    /// The counts of a flow's group; allocates for groups not seen before alone.
    fn of(&mut self, record: &Record<'_>) -> &mut Counts {
        self.by.encode(record, &mut self.key);
        self.encoded()
    }

    /// The counts of the group that `key` holds.
    fn encoded(&mut self) -> &mut Counts {
        // Whoever makes keys that share a place is left with the map's own, seeded hashing.
        #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
        let place = xxh3_64(&self.key) as usize % RECENT;
        if self.key != self.recent[place].0 {
            self.settle(place);
            std::mem::swap(&mut self.recent[place].0, &mut self.key);
        }
        &mut self.recent[place].1
    }

    /// Adds what is known of a group at hand to its counts.
    fn settle(&mut self, place: usize) {
        let (key, counts) = &mut self.recent[place];
        let counts = std::mem::take(counts);
        if counts.before > 0 || counts.after > 0 {
            self.groups.of(key).add(&counts);
            if self.groups.len() > self.most {
                self.prune();
            }
        }
    }

    /// Counts the smallest groups together, at least half of all.
    fn prune(&mut self) {
        let mut size = 1;
        while self.groups.len() > self.most / 2 {
            let others = &mut self.others;
            self.groups.retain(|counts| {
                let stays = counts.before > size || counts.after > size;
                if !stays {
                    others.add(counts);
                }
                stays
            });
            self.short_by += u64::from(size);
            size = size.saturating_mul(2);
        }
    }

    /// A flow that one side alone has.
    pub(super) fn one(&mut self, record: &Record<'_>, event: Event) {
        let counts = self.of(record);
        match event {
            Event::New => {
                counts.after += 1;
                counts.new += 1;
            }
            Event::Gone => {
                counts.before += 1;
                counts.gone += 1;
            }
        }
    }

    /// A key that both sides have, in the same group of every grouping.
    pub(super) fn same(&mut self, record: &Record<'_>, recreated: bool) {
        let counts = self.of(record);
        counts.before += 1;
        counts.after += 1;
        counts.recreated += u32::from(recreated);
    }

    /// A key that both sides have; the flow may be in another group than before.
    pub(super) fn both(&mut self, old: &Record<'_>, new: &Record<'_>, recreated: bool) {
        self.of(old).before += 1;
        let counts = self.of(new);
        counts.after += 1;
        counts.recreated += u32::from(recreated);
    }

    /// So many flows before and after, which are not paired.
    pub(super) fn count(&mut self, counted: &Counted<'_>, [before, after]: [u32; 2]) {
        (self.by).encode_told(&counted.record, counted.untold, &mut self.key);
        let counts = self.encoded();
        counts.before += before;
        counts.after += after;
        self.paired = false;
    }

    /// The groups that changed most.
    pub(super) fn ranked(mut self, top: usize, min_change: u64) -> Grouping {
        for place in 0..RECENT {
            self.settle(place);
        }
        let mut all: Vec<(&[u8], Counts)> = (self.groups.iter())
            .map(|(key, counts)| (key, *counts))
            .collect();
        sort_ends(&mut all, top);
        let sum = |wanted: fn(i64) -> bool| {
            let changes = all.iter().map(|(_, counts)| counts.change());
            let with_others = changes.chain([self.others.change()]);
            (with_others.filter(|change| wanted(*change)))
                .map(i64::unsigned_abs)
                .sum::<u64>()
        };
        let (growth, shrinkage) = (sum(|change| change > 0), sum(|change| change < 0));
        let listed = |counts: &Counts| counts.change().unsigned_abs() >= min_change.max(1);
        let group = |(key, counts): &(&[u8], Counts)| self.group(key, counts, growth);
        let growers: Vec<_> = (all.iter().take(top))
            .take_while(|(_, counts)| counts.change() > 0 && listed(counts))
            .map(group)
            .collect();
        let shrinkers: Vec<_> = (all.iter().rev().take(top))
            .take_while(|(_, counts)| counts.change() < 0 && listed(counts))
            .map(group)
            .collect();
        let count = |wanted: fn(i64) -> bool| {
            let groups = all.iter().filter(|(_, counts)| wanted(counts.change()));
            groups.count() as u64
        };
        let mut rest = Rest {
            groups: (all.len() - growers.len() - shrinkers.len()) as u64,
            before: self.others.before.into(),
            after: self.others.after.into(),
        };
        for (_, counts) in &all {
            rest.before += u64::from(counts.before);
            rest.after += u64::from(counts.after);
        }
        for group in growers.iter().chain(&shrinkers) {
            rest.before -= group.before;
            rest.after -= group.after;
        }
        Grouping {
            by: self.by.to_string(),
            fields: self.by.heads().collect(),
            groups: all.len() as u64,
            growing: count(|change| change > 0),
            shrinking: count(|change| change < 0),
            growth,
            shrinkage,
            growers,
            shrinkers,
            rest,
            short_by: self.short_by,
        }
    }

    fn group(&self, key: &[u8], counts: &Counts, growth: u64) -> Group {
        let change = counts.change();
        Group {
            key: GroupKey(self.by.fields().zip(self.by.decode(key)).collect()),
            before: counts.before.into(),
            after: counts.after.into(),
            change,
            fates: self.paired.then(|| GroupFates {
                new: counts.new.into(),
                gone: counts.gone.into(),
                recreated: counts.recreated.into(),
            }),
            share: (change > 0).then(|| share(change.unsigned_abs(), growth)),
        }
    }
}

/// Puts those that grew most at the start and those that shrank most at the end, `top` of each in
/// order; what lies between is not listed.
fn sort_ends(groups: &mut [(&[u8], Counts)], top: usize) {
    let mut rest = groups;
    if top < rest.len() / 2 {
        rest.select_nth_unstable_by(top, by_growth);
        let (first, others) = rest.split_at_mut(top);
        first.sort_unstable_by(by_growth);
        let from = others.len() - top;
        others.select_nth_unstable_by(from - 1, by_growth);
        rest = &mut others[from..];
    }
    rest.sort_unstable_by(by_growth);
}

/// By key where the change is the same: the same tables give the same listing.
fn by_growth((one, a): &(&[u8], Counts), (other, b): &(&[u8], Counts)) -> Ordering {
    let by_key = || {
        if a.change() < 0 {
            // They are listed from the end.
            other.cmp(one)
        } else {
            one.cmp(other)
        }
    };
    b.change().cmp(&a.change()).then_with(by_key)
}

/// A part of a whole, to four digits.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "a share needs four digits")]
    let share = (part as f64 / whole as f64 * 10_000.0).round() / 10_000.0;
    share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Extra, Family, Flow, Protocol, Tuple};

    fn record(src: u32, sport: u16) -> Record<'static> {
        let src = std::net::Ipv4Addr::from(src).into();
        let tuple = Tuple::new(src, [10, 0, 0, 1].into(), sport, 443);
        Record {
            flow: Flow::new(Family::Ipv4, Protocol::TCP, tuple),
            extra: Extra::default(),
            message: &[],
        }
    }

    #[test]
    fn one_that_grew_is_found_however_many_came_before_it() {
        let mut tally = Tally::new("src".parse().unwrap());
        tally.most = 1000;
        for number in 0..20_000 {
            tally.one(&record(number, 1), Event::New);
        }
        for sport in 0..500 {
            tally.one(&record(0xffff_0001, sport), Event::New);
        }
        let found = tally.ranked(1, 1);
        assert_eq!(found.growers[0].key.0[0].1.to_string(), "255.255.0.1");
        assert_eq!(found.growers[0].after, 500);
        assert_eq!(found.rest.after, 20_000);
        assert_eq!(found.growth, 20_500);
        assert!(
            found.short_by > 0 && found.short_by < 100,
            "{}",
            found.short_by
        );
    }

    #[test]
    fn groups_of_the_same_change_come_in_the_order_of_their_keys() {
        let mut tally = Tally::new("src".parse().unwrap());
        for src in [9, 3, 7, 1] {
            tally.one(&record(src, 1), Event::Gone);
        }
        let found = tally.ranked(3, 1);
        let keys: Vec<_> = found
            .shrinkers
            .iter()
            .map(|group| group.key.0[0].1.to_string())
            .collect();
        assert_eq!(keys, ["0.0.0.1", "0.0.0.3", "0.0.0.7"]);
        assert_eq!((found.rest.groups, found.rest.before), (1, 1));
        assert_eq!((found.shrinkage, found.growth), (4, 0));
    }
}
