//! What keys do.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::fixture;
use super::look::{Counts, Look, Order, Seen};
use super::model::{Model, Purpose, Screen, Step, Target};
use crate::flow::OwnedExtra;
use crate::policy::Action;

fn press(model: &mut Model, code: KeyCode) -> Step {
    model.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn control(model: &mut Model, letter: char) -> Step {
    model.key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL))
}

fn type_line(model: &mut Model, text: &str) -> Step {
    control(model, 'u');
    for typed in text.chars() {
        press(model, KeyCode::Char(typed));
    }
    press(model, KeyCode::Enter)
}

/// A look that saw these groups of `src`, named by the last number of the address.
fn look(model: &Model, groups: &[(u8, u64)], clock: &str) -> Look {
    let ask = model.ask();
    let mut counts = Counts::default();
    for (number, flows) in groups {
        let key = [1, crate::flow::Family::Ipv4 as u8, 10, 0, 0, *number];
        *counts.groups.of(&key) = *flows;
    }
    let seen = Seen {
        groups: counts,
        within: 3,
        flows: (0..3)
            .map(|n| (fixture::tcp(n, 443), OwnedExtra::default()))
            .collect(),
        ..Seen::default()
    };
    Look {
        version: ask.version,
        clock: clock.to_owned(),
        seen,
        ..Look::default()
    }
}

fn seen(groups: &[(u8, u64)]) -> Model {
    let mut model = Model::new(fixture::setup("src", ""));
    let first = look(&model, groups, "first");
    model.take(first);
    model
}

/// The last number of the address of each group.
fn order(model: &Model) -> Vec<u8> {
    model
        .rows
        .iter()
        .filter_map(|row| row.key.last().copied())
        .collect()
}

#[test]
fn q_and_control_c_quit_from_everywhere() {
    let mut model = seen(&[(1, 1)]);
    assert_eq!(press(&mut model, KeyCode::Char('q')), Step::Quit);
    for key in ['/', '?'] {
        press(&mut model, KeyCode::Char(key));
        assert_eq!(control(&mut model, 'c'), Step::Quit);
        press(&mut model, KeyCode::Esc);
    }
    // Within a line q is a letter, and in the help it leads back.
    press(&mut model, KeyCode::Char('/'));
    assert_eq!(press(&mut model, KeyCode::Char('q')), Step::Stay);
    press(&mut model, KeyCode::Esc);
    press(&mut model, KeyCode::Char('?'));
    assert_eq!(press(&mut model, KeyCode::Char('q')), Step::Stay);
    assert_eq!((model.help, model.input.is_none()), (None, true));
    assert_eq!(control(&mut model, 'z'), Step::Suspend);
    assert_eq!(control(&mut model, 'l'), Step::Redraw);
}

#[test]
fn a_group_is_opened_then_a_flow_and_back() {
    let mut model = seen(&[(1, 9), (2, 5)]);
    press(&mut model, KeyCode::Down);
    assert_eq!(press(&mut model, KeyCode::Enter), Step::Ask);
    assert_eq!(model.screen, Screen::Flows);
    assert_eq!(model.ask().within.as_deref(), Some(&*model.rows[1].key));
    // Flows that were looked for before are not this group's.
    assert!(model.flows().is_none());
    let now = look(&model, &[(1, 9), (2, 5)], "now");
    model.take(now);
    press(&mut model, KeyCode::End);
    assert_eq!(press(&mut model, KeyCode::Enter), Step::Ask);
    assert_eq!(model.screen, Screen::Flow);
    let key = fixture::tcp(2, 443).key();
    assert_eq!(model.ask().flow, Some(key));
    // A look that was on its way does not tell whether it lives.
    let mut late = look(&model, &[], "late");
    late.version -= 1;
    model.take(late);
    assert!(model.flow_lives);
    let now = look(&model, &[], "now");
    model.take(now);
    assert!(!model.flow_lives);
    press(&mut model, KeyCode::Esc);
    assert_eq!((model.screen, model.flow_at), (Screen::Flows, 2));
    press(&mut model, KeyCode::Esc);
    assert_eq!(model.screen, Screen::Groups);
    assert_eq!(press(&mut model, KeyCode::Esc), Step::Stay);
}

#[test]
fn the_selection_stays_on_its_group_and_the_first_line_on_the_first() {
    let mut model = seen(&[(1, 9), (2, 5), (3, 1)]);
    let now = look(&model, &[(1, 9), (2, 50), (3, 1)], "now");
    model.take(now);
    assert_eq!((order(&model), model.group_at), (vec![2, 1, 3], 0));
    press(&mut model, KeyCode::Down);
    let now = look(&model, &[(1, 9), (2, 50), (3, 10)], "now");
    model.take(now);
    assert_eq!((order(&model), model.group_at), (vec![2, 3, 1], 2));
    let now = look(&model, &[(2, 50)], "now");
    model.take(now);
    assert_eq!(model.group_at, 0);
}

#[test]
fn sorts_go_round_and_reverse() {
    let mut model = seen(&[(1, 9), (2, 5)]);
    let now = look(&model, &[(1, 10), (2, 9)], "now");
    model.take(now);
    assert_eq!(order(&model), [1, 2]);
    assert_eq!(press(&mut model, KeyCode::Char('s')), Step::Stay);
    assert_eq!(order(&model), [2, 1]);
    press(&mut model, KeyCode::Char('r'));
    assert_eq!(order(&model), [1, 2]);
    // The flows of a group are put in order where they are read.
    press(&mut model, KeyCode::Enter);
    assert_eq!(press(&mut model, KeyCode::Char('s')), Step::Ask);
    assert_eq!(press(&mut model, KeyCode::Char('r')), Step::Ask);
    assert_eq!(
        (model.ask().order, model.ask().reversed),
        (Order::Bytes, true)
    );
}

#[test]
fn growth_counts_from_the_start_until_it_is_told_otherwise() {
    let mut model = seen(&[(1, 9)]);
    for flows in [10, 12] {
        let now = look(&model, &[(1, flows)], "now");
        model.take(now);
    }
    assert_eq!(
        (model.rows[0].last, model.rows[0].start),
        (Some(2), Some(3))
    );
    assert_eq!(model.since, "first");
    press(&mut model, KeyCode::Char('n'));
    assert_eq!(
        (model.rows[0].start, model.since.as_str()),
        (Some(0), "now")
    );
}

#[test]
fn another_filter_starts_anew_and_a_mistake_changes_nothing() {
    let mut model = seen(&[(1, 9)]);
    press(&mut model, KeyCode::Char('/'));
    assert_eq!(type_line(&mut model, "--dport 80-"), Step::Stay);
    let input = model.input.as_ref().unwrap();
    assert_eq!(
        (input.purpose, input.line.text().as_str()),
        (Purpose::Filter, "--dport 80-")
    );
    assert!(
        input.mistake.as_ref().unwrap().contains("--dport"),
        "{input:?}"
    );
    assert!(model.ask().predicate.tests.is_empty());
    // What is wrong is not said any more once something is typed.
    press(&mut model, KeyCode::Backspace);
    assert_eq!(model.input.as_ref().unwrap().mistake, None);
    assert_eq!(
        type_line(&mut model, "-p tcp --match 'dport = 80'"),
        Step::Ask
    );
    assert_eq!(model.ask().predicate.tests.len(), 2);
    assert_eq!(model.filter, "-p tcp --match 'dport = 80'");
    // What was seen with the old filter is not shown under the new one.
    assert!(model.rows.is_empty() && model.seen().is_none());
    let mut late = look(&model, &[(1, 100)], "late");
    late.version -= 1;
    model.take(late);
    assert!(model.rows.is_empty());
    let now = look(&model, &[(1, 3)], "now");
    model.take(now);
    assert_eq!(
        (model.rows[0].start, model.since.as_str()),
        (Some(0), "now")
    );
    // An open quote and a set without a policy are mistakes like others.
    for (line, says) in [("--match 'x", "quote"), ("-s @lan", "--policy")] {
        press(&mut model, KeyCode::Char('/'));
        assert_eq!(type_line(&mut model, line), Step::Stay);
        let mistake = model.input.clone().unwrap().mistake.unwrap();
        assert!(mistake.contains(says), "{mistake}");
        press(&mut model, KeyCode::Esc);
    }
    press(&mut model, KeyCode::Char('/'));
    assert_eq!(type_line(&mut model, ""), Step::Ask);
    assert_eq!(model.filter, "");
}

#[test]
fn grouping_is_typed_or_chosen() {
    let mut model = seen(&[(1, 9)]);
    press(&mut model, KeyCode::Char('b'));
    assert_eq!(type_line(&mut model, "scr"), Step::Stay);
    let mistake = model.input.clone().unwrap().mistake.unwrap();
    assert!(mistake.contains("did you mean `src`?"), "{mistake}");
    assert_eq!(type_line(&mut model, "src/24,dport"), Step::Ask);
    assert_eq!(model.ask().by.to_string(), "src/24,dport");
    for next in ["src", "dst"] {
        assert_eq!(press(&mut model, KeyCode::Tab), Step::Ask);
        assert_eq!(model.ask().by.to_string(), next);
    }
}

#[test]
fn intervals_have_ends_and_a_pause_is_asked_for() {
    let mut model = seen(&[]);
    let every = |model: &Model| model.ask().every;
    press(&mut model, KeyCode::Char('-'));
    assert_eq!(every(&model), Duration::from_secs(1));
    assert_eq!(press(&mut model, KeyCode::Char('-')), Step::Stay);
    for _ in 0..10 {
        press(&mut model, KeyCode::Char('+'));
    }
    assert_eq!(every(&model), Duration::from_secs(60));
    assert_eq!(press(&mut model, KeyCode::Char('p')), Step::Ask);
    assert!(model.ask().paused);
    press(&mut model, KeyCode::Char(' '));
    assert!(!model.ask().paused);
}

#[test]
fn what_is_to_be_deleted_is_exactly_what_is_selected() {
    let mut model = Model::new(fixture::setup("src", "-p udp"));
    let now = look(&model, &[(1, 9), (2, 5)], "now");
    model.take(now);
    press(&mut model, KeyCode::Down);
    assert_eq!(press(&mut model, KeyCode::Char('d')), Step::Change);
    let Some((Target::Group(filter), Action::Delete)) = model.wish.take() else {
        panic!("{:?}", model.wish);
    };
    // Both hold: the filter, and the group.
    assert_eq!(
        filter.to_string(),
        "--protocol udp --match 'src = \"10.0.0.2\"'"
    );
    press(&mut model, KeyCode::Enter);
    let now = look(&model, &[(1, 9), (2, 5)], "now");
    model.take(now);
    press(&mut model, KeyCode::Char('x'));
    assert_eq!(type_line(&mut model, "0s"), Step::Stay);
    assert!(model.input.as_ref().unwrap().mistake.is_some());
    assert_eq!(type_line(&mut model, "5m"), Step::Change);
    let flow = fixture::tcp(0, 443);
    match model.wish.take() {
        Some((Target::Flow { key, id }, Action::Expire { grace })) => {
            assert_eq!((key, id, grace.0), (flow.key(), flow.id(), 300));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_group_that_no_filter_takes_exactly_is_not_deleted() {
    let mut model = Model::new(fixture::setup("class", ""));
    let mut now = look(&model, &[], "now");
    *now.seen.groups.groups.of(&[1, 0]) = 5;
    model.take(now);
    for key in ['d', 'x'] {
        assert_eq!(press(&mut model, KeyCode::Char(key)), Step::Stay);
        assert!(model.refusal.as_ref().unwrap().contains("by class"));
        assert!(model.wish.is_none() && model.input.is_none());
    }
}

#[test]
fn the_filter_of_the_command_line_can_be_edited() {
    let line = "--protocol tcp --not-src 10.0.0.0/8 --match 'dport = \"80-90\"'";
    let mut model = Model::new(fixture::setup("src", line));
    press(&mut model, KeyCode::Char('/'));
    assert_eq!(press(&mut model, KeyCode::Enter), Step::Ask);
    let wanted = fixture::ask("src", line).predicate;
    assert_eq!(model.ask().predicate, wanted);
}

#[test]
fn what_is_expired_is_what_was_selected_when_it_was_asked_for() {
    let mut model = seen(&[(1, 9), (2, 5)]);
    press(&mut model, KeyCode::Char('x'));
    // The selection on the first line stays there, and another group comes to it.
    let now = look(&model, &[(1, 9), (2, 50)], "then");
    model.take(now);
    assert_eq!(type_line(&mut model, "5m"), Step::Change);
    let Some((Target::Group(filter), _)) = model.wish.take() else {
        panic!("{:?}", model.wish);
    };
    assert_eq!(filter.to_string(), "--match 'src = \"10.0.0.1\"'");
}
