//! What a snapshot holds, as text.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::number::{counted, grouped};
use crate::cli::commands::snapshot::Shown;
use crate::observe::{CpuStatistics, Header, Redaction, Trigger};
use crate::plan::rfc3339;
use crate::snapshot::{Summary, Trailer};

const BOLD: Style = Style::new().bold();
const BAD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));

/// Writes a snapshot's header and counts.
pub(crate) fn write(out: &mut impl Write, shown: &Shown) -> io::Result<()> {
    match &shown.header {
        Some(header) => head(out, header)?,
        None => writeln!(out, "{BAD}its header is lost{BAD:#}")?,
    }
    if let Some(groups) = shown.trailer.as_ref().and_then(|trailer| trailer.aggregate) {
        let number = shown.trailer.as_ref().map_or(0, |trailer| trailer.flows);
        write!(out, "aggregate  {}", counted(number, "group", "groups"))?;
        if groups.folded > 0 {
            let folded = counted(groups.folded, "flow", "flows");
            write!(
                out,
                "; {folded} past their limit, without addresses and ports"
            )?;
        }
        writeln!(out)?;
    }
    counts(out, &shown.summary)?;
    if let Some(header) = &shown.header {
        drops(out, &header.cpu)?;
    }
    if let Some(trailer) = &shown.trailer {
        doubts(out, trailer)?;
    }
    damages(out, shown)
}

fn head(out: &mut impl Write, header: &Header) -> io::Result<()> {
    let time = rfc3339(header.time_ns);
    writeln!(
        out,
        "{BOLD}snapshot{BOLD:#}   host {}   netns {}   {time}   kernel {}   conntidy {}",
        super::known(&header.host),
        header.netns.name,
        super::known(&header.kernel),
        header.conntidy
    )?;
    let count = header.count.map_or_else(|| "?".to_owned(), grouped);
    write!(out, "table      {count}")?;
    if let Some(max) = header.number("nf_conntrack_max") {
        write!(out, " / {}", grouped(max))?;
        if let Some(count) = header.count.filter(|_| max > 0) {
            write!(out, " ({} %)", count * 100 / max)?;
        }
    }
    if let Some(buckets) = header.number("nf_conntrack_buckets") {
        write!(out, "   buckets {}", grouped(buckets))?;
    }
    writeln!(out)?;
    if let Some(trigger) = header.trigger {
        let why = match trigger {
            Trigger::ByHand => "by hand",
            Trigger::Interval => "because its interval had passed",
            Trigger::Pressure => "because the table filled up",
            Trigger::Import => "from what another program recorded",
        };
        writeln!(out, "taken      {why}")?;
    }
    match &header.redaction {
        None => Ok(()),
        Some(Redaction::Prefix { ipv4, ipv6 }) => writeln!(
            out,
            "addresses  cut to prefixes: IPv4 /{ipv4}, IPv6 /{ipv6}"
        ),
        Some(Redaction::Pseudonym { key }) => {
            writeln!(out, "addresses  pseudonyms under the key {key}")
        }
    }
}

fn counts(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let families = [(summary.ipv4, "ipv4"), (summary.ipv6, "ipv6")];
    row(out, "flows", Some(summary.flows), &families)?;
    let status = [
        (summary.assured, "assured"),
        (summary.unreplied, "unreplied"),
        (summary.offloaded, "offloaded"),
    ];
    row(out, "status", None, &status)?;
    let nat = [
        (summary.src_nat, "source"),
        (summary.dst_nat, "destination"),
    ];
    row(out, "nat", None, &nat)?;
    let others = [
        (summary.marked, "marked"),
        (summary.zoned, "in a zone"),
        (summary.helped, "with a helper"),
        (summary.labelled, "labelled"),
        (summary.counted, "with counters"),
        (summary.timestamped, "with a start time"),
    ];
    row(out, "also", None, &others)?;
    if summary.protocols.is_empty() {
        return Ok(());
    }
    writeln!(out, "{BOLD}protocols{BOLD:#}")?;
    let width = grouped(summary.protocols[0].flows).len();
    for count in &summary.protocols {
        write!(out, "  {:>width$}  ", grouped(count.flows))?;
        match &count.state {
            Some(state) => writeln!(out, "{:<8} {state}", count.protocol)?,
            None => writeln!(out, "{}", count.protocol)?,
        }
    }
    Ok(())
}

/// Counts that are not zero; nothing where all are.
fn row(
    out: &mut impl Write,
    name: &str,
    total: Option<u64>,
    parts: &[(u64, &str)],
) -> io::Result<()> {
    let mut words: Vec<String> = total.map(grouped).into_iter().collect();
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    words.extend(parts.map(|(count, what)| format!("{what} {}", grouped(*count))));
    if words.is_empty() {
        return Ok(());
    }
    writeln!(out, "{name:<10} {}", words.join("   "))
}

fn drops(out: &mut impl Write, cpu: &[CpuStatistics]) -> io::Result<()> {
    let sum = |field: fn(&CpuStatistics) -> u32| cpu.iter().map(|one| u64::from(field(one))).sum();
    row(
        out,
        "since boot",
        None,
        &[
            (sum(|cpu| cpu.drop), "dropped"),
            (sum(|cpu| cpu.early_drop), "dropped early"),
            (sum(|cpu| cpu.insert_failed), "not inserted"),
            (sum(|cpu| cpu.chain_toolong), "chain too long"),
            (sum(|cpu| cpu.invalid), "invalid"),
        ],
    )
}

fn doubts(out: &mut impl Write, trailer: &Trailer) -> io::Result<()> {
    if trailer.resized {
        writeln!(
            out,
            "{BAD}the hash table changed its size during the dump: flows may be missing or doubled{BAD:#}"
        )?;
    }
    if trailer.undecoded > 0 {
        let messages = counted(trailer.undecoded, "message", "messages");
        writeln!(
            out,
            "{BAD}{messages} of the dump could not be decoded{BAD:#}"
        )?;
    }
    Ok(())
}

fn damages(out: &mut impl Write, shown: &Shown) -> io::Result<()> {
    for damage in &shown.damages {
        writeln!(out, "{BAD}damage{BAD:#} {damage}")?;
    }
    if shown.unverified > 0 {
        let flows = counted(shown.unverified, "flow", "flows");
        writeln!(out, "{BAD}no checksum vouches for {flows} of these{BAD:#}")?;
    }
    Ok(())
}
