//! `conntidy doctor`: what is allowed here, what is missing, and how to get it.

use std::io::Write;

use anstyle::{AnsiColor, Color, Style};
use clap::Args;

use crate::cli::args::{Common, NetnsArg, Output};
use crate::cli::render;
use crate::cli::{CliError, Outcome, live, shown, terminal};
use crate::doctor::{self, Diagnosis, Finding, Verdict, probe};

/// Arguments of `conntidy doctor`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Nothing is changed and no module is loaded by looking. With --probe, what the kernel does with\n\
    deletes and timers is tried in a network namespace of its own, which needs CAP_SYS_ADMIN.\n\n\
    Exit 0 where all that `apply` needs is here, else 1.\n\n\
    Examples:\n  \
    conntidy doctor\n  \
    conntidy doctor --netns red\n  \
    conntidy doctor -o json | jq '.findings[] | select(.verdict == \"missing\")'"
)]
pub struct DoctorArgs {
    /// Where to look.
    #[command(flatten)]
    pub netns: NetnsArg,
    /// Also try, in a network namespace of its own, what this kernel honours
    #[arg(long)]
    pub probe: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
}

/// Looks and tells.
pub(super) fn run(common: &Common, args: &DoctorArgs) -> Result<Outcome, CliError> {
    live::within(&args.netns, |live| {
        let mut diagnosis = doctor::examine(&live, live::state_root())?;
        if let Some(name) = &args.netns.netns {
            diagnosis.netns.name.clone_from(name);
        }
        if args.probe {
            diagnosis.add(probe::probe());
        }
        shown(match args.output {
            Output::Text => text(common, &diagnosis),
            Output::Json => render::json(&diagnosis),
        })?;
        if diagnosis.ready {
            Ok(Outcome::default())
        } else {
            Err(CliError::failed(format!(
                "`conntidy apply` lacks what it needs here: {}",
                diagnosis.lacks.join(", ")
            )))
        }
    })
}

const BOLD: Style = Style::new().bold();

fn colored(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(color)))
}

fn mark(verdict: Verdict) -> (char, Style) {
    match verdict {
        Verdict::Good => ('+', colored(AnsiColor::Green)),
        Verdict::Note => ('.', Style::new()),
        Verdict::Warning => ('!', colored(AnsiColor::Yellow)),
        Verdict::Missing => ('-', colored(AnsiColor::Red)),
    }
}

fn text(common: &Common, diagnosis: &Diagnosis) -> Result<(), CliError> {
    let mut stdout = anstream::stdout().lock();
    let out = &mut stdout;
    writeln!(
        out,
        "{BOLD}conntidy doctor{BOLD:#}   host {}   kernel {}   netns {}",
        diagnosis.host, diagnosis.kernel, diagnosis.netns.name
    )?;
    writeln!(
        out,
        "  + fine   . worth knowing   ! worth a look   - missing"
    )?;
    let column = diagnosis.findings.iter().map(|f| f.name.len()).max();
    let mut section = "";
    for finding in &diagnosis.findings {
        if finding.section != section {
            section = &finding.section;
            writeln!(out, "\n{BOLD}{section}{BOLD:#}")?;
        }
        line(out, finding, column.unwrap_or(0))?;
    }
    if common.verbose > 0 {
        writeln!(out, "\n{BOLD}every tunable{BOLD:#}")?;
        for tunable in &diagnosis.tunables {
            let value = tunable.value.as_deref().unwrap_or("?");
            let access = if tunable.writable {
                ""
            } else {
                "   read-only here"
            };
            writeln!(out, "    {:<48} {value}{access}", tunable.name)?;
        }
    }
    if diagnosis.ready {
        writeln!(
            out,
            "\n{BOLD}Ready{BOLD:#}: all that `conntidy apply` needs is here."
        )?;
    }
    out.flush()?;
    Ok(())
}

fn line(out: &mut impl Write, finding: &Finding, column: usize) -> std::io::Result<()> {
    let (mark, style) = mark(finding.verdict);
    let indent = column + 6;
    let width = terminal::width().saturating_sub(indent).max(40);
    let mut lines = fold(&finding.says, width);
    writeln!(
        out,
        "  {style}{mark}{style:#} {:<column$}  {}",
        finding.name,
        lines.next().unwrap_or_default()
    )?;
    for line in lines {
        writeln!(out, "{:indent$}{line}", "")?;
    }
    for way in &finding.way_out {
        for (index, line) in fold(way, width.saturating_sub(3)).enumerate() {
            let arrow = if index == 0 { "->" } else { "  " };
            writeln!(out, "{:indent$}{arrow} {line}", "")?;
        }
    }
    Ok(())
}

/// Lines of at most `width` columns, broken between words.
fn fold(text: &str, width: usize) -> impl Iterator<Item = String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_folded_between_words_and_keeps_them_all() {
        let lines: Vec<String> = fold("one two three-and-four five", 9).collect();
        assert_eq!(lines, ["one two", "three-and-four", "five"]);
        assert_eq!(fold("", 9).count(), 1);
    }
}
