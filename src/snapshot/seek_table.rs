//! The seek table at the end of a compressed file: the packed and the unpacked length of every frame
//! or member before it, in a part that decoders pass over.
//!
//! All numbers are little endian.
//!
//! - Zstandard: the skippable frame of its seekable format. `5E 2A 4D 18`, u32 length of the rest; for
//!   each frame u32 packed and u32 unpacked length; u32 number of frames, u8 descriptor (0: no
//!   checksums here), `B1 EA 92 8F`.
//! - gzip: an empty member with an extra field. `1F 8B 08 04`, five bytes 0, `FF`, u16 length of the
//!   extra field, `CT`, u16 length of the rest of the field; the same lengths; u32 number of members,
//!   `B1 EA 92 8F`; an empty deflate stream `03 00`, eight bytes 0.

use crate::policy::Compression;

/// How the parts of a compressed file start.
pub(super) struct Magics {
    /// A frame or member with content.
    pub(super) frame: [u8; 4],
    /// The table.
    pub(super) table: [u8; 4],
}

pub(super) const ZSTD: Magics = Magics {
    frame: 0xFD2F_B528_u32.to_le_bytes(),
    table: 0x184D_2A5E_u32.to_le_bytes(),
};

pub(super) const GZIP: Magics = Magics {
    frame: [0x1F, 0x8B, 8, 0],
    table: [0x1F, 0x8B, 8, 4],
};

/// How a compressed file's parts start; `None` where it is not compressed.
pub(super) fn magics(compression: Compression) -> Option<&'static Magics> {
    match compression {
        Compression::Zstd => Some(&ZSTD),
        Compression::Gzip => Some(&GZIP),
        Compression::None => None,
    }
}

/// How a file that starts with these bytes is compressed; `None` where it is not.
pub(super) fn compression(start: &[u8]) -> Option<Compression> {
    [Compression::Zstd, Compression::Gzip]
        .into_iter()
        .find(|&packed| magics(packed).is_some_and(|magics| start == magics.frame))
}

const END_MAGIC: [u8; 4] = 0x8F92_EAB1_u32.to_le_bytes();
/// Length of the part that stands at the very end, of either kind.
pub(super) const LONGEST_FOOTER: u64 = 18;
const ZSTD_FOOTER: usize = 9;
const ZSTD_START: usize = 8;
const GZIP_FOOTER: usize = 18;
const GZIP_START: usize = 16;
/// What follows `END_MAGIC` in gzip.
const GZIP_END: [u8; 10] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Lengths of one frame or member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) packed: u32,
    pub(super) unpacked: u32,
}

/// The table as it stands in the file; empty where it is not compressed, `None` past what a table
/// can hold.
pub(super) fn encode(compression: Compression, frames: &[Frame]) -> Option<Vec<u8>> {
    let count = u32::try_from(frames.len()).ok()?;
    let mut table = Vec::new();
    match compression {
        Compression::None => return Some(table),
        Compression::Zstd => {
            let rest = frames.len() * 8 + ZSTD_FOOTER;
            table.extend_from_slice(&ZSTD.table);
            table.extend_from_slice(&u32::try_from(rest).ok()?.to_le_bytes());
        }
        Compression::Gzip => {
            let field = frames.len() * 8 + 8;
            table.extend_from_slice(&GZIP.table);
            table.extend_from_slice(&[0, 0, 0, 0, 0, 0xFF]);
            table.extend_from_slice(&u16::try_from(field + 4).ok()?.to_le_bytes());
            table.extend_from_slice(b"CT");
            table.extend_from_slice(&u16::try_from(field).ok()?.to_le_bytes());
        }
    }
    for frame in frames {
        table.extend_from_slice(&frame.packed.to_le_bytes());
        table.extend_from_slice(&frame.unpacked.to_le_bytes());
    }
    table.extend_from_slice(&count.to_le_bytes());
    if compression == Compression::Gzip {
        table.extend_from_slice(&END_MAGIC);
        table.extend_from_slice(&GZIP_END);
    } else {
        table.push(0);
        table.extend_from_slice(&END_MAGIC);
    }
    Some(table)
}

/// The whole table's length, by the end of the file; `None` where there is none.
pub(super) fn length(compression: Compression, end: &[u8]) -> Option<u64> {
    let (start, footer) = match compression {
        Compression::None => return None,
        Compression::Zstd => (ZSTD_START, end.last_chunk::<ZSTD_FOOTER>()?.as_slice()),
        Compression::Gzip => (GZIP_START, end.last_chunk::<GZIP_FOOTER>()?.as_slice()),
    };
    let (count, rest) = footer.split_first_chunk::<4>()?;
    let is_table = match compression {
        Compression::Gzip => rest.starts_with(&END_MAGIC) && rest[4..] == GZIP_END,
        _ => rest[0] == 0 && rest[1..] == END_MAGIC,
    };
    let count = u64::from(u32::from_le_bytes(*count));
    is_table.then_some((start + footer.len()) as u64 + count * 8)
}

/// The frames of a table that [`length`] found.
pub(super) fn decode(compression: Compression, table: &[u8]) -> Option<Vec<Frame>> {
    let footer = match compression {
        Compression::Gzip => GZIP_FOOTER,
        _ => ZSTD_FOOTER,
    };
    if length(compression, table)? != table.len() as u64 {
        return None;
    }
    let start = if compression == Compression::Gzip {
        GZIP_START
    } else {
        ZSTD_START
    };
    let entries = table.get(start..table.len() - footer)?;
    let frames = entries
        .chunks(8)
        .map(|entry| {
            Some(Frame {
                packed: u32::from_le_bytes(entry.get(..4)?.try_into().ok()?),
                unpacked: u32::from_le_bytes(entry.get(4..)?.try_into().ok()?),
            })
        })
        .collect::<Option<Vec<_>>>()?;
    (encode(compression, &frames)? == table).then_some(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reads_back_and_nothing_else_does() {
        let frames = [
            Frame {
                packed: 1,
                unpacked: 2,
            },
            Frame {
                packed: 3,
                unpacked: u32::MAX,
            },
        ];
        for packed in [Compression::Zstd, Compression::Gzip] {
            let table = encode(packed, &frames).unwrap();
            assert_eq!(length(packed, &table), Some(table.len() as u64));
            assert_eq!(decode(packed, &table).as_deref(), Some(&frames[..]));
            assert_eq!(decode(packed, &table[1..]), None);
            assert_eq!(decode(packed, &[]), None);
            assert_eq!(length(packed, &[0; 18]), None);
            for at in 0..table.len() {
                let mut other = table.clone();
                other[at] ^= 1;
                assert_ne!(decode(packed, &other).as_deref(), Some(&frames[..]), "{at}");
            }
        }
    }

    #[test]
    fn a_gzip_table_has_its_limit() {
        let frame = Frame {
            packed: 1,
            unpacked: 1,
        };
        assert!(encode(Compression::Gzip, &vec![frame; 8190]).is_some());
        assert!(encode(Compression::Gzip, &vec![frame; 8191]).is_none());
    }
}
