//! `conntidy snapshot prune`: removes what `keep` does not keep.

use crate::cli::terminal::say;
use std::io::Write;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::args::{Common, Output};
use crate::cli::render;
use crate::cli::render::number::{bytes, counted};
use crate::cli::stored::StoreArgs;
use crate::cli::{CliError, Outcome, shown};
use crate::kernel::identity;
use crate::snapshot::retention::Fate;
use crate::store::Pruned;

/// Arguments of `conntidy snapshot prune`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "What stays is said by `[snapshot] keep` of the policy. `snapshot take` prunes by itself.\n\n\
    Examples:\n  \
    conntidy snapshot prune --dry-run\n  \
    conntidy snapshot prune --set 'snapshot.keep = { last = 10, daily = 7 }' --directory snaps"
)]
pub struct PruneArgs {
    /// Say why each one stays or goes, and remove none
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Where they are, and whose `keep` counts.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
}

/// What `snapshot prune -o json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "conntidy snapshot prune")]
pub(in crate::cli) struct PruneJson {
    /// `conntidy.snapshot-prune/1`.
    schema: &'static str,
    /// The directory.
    directory: String,
    /// Whether nothing was removed because nothing was to be.
    dry_run: bool,
    /// Every readable snapshot, the newest first.
    snapshots: Vec<Judged>,
    /// Files that cannot be read, with the place of the damage. They count for nothing and stay.
    unreadable: Vec<Trouble>,
    /// Files that were to go and could not be removed.
    failed: Vec<Trouble>,
}

/// What becomes of a snapshot.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Judged {
    /// Its path.
    file: PathBuf,
    /// Its size.
    bytes: u64,
    /// Whether it stays.
    stays: bool,
    /// Why.
    reasons: Vec<String>,
}

/// What is wrong with a file.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Trouble {
    /// Its path.
    file: PathBuf,
    /// What is wrong.
    error: String,
}

/// Prunes, or says what pruning would do.
pub(super) fn run(common: &Common, args: &PruneArgs) -> Result<Outcome, CliError> {
    let (store, settings) = args.store.open(common)?;
    let now = i64::try_from(identity::time_ns() / 1_000_000_000).unwrap_or(i64::MAX);
    let pruned = if args.dry_run {
        store.judge(&settings.keep, now)?
    } else {
        store.prune(&settings.keep, now)?
    };
    let document = document(
        store.directory().display().to_string(),
        args.dry_run,
        &pruned,
    );
    shown(match args.output {
        Output::Text => text(common, &document, &pruned),
        Output::Json => render::json(&document),
    })?;
    Ok(Outcome {
        incomplete: !pruned.failed.is_empty(),
        ..Outcome::default()
    })
}

fn document(directory: String, dry_run: bool, pruned: &Pruned) -> PruneJson {
    let judged = |(stored, fate): &(crate::store::Stored, Fate)| Judged {
        file: stored.path.clone(),
        bytes: stored.bytes,
        stays: matches!(fate, Fate::Stays(_)),
        reasons: match fate {
            Fate::Stays(reasons) => reasons.iter().map(ToString::to_string).collect(),
            Fate::Goes(reason) => vec![reason.to_string()],
        },
    };
    PruneJson {
        schema: "conntidy.snapshot-prune/1",
        directory,
        dry_run,
        snapshots: pruned.judged.iter().map(judged).collect(),
        unreadable: (pruned.unreadable.iter())
            .map(|(stored, error)| Trouble {
                file: stored.path.clone(),
                error: error.to_string(),
            })
            .collect(),
        failed: (pruned.failed.iter())
            .map(|(stored, error)| Trouble {
                file: stored.path.clone(),
                error: error.to_string(),
            })
            .collect(),
    }
}

const GOES: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
const STAYS: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));

fn text(common: &Common, document: &PruneJson, pruned: &Pruned) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    for one in &document.snapshots {
        let file = one.file.display();
        let why = one.reasons.join(", ");
        if !one.stays {
            writeln!(out, "{GOES}goes {GOES:#}  {file}  {why}")?;
        } else if document.dry_run || common.verbose > 0 {
            writeln!(out, "{STAYS}stays{STAYS:#}  {file}  {why}")?;
        }
    }
    for trouble in &document.unreadable {
        let file = trouble.file.display();
        writeln!(out, "left   {file}  counts for nothing: {}", trouble.error)?;
    }
    for trouble in &document.failed {
        let file = trouble.file.display();
        writeln!(out, "failed {file}  {}", trouble.error)?;
    }
    let going = counted(pruned.going().count() as u64, "snapshot", "snapshots");
    let size = bytes(pruned.going().map(|stored| stored.bytes).sum());
    let staying = document.snapshots.iter().filter(|one| one.stays).count();
    let verb = if document.dry_run { "would go" } else { "went" };
    writeln!(out, "{going} {verb}, {size}; {staying} stay")?;
    Ok(())
}

/// Says on stderr what pruning after a take could not do; whether it did all.
pub(super) fn note_after_take(common: &Common, pruned: &Pruned) -> bool {
    let gone = pruned.going().count() as u64;
    if gone > 0 && !common.quiet {
        let gone = counted(gone, "older one", "older ones");
        say!("note: pruned {gone}; `conntidy snapshot prune --dry-run` tells what stays why");
    }
    for (stored, error) in &pruned.unreadable {
        if !common.quiet {
            let file = stored.path.display();
            say!("note: {file} counts for nothing and is left alone: {error}");
        }
    }
    for (stored, error) in &pruned.failed {
        say!(
            "note: {} could not be removed: {error}",
            stored.path.display()
        );
    }
    pruned.failed.is_empty()
}
