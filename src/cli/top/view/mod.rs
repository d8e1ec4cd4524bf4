//! What is on the screen, at any size.

mod detail;
mod grid;
mod head;
mod help;
mod lists;

#[cfg(test)]
mod tests;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::super::render::diff::signed;
use super::super::render::number::grouped;
use super::model::{Input, Model, Purpose, Screen};
use super::theme::Theme;

/// Narrower screens have short numbers.
const NARROW: u16 = 60;

/// A number, short where there is little room.
fn amount(number: u64, width: u16) -> String {
    if width >= NARROW || number < 10_000 {
        return grouped(number);
    }
    for (unit, size) in [
        ("T", 1_000_000_000_000),
        ("G", 1_000_000_000),
        ("M", 1_000_000),
        ("k", 1000),
    ] {
        if number >= size {
            let tenths = number / (size / 10);
            return if tenths < 1000 {
                format!("{}.{}{unit}", tenths / 10, tenths % 10)
            } else {
                format!("{}{unit}", number / size)
            };
        }
    }
    grouped(number)
}

fn signed_amount(number: i64, width: u16) -> String {
    if width >= NARROW {
        return signed(number);
    }
    let sign = match number {
        0 => "",
        1.. => "+",
        _ => "-",
    };
    format!("{sign}{}", amount(number.unsigned_abs(), width))
}

/// Draws everything, and tells how far the help can be scrolled.
pub(super) fn draw(model: &Model, theme: Theme, frame: &mut Frame<'_>) -> u16 {
    let area = frame.area();
    let foot = foot(model, theme, area.width);
    let notes = notes(model, theme, area);
    let head = head::height(model, area);
    let [above, body, below, last] = Layout::vertical([
        Constraint::Length(head),
        Constraint::Min(2),
        Constraint::Length(notes_height(&notes, area)),
        Constraint::Length(1),
    ])
    .areas(area);
    head::draw(model, theme, above, frame.buffer_mut());
    let mut end = 0;
    if let Some(scrolled) = model.help {
        let help = help::lines(theme, body.width);
        let hidden = help.len().saturating_sub(usize::from(body.height));
        end = u16::try_from(hidden).unwrap_or(u16::MAX);
        let scrolled = scrolled.min(end);
        frame.render_widget(Paragraph::new(help).scroll((scrolled, 0)), body);
    } else {
        draw_body(model, theme, body, frame);
    }
    let notes = Paragraph::new(notes).wrap(Wrap { trim: true });
    frame.render_widget(notes, below);
    frame.render_widget(foot, last);
    if let Some(input) = &model.input {
        let at = cursor(input, area.width);
        frame.set_cursor_position((last.x + at, last.y));
    }
    end
}

fn draw_body(model: &Model, theme: Theme, area: Rect, frame: &mut Frame<'_>) {
    let [title, list] = Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(area);
    let told = match model.screen {
        Screen::Groups => lists::groups_title(model),
        Screen::Flows => lists::flows_title(model),
        Screen::Flow => "one flow".to_owned(),
    };
    let reading = Paragraph::new("reading the table ...").style(theme.dim());
    let nothing = |text: &'static str| Paragraph::new(text).style(theme.dim());
    match (model.screen, &model.flow) {
        (Screen::Flow, Some(entry)) => {
            let time = model.look.as_ref().map_or(0, |look| look.time_ns);
            let lines = detail::lines(entry, model.flow_lives, time, theme);
            frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
            return;
        }
        (Screen::Groups, _) => match model.seen() {
            None => {
                frame.render_widget(reading, area);
                return;
            }
            Some(_) if model.rows.is_empty() => {
                let why = if model.filter.is_empty() {
                    "the table is empty"
                } else {
                    "no flow passes the filter"
                };
                frame.render_widget(nothing(why), area);
                return;
            }
            Some(_) => lists::groups(model, theme, list, frame.buffer_mut()),
        },
        _ => match model.flows() {
            None => frame.render_widget(reading, list),
            Some([]) => frame.render_widget(nothing("no flow is left in this group"), list),
            Some(flows) => lists::flows(model, flows, theme, list, frame.buffer_mut()),
        },
    }
    frame.render_widget(Paragraph::new(told).style(theme.title()), title);
}

/// What is to be known besides: the worst first.
fn notes(model: &Model, theme: Theme, area: Rect) -> Vec<Line<'static>> {
    if let Some(Input { mistake, .. }) = &model.input {
        let mistake = mistake.clone().map(|text| Line::styled(text, theme.bad()));
        return mistake.into_iter().collect();
    }
    let mut notes = Vec::new();
    let mut note = |text: String, style| notes.push(Line::styled(text, style));
    if let Some(refusal) = &model.refusal {
        note(refusal.clone(), theme.bad());
    }
    if let Some(trouble) = &model.trouble {
        note(trouble.clone(), theme.bad());
    }
    let Some(look) = &model.look else {
        return notes;
    };
    let lost = model.first.map(|(_, then)| look.losses.since(then));
    let lost = lost.unwrap_or_default();
    for (number, what) in [
        (lost.full, "packets dropped, no entry could be made"),
        (lost.early, "entries thrown out to make room"),
        (lost.failed, "insertions failed"),
    ] {
        if number > 0 {
            note(
                format!("{} {what}, since the start", grouped(number)),
                theme.bad(),
            );
        }
    }
    if look.undecoded > 0 {
        note(
            format!(
                "{} entries could not be decoded and are missing here",
                look.undecoded
            ),
            theme.bad(),
        );
    }
    if look.resized {
        note(
            "the hash table was resized meanwhile: counts may be wrong".to_owned(),
            theme.doubt(),
        );
    }
    if look.pause > model.every && !model.paused {
        let (pause, cost) = (look.pause.as_secs_f64(), look.cost.as_secs_f64());
        note(
            format!(
                "looks every {pause:.1} s, not {} s: one takes {cost:.1} s of a core, and a quarter of one is enough",
                model.every.as_secs()
            ),
            theme.doubt(),
        );
    }
    if model.beyond() > 0 && model.screen == Screen::Groups {
        let beyond = grouped(model.beyond());
        note(
            format!("too many groups to keep all apart: {beyond} flows are in none of these"),
            theme.doubt(),
        );
    }
    let most = match area.height {
        ..16 => 1,
        16..30 => 2,
        _ => 5,
    };
    notes.truncate(most);
    notes
}

fn notes_height(notes: &[Line<'_>], area: Rect) -> u16 {
    let width = usize::from(area.width.max(1));
    let lines: usize = notes
        .iter()
        .map(|line| line.width().div_ceil(width).max(1))
        .sum();
    // Words that do not fit at a line's end may take one more.
    let folded = usize::from(notes.iter().any(|line| line.width() > width));
    let most = usize::from(area.height / 3).max(1);
    u16::try_from((lines + folded).min(most)).unwrap_or(1)
}

/// What stands before the line that is typed.
fn prompt(input: &Input, width: u16) -> &'static str {
    match input.purpose {
        Purpose::Filter if width >= NARROW => "filter (Enter takes it, Esc leaves it): ",
        Purpose::Filter => "filter: ",
        Purpose::By if width >= NARROW => "group by (Enter takes it, Esc leaves it): ",
        Purpose::By => "by: ",
        Purpose::Expire if width >= NARROW => "expire it where it stays silent for: ",
        Purpose::Expire => "expire in: ",
    }
}

/// How many characters of the line are scrolled away, and where the cursor is on the screen.
fn window(input: &Input, width: u16) -> (usize, usize) {
    let before = prompt(input, width).chars().count();
    let room = usize::from(width).saturating_sub(before + 1).max(1);
    let at = input.line.cursor();
    let away = at.saturating_sub(room);
    (away, before + at - away)
}

fn cursor(input: &Input, width: u16) -> u16 {
    let (_, at) = window(input, width);
    u16::try_from(at)
        .unwrap_or(u16::MAX)
        .min(width.saturating_sub(1))
}

/// The last line: what is typed, or the keys that matter here.
fn foot(model: &Model, theme: Theme, width: u16) -> Line<'static> {
    if let Some(input) = &model.input {
        let (away, _) = window(input, width);
        let text: String = input.line.text().chars().skip(away).collect();
        return Line::from(vec![
            Span::styled(prompt(input, width), theme.key()),
            Span::raw(text),
        ]);
    }
    let keys: &[(&str, &str)] = match (model.help.is_some(), model.screen) {
        (true, _) => &[("↑↓", "scroll"), ("any other key", "back")],
        (_, Screen::Groups) => &[
            ("?", "help"),
            ("q", "quit"),
            ("Enter", "flows"),
            ("/", "filter"),
            ("b", "by"),
            ("s", "sort"),
            ("p", "pause"),
            ("n", "from now"),
            ("d", "delete"),
            ("x", "expire"),
            ("+-", "interval"),
        ],
        (_, Screen::Flows) => &[
            ("?", "help"),
            ("Esc", "back"),
            ("Enter", "details"),
            ("d", "delete"),
            ("x", "expire"),
            ("s", "sort"),
            ("r", "reverse"),
            ("p", "pause"),
            ("q", "quit"),
        ],
        (_, Screen::Flow) => &[
            ("?", "help"),
            ("Esc", "back"),
            ("d", "delete"),
            ("x", "expire"),
            ("p", "pause"),
            ("q", "quit"),
        ],
    };
    let mut room = usize::from(width);
    let mut spans = Vec::new();
    for (key, what) in keys {
        let used = key.chars().count() + what.len() + 3;
        if used > room + 2 {
            break;
        }
        room = room.saturating_sub(used);
        spans.push(Span::styled(*key, theme.key()));
        spans.push(Span::raw(format!(" {what}  ")));
    }
    Line::from(spans)
}
