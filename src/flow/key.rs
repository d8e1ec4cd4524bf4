//! What identifies an entry: two live entries may differ in their zone direction alone.

use super::{Family, Protocol, Tuple};

/// Family, zone of the original direction, protocol and original tuple.
///
/// The order is that of snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// Address family.
    pub family: Family,
    /// Zone of the original direction.
    pub zone: u16,
    /// IP protocol.
    pub protocol: Protocol,
    /// Original tuple.
    pub orig: Tuple,
}
