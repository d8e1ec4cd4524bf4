//! What the `conntrack` tool says: a judge that shares no code with conntidy.

use std::fmt;
use std::io;

use crate::namespace::{Namespace, tool};

/// One tracked flow, as the tool prints it.
#[derive(Clone)]
pub(crate) struct Tracked {
    line: String,
    /// Protocol name.
    pub(crate) protocol: String,
    /// Seconds left.
    pub(crate) remaining: u32,
    /// TCP or SCTP state.
    pub(crate) state: Option<String>,
    /// The kernel's number of the entry: another one means that the entry was made anew.
    pub(crate) id: u32,
    pairs: Vec<(String, String)>,
}

impl fmt::Debug for Tracked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.line)
    }
}

impl Tracked {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (_family, _number) = (words.next()?, words.next()?);
        let protocol = words.next()?.to_owned();
        let _number = words.next()?;
        let remaining = words.next()?.parse().ok()?;
        let rest: Vec<&str> = words.collect();
        let state = rest
            .first()
            .filter(|word| !word.contains(['=', '[']))
            .map(|word| (*word).to_owned());
        let pairs: Vec<(String, String)> = rest
            .iter()
            .filter_map(|word| word.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let id = pairs.iter().find(|(key, _)| key == "id")?.1.parse().ok()?;
        Some(Self {
            line: line.to_owned(),
            protocol,
            remaining,
            state,
            id,
            pairs,
        })
    }

    fn nth(&self, key: &str, n: usize) -> Option<&str> {
        self.pairs
            .iter()
            .filter(|(name, _)| name == key)
            .nth(n)
            .map(|(_, value)| value.as_str())
    }

    /// Destination port of the original direction.
    pub(crate) fn dport(&self) -> Option<u16> {
        self.nth("dport", 0)?.parse().ok()
    }

    /// Source port of the original direction.
    pub(crate) fn sport(&self) -> Option<u16> {
        self.nth("sport", 0)?.parse().ok()
    }

    /// Source address of the reply direction: who really answers.
    pub(crate) fn reply_src(&self) -> Option<&str> {
        self.nth("src", 1)
    }

    /// Addresses and ports of both directions, in one line.
    pub(crate) fn tuples(&self) -> String {
        let keys = ["src", "dst", "sport", "dport", "type", "code"];
        let mut words = vec![self.protocol.clone()];
        for (key, value) in &self.pairs {
            if keys.contains(&key.as_str()) {
                words.push(format!("{key}={value}"));
            }
        }
        words.join(" ")
    }

    /// Whether it is in this TCP or SCTP state.
    pub(crate) fn is(&self, state: &str) -> bool {
        self.state.as_deref() == Some(state)
    }

    /// Whether the tool shows this status word, as `ASSURED`.
    pub(crate) fn has(&self, status: &str) -> bool {
        self.line.contains(&format!("[{status}]"))
    }
}

/// The namespace's table.
pub(crate) fn tracked(namespace: &Namespace) -> io::Result<Vec<Tracked>> {
    let mut entries = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let mut command = tool("conntrack");
        command.args(["-L", "-f", family, "-o", "extended,id"]);
        let text = namespace.succeed(command)?;
        for line in text.lines() {
            entries.push(Tracked::parse(line).ok_or_else(|| {
                io::Error::other(format!(
                    "the conntrack tool's line is not understood: {line}"
                ))
            })?);
        }
    }
    Ok(entries)
}

/// The entries of the namespace's table that `wanted` picks.
pub(crate) fn tracked_where(
    namespace: &Namespace,
    wanted: impl Fn(&Tracked) -> bool,
) -> io::Result<Vec<Tracked>> {
    let mut entries = tracked(namespace)?;
    entries.retain(wanted);
    Ok(entries)
}

/// The kernel's numbers of the entries, in order: equal before and after where no entry was made anew.
pub(crate) fn ids(flows: &[Tracked]) -> Vec<u32> {
    let mut ids: Vec<u32> = flows.iter().map(|flow| flow.id).collect();
    ids.sort_unstable();
    ids
}
