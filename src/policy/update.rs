//! What an update by hand sets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::flow::Status;

/// What is set; what is absent stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Seconds left.
    pub timeout: Option<u32>,
    /// The bits of the mark that its second part names, to the first, which has no others.
    pub mark: Option<(u32, u32)>,
    /// Status bits that are set; the kernel clears none.
    pub status: Status,
    /// The labels that the second part names, to the first, which has no others.
    pub labels: Option<(u128, u128)>,
}

impl Update {
    /// Nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The same in documents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sets {
    /// Seconds left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// The mark's new bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// Which bits of the mark are set so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark_mask: Option<u32>,
    /// Status bits set, as the kernel numbers them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u32>,
    /// Labels set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<u8>,
    /// Labels cleared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels_cleared: Vec<u8>,
}

impl From<Update> for Sets {
    fn from(update: Update) -> Self {
        let (value, mask) = update.labels.unwrap_or_default();
        Self {
            timeout: update.timeout,
            mark: update.mark.map(|(value, _)| value),
            mark_mask: update.mark.map(|(_, mask)| mask),
            status: (!update.status.is_empty()).then(|| update.status.bits()),
            labels: bits(value),
            labels_cleared: bits(mask & !value),
        }
    }
}

impl From<&Sets> for Update {
    fn from(sets: &Sets) -> Self {
        let word = |labels: &[u8]| {
            let known = labels
                .iter()
                .filter(|label| u32::from(**label) < u128::BITS);
            known.fold(0, |word: u128, label| word | 1 << label)
        };
        let (set, cleared) = (word(&sets.labels), word(&sets.labels_cleared));
        Self {
            timeout: sets.timeout,
            mark: sets.mark.zip(sets.mark_mask),
            status: Status::from_bits_retain(sets.status.unwrap_or(0)),
            labels: (set | cleared != 0).then_some((set, set | cleared)),
        }
    }
}

fn bits(word: u128) -> Vec<u8> {
    (0..128).filter(|bit| word >> bit & 1 == 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_comes_back_from_its_document() {
        for update in [
            Update::default(),
            Update {
                timeout: Some(0),
                mark: Some((0, 0xff)),
                status: Status::ASSURED | Status::SEEN_REPLY,
                labels: Some((1 << 127 | 1, 1 << 127 | 0b11)),
            },
        ] {
            assert_eq!(Update::from(&Sets::from(update)), update);
        }
    }
}
