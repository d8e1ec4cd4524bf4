//! A snapshot to its bytes.

use std::io::Write;

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::pack::Packer;
use super::record::{Group, write_group};
use super::run::{EncodedRun, Run, encode, encode_lines};
use super::seek_table::{self, Frame};
use super::trailer::{Aggregated, Checksum, RunIndex, Trailer};
use super::{Aggregate, RUN_FLOWS, SnapshotError, schema_of};
use crate::flow::{Extra, Flow};
use crate::observe::{Dumped, Header, Record};
use crate::policy::{Compression, Detail};

/// Writes a snapshot part by part: the header, runs in any order, the trailer.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    compression: Compression,
    frames: Vec<Frame>,
    /// Offset in the text.
    offset: u64,
    trailer: Trailer,
}

#[derive(Serialize)]
struct HeaderLine<'a> {
    schema: &'static str,
    #[serde(flatten)]
    header: &'a Header,
}

impl<W: Write> Writer<W> {
    /// Starts a snapshot with its header.
    ///
    /// # Errors
    /// Where `out` takes it not.
    pub fn new(out: W, header: &Header, compression: Compression) -> Result<Self, SnapshotError> {
        Self::start(out, header, compression, Detail::Full)
    }

    pub(super) fn start(
        out: W,
        header: &Header,
        compression: Compression,
        detail: Detail,
    ) -> Result<Self, SnapshotError> {
        let mut line = serde_json::to_vec(&HeaderLine {
            schema: schema_of(detail),
            header,
        })
        .map_err(|error| SnapshotError::Write(error.into()))?;
        line.push(b'\n');
        let mut writer = Self {
            out,
            compression,
            frames: Vec::new(),
            offset: 0,
            trailer: Trailer {
                header_xxh3: Checksum(xxh3_64(&line)),
                ..Trailer::default()
            },
        };
        writer.line(&line)?;
        Ok(writer)
    }

    /// Adds a run.
    ///
    /// # Errors
    /// Where `out` takes it not.
    pub fn run(&mut self, run: &EncodedRun) -> Result<(), SnapshotError> {
        self.trailer.runs.push(RunIndex {
            offset: self.offset,
            bytes: run.bytes,
            flows: run.flows,
            xxh3: run.xxh3,
        });
        self.trailer.flows += run.flows;
        self.part(&run.packed, run.bytes)
    }

    /// Ends the snapshot with its trailer. `dumped` is what the dump says of itself.
    ///
    /// # Errors
    /// Where `out` takes it not.
    pub fn finish(mut self, dumped: Dumped) -> Result<(W, Trailer), SnapshotError> {
        self.trailer.undecoded = dumped.undecoded;
        self.trailer.resized = dumped.resized;
        let line = self.trailer.to_line();
        self.line(&line)?;
        let table = seek_table::encode(self.compression, &self.frames).ok_or_else(too_large)?;
        self.out.write_all(&table).map_err(SnapshotError::Write)?;
        self.out.flush().map_err(SnapshotError::Write)?;
        Ok((self.out, self.trailer))
    }

    fn line(&mut self, line: &[u8]) -> Result<(), SnapshotError> {
        let packed = Packer::new(self.compression, Vec::new())
            .and_then(|mut packer| {
                packer.write_all(line)?;
                packer.finish()
            })
            .map_err(SnapshotError::Write)?;
        self.part(&packed, line.len() as u64)
    }

    fn part(&mut self, packed: &[u8], unpacked: u64) -> Result<(), SnapshotError> {
        self.out.write_all(packed).map_err(SnapshotError::Write)?;
        self.offset += unpacked;
        self.frames.push(Frame {
            packed: u32::try_from(packed.len()).map_err(|_| too_large())?,
            unpacked: u32::try_from(unpacked).map_err(|_| too_large())?,
        });
        Ok(())
    }
}

fn too_large() -> SnapshotError {
    SnapshotError::Write(std::io::Error::new(
        std::io::ErrorKind::FileTooLarge,
        "a part of the snapshot is larger than 4 GiB, or there are more than a table can hold",
    ))
}

/// Writes a whole aggregate.
///
/// # Errors
/// Where `out` takes it not.
pub fn write_aggregate<W: Write>(
    out: W,
    header: &Header,
    compression: Compression,
    aggregate: Aggregate,
    dumped: Dumped,
) -> Result<(W, Trailer), SnapshotError> {
    let mut writer = Writer::start(out, header, compression, Detail::Aggregate)?;
    writer.trailer.aggregate = Some(Aggregated {
        flows: aggregate.flows(),
        folded: aggregate.folded(),
    });
    let groups = aggregate.into_groups();
    let mut encoded = EncodedRun::default();
    for run in groups.chunks(RUN_FLOWS) {
        let append = |group: &Group, text: &mut Vec<u8>| write_group(group, text);
        encoded = encode_lines(run.iter(), append, compression, encoded)?;
        writer.run(&encoded)?;
    }
    writer.finish(dumped)
}

/// Writes a whole snapshot in one go.
///
/// # Errors
/// Where `out` takes it not.
pub fn write<'a, W: Write>(
    out: W,
    header: &Header,
    compression: Compression,
    flows: impl IntoIterator<Item = (Flow, Extra<'a>)>,
    dumped: Dumped,
) -> Result<(W, Trailer), SnapshotError> {
    let mut writer = Writer::new(out, header, compression)?;
    let mut run = Run::default();
    let mut encoded = EncodedRun::default();
    for (flow, extra) in flows {
        run.push(&Record {
            flow,
            extra,
            message: &[],
        });
        if run.is_full() {
            encoded = encode(&mut run, compression, encoded)?;
            writer.run(&encoded)?;
            run.clear();
        }
    }
    if !run.is_empty() {
        writer.run(&encode(&mut run, compression, encoded)?)?;
    }
    writer.finish(dumped)
}
