//! Text to a part of the file: a Zstandard frame, a gzip member, or the bytes themselves.

use std::io::{self, Write};

use flate2::write::GzEncoder;

use crate::policy::Compression;

/// Zstandard's level. The next ones up to 5 take longer and pack these lines worse.
const ZSTD_LEVEL: i32 = 1;

/// Gzip's level: already a third of Zstandard's speed.
const GZIP_LEVEL: u32 = 1;

/// A reader that merges keeps a window of this many bits for each run: 256 KiB.
pub(super) const WINDOW_LOG: u32 = 18;

/// Packs one part.
pub(super) enum Packer {
    Zstd(zstd::Encoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
    None(Vec<u8>),
}

impl Packer {
    /// Starts a part at the end of `out`.
    pub(super) fn new(compression: Compression, out: Vec<u8>) -> io::Result<Self> {
        Ok(match compression {
            Compression::Zstd => {
                let mut packer = zstd::Encoder::new(out, ZSTD_LEVEL)?;
                packer.include_checksum(true)?;
                packer.window_log(WINDOW_LOG)?;
                Self::Zstd(packer)
            }
            Compression::Gzip => {
                Self::Gzip(GzEncoder::new(out, flate2::Compression::new(GZIP_LEVEL)))
            }
            Compression::None => Self::None(out),
        })
    }

    /// Ends the part.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd(packer) => packer.finish(),
            Self::Gzip(packer) => packer.finish(),
            Self::None(out) => Ok(out),
        }
    }
}

impl Write for Packer {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match self {
            Self::Zstd(packer) => packer.write(text),
            Self::Gzip(packer) => packer.write(text),
            Self::None(out) => out.write(text),
        }
    }

    /// Ends a block: what was written so far can be unpacked without what follows.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Zstd(packer) => packer.flush(),
            Self::Gzip(packer) => packer.flush(),
            Self::None(_) => Ok(()),
        }
    }
}
