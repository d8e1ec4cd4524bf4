//! The last line: counts, where each run lies, and checksums over everything.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

/// What the last line says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
pub struct Trailer {
    /// Flows in all runs together; of an aggregate its groups.
    pub flows: u64,
    /// Messages of the dump that could not be decoded.
    pub undecoded: u64,
    /// The hash table changed its size during the dump: entries may be missing or doubled.
    pub resized: bool,
    /// What the groups of an aggregate come to; absent where there are flows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregated>,
    /// Checksum of the header line.
    pub header_xxh3: Checksum,
    /// Where each run lies.
    pub runs: Vec<RunIndex>,
}

/// What the groups of an aggregate come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
pub struct Aggregated {
    /// Flows in all groups together.
    pub flows: u64,
    /// Those of them that came past the largest number of groups, and are counted in groups
    /// without addresses, ports and marks.
    pub folded: u64,
}

/// Where a run lies in the text, that is, in the file as `zstdcat` shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
pub struct RunIndex {
    /// Offset of its first line.
    pub offset: u64,
    /// Length of its lines together.
    pub bytes: u64,
    /// Lines, that is, flows; of an aggregate groups.
    pub flows: u64,
    /// Checksum of its lines.
    pub xxh3: Checksum,
}

/// `XXH3` with 64 bits and seed 0, in JSON as 16 hex digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum(pub u64);

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16)
            .map(Self)
            .map_err(de::Error::custom)
    }
}

impl JsonSchema for Checksum {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Checksum".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[0-9a-f]{16}$",
            "description": "XXH3, 64 bits, seed 0, in hex.",
        })
    }
}

/// The last line.
#[derive(Clone, Debug, Serialize, serde::Deserialize, JsonSchema)]
pub(super) struct TrailerLine {
    /// What it says.
    trailer: Trailer,
    /// Checksum of this line up to the comma before this field.
    xxh3: Checksum,
}

/// How the line starts.
pub(super) const START: &[u8] = b"{\"trailer\":";

/// `,"xxh3":"0123456789abcdef"}`
const END_LENGTH: usize = 27;

impl Trailer {
    /// Flows of the table, whether they stand here one by one or in groups.
    #[must_use]
    pub fn table_flows(&self) -> u64 {
        self.aggregate.map_or(self.flows, |groups| groups.flows)
    }

    /// The line, with its own checksum and the line end.
    pub(super) fn to_line(&self) -> Vec<u8> {
        let mut line = START.to_vec();
        serde_json::to_writer(&mut line, self).expect("a vector takes every write");
        let checksum = Checksum(xxh3_64(&line));
        line.extend_from_slice(format!(",\"xxh3\":\"{checksum}\"}}\n").as_bytes());
        line
    }

    /// Reads the line, with or without its line end, and checks it against its own checksum.
    pub(super) fn from_line(line: &[u8]) -> Result<Self, String> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let end = line
            .len()
            .checked_sub(END_LENGTH)
            .filter(|_| line.starts_with(START))
            .ok_or("the last line is no trailer")?;
        let parsed: TrailerLine =
            serde_json::from_slice(line).map_err(|error| format!("the trailer: {error}"))?;
        if parsed.xxh3 != Checksum(xxh3_64(&line[..end])) {
            return Err("the trailer does not match its checksum".to_owned());
        }
        Ok(parsed.trailer)
    }

    /// Checks that the runs lie end to end from `start` on and have what is said of them together.
    pub(super) fn check_runs(&self, start: u64, end: u64) -> Result<(), String> {
        let mut offset = start;
        let mut flows = 0_u64;
        for (index, run) in self.runs.iter().enumerate() {
            if run.offset != offset {
                return Err(format!(
                    "run {} starts at {} and not at {offset} as the trailer says",
                    index + 1,
                    run.offset
                ));
            }
            offset = offset.saturating_add(run.bytes);
            flows = flows.saturating_add(run.flows);
        }
        if offset != end {
            return Err(format!(
                "the runs end at {end} and not at {offset} as the trailer says"
            ));
        }
        if flows != self.flows {
            return Err(format!(
                "the runs have {flows} flows, and the trailer says {}",
                self.flows
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_of_the_line_is_noticed() {
        let trailer = Trailer {
            flows: 3,
            runs: vec![RunIndex {
                offset: 100,
                bytes: 200,
                flows: 3,
                xxh3: Checksum(7),
            }],
            ..Trailer::default()
        };
        let line = trailer.to_line();
        assert_eq!(Trailer::from_line(&line), Ok(trailer.clone()));
        for at in 0..line.len() {
            let mut other = line.clone();
            other[at] ^= 0x04;
            assert!(Trailer::from_line(&other).is_err(), "byte {at}");
        }
    }
}
