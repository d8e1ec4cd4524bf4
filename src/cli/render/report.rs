//! A report as text: the plan, then what came of it.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::number::{counted, grouped};
use super::plan;
use crate::report::{Report, RuleResult, TunableOutcome};

const BOLD: Style = Style::new().bold();
const BAD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));

/// Writes a report.
pub(crate) fn write(out: &mut impl Write, report: &Report, verbose: bool) -> io::Result<()> {
    plan::write(out, &report.plan, "apply", verbose)?;
    results(out, report)
}

/// Writes what came of the plan alone.
pub(crate) fn results(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for result in &report.sysctl {
        let name = &result.name;
        let after = result.after.as_deref().unwrap_or("?");
        let error = result.error.as_deref().unwrap_or("");
        match result.outcome {
            TunableOutcome::Written => writeln!(out, "  {name}: now {after}")?,
            TunableOutcome::Disagrees => writeln!(
                out,
                "  {BAD}{name}: wrote {}, reads back {after}{BAD:#}: {error}",
                result.wanted
            )?,
            TunableOutcome::Failed => {
                writeln!(out, "  {BAD}{name}: not written{BAD:#}: {error}")?;
            }
        }
    }
    for rule in &report.rules {
        writeln!(out, "  {}: {}", rule.name, rule_words(rule))?;
        for error in &rule.errors {
            writeln!(out, "      {BAD}{error}{BAD:#}")?;
        }
    }
    for problem in &report.problems {
        writeln!(out, "  {BAD}{problem}{BAD:#}")?;
    }
    writeln!(out, "{BOLD}{}{BOLD:#}", summary(report))
}

fn rule_words(rule: &RuleResult) -> String {
    let did = if rule.action == "delete" {
        "deleted"
    } else {
        "shortened"
    };
    let mut parts = vec![format!("{} {did}", grouped(rule.done))];
    for (count, word) in [
        (rule.gone, "gone already"),
        (rule.busy, "busy"),
        (rule.failed, "failed"),
        (rule.unknown, "of unknown outcome"),
        (rule.unsent, "not sent"),
    ] {
        if count > 0 {
            parts.push(format!("{} {word}", grouped(count)));
        }
    }
    parts.join(", ")
}

fn summary(report: &Report) -> String {
    let sum = |action: &str| -> u64 {
        let rules = report.rules.iter().filter(|rule| rule.action == action);
        rules.map(|rule| rule.done).sum()
    };
    let written = report
        .sysctl
        .iter()
        .filter(|result| result.outcome == TunableOutcome::Written)
        .fold(0, |n, _| n + 1);
    let count = match (report.count_before, report.count_after) {
        (Some(before), Some(after)) => {
            format!("; table {} -> {}", grouped(before), grouped(after))
        }
        _ => String::new(),
    };
    format!(
        "Applied: {} changed, {} expired, {} deleted{count}; run {} took {} ms.",
        counted(written, "key", "keys"),
        grouped(sum("expire")),
        grouped(sum("delete")),
        report.run,
        report.timings.total_ms
    )
}
