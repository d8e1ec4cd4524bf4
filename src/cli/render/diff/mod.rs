//! A diff for people and programs; one file a format.

pub(crate) mod csv;
pub(crate) mod flows;
pub(crate) mod html;
pub(crate) mod markdown;
pub(crate) mod text;

use super::number::{bytes, counted, grouped};
use super::sheet::{Kind, Sheet};
use crate::group::Cell;
use crate::policy::Seconds;
use crate::snapshot::diff::{CounterChange, Diff, Group, Grouping, LivedOn, Side, Split};

/// `+1,234`, `-5`, `0`.
pub(crate) fn signed(number: i64) -> String {
    let sign = match number {
        0 => "",
        1.. => "+",
        _ => "-",
    };
    format!("{sign}{}", grouped(number.unsigned_abs()))
}

/// The change between two counts.
fn change(before: u64, after: u64) -> String {
    let by = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    signed(if after >= before {
        by(after - before)
    } else {
        -by(before - after)
    })
}

/// A part of 1 in whole percent.
fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.01 {
        "<1 %".to_owned()
    } else {
        format!("{:.0} %", share * 100.0)
    }
}

/// A part of a limit in whole percent, rounded down as `plan` has it.
fn filled(split: &Split) -> Option<String> {
    let max = split.max?;
    Some(format!("{} %", split.total().saturating_mul(100) / max))
}

/// How long lies between.
fn between(diff: &Diff) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "seconds of any history fit"
    )]
    let seconds = diff.seconds.abs().round() as u64;
    let text = Seconds(seconds).to_string();
    if diff.seconds < 0.0 {
        format!("{text} back")
    } else {
        text
    }
}

/// What both sides have in common is said once.
fn both<'a>(diff: &'a Diff, part: fn(&'a Side) -> &'a str) -> String {
    let (before, after) = (part(&diff.before), part(&diff.after));
    if before == after {
        before.to_owned()
    } else {
        format!("{before} -> {after}")
    }
}

/// Whose tables they are.
fn host(diff: &Diff) -> String {
    both(diff, |side| super::known(&side.host))
}

/// The size of the table, before and after, with its limit.
fn table(diff: &Diff) -> String {
    let (before, after) = (&diff.fill.before, &diff.fill.after);
    let mut text = format!("{} -> {}", grouped(before.total()), grouped(after.total()));
    if let Some(max) = after.max {
        text = format!("{text} / {}", grouped(max));
    }
    if let (Some(before), Some(after)) = (filled(before), filled(after)) {
        text = format!("{text}   {before} -> {after}");
    }
    text
}

/// The values of a group, as one line.
fn key(group: &Group) -> String {
    let cells: Vec<_> = (group.key.0.iter())
        .map(|(_, cell)| cell.to_string())
        .collect();
    cells.join(" ")
}

/// Who made the table grow: the first grower of each grouping, where it has a good part of it.
fn culprits(diff: &Diff) -> Vec<String> {
    const PART: f64 = 0.2;
    if diff.flows.after <= diff.flows.before {
        return Vec::new();
    }
    (diff.groupings.iter())
        .filter_map(|grouping| {
            // Those that have none of the fields are nobody.
            let is_told =
                |group: &&Group| group.key.0.iter().any(|(_, cell)| *cell != Cell::Absent);
            let first = grouping.growers.first().filter(is_told)?;
            let share = first.share.filter(|share| *share >= PART)?;
            Some(format!(
                "{} {}: {} ({})",
                grouping.by,
                key(first),
                signed(first.change),
                percent(share)
            ))
        })
        .collect()
}

/// The last line of all, in the words of `plan`.
fn summary(diff: &Diff) -> String {
    if !diff.differs() {
        return "No difference".to_owned();
    }
    let mut parts = match &diff.flows.fates {
        Some(fates) => vec![
            format!("{} new", grouped(fates.new)),
            format!("{} gone", grouped(fates.gone)),
            format!("{} changed", grouped(fates.changed)),
        ],
        None => counts(diff),
    };
    if let Some(fates) = diff.flows.fates.filter(|fates| fates.recreated > 0) {
        parts.push(format!("{} re-created", grouped(fates.recreated)));
    }
    if !diff.tunables.is_empty() {
        let number = diff.tunables.len() as u64;
        parts.push(counted(number, "tunable", "tunables"));
    }
    format!("Diff: {}.", parts.join(", "))
}

/// How many flows there were and are: all that is known where they are not paired.
fn not_paired(diff: &Diff) -> String {
    let (before, after) = (diff.flows.before, diff.flows.after);
    format!(
        "{} -> {} ({}), counted and not paired",
        grouped(before),
        grouped(after),
        change(before, after)
    )
}

/// What flows come to that are not paired, with the groups of the first grouping.
fn counts(diff: &Diff) -> Vec<String> {
    let more = change(diff.flows.before, diff.flows.after);
    let mut parts = vec![format!("{more} flows")];
    if let Some(first) = diff.groupings.first() {
        let groups = counted(first.growing, "group", "groups");
        parts.push(format!("{groups} grew"));
        parts.push(format!(
            "{} shrank (by {})",
            grouped(first.shrinking),
            first.by
        ));
    }
    parts
}

/// Classes of both tables.
fn fill(diff: &Diff) -> Sheet {
    let mut sheet = Sheet::new([
        ("class".to_owned(), Kind::Words),
        ("before".to_owned(), Kind::Number),
        ("after".to_owned(), Kind::Number),
        ("change".to_owned(), Kind::Number),
        ("of the table".to_owned(), Kind::Number),
    ]);
    let (before, after) = (&diff.fill.before, &diff.fill.after);
    let total = after.total();
    for ((name, old), (_, new)) in before.classes().into_iter().zip(after.classes()) {
        if old + new == 0 {
            continue;
        }
        let share = match total {
            0 => "-".to_owned(),
            total => percent(part(new, total)),
        };
        sheet.row(vec![
            name.to_owned(),
            grouped(old),
            grouped(new),
            change(old, new),
            share,
        ]);
    }
    sheet
}

/// A part of a whole, from 0 to 1.
pub(crate) fn part(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let share = part as f64 / whole as f64;
    share
}

/// Groups of one grouping: those that grew, and a few of those that shrank.
fn groups(grouping: &Grouping, shrinkers: usize) -> Sheet {
    let words = |name: &String| (name.clone(), Kind::Words);
    let shrinkers = grouping.shrinkers.iter().take(shrinkers);
    let listed: Vec<&Group> = grouping.growers.iter().chain(shrinkers).collect();
    let mut numbers = vec!["before", "after", "change", "share"];
    if listed.iter().any(|group| group.fates.is_some()) {
        numbers.extend(["new", "gone"]);
    }
    let numbers = (numbers.into_iter()).map(|name| (name.to_owned(), Kind::Number));
    let heads = grouping.fields.iter().map(words);
    let mut sheet = Sheet::new(heads.chain(numbers));
    for group in listed {
        let mut row: Vec<_> = (group.key.0.iter())
            .map(|(_, cell)| cell.to_string())
            .collect();
        row.extend([
            grouped(group.before),
            grouped(group.after),
            signed(group.change),
            group.share.map_or_else(|| "-".to_owned(), percent),
        ]);
        if let Some(fates) = &group.fates {
            row.extend([grouped(fates.new), grouped(fates.gone)]);
        }
        sheet.row(row);
    }
    sheet
}

/// What a table of groups does not show; `None` where it shows all that changed.
fn unlisted(grouping: &Grouping, shrinkers: usize) -> Option<String> {
    let more = |all: u64, listed: usize| all.saturating_sub(listed as u64);
    let grew = more(grouping.growing, grouping.growers.len());
    let shrank = more(grouping.shrinking, grouping.shrinkers.len().min(shrinkers));
    let mut parts = Vec::new();
    if grew > 0 {
        parts.push(format!("{} more grew", grouped(grew)));
    }
    if shrank > 0 {
        parts.push(format!("{} more shrank", grouped(shrank)));
    }
    if grouping.short_by > 0 {
        parts.push(format!(
            "too many groups to keep all apart, so counts may be short by up to {}: use fewer \
             fields or shorter prefixes",
            grouped(grouping.short_by)
        ));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// A rate in the unit in which there is at least one.
pub(crate) fn often(per_second: f64) -> String {
    let units = [(1.0, "s"), (60.0, "min"), (3600.0, "h")];
    let unit = units
        .iter()
        .find(|(seconds, _)| per_second * seconds >= 1.0);
    match unit.or(units.last()) {
        Some((seconds, name)) => format!("{:.1}/{name}", per_second * seconds),
        None => String::new(),
    }
}

/// What a counter did, in numbers.
fn counter(change: &CounterChange) -> String {
    let mut text = grouped(change.delta.unwrap_or(0));
    if let Some(rate) = change.per_second {
        text = format!("{text}   {}", often(rate));
    }
    if let [only] = change.cpus.as_slice() {
        text = format!("{text}   cpu {} alone", only.cpu);
    }
    if change.wrapped {
        text.push_str("   passed 2^32 and went on from 0");
    }
    text
}

/// What flows that lived on moved.
fn traffic(diff: &Diff) -> Option<String> {
    let traffic = diff.lived_on.as_ref()?.traffic?;
    Some(format!(
        "{} in {} moved by {} that lived on, {} of them silent",
        bytes(traffic.bytes),
        counted(traffic.packets, "packet", "packets"),
        counted(traffic.flows, "flow", "flows"),
        grouped(traffic.silent)
    ))
}

/// Why flows are not what they were, the most frequent first.
fn changes(diff: &Diff) -> Vec<(&'static str, u64)> {
    let Some(LivedOn { changed, .. }) = &diff.lived_on else {
        return Vec::new();
    };
    let mut list: Vec<_> = [
        ("state", changed.state),
        ("status", changed.status),
        ("reply tuple", changed.reply),
        ("mark", changed.mark),
        ("reply zone", changed.zone),
        ("helper", changed.helper),
        ("labels", changed.label),
        ("security context", changed.secctx),
    ]
    .into_iter()
    .filter(|(_, flows)| *flows > 0)
    .collect();
    list.sort_by_key(|(_, flows)| std::cmp::Reverse(*flows));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_told_in_a_unit_that_people_can_compare() {
        assert_eq!(
            [often(12.34), often(0.04), often(0.001)],
            ["12.3/s", "2.4/min", "3.6/h"]
        );
    }

    #[test]
    fn numbers_have_their_sign_and_shares_no_false_zero() {
        assert_eq!([signed(1234), signed(0), signed(-5)], ["+1,234", "0", "-5"]);
        assert_eq!(change(7, 2), "-5");
        assert_eq!(
            [percent(0.0), percent(0.004), percent(0.786)],
            ["0 %", "<1 %", "79 %"]
        );
    }
}
