//! One pass over the entries: every rule at once, counts kept, changes handed on.
//!
//! Nothing is allocated for a flow that no rule claims. A flow whose claim depends on the size of
//! its group (`over`) waits as a chain of [`Selected`] until the dump has ended.

use super::judge::{Judge, Verdict};
use super::judged_rule::{JudgedRule, Match};
use super::rail::Fate;
use super::selected::{
    ASSURED_OPEN, CHAINED, IMPACT_SHIFT, NO_GROUP, Selected, impact_number, pack,
};
use super::sink::{Sink, Step};
use super::tally::Tally;
use crate::flow::{Flow, Status};
use crate::impact::Impact;
use crate::observe::{Record, Visit};
use crate::policy::Action;

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
            let is_kept = self.judge.keeps(index);
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
