//! Snapshots by name, by number and by time: which files of the store a command means.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::Args;

use super::args::{Common, PolicySource};
use super::render::number::counted;
use super::terminal::say;
use super::{CliError, policy};
use crate::policy::SnapshotSettings;
use crate::store::{SnapshotName, Store, Stored};

/// The store that a command works on.
#[derive(Args, Clone, Debug)]
pub struct StoreArgs {
    /// The directory [default: the policy's `snapshot.directory`, or /var/lib/conntidy/snapshots]
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Whose `[snapshot]` counts. Without one on this machine: the defaults.
    #[command(flatten)]
    pub policy: PolicySource,
}

impl StoreArgs {
    pub(super) fn open(&self, common: &Common) -> Result<(Store, SnapshotSettings), CliError> {
        let policy = policy::load_if_any(common, &self.policy)?;
        let settings = policy.map_or_else(SnapshotSettings::default, |(policy, _)| policy.snapshot);
        let directory = self.directory.clone();
        let directory = directory.unwrap_or_else(|| settings.directory.clone().into());
        Ok((Store::new(directory), settings))
    }
}

/// The snapshots of a directory, the newest first.
pub(super) struct Shelf {
    directory: PathBuf,
    stored: Vec<Stored>,
}

impl Shelf {
    pub(super) fn open(common: &Common, args: &StoreArgs) -> Result<Self, CliError> {
        let (store, _) = args.open(common)?;
        Ok(Self {
            stored: store.list()?,
            directory: store.directory().to_owned(),
        })
    }

    /// Leaves those of one namespace: the one named, else `init`, else the only one there is.
    pub(super) fn of(mut self, netns: Option<&str>) -> Result<Self, CliError> {
        let known = |name: &str| self.stored.iter().any(|one| one.name.netns == name);
        let wanted = match netns {
            // As it stands in file names.
            Some(netns) => SnapshotName::new(0, netns, crate::policy::Compression::None).netns,
            None if known("init") => "init".to_owned(),
            None => {
                let mut names: Vec<_> = (self.stored.iter())
                    .map(|one| one.name.netns.clone())
                    .collect();
                names.sort_unstable();
                names.dedup();
                match names.as_slice() {
                    [] => return Err(self.empty()),
                    [only] => only.clone(),
                    several => {
                        let message = format!(
                            "{} has snapshots of several namespaces: {}",
                            self.directory.display(),
                            several.join(", ")
                        );
                        return Err(CliError::usage(message).hint("choose one with `--netns NAME`"));
                    }
                }
            }
        };
        self.stored.retain(|one| one.name.netns == wanted);
        if self.stored.is_empty() {
            return Err(CliError::failed(format!(
                "{} has no snapshot of the namespace {wanted}",
                self.directory.display()
            )));
        }
        Ok(self)
    }

    /// The last ones, the oldest first, for `--last`; that there are fewer is said.
    pub(super) fn newest(&self, common: &Common, number: u32) -> Vec<PathBuf> {
        let paths = self.last(number as usize);
        let few = u32::try_from(paths.len()).unwrap_or(u32::MAX);
        if few < number && !common.quiet {
            say!(
                "note: {} has {} of this namespace, not {number}",
                self.directory.display(),
                counted(few.into(), "snapshot", "snapshots")
            );
        }
        paths
    }

    /// The last ones, the oldest first.
    pub(super) fn last(&self, number: usize) -> Vec<PathBuf> {
        let mut paths: Vec<_> = (self.stored.iter())
            .take(number)
            .map(|one| one.path.clone())
            .collect();
        paths.reverse();
        paths
    }

    /// Those taken at or after a moment, the oldest first.
    pub(super) fn since(&self, moment: DateTime<Utc>) -> Vec<PathBuf> {
        let later = |one: &&Stored| one.name.time >= moment.timestamp();
        self.last(self.stored.iter().take_while(later).count())
    }

    /// The oldest and the newest of the last ones, for `--last`.
    pub(super) fn ends(
        &self,
        common: &Common,
        number: u32,
    ) -> Result<(PathBuf, PathBuf), CliError> {
        match self.newest(common, number).as_slice() {
            [first, .., last] => Ok((first.clone(), last.clone())),
            few => Err(CliError::failed(format!(
                "{} has {} of this namespace, and a diff needs two",
                self.directory.display(),
                match few.len() {
                    0 => "no snapshot",
                    _ => "one snapshot",
                }
            ))
            .hint("`conntidy diff NAME live` compares it with the running kernel")),
        }
    }

    /// The last one up to a moment, and the first one after it.
    pub(super) fn around(&self, moment: DateTime<Utc>) -> Result<(PathBuf, PathBuf), CliError> {
        let after = |one: &Stored| one.name.time > moment.timestamp();
        let number = self.stored.iter().take_while(|one| after(one)).count();
        let said = moment.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let Some(before) = self.stored.get(number) else {
            let oldest = self.stored.last().map_or_else(String::new, name_of);
            return Err(CliError::failed(format!(
                "no snapshot is as old as {said}: the oldest is {oldest}"
            )));
        };
        match number.checked_sub(1).and_then(|next| self.stored.get(next)) {
            Some(after) => Ok((before.path.clone(), after.path.clone())),
            None => Err(CliError::failed(format!(
                "no snapshot was taken after {said}: the newest is {}",
                name_of(before)
            ))
            .hint(format!(
                "`conntidy diff {} live` compares it with the running kernel",
                before.path.display()
            ))),
        }
    }

    /// The snapshot of this name, with or without what it ends in.
    pub(super) fn named(&self, name: &str) -> Result<PathBuf, CliError> {
        let is = |one: &&Stored| {
            let full = name_of(one);
            full == name
                || full
                    .split_once(".jsonl")
                    .is_some_and(|(stem, _)| stem == name)
        };
        if let Some(found) = self.stored.iter().find(is) {
            return Ok(found.path.clone());
        }
        let mut error = CliError::failed(format!(
            "there is no file `{name}`, and no such snapshot in {}",
            self.directory.display()
        ));
        let newest: Vec<_> = self.stored.iter().take(3).map(name_of).collect();
        if !newest.is_empty() {
            error = error.hint(format!("the newest there: {}", newest.join(", ")));
        }
        Err(error)
    }

    fn empty(&self) -> CliError {
        CliError::failed(format!("{} has no snapshots", self.directory.display()))
            .hint("`conntidy snapshot take` makes one; `--directory DIR` looks elsewhere")
    }
}

fn name_of(stored: &Stored) -> String {
    file_name(&stored.path)
}

/// What people call a file.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}
