//! What only few entries carry, kept beside the flat [`Flow`](super::Flow).

use std::collections::HashMap;

/// Sequence number adjustment of one direction (`CTA_SEQ_ADJ_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeqAdjust {
    /// Position of the last correction.
    pub correction: u32,
    /// Offset before that position.
    pub before: i32,
    /// Offset after that position.
    pub after: i32,
}

/// Borrowed extras of one entry, straight from a decoded message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extra<'a> {
    /// Name of the conntrack helper (`CTA_HELP_NAME`).
    pub helper: Option<&'a str>,
    /// Connection labels, bit n is label n (`CTA_LABELS`).
    pub labels: Option<u128>,
    /// Security context (`CTA_SECCTX_NAME`).
    pub secctx: Option<&'a str>,
    /// SCTP verification tags, original and reply.
    pub sctp_vtags: Option<(u32, u32)>,
    /// DCCP role of the original direction: 0 client, 1 server.
    pub dccp_role: Option<u8>,
    /// Sequence adjustment, original and reply direction.
    pub seq_adjust: Option<(SeqAdjust, SeqAdjust)>,
}

/// The same, owned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnedExtra {
    helper: Option<Box<str>>,
    labels: Option<u128>,
    secctx: Option<Box<str>>,
    sctp_vtags: Option<(u32, u32)>,
    dccp_role: Option<u8>,
    seq_adjust: Option<(SeqAdjust, SeqAdjust)>,
}

impl Extra<'_> {
    /// Whether there is nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Extra::default()
    }

    /// A copy that owns its text.
    #[must_use]
    pub fn to_owned(&self) -> OwnedExtra {
        OwnedExtra {
            helper: self.helper.map(Into::into),
            labels: self.labels,
            secctx: self.secctx.map(Into::into),
            sctp_vtags: self.sctp_vtags,
            dccp_role: self.dccp_role,
            seq_adjust: self.seq_adjust,
        }
    }
}

impl OwnedExtra {
    /// A borrowed view.
    #[must_use]
    pub fn borrow(&self) -> Extra<'_> {
        Extra {
            helper: self.helper.as_deref(),
            labels: self.labels,
            secctx: self.secctx.as_deref(),
            sctp_vtags: self.sctp_vtags,
            dccp_role: self.dccp_role,
            seq_adjust: self.seq_adjust,
        }
    }
}

/// Distinct extras, numbered from 1; [`Flow::extra`](super::Flow::extra) points here.
#[derive(Clone, Debug, Default)]
pub struct ExtraTable {
    known: HashMap<OwnedExtra, u32>,
    list: Vec<OwnedExtra>,
}

impl ExtraTable {
    /// The number of an extra, 0 for an empty one. Allocates only for one not seen before.
    ///
    /// # Panics
    /// Past `u32::MAX` distinct extras, which no table holds.
    pub fn intern(&mut self, extra: &Extra<'_>) -> u32 {
        if extra.is_empty() {
            return 0;
        }
        let owned = extra.to_owned();
        if let Some(&number) = self.known.get(&owned) {
            return number;
        }
        self.list.push(owned.clone());
        let number = u32::try_from(self.list.len()).expect("fewer than 2^32 distinct extras");
        self.known.insert(owned, number);
        number
    }

    /// The extra with this number; empty for 0 and for numbers never given.
    #[must_use]
    pub fn get(&self, number: u32) -> Extra<'_> {
        number
            .checked_sub(1)
            .and_then(|index| self.list.get(index as usize))
            .map_or_else(Extra::default, OwnedExtra::borrow)
    }

    /// Forgets everything; numbers given before are void.
    pub fn clear(&mut self) {
        self.known.clear();
        self.list.clear();
    }
}
