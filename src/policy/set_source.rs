//! Where a set's members come from, as policies name it.

use std::fmt;

use ipnet::IpNet;

use super::Seconds;
use super::leaf::{Leaf, LeafError, leaves};

/// Where a set's members come from.
#[derive(Clone, Debug, PartialEq)]
pub enum SetSource {
    /// Written in the policy.
    Addresses(Vec<IpNet>),
    /// A file with an address or prefix a line, `#` starts a comment; relative to the policy file.
    File(String),
    /// The elements of an nftables set, or the keys of an nftables map.
    Nft(NftSet),
    /// The addresses of this interface.
    Interface(InterfaceName),
    /// This host's own addresses.
    Local,
    /// Addresses that were this host's own in an earlier run of this boot and are not any more.
    Lost {
        /// For how long they must have been seen to be missing.
        settle: Seconds,
    },
}

impl SetSource {
    /// The key under which a policy names it.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Addresses(_) => "addresses",
            Self::File(_) => "file",
            Self::Nft(_) => "nft",
            Self::Interface(_) => "interface",
            Self::Local | Self::Lost { .. } => "local",
        }
    }
}

/// How long an address must be missing before it counts as lost, unless said otherwise.
pub const DEFAULT_SETTLE: Seconds = Seconds(30);

/// Families of nftables tables.
const FAMILIES: [&str; 6] = ["ip", "ip6", "inet", "arp", "bridge", "netdev"];

/// The longest name that the kernel takes (`NFT_NAME_MAXLEN`, with its terminating zero).
const LONGEST_NFT_NAME: usize = 255;

/// A set or map of nftables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NftSet {
    /// Family of its table.
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for NftSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.family, self.table, self.name)
    }
}

impl Leaf for NftSet {
    const EXPECTED: &'static str = "family, table and set as \"inet filter banned\"";

    fn read(text: &str) -> Result<Self, LeafError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [family, table, name] = words[..] else {
            return Err(LeafError::invalid(format!(
                "`{text}` does not name family, table and set"
            )));
        };
        if !FAMILIES.contains(&family) {
            return Err(LeafError::invalid(format!(
                "`{family}` is no family of nftables, which are {}",
                FAMILIES.join(", ")
            )));
        }
        // nft reads its arguments as a script: what is no plain name could be a command.
        for name in [table, name] {
            if !is_nft_name(name) {
                return Err(LeafError::invalid(format!(
                    "`{name}` is no name that nft takes without quotes"
                )));
            }
        }
        Ok(Self {
            family: family.to_owned(),
            table: table.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// The scanner of nft: letters, digits and a few signs, a digit or sign not first.
fn is_nft_name(name: &str) -> bool {
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    let goes_on = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    name.len() <= LONGEST_NFT_NAME && name.starts_with(starts) && name.chars().all(goes_on)
}

/// The name of a network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceName(pub String);

impl InterfaceName {
    /// `IFNAMSIZ`, without its terminating zero.
    const LONGEST: usize = 15;
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Leaf for InterfaceName {
    const EXPECTED: &'static str = "the name of an interface as \"wan0\"";

    fn read(text: &str) -> Result<Self, LeafError> {
        let has_forbidden = text
            .chars()
            .any(|c| c.is_whitespace() || matches!(c, '/' | ':' | '\0'));
        if text.is_empty() || has_forbidden || matches!(text, "." | "..") {
            return Err(LeafError::invalid(format!(
                "`{text}` is no name that an interface can have"
            )));
        }
        if text.len() > Self::LONGEST {
            return Err(LeafError::invalid(format!(
                "`{text}` is longer than the {} bytes that an interface's name can have",
                Self::LONGEST
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The value of `local`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalWord {
    /// `true`: this host's own addresses.
    Own,
    /// `"lost"`: those that it had and has no more.
    Lost,
    /// `false`, which names nothing.
    No,
}

impl Leaf for LocalWord {
    const EXPECTED: &'static str = "true or \"lost\"";
    const SWITCHES: bool = true;

    fn read(text: &str) -> Result<Self, LeafError> {
        match text {
            "true" => Ok(Self::Own),
            "false" => Ok(Self::No),
            "lost" => Ok(Self::Lost),
            _ => Err(LeafError::invalid(format!("`{text}` is neither"))),
        }
    }
}

leaves!(NftSet, InterfaceName, LocalWord);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn family_table_and_set_are_three_words() {
        let set = NftSet::read("inet  filter f2b-sshd").unwrap();
        assert_eq!(set.to_string(), "inet filter f2b-sshd");
        for text in [
            "banned",
            "filter banned",
            "inet filter banned x",
            "",
            "x f b",
        ] {
            assert!(NftSet::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_nft_would_run_as_a_command_is_no_name() {
        for name in [
            "a;b", "a{", "$a", "@a", "\"a\"", "a\\", "1a", "-a", "#", "__set%d", "a*", "é",
        ] {
            assert!(
                NftSet::read(&format!("inet filter {name}")).is_err(),
                "{name}"
            );
            assert!(
                NftSet::read(&format!("inet {name} banned")).is_err(),
                "{name}"
            );
        }
        let long = "a".repeat(LONGEST_NFT_NAME + 1);
        assert!(NftSet::read(&format!("inet filter {long}")).is_err());
    }

    #[test]
    fn a_name_that_no_interface_can_have_is_refused() {
        assert!(InterfaceName::read("eth0.100@x").is_ok());
        for text in ["", ".", "..", "a/b", "a b", "eth0:1", "sixteen-letters0"] {
            assert!(InterfaceName::read(text).is_err(), "{text}");
        }
    }
}
