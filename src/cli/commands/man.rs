//! `conntidy man`: manual pages, printed or written where `man` finds them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};

use crate::cli::args::Cli;
use crate::cli::render::manual::{self, Page};
use crate::cli::{CliError, Outcome};

/// Arguments of `conntidy man`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy man | man -l -                  conntidy(1)\n  \
    conntidy man snapshot-take | man -l -    the page of a command\n  \
    conntidy man policy | man -l -           conntidy-policy(5), the policy language\n  \
    conntidy man snapshot.5 | man -l -       of two pages of a name that of section 5\n  \
    conntidy man --out-dir /usr/local/share/man")]
pub struct ManArgs {
    /// Which page, as `apply`, `snapshot-take`, `policy` or `snapshot.5` [default: conntidy(1)]
    #[arg(value_name = "PAGE", conflicts_with = "out_dir")]
    pub page: Option<String>,
    /// Write all pages into man1 and man5 of this directory, which are made if they are missing
    #[arg(long, value_name = "DIR")]
    pub out_dir: Option<PathBuf>,
}

/// Prints one page on stdout, or writes all of them.
pub(super) fn run(args: &ManArgs) -> Result<Outcome, CliError> {
    let pages = manual::pages(Cli::command());
    match &args.out_dir {
        Some(directory) => {
            for page in &pages {
                write(page, directory).map_err(|(path, source)| {
                    CliError::failed(format!("cannot write {}", path.display())).because(source)
                })?;
            }
        }
        None => print(find(&pages, args.page.as_deref().unwrap_or("conntidy"))?)?,
    }
    Ok(Outcome::default())
}

/// The page of a name, with or without the program's before it and the section behind it. Without a section the first one
/// counts, as for `man`.
fn find<'a>(pages: &'a [Page], wanted: &str) -> Result<&'a Page, CliError> {
    let short = |page: &Page| page.file_name().trim_start_matches("conntidy-").to_owned();
    let found = pages.iter().find(|page| {
        let (file, short) = (page.file_name(), short(page));
        let without_section = [&file, &short].map(|name| &name[..name.len() - 2]);
        [file.as_str(), short.as_str()].contains(&wanted) || without_section.contains(&wanted)
    });
    found.ok_or_else(|| {
        let names: Vec<_> = pages.iter().map(short).collect();
        CliError::usage(format!("there is no page `{wanted}`"))
            .hint(format!("there are: {}", names.join(", ")))
    })
}

fn print(page: &Page) -> io::Result<()> {
    io::stdout().lock().write_all(page.roff.as_bytes())
}

fn write(page: &Page, directory: &Path) -> Result<(), (PathBuf, io::Error)> {
    let section = directory.join(format!("man{}", page.section));
    let path = section.join(page.file_name());
    let written =
        std::fs::create_dir_all(&section).and_then(|()| std::fs::write(&path, &page.roff));
    written.map_err(|source| (path, source))
}
