//! A diff as one page that needs nothing else.

use std::fmt;
use std::io::{self, Write};

use super::super::number::grouped;
use super::super::page::{self, Text};
use super::{
    between, both, change, counter, culprits, filled, host, part, percent, signed, summary, table,
    traffic, unlisted,
};
use crate::snapshot::diff::{Composition, Diff, Group, Grouping, Side, Split, Weight};

/// Protocols and states that are drawn; the others follow as one line.
const COMPOSITION: usize = 14;

/// Groups that shrank, of each grouping.
const SHRINKERS: usize = 3;

/// Writes a page.
pub(crate) fn write(out: &mut impl Write, diff: &Diff) -> io::Result<()> {
    let host = host(diff);
    let time = both(diff, |side| &side.time);
    page::open(out, &format!("{host} {time}: connection tracking"))?;
    head(out, diff)?;
    fill(out, diff)?;
    composition(out, diff)?;
    for grouping in &diff.groupings {
        groups(out, grouping)?;
    }
    tunables(out, diff)?;
    statistics(out, diff)?;
    let side = |side: &Side| format!("{} (kernel {})", side.name, side.kernel);
    let sides = format!("From {} to {}", side(&diff.before), side(&diff.after));
    page::close(out, &[summary(diff), sides])
}

fn head(out: &mut impl Write, diff: &Diff) -> io::Result<()> {
    writeln!(
        out,
        "<header>\n<h1>Connection tracking on {}: {}</h1>\n<p class=\"soft\">{}, {}, namespace {}</p>\n</header>",
        Text(&host(diff)),
        Text(&table(diff).replace("   ", ", ")),
        Text(&both(diff, |side| &side.time)),
        Text(&between(diff)),
        Text(&both(diff, |side| &side.netns)),
    )?;
    let culprits = culprits(diff);
    if !culprits.is_empty() {
        writeln!(out, "<div class=\"culprit\">")?;
        for culprit in culprits {
            writeln!(out, "<p>Growth: <b>{}</b></p>", Text(&culprit))?;
        }
        writeln!(out, "</div>")?;
    }
    writeln!(out, "<div class=\"cards\" id=\"flows\">")?;
    for (number, what) in cards(diff) {
        writeln!(
            out,
            "<div class=\"card\"><b>{number}</b><span>{what}</span></div>"
        )?;
    }
    writeln!(out, "</div>")?;
    if let Some(traffic) = traffic(diff) {
        writeln!(out, "<p class=\"soft\">{}.</p>", Text(&traffic))?;
    }
    page::notes(out, &diff.notes)
}

/// What became of the flows, in large figures.
fn cards(diff: &Diff) -> Vec<(String, &'static str)> {
    let flows = &diff.flows;
    let Some(fates) = &flows.fates else {
        return vec![
            (grouped(flows.before), "flows before"),
            (grouped(flows.after), "flows after"),
            (change(flows.before, flows.after), "counted, not paired"),
        ];
    };
    [
        (fates.new, "new flows"),
        (fates.gone, "gone"),
        (fates.recreated, "re-created on the same tuple"),
        (fates.changed, "changed, lived on"),
        (fates.unchanged, "as before"),
    ]
    .map(|(number, what)| (grouped(number), what))
    .into()
}

fn fill(out: &mut impl Write, diff: &Diff) -> io::Result<()> {
    let (before, after) = (&diff.fill.before, &diff.fill.after);
    let limits = [before.max, after.max].into_iter().flatten().max();
    let totals = before.total().max(after.total());
    let scale = limits.unwrap_or(totals).max(totals).max(1);
    writeln!(
        out,
        "<section id=\"fill\">\n<h2>Fill <small>{}</small></h2>\n<div class=\"stack\">",
        if limits.is_some() {
            "of nf_conntrack_max"
        } else {
            "limit not known"
        }
    )?;
    for (name, split) in [("before", before), ("after", after)] {
        writeln!(
            out,
            "<span>{name}{}</span>",
            filled(split).map_or_else(String::new, |filled| format!("<br>{filled}"))
        )?;
        stacked(out, name, split, scale)?;
    }
    writeln!(
        out,
        "</div>\n<div class=\"scroll\"><table>\n<tr><th>class</th><th class=\"num\">before</th>\
         <th class=\"num\">after</th><th class=\"num\">change</th></tr>"
    )?;
    for ((name, old), (_, new)) in before.classes().into_iter().zip(after.classes()) {
        if old + new > 0 {
            writeln!(
                out,
                "<tr><td><span class=\"swatch\" style=\"background:var(--{name})\"></span>{name}</td>\
                 <td class=\"num\">{}</td><td class=\"num\">{}</td>{}</tr>",
                grouped(old),
                grouped(new),
                changed(old, new)
            )?;
        }
    }
    writeln!(
        out,
        "<tr><td><b>all</b></td><td class=\"num\">{}</td><td class=\"num\">{}</td>{}</tr>\n\
         </table></div>\n</section>",
        grouped(before.total()),
        grouped(after.total()),
        changed(before.total(), after.total())
    )
}

fn stacked(out: &mut impl Write, name: &str, split: &Split, scale: u64) -> io::Result<()> {
    let parts: Vec<_> = split
        .classes()
        .iter()
        .map(|(class, flows)| format!("{class} {}", grouped(*flows)))
        .collect();
    write!(
        out,
        "<svg class=\"bar\" viewBox=\"0 0 1000 24\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{name}: {}\">",
        parts.join(", ")
    )?;
    let mut from = 0.0;
    for (class, flows) in split.classes() {
        let width = part(flows, scale) * 1000.0;
        if flows > 0 {
            write!(
                out,
                "<rect x=\"{from:.2}\" width=\"{width:.2}\" height=\"24\" style=\"fill:var(--{class})\">\
                 <title>{class}: {}</title></rect>",
                grouped(flows)
            )?;
        }
        from += width;
    }
    writeln!(out, "</svg>")
}

fn composition(out: &mut impl Write, diff: &Diff) -> io::Result<()> {
    let most = (diff.composition.iter()).map(|one| one.before.max(one.after));
    let Some(most) = most.max().filter(|most| *most > 0) else {
        return Ok(());
    };
    writeln!(
        out,
        "<section id=\"composition\">\n<h2>Protocols and states</h2>\n<div class=\"scroll\"><table>\n\
         <tr><th>protocol</th><th>state</th><th class=\"wide\">before, after</th>\
         <th class=\"num\">before</th><th class=\"num\">after</th><th class=\"num\">change</th></tr>"
    )?;
    for one in diff.composition.iter().take(COMPOSITION) {
        kind(out, one, most)?;
    }
    if let Some(rest) = diff
        .composition
        .get(COMPOSITION..)
        .filter(|rest| !rest.is_empty())
    {
        let sum = |side: fn(&Composition) -> u64| rest.iter().map(side).sum();
        let (before, after) = (sum(|one| one.before), sum(|one| one.after));
        writeln!(
            out,
            "<tr><td colspan=\"2\" class=\"soft\">{} more</td><td class=\"wide\"></td>\
             <td class=\"num\">{}</td><td class=\"num\">{}</td>{}</tr>",
            rest.len(),
            grouped(before),
            grouped(after),
            changed(before, after)
        )?;
    }
    writeln!(out, "</table></div>\n</section>")
}

fn kind(out: &mut impl Write, one: &Composition, most: u64) -> io::Result<()> {
    writeln!(
        out,
        "<tr><td>{}</td><td>{}</td><td class=\"wide\">{}</td>\
         <td class=\"num\">{}</td><td class=\"num\">{}</td>{}</tr>",
        Text(&one.protocol),
        Text(one.state.as_deref().unwrap_or("-")),
        Bars(one.before, one.after, most),
        grouped(one.before),
        grouped(one.after),
        changed(one.before, one.after)
    )
}

/// Before above after, as parts of a whole.
struct Bars(u64, u64, u64);

impl fmt::Display for Bars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<svg class=\"bar pair\" style=\"width:100%\" viewBox=\"0 0 100 20\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
             <rect y=\"1\" width=\"{:.2}\" height=\"8\" style=\"fill:var(--before)\"/>\
             <rect y=\"11\" width=\"{:.2}\" height=\"8\" style=\"fill:var(--after)\"/></svg>",
            part(self.0, self.2) * 100.0,
            part(self.1, self.2) * 100.0
        )
    }
}

/// A cell with the change.
fn changed(before: u64, after: u64) -> String {
    let class = match after.cmp(&before) {
        std::cmp::Ordering::Greater => " up",
        std::cmp::Ordering::Less => " down",
        std::cmp::Ordering::Equal => "",
    };
    format!("<td class=\"num{class}\">{}</td>", change(before, after))
}

fn groups(out: &mut impl Write, grouping: &Grouping) -> io::Result<()> {
    let shown: Vec<&Group> = (grouping.growers.iter())
        .chain(grouping.shrinkers.iter().take(SHRINKERS))
        .collect();
    if shown.is_empty() {
        return Ok(());
    }
    let most = (shown.iter()).map(|group| group.before.max(group.after));
    let most = most.max().unwrap_or(1).max(1);
    writeln!(
        out,
        "<section class=\"groups\">\n<h2>Growth by {} <small>{} in {} of {} groups</small></h2>\n\
         <div class=\"scroll\"><table>\n<tr>",
        Text(&grouping.by),
        signed(i64::try_from(grouping.growth).unwrap_or(i64::MAX)),
        grouped(grouping.growing),
        grouped(grouping.groups)
    )?;
    for field in &grouping.fields {
        write!(out, "<th>{}</th>", Text(field))?;
    }
    writeln!(
        out,
        "<th class=\"num\">change</th><th class=\"num\">share</th><th class=\"num\">before</th>\
         <th class=\"num\">after</th><th class=\"wide\">before, after</th></tr>"
    )?;
    for group in shown {
        write!(out, "<tr>")?;
        for (_, cell) in &group.key.0 {
            write!(out, "<td class=\"key\">{}</td>", Text(&cell.to_string()))?;
        }
        writeln!(
            out,
            "{}<td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td>\
             <td class=\"wide\">{}</td></tr>",
            changed(group.before, group.after),
            group
                .share
                .map_or_else(|| "-".to_owned(), |share| Text(&percent(share)).to_string()),
            grouped(group.before),
            grouped(group.after),
            Bars(group.before, group.after, most)
        )?;
    }
    writeln!(out, "</table></div>")?;
    if let Some(more) = unlisted(grouping, SHRINKERS) {
        writeln!(out, "<p class=\"soft\">{}</p>", Text(&more))?;
    }
    writeln!(out, "</section>")
}

fn tunables(out: &mut impl Write, diff: &Diff) -> io::Result<()> {
    writeln!(out, "<section id=\"tunables\">\n<h2>Tunables</h2>")?;
    if diff.tunables.is_empty() {
        return writeln!(
            out,
            "<p class=\"soft\">None was set differently.</p>\n</section>"
        );
    }
    writeln!(
        out,
        "<div class=\"scroll\"><table>\n<tr><th>tunable</th><th class=\"num\">before</th><th class=\"num\">after</th></tr>"
    )?;
    for one in &diff.tunables {
        let value = |value: &Option<String>| Text(value.as_deref().unwrap_or("absent")).to_string();
        writeln!(
            out,
            "<tr><td class=\"key\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td></tr>",
            Text(&one.name),
            value(&one.before),
            value(&one.after)
        )?;
    }
    writeln!(out, "</table></div>\n</section>")
}

fn statistics(out: &mut impl Write, diff: &Diff) -> io::Result<()> {
    writeln!(
        out,
        "<section id=\"counters\">\n<h2>Drop counters <small>in between</small></h2>"
    )?;
    let statistics = &diff.statistics;
    if let Some(why) = &statistics.incomparable {
        writeln!(out, "<p class=\"soft\">Not compared: {}.</p>", Text(why))?;
    } else if statistics.moved().next().is_none() {
        writeln!(
            out,
            "<p class=\"soft\">None moved: nothing was dropped.</p>"
        )?;
    }
    for one in statistics.moved() {
        let weight = match one.weight {
            Weight::Loss => " loss",
            Weight::Doubt => " doubt",
            Weight::Note => "",
        };
        writeln!(
            out,
            "<div class=\"counter{weight}\"><h3><code>{}</code><span class=\"num\">{}</span></h3><p>{}.</p>",
            Text(one.name),
            Text(&counter(one)),
            Text(&sentence(one.meaning)),
        )?;
        if let Some(advice) = one.advice {
            writeln!(out, "<p class=\"soft\">{}.</p>", Text(&sentence(advice)))?;
        }
        writeln!(out, "</div>")?;
    }
    writeln!(out, "</section>")
}

/// With a capital in front.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
