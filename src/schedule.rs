//! Which rules run now, and when that changes: intervals, pressure, boot grace, breaker.
//!
//! All times are nanoseconds since boot (`CLOCK_BOOTTIME`), as everywhere.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::observe::Header;
use crate::policy::{Percent, Policy, Pressure, Rule, Seconds};

/// What kind of run it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Without earlier runs and without a boot: a snapshot, a rehearsal. Pressure alone counts.
    #[default]
    Timeless,
    /// Somebody asked for it now: intervals do not count.
    Now,
    /// The timer's: intervals count.
    Due,
    /// While the machine boots: no rule runs.
    Boot,
    /// A person asked for this one change: nothing holds it back, and later runs learn nothing of it.
    /// Rules before it claim what they would take [now](Self::Now).
    ByHand,
}

/// Why a rule does not act now, and when that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Waiting {
    /// It ran not long ago. It claims and counts nothing.
    NotDue {
        /// Seconds until it is due.
        due_in: u64,
    },
    /// The table is not full enough. It claims and counts nothing.
    NotPressed {
        /// Entries in hundredths of a percent of `nf_conntrack_max`; absent where that is 0, which
        /// is no limit, or not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fill: Option<u64>,
        /// The fill above which it begins, hundredths of a percent.
        above: u16,
    },
    /// The machine, or connection tracking, started not long ago. It counts what it would take.
    BootGrace {
        /// Seconds until that ends.
        ends_in: u64,
        /// When that is, RFC 3339 in UTC.
        until: String,
    },
    /// `apply --boot` runs no rule.
    Boot,
}

impl Waiting {
    /// Whether the rule counts what it would take meanwhile.
    #[must_use]
    pub fn counts(&self) -> bool {
        matches!(self, Self::BootGrace { .. })
    }
}

/// What the schedule makes of every rule in one run; the default lets all run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// By index of [`Policy::rules`]; nothing where a rule runs.
    waiting: Vec<Option<Waiting>>,
    /// Rules that the breaker holds, with how many runs went wrong.
    broken: Vec<Option<u32>>,
    /// Why timeouts are not applied to entries that exist.
    existing: Option<Waiting>,
}

impl Schedule {
    /// Why a rule does not act, by index of [`Policy::rules`].
    #[must_use]
    pub fn waiting(&self, rule: usize) -> Option<&Waiting> {
        self.waiting.get(rule)?.as_ref()
    }

    /// After how many runs gone wrong the breaker holds a rule.
    #[must_use]
    pub fn broken(&self, rule: usize) -> Option<u32> {
        *self.broken.get(rule)?
    }

    /// Why timeouts are not applied to entries that exist.
    #[must_use]
    pub fn existing(&self) -> Option<&Waiting> {
        self.existing.as_ref()
    }
}

/// What runs tell each other about when rules ran and how that went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rounds {
    /// By rule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    rules: BTreeMap<String, Round>,
    /// When timeouts were last applied to entries that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    existing_ns: Option<u64>,
    /// What the last run saw of connection tracking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracker: Option<Tracker>,
}

/// What is remembered of one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Round {
    /// When it last ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_ns: Option<u64>,
    /// The table was full and has not been empty enough since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pressed: bool,
    /// Runs in a row in which it was refused or failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    failures: u32,
    /// Those were as many as the breaker allows: kept until it is released, also while a policy is
    /// applied that does not have the rule.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    broken: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Connection tracking as a run saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Tracker {
    /// It was there.
    loaded: bool,
    /// What tells one load of the module from another, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<u64>,
    /// Since when it has been there; absent where no run has seen it come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since_ns: Option<u64>,
}

/// What came of a rule in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It ran, and nothing went wrong.
    Well,
    /// It was refused by a rail, or the kernel refused its changes.
    Wrong,
    /// It only reported, or was held: that says nothing of it.
    Held,
}

impl Rounds {
    /// What remains in another boot: its clock begins anew, and what was broken still is.
    #[must_use]
    pub fn of_other_boot(mut self) -> Self {
        self.existing_ns = None;
        self.tracker = None;
        self.rules.retain(|_, round| {
            round.last_ns = None;
            round.pressed = false;
            round.failures > 0
        });
        self
    }

    /// Takes in what an observation shows: fill, and whether connection tracking was loaded since.
    pub fn see(&mut self, policy: &Policy, header: &Header) {
        self.rules.retain(|name, round| {
            let is_there = policy.rules.iter().any(|rule| rule.name == *name);
            if !is_there {
                (round.last_ns, round.pressed) = (None, false);
            }
            is_there || round.broken
        });
        for rule in &policy.rules {
            let Some(pressure) = rule.when else { continue };
            let pressed = is_pressed(pressure, Fill::of(header), self.is_pressed(rule));
            self.rules.entry(rule.name.clone()).or_default().pressed = pressed;
        }
        let instance = header.module_load.filter(|_| header.conntrack);
        let since_ns = match self.tracker {
            _ if !header.conntrack => None,
            None => None,
            Some(before) => {
                let reloaded = before.instance.zip(instance).is_some_and(|(a, b)| a != b);
                if reloaded || !before.loaded {
                    Some(header.uptime_ns)
                } else {
                    before.since_ns
                }
            }
        };
        self.tracker = Some(Tracker {
            loaded: header.conntrack,
            instance: instance.or(self.tracker.filter(|t| t.loaded).and_then(|t| t.instance)),
            since_ns,
        });
    }

    fn is_pressed(&self, rule: &Rule) -> bool {
        self.rules
            .get(&rule.name)
            .is_some_and(|round| round.pressed)
    }

    /// Notes that a rule ran at a time.
    pub fn ran(&mut self, rule: &str, at_ns: u64, came: Came) {
        let round = self.rules.entry(rule.to_owned()).or_default();
        round.last_ns = Some(at_ns);
        round.failures = match came {
            Came::Well => 0,
            Came::Held => round.failures,
            Came::Wrong => round.failures.saturating_add(1),
        };
    }

    /// Notes which rules of a policy the breaker holds by what came of them.
    pub fn note_broken(&mut self, policy: &Policy) {
        for rule in &policy.rules {
            if let Some(round) = self.rules.get_mut(&rule.name) {
                round.broken = round.failures >= policy.limits.breaker;
            }
        }
    }

    /// Notes that timeouts were applied to entries that exist.
    pub fn applied_to_existing(&mut self, at_ns: u64) {
        self.existing_ns = Some(at_ns);
    }

    /// Runs in a row in which a rule was refused or failed.
    #[must_use]
    pub fn failures(&self, rule: &str) -> u32 {
        self.rules.get(rule).map_or(0, |round| round.failures)
    }

    /// Rules of which the last run went wrong.
    pub fn gone_wrong(&self) -> impl Iterator<Item = &str> {
        let rules = self.rules.iter().filter(|(_, round)| round.failures > 0);
        rules.map(|(name, _)| name.as_str())
    }

    /// Ends what the breaker began; whether a rule's runs had gone wrong.
    pub fn release(&mut self, rule: &str) -> bool {
        match self.rules.get_mut(rule) {
            Some(round) => {
                round.broken = false;
                std::mem::take(&mut round.failures) > 0
            }
            None => false,
        }
    }

    /// Which rules run, of what was [seen](Self::see).
    #[must_use]
    pub fn schedule(&self, policy: &Policy, header: &Header, when: When) -> Schedule {
        let grace = match when {
            When::Now | When::Due => self.grace(policy, header),
            When::Timeless | When::Boot | When::ByHand => None,
        };
        let waiting = policy
            .rules
            .iter()
            .map(|rule| {
                if when == When::Boot {
                    return Some(Waiting::Boot);
                }
                self.not_pressed(rule, header)
                    .or_else(|| self.not_due(rule, policy, header, when))
                    .or_else(|| grace.clone())
            })
            .collect();
        let broken = policy.rules.iter().map(|rule| {
            let failures = self.failures(&rule.name);
            (failures >= policy.limits.breaker).then_some(failures)
        });
        let existing = match when {
            When::Boot => Some(Waiting::Boot),
            When::Due => due(self.existing_ns, policy.every, header.uptime_ns),
            When::Timeless | When::Now | When::ByHand => None,
        };
        Schedule {
            waiting,
            broken: broken.collect(),
            existing: existing.or(grace),
        }
    }

    fn grace(&self, policy: &Policy, header: &Header) -> Option<Waiting> {
        let since_ns = self
            .tracker
            .and_then(|tracker| tracker.since_ns)
            .unwrap_or(0);
        let ends_ns = since_ns.saturating_add(nanoseconds(policy.boot_grace));
        let left_ns = ends_ns
            .checked_sub(header.uptime_ns)
            .filter(|&left| left > 0)?;
        Some(Waiting::BootGrace {
            ends_in: left_ns.div_ceil(SECOND_NS),
            until: crate::plan::rfc3339(header.time_ns.saturating_add(left_ns)),
        })
    }

    fn not_pressed(&self, rule: &Rule, header: &Header) -> Option<Waiting> {
        let pressure = rule.when?;
        if self.is_pressed(rule) {
            return None;
        }
        Some(Waiting::NotPressed {
            fill: Fill::of(header).map(Fill::hundredths),
            above: pressure.above.0,
        })
    }

    fn not_due(
        &self,
        rule: &Rule,
        policy: &Policy,
        header: &Header,
        when: When,
    ) -> Option<Waiting> {
        if when != When::Due {
            return None;
        }
        let last_ns = self.rules.get(&rule.name).and_then(|round| round.last_ns);
        due(
            last_ns,
            rule.every.unwrap_or(policy.every),
            header.uptime_ns,
        )
    }
}

const SECOND_NS: u64 = 1_000_000_000;

fn nanoseconds(seconds: Seconds) -> u64 {
    seconds.0.saturating_mul(SECOND_NS)
}

/// Nothing where 0.9 of an interval has passed: a timer is never quite on time, and one that is a
/// little early must not wait for a whole interval more.
fn due(last_ns: Option<u64>, every: Seconds, now_ns: u64) -> Option<Waiting> {
    let due_ns = last_ns?.saturating_add(nanoseconds(every) / 10 * 9);
    // A run of the future is none of this clock's.
    let left_ns = due_ns
        .checked_sub(now_ns)
        .filter(|&left| left > 0 && last_ns <= Some(now_ns))?;
    Some(Waiting::NotDue {
        due_in: left_ns.div_ceil(SECOND_NS),
    })
}

/// How full the table is.
#[derive(Clone, Copy, Debug)]
struct Fill {
    count: u64,
    max: u64,
}

impl Fill {
    /// Nothing where it is not known, or nothing limits it.
    fn of(header: &Header) -> Option<Self> {
        let max = header.number("nf_conntrack_max").filter(|&max| max > 0)?;
        let count = header.count?;
        Some(Self { count, max })
    }

    fn is_above(self, share: Percent) -> bool {
        u128::from(self.count) * 10_000 > u128::from(self.max) * u128::from(share.0)
    }

    fn is_below(self, share: Percent) -> bool {
        u128::from(self.count) * 10_000 < u128::from(self.max) * u128::from(share.0)
    }

    fn hundredths(self) -> u64 {
        let share = u128::from(self.count) * 10_000 / u128::from(self.max);
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

fn is_pressed(pressure: Pressure, fill: Option<Fill>, before: bool) -> bool {
    fill.is_some_and(|fill| {
        fill.is_above(pressure.above) || before && !fill.is_below(pressure.until_below)
    })
}

#[cfg(test)]
mod tests;
