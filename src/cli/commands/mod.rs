//! One file a command: its arguments and what it does.

pub(super) mod check;
pub(super) mod schema;

use super::args::{Cli, Command};
use super::{CliError, Outcome};

/// Runs the chosen command.
pub(super) fn run(cli: &Cli) -> Result<Outcome, CliError> {
    match &cli.command {
        Command::Check(args) => check::run(args),
        Command::Schema(args) => schema::run(args),
    }
}
