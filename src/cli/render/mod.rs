//! Results for people and programs; one file a thing that is shown.

pub(super) mod diagnostics;
pub(super) mod flow_line;
pub(super) mod number;
pub(super) mod plan;
pub(super) mod report;
pub(super) mod snapshot;

use std::io::Write;

use serde::Serialize;

use super::CliError;

/// Prints one JSON document on stdout.
pub(super) fn json(document: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| CliError::failed("the result has no JSON form").because(error))?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}
