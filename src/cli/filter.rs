//! The match vocabulary as command-line flags, made from the table of fields.

use std::fmt;

use clap::{ArgAction, ArgMatches, Args, FromArgMatches};

use super::render::diagnostics;
use super::{CliError, complete, terminal};
use crate::flow::field::{self, Field};
use crate::policy::filter::{self, Flag};
use crate::policy::{Predicate, Set};

const HEADING: &str = "Filter (values after a comma, and repeated flags, are alternatives)";

/// Single letters, as the `conntrack` tool has them.
const SHORT: [(Field, char); 6] = [
    (field::PROTOCOL, 'p'),
    (field::SRC, 's'),
    (field::DST, 'd'),
    (field::FAMILY, 'f'),
    (field::MARK, 'm'),
    (field::ZONE, 'w'),
];

/// Which flows a command looks at.
#[derive(Clone, Debug, Default)]
pub struct FilterArgs {
    flags: Vec<Flag>,
    tables: Vec<String>,
}

impl FilterArgs {
    /// Nothing was asked for: every flow passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flags.is_empty() && self.tables.is_empty()
    }

    /// Whether a set of the policy is named.
    #[must_use]
    pub fn names_sets(&self) -> bool {
        let values = self.flags.iter().map(|flag| &flag.value);
        values.chain(&self.tables).any(|text| text.contains('@'))
    }

    /// The same, of which only those pass that this match table takes too.
    #[must_use]
    pub(super) fn and(mut self, table: String) -> Self {
        self.tables.push(table);
        self
    }

    /// The flags of one line, read as a shell reads it.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub(super) fn read(line: &str) -> Result<Self, String> {
        let words = shlex::split(line).ok_or("a quote is not closed")?;
        let command = clap::Command::new("filter")
            .no_binary_name(true)
            .disable_help_flag(true);
        let matches = Self::augment_args(command).try_get_matches_from(words);
        matches
            .and_then(|matches| Self::from_arg_matches(&matches))
            .map_err(|error| first_words(&error.to_string()))
    }

    /// The predicate that was written.
    ///
    /// # Errors
    /// Every mistake, in one line.
    pub(super) fn check(&self, sets: &[Set]) -> Result<Predicate, String> {
        let filter = filter::filter(&self.flags, &self.tables, sets);
        if filter.diagnostics.is_empty() {
            return Ok(filter.predicate);
        }
        let mistakes = filter.diagnostics.iter().map(|diagnostic| {
            let place = diagnostic.place.as_ref();
            let text = place.and_then(|place| filter.texts.get(place.text));
            let name = text.map_or("", |text| text.name.as_str());
            let more = diagnostic.expected.iter().chain(&diagnostic.help);
            let said: Vec<_> = [&diagnostic.message]
                .into_iter()
                .chain(more)
                .cloned()
                .collect();
            format!("{name}: {}", said.join("; "))
        });
        Err(mistakes.collect::<Vec<_>>().join(". "))
    }

    /// The predicate that was written; mistakes are printed, flag by flag.
    ///
    /// # Errors
    /// Where there are any.
    pub fn predicate(&self, sets: &[Set]) -> Result<Predicate, CliError> {
        let filter = filter::filter(&self.flags, &self.tables, sets);
        if filter.diagnostics.is_empty() {
            return Ok(filter.predicate);
        }
        anstream::eprint!(
            "{}",
            diagnostics::text(&filter.diagnostics, &filter.texts, terminal::width())
        );
        Err(CliError::usage("the filter cannot be understood"))
    }
}

/// As it is typed.
impl fmt::Display for FilterArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = (self.flags.iter()).map(|flag| (flag.name.as_str(), &flag.value));
        let tables = self.tables.iter().map(|table| ("--match", table));
        for (index, (name, value)) in flags.chain(tables).enumerate() {
            let space = if index > 0 { " " } else { "" };
            // Arguments hold no zero bytes, which alone cannot be quoted.
            let value = shlex::try_quote(value).unwrap_or_default();
            write!(f, "{space}{name} {value}")?;
        }
        Ok(())
    }
}

/// What a command line's error says, without its usage.
fn first_words(error: &str) -> String {
    let lines = error.lines().map(str::trim);
    let lines =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let words: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    let words = words.join("; ");
    words.strip_prefix("error: ").unwrap_or(&words).to_owned()
}

fn not(field: Field) -> String {
    format!("not-{}", field.name)
}

/// `idle-for` cannot stand under `not`: what is not proven idle is not known to be busy.
fn may_negate(field: Field) -> bool {
    field != field::IDLE_FOR
}

impl Args for FilterArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        let flag = |id: String, field: Field, help: String| {
            clap::Arg::new(id.clone())
                .long(id)
                .value_name(field.value)
                .help(help)
                .help_heading(HEADING)
                .action(ArgAction::Append)
        };
        let command = field::ALL.iter().fold(command, |command, &field| {
            let help = field.help.trim_end_matches('.').to_owned();
            let words = complete::field(field);
            let completed = |arg: clap::Arg| match &words {
                Some(words) => arg.add(words.clone()),
                None => arg,
            };
            let mut arg = completed(flag(field.name.to_owned(), field, help));
            if let Some((_, short)) = SHORT.iter().find(|(short, _)| *short == field) {
                arg = arg.short(*short);
            }
            let command = command.arg(arg);
            if !may_negate(field) {
                return command;
            }
            let help = format!("Not so: the opposite of --{}", field.name);
            command.arg(completed(flag(not(field), field, help)).hide(true))
        });
        command.arg(
            clap::Arg::new("match")
                .long("match")
                .value_name("TOML")
                .help(
                    "A rule's match table: 'protocol = \"tcp\", dport = 22, not = { src = \"@lan\" }'. \
                     Every flag above also exists as --not-FLAG",
                )
                .help_heading(HEADING)
                .action(ArgAction::Append),
        )
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FilterArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut filter = Self::default();
        filter.update_from_arg_matches(matches)?;
        Ok(filter)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let values = |id: &str| {
            let values = matches.get_many::<String>(id);
            values.into_iter().flatten().cloned().collect::<Vec<_>>()
        };
        for &field in field::ALL {
            let signs: &[bool] = if may_negate(field) {
                &[false, true]
            } else {
                &[false]
            };
            for &negated in signs {
                let id = if negated {
                    not(field)
                } else {
                    field.name.to_owned()
                };
                for value in values(&id) {
                    self.flags.push(Flag {
                        name: format!("--{id}"),
                        field: field.name,
                        negated,
                        value,
                    });
                }
            }
        }
        self.tables.extend(values("match"));
        Ok(())
    }
}
