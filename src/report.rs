//! What a run did: the document of `apply -o json`, and the audit record.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::observe::Header;
use crate::plan::{Drift, Plan, TunableState, TunableStep, rfc3339};

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
    /// What a person asked for, where no policy's rules were applied: `delete --dport 80`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<String>,
    /// What was decided. In a run that was killed early, what was known by then.
    pub plan: Plan,
    /// Tunables that were written.
    pub sysctl: Vec<TunableResult>,
    /// What came of each rule that acted, in the order of the plan: existing-entry timeouts first.
    pub rules: Vec<RuleResult>,
    /// Entries that matched when the kernel was asked for its own flush, which tells nothing of what it
    /// takes and cannot be undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flushed: Option<u64>,
    /// Entries before and after, as the kernel counts them.
    pub count_before: Option<u64>,
    /// Entries afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count_after: Option<u64>,
    /// Whether somebody confirmed what it wrote, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
    /// What came of a saved plan, where one was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<FromSaved>,
    /// What kept the run from doing all that was decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// How long each part took.
    pub timings: Timings,
    /// What each `undo` of this run did, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undone: Vec<Undone>,
}

/// What was left of a saved plan when it was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FromSaved {
    /// When it was made, RFC 3339 in UTC.
    pub generated: String,
    /// Flows that it names.
    pub planned: u64,
    /// Those that its rules still select; only they were changed.
    pub still: u64,
    /// Flows that rules select now and that it does not name: left alone.
    pub new: u64,
}

/// What came of the question whether tunables may stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Confirmation {
    /// Seconds that there were to confirm.
    pub within: u64,
    /// What ended the waiting.
    pub answer: Answer,
}

/// What ended the waiting for a confirmation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Confirmed at the terminal.
    Terminal,
    /// Confirmed by `conntidy confirm`.
    Command,
    /// Nobody answered in time.
    TimedOut,
    /// Somebody said no at the terminal.
    Declined,
    /// The terminal had no more input: lost, or closed.
    TerminalLost,
    /// This signal came.
    Signal(String),
}

impl Confirmation {
    /// Whether the tunables stay.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        matches!(self.answer, Answer::Terminal | Answer::Command)
    }
}

/// What one `undo` did with the entries that a run deleted, or the tunables that it wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Undone {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Entries made again. Whether their connections live is not known.
    pub created: u64,
    /// Entries that are still there, and have their remaining time, mark or labels again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restored: u64,
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Undone {
    /// Entries of the run are there again.
    #[must_use]
    pub fn has_entries(&self) -> bool {
        self.created + self.there + self.restored > 0
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
    /// What an earlier run had written and somebody had changed: this run corrected it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// This was the correction that made it contested: later runs do not write it.
    #[serde(default)]
    pub contested: bool,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a run did, in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Tunables written.
    pub written: u64,
    /// Entries whose remaining time was shortened.
    pub expired: u64,
    /// Entries deleted.
    pub deleted: u64,
    /// Entries of which something else was set.
    pub updated: u64,
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
    /// `delete`, `expire` or `update`.
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
            by_hand: None,
            plan,
            sysctl: Vec::new(),
            rules: Vec::new(),
            flushed: None,
            count_before: header.count,
            count_after: None,
            confirmation: None,
            saved: None,
            problems: Vec::new(),
            timings: Timings::default(),
            undone: Vec::new(),
        }
    }

    /// What was done, in sum. Tunables that were put back since still count.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let sum = |action: &str| -> u64 {
            let rules = self.rules.iter().filter(|rule| rule.action == action);
            rules.map(|rule| rule.done).sum()
        };
        let written = |result: &&TunableResult| result.outcome == TunableOutcome::Written;
        Totals {
            written: self.sysctl.iter().filter(written).fold(0, |n, _| n + 1),
            expired: sum("expire"),
            deleted: sum("delete"),
            updated: sum("update"),
        }
    }

    /// Something that was decided was not done, or not wholly.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        !self.problems.is_empty()
            || self.is_unconfirmed()
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

    /// Nothing was changed, refused or in doubt: there is nothing to tell of it.
    #[must_use]
    pub fn is_uneventful(&self) -> bool {
        self.sysctl.is_empty()
            && self.rules.is_empty()
            && !(self.is_incomplete() || self.disagrees() || self.has_refusals())
    }

    /// Nobody confirmed what it wrote: tunables are put back, and no rule acts.
    #[must_use]
    pub fn is_unconfirmed(&self) -> bool {
        let confirmation = self.confirmation.as_ref();
        confirmation.is_some_and(|confirmation| !confirmation.is_confirmed())
    }

    /// A tunable reads back different from what was written, or is contested.
    #[must_use]
    pub fn disagrees(&self) -> bool {
        let contested = |step: &TunableStep| step.state == TunableState::Contested;
        self.plan.sysctl.iter().any(contested)
            || self
                .sysctl
                .iter()
                .any(|result| result.outcome == TunableOutcome::Disagrees || result.contested)
    }

    /// A rule, or a tunable's value, was refused by a rail.
    #[must_use]
    pub fn has_refusals(&self) -> bool {
        let refused = |step: &TunableStep| step.state == TunableState::Refused;
        self.plan.summary.refused > 0 || self.plan.sysctl.iter().any(refused)
    }
}
