//! `[snapshot]`: when one is due, what it holds, and how long it stays.

use super::{Percent, Seconds};

/// `[snapshot]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSettings {
    /// Where snapshots are kept.
    pub directory: String,
    /// How often one is due; `None`: never by time.
    pub every: Option<Seconds>,
    /// What those hold.
    pub detail: Detail,
    /// When one is due because the table fills up.
    pub on_pressure: Option<OnPressure>,
    /// How addresses are recorded.
    pub addresses: AddressSetting,
    /// How they are compressed.
    pub compression: Compression,
    /// Which of them stay.
    pub keep: SnapshotKeep,
}

impl Default for SnapshotSettings {
    fn default() -> Self {
        Self {
            directory: "/var/lib/conntidy/snapshots".to_owned(),
            every: None,
            detail: Detail::Aggregate,
            on_pressure: None,
            addresses: AddressSetting::Plain,
            compression: Compression::default(),
            keep: SnapshotKeep::default(),
        }
    }
}

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detail {
    /// Every flow.
    #[default]
    Full,
    /// Groups of flows with counts.
    Aggregate,
}

/// `[snapshot] on-pressure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnPressure {
    /// Fuller than this share of `nf_conntrack_max` is pressure.
    pub above: Percent,
    /// While it lasts, the next snapshot is due after this.
    pub again_after: Seconds,
    /// What it holds.
    pub detail: Detail,
}

/// A word of `addresses`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressForm {
    /// As they are.
    Plain,
    /// Cut to a prefix.
    Prefix,
    /// Replaced, the same by the same under one key.
    Pseudonym,
}

/// How addresses are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AddressSetting {
    /// As they are.
    #[default]
    Plain,
    /// Cut to a prefix.
    Prefix,
    /// As pseudonyms under this key.
    Pseudonym(KeySource),
}

/// Where the key of pseudonyms is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// In a file, by absolute path.
    File(String),
    /// In the systemd credential of this name.
    Credential(String),
}

/// Which snapshots stay. Nothing in it: all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotKeep {
    /// So many of the newest.
    pub last: Option<u64>,
    /// The newest of each of so many hours.
    pub hourly: Option<u64>,
    /// The newest of each of so many days.
    pub daily: Option<u64>,
    /// The newest of each of so many weeks.
    pub weekly: Option<u64>,
    /// The newest of each of so many months.
    pub monthly: Option<u64>,
    /// None that is older, but for the newest.
    pub max_age: Option<Seconds>,
    /// Not more bytes in the directory; wins over everything but the newest.
    pub max_bytes: Option<u64>,
}

impl SnapshotKeep {
    /// The counts that are given.
    pub fn counts(&self) -> impl Iterator<Item = u64> {
        let counts = [
            self.last,
            self.hourly,
            self.daily,
            self.weekly,
            self.monthly,
        ];
        counts.into_iter().flatten()
    }

    /// Whether everything stays.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

/// Compression of a snapshot file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// Zstandard, a frame a run.
    #[default]
    Zstd,
    /// Gzip, a member a run.
    Gzip,
    /// None.
    None,
}
