//! `conntidy rehearse`: a policy, for real, on a copy of a table in a private namespace.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use anstyle::Style;
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::apply::outcome;
use super::snapshot::open_recorded;
use crate::apply::Apply;
use crate::cli::args::{Common, Output, PolicySource};
use crate::cli::live::Told;
use crate::cli::render::{
    self,
    number::{counted, grouped},
};
use crate::cli::{CliError, Outcome, policy, shown};
use crate::kernel::recorded::Recorded;
use crate::kernel::{Live, namespace};
use crate::observe::Observe;
use crate::plan::{self, Judge, Options, Plan};
use crate::policy::{Members, Policy};
use crate::rehearse::{self, FillError, Filled};
use crate::report::Report;
use crate::schedule::When;
use crate::state::{RunName, State};

/// The sample table, a NAT gateway's: `examples/gateway.jsonl.zst`.
const SAMPLE: &[u8] = include_bytes!("../../../examples/gateway.jsonl.zst");

/// Arguments of `conntidy rehearse`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "The table is copied into a network namespace of its own, on the running kernel; the policy is\n\
    planned and applied there for real, and planned again. Nothing of this machine's own table or\n\
    tunables is touched, and no root is needed.\n\n\
    Examples:\n  \
    conntidy rehearse examples/gateway.toml\n  \
    conntidy rehearse gw.toml --from gw1.jsonl.zst"
)]
pub struct RehearseArgs {
    /// The policy
    #[arg(value_name = "POLICY", required_unless_present = "named")]
    pub policy: Option<PathBuf>,
    /// The policy, named as the other commands name theirs
    #[arg(
        id = "named",
        short = 'p',
        long = "policy",
        value_name = "FILE",
        conflicts_with = "policy"
    )]
    pub named: Option<PathBuf>,
    /// Override one key, as `--set timeouts.tcp.established=1d`; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The table to copy [default: a built-in sample of some 20,000 flows of a NAT gateway]
    #[arg(long, value_name = "SNAPSHOT")]
    pub from: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
}

/// What `rehearse -o json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "conntidy rehearsal")]
pub(in crate::cli) struct Rehearsal {
    /// `conntidy.rehearsal/1`.
    schema: &'static str,
    /// The copy of the table.
    filled: Filled,
    /// The plan on it.
    plan: Plan,
    /// What applying it did.
    report: Report,
    /// The plan afterwards.
    again: Plan,
    /// Milliseconds of each step.
    timings: BTreeMap<&'static str, u64>,
}

/// Rehearses and prints.
pub(super) fn run(common: &Common, args: &RehearseArgs) -> Result<Outcome, CliError> {
    let source = PolicySource {
        policy: args.policy.clone().or_else(|| args.named.clone()),
        set: args.set.clone(),
    };
    let (policy, members) = policy::load(common, &source)?;
    let scratch = tempfile::tempdir()
        .map_err(|error| CliError::failed("no temporary directory can be made").because(error))?;
    let path = if let Some(path) = &args.from {
        path.clone()
    } else {
        let path = scratch.path().join("sample.jsonl.zst");
        std::fs::write(&path, SAMPLE).map_err(|error| {
            CliError::failed(format!("{} cannot be written", path.display())).because(error)
        })?;
        path
    };
    let original = open_recorded(common, &path)?;
    // Before any thread exists.
    namespace::private()?;
    let rehearsal = rehearse(common, &policy, &members, &original, scratch.path())?;
    shown(match args.output {
        Output::Text => text(common, &policy, &rehearsal),
        Output::Json => render::json(&rehearsal),
    })?;
    let outcome = outcome(&rehearsal.report);
    Ok(Outcome {
        incomplete: outcome.incomplete || !rehearsal.filled.problems.is_empty(),
        ..outcome
    })
}

fn rehearse(
    common: &Common,
    policy: &Policy,
    members: &[Members],
    original: &Recorded,
    scratch: &std::path::Path,
) -> Result<Rehearsal, CliError> {
    let mut timings = BTreeMap::new();
    let began = Instant::now();
    let elapsed = || u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let live = Live::default();
    let recorded = original.header()?;
    let told = Told::new(common, "filling the table", recorded.count);
    let filled = rehearse::fill(&live, original, &recorded)?;
    drop(told);
    timings.insert("fill", milliseconds(began));

    let look = |history| -> Result<_, CliError> {
        let mut header = rehearse::header_of_copy(live.header()?, &recorded, elapsed());
        if let Some(history) = history {
            header.history = history;
        }
        Ok(header)
    };
    let make_plan = |header| -> Result<Plan, CliError> {
        let members = plan::members(policy, members, header);
        let options = Options::timeless(policy, header);
        let judge = Judge::new(policy, &members, header, &options);
        Ok(plan::plan(&live, &judge, &options, &|_| {})?)
    };
    let step = Instant::now();
    let header = look(None)?;
    let plan = make_plan(&header)?;
    timings.insert("plan", milliseconds(step));

    let step = Instant::now();
    let header = look(None)?;
    let state = State::of(scratch, &header.netns);
    state.create()?;
    let mut memory = state.memory(&header.boot_id)?;
    memory.history = header.history.clone();
    state.remember(&memory)?;
    let boot_id = header.boot_id.clone();
    let run = RunName::new(header.time_ns, std::process::id());
    let report = Apply {
        live: &live,
        state: &state,
        run: &run,
        header,
        policy,
        members,
        options: Options::default(),
        when: When::Timeless,
        by_hand: None,
        saved: None,
        tell: &|_| {},
        changing: &|_| {},
        confirm: None,
    }
    .run()?;
    timings.insert("apply", milliseconds(step));

    let step = Instant::now();
    let header = look(Some(state.memory(&boot_id)?.history))?;
    let again = make_plan(&header)?;
    timings.insert("plan again", milliseconds(step));
    Ok(Rehearsal {
        schema: "conntidy.rehearsal/1",
        filled,
        plan,
        report,
        again,
        timings,
    })
}

const BOLD: Style = Style::new().bold();

fn text(common: &Common, policy: &Policy, rehearsal: &Rehearsal) -> Result<(), CliError> {
    let mut stdout = anstream::stdout().lock();
    let out = &mut stdout;
    let took = |step| rehearsal.timings.get(step).copied().unwrap_or(0);
    writeln!(
        out,
        "{BOLD}1. A copy of the table{BOLD:#} in a private namespace of this kernel: {} of {} entries, {} ms",
        grouped(rehearsal.filled.created),
        grouped(rehearsal.filled.original),
        took("fill")
    )?;
    not_reproduced(out, policy, &rehearsal.filled)?;
    writeln!(out, "\n{BOLD}2. The plan{BOLD:#}, {} ms", took("plan"))?;
    render::plan::write(out, &rehearsal.plan, "plan", common.verbose > 0)?;
    writeln!(
        out,
        "\n{BOLD}3. Applied for real{BOLD:#}, {} ms",
        took("apply")
    )?;
    render::report::results(out, &rehearsal.report)?;
    writeln!(
        out,
        "\n{BOLD}4. Planned again{BOLD:#}, {} ms",
        took("plan again")
    )?;
    verdict(out, rehearsal)?;
    out.flush()?;
    Ok(())
}

fn not_reproduced(out: &mut impl Write, policy: &Policy, filled: &Filled) -> std::io::Result<()> {
    for (reason, count) in &filled.impossible {
        writeln!(out, "   not made: {reason} ({})", grouped(*count))?;
    }
    if filled.exists > 0 {
        writeln!(
            out,
            "   not made: their tuples are taken ({})",
            grouped(filled.exists)
        )?;
    }
    if filled.failed > 0 {
        writeln!(
            out,
            "   not made: the kernel refused ({})",
            grouped(filled.failed)
        )?;
    }
    for error in &filled.errors {
        writeln!(out, "      {error}")?;
    }
    for problem in &filled.problems {
        writeln!(out, "   problem: {problem}")?;
    }
    for (reason, count) in &filled.lost {
        writeln!(out, "   not reproduced: {reason} ({})", grouped(*count))?;
    }
    for (reason, names) in &filled.tunables_left {
        writeln!(out, "   not reproduced: {} ({reason})", few(names))?;
    }
    let blind = |tests: &[crate::policy::Test]| {
        tests
            .iter()
            .any(|test| filled.blind_fields.contains(test.field().name))
    };
    let names: Vec<&str> = policy
        .rules
        .iter()
        .map(|rule| (&rule.predicate, rule.name.as_str()))
        .chain(
            policy
                .protect
                .iter()
                .map(|p| (&p.predicate, p.name.as_str())),
        )
        .filter(|(predicate, _)| blind(&predicate.tests) || blind(&predicate.not))
        .map(|(_, name)| name)
        .collect();
    if !names.is_empty() {
        writeln!(
            out,
            "   these see other values than on the original: {}",
            names.join(", ")
        )?;
    }
    Ok(())
}

/// The first few names, and how many more there are.
fn few(names: &[String]) -> String {
    const FEW: usize = 3;
    match names.get(FEW..) {
        Some(more) if more.len() > 1 => {
            format!("{} and {} more", names[..FEW].join(", "), more.len())
        }
        _ => names.join(", "),
    }
}

fn verdict(out: &mut impl Write, rehearsal: &Rehearsal) -> std::io::Result<()> {
    let again = &rehearsal.again;
    let unmet: Vec<String> = again
        .sysctl
        .iter()
        .filter(|step| step.state.is_unmet())
        .map(|step| {
            let reason = step.reason.as_deref().unwrap_or("not met");
            format!("{}: {reason}", step.name)
        })
        .collect();
    let came_of_age = again.summary.expire + again.summary.delete;
    if again.summary.change > 0 || (came_of_age > 0 && rehearsal.report.is_incomplete()) {
        writeln!(
            out,
            "{BOLD}Not in sync{BOLD:#}: {}",
            render::plan::summary(again)
        )?;
    } else {
        let but = if unmet.is_empty() {
            ""
        } else {
            ", but for what a namespace cannot set:"
        };
        writeln!(out, "{BOLD}In sync{but}{BOLD:#}")?;
    }
    for line in unmet {
        writeln!(out, "  {line}")?;
    }
    // Everything that was selected was changed: what is selected now was not yet idle then.
    if came_of_age > 0 && !rehearsal.report.is_incomplete() {
        writeln!(
            out,
            "  {} became old enough meanwhile: no packet refreshes a copy",
            counted(came_of_age, "entry", "entries")
        )?;
    }
    Ok(())
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl From<FillError> for CliError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Observe(error) => error.into(),
            FillError::Sweep(error) => {
                Self::failed("the private namespace's table cannot be filled").because(error)
            }
        }
    }
}
