//! The match vocabulary as flags of a command line: the same fields, values and meaning as a
//! rule's `match`.
//!
//! Every flag is a text of its own, so that a mistake is shown as one in a policy is: the flag,
//! what was written, and what was expected there.

use std::collections::BTreeMap;
use std::ops::Range;

use figment::value::{Dict, Tag, Value};
use serde::Deserialize;

use super::diagnostic::{Code, Diagnostic, Part, Place};
use super::key::KeyPath;
use super::match_table::Match;
use super::text::Text;
use super::{Predicate, Set, layers, tree, validate};

/// One flag as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// What it is called, as `--dport` or `--not-dport`.
    pub name: String,
    /// The field, a name of [`crate::flow::field`].
    pub field: &'static str,
    /// Whether it stands under `not`.
    pub negated: bool,
    /// Its value: alternatives are separated by commas.
    pub value: String,
}

/// A filter made of flags.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Which flows pass; empty without a flag. Only to be used where no diagnostic was found.
    pub predicate: Predicate,
    /// Mistakes.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts to which their places refer.
    pub texts: Vec<Text>,
}

/// Makes a filter of flags and of `--match` tables (`{ protocol = "tcp", dport = 22 }`, with or
/// without the braces): a flow passes that all of them take. A flag that is repeated adds
/// alternatives.
///
/// `sets` are those that `@name` may refer to.
#[must_use]
pub fn filter(flags: &[Flag], tables: &[String], sets: &[Set]) -> Filter {
    let mut filter = Filter {
        predicate: Predicate::default(),
        diagnostics: Vec::new(),
        texts: Vec::new(),
    };
    filter.add_flags(flags, sets);
    for table in tables {
        filter.add_table(table.trim(), sets);
    }
    filter
}

/// A flag's value: one, or a list of alternatives.
fn alternatives(value: &str) -> Value {
    let values: Vec<_> = value.split(',').map(|v| Value::from(v.trim())).collect();
    match <[Value; 1]>::try_from(values) {
        Ok([one]) => one,
        Err(many) => Value::Array(Tag::Default, many),
    }
}

impl Filter {
    fn add_flags(&mut self, flags: &[Flag], sets: &[Set]) {
        let (mut table, mut not) = (Dict::new(), Dict::new());
        let mut places = BTreeMap::new();
        for flag in flags {
            let key = flag.key();
            if let Some(&number) = places.get(&key) {
                let text: &mut Text = &mut self.texts[number];
                text.content = format!("{},{}", text.content, flag.value);
                continue;
            }
            places.insert(key, self.texts.len());
            self.texts.push(Text::file(&flag.name, &flag.value));
        }
        for (key, &number) in &places {
            let field = key.last().to_owned();
            let one = Dict::from([(field, alternatives(&self.texts[number].content))]);
            // Alone first: reading stops at the first mistake.
            if let Err(error) = Match::deserialize(&Value::from(one.clone())) {
                self.found(layers::diagnose(&error), number, None);
            } else if key.0.len() > 1 {
                not.extend(one);
            } else {
                table.extend(one);
            }
        }
        if !not.is_empty() {
            table.insert("not".to_owned(), Value::from(not));
        }
        for diagnostic in self.read(table, sets) {
            let is_flag = |(key, _): &(&KeyPath, &usize)| diagnostic.key.is_within(key);
            let number = places.iter().find(is_flag).map_or(0, |(_, &number)| number);
            self.found(diagnostic, number, None);
        }
    }

    fn add_table(&mut self, table: &str, sets: &[Set]) {
        let content = if table.starts_with('{') {
            format!("match = {table}")
        } else {
            format!("match = {{ {table} }}")
        };
        let text = Text {
            name: "--match".to_owned(),
            ..Text::assignment(content)
        };
        let number = self.texts.len();
        let mut read = tree::read(&text, number);
        self.texts.push(text);
        self.diagnostics.append(&mut read.diagnostics);
        let Some(Value::Dict(_, table)) = read.dict.remove("match") else {
            return;
        };
        for diagnostic in self.read(table, sets) {
            let mut key = KeyPath::of(["match"].into_iter().chain(diagnostic.key.keys()));
            while !read.spans.contains_key(&key)
                && let Some(parent) = key.parent()
            {
                key = parent;
            }
            let spans = read.spans.get(&key);
            let span = spans.map(|spans| match diagnostic.part {
                Part::Key => spans.key.clone(),
                Part::Value => spans.value.clone(),
            });
            self.found(diagnostic, number, span);
        }
    }

    /// Adds a table to the predicate, or gives its mistakes.
    fn read(&mut self, table: Dict, sets: &[Set]) -> Vec<Diagnostic> {
        let table = match Match::deserialize(&Value::from(table)) {
            Ok(table) => table,
            Err(error) => return vec![layers::diagnose(&error)],
        };
        let beyond = [
            (
                "over",
                table.over.is_some(),
                "compares groups of flows, which a filter does not see",
            ),
            (
                "persisted",
                table.persisted.is_some(),
                "compares runs, and a filter looks once",
            ),
        ];
        if let Some((key, _, why)) = beyond.into_iter().find(|(_, is_there, _)| *is_there) {
            let message = format!("`{key}` {why}");
            let diagnostic = Diagnostic::error(Code::NoEffect, KeyPath::of([key]), message);
            return vec![diagnostic.help("a rule of a policy may have it")];
        }
        let (predicate, found) = validate::filter(&table, sets);
        self.predicate.tests.extend(predicate.tests);
        self.predicate.not.extend(predicate.not);
        found
    }

    fn found(&mut self, mut diagnostic: Diagnostic, text: usize, span: Option<Range<usize>>) {
        let span = span.unwrap_or(0..self.texts.get(text).map_or(0, |text| text.content.len()));
        diagnostic.place = Some(Place { text, span });
        self.diagnostics.push(diagnostic);
    }
}

impl Flag {
    fn key(&self) -> KeyPath {
        let not = self.negated.then_some("not");
        KeyPath::of(not.into_iter().chain([self.field]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{PortField, Test};

    fn flag(name: &'static str, value: &str) -> Flag {
        let bare = name.trim_start_matches("--");
        let field = bare.trim_start_matches("not-");
        let known = crate::flow::field::ALL.iter().find(|f| f.name == field);
        Flag {
            name: name.to_owned(),
            field: known.unwrap().name,
            negated: bare != field,
            value: value.to_owned(),
        }
    }

    fn of_flags(flags: &[Flag]) -> Filter {
        filter(flags, &[], &[])
    }

    #[test]
    fn flags_and_a_table_mean_the_same() {
        let flags = [
            flag("--protocol", "tcp"),
            flag("--dport", "80,443"),
            flag("--dport", "8000-8100"),
            flag("--idle-for", "1h"),
            flag("--not-src", "10.0.0.0/8"),
        ];
        let table = r#"protocol = "tcp", dport = [80, 443, "8000-8100"], idle-for = "1h", not = { src = "10.0.0.0/8" }"#;
        for table in [table.to_owned(), format!("{{ {table} }}")] {
            let tables = filter(&[], &[table], &[]);
            assert_eq!(tables.diagnostics, []);
            assert_eq!(of_flags(&flags).predicate, tables.predicate);
        }
    }

    #[test]
    fn a_repeated_flag_adds_alternatives_and_a_table_narrows() {
        let both = filter(
            &[flag("--dport", "80"), flag("--dport", "443")],
            &["dport = 443".to_owned()],
            &[],
        );
        assert_eq!(
            both.predicate.tests,
            [
                Test::Port(PortField::Dst, vec![(80, 80), (443, 443)]),
                Test::Port(PortField::Dst, vec![(443, 443)]),
            ]
        );
    }

    #[test]
    fn every_mistaken_flag_is_named_with_what_was_written() {
        let wrong = of_flags(&[
            flag("--dport", "80-"),
            flag("--state", "ESTABLISHED"),
            flag("--not-protocol", "tpc"),
            flag("--idle-for", "1h,2h"),
            flag("--src", "@nowhere"),
        ]);
        let mut named: Vec<_> = wrong
            .diagnostics
            .iter()
            .map(|d| wrong.texts[d.place.as_ref().unwrap().text].name.as_str())
            .collect();
        named.sort_unstable();
        assert_eq!(named, ["--dport", "--idle-for", "--not-protocol", "--src"]);
    }

    #[test]
    fn a_state_must_be_one_of_the_protocol_that_was_named() {
        let wrong = of_flags(&[flag("--protocol", "sctp"), flag("--state", "TIME_WAIT")]);
        let [one] = wrong.diagnostics.as_slice() else {
            panic!("{:?}", wrong.diagnostics);
        };
        assert_eq!(
            wrong.texts[one.place.as_ref().unwrap().text].name,
            "--state"
        );
    }

    #[test]
    fn a_mistake_in_a_table_has_its_place() {
        let wrong = filter(&[], &["protocol = \"tcp\", dprt = 22".to_owned()], &[]);
        let [one] = wrong.diagnostics.as_slice() else {
            panic!("{:?}", wrong.diagnostics);
        };
        let place = one.place.clone().unwrap();
        assert_eq!(&wrong.texts[place.text].content[place.span], "dprt");
        let broken = filter(&[], &["protocol = ".to_owned()], &[]);
        assert!(!broken.diagnostics.is_empty());
        let over = filter(
            &[],
            &["over = { per = \"src\", count = 3 }".to_owned()],
            &[],
        );
        assert_eq!(over.diagnostics.len(), 1);
    }
}
