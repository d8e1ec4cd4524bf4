//! `conntidy snapshot take`: the running kernel's table to a file.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use crate::cli::args::{Common, NetnsArg, PolicySource};
use crate::cli::commands::plan::remember;
use crate::cli::live::{self, Told};
use crate::cli::render::number::{bytes, counted};
use crate::cli::{CliError, Outcome, policy};
use crate::observe::{Header, Observe, ObserveError};
use crate::plan::Options;
use crate::policy::{Members, Policy, SetSource, SnapshotSettings};
use crate::snapshot::Trailer;
use crate::store::{self, Store};

/// Arguments of `conntidy snapshot take`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy snapshot take                            into the directory of the policy\n  \
    conntidy snapshot take --out gw1.jsonl.zst\n  \
    conntidy snapshot take --out - | zstdcat | jq .   what it holds is JSON Lines")]
pub struct TakeArgs {
    /// Write this file; `-` is stdout
    #[arg(long, value_name = "FILE|-", conflicts_with = "directory")]
    pub out: Option<PathBuf>,
    /// Write into this directory, under a name of time and namespace [default: the policy's
    /// `snapshot.directory`, or /var/lib/conntidy/snapshots]
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Whose `[snapshot]` counts and whose sets are recorded. Without one on this machine: none.
    #[command(flatten)]
    pub policy: PolicySource,
    /// Where to look.
    #[command(flatten)]
    pub netns: NetnsArg,
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
        remember(common, &mut header, &mut Options::default())?;
        let settings = describe(&mut header, policy);
        let told = Told::new(common, "reading the table", header.count);
        let progress = |seen| told.tell(seen);
        let compression = settings.compression;
        let trailer = if to_stdout {
            store::take(&live, &header, std::io::stdout(), compression, progress)?.1
        } else {
            let taken = if let Some(file) = &args.out {
                store::take_to(file, &live, &header, compression, progress)?
            } else {
                let directory = args.directory.clone();
                let directory = directory.unwrap_or_else(|| settings.directory.into());
                Store::new(directory).take(&live, &header, compression, progress)?
            };
            drop(told);
            let size = bytes(taken.bytes);
            note(common, format_args!("{}, {size}", flows(&taken.trailer)));
            writeln!(std::io::stdout().lock(), "{}", taken.path.display())?;
            taken.trailer
        };
        Ok(judge(common, &trailer))
    })
}

/// Adds what the policy knows: its digest and the members of its sets.
fn describe(header: &mut Header, policy: Option<(Policy, Vec<Members>)>) -> SnapshotSettings {
    let Some((policy, members)) = policy else {
        return SnapshotSettings::default();
    };
    // Own addresses are in the header already; a set that cannot be read stays out.
    header.sets = policy
        .sets
        .into_iter()
        .zip(members)
        .filter(|(set, members)| set.source != SetSource::Local && members.error.is_none())
        .map(|(set, members)| (set.name, members.prefixes))
        .collect();
    header.policy_sha256 = Some(policy.sha256);
    policy.snapshot
}

fn flows(trailer: &Trailer) -> String {
    counted(trailer.flows, "flow", "flows")
}

/// A snapshot that misses something is kept, and said to be incomplete.
fn judge(common: &Common, trailer: &Trailer) -> Outcome {
    if trailer.resized {
        let what =
            "the hash table changed its size during each dump: flows may be missing or doubled";
        note(common, format_args!("{what}"));
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
        anstream::eprintln!("note: {text}");
    }
}
