//! `conntidy delete`: takes flows out of the table.

use clap::Args;

use crate::cli::args::{Common, NetnsArg};
use crate::cli::change::{AgreeArgs, Change};
use crate::cli::select::SelectArgs;
use crate::cli::table::Changeable;
use crate::cli::{CliError, Outcome, expect};
use crate::policy::Action;

/// Arguments of `conntidy delete`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy delete -p tcp -s 10.0.0.0/8 --dport 80,443,8000-8100\n  \
    conntidy delete tcp 10.0.0.5:40112 10.0.9.5:5432       one flow; nothing is dumped\n  \
    conntidy delete --state TIME_WAIT --max 10000          in a script: all of them, or none\n  \
    conntidy delete --idle-for 1h --not-dst @lan --dry-run\n  \
    conntidy delete --rule closing --yes                   what matches a rule of the policy\n\n\
    What would be deleted is shown first, and nothing is deleted before somebody has said yes. Off a\n\
    terminal it takes --yes, or --max N. Flows of this session are never deleted, and those that\n\
    `[protect]` of the policy keeps only with --include-protected. A flow that took the tuple of one\n\
    that was shown is another one, and stays. That nothing matches is no error.\n\n\
    `conntidy undo` puts the flows back.")]
pub struct DeleteArgs {
    /// Which table
    #[arg(long, value_enum, default_value_t, value_name = "TABLE")]
    pub table: Changeable,
    /// Which flows.
    #[command(flatten)]
    pub select: SelectArgs,
    /// Where to look.
    #[command(flatten)]
    pub netns: NetnsArg,
    /// How it is agreed to.
    #[command(flatten)]
    pub agree: AgreeArgs,
}

/// Deletes.
pub(super) fn run(common: &Common, args: &DeleteArgs) -> Result<Outcome, CliError> {
    if args.table == Changeable::Expect {
        return expect::delete(common, &args.select, &args.netns, &args.agree, false);
    }
    let change = Change {
        common,
        command: "delete",
        select: &args.select,
        netns: &args.netns,
        agree: &args.agree,
        action: Action::Delete,
    };
    change.run()
}
