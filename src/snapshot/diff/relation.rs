//! What two observations have to do with each other, and so what may be concluded from them.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Fates, Table};
use crate::observe::Header;

/// Whether the two are the same table at two times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// The same namespace in the same boot: flows may have lived on, and counters went on.
    SameTable,
    /// The same host and namespace after a reboot: no flow lived on, counters began anew.
    OtherBoot,
    /// Another host or another namespace: only what the tables hold can be compared.
    OtherTable,
    /// One of them does not say of which boot it is, as what was imported.
    Unknown,
}

impl Relation {
    /// By what the headers say.
    #[must_use]
    pub fn between(before: &Header, after: &Header) -> Self {
        let (old, new) = (&before.netns, &after.netns);
        if before.boot_id.is_empty() || after.boot_id.is_empty() {
            return Self::Unknown;
        }
        if before.boot_id == after.boot_id {
            let made = match (old.created_ns, new.created_ns) {
                (Some(old), Some(new)) => old == new,
                _ => true,
            };
            let same = (old.device, old.inode) == (new.device, new.inode) && made;
            return if same {
                Self::SameTable
            } else {
                Self::OtherTable
            };
        }
        if before.host == after.host && old.name == new.name {
            Self::OtherBoot
        } else {
            Self::OtherTable
        }
    }
}

/// From the first to the second, in seconds; by the time since boot where that is the same, which
/// no clock step disturbs. Negative where the second is the older one.
pub(super) fn seconds(relation: Relation, before: &Header, after: &Header) -> f64 {
    let (from, to) = if relation == Relation::SameTable {
        (before.uptime_ns, after.uptime_ns)
    } else {
        (before.time_ns, after.time_ns)
    };
    let nanoseconds = i128::from(to) - i128::from(from);
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds with three digits behind the point are enough"
    )]
    let seconds = (nanoseconds / 1_000_000) as f64 / 1000.0;
    seconds
}

/// What a reader has to know before the numbers.
pub(super) fn notes(
    relation: Relation,
    seconds: f64,
    before: &Table<'_>,
    after: &Table<'_>,
    fates: Option<&Fates>,
) -> Vec<String> {
    let mut notes = Vec::new();
    match relation {
        Relation::SameTable => {}
        Relation::OtherBoot => notes.push(
            "the machine was booted in between: no flow lived on, and counters began anew"
                .to_owned(),
        ),
        Relation::OtherTable if fates.is_none() => {
            notes.push("these are two tables: counters tell nothing".to_owned());
        }
        Relation::Unknown if fates.is_none() => {
            notes.push("one of them does not say of which host and boot it is".to_owned());
        }
        Relation::OtherTable => notes.push(
            "these are two tables: flows with the same tuple are compared as they are, and neither \
             ids, start times nor counters tell anything"
                .to_owned(),
        ),
        Relation::Unknown => notes.push(
            "one of them does not say of which host and boot it is: whether a flow lived on goes by \
             start times and counters alone"
                .to_owned(),
        ),
    }
    if seconds < 0.0 {
        let backwards = match fates {
            Some(_) => "what is new here is gone in truth",
            None => "what grows here shrank in truth",
        };
        notes.push(format!(
            "the second was taken before the first: {backwards}, and counters are not compared"
        ));
    }
    if before.header.kernel != after.header.kernel
        && !before.header.kernel.is_empty()
        && !after.header.kernel.is_empty()
    {
        notes.push(format!(
            "kernels differ: {} and {}",
            before.header.kernel, after.header.kernel
        ));
    }
    for table in [before, after] {
        if table.dumped.resized {
            notes.push(format!(
                "{}: the hash table changed its size during the dump: flows may be missing or \
                 doubled",
                table.name
            ));
        }
        if table.dumped.undecoded > 0 {
            notes.push(format!(
                "{}: {} messages of the dump could not be decoded",
                table.name, table.dumped.undecoded
            ));
        }
    }
    let presumed = fates.map_or(0, |fates| fates.presumed);
    if presumed > 0 && relation == Relation::SameTable {
        notes.push(format!(
            "that {presumed} of the flows lived on is presumed: without start times \
             (nf_conntrack_timestamp) an entry that was made again at the same place looks the same"
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Netns;

    fn header(host: &str, boot: &str, inode: u64) -> Header {
        Header {
            host: host.to_owned(),
            boot_id: boot.to_owned(),
            netns: Netns {
                name: "init".to_owned(),
                inode,
                ..Netns::default()
            },
            ..Header::default()
        }
    }

    #[test]
    fn boot_and_namespace_make_a_table() {
        let first = header("gw1", "a", 7);
        for (second, relation) in [
            (header("gw1", "a", 7), Relation::SameTable),
            (header("renamed", "a", 7), Relation::SameTable),
            (header("gw1", "a", 8), Relation::OtherTable),
            (header("gw1", "b", 9), Relation::OtherBoot),
            (header("gw2", "b", 7), Relation::OtherTable),
            (header("gw1", "", 7), Relation::Unknown),
        ] {
            assert_eq!(Relation::between(&first, &second), relation);
        }
    }

    #[test]
    fn a_namespace_that_was_made_again_with_the_same_number_is_another_table() {
        let (mut first, mut second) = (header("gw1", "a", 7), header("gw1", "a", 7));
        first.netns.created_ns = Some(1);
        assert_eq!(Relation::between(&first, &second), Relation::SameTable);
        second.netns.created_ns = Some(2);
        assert_eq!(Relation::between(&first, &second), Relation::OtherTable);
    }

    #[test]
    fn a_stepped_clock_does_not_disturb_the_time_between() {
        let mut first = header("gw1", "a", 7);
        (first.time_ns, first.uptime_ns) = (5_000_000_000, 1_000_000_000);
        let mut second = first.clone();
        (second.time_ns, second.uptime_ns) = (2_000_000_000, 61_500_000_000);
        let between = |relation| seconds(relation, &first, &second);
        assert!((between(Relation::SameTable) - 60.5).abs() < 1e-9);
        assert!((between(Relation::OtherBoot) + 3.0).abs() < 1e-9);
    }
}
