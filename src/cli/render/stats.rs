//! What the kernel tells of a table, for people.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::diff::{often, signed};
use super::number::{bytes, grouped};
use super::sheet::{Kind, Sheet};
use crate::cli::commands::stats::{CounterStats, Stats, TableStats};
use crate::snapshot::diff::Weight;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const LOSS: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
const DOUBT: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));

fn style(weight: Weight) -> Style {
    match weight {
        Weight::Loss => LOSS,
        Weight::Doubt => DOUBT,
        Weight::Note => Style::new(),
    }
}

/// Everything, with what each counter means that is not 0.
pub(crate) fn text(out: &mut impl Write, stats: &Stats) -> io::Result<()> {
    let table = &stats.table;
    writeln!(
        out,
        "{BOLD}conntidy stats{BOLD:#}   host {}   netns {}   {}",
        stats.host, stats.netns, stats.time
    )?;
    write!(out, "entries      {}", fill(table))?;
    match (table.growth, stats.seconds) {
        (Some(growth), Some(seconds)) => writeln!(out, "   {} in {seconds:.1} s", signed(growth))?,
        _ => writeln!(out)?,
    }
    if let Some(buckets) = table.buckets.filter(|buckets| *buckets > 0) {
        write!(out, "hash         {} buckets", grouped(buckets))?;
        write!(out, ", {} entries a bucket", tenths(table.entries, buckets))?;
        match table.max {
            Some(max @ 1..) => writeln!(out, ", {} when full", tenths(max, buckets))?,
            _ => writeln!(out)?,
        }
    }
    write!(
        out,
        "memory       about {} of entries",
        bytes(table.entry_bytes)
    )?;
    if let Some(hash) = table.hash_bytes {
        write!(out, ", {} of hash", bytes(hash))?;
    }
    match table.full_bytes {
        Some(full) => writeln!(out, "; {} when full", bytes(full))?,
        None => writeln!(out)?,
    }
    let expected = &stats.expectations;
    write!(out, "expected     {}", grouped(expected.entries.into()))?;
    if let Some(max) = expected.max {
        write!(out, " / {}", grouped(max))?;
    }
    writeln!(out, "   {} so far", grouped(expected.created.into()))?;
    counters(out, stats)
}

fn counters(out: &mut impl Write, stats: &Stats) -> io::Result<()> {
    let moved: Vec<&CounterStats> = (stats.counters.iter())
        .filter(|counter| counted(counter) > 0)
        .collect();
    if moved.is_empty() {
        let when = if stats.seconds.is_some() {
            "meanwhile"
        } else {
            "so far"
        };
        return writeln!(
            out,
            "{BOLD}counters{BOLD:#}     none moved {when}: nothing was dropped"
        );
    }
    writeln!(out, "{BOLD}counters{BOLD:#}")?;
    for counter in &moved {
        let style = style(counter.weight);
        let number = grouped(counted(counter));
        write!(out, "  {style}{:<14}{style:#}  {number}", counter.name)?;
        if let Some(rate) = counter.per_second {
            write!(out, "   {}", often(rate))?;
        }
        writeln!(out, "\n      {}", counter.meaning)?;
        if let Some(advice) = counter.advice {
            writeln!(out, "      {DIM}{advice}{DIM:#}")?;
        }
    }
    let Some(first) = moved.first().filter(|first| first.cpus.len() > 1) else {
        return Ok(());
    };
    let heads = (moved.iter()).map(|counter| (counter.name.to_owned(), Kind::Number));
    let mut sheet = Sheet::new([("cpu".to_owned(), Kind::Number)].into_iter().chain(heads));
    for (index, cpu) in first.cpus.iter().enumerate() {
        let cells = moved.iter().map(|counter| {
            let cpu = &counter.cpus[index];
            let shown = match counter.delta {
                Some(_) => cpu.delta,
                None => Some(cpu.total),
            };
            shown.map_or_else(|| "-".to_owned(), |number| grouped(number.into()))
        });
        sheet.row([cpu.cpu.to_string()].into_iter().chain(cells).collect());
    }
    sheet.text(out, "  ")
}

/// One look of several: what moved since the one before.
pub(crate) fn line(out: &mut impl Write, stats: &Stats) -> io::Result<()> {
    write!(out, "{}   {}", stats.time, fill(&stats.table))?;
    if let Some(growth) = stats.table.growth {
        write!(out, "   {}", signed(growth))?;
    }
    let mut moved = 0;
    for counter in &stats.counters {
        let Some(rate) = counter.per_second.filter(|rate| *rate > 0.0) else {
            continue;
        };
        moved += 1;
        let style = style(counter.weight);
        write!(out, "   {style}{}{style:#} {}", counter.name, often(rate))?;
    }
    if moved == 0 {
        write!(out, "   {DIM}no counter moved{DIM:#}")?;
    }
    writeln!(out)
}

/// What is shown of a counter: what it counted meanwhile, or in all.
fn counted(counter: &CounterStats) -> u64 {
    counter.delta.unwrap_or(counter.total)
}

fn fill(table: &TableStats) -> String {
    let entries = grouped(table.entries);
    match table.max {
        Some(max @ 1..) => {
            let percent = tenths(table.entries.saturating_mul(100), max);
            format!("{entries} / {} ({percent} %)", grouped(max))
        }
        Some(0) => format!("{entries}, no limit"),
        None => entries,
    }
}

/// A quotient with one digit behind the point, rounded down: a table that is not full is not 100 %.
fn tenths(number: u64, by: u64) -> String {
    let tenths = number.saturating_mul(10) / by;
    format!("{}.{}", grouped(tenths / 10), tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_not_full_does_not_look_full() {
        assert_eq!(tenths(999_999 * 100, 1_000_000), "99.9");
        assert_eq!(tenths(5, 1000), "0.0");
    }
}
