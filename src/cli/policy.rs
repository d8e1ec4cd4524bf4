//! Reads the policy that a command works with, and tells what is wrong with it.

use std::path::PathBuf;

use super::args::{Common, PolicySource};
use super::render::diagnostics;
use super::{CliError, terminal};
use crate::config::{self, ConfigError, Loaded, Source};
use crate::policy::{Members, Policy, diagnostic::Severity};

/// The policy with its sets as they could be read. Warnings go to stderr.
pub(super) fn load(
    common: &Common,
    source: &PolicySource,
) -> Result<(Policy, Vec<Members>), CliError> {
    tell(common, config::load(&named(source))?)
}

/// The same, but `None` where none is named and the system has none. What `--set` says then stands
/// alone.
pub(super) fn load_if_any(
    common: &Common,
    source: &PolicySource,
) -> Result<Option<(Policy, Vec<Members>)>, CliError> {
    match config::load(&named(source)) {
        Err(ConfigError::Absent { .. }) if source.set.is_empty() => Ok(None),
        Err(ConfigError::Absent { .. }) => {
            let mut source = named(source);
            source.file = Some(PathBuf::from("/dev/null"));
            source.assignments.push("version=1".to_owned());
            tell(common, config::load(&source)?).map(Some)
        }
        loaded => tell(common, loaded?).map(Some),
    }
}

fn named(source: &PolicySource) -> Source {
    Source {
        file: source.policy.clone(),
        assignments: source.set.clone(),
        root: PathBuf::from("/"),
    }
}

fn tell(common: &Common, loaded: Loaded) -> Result<(Policy, Vec<Members>), CliError> {
    let shown: Vec<_> = loaded
        .diagnostics
        .iter()
        .filter(|diagnostic| !common.quiet || diagnostic.severity == Severity::Error)
        .cloned()
        .collect();
    anstream::eprint!(
        "{}",
        diagnostics::text(&shown, &loaded.texts, terminal::width())
    );
    match loaded.policy {
        Some(policy) => Ok((policy, loaded.members)),
        None => Err(CliError::policy("the policy is invalid")),
    }
}
