//! The policy file as written: every key optional, unknown keys refused.
//!
//! What must be there, and what goes together, is validation's affair: it sees all layers merged.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::leaf::{Leaf, LeafError, leaves};
use super::match_table::Match;
use super::quantity::{Bytes, Count, Pace};
use super::set_source::{InterfaceName, LocalWord, NftSet};
use super::shape::{OneOrMany, ScalarOr};
use super::term::{ActionWord, Prefix};
use super::{AddressForm, Compression, Detail, Mode, Percent, RunMode, Seconds};

/// A policy file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[schemars(title = "conntidy policy")]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub struct Document {
    /// Version of the language: 1.
    pub version: Option<Version>,
    /// How a run goes.
    pub run: Option<Run>,
    /// Limits over all rules of one run; past them nothing of that kind is done.
    pub limits: Option<LimitsTable>,
    /// Size of the table.
    pub table: Option<Table>,
    /// Timeouts by protocol and state.
    pub timeouts: Option<Timeouts>,
    /// Other `nf_conntrack_*` and `nf_flowtable_*` keys of `net.netfilter`, by their own names.
    pub sysctl: Option<BTreeMap<String, ScalarOr<SysctlValue, ModedSysctl>>>,
    /// Named sets of addresses, used as `@name`.
    pub sets: Option<BTreeMap<String, SetTable>>,
    /// Flush rules by name.
    pub rules: Option<BTreeMap<String, RuleTable>>,
    /// Protect rules by name: what they match is left alone by every rule.
    pub protect: Option<BTreeMap<String, ProtectTable>>,
    /// Snapshots.
    pub snapshot: Option<SnapshotTable>,
    /// What is kept of runs.
    pub audit: Option<AuditTable>,
}

/// The only version of the language so far.
pub(super) const VERSION: u64 = 1;

/// A version of the language that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u64);

impl Leaf for Version {
    const EXPECTED: &'static str = "the version of the policy language, 1";
    const INTEGERS: bool = true;

    fn read(text: &str) -> Result<Self, LeafError> {
        match text.parse() {
            Ok(VERSION) => Ok(Self(VERSION)),
            _ => Err(LeafError::invalid(format!("`{text}` is no known version"))),
        }
    }
}

/// `[run]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub struct Run {
    /// Master switch: `act` (default), or `report` to change nothing at all.
    pub mode: Option<RunMode>,
    /// How often a rule runs that does not say; default 5 min. `apply --due` goes by it.
    pub every: Option<Seconds>,
    /// For so long after boot, or after the module was loaded, rules only report; default 10 min,
    /// 0 for none.
    pub boot_grace: Option<Seconds>,
    /// Whether the ruleset refuses TCP flows that it sees from the middle; default false. Only the
    /// impact forecast uses it.
    pub strict_filter: Option<bool>,
}

/// `[limits]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub struct LimitsTable {
    /// Most entries that one run may delete, as a share of the table; default 50 %.
    pub delete: Option<Percent>,
    /// Most entries that one run may expire, as a share of the table; default 80 %.
    pub expire: Option<Percent>,
    /// Most changes a second, so that event listeners keep up; default `"100k/s"`.
    pub pace: Option<Pace>,
    /// After so many refused or failed runs in a row a rule only reports until it is released;
    /// default 3.
    pub breaker: Option<Count>,
}

/// `[table]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub struct Table {
    /// `nf_conntrack_max`: a count, or reckoned from the machine.
    pub max: Option<ScalarOr<Count, Sizing>>,
    /// `nf_conntrack_buckets`: a count, or `"auto"` for max rounded up to 512.
    pub buckets: Option<ScalarOr<Buckets, ModedBuckets>>,
    /// How strictly `max` is held; default `at-least`.
    pub mode: Option<Mode>,
    /// `nf_conntrack_expect_max`.
    pub expect_max: Option<ScalarOr<Count, ModedCount>>,
}

/// A table size reckoned from the machine: the larger of the two shares, between floor and cap.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub struct Sizing {
    /// Entries a processor.
    pub per_core: Option<Count>,
    /// Entries a GiB of memory.
    pub per_gib: Option<Count>,
    /// Never below this.
    pub min: Option<Count>,
    /// Never above this.
    pub cap: Option<Count>,
}

/// Number of hash buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buckets {
    /// The table's max, rounded up to 512.
    Auto,
    /// So many.
    Count(u64),
}

impl Leaf for Buckets {
    const EXPECTED: &'static str = "\"auto\" or a count";
    const INTEGERS: bool = true;

    fn read(text: &str) -> Result<Self, LeafError> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        Count::read(text).map(|count| Self::Count(count.0))
    }
}

/// The value of a sysctl without a section of its own; what its text means depends on the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysctlValue(pub String);

impl Leaf for SysctlValue {
    const EXPECTED: &'static str = "a number, a duration, a size, true or false";
    const INTEGERS: bool = true;
    const SWITCHES: bool = true;

    fn read(text: &str) -> Result<Self, LeafError> {
        Ok(Self(text.to_owned()))
    }
}

macro_rules! moded {
    ($($name:ident $value:ty;)*) => {$(
        /// A value with its mode.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table as { value = …, mode = … }")]
        pub struct $name {
            /// The value.
            pub value: Option<$value>,
            /// How strictly it is held; default `enforce`.
            pub mode: Option<Mode>,
        }
    )*};
}

moded! {
    ModedSeconds Seconds;
    ModedCount Count;
    ModedBuckets Buckets;
    ModedSysctl SysctlValue;
}

/// A timeout: its value, or a table with its mode.
pub(super) type Timeout = ScalarOr<Seconds, ModedSeconds>;

/// Makes a table of timeouts that can be walked by key.
macro_rules! timeout_tables {
    ($($(#[doc = $table_doc:literal])* $table:ident { $($(#[doc = $doc:literal])* $field:ident $key:literal,)* })*) => {$(
        $(#[doc = $table_doc])*
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table of timeouts")]
        pub struct $table {
            $($(#[doc = $doc])* pub $field: Option<Timeout>,)*
        }

        impl $table {
            fn each(&self) -> Vec<(&'static str, &Timeout)> {
                [$(($key, self.$field.as_ref()),)*]
                    .into_iter()
                    .filter_map(|(key, timeout)| Some((key, timeout?)))
                    .collect()
            }
        }
    )*};
}

timeout_tables! {
    /// TCP timeouts by state.
    TcpTimeouts {
        /// First SYN seen.
        syn_sent "syn-sent",
        /// SYN and SYN-ACK seen.
        syn_recv "syn-recv",
        /// Connection established; below 2h4m living but silent connections break.
        established "established",
        /// One FIN seen.
        fin_wait "fin-wait",
        /// The other side may still send: a half-closed download is alive.
        close_wait "close-wait",
        /// Both FINs seen.
        last_ack "last-ack",
        /// Closed, waiting for stray packets.
        time_wait "time-wait",
        /// RST seen.
        close "close",
        /// After `nf_conntrack_tcp_max_retrans` retransmissions.
        max_retrans "max-retrans",
        /// With unacknowledged data.
        unacknowledged "unacknowledged",
    }
    /// UDP timeouts.
    UdpTimeouts {
        /// Without an answer, and in the first 2 s.
        unreplied "unreplied",
        /// With traffic both ways.
        stream "stream",
    }
    /// GRE timeouts.
    GreTimeouts {
        /// Without an answer.
        unreplied "unreplied",
        /// With traffic both ways.
        stream "stream",
    }
    /// SCTP timeouts by state.
    SctpTimeouts {
        /// Association closed.
        closed "closed",
        /// INIT seen.
        cookie_wait "cookie-wait",
        /// COOKIE-ECHO seen.
        cookie_echoed "cookie-echoed",
        /// Association established.
        established "established",
        /// SHUTDOWN sent.
        shutdown_sent "shutdown-sent",
        /// SHUTDOWN received.
        shutdown_recd "shutdown-recd",
        /// SHUTDOWN-ACK sent.
        shutdown_ack_sent "shutdown-ack-sent",
        /// HEARTBEAT seen on a second path.
        heartbeat_sent "heartbeat-sent",
    }
    /// DCCP timeouts by state (kernels before 6.16).
    DccpTimeouts {
        /// Request seen.
        request "request",
        /// Response seen.
        respond "respond",
        /// Handshake nearly complete.
        partopen "partopen",
        /// Connection open.
        open "open",
        /// Close requested.
        closereq "closereq",
        /// Closing.
        closing "closing",
        /// Closed, waiting for stray packets.
        timewait "timewait",
    }
}

/// `[timeouts]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub struct Timeouts {
    /// TCP, by state.
    pub tcp: Option<TcpTimeouts>,
    /// UDP and UDP-Lite.
    pub udp: Option<UdpTimeouts>,
    /// GRE.
    pub gre: Option<GreTimeouts>,
    /// SCTP, by state.
    pub sctp: Option<SctpTimeouts>,
    /// DCCP, by state.
    pub dccp: Option<DccpTimeouts>,
    /// ICMP.
    pub icmp: Option<Timeout>,
    /// `ICMPv6`.
    pub icmpv6: Option<Timeout>,
    /// Every protocol without timeouts of its own.
    pub generic: Option<Timeout>,
    /// Timeouts whose new value also shortens entries that exist: a list of their keys, or true
    /// for all.
    pub apply_to_existing: Option<Existing>,
    /// Why an established timeout below 2h4m may shorten entries that exist.
    pub accept_risk: Option<String>,
}

impl Timeouts {
    /// Every timeout that is written, by its dotted key.
    #[must_use]
    pub fn each(&self) -> Vec<(String, &Timeout)> {
        let mut all = Vec::new();
        let groups = [
            ("tcp", self.tcp.as_ref().map(TcpTimeouts::each)),
            ("udp", self.udp.as_ref().map(UdpTimeouts::each)),
            ("gre", self.gre.as_ref().map(GreTimeouts::each)),
            ("sctp", self.sctp.as_ref().map(SctpTimeouts::each)),
            ("dccp", self.dccp.as_ref().map(DccpTimeouts::each)),
        ];
        for (group, timeouts) in groups {
            for (key, timeout) in timeouts.unwrap_or_default() {
                all.push((format!("{group}.{key}"), timeout));
            }
        }
        let single = [
            ("icmp", &self.icmp),
            ("icmpv6", &self.icmpv6),
            ("generic", &self.generic),
        ];
        for (key, timeout) in single {
            if let Some(timeout) = timeout {
                all.push((key.to_owned(), timeout));
            }
        }
        all
    }
}

/// `apply-to-existing`.
#[derive(Clone, Debug, PartialEq)]
pub enum Existing {
    /// `true` or `false`.
    All(bool),
    /// These timeouts, by dotted key.
    Keys(Vec<String>),
}

/// `[sets.NAME]`: exactly one of `addresses`, `file`, `nft`, `interface` and `local`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub struct SetTable {
    /// `false` switches the set off.
    pub enabled: Option<bool>,
    /// Addresses and prefixes.
    pub addresses: Option<Vec<Prefix>>,
    /// A file with an address or prefix a line; relative to this policy file.
    pub file: Option<String>,
    /// The elements of an nftables set, or the keys of an nftables map: family, table and name as
    /// `"inet filter banned"`.
    pub nft: Option<NftSet>,
    /// The addresses of this interface.
    pub interface: Option<InterfaceName>,
    /// `true`: this host's own addresses. `"lost"`: those that it had in an earlier run of this boot
    /// and has not had for `settle`.
    pub local: Option<LocalWord>,
    /// With `local = "lost"`: how long runs must have seen an address missing; default 30s.
    pub settle: Option<Seconds>,
    /// Whether rules may use the set while it is empty; default false, and true with
    /// `local = "lost"`.
    pub allow_empty: Option<bool>,
}

/// `[rules.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub struct RuleTable {
    /// What it is for.
    pub description: Option<String>,
    /// `false` switches the rule off.
    pub enabled: Option<bool>,
    /// How often it runs; default `[run] every`.
    pub every: Option<Seconds>,
    /// Only while the table is that full.
    pub when: Option<WhenTable>,
    /// Which flows it takes.
    #[serde(rename = "match")]
    pub predicate: Option<Match>,
    /// `true` instead of a match: every flow. Needs a budget.
    pub everything: Option<bool>,
    /// What happens to them.
    pub action: Option<ActionWord>,
    /// `expire` leaves a silent flow this long; default 2h4m.
    pub grace: Option<Seconds>,
    /// Rules are tried by order, then by name; default 50.
    pub order: Option<i32>,
    /// Most entries that the rule may change; past it the rule is refused whole.
    pub budget: Option<BudgetTable>,
    /// It may delete assured flows that are not closed.
    pub allow_assured: Option<bool>,
    /// It also takes flows of this host itself.
    pub include_host: Option<bool>,
    /// It trusts idle times although `ct timeout` objects exist.
    pub ignore_ct_timeout: Option<bool>,
    /// Why a grace below 2h4m is right for established and assured flows.
    pub accept_risk: Option<String>,
}

/// `when`: the rule runs only while the table is full.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a table as { fill-above = \"85%\", until-below = \"70%\" }"
)]
pub struct WhenTable {
    /// It begins once entries are above this share of `nf_conntrack_max`.
    pub fill_above: Option<Percent>,
    /// And goes on until they are below this one; default four fifths of `fill-above`.
    pub until_below: Option<Percent>,
}

/// `budget`: replaces both defaults.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a table as { count = 500, percent = 2 }"
)]
pub struct BudgetTable {
    /// Not more entries than this.
    pub count: Option<Count>,
    /// Not more than this share of the table, though 50 entries always.
    pub percent: Option<Percent>,
}

/// `[protect.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub struct ProtectTable {
    /// What it is for.
    pub description: Option<String>,
    /// `false` switches the rule off.
    pub enabled: Option<bool>,
    /// Which flows are left alone.
    #[serde(rename = "match")]
    pub predicate: Option<Match>,
}

/// `[snapshot]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub struct SnapshotTable {
    /// Where snapshots are kept; default `/var/lib/conntidy/snapshots`.
    pub directory: Option<String>,
    /// How often `apply` takes one; without it none is due by time.
    pub every: Option<Seconds>,
    /// What those hold: `aggregate` (default), groups with counts, or `full`, every flow.
    pub detail: Option<Detail>,
    /// When `apply` takes one because the table fills up.
    pub on_pressure: Option<OnPressureTable>,
    /// How addresses are recorded: `plain` (default), `prefix` or `pseudonym`.
    pub addresses: Option<AddressForm>,
    /// File with the key of pseudonyms; exclusive with `credential`.
    pub key_file: Option<String>,
    /// Name of the systemd credential with the key of pseudonyms; exclusive with `key-file`.
    pub credential: Option<String>,
    /// `zstd` (default), `gzip` or `none`.
    pub compression: Option<Compression>,
    /// Which snapshots stay; without it all do.
    pub keep: Option<SnapshotKeepTable>,
}

/// `[snapshot] on-pressure`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a table as { above = \"90%\", again-after = \"10m\" }"
)]
pub struct OnPressureTable {
    /// Fuller than this is pressure, as a share of `nf_conntrack_max`.
    pub above: Option<Percent>,
    /// While the pressure lasts, the next one is taken after this; default 10m.
    pub again_after: Option<Seconds>,
    /// What it holds: `full` (default) or `aggregate`.
    pub detail: Option<Detail>,
}

/// `[snapshot] keep`. What one of the counts keeps stays, within the two limits.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a table as { last = 96, daily = 14, max-bytes = \"1GiB\" }"
)]
pub struct SnapshotKeepTable {
    /// The newest ones.
    pub last: Option<Count>,
    /// The newest one of each of so many hours that have one.
    pub hourly: Option<Count>,
    /// The newest one of each of so many days that have one.
    pub daily: Option<Count>,
    /// The newest one of each of so many weeks that have one.
    pub weekly: Option<Count>,
    /// The newest one of each of so many months that have one.
    pub monthly: Option<Count>,
    /// None that is older than this, but for the newest.
    pub max_age: Option<Seconds>,
    /// Not more bytes than this in the directory; wins over everything but the newest one.
    pub max_bytes: Option<Bytes>,
}

/// `[audit]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub struct AuditTable {
    /// How much of the audit and undo records is kept.
    pub keep: Option<KeepTable>,
}

/// `[audit] keep`; both limits hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub struct KeepTable {
    /// Newest runs; default 50.
    pub runs: Option<Count>,
    /// Bytes of all records together; default 256 MiB.
    pub max_bytes: Option<Bytes>,
}

leaves!(Version, Buckets, SysctlValue);

/// A timeout's dotted key under `[timeouts]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TimeoutKey(String);

impl Leaf for TimeoutKey {
    const EXPECTED: &'static str = "true, false, or a list of timeouts as [\"tcp.established\"]";
    const SWITCHES: bool = true;

    fn read(text: &str) -> Result<Self, LeafError> {
        Ok(Self(text.to_owned()))
    }
}

leaves!(TimeoutKey);

impl<'de> Deserialize<'de> for Existing {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let OneOrMany(keys) = OneOrMany::<TimeoutKey>::deserialize(deserializer)?;
        Ok(match keys.as_slice() {
            [TimeoutKey(key)] if key == "true" => Self::All(true),
            [TimeoutKey(key)] if key == "false" => Self::All(false),
            _ => Self::Keys(keys.into_iter().map(|key| key.0).collect()),
        })
    }
}

impl JsonSchema for Existing {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Existing".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [
                { "type": "boolean" },
                { "type": "string" },
                { "type": "array", "minItems": 1, "items": { "type": "string" } },
            ]
        })
    }
}
