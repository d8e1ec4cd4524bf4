//! `conntidy convert`: what scripts did with `sysctl` and `conntrack` as a policy.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::args::Common;
use crate::cli::terminal::say;
use crate::cli::{CliError, Outcome, shown};
use crate::convert::{Input, convert, printable};

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
    let mut sources = Sources::default();
    for file in &args.files {
        sources.read(file)?;
    }
    for name in &sources.passed_over {
        say!(
            "note: {} is passed over: name it by itself where it counts",
            printable(name)
        );
    }
    let converted = convert(&sources.inputs, &sources.passed_over);
    shown(print(&converted.policy))?;
    let mut missing = 0_usize;
    for left in converted.left.iter().filter(|left| !left.looks) {
        missing += 1;
        let place = format!("{}: not turned: {}", left.origin, left.text);
        say!("{}", printable(&place));
        say!("    {}", printable(&left.why));
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

/// What the arguments name.
#[derive(Debug, Default)]
struct Sources {
    inputs: Vec<Input>,
    /// What stands in a directory and is not read.
    passed_over: Vec<String>,
}

impl Sources {
    /// Reads a file, or those of a directory in the order in which sysctl reads them.
    fn read(&mut self, path: &Path) -> Result<(), CliError> {
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
            let kind = Kind::of(path);
            let mut files = Vec::new();
            for entry in fs::read_dir(path).map_err(failed)? {
                files.push(entry.map_err(failed)?.path());
            }
            files.sort();
            for file in files {
                if file.is_file() && kind.counts(&file) {
                    self.read(&file)?;
                } else {
                    self.passed_over.push(file.display().to_string());
                }
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
        self.inputs.push(Input { name, content });
        Ok(())
    }
}

/// Who reads a directory, by what it is called: its files count where that program takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `sysctl.d`: what ends in `.conf`.
    Sysctl,
    /// `cron.d` and the like: names of letters, digits, `_` and `-`, as cron and run-parts have it.
    Cron,
    /// Nobody that is known: what no editor and no package manager put aside.
    Other,
}

impl Kind {
    fn of(directory: &Path) -> Self {
        // `.` and links have the name of what they lead to.
        let whole = fs::canonicalize(directory);
        let name = whole.as_deref().unwrap_or(directory).file_name();
        match name.unwrap_or_default().to_str() {
            Some("sysctl.d") => Self::Sysctl,
            Some("cron.d" | "cron.hourly" | "cron.daily" | "cron.weekly" | "cron.monthly") => {
                Self::Cron
            }
            _ => Self::Other,
        }
    }

    fn counts(self, file: &Path) -> bool {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name.starts_with("README") {
            return false;
        }
        match self {
            Self::Sysctl => name.ends_with(".conf"),
            Self::Cron => name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)),
            Self::Other => {
                let aside = [
                    ".bak", ".orig", ".dpkg-", ".rpmsave", ".rpmnew", ".swp", ".ucf-",
                ];
                !name.ends_with('~') && !aside.iter().any(|end| name.contains(end))
            }
        }
    }
}
