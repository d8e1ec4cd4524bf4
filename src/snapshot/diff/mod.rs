//! What lies between two tables: flows, groups, tunables, drop counters.
//!
//! Two streams in the order of their keys are read side by side, so memory is that of the groups
//! and not of the tables; nothing is allocated for a flow.
//!
//! ```text
//! relation    same table, another boot, another table: what may be concluded at all
//! identity    a flow that lived on, or another one on the same tuple
//! tally       how many flows each group had and has
//! fill        classes, protocols and states
//! tunables    what was set differently
//! statistics  what the kernel's counters did meanwhile
//! ```

mod document;
mod fill;
mod identity;
mod relation;
mod statistics;
mod tally;
mod tunables;

pub use document::{
    Changed, Composition, Diff, Fates, Fill, FlowCounts, Group, GroupFates, GroupKey, Grouping,
    LivedOn, Rest, SCHEMA, Side, Split, Traffic, Transition,
};
pub use relation::Relation;
pub(crate) use statistics::{COUNTERS, Counter};
pub use statistics::{CounterChange, CpuDelta, Statistics, Weight};
pub use tally::MOST_GROUPS;
pub use tunables::TunableChange;

use std::cmp::Ordering;
use std::io::{Read, Seek};

use super::{Countable, Counted, Footing, Merge, SnapshotError};
use crate::flow::Present;
use crate::group::By;
use crate::observe::{Dumped, Header, Record};

use fill::Filling;
use identity::{Differences, Fate, Meeting};
use tally::{Event, Tally};

/// Flows in the order of their keys.
pub trait Flows {
    /// The next one; `None` after the last.
    ///
    /// # Errors
    /// Where the source is damaged; what was handed out before is then worth nothing.
    fn next_flow(&mut self) -> Result<Option<Record<'_>>, SnapshotError>;
}

impl<R: Read + Seek> Flows for Merge<'_, R> {
    fn next_flow(&mut self) -> Result<Option<Record<'_>>, SnapshotError> {
        Merge::next_flow(self)
    }
}

/// One of the two tables, without its flows.
#[derive(Clone, Debug)]
pub struct Table<'a> {
    /// What people call it: a file, or `live`.
    pub name: String,
    /// Everything but the flows.
    pub header: &'a Header,
    /// What its dump said of itself.
    pub dumped: Dumped,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Each makes a table of groups.
    pub by: Vec<By>,
    /// Groups that are listed of each, growing ones and shrinking ones.
    pub top: usize,
    /// Groups that changed by fewer flows are not listed.
    pub min_change: u64,
}

/// What happened to one flow.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// It was not there before.
    New(Record<'a>),
    /// It is not there any more.
    Gone(Record<'a>),
    /// There is another one with the same tuple: before, after.
    Recreated(Record<'a>, Record<'a>),
    /// It lived on, and is not the same: before, after. Counters and timers do not count.
    Changed(Record<'a>, Record<'a>),
}

/// Which of the two could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The first.
    Before,
    /// The second.
    After,
}

/// Why there is no diff.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct DiffError {
    /// Whose flows could not be read.
    pub which: Which,
    /// What is wrong with them.
    pub source: SnapshotError,
}

/// Compares two tables. `tell` hears of every flow that is not the same, in the order of keys.
///
/// # Errors
/// Where one of them cannot be read to its end.
pub fn diff(
    (before, old): (&Table<'_>, &mut dyn Flows),
    (after, new): (&Table<'_>, &mut dyn Flows),
    options: &Options,
    tell: &mut dyn FnMut(Change<'_>),
) -> Result<Diff, DiffError> {
    let meeting = Meeting::new(before.header, after.header);
    let mut found = Found::new(options);
    pair(old, new, &mut |pair| {
        found.take(&meeting, &pair, tell);
    })?;
    let fates = Some(found.fates);
    Ok(found.document(before, after, &meeting, options, fates))
}

/// Compares two tables whose flows cannot be paired by how many there are of each group.
///
/// # Errors
/// Where one of them cannot be read to its end.
pub fn count(
    (before, old): (&Table<'_>, &mut dyn Countable),
    (after, new): (&Table<'_>, &mut dyn Countable),
    footing: &Footing,
    options: &Options,
) -> Result<Diff, DiffError> {
    let meeting = Meeting::new(before.header, after.header);
    let mut found = Found::new(options);
    let mut take = |which, table: &mut dyn Countable| {
        (table.count(&mut |counted| found.count(which, counted)))
            .map_err(|source| DiffError { which, source })
    };
    take(Which::Before, old)?;
    take(Which::After, new)?;
    let mut document = found.document(before, after, &meeting, options, None);
    document.notes.extend(footing.unpaired().map(|why| {
        format!(
            "{why}: flows are counted by group; which of them are new, gone or the same is not known"
        )
    }));
    document.notes.extend(footing.notes(&options.by));
    Ok(document)
}

/// A flow of one side, or of both.
enum Pair<'a, 'b> {
    Before(&'a Record<'a>),
    After(&'b Record<'b>),
    Both(&'a Record<'a>, &'b Record<'b>),
}

/// Walks through both streams, flow by flow.
fn pair(
    before: &mut dyn Flows,
    after: &mut dyn Flows,
    visit: &mut dyn FnMut(Pair<'_, '_>),
) -> Result<(), DiffError> {
    let failed = |which| move |source| DiffError { which, source };
    let mut old = before.next_flow().map_err(failed(Which::Before))?;
    let mut new = after.next_flow().map_err(failed(Which::After))?;
    loop {
        let order = match (&old, &new) {
            (Some(old), Some(new)) => old.flow.key().order().cmp(&new.flow.key().order()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return Ok(()),
        };
        match (order, &old, &new) {
            (Ordering::Less, Some(record), _) => visit(Pair::Before(record)),
            (Ordering::Greater, _, Some(record)) => visit(Pair::After(record)),
            (_, Some(one), Some(other)) => visit(Pair::Both(one, other)),
            _ => {}
        }
        if order.is_le() {
            old = before.next_flow().map_err(failed(Which::Before))?;
        }
        if order.is_ge() {
            new = after.next_flow().map_err(failed(Which::After))?;
        }
    }
}

/// Whether two records with the same key differ in nothing that any grouping looks at.
fn grouped_alike(old: &Record<'_>, new: &Record<'_>) -> bool {
    let (one, other) = (&old.flow, &new.flow);
    // What was sent says which fields there are; counters and start times are no groups.
    let looked_at = Present::STATUS | Present::STATE | Present::MARK | Present::REPLY;
    one.status == other.status
        && one.state == other.state
        && one.mark == other.mark
        && one.present & looked_at == other.present & looked_at
        && one.zone_reply == other.zone_reply
        && one.reply == other.reply
        && old.extra.helper == new.extra.helper
        && old.extra.labels == new.extra.labels
}

/// What was counted so far.
struct Found {
    before: u64,
    after: u64,
    fates: Fates,
    differences: Differences,
    filling: Filling,
    tallies: Vec<Tally>,
}

impl Found {
    fn new(options: &Options) -> Self {
        Self {
            before: 0,
            after: 0,
            fates: Fates::default(),
            differences: Differences::default(),
            filling: Filling::default(),
            tallies: options.by.iter().cloned().map(Tally::new).collect(),
        }
    }

    fn take(&mut self, meeting: &Meeting, pair: &Pair<'_, '_>, tell: &mut dyn FnMut(Change<'_>)) {
        match pair {
            Pair::Before(record) => {
                self.before += 1;
                self.fates.gone += 1;
                self.filling.before(&record.flow);
                self.one(record, Event::Gone);
                tell(Change::Gone(**record));
            }
            Pair::After(record) => {
                self.after += 1;
                self.fates.new += 1;
                self.filling.after(&record.flow);
                self.one(record, Event::New);
                tell(Change::New(**record));
            }
            Pair::Both(old, new) => {
                self.before += 1;
                self.after += 1;
                self.filling.both(&old.flow, &new.flow);
                let fate = meeting.fate(&old.flow, &new.flow);
                let recreated = fate == Fate::Recreated;
                if grouped_alike(old, new) {
                    for tally in &mut self.tallies {
                        tally.same(new, recreated);
                    }
                } else {
                    for tally in &mut self.tallies {
                        tally.both(old, new, recreated);
                    }
                }
                self.lived(meeting, fate, old, new, tell);
            }
        }
    }

    fn one(&mut self, record: &Record<'_>, event: Event) {
        for tally in &mut self.tallies {
            tally.one(record, event);
        }
    }

    fn count(&mut self, which: Which, counted: &Counted<'_>) {
        let flows = match which {
            Which::Before => [counted.flows, 0],
            Which::After => [0, counted.flows],
        };
        let [before, after] = flows.map(u64::from);
        self.before += before;
        self.after += after;
        self.filling.add(&counted.record.flow, [before, after]);
        for tally in &mut self.tallies {
            tally.count(counted, flows);
        }
    }

    fn lived(
        &mut self,
        meeting: &Meeting,
        fate: Fate,
        old: &Record<'_>,
        new: &Record<'_>,
        tell: &mut dyn FnMut(Change<'_>),
    ) {
        if fate == Fate::Recreated {
            self.fates.recreated += 1;
            tell(Change::Recreated(*old, *new));
            return;
        }
        self.fates.presumed += u64::from(fate == Fate::Presumed);
        if meeting.counts_on() {
            self.differences.traffic(&old.flow, &new.flow);
        }
        if self.differences.compare(old, new) {
            self.fates.changed += 1;
            tell(Change::Changed(*old, *new));
        } else {
            self.fates.unchanged += 1;
        }
    }

    /// `fates` is `None` where flows were not paired.
    fn document(
        self,
        before: &Table<'_>,
        after: &Table<'_>,
        meeting: &Meeting,
        options: &Options,
        fates: Option<Fates>,
    ) -> Diff {
        let relation = meeting.relation();
        let seconds = relation::seconds(relation, before.header, after.header);
        Diff {
            schema: SCHEMA,
            relation,
            seconds,
            notes: relation::notes(relation, seconds, before, after, fates.as_ref()),
            fill: self.filling.fill(before.header, after.header),
            composition: self.filling.composition(),
            flows: FlowCounts {
                before: self.before,
                after: self.after,
                fates,
            },
            lived_on: fates.map(|_| self.differences.document()),
            groupings: (self.tallies.into_iter())
                .map(|tally| tally.ranked(options.top, options.min_change))
                .collect(),
            tunables: tunables::changes(before.header, after.header),
            statistics: Statistics::between(relation, seconds, before.header, after.header),
            before: Side::of(before, self.before),
            after: Side::of(after, self.after),
        }
    }
}
