//! `conntidy conntrack`: the conntrack tool's own command line. It reads no policy and applies no
//! protect rules.

mod chosen;
mod count;
mod create;
mod delete;
mod events;
mod expect;
mod get;
mod help;
mod list;
mod load;
mod owner;
mod printer;
mod stats;
mod stop;
mod update;

use std::ffi::OsString;
use std::path::Path;

use clap::Args;

use crate::cli::{CliError, Outcome};
use crate::conntrack::line::{Line, Table};
use crate::conntrack::options::Verb;

use chosen::Chosen;
use stop::{Stop, say_as_the_tool};

/// Arguments of `conntidy conntrack`.
#[derive(Args, Clone, Debug)]
#[command(
    disable_help_flag = true,
    disable_version_flag = true,
    after_help = "Examples:\n  \
    conntidy conntrack -L -p tcp --dport 443 -o extended\n  \
    conntidy conntrack -C --state ESTABLISHED\n  \
    conntidy conntrack -E -e NEW,DESTROY -n nat\n  \
    conntidy conntrack -D -s 192.0.2.7\n  \
    ln -s conntidy /usr/local/bin/conntrack && conntrack -L\n\n\
    What this command line would delete beyond what it says is refused, and told how to be said exactly;\n\
    `--like-conntrack` takes it as the tool does."
)]
pub struct ConntrackArgs {
    /// A command line of the `conntrack` tool
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    pub words: Vec<OsString>,
}

/// The words that are the tool's, where the program is called by its name or `conntrack` is the
/// first word.
pub(in crate::cli) fn words(arguments: &[OsString]) -> Option<&[OsString]> {
    let (program, words) = arguments.split_first()?;
    if Path::new(program)
        .file_name()
        .is_some_and(|name| name == "conntrack")
    {
        return Some(words);
    }
    let (first, words) = words.split_first()?;
    (first == "conntrack").then_some(words)
}

/// Runs where flags of conntidy's own come first.
pub(super) fn run(args: &ConntrackArgs) -> Result<Outcome, CliError> {
    match speak(&args.words) {
        0 => Ok(Outcome::default()),
        code => Err(CliError::silent(code)),
    }
}

/// Does what the words say; the exit code is the tool's.
pub(in crate::cli) fn speak(words: &[OsString]) -> u8 {
    let words: Vec<String> = words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let done = match words.as_slice() {
        [option, rest @ ..] if option == "-R" || option == "--load-file" => match rest {
            [file, ..] => load::run(file),
            [] => Err(Stop::usage(format!("option `{option}' requires a file"))),
        },
        _ => read(&words).and_then(|line| obey(&line, true)),
    };
    match done {
        Ok(code) => code,
        Err(stop) => {
            stop.print();
            stop.code()
        }
    }
}

/// Reads a line, and refuses a treacherous one.
fn read(words: &[String]) -> Result<Line, Stop> {
    let line = Line::parse(words)?;
    if !line.traps.is_empty() && !line.like_conntrack {
        return Err(Stop::trapped(&line.traps));
    }
    for warning in &line.warnings {
        crate::cli::terminal::say!("{warning}");
    }
    Ok(line)
}

/// Does what a line asks for. `counts` tells how many on stderr.
fn obey(line: &Line, counts: bool) -> Result<u8, Stop> {
    let chosen = Chosen::new(line)?;
    match (line.verb(), line.table) {
        (Verb::Version, _) => help::version(),
        (Verb::Help, _) => help::help(line.protocol),
        (Verb::Stats, table) => stats::run(table),
        (verb, Table::Expect) => expect::run(line, verb),
        (Verb::List, _) => list::run(&chosen),
        (Verb::Count, _) => count::run(&chosen),
        (Verb::Get, _) => get::run(&chosen),
        (Verb::Create | Verb::Add, _) => create::run(&chosen, counts),
        (Verb::Update, _) => update::run(&chosen, counts),
        (Verb::Delete | Verb::Flush, _) => delete::run(&chosen, counts),
        (Verb::Event, _) => events::run(&chosen),
    }
}

/// Says a count as the tool does; without any, the exit code is 1 but for a list.
fn counted(count: u64, what: &str) -> u8 {
    say_as_the_tool(&format!("{count} {what}."));
    u8::from(count == 0)
}
