//! Tables whose flows are counted and not told apart: one by one, or as groups of an aggregate.

use std::io::{Read, Seek};

use super::outline::Outline;
use super::record::Common;
use super::{Snapshot, SnapshotError};
use crate::flow::{Extra, Flow};
use crate::group::Untold;
use crate::observe::Record;
use crate::policy::Detail;

/// Flows that are counted at once.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// What they have in common.
    pub record: Record<'a>,
    /// What of that is not told, and nothing but a gap in `record`.
    pub untold: Untold,
    /// How many they are. Those of a whole table fit into 32 bits.
    pub flows: u32,
}

impl<'a> Counted<'a> {
    /// A flow by itself.
    #[must_use]
    pub fn one(record: Record<'a>) -> Self {
        Self {
            record,
            untold: Untold::empty(),
            flows: 1,
        }
    }
}

impl Counted<'static> {
    /// Flows of one group of an aggregate.
    #[must_use]
    pub fn of(common: &Common, flows: u32) -> Self {
        let mut untold = Untold::empty();
        untold.set(Untold::SRC, common.src.is_none());
        untold.set(Untold::DST, common.dst.is_none());
        untold.set(Untold::DPORT, common.dport.is_none());
        Self {
            record: plain(common.flow()),
            untold,
            flows,
        }
    }
}

fn plain(flow: Flow) -> Record<'static> {
    Record {
        flow,
        extra: Extra::default(),
        message: &[],
    }
}

/// A table whose flows can be counted.
pub trait Countable {
    /// Hands out all flows, each once.
    ///
    /// # Errors
    /// Where the source is damaged; what was handed out before is then worth nothing.
    fn count(&mut self, visit: &mut dyn FnMut(&Counted<'_>)) -> Result<(), SnapshotError>;
}

/// A snapshot whose flows are to be counted.
#[derive(Debug)]
pub struct Counting<'a, R> {
    snapshot: &'a mut Snapshot<R>,
    outline: Option<Outline>,
}

impl<'a, R: Read + Seek> Counting<'a, R> {
    /// As much as the snapshot tells of each flow; `as_aggregate`: no more than an aggregate does.
    #[must_use]
    pub fn new(snapshot: &'a mut Snapshot<R>, as_aggregate: bool) -> Self {
        let outline = as_aggregate.then(|| Outline::new(snapshot.header()));
        Self { snapshot, outline }
    }
}

impl<R: Read + Seek> Countable for Counting<'_, R> {
    fn count(&mut self, visit: &mut dyn FnMut(&Counted<'_>)) -> Result<(), SnapshotError> {
        if self.snapshot.detail() == Detail::Aggregate {
            let mut groups = self.snapshot.groups()?;
            while let Some(group) = groups.next_group()? {
                let flows = u32::try_from(group.totals.flows).unwrap_or(u32::MAX);
                visit(&Counted::of(&group.common, flows));
            }
            return Ok(());
        }
        let mut flows = self.snapshot.flows()?;
        while let Some(record) = flows.next_flow()? {
            match &self.outline {
                Some(outline) => visit(&Counted::of(&outline.of(&record.flow), 1)),
                None => visit(&Counted::one(record)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Family, Protocol};
    use crate::group::{By, Cell};

    #[test]
    fn what_is_left_out_of_a_group_is_absent_and_not_zero() {
        let told = Common {
            family: Family::Ipv4,
            zone: 0,
            protocol: Protocol::TCP,
            src: Some([0; 16]),
            dst: Some([0; 16]),
            dport: Some(0),
            icmp_type: None,
            state: None,
            status: None,
            mark: Some(0),
        };
        let folded = Common {
            src: None,
            dst: None,
            dport: None,
            mark: None,
            ..told
        };
        let by: By = "src/24/48,dst,dport,mark,protocol".parse().unwrap();
        let cells = |common: &Common| {
            let mut key = Vec::new();
            let counted = Counted::of(common, 3);
            by.encode_told(&counted.record, counted.untold, &mut key);
            by.decode(&key)
        };
        let [absent, tcp] = [Cell::Absent, Cell::Text("tcp".to_owned())];
        let shown: Vec<_> = cells(&told).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["0.0.0.0/24", "0.0.0.0", "0", "0", "tcp"]);
        let expected = [&absent, &absent, &absent, &absent, &tcp];
        assert_eq!(cells(&folded).iter().collect::<Vec<_>>(), expected);
    }
}
