//! Sysctl lines, `conntrack` command lines and the scripts around them -> a policy.
//!
//! Every line comes out somewhere: as a key or rule of the policy with a comment that says where it
//! came from, or among what was [left](Left) with the reason. What would not pass `check` is left
//! too, with what `check` says.

mod block;
mod command;
mod cron;
mod prefix;
mod rule;
mod shell;
mod sysctl;
mod write;

use std::fmt;

pub use write::printable;

use crate::policy::diagnostic::Severity;
use crate::policy::{Text, load};
use crate::tunable::Governing;

/// A text that is converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// What it is called.
    pub name: String,
    /// Its lines.
    pub content: String,
}

/// Where a line stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Index of the input.
    input: usize,
    /// What the input is called.
    file: String,
    /// The line, from 1.
    line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Something that did not become part of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Where it stands.
    pub origin: Origin,
    /// What stands there.
    pub text: String,
    /// Why it was left, and what to do instead.
    pub why: String,
    /// It only looks, so that nothing is missing from the policy.
    pub looks: bool,
}

/// A tunable as a line sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    origin: Origin,
    text: String,
    tunable: &'static crate::tunable::Tunable,
    value: String,
}

/// A rule that does what a line did.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// Of each line that does the same.
    origins: Vec<(Origin, String)>,
    name: String,
    /// Fields and their values as TOML.
    fields: Vec<(&'static str, String)>,
    not: Vec<(&'static str, String)>,
    act: Act,
    /// What ends the entries that a rule for idle ones is about.
    governing: Vec<Governing>,
    /// How often it ran, where that was said.
    every: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// `assured`: it may also meet flows that live.
    Delete { assured: bool },
    /// What has been idle for so many seconds.
    Idle { seconds: u64 },
}

/// What became of the inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// The policy, as text. It passes `check`.
    pub policy: String,
    /// How many lines became part of it.
    pub turned: usize,
    /// What did not, in the order of the inputs.
    pub left: Vec<Left>,
}

/// Everything that was found, before it is written.
#[derive(Clone, Debug, Default)]
struct Found {
    settings: Vec<Setting>,
    rules: Vec<Rule>,
    left: Vec<Left>,
}

/// Converts texts, in their order: a later value of a key wins. `passed_over`: what was found beside them and
/// not read, which the policy names.
#[must_use]
pub fn convert(inputs: &[Input], passed_over: &[String]) -> Converted {
    let mut found = Found::default();
    for (index, input) in inputs.iter().enumerate() {
        command::read(&mut found, index, input);
    }
    found.settle();
    let names: Vec<_> = inputs.iter().map(|input| input.name.as_str()).collect();
    loop {
        let policy = write::policy(&names, &found, passed_over);
        // Each round leaves something, so this ends.
        if !found.leave_what_is_wrong(&policy) {
            let of_rules = found.rules.iter().map(|rule| rule.origins.len());
            return Converted {
                policy,
                turned: found.settings.len() + of_rules.sum::<usize>(),
                left: found.left,
            };
        }
    }
}

impl Found {
    fn leave(&mut self, origin: Origin, text: &str, why: impl Into<String>) {
        self.left.push(Left {
            origin,
            text: text.to_owned(),
            why: why.into(),
            looks: false,
        });
    }

    /// Leaves what a later line overrides, and gives rules their names.
    fn settle(&mut self) {
        let settings = std::mem::take(&mut self.settings);
        for (index, setting) in settings.iter().enumerate() {
            let same = |later: &&Setting| later.tunable.name == setting.tunable.name;
            match settings[index + 1..].iter().rfind(same) {
                Some(last) if last.value == setting.value => self.left.push(Left {
                    origin: setting.origin.clone(),
                    text: setting.text.clone(),
                    why: format!("{} says the same", last.origin),
                    looks: true,
                }),
                Some(last) => {
                    let why = format!(
                        "{} sets it to {}, and later ones win",
                        last.origin, last.value
                    );
                    self.leave(setting.origin.clone(), &setting.text, why);
                }
                None => self.settings.push(setting.clone()),
            }
        }
        let mut rules: Vec<Rule> = Vec::new();
        for rule in std::mem::take(&mut self.rules) {
            let is_same = |known: &&mut Rule| {
                (&known.fields, &known.not, known.act, known.every)
                    == (&rule.fields, &rule.not, rule.act, rule.every)
            };
            if let Some(known) = rules.iter_mut().find(is_same) {
                known.origins.extend(rule.origins);
                continue;
            }
            let (mut name, mut number) = (rule.name.clone(), 1);
            while rules.iter().any(|known| known.name == name) {
                number += 1;
                name = format!("{}-{number}", rule.name);
            }
            rules.push(Rule { name, ..rule });
        }
        for rule in rules {
            match (rule.act, rule.timeout(&self.settings)) {
                (Act::Idle { seconds }, Some(timeout)) if timeout <= seconds => {
                    let why = format!(
                        "no entry of these is ever idle for so long: they end after {}",
                        crate::policy::Seconds(timeout)
                    );
                    for (origin, text) in rule.origins {
                        self.leave(origin, &text, why.clone());
                    }
                }
                _ => self.rules.push(rule),
            }
        }
        self.sort();
    }

    fn sort(&mut self) {
        self.left.sort_by(|a, b| a.origin.cmp(&b.origin));
    }

    /// Leaves settings and rules in which `check` finds a mistake; whether there were any.
    fn leave_what_is_wrong(&mut self, policy: &str) -> bool {
        let loaded = load::load(&[Text::file("policy.toml", policy)]);
        let mut is_wrong = false;
        for diagnostic in loaded.diagnostics {
            if diagnostic.severity != Severity::Error {
                continue;
            }
            let help = diagnostic.help.first().map(|help| format!("; {help}"));
            let why = format!("{}{}", diagnostic.message, help.unwrap_or_default());
            let key = &diagnostic.key;
            let at = |setting: &Setting| key.is_within(&sysctl::key(setting.tunable));
            if let Some(index) = self.settings.iter().position(at) {
                let setting = self.settings.remove(index);
                self.leave(setting.origin, &setting.text, why);
                is_wrong = true;
            } else if let ["rules", name, ..] = key.keys().collect::<Vec<_>>()[..]
                && let Some(index) = self.rules.iter().position(|rule| rule.name == name)
            {
                for (origin, text) in self.rules.remove(index).origins {
                    self.leave(origin, &text, why.clone());
                }
                is_wrong = true;
            }
        }
        self.sort();
        is_wrong
    }
}
