//! One flow, one line of JSON.
//!
//! The line is flat, so that `jq`, `DuckDB` and `ClickHouse` read it as it is, and leaves out what
//! follows from the rest: the reply direction names only what differs from the inverse of the
//! original, zones that are 0 are not named. Nothing is lost: reading gives the same [`Flow`] and
//! [`Extra`] again, and tells an absent attribute from one that is zero.
//! `docs/snapshot-format.md` explains every field.
//!
//! [`Flow`]: crate::flow::Flow
//! [`Extra`]: crate::flow::Extra

mod fast;
mod group;
mod line;
mod read;
mod write;

pub use group::{Common, Group, GroupLine, Totals, read_group, write_group};
pub(super) use group::{GROUPED_STATUS, START as GROUP_START};
pub use line::FlowLine;
pub(super) use read::read_flow_into;
pub use read::{RecordError, read_flow};
pub use write::write_flow;

use crate::flow::Status;

/// The words of `status`, by bit number. A bit without a word is written as `bit-N`.
const STATUS_WORDS: [&str; 16] = [
    "expected",
    "seen-reply",
    "assured",
    "confirmed",
    "src-nat",
    "dst-nat",
    "seq-adjust",
    "src-nat-done",
    "dst-nat-done",
    "dying",
    "fixed-timeout",
    "template",
    "nat-clash",
    "helper",
    "offload",
    "hw-offload",
];

/// The bit of a status word.
fn status_bit(word: &str) -> Option<Status> {
    let number = match STATUS_WORDS.iter().position(|known| *known == word) {
        Some(number) => number,
        None => word
            .strip_prefix("bit-")?
            .parse()
            .ok()
            .filter(|number| (STATUS_WORDS.len()..32).contains(number))?,
    };
    Some(Status::from_bits_retain(1 << number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::OwnedExtra;
    use crate::flow::status::STATUS_WORDS as POLICY_WORDS;

    #[test]
    fn status_words_are_those_of_policies() {
        for (word, name) in POLICY_WORDS {
            if name == "unreplied" {
                continue;
            }
            let bit = status_bit(name).unwrap_or_else(|| panic!("{name}"));
            assert!(word.holds(bit), "{name}");
            assert_eq!(bit.bits().count_ones(), 1);
        }
    }

    /// Lines of all kinds, and what becomes of them when a byte is another one.
    #[test]
    fn the_fast_reader_reads_nothing_else_than_the_general_one() {
        let sample = include_bytes!("../../../examples/gateway.jsonl.zst");
        let text = zstd::decode_all(&sample[..]).unwrap();
        let (mut fast, mut all) = (0, 0);
        let mut line = Vec::new();
        for (number, original) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            if !original.starts_with(b"{\"family\"") {
                continue;
            }
            let (flow, extra) = read::read_any(original).unwrap();
            all += 1;
            let mut read = flow;
            read.timeout ^= 1;
            if fast::read(original, &mut read).is_some() {
                fast += 1;
                assert_eq!((read, OwnedExtra::default()), (flow, extra));
            }
            // Every tenth, at places and with bytes that change from line to line.
            for at in (number % 7..original.len())
                .step_by(7)
                .filter(|_| number % 10 == 0)
            {
                line.clear();
                line.extend_from_slice(original);
                line[at] = b"0\"9,}.e-\\ ]"[(number / 10 + at) % 11];
                if fast::read(&line, &mut read).is_some() {
                    let general = read::read_any(&line).map(|(flow, extra)| {
                        assert_eq!(extra, OwnedExtra::default());
                        flow
                    });
                    let said = String::from_utf8_lossy(&line);
                    assert_eq!(general.ok(), Some(read), "{said}");
                }
            }
        }
        assert!(fast * 100 > all * 95, "{fast} of {all}");
    }

    #[test]
    fn bits_without_a_word_are_named_by_number() {
        assert_eq!(status_bit("bit-31").map(|bit| bit.bits()), Some(1 << 31));
        assert_eq!(status_bit("bit-3"), None, "it has a word");
        assert_eq!(status_bit("bit-32"), None);
        assert_eq!(status_bit("unreplied"), None, "it is the absence of a bit");
    }
}
