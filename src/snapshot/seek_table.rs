//! The seek table of Zstandard's seekable format: a skippable frame at the end of the file with the
//! packed and the unpacked length of every frame before it.
//!
//! Layout, little endian: `5E 2A 4D 18`, u32 length of the rest; for each frame u32 packed and u32
//! unpacked length; u32 number of frames, u8 descriptor (0: no checksums here), `B1 EA 92 8F`.

/// First bytes of every Zstandard frame with content.
pub(super) const FRAME_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// First bytes of the table.
pub(super) const TABLE_MAGIC: [u8; 4] = 0x184D_2A5E_u32.to_le_bytes();
const END_MAGIC: [u8; 4] = 0x8F92_EAB1_u32.to_le_bytes();
/// Length of the part that stands at the very end.
pub(super) const FOOTER_LENGTH: u64 = 9;
const START_LENGTH: u64 = 8;

/// Lengths of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) packed: u32,
    pub(super) unpacked: u32,
}

/// The table as it stands in the file.
pub(super) fn encode(frames: &[Frame]) -> Option<Vec<u8>> {
    let count = u32::try_from(frames.len()).ok()?;
    let length = u32::try_from(table_length(count) - START_LENGTH).ok()?;
    let mut table = TABLE_MAGIC.to_vec();
    table.extend_from_slice(&length.to_le_bytes());
    for frame in frames {
        table.extend_from_slice(&frame.packed.to_le_bytes());
        table.extend_from_slice(&frame.unpacked.to_le_bytes());
    }
    table.extend_from_slice(&count.to_le_bytes());
    table.push(0);
    table.extend_from_slice(&END_MAGIC);
    Some(table)
}

/// The whole table's length, by the footer; `None` where this is no footer.
pub(super) fn length(footer: &[u8]) -> Option<u64> {
    let [a, b, c, d, 0, magic @ ..] = footer else {
        return None;
    };
    (magic == END_MAGIC).then(|| table_length(u32::from_le_bytes([*a, *b, *c, *d])))
}

fn table_length(frames: u32) -> u64 {
    START_LENGTH + u64::from(frames) * 8 + FOOTER_LENGTH
}

/// The frames of a table that [`length`] found.
pub(super) fn decode(table: &[u8]) -> Option<Vec<Frame>> {
    let (start, rest) = table.split_at_checked(8)?;
    let (entries, footer) = rest.split_at_checked(rest.len().checked_sub(9)?)?;
    let declared = u32::from_le_bytes(start[4..].try_into().ok()?);
    if start[..4] != TABLE_MAGIC
        || length(footer)? != table.len() as u64
        || u64::from(declared) != rest.len() as u64
    {
        return None;
    }
    entries
        .chunks(8)
        .map(|entry| {
            Some(Frame {
                packed: u32::from_le_bytes(entry.get(..4)?.try_into().ok()?),
                unpacked: u32::from_le_bytes(entry.get(4..)?.try_into().ok()?),
            })
        })
        .collect()
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
        let table = encode(&frames).unwrap();
        let footer = &table[table.len() - 9..];
        assert_eq!(length(footer), Some(table.len() as u64));
        assert_eq!(decode(&table).as_deref(), Some(&frames[..]));
        assert_eq!(decode(&table[1..]), None);
        assert_eq!(decode(&[]), None);
        assert_eq!(length(&[0; 9]), None);
    }
}
