//! What a shell offers for the values of options: words of the match vocabulary, and names that only
//! this machine's policy and store know.
//!
//! The program itself answers (`CONNTIDY_COMPLETE=bash conntidy -- WORDS...`, which the scripts of
//! `completions` call), since rules and snapshots come and go.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use clap_complete::env::CompleteEnv;

use super::args::Cli;
use crate::column;
use crate::config::{self, Source};
use crate::flow::Protocol;
use crate::flow::field::{self, Field};
use crate::flow::protocol::{self, NAMES};
use crate::flow::status::STATUS_WORDS;
use crate::group;
use crate::policy::{Policy, SnapshotSettings};
use crate::store::Store;

/// What tells the program that a shell asks, and which.
pub(super) const VARIABLE: &str = "CONNTIDY_COMPLETE";

/// Answers a shell, if one asks.
///
/// # Errors
/// Where it asks for something that no shell knows; it says what.
pub(super) fn answer(arguments: &[OsString]) -> Result<bool, clap::Error> {
    let directory = std::env::current_dir().ok();
    CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .try_complete(arguments, directory.as_deref())
}

/// A word, and what it means.
type Word = (String, Option<String>);

/// Completes the last of the words between commas.
fn of_a_list(words: impl Fn() -> Vec<Word> + Send + Sync + 'static) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        let Some(current) = current.to_str() else {
            return Vec::new();
        };
        let (before, last) = current
            .rfind(',')
            .map_or(("", current), |comma| current.split_at(comma + 1));
        let folded = |text: &str| text.to_ascii_lowercase().replace('_', "-");
        let is_there = |word: &str| before.split(',').any(|known| folded(known) == folded(word));
        words()
            .into_iter()
            .filter(|(word, _)| folded(word).starts_with(&folded(last)) && !is_there(word))
            .map(|(word, help)| {
                CompletionCandidate::new(format!("{before}{word}"))
                    .help(help.map(clap::builder::StyledStr::from))
            })
            .collect()
    })
}

/// The same where there is no list: the whole value is one word.
fn one_of(words: impl Fn() -> Vec<Word> + Send + Sync + 'static) -> ArgValueCompleter {
    let listed = of_a_list(words);
    ArgValueCompleter::new(move |current: &OsStr| {
        let is_list = current.to_str().is_some_and(|text| text.contains(','));
        if is_list {
            Vec::new()
        } else {
            listed.complete(current)
        }
    })
}

fn plain<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<Word> {
    words
        .into_iter()
        .map(|word| (word.to_owned(), None))
        .collect()
}

/// The values of a field of the match vocabulary; nothing for those without words of their own.
pub(super) fn field(field: Field) -> Option<ArgValueCompleter> {
    Some(match field {
        field::STATE => of_a_list(|| {
            let mut names: Vec<&str> = [Protocol::TCP, Protocol::SCTP, Protocol::DCCP]
                .into_iter()
                .flat_map(|protocol| protocol::state_names(protocol).iter().copied())
                .collect();
            names.sort_unstable();
            names.dedup();
            plain(names)
        }),
        field::STATUS => of_a_list(|| plain(STATUS_WORDS.map(|(_, name)| name))),
        field::PROTOCOL => of_a_list(|| plain(NAMES.map(|(_, name)| name))),
        field::FAMILY => of_a_list(|| plain(["ipv4", "ipv6"])),
        field::NAT => of_a_list(|| plain(["src", "dst", "any", "none"])),
        field::PATH => of_a_list(|| plain(["forward", "input", "output"])),
        field::SRC
        | field::DST
        | field::REPLY_SRC
        | field::REPLY_DST
        | field::ADDRESS
        | field::NAT_SRC
        | field::NAT_DST => of_a_list(|| {
            let sets = policy().map(|policy| policy.sets).unwrap_or_default();
            let word = |set: crate::policy::Set| (format!("@{}", set.name), None);
            sets.into_iter().map(word).collect()
        }),
        _ => return None,
    })
}

/// Columns of a listing.
pub(super) fn columns() -> ArgValueCompleter {
    of_a_list(|| {
        let word = |column: &column::Column| {
            let description = column.description();
            let help = description.help.trim_end_matches('.').to_owned();
            (description.name.to_owned(), Some(help))
        };
        column::ALL.iter().map(word).collect()
    })
}

/// Fields to group by.
pub(super) fn groupings() -> ArgValueCompleter {
    of_a_list(|| plain(group::names()))
}

/// Rules of the policy that the line names, else of the system's.
pub(super) fn rules() -> ArgValueCompleter {
    one_of(|| {
        let rules = policy().map(|policy| policy.rules).unwrap_or_default();
        let word = |rule: crate::policy::Rule| (rule.name, rule.description);
        rules.into_iter().map(word).collect()
    })
}

/// Names of network namespaces.
pub(super) fn namespaces() -> ArgValueCompleter {
    one_of(|| {
        let names = crate::kernel::namespace::named().unwrap_or_default();
        names.into_iter().map(|name| (name, None)).collect()
    })
}

/// The same for a command that looks at several.
pub(super) fn several_namespaces() -> ArgValueCompleter {
    one_of(|| {
        let names = crate::kernel::namespace::named().unwrap_or_default();
        let all = ("all".to_owned(), Some("every one with a name".to_owned()));
        let names = names.into_iter().map(|name| (name, None));
        names.chain([all]).collect()
    })
}

/// Snapshots of the store, the newest first, and files.
pub(super) fn snapshots() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let mut all = stored().complete(current);
        all.extend(PathCompleter::file().complete(current));
        all
    })
}

fn stored() -> ArgValueCompleter {
    one_of(|| {
        let directory = typed(&["--directory"]).unwrap_or_else(|| {
            let settings =
                policy().map_or_else(SnapshotSettings::default, |policy| policy.snapshot);
            settings.directory.into()
        });
        let stored = Store::new(PathBuf::from(directory))
            .list()
            .unwrap_or_default();
        let name = |one: &crate::store::Stored| super::stored::file_name(&one.path);
        stored.iter().map(|one| (name(one), None)).collect()
    })
}

/// The policy that is asked for, without a word of what is wrong with it.
fn policy() -> Option<Policy> {
    let file = typed(&["--policy", "-p"]).map(PathBuf::from);
    // `-p` is the protocol in some commands.
    let file = file.filter(|file| file.is_file());
    let loaded = config::load(&Source {
        file,
        assignments: Vec::new(),
        root: PathBuf::from("/"),
    });
    loaded.ok()?.policy
}

/// The value that was typed for an option, so far as the line goes.
fn typed(names: &[&str]) -> Option<OsString> {
    let line: Vec<OsString> = std::env::args_os().collect();
    let mut words = line.iter().skip_while(|word| *word != "--").skip(1);
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        for name in names {
            if text == *name {
                return words.next().cloned();
            }
            let value = text
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('='));
            if let Some(value) = value {
                return Some(value.into());
            }
        }
    }
    None
}
