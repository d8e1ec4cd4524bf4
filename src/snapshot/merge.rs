//! The runs of a snapshot as one sorted stream.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{Read, Seek};

use super::SnapshotError;
use super::lines::Lines;
use super::record::read_flow_into;
use super::trailer::RunIndex;
use crate::flow::{Flow, KeyOrder, OwnedExtra};
use crate::observe::Record;
use crate::policy::Compression;

/// Flows of all runs in the order of their keys; memory for one window and one line a run.
pub struct Merge<'a, R> {
    input: &'a mut R,
    cursors: Vec<Cursor>,
    /// The runs that have a flow ready, the smallest key on top; equal keys in order of runs.
    ready: BinaryHeap<Reverse<(KeyOrder, usize)>>,
    /// The run whose flow was handed out last.
    last: Option<usize>,
}

impl<'a, R: Read + Seek> Merge<'a, R> {
    pub(super) fn new(
        input: &'a mut R,
        compression: Compression,
        places: &[(u64, u64)],
        index: &[RunIndex],
    ) -> Result<Self, SnapshotError> {
        let mut line = 2;
        let mut cursors = Vec::with_capacity(places.len());
        for (number, (place, run)) in (1..).zip(places.iter().zip(index)) {
            let lines = Lines::new(compression, *place, number, line, *run)?;
            cursors.push(Cursor::new(lines));
            line += run.flows;
        }
        let mut merge = Self {
            input,
            cursors,
            ready: BinaryHeap::new(),
            last: None,
        };
        for number in 0..merge.cursors.len() {
            merge.advance(number)?;
        }
        Ok(merge)
    }

    /// The next flow; `None` after the last one, when every run has matched its checksum.
    ///
    /// # Errors
    /// Where a run is damaged; what was handed out before is then worth nothing.
    pub fn next_flow(&mut self) -> Result<Option<Record<'_>>, SnapshotError> {
        let next = self.next_in_place()?;
        Ok(next.map(|(flow, extra)| Record {
            flow: *flow,
            extra: extra.borrow(),
            message: &[],
        }))
    }

    /// The same where it lies, for those who read millions.
    ///
    /// # Errors
    /// As those of [`next_flow`](Self::next_flow).
    pub fn next_in_place(&mut self) -> Result<Option<(&Flow, &OwnedExtra)>, SnapshotError> {
        // The run whose flow was handed out last is still on top, and is put in its new place once.
        if let Some(number) = self.last.take() {
            let key = self.cursors[number].advance(self.input)?;
            if let (Some(mut top), Some(key)) = (self.ready.peek_mut(), key) {
                top.0.0 = key;
            } else {
                self.ready.pop();
            }
        }
        let Some(Reverse((_, number))) = self.ready.peek() else {
            return Ok(None);
        };
        let number = *number;
        self.last = Some(number);
        let Cursor { flow, extra, .. } = &self.cursors[number];
        Ok(Some((flow, extra)))
    }

    fn advance(&mut self, number: usize) -> Result<(), SnapshotError> {
        if let Some(key) = self.cursors[number].advance(self.input)? {
            self.ready.push(Reverse((key, number)));
        }
        Ok(())
    }
}

/// One run that is being read.
struct Cursor {
    lines: Lines,
    flow: Flow,
    extra: OwnedExtra,
    /// That of `flow`, once there is one.
    key: Option<KeyOrder>,
}

impl Cursor {
    fn new(lines: Lines) -> Self {
        let nothing = Flow::new(
            crate::flow::Family::Ipv4,
            crate::flow::Protocol(0),
            crate::flow::Tuple::default(),
        );
        Self {
            lines,
            flow: nothing,
            extra: OwnedExtra::default(),
            key: None,
        }
    }

    /// Reads the next flow; its key, or `None` at the end of the run.
    fn advance<R: Read + Seek>(
        &mut self,
        input: &mut R,
    ) -> Result<Option<KeyOrder>, SnapshotError> {
        let read = self.lines.next(input, |line| {
            read_flow_into(line, &mut self.flow, &mut self.extra)
                .map_err(|error| error.to_string())?;
            let key = self.flow.key().order();
            if self.key.is_some_and(|before| before > key) {
                return Err("out of order".to_owned());
            }
            self.key = Some(key);
            Ok(())
        })?;
        Ok(read.and(self.key))
    }
}
