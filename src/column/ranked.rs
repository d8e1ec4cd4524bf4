//! The entries with the largest, or the smallest, value in a column.

use std::cmp::Ordering;

use super::{Column, Reader};
use crate::flow::{Flow, OwnedExtra};
use crate::observe::Record;

/// Keeps the first of a ranking. Memory goes by how many those are, whatever passes by.
#[derive(Debug)]
pub struct Ranked<'a> {
    reader: &'a Reader,
    order: Order,
    most: Option<usize>,
    /// Up to twice as many as are wanted; once there were that many, the first `most` are the best
    /// so far and the last of these is the one to beat.
    kept: Vec<Kept>,
    is_cut: bool,
}

#[derive(Clone, Copy, Debug)]
struct Order {
    column: Column,
    ascending: bool,
}

#[derive(Debug)]
struct Kept {
    flow: Flow,
    /// Most entries have none.
    extra: Option<Box<OwnedExtra>>,
}

impl Kept {
    fn record(&self) -> Record<'_> {
        Record {
            flow: self.flow,
            extra: self
                .extra
                .as_deref()
                .map(OwnedExtra::borrow)
                .unwrap_or_default(),
            message: &[],
        }
    }
}

impl Order {
    /// Entries without a value come last, equal ones by their keys.
    fn compare(self, reader: &Reader, a: &Record<'_>, b: &Record<'_>) -> Ordering {
        use super::Value::Absent;
        let (x, y) = (reader.value(self.column, a), reader.value(self.column, b));
        let by_value = match (x == Absent, y == Absent) {
            (false, false) if self.ascending => x.cmp(&y),
            (false, false) => y.cmp(&x),
            (x, y) => x.cmp(&y),
        };
        by_value.then_with(|| a.flow.key().order().cmp(&b.flow.key().order()))
    }
}

impl<'a> Ranked<'a> {
    /// A ranking by a column, the largest value first unless `ascending`; without `most`, all.
    #[must_use]
    pub fn new(reader: &'a Reader, column: Column, ascending: bool, most: Option<usize>) -> Self {
        Self {
            reader,
            order: Order { column, ascending },
            most,
            kept: Vec::new(),
            is_cut: false,
        }
    }

    /// Takes an entry, if it is among the first so far.
    pub fn offer(&mut self, record: &Record<'_>) {
        if let Some(most) = self.most {
            let worst = most.checked_sub(1).and_then(|last| self.kept.get(last));
            let beats = |worst: &Kept| {
                let order = self.order.compare(self.reader, record, &worst.record());
                order == Ordering::Less
            };
            if most == 0 || (self.is_cut && !worst.is_some_and(beats)) {
                return;
            }
        }
        let extra = (!record.extra.is_empty()).then(|| Box::new(record.extra.to_owned()));
        let flow = record.flow;
        self.keep(Kept { flow, extra });
    }

    fn keep(&mut self, kept: Kept) {
        self.kept.push(kept);
        if let Some(most) = self.most
            && self.kept.len() >= most.saturating_mul(2)
        {
            let (reader, order) = (self.reader, self.order);
            self.kept.select_nth_unstable_by(most - 1, |a, b| {
                order.compare(reader, &a.record(), &b.record())
            });
            self.kept.truncate(most);
            self.is_cut = true;
        }
    }

    /// Adds what another part of the same table kept.
    pub fn merge(&mut self, other: Self) {
        other.kept.into_iter().for_each(|kept| self.keep(kept));
    }

    /// Hands out what was kept, in order.
    pub fn visit(mut self, mut visit: impl FnMut(&Record<'_>)) {
        let (reader, order) = (self.reader, self.order);
        self.kept
            .sort_unstable_by(|a, b| order.compare(reader, &a.record(), &b.record()));
        let most = self.most.unwrap_or(usize::MAX);
        for kept in self.kept.iter().take(most) {
            visit(&kept.record());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{reader, record};
    use super::*;
    use crate::flow::Present;

    fn with_bytes(number: u16, bytes: Option<u64>) -> Record<'static> {
        let mut record = record();
        record.flow.orig.src_port = number;
        match bytes {
            Some(bytes) => record.flow.counters_orig.bytes = bytes,
            None => record.flow.present -= Present::COUNTERS,
        }
        record.flow.counters_reply.bytes = 0;
        record
    }

    proptest! {
        /// Whatever the order and the split, the first are those of a whole sort.
        #[test]
        fn the_first_are_those_of_a_whole_sort(
            bytes in prop::collection::vec(prop::option::of(0..50_u64), 0..200),
            most in prop::option::of(0..20_usize),
            split in 0..200_usize,
            ascending in any::<bool>(),
        ) {
            let reader = reader();
            let new = || Ranked::new(&reader, Column::Bytes, ascending, most);
            let (mut one, mut two) = (new(), new());
            for (index, bytes) in bytes.iter().enumerate() {
                let record = with_bytes(u16::try_from(index).unwrap(), *bytes);
                if index < split { one.offer(&record) } else { two.offer(&record) }
                if let Some(most) = most {
                    prop_assert!(one.kept.len() <= 2 * most && two.kept.len() <= 2 * most);
                }
            }
            one.merge(two);
            let mut found = Vec::new();
            one.visit(|record| found.push(record.flow.orig.src_port));
            let mut wanted: Vec<_> = bytes.iter().copied().zip(0_u16..).collect();
            wanted.sort_by_key(|(bytes, number)| {
                let rank = bytes.map(|bytes| if ascending { bytes } else { u64::MAX - bytes });
                (rank.is_none(), rank, *number)
            });
            let most = most.unwrap_or(usize::MAX);
            let wanted: Vec<_> = wanted.into_iter().map(|(_, number)| number).take(most).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
