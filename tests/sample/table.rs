//! A table that grows flow by flow, as the kernel would hold them.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use conntidy::flow::protocol::tcp;
use conntidy::flow::{
    Counters, Extra, Family, Flow, FlowKey, OwnedExtra, Present, Protocol, Status, Tuple,
};
use conntidy::tunable::{Governing, governing};

use crate::gateway::{NOW_NS, UPTIME_NS, timeout};
use crate::random::Random;

/// A flow in the making.
pub(crate) struct Draft {
    pub(crate) flow: Flow,
    pub(crate) extra: OwnedExtra,
    /// Seconds since its last packet.
    pub(crate) idle: u64,
    /// Seconds from its first to its last packet.
    pub(crate) active: u64,
    /// Most packets of the original direction.
    pub(crate) packets: u64,
    /// Seconds that the timer is capped to.
    pub(crate) cap: Option<u64>,
}

/// The flows, and what makes them distinct.
pub(crate) struct Table {
    pub(crate) random: Random,
    pub(crate) entries: Vec<(Flow, OwnedExtra)>,
    keys: HashSet<FlowKey>,
    replies: HashSet<(Family, u16, Protocol, Tuple)>,
}

impl Draft {
    fn new(flow: Flow) -> Self {
        Self {
            flow,
            extra: OwnedExtra::default(),
            idle: 0,
            active: 0,
            packets: 40,
            cap: None,
        }
    }

    /// Between two ports.
    pub(crate) fn ports(protocol: Protocol, src: SocketAddr, dst: SocketAddr) -> Self {
        let family = if src.is_ipv4() {
            Family::Ipv4
        } else {
            Family::Ipv6
        };
        Self::new(Flow::new(family, protocol, Tuple::between(src, dst)))
    }

    /// Between two addresses: no ports, GRE keys, or an ICMP type and id.
    pub(crate) fn plain(protocol: Protocol, src: IpAddr, dst: IpAddr, parts: (u16, u16)) -> Self {
        let family = if src.is_ipv4() {
            Family::Ipv4
        } else {
            Family::Ipv6
        };
        let orig = Tuple::new(src, dst, parts.0, parts.1);
        Self::new(Flow::new(family, protocol, orig))
    }

    pub(crate) fn echo(src: IpAddr, dst: IpAddr, id: u16) -> Self {
        let (protocol, kind) = if src.is_ipv4() {
            (Protocol::ICMP, 8)
        } else {
            (Protocol::ICMPV6, 128)
        };
        Self::plain(protocol, src, dst, (id, u16::from_be_bytes([kind, 0])))
    }

    /// In a state, with packets in both directions.
    pub(crate) fn state(mut self, state: u8) -> Self {
        self.flow.state = state;
        self.flow.present |= Present::STATE;
        self
    }

    pub(crate) fn status(mut self, status: Status) -> Self {
        self.flow.status |= status;
        self
    }

    /// Source becomes this address, and this port unless it stays.
    pub(crate) fn masquerade(mut self, address: impl Into<IpAddr>, port: Option<u16>) -> Self {
        let reply = self.flow.reply;
        let src = reply.src_ip(self.flow.family);
        self.flow.reply = Tuple::new(src, address.into(), reply.src_port, reply.dst_port);
        if let Some(port) = port {
            match self.flow.protocol {
                Protocol::ICMP | Protocol::ICMPV6 => self.flow.reply.src_port = port,
                _ => self.flow.reply.dst_port = port,
            }
        }
        self.status(Status::SRC_NAT)
    }

    /// Destination becomes this.
    pub(crate) fn forward_to(mut self, address: impl Into<IpAddr>, port: Option<u16>) -> Self {
        let reply = self.flow.reply;
        let dst = reply.dst_ip(self.flow.family);
        let src_port = port.unwrap_or(reply.src_port);
        self.flow.reply = Tuple::new(address.into(), dst, src_port, reply.dst_port);
        self.status(Status::DST_NAT)
    }

    pub(crate) fn zones(mut self, orig: u16, reply: u16) -> Self {
        (self.flow.zone_orig, self.flow.zone_reply) = (orig, reply);
        self
    }

    pub(crate) fn mark(mut self, mark: u32) -> Self {
        self.flow.mark = mark;
        self.flow.present |= Present::MARK;
        self
    }

    pub(crate) fn extra(mut self, extra: Extra<'_>) -> Self {
        self.extra = extra.to_owned();
        self
    }

    /// Last packet so many seconds ago, the first so many before that.
    pub(crate) fn times(mut self, idle: u64, active: u64) -> Self {
        (self.idle, self.active) = (idle, active);
        self
    }

    pub(crate) fn packets(mut self, most: u64) -> Self {
        self.packets = most;
        self
    }

    pub(crate) fn cap(mut self, seconds: u64) -> Self {
        self.cap = Some(seconds);
        self
    }

    /// In a flowtable: neither timer nor state are shown.
    pub(crate) fn offloaded(mut self, status: Status) -> Self {
        self.flow.present.remove(Present::STATE);
        self.flow.state = 0;
        self.status(status)
    }
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            random: Random(20_260_131),
            entries: Vec::new(),
            keys: HashSet::new(),
            replies: HashSet::new(),
        }
    }

    /// Adds a flow unless the kernel holds one with either of its tuples.
    pub(crate) fn add(&mut self, draft: Draft) {
        let mut flow = draft.flow;
        let reply = (flow.family, flow.zone_reply, flow.protocol, flow.reply);
        let key = flow.key();
        if self.keys.contains(&key) || self.replies.contains(&reply) {
            return;
        }
        self.keys.insert(key);
        self.replies.insert(reply);
        flow.present |= Present::REPLY | Present::STATUS | Present::MARK | Present::ID;
        flow.id = self.random.word();
        flow.status |= Status::CONFIRMED | Status::SRC_NAT_DONE | Status::DST_NAT_DONE;
        if flow.protocol == Protocol::TCP && flow.state().is_some() {
            self.tcp(&mut flow);
        }
        if !flow.is_offloaded() {
            flow.present |= Present::TIMEOUT;
            flow.timeout = self.remaining(&flow, &draft);
        }
        let age_ns =
            (draft.idle + draft.active) * 1_000_000_000 + self.random.between(0, 999_999_999);
        // Accounting and timestamps were turned on four days after boot.
        if age_ns < UPTIME_NS - 4 * 86_400_000_000_000 && !self.random.percent(4) {
            flow.present |= Present::START;
            flow.start_ns = NOW_NS - age_ns;
            flow.present |= Present::COUNTERS;
            self.count(&mut flow, draft.packets);
        }
        self.entries.push((flow, draft.extra));
    }

    fn remaining(&mut self, flow: &Flow, draft: &Draft) -> u32 {
        let full = match governing(flow).expect("every drafted flow has a timeout") {
            Governing::Sysctl(name) => timeout(name),
            Governing::Fixed(seconds) => seconds.into(),
        };
        let full = draft.cap.map_or(full, |cap| cap.min(full));
        // Rounded down, so that a second is missing as a rule.
        u32::try_from(full.saturating_sub(draft.idle + self.random.between(0, 1))).unwrap()
    }

    fn tcp(&mut self, flow: &mut Flow) {
        flow.present |= Present::TCP_FLAGS | Present::TCP_WSCALE;
        let replied = flow.status.contains(Status::SEEN_REPLY);
        // Window scale, SACK, and the highest acknowledgement seen.
        flow.tcp_flags_orig |= if replied { 0x23 } else { 0x03 };
        flow.tcp_flags_reply |= if replied { 0x23 } else { 0 };
        if matches!(
            flow.state,
            tcp::FIN_WAIT | tcp::CLOSE_WAIT | tcp::LAST_ACK | tcp::TIME_WAIT
        ) {
            flow.tcp_flags_orig |= 0x04;
        }
        let client = self.random.of(&[6, 7, 7, 8, 8, 10]);
        let server = if replied {
            self.random.of(&[7, 7, 8, 9])
        } else {
            0
        };
        flow.tcp_wscale = client | server << 4;
    }

    fn count(&mut self, flow: &mut Flow, most: u64) {
        let header = if flow.family == Family::Ipv4 { 40 } else { 60 };
        let packets = self.random.skewed(1, most);
        flow.counters_orig = Counters {
            packets,
            bytes: packets * header + self.random.skewed(0, packets * 300),
        };
        if flow.status.contains(Status::SEEN_REPLY) {
            let packets = packets + self.random.skewed(0, packets);
            flow.counters_reply = Counters {
                packets,
                bytes: packets * header + self.random.skewed(0, packets * 1400),
            };
        }
    }
}
