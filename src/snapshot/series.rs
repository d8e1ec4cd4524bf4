//! Groups of flows over many snapshots: how each grew and shrank.

use schemars::JsonSchema;
use serde::Serialize;

use super::diff::{GroupKey, Split};
use super::{Countable, Counted, SnapshotError};
use crate::flow::Class;
use crate::group::{By, PerGroup};
use crate::observe::Header;
use crate::plan::rfc3339;

/// The `schema` of a series.
pub const SCHEMA: &str = "conntidy.series/1";

/// Counts that are kept of one grouping at most, over all groups and snapshots. Past them the
/// groups that never were large are counted together.
const MOST_COUNTS: usize = 6_000_000;

/// How groups of flows grew and shrank over snapshots.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "conntidy series")]
pub struct Series {
    /// `conntidy.series/1`.
    pub schema: &'static str,
    /// What to know before the numbers: what some of the snapshots do not tell.
    pub notes: Vec<String>,
    /// The snapshots, the oldest first.
    pub points: Vec<Point>,
    /// A grouping each.
    pub groupings: Vec<Lines>,
}

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Point {
    /// The file.
    pub name: String,
    /// Host name.
    pub host: String,
    /// Network namespace.
    pub netns: String,
    /// When it was observed, RFC 3339.
    pub time: String,
    /// Its flows.
    pub flows: u64,
    /// Its flows by class.
    pub fill: Split,
}

/// The groups of one grouping.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Lines {
    /// The fields, as `--by` takes them.
    pub by: String,
    /// The fields, one by one, as they are written.
    pub fields: Vec<String>,
    /// How many groups there are.
    pub groups: u64,
    /// Those that once had most flows, the largest first.
    pub lines: Vec<Line>,
    /// Flows of all others together, a count a snapshot.
    pub rest: Vec<u64>,
    /// There were too many groups to keep apart, and the smallest were counted together: a count
    /// may be short by so many flows. 0 in almost all cases.
    pub short_by: u64,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Line {
    /// The fields.
    pub key: GroupKey,
    /// Its flows, a count a snapshot.
    pub flows: Vec<u64>,
}

/// Takes snapshots, one after the other.
pub struct Collector {
    points: Vec<Point>,
    groupings: Vec<Counts>,
}

struct Counts {
    by: By,
    most: usize,
    groups: PerGroup<Vec<u32>>,
    others: Vec<u64>,
    short_by: u64,
    key: Vec<u8>,
}

impl Collector {
    /// For so many snapshots.
    #[must_use]
    pub fn new(by: Vec<By>, snapshots: usize) -> Self {
        let counts = |by| Counts {
            by,
            most: (MOST_COUNTS / snapshots.max(1)).clamp(1000, 400_000),
            groups: PerGroup::default(),
            others: Vec::new(),
            short_by: 0,
            key: Vec::new(),
        };
        Self {
            points: Vec::new(),
            groupings: by.into_iter().map(counts).collect(),
        }
    }

    /// Takes the next snapshot, which is not older than those before it.
    ///
    /// # Errors
    /// Where it cannot be read to its end; it is as if it had not been taken.
    pub fn take(
        &mut self,
        name: &str,
        header: &Header,
        table: &mut dyn Countable,
    ) -> Result<(), SnapshotError> {
        let mut classes = [0; Class::ALL.len()];
        let mut all = 0;
        let at = self.points.len();
        let groupings = &mut self.groupings;
        let counted = table.count(&mut |counted| {
            let flows = u64::from(counted.flows);
            all += flows;
            classes[Class::of(&counted.record.flow) as usize] += flows;
            for counts in &mut *groupings {
                counts.add(counted, at);
            }
        });
        if let Err(error) = counted {
            for counts in &mut self.groupings {
                counts.forget(at);
            }
            return Err(error);
        }
        self.points.push(Point {
            name: name.to_owned(),
            host: header.host.clone(),
            netns: header.netns.name.clone(),
            time: rfc3339(header.time_ns),
            flows: all,
            fill: Split::of(|class| classes[class as usize], header),
        });
        Ok(())
    }

    /// What was counted; `top` groups of each grouping.
    #[must_use]
    pub fn finish(self, top: usize, notes: Vec<String>) -> Series {
        let points = self.points.len();
        Series {
            schema: SCHEMA,
            notes,
            groupings: (self.groupings.into_iter())
                .map(|counts| counts.lines(top, points))
                .collect(),
            points: self.points,
        }
    }
}

impl Counts {
    fn add(&mut self, counted: &Counted<'_>, at: usize) {
        (self.by).encode_told(&counted.record, counted.untold, &mut self.key);
        if self.groups.len() >= self.most && self.groups.get(&self.key).is_none() {
            self.prune(at);
        }
        let counts = self.groups.of(&self.key);
        counts.resize(counts.len().max(at + 1), 0);
        counts[at] += counted.flows;
    }

    /// Takes back what was counted from this snapshot on.
    fn forget(&mut self, at: usize) {
        self.others.truncate(at);
        self.groups.retain(|counts| {
            counts.truncate(at);
            !counts.is_empty()
        });
    }

    /// Counts those together that never were large, at least half of all.
    fn prune(&mut self, at: usize) {
        self.others.resize(self.others.len().max(at + 1), 0);
        let mut size = 1;
        while self.groups.len() > self.most / 2 {
            let others = &mut self.others;
            self.groups.retain(|counts| {
                let stays = counts.iter().any(|count| *count > size);
                if !stays {
                    for (other, count) in others.iter_mut().zip(counts) {
                        *other += u64::from(*count);
                    }
                }
                stays
            });
            self.short_by += u64::from(size);
            size = size.saturating_mul(2);
        }
    }

    fn lines(self, top: usize, points: usize) -> Lines {
        let peak = |counts: &[u32]| counts.iter().copied().max().unwrap_or(0);
        let mut all: Vec<(&[u8], &[u32])> = (self.groups.iter())
            .map(|(key, counts)| (key, counts.as_slice()))
            .collect();
        all.sort_unstable_by(|(one, a), (other, b)| {
            peak(b).cmp(&peak(a)).then_with(|| one.cmp(other))
        });
        let listed = &all[..top.min(all.len())];
        let mut rest = self.others.clone();
        rest.resize(points, 0);
        for (_, counts) in &all[listed.len()..] {
            for (rest, count) in rest.iter_mut().zip(*counts) {
                *rest += u64::from(*count);
            }
        }
        let line = |(key, counts): &(&[u8], &[u32])| {
            let mut flows: Vec<u64> = counts.iter().copied().map(u64::from).collect();
            flows.resize(points, 0);
            Line {
                key: GroupKey(self.by.fields().zip(self.by.decode(key)).collect()),
                flows,
            }
        };
        Lines {
            by: self.by.to_string(),
            fields: self.by.heads().collect(),
            groups: all.len() as u64,
            lines: listed.iter().map(line).collect(),
            rest,
            short_by: self.short_by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Extra, Family, Flow, Protocol, Tuple};
    use crate::observe::Record;
    use crate::snapshot::error::Damage;

    struct Sources<'a>(std::slice::Iter<'a, u32>);

    impl Countable for Sources<'_> {
        fn count(&mut self, visit: &mut dyn FnMut(&Counted<'_>)) -> Result<(), SnapshotError> {
            for src in self.0.by_ref() {
                let src = std::net::Ipv4Addr::from(*src).into();
                let tuple = Tuple::new(src, [10, 0, 0, 1].into(), 1, 443);
                visit(&Counted::one(Record {
                    flow: Flow::new(Family::Ipv4, Protocol::TCP, tuple),
                    extra: Extra::default(),
                    message: &[],
                }));
            }
            Ok(())
        }
    }

    fn series(tables: &[&[u32]], most: usize, top: usize) -> Series {
        let mut collector = Collector::new(vec!["src".parse().unwrap()], tables.len());
        collector.groupings[0].most = most;
        for table in tables {
            let mut flows = Sources(table.iter());
            collector.take("a", &Header::default(), &mut flows).unwrap();
        }
        collector.finish(top, Vec::new())
    }

    #[test]
    fn each_group_has_a_count_a_snapshot_and_the_largest_peak_comes_first() {
        let found = series(&[&[1, 1, 2], &[3, 3, 3, 2], &[]], 100, 2);
        let lines = &found.groupings[0].lines;
        let shown: Vec<_> = lines.iter().map(|line| line.flows.clone()).collect();
        assert_eq!(shown, [[0, 3, 0], [2, 0, 0]]);
        assert_eq!(found.groupings[0].rest, [1, 1, 0]);
        assert_eq!(found.points[1].flows, 4);
    }

    #[test]
    fn counts_add_up_to_the_tables_where_groups_are_too_many() {
        let many: Vec<u32> = (0..500).collect();
        let grown: Vec<u32> = many.iter().copied().chain([9999; 50]).collect();
        let found = series(&[&many, &grown], 64, 1);
        let grouping = &found.groupings[0];
        assert_eq!(grouping.lines[0].flows, [0, 50]);
        assert_eq!(grouping.rest, [500, 500]);
        assert!(grouping.short_by > 0);
    }

    /// Flows, and then damage.
    struct Broken<'a>(Sources<'a>);

    impl Countable for Broken<'_> {
        fn count(&mut self, visit: &mut dyn FnMut(&Counted<'_>)) -> Result<(), SnapshotError> {
            self.0.count(visit)?;
            Err(Damage::at(0, "of a test").into())
        }
    }

    #[test]
    fn of_a_snapshot_that_cannot_be_read_to_its_end_nothing_is_counted() {
        let mut collector = Collector::new(vec!["src".parse().unwrap()], 3);
        collector.groupings[0].most = 2;
        let header = Header::default();
        (collector.take("a", &header, &mut Sources([1, 1].iter()))).unwrap();
        let mut broken = Broken(Sources([1, 2, 3, 4, 5].iter()));
        collector.take("b", &header, &mut broken).unwrap_err();
        (collector.take("c", &header, &mut Sources([1, 6].iter()))).unwrap();
        let found = collector.finish(8, Vec::new());
        assert_eq!(found.points.len(), 2);
        let lines = &found.groupings[0].lines;
        let shown: Vec<_> = lines.iter().map(|line| line.flows.clone()).collect();
        assert_eq!(shown, [[2, 1], [0, 1]]);
        assert_eq!(found.groupings[0].rest, [0, 0]);
    }
}
