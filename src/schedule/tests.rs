use std::collections::BTreeMap;

use super::*;
use crate::observe::Reading;
use crate::policy::{Text, TextKind, load};

const S: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

fn policy(text: &str) -> Policy {
    let text = Text {
        name: "policy.toml".to_owned(),
        content: format!("version = 1\n{text}"),
        kind: TextKind::File,
    };
    let loaded = load::load(&[text]);
    loaded
        .policy
        .unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics))
}

/// A header at so many seconds since boot, with so many of 1000 entries.
fn header(uptime: u64, count: u64) -> Header {
    let max = Reading {
        value: Some("1000".to_owned()),
        writable: false,
        error: None,
    };
    Header {
        conntrack: true,
        uptime_ns: uptime * S,
        time_ns: (1_700_000_000 + uptime) * S,
        count: Some(count),
        tunables: BTreeMap::from([("nf_conntrack_max".to_owned(), max)]),
        ..Header::default()
    }
}

/// The same, with a load of the module.
fn loaded(uptime: u64, count: u64, module_load: Option<u64>) -> Header {
    Header {
        module_load,
        ..header(uptime, count)
    }
}

const RULE: &str = r#"
    [rules.a]
    match = { protocol = "udp" }
    action = "expire"
    grace = "10s"
    every = "100s"
"#;

#[test]
fn a_rule_is_due_when_nine_tenths_of_its_interval_have_passed() {
    let policy = policy(RULE);
    let mut rounds = Rounds::default();
    let waiting = |rounds: &Rounds, at, when| {
        let schedule = rounds.schedule(&policy, &header(at, 0), when);
        schedule.waiting(0).cloned()
    };
    assert_eq!(waiting(&rounds, DAY, When::Due), None);
    rounds.ran("a", DAY * S, Came::Well);
    let due_in = |due_in| Some(Waiting::NotDue { due_in });
    assert_eq!(waiting(&rounds, DAY, When::Due), due_in(90));
    assert_eq!(waiting(&rounds, DAY + 89, When::Due), due_in(1));
    assert_eq!(waiting(&rounds, DAY + 90, When::Due), None);
    assert_eq!(waiting(&rounds, DAY, When::Now), None);
    // The clock of another boot says nothing.
    assert_eq!(waiting(&rounds, DAY - 1, When::Due), None);
    assert_eq!(waiting(&rounds.of_other_boot(), DAY, When::Due), None);
}

#[test]
fn pressure_begins_above_one_mark_and_ends_below_the_other() {
    let policy = policy(&format!(
        "{RULE}when = {{ fill-above = 80, until-below = 50 }}"
    ));
    let mut rounds = Rounds::default();
    let mut pressed = |count| {
        let header = header(DAY, count);
        rounds.see(&policy, &header);
        rounds
            .schedule(&policy, &header, When::Now)
            .waiting(0)
            .is_none()
    };
    let fills = [0, 800, 801, 799, 500, 499, 800, 801];
    let wanted = [false, false, true, true, true, false, false, true];
    for (fill, wanted) in fills.into_iter().zip(wanted) {
        assert_eq!(pressed(fill), wanted, "{fill}");
    }
}

#[test]
fn a_table_without_a_limit_or_of_unknown_fill_is_not_full() {
    let policy = policy(&format!("{RULE}when = {{ fill-above = 80 }}"));
    let mut no_limit = header(DAY, 900);
    no_limit.tunables.get_mut("nf_conntrack_max").unwrap().value = Some("0".to_owned());
    let mut unknown = header(DAY, 900);
    unknown.count = None;
    for header in [no_limit, unknown] {
        let mut rounds = Rounds::default();
        rounds.see(&policy, &header);
        let schedule = rounds.schedule(&policy, &header, When::Now);
        let not_pressed = Waiting::NotPressed {
            fill: None,
            above: 8000,
        };
        assert_eq!(schedule.waiting(0), Some(&not_pressed));
    }
}

#[test]
fn after_boot_rules_only_count_until_the_grace_is_over() {
    let policy = policy(RULE);
    let rounds = Rounds::default();
    let waiting = |at, when| {
        let schedule = rounds.schedule(&policy, &header(at, 0), when);
        assert_eq!(schedule.waiting(0), schedule.existing());
        schedule.waiting(0).cloned()
    };
    let grace = waiting(599, When::Now);
    assert!(
        matches!(&grace, Some(Waiting::BootGrace { ends_in: 1, until }) if until == "2023-11-14T22:23:20Z"),
        "{grace:?}"
    );
    assert_eq!(waiting(599, When::Due), grace);
    assert_eq!(waiting(600, When::Due), None);
    assert_eq!(waiting(599, When::Timeless), None);
    assert_eq!(waiting(DAY, When::Boot), Some(Waiting::Boot));
}

#[test]
fn a_load_of_the_module_that_runs_have_seen_begins_the_grace_anew() {
    let policy = policy(RULE);
    let in_grace = |rounds: &Rounds, at| {
        let schedule = rounds.schedule(&policy, &header(at, 0), When::Now);
        schedule.waiting(0).is_some()
    };
    let absent = Header {
        conntrack: false,
        ..header(DAY, 0)
    };
    let mut rounds = Rounds::default();
    // The first run of a boot cannot tell when the module came.
    rounds.see(&policy, &loaded(DAY, 0, Some(1)));
    assert!(!in_grace(&rounds, DAY));
    rounds.see(&policy, &loaded(DAY + 10, 0, Some(1)));
    assert!(!in_grace(&rounds, DAY + 10));
    // Loaded anew between two runs.
    rounds.see(&policy, &loaded(DAY + 20, 0, Some(2)));
    assert!(in_grace(&rounds, DAY + 20));
    rounds.see(&policy, &loaded(DAY + 30, 0, None));
    assert!(in_grace(&rounds, DAY + 619));
    assert!(!in_grace(&rounds, DAY + 620));
    // Seen to be gone, then there again, where loads cannot be told apart.
    rounds.see(&policy, &absent);
    rounds.see(&policy, &loaded(2 * DAY, 0, None));
    assert!(in_grace(&rounds, 2 * DAY));
}

#[test]
fn the_breaker_holds_a_rule_from_its_last_allowed_mistake_until_it_is_released() {
    let policy = policy(&format!("{RULE}[limits]\nbreaker = 2"));
    let mut rounds = Rounds::default();
    let broken = |rounds: &Rounds| {
        let schedule = rounds.schedule(&policy, &header(DAY, 0), When::Now);
        schedule.broken(0)
    };
    rounds.ran("a", 1, Came::Wrong);
    rounds.ran("a", 2, Came::Well);
    rounds.ran("a", 3, Came::Wrong);
    assert_eq!(broken(&rounds), None);
    rounds.ran("a", 4, Came::Wrong);
    assert_eq!(broken(&rounds), Some(2));
    rounds.ran("a", 5, Came::Held);
    rounds = rounds.of_other_boot();
    assert_eq!(broken(&rounds), Some(2));
    assert!(rounds.release("a"));
    assert_eq!(broken(&rounds), None);
    assert!(!rounds.release("a"));
    assert!(!rounds.release("b"));
}

#[test]
fn what_the_breaker_holds_it_holds_also_past_runs_with_another_policy() {
    let one = policy(&format!("{RULE}[limits]\nbreaker = 2"));
    let other = policy(&RULE.replace("rules.a", "rules.b"));
    let mut rounds = Rounds::default();
    for at in [1, 2] {
        rounds.ran("a", at, Came::Wrong);
        rounds.note_broken(&one);
    }
    rounds.see(&other, &header(DAY, 0));
    rounds.note_broken(&other);
    rounds = rounds.of_other_boot();
    rounds.see(&other, &header(DAY, 0));
    rounds.see(&one, &header(DAY, 0));
    let schedule = rounds.schedule(&one, &header(DAY, 0), When::Due);
    assert_eq!((schedule.broken(0), schedule.waiting(0)), (Some(2), None));
    assert!(rounds.release("a"));
    rounds.see(&other, &header(DAY, 0));
    assert_eq!(rounds, {
        let mut fresh = Rounds::default();
        fresh.see(&other, &header(DAY, 0));
        fresh
    });
}

#[test]
fn rules_that_the_policy_has_no_more_are_forgotten() {
    let policy = policy(RULE);
    let mut rounds = Rounds::default();
    rounds.ran("gone", 4, Came::Wrong);
    rounds.see(&policy, &loaded(DAY, 0, None));
    assert_eq!(rounds.failures("gone"), 0);
}
