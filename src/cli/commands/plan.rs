//! `conntidy plan`: what applying would change. Nothing is written, by type.

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::args::{Common, NetnsArg, Output, PolicySource};
use crate::cli::live::{self, Told};
use crate::cli::render;
use crate::cli::{CliError, Outcome, policy, shown};
use crate::history::History;
use crate::kernel::recorded::Recorded;
use crate::observe::{Header, Observe};
use crate::plan::{self, Judge, Options, Plan, PlanError};
use crate::policy::{Members, Policy};
use crate::state::{State, StateError};

/// Arguments of `conntidy plan`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy plan                                    the system's policy on the running kernel\n  \
    conntidy plan -p gw.toml --from gw1.jsonl.zst    on a snapshot: no root, no kernel\n  \
    conntidy plan -o json | jq .summary\n  \
    conntidy plan --detailed-exitcode                exit 2 where something would change")]
pub struct PlanArgs {
    /// Where the policy comes from.
    #[command(flatten)]
    pub policy: PolicySource,
    /// Where to look.
    #[command(flatten)]
    pub netns: NetnsArg,
    /// Plan on a snapshot instead of the running kernel; needs no root
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "netns")]
    pub from: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
    /// Exit 2 where something would change
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Fail where a rule would be refused (exit 3)
    #[arg(long, value_enum, value_name = "WHAT")]
    pub fail_on: Option<FailOn>,
}

/// What makes `plan` fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// A rule that a rail refuses.
    Refused,
}

/// Plans and prints.
pub(super) fn run(common: &Common, args: &PlanArgs) -> Result<Outcome, CliError> {
    let (policy, members) = policy::load(common, &args.policy)?;
    match &args.from {
        Some(path) => {
            let recorded = Recorded::open(path)?;
            let header = recorded.header()?;
            let options = Options::default();
            one(
                common, args, &recorded, &header, &policy, &members, &options,
            )
        }
        None => live::within(&args.netns, |live| {
            let mut header = live.header()?;
            live::name_netns(&mut header, &args.netns);
            let mut options = Options::default();
            remember(common, &mut header, &mut options)?;
            one(common, args, &live, &header, &policy, &members, &options)
        }),
    }
}

/// Adds what earlier runs left. A plan that may not read it says so and goes on: less is proven
/// idle then, never more.
pub(super) fn remember(
    common: &Common,
    header: &mut Header,
    options: &mut Options,
) -> Result<(), CliError> {
    let unknown = |why: &dyn Display| {
        if !common.quiet {
            anstream::eprintln!("note: {why}: idleness is not proven, rules on hold are not known");
        }
    };
    header.history = History::default();
    let Some(root) = live::state_root() else {
        unknown(&"there is no place for state between runs");
        return Ok(());
    };
    match State::of(&root, &header.netns).memory(&header.boot_id) {
        Ok(memory) => {
            options.holds = memory.holds();
            header.history = memory.history;
            Ok(())
        }
        Err(error @ StateError::File { .. }) => {
            unknown(&error);
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn one(
    common: &Common,
    args: &PlanArgs,
    source: &dyn Observe,
    header: &Header,
    policy: &Policy,
    members: &[Members],
    options: &Options,
) -> Result<Outcome, CliError> {
    let told = Told::new(common, "reading the table", header.count);
    let members = plan::members(policy, members, header);
    let judge = Judge::new(policy, &members, header, options);
    let plan = plan::plan(source, &judge, options, &|seen| told.tell(seen))?;
    drop(told);
    shown(print(common, args.output, &plan))?;
    Ok(Outcome {
        differences: args.detailed_exitcode && !plan.summary.is_empty(),
        refused: args.fail_on == Some(FailOn::Refused) && plan.summary.refused > 0,
        ..Outcome::default()
    })
}

/// Prints a plan on stdout.
fn print(common: &Common, output: Output, plan: &Plan) -> Result<(), CliError> {
    match output {
        Output::Text => {
            let mut stdout = anstream::stdout().lock();
            render::plan::write(&mut stdout, plan, "plan", common.verbose > 0)?;
            stdout.flush()?;
        }
        Output::Json => render::json(plan)?,
    }
    Ok(())
}

impl From<PlanError> for CliError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Observe(error) => error.into(),
            PlanError::Unsettled { .. } => Self::incomplete(error.to_string())
                .hint("something resizes nf_conntrack_buckets all the time: find it and stop it"),
        }
    }
}
