//! How single values are read from text: the policy file, `--set` and flags all use these readers.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, Unexpected, Visitor};

/// A value that is written as one word, number or text.
pub trait Leaf: Sized {
    /// What is expected, as a noun: `a duration as "2h4m"`.
    const EXPECTED: &'static str;
    /// All words that are understood, where only words are; also used for "did you mean".
    const WORDS: &'static [&'static str] = &[];
    /// Whether TOML may have an integer here.
    const INTEGERS: bool = false;
    /// Whether TOML may have a fraction here.
    const FRACTIONS: bool = false;
    /// Whether TOML may have true or false here.
    const SWITCHES: bool = false;

    /// Reads the value.
    ///
    /// # Errors
    /// Says why the text is no such value.
    fn read(text: &str) -> Result<Self, LeafError>;
}

/// Why a text is not the value that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Of another form, or out of range.
    #[error("{problem}")]
    Invalid {
        /// What is wrong with it.
        problem: String,
    },
    /// A word, but none of those that are understood.
    #[error("`{word}` is none of {}", words.join(", "))]
    UnknownWord {
        /// The word.
        word: String,
        /// Those that are understood.
        words: &'static [&'static str],
    },
}

impl LeafError {
    /// Says what is wrong.
    pub fn invalid(problem: impl Into<String>) -> Self {
        Self::Invalid {
            problem: problem.into(),
        }
    }

    /// None of the words of this kind of value.
    pub fn unknown<T: Leaf>(word: &str) -> Self {
        Self::UnknownWord {
            word: word.to_owned(),
            words: T::WORDS,
        }
    }

    fn into_serde<T: Leaf, E: Error>(self) -> E {
        match self {
            Self::Invalid { problem } => {
                E::invalid_value(Unexpected::Other(&problem), &T::EXPECTED)
            }
            Self::UnknownWord { word, words } => E::unknown_variant(&word, words),
        }
    }
}

/// Reads a leaf from the scalar that TOML has.
pub(super) struct LeafVisitor<T>(pub(super) PhantomData<T>);

impl<T: Leaf> LeafVisitor<T> {
    pub(super) const NEW: Self = Self(PhantomData);

    fn read<E: Error>(text: &str) -> Result<T, E> {
        T::read(text).map_err(LeafError::into_serde::<T, E>)
    }
}

impl<T: Leaf> Visitor<'_> for LeafVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Self::read(text)
    }

    fn visit_bool<E: Error>(self, switch: bool) -> Result<T, E> {
        if T::SWITCHES {
            Self::read(if switch { "true" } else { "false" })
        } else {
            Err(E::invalid_type(Unexpected::Bool(switch), &self))
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        if T::INTEGERS {
            Self::read(&number.to_string())
        } else {
            Err(E::invalid_type(Unexpected::Signed(number), &self))
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        if T::INTEGERS {
            Self::read(&number.to_string())
        } else {
            Err(E::invalid_type(Unexpected::Unsigned(number), &self))
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        if T::FRACTIONS {
            Self::read(&number.to_string())
        } else {
            Err(E::invalid_type(Unexpected::Float(number), &self))
        }
    }
}

/// The schema of a leaf.
pub(super) fn schema_of<T: Leaf>() -> schemars::Schema {
    let mut types = vec!["string"];
    if T::INTEGERS {
        types.push("integer");
    }
    if T::FRACTIONS {
        types.push("number");
    }
    if T::SWITCHES {
        types.push("boolean");
    }
    let mut schema = schemars::json_schema!({ "description": T::EXPECTED });
    if !T::WORDS.is_empty() && !T::INTEGERS {
        schema.insert("enum".to_owned(), T::WORDS.into());
    } else if types.len() == 1 {
        schema.insert("type".to_owned(), types[0].into());
    } else {
        schema.insert("type".to_owned(), types.into());
    }
    schema
}

/// Gives leaves `FromStr`, `Deserialize` and `JsonSchema`.
macro_rules! leaves {
    ($($leaf:ty),* $(,)?) => {$(
        impl<'de> serde::Deserialize<'de> for $leaf {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(crate::policy::leaf::LeafVisitor::<Self>::NEW)
            }
        }

        impl schemars::JsonSchema for $leaf {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($leaf).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                crate::policy::leaf::schema_of::<Self>()
            }
        }
    )*};
}

/// Gives enums of words `Leaf`, from one list of variants and words.
macro_rules! words {
    ($name:ty, $expected:literal, $($variant:ident $word:literal),* $(,)?) => {
        impl crate::policy::leaf::Leaf for $name {
            const EXPECTED: &'static str = $expected;
            const WORDS: &'static [&'static str] = &[$($word),*];

            fn read(text: &str) -> Result<Self, crate::policy::leaf::LeafError> {
                match text.to_ascii_lowercase().replace('_', "-").as_str() {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(crate::policy::leaf::LeafError::unknown::<Self>(text)),
                }
            }
        }

        impl $name {
            /// The word as policies spell it.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

pub(super) use {leaves, words};
