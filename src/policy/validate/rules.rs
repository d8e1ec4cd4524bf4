//! `[rules]` and `[protect]`.

use super::{Unusable, Validation};
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::document::{BudgetTable, ProtectTable, RuleTable, WhenTable};
use crate::policy::key::KeyPath;
use crate::policy::term::ActionWord;
use crate::policy::{
    Action, Budget, DEFAULT_GRACE, Over, Percent, Predicate, Pressure, Protect, Rule, Seconds,
};

/// Where a rule stands that does not say.
const DEFAULT_ORDER: i32 = 50;

impl Validation<'_> {
    /// Enabled rules in the order in which they are tried.
    pub(super) fn rules(&mut self) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (name, table) in self.document.rules.iter().flatten() {
            let path = KeyPath::of(["rules", name]);
            self.check_name("rule", &path);
            if table.enabled == Some(false) {
                self.warn_of_empty(
                    *table
                        == RuleTable {
                            enabled: Some(false),
                            ..RuleTable::default()
                        },
                    &path,
                );
                continue;
            }
            if let Ok(rule) = self.rule(name, table, &path) {
                rules.push(rule);
            }
        }
        rules.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
        rules
    }

    /// Enabled protect rules by name.
    pub(super) fn protect(&mut self) -> Vec<Protect> {
        let mut protect = Vec::new();
        for (name, table) in self.document.protect.iter().flatten() {
            let path = KeyPath::of(["protect", name]);
            self.check_name("protect rule", &path);
            if table.enabled == Some(false) {
                self.warn_of_empty(
                    *table
                        == ProtectTable {
                            enabled: Some(false),
                            ..ProtectTable::default()
                        },
                    &path,
                );
                continue;
            }
            let match_path = path.child("match");
            let Some(written) = &table.predicate else {
                self.missing(
                    &path,
                    "match",
                    "this protect rule does not say which flows it protects",
                    "add `match = { … }`",
                );
                continue;
            };
            let predicate = self.predicate(written, &match_path);
            self.refuse_empty(&predicate, &match_path);
            if written.over.is_some() {
                self.found.push(
                    Diagnostic::error(
                        Code::Conflict,
                        match_path.child("over"),
                        "a protect rule looks at single flows and cannot count groups",
                    )
                    .at_key(),
                );
            }
            if written.persisted.is_some() {
                self.found.push(
                    Diagnostic::error(
                        Code::Conflict,
                        match_path.child("persisted"),
                        "a protect rule looks at one run alone: what it keeps must not depend on \
                         earlier ones",
                    )
                    .at_key(),
                );
            }
            protect.push(Protect {
                name: name.clone(),
                description: table.description.clone(),
                predicate,
            });
        }
        protect
    }

    fn warn_of_empty(&mut self, is_empty: bool, path: &KeyPath) {
        if is_empty && !self.lacks(path) {
            let diagnostic = Diagnostic::warning(
                Code::NoEffect,
                path.clone(),
                format!("`{path}` is switched off, but no layer declares it"),
            );
            self.found.push(diagnostic.at_key());
        }
    }

    fn rule(&mut self, name: &str, table: &RuleTable, path: &KeyPath) -> Result<Rule, Unusable> {
        let before = self.found.len();
        let everything = table.everything.unwrap_or(false);
        let (predicate, over) = self.selection(table, everything, path);
        let persisted = self.persisted(table, path);
        if let Some(every) = table.every {
            self.positive(every, &path.child("every"));
        }
        let when = table
            .when
            .as_ref()
            .and_then(|when| self.pressure(when, &path.child("when")));
        if table.action.is_none() {
            self.missing(
                path,
                "action",
                "this rule does not say what it does",
                "add `action = \"expire\"`, `\"delete\"` or `\"report\"`",
            );
        }
        if let Some(grace) = table.grace {
            self.positive(grace, &path.child("grace"));
        }
        let budget = table
            .budget
            .as_ref()
            .and_then(|budget| self.budget(budget, &path.child("budget")));
        if everything && table.budget.is_none() && !self.lacks(&path.child("budget")) {
            self.found.push(
                Diagnostic::error(
                    Code::UnboundedRule,
                    path.child("everything"),
                    "a rule that matches everything needs a budget of its own",
                )
                .help("add `budget = { count = …, percent = … }`"),
            );
        }
        self.without_effect(table, path);
        let is_broken = self.lacks(path)
            || self.found[before..].iter().any(|diagnostic| {
                diagnostic.severity == crate::policy::diagnostic::Severity::Error
            });
        // What is mistaken must not draw doubts after it.
        let Some(action) = table.action.filter(|_| !is_broken) else {
            return Err(Unusable);
        };
        Ok(Rule {
            name: name.to_owned(),
            description: table.description.clone(),
            predicate,
            narrowed: Predicate::default(),
            everything,
            action: match action {
                ActionWord::Expire => Action::Expire {
                    grace: table.grace.unwrap_or(DEFAULT_GRACE),
                },
                ActionWord::Delete => Action::Delete,
                ActionWord::Report => Action::Report,
            },
            order: table.order.unwrap_or(DEFAULT_ORDER),
            budget,
            allow_assured: table.allow_assured.unwrap_or(false),
            allow_half_closed: false,
            by_hand: false,
            only_claims: false,
            include_host: table.include_host.unwrap_or(false),
            ignore_ct_timeout: table.ignore_ct_timeout.unwrap_or(false),
            accept_risk: table.accept_risk.clone(),
            over,
            persisted,
            every: table.every,
            when,
        })
    }

    fn persisted(&mut self, table: &RuleTable, path: &KeyPath) -> Option<Seconds> {
        let written = table.predicate.as_ref()?;
        let seconds = written.persisted?;
        let key = path.child("match").child("persisted");
        self.positive(seconds, &key);
        if written.over.is_some() {
            let diagnostic = Diagnostic::error(
                Code::Conflict,
                key,
                "`persisted` follows single flows and `over` counts groups: one rule cannot do both",
            );
            self.found.push(diagnostic.at_key());
        }
        Some(seconds)
    }

    fn pressure(&mut self, table: &WhenTable, path: &KeyPath) -> Option<Pressure> {
        let Some(above) = table.fill_above else {
            self.missing(
                path,
                "fill-above",
                "`when` does not say at which fill the rule begins",
                "add `fill-above = \"85%\"`",
            );
            return None;
        };
        let until_below = table.until_below.unwrap_or(Percent(
            u16::try_from(u32::from(above.0) * 4 / 5).unwrap_or(u16::MAX),
        ));
        let (key, message, expected) = if until_below.0 == 0 && table.until_below.is_none() {
            let message = "the table is never emptier than what follows from this for its end";
            ("fill-above", message, "at least 0.02 %")
        } else if until_below.0 == 0 {
            let message = "the table is never below 0 %, so the rule would never end";
            ("until-below", message, "more than 0 %")
        } else if until_below >= above {
            let message = "the rule would end before it begins";
            ("until-below", message, "less than `fill-above`")
        } else {
            return Some(Pressure { above, until_below });
        };
        self.found
            .push(Diagnostic::error(Code::OutOfRange, path.child(key), message).expected(expected));
        None
    }

    fn selection(
        &mut self,
        table: &RuleTable,
        everything: bool,
        path: &KeyPath,
    ) -> (Predicate, Option<Over>) {
        let match_path = path.child("match");
        let Some(written) = &table.predicate else {
            if !everything && table.everything.is_none() {
                self.missing(
                    path,
                    "match",
                    "this rule does not say which flows it takes",
                    "add `match = { … }`; to take every flow, say `everything = true`",
                );
            } else if table.everything == Some(false) && !self.lacks(&match_path) {
                self.found.push(Diagnostic::error(
                    Code::EmptyMatch,
                    path.child("everything"),
                    "a rule without `match` and without `everything` takes nothing",
                ));
            }
            return (Predicate::default(), None);
        };
        if everything {
            self.found.push(
                Diagnostic::error(
                    Code::Conflict,
                    path.child("everything"),
                    "`everything` stands instead of `match`, not beside it",
                )
                .help("remove one of the two"),
            );
        }
        let predicate = self.predicate(written, &match_path);
        self.refuse_empty(&predicate, &match_path);
        if written
            .not
            .as_ref()
            .is_some_and(|not| not.idle_for.is_some())
        {
            self.found.push(
                Diagnostic::error(
                    Code::Conflict,
                    match_path.child("not").child("idle-for"),
                    "`idle-for` cannot stand under a rule's `not`: what is not proven idle need \
                     not be busy",
                )
                .at_key(),
            );
        }
        let over = written
            .over
            .as_ref()
            .and_then(|over| self.over(over, &match_path.child("over")));
        (predicate, over)
    }

    fn refuse_empty(&mut self, predicate: &Predicate, path: &KeyPath) {
        if predicate.tests.is_empty() && predicate.not.is_empty() && !self.lacks(path) {
            let is_explained = self.found.iter().any(|found| found.key.is_within(path));
            if is_explained {
                return;
            }
            let diagnostic = Diagnostic::error(
                Code::EmptyMatch,
                path.clone(),
                "an empty match would take every flow",
            );
            self.found.push(if path.keys().next() == Some("rules") {
                diagnostic.help("if that is meant, say `everything = true` instead, with a budget")
            } else {
                diagnostic
            });
        }
    }

    fn budget(&mut self, table: &BudgetTable, path: &KeyPath) -> Option<Budget> {
        if table.count.is_none() && table.percent.is_none() {
            if !self.lacks(path) {
                self.found.push(
                    Diagnostic::error(Code::MissingKey, path.clone(), "this budget limits nothing")
                        .expected("`count`, `percent` or both"),
                );
            }
            return None;
        }
        Some(Budget {
            count: table.count.map(|count| count.0),
            percent: table.percent,
        })
    }

    /// Keys that do nothing with the rule's action. A rule that only reports keeps them silently:
    /// that is how a rule is tried out.
    fn without_effect(&mut self, table: &RuleTable, path: &KeyPath) {
        let idle = match table.action {
            Some(ActionWord::Delete) => [
                ("grace", table.grace.is_some()),
                ("accept-risk", table.accept_risk.is_some()),
            ],
            Some(ActionWord::Expire) => [
                ("allow-assured", table.allow_assured.is_some()),
                ("", false),
            ],
            _ => return,
        };
        for (key, is_written) in idle {
            if is_written && let Some(action) = table.action {
                let diagnostic = Diagnostic::warning(
                    Code::NoEffect,
                    path.child(key),
                    format!("`{key}` does nothing where the action is `{action}`"),
                );
                self.found.push(diagnostic.at_key());
            }
        }
    }
}
