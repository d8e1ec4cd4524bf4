//! A series of snapshots: a sparkline a group.

pub(crate) mod html;

use std::io::{self, Write};

use anstyle::Style;

use super::diff::signed;
use super::number::{counted, grouped};
use super::plan::Sign;
use super::sheet::{Kind, Sheet, escaped};
use crate::snapshot::series::{Lines, Series};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Characters of a sparkline at most.
const SPARKS: usize = 48;

/// Counts in so many columns at most. Where there are more, each is the largest of its part.
fn columns(counts: &[u64], most: usize) -> Vec<u64> {
    let width = counts.len().min(most);
    let largest = |column: usize| {
        let part = column * counts.len() / width..(column + 1) * counts.len() / width;
        counts[part].iter().copied().max().unwrap_or(0)
    };
    (0..width).map(largest).collect()
}

/// Counts as bars from 0 to their own peak.
fn sparkline(counts: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let peak = counts.iter().copied().max().unwrap_or(0);
    let bar = |count: u64| {
        if count == 0 {
            return ' ';
        }
        let step = u128::from(count) * BARS.len() as u128 / u128::from(peak.max(1));
        BARS[usize::try_from(step)
            .unwrap_or(BARS.len())
            .clamp(1, BARS.len())
            - 1]
    };
    columns(counts, SPARKS).into_iter().map(bar).collect()
}

/// First, lowest, highest, last and change.
fn numbers(counts: &[u64]) -> [String; 5] {
    let end = |count: Option<&u64>| count.copied().unwrap_or(0);
    let (first, last) = (end(counts.first()), end(counts.last()));
    let by = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    [
        grouped(first),
        grouped(end(counts.iter().min())),
        grouped(end(counts.iter().max())),
        grouped(last),
        signed(by(last).saturating_sub(by(first))),
    ]
}

/// A row of a sheet: fields, bars and numbers.
fn row(mut cells: Vec<String>, counts: &[u64]) -> Vec<String> {
    cells.push(sparkline(counts));
    cells.extend(numbers(counts));
    cells
}

fn heads(fields: impl IntoIterator<Item = String>) -> Sheet {
    let fields = fields.into_iter().map(|field| (field, Kind::Words));
    let columns = [
        ("over time", Kind::Words),
        ("first", Kind::Number),
        ("lowest", Kind::Number),
        ("peak", Kind::Number),
        ("last", Kind::Number),
        ("change", Kind::Number),
    ];
    let columns = columns.map(|(name, kind)| (name.to_owned(), kind));
    Sheet::new(fields.chain(columns))
}

/// The table and its classes.
fn fill(series: &Series) -> Sheet {
    let mut sheet = heads(["class".to_owned()]);
    let mut add = |name: &str, counts: Vec<u64>| {
        if counts.iter().any(|count| *count > 0) {
            sheet.row(row(vec![name.to_owned()], &counts));
        }
    };
    add(
        "all",
        series.points.iter().map(|point| point.flows).collect(),
    );
    for class in 0..5 {
        let of = series
            .points
            .iter()
            .map(|point| point.fill.classes()[class]);
        let counts: Vec<_> = of.clone().map(|(_, flows)| flows).collect();
        if let Some((name, _)) = of.clone().next() {
            add(name, counts);
        }
    }
    sheet
}

fn groups(lines: &Lines) -> Sheet {
    let mut sheet = heads(lines.fields.iter().cloned());
    for line in &lines.lines {
        let cells = line.key.0.iter().map(|(_, cell)| cell.to_string());
        sheet.row(row(cells.collect(), &line.flows));
    }
    if lines.rest.iter().any(|count| *count > 0) {
        sheet.row(row(vec!["*".to_owned(); lines.fields.len()], &lines.rest));
    }
    sheet
}

fn head(series: &Series) -> (String, String) {
    let mut hosts: Vec<_> = series
        .points
        .iter()
        .map(|point| super::known(&point.host))
        .collect();
    hosts.dedup();
    let time = match series.points.as_slice() {
        [] => String::new(),
        [only] => only.time.clone(),
        [first, .., last] => format!("{} -> {}", first.time, last.time),
    };
    (hosts.join(", "), time)
}

fn doubt(lines: &Lines) -> Option<String> {
    (lines.short_by > 0).then(|| {
        format!(
            "too many groups to keep all apart, so counts may be short by up to {}",
            grouped(lines.short_by)
        )
    })
}

/// Writes a series as text.
pub(crate) fn text(out: &mut impl Write, series: &Series) -> io::Result<()> {
    let (hosts, time) = head(series);
    let snapshots = counted(series.points.len() as u64, "snapshot", "snapshots");
    writeln!(
        out,
        "{BOLD}conntidy series{BOLD:#}   host {hosts}   {snapshots}   {time}"
    )?;
    for note in &series.notes {
        let style = Sign::UNKNOWN.style();
        writeln!(out, "  {style}?{style:#} {note}")?;
    }
    writeln!(out, "{BOLD}fill{BOLD:#}")?;
    fill(series).text(out, "  ")?;
    for lines in &series.groupings {
        writeln!(
            out,
            "{BOLD}by {}{BOLD:#}   {DIM}{}{DIM:#}",
            lines.by,
            counted(lines.groups, "group", "groups")
        )?;
        groups(lines).text(out, "  ")?;
        if let Some(doubt) = doubt(lines) {
            writeln!(out, "  {DIM}{doubt}{DIM:#}")?;
        }
    }
    Ok(())
}

/// Writes a series as Markdown.
pub(crate) fn markdown(out: &mut impl Write, series: &Series) -> io::Result<()> {
    let (hosts, time) = head(series);
    writeln!(
        out,
        "## Connection tracking: {}\n\n{} snapshots, {}\n",
        escaped(&hosts),
        series.points.len(),
        escaped(&time)
    )?;
    for note in &series.notes {
        writeln!(out, "- note: {}", escaped(note))?;
    }
    if !series.notes.is_empty() {
        writeln!(out)?;
    }
    fill(series).markdown(out)?;
    for lines in &series.groupings {
        writeln!(out, "\n### By {}\n", escaped(&lines.by))?;
        groups(lines).markdown(out)?;
        if let Some(doubt) = doubt(lines) {
            writeln!(out, "\n{doubt}")?;
        }
    }
    Ok(())
}

/// Writes the first grouping as CSV, a row a group and snapshot; the groups that are not listed
/// together are `*`.
pub(crate) fn csv(out: &mut impl Write, series: &Series) -> io::Result<()> {
    let Some(lines) = series.groupings.first() else {
        return Ok(());
    };
    let words = |name: &str| (name.to_owned(), Kind::Words);
    let fields = lines.fields.iter().map(|field| words(field));
    let mut sheet = Sheet::new(
        [words("time")]
            .into_iter()
            .chain(fields)
            .chain([("flows".to_owned(), Kind::Number)]),
    );
    for (at, point) in series.points.iter().enumerate() {
        for line in &lines.lines {
            let mut cells = vec![point.time.clone()];
            cells.extend(line.key.0.iter().map(|(_, cell)| cell.to_string()));
            cells.push(line.flows[at].to_string());
            sheet.row(cells);
        }
        let mut cells = vec![point.time.clone()];
        cells.resize(1 + lines.fields.len(), "*".to_owned());
        cells.push(lines.rest[at].to_string());
        sheet.row(cells);
    }
    sheet.csv(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_go_from_nothing_to_the_peak() {
        assert_eq!(sparkline(&[0, 1, 4, 8]), " ▁▄█");
        assert_eq!(sparkline(&[5, 5]), "██");
        assert_eq!(sparkline(&[0, 0]), "  ");
        assert_eq!(sparkline(&[]), "");
    }

    #[test]
    fn a_peak_is_seen_however_many_snapshots_there_are() {
        let mut counts = vec![1; 1000];
        counts[777] = 100;
        let line = sparkline(&counts);
        assert_eq!(line.chars().count(), SPARKS);
        assert_eq!(line.chars().filter(|bar| *bar == '█').count(), 1);
    }
}
