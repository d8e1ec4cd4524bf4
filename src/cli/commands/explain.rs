//! `conntidy explain`: which rule takes a flow, and why each other does not.

use std::io::Write;
use std::path::PathBuf;

use anstyle::Style;
use clap::Args;

use super::plan::{remember, schedule};
use super::snapshot::open_recorded;
use crate::cli::args::{Common, NetnsArg, Output, PolicySource};
use crate::cli::render;
use crate::cli::{CliError, Outcome, live, policy};
use crate::flow::{Flow, FlowKey, OwnedExtra};
use crate::kernel::recorded::Recorded;
use crate::kernel::sets;
use crate::observe::{Header, Observe, Record};
use crate::plan::{self, Explanation, Judge, Options, RuleVerdict};
use crate::policy::{Members, Policy};
use crate::schedule::When;

/// Arguments of `conntidy explain`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy explain tcp 10.0.0.5:40112 10.0.9.5:5432\n  \
    conntidy explain icmp 10.0.0.5 10.0.9.5 type 8 code 0 id 77\n  \
    conntidy explain -p gw.toml --from gw1.jsonl.zst udp '[fd00::1]:53' '[fd00::2]:40000' zone 7\n\n\
    `conntidy plan -v` shows flows in this form.")]
pub struct ExplainArgs {
    /// The entry: protocol, source and destination of its original direction
    #[arg(value_name = "FLOW", required = true, num_args = 1..)]
    pub flow: Vec<String>,
    /// Where the policy comes from.
    #[command(flatten)]
    pub policy: PolicySource,
    /// Where to look.
    #[command(flatten)]
    pub netns: NetnsArg,
    /// Look in a snapshot instead of the running kernel; needs no root
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "netns")]
    pub from: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
}

/// Finds the flow and explains it.
pub(super) fn run(common: &Common, args: &ExplainArgs) -> Result<Outcome, CliError> {
    let key: FlowKey = args
        .flow
        .join(" ")
        .parse()
        .map_err(|error: crate::flow::FlowKeyError| CliError::usage(error.to_string()))?;
    let (policy, members) = policy::load(common, &args.policy)?;
    if let Some(path) = &args.from {
        let recorded = open_recorded(common, path)?;
        let header = recorded.header()?;
        let found = find(&recorded, &key)?;
        let options = Options::timeless(&policy, &header);
        return show(
            args, &recorded, &header, found, &key, &policy, &members, &options,
        );
    }
    live::within(&args.netns, |live| {
        let mut header = live.header()?;
        live::name_netns(&mut header, &args.netns);
        let mut options = Options::default();
        let rounds = remember(common, &mut header, &mut options)?;
        schedule(common, &policy, &header, &mut options, rounds, When::Now)?;
        let members = sets::read(&policy, members);
        let found = live.get(&key)?;
        show(
            args, &live, &header, found, &key, &policy, &members, &options,
        )
    })
}

fn find(recorded: &Recorded, key: &FlowKey) -> Result<Option<(Flow, OwnedExtra)>, CliError> {
    let mut found = None;
    let mut visit = |record: &Record<'_>| {
        if record.flow.key() == *key {
            found = Some((record.flow, record.extra.to_owned()));
        }
    };
    recorded.dump(&mut [&mut visit])?;
    Ok(found)
}

#[expect(
    clippy::too_many_arguments,
    reason = "each is one input of the explanation"
)]
fn show(
    args: &ExplainArgs,
    table: &dyn Observe,
    header: &Header,
    found: Option<(Flow, OwnedExtra)>,
    key: &FlowKey,
    policy: &Policy,
    members: &[Members],
    options: &Options,
) -> Result<Outcome, CliError> {
    let Some((flow, extra)) = found else {
        return Err(CliError::failed(format!("there is no entry {key}")).hint(
            "name it by its original direction, as `conntidy plan -v` or `conntrack -L` shows it",
        ));
    };
    let members = plan::members(policy, members, header);
    let judge = Judge::new(policy, &members, header, options);
    let record = Record {
        flow,
        extra: extra.borrow(),
        message: &[],
    };
    let explanation = judge.explain(table, &record)?;
    match args.output {
        Output::Text => text(&explanation)?,
        Output::Json => render::json(&explanation)?,
    }
    Ok(Outcome::default())
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

fn text(explanation: &Explanation) -> Result<(), CliError> {
    let mut stdout = anstream::stdout().lock();
    writeln!(stdout, "{}", explanation.flow)?;
    writeln!(stdout, "{BOLD}{}{BOLD:#}\n", explanation.outcome)?;
    for (title, verdicts) in [
        ("protect", &explanation.protect),
        ("rules", &explanation.rules),
    ] {
        if verdicts.is_empty() {
            continue;
        }
        writeln!(stdout, "{BOLD}{title}{BOLD:#}")?;
        for verdict in verdicts {
            write_verdict(&mut stdout, verdict)?;
        }
    }
    Ok(())
}

fn write_verdict(out: &mut impl Write, verdict: &RuleVerdict) -> std::io::Result<()> {
    writeln!(
        out,
        "  {} ({}): {}",
        verdict.name, verdict.action, verdict.verdict
    )?;
    for clause in &verdict.clauses {
        let why = clause
            .why
            .as_ref()
            .map_or_else(String::new, |why| format!(" ({why})"));
        writeln!(
            out,
            "      {DIM}{:7}{DIM:#}  {} = {}: the flow has {}{why}",
            clause.truth, clause.field, clause.wanted, clause.found
        )?;
    }
    Ok(())
}
