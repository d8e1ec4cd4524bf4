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

mod line;
mod number;
mod read;
mod write;

pub use line::FlowLine;
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

    #[test]
    fn bits_without_a_word_are_named_by_number() {
        assert_eq!(status_bit("bit-31").map(|bit| bit.bits()), Some(1 << 31));
        assert_eq!(status_bit("bit-3"), None, "it has a word");
        assert_eq!(status_bit("bit-32"), None);
        assert_eq!(status_bit("unreplied"), None, "it is the absence of a bit");
    }
}
