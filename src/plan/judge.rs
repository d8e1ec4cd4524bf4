//! What happens to one flow: which rule claims it, and whether a rail leaves it alone.
//!
//! Everything here is fixed before the dump starts and shared by its threads.

use crate::flow::{Flow, Status};
use crate::idle::Grade;
use crate::impact::{self, Impact, Surroundings};
use crate::matcher::{Compiled, Context, Truth};
use crate::observe::{Header, Record};
use crate::policy::lint::lint;
use crate::policy::{Action, DEFAULT_GRACE, Members, Percent, Policy, Seconds};
use crate::schedule::Waiting;
use crate::tunable::{self, Governing};

use super::existing::{Existing, existing};
use super::judged_rule::{JudgedRule, Match, judged};
use super::rail::{Fate, Left, belongs_to, expire_fate};
use super::{Act, Options, Refusal};

/// What is true of a flow whichever rule claims it.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub(super) kept: Option<Left>,
    pub(super) host: bool,
}

/// Who claims a flow and what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Index of the rule; timeouts applied to existing entries come after the policy's rules.
    pub rule: u16,
    /// What happens to the flow.
    pub fate: Fate,
}

/// Policy, set members and header, compiled.
pub struct Judge<'a> {
    policy: &'a Policy,
    header: &'a Header,
    context: Context<'a>,
    pub(super) rules: Vec<JudgedRule<'a>>,
    pub(super) existing: Vec<Existing<'a>>,
    protect: Vec<Compiled>,
    surroundings: Surroundings,
    existing_waits: Option<Waiting>,
}

impl<'a> Judge<'a> {
    /// Compiles a policy for one observation. `members` are those of [`Policy::sets`], by index.
    #[must_use]
    pub fn new(
        policy: &'a Policy,
        members: &'a [Members],
        header: &'a Header,
        options: &Options,
    ) -> Self {
        let context = Context::new(header, &policy.sets, members);
        let rules = policy
            .rules
            .iter()
            .enumerate()
            .map(|(index, rule)| judged(index, rule, policy, members, &context, options))
            .collect();
        let existing = existing(policy, header, options);
        let protect = policy
            .protect
            .iter()
            .map(|protect| Compiled::new(&protect.predicate, &context, false))
            .collect();
        Self {
            policy,
            header,
            context,
            rules,
            existing,
            protect,
            surroundings: Surroundings::new(header, policy.strict_filter),
            existing_waits: options.schedule.existing().cloned(),
        }
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &'a Policy {
        self.policy
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &'a Header {
        self.header
    }

    /// What is fixed for this run.
    #[must_use]
    pub fn context(&self) -> &Context<'a> {
        &self.context
    }

    /// Whether what a rule changes can be put back, and so has to be kept.
    #[must_use]
    pub fn can_be_undone(&self, rule: usize) -> bool {
        let by_hand = self
            .rules
            .get(rule)
            .is_some_and(|judged| judged.rule.by_hand);
        self.action(rule) == Action::Delete || by_hand
    }

    /// Whether what a rule selects is kept: it can be undone, and nothing refuses the rule whatever
    /// it selects.
    pub(super) fn keeps(&self, rule: usize) -> bool {
        let refused = |judged: &JudgedRule<'_>| judged.refused.is_some();
        self.can_be_undone(rule) && !self.rules.get(rule).is_some_and(refused)
    }

    /// Rules and timeouts applied to existing entries together.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.rules.len() + self.existing.len()
    }

    /// The action of a rule in this run, by index as in [`Verdict::rule`].
    #[must_use]
    pub fn action(&self, rule: usize) -> Action {
        match self.rules.get(rule) {
            Some(judged) => judged.action,
            None => Action::Expire {
                grace: Seconds(
                    self.existing
                        .get(rule - self.rules.len())
                        .map_or(0, |existing| existing.seconds),
                ),
            },
        }
    }

    /// Whether any rule, or timeout applied to existing entries, wants to see the table.
    #[must_use]
    pub fn needs_dump(&self, act: Act) -> bool {
        let rules = self.rules.iter().any(|judged| !judged.rests());
        let existing = !self.existing.is_empty();
        match act {
            Act::All => rules || existing,
            Act::Rules => rules,
            Act::Existing => existing,
        }
    }

    /// Why a rule does not act in this run, by index as in [`Verdict::rule`].
    #[must_use]
    pub fn waiting(&self, rule: usize) -> Option<&Waiting> {
        self.rules.get(rule)?.waiting.as_ref()
    }

    /// Whether a rule notes which flows it matches, by index as in [`Verdict::rule`].
    #[must_use]
    pub fn follows(&self, rule: usize) -> bool {
        self.rules
            .get(rule)
            .is_some_and(|judged| judged.following.is_some() && !judged.rests() && !judged.blind)
    }

    /// Whether a rule may act while the dump runs: nothing learnt later can refuse it (POLICY 4.6).
    #[must_use]
    pub fn streams(&self, rule: usize) -> bool {
        let limits = &self.policy.limits;
        match self.rules.get(rule) {
            Some(judged) => {
                let unlimited = judged.rule.budget.is_some_and(|budget| {
                    budget.count.is_none() && budget.percent == Some(Percent::ALL)
                });
                let run_limit = match judged.action {
                    Action::Delete => limits.delete,
                    Action::Expire { .. } => limits.expire,
                    // Its changes go by what a flow is when they are made.
                    Action::Update(_) | Action::Report => return false,
                };
                unlimited
                    && run_limit == Percent::ALL
                    && judged.rule.over.is_none()
                    && judged.rule.persisted.is_none()
                    && !judged.rule.only_claims
                    && judged.refused.is_none()
                    && !judged.rests()
            }
            // Budgets and limits do not concern it, and its refusals are known beforehand.
            None => self
                .existing
                .get(rule - self.rules.len())
                .is_some_and(|existing| existing.refused.is_none()),
        }
    }

    /// Names of the timeouts that are also applied to entries that exist.
    pub fn existing_names(&self) -> impl Iterator<Item = &str> {
        self.existing.iter().map(|existing| existing.name)
    }

    /// Keeps a timeout from existing entries after all, since it did not come into force.
    pub fn refuse_existing(&mut self, name: &str) {
        for existing in self.existing.iter_mut().filter(|e| e.name == name) {
            existing.refused.get_or_insert(Refusal::NotInForce);
        }
    }

    /// Every timeout that can govern flows that a rule may set the timer of.
    #[must_use]
    pub fn governing(&self, rule: usize) -> Vec<Governing> {
        match self.rules.get(rule) {
            Some(judged) => tunable::possible(&judged.rule.predicate),
            None => self
                .existing
                .get(rule - self.rules.len())
                .and_then(|existing| tunable::find(existing.name))
                .map(|timeout| vec![Governing::Sysctl(timeout.name)])
                .unwrap_or_default(),
        }
    }

    /// Rails that hold whichever rule claims the flow.
    #[must_use]
    pub fn facts(&self, record: &Record<'_>) -> Facts {
        let flow = &record.flow;
        let kept = if flow.is_offloaded() {
            Some(Left::Offloaded)
        } else if let Some(index) = self.protected_by(record) {
            Some(Left::Protected(index))
        } else if self.is_session(flow) {
            Some(Left::Session)
        } else {
            None
        };
        Facts {
            kept,
            host: self.context.is_host(flow) != Truth::False,
        }
    }

    fn protected_by(&self, record: &Record<'_>) -> Option<u16> {
        self.protect
            .iter()
            .position(|protect| {
                protect.eval(&record.flow, &record.extra, Grade::Proven) != Truth::False
            })
            .and_then(|index| u16::try_from(index).ok())
    }

    fn is_session(&self, flow: &Flow) -> bool {
        self.header
            .session
            .iter()
            .any(|connection| belongs_to(flow, connection))
    }

    /// What a delete of the flow would do to its connection, if that is still alive.
    pub(super) fn impact(&self, record: &Record<'_>) -> Impact {
        impact::forecast(&record.flow, &record.extra, self.surroundings)
    }

    /// When idleness over a rule's window will be provable for a flow, nanoseconds since boot.
    pub(super) fn proof_at(&self, rule: &JudgedRule<'_>, flow: &Flow) -> Option<u64> {
        self.context.evidence.covered_at(flow, rule.idle_for?)
    }

    /// Whether a rule would still change a flow, as it is now. How large its group is now is not asked.
    #[must_use]
    pub fn still_selects(&self, rule: u16, record: &Record<'_>) -> bool {
        let facts = self.facts(record);
        let index = usize::from(rule);
        match self.rules.get(index) {
            Some(judged) => {
                let takes = |judged: &JudgedRule<'_>| {
                    judged.matches(record) == Match::Yes && judged.has_persisted(&record.flow)
                };
                let claims = |judged: &JudgedRule<'_>| {
                    judged.claims() && judged.rule.over.is_none() && takes(judged)
                };
                takes(judged)
                    && judged.means(record) == Match::Yes
                    && !self.rules[..index].iter().any(claims)
                    && judged.fate(facts, &record.flow) == Fate::Select
            }
            None => {
                self.existing(facts, record)
                    == Some(Verdict {
                        rule,
                        fate: Fate::Select,
                    })
            }
        }
    }

    /// Timers that rules may set while the dump still runs: what governs them, and the seconds.
    #[must_use]
    pub fn streamed_timers(&self) -> Vec<(Governing, u32)> {
        (0..self.rules.len())
            .filter(|&rule| self.streams(rule))
            .filter_map(|rule| Some((rule, self.action(rule).timer()?)))
            .flat_map(|(rule, seconds)| {
                let governing = self.governing(rule);
                governing.into_iter().map(move |timeout| (timeout, seconds))
            })
            .collect()
    }

    /// Which timeout takes a flow that no rule claimed, and what happens to it.
    pub(super) fn existing(&self, facts: Facts, record: &Record<'_>) -> Option<Verdict> {
        let flow = &record.flow;
        let has_helper = record.extra.helper.is_some() || flow.status.contains(Status::HELPER);
        if self.existing.is_empty() {
            return None;
        }
        let remaining = u64::from(flow.remaining()?);
        let Some(Governing::Sysctl(name)) = tunable::governing(flow) else {
            return None;
        };
        let index = self.existing.iter().position(|e| e.name == name)?;
        let seconds = self.existing[index].seconds;
        if remaining <= seconds {
            return None;
        }
        let fate = if let Some(left) = facts.kept {
            Fate::Left(left)
        } else if has_helper || remaining > self.existing[index].highest {
            // Somebody else set this timer: the helper, a `ct timeout` object, a person.
            Fate::Left(Left::FixedTimeout)
        } else if facts.host {
            Fate::Left(Left::Host)
        } else {
            let accepted = name != "nf_conntrack_tcp_timeout_established"
                || seconds >= DEFAULT_GRACE.0
                || self.policy.timeouts_accept_risk.is_some();
            expire_fate(flow, seconds, accepted)
        };
        let rule = u16::try_from(self.rules.len() + index).ok()?;
        Some(Verdict { rule, fate })
    }

    /// What cannot be known in this observation, and what it tells of the policy that the policy
    /// alone does not, in words.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let alone = lint(self.policy, None);
        let mut doubts: Vec<String> = lint(self.policy, Some(self.header))
            .into_iter()
            .filter(|found| {
                !alone.iter().any(|known| {
                    (known.code, &known.key, &known.message)
                        == (found.code, &found.key, &found.message)
                })
            })
            .map(|found| format!("{}: {}", found.key, found.message))
            .collect();
        if let Some(Waiting::BootGrace { until, .. }) = &self.existing_waits
            && !self.policy.apply_to_existing.is_empty()
        {
            doubts.push(format!(
                "timeouts are not applied to existing entries: boot grace until {until}"
            ));
        }
        if !self.header.conntrack {
            doubts.push(
                "nf_conntrack is not loaded: there is no table, and tunables wait for it"
                    .to_owned(),
            );
        }
        if self.header.conntrack && self.header.addresses.is_none() {
            doubts.push(
                "own addresses could not be read: every flow may be this host's own, so only \
                 rules with `include-host = true` act"
                    .to_owned(),
            );
        }
        // A run at boot does not even ask: none of its rules looks at a flow.
        let idle = |rule: &JudgedRule<'_>| rule.idle_for.is_some() && !rule.rests();
        let idle = self.rules.iter().any(idle);
        if self.header.conntrack && idle && self.header.ct_timeout_protocols.is_none() {
            doubts.push(
                "whether `ct timeout` objects exist could not be read: idle times are unknown, \
                 but in rules with `ignore-ct-timeout = true`"
                    .to_owned(),
            );
        }
        doubts
    }
}
