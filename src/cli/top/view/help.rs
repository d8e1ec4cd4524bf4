//! The help, as `?` shows it.

use ratatui::text::{Line, Span};

use super::super::theme::Theme;

const KEYS: [(&str, &str); 19] = [
    ("Enter, →", "open: a group's flows, a flow's details"),
    ("Esc, ←", "back"),
    ("↑ ↓ j k", "select; PgUp, PgDn, Home, End too"),
    ("/ or f", "filter, with the flags of `conntidy list`"),
    ("b", "group by any fields, as `count --by` does"),
    ("Tab", "the next usual grouping"),
    ("s", "sort by the next key; r the other way round"),
    (
        "d",
        "delete the selected flow or group: shown first, asked, undoable",
    ),
    (
        "x",
        "expire it: leave it less time, unless it shows that it is alive",
    ),
    ("n", "count growth from now on"),
    ("p, Space", "pause, and go on"),
    ("+ -", "look less often, more often"),
    ("Ctrl-L", "draw everything anew"),
    ("Ctrl-Z", "stop; `fg` goes on"),
    ("q, Ctrl-C", "quit"),
    ("", ""),
    ("last", "how much a group grew since the last look"),
    ("start", "how much since the start, or since n, / or b"),
    (
        "flags",
        "A assured, U unreplied, S and D source and destination translated, O offloaded",
    ),
];

/// Columns of the keys.
const KEY: usize = 10;

pub(super) fn lines(theme: Theme, width: u16) -> Vec<Line<'static>> {
    let room = usize::from(width).saturating_sub(KEY).max(10);
    let mut lines = Vec::new();
    for (key, what) in KEYS {
        for (at, part) in folded(what, room).into_iter().enumerate() {
            let key = if at == 0 { key } else { "" };
            let key = Span::styled(format!("{key:<KEY$}"), theme.key());
            lines.push(Line::from(vec![key, Span::raw(part)]));
        }
    }
    lines
}

/// Folds a text between words.
fn folded(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > room {
            lines.push(word.to_owned());
        } else if let Some(last) = lines.last_mut() {
            if line > 0 {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}
