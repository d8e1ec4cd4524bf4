//! One gzip member (RFC 1952) as it comes in.

use flate2::{Crc, Decompress, FlushDecompress, Status};

/// Magic, method, flags, time, hint, system.
const HEAD: usize = 10;
/// Checksum and length of the text.
const TAIL: usize = 8;

/// A member that is being unpacked.
pub(super) struct Member {
    head: Vec<u8>,
    inflate: Decompress,
    crc: Crc,
    ended: bool,
    tail: Vec<u8>,
}

impl Member {
    pub(super) fn new() -> Self {
        Self {
            head: Vec::with_capacity(HEAD),
            inflate: Decompress::new(false),
            crc: Crc::new(),
            ended: false,
            tail: Vec::with_capacity(TAIL),
        }
    }

    /// Takes some of the input and appends text where `out` has room; how much it took, and
    /// whether the member is at its end.
    pub(super) fn step(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, bool), &'static str> {
        let mut taken = fill(&mut self.head, HEAD, input);
        if self.head.len() < HEAD {
            return Ok((taken, false));
        }
        // Members with names, comments or extra fields are not conntidy's.
        if self.head[..4] != super::seek_table::GZIP.frame {
            return Err("no gzip member of a snapshot");
        }
        if !self.ended {
            let before = (self.inflate.total_in(), out.len());
            let status = self
                .inflate
                .decompress_vec(&input[taken..], out, FlushDecompress::None)
                .map_err(|_| "invalid deflate stream")?;
            let read = self.inflate.total_in() - before.0;
            taken += usize::try_from(read).expect("no more than the input was read");
            self.crc.update(&out[before.1..]);
            self.ended = status == Status::StreamEnd;
            if !self.ended {
                return Ok((taken, false));
            }
        }
        taken += fill(&mut self.tail, TAIL, &input[taken..]);
        if self.tail.len() < TAIL {
            return Ok((taken, false));
        }
        let sum = self.crc.sum().to_le_bytes();
        let amount = self.crc.amount().to_le_bytes();
        if self.tail[..4] != sum || self.tail[4..] != amount {
            return Err("the text does not match its checksum");
        }
        Ok((taken, true))
    }
}

/// Moves bytes until `to` has `length`; how many.
fn fill(to: &mut Vec<u8>, length: usize, from: &[u8]) -> usize {
    let missing = (length - to.len()).min(from.len());
    to.extend_from_slice(&from[..missing]);
    missing
}
