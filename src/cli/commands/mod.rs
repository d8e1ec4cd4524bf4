//! One file a command: its arguments and what it does.

use super::args::Cli;
use super::{CliError, Outcome};

/// Runs the chosen command.
pub(super) fn run(cli: &Cli) -> Result<Outcome, CliError> {
    match cli.command {}
}
