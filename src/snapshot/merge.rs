//! The runs of a snapshot as one sorted stream.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{Read, Seek};

use xxhash_rust::xxh3::Xxh3;

use super::SnapshotError;
use super::error::Damage;
use super::record::read_flow;
use super::span::Span;
use super::trailer::{Checksum, RunIndex};
use crate::flow::{Flow, FlowKey, OwnedExtra};
use crate::observe::Record;
use crate::policy::Compression;

/// The longest line of a flow: labels, contexts and addresses together stay far below.
pub(super) const LONGEST_FLOW: usize = 1 << 20;

/// Flows of all runs in the order of their keys; memory for one window and one line a run.
pub struct Merge<'a, R> {
    input: &'a mut R,
    cursors: Vec<Cursor>,
    /// The runs that have a flow ready, the smallest key on top; equal keys in order of runs.
    ready: BinaryHeap<Reverse<(FlowKey, usize)>>,
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
            cursors.push(Cursor::new(compression, *place, number, line, *run)?);
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
        if let Some(number) = self.last.take() {
            self.advance(number)?;
        }
        let Some(Reverse((_, number))) = self.ready.pop() else {
            return Ok(None);
        };
        self.last = Some(number);
        let (flow, extra) = &self.cursors[number].current;
        Ok(Some(Record {
            flow: *flow,
            extra: extra.borrow(),
            message: &[],
        }))
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
    compression: Compression,
    span: Span,
    start: u64,
    end: u64,
    text: Vec<u8>,
    /// Start of the next line in `text`.
    at: usize,
    number: usize,
    first_line: u64,
    index: RunIndex,
    lines: u64,
    unpacked: u64,
    xxh3: Xxh3,
    current: (Flow, OwnedExtra),
}

impl Cursor {
    fn new(
        compression: Compression,
        (start, end): (u64, u64),
        number: usize,
        first_line: u64,
        index: RunIndex,
    ) -> Result<Self, SnapshotError> {
        let nothing = Flow::new(
            crate::flow::Family::Ipv4,
            crate::flow::Protocol(0),
            crate::flow::Tuple::default(),
        );
        Ok(Self {
            compression,
            span: Span::new(compression, start, end)?,
            start,
            end,
            text: Vec::new(),
            at: 0,
            number,
            first_line,
            index,
            lines: 0,
            unpacked: 0,
            xxh3: Xxh3::new(),
            current: (nothing, OwnedExtra::default()),
        })
    }

    /// Reads the next flow into `current`; its key, or `None` at the end of the run.
    fn advance<R: Read + Seek>(&mut self, input: &mut R) -> Result<Option<FlowKey>, SnapshotError> {
        let Some(length) = self.line(input)? else {
            return self.finish().map(|()| None);
        };
        let line = &self.text[self.at..self.at + length];
        let before = (self.lines > 0).then(|| self.current.0.key());
        self.lines += 1;
        self.current = match read_flow(line) {
            Ok(current) => current,
            Err(error) => return Err(self.damage(error.to_string()).into()),
        };
        let key = self.current.0.key();
        if before.is_some_and(|before| before > key) {
            return Err(self.damage("out of order").into());
        }
        self.at += length;
        Ok(Some(key))
    }

    /// Length of the next line, line end included, which then starts at `at`.
    fn line<R: Read + Seek>(&mut self, input: &mut R) -> Result<Option<usize>, SnapshotError> {
        let mut searched = 0;
        loop {
            let rest = &self.text[self.at..];
            if let Some(end) = rest[searched..].iter().position(|byte| *byte == b'\n') {
                return Ok(Some(searched + end + 1));
            }
            searched = rest.len();
            if searched > LONGEST_FLOW {
                return Err(self.damage("the line does not end").into());
            }
            self.text.drain(..self.at);
            self.at = 0;
            let read = self
                .span
                .read(input, &mut self.text)
                .map_err(|error| self.in_run(error))?;
            if read == 0 {
                if self.text.is_empty() {
                    return Ok(None);
                }
                self.lines += 1;
                return Err(self.damage("the line does not end").into());
            }
            self.unpacked += read as u64;
            self.xxh3.update(&self.text[self.text.len() - read..]);
        }
    }

    fn finish(&self) -> Result<(), SnapshotError> {
        let what = if self.span.position() != self.end {
            "the frame ends before its run".to_owned()
        } else if self.unpacked != self.index.bytes || self.lines != self.index.flows {
            format!(
                "the run has {} flows in {} bytes, and the trailer says {} in {}",
                self.lines, self.unpacked, self.index.flows, self.index.bytes
            )
        } else if Checksum(self.xxh3.digest()) != self.index.xxh3 {
            "the run does not match its checksum".to_owned()
        } else {
            return Ok(());
        };
        Err(Damage {
            run: Some(self.number),
            ..Damage::at(self.start, what)
        }
        .into())
    }

    /// Damage in the line that starts at `at`. Of a compressed run the offset is where unpacking
    /// stands, which is all that can be told.
    fn damage(&self, what: impl Into<String>) -> Damage {
        let offset = match self.compression {
            Compression::Zstd => self.span.position(),
            Compression::None => self.span.position() - (self.text.len() - self.at) as u64,
        };
        Damage {
            offset,
            run: Some(self.number),
            line: Some(self.first_line + self.lines.saturating_sub(1)),
            what: what.into(),
        }
    }

    /// Adds the run and the line to a damage that the part itself found.
    fn in_run(&self, error: SnapshotError) -> SnapshotError {
        match error {
            SnapshotError::Damaged(damage) => Damage {
                run: Some(self.number),
                line: Some(self.first_line + self.lines),
                ..damage
            }
            .into(),
            other => other,
        }
    }
}
