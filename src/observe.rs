//! What can be seen of a connection tracking table, whoever shows it.
//!
//! The running kernel and a snapshot both implement [`Observe`]; planning takes it by reference and
//! so cannot write, by type. This module holds the contract alone and does no I/O itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::flow::{Extra, Flow};
use crate::history::History;

/// One entry as a dump delivers it; borrowed, nothing is allocated for it.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The entry. [`Flow::extra`] is 0 here: `extra` below holds what it would point to.
    pub flow: Flow,
    /// What few entries carry.
    pub extra: Extra<'a>,
    /// The whole netlink message, header included; empty where there was none.
    pub message: &'a [u8],
}

/// Takes the entries of a dump, one by one.
pub trait Visit: Send {
    /// Called once for each entry.
    fn visit(&mut self, record: &Record<'_>);
}

impl<F: FnMut(&Record<'_>) + Send> Visit for F {
    fn visit(&mut self, record: &Record<'_>) {
        self(record);
    }
}

/// Called now and then with the number of entries that a visitor has seen.
pub type Tell<'a> = dyn Fn(u64) + Sync + 'a;

/// A visitor that tells how far it is.
pub struct Told<'a, V> {
    inner: V,
    seen: u64,
    tell: &'a Tell<'a>,
}

impl<'a, V: Visit> Told<'a, V> {
    const EVERY: u64 = 8192;

    /// Wraps a visitor.
    pub fn new(inner: V, tell: &'a Tell<'a>) -> Self {
        Self {
            inner,
            seen: 0,
            tell,
        }
    }

    /// The visitor.
    pub fn into_inner(self) -> V {
        self.inner
    }
}

impl<V: Visit> Visit for Told<'_, V> {
    fn visit(&mut self, record: &Record<'_>) {
        self.seen += 1;
        if self.seen.is_multiple_of(Self::EVERY) {
            (self.tell)(self.seen);
        }
        self.inner.visit(record);
    }
}

/// What a finished dump says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dumped {
    /// Entries delivered to all visitors together.
    pub entries: u64,
    /// Messages that could not be decoded; none of them reached a visitor.
    pub undecoded: u64,
    /// The hash table changed its size meanwhile: entries may be missing or doubled.
    pub resized: bool,
}

/// Shows a connection tracking table.
pub trait Observe: Sync {
    /// Everything but the entries.
    ///
    /// # Errors
    /// Where nothing can be seen at all: no privilege, a damaged snapshot. A missing module or an
    /// unreadable key is no error but part of the answer.
    fn header(&self) -> Result<Header, ObserveError>;

    /// Delivers each entry to exactly one of the visitors. With two visitors the source may split
    /// the table by family and fill both in parallel.
    ///
    /// # Errors
    /// Where the dump did not come to its end; what was visited before is then worth nothing.
    fn dump(&self, visitors: &mut [&mut dyn Visit]) -> Result<Dumped, ObserveError>;
}

/// Why nothing could be seen.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The caller may not look.
    #[error("{0}")]
    Permission(String),
    /// There is no connection tracking here: module absent, or not supported.
    #[error("{0}")]
    Absent(String),
    /// The source is damaged or not what it says it is.
    #[error("{0}")]
    Damaged(String),
    /// Anything else.
    #[error("{what}")]
    Failed {
        /// What was tried.
        what: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Everything but the entries: the first line of a snapshot, and what a plan is made against.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// Host name.
    pub host: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Kernel release, as `uname -r` prints it.
    pub kernel: String,
    /// conntidy's version.
    pub conntidy: String,
    /// The network namespace.
    pub netns: Netns,
    /// Wall clock at the observation, nanoseconds since 1970.
    pub time_ns: u64,
    /// Time since boot, suspend included, at the observation, nanoseconds (`CLOCK_BOOTTIME`).
    pub uptime_ns: u64,
    /// Processors online.
    pub cores: u32,
    /// Memory of the machine in bytes (`MemTotal`).
    pub memory: u64,
    /// Whether `nf_conntrack` is there: its sysctl directory exists.
    pub conntrack: bool,
    /// Tells one load of `nf_conntrack` from the next, within a boot; `None` where `/sys/module` is
    /// out of sight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_load: Option<u64>,
    /// Every known tunable, by its name under `net.netfilter` or, for others, its full name.
    pub tunables: BTreeMap<String, Reading>,
    /// Entries, as the kernel counts them in this namespace.
    pub count: Option<u64>,
    /// Counters of each processor.
    pub cpu: Vec<CpuStatistics>,
    /// Addresses of this host in this namespace; `None` where they could not be read.
    pub addresses: Option<Vec<IpAddr>>,
    /// Members of the policy's sets, where a snapshot recorded them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    pub sets: BTreeMap<String, Vec<IpNet>>,
    /// Protocols for which `ct timeout` objects exist here; `None` where that could not be found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ct_timeout_protocols: Option<Vec<u8>>,
    /// Connections of the caller's own session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub session: Vec<Connection>,
    /// What earlier runs tell of timeouts in this namespace and boot.
    #[serde(default)]
    pub history: History,
    /// SHA-256 of the policy in force, hex, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_sha256: Option<String>,
    /// Why a snapshot was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// What was done to all addresses, those of this header included; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Redaction>,
}

/// Why a snapshot was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// Somebody asked for it.
    ByHand,
    /// The interval had passed.
    Interval,
    /// The table filled up.
    Pressure,
    /// It was made of what another program recorded.
    Import,
}

/// What was done to the addresses of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "addresses", rename_all = "kebab-case")]
pub enum Redaction {
    /// They were cut to prefixes of these lengths.
    Prefix {
        /// Of IPv4 addresses.
        ipv4: u8,
        /// Of IPv6 addresses.
        ipv6: u8,
    },
    /// They were replaced: the same address by the same pseudonym wherever the key is the same.
    Pseudonym {
        /// Tells keys apart and says nothing of them: 16 hex digits.
        key: String,
    },
}

/// A network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Netns {
    /// `init`, a name under `/run/netns`, or a path.
    pub name: String,
    /// Device of its nsfs inode.
    pub device: u64,
    /// Inode number of the namespace.
    pub inode: u64,
    /// Whether it is the initial namespace, as far as can be told.
    pub initial: bool,
    /// Change time of its nsfs inode, nanoseconds since 1970, where a mount pins it (as those of
    /// `ip netns` and containers do): a boot gives inode numbers again, never both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_ns: Option<u64>,
}

/// One tunable as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reading {
    /// Its value as the kernel prints it, without the line end; `None` if it was not readable.
    pub value: Option<String>,
    /// Whether the caller may write it, as far as permissions tell.
    pub writable: bool,
    /// Why there is no value, where the file exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Header {
    /// A tunable's value as a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.tunables
            .get(name)?
            .value
            .as_deref()?
            .trim()
            .parse()
            .ok()
    }
}

/// Per-processor counters (`IPCTNL_MSG_CT_GET_STATS_CPU`); those that kernels still count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CpuStatistics {
    /// Processor number.
    pub cpu: u16,
    /// Lookups that found an entry.
    pub found: u32,
    /// Packets that could not be tracked.
    pub invalid: u32,
    /// Entries inserted by a clash or userspace.
    pub insert: u32,
    /// Insertions that failed.
    pub insert_failed: u32,
    /// Packets dropped because no entry could be made.
    pub drop: u32,
    /// Unassured entries dropped to make room.
    pub early_drop: u32,
    /// Packets with errors.
    pub error: u32,
    /// Lookups restarted because the table changed.
    pub search_restart: u32,
    /// Insertion races resolved.
    pub clash_resolve: u32,
    /// Insertions refused because a hash chain was too long.
    pub chain_toolong: u32,
}

/// A connection by its two ends, as a socket of this host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// IP protocol number.
    pub protocol: u8,
    /// This host's end.
    pub local: IpAddr,
    /// This host's port.
    pub local_port: u16,
    /// The other end.
    pub peer: IpAddr,
    /// The other end's port.
    pub peer_port: u16,
}
