//! `conntidy plan`: what applying would change. Nothing is written, by type.

use crate::cli::terminal::say;
use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::snapshot::open_recorded;
use crate::cli::args::{Common, NetnsArg, PolicySource};
use crate::cli::live::{self, Told};
use crate::cli::render::{self, ci};
use crate::cli::{CliError, Outcome, policy, shown};
use crate::config::Loaded;
use crate::history::History;
use crate::kernel::sets;
use crate::observe::{Header, Observe};
use crate::plan::{self, Judge, Options, Plan, PlanError, PolicyDrift, Saved};
use crate::policy::leaf::Leaf;
use crate::policy::{Bytes, Members, Policy};
use crate::schedule::{Rounds, When};
use crate::state::{State, StateError};

/// Arguments of `conntidy plan`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy plan                                    the system's policy on the running kernel\n  \
    conntidy plan -p gw.toml --from gw1.jsonl.zst    on a snapshot: no root, no kernel\n  \
    conntidy plan -p new.toml --compare old.toml --from gw1.jsonl.zst\n  \
    conntidy plan --due                              the timer's next run: only what is due\n  \
    conntidy plan --out plan.json                    for `conntidy apply plan.json`, within 10 minutes\n  \
    conntidy plan -o json | jq .summary\n  \
    conntidy plan -p gw.toml --from gw1.jsonl.zst -o markdown >> \"$GITHUB_STEP_SUMMARY\"\n  \
    conntidy plan -p gw.toml --from gw1.jsonl.zst -o github --fail-on refused,warning\n  \
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
    /// Show what changes for the snapshot's table against this other policy, the old one
    #[arg(long, value_name = "POLICY", requires = "from")]
    pub compare: Option<PathBuf>,
    /// Plan what `apply --due` would do: rules that are not due rest
    #[arg(long, conflicts_with = "from")]
    pub due: bool,
    /// Write the plan to this file too, for `apply FILE`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "due"])]
    pub out: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: PlanOutput,
    /// Most bytes of `-o markdown`: what matters least is cut, and that is said
    #[arg(long, value_name = "SIZE", default_value = "1000KiB", value_parser = size)]
    pub max_bytes: Bytes,
    /// Exit 2 where something would change
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Fail where a rule would be refused (exit 3); with `warning` also where the policy has warnings
    /// (exit 78), something could not be known or a tunable not be set (exit 4); repeatable
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    pub fail_on: Vec<FailOn>,
}

fn size(text: &str) -> Result<Bytes, String> {
    Bytes::read(text).map_err(|error| error.to_string())
}

/// Formats of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PlanOutput {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// GitHub's Markdown, for a step summary.
    Markdown,
    /// JUnit XML: a test case a rule and tunable.
    Junit,
    /// Annotations of GitHub Actions, at file and line of the rule.
    Github,
}

/// What makes `plan` fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// A rule that a rail refuses.
    Refused,
    /// That, a warning about the policy, and whatever could not be known or met.
    Warning,
}

/// Plans and prints.
pub(super) fn run(common: &Common, args: &PlanArgs) -> Result<Outcome, CliError> {
    let loaded = policy::read(common, &args.policy)?;
    let (Some(policy), members) = (&loaded.policy, &loaded.members) else {
        return Err(unplanned(common, args, &loaded));
    };
    match &args.from {
        Some(path) => {
            let recorded = open_recorded(common, path)?;
            let header = recorded.header()?;
            let options = Options::timeless(policy, &header);
            let seen = (&recorded as &dyn Observe, &header);
            if let Some(old) = &args.compare {
                return compare(common, args, old, &loaded, seen);
            }
            one(common, args, &loaded, policy, seen, members, &options)
        }
        None => live::within(&args.netns, |live| {
            let mut header = live.header()?;
            live::name_netns(&mut header, &args.netns);
            let mut options = Options::default();
            let when = if args.due { When::Due } else { When::Now };
            let rounds = remember(common, &mut header, &mut options)?;
            schedule(common, policy, &header, &mut options, rounds, when)?;
            let members = sets::read(policy, members.clone());
            let seen = (&live as &dyn Observe, &header);
            one(common, args, &loaded, policy, seen, &members, &options)
        }),
    }
}

/// Adds what earlier runs left. A plan that may not read it says so and goes on: less is proven
/// idle then, never more.
pub(in crate::cli) fn remember(
    common: &Common,
    header: &mut Header,
    options: &mut Options,
) -> Result<Rounds, CliError> {
    let unknown = |why: &dyn Display| {
        if !common.quiet {
            say!("note: {why}: idleness is not proven, rules on hold are not known");
        }
    };
    header.history = History::default();
    let Some(root) = live::state_root() else {
        unknown(&"there is no place for state between runs");
        return Ok(Rounds::default());
    };
    match State::of(&root, &header.netns).memory(&header.boot_id) {
        Ok(memory) => {
            options.holds = memory.holds();
            header.history = memory.history;
            Ok(memory.rounds)
        }
        Err(error @ StateError::File { .. }) => {
            unknown(&error);
            Ok(Rounds::default())
        }
        Err(error) => Err(error.into()),
    }
}

/// Adds which rules run, and which flows earlier runs saw.
pub(in crate::cli) fn schedule(
    common: &Common,
    policy: &Policy,
    header: &Header,
    options: &mut Options,
    mut rounds: Rounds,
    when: When,
) -> Result<(), CliError> {
    rounds.see(policy, header);
    options.schedule = rounds.schedule(policy, header, when);
    let follows = policy.rules.iter().any(|rule| rule.persisted.is_some());
    if let Some(root) = live::state_root().filter(|_| follows) {
        match State::of(&root, &header.netns).persisted(&header.boot_id) {
            Ok(persisted) => options.persisted = persisted,
            Err(error @ (StateError::File { .. } | StateError::Damaged { .. })) => {
                if !common.quiet {
                    say!("note: {error}: no flow has persisted");
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Plans with both policies and prints where they differ.
fn compare(
    common: &Common,
    args: &PlanArgs,
    old: &Path,
    new: &Loaded,
    (source, header): (&dyn Observe, &Header),
) -> Result<Outcome, CliError> {
    let named = PolicySource {
        policy: Some(old.to_owned()),
        set: Vec::new(),
    };
    let (old, members) = policy::load(common, &named)?;
    let save = |policy: &Policy, members: &[Members]| -> Result<Saved, CliError> {
        let options = Options::timeless(policy, header);
        let members = plan::members(policy, members, header);
        let judge = Judge::new(policy, &members, header, &options);
        Ok(plan::save(source, &judge, &options, &|_| {})?)
    };
    let Some(policy) = &new.policy else {
        return Err(policy::invalid());
    };
    let drift = PolicyDrift::of(&save(&old, &members)?, &save(policy, &new.members)?);
    let mut stdout = anstream::stdout().lock();
    shown(match args.output {
        PlanOutput::Json => render::json(&drift),
        PlanOutput::Text => Ok(render::policy_drift::write(&mut stdout, &drift, false)?),
        PlanOutput::Markdown => Ok(render::policy_drift::write(&mut stdout, &drift, true)?),
        PlanOutput::Junit | PlanOutput::Github => Err(CliError::usage(
            "`--compare` is shown as text, json or markdown",
        )),
    })?;
    Ok(Outcome {
        differences: args.detailed_exitcode && !drift.is_empty(),
        ..Outcome::default()
    })
}

/// What CI is told of a policy that cannot be used.
fn unplanned(common: &Common, args: &PlanArgs, loaded: &Loaded) -> CliError {
    let told = match args.output {
        PlanOutput::Text | PlanOutput::Json => Ok(()),
        _ => print_for_ci(common, args, loaded, None),
    };
    match shown(told) {
        Err(error) => error,
        Ok(()) => policy::invalid(),
    }
}

fn one(
    common: &Common,
    args: &PlanArgs,
    loaded: &Loaded,
    policy: &Policy,
    (source, header): (&dyn Observe, &Header),
    members: &[Members],
    options: &Options,
) -> Result<Outcome, CliError> {
    let told = Told::new(common, "reading the table", header.count);
    let members = plan::members(policy, members, header);
    let judge = Judge::new(policy, &members, header, options);
    let tell = |seen| told.tell(seen);
    let plan = match &args.out {
        None => plan::plan(source, &judge, options, &tell)?,
        Some(path) => {
            let saved = plan::save(source, &judge, options, &tell)?;
            write_saved(path, &saved)?;
            saved.plan
        }
    };
    drop(told);
    shown(print(common, args, loaded, &plan))?;
    let warns = args.fail_on.contains(&FailOn::Warning);
    if warns && !loaded.diagnostics.is_empty() {
        return Err(CliError::policy("the policy has warnings"));
    }
    let mut steps = plan.sysctl.iter();
    let has_doubts = !plan.doubts.is_empty() || steps.any(|step| ci::is_unmet(step.state));
    Ok(Outcome {
        differences: args.detailed_exitcode && !plan.summary.is_empty(),
        refused: !args.fail_on.is_empty() && plan.summary.refused > 0,
        incomplete: warns && has_doubts,
        ..Outcome::default()
    })
}

/// Writes a saved plan, wholly or not at all. It names flows, which are nobody else's to read.
fn write_saved(path: &Path, saved: &Saved) -> Result<(), CliError> {
    let failed = |error: io::Error| {
        CliError::failed(format!("the plan cannot be saved as {}", path.display())).because(error)
    };
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // Made with mode 0600.
    let file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    let mut out = BufWriter::new(file);
    serde_json::to_writer(&mut out, saved).map_err(|error| failed(error.into()))?;
    writeln!(out).map_err(failed)?;
    let file = out
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Prints a plan on stdout.
fn print(common: &Common, args: &PlanArgs, loaded: &Loaded, plan: &Plan) -> Result<(), CliError> {
    match args.output {
        PlanOutput::Text => {
            let mut stdout = anstream::stdout().lock();
            render::plan::write(&mut stdout, plan, "plan", common.verbose > 0)?;
            Ok(stdout.flush()?)
        }
        PlanOutput::Json => render::json(plan),
        _ => print_for_ci(common, args, loaded, Some(plan)),
    }
}

fn print_for_ci(
    common: &Common,
    args: &PlanArgs,
    loaded: &Loaded,
    plan: Option<&Plan>,
) -> Result<(), CliError> {
    let findings = ci::findings(loaded, plan);
    let mut stdout = io::stdout().lock();
    match args.output {
        PlanOutput::Junit => {
            ci::junit::write(&mut stdout, &ci::junit::suites(loaded, &findings, plan))?;
        }
        PlanOutput::Github => ci::github::write(&mut stdout, &findings)?,
        _ => {
            let most = usize::try_from(args.max_bytes.0).unwrap_or(usize::MAX);
            ci::markdown::write(&mut stdout, &findings, plan, most, common.verbose > 0)?;
        }
    }
    Ok(stdout.flush()?)
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
