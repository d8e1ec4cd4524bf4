//! Asks and flows for tests.

use std::time::Duration;

use super::super::filter::FilterArgs;
use super::Setup;
use super::look::{Ask, Order};
use crate::flow::protocol::tcp;
use crate::flow::{Counters, Family, Flow, Present, Protocol, Status, Tuple};

pub(super) fn ask(by: &str, filter: &str) -> Ask {
    let filter = FilterArgs::read(filter).unwrap();
    Ask {
        version: 0,
        predicate: filter.check(&[]).unwrap(),
        names_sets: false,
        by: by.parse().unwrap(),
        within: None,
        order: Order::default(),
        reversed: false,
        flow: None,
        every: Duration::from_secs(2),
        paused: false,
    }
}

pub(super) fn setup(by: &str, filter: &str) -> Setup {
    let filter = FilterArgs::read(filter).unwrap();
    Setup {
        host: "gw1".to_owned(),
        netns: Some("blue".to_owned()),
        predicate: filter.check(&[]).unwrap(),
        filter,
        by: by.parse().unwrap(),
        every: Duration::from_secs(2),
        sets: None,
    }
}

fn flow(protocol: Protocol, n: u32, dport: u16) -> Flow {
    let src = [10, 0, 0, u8::try_from(1 + n % 3).unwrap()];
    let sport = 1024 + u16::try_from(n % 60_000).unwrap();
    let tuple = Tuple::new(src.into(), [192, 0, 2, 9].into(), sport, dport);
    let mut flow = Flow::new(Family::Ipv4, protocol, tuple);
    // More ports than there are: the zone tells the rest apart.
    flow.zone_orig = u16::try_from(n / 60_000).unwrap();
    flow.zone_reply = flow.zone_orig;
    flow.status = Status::SEEN_REPLY | Status::ASSURED;
    flow.timeout = 300 + n % 100;
    flow.id = n + 1;
    flow.counters_orig = Counters {
        packets: 3,
        bytes: u64::from(n) * 1000,
    };
    flow.present =
        Present::STATUS | Present::TIMEOUT | Present::ID | Present::REPLY | Present::COUNTERS;
    flow
}

pub(super) fn tcp(n: u32, dport: u16) -> Flow {
    let mut flow = flow(Protocol::TCP, n, dport);
    flow.state = tcp::ESTABLISHED;
    flow.present |= Present::STATE;
    flow
}

pub(super) fn udp(n: u32) -> Flow {
    let mut flow = flow(Protocol::UDP, n, 53);
    flow.status = Status::empty();
    flow
}
