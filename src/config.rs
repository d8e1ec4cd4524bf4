//! Finds and reads the files that make up a policy.

mod file;
mod layers;

use std::io;
use std::path::{Path, PathBuf};

use crate::policy::diagnostic::{Code, Diagnostic, Part, Place, Severity};
use crate::policy::lint;
use crate::policy::load::{self, Loaded as Read};
use crate::policy::{KeyPath, Members, Policy, SetSource, SpanIndex, Text};

/// Which policy.
#[derive(Clone, Debug)]
pub struct Source {
    /// This file alone; otherwise the system's `policy.toml` and its drop-ins.
    pub file: Option<PathBuf>,
    /// Arguments of `--set`, in order.
    pub assignments: Vec<String>,
    /// The system's files are looked for below this directory; `/` on a running system.
    pub root: PathBuf,
}

/// A policy with everything that reading it told.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The policy; `None` where a diagnostic is an error.
    pub policy: Option<Policy>,
    /// Members of the policy's sets, in the same order; empty without a policy.
    pub members: Vec<Members>,
    /// Mistakes and doubts.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts to which the diagnostics' places refer.
    pub texts: Vec<Text>,
    /// Where each key stands, for what is found out later.
    pub spans: SpanIndex,
}

/// Why there is nothing to validate.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system has no policy.
    #[error("there is no policy: none of {} exists", searched.join(", "))]
    Absent {
        /// Where it was looked for.
        searched: Vec<String>,
    },
}

/// Finds, reads and validates a policy, and reads the files of its sets.
///
/// # Errors
/// Where a file that was named or found cannot be read, or there is none. Mistakes in a policy are
/// no error here but diagnostics.
pub fn load(source: &Source) -> Result<Loaded, ConfigError> {
    let mut texts = Vec::new();
    let mut unreadable = Vec::new();
    let paths = match &source.file {
        Some(file) => vec![file.clone()],
        None => layers::files(&source.root)?,
    };
    for path in paths {
        let bytes = match &source.file {
            Some(_) => file::named(&path),
            None => file::regular(&path),
        }
        .map_err(|source| ConfigError::Unreadable {
            path: path.clone(),
            source,
        })?;
        let name = path.display().to_string();
        let content = match String::from_utf8(bytes) {
            Ok(content) => content,
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let content = String::from_utf8_lossy(error.as_bytes()).into_owned();
                unreadable.push((texts.len(), at));
                content
            }
        };
        texts.push(Text::file(name, content));
    }
    let several = source.assignments.len() > 1;
    for (index, argument) in source.assignments.iter().enumerate() {
        let mut text = Text::assignment(argument);
        if several {
            text.name = format!("--set #{}", index + 1);
        }
        texts.push(text);
    }
    let Read {
        mut policy,
        mut diagnostics,
        spans,
    } = load::load(&texts);
    for (text, at) in unreadable {
        policy = None;
        // The parser stumbles over what stands in for the bytes that are no text.
        diagnostics.retain(|found| {
            let is_here = found.place.as_ref().is_some_and(|place| place.text == text);
            found.code != Code::Syntax || !is_here
        });
        diagnostics.insert(0, load::not_utf8(text, at));
    }
    let mut members = Vec::new();
    if let Some(policy) = &policy {
        for set in &policy.sets {
            members.push(read_members(&set.source, &set.name, &spans, &texts));
        }
        let mut found: Vec<_> = policy
            .sets
            .iter()
            .zip(&members)
            .enumerate()
            .filter_map(|(index, (set, members))| {
                let is_file = matches!(set.source, SetSource::File(_));
                // Whatever else a set comes from, this is not the place where it is read.
                if !is_file {
                    return None;
                }
                unreadable_set(&set.name, members).or_else(|| {
                    let is_empty = members.prefixes.is_empty();
                    is_empty.then(|| lint::empty_set(policy, index, "file"))?
                })
            })
            .collect();
        spans.locate(&mut found);
        diagnostics.extend(found);
        load::sort(&mut diagnostics);
    }
    Ok(Loaded {
        policy,
        members,
        diagnostics,
        texts,
        spans,
    })
}

impl Loaded {
    /// What takes a policy's place where one of its files cannot be read: a diagnostic that says so.
    #[must_use]
    pub fn unreadable(path: &Path, error: &io::Error) -> Self {
        let name = path.display().to_string();
        let message = format!("{name} cannot be read: {error}");
        let place = Place {
            text: 0,
            span: 0..0,
        };
        Self {
            policy: None,
            members: Vec::new(),
            diagnostics: vec![
                Diagnostic::error(Code::UnreadableFile, KeyPath::root(), message).at(place),
            ],
            texts: vec![Text::file(name, "")],
            spans: SpanIndex::default(),
        }
    }

    /// Whether the policy cannot be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

fn unreadable_set(name: &str, members: &Members) -> Option<Diagnostic> {
    let error = members.error.as_ref()?;
    let key = KeyPath::of(["sets", name, "file"]);
    Some(
        Diagnostic::warning(
            Code::UnreadableSet,
            key,
            format!("the set `@{name}` cannot be read here: {error}"),
        )
        .help("every rule that uses it is refused while that is so"),
    )
}

fn read_members(source: &SetSource, name: &str, spans: &SpanIndex, texts: &[Text]) -> Members {
    match source {
        SetSource::Addresses(prefixes) => Members {
            prefixes: prefixes.clone(),
            error: None,
        },
        SetSource::Local | SetSource::Lost { .. } => Members::default(),
        // What a command that looks at a kernel replaces, and a snapshot that recorded it.
        SetSource::Nft(_) | SetSource::Interface(_) => Members::unreadable(format!(
            "`{}` is read from a running kernel, and the snapshot did not record it",
            source.key()
        )),
        SetSource::File(file) => {
            let key = KeyPath::of(["sets", name, "file"]);
            let beside = spans
                .find(&key, Part::Value)
                .and_then(|place| Path::new(&texts.get(place.text)?.name).parent());
            let path = beside.unwrap_or(Path::new("")).join(file);
            let text = file::regular(&path).and_then(|bytes| {
                String::from_utf8(bytes).map_err(|_| io::Error::other("not UTF-8"))
            });
            match text {
                Ok(text) => {
                    // Some editors begin a file with a byte order mark.
                    let mut members = Members::parse(text.trim_start_matches('\u{feff}'));
                    members.error = members
                        .error
                        .map(|error| format!("{}, {error}", path.display()));
                    members
                }
                Err(error) => Members::unreadable(format!("{}: {error}", path.display())),
            }
        }
    }
}
