//! Which rule takes a flow, and why each other does not: the document of `explain -o json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Refusal;
use super::judge::Judge;
use super::judged_rule::{JudgedRule, Match};
use super::rail::{Fate, Left};
use crate::group::GroupKey;
use crate::idle::Grade;
use crate::matcher::{Truth, explain};
use crate::observe::{Observe, ObserveError, Record};
use crate::policy::{Action, Seconds};
use crate::schedule::Waiting;

/// `schema` of an explanation.
const SCHEMA: &str = "conntidy.explain/1";

/// What the policy makes of one flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// `conntidy.explain/1`.
    pub schema: String,
    /// The flow.
    pub flow: String,
    /// What happens to it, in a sentence.
    pub outcome: String,
    /// The rule that claims it, if any does.
    pub claimed_by: Option<String>,
    /// Every rule in the order in which they are tried.
    pub rules: Vec<RuleVerdict>,
    /// Every protect rule.
    pub protect: Vec<RuleVerdict>,
}

/// What one rule says of the flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleVerdict {
    /// Its name.
    pub name: String,
    /// `delete`, `expire`, `report` or `protect`.
    pub action: String,
    /// `true`, `false` or `unknown`.
    pub truth: String,
    /// What follows from that.
    pub verdict: String,
    /// Each field.
    pub clauses: Vec<ClauseText>,
}

/// One field of a rule, applied to the flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClauseText {
    /// The field; `not` is in front where it stands under `not`.
    pub field: String,
    /// What the rule asks for.
    pub wanted: String,
    /// What the flow has.
    pub found: String,
    /// `true`, `false` or `unknown`.
    pub truth: String,
    /// Why it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Judge<'_> {
    /// Explains one flow. The table is read where a rule goes by the size of the flow's group.
    ///
    /// # Errors
    /// Where the table cannot be read then.
    pub fn explain(
        &self,
        table: &dyn Observe,
        record: &Record<'_>,
    ) -> Result<Explanation, ObserveError> {
        let facts = self.facts(record);
        let mut claimed_by = None;
        let mut outcome = None;
        let mut rules = Vec::with_capacity(self.rules.len());
        for judged in &self.rules {
            let grade = Grade::needed(judged.asks, &record.flow);
            let clauses = self.clauses(judged, record, grade);
            let matched = judged.matches(record);
            let persisted = judged.has_persisted(&record.flow);
            let takes = matched == Match::Yes && persisted && is_over(table, judged, record)?;
            let verdict = if matched == Match::Yes && !persisted {
                not_persisted(judged, record)
            } else if !takes {
                why_not(matched).to_owned()
            } else if let Some(waiting) = &judged.waiting {
                format!("matches, but claims nothing: {}", waiting_text(waiting))
            } else if let Some(Refusal::Broken { runs }) = &judged.refused {
                format!("matches, but claims nothing: it went wrong in {runs} runs in a row")
            } else if judged.action == Action::Report {
                "counts it".to_owned()
            } else if let Some(name) = &claimed_by {
                format!("would claim it, but `{name}` is tried first")
            } else {
                claimed_by = Some(judged.rule.name.clone());
                let text = match &judged.refused {
                    Some(_) => "claims it, but is refused".to_owned(),
                    None => fate_text(self, judged.action, judged.fate(facts, &record.flow)),
                };
                outcome = Some(format!("rule `{}` {text}", judged.rule.name));
                text
            };
            rules.push(RuleVerdict {
                name: judged.rule.name.clone(),
                action: judged.action.word().to_owned(),
                truth: truth_word(match matched {
                    Match::Yes => Truth::True,
                    Match::Unproven | Match::Doubtful => Truth::Unknown,
                    Match::No => all(&clauses),
                })
                .to_owned(),
                verdict,
                clauses,
            });
        }
        if claimed_by.is_none()
            && let Some(verdict) = self.existing(facts, record)
        {
            let index = usize::from(verdict.rule) - self.rules.len();
            let existing = &self.existing[index];
            let text = match existing.refused {
                Some(_) => "claims it, but is refused".to_owned(),
                None => fate_text(self, self.action(usize::from(verdict.rule)), verdict.fate),
            };
            let name = existing.name;
            outcome = Some(format!("no rule claims it; {name} {text}"));
        }
        Ok(Explanation {
            schema: SCHEMA.to_owned(),
            flow: flow_text(record),
            outcome: outcome.unwrap_or_else(|| "no rule claims it: it is left alone".to_owned()),
            claimed_by,
            rules,
            protect: self.explain_protect(record),
        })
    }

    fn clauses(
        &self,
        judged: &JudgedRule<'_>,
        record: &Record<'_>,
        grade: Grade,
    ) -> Vec<ClauseText> {
        let ignore = judged.rule.ignore_ct_timeout;
        let predicate = &judged.rule.predicate;
        explain(
            predicate,
            self.context(),
            ignore,
            &record.flow,
            &record.extra,
            grade,
        )
        .into_iter()
        .map(Into::into)
        .collect()
    }

    fn explain_protect(&self, record: &Record<'_>) -> Vec<RuleVerdict> {
        self.policy()
            .protect
            .iter()
            .map(|protect| {
                let clauses: Vec<ClauseText> = explain(
                    &protect.predicate,
                    self.context(),
                    false,
                    &record.flow,
                    &record.extra,
                    Grade::Proven,
                )
                .into_iter()
                .map(Into::into)
                .collect();
                let truth = all(&clauses);
                RuleVerdict {
                    name: protect.name.clone(),
                    action: "protect".to_owned(),
                    truth: truth_word(truth).to_owned(),
                    verdict: match truth {
                        Truth::True => "holds",
                        Truth::Unknown => "holds, since it may be true",
                        Truth::False => "does not hold",
                    }
                    .to_owned(),
                    clauses,
                }
            })
            .collect()
    }
}

/// Whether the flow's group is over the rule's count, by the whole table.
fn is_over(
    table: &dyn Observe,
    judged: &JudgedRule<'_>,
    record: &Record<'_>,
) -> Result<bool, ObserveError> {
    let Some(over) = judged.rule.over else {
        return Ok(true);
    };
    let Some(group) = GroupKey::of(&record.flow, &over) else {
        return Ok(false);
    };
    let mut flows = 0_u64;
    let mut count = |other: &Record<'_>| {
        if judged.matches(other) == Match::Yes && GroupKey::of(&other.flow, &over) == Some(group) {
            flows += 1;
        }
    };
    table.dump(&mut [&mut count])?;
    Ok(flows > over.count)
}

fn not_persisted(judged: &JudgedRule<'_>, record: &Record<'_>) -> String {
    let (so_far, wanted) = judged
        .following
        .as_ref()
        .map_or((0, 0), |following| following.so_far(&record.flow));
    format!(
        "does not take it: it has matched for {} of {}",
        Seconds(so_far / 1_000_000_000),
        Seconds(wanted / 1_000_000_000)
    )
}

/// Why a rule waits, in words.
#[must_use]
pub fn waiting_text(waiting: &Waiting) -> String {
    match waiting {
        Waiting::NotDue { due_in } => format!("due in {}", Seconds(*due_in)),
        Waiting::NotPressed {
            fill: Some(fill),
            above,
        } => format!(
            "waits for the table to be more than {} % full; it is {} %",
            hundredths((*above).into()),
            hundredths(*fill)
        ),
        Waiting::NotPressed { fill: None, .. } => {
            "waits for the table to be full, which has no limit or an unknown one".to_owned()
        }
        Waiting::BootGrace { ends_in, until } => {
            format!("boot grace until {until}, for {}", Seconds(*ends_in))
        }
        Waiting::Boot => "no rule runs while the machine boots".to_owned(),
    }
}

fn hundredths(share: u64) -> String {
    let text = format!("{}.{:02}", share / 100, share % 100);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn why_not(matched: Match) -> &'static str {
    match matched {
        Match::Yes => "does not take it: its group is not over the count",
        Match::Unproven => "does not take it: it looks idle, but that is not proven",
        Match::Doubtful => "does not take it: whether it matches is not known",
        Match::No => "does not take it",
    }
}

impl From<crate::matcher::Clause> for ClauseText {
    fn from(clause: crate::matcher::Clause) -> Self {
        let not = if clause.negated { "not " } else { "" };
        Self {
            field: format!("{not}{}", clause.field.name),
            wanted: clause.wanted,
            found: clause.found,
            truth: truth_word(clause.truth).to_owned(),
            why: clause.why,
        }
    }
}

fn all(clauses: &[ClauseText]) -> Truth {
    let has = |word| clauses.iter().any(|clause| clause.truth == word);
    if has("false") {
        Truth::False
    } else if has("unknown") {
        Truth::Unknown
    } else {
        Truth::True
    }
}

fn truth_word(truth: Truth) -> &'static str {
    match truth {
        Truth::True => "true",
        Truth::False => "false",
        Truth::Unknown => "unknown",
    }
}

fn fate_text(judge: &Judge<'_>, action: Action, fate: Fate) -> String {
    let keep = |why: &str| format!("claims it, but leaves it alone: {why}");
    match fate {
        Fate::Select => match action {
            Action::Delete => "deletes it, unless a budget or limit refuses the rule".to_owned(),
            Action::Expire { grace } => format!(
                "shortens its remaining time to {grace}, unless a budget or limit refuses the rule"
            ),
            Action::Report => "counts it".to_owned(),
            Action::Update(_) => "changes it".to_owned(),
        },
        Fate::Already => keep("it ends at least as soon anyway"),
        Fate::Left(left) => match left {
            Left::Offloaded => keep("it is offloaded"),
            Left::Protected(index) => {
                let protect = judge.policy().protect.get(usize::from(index));
                let name = protect.map_or("?", |protect| protect.name.as_str());
                keep(&format!("protected by `{name}`"))
            }
            Left::Session => keep("it is a connection of this session"),
            Left::Host => keep("it is, or may be, this host's own; see `include-host`"),
            Left::FixedTimeout => {
                keep("its timer is fixed, missing, or set by something else than the sysctl")
            }
            Left::Grace => {
                keep("it is assured or established, and the grace is below 2h4m; see `accept-risk`")
            }
            Left::Assured => keep("it is assured and not closed; see `allow-assured`"),
            Left::HalfClosed => keep("it is half closed, and the rule does not ask for `idle-for`"),
            Left::Unknown => keep("its status or id is missing"),
        },
    }
}

fn flow_text(record: &Record<'_>) -> String {
    let flow = &record.flow;
    let state = flow.state_name().map(|state| format!(" {state}"));
    let left = flow
        .remaining()
        .map(|left| format!(", {} left", crate::policy::Seconds(left.into())));
    format!(
        "{}{}{}",
        flow.key(),
        state.unwrap_or_default(),
        left.unwrap_or_default()
    )
}
