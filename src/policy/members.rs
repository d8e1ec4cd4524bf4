//! What is in a policy's sets.

use std::net::IpAddr;

use ipnet::IpNet;

/// The members of one set, as far as they could be read.
///
/// A set with `local` has none here: its members follow from the host's own addresses
/// ([`Header::addresses`](crate::observe::Header::addresses)) and from those of earlier runs, which
/// belong to what is observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Addresses and prefixes, in the order in which they were written.
    pub prefixes: Vec<IpNet>,
    /// Why they could not be read; every rule that uses the set is then refused.
    pub error: Option<String>,
}

impl Members {
    /// A set that could not be read.
    pub fn unreadable(error: impl Into<String>) -> Self {
        Self {
            prefixes: Vec::new(),
            error: Some(error.into()),
        }
    }

    /// Reads the text of a set file: an address or prefix a line; `#` starts a comment.
    ///
    /// One line that is none makes the whole set unreadable: a list that is half known must not
    /// decide what is stale.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut prefixes = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let prefix = line.parse().map(|address: IpAddr| address.into());
            match prefix.or_else(|_| line.parse::<IpNet>()) {
                Ok(prefix) => prefixes.push(prefix.trunc()),
                Err(_) => {
                    return Self::unreadable(format!(
                        "line {}: `{line}` is no address and no prefix",
                        index + 1
                    ));
                }
            }
        }
        Self {
            prefixes,
            error: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_each_without_comments() {
        let members = Members::parse("# backends\n10.0.3.0/24\n\n fd00:3::1 # one\n10.0.4.9/24\n");
        assert_eq!(members.error, None);
        let shown: Vec<_> = members.prefixes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.3.0/24", "fd00:3::1/128", "10.0.4.0/24"]);
    }

    #[test]
    fn one_bad_line_makes_the_whole_set_unreadable() {
        let members = Members::parse("10.0.3.0/24\nbackend.example\n");
        assert!(members.prefixes.is_empty());
        assert!(members.error.unwrap().starts_with("line 2:"));
    }
}
