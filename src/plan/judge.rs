//! What happens to one flow: which rule claims it, and whether a rail leaves it alone.
//!
//! Everything here is fixed before the dump starts and shared by its threads.

use std::sync::Arc;

use crate::flow::{Flow, Protocol, Status};
use crate::history::{Followed, Identity, Sighting};
use crate::idle::Grade;
use crate::impact::{self, Impact, Surroundings};
use crate::matcher::{Compiled, Context, Truth};
use crate::observe::{Header, Record};
use crate::policy::lint::lint;
use crate::policy::{
    Action, AddressTerm, DEFAULT_GRACE, Members, Percent, Policy, Predicate, Rule, RunMode,
    Seconds, Set, Test,
};
use crate::schedule::Waiting;
use crate::tunable::{self, Governing};

use super::rail::{Fate, Left, belongs_to, delete_fate, expire_fate, update_fate};
use super::{Act, Options, Refusal, TunableState, tunables};

/// What is true of a flow whichever rule claims it.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    kept: Option<Left>,
    host: bool,
}

/// Who claims a flow and what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Index of the rule; timeouts applied to existing entries come after the policy's rules.
    pub rule: u16,
    /// What happens to the flow.
    pub fate: Fate,
}

/// One rule, ready to be asked.
pub(super) struct JudgedRule<'a> {
    pub(super) rule: &'a Rule,
    pub(super) compiled: Compiled,
    /// Which of them are meant, where not all are.
    narrowed: Option<Compiled>,
    /// What it does in this run; `report` where it, or the whole run, only reports.
    pub(super) action: Action,
    /// What it does at other times; how well idleness has to be proven goes by this.
    pub(super) asks: Action,
    /// Why it does not act in this run, and when that changes.
    pub(super) waiting: Option<Waiting>,
    /// It takes only what it has matched for long enough.
    pub(super) following: Option<Following>,
    /// Refused whatever it matches.
    pub(super) refused: Option<Refusal>,
    /// A set is missing: nothing can be said of any flow.
    pub(super) blind: bool,
    idle_for: Option<Seconds>,
}

/// What a rule with `persisted` knows of earlier runs.
pub(super) struct Following {
    window_ns: u64,
    now_ns: u64,
    before: Option<Arc<Followed>>,
}

/// What earlier runs say of a flow that a rule with `persisted` matches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Followup {
    /// What the next run shall know of it; nothing where it cannot be told from another flow.
    pub(super) sighting: Option<Sighting>,
    /// It has matched for long enough.
    pub(super) persisted: bool,
}

impl Following {
    pub(super) fn up(&self, flow: &Flow) -> Followup {
        let Some(identity) = Identity::of(flow) else {
            return Followup {
                sighting: None,
                persisted: false,
            };
        };
        let since = self.before.as_ref().and_then(|b| b.since(&identity));
        let since = since.filter(|&since_ns| since_ns < self.now_ns);
        Followup {
            persisted: since.is_some_and(|since_ns| self.now_ns - since_ns >= self.window_ns),
            sighting: Some(Sighting {
                identity,
                since_ns: since.unwrap_or(self.now_ns),
            }),
        }
    }

    /// Nanoseconds for which a flow has matched, and for which it has to.
    pub(super) fn so_far(&self, flow: &Flow) -> (u64, u64) {
        let since_ns = self.up(flow).sighting.map_or(self.now_ns, |s| s.since_ns);
        (self.now_ns - since_ns, self.window_ns)
    }
}

/// A timeout that is also applied to entries that exist.
pub(super) struct Existing<'a> {
    pub(super) name: &'a str,
    pub(super) seconds: u64,
    /// The highest value that the timeout is known to have had.
    highest: u64,
    pub(super) refused: Option<Refusal>,
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

impl JudgedRule<'_> {
    /// Whether it counts flows that another rule has claimed: a report counts all that match, and
    /// so does a group.
    pub(super) fn looks_on(&self) -> bool {
        let looks_on =
            self.rule.over.is_some() || self.following.is_some() || self.action == Action::Report;
        looks_on && !self.rests()
    }

    /// It waits, and does not even count meanwhile.
    pub(super) fn rests(&self) -> bool {
        self.waiting
            .as_ref()
            .is_some_and(|waiting| !waiting.counts())
    }

    /// Whether a flow that it matches has matched for long enough.
    pub(super) fn has_persisted(&self, flow: &Flow) -> bool {
        // Without its set it keeps all that it might take.
        self.blind || self.following.as_ref().is_none_or(|f| f.up(flow).persisted)
    }

    /// Whether a rule takes the flow, before groups are counted.
    pub(super) fn matches(&self, record: &Record<'_>) -> Match {
        let grade = Grade::needed(self.asks, &record.flow);
        if self.blind {
            // Nothing is known of its set, so nobody else may take what it might take.
            let truth = self.compiled.eval(&record.flow, &record.extra, grade);
            return if truth == Truth::False {
                Match::No
            } else {
                Match::Yes
            };
        }
        self.ask(&self.compiled, grade, record)
    }

    /// Whether a flow that it matches is meant.
    pub(super) fn means(&self, record: &Record<'_>) -> Match {
        match &self.narrowed {
            None => Match::Yes,
            Some(narrowed) => {
                let grade = Grade::needed(self.asks, &record.flow);
                self.ask(narrowed, grade, record)
            }
        }
    }

    fn ask(&self, compiled: &Compiled, grade: Grade, record: &Record<'_>) -> Match {
        let eval = |grade| compiled.eval(&record.flow, &record.extra, grade);
        match eval(grade) {
            Truth::True => Match::Yes,
            Truth::Unknown
                if self.idle_for.is_some()
                    && grade == Grade::Proven
                    && eval(Grade::Presumed) == Truth::True =>
            {
                Match::Unproven
            }
            Truth::Unknown => Match::Doubtful,
            Truth::False => Match::No,
        }
    }

    /// Whether it takes what it matches from the rules after it.
    pub(super) fn claims(&self) -> bool {
        !self.rests() && self.action != Action::Report
    }

    /// What happens to a flow that a rule claims.
    pub(super) fn fate(&self, facts: Facts, flow: &Flow) -> Fate {
        self.fate_under(self.action, facts, flow)
    }

    /// The same where the rule does this.
    pub(super) fn fate_under(&self, action: Action, facts: Facts, flow: &Flow) -> Fate {
        if self.rule.only_claims {
            return Fate::Already;
        }
        if let Some(left) = facts.kept {
            return Fate::Left(left);
        }
        if facts.host && !self.rule.include_host {
            return Fate::Left(Left::Host);
        }
        match action {
            Action::Expire { grace } => {
                let accepted = self.rule.accept_risk.is_some();
                expire_fate(flow, grace.0, accepted || grace >= DEFAULT_GRACE)
            }
            Action::Delete => delete_fate(
                flow,
                self.rule.allow_assured,
                self.rule.allow_half_closed || self.idle_for.is_some(),
            ),
            Action::Update(update) => update_fate(flow, update),
            // A report claims nothing, so nobody asks.
            Action::Report => Fate::Already,
        }
    }
}

/// Whether a rule's fields took a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    /// It would be, were the flow's idleness proven and not only presumed.
    Unproven,
    /// A field that the flow does not tell decides.
    Doubtful,
    No,
}

fn judged<'a>(
    index: usize,
    rule: &'a Rule,
    policy: &Policy,
    members: &[Members],
    context: &Context<'_>,
    options: &Options,
) -> JudgedRule<'a> {
    let waiting = options.schedule.waiting(index).cloned();
    let rests = waiting.as_ref().is_some_and(|waiting| !waiting.counts());
    let missing = |predicate| missing_set(predicate, &policy.sets, members);
    let missing = missing(&rule.predicate).or_else(|| missing(&rule.narrowed));
    let blind = missing.is_some();
    // What holds a rule of the policy does not hold who asks for its flows by hand.
    let held = (options.holds.iter())
        .find(|(name, _)| *name == rule.name && !rule.by_hand)
        .map(|(_, run)| Refusal::OnHold { run: run.clone() });
    let broken = (options.schedule.broken(index))
        .filter(|_| !rule.by_hand)
        .map(|runs| Refusal::Broken { runs });
    let now_ns = context.header.uptime_ns;
    let following = rule.persisted.map(|Seconds(window)| Following {
        window_ns: window.saturating_mul(1_000_000_000),
        now_ns,
        before: options.persisted.of(policy, rule, now_ns),
    });
    let idle_for = (rule.predicate.idle_for()).or_else(|| rule.narrowed.idle_for());
    JudgedRule {
        rule,
        compiled: Compiled::new(&rule.predicate, context, rule.ignore_ct_timeout),
        narrowed: (rule.narrowed != Predicate::default())
            .then(|| Compiled::new(&rule.narrowed, context, rule.ignore_ct_timeout)),
        action: match policy.mode {
            RunMode::Act if waiting.is_none() && broken.is_none() => rule.action,
            _ => Action::Report,
        },
        asks: match policy.mode {
            RunMode::Act => rule.action,
            RunMode::Report => Action::Report,
        },
        refused: (missing.or(held).or(broken)).filter(|_| !rests && !rule.only_claims),
        waiting,
        following,
        blind,
        idle_for,
    }
}

/// The first set of a predicate that cannot be relied on: unreadable, or empty without leave.
fn missing_set(predicate: &Predicate, sets: &[Set], members: &[Members]) -> Option<Refusal> {
    let used = predicate
        .tests
        .iter()
        .chain(&predicate.not)
        .filter_map(|test| match test {
            Test::Address(_, terms) => Some(terms),
            _ => None,
        })
        .flatten()
        .filter_map(|term| match term {
            AddressTerm::Set(index) => Some(*index),
            AddressTerm::Prefix(_) => None,
        });
    for index in used {
        let set = sets[index].name.clone();
        match members.get(index) {
            Some(Members {
                error: Some(error), ..
            }) => {
                return Some(Refusal::UnreadableSet {
                    set,
                    error: error.clone(),
                });
            }
            Some(known) if !known.prefixes.is_empty() || sets[index].allow_empty => {}
            _ => return Some(Refusal::EmptySet { set }),
        }
    }
    None
}

fn existing<'a>(policy: &'a Policy, header: &Header, options: &Options) -> Vec<Existing<'a>> {
    if policy.mode == RunMode::Report {
        return Vec::new();
    }
    let steps = tunables(policy, header, options);
    policy
        .apply_to_existing
        .iter()
        .filter_map(|wish| {
            let step = steps.iter().find(|step| step.name == wish.name)?;
            // Only what is, or is about to be, in force may shorten anything.
            match (&step.state, options.schedule.existing()) {
                (TunableState::InSync | TunableState::Change, None)
                | (TunableState::Change, Some(Waiting::NotDue { .. })) => {}
                _ => return None,
            }
            let seconds = step.after?;
            let refused =
                (!wish.by_key && has_ct_timeout(header, &wish.name)).then_some(Refusal::CtTimeout);
            Some(Existing {
                name: &wish.name,
                seconds,
                highest: highest(header, &wish.name),
                refused,
            })
        })
        .collect()
}

/// The highest value that a timeout is known to have had: now, in this boot's history, or before
/// anybody changed it.
fn highest(header: &Header, name: &str) -> u64 {
    let seen = header.history.timeouts.get(name).into_iter().flatten();
    seen.map(|observation| u64::from(observation.value))
        .chain(header.number(name))
        .chain(crate::policy::timing::kernel_default(name))
        .max()
        .unwrap_or(0)
}

/// Whether `ct timeout` objects may exist for the protocol that a timeout governs.
fn has_ct_timeout(header: &Header, name: &str) -> bool {
    let Some(protocols) = &header.ct_timeout_protocols else {
        return true;
    };
    protocols
        .iter()
        .any(|&protocol| tunable::governs(name, Protocol(protocol)))
}
