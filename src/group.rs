//! Groups of flows: by one field (`over`), or by any (`--by`), and how many flows each has.

mod by;
mod cell;
mod column;
mod per_group;
mod state;

pub use by::{By, ByError, MOST_FIELDS, Untold};
pub use cell::Cell;
pub use column::{WHOLE, names};
pub use per_group::PerGroup;

use std::collections::HashMap;

use crate::flow::{Family, Flow, Present};
use crate::policy::{GroupField, Over};

/// What the flows of one group have in common: an address cut to a prefix, or a number.
///
/// Addresses of the two families, and numbers, are never equal; the order is that of listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupKey {
    /// A port, mark or zone.
    Number(u32),
    /// An IPv4 address, its host bits zero.
    Ipv4([u8; 4]),
    /// An IPv6 address, its host bits zero.
    Ipv6([u8; 16]),
}

impl GroupKey {
    /// The group of a flow; `None` where the entry does not provide the field or the kernel did
    /// not tell it.
    #[must_use]
    pub fn of(flow: &Flow, over: &Over) -> Option<Self> {
        let reply = flow.present.contains(Present::REPLY);
        let address = match over.per {
            GroupField::Src => &flow.orig.src,
            GroupField::Dst => &flow.orig.dst,
            GroupField::ReplySrc if reply => &flow.reply.src,
            GroupField::ReplyDst if reply => &flow.reply.dst,
            GroupField::ReplySrc | GroupField::ReplyDst => return None,
            GroupField::Dport => {
                let port = flow.orig.dst_port;
                return flow
                    .protocol
                    .has_ports()
                    .then_some(Self::Number(port.into()));
            }
            GroupField::Mark => {
                let known = flow.present.contains(Present::MARK);
                return known.then_some(Self::Number(flow.mark));
            }
            GroupField::Zone => return Some(Self::Number(flow.zone_orig.into())),
        };
        let bits = u128::from_be_bytes(*address);
        Some(match flow.family {
            Family::Ipv4 => {
                let cut = cut(bits, over.prefix4.min(32)).to_be_bytes();
                Self::Ipv4([cut[0], cut[1], cut[2], cut[3]])
            }
            Family::Ipv6 => Self::Ipv6(cut(bits, over.prefix6).to_be_bytes()),
        })
    }
}

/// Keeps the first bits.
fn cut(bits: u128, length: u8) -> u128 {
    match 128_u32.checked_sub(u32::from(length)) {
        Some(rest) => bits & u128::MAX.checked_shl(rest).unwrap_or(0),
        None => bits,
    }
}

/// How many flows each group has.
///
/// Hashing is seeded, since remote hosts choose the keys; what is counted does not depend on the
/// order of flows, nor on how a dump was split.
#[derive(Clone, Debug)]
pub struct Groups {
    over: Over,
    numbers: HashMap<GroupKey, u32>,
    counts: Vec<u64>,
}

impl Groups {
    /// None yet.
    #[must_use]
    pub fn new(over: Over) -> Self {
        Self {
            over,
            numbers: HashMap::new(),
            counts: Vec::new(),
        }
    }

    /// Counts a flow that matches the rule's other fields and gives the number of its group;
    /// `None` for a flow without one. Allocates only for groups not seen before.
    pub fn count(&mut self, flow: &Flow) -> Option<u32> {
        let number = self.number(GroupKey::of(flow, &self.over)?)?;
        self.counts[number as usize] += 1;
        Some(number)
    }

    /// The number of a group, given now if it has none; `None` past 2^32 - 1 groups.
    fn number(&mut self, key: GroupKey) -> Option<u32> {
        let next = u32::try_from(self.counts.len())
            .ok()
            .filter(|&next| next < u32::MAX)?;
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.counts.push(0);
        }
        Some(number)
    }

    /// Adds what another part of the same dump counted; tells the new number of each of its groups.
    pub fn merge(&mut self, other: &Self) -> Vec<Option<u32>> {
        let mut renumbered = vec![None; other.counts.len()];
        for (key, &theirs) in &other.numbers {
            let mine = self.number(*key);
            if let Some(mine) = mine {
                self.counts[mine as usize] += other.counts[theirs as usize];
            }
            renumbered[theirs as usize] = mine;
        }
        renumbered
    }

    /// Whether a group has more flows than the rule's count.
    #[must_use]
    pub fn is_over(&self, number: u32) -> bool {
        self.counts
            .get(number as usize)
            .is_some_and(|count| *count > self.over.count)
    }

    /// The same of a group by what its flows have in common.
    #[must_use]
    pub fn is_over_key(&self, key: GroupKey) -> bool {
        self.numbers
            .get(&key)
            .is_some_and(|&number| self.is_over(number))
    }

    /// How many flows the groups above the count have together.
    #[must_use]
    pub fn flows_over(&self) -> u64 {
        self.counts
            .iter()
            .filter(|count| **count > self.over.count)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::flow::{Protocol, Tuple};

    fn flow(protocol: Protocol, src: &str, dst: &str) -> Flow {
        let (src, dst): (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
        let family = if src.is_ipv4() {
            Family::Ipv4
        } else {
            Family::Ipv6
        };
        Flow::new(family, protocol, Tuple::new(src, dst, 1000, 53))
    }

    fn over(per: GroupField, count: u64) -> Over {
        Over {
            per,
            prefix4: 24,
            prefix6: 64,
            count,
        }
    }

    #[test]
    fn addresses_are_cut_by_family() {
        let over = over(GroupField::Src, 0);
        let udp = |src, dst| GroupKey::of(&flow(Protocol::UDP, src, dst), &over);
        assert_eq!(
            udp("10.0.3.7", "1.1.1.1"),
            Some(GroupKey::Ipv4([10, 0, 3, 0]))
        );
        assert_eq!(
            udp("fd00:0:0:3::7", "::1"),
            udp("fd00:0:0:3:ffff::1", "::2")
        );
        assert_ne!(udp("fd00:0:0:3::7", "::1"), udp("fd00:0:0:4::7", "::1"));
    }

    #[test]
    fn the_shortest_and_the_longest_prefixes_hold() {
        for (prefix, key) in [(0, [0, 0, 0, 0]), (32, [255, 1, 2, 3])] {
            let over = Over {
                prefix4: prefix,
                prefix6: 128,
                ..over(GroupField::Dst, 0)
            };
            let flow = flow(Protocol::UDP, "9.9.9.9", "255.1.2.3");
            assert_eq!(GroupKey::of(&flow, &over), Some(GroupKey::Ipv4(key)));
        }
    }

    #[test]
    fn what_an_entry_does_not_provide_makes_no_group() {
        let icmp = flow(Protocol::ICMP, "10.0.0.1", "10.0.0.2");
        for per in [
            GroupField::Dport,
            GroupField::Mark,
            GroupField::ReplySrc,
            GroupField::ReplyDst,
        ] {
            let mut groups = Groups::new(over(per, 0));
            assert_eq!(groups.count(&icmp), None, "{per:?}");
        }
    }

    #[test]
    fn a_group_at_the_count_is_not_over_it() {
        let flow = flow(Protocol::UDP, "10.0.0.1", "10.0.0.2");
        let mut groups = Groups::new(over(GroupField::Dport, 2));
        for expected in [false, false, true] {
            let number = groups.count(&flow).unwrap();
            assert_eq!(groups.is_over(number), expected);
        }
        assert_eq!(groups.flows_over(), 3);
    }

    proptest! {
        #[test]
        fn neither_order_nor_split_matters(
            hosts in prop::collection::vec(0..6_u8, 0..60),
            split in 0..60_usize,
        ) {
            let host = |h: &u8| flow(Protocol::UDP, &format!("10.0.{h}.1"), "10.9.9.9");
            let count = |hosts: &[u8]| {
                let mut groups = Groups::new(over(GroupField::Src, 5));
                for h in hosts {
                    groups.count(&host(h));
                }
                groups
            };
            let sizes = |groups: &Groups| {
                let mut sizes: Vec<_> = groups
                    .numbers
                    .iter()
                    .map(|(key, number)| (*key, groups.counts[*number as usize]))
                    .collect();
                sizes.sort_unstable();
                sizes
            };
            let mut reversed = hosts.clone();
            reversed.reverse();
            let split = split.min(hosts.len());
            let mut merged = count(&hosts[split..]);
            merged.merge(&count(&hosts[..split]));
            prop_assert_eq!(sizes(&count(&hosts)), sizes(&merged));
            prop_assert_eq!(sizes(&count(&reversed)), sizes(&merged));
        }
    }
}
