//! `conntidy apply`: the policy, now.

use std::io::Write;

use clap::{Args, ValueEnum};

use crate::apply::{Apply, ApplyError};
use crate::cli::args::{Common, NetnsArg, Output, PolicySource};
use crate::cli::live::{self, Told};
use crate::cli::render;
use crate::cli::{CliError, Outcome, policy, shown};
use crate::kernel::Live;
use crate::observe::Observe;
use crate::plan::{Options, Resize};
use crate::policy::{Members, Policy};
use crate::report::Report;
use crate::state::{RunName, State};

/// Arguments of `conntidy apply`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy apply                          the system's policy\n  \
    conntidy apply -p gw.toml --netns red   in another network namespace\n  \
    conntidy apply --release old-postgres   end the hold that `undo` put on a rule, then apply\n\n\
    Every run is recorded; `conntidy undo --list` shows the runs, `conntidy undo` puts back what the\n\
    last one deleted.")]
pub struct ApplyArgs {
    /// Where the policy comes from.
    #[command(flatten)]
    pub policy: PolicySource,
    /// Where to act.
    #[command(flatten)]
    pub netns: NetnsArg,
    /// Resize the hash table in this run: all packets stop meanwhile, about 0.4 s a million entries
    #[arg(long, value_enum, value_name = "WHEN")]
    pub resize: Option<ResizeArg>,
    /// End the hold that `undo` put on this rule; repeatable
    #[arg(long, value_name = "RULE")]
    pub release: Vec<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
}

/// When the hash table is resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResizeArg {
    /// In this run.
    Now,
}

impl From<ResizeArg> for Resize {
    fn from(when: ResizeArg) -> Self {
        match when {
            ResizeArg::Now => Self::Now,
        }
    }
}

/// Applies and prints what was done.
pub(super) fn run(common: &Common, args: &ApplyArgs) -> Result<Outcome, CliError> {
    let (policy, members) = policy::load(common, &args.policy)?;
    live::within(&args.netns, |live| {
        apply(common, args, &live.loading(), &policy, &members)
    })
}

fn apply(
    common: &Common,
    args: &ApplyArgs,
    live: &Live,
    policy: &Policy,
    members: &[Members],
) -> Result<Outcome, CliError> {
    let state = live::state_here()?;
    let _lock = live::lock(&state, "apply")?;
    // Behind the lock: a run that just ended may have changed what is read here.
    let mut header = live.header()?;
    live::name_netns(&mut header, &args.netns);
    release(&state, &header.boot_id, &args.release)?;
    let run = RunName::new(header.time_ns, std::process::id());
    let told = Told::new(common, "reading the table", header.count);
    let report = Apply {
        live,
        state: &state,
        run: &run,
        header,
        policy,
        members,
        options: Options {
            resize: args.resize.map_or(Resize::Later, Into::into),
            holds: Vec::new(),
        },
        tell: &|seen| told.tell(seen),
    }
    .run()?;
    drop(told);
    shown(print(common, args.output, &report))?;
    Ok(outcome(&report))
}

fn print(common: &Common, output: Output, report: &Report) -> Result<(), CliError> {
    match output {
        Output::Text => {
            let mut stdout = anstream::stdout().lock();
            render::report::write(&mut stdout, report, common.verbose > 0)?;
            Ok(stdout.flush()?)
        }
        Output::Json => render::json(report),
    }
}

/// What a report means for the exit code.
pub(super) fn outcome(report: &Report) -> Outcome {
    Outcome {
        incomplete: report.is_incomplete(),
        disagrees: report.disagrees(),
        refused: report.has_refusals(),
        differences: false,
    }
}

fn release(state: &State, boot_id: &str, rules: &[String]) -> Result<(), CliError> {
    if rules.is_empty() {
        return Ok(());
    }
    let mut memory = state.memory(boot_id)?;
    for rule in rules {
        if memory.holds.remove(rule).is_none() {
            let held: Vec<&str> = memory.holds.keys().map(String::as_str).collect();
            let held = if held.is_empty() {
                "no rule is".to_owned()
            } else {
                format!("on hold: {}", held.join(", "))
            };
            return Err(CliError::usage(format!(
                "rule `{rule}` is not on hold ({held})"
            )));
        }
    }
    Ok(state.remember(&memory)?)
}

impl From<ApplyError> for CliError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Observe(error) => error.into(),
            ApplyError::State(error) => error.into(),
        }
    }
}
