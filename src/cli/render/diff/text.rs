//! A diff as text.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::super::number::grouped;
use super::super::plan::Sign;
use super::{
    between, both, changes, counter, culprits, fill, groups, host, not_paired, summary, table,
    traffic, unlisted,
};
use crate::snapshot::diff::{Diff, Weight};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const NEW: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
const GONE: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
const OTHER: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));

/// Groups that shrank, of each grouping; growth is what is asked for.
const SHRINKERS: usize = 3;

/// Transitions that are shown.
const TRANSITIONS: usize = 6;

/// Writes a diff. `verbose` shows all that shrank and all transitions.
pub(crate) fn write(out: &mut impl Write, diff: &Diff, verbose: bool) -> io::Result<()> {
    headline(out, diff)?;
    for note in &diff.notes {
        let style = Sign::UNKNOWN.style();
        writeln!(out, "  {style}?{style:#} {note}")?;
    }
    flows(out, diff, verbose)?;
    let sheet = fill(diff);
    if !sheet.is_empty() {
        writeln!(out, "{BOLD}fill{BOLD:#}")?;
        sheet.text(out, "  ")?;
    }
    let shrinkers = if verbose { usize::MAX } else { SHRINKERS };
    for grouping in &diff.groupings {
        let sheet = groups(grouping, shrinkers);
        if sheet.is_empty() && unlisted(grouping, shrinkers).is_none() {
            continue;
        }
        writeln!(out, "{BOLD}by {}{BOLD:#}", grouping.by)?;
        if !sheet.is_empty() {
            sheet.text(out, "  ")?;
        }
        if let Some(more) = unlisted(grouping, shrinkers) {
            writeln!(out, "  {DIM}{more}{DIM:#}")?;
        }
    }
    tunables(out, diff)?;
    statistics(out, diff)?;
    writeln!(out, "{BOLD}{}{BOLD:#}", summary(diff))
}

fn headline(out: &mut impl Write, diff: &Diff) -> io::Result<()> {
    writeln!(
        out,
        "{BOLD}conntidy diff{BOLD:#}   host {}   netns {}   {}   {}",
        host(diff),
        both(diff, |side| &side.netns),
        both(diff, |side| &side.time),
        between(diff)
    )?;
    writeln!(out, "table      {}", table(diff))?;
    for (index, culprit) in culprits(diff).iter().enumerate() {
        let head = if index == 0 { "growth" } else { "" };
        writeln!(out, "{head:<10} {BOLD}{culprit}{BOLD:#}")?;
    }
    Ok(())
}

fn flows(out: &mut impl Write, diff: &Diff, verbose: bool) -> io::Result<()> {
    let Some(flows) = &diff.flows.fates else {
        return writeln!(out, "flows      {}", not_paired(diff));
    };
    write!(out, "flows      ")?;
    write!(out, "{NEW}+{NEW:#} {} new   ", grouped(flows.new))?;
    write!(out, "{GONE}-{GONE:#} {} gone   ", grouped(flows.gone))?;
    if flows.recreated > 0 {
        write!(
            out,
            "{OTHER}%{OTHER:#} {} re-created   ",
            grouped(flows.recreated)
        )?;
    }
    write!(
        out,
        "{OTHER}~{OTHER:#} {} changed   ",
        grouped(flows.changed)
    )?;
    writeln!(out, "= {} as before", grouped(flows.unchanged))?;
    let changes = changes(diff);
    if !changes.is_empty() {
        let parts: Vec<_> = (changes.iter())
            .map(|(what, flows)| format!("{what} {}", grouped(*flows)))
            .collect();
        writeln!(out, "changed    {}", parts.join("   "))?;
    }
    let shown = if verbose { usize::MAX } else { TRANSITIONS };
    let transitions = diff.lived_on.as_ref().map(|lived| &lived.transitions);
    let transitions = transitions.map_or(&[][..], Vec::as_slice);
    for transition in transitions.iter().take(shown) {
        writeln!(
            out,
            "           {} {} -> {}  {}",
            transition.protocol,
            transition.from,
            transition.to,
            grouped(transition.flows)
        )?;
    }
    let more = transitions.len().saturating_sub(shown);
    if more > 0 {
        writeln!(
            out,
            "           {DIM}{more} more ways; -v shows them{DIM:#}"
        )?;
    }
    if let Some(traffic) = traffic(diff) {
        writeln!(out, "traffic    {traffic}")?;
    }
    Ok(())
}

fn tunables(out: &mut impl Write, diff: &Diff) -> io::Result<()> {
    if diff.tunables.is_empty() {
        return Ok(());
    }
    writeln!(out, "{BOLD}tunables{BOLD:#}")?;
    let width = diff.tunables.iter().map(|one| one.name.len()).max();
    let width = width.unwrap_or(0);
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
    for change in &diff.tunables {
        writeln!(
            out,
            "  {OTHER}~{OTHER:#} {:<width$}  {} -> {}",
            change.name,
            value(&change.before),
            value(&change.after)
        )?;
    }
    Ok(())
}

fn statistics(out: &mut impl Write, diff: &Diff) -> io::Result<()> {
    let statistics = &diff.statistics;
    if let Some(why) = &statistics.incomparable {
        return writeln!(out, "{BOLD}counters{BOLD:#}   not compared: {why}");
    }
    if statistics.moved().next().is_none() {
        return writeln!(
            out,
            "{BOLD}counters{BOLD:#}   none moved: nothing was dropped"
        );
    }
    writeln!(out, "{BOLD}counters{BOLD:#}")?;
    for change in statistics.moved() {
        let style = match change.weight {
            Weight::Loss => GONE,
            Weight::Doubt => OTHER,
            Weight::Note => Style::new(),
        };
        writeln!(
            out,
            "  {style}{:<14}{style:#}  {}",
            change.name,
            counter(change)
        )?;
        writeln!(out, "      {}", change.meaning)?;
        if let Some(advice) = change.advice {
            writeln!(out, "      {DIM}{advice}{DIM:#}")?;
        }
    }
    if !statistics.left_out.is_empty() {
        let cpus: Vec<_> = statistics
            .left_out
            .iter()
            .map(ToString::to_string)
            .collect();
        writeln!(
            out,
            "  left out: cpu {}, which only one of the two has",
            cpus.join(", ")
        )?;
    }
    Ok(())
}
