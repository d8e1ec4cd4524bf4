//! `--by src/24,dport,state`: the fields that the flows of a group have in common, as written.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::cell::Cell;
use super::column::{Column, names};
use crate::observe::Record;

/// Fields of one grouping at most: more make a group of every flow, and lines too long to read.
pub const MOST_FIELDS: usize = 8;

/// Why a text names no grouping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ByError {
    /// No such field.
    #[error("`{name}` is no field to group by{}; there are {}", maybe(*suggestion), list())]
    Unknown {
        /// As written.
        name: String,
        /// What was probably meant.
        suggestion: Option<&'static str>,
    },
    /// Nothing between two commas, or nothing at all.
    #[error("a field is missing; it is written like `src/24,dport,state`")]
    Empty,
    /// The same field twice.
    #[error("`{0}` stands there twice")]
    Twice(&'static str),
    /// Too many fields.
    #[error("a group has at most {MOST_FIELDS} fields")]
    TooMany,
    /// Something behind the `/` of a field that has none.
    #[error("`{0}` takes nothing behind `/`; addresses take prefix lengths, `mark` a mask")]
    NoSuffix(&'static str),
    /// A prefix length that is none.
    #[error("`{0}` is no prefix length: `/24` cuts IPv4 at 24 and IPv6 at 64, `/24/56` says both")]
    Prefix(String),
    /// A mask that is none.
    #[error("`{0}` is no mask: it is written like `mark/0xff`")]
    Mask(String),
}

fn maybe(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

fn list() -> String {
    names().collect::<Vec<_>>().join(", ")
}

bitflags::bitflags! {
    /// What flows have and are not told of, so that they are in no group by it.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Untold: u8 {
        /// Source of the original direction.
        const SRC = 1 << 0;
        /// Destination of the original direction.
        const DST = 1 << 1;
        /// Its port.
        const DPORT = 1 << 2;
    }
}

/// What makes a group: one field or several, in the order in which they are shown.
///
/// Displays as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct By {
    columns: Vec<Column>,
}

impl FromStr for By {
    type Err = ByError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut columns: Vec<Column> = Vec::new();
        for word in text.split(',') {
            let column = Column::parse(word.trim())?;
            if columns.iter().any(|known| known.name == column.name) {
                return Err(ByError::Twice(column.name));
            }
            columns.push(column);
        }
        if columns.len() > MOST_FIELDS {
            return Err(ByError::TooMany);
        }
        Ok(Self { columns })
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, column) in self.columns.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{column}")?;
        }
        Ok(())
    }
}

impl Serialize for By {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl By {
    /// The key of a flow's group, in place of what `key` held. Keys of one grouping are equal where
    /// all its fields are, and sort as their fields do. Allocates nothing once `key` has grown.
    pub fn encode(&self, record: &Record<'_>, key: &mut Vec<u8>) {
        key.clear();
        for column in &self.columns {
            column.encode(record, key);
        }
    }

    /// [`encode`](Self::encode) of flows that do not tell all that they have.
    pub fn encode_told(&self, record: &Record<'_>, untold: Untold, key: &mut Vec<u8>) {
        key.clear();
        for column in &self.columns {
            column.encode_told(record, untold, key);
        }
    }

    /// What a key says, field by field.
    #[must_use]
    pub fn decode(&self, mut key: &[u8]) -> Vec<Cell> {
        self.columns
            .iter()
            .map(|column| column.decode(&mut key))
            .collect()
    }

    /// A match table that takes the flows of a group and no others; `None` where none says it
    /// exactly, since its flows lack a field, or the field is matched by parts of it alone.
    #[must_use]
    pub fn table(&self, mut key: &[u8]) -> Option<String> {
        let mut tests = Vec::new();
        for column in &self.columns {
            let value = column.decode(&mut key);
            tests.push(format!("{} = \"{}\"", column.name, column.term(&value)?));
        }
        Some(tests.join(", "))
    }

    /// The names of its fields, without what they are cut to.
    pub fn fields(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.columns.iter().map(|column| column.name)
    }

    /// Its fields as they are written, for the head of a table.
    pub fn heads(&self) -> impl Iterator<Item = String> + '_ {
        self.columns.iter().map(ToString::to_string)
    }

    /// Its fields, those that are addresses with the prefix lengths of IPv4 and IPv6 to which they
    /// are cut.
    pub fn prefixes(&self) -> impl Iterator<Item = (&'static str, Option<(u8, u8)>)> + '_ {
        let prefix = |column: &Column| column.is_address().then_some(column.prefix);
        (self.columns.iter()).map(move |column| (column.name, prefix(column)))
    }

    /// The same fields, addresses cut to other prefix lengths.
    #[must_use]
    pub fn with_prefixes(&self, prefix: impl Fn(&'static str, (u8, u8)) -> (u8, u8)) -> Self {
        let mut by = self.clone();
        for column in by.columns.iter_mut().filter(|column| column.is_address()) {
            column.prefix = prefix(column.name, column.prefix);
        }
        by
    }
}

#[cfg(test)]
#[path = "by_tests.rs"]
mod tests;
