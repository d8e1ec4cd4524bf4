//! An independent model of POLICY.md, sections 2 to 4: literal and slow, sharing nothing but data
//! types with the code that it judges.

mod decide;
mod idle;
mod plan;
mod strategies;
mod truth;

use conntidy::group::Groups;
use conntidy::matcher::{self, Compiled, Context, Grade, Truth};
use conntidy::policy::{Action, Predicate};
use proptest::prelude::*;

use idle::Certainty;
use strategies::{Case, case, predicates};

fn context(case: &Case) -> Context<'_> {
    Context::new(&case.header, &case.policy.sets, &case.members)
}

/// What the matcher says where the model says otherwise.
fn differences(case: &Case, predicates: &[Predicate]) -> Vec<String> {
    let context = context(case);
    let mut found = Vec::new();
    for (grade, certainty) in [
        (Grade::Presumed, Certainty::Presumed),
        (Grade::Proven, Certainty::Proven),
    ] {
        for (predicate, ignore_ct_timeout) in predicates.iter().zip([false, true].iter().cycle()) {
            let compiled = Compiled::new(predicate, &context, *ignore_ct_timeout);
            let view = truth::View {
                header: &case.header,
                sets: &case.policy.sets,
                members: &case.members,
                ignore_ct_timeout: *ignore_ct_timeout,
                certainty,
            };
            for (flow, extra) in case.borrowed() {
                let expected = truth::holds(view, predicate, &flow, &extra);
                let got = compiled.eval(&flow, &extra, grade);
                let explained = matcher::explain(
                    predicate,
                    &context,
                    *ignore_ct_timeout,
                    &flow,
                    &extra,
                    grade,
                )
                .iter()
                .fold(Truth::True, |all, clause| all.and(clause.truth));
                if got != Truth::from(expected) || explained != got {
                    found.push(format!(
                        "{predicate:?} on {flow:?} {extra:?}: {expected:?}, not {got:?}, explained {explained:?}"
                    ));
                }
            }
        }
    }
    found
}

/// What a run of all tests has time for; `scripts/deep` asks for 10,000 by proptest's own variable.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 400;
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_matcher_agrees_with_the_letter(case in case(20), predicates in predicates()) {
        let differences = differences(&case, &predicates);
        prop_assert!(differences.is_empty(), "{}", differences.join("\n"));
    }

    #[test]
    fn the_plan_agrees_with_the_letter(case in case(150)) {
        let differences = plan::differences(&plan::numbered(case));
        prop_assert!(differences.is_empty(), "{}", differences.join("\n"));
    }

    #[test]
    fn groups_agree_with_the_letter(case in case(40)) {
        for over in case.policy.rules.iter().filter_map(|rule| rule.over) {
            let mut groups = Groups::new(over);
            let numbers: Vec<_> = case.flows.iter().map(|(flow, _)| groups.count(flow)).collect();
            for ((flow, _), number) in case.flows.iter().zip(numbers) {
                let expected = decide::group(flow, &over).map(|key| {
                    let same = case.flows.iter().filter(|(other, _)| {
                        decide::group(other, &over).as_ref() == Some(&key)
                    });
                    same.count() as u64 > over.count
                });
                prop_assert_eq!(number.map(|number| groups.is_over(number)), expected);
            }
        }
    }

    #[test]
    fn the_model_acts_on_nothing_that_must_be_left_alone(case in case(80)) {
        let flows = case.borrowed();
        let decision = decide::model(
            &case.policy,
            &case.header,
            &case.members,
            &flows,
            &case.earlier,
        );
        for (index, (flow, _)) in flows.iter().enumerate() {
            if let Some(rule) = decision.acts_on(index) {
                prop_assert!(!flow.is_offloaded());
                prop_assert!(case.policy.rules[rule].action != Action::Report);
                let delete = case.policy.rules[rule].action == Action::Delete;
                prop_assert!(!delete || flow.status().is_some() && flow.id().is_some());
            }
        }
    }
}

/// Random cases are worth something only if they reach what they are meant to test.
#[test]
fn random_cases_reach_every_outcome() {
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;
    use std::collections::BTreeMap;

    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..600 {
        let case = case(250).new_tree(&mut runner).unwrap().current();
        let flows = case.borrowed();
        let decision = decide::model(
            &case.policy,
            &case.header,
            &case.members,
            &flows,
            &case.earlier,
        );
        for verdict in &decision.flows {
            *seen.entry(format!("{:?}", verdict.outcome)).or_default() += 1;
            if !verdict.reported.is_empty() {
                *seen.entry("Reported".to_owned()).or_default() += 1;
            }
        }
        for refusal in decision.refused.values() {
            *seen.entry(format!("{refusal:?}")).or_default() += 1;
        }
    }
    for outcome in [
        "Unclaimed",
        "Selected",
        "Reported",
        "Left(\"offloaded\")",
        "Left(\"protected\")",
        "Left(\"session\")",
        "Left(\"host\")",
        "Left(\"fixed-timeout\")",
        "Left(\"already\")",
        "Left(\"grace\")",
        "Left(\"unknown\")",
        "Left(\"assured\")",
        "Left(\"half-closed\")",
        "Set",
        "Budget",
        "Limit",
    ] {
        let count = seen.get(outcome).copied().unwrap_or_default();
        assert!(count >= 10, "{outcome}: {count}\n{seen:#?}");
    }
}
