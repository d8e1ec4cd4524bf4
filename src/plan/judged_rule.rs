//! A rule, ready to be asked: which flows it takes, and what happens to each.

use super::following::Following;
use super::judge::Facts;
use super::rail::{Fate, Left, delete_fate, expire_fate, update_fate};
use super::{Options, Refusal};
use crate::flow::Flow;
use crate::idle::Grade;
use crate::matcher::{Compiled, Context, Truth};
use crate::observe::Record;
use crate::policy::{
    Action, AddressTerm, DEFAULT_GRACE, Members, Policy, Predicate, Rule, RunMode, Seconds, Set,
    Test,
};
use crate::schedule::Waiting;

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
    pub(super) idle_for: Option<Seconds>,
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

/// Makes a rule ready.
pub(super) fn judged<'a>(
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
