//! A series as one page that needs nothing else.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::super::diff::part;
use super::super::number::{counted, grouped};
use super::super::page::{self, Text};
use super::{columns, doubt, head, numbers};
use crate::snapshot::series::{Lines, Series};

/// Points of a chart at most: what a screen is wide.
const WIDEST: usize = 1000;

/// Points of a group's line at most.
const WIDE: usize = 200;

/// Writes a page.
pub(crate) fn write(out: &mut impl Write, series: &Series) -> io::Result<()> {
    let (hosts, time) = head(series);
    page::open(out, &format!("{hosts} {time}: connection tracking"))?;
    let flows = |at: Option<&_>| at.map_or(0, |point: &crate::snapshot::series::Point| point.flows);
    let snapshots = counted(series.points.len() as u64, "snapshot", "snapshots");
    writeln!(
        out,
        "<header>\n<h1>Connection tracking on {}: {} -&gt; {}</h1>\n<p class=\"soft\">{snapshots}, {}</p>\n</header>",
        Text(&hosts),
        grouped(flows(series.points.first())),
        grouped(flows(series.points.last())),
        Text(&time)
    )?;
    page::notes(out, &series.notes)?;
    fill(out, series)?;
    for lines in &series.groupings {
        groups(out, lines)?;
    }
    let names = [series.points.first(), series.points.last()];
    let names: Vec<_> = (names.iter().flatten())
        .map(|point| point.name.as_str())
        .collect();
    page::close(out, &[format!("From {}", names.join(" to "))])
}

/// The snapshots that are drawn: all, or the fullest of each part.
fn drawn(series: &Series) -> Vec<usize> {
    let points = &series.points;
    let width = points.len().min(WIDEST);
    let fullest = |column: usize| {
        let part = column * points.len() / width..(column + 1) * points.len() / width;
        part.max_by_key(|at| points[*at].flows)
    };
    (0..width).filter_map(fullest).collect()
}

/// The table by class over time: areas upon each other.
fn fill(out: &mut impl Write, series: &Series) -> io::Result<()> {
    let points = &series.points;
    let most = points.iter().map(|point| point.flows).max().unwrap_or(0);
    let max = points.iter().filter_map(|point| point.fill.max).max();
    let of = max.map_or_else(String::new, |max| format!(" of {}", grouped(max)));
    writeln!(
        out,
        "<section id=\"fill\">\n<h2>Fill <small>up to {}{of}</small></h2>",
        grouped(most)
    )?;
    let drawn = drawn(series);
    let mut below = vec![0; drawn.len()];
    writeln!(
        out,
        "<svg class=\"area\" viewBox=\"0 0 1000 100\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"flows by class over time\">"
    )?;
    let mut classes = Vec::new();
    for class in 0..5 {
        let counts: Vec<u64> = points
            .iter()
            .map(|one| one.fill.classes()[class].1)
            .collect();
        if counts.iter().all(|count| *count == 0) {
            continue;
        }
        let name = points[0].fill.classes()[class].0;
        let upto: Vec<u64> = (drawn.iter().zip(&below))
            .map(|(at, below)| counts[*at] + below)
            .collect();
        writeln!(
            out,
            "<polygon points=\"{}\" style=\"fill:var(--{name})\"><title>{name}</title></polygon>",
            outline(&below, &upto, most, 1000.0, 100.0)
        )?;
        below = upto;
        classes.push((name, counts));
    }
    writeln!(out, "</svg>")?;
    if let [first, .., last] = points.as_slice() {
        writeln!(
            out,
            "<p class=\"axis soft\"><span>{}</span><span>{}</span></p>",
            Text(&first.time),
            Text(&last.time)
        )?;
    }
    table(out, &["class".to_owned()])?;
    row(
        out,
        &[String::from("<b>all</b>")],
        &points.iter().map(|one| one.flows).collect::<Vec<_>>(),
    )?;
    for (name, counts) in &classes {
        let swatch =
            format!("<span class=\"swatch\" style=\"background:var(--{name})\"></span>{name}");
        row(out, &[swatch], counts)?;
    }
    writeln!(out, "</table></div>\n</section>")
}

/// The points of an area between two lines.
fn outline(below: &[u64], upto: &[u64], most: u64, width: f64, height: f64) -> String {
    let count = upto.len();
    // One alone is as wide as all.
    let places: Vec<(usize, f64)> = match count {
        1 => vec![(0, 0.0), (0, width)],
        _ => (0..count)
            .map(|at| (at, part(at as u64, count as u64 - 1) * width))
            .collect(),
    };
    let mut points = String::new();
    let mut point = |x: f64, flows: u64| {
        let y = height - part(flows, most) * height;
        // A string takes every write.
        let _ = write!(points, "{x:.1},{y:.2} ");
    };
    for (at, x) in &places {
        point(*x, upto[*at]);
    }
    for (at, x) in places.iter().rev() {
        point(*x, below[*at]);
    }
    points.truncate(points.trim_end().len());
    points
}

fn table(out: &mut impl Write, fields: &[String]) -> io::Result<()> {
    write!(out, "<div class=\"scroll\"><table>\n<tr>")?;
    for field in fields {
        write!(out, "<th>{}</th>", Text(field))?;
    }
    write!(out, "<th class=\"wide\">over time</th>")?;
    for name in ["first", "lowest", "peak", "last", "change"] {
        write!(out, "<th class=\"num\">{name}</th>")?;
    }
    writeln!(out, "</tr>")
}

/// A line of a table; `cells` are markup.
fn row(out: &mut impl Write, cells: &[String], counts: &[u64]) -> io::Result<()> {
    write!(out, "<tr>")?;
    for cell in cells {
        write!(out, "<td class=\"key\">{cell}</td>")?;
    }
    let line = columns(counts, WIDE);
    let peak = line.iter().copied().max().unwrap_or(0);
    write!(
        out,
        "<td class=\"wide\"><svg class=\"bar pair\" style=\"width:100%\" viewBox=\"0 0 100 20\" \
         preserveAspectRatio=\"none\" aria-hidden=\"true\"><polygon points=\"{}\" \
         style=\"fill:var(--after)\"/></svg></td>",
        outline(&vec![0; line.len()], &line, peak, 100.0, 20.0)
    )?;
    for number in numbers(counts) {
        let class = match number.as_bytes().first() {
            Some(b'+') => " up",
            Some(b'-') => " down",
            _ => "",
        };
        write!(out, "<td class=\"num{class}\">{number}</td>")?;
    }
    writeln!(out, "</tr>")
}

fn groups(out: &mut impl Write, lines: &Lines) -> io::Result<()> {
    if lines.lines.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<section class=\"groups\">\n<h2>By {} <small>{}</small></h2>",
        Text(&lines.by),
        counted(lines.groups, "group", "groups")
    )?;
    table(out, &lines.fields)?;
    for line in &lines.lines {
        let cells = line
            .key
            .0
            .iter()
            .map(|(_, cell)| Text(&cell.to_string()).to_string());
        row(out, &cells.collect::<Vec<_>>(), &line.flows)?;
    }
    if lines.rest.iter().any(|count| *count > 0) {
        row(out, &vec!["*".to_owned(); lines.fields.len()], &lines.rest)?;
    }
    writeln!(out, "</table></div>")?;
    if let Some(doubt) = doubt(lines) {
        writeln!(out, "<p class=\"soft\">{}</p>", Text(&doubt))?;
    }
    writeln!(out, "</section>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_goes_along_its_upper_line_and_back_below() {
        let points = outline(&[0, 1], &[2, 4], 4, 100.0, 20.0);
        assert_eq!(points, "0.0,10.00 100.0,0.00 100.0,15.00 0.0,20.00");
        let alone = outline(&[0], &[4], 4, 100.0, 20.0);
        assert_eq!(alone, "0.0,0.00 100.0,0.00 100.0,20.00 0.0,20.00");
        assert_eq!(outline(&[], &[], 0, 100.0, 20.0), "");
    }
}
