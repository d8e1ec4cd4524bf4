//! `conntidy snapshot take`: the running kernel's table to a file.

use crate::cli::terminal::say;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::prune::note_after_take;
use crate::cli::args::{Common, NetnsArg, PolicySource};
use crate::cli::commands::plan::remember;
use crate::cli::live::{self, Told};
use crate::cli::render::number::{bytes, counted};
use crate::cli::{CliError, Outcome, policy};
use crate::kernel::sets;
use crate::observe::{Header, Observe, ObserveError, Trigger};
use crate::plan::Options;
use crate::policy::{Detail, Members, Policy, SetSource, SnapshotSettings};
use crate::snapshot::{MOST_GROUPS, Trailer};
use crate::store::{self, Form, Store};

/// Arguments of `conntidy snapshot take`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy snapshot take                            into the directory of the policy\n  \
    conntidy snapshot take --out gw1.jsonl.zst\n  \
    conntidy snapshot take --detail aggregate         who has how many flows, not every flow\n  \
    conntidy snapshot take --set snapshot.addresses=prefix\n  \
    conntidy snapshot take --out - | zstdcat | jq .   what it holds is JSON Lines")]
pub struct TakeArgs {
    /// Write this file; `-` is stdout
    #[arg(long, value_name = "FILE|-", conflicts_with = "directory")]
    pub out: Option<PathBuf>,
    /// Write into this directory, under a name of time and namespace [default: the policy's
    /// `snapshot.directory`, or /var/lib/conntidy/snapshots]
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Record every flow, or groups of flows with counts
    #[arg(long, value_enum, default_value_t, value_name = "DETAIL")]
    pub detail: DetailArg,
    /// Whose `[snapshot]` counts and whose sets are recorded. Without one on this machine: none.
    #[command(flatten)]
    pub policy: PolicySource,
    /// Where to look.
    #[command(flatten)]
    pub netns: NetnsArg,
}

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DetailArg {
    /// Every flow.
    #[default]
    Full,
    /// Groups of flows with counts.
    Aggregate,
}

/// Takes a snapshot and prints where it is.
pub(super) fn run(common: &Common, args: &TakeArgs) -> Result<Outcome, CliError> {
    let policy = policy::load_if_any(common, &args.policy)?;
    let to_stdout = args.out.as_ref().is_some_and(|out| out.as_os_str() == "-");
    if to_stdout && std::io::stdout().is_terminal() {
        return Err(CliError::usage("a snapshot is nothing for a terminal")
            .hint("pass it on, as in `conntidy snapshot take --out - | zstdcat | jq .`"));
    }
    live::within(&args.netns, |live| {
        let mut header = live.header()?;
        if !header.conntrack {
            return Err(ObserveError::Absent(
                "connection tracking is not loaded: there is no table to record".to_owned(),
            )
            .into());
        }
        live::name_netns(&mut header, &args.netns);
        header.trigger = Some(Trigger::ByHand);
        remember(common, &mut header, &mut Options::default())?;
        let settings = match policy {
            None => SnapshotSettings::default(),
            Some((policy, members)) => {
                let members = sets::read(&policy, members);
                describe(common, &mut header, &policy, members);
                policy.snapshot
            }
        };
        let told = Told::new(common, "reading the table", header.count);
        let progress = |seen| told.tell(seen);
        let form = form(&settings, args.detail)?;
        let mut pruned_all = true;
        let trailer = if to_stdout {
            store::take(&live, &header, std::io::stdout(), &form, progress)?.1
        } else {
            let taken = if let Some(file) = &args.out {
                store::take_to(file, &live, &header, &form, progress)?
            } else {
                let directory = args.directory.clone();
                let directory = directory.unwrap_or_else(|| settings.directory.clone().into());
                Store::new(directory).take(&live, &header, &form, progress)?
            };
            drop(told);
            let size = bytes(taken.bytes);
            note(common, format_args!("{}, {size}", flows(&taken.trailer)));
            writeln!(std::io::stdout().lock(), "{}", taken.path.display())?;
            // What was named by hand may be an archive: only the policy's own directory is pruned.
            if args.out.is_none() && args.directory.is_none() {
                let now = i64::try_from(header.time_ns / 1_000_000_000).unwrap_or(i64::MAX);
                let pruned = Store::new(&settings.directory).prune(&settings.keep, now)?;
                pruned_all = note_after_take(common, &pruned);
            }
            taken.trailer
        };
        let outcome = judge(common, &trailer);
        Ok(Outcome {
            incomplete: outcome.incomplete || !pruned_all,
            ..outcome
        })
    })
}

pub(super) fn form(settings: &SnapshotSettings, detail: DetailArg) -> Result<Form, CliError> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    Ok(Form {
        compression: settings.compression,
        detail: match detail {
            DetailArg::Full => Detail::Full,
            DetailArg::Aggregate => Detail::Aggregate,
        },
        redactor: Form::redactor(&settings.addresses, credentials.as_deref())?,
    })
}

/// Adds what the policy knows: its digest and the members of its sets.
pub(super) fn describe(
    common: &Common,
    header: &mut Header,
    policy: &Policy,
    members: Vec<Members>,
) {
    for (set, members) in policy.sets.iter().zip(members) {
        match (&set.source, members.error) {
            // Own addresses, and those of earlier runs, are in the header already; which files cannot
            // be read was told when the policy was.
            (SetSource::Local | SetSource::Lost { .. }, _) | (SetSource::File(_), Some(_)) => {}
            (_, None) => {
                header.sets.insert(set.name.clone(), members.prefixes);
            }
            (_, Some(error)) => note(
                common,
                format_args!("the set `@{}` is not recorded: {error}", set.name),
            ),
        }
    }
    header.policy_sha256 = Some(policy.sha256.clone());
}

pub(super) fn flows(trailer: &Trailer) -> String {
    let flows = counted(trailer.table_flows(), "flow", "flows");
    match trailer.aggregate {
        Some(_) => format!("{flows} in {}", counted(trailer.flows, "group", "groups")),
        None => flows,
    }
}

/// A snapshot that misses something is kept, and said to be incomplete.
pub(super) fn judge(common: &Common, trailer: &Trailer) -> Outcome {
    if trailer.resized {
        let what =
            "the hash table changed its size during each dump: flows may be missing or doubled";
        note(common, format_args!("{what}"));
    }
    if let Some(groups) = trailer.aggregate
        && groups.folded > 0
    {
        let folded = counted(groups.folded, "flow", "flows");
        note(
            common,
            format_args!("{folded} past {MOST_GROUPS} groups are counted without addresses"),
        );
    }
    if trailer.undecoded > 0 {
        let messages = counted(trailer.undecoded, "message", "messages");
        note(common, format_args!("{messages} could not be decoded"));
    }
    Outcome {
        incomplete: trailer.resized || trailer.undecoded > 0,
        ..Outcome::default()
    }
}

fn note(common: &Common, text: std::fmt::Arguments<'_>) {
    if !common.quiet {
        say!("note: {text}");
    }
}
