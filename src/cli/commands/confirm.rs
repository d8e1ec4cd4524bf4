//! `conntidy confirm`: lets stay what `apply --confirm` wrote; and how that waits for it.

use crate::cli::terminal::say;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::cli::args::{Common, NetnsArg};
use crate::cli::render::{number::counted, report::put_back};
use crate::cli::{CliError, Outcome, live, service};
use crate::confirm::{Waiting, forget_typed};
use crate::kernel::Live;
use crate::plan::Resize;
use crate::policy::Seconds;
use crate::report::{Confirmation, Report, TunableOutcome, TunableResult};
use crate::state::{RunName, State, StateError};
use crate::undo::{Undo, UndoError};

/// Arguments of `conntidy confirm`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "`conntidy apply --confirm 60s` writes tunables and puts them back unless somebody confirms them in\n\
    time. On a terminal it asks for Enter; from anywhere else this command confirms it.\n\n\
    Examples:\n  \
    systemd-run conntidy apply --confirm 2m     a change that may cut this connection\n  \
    conntidy confirm                            ... from a new one: it may stay"
)]
pub struct ConfirmArgs {
    /// Where the run waits.
    #[command(flatten)]
    pub netns: NetnsArg,
}

/// Confirms the run that waits.
pub(super) fn run(common: &Common, args: &ConfirmArgs) -> Result<Outcome, CliError> {
    live::within(&args.netns, |_| {
        let state = live::state_here()?;
        let none = || {
            CliError::failed("no run waits to be confirmed")
                .hint("`conntidy apply --confirm 60s` starts one")
        };
        let run = state.unconfirmed()?.ok_or_else(none)?;
        match state.lock("confirm") {
            Err(StateError::Busy { .. }) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                return Err(CliError::failed(format!(
                    "run {run} does not wait any more: it was killed before it was confirmed"
                ))
                .hint("the next `conntidy apply` puts back what it wrote")
                .hint(format!("`conntidy undo --sysctl {run}` does so now")));
            }
        }
        if !state.confirm()? {
            return Err(none());
        }
        if !common.quiet {
            // It is confirmed, whoever is told of it.
            let _ = writeln!(anstream::stdout(), "Confirmed: what run {run} wrote stays.");
        }
        Ok(Outcome::default())
    })
}

/// How long to wait, at least a second.
#[derive(Clone, Copy, Debug)]
pub struct Within(Seconds);

impl FromStr for Within {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seconds: Seconds = text
            .parse()
            .map_err(|error| format!("{error}; write a duration such as `60s` or `2m`"))?;
        if seconds.0 == 0 {
            return Err("nobody can confirm in no time".to_owned());
        }
        Ok(Self(seconds))
    }
}

/// A run that asks for its confirmation.
pub(super) struct Asking {
    waiting: Waiting,
    within: Within,
    quiet: bool,
}

impl Asking {
    /// From here on no signal ends the run between its writes and the question.
    pub(super) fn prepare(common: &Common, within: Within) -> Result<Self, CliError> {
        let waiting = Waiting::prepare()
            .map_err(|error| CliError::failed("signals cannot be caught").because(error))?;
        Ok(Self {
            waiting,
            within,
            quiet: common.quiet,
        })
    }

    /// Asks, where anything was written.
    pub(super) fn ask(
        &self,
        state: &State,
        run: &RunName,
        written: &[TunableResult],
    ) -> Option<Confirmation> {
        let changed: Vec<&TunableResult> = written
            .iter()
            .filter(|result| result.outcome != TunableOutcome::Failed)
            .collect();
        if changed.is_empty() {
            self.waiting.pass(state, run);
            return None;
        }
        let within = self.within.0;
        forget_typed();
        self.tell(&changed);
        service::status(&format!("waiting {within} to be confirmed"));
        service::extend(Duration::from_secs(within.0));
        let answer = self.waiting.wait(state, run, Duration::from_secs(within.0));
        Some(Confirmation {
            within: within.0,
            answer,
        })
    }

    fn tell(&self, changed: &[&TunableResult]) {
        let asks = io::stdin().is_terminal();
        if self.quiet && !asks {
            return;
        }
        let keys = counted(changed.len() as u64, "key", "keys");
        let lines = changed.iter().map(|result| {
            let before = result.before.as_deref().unwrap_or("?");
            let after = result.after.as_deref().unwrap_or("?");
            format!("  {}: {before} -> {after}\n", result.name)
        });
        let lines: String = lines.collect();
        let how = if asks {
            "Press Enter, or run `conntidy confirm`,"
        } else {
            "Run `conntidy confirm`"
        };
        let within = self.within.0;
        let text = format!(
            "{keys} written:\n{lines}{how} within {within} to keep that; else it is put back. \
             No rule acts before.\n"
        );
        // A terminal that takes nothing any more must not keep this from putting things back.
        std::thread::spawn(move || {
            let _ = io::stderr().write_all(text.as_bytes());
        });
    }
}

/// Puts back what a run wrote that nobody confirmed; how that went is in the report.
pub(super) fn revert(
    live: &Live,
    state: &State,
    run: &RunName,
    resize: Resize,
) -> Result<Report, UndoError> {
    Undo { live, state, run }.unconfirmed(resize)
}

/// Puts back what a run left that was killed before it was confirmed; the lock must be held.
pub(super) fn revert_killed(
    common: &Common,
    live: &Live,
    state: &State,
) -> Result<Option<(RunName, Report)>, CliError> {
    let Some(run) = state.left_unconfirmed()? else {
        return Ok(None);
    };
    let report = match revert(live, state, &run, Resize::Later) {
        Ok(report) => Some(report),
        // What it wrote is gone with its boot or namespace, or it came to write nothing.
        Err(
            UndoError::OtherBoot { .. }
            | UndoError::OtherNamespace { .. }
            | UndoError::State(StateError::NoRun { .. }),
        ) => None,
        Err(error) => return Err(error.into()),
    };
    state.forget_unconfirmed();
    let Some(report) = report else {
        return Ok(None);
    };
    if !common.quiet
        && let Some(undone) = report.undone.last()
    {
        say!(
            "note: run {run} was killed before it was confirmed: {}",
            put_back(undone)
        );
    }
    Ok(Some((run, report)))
}
