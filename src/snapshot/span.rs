//! A part of the file as text: a frame, a gzip member, or the bytes themselves.

use std::io::{self, Read, Seek, SeekFrom};

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::SnapshotError;
use super::error::Damage;
use super::gzip::Member;
use crate::policy::Compression;

/// Bytes read from the file at a time.
const READ: usize = 32 * 1024;
/// Text unpacked at a time.
const UNPACK: usize = 64 * 1024;
/// Frames that ask for a larger window, 8 MiB, are not conntidy's.
const LARGEST_WINDOW_LOG: u32 = 23;

enum Unpacker {
    Zstd(Decoder<'static>),
    Gzip(Box<Member>),
    None,
}

/// A part of the file that is being read.
pub(super) struct Span {
    /// Where the part ends.
    end: u64,
    /// Where `packed` was read from.
    offset: u64,
    packed: Vec<u8>,
    /// How much of `packed` was taken.
    taken: usize,
    decoder: Unpacker,
    finished: bool,
}

impl Span {
    /// From `offset` to `end`; where it is compressed, one frame, which may end earlier.
    pub(super) fn new(
        compression: Compression,
        offset: u64,
        end: u64,
    ) -> Result<Self, SnapshotError> {
        let decoder = match compression {
            Compression::None => Unpacker::None,
            Compression::Zstd => Unpacker::Zstd(decoder().map_err(SnapshotError::Read)?),
            Compression::Gzip => Unpacker::Gzip(Box::new(Member::new())),
        };
        Ok(Self {
            end,
            offset,
            packed: Vec::new(),
            taken: 0,
            decoder,
            finished: false,
        })
    }

    /// Offset in the file of what was not taken yet.
    pub(super) fn position(&self) -> u64 {
        self.offset + self.taken as u64
    }

    /// Appends more text; 0 at the end of the frame or part.
    pub(super) fn read<R: Read + Seek>(
        &mut self,
        input: &mut R,
        out: &mut Vec<u8>,
    ) -> Result<usize, SnapshotError> {
        while !self.finished {
            if self.taken == self.packed.len() && !self.fill(input)? {
                if !matches!(self.decoder, Unpacker::None) {
                    return Err(self.damage("the frame is cut short").into());
                }
                self.finished = true;
                break;
            }
            let before = out.len();
            self.step(out)?;
            if out.len() > before {
                return Ok(out.len() - before);
            }
        }
        Ok(0)
    }

    /// Reads the whole of it, at most `limit` bytes.
    pub(super) fn read_all<R: Read + Seek>(
        &mut self,
        input: &mut R,
        limit: u64,
    ) -> Result<Vec<u8>, SnapshotError> {
        let mut text = Vec::new();
        while self.read(input, &mut text)? > 0 {
            if text.len() as u64 > limit {
                let what = format!("a line is longer than {limit} bytes");
                return Err(self.damage(what).into());
            }
        }
        Ok(text)
    }

    fn damage(&self, what: impl Into<String>) -> Damage {
        Damage::at(self.position(), what)
    }

    fn fill<R: Read + Seek>(&mut self, input: &mut R) -> Result<bool, SnapshotError> {
        let offset = self.position();
        let wanted = self.end.saturating_sub(offset).min(READ as u64);
        self.offset = offset;
        self.taken = 0;
        self.packed.clear();
        if wanted == 0 {
            return Ok(false);
        }
        input
            .seek(SeekFrom::Start(offset))
            .and_then(|_| input.take(wanted).read_to_end(&mut self.packed))
            .map_err(SnapshotError::Read)?;
        Ok(!self.packed.is_empty())
    }

    fn step(&mut self, out: &mut Vec<u8>) -> Result<(), SnapshotError> {
        let rest = &self.packed[self.taken..];
        out.reserve(UNPACK);
        let result = match &mut self.decoder {
            Unpacker::None => {
                out.extend_from_slice(rest);
                Ok((rest.len(), false))
            }
            Unpacker::Zstd(decoder) => {
                let mut input = InBuffer::around(rest);
                let start = out.len();
                let mut output = OutBuffer::around_pos(out, start);
                let result = decoder.run(&mut input, &mut output);
                self.taken += input.pos();
                result
                    .map(|hint| (0, hint == 0))
                    .map_err(|error| unpack_error(&error.to_string()))
            }
            Unpacker::Gzip(member) => member.step(rest, out).map_err(unpack_error),
        };
        match result {
            Ok((taken, finished)) => {
                self.taken += taken;
                self.finished = finished;
                Ok(())
            }
            Err(what) => Err(self.damage(what).into()),
        }
    }
}

fn decoder() -> io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(LARGEST_WINDOW_LOG))?;
    Ok(decoder)
}

fn unpack_error(error: &str) -> String {
    format!("cannot be unpacked: {}", error.to_lowercase())
}
