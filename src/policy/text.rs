//! The texts that make up a policy, and where in them each key stands.

use std::collections::BTreeMap;
use std::ops::Range;

use super::diagnostic::{Diagnostic, Part, Place};
use super::key::KeyPath;

/// One layer of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What people call it: a file's path, or `--set`.
    pub name: String,
    /// What it says.
    pub content: String,
    /// How it is written.
    pub kind: TextKind,
}

/// How a layer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    /// A TOML file.
    File,
    /// A `key=value` argument, whose value needs no quotes.
    Assignment,
}

impl Text {
    /// A TOML file.
    pub fn file(name: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            content: content.into(),
            kind: TextKind::File,
        }
    }

    /// An argument of `--set`.
    pub fn assignment(content: impl Into<String>) -> Self {
        Self {
            name: "--set".to_owned(),
            content: content.into(),
            kind: TextKind::Assignment,
        }
    }

    /// Line and column of a byte, both from 1; columns count characters.
    #[must_use]
    pub fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let before = &self.content[..self.boundary(byte)];
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (line, before[start..].chars().count() + 1)
    }

    /// A span within the text, widened to whole characters.
    #[must_use]
    pub fn clamp(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.boundary(span.start);
        let mut end = span.end.clamp(start, self.content.len());
        while !self.content.is_char_boundary(end) {
            end += 1;
        }
        start..end
    }

    fn boundary(&self, byte: usize) -> usize {
        let mut byte = byte.min(self.content.len());
        while !self.content.is_char_boundary(byte) {
            byte -= 1;
        }
        byte
    }
}

/// Where the parts of one `key = value` pair stand in their text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans {
    /// The key; the value itself for elements of lists.
    pub key: Range<usize>,
    /// The value.
    pub value: Range<usize>,
}

/// Where every key of every text stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpanIndex {
    texts: Vec<BTreeMap<KeyPath, Spans>>,
}

impl SpanIndex {
    /// Adds the keys of the next text.
    pub fn push(&mut self, spans: BTreeMap<KeyPath, Spans>) {
        self.texts.push(spans);
    }

    /// Where the value in force was written: the last text that has the key, since later layers
    /// win. A key that is nowhere is looked for as the table that should hold it.
    #[must_use]
    pub fn find(&self, key: &KeyPath, part: Part) -> Option<Place> {
        let found = self.texts.iter().enumerate().rev().find_map(|(text, map)| {
            let spans = map.get(key)?;
            let span = match part {
                Part::Key => spans.key.clone(),
                Part::Value => spans.value.clone(),
            };
            Some(Place { text, span })
        });
        match found {
            Some(place) => Some(place),
            None => self.find(&key.parent()?, Part::Key),
        }
    }

    /// Where a key of one text stands.
    #[must_use]
    pub fn find_in(&self, text: usize, key: &KeyPath, part: Part) -> Option<Place> {
        let spans = self.texts.get(text)?;
        let entry = spans.get(key);
        match (entry, part) {
            (Some(entry), Part::Key) => Some(entry.key.clone()),
            (Some(entry), Part::Value) => Some(entry.value.clone()),
            (None, _) => return self.find_in(text, &key.parent()?, Part::Key),
        }
        .map(|span| Place { text, span })
    }

    /// Looks up the places of diagnostics that know only their key.
    pub fn locate(&self, diagnostics: &mut [Diagnostic]) {
        for diagnostic in diagnostics {
            if diagnostic.place.is_none() {
                diagnostic.place = self.find(&diagnostic.key, diagnostic.part);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_never_split_one() {
        let text = Text::file("a", "x = 1\nä = \"ö\"\n");
        assert_eq!(text.line_and_column(0), (1, 1));
        assert_eq!(text.line_and_column(6), (2, 1));
        assert_eq!(text.line_and_column(7), (2, 1));
        assert_eq!(text.line_and_column(9), (2, 3));
        assert_eq!(text.line_and_column(1000), (3, 1));
        assert_eq!(text.clamp(&(7..7)), 6..8);
        assert_eq!(text.clamp(&(900..1000)), 16..16);
    }
}
