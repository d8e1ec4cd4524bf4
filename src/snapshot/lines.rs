//! The lines of one run, checked against what the trailer says of it.

use std::io::{Read, Seek};

use xxhash_rust::xxh3::Xxh3;

use super::SnapshotError;
use super::error::Damage;
use super::span::Span;
use super::trailer::{Checksum, RunIndex};
use crate::policy::Compression;

/// The longest line of a flow or group: labels, contexts and addresses together stay far below.
pub(super) const LONGEST: usize = 1 << 20;

/// One run that is being read line by line.
pub(super) struct Lines {
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
    read: u64,
    unpacked: u64,
    xxh3: Xxh3,
}

impl Lines {
    /// The run that lies between two offsets of the file, with its number from 1 and the number of
    /// its first line.
    pub(super) fn new(
        compression: Compression,
        (start, end): (u64, u64),
        number: usize,
        first_line: u64,
        index: RunIndex,
    ) -> Result<Self, SnapshotError> {
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
            read: 0,
            unpacked: 0,
            xxh3: Xxh3::new(),
        })
    }

    /// Reads the next line with `parse`; `None` at the end of the run, when it has matched its
    /// checksum.
    pub(super) fn next<R: Read + Seek, T>(
        &mut self,
        input: &mut R,
        parse: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<Option<T>, SnapshotError> {
        let Some(length) = self.line(input)? else {
            return self.finish().map(|()| None);
        };
        self.read += 1;
        match parse(&self.text[self.at..self.at + length]) {
            Ok(parsed) => {
                self.at += length;
                Ok(Some(parsed))
            }
            Err(what) => Err(self.damage(what).into()),
        }
    }

    /// Length of the next line, line end included, which then starts at `at`.
    fn line<R: Read + Seek>(&mut self, input: &mut R) -> Result<Option<usize>, SnapshotError> {
        let mut searched = 0;
        loop {
            let rest = &self.text[self.at..];
            if let Some(end) = memchr::memchr(b'\n', &rest[searched..]) {
                return Ok(Some(searched + end + 1));
            }
            searched = rest.len();
            if searched > LONGEST {
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
                self.read += 1;
                return Err(self.damage("the line does not end").into());
            }
            self.unpacked += read as u64;
            self.xxh3.update(&self.text[self.text.len() - read..]);
        }
    }

    fn finish(&self) -> Result<(), SnapshotError> {
        let what = if self.span.position() != self.end {
            "the frame ends before its run".to_owned()
        } else if self.unpacked != self.index.bytes || self.read != self.index.flows {
            format!(
                "the run has {} flows in {} bytes, and the trailer says {} in {}",
                self.read, self.unpacked, self.index.flows, self.index.bytes
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
            Compression::Zstd | Compression::Gzip => self.span.position(),
            Compression::None => self.span.position() - (self.text.len() - self.at) as u64,
        };
        Damage {
            offset,
            run: Some(self.number),
            line: Some(self.first_line + self.read.saturating_sub(1)),
            what: what.into(),
        }
    }

    /// Adds the run and the line to a damage that the part itself found.
    fn in_run(&self, error: SnapshotError) -> SnapshotError {
        match error {
            SnapshotError::Damaged(damage) => Damage {
                run: Some(self.number),
                line: Some(self.first_line + self.read),
                ..damage
            }
            .into(),
            other => other,
        }
    }
}
