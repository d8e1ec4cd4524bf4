//! What one run tells the next: about timeouts, so that idle time can be proven, about this host's
//! addresses, so that lost ones are known, and about the tunables that it wrote, so that another
//! writer is noticed.
//!
//! Idle time is inferred from the remaining time, so a changed timeout or a written one would look
//! like idleness. The history of one namespace and boot says which values governed when, and when
//! conntidy itself set the timers of entries. All times are nanoseconds since boot (`uptime_ns`).

mod addresses;
mod clock;
mod persisted;
mod record;
mod written;

#[cfg(test)]
mod tests;

pub use addresses::{AddressSeen, MOST_ADDRESSES};
pub use clock::{AgeDoubt, Clock};
pub use persisted::{
    Followed, Identity, MOST_FLOWS, NotPersisted, Owner, Persisted, Sighting, fingerprint,
};
pub use record::LONGEST_RECORD;
pub use written::{CONTESTED_AFTER, Correction, Unconfirmed, WINDOW_NS, Write, Written};

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The history of one namespace in one boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// Values of each timeout, oldest first, by sysctl name (`nf_conntrack_tcp_timeout_close`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub timeouts: BTreeMap<String, Vec<Observation>>,
    /// When conntidy set the remaining time of entries, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retimes: Vec<Retime>,
    /// Until when `ct timeout` objects may have existed for a protocol, by its number, nanoseconds
    /// since boot: entries that were refreshed before may have got their timers from them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ct_timeouts: BTreeMap<u8, CtTimeoutSeen>,
    /// Wall clock minus time since boot, each time it was seen to differ, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clock: Vec<ClockOffset>,
    /// Addresses that this host had, loopback and link-local ones aside.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, AddressSeen>")]
    pub addresses: BTreeMap<IpAddr, AddressSeen>,
    /// Tunables that conntidy wrote, by sysctl name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub written: BTreeMap<String, Written>,
    /// Tunables that were put back, since nobody confirmed the run that wrote them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unconfirmed: BTreeMap<String, Unconfirmed>,
}

/// A timeout's value from one time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Observation {
    /// When it was first read, or written.
    pub at_ns: u64,
    /// Seconds.
    pub value: u32,
}

/// Entries whose remaining time was set by expire, update, undo or restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retime {
    /// When.
    pub at_ns: u64,
    /// The timeout that governed them, by sysctl name.
    pub timeout: String,
    /// The largest remaining time written, seconds.
    pub seconds: u32,
}

/// `ct timeout` objects of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CtTimeoutSeen {
    /// The first time at which there were none any more, else the last time at which there were.
    pub until_ns: u64,
    /// They were there when last looked for.
    pub present: bool,
}

/// Wall clock minus time since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClockOffset {
    /// When it was seen.
    pub at_ns: u64,
    /// The difference, nanoseconds.
    pub offset_ns: i64,
}
