//! A change by hand: shown first, agreed to, made with the rails of a run, recorded, undoable.

use std::io::{self, IsTerminal, Write};

use clap::Args;

use super::args::{Common, NetnsArg, Output};
use super::commands::apply::outcome;
use super::commands::plan::{remember, schedule};
use super::error::POLICY;
use super::live::{self, Told};
use super::render::{self, by_hand};
use super::select::{SelectArgs, Selection};
use super::{CliError, Outcome, shown};
use crate::apply::Apply;
use crate::kernel::{Live, identity, sets};
use crate::observe::{Header, Observe};
use crate::plan::{self, Judge, Options, Plan, Saved};
use crate::policy::{Action, Members, Policy, Rule};
use crate::report::Report;
use crate::schedule::When;
use crate::state::RunName;

/// How a change by hand is agreed to and shown.
#[derive(Args, Clone, Debug)]
pub struct AgreeArgs {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Do not ask, and do nothing at all where more than N flows would be changed
    #[arg(long, value_name = "N", conflicts_with = "yes")]
    pub max: Option<u64>,
    /// Show what would be done, and do nothing
    #[arg(short = 'n', long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Also take flows that the policy's `[protect]` rules keep; never those of this session
    #[arg(long)]
    pub include_protected: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
}

/// What comes before the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    /// It is shown, and nothing is done.
    Look,
    /// It is shown, and somebody is asked.
    Ask,
    /// Nothing.
    Act,
}

impl AgreeArgs {
    /// Whether somebody is asked; an error where nobody is there and nobody has agreed.
    pub(super) fn asks(&self) -> Result<bool, CliError> {
        Ok(self.first()? == First::Ask)
    }

    fn first(&self) -> Result<First, CliError> {
        if self.dry_run {
            Ok(First::Look)
        } else if self.yes || self.max.is_some() {
            Ok(First::Act)
        } else if io::stdin().is_terminal() {
            Ok(First::Ask)
        } else {
            Err(CliError::usage("nobody is there to confirm it")
                .hint("`--yes` does not ask; `--max N` does not ask either, and does nothing where more than N flows match")
                .hint("`--dry-run` shows what would be done"))
        }
    }
}

/// A change that somebody asks for.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    /// Common arguments.
    pub(super) common: &'a Common,
    /// The command that does it.
    pub(super) command: &'static str,
    /// Which flows.
    pub(super) select: &'a SelectArgs,
    /// Where they are.
    pub(super) netns: &'a NetnsArg,
    /// How it is agreed to.
    pub(super) agree: &'a AgreeArgs,
    /// What happens to them.
    pub(super) action: Action,
}

/// Acts on what was looked at; gives back the entries that the kernel counts afterwards.
pub(super) type Act<'a> = dyn Fn(&Live) -> Result<Option<u64>, CliError> + Sync + 'a;
/// Shows what was looked at, and what came of it where anything was done.
pub(super) type Show<'a> = dyn Fn(&Plan, Option<Option<u64>>) -> Result<(), CliError> + Sync + 'a;

impl Change<'_> {
    /// Changes the flows that were named.
    pub(super) fn run(&self) -> Result<Outcome, CliError> {
        if self.select.is_empty() {
            return Err(self.everything(format!(
                "which flows? `conntidy {}` takes a filter, a flow or an id",
                self.command
            )));
        }
        let selection = self.read()?;
        if selection.is_everything() {
            return Err(self.everything("this would take every flow of the table"));
        }
        self.make(selection)
    }

    fn everything(&self, message: impl Into<String>) -> CliError {
        CliError::usage(message).hint(match self.action {
            Action::Delete => "`conntidy flush --all` deletes everything",
            _ => "`--family ipv4,ipv6` takes every flow",
        })
    }

    /// Reads which flows were named, and what protects them.
    pub(super) fn read(&self) -> Result<Selection, CliError> {
        let selection = self.select.read(!self.agree.include_protected);
        selection.map_err(|error| match error.code() {
            POLICY if !(self.agree.include_protected || self.select.needs_policy()) => {
                error.hint("`--include-protected` goes without the policy's `[protect]` rules")
            }
            _ => error,
        })
    }

    /// Changes them, whatever the selection is.
    pub(super) fn make(&self, selection: Selection) -> Result<Outcome, CliError> {
        let first = self.agree.first()?;
        self.begin(selection, |work, live| {
            let saved = match first {
                First::Act => None,
                First::Look | First::Ask => Some(work.look(&live)?),
            };
            if let Some(saved) = &saved {
                let plan = &saved.plan;
                let nothing = plan.summary.is_empty();
                if first == First::Look || (nothing && self.agree.output == Output::Text) {
                    match self.agree.output {
                        Output::Text => self.show(plan)?,
                        Output::Json => render::json(plan)?,
                    }
                    return Ok(Outcome {
                        refused: plan.summary.refused > 0,
                        ..Outcome::default()
                    });
                }
                if !nothing {
                    self.ask(plan)?;
                }
            }
            let report = work.act(&live.loading(), saved.as_ref())?;
            shown(match self.agree.output {
                Output::Text => {
                    let mut out = anstream::stdout().lock();
                    let is_shown = saved.is_some();
                    by_hand::report(&mut out, self.command, &report, is_shown)
                        .map_err(CliError::from)
                }
                Output::Json => render::json(&report),
            })?;
            Ok(outcome(&report))
        })
    }

    /// A delete that something else makes at one go: looked at and agreed to in the same way, unless
    /// what was seen forbids it.
    pub(super) fn whole(
        &self,
        selection: Selection,
        may: fn(&Plan) -> Result<(), CliError>,
        act: &Act<'_>,
        show: &Show<'_>,
    ) -> Result<Outcome, CliError> {
        let first = self.agree.first()?;
        self.begin(selection, |work, live| {
            let plan = work.look(&live)?.plan;
            let refused = plan.summary.refused > 0;
            let matched = by_hand::asked(&plan).is_some_and(|rule| rule.matched > 0);
            if first == First::Look || refused || !matched {
                match self.agree.output {
                    Output::Text => self.show(&plan)?,
                    Output::Json => show(&plan, None)?,
                }
                may(&plan)?;
                return Ok(Outcome {
                    refused,
                    ..Outcome::default()
                });
            }
            may(&plan)?;
            let plan = if first == First::Ask {
                self.ask(&plan)?;
                work.look_again(&live, may)?
            } else {
                plan
            };
            let after = work.leave_to(&live.loading(), &plan, act)?;
            shown(show(&plan, Some(after)))?;
            Ok(Outcome::default())
        })
    }

    /// Hands on the work, and where it is done.
    fn begin(
        &self,
        selection: Selection,
        work: impl FnOnce(&ByHand<'_>, Live) -> Result<Outcome, CliError> + Send,
    ) -> Result<Outcome, CliError> {
        let (mut policy, members, only) = selection.policy(self.action, self.agree.max);
        if self.agree.include_protected {
            policy.protect.clear();
        }
        live::within(self.netns, |live| {
            let members = sets::read(&policy, members);
            let by_hand = ByHand {
                change: self,
                policy: &policy,
                members: &members,
            };
            work(&by_hand, live.only(only))
        })
    }

    /// Shows what is not done.
    fn show(&self, plan: &Plan) -> Result<(), CliError> {
        let mut out = anstream::stdout().lock();
        by_hand::plan(&mut out, self.command, plan)?;
        Ok(by_hand::nothing_done(&mut out, plan)?)
    }

    /// Shows what would be changed and has it agreed to.
    fn ask(&self, plan: &Plan) -> Result<(), CliError> {
        let mut out = anstream::stderr();
        by_hand::plan(&mut out, self.command, plan)?;
        write!(out, "{} [y/N] ", by_hand::question(plan))?;
        out.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
        Err(CliError::refused("not confirmed; nothing was done"))
    }
}

struct ByHand<'a> {
    change: &'a Change<'a>,
    policy: &'a Policy,
    members: &'a [Members],
}

impl ByHand<'_> {
    fn header(&self, live: &Live) -> Result<Header, CliError> {
        let mut header = live.header()?;
        live::name_netns(&mut header, self.change.netns);
        Ok(header)
    }

    /// What would be changed. Nothing is held meanwhile: whoever is asked may take their time.
    fn look(&self, live: &Live) -> Result<Saved, CliError> {
        let mut header = self.header(live)?;
        let mut options = Options::default();
        if self.goes_by_earlier_runs() {
            let rounds = remember(self.change.common, &mut header, &mut options)?;
            let policy = self.policy;
            schedule(
                self.change.common,
                policy,
                &header,
                &mut options,
                rounds,
                When::ByHand,
            )?;
        }
        let members = plan::members(self.policy, self.members, &header);
        let judge = Judge::new(self.policy, &members, &header, &options);
        let told = Told::new(self.change.common, "reading the table", header.count);
        Ok(plan::save(live, &judge, &options, &|seen| told.tell(seen))?)
    }

    /// Looks once more at what nothing spares, since whoever was asked may have taken their time.
    fn look_again(
        &self,
        live: &Live,
        may: fn(&Plan) -> Result<(), CliError>,
    ) -> Result<Plan, CliError> {
        let plan = self.look(live)?.plan;
        if plan.summary.refused > 0 {
            return Err(CliError::refused(
                "what was shown has changed since, and would be refused now; nothing was done",
            ));
        }
        may(&plan)?;
        Ok(plan)
    }

    /// Idleness is proven by what timeouts were; a rule of the policy may wait, and follow flows.
    fn goes_by_earlier_runs(&self) -> bool {
        let asks = |rule: &Rule| {
            let idle = rule.predicate.idle_for().or(rule.narrowed.idle_for());
            idle.is_some() || rule.persisted.is_some() || rule.only_claims
        };
        self.policy.rules.iter().any(asks)
    }

    fn act(&self, live: &Live, saved: Option<&Saved>) -> Result<Report, CliError> {
        let state = live::state_here()?;
        let _lock = live::lock(&state, self.change.command)?;
        let header = self.header(live)?;
        let run = RunName::new(header.time_ns, std::process::id());
        let told = Told::new(self.change.common, "reading the table", header.count);
        let changing = Told::new(self.change.common, "changing entries", None);
        let report = Apply {
            live,
            state: &state,
            run: &run,
            header,
            policy: self.policy,
            members: self.members,
            options: Options::default(),
            when: When::ByHand,
            by_hand: Some(as_typed()),
            saved,
            tell: &|seen| told.tell(seen),
            changing: &|handed| changing.tell(handed),
            confirm: None,
        }
        .run()?;
        Ok(report)
    }

    /// Has something else make the change, and records that.
    fn leave_to(&self, live: &Live, plan: &Plan, act: &Act<'_>) -> Result<Option<u64>, CliError> {
        let state = live::state_here()?;
        let _lock = live::lock(&state, self.change.command)?;
        state.create()?;
        let header = self.header(live)?;
        let run = RunName::new(header.time_ns, std::process::id());
        let mut report = Report::new(run.to_string(), &header, plan.clone());
        report.by_hand = Some(as_typed());
        report.flushed = by_hand::asked(plan).map(|rule| rule.matched);
        state.write_audit(&run, &report)?;
        let after = match act(live) {
            Ok(after) => after,
            Err(error) => {
                state.forget(&run)?;
                return Err(error);
            }
        };
        report.finished = Some(plan::rfc3339(identity::time_ns()));
        report.count_after = after;
        state.write_audit(&run, &report)?;
        state.prune(self.policy.audit, &run)?;
        Ok(after)
    }
}

/// What was typed, for the record.
fn as_typed() -> String {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join(" ")
}
