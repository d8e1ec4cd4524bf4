//! `conntidy snapshot restore`: a snapshot's flows into the kernel.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::diff::named;
use crate::cli::args::{Common, NetnsArg, Output};
use crate::cli::live;
use crate::cli::render;
use crate::cli::render::number::{counted, grouped};
use crate::cli::stored::StoreArgs;
use crate::cli::{CliError, Outcome, complete, shown};
use crate::kernel::Live;
use crate::kernel::recorded::Recorded;
use crate::observe::{Observe, Record};
use crate::rebuild::rebuild;
use crate::rehearse::{self, Filled};

/// Arguments of `conntidy snapshot restore`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "For a replacement gateway before it takes over, or a namespace to look at. Remaining times are\n\
    those of the snapshot; ids, counters and start times are new. Tunables are not restored.\n\n\
    Examples:\n  \
    conntidy snapshot restore gw1.jsonl.zst --dry-run\n  \
    conntidy snapshot restore gw1.jsonl.zst --netns replay --yes"
)]
pub struct RestoreArgs {
    /// The snapshot: a file, or its name in the store
    #[arg(value_name = "FILE", add = complete::snapshots())]
    pub file: String,
    /// Where the store is.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Say what would be made and what cannot be, and make nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Add to a table that has entries already; those stay as they are
    #[arg(long)]
    pub merge: bool,
    /// Where to load it.
    #[command(flatten)]
    pub netns: NetnsArg,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
}

/// What `snapshot restore -o json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "conntidy snapshot restore")]
pub(in crate::cli) struct Restored {
    /// `conntidy.snapshot-restore/1`.
    schema: &'static str,
    /// The snapshot.
    file: String,
    /// Whether nothing was made because nothing was to be.
    dry_run: bool,
    /// Entries that were in the table before.
    before: u64,
    /// `nf_conntrack_max` of the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<u64>,
    /// What became of the snapshot's flows; of a dry run `created` is what would be asked for.
    flows: Filled,
}

/// Restores, or says what restoring would do.
pub(super) fn run(common: &Common, args: &RestoreArgs) -> Result<Outcome, CliError> {
    // Before entering a namespace: the path is one of here.
    let file = named(common, &args.store, &args.file)?;
    let file = std::path::absolute(&file).unwrap_or(file);
    let recorded = Recorded::open(&file)?;
    if recorded.header()?.redaction.is_some() {
        return Err(CliError::failed(format!(
            "{}: its addresses are not real, and flows of invented hosts are not restored",
            args.file
        ))
        .hint("`conntidy rehearse` takes it"));
    }
    live::within(&args.netns, |live| restore(common, args, &live, &recorded))
}

fn restore(
    common: &Common,
    args: &RestoreArgs,
    live: &Live,
    recorded: &Recorded,
) -> Result<Outcome, CliError> {
    let judged = judge(recorded)?;
    let header = live.header()?;
    let mut restored = Restored {
        schema: "conntidy.snapshot-restore/1",
        file: args.file.clone(),
        dry_run: args.dry_run,
        before: header.count.unwrap_or(0),
        max: header.number("nf_conntrack_max").filter(|max| *max > 0),
        flows: judged,
    };
    check(args, &restored)?;
    if !args.dry_run {
        confirm(args, &restored)?;
        let state = live::state_here()?;
        let _lock = live::lock(&state, "snapshot restore")?;
        let told = live::Told::new(common, "filling the table", Some(restored.flows.original));
        let mut filled = Filled::default();
        rehearse::copy(&live.clone().loading(), recorded, &mut filled)?;
        drop(told);
        restored.flows = filled;
    }
    shown(match args.output {
        Output::Text => text(&restored),
        Output::Json => render::json(&restored),
    })?;
    let flows = &restored.flows;
    Ok(Outcome {
        incomplete: !args.dry_run
            && (flows.failed > 0 || !flows.problems.is_empty() || !flows.impossible.is_empty()),
        ..Outcome::default()
    })
}

/// What would be asked for, and what of it is lost; reads the whole snapshot, so that a damaged one
/// is not restored in part.
fn judge(recorded: &Recorded) -> Result<Filled, CliError> {
    let mut filled = Filled::default();
    let mut lost: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut visit = |record: &Record<'_>| {
        filled.original += 1;
        match rebuild(&record.flow, record.extra) {
            Ok(rebuilt) => {
                filled.created += 1;
                for reason in rebuilt.lost.reasons() {
                    *lost.entry(reason).or_default() += 1;
                }
                let blind = rebuilt.lost.blinds().map(|field| field.name.to_owned());
                filled.blind_fields.extend(blind);
            }
            Err(why) => *filled.impossible.entry(why.to_string()).or_default() += 1,
        }
    };
    recorded.dump(&mut [&mut visit])?;
    filled.lost = lost
        .into_iter()
        .map(|(reason, flows)| (reason.to_owned(), flows))
        .collect();
    Ok(filled)
}

/// Refuses what would mix two tables unasked, or leave no room for new flows.
fn check(args: &RestoreArgs, restored: &Restored) -> Result<(), CliError> {
    if restored.before > 0 && !args.merge {
        return Err(CliError::refused(format!(
            "the table has {} already; nothing was restored",
            counted(restored.before, "entry", "entries")
        ))
        .hint("`--merge` adds to them; `--netns NAME` restores elsewhere"));
    }
    let Some(max) = restored.max else {
        return Ok(());
    };
    let after = restored.before.saturating_add(restored.flows.created);
    if u128::from(after) * 10 > u128::from(max) * 9 {
        return Err(CliError::refused(format!(
            "the table would have {} of {} entries, and the last tenth is for new flows; nothing was restored",
            grouped(after),
            grouped(max)
        ))
        .hint("raise net.netfilter.nf_conntrack_max (in the initial network namespace) first"));
    }
    Ok(())
}

fn confirm(args: &RestoreArgs, restored: &Restored) -> Result<(), CliError> {
    if args.yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(CliError::usage("nobody is there to confirm it")
            .hint("`--yes` does not ask; `--dry-run` changes nothing"));
    }
    let to = args
        .netns
        .netns
        .as_deref()
        .unwrap_or("this network namespace");
    let flows = counted(restored.flows.created, "flow", "flows");
    let _ = write!(anstream::stderr(), "Load {flows} into {to}? [y/N] ");
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(CliError::refused("not confirmed; nothing was restored"))
}

fn text(restored: &Restored) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    let flows = &restored.flows;
    let verb = if restored.dry_run {
        "would be restored"
    } else {
        "restored"
    };
    writeln!(
        out,
        "{} of {} {verb}",
        grouped(flows.created),
        counted(flows.original, "flow", "flows")
    )?;
    for (reason, count) in &flows.impossible {
        writeln!(out, "  not made: {reason} ({})", grouped(*count))?;
    }
    if flows.exists > 0 {
        writeln!(
            out,
            "  not made: their tuples are taken ({})",
            grouped(flows.exists)
        )?;
    }
    if flows.failed > 0 {
        writeln!(
            out,
            "  not made: the kernel refused ({})",
            grouped(flows.failed)
        )?;
    }
    for error in &flows.errors {
        writeln!(out, "    {error}")?;
    }
    for problem in &flows.problems {
        writeln!(out, "  problem: {problem}")?;
    }
    for (reason, count) in &flows.lost {
        writeln!(out, "  not reproduced: {reason} ({})", grouped(*count))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RestoreArgs,
    }

    fn checked(before: u64, created: u64, max: u64, merge: bool) -> Option<u8> {
        let merge = if merge { &["--merge"][..] } else { &[] };
        let line = Line::parse_from([&["restore", "file"], merge].concat());
        let restored = Restored {
            schema: "conntidy.snapshot-restore/1",
            file: String::new(),
            dry_run: false,
            before,
            max: Some(max),
            flows: Filled {
                created,
                ..Filled::default()
            },
        };
        check(&line.args, &restored).err().map(|error| error.code())
    }

    #[test]
    fn the_last_tenth_of_a_table_is_left_to_new_flows() {
        assert_eq!(checked(0, 900, 1000, false), None);
        assert_eq!(checked(0, 901, 1000, false), Some(3));
        assert_eq!(checked(100, 800, 1000, true), None);
        assert_eq!(checked(101, 800, 1000, true), Some(3));
    }

    #[test]
    fn a_table_with_entries_needs_merge() {
        assert_eq!(checked(1, 1, 1000, false), Some(3));
        assert_eq!(checked(1, 1, 1000, true), None);
    }
}
