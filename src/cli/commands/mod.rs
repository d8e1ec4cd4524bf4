//! One file a command: its arguments and what it does.

pub(super) mod apply;
pub(super) mod check;
pub(super) mod completions;
pub(super) mod confirm;
pub(super) mod conntrack;
pub(super) mod convert;
pub(super) mod count;
pub(super) mod create;
pub(super) mod delete;
pub(super) mod diff;
pub(super) mod doctor;
pub(super) mod events;
pub(super) mod expire;
pub(super) mod explain;
pub(super) mod flush;
pub(super) mod get;
pub(super) mod list;
pub(super) mod man;
pub(super) mod metrics;
pub(super) mod plan;
pub(super) mod rehearse;
pub(super) mod schema;
pub(super) mod series;
pub(super) mod snapshot;
pub(super) mod stats;
pub(super) mod test;
pub(super) mod top;
pub(super) mod undo;
pub(super) mod update;

use super::args::{Cli, Command};
use super::{CliError, Outcome};

/// Runs the chosen command.
pub(super) fn run(cli: &Cli) -> Result<Outcome, CliError> {
    let common = &cli.common;
    match &cli.command {
        Command::Check(args) => check::run(args),
        Command::Plan(args) => plan::run(common, args),
        Command::Apply(args) => apply::run(common, args),
        Command::Confirm(args) => confirm::run(common, args),
        Command::Rehearse(args) => rehearse::run(common, args),
        Command::Explain(args) => explain::run(common, args),
        Command::Test(args) => test::run(common, args),
        Command::Undo(args) => undo::run(common, args),
        Command::Snapshot(args) => snapshot::run(common, args),
        Command::Diff(args) => diff::run(common, args),
        Command::Series(args) => series::run(common, args),
        Command::List(args) => list::run(common, args),
        Command::Count(args) => count::run(common, args),
        Command::Top(args) => top::run(common, args),
        Command::Get(args) => get::run(common, args),
        Command::Delete(args) => delete::run(common, args),
        Command::Update(args) => update::run(common, args),
        Command::Create(args) => create::run(common, args),
        Command::Flush(args) => flush::run(common, args),
        Command::Expire(args) => expire::run(common, args),
        Command::Events(args) => events::run(common, args),
        Command::Stats(args) => stats::run(common, args),
        Command::Conntrack(args) => conntrack::run(args),
        Command::Metrics(args) => metrics::run(common, args),
        Command::Doctor(args) => doctor::run(common, args),
        Command::Convert(args) => convert::run(common, args),
        Command::Schema(args) => schema::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    }
}
