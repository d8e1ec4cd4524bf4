//! `conntidy snapshot`: takes, keeps and shows snapshots.

mod due;
mod import;
mod list;
mod prune;
mod restore;
mod show;
mod take;

use crate::cli::terminal::say;
use std::fs::File;
use std::io;
use std::path::Path;

use clap::{Args, Subcommand};

pub(in crate::cli) use due::take_due;
pub(in crate::cli) use list::List;
pub(in crate::cli) use prune::PruneJson;
pub(in crate::cli) use restore::Restored;
pub(in crate::cli) use show::Shown;

use crate::cli::args::Common;
use crate::cli::{CliError, Outcome};
use crate::kernel::recorded::Recorded;
use crate::observe::{Observe, Redaction};
use crate::snapshot::SnapshotError;
use crate::store::{DueError, KeyError, StoreError, TakeError};

/// Arguments of `conntidy snapshot`.
#[derive(Args, Clone, Debug)]
pub struct SnapshotArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SnapshotCommand,
}

/// What `snapshot` does.
#[derive(Clone, Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Record the table of the running kernel
    Take(take::TakeArgs),
    /// List the snapshots of the store
    List(list::ListArgs),
    /// Show what a snapshot holds
    Show(show::ShowArgs),
    /// Remove the snapshots that the policy does not keep
    Prune(prune::PruneArgs),
    /// Make a snapshot of what `conntrack -L` printed, or of the kernel's own listing
    Import(import::ImportArgs),
    /// Load a snapshot's flows into the kernel
    Restore(restore::RestoreArgs),
}

/// Runs the chosen one.
pub(super) fn run(common: &Common, args: &SnapshotArgs) -> Result<Outcome, CliError> {
    match &args.command {
        SnapshotCommand::Take(args) => take::run(common, args),
        SnapshotCommand::List(args) => list::run(common, args),
        SnapshotCommand::Show(args) => show::run(common, args),
        SnapshotCommand::Prune(args) => prune::run(common, args),
        SnapshotCommand::Import(args) => import::run(common, args),
        SnapshotCommand::Restore(args) => restore::run(common, args),
    }
}

/// Opens a snapshot in place of the kernel, and says what cannot be judged by it.
pub(in crate::cli) fn open_recorded(common: &Common, path: &Path) -> Result<Recorded, CliError> {
    let recorded = Recorded::open(path)?;
    let what = match recorded.header()?.redaction {
        None => return Ok(recorded),
        Some(Redaction::Prefix { .. }) => "prefixes",
        Some(Redaction::Pseudonym { .. }) => "pseudonyms",
    };
    if !common.quiet {
        say!(
            "note: this snapshot has {what} in place of addresses: whatever tests addresses is unknown"
        );
    }
    Ok(recorded)
}

/// Opens a file that should be a snapshot.
pub(in crate::cli) fn open(path: &Path) -> Result<File, CliError> {
    File::open(path).map_err(|source| {
        let message = format!("open the snapshot {}", path.display());
        match source.kind() {
            io::ErrorKind::PermissionDenied => CliError::permission(message),
            _ => CliError::failed(message),
        }
        .because(source)
    })
}

/// Why a snapshot cannot be read, with its file.
pub(in crate::cli) fn unreadable(path: &Path, error: SnapshotError) -> CliError {
    let message = format!("{}: {error}", path.display());
    match error {
        SnapshotError::Read(source) if source.kind() == io::ErrorKind::NotSeekable => {
            CliError::not_seekable(path.display())
        }
        SnapshotError::Write(source) | SnapshotError::Read(source) => {
            CliError::failed(message).because(source)
        }
        SnapshotError::Damaged(_) => CliError::failed(message)
            .hint("`conntidy snapshot show --salvage FILE` shows what can still be read"),
        SnapshotError::Version { .. } => {
            CliError::failed(message).hint("a newer conntidy wrote it: read it with that one")
        }
        SnapshotError::Foreign(_) | SnapshotError::Aggregate | SnapshotError::Full => {
            CliError::failed(message)
        }
    }
}

impl From<TakeError> for CliError {
    fn from(error: TakeError) -> Self {
        let message = error.to_string();
        match error {
            TakeError::Observe(error) => error.into(),
            TakeError::Snapshot(SnapshotError::Write(source))
                if source.kind() == io::ErrorKind::BrokenPipe =>
            {
                source.into()
            }
            TakeError::Snapshot(SnapshotError::Write(source)) => {
                Self::failed(message).because(source)
            }
            TakeError::Snapshot(_) => Self::failed(message),
            TakeError::Thread(source) => Self::failed(message).because(source),
        }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::Take(error) => error.into(),
            StoreError::Directory { source, .. } | StoreError::Write { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Self::permission(message)
                    .because(source)
                    .hint("`--out FILE` or `--directory DIR` writes elsewhere")
            }
            StoreError::Directory { source, .. } | StoreError::Write { source, .. } => {
                Self::failed(message).because(source)
            }
        }
    }
}

impl From<KeyError> for CliError {
    fn from(error: KeyError) -> Self {
        let message = error.to_string();
        match error {
            KeyError::Unreadable { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Self::permission(message).because(source)
            }
            KeyError::Unreadable { source, .. } => Self::failed(message)
                .because(source)
                .hint("`(umask 077; head -c 32 /dev/urandom > FILE)` makes a key; whoever has it can find out whose a pseudonym is"),
            KeyError::Short { source, .. } => Self::failed(message)
                .because(source)
                .hint("`(umask 077; head -c 32 /dev/urandom > FILE)` makes a key; with another key all pseudonyms are others"),
            KeyError::Open { path } => Self::failed(message)
                .hint("with it the addresses in every snapshot can be found out")
                .hint(format!("`chmod o= {}` keeps it to its owner and group", path.display())),
            KeyError::NoCredentials(name) => Self::failed(message).hint(format!(
                "a unit has it with `LoadCredential={name}:/path`; by hand say `--set snapshot.key-file=FILE`"
            )),
        }
    }
}

impl From<DueError> for CliError {
    fn from(error: DueError) -> Self {
        match error {
            DueError::Key(error) => error.into(),
            DueError::Store(error) => error.into(),
        }
    }
}
