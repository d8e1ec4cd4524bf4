//! One file a command: its arguments and what it does.

pub(super) mod apply;
pub(super) mod check;
pub(super) mod doctor;
pub(super) mod explain;
pub(super) mod plan;
pub(super) mod rehearse;
pub(super) mod schema;
pub(super) mod snapshot;
pub(super) mod undo;

use super::args::{Cli, Command};
use super::{CliError, Outcome};

/// Runs the chosen command.
pub(super) fn run(cli: &Cli) -> Result<Outcome, CliError> {
    let common = &cli.common;
    match &cli.command {
        Command::Check(args) => check::run(args),
        Command::Plan(args) => plan::run(common, args),
        Command::Apply(args) => apply::run(common, args),
        Command::Rehearse(args) => rehearse::run(common, args),
        Command::Explain(args) => explain::run(common, args),
        Command::Undo(args) => undo::run(common, args),
        Command::Snapshot(args) => snapshot::run(common, args),
        Command::Doctor(args) => doctor::run(common, args),
        Command::Schema(args) => schema::run(args),
    }
}
