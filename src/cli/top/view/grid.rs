//! Columns that are made to fit: the least needed ones go first, then texts are cut.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// Characters that a text which may be cut keeps while there are columns to drop.
const LEAST: usize = 12;

/// Space between two columns, where there is room and where there is not.
const GAPS: (usize, usize) = (2, 1);

/// One column of a table.
#[derive(Clone, Debug)]
pub(super) struct Column {
    head: String,
    cells: Vec<(String, Style)>,
    is_text: bool,
    /// 0 is never dropped; the highest goes first.
    rank: u8,
}

impl Column {
    /// Text, to the left; it is cut where there is no room.
    pub(super) fn text(head: impl Into<String>) -> Self {
        Self {
            head: head.into(),
            cells: Vec::new(),
            is_text: true,
            rank: 0,
        }
    }

    /// Numbers, to the right; the highest rank is dropped first where there is no room.
    pub(super) fn number(head: impl Into<String>, rank: u8) -> Self {
        Self {
            is_text: false,
            rank,
            ..Self::text(head)
        }
    }

    /// The same, but dropped where there is no room.
    pub(super) fn dropped(self, rank: u8) -> Self {
        Self { rank, ..self }
    }

    pub(super) fn push(&mut self, cell: impl Into<String>, style: Style) {
        self.cells.push((cell.into(), style));
    }

    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|(cell, _)| cell);
        let widths = cells.chain([&self.head]).map(|text| text.chars().count());
        widths.max().unwrap_or(0)
    }
}

/// The columns that fit into a width, and how wide each is; then the space between them.
fn fit(columns: &[Column], width: usize) -> (Vec<(usize, usize)>, usize) {
    let mut kept: Vec<_> = (columns.iter().enumerate())
        .map(|(index, column)| (index, column.width()))
        .collect();
    let all: usize = kept.iter().map(|(_, width)| width + GAPS.0).sum();
    let gap = if all <= width + GAPS.0 {
        GAPS.0
    } else {
        GAPS.1
    };
    let total = |kept: &[(usize, usize)], of: &dyn Fn(usize, usize) -> usize| {
        let widths: usize = kept.iter().map(|&(index, width)| of(index, width)).sum();
        widths + gap * kept.len().saturating_sub(1)
    };
    let least = |index: usize, width: usize| {
        if columns[index].is_text {
            width.min(LEAST)
        } else {
            width
        }
    };
    while total(&kept, &least) > width {
        let rank = |at: &usize| columns[kept[*at].0].rank;
        let candidate = (0..kept.len()).rev().max_by_key(rank);
        match candidate.filter(|at| rank(at) > 0) {
            Some(at) => kept.remove(at),
            None => break,
        };
    }
    while total(&kept, &|_, width| width) > width {
        let widest = (kept.iter_mut())
            .filter(|(index, width)| columns[*index].is_text && *width > 1)
            .max_by_key(|(_, width)| *width);
        match widest {
            Some((_, width)) => *width -= 1,
            None => break,
        }
    }
    let rest = width.saturating_sub(total(&kept, &|_, width| width));
    // Room that is left goes to the last text, so that numbers stand at the edge.
    let text = kept.iter().rposition(|&(index, _)| columns[index].is_text);
    let numbers = kept.iter().any(|&(index, _)| !columns[index].is_text);
    if let Some(at) = text.filter(|_| numbers) {
        kept[at].1 += rest.min(MOST_REST);
    }
    (kept, gap)
}

/// Wider gaps are hard to read across.
const MOST_REST: usize = 60;

/// A text of exactly this width.
fn padded(text: &str, width: usize, left: bool) -> String {
    let length = text.chars().count();
    if length > width {
        let cut: String = text.chars().take(width.saturating_sub(1)).collect();
        return if width > 0 { format!("{cut}…") } else { cut };
    }
    if left {
        format!("{text:<width$}")
    } else {
        format!("{text:>width$}")
    }
}

/// The first line that is shown, of so many, such that the selected one is seen.
pub(super) fn first(selected: usize, count: usize, room: usize) -> usize {
    let centred = selected.saturating_sub(room / 2);
    centred.min(count.saturating_sub(room))
}

/// How a table is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) head: Style,
    pub(super) selected: Style,
}

/// Draws the head and as many rows as there is room for. `cells` of the columns are those of the
/// rows from `first` on; `at` is the selected one among them.
pub(super) fn draw(
    columns: &[Column],
    at: Option<usize>,
    look: Look,
    area: Rect,
    buffer: &mut Buffer,
) {
    if area.height == 0 {
        return;
    }
    let (fitted, gap) = fit(columns, usize::from(area.width));
    let line = |buffer: &mut Buffer, row: u16, cell: &dyn Fn(usize) -> (String, Style)| {
        let mut x = area.x;
        for &(index, width) in &fitted {
            let (text, style) = cell(index);
            let text = padded(&text, width, columns[index].is_text);
            let room = area.right().saturating_sub(x);
            buffer.set_stringn(x, area.y + row, text, usize::from(room), style);
            let step = u16::try_from(width + gap).unwrap_or(u16::MAX);
            x = x.saturating_add(step).min(area.right());
        }
    };
    line(buffer, 0, &|index| (columns[index].head.clone(), look.head));
    for row in 1..area.height {
        let number = usize::from(row - 1);
        let is_there = columns.iter().any(|column| column.cells.len() > number);
        if !is_there {
            break;
        }
        line(buffer, row, &|index| {
            columns[index]
                .cells
                .get(number)
                .cloned()
                .unwrap_or_default()
        });
        if at == Some(number) {
            let whole = Rect {
                y: area.y + row,
                height: 1,
                ..area
            };
            buffer.set_style(whole, look.selected);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Vec<Column> {
        let mut columns = vec![
            Column::text("src"),
            Column::number("flows", 0),
            Column::number("share", 2),
            Column::number("growth", 1),
        ];
        for (column, cell) in
            columns
                .iter_mut()
                .zip(["2001:db8:aaaa:bbbb::/64", "1,000,000", "12 %", "+1,000"])
        {
            column.push(cell, Style::new());
        }
        columns
    }

    fn shown(width: u16) -> String {
        let area = Rect::new(0, 0, width, 2);
        let mut buffer = Buffer::empty(area);
        let look = Look {
            head: Style::new(),
            selected: Style::new(),
        };
        draw(&table(), None, look, area, &mut buffer);
        let symbols: String = buffer
            .content()
            .iter()
            .map(ratatui::buffer::Cell::symbol)
            .collect();
        symbols.chars().skip(usize::from(width)).collect()
    }

    #[test]
    fn numbers_are_dropped_by_rank_before_text_is_cut_to_nothing() {
        assert_eq!(
            shown(54),
            "2001:db8:aaaa:bbbb::/64       1,000,000   12 %  +1,000"
        );
        assert_eq!(shown(36), "2001:db8:aaa… 1,000,000  12 % +1,000");
        assert_eq!(shown(30), "2001:db8:aaa… 1,000,000 +1,000");
        assert_eq!(shown(23), "2001:db8:aaa… 1,000,000");
    }

    #[test]
    fn the_selected_line_is_always_seen() {
        assert_eq!(first(0, 100, 10), 0);
        assert_eq!(first(50, 100, 10), 45);
        assert_eq!(first(99, 100, 10), 90);
        assert_eq!(first(3, 4, 10), 0);
    }
}
