//! A snapshot from its bytes: header and trailer at once, flows as they are asked for.

use std::io::{Read, Seek, SeekFrom};

use xxhash_rust::xxh3::xxh3_64;

use super::error::Damage;
use super::groups::Groups;
use super::merge::Merge;
use super::seek_table::{self, LONGEST_FOOTER};
use super::span::Span;
use super::trailer::{Checksum, Trailer};
use super::{AGGREGATE_SCHEMA, SCHEMA, SnapshotError};
use crate::observe::Header;
use crate::policy::{Compression, Detail};

/// The longest header or trailer that is read: a header names set members and addresses, a trailer
/// has 100 bytes a run.
pub(super) const LONGEST_LINE: u64 = 64 << 20;

/// An open snapshot.
#[derive(Debug)]
pub struct Snapshot<R> {
    input: R,
    compression: Compression,
    detail: Detail,
    header: Header,
    trailer: Trailer,
    /// Where each run lies in the file: offset and end.
    runs: Vec<(u64, u64)>,
}

/// Where the parts lie in the file.
struct Layout {
    header: (u64, u64),
    runs: Vec<(u64, u64)>,
    trailer: (u64, u64),
    /// Unpacked lengths of all parts, where a seek table tells them.
    unpacked: Option<Vec<u64>>,
}

impl<R: Read + Seek> Snapshot<R> {
    /// Reads header and trailer. How the file is packed is seen from its first bytes.
    ///
    /// # Errors
    /// Where it is no snapshot, one of another version, or damaged.
    pub fn open(mut input: R) -> Result<Self, SnapshotError> {
        let length = input.seek(SeekFrom::End(0)).map_err(SnapshotError::Read)?;
        let start = bytes(&mut input, 0, length.min(4))?;
        let (compression, layout) = if let Some(compression) = seek_table::compression(&start) {
            let layout = packed_layout(&mut input, compression, length)?;
            (compression, layout)
        } else if start.starts_with(b"{") {
            (Compression::None, plain_layout(&mut input, length)?)
        } else {
            return Err(SnapshotError::Foreign(
                "it starts neither with a Zstandard frame or gzip member nor with a line of JSON"
                    .to_owned(),
            ));
        };
        let header_line = part(&mut input, compression, layout.header)?;
        let (detail, header) = parse_header(&header_line)?;
        let trailer_line = part(&mut input, compression, layout.trailer)?;
        let trailer =
            Trailer::from_line(&trailer_line).map_err(|what| Damage::at(layout.trailer.0, what))?;
        let snapshot = Self {
            input,
            compression,
            detail,
            header,
            trailer,
            runs: layout.runs.clone(),
        };
        snapshot.check(&layout, &header_line, trailer_line.len() as u64)
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The last line.
    pub fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// How it is packed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Whether it holds flows or groups.
    pub fn detail(&self) -> Detail {
        self.detail
    }

    /// The groups of an aggregate in their order.
    ///
    /// # Errors
    /// Where it is none, or a run cannot be read.
    pub fn groups(&mut self) -> Result<Groups<'_, R>, SnapshotError> {
        if self.detail == Detail::Full {
            return Err(SnapshotError::Full);
        }
        Groups::new(
            &mut self.input,
            self.compression,
            &self.runs,
            &self.trailer.runs,
        )
    }

    /// The flows of all runs in the order of their keys.
    ///
    /// # Errors
    /// Where it is an aggregate, or a run cannot be read or is damaged at its start.
    pub fn flows(&mut self) -> Result<Merge<'_, R>, SnapshotError> {
        if self.detail == Detail::Aggregate {
            return Err(SnapshotError::Aggregate);
        }
        Merge::new(
            &mut self.input,
            self.compression,
            &self.runs,
            &self.trailer.runs,
        )
    }

    /// Compares what header, trailer and seek table say of each other.
    fn check(
        mut self,
        layout: &Layout,
        header_line: &[u8],
        trailer_length: u64,
    ) -> Result<Self, SnapshotError> {
        let trailer_at = |what: String| Damage::at(layout.trailer.0, what);
        if Checksum(xxh3_64(header_line)) != self.trailer.header_xxh3 {
            return Err(Damage {
                line: Some(1),
                ..Damage::at(0, "the header does not match its checksum")
            }
            .into());
        }
        let header_length = header_line.len() as u64;
        let Some(unpacked) = &layout.unpacked else {
            self.trailer
                .check_runs(header_length, layout.trailer.0)
                .map_err(trailer_at)?;
            self.runs = (self.trailer.runs.iter())
                .map(|run| (run.offset, run.offset + run.bytes))
                .collect();
            return Ok(self);
        };
        let text: u64 = unpacked.iter().sum();
        self.trailer
            .check_runs(header_length, text.saturating_sub(trailer_length))
            .map_err(trailer_at)?;
        let told = (self.trailer.runs.iter()).map(|run| run.bytes);
        let parts = std::iter::once(header_length)
            .chain(told)
            .chain([trailer_length]);
        if !parts.eq(unpacked.iter().copied()) {
            return Err(trailer_at("the trailer and the seek table disagree".to_owned()).into());
        }
        Ok(self)
    }
}

/// Reads some bytes of the file.
pub(super) fn bytes<R: Read + Seek>(
    input: &mut R,
    offset: u64,
    length: u64,
) -> Result<Vec<u8>, SnapshotError> {
    let mut bytes = Vec::new();
    input
        .seek(SeekFrom::Start(offset))
        .and_then(|_| input.take(length).read_to_end(&mut bytes))
        .map_err(SnapshotError::Read)?;
    Ok(bytes)
}

/// Reads a whole part that is one line.
fn part<R: Read + Seek>(
    input: &mut R,
    compression: Compression,
    (offset, end): (u64, u64),
) -> Result<Vec<u8>, SnapshotError> {
    let mut span = Span::new(compression, offset, end)?;
    let text = span.read_all(input, LONGEST_LINE)?;
    if span.position() != end {
        return Err(Damage::at(span.position(), "the frame ends before its part").into());
    }
    if text.iter().position(|byte| *byte == b'\n') != text.len().checked_sub(1) {
        return Err(Damage::at(offset, "not one line where header or trailer is due").into());
    }
    Ok(text)
}

/// Reads the first line.
pub(super) fn parse_header(line: &[u8]) -> Result<(Detail, Header), SnapshotError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        schema: String,
    }
    let Ok(Versioned { schema }) = serde_json::from_slice(line) else {
        return Err(SnapshotError::Foreign(format!(
            "its first line has no `schema` that says `{SCHEMA}`"
        )));
    };
    let detail = match schema.as_str() {
        SCHEMA => Detail::Full,
        AGGREGATE_SCHEMA => Detail::Aggregate,
        _ => {
            let kind = schema.split_once('/').map(|(kind, _)| kind);
            let known = [SCHEMA, AGGREGATE_SCHEMA]
                .into_iter()
                .find(|known| known.split_once('/').map(|(kind, _)| kind) == kind);
            return Err(match known {
                Some(known) => SnapshotError::Version {
                    found: schema,
                    known,
                },
                None => SnapshotError::Foreign(format!("its first line says `{schema}`")),
            });
        }
    };
    let header = serde_json::from_slice(line).map_err(|error| Damage {
        line: Some(1),
        ..Damage::at(0, format!("the header: {error}"))
    })?;
    Ok((detail, header))
}

/// Layout of a compressed file, by its seek table.
fn packed_layout<R: Read + Seek>(
    input: &mut R,
    compression: Compression,
    length: u64,
) -> Result<Layout, SnapshotError> {
    let at = length.saturating_sub(LONGEST_FOOTER);
    let absent = || {
        Damage::at(
            at,
            "no seek table at the end: cut short, or packed again by another program \
             (what `zstd -d` or `gzip -d` makes of it can then be read)",
        )
    };
    let footer = bytes(input, at, LONGEST_FOOTER)?;
    let table_length = seek_table::length(compression, &footer)
        .filter(|table| *table < length)
        .ok_or_else(absent)?;
    let table_offset = length - table_length;
    let frames = seek_table::decode(compression, &bytes(input, table_offset, table_length)?)
        .ok_or_else(|| Damage::at(table_offset, "the seek table is damaged"))?;
    let mut offset = 0;
    let mut parts: Vec<(u64, u64)> = Vec::with_capacity(frames.len());
    for frame in &frames {
        let end = offset + u64::from(frame.packed);
        parts.push((offset, end));
        offset = end;
    }
    if offset != table_offset {
        let what = format!("the frames end here, and the seek table says {offset}");
        return Err(Damage::at(table_offset, what).into());
    }
    let [header, runs @ .., trailer] = parts.as_slice() else {
        return Err(Damage::at(table_offset, "the seek table has no header and trailer").into());
    };
    Ok(Layout {
        header: *header,
        runs: runs.to_vec(),
        trailer: *trailer,
        unpacked: Some(frames.iter().map(|frame| frame.unpacked.into()).collect()),
    })
}

/// Layout of a plain file: where the first line ends and the last one starts.
fn plain_layout<R: Read + Seek>(input: &mut R, length: u64) -> Result<Layout, SnapshotError> {
    let first_end = first_line_end(input, length)?;
    let last_start = last_line_start(input, length)?;
    if last_start < first_end {
        return Err(Damage::at(length, "it ends in its first line").into());
    }
    Ok(Layout {
        header: (0, first_end),
        runs: Vec::new(),
        trailer: (last_start, length),
        unpacked: None,
    })
}

const STEP: u64 = 64 * 1024;

fn first_line_end<R: Read + Seek>(input: &mut R, length: u64) -> Result<u64, SnapshotError> {
    let mut offset = 0;
    while offset < length.min(LONGEST_LINE) {
        let chunk = bytes(input, offset, STEP)?;
        if let Some(at) = chunk.iter().position(|byte| *byte == b'\n') {
            return Ok(offset + at as u64 + 1);
        }
        offset += STEP;
    }
    Err(Damage {
        line: Some(1),
        ..Damage::at(length, "the first line does not end")
    }
    .into())
}

fn last_line_start<R: Read + Seek>(input: &mut R, length: u64) -> Result<u64, SnapshotError> {
    if bytes(input, length.saturating_sub(1), 1)? != b"\n" {
        return Err(Damage::at(length, "cut short: the last line does not end").into());
    }
    let mut end = length - 1;
    while end > 0 && length - end < LONGEST_LINE {
        let start = end.saturating_sub(STEP);
        let chunk = bytes(input, start, end - start)?;
        if let Some(at) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
