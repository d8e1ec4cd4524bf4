//! Which files make up the system's policy.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::ConfigError;

/// Where configuration is looked for; later directories win.
const DIRECTORIES: [&str; 3] = ["usr/lib", "run", "etc"];

/// What a name is linked to that is to be as if it were in no directory.
const MASK: &str = "/dev/null";

/// The files of the system's policy, lowest layer first: `policy.toml`, then the drop-ins by name.
///
/// Only a link to `/dev/null` masks. Any other entry in force is part of the policy, be it a
/// dangling link or a directory: whoever put it there meant something, and reading it says so.
pub(super) fn files(root: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let directories = DIRECTORIES.map(|directory| root.join(directory).join("conntidy"));
    let mut main = BTreeMap::new();
    let mut drop_ins = BTreeMap::new();
    for directory in &directories {
        overlay(&mut main, directory, |name| name == "policy.toml")?;
        overlay(&mut drop_ins, &directory.join("policy.d"), |name| {
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            !is_hidden && Path::new(name).extension() == Some(OsStr::new("toml"))
        })?;
    }
    let files: Vec<_> = main.into_values().chain(drop_ins.into_values()).collect();
    if files.is_empty() {
        return Err(ConfigError::Absent {
            searched: directories
                .iter()
                .rev()
                .flat_map(|directory| {
                    [
                        directory.join("policy.toml"),
                        directory.join("policy.d/*.toml"),
                    ]
                })
                .map(|path| path.display().to_string())
                .collect(),
        });
    }
    Ok(files)
}

/// Lays the chosen entries of a directory over those of lower ones. One that is not there is empty.
fn overlay(
    layers: &mut BTreeMap<OsString, PathBuf>,
    directory: &Path,
    is_chosen: impl Fn(&OsStr) -> bool,
) -> Result<(), ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: directory.to_owned(),
        source,
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !directory.is_symlink() => {
            return Ok(());
        }
        Err(error) => return Err(unreadable(error)),
    };
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        if !is_chosen(&name) {
            continue;
        }
        if is_mask(&entry.path()) {
            layers.remove(&name);
        } else {
            layers.insert(name, entry.path());
        }
    }
    Ok(())
}

fn is_mask(path: &Path) -> bool {
    path.is_symlink()
        && (fs::read_link(path).is_ok_and(|target| target == Path::new(MASK))
            || fs::canonicalize(path).is_ok_and(|target| target == Path::new(MASK)))
}
