//! A plan for continuous integration: what is wrong or worth a look, each at its place in the policy.

pub(crate) mod github;
pub(crate) mod junit;
pub(crate) mod markdown;

use super::diagnostics::DiagnosticJson;
use super::number::counted;
use super::plan::refused;
use crate::config::Loaded;
use crate::plan::{Plan, RulePlan, TunableState, TunableStep, waiting_text};
use crate::policy::KeyPath;
use crate::policy::diagnostic::{Part, Severity};

/// How bad it is; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// The policy is wrong, or a rail refuses what it asks for.
    Error,
    /// Something is doubtful, or cannot be brought to its wish here.
    Warning,
    /// What would be done, or waits for its time.
    Notice,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// The policy's text.
    Policy,
    /// A tunable.
    Tunable,
    /// A rule, or a timeout that is applied to entries that exist.
    Rule,
    /// The table as it was seen.
    Table,
}

impl About {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Tunable => "tunable",
            Self::Rule => "rule",
            Self::Table => "table",
        }
    }
}

/// Where something stands in a file; lines and columns from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) end_line: usize,
    pub(crate) end_column: usize,
}

/// One thing that somebody who reviews the policy has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    pub(crate) about: About,
    /// Code of the diagnostic, name of the tunable or rule; empty for the table.
    pub(crate) name: String,
    pub(crate) message: String,
    pub(crate) spot: Option<Spot>,
}

/// Everything, the worst first; without a plan what is wrong with the policy.
pub(crate) fn findings(loaded: &Loaded, plan: Option<&Plan>) -> Vec<Finding> {
    let mut all: Vec<Finding> = loaded
        .diagnostics
        .iter()
        .map(|diagnostic| {
            let told = DiagnosticJson::new(diagnostic, &loaded.texts);
            let mut message = told.message;
            if let Some(expected) = &told.expected {
                message.push_str("; expected ");
                message.push_str(expected);
            }
            for help in &told.help {
                message.push_str("; ");
                message.push_str(help);
            }
            Finding {
                level: match diagnostic.severity {
                    Severity::Error => Level::Error,
                    Severity::Warning => Level::Warning,
                },
                about: About::Policy,
                name: told.code,
                message,
                spot: diagnostic.place.as_ref().and_then(|_| {
                    Some(Spot {
                        file: told.file?,
                        line: told.line?,
                        column: told.column?,
                        end_line: told.end_line?,
                        end_column: told.end_column?,
                    })
                }),
            }
        })
        .collect();
    if let Some(plan) = plan {
        all.extend(plan.rules.iter().filter_map(|rule| {
            let (level, message) = of_rule(rule)?;
            Some(Finding {
                level,
                about: About::Rule,
                name: rule.name.clone(),
                message,
                spot: spot(loaded, &KeyPath::of(["rules", &rule.name])),
            })
        }));
        for step in &plan.sysctl {
            let existing = plan.existing.iter().find(|rule| rule.name == step.name);
            let about_flows = existing.and_then(of_rule);
            for (about, told) in [
                (About::Tunable, of_tunable(step)),
                (About::Rule, about_flows),
            ] {
                let Some((level, message)) = told else {
                    continue;
                };
                all.push(Finding {
                    level,
                    about,
                    name: step.name.clone(),
                    message,
                    spot: spot(loaded, &tunable_key(step)),
                });
            }
        }
        all.extend(plan.doubts.iter().map(|doubt| Finding {
            level: Level::Warning,
            about: About::Table,
            name: String::new(),
            message: doubt.clone(),
            spot: None,
        }));
    }
    all.sort_by_key(|finding| finding.level);
    all
}

/// Where the policy says so. The names of tunables need no quotes.
fn tunable_key(step: &TunableStep) -> KeyPath {
    KeyPath::of(step.path.split('.'))
}

/// Where a key stands, in the layer that is in force.
fn spot(loaded: &Loaded, key: &KeyPath) -> Option<Spot> {
    let place = loaded.spans.find(key, Part::Key)?;
    let text = loaded.texts.get(place.text)?;
    let span = text.clamp(&place.span);
    let (line, column) = text.line_and_column(span.start);
    let (end_line, end_column) = text.line_and_column(span.end);
    Some(Spot {
        file: text.name.clone(),
        line,
        column,
        end_line,
        end_column,
    })
}

/// What there is to say of a tunable that is not in sync.
fn of_tunable(step: &TunableStep) -> Option<(Level, String)> {
    let level = level_of(step.state)?;
    let before = step.before.as_deref().unwrap_or("?");
    let mut message = format!("{} -> {}", before, step.wanted);
    if let Some(reason) = &step.reason {
        message.push_str(": ");
        message.push_str(reason);
    }
    Some((level, message))
}

/// Whether a tunable cannot be brought to its wish, and neither waits for that nor is another
/// namespace's affair.
pub(crate) fn is_unmet(state: TunableState) -> bool {
    level_of(state).is_some_and(|level| level != Level::Notice)
}

/// `None` for what is as it should be.
fn level_of(state: TunableState) -> Option<Level> {
    match state {
        TunableState::InSync | TunableState::Observed => None,
        TunableState::Refused | TunableState::Contested => Some(Level::Error),
        TunableState::Unreadable | TunableState::NotWritable | TunableState::NotOnThisKernel => {
            Some(Level::Warning)
        }
        // A status, not a difference.
        TunableState::Change | TunableState::Pending | TunableState::InitialNamespace => {
            Some(Level::Notice)
        }
    }
}

/// What there is to say of a rule that does something, or is kept from it.
fn of_rule(rule: &RulePlan) -> Option<(Level, String)> {
    if let Some(refusal) = &rule.refused {
        let flows = match rule.selected {
            0 => String::new(),
            selected => format!("{} selected: ", counted(selected, "flow", "flows")),
        };
        return Some((Level::Error, format!("{flows}{}", refused(refusal))));
    }
    if let Some(waiting) = &rule.waiting {
        return Some((Level::Notice, waiting_text(waiting)));
    }
    let flows = counted(rule.selected, "flow", "flows");
    match rule.action.as_str() {
        "report" if rule.matched > 0 => Some((
            Level::Notice,
            format!("counts {}", counted(rule.matched, "flow", "flows")),
        )),
        action if rule.selected > 0 => Some((Level::Notice, format!("would {action} {flows}"))),
        _ => None,
    }
}
