//! What a pass counts, by rule.

use super::judge::Judge;
use super::rail::{Fate, Left};
use super::sample::Sample;
use super::scan::Act;
use super::selected::{
    ASSURED_OPEN, CHAINED, IMPACT_SHIFT, NO_GROUP, Selected, UNNUMBERED, impact_from, unpack,
};
use super::{ImpactCounts, LeftCounts};
use crate::group::Groups;
use crate::history::{MOST_FLOWS, Sighting};
use crate::policy::Action;

/// Counts of one rule.
#[derive(Clone, Debug, Default)]
pub struct RuleTally {
    /// Flows claimed.
    pub matched: u64,
    /// Flows to change.
    pub selected: u64,
    /// Of those, assured and not closed.
    pub assured: u64,
    /// Flows that end at least as soon anyway.
    pub already: u64,
    /// Flows that look idle without proof.
    pub unproven: u64,
    /// Flows that it may match, but that do not tell.
    pub doubtful: u64,
    /// When the last unproven one that can be proven idle will be, nanoseconds since boot.
    pub proof_at: Option<u64>,
    /// Flows that match, but have not done so for long enough.
    pub not_persisted: u64,
    /// It matches more flows than can be followed.
    pub overfull: bool,
    /// What the next run shall know of the flows that match; only of rules with `persisted`.
    pub sightings: Vec<Sighting>,
    /// Which of those it deletes unless it is refused, in order: the next flow of such an entry's
    /// tuple is another one, though the kernel may well give it the same id.
    pub taken: Vec<u32>,
    /// Flows a rail leaves alone.
    pub left: LeftCounts,
    /// What deletes would meet.
    pub impact: ImpactCounts,
    pub(super) sample: Sample,
}

/// Counts of a pass.
#[derive(Debug)]
pub struct Tally {
    pub(super) act: Act,
    /// How many of the rules are the policy's; timeouts applied to existing entries follow.
    policy_rules: usize,
    /// By rule index, as in [`Verdict::rule`](super::Verdict::rule).
    pub rules: Vec<RuleTally>,
    /// Flows that each protect rule kept from a rule.
    pub protected: Vec<u64>,
    pub(super) groups: Vec<Option<Groups>>,
    pub(super) pending: Vec<Selected>,
    /// Sightings of all rules together.
    followed: usize,
}

impl Tally {
    /// All zero.
    #[must_use]
    pub fn new(judge: &Judge<'_>, act: Act) -> Self {
        Self {
            act,
            policy_rules: judge.rules.len(),
            rules: vec![RuleTally::default(); judge.rule_count()],
            protected: vec![0; judge.policy().protect.len()],
            groups: judge
                .rules
                .iter()
                .map(|judged| judged.rule.over.map(Groups::new))
                .collect(),
            pending: Vec::new(),
            followed: 0,
        }
    }

    /// Adds the counts of another part of the same dump.
    pub fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.rules.iter_mut().zip(other.rules) {
            mine.matched += theirs.matched;
            mine.selected += theirs.selected;
            mine.assured += theirs.assured;
            mine.already += theirs.already;
            mine.unproven += theirs.unproven;
            mine.doubtful += theirs.doubtful;
            mine.not_persisted += theirs.not_persisted;
            mine.overfull |= theirs.overfull;
            let before = u32::try_from(mine.sightings.len()).unwrap_or(u32::MAX);
            let taken = theirs
                .taken
                .iter()
                .map(|index| index.saturating_add(before));
            mine.taken.extend(taken);
            mine.sightings.extend(theirs.sightings);
            mine.proof_at = mine.proof_at.max(theirs.proof_at);
            mine.left.add(theirs.left);
            mine.impact.add(theirs.impact);
            mine.sample.merge(theirs.sample);
        }
        for (mine, theirs) in self.protected.iter_mut().zip(other.protected) {
            *mine += theirs;
        }
        let renumbered: Vec<Option<Vec<Option<u32>>>> = self
            .groups
            .iter_mut()
            .zip(other.groups)
            .map(|(mine, theirs)| Some(mine.as_mut()?.merge(&theirs?)))
            .collect();
        self.pending
            .extend(other.pending.into_iter().map(|mut step| {
                if step.group != NO_GROUP
                    && let Some(Some(numbers)) = renumbered.get(usize::from(step.rule))
                {
                    step.group = numbers[step.group as usize].unwrap_or(UNNUMBERED);
                }
                step
            }));
    }

    /// Takes the counts of timeouts applied to existing entries from a later pass over those alone.
    pub fn adopt_existing(&mut self, later: Self) {
        let mine = self.rules.drain(..self.policy_rules);
        self.rules = mine
            .collect::<Vec<_>>()
            .into_iter()
            .chain(later.rules.into_iter().skip(self.policy_rules))
            .collect();
        for (mine, theirs) in self.protected.iter_mut().zip(later.protected) {
            *mine += theirs;
        }
    }

    pub(super) fn concerns(&self, rule: u16) -> bool {
        self.act.concerns(usize::from(rule), self.policy_rules)
    }

    /// Notes a flow for the next run. Past what can be followed, the rule follows none.
    pub(super) fn follow(&mut self, rule: usize, sighting: Sighting) {
        let tally = &mut self.rules[rule];
        if tally.overfull {
            return;
        }
        if self.followed == MOST_FLOWS {
            self.overfill(rule);
            return;
        }
        self.followed += 1;
        tally.sightings.push(sighting);
    }

    /// The flow noted last is deleted unless the rule is refused.
    pub(super) fn take_followed(&mut self, rule: usize, action: Action) {
        let tally = &mut self.rules[rule];
        if action == Action::Delete
            && let Some(last) = tally.sightings.len().checked_sub(1)
            && let Ok(last) = u32::try_from(last)
        {
            tally.taken.push(last);
        }
    }

    fn overfill(&mut self, rule: usize) {
        let tally = &mut self.rules[rule];
        tally.overfull = true;
        self.followed = self.followed.saturating_sub(tally.sightings.len());
        tally.sightings = Vec::new();
        tally.taken = Vec::new();
    }

    /// Settles the flows whose claim waited for the size of a group; gives back those to change.
    pub fn resolve(&mut self, judge: &Judge<'_>) -> Vec<Selected> {
        self.followed = 0;
        for rule in 0..self.rules.len() {
            let followed = self.rules[rule].sightings.len();
            self.followed += followed;
            if self.followed > MOST_FLOWS || self.rules[rule].overfull {
                self.overfill(rule);
            }
        }
        for (index, judged) in judge.rules.iter().enumerate() {
            if let (Action::Report, Some(groups)) = (judged.action, &self.groups[index]) {
                self.rules[index].matched = groups.flows_over();
            }
        }
        let pending = std::mem::take(&mut self.pending);
        let mut selected = Vec::new();
        let mut rest = pending.as_slice();
        while !rest.is_empty() {
            let chain = 1 + rest.iter().take_while(|s| s.flags & CHAINED != 0).count();
            let (flow, after) = rest.split_at(chain.min(rest.len()));
            rest = after;
            if let Some(step) = flow.iter().find(|step| self.claims(step)) {
                self.settle(judge, *step, &mut selected);
            }
        }
        selected
    }

    fn claims(&self, step: &Selected) -> bool {
        step.group == NO_GROUP
            || self.groups[usize::from(step.rule)]
                .as_ref()
                .is_some_and(|groups| groups.is_over(step.group))
    }

    fn settle(&mut self, judge: &Judge<'_>, step: Selected, selected: &mut Vec<Selected>) {
        if !self.concerns(step.rule) {
            return;
        }
        let fate = unpack(step.fate, step.offset);
        self.count(step.rule, fate);
        if fate == Fate::Select {
            let rule = &mut self.rules[usize::from(step.rule)];
            rule.assured += u64::from(step.flags & ASSURED_OPEN != 0);
            if judge.action(usize::from(step.rule)) == Action::Delete {
                rule.impact.count(impact_from(step.flags >> IMPACT_SHIFT));
            }
            rule.sample.offer(step.key, None);
            selected.push(step);
        }
    }

    pub(super) fn count(&mut self, rule: u16, fate: Fate) {
        let tally = &mut self.rules[usize::from(rule)];
        tally.matched += 1;
        match fate {
            Fate::Select => tally.selected += 1,
            Fate::Already => tally.already += 1,
            Fate::Left(left) => {
                tally.left.count(left);
                if let Left::Protected(index) = left {
                    self.protected[usize::from(index)] += 1;
                }
            }
        }
    }
}

impl LeftCounts {
    fn count(&mut self, left: Left) {
        *match left {
            Left::Offloaded => &mut self.offloaded,
            Left::Protected(_) => &mut self.protected,
            Left::Session => &mut self.session,
            Left::Host => &mut self.host,
            Left::FixedTimeout => &mut self.fixed_timeout,
            Left::Grace => &mut self.grace,
            Left::Assured => &mut self.assured,
            Left::HalfClosed => &mut self.half_closed,
            Left::Unknown => &mut self.unknown,
        } += 1;
    }

    fn add(&mut self, other: Self) {
        self.offloaded += other.offloaded;
        self.protected += other.protected;
        self.session += other.session;
        self.host += other.host;
        self.fixed_timeout += other.fixed_timeout;
        self.grace += other.grace;
        self.assured += other.assured;
        self.half_closed += other.half_closed;
        self.unknown += other.unknown;
    }
}
