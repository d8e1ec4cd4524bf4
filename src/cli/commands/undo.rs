//! `conntidy undo`: puts back what a run deleted.

use crate::cli::terminal::say;
use std::cmp::Reverse;
use std::fmt::Arguments;
use std::io::Write;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::apply::ResizeArg;
use crate::cli::args::{Common, NetnsArg, Output};
use crate::cli::render::{
    self,
    number::{counted, grouped},
};
use crate::cli::{CliError, Outcome, live, shown};
use crate::kernel::{Live, identity};
use crate::plan::{Resize, TunableState};
use crate::report::{Report, TunableOutcome, Undone};
use crate::state::{RunName, State, StateError};
use crate::undo::{Undo, UndoError};

/// Arguments of `conntidy undo`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Entries come back with their tuples, translation, mark, zone and the remaining time\n\
    that they would have now. Whether a connection still lives is not known. The rules that deleted\n\
    them are on hold until `conntidy apply --release RULE`.\n\n\
    Examples:\n  \
    conntidy undo --list     the recorded runs\n  \
    conntidy undo            what the last run that deleted something deleted\n  \
    conntidy undo --sysctl   the tunables that the last run wrote"
)]
pub struct UndoArgs {
    /// The run to undo [default: the last one that deleted something, or changed it by hand; with
    /// `--sysctl` the last one that wrote tunables]
    #[arg(value_name = "RUN")]
    pub run: Option<RunName>,
    /// Put back the tunables that the run wrote, instead of entries
    #[arg(long)]
    pub sysctl: bool,
    /// Put back also the size of the hash table: all packets stop meanwhile
    #[arg(long, value_enum, value_name = "WHEN", requires = "sysctl")]
    pub resize: Option<ResizeArg>,
    /// List the recorded runs, newest first
    #[arg(long, conflicts_with_all = ["run", "sysctl"])]
    pub list: bool,
    /// Where to act.
    #[command(flatten)]
    pub netns: NetnsArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
}

/// What `undo --list -o json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "conntidy runs")]
pub(in crate::cli) struct Runs {
    /// `conntidy.runs/1`; minor versions only add fields.
    schema: &'static str,
    /// The records of the runs, newest first.
    runs: Vec<Report>,
}

/// Undoes a run, or lists the runs.
pub(super) fn run(common: &Common, args: &UndoArgs) -> Result<Outcome, CliError> {
    live::within(&args.netns, |live| {
        let state = live::state_here()?;
        if args.list {
            list(common, &state, args.output)
        } else {
            undo(common, &live.loading(), &state, args)
        }
    })
}

fn undo(common: &Common, live: &Live, state: &State, args: &UndoArgs) -> Result<Outcome, CliError> {
    let run = match &args.run {
        Some(run) => run.clone(),
        None => last(common, state, args.sysctl)?,
    };
    // Without this, undoing an unknown run would make directories.
    let recorded = state.read_audit(&run)?;
    let asked = recorded.by_hand.as_deref();
    if recorded.flushed.is_some() && !args.sysctl {
        let asked = asked.unwrap_or("flush --kernel");
        return Err(CliError::failed(format!(
            "run {run} cannot be undone: `{asked}` left it to the kernel, which tells nothing of what it flushes"
        ))
        .hint("`conntidy undo --list` shows earlier runs, `conntidy undo RUN` takes one back"));
    }
    let _lock = live::lock(state, "undo")?;
    let undo = Undo {
        live,
        state,
        run: &run,
    };
    let report = if args.sysctl {
        undo.sysctl(args.resize.map_or(Resize::Later, Into::into))?
    } else {
        undo.flows()?
    };
    let undone = report.undone.last().cloned().unwrap_or_default();
    shown(match args.output {
        Output::Text => text(&run, asked, &undone, args.sysctl),
        Output::Json => render::json(&report),
    })?;
    if undone
        .sysctl
        .iter()
        .any(|result| result.outcome == TunableOutcome::Written)
    {
        note(
            common,
            format_args!(
                "the next `apply`, a timer's too, writes again what the policy asks for: change that as well"
            ),
        );
    }
    let left = |kept: &[TunableState]| {
        let mut left = undone.sysctl_left.values().filter_map(|left| left.state);
        left.any(|state| kept.contains(&state))
    };
    let failed = |outcome| undone.sysctl.iter().any(|result| result.outcome == outcome);
    Ok(Outcome {
        incomplete: !undone.problems.is_empty()
            || undone.failed + undone.unknown + undone.no_room > 0
            || failed(TunableOutcome::Failed)
            || left(&[TunableState::NotWritable, TunableState::Unreadable]),
        disagrees: failed(TunableOutcome::Disagrees),
        refused: left(&[TunableState::Refused]),
        ..Outcome::default()
    })
}

fn last(common: &Common, state: &State, sysctl: bool) -> Result<RunName, CliError> {
    for (run, report) in newest_first(common, state)? {
        let did = if sysctl {
            !report.sysctl.is_empty()
        } else {
            // Not by the report: a run that was killed did not come to say what it deleted.
            report.flushed.is_some() || state.may_have_deleted(&run)? > 0
        };
        if did {
            return Ok(run);
        }
    }
    let what = if sysctl {
        "wrote a tunable"
    } else {
        "deleted anything"
    };
    Err(CliError::failed(format!("no recorded run {what}"))
        .hint(format!("runs are kept in {}", state.directory().display())))
}

/// The recorded runs: those of this boot first. A wall clock that was set back since, as at boot on
/// a machine whose clock has no battery, names later runs as if they were earlier.
fn newest_first(common: &Common, state: &State) -> Result<Vec<(RunName, Report)>, CliError> {
    let mut runs = Vec::new();
    for run in state.runs()? {
        if let Some(report) = recorded(common, state, &run)? {
            runs.push((run, report));
        }
    }
    let boot_id = identity::boot_id();
    let began = |report: &Report| (report.plan.boot_id == boot_id).then_some(report.uptime_ns);
    // Stable: what happened in other boots stays in the order of the names.
    runs.sort_by_key(|(_, report)| Reverse(began(report)));
    Ok(runs)
}

/// A run's record; `None` where a run at work has removed it meanwhile, to keep its limits, and
/// where it is damaged, which is said: the other runs are none the worse for it.
fn recorded(common: &Common, state: &State, run: &RunName) -> Result<Option<Report>, CliError> {
    match state.read_audit(run) {
        Ok(report) => Ok(Some(report)),
        Err(StateError::NoRun { .. }) => Ok(None),
        Err(error @ StateError::DamagedRecord { .. }) => {
            note(common, format_args!("passed over: {error}"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn list(common: &Common, state: &State, output: Output) -> Result<Outcome, CliError> {
    let (runs, reports): (Vec<RunName>, Vec<Report>) =
        newest_first(common, state)?.into_iter().unzip();
    if runs.is_empty() {
        let directory = state.directory().display();
        note(common, format_args!("no runs recorded in {directory}"));
    }
    if output == Output::Json {
        render::json(&Runs {
            schema: "conntidy.runs/1",
            runs: reports,
        })?;
        return Ok(Outcome::default());
    }
    let mut stdout = anstream::stdout().lock();
    for (run, report) in runs.iter().zip(&reports) {
        let totals = report.totals();
        write!(stdout, "{run}   ")?;
        if report.finished.is_some() {
            write!(
                stdout,
                "{} written, {} expired, {} deleted",
                counted(totals.written, "key", "keys"),
                grouped(totals.expired),
                grouped(totals.deleted),
            )?;
            if totals.updated > 0 {
                write!(stdout, ", {} updated", grouped(totals.updated))?;
            }
            if let Some(flushed) = report.flushed {
                write!(stdout, ", about {} flushed by the kernel", grouped(flushed))?;
            }
        } else {
            let sent = grouped(state.may_have_deleted(run)?);
            write!(stdout, "did not finish, at most {sent} deleted")?;
        }
        write!(stdout, "{}", undone_words(&report.undone))?;
        match &report.by_hand {
            Some(asked) => writeln!(stdout, "   by hand: {asked}")?,
            None => writeln!(stdout)?,
        }
    }
    Ok(Outcome::default())
}

fn undone_words(undone: &[Undone]) -> &'static str {
    let entries = undone.iter().any(Undone::has_entries);
    let tunables = undone.iter().any(Undone::has_tunables);
    match (entries, tunables) {
        (true, true) => "   entries and tunables undone",
        (true, false) => "   entries undone",
        (false, true) => "   tunables undone",
        (false, false) => "",
    }
}

fn note(common: &Common, text: Arguments<'_>) {
    if !common.quiet {
        say!("note: {text}");
    }
}

fn text(run: &RunName, asked: Option<&str>, undone: &Undone, sysctl: bool) -> Result<(), CliError> {
    let mut stdout = anstream::stdout().lock();
    for problem in &undone.problems {
        writeln!(stdout, "  problem: {problem}")?;
    }
    if sysctl {
        for result in &undone.sysctl {
            writeln!(
                stdout,
                "  {}: {} -> {}",
                result.name,
                result.before.as_deref().unwrap_or("?"),
                result.after.as_deref().unwrap_or("?")
            )?;
        }
        for (name, left) in &undone.sysctl_left {
            writeln!(
                stdout,
                "  {name}: left at {}: {}",
                left.value.as_deref().unwrap_or("?"),
                left.reason
            )?;
        }
        return Ok(());
    }
    match asked {
        Some(asked) => writeln!(stdout, "undo of run {run}, by hand: {asked}")?,
        None => writeln!(stdout, "undo of run {run}")?,
    }
    for (count, words) in [
        (
            undone.created,
            "created; whether their connections live is not known",
        ),
        (
            undone.restored,
            "still there, with their remaining time, mark or labels again",
        ),
        (
            undone.there,
            "there again already, by a packet of their own or an earlier undo",
        ),
        (undone.taken, "not created: another entry has their tuple"),
        (undone.expired, "not created: they would have ended by now"),
        (
            undone.no_room,
            "not created: the table would be more than 90 % full",
        ),
        (undone.failed, "not created: the kernel refused"),
        (undone.unknown, "of unknown outcome"),
    ] {
        if count > 0 {
            writeln!(stdout, "  {:>8}  {words}", grouped(count))?;
        }
    }
    for error in &undone.errors {
        writeln!(stdout, "      {error}")?;
    }
    for (reason, count) in &undone.lost {
        writeln!(stdout, "  not reproduced: {reason} ({})", grouped(*count))?;
    }
    for rule in &undone.holds {
        writeln!(
            stdout,
            "  rule `{rule}` is on hold: `conntidy apply --release {rule}` ends that"
        )?;
    }
    Ok(())
}

impl From<UndoError> for CliError {
    fn from(error: UndoError) -> Self {
        match error {
            UndoError::State(error) => error.into(),
            UndoError::Observe(error) => error.into(),
            UndoError::Sweep(error) => Self::failed("nothing was put back").because(error),
            UndoError::OtherBoot { .. } | UndoError::OtherNamespace { .. } => {
                Self::failed(error.to_string())
            }
            UndoError::Files { run, source } => {
                Self::failed(format!("the undo files of run {run} cannot be read")).because(source)
            }
        }
    }
}
