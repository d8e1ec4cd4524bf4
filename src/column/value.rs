//! What an entry has in one column, and how that is written.

use std::net::IpAddr;

use crate::flow::status::STATUS_WORDS;
use crate::flow::{Flow, Present, Status, text};

/// One thing that a cell holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Atom<'a> {
    /// A number.
    Number(u64),
    /// A number where others have a name.
    Numeral(u8),
    /// An address.
    Address(IpAddr),
    /// A word.
    Text(&'a str),
}

/// What an entry has in one column. Values of one column are ordered; none at all is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value<'a> {
    /// The entry does not provide it, or the kernel did not tell.
    Absent,
    /// One thing.
    One(Atom<'a>),
    /// Two ports or keys.
    Pair([u16; 2]),
    /// Up to four addresses, without those that are there already.
    Addresses([Option<IpAddr>; 4]),
    /// Status bits, as words.
    Status(Status),
    /// Labels, bit by bit.
    Labels(u128),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::One(Atom::Text(text))
    }
}

impl From<IpAddr> for Value<'_> {
    fn from(address: IpAddr) -> Self {
        Self::One(Atom::Address(address))
    }
}

impl<'a, T: Into<Atom<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, |value| Self::One(value.into()))
    }
}

impl<'a> From<&'a str> for Atom<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<IpAddr> for Atom<'_> {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl From<$number> for Atom<'_> {
            fn from(number: $number) -> Self {
                Self::Number(number.into())
            }
        })*
    };
}

numbers!(u8, u16, u32, u64);

impl<'a> Value<'a> {
    pub(super) fn addresses(flow: &Flow) -> Self {
        let mut found = [None; 4];
        let reply = flow.present.contains(Present::REPLY).then_some(flow.reply);
        let mut known = 0;
        for tuple in [Some(flow.orig), reply].into_iter().flatten() {
            for address in [tuple.src_ip(flow.family), tuple.dst_ip(flow.family)] {
                if !found.contains(&Some(address)) {
                    found[known] = Some(address);
                    known += 1;
                }
            }
        }
        Self::Addresses(found)
    }

    /// Whether it is a list of things, however many they are.
    fn is_list(&self) -> bool {
        !matches!(self, Self::Absent | Self::One(_))
    }

    /// Hands out what it holds, one by one.
    fn each(&self, mut take: impl FnMut(Atom<'a>)) {
        match *self {
            Self::Absent => {}
            Self::One(atom) => take(atom),
            Self::Pair(numbers) => numbers.into_iter().for_each(|number| take(number.into())),
            Self::Addresses(list) => list.into_iter().flatten().for_each(|one| take(one.into())),
            Self::Status(status) => {
                for (word, name) in STATUS_WORDS {
                    if word.holds(status) {
                        take(name.into());
                    }
                }
            }
            Self::Labels(mut rest) => {
                while rest != 0 {
                    take(rest.trailing_zeros().into());
                    rest &= rest - 1;
                }
            }
        }
    }

    /// Appends it as a word: `-` where there is none, `+` between the things of a list.
    pub fn text(&self, out: &mut Vec<u8>) {
        let at = out.len();
        self.joined(out);
        if out.len() == at {
            let nothing: &[u8] = if self.is_list() { b"none" } else { b"-" };
            out.extend_from_slice(nothing);
        }
    }

    /// Appends it as a cell of RFC 4180: empty where there is none.
    pub fn csv(&self, out: &mut Vec<u8>) {
        let at = out.len();
        self.joined(out);
        if out[at..]
            .iter()
            .any(|byte| matches!(byte, b'"' | b',' | b'\n' | b'\r'))
        {
            let cell = String::from_utf8_lossy(&out[at..]).replace('"', "\"\"");
            out.truncate(at);
            out.push(b'"');
            out.extend_from_slice(cell.as_bytes());
            out.push(b'"');
        }
    }

    /// Appends it as JSON: null where there is none.
    pub fn json(&self, out: &mut Vec<u8>) {
        if let Self::Absent = self {
            return out.extend_from_slice(b"null");
        }
        if self.is_list() {
            out.push(b'[');
        }
        let mut is_first = true;
        self.each(|atom| {
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            let is_quoted = matches!(atom, Atom::Numeral(_) | Atom::Address(_));
            if let Atom::Text(text) = atom {
                // Escapes what has to be; a vector takes every write.
                let _ = serde_json::to_writer(&mut *out, text);
            } else if is_quoted {
                out.push(b'"');
                write(atom, out);
                out.push(b'"');
            } else {
                write(atom, out);
            }
        });
        if self.is_list() {
            out.push(b']');
        }
    }

    fn joined(&self, out: &mut Vec<u8>) {
        let at = out.len();
        self.each(|atom| {
            if out.len() > at {
                out.push(b'+');
            }
            write(atom, out);
        });
    }
}

fn write(atom: Atom<'_>, out: &mut Vec<u8>) {
    match atom {
        Atom::Number(number) => text::decimal(out, number),
        Atom::Numeral(number) => text::decimal(out, number.into()),
        Atom::Address(address) => text::address(out, address),
        Atom::Text(text) => out.extend_from_slice(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_form_keeps_absent_empty_and_many_apart() {
        let both = Status::SEEN_REPLY | Status::ASSURED;
        for (value, text, csv, json) in [
            (Value::Absent, "-", "", "null"),
            (Value::Labels(0), "none", "", "[]"),
            (Value::Labels(0b101), "0+2", "0+2", "[0,2]"),
            (Value::Pair([1, 2]), "1+2", "1+2", "[1,2]"),
            (
                Value::Status(both),
                "assured+seen-reply",
                "assured+seen-reply",
                "[\"assured\",\"seen-reply\"]",
            ),
            (Value::One(Atom::Numeral(99)), "99", "99", "\"99\""),
            (Value::One(Atom::Number(99)), "99", "99", "99"),
            (
                Value::from("a,\"b\""),
                "a,\"b\"",
                "\"a,\"\"b\"\"\"",
                "\"a,\\\"b\\\"\"",
            ),
        ] {
            assert_eq!(written(|out| value.text(out)), text);
            assert_eq!(written(|out| value.csv(out)), csv);
            assert_eq!(written(|out| value.json(out)), json);
        }
    }

    #[test]
    fn none_is_less_than_any_and_addresses_go_by_family() {
        let address = |text: &str| Value::from(text.parse::<IpAddr>().unwrap());
        let mut values = [
            address("::1"),
            address("10.0.0.2"),
            Value::Absent,
            address("9.0.0.1"),
        ];
        values.sort_unstable();
        let shown: Vec<_> = values
            .into_iter()
            .map(|one| written(|out| one.text(out)))
            .collect();
        assert_eq!(shown, ["-", "9.0.0.1", "10.0.0.2", "::1"]);
    }
}
