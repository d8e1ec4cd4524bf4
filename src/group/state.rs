//! The state of a flow in a key: by its name, so that `ESTABLISHED` is one state whatever the protocol.

use std::sync::LazyLock;

use crate::flow::protocol::state_names;
use crate::flow::{Flow, Protocol};

const PROTOCOLS: [Protocol; 3] = [Protocol::TCP, Protocol::SCTP, Protocol::DCCP];

/// Every name once, in their order.
static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut names = PROTOCOLS.map(state_names).concat();
    names.sort_unstable();
    names.dedup();
    names
});

/// For the number of each state of [`PROTOCOLS`] 1 + the place of its name.
static PLACES: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    PROTOCOLS.map(|protocol| {
        let place = |name| NAMES.partition_point(|other| other < name) + 1;
        let places = state_names(protocol).iter().map(place);
        places.filter_map(|place| place.try_into().ok()).collect()
    })
});

/// The state of a flow, if it has one. States sort as their names do; those that have none are first,
/// by number.
#[inline]
pub(super) fn encode(flow: &Flow) -> Option<[u8; 2]> {
    let state = flow.state()?;
    let protocol = (PROTOCOLS.iter()).position(|protocol| *protocol == flow.protocol);
    let place = protocol.and_then(|protocol| PLACES[protocol].get(usize::from(state)));
    Some(place.map_or([0, state], |place| [*place, 0]))
}

/// The name of what [`encode`] made; the number where there is none.
pub(super) fn decode([place, number]: [u8; 2]) -> String {
    let name = usize::from(place).checked_sub(1);
    match name.and_then(|place| NAMES.get(place)) {
        Some(name) => (*name).to_owned(),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Family, Present, Tuple};

    fn key(protocol: Protocol, state: u8) -> [u8; 2] {
        let mut flow = Flow::new(Family::Ipv4, protocol, Tuple::default());
        (flow.state, flow.present) = (state, Present::STATE);
        encode(&flow).unwrap()
    }

    #[test]
    fn states_of_one_name_are_one_and_sort_by_name() {
        let mut states: Vec<([u8; 2], &str)> = PROTOCOLS
            .iter()
            .flat_map(|protocol| {
                (0..)
                    .zip(state_names(*protocol))
                    .map(|(n, name)| (key(*protocol, n), *name))
            })
            .collect();
        states.sort_unstable_by_key(|(key, _)| *key);
        for (key, name) in &states {
            assert_eq!(decode(*key), *name);
        }
        assert!(states.is_sorted_by_key(|(_, name)| *name));
        assert_eq!(key(Protocol::TCP, 3), key(Protocol::SCTP, 4));
    }

    #[test]
    fn a_state_without_a_name_is_its_number() {
        for number in [77, 200, u8::MAX] {
            assert_eq!(decode(key(Protocol::TCP, number)), number.to_string());
            assert!(key(Protocol::TCP, number) < key(Protocol::TCP, 0));
        }
        assert_eq!(decode(key(Protocol::UDP, 3)), "3");
    }
}
