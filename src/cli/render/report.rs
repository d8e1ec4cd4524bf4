//! A report as text: the plan, then what came of it.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::number::{counted, grouped};
use super::plan;
use crate::history::CONTESTED_AFTER;
use crate::plan::TunableState;
use crate::policy::Seconds;
use crate::report::{Answer, Confirmation, Report, RuleResult, TunableOutcome, Undone};

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
            TunableOutcome::Written if result.contested => writeln!(
                out,
                "  {BAD}{name}: now {after}, contested{BAD:#}: another writer has changed it back \
                 {CONTESTED_AFTER} times within an hour; later runs leave it"
            )?,
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
    if let Some(confirmation) = &report.confirmation {
        let answer = answer(confirmation);
        if confirmation.is_confirmed() {
            writeln!(out, "  {answer}")?;
        } else {
            let undone = report.undone.last().map(put_back).unwrap_or_default();
            writeln!(
                out,
                "  {BAD}not confirmed: {answer}{BAD:#}: {undone}; no rule acted"
            )?;
        }
    }
    for rule in &report.rules {
        writeln!(out, "  {}: {}", rule.name, rule_words(rule))?;
        for error in &rule.errors {
            writeln!(out, "      {BAD}{error}{BAD:#}")?;
        }
    }
    if let Some(saved) = &report.saved {
        writeln!(
            out,
            "  saved plan of {}: {} of {} still selected, {} not in it and left alone",
            saved.generated,
            grouped(saved.still),
            counted(saved.planned, "flow", "flows"),
            grouped(saved.new)
        )?;
    }
    for problem in &report.problems {
        writeln!(out, "  {BAD}{problem}{BAD:#}")?;
    }
    writeln!(out, "{BOLD}{}{BOLD:#}", summary(report))
}

pub(crate) fn rule_words(rule: &RuleResult) -> String {
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

pub(crate) fn summary(report: &Report) -> String {
    let totals = report.totals();
    let count = match (report.count_before, report.count_after) {
        (Some(before), Some(after)) => {
            format!("; table {} -> {}", grouped(before), grouped(after))
        }
        _ => String::new(),
    };
    if report.is_unconfirmed() {
        return format!(
            "Not confirmed: {} written and put back{count}; run {} took {} ms.",
            counted(totals.written, "key", "keys"),
            report.run,
            report.timings.total_ms
        );
    }
    let pending = report
        .plan
        .sysctl
        .iter()
        .filter(|step| step.state == TunableState::Pending)
        .fold(0, |n, _| n + 1);
    let pending = match pending {
        0 => String::new(),
        _ => format!(", {} pending", counted(pending, "key", "keys")),
    };
    format!(
        "Applied: {} changed{pending}, {} expired, {} deleted{count}; run {} took {} ms.",
        counted(totals.written, "key", "keys"),
        grouped(totals.expired),
        grouped(totals.deleted),
        report.run,
        report.timings.total_ms
    )
}

/// What was put back, and what was not.
pub(crate) fn put_back(undone: &Undone) -> String {
    let mut parts: Vec<String> = Vec::new();
    for result in &undone.sysctl {
        parts.push(match result.outcome {
            TunableOutcome::Written => format!("{} is {} again", result.name, result.wanted),
            TunableOutcome::Disagrees => format!(
                "{} reads {} instead of {}",
                result.name,
                result.after.as_deref().unwrap_or("?"),
                result.wanted
            ),
            TunableOutcome::Failed => format!(
                "{} could not be put back: {}",
                result.name,
                result.error.as_deref().unwrap_or("?")
            ),
        });
    }
    for (name, left) in &undone.sysctl_left {
        parts.push(format!(
            "{name} is left at {}: {}",
            left.value.as_deref().unwrap_or("?"),
            left.reason
        ));
    }
    if parts.is_empty() {
        "nothing was to be put back".to_owned()
    } else {
        parts.join("; ")
    }
}

/// What ended the waiting for a confirmation.
pub(crate) fn answer(confirmation: &Confirmation) -> String {
    match &confirmation.answer {
        Answer::Terminal => "confirmed at the terminal".to_owned(),
        Answer::Command => "confirmed by `conntidy confirm`".to_owned(),
        Answer::TimedOut => format!("nobody answered within {}", Seconds(confirmation.within)),
        Answer::Declined => "the answer was no".to_owned(),
        Answer::TerminalLost => "the terminal was lost".to_owned(),
        Answer::Signal(signal) => format!("{signal} came"),
    }
}
