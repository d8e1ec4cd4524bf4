//! The command line: arguments to a command, its outcome to an exit code.

pub mod args;
mod change;
mod commands;
mod complete;
mod deferred;
mod ending;
mod error;
mod expect;
pub mod filter;
mod journal;
mod live;
mod namespaces;
mod pipe;
mod policy;
mod render;
mod select;
mod service;
mod stored;
mod table;
pub mod terminal;
mod time;
mod top;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use error::shown;
pub use error::{CliError, Outcome};

/// Runs the command line and says how it went; everything that is printed is printed here.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    match complete::answer(&arguments) {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => return usage(&error),
    }
    // The tool's options are none of ours: `-q` and `-v` are not what they are elsewhere.
    if let Some(words) = commands::conntrack::words(&arguments) {
        return ExitCode::from(commands::conntrack::speak(words));
    }
    let cli = match args::Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&args::with_tip(error, &arguments)),
    };
    terminal::choose_color(cli.common.color);
    match commands::run(&cli) {
        Ok(outcome) => ExitCode::from(outcome.code()),
        Err(error) => {
            error.print();
            ExitCode::from(error.code())
        }
    }
}

/// Help and version are no mistakes; everything else that clap refuses is exit 64, since 2 means
/// "differences" here.
fn usage(error: &clap::Error) -> ExitCode {
    let is_answer = !error.use_stderr();
    // A closed pipe leaves nobody to tell.
    let _ = error.print();
    let _ = std::io::stdout().flush();
    ExitCode::from(if is_answer { 0 } else { error::USAGE })
}
