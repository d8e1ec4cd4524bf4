//! Texts -> one merged document, with every mistake of every text.
//!
//! Each text is first read alone: serde stops at the first mistake, so the mistaken key is recorded
//! and dropped, and reading starts again, until what is left is right. Then the layers are merged.

use std::collections::BTreeSet;
use std::fmt::Write;

use figment::error::{Actual, Kind};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::diagnostic::{Code, Diagnostic, Part, Place};
use super::document::{Document, VERSION};
use super::key::KeyPath;
use super::text::{SpanIndex, Text};
use super::tree::{self, Tree};
use super::validate;

/// The layers of a policy, merged.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// The document in force, without what was mistaken.
    pub document: Document,
    /// Where each key stands.
    pub spans: SpanIndex,
    /// Every mistake found so far.
    pub diagnostics: Vec<Diagnostic>,
    /// Keys left out because of a mistake: what seems missing there is not.
    pub dropped: BTreeSet<KeyPath>,
    /// Texts that could be read in part only.
    pub broken: BTreeSet<usize>,
    /// The version is not known, so that nothing else can be said.
    pub is_foreign: bool,
    /// SHA-256 of the merged document as JSON with sorted keys, hex.
    pub sha256: String,
}

/// Mistakes of one text after which reading it stops.
const MOST_MISTAKES: usize = 200;

/// Merges texts; later ones win.
#[must_use]
pub fn merge(texts: &[Text]) -> Merged {
    let mut trees: Vec<Tree> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| tree::read(text, number))
        .collect();
    let mut merged = Merged::default();
    for tree in &mut trees {
        merged.spans.push(std::mem::take(&mut tree.spans));
    }
    if let Some(foreign) = foreign_version(&trees, &merged.spans) {
        merged.diagnostics.push(foreign);
        merged.is_foreign = true;
        return merged;
    }
    let mut layers = Vec::new();
    for (number, tree) in trees.into_iter().enumerate() {
        if tree.is_broken() {
            merged.broken.insert(number);
        }
        let mistakes = Mistakes {
            content: &texts[number],
            text: number,
            spans: &merged.spans,
            found: tree.diagnostics,
            dropped: tree.dropped,
        };
        let (dict, found, dropped) = mistakes.weed(tree.dict);
        merged.diagnostics.extend(found);
        merged.dropped.extend(dropped);
        layers.push(dict);
    }
    let dict = combine(layers);
    merged.sha256 = digest(&dict);
    match Document::deserialize(&Value::Dict(Tag::Default, dict)) {
        Ok(document) => merged.document = document,
        // Merging right tables key by key makes no wrong one; should it, it is said.
        Err(error) => merged.diagnostics.push(diagnose(&error)),
    }
    merged
}

/// Merges right tables; later ones win.
fn combine(layers: Vec<Dict>) -> Dict {
    let figment = layers.into_iter().fold(Figment::new(), |figment, layer| {
        figment.merge(Layer(seal(layer, &KeyPath::root())))
    });
    let merged = figment
        .data()
        .ok()
        .and_then(|mut profiles| profiles.remove(&Profile::Default));
    unseal(merged.unwrap_or_default(), &KeyPath::root())
}

/// The first version that is a number but not ours.
fn foreign_version(trees: &[Tree], spans: &SpanIndex) -> Option<Diagnostic> {
    let key = KeyPath::of(["version"]);
    trees.iter().enumerate().find_map(|(number, tree)| {
        let version = tree.dict.get("version")?.to_i128()?;
        if version == i128::from(VERSION) {
            return None;
        }
        let mut foreign = Diagnostic::error(
            Code::UnknownVersion,
            key.clone(),
            format!("this program does not know version {version} of the policy language"),
        )
        .expected(format!("version {VERSION}"))
        .help("a newer conntidy may know it; nothing else of this policy was looked at");
        foreign.place = spans.find_in(number, &key, Part::Value);
        Some(foreign)
    })
}

fn digest(dict: &Dict) -> String {
    // Keys of a `Dict` are sorted, so that equal documents give equal bytes.
    let json = serde_json::to_vec(dict).unwrap_or_default();
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(json) {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

struct Mistakes<'a> {
    content: &'a Text,
    text: usize,
    spans: &'a SpanIndex,
    found: Vec<Diagnostic>,
    dropped: Vec<KeyPath>,
}

impl Mistakes<'_> {
    /// Drops mistaken keys until the rest is a document.
    fn weed(mut self, dict: Dict) -> (Dict, Vec<Diagnostic>, Vec<KeyPath>) {
        let dict = self.without_dotted_sysctls(dict);
        let mut value = Value::Dict(Tag::Default, dict);
        let mut count = 0;
        while let Err(error) = Document::deserialize(&value) {
            let mut mistake = diagnose(&error);
            mistake.place = self.spans.find_in(self.text, &mistake.key, mistake.part);
            let doomed = drop_key(&mut value, &error.path);
            let is_stuck = doomed.is_none();
            self.dropped.extend(doomed);
            count += 1;
            if !self.is_on_broken_line(&mistake) {
                self.found.push(mistake);
            }
            if is_stuck || count >= MOST_MISTAKES {
                let end = self.content.content.len();
                self.found.push(
                    Diagnostic::error(
                        Code::TooMany,
                        KeyPath::root(),
                        "too many mistakes; the rest of this file was not looked at",
                    )
                    .at(Place {
                        text: self.text,
                        span: end..end,
                    }),
                );
                return (Dict::new(), self.found, vec![KeyPath::root()]);
            }
        }
        let dict = value.into_dict().unwrap_or_default();
        (dict, self.found, self.dropped)
    }
}

impl Mistakes<'_> {
    /// TOML takes the dots of `net.netfilter.NAME` for tables; what was meant is plain.
    fn without_dotted_sysctls(&mut self, mut dict: Dict) -> Dict {
        let path = ["sysctl", "net", "netfilter"];
        let dotted = dict.get("sysctl").and_then(|sysctl| {
            let inner = sysctl.find_ref("net.netfilter")?.as_dict()?;
            Some(inner.keys().cloned().collect::<Vec<_>>())
        });
        let Some(dotted) = dotted else { return dict };
        for name in dotted {
            let key = KeyPath::of(path).child(&name);
            let mut mistake = validate::homeless(&name, &key);
            mistake.place = self.spans.find_in(self.text, &key, mistake.part);
            self.found.push(mistake);
            self.dropped.push(key);
        }
        if let Some(Value::Dict(_, sysctl)) = dict.get_mut("sysctl")
            && let Some(Value::Dict(_, net)) = sysctl.get_mut("net")
        {
            net.remove("netfilter");
            if net.is_empty() {
                sysctl.remove("net");
            }
        }
        dict
    }

    /// What stands on the line of a syntax error is what the parser made of the rest of it.
    fn is_on_broken_line(&self, mistake: &Diagnostic) -> bool {
        let line = |diagnostic: &Diagnostic| {
            let place = diagnostic.place.as_ref()?;
            Some(self.content.line_and_column(place.span.start).0)
        };
        self.found
            .iter()
            .any(|found| found.code == Code::Syntax && line(found) == line(mistake))
    }
}

/// Removes a key, or the list whose element is mistaken, and says which key went.
fn drop_key(value: &mut Value, path: &[String]) -> Option<KeyPath> {
    let mut gone = KeyPath::root();
    let mut here = value;
    for (index, key) in path.iter().enumerate() {
        let Value::Dict(_, dict) = here else { break };
        gone = gone.child(key);
        let is_leaf = index + 1 == path.len() || !matches!(dict.get(key), Some(Value::Dict(..)));
        if is_leaf {
            return dict.remove(key).map(|_| gone);
        }
        here = dict.get_mut(key)?;
    }
    None
}

/// What serde says, in the policy's terms.
pub(super) fn diagnose(error: &figment::Error) -> Diagnostic {
    let key = KeyPath(error.path.clone());
    match &error.kind {
        Kind::UnknownField(name, known) => {
            let table = key.parent().unwrap_or_default();
            let place = if table == KeyPath::root() {
                "a policy".to_owned()
            } else {
                format!("`{table}`")
            };
            Diagnostic::error(
                Code::UnknownKey,
                key,
                format!("{place} has no key `{name}`"),
            )
            .at_key()
            .expected(list(known))
            .did_you_mean(name, known.iter().copied())
        }
        Kind::UnknownVariant(word, known) => Diagnostic::error(
            Code::UnknownWord,
            key,
            format!("`{word}` is not known here"),
        )
        .expected(list(known))
        .did_you_mean(word, known.iter().copied()),
        Kind::InvalidValue(Actual::Other(problem), expected) => {
            Diagnostic::error(Code::InvalidValue, key, problem.clone()).expected(expected.clone())
        }
        Kind::InvalidValue(actual, expected) | Kind::InvalidType(actual, expected) => {
            let is_array_of_tables = matches!(actual, Actual::Seq) && key.0.len() == 1;
            let diagnostic = Diagnostic::error(
                Code::WrongType,
                key.clone(),
                format!("this is {}", name(actual)),
            )
            .expected(in_toml_terms(expected));
            if is_array_of_tables {
                diagnostic.help(format!("tables have names here: `[{key}.NAME]`"))
            } else {
                diagnostic
            }
        }
        Kind::InvalidLength(0, expected) => {
            Diagnostic::error(Code::InvalidValue, key, "this list is empty")
                .expected(expected.clone())
                .help("leave the key out if nothing is to be compared")
        }
        other => Diagnostic::error(Code::InvalidValue, key, other.to_string()),
    }
}

/// serde's own nouns, where a type has no better ones.
fn in_toml_terms(expected: &str) -> &str {
    match expected {
        "a map" => "a table",
        "a boolean" => "true or false",
        "a string" => "a text",
        "a sequence" => "a list",
        "i32" => "a whole number of at most 32 bits",
        other => other,
    }
}

fn list(words: &[&str]) -> String {
    words.join(", ")
}

fn name(actual: &Actual) -> String {
    match actual {
        Actual::Bool(_) => "true or false".to_owned(),
        Actual::Unsigned(_) | Actual::Signed(_) => "a whole number".to_owned(),
        Actual::Float(_) => "a fraction".to_owned(),
        Actual::Str(_) | Actual::Char(_) => "a text".to_owned(),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// One text's tables, for figment.
struct Layer(Dict);

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named("policy")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.0.clone()))
    }
}

/// Tables into which merging descends; every other one is replaced whole.
fn descends(path: &KeyPath) -> bool {
    matches!(
        path.keys().collect::<Vec<_>>().as_slice(),
        [] | [_]
            | ["timeouts", "tcp" | "udp" | "gre" | "sctp" | "dccp"]
            | ["rules" | "protect" | "sets", _]
    )
}

/// figment merges tables at any depth but replaces lists, so a table that must be replaced whole
/// travels as a list of one.
fn seal(dict: Dict, path: &KeyPath) -> Dict {
    dict.into_iter()
        .map(|(key, value)| {
            let path = path.child(&key);
            let value = match value {
                Value::Dict(tag, inner) if descends(&path) => Value::Dict(tag, seal(inner, &path)),
                Value::Dict(tag, _) => Value::Array(tag, vec![value]),
                other => other,
            };
            (key, value)
        })
        .collect()
}

fn unseal(dict: Dict, path: &KeyPath) -> Dict {
    dict.into_iter()
        .map(|(key, value)| {
            let path = path.child(&key);
            let value = match value {
                Value::Dict(tag, inner) => Value::Dict(tag, unseal(inner, &path)),
                Value::Array(_, mut list)
                    if !descends(&path) && matches!(list.as_slice(), [Value::Dict(..)]) =>
                {
                    list.remove(0)
                }
                other => other,
            };
            (key, value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(number: i64) -> Value {
        Value::from(number.to_string())
    }

    fn table(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
        let entries = entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value));
        Value::Dict(Tag::Default, entries.collect())
    }

    prop_compose! {
        /// A table that is replaced whole, with some of its keys.
        fn whole()(a in prop::option::of(0..3_i64), b in prop::option::of(0..3_i64)) -> Value {
            let a = a.map(|a| ("src", text(a)));
            let b = b.map(|b| ("not", table([("dport", text(b))])));
            table(a.into_iter().chain(b))
        }
    }

    prop_compose! {
        fn layer()(
            max in prop::option::of(prop_oneof![(0..3_i64).prop_map(text), whole()]),
            close in prop::option::of(0..3_i64),
            icmp in prop::option::of(prop_oneof![(0..3_i64).prop_map(text), whole()]),
            rule in prop::option::of((prop::option::of(whole()), prop::option::of(0..3_i64))),
            other in prop::option::of(whole()),
        ) -> Dict {
            let timeouts = close.map(|close| ("tcp", table([("close", text(close))])));
            let timeouts = timeouts.into_iter().chain(icmp.map(|icmp| ("icmp", icmp)));
            let rule = rule.map(|(predicate, order)| {
                let predicate = predicate.map(|predicate| ("match", predicate));
                ("a", table(predicate.into_iter().chain(order.map(|o| ("order", text(o))))))
            });
            let other = other.map(|predicate| ("b", table([("match", predicate)])));
            let root = table([
                ("table", table(max.map(|max| ("max", max)))),
                ("timeouts", table(timeouts)),
                ("rules", table(rule.into_iter().chain(other))),
            ]);
            root.into_dict().unwrap()
        }
    }

    fn json(dict: &Dict) -> serde_json::Value {
        serde_json::to_value(dict).unwrap()
    }

    proptest! {
        #[test]
        fn it_does_not_matter_which_layers_are_merged_first(
            a in layer(), b in layer(), c in layer(),
        ) {
            let at_once = combine(vec![a.clone(), b.clone(), c.clone()]);
            let left = combine(vec![combine(vec![a.clone(), b.clone()]), c.clone()]);
            let right = combine(vec![a, combine(vec![b, c])]);
            prop_assert_eq!(json(&at_once), json(&left));
            prop_assert_eq!(json(&at_once), json(&right));
        }

        #[test]
        fn a_layer_over_itself_changes_nothing(a in layer()) {
            prop_assert_eq!(json(&combine(vec![a.clone(), a.clone()])), json(&combine(vec![a])));
        }
    }

    #[test]
    fn a_match_is_replaced_whole_and_a_rule_key_by_key() {
        let low = Text::file(
            "low",
            "version = 1\n[rules.a]\nmatch = { protocol = \"tcp\", dport = 22 }\naction = \"report\"\n",
        );
        let high = Text::file(
            "high",
            "[rules.a]\nmatch = { src = \"10.0.0.0/8\" }\norder = 7\n",
        );
        let merged = merge(&[low, high]);
        assert_eq!(merged.diagnostics, []);
        let rules = merged.document.rules.unwrap();
        let rule = &rules["a"];
        assert!(rule.action.is_some());
        assert_eq!(rule.order, Some(7));
        let predicate = rule.predicate.clone().unwrap();
        assert!(predicate.src.is_some());
        assert_eq!(predicate.dport, None);
        assert_eq!(predicate.protocol, None);
    }

    #[test]
    fn equal_documents_have_equal_digests_however_they_are_laid_out() {
        let one = Text::file("one", "version = 1\nrun.mode = \"act\"\n[table]\nmax = 5\n");
        let first = Text::file("first", "# a comment\n[table]\nmax = 4\n");
        let second = Text::file(
            "second",
            "table = { max = 5 }\nrun = { mode = \"act\" }\nversion = 1",
        );
        let split = merge(&[first.clone(), second]);
        assert_eq!(merge(std::slice::from_ref(&one)).sha256, split.sha256);
        assert_ne!(merge(&[one]).sha256, merge(&[first]).sha256);
    }

    #[test]
    fn reading_stops_after_many_mistakes_and_says_so() {
        let lines: Vec<_> = (0..1000).map(|n| format!("key{n} = {n}")).collect();
        let content = lines.join("\n");
        let merged = merge(&[Text::file("many", content)]);
        assert_eq!(merged.diagnostics.len(), MOST_MISTAKES + 1);
        assert_eq!(merged.diagnostics[MOST_MISTAKES].code, Code::TooMany);
    }
}
