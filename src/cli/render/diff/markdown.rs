//! A diff as GitHub's Markdown: tickets, chats, step summaries.

use std::io::{self, Write};

use super::super::number::grouped;
use super::super::sheet::{Kind, Sheet, escaped};
use super::{
    between, both, counter, culprits, fill, groups, host, not_paired, summary, table, unlisted,
};
use crate::snapshot::diff::Diff;

/// Writes a diff.
pub(crate) fn write(out: &mut impl Write, diff: &Diff) -> io::Result<()> {
    writeln!(
        out,
        "## Connection tracking: {} ({})\n",
        escaped(&host(diff)),
        escaped(&both(diff, |side| &side.netns))
    )?;
    writeln!(
        out,
        "{}, {}: **{}**\n",
        escaped(&both(diff, |side| &side.time)),
        between(diff),
        escaped(&table(diff))
    )?;
    for culprit in culprits(diff) {
        writeln!(out, "- growth: **{}**", escaped(&culprit))?;
    }
    match &diff.flows.fates {
        Some(fates) => writeln!(
            out,
            "- flows: {} new, {} gone, {} re-created, {} changed, {} as before",
            grouped(fates.new),
            grouped(fates.gone),
            grouped(fates.recreated),
            grouped(fates.changed),
            grouped(fates.unchanged)
        )?,
        None => writeln!(out, "- flows: {}", not_paired(diff))?,
    }
    for note in &diff.notes {
        writeln!(out, "- note: {}", escaped(note))?;
    }
    let sheet = fill(diff);
    if !sheet.is_empty() {
        writeln!(out, "\n### Fill\n")?;
        sheet.markdown(out)?;
    }
    for grouping in &diff.groupings {
        let sheet = groups(grouping, grouping.shrinkers.len());
        if sheet.is_empty() {
            continue;
        }
        writeln!(out, "\n### By {}\n", escaped(&grouping.by))?;
        sheet.markdown(out)?;
        if let Some(more) = unlisted(grouping, grouping.shrinkers.len()) {
            writeln!(out, "\n{}", escaped(&more))?;
        }
    }
    if !diff.tunables.is_empty() {
        writeln!(out, "\n### Tunables\n")?;
        let words = |name: &str| (name.to_owned(), Kind::Words);
        let mut sheet = Sheet::new([words("tunable"), words("before"), words("after")]);
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
        for change in &diff.tunables {
            sheet.row(vec![
                change.name.clone(),
                value(&change.before),
                value(&change.after),
            ]);
        }
        sheet.markdown(out)?;
    }
    statistics(out, diff)?;
    writeln!(out, "\n{}", summary(diff))
}

fn statistics(out: &mut impl Write, diff: &Diff) -> io::Result<()> {
    writeln!(out, "\n### Counters\n")?;
    if let Some(why) = &diff.statistics.incomparable {
        return writeln!(out, "Not compared: {}.", escaped(why));
    }
    if diff.statistics.moved().next().is_none() {
        return writeln!(out, "None moved: nothing was dropped.");
    }
    for change in diff.statistics.moved() {
        writeln!(
            out,
            "- **{}** {}: {}{}",
            escaped(change.name),
            escaped(&counter(change)),
            escaped(change.meaning),
            change
                .advice
                .map_or_else(String::new, |advice| format!(" ({})", escaped(advice)))
        )?;
    }
    Ok(())
}
