//! Sorted disjoint ranges: a list of alternatives, whatever its length, at the price of a few
//! comparisons.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::flow::Family;

/// Up to this many ranges a walk is quicker than a binary search.
const WALK: usize = 8;

/// Inclusive ranges in ascending order, none of which overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges<T>(Box<[(T, T)]>);

impl<T: Copy + Ord> Ranges<T> {
    /// From inclusive ranges in any order; ones that are upside down hold nothing.
    pub fn new(ranges: impl IntoIterator<Item = (T, T)>) -> Self {
        let mut sorted: Vec<(T, T)> = ranges
            .into_iter()
            .filter(|(low, high)| low <= high)
            .collect();
        sorted.sort_unstable();
        let mut disjoint: Vec<(T, T)> = Vec::with_capacity(sorted.len());
        for (low, high) in sorted {
            match disjoint.last_mut() {
                Some(last) if low <= last.1 => last.1 = last.1.max(high),
                _ => disjoint.push((low, high)),
            }
        }
        Self(disjoint.into_boxed_slice())
    }

    /// Whether one of the ranges holds the value.
    #[must_use]
    pub fn contains(&self, value: T) -> bool {
        if self.0.len() <= WALK {
            return self
                .0
                .iter()
                .any(|&(low, high)| low <= value && value <= high);
        }
        let after = self.0.partition_point(|&(low, _)| low <= value);
        after > 0 && value <= self.0[after - 1].1
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Addresses of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    ipv4: Ranges<u32>,
    ipv6: Ranges<u128>,
}

impl Addresses {
    /// From prefixes in any order; host bits do not matter.
    pub fn new<'a>(prefixes: impl IntoIterator<Item = &'a IpNet>) -> Self {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for prefix in prefixes {
            match prefix {
                IpNet::V4(net) => ipv4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => ipv6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Self {
            ipv4: Ranges::new(ipv4),
            ipv6: Ranges::new(ipv6),
        }
    }

    /// From single addresses.
    pub fn single<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>) -> Self {
        let prefixes: Vec<IpNet> = addresses.into_iter().copied().map(IpNet::from).collect();
        Self::new(&prefixes)
    }

    /// Whether an address of a tuple is among them.
    #[must_use]
    pub fn contains(&self, family: Family, address: &[u8; 16]) -> bool {
        match family {
            Family::Ipv4 => self.ipv4.contains(ipv4_bits(address)),
            Family::Ipv6 => self.ipv6.contains(u128::from_be_bytes(*address)),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ipv4.is_empty() && self.ipv6.is_empty()
    }
}

/// The IPv4 address of a tuple's bytes.
pub(crate) fn ipv4_bits(address: &[u8; 16]) -> u32 {
    u32::from_be_bytes([address[0], address[1], address[2], address[3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_prefix_of_one_family_holds_nothing_of_the_other() {
        let all_ipv6: IpNet = "::/0".parse().unwrap();
        let addresses = Addresses::new([&all_ipv6]);
        assert!(addresses.contains(Family::Ipv6, &[0; 16]));
        assert!(!addresses.contains(Family::Ipv4, &[0; 16]));
    }

    #[test]
    fn the_widest_prefixes_hold_the_first_and_the_last_address() {
        let all: [IpNet; 2] = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
        let addresses = Addresses::new(&all);
        for bytes in [[0; 16], [255; 16]] {
            assert!(addresses.contains(Family::Ipv4, &bytes));
            assert!(addresses.contains(Family::Ipv6, &bytes));
        }
    }

    proptest! {
        #[test]
        fn merged_ranges_hold_what_the_list_holds(
            list in prop::collection::vec((any::<u8>(), any::<u8>()), 0..40),
            value: u8,
        ) {
            let by_list = list.iter().any(|&(low, high)| low <= value && value <= high);
            prop_assert_eq!(Ranges::new(list).contains(value), by_list);
        }
    }
}
