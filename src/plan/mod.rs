//! The difference between what a policy wishes and what is observed.
//!
//! A [`Plan`] is a pure function of policy, set members, header (with its clock and history) and
//! entries: the same inputs give the same bytes. It is the document of `plan -o json`.

mod budget;
mod drift;
mod existing;
mod explain;
mod following;
mod judge;
mod judged_rule;
mod policy_drift;
mod rail;
mod sample;
mod saved;
mod scan;
mod selected;
mod sink;
mod taken;
mod tally;
mod tunable;

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use budget::limit;
pub use drift::{Corrected, Drift};
pub use explain::{ClauseText, Explanation, RuleVerdict, waiting_text};
pub use judge::{Facts, Judge, Verdict};
pub use policy_drift::{Does, PolicyDrift};
pub use rail::{Fate, Left};
pub use saved::{Planned, SAVED_SCHEMA, Saved, Stale};
pub use scan::{Act, Scan};
pub use selected::Selected;
pub use sink::{Sink, Step};
pub use taken::Taken;
pub use tally::Tally;
pub use tunable::{Kept, Resize, TunableState, TunableStep, may_write, tunables};

use crate::history::Persisted;
use crate::impact::Impact;
use crate::observe::{Dumped, Header, Observe, ObserveError, Tell, Told, Visit};
use crate::policy::{Members, Policy, RunMode, SetSource, Sets};
use crate::schedule::{Rounds, Schedule, Waiting, When};

/// `schema` of a plan document.
pub const SCHEMA: &str = "conntidy.plan/1";

/// What would be done, and why not more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// `conntidy.plan/1`; minor versions only add fields.
    pub schema: String,
    /// The observation's wall clock, RFC 3339 in UTC.
    pub generated: String,
    /// Host name.
    pub host: String,
    /// Boot the plan is for.
    pub boot_id: String,
    /// Kernel release.
    pub kernel: String,
    /// Network namespace.
    pub netns: String,
    /// SHA-256 of the policy, hex.
    pub policy_sha256: String,
    /// `act`, or `report`: then nothing of this is done.
    pub mode: String,
    /// The table as observed.
    pub table: Table,
    /// Every tunable that the policy names.
    pub sysctl: Vec<TunableStep>,
    /// Timeouts that are also applied to entries that exist.
    pub existing: Vec<RulePlan>,
    /// Every rule, in the order in which they are tried.
    pub rules: Vec<RulePlan>,
    /// Flows kept from a rule by protection.
    pub protected: Vec<Protected>,
    /// What could not be known, and what follows from that.
    pub doubts: Vec<String>,
    /// The last line.
    pub summary: Summary,
}

/// The table as observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Table {
    /// Entries that the dump delivered.
    pub dumped: u64,
    /// Entries as the kernel counts them.
    pub count: Option<u64>,
    /// `nf_conntrack_max`; 0 means no limit.
    pub max: Option<u64>,
    /// Hash buckets.
    pub buckets: Option<u64>,
}

/// What a rule would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RulePlan {
    /// Its name; for a timeout that is applied to existing entries, the sysctl's.
    pub name: String,
    /// `delete`, `expire`, `update` or `report`; `keep` where a change by hand leaves to a rule what it
    /// would take.
    pub action: String,
    /// For `expire`, seconds left to flows that stay silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<u64>,
    /// For `update`, what it sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sets: Option<Sets>,
    /// For `expire`, whether every living flow's next packet puts its timer back: `SYN_SENT` entries
    /// are not refreshed by retransmitted SYNs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rearms: Option<bool>,
    /// Flows that it claims.
    pub matched: u64,
    /// Flows that it would change (for `report`: 0).
    pub selected: u64,
    /// Claimed flows of `expire` that end at least as soon anyway.
    pub already: u64,
    /// Claimed flows that a rail leaves alone, by rail.
    pub left: LeftCounts,
    /// Flows that look idle but are not proven to be; not claimed.
    pub unproven: u64,
    /// Flows that it may match, but that do not tell; not claimed.
    pub doubtful: u64,
    /// Flows that match, but have not done so for as long as `persisted` asks; not claimed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_persisted: u64,
    /// Why it does not act in this run, and when that changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// When the history will cover this rule's idle window: seconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof_in: Option<u64>,
    /// Why the rule is refused whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// Most entries it may change; absent where nothing limits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// For `delete`, what the next packets of the selected flows would meet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact: Option<ImpactCounts>,
    /// Whether `apply` may act while the dump still runs, since nothing can refuse this rule.
    pub streams: bool,
    /// Why the user takes the risk of this rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_risk: Option<String>,
    /// A few of the selected flows, the first by key.
    pub sample: Vec<String>,
}

/// Claimed flows that are left alone, by the rail that keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftCounts {
    /// In the flowtable.
    pub offloaded: u64,
    /// Kept by a protect rule.
    pub protected: u64,
    /// Connections of the caller's own session.
    pub session: u64,
    /// Flows of this host itself.
    pub host: u64,
    /// Timer fixed, none, or set by something else than the sysctl.
    pub fixed_timeout: u64,
    /// Assured or established, and the grace is too short for that without `accept-risk`.
    pub grace: u64,
    /// Assured and not closed, without `allow-assured`.
    pub assured: u64,
    /// Half closed, and the rule does not ask for idleness.
    pub half_closed: u64,
    /// Status or id missing.
    pub unknown: u64,
}

/// Counts of what deletes would do to connections that are alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImpactCounts {
    /// Picked up again by the next packet.
    pub survive: u64,
    /// Reset.
    pub reset: u64,
    /// Hanging until a side gives up.
    pub hang: u64,
    /// Not covered by what was measured.
    pub unknown: u64,
}

impl ImpactCounts {
    fn count(&mut self, impact: Impact) {
        *match impact {
            Impact::Survives => &mut self.survive,
            Impact::Reset => &mut self.reset,
            Impact::Hangs => &mut self.hang,
            Impact::Unknown => &mut self.unknown,
        } += 1;
    }

    fn add(&mut self, other: Self) {
        self.survive += other.survive;
        self.reset += other.reset;
        self.hang += other.hang;
        self.unknown += other.unknown;
    }
}

/// Why a rule does nothing in this run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Refusal {
    /// It would change more than its budget allows.
    OverBudget {
        /// Most it may change.
        limit: u64,
    },
    /// It would delete more assured, not closed flows than the default budget allows.
    OverAssuredBudget {
        /// How many those are.
        assured: u64,
        /// Most it may delete.
        limit: u64,
    },
    /// All rules together would delete (or expire) more than `[limits]` allows.
    OverRunLimit {
        /// How many they would change.
        total: u64,
        /// Most they may change.
        limit: u64,
    },
    /// A set that it uses is empty.
    EmptySet {
        /// The set.
        set: String,
    },
    /// A set that it uses cannot be read.
    UnreadableSet {
        /// The set.
        set: String,
        /// Why.
        error: String,
    },
    /// `ct timeout` objects exist for its protocol, and the timeout was not listed by its key.
    CtTimeout,
    /// Its timeout could not be brought into force.
    NotInForce,
    /// It matches more flows than can be followed for `persisted`.
    TooManyFollowed {
        /// Most flows, all rules together.
        limit: u64,
    },
    /// It was refused or failed in so many runs in a row; it only counts until it is released.
    Broken {
        /// How many runs.
        runs: u32,
    },
    /// `undo` put back what it did, and nobody released it since.
    OnHold {
        /// The run that was undone.
        run: String,
    },
}

/// Flows kept from rules by one protection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Protected {
    /// Name of the protect rule.
    pub name: String,
    /// Flows that a rule claimed and this protection kept.
    pub flows: u64,
}

/// Totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Tunables that would be written.
    pub change: u64,
    /// Flows whose remaining time would be shortened.
    pub expire: u64,
    /// Flows that would be deleted.
    pub delete: u64,
    /// Flows that would be changed otherwise.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub update: u64,
    /// Flows kept by protect rules and as the caller's session.
    pub protected: u64,
    /// Rules refused.
    pub refused: u64,
    /// Tunables that cannot be brought to their wish here, for whatever reason.
    pub unmet: u64,
}

impl Summary {
    /// Whether anything would be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.change == 0 && self.expire == 0 && self.delete == 0 && self.update == 0
    }
}

/// Choices of one run that are no part of the policy.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether the hash may be resized now.
    pub resize: Resize,
    /// Whether the run puts back the tunables that it writes unless somebody confirms them: then it
    /// may try values again that nobody confirmed before.
    pub confirm: bool,
    /// Rules on hold, with the run that was undone.
    pub holds: Vec<(String, String)>,
    /// Which rules run.
    pub schedule: Schedule,
    /// What earlier runs saw of flows that rules with `persisted` match.
    pub persisted: Persisted,
}

impl Options {
    /// For a table of which no earlier run is known, as that of a snapshot.
    #[must_use]
    pub fn timeless(policy: &Policy, header: &Header) -> Self {
        let mut rounds = Rounds::default();
        rounds.see(policy, header);
        Self {
            schedule: rounds.schedule(policy, header, When::Timeless),
            ..Self::default()
        }
    }
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Nothing could be seen.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The hash table changed its size during every dump.
    #[error(
        "the hash table was resized during {tries} dumps in a row; no rule may act on such a dump"
    )]
    Unsettled {
        /// How often it was tried.
        tries: u32,
    },
}

/// A dump during which the hash was resized is repeated at most this often.
pub const DUMP_TRIES: u32 = 3;

/// The members of a policy's sets for one observation: those that the policy itself lists, others as
/// a snapshot recorded them, else as they were read. Own and lost addresses follow from what was
/// observed.
#[must_use]
pub fn members(policy: &Policy, read: &[Members], header: &Header) -> Vec<Members> {
    let as_read = policy.sets.iter().zip(read);
    as_read
        .map(
            |(set, read)| match (&set.source, header.sets.get(&set.name)) {
                (SetSource::Local, None) => own_addresses(header, <[IpAddr]>::to_vec),
                (SetSource::Lost { settle }, _) => own_addresses(header, |present| {
                    header.history.lost(present, header.uptime_ns, *settle)
                }),
                (SetSource::Addresses(_), _) | (_, None) => read.clone(),
                (_, Some(prefixes)) => Members {
                    prefixes: prefixes.clone(),
                    error: None,
                },
            },
        )
        .collect()
}

/// Members that follow from this host's own addresses.
fn own_addresses(header: &Header, members: impl FnOnce(&[IpAddr]) -> Vec<IpAddr>) -> Members {
    match &header.addresses {
        Some(addresses) => Members {
            prefixes: members(addresses).into_iter().map(Into::into).collect(),
            error: None,
        },
        None => Members::unreadable("this host's own addresses could not be read"),
    }
}

/// Plans against a source, in one dump (two in parallel where the source can split it).
///
/// `tell` is called now and then with the number of entries seen by one of them.
///
/// # Errors
/// Where nothing can be seen, or the table does not settle.
pub fn plan(
    observe: &dyn Observe,
    judge: &Judge<'_>,
    options: &Options,
    tell: &Tell<'_>,
) -> Result<Plan, PlanError> {
    let (tally, dumped) = count_all(observe, judge, tell)?;
    Ok(build(judge, options, &tally, dumped))
}

/// The same, with what applying it would change.
///
/// # Errors
/// Where nothing can be seen, or the table does not settle.
pub fn save(
    observe: &dyn Observe,
    judge: &Judge<'_>,
    options: &Options,
    tell: &Tell<'_>,
) -> Result<Saved, PlanError> {
    let (tally, dumped, selected) = scan_all(observe, judge, tell, sink::Keep::default)?;
    let plan = build(judge, options, &tally, dumped);
    Ok(Saved::new(judge, plan, &selected))
}

/// Counts what every rule would do, in one dump; in none where nothing wants to see the table.
///
/// # Errors
/// Where nothing can be seen, or the table does not settle.
pub fn count_all(
    observe: &dyn Observe,
    judge: &Judge<'_>,
    tell: &Tell<'_>,
) -> Result<(Tally, Dumped), PlanError> {
    let (tally, dumped, _) = scan_all(observe, judge, tell, || sink::Count)?;
    Ok((tally, dumped))
}

fn scan_all<S: Sink + Into<Vec<Selected>>>(
    observe: &dyn Observe,
    judge: &Judge<'_>,
    tell: &Tell<'_>,
    sink: impl Fn() -> S,
) -> Result<(Tally, Dumped, Vec<Selected>), PlanError> {
    if !judge.header().conntrack || !judge.needs_dump(Act::All) {
        let nothing = Tally::new(judge, Act::All);
        return Ok((nothing, Dumped::default(), Vec::new()));
    }
    for _ in 0..DUMP_TRIES {
        let mut first = Told::new(Scan::new(judge, Act::All, sink()), tell);
        let mut second = Told::new(Scan::new(judge, Act::All, sink()), tell);
        let dumped = observe.dump(&mut [&mut first as &mut dyn Visit, &mut second])?;
        if dumped.resized {
            continue;
        }
        let (mut tally, first) = first.into_inner().into_parts();
        let (rest, second) = second.into_inner().into_parts();
        tally.merge(rest);
        let mut selected: Vec<Selected> = first.into();
        selected.extend(second.into());
        selected.extend(tally.resolve(judge));
        return Ok((tally, dumped, selected));
    }
    Err(PlanError::Unsettled { tries: DUMP_TRIES })
}

/// Turns the resolved counts of a finished dump into a plan.
#[must_use]
pub fn build(judge: &Judge<'_>, options: &Options, tally: &Tally, dumped: Dumped) -> Plan {
    let header = judge.header();
    let policy = judge.policy();
    let sysctl = tunables(policy, header, options);
    let (mut existing, mut rules) = budget::decide(judge, tally, dumped.entries);
    if !header.conntrack {
        // Where there is no table, no rail has anything to refuse.
        let all = existing.iter_mut().chain(&mut rules);
        all.for_each(|rule| rule.refused = None);
    }
    let protected: Vec<Protected> = policy
        .protect
        .iter()
        .zip(&tally.protected)
        .map(|(protect, &flows)| Protected {
            name: protect.name.clone(),
            flows,
        })
        .collect();
    let summary = summarize(policy, &sysctl, &existing, &rules);
    Plan {
        schema: SCHEMA.to_owned(),
        generated: rfc3339(header.time_ns),
        host: header.host.clone(),
        boot_id: header.boot_id.clone(),
        kernel: header.kernel.clone(),
        netns: header.netns.name.clone(),
        policy_sha256: policy.sha256.clone(),
        mode: match policy.mode {
            RunMode::Act => "act",
            RunMode::Report => "report",
        }
        .to_owned(),
        table: table(header, dumped.entries),
        doubts: doubts(judge, dumped),
        sysctl,
        existing,
        rules,
        protected,
        summary,
    }
}

fn table(header: &Header, dumped: u64) -> Table {
    Table {
        dumped,
        count: header.count,
        max: header.number("nf_conntrack_max"),
        buckets: header.number("nf_conntrack_buckets"),
    }
}

fn summarize(
    policy: &Policy,
    sysctl: &[TunableStep],
    existing: &[RulePlan],
    rules: &[RulePlan],
) -> Summary {
    let acts = policy.mode == RunMode::Act;
    let sum = |action: &str| {
        existing
            .iter()
            .chain(rules)
            .filter(|rule| rule.refused.is_none() && rule.action == action)
            .map(|rule| rule.selected)
            .sum()
    };
    Summary {
        change: if acts {
            count(
                sysctl
                    .iter()
                    .filter(|step| step.state == TunableState::Change),
            )
        } else {
            0
        },
        expire: sum("expire"),
        delete: sum("delete"),
        update: sum("update"),
        protected: existing
            .iter()
            .chain(rules)
            .map(|rule| rule.left.protected + rule.left.session)
            .sum(),
        refused: count(
            existing
                .iter()
                .chain(rules)
                .filter(|rule| rule.refused.is_some()),
        ),
        unmet: count(sysctl.iter().filter(|step| step.state.is_unmet())),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    items.fold(0, |n, _| n + 1)
}

fn doubts(judge: &Judge<'_>, dumped: Dumped) -> Vec<String> {
    let mut doubts = judge.doubts();
    if dumped.undecoded > 0 {
        doubts.push(format!(
            "{} entries could not be decoded; they are left alone",
            dumped.undecoded
        ));
    }
    doubts
}

/// Nanoseconds since 1970 as RFC 3339 in UTC, to the second.
#[must_use]
pub fn rfc3339(time_ns: u64) -> String {
    i64::try_from(time_ns / 1_000_000_000)
        .ok()
        .and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0))
        .unwrap_or_default()
        .to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
