//! Tunables: entries under `net/netfilter` by their bare name (`nf_conntrack_max`), any other by
//! its full dotted name (`net.ipv4.tcp_keepalive_time`).
//!
//! Looking never writes, not even to find out whether it could.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};
use sysctl::{Ctl, CtlValue, Sysctl as _};

use crate::observe::Reading;

/// Why a tunable could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TunableError {
    /// No such key in this kernel or namespace.
    #[error("{0}: no such key here")]
    Missing(String),
    /// The name cannot be a key's.
    #[error("{0:?} is no name of a key")]
    Name(String),
    /// Permissions forbid it (`EACCES`, `EPERM`): outside the initial namespace also for root.
    #[error("{0}: not allowed here")]
    Denied(String),
    /// `/proc/sys` is mounted read-only (`EROFS`).
    #[error("{0}: /proc/sys is read-only here")]
    ReadOnly(String),
    /// The kernel refused the value (`EINVAL`, `ERANGE`).
    #[error("{name}: the kernel refuses the value {value:?}")]
    Value {
        /// The key.
        name: String,
        /// What was to be written.
        value: String,
    },
    /// Anything else.
    #[error("{name}: {source}")]
    Io {
        /// The key.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The kernel's tunables, or a directory that looks like them.
pub trait Tunables: Sync {
    /// Whether the key exists.
    fn exists(&self, name: &str) -> bool;

    /// Whether the caller may write the key, as far as permissions tell; nothing is tried.
    fn writable(&self, name: &str) -> bool;

    /// The key's value as the kernel prints it, without the line end.
    ///
    /// # Errors
    /// Where the key is missing or unreadable.
    fn read(&self, name: &str) -> Result<String, TunableError>;

    /// Writes a value. What it became must be read back: the kernel rounds and cuts.
    ///
    /// # Errors
    /// Where the key is missing, not writable, or the kernel refuses the value.
    fn write(&self, name: &str, value: &str) -> Result<(), TunableError>;

    /// Bare names of all keys under `net/netfilter` that belong to connection tracking, sorted;
    /// `nf_conntrack_count`, which is no tunable, left out. Empty where the module is absent.
    fn names(&self) -> Vec<String>;

    /// Value, permission and trouble of a key at once; `None` where it does not exist.
    fn reading(&self, name: &str) -> Option<Reading> {
        let (value, error) = match self.read(name) {
            Ok(value) => (Some(value), None),
            Err(TunableError::Missing(_)) => return None,
            Err(error) => (None, Some(error.to_string())),
        };
        Some(Reading {
            value,
            writable: self.writable(name),
            error,
        })
    }
}

/// The running kernel's tunables, of the calling thread's network namespace.
#[derive(Clone, Copy, Debug, Default)]
pub struct LiveTunables;

/// Tunables under another root: `DIRECTORY/net/netfilter/nf_conntrack_max`.
#[derive(Clone, Debug)]
pub struct DirectoryTunables {
    root: PathBuf,
}

impl DirectoryTunables {
    /// From the directory that stands for `/proc/sys`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
}

const PROC_SYS: &str = "/proc/sys";

impl Tunables for LiveTunables {
    fn exists(&self, name: &str) -> bool {
        path(Path::new(PROC_SYS), name).is_ok_and(|path| path.is_file())
    }

    fn writable(&self, name: &str) -> bool {
        path(Path::new(PROC_SYS), name).is_ok_and(|path| may_write(&path).is_ok())
    }

    fn read(&self, name: &str) -> Result<String, TunableError> {
        read(Path::new(PROC_SYS), name)
    }

    fn write(&self, name: &str, value: &str) -> Result<(), TunableError> {
        let path = path(Path::new(PROC_SYS), name)?;
        check_writable(name, &path)?;
        Ctl::new(&full(name))
            .and_then(|ctl| ctl.set_value(CtlValue::String(value.to_owned())))
            .map(drop)
            .map_err(|error| translate(name, value, error))
    }

    fn names(&self) -> Vec<String> {
        names(Path::new(PROC_SYS))
    }
}

impl Tunables for DirectoryTunables {
    fn exists(&self, name: &str) -> bool {
        path(&self.root, name).is_ok_and(|path| path.is_file())
    }

    fn writable(&self, name: &str) -> bool {
        path(&self.root, name).is_ok_and(|path| may_write(&path).is_ok())
    }

    fn read(&self, name: &str) -> Result<String, TunableError> {
        read(&self.root, name)
    }

    fn write(&self, name: &str, value: &str) -> Result<(), TunableError> {
        let path = path(&self.root, name)?;
        check_writable(name, &path)?;
        fs::write(path, format!("{value}\n")).map_err(|error| classify(name, value, error))
    }

    fn names(&self) -> Vec<String> {
        names(&self.root)
    }
}

/// The dotted name from the root.
fn full(name: &str) -> String {
    if name.contains('.') {
        name.to_owned()
    } else {
        format!("net.netfilter.{name}")
    }
}

fn path(root: &Path, name: &str) -> Result<PathBuf, TunableError> {
    let good = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    let full = full(name);
    // Every dot separates, so no name leads out of the root.
    if !full.split('.').all(good) {
        return Err(TunableError::Name(name.to_owned()));
    }
    Ok(root.join(full.replace('.', "/")))
}

/// Every run reads some fifty of them, and a look at one entry does little else: this takes half the
/// system calls that the crate does.
fn read(root: &Path, name: &str) -> Result<String, TunableError> {
    let value = fs::read_to_string(path(root, name)?);
    let value = value.map_err(|error| classify(name, "", error))?;
    Ok(value.trim_end_matches('\n').to_owned())
}

fn names(root: &Path) -> Vec<String> {
    let Ok(directory) = fs::read_dir(root.join("net/netfilter")) else {
        return Vec::new();
    };
    let mut names: Vec<_> = directory
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("nf_conntrack_") || name.starts_with("nf_flowtable_"))
        .filter(|name| name != "nf_conntrack_count")
        .collect();
    names.sort_unstable();
    names
}

/// Effective rights, which are what an open would check.
fn may_write(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::accessat(
        CWD,
        path,
        Access::WRITE_OK,
        AtFlags::EACCESS,
    )?)
}

fn check_writable(name: &str, path: &Path) -> Result<(), TunableError> {
    may_write(path).map_err(|error| classify(name, "", error))
}

fn classify(name: &str, value: &str, source: io::Error) -> TunableError {
    let name = name.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => TunableError::Missing(name),
        io::ErrorKind::PermissionDenied => TunableError::Denied(name),
        io::ErrorKind::ReadOnlyFilesystem => TunableError::ReadOnly(name),
        io::ErrorKind::InvalidInput => TunableError::Value {
            name,
            value: value.to_owned(),
        },
        _ if source.raw_os_error() == Some(rustix::io::Errno::RANGE.raw_os_error()) => {
            TunableError::Value {
                name,
                value: value.to_owned(),
            }
        }
        _ => TunableError::Io { name, source },
    }
}

fn translate(name: &str, value: &str, error: sysctl::SysctlError) -> TunableError {
    match error {
        sysctl::SysctlError::IoError(source) => classify(name, value, source),
        sysctl::SysctlError::NotFound(_) => TunableError::Missing(name.to_owned()),
        other => TunableError::Io {
            name: name.to_owned(),
            source: io::Error::other(other),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("net/netfilter")).unwrap();
        fs::create_dir_all(root.path().join("net/ipv4")).unwrap();
        for (name, value) in [
            ("net/netfilter/nf_conntrack_max", "262144\n"),
            ("net/netfilter/nf_conntrack_count", "3\n"),
            ("net/netfilter/nf_flowtable_tcp_timeout", "30\n"),
            ("net/netfilter/nf_log_all_netns", "0\n"),
            ("net/ipv4/tcp_keepalive_time", "7200\n"),
        ] {
            fs::write(root.path().join(name), value).unwrap();
        }
        root
    }

    #[test]
    fn bare_and_dotted_names_are_found_under_a_root() {
        let root = tree();
        let tunables = DirectoryTunables::new(root.path());
        assert_eq!(tunables.read("nf_conntrack_max").unwrap(), "262144");
        assert_eq!(
            tunables.read("net.ipv4.tcp_keepalive_time").unwrap(),
            "7200"
        );
        tunables.write("nf_conntrack_max", "5").unwrap();
        assert_eq!(tunables.read("nf_conntrack_max").unwrap(), "5");
    }

    #[test]
    fn only_connection_tracking_is_listed_and_the_count_is_none() {
        let root = tree();
        assert_eq!(
            DirectoryTunables::new(root.path()).names(),
            ["nf_conntrack_max", "nf_flowtable_tcp_timeout"]
        );
    }

    #[test]
    fn a_missing_key_is_told_from_a_forbidden_one_and_is_not_created() {
        let root = tree();
        let tunables = DirectoryTunables::new(root.path());
        for error in [
            tunables.read("nf_conntrack_nothing").unwrap_err(),
            tunables.write("nf_conntrack_nothing", "1").unwrap_err(),
        ] {
            assert!(matches!(error, TunableError::Missing(_)), "{error:?}");
        }
        assert!(!tunables.exists("nf_conntrack_nothing"));
        assert!(tunables.reading("nf_conntrack_nothing").is_none());
    }

    #[test]
    fn no_name_leads_out_of_the_root() {
        let root = tree();
        let tunables = DirectoryTunables::new(root.path().join("net/netfilter"));
        for name in ["", "..", "../x", "a..b", "net/ipv4", ".", "a.b/c"] {
            let error = tunables.read(name).unwrap_err();
            assert!(
                matches!(error, TunableError::Name(_)),
                "{name:?}: {error:?}"
            );
        }
    }
}
