//! The running kernel, and the state that belongs to it, as commands use them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::args::{Common, NetnsArg};
use super::render::number::grouped;
use super::terminal::Progress;
use super::{CliError, Outcome, service};
use crate::kernel::namespace::{self, NamespaceError};
use crate::kernel::{Live, identity, session};
use crate::observe::Header;
use crate::state::{self, Lock, State, StateError, Surroundings};

/// Runs a command's work on the kernel in the namespace that it names, else in the present one.
///
/// The session's connections are looked for on both sides: its sockets are here, and a connection
/// that comes in through the other namespace is an entry there.
pub(super) fn within(
    netns: &NetnsArg,
    work: impl FnOnce(Live) -> Result<Outcome, CliError> + Send,
) -> Result<Outcome, CliError> {
    let ssh = std::env::var("SSH_CONNECTION").ok();
    let mut connections = session::connections(ssh.as_deref());
    match &netns.netns {
        None => work(Live::new(connections)),
        Some(target) => namespace::within(target, move || {
            for connection in session::connections(None) {
                if !connections.contains(&connection) {
                    connections.push(connection);
                }
            }
            work(Live::new(connections))
        })?,
    }
}

/// The same for whoever only looks, and at nothing but entries: which of them are the session's does
/// not matter.
pub(super) fn looking(
    netns: &NetnsArg,
    work: impl FnOnce(Live) -> Result<Outcome, CliError> + Send,
) -> Result<Outcome, CliError> {
    match &netns.netns {
        None => work(Live::default()),
        Some(target) => namespace::within(target, || work(Live::default()))?,
    }
}

/// The name that the user gave a namespace that has none of its own.
pub(super) fn name_netns(header: &mut Header, netns: &NetnsArg) {
    if let Some(name) = &netns.netns
        && identity::is_nameless(&header.netns)
    {
        header.netns.name.clone_from(name);
    }
}

/// Where state is kept, by caller and environment; `None` where those name no place.
pub(super) fn state_root() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    state::root(&Surroundings {
        state_directory: variable("STATE_DIRECTORY"),
        system: identity::is_machine_root(),
        xdg_state_home: variable("XDG_STATE_HOME"),
        home: variable("HOME"),
    })
}

/// The state of the namespace in which the calling thread is; asks the kernel for nothing else.
pub(super) fn state_here() -> Result<State, CliError> {
    let netns = identity::netns().map_err(|error| {
        CliError::failed("the network namespace cannot be identified").because(error)
    })?;
    let root = state_root().ok_or_else(|| {
        CliError::failed("there is no place for state between runs")
            .hint("set STATE_DIRECTORY (systemd's StateDirectory= does), XDG_STATE_HOME or HOME")
    })?;
    Ok(State::of(&root, &netns))
}

/// Takes the lock of a namespace.
pub(super) fn lock(state: &State, command: &str) -> Result<Lock, CliError> {
    Ok(hold(state, command)?)
}

/// The same, for whoever can go on without.
pub(super) fn hold(state: &State, command: &str) -> Result<Lock, StateError> {
    state.lock(&format!(
        "`conntidy {command}`, process {}",
        std::process::id()
    ))
}

/// The service manager is told so often how far it is.
const TELL_MANAGER: Duration = Duration::from_secs(1);

/// Draws how far a dump or a sweep is, and tells the service manager.
pub(super) struct Told {
    what: String,
    progress: Mutex<(Progress, Option<Instant>)>,
    total: Option<u64>,
}

impl Told {
    pub(super) fn new(common: &Common, what: &str, total: Option<u64>) -> Self {
        Self {
            what: what.to_owned(),
            progress: Mutex::new((Progress::start(what, common.quiet), None)),
            total,
        }
    }

    pub(super) fn tell(&self, seen: u64) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let (progress, told) = &mut *progress;
        progress.update(seen, self.total);
        if told.is_none_or(|told| told.elapsed() >= TELL_MANAGER) {
            *told = Some(Instant::now());
            let of = self
                .total
                .map_or_else(String::new, |total| format!(" of {}", grouped(total)));
            service::progress(&format!("{}: {}{of}", self.what, grouped(seen)));
        }
    }
}

impl From<StateError> for CliError {
    fn from(error: StateError) -> Self {
        let message = error.to_string();
        match error {
            StateError::Busy { .. } => Self::busy(message)
                .hint("it lets go by itself when it ends, also when it is killed"),
            StateError::File { path, source, .. } => {
                denied_or_failed(message, &path, source)
            }
            StateError::Damaged { path, source } => Self::failed(message).because(source).hint(
                format!(
                    "remove {} to start anew: rules on hold and proof of idleness are forgotten then",
                    path.display()
                ),
            ),
            StateError::DamagedRecord { source, .. } => Self::failed(message)
                .because(source)
                .hint("that run cannot be undone; `conntidy undo --list` lists the others"),
            StateError::NoRun { .. } => {
                Self::failed(message).hint("`conntidy undo --list` lists the recorded runs")
            }
        }
    }
}

fn denied_or_failed(message: String, path: &Path, source: std::io::Error) -> CliError {
    if source.kind() == std::io::ErrorKind::PermissionDenied {
        CliError::permission(message).because(source).hint(format!(
            "run as the owner of {}, or set STATE_DIRECTORY to a directory of your own",
            path.parent().unwrap_or(path).display()
        ))
    } else {
        CliError::failed(message).because(source)
    }
}

impl From<NamespaceError> for CliError {
    fn from(error: NamespaceError) -> Self {
        let message = error.to_string();
        match error {
            NamespaceError::Forbidden(setting) => Self::permission(message).hint(format!(
                "allow them with `sysctl -w {}={}`, or run as root",
                setting.name(),
                setting.allowing()
            )),
            NamespaceError::Open { source, .. }
                if source.kind() != std::io::ErrorKind::PermissionDenied =>
            {
                Self::failed(message).hint(
                    "`ip netns list` lists the names; `list`, `count`, `get`, `stats` and `events` take `all`",
                )
            }
            NamespaceError::Foreign { .. } => {
                Self::failed(message).hint("`ip netns list` lists the names")
            }
            NamespaceError::Open { .. } | NamespaceError::Enter { .. } => Self::permission(message)
                .hint("entering a network namespace needs CAP_SYS_ADMIN: run as root"),
            _ => Self::permission(message),
        }
    }
}
