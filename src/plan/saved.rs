//! A plan that somebody looked at and that is applied later: to nothing but the flows that it names.
//!
//! It narrows a run, it does not stand in for one: the run looks at the table itself and all rails hold, and of
//! what its rules then select it changes only flows that the saved plan has with the same id for the
//! same rule.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Judge, Plan, Selected, TunableStep};
use crate::flow::FlowKey;
use crate::observe::{Header, Netns};
use crate::policy::{Policy, Seconds};

/// `schema` of a saved plan.
pub const SAVED_SCHEMA: &str = "conntidy.saved-plan/1";

/// What `plan --out` writes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Saved {
    /// `conntidy.saved-plan/1`; minor versions only add fields.
    pub schema: String,
    /// The network namespace; the boot and the policy's digest are the plan's.
    pub netns: Netns,
    /// Time since boot at the observation, nanoseconds.
    pub uptime_ns: u64,
    /// What was shown.
    pub plan: Plan,
    /// The flows that rules may change, by rule.
    pub rules: BTreeMap<String, Vec<Planned>>,
    /// Those whose time may be shortened to a timeout, by the sysctl's name.
    pub existing: BTreeMap<String, Vec<Planned>>,
}

/// A flow of a saved plan, as `[id, "tcp 10.0.0.5:40112 10.0.9.5:5432"]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Planned {
    /// Which entry.
    pub key: FlowKey,
    /// Its `CTA_ID`.
    pub id: u32,
}

impl Serialize for Planned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.id, format_args!("{}", self.key)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Planned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (id, key) = <(u32, Cow<'de, str>)>::deserialize(deserializer)?;
        let key = key.parse().map_err(D::Error::custom)?;
        Ok(Self { key, id })
    }
}

impl JsonSchema for Planned {
    fn schema_name() -> Cow<'static, str> {
        "Planned".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        <(u32, String)>::json_schema(generator)
    }
}

/// Why a saved plan is not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// Of a form that this program does not know.
    #[error("it is a `{found}`, and not a `{SAVED_SCHEMA}`")]
    Schema {
        /// What it says it is.
        found: String,
    },
    /// Entries do not outlive a boot, and ids mean something else afterwards.
    #[error("it was made on another boot, or another machine ({host})")]
    Boot {
        /// The plan's host.
        host: String,
    },
    /// Another table.
    #[error("it was made in another network namespace ({netns})")]
    Netns {
        /// The plan's namespace.
        netns: String,
    },
    /// Another policy would have planned something else.
    #[error("it was made with another policy ({planned}, now {now})")]
    Policy {
        /// Digest of the plan's policy, its beginning.
        planned: String,
        /// Digest of the policy now.
        now: String,
    },
    /// Too much may have happened since.
    #[error("it is {age} old, and at most {most} is allowed")]
    Age {
        /// Its age.
        age: Seconds,
        /// Most that is allowed.
        most: Seconds,
    },
    /// Somebody changed a tunable, or what would be done with one is not the same any more.
    #[error("{name} {planned} when it was made, and {now} now")]
    Tunable {
        /// The tunable.
        name: String,
        /// What was planned.
        planned: String,
        /// What would be done now.
        now: String,
    },
}

impl Saved {
    /// A plan with what it selected.
    #[must_use]
    pub fn new(judge: &Judge<'_>, plan: Plan, selected: &[Selected]) -> Self {
        let mut saved = Self {
            schema: SAVED_SCHEMA.to_owned(),
            netns: judge.header().netns.clone(),
            uptime_ns: judge.header().uptime_ns,
            plan,
            rules: BTreeMap::new(),
            existing: BTreeMap::new(),
        };
        for flow in selected {
            let rule = usize::from(flow.rule);
            let own = saved.plan.rules.len();
            let (by_name, rule) = match rule.checked_sub(own) {
                None => (&mut saved.rules, &saved.plan.rules[rule]),
                Some(existing) => (&mut saved.existing, &saved.plan.existing[existing]),
            };
            if rule.refused.is_none() {
                let planned = Planned {
                    key: flow.key,
                    id: flow.id,
                };
                by_name.entry(rule.name.clone()).or_default().push(planned);
            }
        }
        saved.sort();
        saved
    }

    /// Brings the flows into the order in which they are looked up.
    pub fn sort(&mut self) {
        let all = self.rules.values_mut().chain(self.existing.values_mut());
        all.for_each(|flows| flows.sort_unstable());
    }

    /// Flows that it names.
    #[must_use]
    pub fn flows(&self) -> u64 {
        let all = self.rules.values().chain(self.existing.values());
        all.map(|flows| flows.len() as u64).sum()
    }

    /// Whether it may still be applied to what is observed.
    ///
    /// # Errors
    /// Says what has changed since it was made.
    pub fn check(
        &self,
        header: &Header,
        policy: &Policy,
        steps: &[TunableStep],
        most: Seconds,
    ) -> Result<(), Stale> {
        if self.schema != SAVED_SCHEMA {
            return Err(Stale::Schema {
                found: self.schema.clone(),
            });
        }
        if self.plan.boot_id != header.boot_id {
            return Err(Stale::Boot {
                host: self.plan.host.clone(),
            });
        }
        let place = |netns: &Netns| (netns.device, netns.inode, netns.created_ns);
        if place(&self.netns) != place(&header.netns) {
            return Err(Stale::Netns {
                netns: self.netns.name.clone(),
            });
        }
        if self.plan.policy_sha256 != policy.sha256 {
            let short = |digest: &str| digest.chars().take(6).collect();
            return Err(Stale::Policy {
                planned: short(&self.plan.policy_sha256),
                now: short(&policy.sha256),
            });
        }
        // What comes from later than now is no plan of this boot that one can trust.
        let age = header.uptime_ns.checked_sub(self.uptime_ns);
        let age = Seconds(age.map_or(u64::MAX, |age| age.div_ceil(1_000_000_000)));
        if age > most {
            return Err(Stale::Age { age, most });
        }
        self.check_tunables(steps)
    }

    fn check_tunables(&self, steps: &[TunableStep]) -> Result<(), Stale> {
        let words = |step: Option<&TunableStep>| match step {
            Some(step) => {
                let before = step.before.as_deref().unwrap_or("not known");
                let state = match step.state {
                    super::TunableState::Change => "to be changed",
                    _ => "not to be changed",
                };
                format!("was {before}, {state} to {}", step.wanted)
            }
            None => "was not in it".to_owned(),
        };
        let names = self.plan.sysctl.iter().chain(steps);
        for name in names.map(|step| &step.name) {
            let find =
                |steps: &[TunableStep]| steps.iter().find(|step| step.name == *name).cloned();
            let (planned, now) = (find(&self.plan.sysctl), find(steps));
            let same = match (&planned, &now) {
                (Some(a), Some(b)) => {
                    (&a.before, a.wanted, a.state) == (&b.before, b.wanted, b.state)
                }
                _ => false,
            };
            if !same {
                return Err(Stale::Tunable {
                    name: name.clone(),
                    planned: words(planned.as_ref()),
                    now: words(now.as_ref()).replacen("was", "is", 1),
                });
            }
        }
        Ok(())
    }

    /// Whether it names this flow, with this id, for the rule of this index in `plan`.
    #[must_use]
    pub fn names(&self, plan: &Plan, flow: &Selected) -> bool {
        let rule = usize::from(flow.rule);
        let flows = match rule.checked_sub(plan.rules.len()) {
            None => self.rules.get(&plan.rules[rule].name),
            Some(existing) => self.existing.get(&plan.existing[existing].name),
        };
        let planned = Planned {
            key: flow.key,
            id: flow.id,
        };
        flows.is_some_and(|flows| flows.binary_search(&planned).is_ok())
    }
}
