//! A plan as GitHub's Markdown, within a number of bytes: a step summary that is too large is lost
//! as a whole.

use std::io::{self, Write};

use super::super::number::{counted, grouped};
use super::super::plan::{left_words, summary};
use super::super::sheet::{Kind, Sheet, escaped};
use super::{Finding, Level, Spot};
use crate::plan::{Plan, RulePlan, TunableState};
use crate::policy::Seconds;

/// Kept free for what says that something was cut.
const RESERVE: usize = 256;

/// A text that grows up to a size, and counts the lines that did not fit.
struct Page {
    text: String,
    most: usize,
    cut: usize,
}

impl Page {
    /// Adds a line where it fits.
    fn line(&mut self, line: &str) {
        // What comes later is less important than what was cut.
        if self.cut > 0 || self.text.len() + line.len() + 1 > self.most {
            self.cut += 1;
            return;
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Adds a heading with its sheet, as many rows of it as fit.
    fn sheet(&mut self, heading: &str, sheet: &Sheet) -> io::Result<()> {
        if sheet.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        sheet.markdown(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines();
        let head: Vec<&str> = lines.by_ref().take(2).collect();
        self.line(&format!("\n### {heading}\n\n{}", head.join("\n")));
        lines.for_each(|line| self.line(line));
        Ok(())
    }
}

/// Writes findings and plan, the worst first, in at most `most` bytes; `verbose` adds a few flows of
/// each rule.
pub(crate) fn write(
    out: &mut impl Write,
    findings: &[Finding],
    plan: Option<&Plan>,
    most: usize,
    verbose: bool,
) -> io::Result<()> {
    let mut page = Page {
        text: String::new(),
        most: most.saturating_sub(RESERVE),
        cut: 0,
    };
    head(&mut page, plan);
    let bad = findings.iter().filter(|one| one.level != Level::Notice);
    let mut sheet = sheet(["", "what", "where", "why"], 4);
    for finding in bad {
        sheet.row(vec![
            match finding.level {
                Level::Error => "error",
                _ => "warning",
            }
            .to_owned(),
            format!("{} {}", finding.about.word(), finding.name)
                .trim_end()
                .to_owned(),
            finding.spot.as_ref().map_or_else(String::new, place),
            finding.message.clone(),
        ]);
    }
    page.sheet("To look at", &sheet)?;
    if let Some(plan) = plan {
        body(&mut page, plan, verbose)?;
    }
    let Page { text, cut, .. } = page;
    out.write_all(text.as_bytes())?;
    if cut > 0 {
        writeln!(
            out,
            "\n**Cut here**, to stay below {}: {} not shown, the least important. `-o json` has all.",
            counted(most as u64, "byte", "bytes"),
            counted(cut as u64, "line is", "lines are")
        )?;
    }
    Ok(())
}

fn place(spot: &Spot) -> String {
    format!("{}:{}", spot.file, spot.line)
}

/// Columns; those from `numbers` on hold numbers.
fn sheet<const N: usize>(heads: [&str; N], numbers: usize) -> Sheet {
    Sheet::new(heads.into_iter().enumerate().map(|(index, head)| {
        let kind = if index < numbers {
            Kind::Words
        } else {
            Kind::Number
        };
        (head.to_owned(), kind)
    }))
}

fn head(page: &mut Page, plan: Option<&Plan>) {
    let Some(plan) = plan else {
        page.line("## conntidy plan\n\n**The policy is invalid**: there is no plan.");
        return;
    };
    page.line(&format!(
        "## conntidy plan: {} ({})\n",
        escaped(&plan.host),
        escaped(&plan.netns)
    ));
    let count = grouped(plan.table.count.unwrap_or(plan.table.dumped));
    let max = match plan.table.max {
        Some(max) if max > 0 => format!(" of {}", grouped(max)),
        _ => String::new(),
    };
    page.line(&format!(
        "{}, table {count}{max}, policy `{}`{}\n",
        escaped(&plan.generated),
        plan.policy_sha256.get(..6).unwrap_or("-"),
        if plan.mode == "report" {
            ", mode report: nothing is done"
        } else {
            ""
        }
    ));
    page.line(&format!("**{}**", escaped(&summary(plan))));
}

fn body(page: &mut Page, plan: &Plan, verbose: bool) -> io::Result<()> {
    let mut rules: Vec<(&RulePlan, bool)> = plan
        .rules
        .iter()
        .map(|rule| (rule, false))
        .chain(plan.existing.iter().map(|rule| (rule, true)))
        .collect();
    rules.sort_by_key(|(rule, _)| std::cmp::Reverse(weight(rule)));
    let mut table = sheet(
        ["rule", "action", "left alone", "matched", "would change"],
        3,
    );
    for (rule, existing) in &rules {
        table.row(vec![
            if *existing {
                format!("{} on existing entries", rule.name)
            } else {
                rule.name.clone()
            },
            action(rule),
            left(rule),
            grouped(rule.matched),
            grouped(rule.selected),
        ]);
    }
    page.sheet("Rules", &table)?;
    let mut steps: Vec<_> = plan
        .sysctl
        .iter()
        .filter(|step| step.state != TunableState::InSync)
        .collect();
    steps.sort_by_key(|step| !step.state.is_unmet());
    let mut table = sheet(["tunable", "before", "wanted", "why not"], 4);
    for step in steps {
        table.row(vec![
            step.name.clone(),
            step.before.clone().unwrap_or_else(|| "?".to_owned()),
            step.wanted.to_string(),
            step.reason.clone().unwrap_or_default(),
        ]);
    }
    page.sheet("Tunables", &table)?;
    let mut table = sheet(["protected by", "flows"], 1);
    for protected in plan.protected.iter().filter(|one| one.flows > 0) {
        table.row(vec![protected.name.clone(), grouped(protected.flows)]);
    }
    page.sheet("Kept", &table)?;
    if verbose {
        let mut table = sheet(["rule", "flow"], 2);
        for (rule, _) in &rules {
            for flow in &rule.sample {
                table.row(vec![rule.name.clone(), flow.clone()]);
            }
        }
        page.sheet("Some of the flows", &table)?;
    }
    Ok(())
}

/// Refused rules first, then those that delete, by how much they change.
fn weight(rule: &RulePlan) -> (bool, bool, u64) {
    (
        rule.refused.is_some(),
        rule.action == "delete",
        rule.selected,
    )
}

fn action(rule: &RulePlan) -> String {
    let grace = rule
        .grace
        .map_or_else(String::new, |grace| format!(" to {}", Seconds(grace)));
    match (&rule.refused, &rule.waiting) {
        (Some(_), _) => format!("{}{grace}, refused", rule.action),
        (None, Some(_)) => format!("{}{grace}, waits", rule.action),
        (None, None) => format!("{}{grace}", rule.action),
    }
}

fn left(rule: &RulePlan) -> String {
    let mut words = left_words(rule.left);
    for (count, word) in [
        (rule.left.protected, "protected"),
        (rule.left.session, "this session's"),
        (rule.unproven, "idle without proof"),
        (rule.doubtful, "not telling"),
    ] {
        if count > 0 {
            words.push(format!("{word} {}", grouped(count)));
        }
    }
    words.join(", ")
}
