//! The head: how full the table is, and of what.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Sparkline, Widget};

use super::super::look::Seen;
use super::super::model::Model;
use super::super::theme::Theme;
use super::lists::percent;
use super::{NARROW, amount, signed_amount};
use crate::flow::Class;
use crate::flow::protocol::state_name;

/// Columns of the words before each line.
const LABEL: u16 = 7;

/// What the head has at this size.
struct Parts {
    history: u16,
    /// Lines of one line each: class, protocol, state.
    kinds: u16,
    /// The same side by side, so many lines high.
    panels: u16,
    filter: u16,
}

fn parts(model: &Model, area: Rect) -> Parts {
    let is_filtered = !model.filter.is_empty();
    let is_wide = area.height >= 36 && area.width >= 100;
    let panels = if is_wide { panel_height(model) } else { 0 };
    Parts {
        history: match area.height {
            ..11 => 0,
            11..28 => 1,
            28..36 => 2,
            _ => 4,
        },
        kinds: match area.height {
            _ if panels > 0 => 0,
            ..12 => 0,
            12..18 => 1,
            _ => 3,
        },
        panels,
        filter: u16::from(is_filtered && area.height >= 10),
    }
}

/// Kinds that a panel shows at most.
const PANEL: usize = 6;

/// A head, the kinds, and a line for how many more there are.
fn panel_height(model: &Model) -> u16 {
    let kinds = model.seen().map_or(0, |seen| {
        let states = seen.states.len().max(seen.protocols.len());
        states.max(classes(seen).len())
    });
    u16::try_from(kinds.min(PANEL) + 2).unwrap_or(0)
}

/// Lines of the head.
pub(super) fn height(model: &Model, area: Rect) -> u16 {
    let parts = parts(model, area);
    let all = 2 + parts.history + parts.kinds + parts.panels + parts.filter;
    all.min(area.height.saturating_sub(3))
}

pub(super) fn draw(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    // The parts depend on the whole screen, and the height of this area on them.
    let whole = Rect {
        height: buffer.area.height,
        ..area
    };
    let parts = parts(model, whole);
    let [title, gauge, history, kinds, panels, filter] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(parts.history),
        Constraint::Length(parts.kinds),
        Constraint::Length(parts.panels),
        Constraint::Length(parts.filter),
    ])
    .areas(area);
    draw_title(model, theme, title, buffer);
    draw_gauge(model, theme, gauge, buffer);
    draw_history(model, theme, history, buffer);
    if let Some(seen) = model.seen() {
        let all = [classes(seen), protocols(seen), states(seen)];
        for (row, (label, items)) in (0..kinds.height).zip(LABELS.into_iter().zip(&all)) {
            let line = Rect {
                y: kinds.y + row,
                height: 1,
                ..kinds
            };
            draw_kinds(label, items, theme, line, buffer);
        }
        if panels.height > 0 {
            draw_panels(&all, seen.passed, theme, panels, buffer);
        }
    }
    draw_filter(model, theme, filter, buffer);
}

/// Writes spans from the left and others to the right edge; the left ones give way.
fn ends(left: Vec<Span<'_>>, right: Vec<Span<'_>>, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let right = Line::from(right);
    let width = u16::try_from(right.width())
        .unwrap_or(u16::MAX)
        .min(area.width);
    let from = area.right() - width;
    buffer.set_line(
        area.x,
        area.y,
        &Line::from(left),
        (area.width - width).saturating_sub(1),
    );
    buffer.set_line(from, area.y, &right, width);
}

fn draw_title(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let wide = area.width >= NARROW;
    let name = if wide { "conntidy top" } else { "top" };
    let mut left = vec![Span::styled(name, theme.title())];
    left.push(Span::raw(format!("  {}", model.host)));
    if let Some(netns) = &model.netns {
        left.push(Span::styled(format!("  netns {netns}"), theme.dim()));
    }
    let clock = model.look.as_ref().map_or("", |look| look.clock.as_str());
    let right = if model.paused {
        vec![
            Span::styled("PAUSED ", theme.doubt()),
            Span::raw(clock.to_owned()),
        ]
    } else {
        let looked = model.look.as_ref().map(|look| look.pause);
        let pause = looked.unwrap_or_default().max(model.every);
        let seconds = tenths(pause);
        let every = match (wide, pause > model.every) {
            (true, false) => format!("every {seconds} s  "),
            (true, true) => format!("every {seconds} s, not {} s  ", tenths(model.every)),
            (false, _) => format!("{seconds}s "),
        };
        let style = if pause > model.every {
            theme.doubt()
        } else {
            theme.dim()
        };
        vec![Span::styled(every, style), Span::raw(clock.to_owned())]
    };
    ends(left, right, area, buffer);
}

/// Seconds, with a tenth where they are not whole.
fn tenths(time: std::time::Duration) -> String {
    let tenths = time.as_millis().div_ceil(100);
    match tenths % 10 {
        0 => (tenths / 10).to_string(),
        rest => format!("{}.{rest}", tenths / 10),
    }
}

fn draw_gauge(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let Some(look) = &model.look else {
        return;
    };
    let width = area.width;
    let entries = amount(look.entries, width);
    let since = model.first.map_or(0, |(then, _)| {
        super::super::growth::growth(then, look.entries)
    });
    let growth = vec![
        Span::raw("  "),
        Span::styled(signed_amount(since, width), theme.growth(since)),
        Span::styled(
            if width >= NARROW {
                " since the start"
            } else {
                ""
            },
            theme.dim(),
        ),
    ];
    let label = Span::styled(format!("{:<1$}", "table", usize::from(LABEL)), theme.dim());
    let Some(limit) = look.limit else {
        let left = vec![label, Span::raw(format!("{entries} entries, no limit"))];
        ends(left, growth, area, buffer);
        return;
    };
    let part = u128::from(look.entries) * 100 / u128::from(limit.max(1));
    let full = u64::try_from(part).unwrap_or(u64::MAX);
    let style = theme.fill(full);
    let numbers = format!("{entries} / {} ", amount(limit, width));
    let percent = Span::styled(format!(" {full} %"), style);
    let right: Vec<_> = [percent].into_iter().chain(growth).collect();
    let taken =
        usize::from(LABEL) + numbers.chars().count() + Line::from(right.clone()).width() + 1;
    let room = usize::from(width).saturating_sub(taken).min(100);
    let left = vec![
        label,
        Span::raw(numbers),
        Span::styled(bar(part, 100, room), style),
    ];
    ends(left, right, area, buffer);
}

/// A bar of this width, filled from the left in eighths of a column.
fn bar(part: u128, whole: u128, width: usize) -> String {
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let most = width * 8;
    let eighths = usize::try_from(part * most as u128 / whole.max(1))
        .unwrap_or(most)
        .min(most);
    let mut bar = "█".repeat(eighths / 8);
    if eighths / 8 < width {
        bar.push(PARTS[eighths % 8]);
        bar.push_str(&"░".repeat(width - eighths / 8 - 1));
    }
    bar.replace(' ', "░")
}

fn draw_history(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let peak = model.history.iter().copied().max().unwrap_or(0);
    let told = format!(" peak {}", amount(peak, area.width));
    let right = u16::try_from(told.chars().count()).unwrap_or(0);
    let [label, line, end] = Layout::horizontal([
        Constraint::Length(LABEL),
        Constraint::Min(1),
        Constraint::Length(right),
    ])
    .areas(area);
    buffer.set_stringn(
        label.x,
        label.y,
        "fill",
        usize::from(label.width),
        theme.dim(),
    );
    buffer.set_stringn(end.x, end.y, told, usize::from(end.width), theme.dim());
    let room = usize::from(line.width);
    let from = model.history.len().saturating_sub(room);
    let shown: Vec<u64> = model.history.iter().skip(from).copied().collect();
    // The present is at the right.
    let short = u16::try_from(room - shown.len()).unwrap_or(0);
    let line = Rect {
        x: line.x + short,
        width: line.width - short,
        ..line
    };
    Sparkline::default()
        .data(&shown)
        .max(peak.max(1))
        .style(theme.fine())
        .render(line, buffer);
}

const LABELS: [&str; 3] = ["class", "proto", "state"];

type Kinds = Vec<(String, u64)>;

/// The most first, equal ones by name.
fn sorted(mut items: Kinds) -> Kinds {
    items.retain(|(_, flows)| *flows > 0);
    items.sort_unstable_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
    items
}

fn classes(seen: &Seen) -> Kinds {
    let classes = Class::ALL.iter();
    let counted = classes.map(|class| (class.name().to_owned(), seen.classes[*class as usize]));
    sorted(counted.collect())
}

fn protocols(seen: &Seen) -> Kinds {
    let protocols = seen.protocols.iter();
    sorted(
        protocols
            .map(|(protocol, flows)| (protocol.to_string(), *flows))
            .collect(),
    )
}

/// States of TCP alone need no protocol before them.
fn states(seen: &Seen) -> Kinds {
    let states = seen.states.iter().map(|((protocol, state), flows)| {
        let name = state_name(*protocol, *state).map_or_else(|| state.to_string(), str::to_owned);
        let name = if *protocol == crate::flow::Protocol::TCP {
            name
        } else {
            format!("{protocol} {name}")
        };
        (name, *flows)
    });
    sorted(states.collect())
}

/// `state  ESTABLISHED 150,000  TIME_WAIT 20,000 ...`.
fn draw_kinds(label: &str, items: &Kinds, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let mut spans = vec![Span::styled(
        format!("{label:<0$}", usize::from(LABEL)),
        theme.dim(),
    )];
    let mut room = usize::from(area.width.saturating_sub(LABEL));
    if items.is_empty() {
        spans.push(Span::styled("-", theme.dim()));
    }
    for (index, (name, flows)) in items.iter().enumerate() {
        let count = amount(*flows, area.width);
        let used = name.chars().count() + 1 + count.chars().count();
        let more = if index + 1 < items.len() { 3 } else { 0 };
        if used + more > room {
            spans.push(Span::styled("…", theme.dim()));
            break;
        }
        room = room.saturating_sub(used + 2);
        spans.push(Span::raw(format!("{name} ")));
        spans.push(Span::styled(format!("{count}  "), theme.title()));
    }
    buffer.set_line(area.x, area.y, &Line::from(spans), area.width);
}

/// The three side by side, each with bars.
fn draw_panels(all: &[Kinds; 3], passed: u64, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let third = Constraint::Ratio(1, 3);
    let panels: [Rect; 3] = Layout::horizontal([third, third, third])
        .spacing(2)
        .areas(area);
    for ((label, items), panel) in LABELS.into_iter().zip(all).zip(panels) {
        buffer.set_stringn(
            panel.x,
            panel.y,
            label,
            usize::from(panel.width),
            theme.head(),
        );
        let rows = usize::from(panel.height.saturating_sub(2));
        let most = |widths: &mut dyn Iterator<Item = usize>| widths.max().unwrap_or(0);
        let shown = items.iter().take(rows);
        let names = most(&mut shown.clone().map(|(name, _)| name.chars().count())).min(20);
        let counts = most(&mut shown.clone().map(|(_, flows)| amount(*flows, 80).len()));
        for (row, (name, flows)) in (1..).zip(shown) {
            let part = percent(*flows, passed);
            let text = format!("{name:<names$} {:>counts$} {part:>7} ", amount(*flows, 80));
            let used = text.chars().count();
            let room = usize::from(panel.width).saturating_sub(used).min(30);
            let filled = bar((*flows).into(), passed.into(), room);
            let y = panel.y + row;
            let (x, _) =
                buffer.set_stringn(panel.x, y, text, usize::from(panel.width), Style::new());
            buffer.set_stringn(x, y, filled, room, theme.fine());
        }
        let more = items.len().saturating_sub(rows);
        if more > 0 {
            let y = panel.y + panel.height.saturating_sub(1);
            let text = format!("and {more} more");
            buffer.set_stringn(panel.x, y, text, usize::from(panel.width), theme.dim());
        }
    }
}

fn draw_filter(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let told = model.seen().map(|seen| {
        let passed = amount(seen.passed, area.width);
        match seen.doubtful {
            0 => format!("{passed} pass"),
            doubtful => format!(
                "{passed} pass, {} do not tell",
                amount(doubtful, area.width)
            ),
        }
    });
    let label = format!("{:<1$}", "filter", usize::from(LABEL));
    let left = vec![
        Span::styled(label, theme.dim()),
        Span::styled(model.filter.clone(), theme.title()),
    ];
    let right = vec![Span::styled(told.unwrap_or_default(), theme.dim())];
    ends(left, right, area, buffer);
}
