//! What a change by hand would do and did, as text.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::number::{counted, grouped};
use super::plan::{Sign, fill, impact_words, line, notes, protectors, refused};
use crate::flow::Status;
use crate::flow::status::{STATUS_WORDS, StatusWord};
use crate::plan::{Plan, Refusal, RulePlan};
use crate::policy::Seconds;
use crate::report::{Report, RuleResult};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const BAD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));

/// What was asked for: rules of the policy that are tried before it only claim.
pub(crate) fn asked(plan: &Plan) -> Option<&RulePlan> {
    plan.rules.last()
}

/// What the command would do.
pub(crate) fn plan(out: &mut impl Write, command: &str, plan: &Plan) -> io::Result<()> {
    if let Some(rule) = asked(plan) {
        writeln!(
            out,
            "{BOLD}conntidy {command}{BOLD:#}   host {}   netns {}   table {}",
            plan.host,
            plan.netns,
            fill(plan)
        )?;
        selected(out, plan, rule)?;
    }
    for doubt in &plan.doubts {
        line(out, Sign::UNKNOWN, doubt)?;
    }
    Ok(())
}

fn selected(out: &mut impl Write, plan: &Plan, rule: &RulePlan) -> io::Result<()> {
    let flows = counted(rule.selected, "flow", "flows");
    let (sign, what) = match &rule.refused {
        Some(Refusal::OverBudget { limit }) => (
            Sign::REFUSED,
            format!("more than `--max {limit}`: nothing is done"),
        ),
        Some(refusal) => (Sign::REFUSED, refused(refusal)),
        None if rule.selected == 0 => (Sign::NOTHING, String::new()),
        None if rule.action == "delete" => (
            Sign::DELETE,
            format!("if they are alive: {}", impact_words(rule)),
        ),
        None if rule.action == "update" => (Sign::CHANGE, sets(rule)),
        None => (
            Sign::EXPIRE,
            format!(
                "{} left to those that stay silent",
                Seconds(rule.grace.unwrap_or(0))
            ),
        ),
    };
    line(out, sign, &format!("{flows}   {what}"))?;
    for flow in &rule.sample {
        writeln!(out, "      {DIM}{flow}{DIM:#}")?;
    }
    let more = rule.selected.saturating_sub(rule.sample.len() as u64);
    if more > 0 && !rule.sample.is_empty() {
        writeln!(out, "      {DIM}and {} more{DIM:#}", grouped(more))?;
    }
    if plan.summary.protected > 0 {
        let protected = grouped(plan.summary.protected);
        let text = format!("{protected} protected   {}", protectors(plan));
        line(out, Sign::PROTECTED, &text)?;
    }
    if rule.already > 0 {
        let already = match rule.action.as_str() {
            "update" => format!(
                "{} so already",
                counted(rule.already, "flow is", "flows are")
            ),
            _ => format!(
                "{} at least as soon anyway",
                counted(rule.already, "flow ends", "flows end")
            ),
        };
        writeln!(out, "      {DIM}{already}{DIM:#}")?;
    }
    // `explain` knows the policy's rules alone.
    notes(out, rule, "")
}

/// `mark 0x1/0xff, timeout 1h`.
fn sets(rule: &RulePlan) -> String {
    let Some(sets) = &rule.sets else {
        return String::new();
    };
    let mut parts = Vec::new();
    if let Some(seconds) = sets.timeout {
        parts.push(format!("timeout {}", Seconds(seconds.into())));
    }
    if let (Some(value), Some(mask)) = (sets.mark, sets.mark_mask) {
        parts.push(format!("mark {value:#x}/{mask:#x}"));
    }
    if let Some(bits) = sets.status {
        let status = Status::from_bits_retain(bits);
        let words = STATUS_WORDS
            .iter()
            .filter(|(word, _)| *word != StatusWord::Unreplied && word.holds(status));
        let words: Vec<&str> = words.map(|(_, name)| *name).collect();
        parts.push(format!("status {}", words.join(",")));
    }
    for (labels, verb) in [(&sets.labels, "label"), (&sets.labels_cleared, "no label")] {
        parts.extend(labels.iter().map(|label| format!("{verb} {label}")));
    }
    format!("set: {}", parts.join(", "))
}

/// What is asked.
pub(crate) fn question(plan: &Plan) -> String {
    let (verb, rule) = match asked(plan) {
        Some(rule) if rule.action == "delete" => ("Delete", rule),
        Some(rule) if rule.action == "update" => ("Update", rule),
        Some(rule) => ("Shorten", rule),
        None => return "Go on?".to_owned(),
    };
    format!("{verb} {}?", counted(rule.selected, "flow", "flows"))
}

/// The end of what was only looked at.
pub(crate) fn nothing_done(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    let why = if plan.summary.refused > 0 {
        "refused"
    } else if plan.summary.is_empty() {
        "nothing to do"
    } else {
        "only shown"
    };
    writeln!(out, "{BOLD}Nothing was changed: {why}.{BOLD:#}")
}

/// What was done; the plan too, unless it has been shown.
pub(crate) fn report(
    out: &mut impl Write,
    command: &str,
    report: &Report,
    is_shown: bool,
) -> io::Result<()> {
    if !is_shown {
        plan(out, command, &report.plan)?;
    }
    for problem in &report.problems {
        writeln!(out, "  {BAD}{problem}{BAD:#}")?;
    }
    let Some(result) = report.rules.first() else {
        let gone = report.saved.as_ref().map_or(0, |saved| saved.planned);
        if gone > 0 {
            return writeln!(
                out,
                "{BOLD}Nothing was changed: {} gone or changed meanwhile.{BOLD:#}",
                counted(gone, "flow has", "flows have")
            );
        }
        return nothing_done(out, &report.plan);
    };
    for error in &result.errors {
        writeln!(out, "      {BAD}{error}{BAD:#}")?;
    }
    if lacks_labels(&report.plan, result) {
        writeln!(
            out,
            "      the kernel has no room for labels in these entries: they were made where no `ct label` rule existed"
        )?;
        if asked(&report.plan).is_some_and(sets_more) {
            writeln!(
                out,
                "      it sets labels last: what else was to be set of them is set, and `undo` does not put it back"
            )?;
        }
    }
    let wanted = match (&report.saved, asked(&report.plan)) {
        (Some(saved), _) => saved.planned,
        (None, Some(rule)) => rule.selected,
        (None, None) => 0,
    };
    let gone = result.gone + wanted.saturating_sub(result.sent + result.unsent);
    let mut parts = vec![done(result)];
    for (count, word) in [
        (gone, "gone or changed meanwhile"),
        (result.busy, "busy"),
        (result.failed, "failed"),
        (result.unknown, "of unknown outcome"),
        (result.unsent, "not sent"),
    ] {
        if count > 0 {
            parts.push(format!("{} {word}", grouped(count)));
        }
    }
    if let Some(saved) = report.saved.as_ref().filter(|saved| saved.new > 0) {
        parts.push(format!("{} new and left alone", grouped(saved.new)));
    }
    let count = match (report.count_before, report.count_after) {
        (Some(before), Some(after)) => {
            format!("; table {} -> {}", grouped(before), grouped(after))
        }
        _ => String::new(),
    };
    let undo = if result.done > 0 {
        let what = match result.action.as_str() {
            "delete" if result.done == 1 => "puts it back",
            "delete" => "puts them back",
            _ => "puts back what it was",
        };
        format!(" `conntidy undo {}` {what}.", report.run)
    } else {
        String::new()
    };
    writeln!(out, "{BOLD}{}{count}.{BOLD:#}{undo}", parts.join(", "))
}

/// Labels were to be set where the kernel keeps none (`ENOSPC`).
fn lacks_labels(plan: &Plan, result: &RuleResult) -> bool {
    let no_space = io::Error::from(rustix::io::Errno::NOSPC).to_string();
    let sets = plan.rules.iter().filter_map(|rule| rule.sets.as_ref());
    let mut labels = sets.flat_map(|sets| sets.labels.iter().chain(&sets.labels_cleared));
    labels.next().is_some() && result.errors.iter().any(|error| error.contains(&no_space))
}

/// Not labels alone are set.
fn sets_more(rule: &RulePlan) -> bool {
    let sets = rule.sets.as_ref();
    sets.is_some_and(|sets| sets.timeout.is_some() || sets.mark.is_some() || sets.status.is_some())
}

fn done(result: &RuleResult) -> String {
    let flows = counted(result.done, "flow", "flows");
    match result.action.as_str() {
        "delete" => format!("{flows} deleted"),
        "update" => format!("{flows} updated"),
        _ => format!("{flows} shortened"),
    }
}
