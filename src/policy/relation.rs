//! How two tests relate: whether one holds wherever the other does, and whether both can hold.

use ipnet::IpNet;

use super::{AddressField, AddressTerm, PortField, Test};

/// Whether `wide` holds wherever `narrow` does; only where that is sure.
pub(super) fn includes(wide: &Test, narrow: &Test) -> bool {
    use Test::{
        Address, AgeAbove, BytesAbove, BytesBelow, Family, GreKey, Helper, IcmpCode, IcmpType,
        IdleFor, Label, Mark, Nat, OrigZone, PacketsAbove, PacketsBelow, Path, Port, Protocol,
        RemainingAbove, RemainingBelow, ReplyZone, State, Status, Zone,
    };
    match (wide, narrow) {
        (Family(wide), Family(narrow)) => all_in(wide, narrow),
        (Protocol(wide), Protocol(narrow)) => all_in(wide, narrow),
        (State(wide), State(narrow)) => all_in(wide, narrow),
        (Status(wide), Status(narrow)) => all_in(wide, narrow),
        (Address(a, wide), Address(b, narrow)) if a == b => narrow
            .iter()
            .all(|narrow| wide.iter().any(|wide| term_includes(wide, narrow))),
        (Port(a, wide), Port(b, narrow)) if a == b => ranges_include(wide, narrow),
        (GreKey(wide), GreKey(narrow)) => ranges_include(wide, narrow),
        (IcmpType(wide), IcmpType(narrow)) | (IcmpCode(wide), IcmpCode(narrow)) => {
            ranges_include(wide, narrow)
        }
        (Nat(wide), Nat(narrow)) => all_in(wide, narrow),
        (Path(wide), Path(narrow)) => all_in(wide, narrow),
        (Mark(wide), Mark(narrow)) => narrow.iter().all(|(value, mask)| {
            wide.iter()
                .any(|(wide, bits)| bits & mask == *bits && value & bits == *wide)
        }),
        (Zone(wide), Zone(narrow))
        | (OrigZone(wide), OrigZone(narrow) | Zone(narrow))
        | (ReplyZone(wide), ReplyZone(narrow) | Zone(narrow)) => all_in(wide, narrow),
        (Label(wide), Label(narrow)) => all_in(wide, narrow),
        (Helper(wide), Helper(narrow)) => all_in(wide, narrow),
        (IdleFor(wide), IdleFor(narrow))
        | (AgeAbove(wide), AgeAbove(narrow))
        | (RemainingAbove(wide), RemainingAbove(narrow)) => wide <= narrow,
        (RemainingBelow(wide), RemainingBelow(narrow)) => wide >= narrow,
        (BytesAbove(wide), BytesAbove(narrow)) | (PacketsAbove(wide), PacketsAbove(narrow)) => {
            wide <= narrow
        }
        (BytesBelow(wide), BytesBelow(narrow)) | (PacketsBelow(wide), PacketsBelow(narrow)) => {
            wide >= narrow
        }
        _ => false,
    }
}

/// Whether it is sure that one entry can fulfil both tests at once, all else being free.
///
/// Tests of one side of a flow under different names (`src` and `nat-src`) are only sure to meet
/// where their values do.
pub(super) fn can_both_hold(a: &Test, b: &Test) -> bool {
    use Test::{
        Address, BytesAbove, BytesBelow, Family, GreKey, Helper, IcmpCode, IcmpType, Mark,
        OrigZone, PacketsAbove, PacketsBelow, Path, Port, Protocol, RemainingAbove, RemainingBelow,
        ReplyZone, State, Zone,
    };
    match (a, b) {
        (Family(a), Family(b)) => any_in(a, b),
        (Protocol(a), Protocol(b)) => any_in(a, b),
        (State(a), State(b)) => any_in(a, b),
        (Address(a_field, a), Address(b_field, b)) => {
            !address_side(*a_field).intersects(address_side(*b_field)) || terms_meet(a, b)
        }
        (Port(a_field, a), Port(b_field, b)) => {
            !port_side(*a_field).intersects(port_side(*b_field)) || ranges_meet(a, b)
        }
        (GreKey(a), GreKey(b)) => ranges_meet(a, b),
        (IcmpType(a), IcmpType(b)) | (IcmpCode(a), IcmpCode(b)) => ranges_meet(a, b),
        (Path(a), Path(b)) => any_in(a, b),
        (Mark(a), Mark(b)) => a
            .iter()
            .any(|(a, a_mask)| b.iter().any(|(b, b_mask)| (a ^ b) & a_mask & b_mask == 0)),
        (Zone(a) | OrigZone(a) | ReplyZone(a), Zone(b))
        | (Zone(a), OrigZone(b) | ReplyZone(b))
        | (OrigZone(a), OrigZone(b))
        | (ReplyZone(a), ReplyZone(b)) => any_in(a, b),
        (Helper(a), Helper(b)) => any_in(a, b),
        (RemainingAbove(above), RemainingBelow(below))
        | (RemainingBelow(below), RemainingAbove(above)) => has_room(above.0, below.0),
        (BytesAbove(above), BytesBelow(below))
        | (BytesBelow(below), BytesAbove(above))
        | (PacketsAbove(above), PacketsBelow(below))
        | (PacketsBelow(below), PacketsAbove(above)) => has_room(*above, *below),
        // Which status bits go together is known by the cells; the others are free.
        _ => true,
    }
}

/// Whether a number is above one and below the other.
fn has_room(above: u64, below: u64) -> bool {
    above.checked_add(1).is_some_and(|first| first < below)
}

bitflags::bitflags! {
    /// Sides of a flow that a field may look at; NAT alone tells fields of one side apart.
    #[derive(Clone, Copy)]
    struct Side: u8 {
        const SOURCE = 1;
        const DESTINATION = 2;
    }
}

fn address_side(field: AddressField) -> Side {
    match field {
        AddressField::Src | AddressField::ReplyDst | AddressField::NatSrc => Side::SOURCE,
        AddressField::Dst | AddressField::ReplySrc | AddressField::NatDst => Side::DESTINATION,
        AddressField::Any => Side::all(),
    }
}

fn port_side(field: PortField) -> Side {
    match field {
        PortField::Src | PortField::ReplyDst => Side::SOURCE,
        PortField::Dst | PortField::ReplySrc => Side::DESTINATION,
        PortField::Either => Side::all(),
    }
}

fn all_in<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
    narrow.iter().all(|one| wide.contains(one))
}

fn any_in<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    a.iter().any(|one| b.contains(one))
}

fn ranges_include<T: PartialOrd>(wide: &[(T, T)], narrow: &[(T, T)]) -> bool {
    narrow.iter().all(|(low, high)| {
        wide.iter()
            .any(|(wide_low, wide_high)| wide_low <= low && high <= wide_high)
    })
}

fn ranges_meet<T: PartialOrd>(a: &[(T, T)], b: &[(T, T)]) -> bool {
    a.iter()
        .any(|(a_low, a_high)| b.iter().any(|(low, high)| a_low <= high && low <= a_high))
}

fn term_includes(wide: &AddressTerm, narrow: &AddressTerm) -> bool {
    match (wide, narrow) {
        (AddressTerm::Prefix(wide), AddressTerm::Prefix(narrow)) => prefix_includes(wide, narrow),
        (AddressTerm::Set(wide), AddressTerm::Set(narrow)) => wide == narrow,
        _ => false,
    }
}

fn prefix_includes(wide: &IpNet, narrow: &IpNet) -> bool {
    wide.contains(narrow)
}

fn terms_meet(a: &[AddressTerm], b: &[AddressTerm]) -> bool {
    a.iter()
        .any(|a| b.iter().any(|b| term_includes(a, b) || term_includes(b, a)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn src(prefix: &str) -> Test {
        let prefix = prefix.parse().unwrap();
        Test::Address(AddressField::Src, vec![AddressTerm::Prefix(prefix)])
    }

    #[test]
    fn a_wider_prefix_includes_a_longer_one_only() {
        assert!(includes(&src("10.0.0.0/8"), &src("10.1.0.0/16")));
        assert!(!includes(&src("10.1.0.0/16"), &src("10.0.0.0/8")));
        assert!(!includes(&src("10.0.0.0/8"), &src("fd00::/8")));
        assert!(can_both_hold(&src("10.1.0.0/16"), &src("10.0.0.0/8")));
        assert!(!can_both_hold(&src("10.1.0.0/16"), &src("10.2.0.0/16")));
    }

    #[test]
    fn marks_include_by_their_masks() {
        let low = Test::Mark(vec![(0x10, 0xf0)]);
        let exact = Test::Mark(vec![(0x13, 0xff)]);
        assert!(includes(&low, &exact));
        assert!(!includes(&exact, &low));
        assert!(!can_both_hold(&low, &Test::Mark(vec![(0x20, 0xf0)])));
        assert!(can_both_hold(&low, &Test::Mark(vec![(0x1, 0x0f)])));
    }

    #[test]
    fn a_number_must_fit_between_above_and_below() {
        assert!(!can_both_hold(&Test::BytesAbove(10), &Test::BytesBelow(11)));
        assert!(can_both_hold(&Test::BytesAbove(10), &Test::BytesBelow(12)));
        assert!(!can_both_hold(
            &Test::BytesAbove(u64::MAX),
            &Test::BytesBelow(u64::MAX)
        ));
    }
}
