//! `conntidy check`: validates policies. Needs no root, no kernel and no network.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::render::diagnostics::{self, DiagnosticJson};
use crate::cli::terminal;
use crate::cli::{CliError, Outcome, shown};
use crate::config::{self, ConfigError, Loaded, Source};
use crate::policy::diagnostic::Severity;

/// Arguments of `conntidy check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy check                        the system's policy with its drop-ins\n  \
    conntidy check gw.toml web.toml       two policies, each by itself\n  \
    conntidy check --strict --root image  in a build: an image's policy, warnings too\n  \
    conntidy check -o json | jq -r '.diagnostics[].code'")]
pub struct CheckArgs {
    /// Policy files, each a policy by itself [default: the system's policy with its drop-ins]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// One more file, named as the other commands name theirs
    #[arg(short, long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Override one key, as `--set timeouts.tcp.established=1d`; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Look for the system's policy below this directory
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/",
        conflicts_with_all = ["files", "policy"]
    )]
    pub root: PathBuf,
    /// Exit 78 on warnings too
    #[arg(long)]
    pub strict: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: CheckOutput,
}

/// Formats of `check`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CheckOutput {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// What `check -o json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "conntidy check")]
pub(in crate::cli) struct CheckJson {
    /// `conntidy.check/1`.
    pub schema: &'static str,
    /// Whether no policy has an error.
    pub valid: bool,
    /// Number of errors.
    pub errors: usize,
    /// Number of warnings.
    pub warnings: usize,
    /// Files that were to be read.
    pub files: Vec<String>,
    /// Everything that was found.
    pub diagnostics: Vec<DiagnosticJson>,
}

/// Checks the policies and prints what was found on stdout.
pub(super) fn run(args: &CheckArgs) -> Result<Outcome, CliError> {
    let mut checked = Vec::new();
    let one = |file: Option<PathBuf>| Source {
        file,
        assignments: args.set.clone(),
        root: args.root.clone(),
    };
    let mut forbidden = 0;
    let files = args.files.iter().chain(&args.policy);
    let mut sources: Vec<_> = files.map(|file| one(Some(file.clone()))).collect();
    if sources.is_empty() {
        sources.push(one(None));
    }
    for source in &sources {
        checked.push(match config::load(source) {
            Err(ConfigError::Unreadable { path, source }) => {
                forbidden += usize::from(source.kind() == io::ErrorKind::PermissionDenied);
                Loaded::unreadable(&path, &source)
            }
            loaded => loaded?,
        });
    }
    let count = |severity| {
        let all = checked.iter().flat_map(|loaded| &loaded.diagnostics);
        all.filter(|diagnostic| diagnostic.severity == severity)
            .count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    shown(match args.output {
        CheckOutput::Text => print_text(&checked),
        CheckOutput::Json => print_json(&checked, errors, warnings),
    })?;
    if errors > 0 && errors == forbidden {
        return Err(CliError::permission(""));
    }
    if errors > 0 || (args.strict && warnings > 0) {
        return Err(CliError::policy(""));
    }
    Ok(Outcome::default())
}

fn print_text(checked: &[Loaded]) -> Result<(), CliError> {
    let mut stdout = anstream::stdout().lock();
    for loaded in checked {
        let shown = diagnostics::text(&loaded.diagnostics, &loaded.texts, terminal::width());
        write!(stdout, "{shown}")?;
        writeln!(stdout, "{}", verdict(loaded))?;
    }
    Ok(())
}

/// Most doubts cannot be told of a policy that is known in part.
const LATER: &str = "; warnings are shown once there are no errors";

fn verdict(loaded: &Loaded) -> String {
    let files = file_names(loaded).join(", ");
    let count = |severity| {
        let all = loaded.diagnostics.iter();
        all.filter(|diagnostic| diagnostic.severity == severity)
            .count()
    };
    let plural = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    };
    match (count(Severity::Error), count(Severity::Warning)) {
        (0, 0) => format!("{files}: valid"),
        (0, warnings) => format!("{files}: valid, {}", plural(warnings, "warning")),
        (errors, 0) => format!("{files}: invalid, {}{LATER}", plural(errors, "error")),
        (errors, warnings) => format!(
            "{files}: invalid, {}, {}; more warnings are shown once there are no errors",
            plural(errors, "error"),
            plural(warnings, "warning")
        ),
    }
}

fn file_names(loaded: &Loaded) -> Vec<String> {
    let texts = loaded.texts.iter();
    texts
        .filter(|text| text.kind == crate::policy::TextKind::File)
        .map(|text| text.name.clone())
        .collect()
}

fn print_json(checked: &[Loaded], errors: usize, warnings: usize) -> Result<(), CliError> {
    let document = CheckJson {
        schema: "conntidy.check/1",
        valid: errors == 0,
        errors,
        warnings,
        files: checked.iter().flat_map(file_names).collect(),
        diagnostics: checked
            .iter()
            .flat_map(|loaded| {
                let all = loaded.diagnostics.iter();
                all.map(|diagnostic| DiagnosticJson::new(diagnostic, &loaded.texts))
            })
            .collect(),
    };
    let mut stdout = std::io::stdout().lock();
    let text = serde_json::to_string_pretty(&document)
        .map_err(|error| CliError::failed("the result has no JSON form").because(error))?;
    writeln!(stdout, "{text}")?;
    Ok(())
}
