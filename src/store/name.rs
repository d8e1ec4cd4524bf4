//! File names of snapshots.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::policy::Compression;

const TIME: &str = "%Y%m%dT%H%M%SZ";
const TIME_LENGTH: usize = 16;
const ENDS: [(&str, Compression); 3] = [
    (".jsonl.zst", Compression::Zstd),
    (".jsonl.gz", Compression::Gzip),
    (".jsonl", Compression::None),
];
/// Longest namespace part; a path to a namespace can be longer than a file name.
const LONGEST_NETNS: usize = 64;

/// What a file name says; ordered by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotName {
    /// When the snapshot was taken, seconds since 1970.
    pub time: i64,
    /// Which of those within one second, from 1.
    pub number: u32,
    /// The network namespace; characters that a name cannot hold are `_`.
    pub netns: String,
    /// What the name's end says. Reading goes by the content.
    pub compression: Compression,
}

impl SnapshotName {
    /// The first name for a snapshot of this time and namespace.
    ///
    /// # Panics
    /// Never; 2^64 nanoseconds are a date that a name can hold.
    #[must_use]
    pub fn new(time_ns: u64, netns: &str, compression: Compression) -> Self {
        let kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let words: Vec<_> = netns
            .split(|c| !kept(c))
            .filter(|w| !w.is_empty())
            .collect();
        let mut netns = words.join("_");
        netns.truncate(LONGEST_NETNS);
        if netns.is_empty() {
            netns.push('_');
        }
        Self {
            time: i64::try_from(time_ns / 1_000_000_000).expect("2^64 ns are far below 2^63 s"),
            number: 1,
            netns,
            compression,
        }
    }

    /// The same with another number.
    #[must_use]
    pub fn attempt(&self, number: u32) -> Self {
        Self {
            number,
            ..self.clone()
        }
    }

    /// Reads a file name; `None` where it is not a snapshot's.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (stem, compression) = ENDS
            .iter()
            .find_map(|(end, compression)| Some((name.strip_suffix(end)?, *compression)))?;
        let (time, rest) = stem.split_at_checked(TIME_LENGTH)?;
        let time = NaiveDateTime::parse_from_str(time, TIME).ok()?;
        let rest = rest.strip_prefix('-')?;
        let (netns, number) = match rest.split_once('~') {
            Some((netns, number)) => (netns, number.parse().ok().filter(|n| *n > 1)?),
            None => (rest, 1),
        };
        (!netns.is_empty()).then(|| Self {
            time: time.and_utc().timestamp(),
            number,
            netns: netns.to_owned(),
            compression,
        })
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = DateTime::<Utc>::from_timestamp(self.time, 0).unwrap_or_default();
        write!(f, "{}-{}", time.format(TIME), self.netns)?;
        if self.number > 1 {
            write!(f, "~{}", self.number)?;
        }
        let end = ENDS.iter().find(|(_, packed)| *packed == self.compression);
        f.write_str(end.map_or(".jsonl", |(end, _)| end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME_NS: u64 = 1_769_860_800_123_456_789;

    #[test]
    fn a_name_says_when_and_where() {
        let name = SnapshotName::new(TIME_NS, "init", Compression::Zstd);
        assert_eq!(name.to_string(), "20260131T120000Z-init.jsonl.zst");
        assert_eq!(SnapshotName::parse(&name.to_string()), Some(name));
    }

    #[test]
    fn a_namespace_given_by_path_stays_in_the_directory() {
        let name = SnapshotName::new(TIME_NS, "/proc/7/ns/net~2", Compression::None);
        assert_eq!(name.to_string(), "20260131T120000Z-proc_7_ns_net_2.jsonl");
        assert_eq!(SnapshotName::parse(&name.to_string()), Some(name));
    }

    #[test]
    fn names_sort_by_time_as_text_too() {
        let first = SnapshotName::new(TIME_NS, "init", Compression::Zstd);
        let second = first.attempt(2);
        let later = SnapshotName::new(TIME_NS + 1_000_000_000, "a", Compression::Zstd);
        assert!(first < second && second < later);
        assert!(first.to_string() < second.to_string());
        assert!(second.to_string() < later.to_string());
    }

    #[test]
    fn other_files_are_no_snapshots() {
        for name in [
            ".snapshot-abc.tmp",
            "20260131T120000Z.jsonl",
            "20260131T120000Z-init.jsonl.zst.tmp",
            "20260131T120000Z-init~1.jsonl",
            "20261331T120000Z-init.jsonl",
            "notes.jsonl",
            "",
            "é20260131T120000Z-init.jsonl",
        ] {
            assert_eq!(SnapshotName::parse(name), None, "{name}");
        }
    }
}
