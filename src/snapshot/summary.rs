//! What a table holds, counted: for `snapshot show`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::record::Group;
use crate::flow::{Family, Flow, Present, Status};
use crate::observe::Record;

/// Counts over all flows of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Summary {
    /// All flows.
    pub flows: u64,
    /// IPv4.
    pub ipv4: u64,
    /// IPv6.
    pub ipv6: u64,
    /// By protocol and state, the largest first.
    pub protocols: Vec<Count>,
    /// Source is translated.
    pub src_nat: u64,
    /// Destination is translated.
    pub dst_nat: u64,
    /// No packet came back.
    pub unreplied: u64,
    /// Not dropped early when the table is full.
    pub assured: u64,
    /// In a flowtable.
    pub offloaded: u64,
    /// With a mark other than 0.
    pub marked: u64,
    /// In a zone other than 0, in either direction.
    pub zoned: u64,
    /// With a helper.
    pub helped: u64,
    /// With at least one label.
    pub labelled: u64,
    /// With counters of both directions.
    pub counted: u64,
    /// With a start time.
    pub timestamped: u64,
    #[serde(skip)]
    by_state: BTreeMap<(u8, Option<u8>), u64>,
}

/// Flows of one protocol in one state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Count {
    /// Protocol by name, or its number.
    pub protocol: String,
    /// State by name, or its number; absent for protocols without states and for offloaded flows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Flows.
    pub flows: u64,
}

impl Summary {
    /// Counts one more flow.
    pub fn add(&mut self, record: &Record<'_>) {
        let flow = &record.flow;
        self.add_flows(flow, 1);
        self.helped += u64::from(record.extra.helper.is_some());
        self.labelled += u64::from(record.extra.labels.is_some_and(|labels| labels != 0));
        self.counted += u64::from(flow.present.contains(Present::COUNTERS));
        self.timestamped += u64::from(flow.start_ns().is_some());
    }

    /// Counts the flows of a group. Helpers, labels and start times are not told of them.
    pub fn add_group(&mut self, group: &Group) {
        self.add_flows(&group.common.flow(), group.totals.flows);
        self.counted += group.totals.counted;
    }

    fn add_flows(&mut self, flow: &Flow, flows: u64) {
        let of = |holds: bool| if holds { flows } else { 0 };
        let bit = |bits| of(flow.status().is_some_and(|status| status.intersects(bits)));
        self.flows += flows;
        match flow.family {
            Family::Ipv4 => self.ipv4 += flows,
            Family::Ipv6 => self.ipv6 += flows,
        }
        self.src_nat += bit(Status::SRC_NAT);
        self.dst_nat += bit(Status::DST_NAT);
        self.assured += bit(Status::ASSURED);
        self.offloaded += bit(Status::OFFLOAD | Status::HW_OFFLOAD);
        self.unreplied += of(is_unreplied(flow));
        self.marked += of(flow.mark != 0);
        self.zoned += of(flow.zone_orig != 0 || flow.zone_reply != 0);
        *self
            .by_state
            .entry((flow.protocol.0, flow.state()))
            .or_default() += flows;
    }

    /// Sorts the counts by protocol and state; call it after the last [`add`](Self::add).
    #[must_use]
    pub fn finish(mut self) -> Self {
        self.protocols = std::mem::take(&mut self.by_state)
            .into_iter()
            .map(|((protocol, state), flows)| {
                let protocol = crate::flow::Protocol(protocol);
                Count {
                    protocol: protocol.to_string(),
                    state: state.map(|state| {
                        crate::flow::protocol::state_name(protocol, state)
                            .map_or_else(|| state.to_string(), str::to_owned)
                    }),
                    flows,
                }
            })
            .collect();
        self.protocols
            .sort_by_key(|count| std::cmp::Reverse(count.flows));
        self
    }
}

fn is_unreplied(flow: &Flow) -> bool {
    flow.status()
        .is_some_and(|status| !status.contains(Status::SEEN_REPLY))
}
