//! What is wrong or doubtful in a policy, as data. Rendering is the command line's affair.

use std::ops::Range;

use schemars::JsonSchema;
use serde::Serialize;

use super::key::KeyPath;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The policy cannot be used.
    Error,
    /// It can be used, but probably does not do what was meant.
    Warning,
}

/// A place in one of the texts of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the text.
    pub text: usize,
    /// Bytes of that text.
    pub span: Range<usize>,
}

/// One mistake or doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What it is; stable over versions.
    pub code: Code,
    /// What is wrong, one sentence without a period.
    pub message: String,
    /// The key concerned.
    pub key: KeyPath,
    /// Which part of that key's entry is concerned.
    pub part: Part,
    /// Where it was written, once looked up.
    pub place: Option<Place>,
    /// What was expected there.
    pub expected: Option<String>,
    /// Ways out.
    pub help: Vec<String>,
}

/// Which part of a `key = value` pair is underlined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The key.
    Key,
    /// The value.
    Value,
}

impl Diagnostic {
    fn new(severity: Severity, code: Code, key: KeyPath, message: impl Into<String>) -> Self {
        Self {
            severity,
            code,
            message: message.into(),
            key,
            part: Part::Value,
            place: None,
            expected: None,
            help: Vec::new(),
        }
    }

    /// A mistake.
    pub fn error(code: Code, key: KeyPath, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, key, message)
    }

    /// A doubt.
    pub fn warning(code: Code, key: KeyPath, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, key, message)
    }

    /// Underlines the key instead of its value.
    #[must_use]
    pub fn at_key(mut self) -> Self {
        self.part = Part::Key;
        self
    }

    /// Says where it is, where that is no key's place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Says what was expected.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Adds a way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds "did you mean", where one of the known words is near.
    #[must_use]
    pub fn did_you_mean<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(word, known) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self,
        }
    }
}

/// The known word that a mistyped one was probably meant to be.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |text: &str| text.to_ascii_lowercase().replace('_', "-");
    let word = fold(word);
    // Longer ones are never a slip of a finger, and comparing them costs time.
    if word.len() > 64 {
        return None;
    }
    let known: Vec<_> = known
        .into_iter()
        .map(|known| (fold(known), known))
        .collect();
    let table_of = |text: &str| text.rsplit_once('.').map(|(table, _)| table.to_owned());
    let table = table_of(&word).filter(|table| {
        let mut known = known.iter();
        known.any(|(folded, _)| table_of(folded).as_ref() == Some(table))
    });
    let likeness = |known: &str| {
        // A word cut short is likelier than a slip.
        if word.len() > 2 && known.starts_with(&word) {
            return 1.0;
        }
        // A table that exists is no slip, and says nothing of the one behind it.
        let (word, known) = match (&table, word.rsplit_once('.'), known.rsplit_once('.')) {
            (Some(table), Some((_, word)), Some((other, known))) if table == other => (word, known),
            (Some(_), ..) => return 0.0,
            (None, ..) => (word.as_str(), known),
        };
        let is_transposed = word.len() == known.len()
            && strsim::osa_distance(word, known) == 1
            && strsim::levenshtein(word, known) == 2;
        if is_transposed {
            return 1.0;
        }
        strsim::jaro_winkler(word, known)
    };
    known
        .into_iter()
        .map(|(folded, known)| (likeness(&folded), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident $code:literal;)*) => {
        /// Every kind of diagnostic.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }
        }
    };
}

codes! {
    /// Not TOML, or not UTF-8.
    Syntax "syntax";
    /// A file that cannot be read.
    UnreadableFile "unreadable-file";
    /// A version of the language that this program does not know.
    UnknownVersion "unknown-version";
    /// A key that the language does not have.
    UnknownKey "unknown-key";
    /// A value of the wrong type.
    WrongType "wrong-type";
    /// A value that is not what the key needs.
    InvalidValue "invalid-value";
    /// A word that is none of those that the key takes.
    UnknownWord "unknown-word";
    /// A key that must be there and is not.
    MissingKey "missing-key";
    /// A number that the tunable must not have.
    OutOfRange "out-of-range";
    /// A tunable that is declared in another section.
    WrongHome "wrong-home";
    /// A tunable that does not exist.
    UnknownTunable "unknown-tunable";
    /// A name with characters that names must not have.
    InvalidName "invalid-name";
    /// Keys that exclude each other.
    Conflict "conflict";
    /// A set that is used but not declared.
    UnknownSet "unknown-set";
    /// A match without fields.
    EmptyMatch "empty-match";
    /// `everything = true` without a budget.
    UnboundedRule "unbounded-rule";
    /// A shorter grace, or timeout, than assured flows may have without a reason.
    RiskyGrace "risky-grace";
    /// A grace that shortens nothing.
    UselessGrace "useless-grace";
    /// An idle time that the governing timeout does not let a flow reach.
    ImpossibleIdle "impossible-idle";
    /// Expiring what the flowtable handles.
    Offloaded "offloaded";
    /// Deleting half-closed connections that may still be alive.
    HalfClosed "half-closed";
    /// Two rules of the same order and different action that take the same flows.
    Overlap "overlap";
    /// Too many mistakes to show all of them.
    TooMany "too-many";
    /// An established timeout that breaks living connections.
    ShortEstablished "short-established";
    /// A rule that can never take a flow.
    NeverMatches "never-matches";
    /// A rule whose flows an earlier one takes.
    Shadowed "shadowed";
    /// A delete that goes by ports alone.
    PortOnlyDelete "port-only-delete";
    /// A short grace for one-way UDP traffic.
    OneWayUdp "one-way-udp";
    /// `persisted` without timestamps.
    WeakIdentity "weak-identity";
    /// A delete without a budget of its own.
    NoBudget "no-budget";
    /// A rule that deletes every entry, unhindered by budget and limits.
    EmptiesTable "empties-table";
    /// A protect rule that also holds every flow that lacks the field.
    BroadProtect "broad-protect";
    /// A key without effect where it stands.
    NoEffect "no-effect";
    /// A set without members.
    EmptySet "empty-set";
    /// A set whose file could not be read.
    UnreadableSet "unreadable-set";
    /// Snapshots that are taken and never go.
    UnboundedStore "unbounded-store";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_nothing_far_fetched() {
        let known = ["port", "protocol", "state", "sport"];
        assert_eq!(nearest("prot", known), Some("protocol"));
        assert_eq!(nearest("prto", known), Some("port"));
        assert_eq!(nearest("STATES", known), Some("state"));
        assert_eq!(nearest("weather", known), None);
        assert_eq!(nearest("mxa", ["max", "mode"]), Some("max"));
        let dotted = ["tcp.close", "tcp.time-wait", "udp.stream", "dccp.open"];
        assert_eq!(nearest("tcp.nope", dotted), None);
        assert_eq!(nearest("tcp.clsoe", dotted), Some("tcp.close"));
        assert_eq!(nearest(&"a".repeat(100_000), known), None);
    }
}
