//! Tunables that were set differently.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use crate::observe::Header;

/// One tunable that is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TunableChange {
    /// Its name under `net.netfilter`, or its full name.
    pub name: String,
    /// Its value before; null where the kernel did not have it or it could not be read.
    pub before: Option<String>,
    /// Its value after; null as before.
    pub after: Option<String>,
}

/// What is no setting but a measurement.
const MEASURED: [&str; 1] = ["nf_conntrack_count"];

/// Those that differ, by name. Where one side recorded no tunables at all, nothing is known.
pub(super) fn changes(before: &Header, after: &Header) -> Vec<TunableChange> {
    if before.tunables.is_empty() || after.tunables.is_empty() {
        return Vec::new();
    }
    let value = |header: &Header, name: &str| {
        let reading = header.tunables.get(name)?;
        Some(reading.value.as_deref()?.trim().to_owned())
    };
    let names: BTreeSet<&String> = before
        .tunables
        .keys()
        .chain(after.tunables.keys())
        .collect();
    names
        .into_iter()
        .filter(|name| !MEASURED.contains(&name.as_str()))
        .map(|name| TunableChange {
            name: name.clone(),
            before: value(before, name),
            after: value(after, name),
        })
        .filter(|change| change.before != change.after)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Reading;

    fn header(tunables: &[(&str, &str)]) -> Header {
        let tunables = tunables.iter().map(|(name, value)| {
            let reading = Reading {
                value: Some((*value).to_owned()),
                writable: true,
                error: None,
            };
            ((*name).to_owned(), reading)
        });
        Header {
            tunables: tunables.collect(),
            ..Header::default()
        }
    }

    #[test]
    fn what_differs_or_is_missing_is_listed_and_what_is_measured_is_not() {
        let before = header(&[
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("nf_conntrack_count", "5"),
        ]);
        let after = header(&[
            ("a", "1\n"),
            ("b", "4"),
            ("d", "6"),
            ("nf_conntrack_count", "7"),
        ]);
        let listed: Vec<_> = changes(&before, &after)
            .into_iter()
            .map(|change| (change.name, change.before, change.after))
            .collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            listed,
            [
                ("b".to_owned(), some("2"), some("4")),
                ("c".to_owned(), some("3"), None),
                ("d".to_owned(), None, some("6")),
            ]
        );
        assert_eq!(changes(&before, &Header::default()), []);
    }
}
