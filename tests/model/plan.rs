//! The plan against the model: the same flows selected, left and refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use conntidy::flow::{Flow, FlowKey};
use conntidy::history::{Followed, Identity, Persisted, Sighting, fingerprint};
use conntidy::observe::{Dumped, Header, Observe, ObserveError, Record, Visit};
use conntidy::plan::{self, Act, Judge, LeftCounts, Options, Refusal, Scan, Selected, Sink, Step};

use conntidy::schedule::{Came, Rounds, When};

use crate::decide::{self, Decision, Outcome};
use crate::strategies::Case;

/// A table in memory.
struct Table<'a>(&'a Case);

impl Observe for Table<'_> {
    fn header(&self) -> Result<Header, ObserveError> {
        Ok(self.0.header.clone())
    }

    fn dump(&self, visitors: &mut [&mut dyn Visit]) -> Result<Dumped, ObserveError> {
        let parts = visitors.len();
        for (index, (flow, extra)) in self.0.borrowed().into_iter().enumerate() {
            visitors[index % parts].visit(&Record {
                flow,
                extra,
                message: &[],
            });
        }
        Ok(Dumped {
            entries: self.0.flows.len() as u64,
            ..Dumped::default()
        })
    }
}

/// Notes what it is given, streamed or collected.
#[derive(Default)]
struct Notes {
    selected: Vec<(FlowKey, u32, u16)>,
}

impl Sink for Notes {
    fn streams(&self) -> bool {
        true
    }

    fn now(&mut self, rule: u16, record: &Record<'_>) {
        self.selected
            .push((record.flow.key(), record.flow.id, rule));
    }

    fn later(&mut self, _: bool, _: &Record<'_>) -> Step {
        Step::default()
    }

    fn keep(&mut self, selected: Selected) {
        self.selected
            .push((selected.key, selected.id, selected.rule));
    }
}

/// The case with ids that tell its flows apart. A flow without an id keeps having none.
pub(crate) fn numbered(mut case: Case) -> Case {
    for (index, (flow, _)) in (0..).zip(&mut case.flows) {
        flow.id = index;
    }
    case
}

/// What earlier runs left, as planning wants it.
fn options(case: &Case) -> Options {
    let (policy, header) = (&case.policy, &case.header);
    let mut rounds = Rounds::default();
    let mut persisted = Persisted::default();
    for (index, rule) in policy.rules.iter().enumerate() {
        if case.earlier.rests(index) {
            rounds.ran(&rule.name, header.uptime_ns, Came::Well);
        }
        let flows = case.flows.iter().enumerate();
        let sightings = flows.filter_map(|(number, (flow, _))| {
            let age = case.earlier.age(index, number)?;
            Some(Sighting {
                identity: Identity::of(flow)?,
                since_ns: header.uptime_ns - age * 1_000_000_000,
            })
        });
        let followed = Followed::new(
            fingerprint(policy, rule),
            header.uptime_ns,
            sightings.collect(),
        );
        persisted.keep(&rule.name, Arc::new(followed));
    }
    Options {
        schedule: rounds.schedule(policy, header, When::Due),
        persisted,
        ..Options::default()
    }
}

/// Where plan and model differ.
pub(crate) fn differences(case: &Case) -> Vec<String> {
    let expected = decide::model(
        &case.policy,
        &case.header,
        &case.members,
        &case.borrowed(),
        &case.earlier,
    );
    let options = options(case);
    let judge = Judge::new(&case.policy, &case.members, &case.header, &options);
    let mut found = Vec::new();
    compare_selected(case, &expected, &judge, &mut found);
    compare_counts(case, &expected, &judge, &mut found);
    found
}

/// Which flows are selected by which rule, before rules are refused.
fn compare_selected(case: &Case, expected: &Decision, judge: &Judge<'_>, found: &mut Vec<String>) {
    let mut first = Scan::new(judge, Act::Rules, Notes::default());
    let mut second = Scan::new(judge, Act::Rules, Notes::default());
    Table(case)
        .dump(&mut [&mut first, &mut second])
        .expect("a table in memory can be read");
    let (mut tally, first) = first.into_parts();
    let (rest, second) = second.into_parts();
    tally.merge(rest);
    let resolved = tally.resolve(judge);
    let mut got: Vec<(u32, u16)> = first
        .selected
        .into_iter()
        .chain(second.selected)
        .chain(resolved.iter().map(|s| (s.key, s.id, s.rule)))
        .map(|(_, id, rule)| (id, rule))
        .collect();
    got.sort_unstable();
    let wanted: Vec<(u32, u16)> = (0..)
        .zip(&expected.flows)
        .filter(|(_, verdict)| verdict.outcome == Outcome::Selected)
        .filter_map(|(id, verdict)| Some((id, u16::try_from(verdict.claimed?).ok()?)))
        .collect();
    for difference in wanted.iter().filter(|pair| !got.contains(pair)) {
        found.push(describe(case, *difference, "not selected"));
    }
    for difference in got.iter().filter(|pair| !wanted.contains(pair)) {
        found.push(describe(case, *difference, "selected"));
    }
}

fn describe(case: &Case, (id, rule): (u32, u16), what: &str) -> String {
    let (flow, extra): &(Flow, _) = &case.flows[id as usize];
    let rule = &case.policy.rules[usize::from(rule)];
    format!("{what} by {rule:?}: {flow:?} {extra:?}")
}

fn compare_counts(case: &Case, expected: &Decision, judge: &Judge<'_>, found: &mut Vec<String>) {
    let plan = plan::plan(&Table(case), judge, &options(case), &|_| {})
        .expect("a table in memory can be read");
    for (index, rule) in plan.rules.iter().enumerate() {
        let of_rule = expected.flows.iter().filter(|v| v.claimed == Some(index));
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for verdict in of_rule {
            let word = match verdict.outcome {
                Outcome::Selected => "selected",
                Outcome::Left(word) => word,
                Outcome::Unclaimed => continue,
            };
            *counts.entry(word).or_default() += 1;
        }
        let reported = expected
            .flows
            .iter()
            .filter(|v| v.reported.contains(&index))
            .count() as u64;
        let count = |word| counts.get(word).copied().unwrap_or_default();
        let wanted = (
            count("selected"),
            count("already"),
            LeftCounts {
                offloaded: count("offloaded"),
                protected: count("protected"),
                session: count("session"),
                host: count("host"),
                fixed_timeout: count("fixed-timeout"),
                grace: count("grace"),
                assured: count("assured"),
                half_closed: count("half-closed"),
                unknown: count("unknown"),
            },
        );
        if wanted != (rule.selected, rule.already, rule.left) {
            found.push(format!("rule {rule:?}: {wanted:?}"));
        }
        if rule.action == "report" && rule.matched != reported {
            found.push(format!("rule {rule:?} reports, but should {reported}"));
        }
        let kind = rule.refused.as_ref().map(|refusal| match refusal {
            Refusal::EmptySet { .. } | Refusal::UnreadableSet { .. } => decide::Refusal::Set,
            Refusal::OverBudget { .. } | Refusal::OverAssuredBudget { .. } => {
                decide::Refusal::Budget
            }
            _ => decide::Refusal::Limit,
        });
        if kind.as_ref() != expected.refused.get(&index) {
            found.push(format!(
                "rule {rule:?}: {:?} expected",
                expected.refused.get(&index)
            ));
        }
    }
}
