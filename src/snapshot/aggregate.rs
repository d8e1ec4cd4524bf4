//! Flows to groups with counts: what fills a table, without every flow of it.

use std::collections::HashMap;

use super::outline::Outline;
use super::record::{Common, Group, Totals};
use super::redact::Redactor;
use crate::flow::Flow;
use crate::observe::Header;

/// Most groups that tell sources, destinations, ports and marks apart. Whoever floods a table from
/// invented addresses would else make a group of each flow.
pub const MOST_GROUPS: usize = 1 << 18;

/// Groups as they come about.
#[derive(Clone, Debug)]
pub struct Aggregate {
    outline: Outline,
    redactor: Option<Redactor>,
    most: usize,
    groups: HashMap<Common, Totals>,
    flows: u64,
    folded: u64,
}

impl Aggregate {
    /// None yet. `header` is that of the table, not redacted.
    #[must_use]
    pub fn new(header: &Header, redactor: Option<Redactor>) -> Self {
        Self {
            outline: Outline::new(header),
            redactor,
            most: MOST_GROUPS,
            groups: HashMap::new(),
            flows: 0,
            folded: 0,
        }
    }

    /// Counts a flow. Allocates only for a group not seen before.
    pub fn add(&mut self, flow: &Flow) {
        self.flows += 1;
        let common = self.common(flow);
        if self.groups.len() < self.most || self.groups.contains_key(&common) {
            self.groups.entry(common).or_default().add(flow);
            return;
        }
        self.folded += 1;
        let rest = Common {
            src: None,
            dst: None,
            dport: None,
            mark: None,
            ..common
        };
        self.groups.entry(rest).or_default().add(flow);
    }

    /// Flows in all groups together.
    #[must_use]
    pub fn flows(&self) -> u64 {
        self.flows
    }

    /// Those of them that came past [`MOST_GROUPS`] and lie in groups without addresses and ports.
    #[must_use]
    pub fn folded(&self) -> u64 {
        self.folded
    }

    /// The groups in their order.
    #[must_use]
    pub fn into_groups(self) -> Vec<Group> {
        let mut groups: Vec<Group> = self
            .groups
            .into_iter()
            .map(|(common, totals)| Group { common, totals })
            .collect();
        groups.sort_unstable_by_key(|group| group.common);
        groups
    }

    fn common(&mut self, flow: &Flow) -> Common {
        let mut common = self.outline.of(flow);
        if let Some(redactor) = &mut self.redactor {
            for address in [&mut common.src, &mut common.dst].into_iter().flatten() {
                *address = redactor.octets(flow.family, *address);
            }
        }
        common
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Counters, Family, Present, Protocol, Status, Tuple};

    fn flow(src: [u8; 4], dst: [u8; 4], sport: u16) -> Flow {
        let orig = Tuple::new(src.into(), dst.into(), sport, 443);
        let mut flow = Flow::new(Family::Ipv4, Protocol::TCP, orig);
        flow.present = Present::STATUS | Present::STATE | Present::COUNTERS;
        flow.status = Status::SEEN_REPLY | Status::CONFIRMED;
        flow.state = 3;
        flow.counters_orig = Counters {
            packets: 2,
            bytes: 100,
        };
        flow
    }

    const HERE: [u8; 4] = [192, 0, 2, 1];
    const THERE: [u8; 4] = [198, 51, 100, 1];

    fn aggregate(redactor: Option<Redactor>) -> Aggregate {
        let header = Header {
            addresses: Some(vec![HERE.into()]),
            ..Header::default()
        };
        Aggregate::new(&header, redactor)
    }

    #[test]
    fn flows_of_one_network_and_service_are_one_group() {
        let mut groups = aggregate(None);
        for host in 1..=3 {
            groups.add(&flow([10, 0, 0, host], THERE, 7));
        }
        groups.add(&flow([10, 0, 1, 1], [203, 0, 113, 9], 1));
        let groups = groups.into_groups();
        let flows: Vec<u64> = groups.iter().map(|group| group.totals.flows).collect();
        assert_eq!(flows, [3, 1]);
        let Group { common, totals } = groups[0];
        assert_eq!(common.src_ip(), Some([10, 0, 0, 0].into()));
        assert_eq!(common.dst, None, "where clients go is not told");
        assert_eq!(common.status, Some(Status::SEEN_REPLY));
        assert_eq!((totals.counted, totals.packets, totals.bytes), (3, 6, 300));
    }

    #[test]
    fn the_destination_names_a_service_here_or_behind() {
        let mut groups = aggregate(None);
        groups.add(&flow([10, 0, 0, 1], HERE, 1));
        let mut translated = flow([10, 0, 1, 2], THERE, 1);
        translated.status |= Status::DST_NAT;
        groups.add(&translated);
        let dst: Vec<_> = (groups.into_groups().iter())
            .map(|group| group.common.dst_ip())
            .collect();
        assert_eq!(dst, [Some(HERE.into()), Some(THERE.into())]);
    }

    #[test]
    fn a_flood_of_sources_is_folded_and_counted() {
        let mut groups = Aggregate {
            most: 2,
            ..aggregate(None)
        };
        for network in 0..10 {
            groups.add(&flow([10, 0, network, 1], THERE, 1));
        }
        groups.add(&flow([10, 0, 0, 0], THERE, 2));
        assert_eq!((groups.flows(), groups.folded()), (11, 8));
        let groups = groups.into_groups();
        assert_eq!(groups.len(), 3);
        assert_eq!(groups[0].common.src, None);
        assert_eq!(groups[0].totals.flows, 8);
        assert_eq!(
            groups.iter().map(|group| group.totals.flows).sum::<u64>(),
            11
        );
    }

    #[test]
    fn redacted_groups_are_those_of_the_redacted_addresses() {
        let key = b"0123456789abcdef";
        for mut redactor in [Redactor::prefix(), Redactor::pseudonym(key).unwrap()] {
            let mut groups = aggregate(Some(redactor.clone()));
            groups.add(&flow([10, 0, 0, 1], HERE, 1));
            groups.add(&flow([10, 0, 0, 2], HERE, 1));
            let groups = groups.into_groups();
            assert_eq!(groups.len(), 1);
            let network = redactor.address([10, 0, 0, 0].into());
            assert_eq!(groups[0].common.src_ip(), Some(network));
            let here = redactor.address(HERE.into());
            assert_eq!(groups[0].common.dst_ip(), Some(here));
        }
    }
}
