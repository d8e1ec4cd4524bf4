//! `conntidy convert`: what scripts did with `sysctl` and `conntrack` as a policy.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::args::Common;
use crate::cli::terminal::say;
use crate::cli::{CliError, Outcome, shown};
use crate::convert::{Input, convert};

/// Arguments of `conntidy convert`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy convert /etc/sysctl.d /etc/cron.d/conntrack > policy.toml\n  \
    conntidy convert cleanup.sh | tee policy.toml && conntidy plan -p policy.toml\n  \
    echo 'conntrack -D -p tcp --state TIME_WAIT' | conntidy convert -\n\n\
    Understood are sysctl.d files, `sysctl -w`, writes to /proc/sys, `conntrack -D` and `-F`, and\n\
    crontabs and shell scripts made of these. Each part of the policy says where it came from; what\n\
    cannot be turned is listed at its end and on stderr. Deletes of idle flows become `expire` with a\n\
    grace.\n\n\
    Exit codes: 0 everything that acts was turned, 4 something was not.")]
pub struct ConvertArgs {
    /// Files, directories of files, or `-` for stdin
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Converts and prints.
pub(super) fn run(common: &Common, args: &ConvertArgs) -> Result<Outcome, CliError> {
    let mut inputs = Vec::new();
    for file in &args.files {
        read(file, &mut inputs)?;
    }
    let converted = convert(&inputs);
    shown(print(&converted.policy))?;
    let mut missing = 0_usize;
    for left in converted.left.iter().filter(|left| !left.looks) {
        missing += 1;
        say!("{}: not turned: {}", left.origin, left.text);
        say!("    {}", left.why);
    }
    if !common.quiet {
        let looking = converted.left.len() - missing;
        say!(
            "{} turned, {missing} not, {looking} that only look",
            converted.turned
        );
    }
    Ok(Outcome {
        incomplete: missing > 0,
        ..Outcome::default()
    })
}

fn print(policy: &str) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(policy.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Reads a file, or those of a directory in the order in which sysctl reads them.
fn read(path: &Path, inputs: &mut Vec<Input>) -> Result<(), CliError> {
    let failed = |error: std::io::Error| {
        let message = format!("{} cannot be read", path.display());
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            CliError::permission(message).because(error)
        } else {
            CliError::failed(message).because(error)
        }
    };
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .map_err(failed)?;
    } else if path.is_dir() {
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            if !file.is_file() {
                continue;
            }
            if is_read(path, &file) {
                files.push(file);
            } else {
                say!(
                    "note: {} is passed over, as it is by what reads such a directory",
                    file.display()
                );
            }
        }
        files.sort();
        for file in files {
            read(&file, inputs)?;
        }
        return Ok(());
    } else {
        bytes = fs::read(path).map_err(failed)?;
    }
    let name = if path == Path::new("-") {
        "stdin".to_owned()
    } else {
        path.display().to_string()
    };
    let Ok(content) = String::from_utf8(bytes) else {
        return Err(CliError::failed(format!("{name} is no text in UTF-8")));
    };
    inputs.push(Input { name, content });
    Ok(())
}

/// Whether a file of a directory is one that counts: of a `sysctl.d` what ends in `.conf`, elsewhere what
/// no editor and no package manager put aside.
fn is_read(directory: &Path, file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if directory.ends_with("sysctl.d") {
        return name.ends_with(".conf");
    }
    let aside = [
        ".bak", ".orig", ".dpkg-", ".rpmsave", ".rpmnew", ".swp", ".ucf-",
    ];
    !(name.starts_with('.') || name.ends_with('~') || aside.iter().any(|end| name.contains(end)))
}
