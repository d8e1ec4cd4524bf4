//! One text -> its tree of values, where each key stands, and its syntax errors.

use std::collections::BTreeMap;
use std::ops::Range;

use figment::value::{Dict, Tag, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Code, Diagnostic, Place};
use super::key::KeyPath;
use super::text::{Spans, Text, TextKind};

/// What one text says.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// Its values.
    pub(super) dict: Dict,
    /// Where they stand.
    pub(super) spans: BTreeMap<KeyPath, Spans>,
    /// What is no TOML, or has no place in a policy whatever its key.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Keys that were left out because of a mistake.
    pub(super) dropped: Vec<KeyPath>,
}

/// Reads a text as far as it can be read. `number` is its index among the texts.
pub(super) fn read(text: &Text, number: usize) -> Tree {
    let mut tree = Tree::default();
    match text.kind {
        TextKind::File => tree.read_toml(&text.content, number),
        TextKind::Assignment => tree.read_assignment(&text.content, number),
    }
    tree
}

impl Tree {
    /// Whether the text has syntax errors, so that what is missing may only be unreadable.
    pub(super) fn is_broken(&self) -> bool {
        self.diagnostics
            .iter()
            .any(|diagnostic| diagnostic.code == Code::Syntax)
    }

    fn read_toml(&mut self, content: &str, number: usize) {
        let (table, errors) = DeTable::parse_recoverable(content);
        for error in errors {
            self.syntax(number, error.message(), error.span());
        }
        self.dict = self.table(table.get_ref(), &KeyPath::root(), number);
    }

    /// `key=value`, as TOML where it is TOML, else with a bare text as value.
    fn read_assignment(&mut self, content: &str, number: usize) {
        let whole = DeTable::parse(content);
        if let Ok(table) = whole
            && content
                .trim_start()
                .starts_with(|c: char| c != '[' && c != '#')
        {
            self.dict = self.table(table.get_ref(), &KeyPath::root(), number);
            return;
        }
        let Some((key, value)) = split_assignment(content) else {
            self.syntax(number, "no `key=value`", Some(0..content.len()));
            return;
        };
        let quoted = value.trim_start().starts_with(['"', '\'', '[', '{']);
        // The key's bytes keep their positions, so that its spans are right.
        let stand_in = format!("{key}=0");
        match (DeTable::parse(&stand_in), quoted) {
            (Ok(table), _) if table.get_ref().is_empty() => {
                self.syntax(number, "no `key=value`", Some(0..content.len()));
            }
            (Ok(table), false) => {
                self.dict = self.table(table.get_ref(), &KeyPath::root(), number);
                let start = key.len() + 1;
                replace_leaf(&mut self.dict, value.trim());
                for spans in self.spans.values_mut() {
                    if spans.value.start >= start {
                        spans.value = start..content.len();
                    }
                }
            }
            (Err(error), _) => self.syntax(number, error.message(), error.span()),
            (Ok(_), true) => {
                // One argument holds one mistake; recovering from it only finds echoes.
                if let Err(error) = DeTable::parse(content) {
                    self.syntax(number, error.message(), error.span());
                }
            }
        }
    }

    fn syntax(&mut self, text: usize, message: &str, span: Option<Range<usize>>) {
        let span = span.unwrap_or(0..0);
        let diagnostic =
            Diagnostic::error(Code::Syntax, KeyPath::root(), message).at(Place { text, span });
        self.diagnostics.push(diagnostic);
    }

    fn table(&mut self, table: &DeTable<'_>, path: &KeyPath, number: usize) -> Dict {
        let mut dict = Dict::new();
        for (key, value) in table {
            let path = path.child(key.get_ref());
            let spans = Spans {
                key: key.span(),
                value: value.span(),
            };
            self.spans.insert(path.clone(), spans);
            match self.value(value, &path, number) {
                Some(value) => {
                    dict.insert(key.get_ref().to_string(), value);
                }
                None => self.dropped.push(path),
            }
        }
        dict
    }

    fn value(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        path: &KeyPath,
        number: usize,
    ) -> Option<Value> {
        let refuse = |message: String| {
            Diagnostic::error(Code::WrongType, path.clone(), message).at(Place {
                text: number,
                span: value.span(),
            })
        };
        match value.get_ref() {
            DeValue::String(text) => Some(Value::from(text.as_ref())),
            DeValue::Boolean(switch) => Some(Value::from(*switch)),
            DeValue::Integer(integer) => {
                let number = i64::from_str_radix(integer.as_str(), integer.radix())
                    .map(Value::from)
                    .or_else(|_| {
                        u64::from_str_radix(integer.as_str(), integer.radix()).map(Value::from)
                    });
                if number.is_err() {
                    self.diagnostics
                        .push(refuse(format!("`{integer}` does not fit into 64 bits")));
                }
                number.ok()
            }
            DeValue::Float(float) => {
                let number = float.as_str().parse::<f64>();
                if number.is_err() {
                    self.diagnostics
                        .push(refuse(format!("`{float}` is no number")));
                }
                number.ok().map(Value::from)
            }
            DeValue::Datetime(_) => {
                self.diagnostics
                    .push(refuse("a date has no place in a policy".to_owned()));
                None
            }
            DeValue::Array(array) => {
                let mut list = Vec::new();
                for (index, element) in array.iter().enumerate() {
                    let path = path.child(index);
                    let spans = Spans {
                        key: element.span(),
                        value: element.span(),
                    };
                    self.spans.insert(path.clone(), spans);
                    list.push(self.value(element, &path, number)?);
                }
                Some(Value::Array(Tag::Default, list))
            }
            DeValue::Table(table) => {
                let dict = self.table(table, path, number);
                Some(Value::Dict(Tag::Default, dict))
            }
        }
    }
}

/// Splits at the first `=` that stands outside quotes.
fn split_assignment(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (None, '=') => return Some((&text[..index], &text[index + 1..])),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

/// Sets the one value of a tree with a single path.
fn replace_leaf(dict: &mut Dict, text: &str) {
    for value in dict.values_mut() {
        match value {
            Value::Dict(_, inner) => replace_leaf(inner, text),
            other => *other = Value::from(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span_of<'a>(text: &'a str, tree: &Tree, key: &[&str]) -> (&'a str, &'a str) {
        let spans = &tree.spans[&KeyPath::of(key.iter().copied())];
        (&text[spans.key.clone()], &text[spans.value.clone()])
    }

    #[test]
    fn every_key_and_list_element_knows_its_place() {
        let text = "[timeouts]\ntcp.close = \"10s\"\n[rules.a]\nmatch = { dport = [22, 23] }\n";
        let tree = read(&Text::file("t", text), 0);
        assert_eq!(tree.diagnostics, []);
        assert_eq!(
            span_of(text, &tree, &["timeouts", "tcp", "close"]),
            ("close", "\"10s\"")
        );
        assert_eq!(
            span_of(text, &tree, &["rules", "a", "match", "dport", "1"]),
            ("23", "23")
        );
        assert_eq!(span_of(text, &tree, &["rules", "a"]).0, "a");
    }

    #[test]
    fn an_assignment_takes_bare_text_and_toml() {
        for (text, key, value) in [
            (
                "timeouts.icmp=1d",
                &["timeouts", "icmp"][..],
                Value::from("1d"),
            ),
            ("table.max=5", &["table", "max"], Value::from(5_i64)),
            (
                "run.mode = \"report\"",
                &["run", "mode"],
                Value::from("report"),
            ),
            (
                "sysctl.nf_conntrack_acct=true",
                &["sysctl", "nf_conntrack_acct"],
                Value::from(true),
            ),
        ] {
            let tree = read(&Text::assignment(text), 0);
            assert_eq!(tree.diagnostics, [], "{text}");
            let mut found = Value::from(tree.dict.clone());
            for key in key {
                found = found.into_dict().unwrap().remove(*key).unwrap();
            }
            assert_eq!(found, value, "{text}");
        }
        let text = "timeouts.icmp=1d";
        let tree = read(&Text::assignment(text), 0);
        assert_eq!(span_of(text, &tree, &["timeouts", "icmp"]), ("icmp", "1d"));
    }

    #[test]
    fn an_assignment_that_is_none_is_a_syntax_error() {
        for text in [
            "", "run", "=5", "a..b=1", "a={", "a=[1,", "a=\"x", "[run]", "# x=1",
        ] {
            let tree = read(&Text::assignment(text), 0);
            assert!(tree.is_broken(), "{text}");
            assert_eq!(tree.diagnostics.len(), 1, "{text}");
        }
    }
}
