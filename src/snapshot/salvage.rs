//! What can still be read of a damaged snapshot.
//!
//! Frames and lines are taken as they come, without seek table or trailer. What lies in a frame
//! that fails its checksum is handed out up to the damage and counted as unverified, since a
//! snapshot of a small table is one run.

use std::io::{Read, Seek, SeekFrom};

use xxhash_rust::xxh3::Xxh3;

use super::SnapshotError;
use super::error::Damage;
use super::lines::LONGEST;
use super::reader::{LONGEST_LINE, bytes, parse_header};
use super::record::{GROUP_START, Group, read_flow, read_group};
use super::seek_table::{self, Magics};
use super::span::Span;
use super::trailer::{self, Checksum, Trailer};
use crate::observe::{Header, Record};
use crate::policy::Compression;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Salvaged {
    /// The header, where it is readable.
    pub header: Option<Header>,
    /// The trailer, where it is readable and matches its checksum.
    pub trailer: Option<Trailer>,
    /// Flows, or groups of an aggregate, that were handed out.
    pub flows: u64,
    /// Those of them that no checksum vouches for.
    pub unverified: u64,
    /// What is wrong, in the order of the file. Past 1,000 the rest is counted only.
    pub damages: Vec<Damage>,
    /// Damages that `damages` leaves out.
    pub more: u64,
}

const MOST_DAMAGES: usize = 1000;

/// A line that could be read.
#[derive(Clone, Copy, Debug)]
pub enum Line<'a> {
    /// A flow.
    Flow(&'a Record<'a>),
    /// A group of an aggregate.
    Group(&'a Group),
}

/// Hands out every flow that can be read, in the order of the file: sorted inside a run only.
///
/// # Errors
/// As [`salvage_lines`].
pub fn salvage<R: Read + Seek>(
    input: R,
    mut take: impl FnMut(&Record<'_>),
) -> Result<Salvaged, SnapshotError> {
    salvage_lines(input, |line| {
        if let Line::Flow(record) = line {
            take(record);
        }
    })
}

/// Hands out every flow and group that can be read, in the order of the file.
///
/// # Errors
/// Where the file cannot be read, or holds nothing of a snapshot of this version.
pub fn salvage_lines<R: Read + Seek>(
    mut input: R,
    mut take: impl FnMut(Line<'_>),
) -> Result<Salvaged, SnapshotError> {
    let length = input.seek(SeekFrom::End(0)).map_err(SnapshotError::Read)?;
    let start = bytes(&mut input, 0, length.min(4))?;
    let packed = match seek_table::compression(&start) {
        None if !start.starts_with(b"{") => any_magic(&mut input, length)?,
        packed => packed,
    };
    let mut lines = Lines {
        found: Salvaged::default(),
        take: &mut take,
        frame: 0,
        line: 1,
        since: 0,
        header_xxh3: None,
        header_end: 0,
        trailer_at: 0,
    };
    match packed.and_then(|packed| Some((packed, seek_table::magics(packed)?))) {
        Some((packed, magics)) => frames(&mut input, length, packed, magics, &mut lines)?,
        None => text(&mut input, length, &mut lines)?,
    }
    lines.compare();
    let mut found = lines.found;
    if found.header.is_none() && found.trailer.is_none() && found.flows == 0 {
        return Err(SnapshotError::Foreign(
            "nothing in it is a line of a snapshot".to_owned(),
        ));
    }
    found.damages.sort_by_key(|damage| damage.offset);
    Ok(found)
}

/// Sorts lines by what they are.
struct Lines<'a> {
    found: Salvaged,
    take: &'a mut dyn FnMut(Line<'_>),
    /// Number of the frame, 0 is the header's; 0 in a plain file.
    frame: usize,
    line: u64,
    /// Flows since the frame's start.
    since: u64,
    /// Checksum of the first line, where it is a header.
    header_xxh3: Option<Checksum>,
    /// Where the first line ends and the last one starts, in the file or the text of its frame.
    header_end: u64,
    trailer_at: u64,
}

impl Lines<'_> {
    fn damage(&mut self, offset: u64, line: bool, what: impl Into<String>) {
        if self.found.damages.len() == MOST_DAMAGES {
            self.found.more += 1;
            return;
        }
        self.found.damages.push(Damage {
            offset,
            run: (self.frame > 0).then_some(self.frame),
            line: line.then_some(self.line),
            what: what.into(),
        });
    }

    fn line(&mut self, offset: u64, line: &[u8]) -> Result<(), SnapshotError> {
        if self.line == 1 && self.found.header.is_none() && line.starts_with(b"{\"schema\":") {
            match parse_header(line) {
                Ok((_, header)) => {
                    self.found.header = Some(header);
                    let mut xxh3 = Xxh3::new();
                    xxh3.update(line);
                    xxh3.update(b"\n");
                    self.header_xxh3 = Some(Checksum(xxh3.digest()));
                    self.header_end = offset + line.len() as u64 + 1;
                }
                Err(error @ SnapshotError::Version { .. }) => return Err(error),
                Err(error) => self.damage(offset, true, error.to_string()),
            }
        } else if line.starts_with(trailer::START) {
            match Trailer::from_line(line) {
                Ok(trailer) => {
                    self.found.trailer = Some(trailer);
                    self.trailer_at = offset;
                }
                Err(what) => self.damage(offset, true, what),
            }
        } else if line.starts_with(GROUP_START) {
            match read_group(line) {
                Ok(group) => {
                    self.found.flows += 1;
                    self.since += 1;
                    (self.take)(Line::Group(&group));
                }
                Err(error) => self.damage(offset, true, error.to_string()),
            }
        } else {
            match read_flow(line) {
                Ok((flow, extra)) => {
                    self.found.flows += 1;
                    self.since += 1;
                    (self.take)(Line::Flow(&Record {
                        flow,
                        extra: extra.borrow(),
                        message: &[],
                    }));
                }
                Err(error) => self.damage(offset, true, error.to_string()),
            }
        }
        self.line += 1;
        Ok(())
    }

    /// Compares the trailer with what there is.
    fn compare(&mut self) {
        let Some(trailer) = &self.found.trailer else {
            return;
        };
        let (counted, found) = (trailer.flows, self.found.flows);
        let header = self.header_xxh3 == Some(trailer.header_xxh3);
        self.line = 1;
        if self.found.header.is_some() && !header {
            self.damage(0, true, "the header does not match its checksum");
        }
        // Where a line is damaged that is said already.
        if self.found.damages.is_empty() && counted != found {
            let what = format!("the trailer counts {counted} lines, and {found} are readable");
            self.damage(self.trailer_at, false, what);
        }
    }

    /// Hands out the whole lines of a text and drops them from it; their offsets start at `base`.
    fn whole_lines(&mut self, base: u64, text: &mut Vec<u8>) -> Result<(), SnapshotError> {
        let mut at = 0;
        while let Some(length) = text[at..].iter().position(|byte| *byte == b'\n') {
            self.line(base + at as u64, &text[at..at + length])?;
            at += length + 1;
        }
        text.drain(..at);
        Ok(())
    }
}

/// A compressed file: frame by frame; after a damaged one the next that starts like a frame.
fn frames<R: Read + Seek>(
    input: &mut R,
    length: u64,
    compression: Compression,
    magics: &Magics,
    lines: &mut Lines<'_>,
) -> Result<(), SnapshotError> {
    let mut offset = 0;
    let mut number = 0;
    let mut found = Vec::new();
    let mut table = None;
    while offset < length {
        let magic = bytes(input, offset, 4)?;
        if magic == magics.table {
            let rest = bytes(input, offset, length - offset)?;
            table = seek_table::decode(compression, &rest);
            break;
        }
        if magic != magics.frame {
            lines.damage(offset, false, "no frame starts here");
            match find_magic(input, offset + 1, length, magics)? {
                Some(next) => offset = next,
                None => break,
            }
            continue;
        }
        lines.frame = number;
        number += 1;
        lines.since = 0;
        match frame(input, offset, length, compression, lines) {
            Ok((end, unpacked)) => {
                found.push((end - offset, unpacked));
                offset = end;
            }
            Err(SnapshotError::Damaged(damage)) => {
                lines.damage(damage.offset, true, damage.what);
                lines.found.unverified += lines.since;
                match find_magic(input, offset + 1, length, magics)? {
                    Some(next) => offset = next,
                    None => break,
                }
            }
            Err(other) => return Err(other),
        }
    }
    lines.frame = 0;
    let told = table.map(|table| {
        let lengths = (table.iter()).map(|frame| (frame.packed.into(), frame.unpacked.into()));
        lengths.collect::<Vec<(u64, u64)>>()
    });
    match told {
        None => lines.damage(length, false, "no whole seek table at the end"),
        // Where a frame is damaged that is said already.
        Some(told) if lines.found.damages.is_empty() && told != found => {
            lines.damage(offset, false, "the seek table tells of other frames");
        }
        Some(_) => {}
    }
    if lines.found.trailer.is_none() {
        lines.damage(length, false, "no trailer");
    }
    Ok(())
}

/// One frame; its end, and the length of its text.
fn frame<R: Read + Seek>(
    input: &mut R,
    offset: u64,
    length: u64,
    compression: Compression,
    lines: &mut Lines<'_>,
) -> Result<(u64, u64), SnapshotError> {
    let mut span = Span::new(compression, offset, length)?;
    let mut text = Vec::new();
    let mut unpacked = 0;
    loop {
        let position = span.position();
        let read = span.read(input, &mut text)?;
        unpacked += read as u64;
        lines.whole_lines(position, &mut text)?;
        if read == 0 {
            break;
        }
        if text.len() as u64 > LONGEST_LINE {
            return Err(Damage::at(position, "the line does not end").into());
        }
    }
    if !text.is_empty() {
        lines.damage(span.position(), true, "the line does not end");
    }
    Ok((span.position(), unpacked))
}

/// How a file of which the start is lost is packed, by the first part that is left.
fn any_magic<R: Read + Seek>(
    input: &mut R,
    length: u64,
) -> Result<Option<Compression>, SnapshotError> {
    let mut first = None;
    for packed in [Compression::Zstd, Compression::Gzip] {
        if let Some(magics) = seek_table::magics(packed)
            && let Some(at) = find_magic(input, 0, length, magics)?
            && first.is_none_or(|(before, _)| at < before)
        {
            first = Some((at, packed));
        }
    }
    Ok(first.map(|(_, packed)| packed))
}

fn find_magic<R: Read + Seek>(
    input: &mut R,
    mut offset: u64,
    length: u64,
    magics: &Magics,
) -> Result<Option<u64>, SnapshotError> {
    const STEP: u64 = 64 * 1024;
    while offset < length {
        // The magic may lie across two steps.
        let chunk = bytes(input, offset, STEP + 3)?;
        if let Some(at) = (chunk.windows(4)).position(|w| w == magics.frame || w == magics.table) {
            return Ok(Some(offset + at as u64));
        }
        offset += STEP;
    }
    Ok(None)
}

/// A plain file: line by line. Runs are then compared with the trailer, where there is one.
fn text<R: Read + Seek>(
    input: &mut R,
    length: u64,
    lines: &mut Lines<'_>,
) -> Result<(), SnapshotError> {
    let mut span = Span::new(Compression::None, 0, length)?;
    let mut text = Vec::new();
    let mut base = 0;
    while span.read(input, &mut text)? > 0 {
        let before = text.len() as u64;
        lines.whole_lines(base, &mut text)?;
        base += before - text.len() as u64;
        if text.len() as u64 > LONGEST_LINE.max(LONGEST as u64) {
            lines.damage(base, true, "the line does not end");
            break;
        }
    }
    if !text.is_empty() {
        lines.damage(base, true, "cut short: the line does not end");
    }
    let Some(trailer) = lines.found.trailer.clone() else {
        lines.damage(length, false, "no trailer");
        lines.found.unverified = lines.found.flows;
        return Ok(());
    };
    if lines.found.damages.is_empty()
        && let Err(what) = trailer.check_runs(lines.header_end, lines.trailer_at)
    {
        lines.damage(lines.trailer_at, false, what);
    }
    for (number, run) in (1..).zip(&trailer.runs) {
        lines.frame = number;
        let found = checksum(input, run.offset, run.offset.saturating_add(run.bytes))?;
        if found != run.xxh3 {
            lines.damage(run.offset, false, "the run does not match its checksum");
            lines.found.unverified += run.flows;
        }
    }
    lines.frame = 0;
    lines.found.unverified = lines.found.unverified.min(lines.found.flows);
    Ok(())
}

fn checksum<R: Read + Seek>(
    input: &mut R,
    offset: u64,
    end: u64,
) -> Result<Checksum, SnapshotError> {
    let mut span = Span::new(Compression::None, offset, end)?;
    let mut xxh3 = Xxh3::new();
    let mut text = Vec::new();
    while span.read(input, &mut text)? > 0 {
        xxh3.update(&text);
        text.clear();
    }
    Ok(Checksum(xxh3.digest()))
}
