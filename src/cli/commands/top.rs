//! `conntidy top`: a full-screen view of what the table is full of.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;

use crate::cli::args::{Common, NetnsArg};
use crate::cli::filter::FilterArgs;
use crate::cli::top::{Hand, Setup, Top};
use crate::cli::{CliError, Outcome, complete, live, policy};
use crate::group::By;
use crate::observe::Observe;
use crate::plan::Options;

/// Arguments of `conntidy top`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Keys: Enter opens a group, then a flow, Esc goes back; / edits the filter, b the grouping; s sorts,\n\
    p pauses, ? tells all keys, q quits; d deletes and x expires what is selected, as `conntidy delete`\n\
    and `conntidy expire` do: shown first, asked, undoable.\n\n\
    Examples:\n  \
    conntidy top                                      who has the most flows\n  \
    conntidy top --by dst,dport -p tcp --state SYN_SENT\n  \
    conntidy top --by src/24 --status unreplied --interval 10s\n  \
    conntidy top --netns blue --by protocol,state\n\n\
    Where stdout is no terminal, `conntidy count --by src --watch 2s` writes the same counts."
)]
pub struct TopArgs {
    /// Which flows.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Group by these fields, as `src/24,dport,state`
    #[arg(long, value_name = "FIELDS", default_value = "src", add = complete::groupings())]
    pub by: By,
    /// Look so often; less often where looking would take more than a quarter of one core
    #[arg(long, value_name = "TIME", value_parser = super::count::pause, default_value = "2s")]
    pub interval: Duration,
    /// The policy whose sets `@name` means [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<std::path::PathBuf>,
    /// Where to look.
    #[command(flatten)]
    pub netns: NetnsArg,
}

/// Shows the table until the user quits.
pub(super) fn run(common: &Common, args: &TopArgs) -> Result<Outcome, CliError> {
    require_terminal()?;
    let asks = args.policy.is_some() || args.filter.names_sets();
    let named = policy::load_where(asks, args.policy.as_ref())?;
    let sets = named.as_ref().map(|(policy, _)| policy.sets.clone());
    let predicate = args.filter.predicate(sets.as_deref().unwrap_or_default())?;
    let choice = anstream::AutoStream::choice(&io::stdout());
    let colors = choice != anstream::ColorChoice::Never;
    let idle = predicate.idle_for().is_some();
    let mut seen = None;
    live::within(&args.netns, |live| {
        let mut header = live.header()?;
        live::name_netns(&mut header, &args.netns);
        // What earlier runs left proves idleness, which may also be asked for later.
        let quiet = common.quiet || !idle;
        let told = Common { quiet, ..*common };
        match super::plan::remember(&told, &mut header, &mut Options::default()) {
            Err(error) if idle => return Err(error),
            Ok(_) | Err(_) => {}
        }
        let setup = Setup {
            host: header.host.clone(),
            netns: (!header.netns.initial).then(|| header.netns.name.clone()),
            filter: args.filter.clone(),
            predicate,
            by: args.by.clone(),
            every: args.interval,
            sets,
        };
        seen = Some(Top::start(setup, live, header, named)?);
        Ok(Outcome::default())
    })?;
    // Only the looking is done within that namespace: the terminal is here.
    let hand = Hand {
        common: common.clone(),
        policy: args.policy.clone(),
        netns: args.netns.clone(),
    };
    seen.map_or(Ok(Outcome::default()), |top| top.show(&hand, colors))
}

/// The screen is drawn on stdout, and keys come from stdin.
fn require_terminal() -> Result<(), CliError> {
    let refuse = |what: &str| {
        let error = CliError::usage(format!("{what}: `top` is a full-screen view"));
        Err(error.hint("`conntidy count --by src --watch 2s` writes counts line by line"))
    };
    if !io::stdout().is_terminal() {
        return refuse("stdout is no terminal");
    }
    if !io::stdin().is_terminal() {
        return refuse("stdin is no terminal");
    }
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return refuse("this terminal cannot place text (TERM is dumb)");
    }
    Ok(())
}
