//! One pass over the entries: every rule at once, counts kept, changes handed on.
//!
//! Nothing is allocated for a flow that no rule claims. A flow whose claim depends on the size of
//! its group (`over`) waits as a chain of [`Selected`] until the dump has ended.

use crate::flow::{Flow, FlowKey, Status};
use crate::group::Groups;
use crate::history::{MOST_FLOWS, Sighting};
use crate::impact::Impact;
use crate::observe::{Record, Visit};
use crate::policy::Action;

use super::judge::{Judge, JudgedRule, Match, Verdict};
use super::rail::{Fate, Left};
use super::sample::Sample;
use super::{ImpactCounts, LeftCounts};

/// A flow that is to be changed unless its rule is refused; 64 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Selected {
    /// Which entry.
    pub key: FlowKey,
    /// Where the sink put its undo record.
    pub offset: u64,
    /// Its `CTA_ID`.
    pub id: u32,
    /// When it was dumped, milliseconds since the dump began.
    pub at_ms: u32,
    group: u32,
    /// Index of its rule, as in [`Verdict::rule`].
    pub rule: u16,
    fate: u8,
    flags: u8,
}

/// The claim does not depend on a group.
const NO_GROUP: u32 = u32::MAX;
/// There were too many groups to number this one: it counts as not over.
const UNNUMBERED: u32 = u32::MAX - 1;
/// The next [`Selected`] is the same flow's claim if this one's group is not over.
const CHAINED: u8 = 1 << 0;
const ASSURED_OPEN: u8 = 1 << 1;
const IMPACT_SHIFT: u8 = 2;

/// Where a sink put the undo record of a flow, and when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step {
    /// Offset of the undo record.
    pub offset: u64,
    /// Milliseconds since the dump began.
    pub at_ms: u32,
}

/// Takes the flows that are to be changed.
pub trait Sink: Send {
    /// Whether it can make changes at once; otherwise every change comes later.
    fn streams(&self) -> bool;

    /// Nothing can refuse this change any more: it may be made now.
    fn now(&mut self, rule: u16, record: &Record<'_>);

    /// The change may still be refused: where it may be one that can be undone, its undo record is
    /// kept and the place returned.
    fn later(&mut self, may_be_undone: bool, record: &Record<'_>) -> Step;

    /// The change may still be refused, and its claim is settled: keep it.
    fn keep(&mut self, selected: Selected);
}

/// Does nothing with them: a plan counts.
pub(super) struct Count;

impl Sink for Count {
    fn streams(&self) -> bool {
        false
    }

    fn now(&mut self, _: u16, _: &Record<'_>) {}

    fn later(&mut self, _: bool, _: &Record<'_>) -> Step {
        Step::default()
    }

    fn keep(&mut self, _: Selected) {}
}

impl From<Count> for Vec<Selected> {
    fn from(_: Count) -> Self {
        Self::new()
    }
}

/// Keeps what is selected, for a plan that is saved.
#[derive(Default)]
pub(super) struct Keep(Vec<Selected>);

impl Sink for Keep {
    fn streams(&self) -> bool {
        false
    }

    fn now(&mut self, _: u16, _: &Record<'_>) {}

    fn later(&mut self, _: bool, _: &Record<'_>) -> Step {
        Step::default()
    }

    fn keep(&mut self, selected: Selected) {
        self.0.push(selected);
    }
}

impl From<Keep> for Vec<Selected> {
    fn from(Keep(selected): Keep) -> Self {
        selected
    }
}

/// Which of the two kinds of work a pass does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Rules, and timeouts applied to entries that exist.
    All,
    /// Rules alone: the timeouts are about to change.
    Rules,
    /// Timeouts applied to existing entries alone; rules only claim.
    Existing,
}

impl Act {
    /// Whether a pass of this kind changes what a rule claims; `policy_rules` is the number of the
    /// policy's own rules, which come first.
    #[must_use]
    pub fn concerns(self, rule: usize, policy_rules: usize) -> bool {
        match self {
            Self::All => true,
            Self::Rules => rule < policy_rules,
            Self::Existing => rule >= policy_rules,
        }
    }
}

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
    act: Act,
    /// How many of the rules are the policy's; timeouts applied to existing entries follow.
    policy_rules: usize,
    /// By rule index, as in [`Verdict::rule`].
    pub rules: Vec<RuleTally>,
    /// Flows that each protect rule kept from a rule.
    pub protected: Vec<u64>,
    groups: Vec<Option<Groups>>,
    pending: Vec<Selected>,
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

    fn concerns(&self, rule: u16) -> bool {
        self.act.concerns(usize::from(rule), self.policy_rules)
    }

    /// Notes a flow for the next run. Past what can be followed, the rule follows none.
    fn follow(&mut self, rule: usize, sighting: Sighting) {
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
    fn take_followed(&mut self, rule: usize, action: Action) {
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

    fn count(&mut self, rule: u16, fate: Fate) {
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

/// The visitor of a pass.
pub struct Scan<'j, 'p, S> {
    judge: &'j Judge<'p>,
    tally: Tally,
    sink: S,
    streams: Vec<bool>,
    /// A rule wants to see flows that are claimed already.
    looks_on: bool,
}

impl<'j, 'p, S: Sink> Scan<'j, 'p, S> {
    /// A pass over this kind of work.
    pub fn new(judge: &'j Judge<'p>, act: Act, sink: S) -> Self {
        let streams = (0..judge.rule_count())
            .map(|rule| sink.streams() && judge.streams(rule))
            .collect();
        Self {
            judge,
            tally: Tally::new(judge, act),
            sink,
            streams,
            looks_on: judge.rules.iter().any(JudgedRule::looks_on),
        }
    }

    /// Counts and sink, once the dump has ended.
    pub fn into_parts(self) -> (Tally, S) {
        (self.tally, self.sink)
    }

    /// Whether a rule may take a flow that it matches, by how long it has matched; what the next
    /// run has to know of it is noted.
    fn follow(
        &mut self,
        index: usize,
        judged: &JudgedRule<'_>,
        flow: &Flow,
        is_claimed: bool,
    ) -> bool {
        let Some(following) = &judged.following else {
            return true;
        };
        // Without its set the rule keeps all that it might take, and learns nothing.
        if !self.judge.follows(index) {
            return true;
        }
        let followup = following.up(flow);
        if let Some(sighting) = followup.sighting
            && self.tally.act != Act::Existing
        {
            self.tally.follow(index, sighting);
        }
        if !followup.persisted && !is_claimed {
            self.tally.rules[index].not_persisted += 1;
        }
        followup.persisted
    }

    fn settle(&mut self, verdict: Verdict, record: &Record<'_>) {
        if !self.tally.concerns(verdict.rule) {
            return;
        }
        self.tally.count(verdict.rule, verdict.fate);
        if verdict.fate != Fate::Select {
            return;
        }
        let index = usize::from(verdict.rule);
        let flow = &record.flow;
        let rule = &mut self.tally.rules[index];
        rule.sample.offer_flow(flow);
        rule.assured += u64::from(is_assured_open(flow));
        if self.judge.action(index) == Action::Delete {
            rule.impact.count(self.judge.impact(record));
        }
        if self.streams[index] {
            self.sink.now(verdict.rule, record);
        } else {
            let is_kept = self.judge.can_be_undone(index);
            let step = self.sink.later(is_kept, record);
            self.sink
                .keep(self.selected(verdict, record, NO_GROUP, step));
        }
    }

    fn selected(&self, verdict: Verdict, record: &Record<'_>, group: u32, step: Step) -> Selected {
        let flow = &record.flow;
        let (fate, detail) = pack(verdict.fate);
        let impact = match self.judge.action(usize::from(verdict.rule)) {
            Action::Delete => self.judge.impact(record),
            _ => Impact::Unknown,
        };
        Selected {
            key: flow.key(),
            offset: detail.unwrap_or(step.offset),
            id: flow.id,
            at_ms: step.at_ms,
            group,
            rule: verdict.rule,
            fate,
            flags: (impact_number(impact) << IMPACT_SHIFT)
                | if is_assured_open(flow) {
                    ASSURED_OPEN
                } else {
                    0
                },
        }
    }
}

impl<S: Sink> Visit for Scan<'_, '_, S> {
    fn visit(&mut self, record: &Record<'_>) {
        let judge = self.judge;
        let chain_start = self.tally.pending.len();
        let mut facts = None;
        let mut claim = None;
        let mut undo = None;
        let may_delete = self.tally.act != Act::Existing;
        for (index, judged) in judge.rules.iter().enumerate() {
            if judged.rests() {
                continue;
            }
            if claim.is_some() && !judged.looks_on() {
                if self.looks_on {
                    continue;
                }
                break;
            }
            let mut found = judged.matches(record);
            let mut group = NO_GROUP;
            if found == Match::Yes {
                if !self.follow(index, judged, &record.flow, claim.is_some()) {
                    continue;
                }
                if let Some(groups) = &mut self.tally.groups[index] {
                    // Where the flow does not tell what its group is, it is in none.
                    let Some(number) = groups.count(&record.flow) else {
                        continue;
                    };
                    group = number;
                }
                found = judged.means(record);
            }
            match found {
                Match::No => {}
                Match::Doubtful => {
                    if claim.is_none() {
                        self.tally.rules[index].doubtful += 1;
                    }
                }
                Match::Unproven => {
                    if claim.is_none() {
                        let tally = &mut self.tally.rules[index];
                        tally.unproven += 1;
                        tally.proof_at = tally.proof_at.max(judge.proof_at(judged, &record.flow));
                    }
                }
                Match::Yes => {
                    if judged.action == Action::Report {
                        if group == NO_GROUP {
                            self.tally.rules[index].matched += 1;
                        }
                        continue;
                    }
                    if claim.is_some() {
                        continue;
                    }
                    let facts = *facts.get_or_insert_with(|| judge.facts(record));
                    let Ok(rule) = u16::try_from(index) else {
                        continue;
                    };
                    let fate = judged.fate(facts, &record.flow);
                    if fate == Fate::Select && judged.following.is_some() {
                        self.tally.take_followed(index, judged.action);
                    }
                    let verdict = Verdict { rule, fate };
                    if group == NO_GROUP {
                        claim = Some(verdict);
                    } else {
                        let step = *undo.get_or_insert_with(|| self.sink.later(may_delete, record));
                        let mut selected = self.selected(verdict, record, group, step);
                        selected.flags |= CHAINED;
                        self.tally.pending.push(selected);
                    }
                }
            }
        }
        if claim.is_none() && self.tally.act != Act::Rules && !judge.existing.is_empty() {
            let facts = *facts.get_or_insert_with(|| judge.facts(record));
            claim = judge.existing(facts, record);
        }
        if self.tally.pending.len() == chain_start {
            if let Some(verdict) = claim {
                self.settle(verdict, record);
            }
            return;
        }
        if let Some(verdict) = claim {
            let step = undo.unwrap_or_default();
            let last = self.selected(verdict, record, NO_GROUP, step);
            self.tally.pending.push(last);
        } else if let Some(last) = self.tally.pending.last_mut() {
            last.flags &= !CHAINED;
        }
    }
}

fn is_assured_open(flow: &Flow) -> bool {
    flow.status.contains(Status::ASSURED) && !flow.is_closed()
}

const FATE_SELECT: u8 = 0;
const FATE_ALREADY: u8 = 1;
const FATE_LEFT: u8 = 2;

/// A fate in a byte; the protect rule that keeps a flow goes where its undo record would be, since
/// a flow that is left has none.
fn pack(fate: Fate) -> (u8, Option<u64>) {
    match fate {
        Fate::Select => (FATE_SELECT, None),
        Fate::Already => (FATE_ALREADY, None),
        Fate::Left(left) => {
            let (number, protect) = match left {
                Left::Offloaded => (0, 0),
                Left::Protected(index) => (1, index),
                Left::Session => (2, 0),
                Left::Host => (3, 0),
                Left::FixedTimeout => (4, 0),
                Left::Grace => (5, 0),
                Left::Assured => (6, 0),
                Left::HalfClosed => (7, 0),
                Left::Unknown => (8, 0),
            };
            (FATE_LEFT + number, Some(u64::from(protect)))
        }
    }
}

fn unpack(fate: u8, detail: u64) -> Fate {
    match fate {
        FATE_SELECT => Fate::Select,
        FATE_ALREADY => Fate::Already,
        left => Fate::Left(match left - FATE_LEFT {
            0 => Left::Offloaded,
            1 => Left::Protected(u16::try_from(detail).unwrap_or(u16::MAX)),
            2 => Left::Session,
            3 => Left::Host,
            4 => Left::FixedTimeout,
            5 => Left::Grace,
            6 => Left::Assured,
            7 => Left::HalfClosed,
            _ => Left::Unknown,
        }),
    }
}

fn impact_number(impact: Impact) -> u8 {
    match impact {
        Impact::Survives => 0,
        Impact::Reset => 1,
        Impact::Hangs => 2,
        Impact::Unknown => 3,
    }
}

fn impact_from(number: u8) -> Impact {
    match number {
        0 => Impact::Survives,
        1 => Impact::Reset,
        2 => Impact::Hangs,
        _ => Impact::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selected_flow_takes_64_bytes() {
        assert_eq!(size_of::<Selected>(), 64);
    }

    #[test]
    fn packed_fates_come_back() {
        for fate in [
            Fate::Select,
            Fate::Already,
            Fate::Left(Left::Protected(7)),
            Fate::Left(Left::Unknown),
            Fate::Left(Left::Offloaded),
        ] {
            let (byte, detail) = pack(fate);
            assert_eq!(unpack(byte, detail.unwrap_or(0)), fate);
        }
    }
}
