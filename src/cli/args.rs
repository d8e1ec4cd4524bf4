//! Arguments as typed; what they mean is the commands' affair.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use super::commands::{
    apply::ApplyArgs, check::CheckArgs, completions::CompletionsArgs, confirm::ConfirmArgs,
    conntrack::ConntrackArgs, convert::ConvertArgs, count::CountArgs, create::CreateArgs,
    delete::DeleteArgs, diff::DiffArgs, doctor::DoctorArgs, events::EventsArgs, expire::ExpireArgs,
    explain::ExplainArgs, flush::FlushArgs, get::GetArgs, list::ListArgs, man::ManArgs,
    metrics::MetricsArgs, plan::PlanArgs, rehearse::RehearseArgs, schema::SchemaArgs,
    series::SeriesArgs, snapshot::SnapshotArgs, stats::StatsArgs, test::TestArgs, top::TopArgs,
    undo::UndoArgs, update::UpdateArgs,
};
use super::complete;
use super::deferred::Deferred;
use super::terminal::Color;

/// Keeps a Linux connection tracking table the way a declarative policy says.
#[derive(Debug, Parser)]
#[command(
    name = "conntidy",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    propagate_version = true,
    after_help = "Exit codes: 0 done, 1 runtime error, 2 differences (--detailed-exitcode), 3 refused by a rail,\n\
                  4 incomplete, 5 read back different or contested, 64 usage, 75 busy, 77 no permission,\n\
                  78 policy invalid."
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// When to colour the output
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// No notes and no progress on stderr; errors remain
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more: what is in sync, and the first few flows of each rule
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// Where the policy comes from; the same for every command that reads one.
#[derive(Args, Clone, Debug, Default)]
pub struct PolicySource {
    /// Policy file [default: policy.toml and policy.d/*.toml in /etc/conntidy, /run/conntidy, /usr/lib/conntidy]
    #[arg(short, long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Override one key, as `--set timeouts.tcp.established=1d`; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// The network namespace that a command works in.
#[derive(Args, Clone, Debug)]
pub struct NetnsArg {
    /// Work in this network namespace: a name under /run/netns, or a path
    #[arg(long, value_name = "NAME|PATH", add = complete::namespaces())]
    pub netns: Option<String>,
}

/// Formats of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Validate policies; needs no root, no kernel and no network
    Check(Deferred<CheckArgs>),
    /// Show what applying the policy would change, and why not more; changes nothing
    Plan(Deferred<PlanArgs>),
    /// Apply the policy now: tunables, rules, and a look at what came of it
    Apply(Deferred<ApplyArgs>),
    /// Let stay what `apply --confirm` wrote
    Confirm(Deferred<ConfirmArgs>),
    /// Try a policy for real in a private network namespace, on a copy of a table
    Rehearse(Deferred<RehearseArgs>),
    /// Tell which rule takes a flow, and why each other does not
    Explain(Deferred<ExplainArgs>),
    /// Run policy tests: a table, and what the rules are to do with it
    Test(Deferred<TestArgs>),
    /// Put back what a run deleted, or the tunables that it wrote
    Undo(Deferred<UndoArgs>),
    /// Record the table, and show what was recorded
    Snapshot(Deferred<SnapshotArgs>),
    /// Tell what changed between two snapshots, or since one: flows, groups, tunables, drop counters
    Diff(Deferred<DiffArgs>),
    /// Show how groups of flows grew and shrank over many snapshots
    Series(Deferred<SeriesArgs>),
    /// List the entries of a table, or of a snapshot, that a filter lets pass
    List(Deferred<ListArgs>),
    /// Count them, by any fields
    Count(Deferred<CountArgs>),
    /// Show what the table is full of, on the full screen, and how that grows
    Top(Deferred<TopArgs>),
    /// Show one entry, without a dump
    Get(Deferred<GetArgs>),
    /// Delete the flows that a filter takes
    Delete(Deferred<DeleteArgs>),
    /// Set mark, labels, remaining time or status of flows
    Update(Deferred<UpdateArgs>),
    /// Make an entry
    Create(Deferred<CreateArgs>),
    /// Empty the table, or have the kernel flush what matches a simple filter
    Flush(Deferred<FlushArgs>),
    /// Leave flows less time, unless they show that they are alive
    Expire(Deferred<ExpireArgs>),
    /// Show how full the table is, what it costs, and what each processor counted and means by it
    Stats(Deferred<StatsArgs>),
    /// Show what happens to the table, as it happens: entries made, changed, gone; or how many
    Events(Deferred<EventsArgs>),
    /// Do what the `conntrack` tool does, by its own command line
    Conntrack(Deferred<ConntrackArgs>),
    /// Write how full the table is and how runs went, for Prometheus
    Metrics(Deferred<MetricsArgs>),
    /// Tell what this kernel and these privileges allow, what is missing and how to get it
    Doctor(Deferred<DoctorArgs>),
    /// Turn sysctl files, conntrack command lines and scripts made of these into a policy
    Convert(Deferred<ConvertArgs>),
    /// Print the JSON Schema of a document
    Schema(Deferred<SchemaArgs>),
    /// Print what a shell needs to complete this command line
    Completions(Deferred<CompletionsArgs>),
    /// Print a manual page, or write all of them
    Man(Deferred<ManArgs>),
}

/// What other commands have, asked of one that has it otherwise.
const ELSEWHERE: [(&str, &str); 4] = [
    ("--by", "to count groups, use 'conntidy count --by'"),
    ("--follow", "to see what happens, use 'conntidy events'"),
    ("--json", "to print JSON, use '-o json'"),
    ("--watch", "to look again, use '--every'"),
];

/// Adds the way out that the nearest word does not show: the way to name a policy where one was given
/// as `check` takes it, by itself, and what another command calls so.
pub(super) fn with_tip(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let unknown = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(unknown))) => unknown.clone(),
        _ => return error,
    };
    let mut cli = Cli::command();
    cli.build();
    let command = (arguments.iter().skip(1)).find_map(|argument| cli.find_subcommand(argument));
    let has = |long: &str| {
        let mut all = command.iter().flat_map(|command| command.get_arguments());
        all.any(|argument| argument.get_long() == Some(long))
    };
    let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == unknown);
    let tip = match elsewhere {
        Some(("--watch", _)) if !has("every") => return error,
        Some(("--json", _)) if !has("output") => return error,
        Some((_, tip)) => (*tip).to_owned(),
        None if has("policy") && Path::new(&unknown).extension() == Some(OsStr::new("toml")) => {
            format!("to name a policy, use '--policy {unknown}'")
        }
        None => return error,
    };
    error.remove(ContextKind::SuggestedArg);
    error.remove(ContextKind::Usage);
    let tip = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
    error.insert(ContextKind::Suggested, tip);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rehearsal_takes_its_policy_as_check_and_as_plan_do() {
        for (arguments, whether) in [
            (&["gw.toml"][..], true),
            (&["-p", "gw.toml"], true),
            (&["--policy", "gw.toml"], true),
            (&["-p", "gw.toml", "other.toml"], false),
            (&[], false),
        ] {
            let arguments = ["conntidy", "rehearse"].iter().chain(arguments);
            assert_eq!(Cli::try_parse_from(arguments).is_ok(), whether);
        }
    }

    #[test]
    fn what_another_command_has_is_told() {
        for (line, tip) in [
            ("list --by src", "conntidy count --by"),
            ("list --json", "-o json"),
            ("stats --watch", "--every"),
            ("plan gw.toml", "--policy gw.toml"),
        ] {
            let words: Vec<OsString> = ["conntidy"]
                .into_iter()
                .chain(line.split(' '))
                .map(Into::into)
                .collect();
            let error = Cli::try_parse_from(&words).unwrap_err();
            let told = with_tip(error, &words).to_string();
            assert!(told.contains(tip), "{told}");
            assert_eq!(told.matches("tip:").count(), 1, "{told}");
        }
    }

    #[test]
    fn the_age_of_a_saved_plan_goes_with_a_saved_plan() {
        let parses =
            |more: &[&str]| Cli::try_parse_from(["conntidy", "apply"].iter().chain(more)).is_ok();
        assert!(parses(&["plan.json", "--max-age", "1h"]));
        assert!(parses(&["plan.json"]));
        assert!(!parses(&["--max-age", "1h"]));
        assert!(parses(&[]));
    }

    /// Without a terminal clap folds at a hundred columns: an example in its middle, so that it is
    /// none, and the lines of a paragraph that is folded already into long and short ones.
    #[test]
    fn what_stands_below_the_help_is_not_folded_anew() {
        fn look(command: &clap::Command) {
            let text = command.get_after_help().map(ToString::to_string);
            for paragraph in text.iter().flat_map(|text| text.split("\n\n")) {
                for line in paragraph.lines() {
                    let fits = line.chars().count() <= 100;
                    let alone = line == paragraph && !line.starts_with(' ');
                    assert!(fits || alone, "{}: {line}", command.get_name());
                }
            }
            command.get_subcommands().for_each(look);
        }
        let mut cli = Cli::command();
        cli.build();
        look(&cli);
    }
}
