//! `conntidy flush`: empties the table, or has the kernel do it.

use std::io::Write;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::args::{Common, NetnsArg, Output};
use crate::cli::change::{AgreeArgs, Change};
use crate::cli::render::number::{counted, grouped};
use crate::cli::render::{self, by_hand};
use crate::cli::select::SelectArgs;
use crate::cli::table::Changeable;
use crate::cli::terminal::say;
use crate::cli::{CliError, Outcome, expect};
use crate::kernel::Live;
use crate::kernel::flush::{self, Filter, FlushError};
use crate::plan::Plan;
use crate::policy::Action;

/// Arguments of `conntidy flush`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy flush --all                             every flow, one by one: this session and what the\n                                                   \
    policy protects stay; `undo` puts the others back\n  \
    conntidy flush --all --kernel --yes              the kernel's own flush: faster, and not undone\n  \
    conntidy flush --kernel -p tcp --dport 80 --yes\n  \
    conntidy flush --kernel --mark 0x10/0xff --dry-run\n\n\
    The kernel's flush spares nothing, so it is refused where it would take a flow of this session or\n\
    one that the policy protects. It knows a family, a protocol, single IPv4 addresses, single ports of\n\
    tcp and udp, a mark, and the status words assured, seen-reply, unreplied and fixed-timeout. Kernels\n\
    pass over what they do not know and then delete everything, so each filter is first tried on\n\
    made-up entries in a network namespace of its own, and refused unless it takes what it should and\n\
    nothing else. `conntidy delete` takes any filter.")]
pub struct FlushArgs {
    /// Which table
    #[arg(long, value_enum, default_value_t, value_name = "TABLE")]
    pub table: Changeable,
    /// Every flow
    #[arg(long)]
    pub all: bool,
    /// Have the kernel flush; it cannot be undone
    #[arg(long)]
    pub kernel: bool,
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

/// What `flush --kernel -o json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "conntidy flush")]
pub(in crate::cli) struct Flushed {
    /// `conntidy.flush/1`; minor versions only add fields.
    schema: &'static str,
    /// Flows that matched when it was looked.
    matched: u64,
    /// Whether the kernel was asked to flush.
    #[serde(rename = "flushed")]
    is_done: bool,
    /// Whether it can be undone: never.
    can_be_undone: bool,
    /// Entries before, as the kernel counts them.
    count_before: Option<u64>,
    /// Entries afterwards.
    count_after: Option<u64>,
}

/// Flushes.
pub(super) fn run(common: &Common, args: &FlushArgs) -> Result<Outcome, CliError> {
    if args.table == Changeable::Expect {
        if args.kernel {
            return Err(CliError::usage(
                "`--kernel` flushes the table of entries alone",
            ));
        }
        if !args.all {
            return Err(CliError::usage("`flush` empties the table: say `--all`"));
        }
        return expect::delete(common, &args.select, &args.netns, &args.agree, true);
    }
    let names_some = !args.select.is_empty();
    if args.all && names_some {
        return Err(CliError::usage("`--all` takes no filter"));
    }
    if !args.all && !args.kernel {
        return Err(CliError::usage("`flush` empties the table: say `--all`")
            .hint("`conntidy delete` takes a filter"));
    }
    let nothing_named = || CliError::usage("which flows? `--all`, or a filter");
    if !args.all && !names_some {
        return Err(nothing_named());
    }
    let change = Change {
        common,
        command: "flush",
        select: &args.select,
        netns: &args.netns,
        agree: &args.agree,
        action: Action::Delete,
    };
    let selection = change.read()?;
    if !args.all && selection.is_everything() {
        return Err(nothing_named());
    }
    if !args.kernel {
        return change.make(selection);
    }
    let filter = if args.all {
        None
    } else {
        if selection.rule.is_some() || args.select.id.is_some() || !args.select.flow.is_empty() {
            return Err(CliError::refused(
                "the kernel's flush knows no id, no single flow and no rule",
            )
            .hint("`conntidy delete` does"));
        }
        Some(Filter::of(&selection.predicate)?)
    };
    if args.agree.asks()? && !common.quiet {
        say!("note: the kernel's flush cannot be undone");
    }
    let act = |live: &Live| {
        match &filter {
            None => flush::everything(),
            Some(filter) => flush::matching(filter),
        }?;
        Ok(live.count().ok())
    };
    let show = |plan: &Plan, after: Option<Option<u64>>| {
        let flushed = Flushed {
            schema: "conntidy.flush/1",
            matched: by_hand::asked(plan).map_or(0, |rule| rule.matched),
            is_done: after.is_some(),
            can_be_undone: false,
            count_before: plan.table.count,
            count_after: after.flatten(),
        };
        match args.agree.output {
            Output::Json => render::json(&flushed),
            Output::Text => text(&flushed),
        }
    };
    change.whole(selection, refuse_spared, &act, &show)
}

/// The kernel spares nothing.
fn refuse_spared(plan: &Plan) -> Result<(), CliError> {
    let left = by_hand::asked(plan).map_or(0, |rule| rule.matched - rule.selected);
    if left == 0 {
        return Ok(());
    }
    Err(CliError::refused(format!(
        "the kernel's flush spares nothing, and {} not to be deleted: see `--dry-run`; nothing was done",
        counted(left, "flow is", "flows are")
    ))
    .hint("without `--kernel` they stay"))
}

fn text(flushed: &Flushed) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    let count = match (flushed.count_before, flushed.count_after) {
        (Some(before), Some(after)) => format!("; table {} -> {}", grouped(before), grouped(after)),
        _ => String::new(),
    };
    let matched = counted(flushed.matched, "flow", "flows");
    writeln!(
        out,
        "The kernel flushed what matched, about {matched}{count}. This cannot be undone."
    )?;
    Ok(())
}

impl From<FlushError> for CliError {
    fn from(error: FlushError) -> Self {
        let message = error.to_string();
        let delete = "`conntidy delete` takes the same filter, without `--kernel`";
        match error {
            FlushError::Unknown { .. } | FlushError::Disproven(_) => {
                Self::refused(format!("{message}; nothing was done")).hint(delete)
            }
            FlushError::Untried(source) => Self::refused(format!("{message}; nothing was done"))
                .because(source)
                .hint("making one needs CAP_SYS_ADMIN: run as root")
                .hint(delete),
            FlushError::Trial(source) => Self::refused(format!("{message}; nothing was done"))
                .because(source)
                .hint(delete),
            FlushError::Socket(error) => Self::failed("the table was not flushed").because(error),
        }
    }
}
