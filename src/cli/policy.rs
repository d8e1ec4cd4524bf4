//! Reads the policy that a command works with, and tells what is wrong with it.

use std::io::Write;
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
    usable(read(common, source)?)
}

/// The same for a command that needs a policy only for what it `asks`: the sets that a filter names, or
/// a rule. `file` is the one that was named. Without a word of warnings: `check` tells them.
pub(super) fn load_where(
    asks: bool,
    file: Option<&PathBuf>,
) -> Result<Option<(Policy, Vec<Members>)>, CliError> {
    if !asks && file.is_none() {
        return Ok(None);
    }
    let source = PolicySource {
        policy: file.cloned(),
        set: Vec::new(),
    };
    load_unwarned(&source).map(Some)
}

/// The policy with the places of its keys; invalid ones too. What is wrong goes to stderr.
pub(super) fn read(common: &Common, source: &PolicySource) -> Result<Loaded, CliError> {
    let loaded = config::load(&named(source))?;
    tell(common.quiet, &loaded);
    Ok(loaded)
}

/// The same without a word of warnings, for what a timer runs again and again: `check` tells them.
pub(super) fn load_unwarned(source: &PolicySource) -> Result<(Policy, Vec<Members>), CliError> {
    let loaded = config::load(&named(source))?;
    tell(true, &loaded);
    usable(loaded)
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
            let loaded = config::load(&source)?;
            tell(common.quiet, &loaded);
            usable(loaded).map(Some)
        }
        loaded => {
            let loaded = loaded?;
            tell(common.quiet, &loaded);
            usable(loaded).map(Some)
        }
    }
}

/// The system's, an empty one where it has none; without a word of warnings.
pub(super) fn load_or_empty() -> Result<(Policy, Vec<Members>), CliError> {
    match config::load(&named(&PolicySource::default())) {
        Err(ConfigError::Absent { .. }) => empty(),
        loaded => {
            let loaded = loaded?;
            tell(true, &loaded);
            usable(loaded)
        }
    }
}

/// A policy that wishes nothing.
pub(super) fn empty() -> Result<(Policy, Vec<Members>), CliError> {
    usable(config::load(&Source {
        file: Some(PathBuf::from("/dev/null")),
        assignments: vec!["version=1".to_owned()],
        root: PathBuf::from("/"),
    })?)
}

fn named(source: &PolicySource) -> Source {
    Source {
        file: source.policy.clone(),
        assignments: source.set.clone(),
        root: PathBuf::from("/"),
    }
}

fn tell(quiet: bool, loaded: &Loaded) {
    let shown: Vec<_> = loaded
        .diagnostics
        .iter()
        .filter(|diagnostic| !quiet || diagnostic.severity == Severity::Error)
        .cloned()
        .collect();
    let text = diagnostics::text(&shown, &loaded.texts, terminal::width());
    // Nobody reads it: that keeps no tunable from being set.
    let _ = write!(anstream::stderr(), "{text}");
}

fn usable(loaded: Loaded) -> Result<(Policy, Vec<Members>), CliError> {
    match loaded.policy {
        Some(policy) => Ok((policy, loaded.members)),
        None => Err(invalid()),
    }
}

/// The policy has errors, which were shown.
pub(super) fn invalid() -> CliError {
    CliError::policy("the policy is invalid")
}
