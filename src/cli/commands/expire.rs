//! `conntidy expire`: leaves flows less time, unless they show that they are alive.

use clap::Args;

use crate::cli::args::{Common, NetnsArg};
use crate::cli::change::{AgreeArgs, Change};
use crate::cli::select::SelectArgs;
use crate::cli::{CliError, Outcome};
use crate::policy::leaf::Leaf;
use crate::policy::{Action, Seconds};

/// Arguments of `conntidy expire`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy expire --in 30s -d 10.0.9.5 --dport 5432\n  \
    conntidy expire --in 2h4m -p tcp --state ESTABLISHED --idle-for 12h --max 5000\n  \
    conntidy expire --in 1s udp 10.0.0.5:40112 10.0.9.5:53\n\n\
    The remaining time is set to --in where it is longer, and never lengthened. The next packet of a\n\
    flow that is alive puts its full timeout back, so this ends what is dead and spares what is not.\n\
    Flows with a fixed timeout and offloaded ones are left alone, and so are this session's and those\n\
    that `[protect]` of the policy keeps.")]
pub struct ExpireArgs {
    /// The time that is left to flows that stay silent
    #[arg(long = "in", value_name = "TIME", value_parser = time)]
    pub within: Seconds,
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

fn time(text: &str) -> Result<Seconds, String> {
    match Seconds::read(text).map_err(|error| error.to_string())? {
        Seconds(0) => Err("a flow that is to end at once is one to `conntidy delete`".to_owned()),
        seconds => Ok(seconds),
    }
}

/// Shortens.
pub(super) fn run(common: &Common, args: &ExpireArgs) -> Result<Outcome, CliError> {
    let change = Change {
        common,
        command: "expire",
        select: &args.select,
        netns: &args.netns,
        agree: &args.agree,
        action: Action::Expire { grace: args.within },
    };
    change.run()
}
