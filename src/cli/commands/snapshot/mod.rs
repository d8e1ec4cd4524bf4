//! `conntidy snapshot`: takes snapshots and shows them.

mod show;
mod take;

use std::io;
use std::path::Path;

use clap::{Args, Subcommand};

pub(in crate::cli) use show::Shown;

use crate::cli::args::Common;
use crate::cli::{CliError, Outcome};
use crate::snapshot::SnapshotError;
use crate::store::{StoreError, TakeError};

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
    /// Show what a snapshot holds
    Show(show::ShowArgs),
}

/// Runs the chosen one.
pub(super) fn run(common: &Common, args: &SnapshotArgs) -> Result<Outcome, CliError> {
    match &args.command {
        SnapshotCommand::Take(args) => take::run(common, args),
        SnapshotCommand::Show(args) => show::run(args),
    }
}

/// Why a snapshot cannot be read, with its file.
fn unreadable(path: &Path, error: SnapshotError) -> CliError {
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
        SnapshotError::Foreign(_) => CliError::failed(message),
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
