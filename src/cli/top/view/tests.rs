//! Screens as text, at the sizes that people have.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::super::fixture;
use super::super::look::{Look, Losses, Walk};
use super::super::model::{Model, Step};
use super::super::theme::Theme;
use crate::flow::{Extra, Flow};
use crate::matcher::{Compiled, Context};
use crate::observe::{Header, Record, Visit};

/// What the model asks for, of these flows.
fn look(model: &Model, flows: &[Flow]) -> Look {
    let ask = model.ask();
    let header = Header::default();
    let filter = Compiled::new(&ask.predicate, &Context::new(&header, &[], &[]), false);
    let mut walk = Walk::new(&ask, &filter);
    for &flow in flows {
        let extra = Extra::default();
        walk.visit(&Record {
            flow,
            extra,
            message: &[],
        });
    }
    let one = ask
        .flow
        .and_then(|key| flows.iter().find(|flow| flow.key() == key));
    Look {
        version: ask.version,
        clock: "12:34:56".to_owned(),
        entries: flows.len() as u64,
        limit: Some(262_144),
        flow: one.map(|flow| (*flow, Extra::default().to_owned())),
        seen: walk.finish(),
        cost: Duration::from_millis(3),
        pause: ask.every,
        ..Look::default()
    }
}

fn table(flows: u32) -> Vec<Flow> {
    let tcp = (0..flows).map(|n| fixture::tcp(n, 443));
    tcp.chain((0..flows / 10).map(fixture::udp)).collect()
}

/// A gateway whose table grows.
fn gateway(by: &str, filter: &str) -> Model {
    let mut model = Model::new(fixture::setup(by, filter));
    for flows in [1000, 20_000, 12_000, 52_345] {
        let look = look(&model, &table(flows));
        model.take(look);
    }
    model
}

fn press(model: &mut Model, code: KeyCode) -> Step {
    model.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn type_in(model: &mut Model, text: &str) {
    for typed in text.chars() {
        press(model, KeyCode::Char(typed));
    }
}

fn screen(model: &Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let theme = Theme { colors: false };
    terminal
        .draw(|frame| {
            super::draw(model, theme, frame);
        })
        .unwrap();
    terminal.backend().to_string()
}

#[test]
fn groups_at_every_size() {
    let model = gateway("src,dport", "");
    for (width, height) in [(80, 24), (40, 12), (200, 60)] {
        insta::assert_snapshot!(
            format!("groups_{width}x{height}"),
            screen(&model, width, height)
        );
    }
}

#[test]
fn flows_of_a_group_and_one_of_them() {
    let mut model = gateway("src", "");
    press(&mut model, KeyCode::Enter);
    insta::assert_snapshot!("flows_not_yet_read_80x24", screen(&model, 80, 24));
    let seen = look(&model, &table(52_345));
    model.take(seen);
    for _ in 0..3 {
        press(&mut model, KeyCode::Down);
    }
    for (width, height) in [(80, 24), (40, 12), (200, 60)] {
        insta::assert_snapshot!(
            format!("flows_{width}x{height}"),
            screen(&model, width, height)
        );
    }
    press(&mut model, KeyCode::Enter);
    for (width, height) in [(80, 24), (40, 12)] {
        insta::assert_snapshot!(
            format!("flow_{width}x{height}"),
            screen(&model, width, height)
        );
    }
    let seen = look(&model, &[]);
    model.take(seen);
    assert!(screen(&model, 80, 24).contains("gone from the table"));
}

#[test]
fn a_mistaken_filter_is_shown_and_stays_to_be_corrected() {
    let mut model = gateway("src", "-p tcp");
    press(&mut model, KeyCode::Char('/'));
    type_in(&mut model, " --dprt 80");
    assert_eq!(press(&mut model, KeyCode::Enter), Step::Stay);
    insta::assert_snapshot!("mistake_80x24", screen(&model, 80, 24));
    insta::assert_snapshot!("mistake_40x12", screen(&model, 40, 12));
    for _ in 0..5 {
        press(&mut model, KeyCode::Backspace);
    }
    type_in(&mut model, "ort 80-");
    assert_eq!(press(&mut model, KeyCode::Enter), Step::Stay);
    assert!(
        screen(&model, 80, 24).contains("--dport"),
        "{}",
        screen(&model, 80, 24)
    );
}

#[test]
fn help_at_every_size_and_scrolled() {
    let mut model = gateway("src", "");
    press(&mut model, KeyCode::Char('?'));
    insta::assert_snapshot!("help_80x24", screen(&model, 80, 24));
    insta::assert_snapshot!("help_40x12", screen(&model, 40, 12));
    for _ in 0..100 {
        press(&mut model, KeyCode::Down);
    }
    let end = screen(&model, 40, 12);
    assert!(end.contains("flags"), "{end}");
    // What was drawn is where the next key starts from.
    let mut terminal = Terminal::new(TestBackend::new(40, 12)).unwrap();
    let theme = Theme { colors: false };
    let mut seen = 0;
    terminal
        .draw(|frame| seen = super::draw(&model, theme, frame))
        .unwrap();
    model.drawn(12, seen);
    press(&mut model, KeyCode::Up);
    assert_ne!(screen(&model, 40, 12), end);
}

#[test]
fn what_is_wrong_is_said() {
    let mut model = gateway("src", "--dport 80");
    let mut seen = look(&model, &table(52_345));
    seen.losses = Losses {
        full: 1234,
        early: 5,
        failed: 0,
    };
    seen.limit = Some(60_000);
    (seen.cost, seen.pause) = (Duration::from_millis(1600), Duration::from_millis(6400));
    model.take(seen);
    insta::assert_snapshot!("wrong_80x24", screen(&model, 80, 24));
    model.fail("the dump was interrupted".to_owned());
    assert!(screen(&model, 40, 12).contains("the dump was interrupted"));
}

#[test]
fn nothing_and_no_limit_are_said() {
    let mut model = Model::new(fixture::setup("src", ""));
    assert!(screen(&model, 80, 24).contains("reading the table"));
    let mut seen = look(&model, &[]);
    seen.limit = None;
    model.take(seen);
    let shown = screen(&model, 80, 24);
    assert!(shown.contains("0 entries, no limit"), "{shown}");
    assert!(shown.contains("the table is empty"), "{shown}");
}

#[test]
fn no_size_is_too_small() {
    let mut model = gateway("src,dst,sport,dport,state", "-p tcp");
    let small = [(1, 1), (2, 3), (10, 4), (20, 6), (300, 2), (1, 100)];
    for open in [
        KeyCode::Null,
        KeyCode::Enter,
        KeyCode::Enter,
        KeyCode::Char('/'),
        KeyCode::Enter,
        KeyCode::Char('?'),
    ] {
        press(&mut model, open);
        let seen = look(&model, &table(100));
        model.take(seen);
        for (width, height) in small {
            screen(&model, width, height);
        }
    }
}
