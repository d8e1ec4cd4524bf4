//! A plan as text: what would change, by which rule, and what is left alone.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::number::{bytes, counted, grouped};
use crate::plan::{self, Drift, LeftCounts, Plan, Refusal, RulePlan, TunableState, TunableStep};
use crate::policy::Seconds;

/// How a line begins, and in which colour.
#[derive(Clone, Copy)]
pub(crate) struct Sign {
    mark: char,
    color: Option<AnsiColor>,
}

impl Sign {
    const fn new(mark: char, color: AnsiColor) -> Self {
        Self {
            mark,
            color: Some(color),
        }
    }

    pub(crate) const CHANGE: Self = Self::new('~', AnsiColor::Yellow);
    pub(crate) const EXPIRE: Self = Self::new('>', AnsiColor::Yellow);
    pub(crate) const DELETE: Self = Self::new('-', AnsiColor::Red);
    pub(crate) const PROTECTED: Self = Self::new('=', AnsiColor::Green);
    pub(crate) const REFUSED: Self = Self::new('!', AnsiColor::Magenta);
    pub(crate) const UNKNOWN: Self = Self::new('?', AnsiColor::Cyan);
    pub(crate) const NOTHING: Self = Self {
        mark: ' ',
        color: None,
    };

    pub(crate) fn style(self) -> Style {
        self.color.map_or_else(Style::new, |color| {
            Style::new().fg_color(Some(color.into()))
        })
    }
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Tells more of flows that do not tell.
const EXPLAIN: &str = "; `explain` says why";

/// Writes a plan. `verb` is what the headline says was done (`plan`, `apply`); `verbose` also shows
/// what is in sync, samples, and rules that match nothing.
pub(crate) fn write(
    out: &mut impl Write,
    plan: &Plan,
    verb: &str,
    verbose: bool,
) -> io::Result<()> {
    headline(out, plan, verb)?;
    sysctl(out, plan, verbose)?;
    rules(out, plan, verbose)?;
    for doubt in &plan.doubts {
        line(out, Sign::UNKNOWN, doubt)?;
    }
    writeln!(out, "{BOLD}{}{BOLD:#}", summary(plan))
}

fn headline(out: &mut impl Write, plan: &Plan, verb: &str) -> io::Result<()> {
    let table = fill(plan);
    let policy = plan.policy_sha256.get(..6).unwrap_or("-");
    let mode = if plan.mode == "report" {
        "   mode report: nothing is done"
    } else {
        ""
    };
    writeln!(
        out,
        "{BOLD}conntidy {verb}{BOLD:#}   host {}   netns {}   table {table}   policy {policy}{mode}",
        super::known(&plan.host),
        plan.netns
    )?;
    let legend = [
        (Sign::CHANGE, "change"),
        (Sign::EXPIRE, "expire"),
        (Sign::DELETE, "delete"),
        (Sign::PROTECTED, "protected"),
        (Sign::REFUSED, "refused"),
        (Sign::UNKNOWN, "unknown"),
    ]
    .map(|(sign, word)| {
        let style = sign.style();
        format!("{style}{}{style:#} {word}", sign.mark)
    });
    writeln!(out, "  {}\n", legend.join("   "))
}

/// How full the table is.
pub(crate) fn fill(plan: &Plan) -> String {
    match (
        plan.table.count.unwrap_or(plan.table.dumped),
        plan.table.max,
    ) {
        (count, Some(max)) if max > 0 => format!(
            "{} / {} ({} %)",
            grouped(count),
            grouped(max),
            count.saturating_mul(100) / max
        ),
        (count, Some(_)) => format!("{} / no limit", grouped(count)),
        (count, None) => grouped(count),
    }
}

fn sysctl(out: &mut impl Write, plan: &Plan, verbose: bool) -> io::Result<()> {
    if plan.sysctl.is_empty() {
        return Ok(());
    }
    writeln!(out, "{BOLD}sysctl{BOLD:#}")?;
    let mut listed = Vec::new();
    let mut in_sync = 0;
    for step in &plan.sysctl {
        let mut existing = Vec::new();
        if let Some(rule) = plan.existing.iter().find(|rule| rule.name == step.name) {
            shortened(&mut existing, rule)?;
        }
        // What is said of existing entries needs the line of its key above it, also where that is in
        // sync: it would read as said of the key before.
        if verbose || step.state != TunableState::InSync || !existing.is_empty() {
            listed.push((step, existing));
        } else {
            in_sync += 1;
        }
    }
    let width = listed.iter().map(|(step, _)| step.name.len()).max();
    let width = width.unwrap_or(0);
    for (step, existing) in listed {
        let (sign, text) = tunable(step);
        line(out, sign, &format!("{:width$}  {text}", step.name))?;
        if let Some(drift) = &step.drift {
            writeln!(out, "      {DIM}{}{DIM:#}", drifted(drift))?;
        }
        out.write_all(&existing)?;
    }
    if in_sync > 0 {
        line(
            out,
            Sign::NOTHING,
            &format!("{} in sync", counted(in_sync, "key", "keys")),
        )?;
    }
    Ok(())
}

fn tunable(step: &TunableStep) -> (Sign, String) {
    let before = step.before.as_deref().unwrap_or("?");
    let wanted = step.wanted;
    let reason = step.reason.as_deref().unwrap_or("");
    let arrow = format!("{before} -> {wanted}");
    match step.state {
        TunableState::InSync => (Sign::NOTHING, before.to_owned()),
        TunableState::Change => {
            let price = match step.memory {
                Some(more) if more > 0 => format!("   at most +{}", bytes(more.unsigned_abs())),
                Some(less) if less < 0 => format!("   at most -{}", bytes(less.unsigned_abs())),
                _ => String::new(),
            };
            (Sign::CHANGE, format!("{arrow}{price}"))
        }
        TunableState::Observed => (
            Sign::NOTHING,
            format!("{before}, wished {wanted}   observed only"),
        ),
        TunableState::Refused | TunableState::Contested => {
            (Sign::REFUSED, format!("{arrow}   {reason}"))
        }
        TunableState::Pending
        | TunableState::InitialNamespace
        | TunableState::NotWritable
        | TunableState::Unreadable => (Sign::UNKNOWN, format!("{arrow}   {reason}")),
        TunableState::NotOnThisKernel => (Sign::UNKNOWN, reason.to_owned()),
    }
}

/// Who wrote what before, of a tunable that has changed since.
pub(crate) fn drifted(drift: &Drift) -> String {
    let Drift {
        was, run, found, ..
    } = drift;
    if drift.reset {
        format!("drifted: was {was} by run {run}, found {found} since nf_conntrack was loaded anew")
    } else {
        format!("drifted: was {was} by run {run}, found {found}")
    }
}

fn shortened(out: &mut impl Write, rule: &RulePlan) -> io::Result<()> {
    let style = Sign::EXPIRE.style();
    let grace = rule.grace.unwrap_or(0);
    match &rule.refused {
        Some(refusal) => {
            let style = Sign::REFUSED.style();
            writeln!(
                out,
                "      {style}!{style:#} existing entries: {}",
                refused(refusal)
            )
        }
        None if rule.selected > 0 => writeln!(
            out,
            "      {style}>{style:#} {} above {grace} s would be shortened",
            counted(rule.selected, "existing entry", "existing entries")
        ),
        None => Ok(()),
    }?;
    notes(out, rule, EXPLAIN)
}

fn rules(out: &mut impl Write, plan: &Plan, verbose: bool) -> io::Result<()> {
    if plan.rules.is_empty() {
        return Ok(());
    }
    writeln!(out, "{BOLD}rules{BOLD:#}")?;
    let name_width = plan
        .rules
        .iter()
        .map(|rule| rule.name.len())
        .max()
        .unwrap_or(0)
        .max("protected".len());
    let count_width = plan
        .rules
        .iter()
        .map(|rule| shown(rule).len())
        .max()
        .unwrap_or(0)
        .max(6);
    for rule in &plan.rules {
        let (sign, text) = rule_text(rule);
        let count = shown(rule);
        line(
            out,
            sign,
            &format!("{:name_width$}  {count:>count_width$}   {text}", rule.name),
        )?;
        notes(out, rule, EXPLAIN)?;
        if verbose {
            for flow in &rule.sample {
                writeln!(out, "      {DIM}{flow}{DIM:#}")?;
            }
            let more = rule.selected.saturating_sub(rule.sample.len() as u64);
            if more > 0 {
                writeln!(out, "      {DIM}and {} more{DIM:#}", grouped(more))?;
            }
        }
    }
    if plan.summary.protected > 0 {
        line(
            out,
            Sign::PROTECTED,
            &format!(
                "{:name_width$}  {:>count_width$}   {}",
                "protected",
                grouped(plan.summary.protected),
                protectors(plan)
            ),
        )?;
    }
    Ok(())
}

/// Who keeps flows from rules: `2 by management, 1 of this session`.
pub(crate) fn protectors(plan: &Plan) -> String {
    let mut by: Vec<String> = plan
        .protected
        .iter()
        .filter(|protected| protected.flows > 0)
        .map(|protected| format!("{} by {}", grouped(protected.flows), protected.name))
        .collect();
    let session: u64 = plan
        .existing
        .iter()
        .chain(&plan.rules)
        .map(|rule| rule.left.session)
        .sum();
    if session > 0 {
        by.push(format!("{} of this session", grouped(session)));
    }
    by.join(", ")
}

/// What the rule would change, or counts; a rule without its set knows of no flow.
fn shown(rule: &RulePlan) -> String {
    match &rule.refused {
        Some(Refusal::EmptySet { .. } | Refusal::UnreadableSet { .. }) => "?".to_owned(),
        _ if rule
            .waiting
            .as_ref()
            .is_some_and(|waiting| !waiting.counts()) =>
        {
            "-".to_owned()
        }
        _ if rule.action == "report" => grouped(rule.matched),
        _ => grouped(rule.selected),
    }
}

fn rule_text(rule: &RulePlan) -> (Sign, String) {
    if let Some(refusal) = &rule.refused {
        return (Sign::REFUSED, refused(refusal));
    }
    if let Some(waiting) = &rule.waiting {
        return (Sign::NOTHING, plan::waiting_text(waiting));
    }
    match rule.action.as_str() {
        "expire" if rule.selected > 0 => (
            Sign::EXPIRE,
            format!(
                "grace {}   {}",
                Seconds(rule.grace.unwrap_or(0)),
                if rule.rearms == Some(false) {
                    "live flows re-arm on their next packet, unanswered SYNs do not"
                } else {
                    "live flows re-arm on their next packet"
                }
            ),
        ),
        "delete" if rule.selected > 0 => (Sign::DELETE, impact(rule)),
        "report" => (Sign::NOTHING, "report only".to_owned()),
        _ => (Sign::NOTHING, format!("nothing to {}", rule.action)),
    }
}

fn impact(rule: &RulePlan) -> String {
    format!("impact: {}", impact_words(rule))
}

/// What the next packets of deleted flows would meet, with counts.
pub(crate) fn impact_words(rule: &RulePlan) -> String {
    let Some(impact) = rule.impact else {
        return String::new();
    };
    let parts: Vec<String> = [
        (impact.survive, "survive"),
        (impact.reset, "reset"),
        (impact.hang, "hang"),
        (impact.unknown, "unknown"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{} {word}", grouped(count)))
    .collect();
    parts.join(", ")
}

/// Why a rule is refused, as a sentence without its end.
pub(crate) fn refused(refusal: &Refusal) -> String {
    match refusal {
        Refusal::OverBudget { limit } => {
            format!("over its budget of {}: rule refused", grouped(*limit))
        }
        Refusal::OverAssuredBudget { assured, limit } => format!(
            "{} of them assured and not closed, over the default budget of {}: rule refused",
            grouped(*assured),
            grouped(*limit)
        ),
        Refusal::OverRunLimit { total, limit } => format!(
            "all rules together {}, over the run's limit of {}: rule refused",
            grouped(*total),
            grouped(*limit)
        ),
        Refusal::EmptySet { set } => format!("set @{set} is empty: rule refused"),
        Refusal::UnreadableSet { set, error } => {
            format!("set @{set} cannot be read ({error}): rule refused")
        }
        Refusal::CtTimeout => {
            "`ct timeout` objects may exist for this protocol: refused unless listed by key"
                .to_owned()
        }
        Refusal::NotInForce => "the timeout could not be brought into force".to_owned(),
        Refusal::TooManyFollowed { limit } => format!(
            "matches more than the {} flows that can be followed: rule refused",
            grouped(*limit)
        ),
        Refusal::Broken { runs } => format!(
            "refused or failed in {runs} runs in a row: only counts until `apply --release`"
        ),
        Refusal::OnHold { run } => {
            format!("on hold since run {run} was undone: `apply --release` ends that")
        }
    }
}

/// What of a rule's flows is left alone, and why. `why` is where more is said of what does not tell.
pub(crate) fn notes(out: &mut impl Write, rule: &RulePlan, why: &str) -> io::Result<()> {
    let left = left_words(rule.left);
    if !left.is_empty() {
        writeln!(out, "      {DIM}left: {}{DIM:#}", left.join(", "))?;
    }
    if rule.unproven > 0 {
        let when = match rule.proof_in {
            Some(0) | None => String::new(),
            Some(seconds) => format!("; the history covers the window in {}", Seconds(seconds)),
        };
        let style = Sign::UNKNOWN.style();
        writeln!(
            out,
            "      {style}?{style:#} {} idle without proof: left alone{when}",
            if rule.unproven == 1 {
                "1 flow looks".to_owned()
            } else {
                format!("{} flows look", grouped(rule.unproven))
            }
        )?;
    }
    if rule.not_persisted > 0 {
        let flows = counted(rule.not_persisted, "flow matches", "flows match");
        writeln!(
            out,
            "      {DIM}{flows}, but not for long enough yet{DIM:#}"
        )?;
    }
    if rule.doubtful > 0 {
        let style = Sign::UNKNOWN.style();
        writeln!(
            out,
            "      {style}?{style:#} {} may match, but do not tell: left alone{why}",
            counted(rule.doubtful, "flow", "flows")
        )?;
    }
    Ok(())
}

/// `assured 12`, for each rail that left flows alone but protection, which has its own line.
pub(crate) fn left_words(left: LeftCounts) -> Vec<String> {
    [
        (left.offloaded, "offloaded"),
        (left.host, "this host's own"),
        (left.fixed_timeout, "timer fixed, a helper's or set by hand"),
        (left.grace, "grace too short for assured"),
        (left.assured, "assured"),
        (left.half_closed, "half-closed"),
        (left.unknown, "unknown"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{word} {}", grouped(count)))
    .collect()
}

/// The last line of a plan.
pub(crate) fn summary(plan: &Plan) -> String {
    let summary = plan.summary;
    let mut parts = vec![
        format!("{} to change", counted(summary.change, "key", "keys")),
        format!("{} to expire", grouped(summary.expire)),
        format!("{} to delete", grouped(summary.delete)),
    ];
    if summary.protected > 0 {
        parts.push(format!("{} protected", grouped(summary.protected)));
    }
    if summary.refused > 0 {
        parts.push(format!(
            "{} refused",
            counted(summary.refused, "rule", "rules")
        ));
    }
    if summary.unmet > 0 {
        parts.push(format!(
            "{} left as {}",
            counted(summary.unmet, "key", "keys"),
            if summary.unmet == 1 {
                "it is"
            } else {
                "they are"
            }
        ));
    }
    format!("Plan: {}.", parts.join(", "))
}

/// One line behind its sign.
pub(crate) fn line(out: &mut impl Write, sign: Sign, text: &str) -> io::Result<()> {
    let style = sign.style();
    writeln!(out, "  {style}{}{style:#} {}", sign.mark, text.trim_end())
}
