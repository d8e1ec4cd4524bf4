//! `IPS_*` status bits (`include/uapi/linux/netfilter/nf_conntrack_common.h`).

bitflags::bitflags! {
    /// Status of an entry. Bits that this list does not name are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct Status: u32 {
        /// Made by an expectation.
        const EXPECTED = 1 << 0;
        /// Packets were seen in both directions.
        const SEEN_REPLY = 1 << 1;
        /// Not dropped early when the table is full.
        const ASSURED = 1 << 2;
        /// In the table.
        const CONFIRMED = 1 << 3;
        /// Source is translated.
        const SRC_NAT = 1 << 4;
        /// Destination is translated.
        const DST_NAT = 1 << 5;
        /// TCP sequence numbers are adjusted.
        const SEQ_ADJUST = 1 << 6;
        /// Source NAT was decided.
        const SRC_NAT_DONE = 1 << 7;
        /// Destination NAT was decided.
        const DST_NAT_DONE = 1 << 8;
        /// Removed from the table, not yet freed.
        const DYING = 1 << 9;
        /// The timer is fixed: packets do not refresh it.
        const FIXED_TIMEOUT = 1 << 10;
        /// A template, never in the table.
        const TEMPLATE = 1 << 11;
        /// Inserted by clash resolution under NAT.
        const NAT_CLASH = 1 << 12;
        /// Has a helper.
        const HELPER = 1 << 13;
        /// In the software flowtable.
        const OFFLOAD = 1 << 14;
        /// In the hardware flowtable.
        const HW_OFFLOAD = 1 << 15;
        const _ = !0;
    }
}

impl Status {
    /// The bits that have a word; the others say how the kernel came to them, not what they mean.
    pub const WORDED: Self = Self::EXPECTED
        .union(Self::SEEN_REPLY)
        .union(Self::ASSURED)
        .union(Self::SRC_NAT)
        .union(Self::DST_NAT)
        .union(Self::FIXED_TIMEOUT)
        .union(Self::HELPER)
        .union(Self::OFFLOAD)
        .union(Self::HW_OFFLOAD);
}

/// A word of the `status` match field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatusWord {
    /// `IPS_ASSURED` is set.
    Assured,
    /// `IPS_SEEN_REPLY` is set.
    SeenReply,
    /// `IPS_SEEN_REPLY` is not set.
    Unreplied,
    /// `IPS_SRC_NAT` is set.
    SrcNat,
    /// `IPS_DST_NAT` is set.
    DstNat,
    /// `IPS_OFFLOAD` is set.
    Offload,
    /// `IPS_HW_OFFLOAD` is set.
    HwOffload,
    /// `IPS_FIXED_TIMEOUT` is set.
    FixedTimeout,
    /// `IPS_EXPECTED` is set.
    Expected,
    /// `IPS_HELPER` is set.
    Helper,
}

/// Every status word with its name, in the order of the documentation.
pub const STATUS_WORDS: [(StatusWord, &str); 10] = [
    (StatusWord::Assured, "assured"),
    (StatusWord::SeenReply, "seen-reply"),
    (StatusWord::Unreplied, "unreplied"),
    (StatusWord::SrcNat, "src-nat"),
    (StatusWord::DstNat, "dst-nat"),
    (StatusWord::Offload, "offload"),
    (StatusWord::HwOffload, "hw-offload"),
    (StatusWord::FixedTimeout, "fixed-timeout"),
    (StatusWord::Expected, "expected"),
    (StatusWord::Helper, "helper"),
];

impl StatusWord {
    /// Finds a word by its name, any case, `_` and `-` alike.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase().replace('_', "-");
        STATUS_WORDS
            .iter()
            .find(|(_, n)| *n == name)
            .map(|(word, _)| *word)
    }

    /// The word as policies spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        STATUS_WORDS
            .iter()
            .find(|(word, _)| *word == self)
            .map_or("", |(_, name)| name)
    }

    /// Whether a status has what the word says.
    #[must_use]
    pub fn holds(self, status: Status) -> bool {
        match self {
            Self::Assured => status.contains(Status::ASSURED),
            Self::SeenReply => status.contains(Status::SEEN_REPLY),
            Self::Unreplied => !status.contains(Status::SEEN_REPLY),
            Self::SrcNat => status.contains(Status::SRC_NAT),
            Self::DstNat => status.contains(Status::DST_NAT),
            Self::Offload => status.contains(Status::OFFLOAD),
            Self::HwOffload => status.contains(Status::HW_OFFLOAD),
            Self::FixedTimeout => status.contains(Status::FIXED_TIMEOUT),
            Self::Expected => status.contains(Status::EXPECTED),
            Self::Helper => status.contains(Status::HELPER),
        }
    }
}
