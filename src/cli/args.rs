//! Arguments as typed; what they mean is the commands' affair.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::commands::check::CheckArgs;
use super::commands::schema::SchemaArgs;
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
                  4 incomplete, 5 read back different, 64 usage, 75 busy, 77 no permission, 78 policy invalid."
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
    /// Say more; twice for every flow concerned
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// Where the policy comes from; the same for every command that reads one.
#[derive(Args, Clone, Debug)]
pub struct PolicySource {
    /// Policy file [default: policy.toml and policy.d/*.toml in /etc/conntidy, /run/conntidy, /usr/lib/conntidy]
    #[arg(short, long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Override one key, as `--set timeouts.tcp.established=1d`; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Validate policies; needs no root, no kernel and no network
    Check(CheckArgs),
    /// Print the JSON Schema of a document
    Schema(SchemaArgs),
}
