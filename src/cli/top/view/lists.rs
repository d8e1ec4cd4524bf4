//! Groups, and the flows of one.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::super::super::render::number::counted;
use super::super::growth::{ROWS, Row, Sort};
use super::super::look::{Entry, FLOWS, Order};
use super::super::model::Model;
use super::super::theme::Theme;
use super::grid::{self, Column, first};
use super::{amount, signed_amount};
use crate::flow::{Family, Flow, Status, Tuple};

fn look(theme: Theme) -> grid::Look {
    grid::Look {
        head: theme.head(),
        selected: theme.selected(),
    }
}

/// What the list of groups shows, in a line.
pub(super) fn groups_title(model: &Model) -> String {
    let groups = counted(model.groups() as u64, "group", "groups");
    let first = if model.groups() > ROWS {
        format!(", the first {ROWS} are here")
    } else {
        String::new()
    };
    format!("{groups} by {}{first}; start {}", model.by, model.since)
}

pub(super) fn groups(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let room = usize::from(area.height.saturating_sub(1));
    let first = first(model.group_at, model.rows.len(), room);
    let rows: Vec<&Row> = model.rows.iter().skip(first).take(room).collect();
    let passed = model.seen().map_or(0, |seen| seen.passed);
    let marked = |head: &str, sort: Sort| marked(head, model.sort == sort, model.sort_reversed);
    let heads = model.by.heads().enumerate();
    let heads = heads.map(|(at, head)| {
        if at == 0 {
            marked(&head, Sort::Key)
        } else {
            head
        }
    });
    let mut columns: Vec<_> = heads.map(Column::text).collect();
    let plain = ratatui::style::Style::new();
    for row in &rows {
        for (column, cell) in columns.iter_mut().zip(model.by.decode(&row.key)) {
            column.push(cell.to_string(), plain);
        }
    }
    let mut flows = Column::number(marked("flows", Sort::Flows), 0);
    let mut share = Column::number("share", 3);
    let mut last = Column::number(marked("last", Sort::Last), 2);
    let mut start = Column::number(marked("start", Sort::Start), 1);
    for row in &rows {
        flows.push(amount(row.flows, area.width), plain);
        share.push(percent(row.flows, passed), theme.dim());
        for (column, growth) in [(&mut last, row.last), (&mut start, row.start)] {
            match growth {
                Some(growth) => {
                    column.push(signed_amount(growth, area.width), theme.growth(growth));
                }
                None if model.has_before() => column.push("?", theme.dim()),
                None => column.push("", plain),
            }
        }
    }
    columns.extend([flows, share, last, start]);
    let at = model.group_at.checked_sub(first);
    grid::draw(&columns, at, look(theme), area, buffer);
}

/// The head of the column by which the list is sorted has a mark.
fn marked(head: &str, is_sorted: bool, reversed: bool) -> String {
    let mark = match (is_sorted, reversed) {
        (false, _) => "",
        (true, false) => "▼",
        (true, true) => "▲",
    };
    format!("{head}{mark}")
}

/// A part of a whole, in percent with one digit behind the point.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1000 / u128::from(whole.max(1));
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// What the list of flows shows, in a line.
pub(super) fn flows_title(model: &Model) -> String {
    let key = model.within.as_deref().unwrap_or_default();
    let fields = model.by.fields().zip(model.by.decode(key));
    let fields: Vec<_> = fields
        .map(|(name, cell)| format!("{name} {cell}"))
        .collect();
    let group = fields.join(", ");
    let Some(seen) = model.seen().filter(|_| model.flows().is_some()) else {
        return group;
    };
    let shown = if seen.within > FLOWS as u64 {
        format!("{FLOWS} of {} flows", amount(seen.within, 80))
    } else {
        counted(seen.within, "flow", "flows")
    };
    let order = model.order.name();
    let reversed = if model.order_reversed {
        ", the least first"
    } else {
        ""
    };
    format!("{shown} of {group}, by {order}{reversed}")
}

pub(super) fn flows(
    model: &Model,
    entries: &[Entry],
    theme: Theme,
    area: Rect,
    buffer: &mut Buffer,
) {
    let room = usize::from(area.height.saturating_sub(1));
    let first = first(model.flow_at, entries.len(), room);
    let mut protocol = Column::text("proto");
    let mut state = Column::text("state").dropped(2);
    let marked = |head, order: Order| marked(head, model.order == order, model.order_reversed);
    let mut source = Column::text(marked("source", Order::Address));
    let mut destination = Column::text("destination");
    let mut status = Column::text("flags").dropped(4);
    let mut left = Column::number(marked("left s", Order::Left), 1);
    let mut packets = Column::number(marked("packets", Order::Packets), 5);
    let mut bytes = Column::number(marked("bytes", Order::Bytes), 3);
    let plain = ratatui::style::Style::new();
    for (flow, _) in entries.iter().skip(first).take(room) {
        protocol.push(flow.protocol.to_string(), plain);
        state.push(flow.state_name().unwrap_or("-"), plain);
        source.push(end(flow, &flow.orig, true), plain);
        destination.push(end(flow, &flow.orig, false), plain);
        status.push(flags(flow), theme.dim());
        left.push(
            flow.remaining()
                .map_or("-".to_owned(), |left| left.to_string()),
            plain,
        );
        packets.push(
            flow.total()
                .map_or("-".to_owned(), |t| amount(t.packets, 0)),
            plain,
        );
        bytes.push(
            flow.total().map_or("-".to_owned(), |t| amount(t.bytes, 0)),
            plain,
        );
    }
    let columns = [
        protocol,
        state,
        source,
        destination,
        status,
        left,
        packets,
        bytes,
    ];
    let at = model.flow_at.checked_sub(first);
    grid::draw(&columns, at, look(theme), area, buffer);
}

/// One end of a tuple.
pub(super) fn end(flow: &Flow, tuple: &Tuple, source: bool) -> String {
    let (address, port) = if source {
        (tuple.src_ip(flow.family), tuple.src_port)
    } else {
        (tuple.dst_ip(flow.family), tuple.dst_port)
    };
    match flow.family {
        _ if !flow.protocol.has_ports() => address.to_string(),
        Family::Ipv4 => format!("{address}:{port}"),
        Family::Ipv6 => format!("[{address}]:{port}"),
    }
}

/// The status in letters: assured, unreplied, source and destination translated, offloaded.
fn flags(flow: &Flow) -> String {
    let Some(status) = flow.status() else {
        return "?".to_owned();
    };
    [
        (status.contains(Status::ASSURED), 'A'),
        (!status.contains(Status::SEEN_REPLY), 'U'),
        (status.contains(Status::SRC_NAT), 'S'),
        (status.contains(Status::DST_NAT), 'D'),
        (flow.is_offloaded(), 'O'),
    ]
    .into_iter()
    .filter_map(|(holds, letter)| holds.then_some(letter))
    .collect()
}
