//! All that is known of one flow.

use ratatui::text::{Line, Span};

use super::super::super::render::number::grouped;
use super::super::look::Entry;
use super::super::theme::Theme;
use super::lists::end;
use crate::flow::status::STATUS_WORDS;
use crate::flow::{Counters, Flow, Present, Protocol, Tuple};
use crate::policy::Seconds;

/// Fields by name; what the kernel did not tell is left out.
pub(super) fn fields((flow, extra): &Entry, time_ns: u64) -> Vec<(&'static str, String)> {
    let extra = extra.borrow();
    let mut fields = vec![(
        "protocol",
        format!("{} over {}", flow.protocol, flow.family),
    )];
    let mut add = |name, value: Option<String>| fields.extend(value.map(|value| (name, value)));
    add("state", flow.state_name().map(str::to_owned));
    add(
        "status",
        flow.status().map(|status| {
            let words = STATUS_WORDS.iter().filter(|(word, _)| word.holds(status));
            words.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
        }),
    );
    add(
        "expires",
        flow.remaining().map(|left| match Seconds(left.into()) {
            short @ Seconds(0..60) => format!("in {short}"),
            long => format!("in {long} ({left} s)"),
        }),
    );
    add("original", Some(tuple(flow, &flow.orig)));
    let counters = |counters: Counters| {
        format!(
            "{} packets, {} bytes",
            grouped(counters.packets),
            grouped(counters.bytes)
        )
    };
    let has = |present| flow.present.contains(present);
    add(
        "",
        has(Present::COUNTERS_ORIG).then(|| counters(flow.counters_orig)),
    );
    add(
        "reply",
        has(Present::REPLY).then(|| tuple(flow, &flow.reply)),
    );
    add(
        "",
        has(Present::COUNTERS_REPLY).then(|| counters(flow.counters_reply)),
    );
    add("nat", nat(flow));
    add(
        "age",
        flow.start_ns()
            .map(|start| Seconds(time_ns.saturating_sub(start) / 1_000_000_000).to_string()),
    );
    add(
        "mark",
        has(Present::MARK).then(|| format!("{0} ({0:#x})", flow.mark)),
    );
    add(
        "zone",
        match (flow.zone_orig, flow.zone_reply) {
            (0, 0) => None,
            (orig, reply) if orig == reply => Some(orig.to_string()),
            (orig, reply) => Some(format!("{orig} of the original, {reply} of the reply")),
        },
    );
    add("helper", extra.helper.map(str::to_owned));
    add(
        "labels",
        extra.labels.map(|labels| {
            let numbers = (0..u128::BITS).filter(|number| labels & (1 << number) != 0);
            numbers
                .map(|number| number.to_string())
                .collect::<Vec<_>>()
                .join(", ")
        }),
    );
    add("context", extra.secctx.map(str::to_owned));
    add("id", flow.id().map(|id| id.to_string()));
    fields
}

fn tuple(flow: &Flow, tuple: &Tuple) -> String {
    let ends = format!("{} -> {}", end(flow, tuple, true), end(flow, tuple, false));
    match flow.protocol {
        Protocol::ICMP | Protocol::ICMPV6 => format!(
            "{ends}  type {} code {} id {}",
            tuple.icmp_type(),
            tuple.icmp_code(),
            tuple.src_port
        ),
        _ => ends,
    }
}

/// What is translated to what.
fn nat(flow: &Flow) -> Option<String> {
    let source = flow
        .is_src_nat()?
        .then(|| format!("source to {}", end(flow, &flow.reply, false)));
    let destination = flow
        .is_dst_nat()?
        .then(|| format!("destination to {}", end(flow, &flow.reply, true)));
    let both: Vec<_> = source.into_iter().chain(destination).collect();
    (!both.is_empty()).then(|| both.join(", "))
}

pub(super) fn lines(entry: &Entry, lives: bool, time_ns: u64, theme: Theme) -> Vec<Line<'static>> {
    let gone =
        (!lives).then(|| Line::styled("gone from the table; as it was seen last:", theme.doubt()));
    let fields = fields(entry, time_ns).into_iter().map(|(name, value)| {
        Line::from(vec![
            Span::styled(format!("{name:<9}"), theme.head()),
            Span::raw(value),
        ])
    });
    gone.into_iter().chain(fields).collect()
}
