//! Results for people and programs; one file a thing that is shown.

pub(super) mod by_hand;
pub(super) mod ci;
mod clock;
pub(super) mod columns;
pub(super) mod diagnostics;
pub(super) mod diff;
pub(super) mod event_line;
pub(super) mod flow_line;
pub(super) mod journal;
pub(super) mod manual;
mod markdown;
pub(super) mod netns;
pub(super) mod number;
pub(super) mod openmetrics;
mod page;
pub(super) mod plan;
pub(super) mod policy_drift;
pub(super) mod report;
pub(super) mod series;
pub(super) mod sheet;
pub(super) mod snapshot;
pub(super) mod stats;

use std::io::Write;

use serde::Serialize;

use super::CliError;

/// A host as people read it: an imported table may not say whose it was.
fn known(name: &str) -> &str {
    if name.is_empty() { "unknown" } else { name }
}

/// Prints one JSON document on stdout.
pub(super) fn json(document: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| CliError::failed("the result has no JSON form").because(error))?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}
