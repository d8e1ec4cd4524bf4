//! A flow that is to be changed, in the 64 bytes in which a million of them wait.

use super::rail::{Fate, Left};
use crate::flow::FlowKey;
use crate::impact::Impact;

/// A flow that is to be changed unless its rule is refused; 64 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Selected {
    /// Which entry.
    pub key: FlowKey,
    /// Where the sink put its undo record.
    pub offset: u64,
    /// Its `CTA_ID`.
    pub id: u32,
    /// When it was dumped, milliseconds since the dump began.
    pub at_ms: u32,
    pub(super) group: u32,
    /// Index of its rule, as in [`Verdict::rule`](super::Verdict::rule).
    pub rule: u16,
    pub(super) fate: u8,
    pub(super) flags: u8,
}

/// The claim does not depend on a group.
pub(super) const NO_GROUP: u32 = u32::MAX;
/// There were too many groups to number this one: it counts as not over.
pub(super) const UNNUMBERED: u32 = u32::MAX - 1;
/// The next [`Selected`] is the same flow's claim if this one's group is not over.
pub(super) const CHAINED: u8 = 1 << 0;
pub(super) const ASSURED_OPEN: u8 = 1 << 1;
pub(super) const IMPACT_SHIFT: u8 = 2;

const FATE_SELECT: u8 = 0;
const FATE_ALREADY: u8 = 1;
const FATE_LEFT: u8 = 2;

/// A fate in a byte; the protect rule that keeps a flow goes where its undo record would be, since
/// a flow that is left has none.
pub(super) fn pack(fate: Fate) -> (u8, Option<u64>) {
    match fate {
        Fate::Select => (FATE_SELECT, None),
        Fate::Already => (FATE_ALREADY, None),
        Fate::Left(left) => {
            let (number, protect) = match left {
                Left::Offloaded => (0, 0),
                Left::Protected(index) => (1, index),
                Left::Session => (2, 0),
                Left::Host => (3, 0),
                Left::FixedTimeout => (4, 0),
                Left::Grace => (5, 0),
                Left::Assured => (6, 0),
                Left::HalfClosed => (7, 0),
                Left::Unknown => (8, 0),
            };
            (FATE_LEFT + number, Some(u64::from(protect)))
        }
    }
}

pub(super) fn unpack(fate: u8, detail: u64) -> Fate {
    match fate {
        FATE_SELECT => Fate::Select,
        FATE_ALREADY => Fate::Already,
        left => Fate::Left(match left - FATE_LEFT {
            0 => Left::Offloaded,
            1 => Left::Protected(u16::try_from(detail).unwrap_or(u16::MAX)),
            2 => Left::Session,
            3 => Left::Host,
            4 => Left::FixedTimeout,
            5 => Left::Grace,
            6 => Left::Assured,
            7 => Left::HalfClosed,
            _ => Left::Unknown,
        }),
    }
}

pub(super) fn impact_number(impact: Impact) -> u8 {
    match impact {
        Impact::Survives => 0,
        Impact::Reset => 1,
        Impact::Hangs => 2,
        Impact::Unknown => 3,
    }
}

pub(super) fn impact_from(number: u8) -> Impact {
    match number {
        0 => Impact::Survives,
        1 => Impact::Reset,
        2 => Impact::Hangs,
        _ => Impact::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selected_flow_takes_64_bytes() {
        assert_eq!(size_of::<Selected>(), 64);
    }

    #[test]
    fn packed_fates_come_back() {
        for fate in [
            Fate::Select,
            Fate::Already,
            Fate::Left(Left::Protected(7)),
            Fate::Left(Left::Unknown),
            Fate::Left(Left::Offloaded),
        ] {
            let (byte, detail) = pack(fate);
            assert_eq!(unpack(byte, detail.unwrap_or(0)), fate);
        }
    }
}
