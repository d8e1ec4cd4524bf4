//! Entry point: parse, run, exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    conntidy::cli::run(std::env::args_os())
}
