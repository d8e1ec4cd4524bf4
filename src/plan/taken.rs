//! The flows that one rule would take, before budgets: what `list --rule` shows.

use super::Refusal;
use super::judge::Judge;
use super::judged_rule::{JudgedRule, Match};
use super::rail::Fate;
use crate::group::{GroupKey, Groups};
use crate::matcher::Truth;
use crate::observe::Record;
use crate::policy::Action;
use crate::schedule::Waiting;

/// One rule of a policy as a filter.
///
/// A flow passes that the rule claims and no rail keeps: the rule matches, no rule that is tried
/// before it takes the flow, and it would be changed. A rule that only reports takes what it counts.
/// That the rule itself waits, is held or refused does not matter here; it is asked separately.
pub struct Taken<'j, 'p> {
    judge: &'j Judge<'p>,
    rule: usize,
    /// How large groups are, of the rules up to this one that go by that.
    sizes: Vec<Option<Groups>>,
}

impl<'j, 'p> Taken<'j, 'p> {
    /// The rule of this name; `None` where the policy has none that is enabled.
    #[must_use]
    pub fn new(judge: &'j Judge<'p>, name: &str) -> Option<Self> {
        let rule = judge
            .rules
            .iter()
            .position(|judged| judged.rule.name == name)?;
        let groups = |judged: &JudgedRule<'_>| judged.rule.over.map(Groups::new);
        Some(Self {
            judge,
            rule,
            sizes: judge.rules[..=rule].iter().map(groups).collect(),
        })
    }

    /// Why the rule does not act at present, although it would take these flows.
    #[must_use]
    pub fn rests(&self) -> (Option<&Waiting>, Option<&Refusal>) {
        let judged = &self.judge.rules[self.rule];
        (judged.waiting.as_ref(), judged.refused.as_ref())
    }

    /// Whether the whole table has to be [counted](Self::count) first, since a rule goes by the
    /// size of groups.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.sizes.iter().any(Option::is_some)
    }

    /// The same without any flow counted, for another part of the table.
    #[must_use]
    pub fn empty(&self) -> Self {
        let groups = |judged: &JudgedRule<'_>| judged.rule.over.map(Groups::new);
        Self {
            judge: self.judge,
            rule: self.rule,
            sizes: self.judge.rules[..=self.rule].iter().map(groups).collect(),
        }
    }

    /// Counts a flow as one of its groups.
    pub fn count(&mut self, record: &Record<'_>) {
        for (judged, groups) in self.judge.rules.iter().zip(&mut self.sizes) {
            if let Some(groups) = groups
                && judged.matches(record) == Match::Yes
            {
                groups.count(&record.flow);
            }
        }
    }

    /// Adds what another part of the table counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.sizes.iter_mut().zip(&other.sizes) {
            if let (Some(mine), Some(theirs)) = (mine, theirs) {
                mine.merge(theirs);
            }
        }
    }

    /// Whether the rule would take a flow; unknown where it may match, but the flow does not tell.
    #[must_use]
    pub fn takes(&self, record: &Record<'_>) -> Truth {
        let judged = &self.judge.rules[self.rule];
        match judged.matches(record) {
            // Without its set it may be any flow, and it would take none.
            Match::Yes if judged.blind => return Truth::Unknown,
            Match::Yes if self.claims(self.rule, record) => {}
            Match::Yes | Match::No => return Truth::False,
            Match::Unproven | Match::Doubtful => return Truth::Unknown,
        }
        if judged.asks == Action::Report {
            return Truth::True;
        }
        let earlier = (0..self.rule).any(|rule| {
            let before = &self.judge.rules[rule];
            before.claims() && before.matches(record) == Match::Yes && self.claims(rule, record)
        });
        let fate = || judged.fate_under(judged.asks, self.judge.facts(record), &record.flow);
        Truth::from(Some(!earlier && fate() == Fate::Select))
    }

    /// Whether a rule that matches takes the flow by what else it asks for.
    fn claims(&self, rule: usize, record: &Record<'_>) -> bool {
        let judged = &self.judge.rules[rule];
        let is_over = match (&self.sizes[rule], judged.rule.over) {
            (Some(groups), Some(over)) => {
                GroupKey::of(&record.flow, &over).is_some_and(|key| groups.is_over_key(key))
            }
            _ => true,
        };
        is_over && judged.has_persisted(&record.flow)
    }
}
