//! Network namespaces: a private one, and acting within another.
//!
//! The only place that unshares or enters a namespace. Nothing else of the program has to know of
//! namespaces: sockets and `/proc/sys/net` belong to the namespace of the thread that opens them.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::panic;
use std::path::PathBuf;
use std::thread;

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::identity::NAMED;
use super::socket::{Socket, SocketError};
use super::stats;

/// Filesystem of the files that stand for namespaces (`NSFS_MAGIC` in linux/magic.h).
const NSFS_MAGIC: rustix::fs::FsWord = 0x6e73_6673;

/// Why a namespace could not be made or entered.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// A setting of this system forbids user namespaces.
    #[error("user namespaces are forbidden here: {0}")]
    Forbidden(Setting),
    /// The system refuses, and no known setting says why.
    #[error("make a private namespace: {0} (a container's seccomp profile may forbid it)")]
    Refused(#[source] io::Error),
    /// A second thread exists already.
    #[error("a user namespace can only be made while the process has one thread")]
    Threads,
    /// A file of `/proc/self` that makes the namespace usable.
    #[error("{path}: {source}")]
    Map {
        /// The file.
        path: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// ctnetlink does not answer in the new namespace.
    #[error("the private namespace has no usable connection tracking: {0}")]
    Unusable(#[source] SocketError),
    /// No such namespace.
    #[error("network namespace `{target}`: {source}")]
    Open {
        /// Name or path as it was given.
        target: String,
        /// What the system said.
        source: io::Error,
    },
    /// It is there, and something else.
    #[error("`{target}` is no network namespace")]
    Foreign {
        /// Name or path as it was given.
        target: String,
    },
    /// The namespace may not be entered.
    #[error("enter network namespace `{target}`: {source}")]
    Enter {
        /// Name or path as it was given.
        target: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A setting that forbids unprivileged user namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `kernel.unprivileged_userns_clone = 0` (Debian, Arch hardened).
    UnprivilegedClone,
    /// `user.max_user_namespaces = 0`.
    MaxUserNamespaces,
    /// `user.max_net_namespaces = 0`.
    MaxNetNamespaces,
    /// `kernel.apparmor_restrict_unprivileged_userns = 1` (Ubuntu): the namespace is made, but
    /// without its privileges.
    AppArmor,
}

impl Setting {
    const ALL: [Self; 4] = [
        Self::UnprivilegedClone,
        Self::MaxUserNamespaces,
        Self::MaxNetNamespaces,
        Self::AppArmor,
    ];

    /// The sysctl's full name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UnprivilegedClone => "kernel.unprivileged_userns_clone",
            Self::MaxUserNamespaces => "user.max_user_namespaces",
            Self::MaxNetNamespaces => "user.max_net_namespaces",
            Self::AppArmor => "kernel.apparmor_restrict_unprivileged_userns",
        }
    }

    /// The value that forbids.
    #[must_use]
    pub fn forbidding(self) -> &'static str {
        match self {
            Self::AppArmor => "1",
            _ => "0",
        }
    }

    /// A value that allows.
    #[must_use]
    pub fn allowing(self) -> &'static str {
        match self {
            Self::UnprivilegedClone => "1",
            Self::MaxUserNamespaces | Self::MaxNetNamespaces => "1000",
            Self::AppArmor => "0",
        }
    }

    fn forbids(self) -> bool {
        fs::read_to_string(format!("/proc/sys/{}", self.name().replace('.', "/")))
            .is_ok_and(|value| value.trim() == self.forbidding())
    }

    /// The first setting that forbids.
    #[must_use]
    pub fn in_force() -> Option<Self> {
        Self::ALL.into_iter().find(|setting| setting.forbids())
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {}", self.name(), self.forbidding())
    }
}

#[expect(
    deprecated,
    reason = "the successor is unsafe for the sake of CLONE_FILES, which is never passed here"
)]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    Ok(rustix::thread::unshare(flags)?)
}

/// Moves the whole process into a new user and a new network namespace, in which it is root.
///
/// Must be called before any thread exists. Files, mounts and processes stay shared.
///
/// # Errors
/// Where the system forbids it; the error names what does, as far as that can be told. What was
/// done until then is not undone: the process should end.
pub fn private() -> Result<(), NamespaceError> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET).map_err(|source| {
        // EINVAL has no other cause: both flags are as old as any supported kernel.
        if source.kind() == io::ErrorKind::InvalidInput {
            return NamespaceError::Threads;
        }
        Setting::in_force().map_or(NamespaceError::Refused(source), NamespaceError::Forbidden)
    })?;
    // Without a denied setgroups an unprivileged gid map is refused.
    for (path, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {} 1", uid.as_raw())),
        ("/proc/self/gid_map", format!("0 {} 1", gid.as_raw())),
    ] {
        fs::write(path, text).map_err(|source| {
            Setting::in_force().map_or(
                NamespaceError::Map { path, source },
                NamespaceError::Forbidden,
            )
        })?;
    }
    // AppArmor lets unshare pass and takes the capabilities: only a request tells.
    Socket::netfilter()
        .and_then(|mut socket| stats::table(&mut socket))
        .map(drop)
        .map_err(|error| match Setting::in_force() {
            Some(setting) if error.errno() == Some(rustix::io::Errno::PERM.raw_os_error()) => {
                NamespaceError::Forbidden(setting)
            }
            _ => NamespaceError::Unusable(error),
        })
}

/// Runs `f` on a fresh thread within a network namespace: a name under `/run/netns`, or a path.
/// Threads and processes that `f` starts are within it too.
///
/// # Errors
/// Where the namespace does not exist or may not be entered (`CAP_SYS_ADMIN` in the user
/// namespaces of both sides).
pub fn within<R: Send>(target: &str, f: impl FnOnce() -> R + Send) -> Result<R, NamespaceError> {
    let foreign = || NamespaceError::Foreign {
        target: target.to_owned(),
    };
    if target.is_empty() {
        return Err(foreign());
    }
    let file = File::open(path(target)).map_err(|source| NamespaceError::Open {
        target: target.to_owned(),
        source,
    })?;
    if !of_the_kernel(&file) {
        return Err(foreign());
    }
    on_fresh_thread(
        || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(
                |error| match error {
                    // A namespace of another kind.
                    Errno::INVAL => foreign(),
                    error => NamespaceError::Enter {
                        target: target.to_owned(),
                        source: error.into(),
                    },
                },
            )
        },
        f,
    )
}

/// The names of all network namespaces that have one, in order; those of `ip netns list`.
///
/// # Errors
/// Where the directory of names cannot be read; that there is none is no error.
pub fn named() -> Result<Vec<String>, NamespaceError> {
    let failed = |source| NamespaceError::Open {
        target: NAMED.to_owned(),
        source,
    };
    let entries = match fs::read_dir(NAMED) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        // What `ip netns` left behind without a namespace on it is none.
        let is_namespace = File::open(entry.path()).is_ok_and(|file| of_the_kernel(&file));
        if let (Ok(name), true) = (entry.file_name().into_string(), is_namespace) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Where a namespace is that is given by a name under `/run/netns`, or by its path.
fn path(target: &str) -> PathBuf {
    if target.contains('/') {
        PathBuf::from(target)
    } else {
        PathBuf::from(NAMED).join(target)
    }
}

/// Whether a file is a namespace of any kind; told without any privilege.
fn of_the_kernel(file: &File) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|filesystem| filesystem.f_type == NSFS_MAGIC)
}

/// Runs `f` on a fresh thread within a new, empty network namespace, which ends with it.
///
/// # Errors
/// Where the caller may not make one (`CAP_SYS_ADMIN`; see [`private`]).
pub fn within_new<R: Send>(f: impl FnOnce() -> R + Send) -> Result<R, NamespaceError> {
    on_fresh_thread(
        || unshare(UnshareFlags::NEWNET).map_err(NamespaceError::Refused),
        f,
    )
}

fn on_fresh_thread<R: Send>(
    enter: impl FnOnce() -> Result<(), NamespaceError> + Send,
    f: impl FnOnce() -> R + Send,
) -> Result<R, NamespaceError> {
    thread::scope(|scope| {
        scope
            .spawn(|| enter().map(|()| f()))
            .join()
            .unwrap_or_else(|payload| panic::resume_unwind(payload))
    })
}
