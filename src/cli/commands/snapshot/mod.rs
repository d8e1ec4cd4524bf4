//! `conntidy snapshot`: takes snapshots and shows them.

mod show;
mod take;

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

impl From<SnapshotError> for CliError {
    fn from(error: SnapshotError) -> Self {
        let message = error.to_string();
        match error {
            SnapshotError::Write(source) if source.kind() == std::io::ErrorKind::BrokenPipe => {
                source.into()
            }
            SnapshotError::Read(source) if source.kind() == std::io::ErrorKind::NotSeekable => {
                Self::failed("a snapshot is read from a file, not from a pipe")
                    .hint("write it to a file first")
            }
            SnapshotError::Write(source) | SnapshotError::Read(source) => {
                Self::failed(message).because(source)
            }
            SnapshotError::Damaged(_) => Self::failed(message)
                .hint("`conntidy snapshot show --salvage FILE` shows what can still be read"),
            SnapshotError::Version { .. } => {
                Self::failed(message).hint("a newer conntidy wrote it: read it with that one")
            }
            SnapshotError::Foreign(_) => Self::failed(message),
        }
    }
}

impl From<TakeError> for CliError {
    fn from(error: TakeError) -> Self {
        let message = error.to_string();
        match error {
            TakeError::Observe(error) => error.into(),
            TakeError::Snapshot(error) => error.into(),
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
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
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
