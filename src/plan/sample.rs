//! A few flows to show, the same ones whatever order the dump had.

use crate::flow::{Flow, FlowKey};

/// How many flows a rule shows.
const SIZE: usize = 3;

/// The first flows by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    flows: Vec<(FlowKey, Option<&'static str>)>,
}

impl Sample {
    pub(super) fn offer(&mut self, key: FlowKey, state: Option<&'static str>) {
        if self.flows.len() == SIZE && self.flows.last().is_some_and(|(last, _)| key >= *last) {
            return;
        }
        let place = self.flows.partition_point(|(known, _)| *known < key);
        self.flows.insert(place, (key, state));
        self.flows.truncate(SIZE);
    }

    pub(super) fn offer_flow(&mut self, flow: &Flow) {
        self.offer(flow.key(), flow.state_name());
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (key, state) in other.flows {
            self.offer(key, state);
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.flows
            .iter()
            .map(|(key, state)| match state {
                Some(state) => format!("{key} {state}"),
                None => key.to_string(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::flow::{Family, Protocol, Tuple};

    fn key(host: u8) -> FlowKey {
        let address = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        FlowKey {
            family: Family::Ipv4,
            zone: 0,
            protocol: Protocol::TCP,
            orig: Tuple::new(address(host), address(250), 1000, 80),
        }
    }

    #[test]
    fn the_order_of_offers_does_not_matter() {
        let mut up = Sample::default();
        let mut down = Sample::default();
        for host in 1..=9 {
            up.offer(key(host), None);
            down.offer(key(10 - host), None);
        }
        assert_eq!(up.lines(), down.lines());
        assert_eq!(up.lines()[0], "tcp 10.0.0.1:1000 10.0.0.250:80");
        assert_eq!(up.lines().len(), SIZE);
    }
}
