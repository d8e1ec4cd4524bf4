//! What a run did: the document of `apply -o json`, and the audit record.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::observe::Header;
use crate::plan::{Plan, TunableState, TunableStep, rfc3339};

/// `schema` of a report document.
pub const SCHEMA: &str = "conntidy.report/1";

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// `conntidy.report/1`; minor versions only add fields.
    pub schema: String,
    /// Name of the run; sorts by time.
    pub run: String,
    /// When it started, RFC 3339 in UTC.
    pub started: String,
    /// The same as time since boot, nanoseconds; what `undo` reckons from.
    pub uptime_ns: u64,
    /// When the network namespace was made, where that is known
    /// ([`Netns::created_ns`](crate::observe::Netns::created_ns)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns_created_ns: Option<u64>,
    /// When it ended; absent in the audit record of a run that was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// What was decided. In a run that was killed early, what was known by then.
    pub plan: Plan,
    /// Tunables that were written.
    pub sysctl: Vec<TunableResult>,
    /// What came of each rule that acted, in the order of the plan: existing-entry timeouts first.
    pub rules: Vec<RuleResult>,
    /// Entries before and after, as the kernel counts them.
    pub count_before: Option<u64>,
    /// Entries afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count_after: Option<u64>,
    /// What kept the run from doing all that was decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// How long each part took.
    pub timings: Timings,
    /// What each `undo` of this run did, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undone: Vec<Undone>,
}

/// What one `undo` did with the entries that a run deleted, or the tunables that it wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Undone {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Entries made again. Whether their connections live is not known.
    pub created: u64,
    /// Entries that are there again, by a packet of their own or an earlier undo.
    pub there: u64,
    /// Entries whose tuple another entry has taken.
    pub taken: u64,
    /// Entries that would have ended by now.
    pub expired: u64,
    /// Entries not made, since the table would have been more than 90 % full.
    pub no_room: u64,
    /// Entries that the kernel refused.
    pub failed: u64,
    /// Entries of which the kernel did not tell what became of them.
    pub unknown: u64,
    /// The first few refusals, in the kernel's words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// What kept the undo from being whole, or from being recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What could not be reproduced, with how many entries it concerns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<String, u64>,
    /// Tunables put back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sysctl: Vec<TunableResult>,
    /// Tunables left as they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl_left: BTreeMap<String, TunableLeft>,
    /// Rules now on hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
}

impl Undone {
    /// Entries of the run are there again.
    #[must_use]
    pub fn has_entries(&self) -> bool {
        self.created + self.there > 0
    }

    /// Tunables have the values again that they had before the run.
    #[must_use]
    pub fn has_tunables(&self) -> bool {
        self.sysctl
            .iter()
            .any(|result| result.outcome == TunableOutcome::Written)
    }
}

/// A tunable that `undo` left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TunableLeft {
    /// Its present value.
    pub value: Option<String>,
    /// What kept it; absent where it is not any more what the run made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TunableState>,
    /// Why, in words.
    pub reason: String,
}

/// Milliseconds of each part of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Timings {
    /// Dumping and deciding; streamed changes are made meanwhile.
    pub dump_ms: u64,
    /// Writing and reading back tunables.
    pub sysctl_ms: u64,
    /// Changes made after the dump.
    pub act_ms: u64,
    /// Everything.
    pub total_ms: u64,
}

/// One tunable that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TunableResult {
    /// Sysctl name.
    pub name: String,
    /// Value before, the text that was read.
    pub before: Option<String>,
    /// Value written.
    pub wanted: u64,
    /// Value read back, the text that was read; the plan's `after` is the number expected.
    pub after: Option<String>,
    /// How it went.
    pub outcome: TunableOutcome,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How writing a tunable went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TunableOutcome {
    /// Written, and read back as written.
    Written,
    /// Written, but reads back different: another writer, or the kernel clamped it.
    Disagrees,
    /// Could not be written.
    Failed,
}

/// What came of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleResult {
    /// Its name.
    pub name: String,
    /// `delete` or `expire`.
    pub action: String,
    /// Changes asked of the kernel.
    pub sent: u64,
    /// Changes that the kernel made.
    pub done: u64,
    /// Entries that were gone already.
    pub gone: u64,
    /// Entries that the kernel holds on to (offloaded, or an expectation's master).
    pub busy: u64,
    /// Changes that the kernel refused.
    pub failed: u64,
    /// Changes whose outcome the kernel did not tell.
    pub unknown: u64,
    /// Changes that were not sent, since the run had to stop.
    pub unsent: u64,
    /// The first few refusals, in the kernel's words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

impl Report {
    /// The report of a run that has done nothing yet.
    #[must_use]
    pub fn new(run: String, header: &Header, plan: Plan) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            run,
            started: rfc3339(header.time_ns),
            uptime_ns: header.uptime_ns,
            netns_created_ns: header.netns.created_ns,
            finished: None,
            plan,
            sysctl: Vec::new(),
            rules: Vec::new(),
            count_before: header.count,
            count_after: None,
            problems: Vec::new(),
            timings: Timings::default(),
            undone: Vec::new(),
        }
    }

    /// Something that was decided was not done, or not wholly.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        !self.problems.is_empty()
            || self.plan.sysctl.iter().any(|step| {
                matches!(
                    step.state,
                    TunableState::NotWritable | TunableState::Unreadable
                )
            })
            || self
                .sysctl
                .iter()
                .any(|result| result.outcome == TunableOutcome::Failed)
            || self
                .rules
                .iter()
                .any(|rule| rule.failed > 0 || rule.unknown > 0 || rule.unsent > 0)
    }

    /// A tunable reads back different from what was written.
    #[must_use]
    pub fn disagrees(&self) -> bool {
        self.sysctl
            .iter()
            .any(|result| result.outcome == TunableOutcome::Disagrees)
    }

    /// A rule, or a tunable's value, was refused by a rail.
    #[must_use]
    pub fn has_refusals(&self) -> bool {
        let refused = |step: &TunableStep| step.state == TunableState::Refused;
        self.plan.summary.refused > 0 || self.plan.sysctl.iter().any(refused)
    }
}
