//! Writes tunables and reads them back.

use crate::kernel::sysctl::Tunables;
use crate::plan::{TunableState, TunableStep};
use crate::report::{TunableOutcome, TunableResult};

/// Writes every step that is to be changed, in order; goes on after failures.
pub fn write(tunables: &dyn Tunables, steps: &[TunableStep]) -> Vec<TunableResult> {
    steps
        .iter()
        .filter(|step| step.state == TunableState::Change)
        .map(|step| TunableResult {
            drift: step.drift.clone(),
            ..write_one(tunables, &step.name, step.wanted, step.before.clone())
        })
        .collect()
}

/// What [`write`] comes to where all goes well.
pub(super) fn intended(steps: &[TunableStep]) -> Vec<TunableResult> {
    let changes = steps
        .iter()
        .filter(|step| step.state == TunableState::Change);
    let written = changes.map(|step| TunableResult {
        name: step.name.clone(),
        before: step.before.clone(),
        wanted: step.wanted,
        after: Some(step.wanted.to_string()),
        outcome: TunableOutcome::Written,
        drift: step.drift.clone(),
        contested: false,
        error: None,
    });
    written.collect()
}

/// Writes one value and compares what is read back.
pub fn write_one(
    tunables: &dyn Tunables,
    name: &str,
    wanted: u64,
    before: Option<String>,
) -> TunableResult {
    let written = tunables.write(name, &wanted.to_string());
    let after = tunables.read(name);
    let (outcome, error) = match (&written, &after) {
        (Err(error), _) => (TunableOutcome::Failed, Some(error.to_string())),
        (Ok(()), Ok(text)) if text.trim().parse() == Ok(wanted) => (TunableOutcome::Written, None),
        (Ok(()), Ok(_)) => (
            TunableOutcome::Disagrees,
            Some("reads back different: another writer, or the kernel's own limits".to_owned()),
        ),
        (Ok(()), Err(error)) => (TunableOutcome::Disagrees, Some(error.to_string())),
    };
    TunableResult {
        name: name.to_owned(),
        before,
        wanted,
        after: after.ok(),
        outcome,
        drift: None,
        contested: false,
        error,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::kernel::sysctl::DirectoryTunables;

    fn tree(values: &[(&str, &str)]) -> (tempfile::TempDir, DirectoryTunables) {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("net/netfilter");
        fs::create_dir_all(&directory).unwrap();
        for (name, value) in values {
            fs::write(directory.join(name), value).unwrap();
        }
        let tunables = DirectoryTunables::new(root.path());
        (root, tunables)
    }

    #[test]
    fn a_written_value_is_read_back() {
        let (_root, tunables) = tree(&[("nf_conntrack_max", "262144\n")]);
        let result = write_one(&tunables, "nf_conntrack_max", 512_000, None);
        assert_eq!(result.outcome, TunableOutcome::Written);
        assert_eq!(result.after.as_deref(), Some("512000"));
    }

    #[test]
    fn a_key_that_is_missing_fails_and_says_so() {
        let (_root, tunables) = tree(&[]);
        let result = write_one(&tunables, "nf_conntrack_max", 512_000, None);
        assert_eq!(result.outcome, TunableOutcome::Failed);
        assert!(result.error.unwrap().contains("nf_conntrack_max"));
    }
}
