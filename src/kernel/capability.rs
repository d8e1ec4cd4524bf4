//! What may be done here, asked before doing it, and without changing or loading anything.

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::identity;
use super::module::{self, Presence};
use super::namespace::Setting;
use super::socket::Socket;
use super::stats;
use super::sysctl::{LiveTunables, Tunables};
use crate::observe::Netns;

/// What the caller may do in the calling thread's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The namespace; `None` where `/proc` is not mounted.
    pub netns: Option<Netns>,
    /// Whether `CAP_NET_ADMIN` is effective in the caller's own user namespace. It says nothing of
    /// a network namespace that another user namespace owns; `ctnetlink` does.
    pub net_admin: bool,
    /// Whether `CAP_SYS_ADMIN` is effective, which entering a namespace takes.
    pub sys_admin: bool,
    /// What ctnetlink said to a real request.
    pub ctnetlink: Access,
    /// Whether `/proc/sys/net` is mounted read-only, as in most containers.
    pub read_only_sysctl: bool,
    /// The setting that forbids unprivileged user namespaces, if one does.
    pub userns_forbidden_by: Option<Setting>,
}

/// Whether something may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It was used.
    Granted,
    /// `CAP_NET_ADMIN` is missing in the user namespace that owns the network namespace.
    Denied,
    /// Connection tracking is not loaded; it was not asked, since asking would load it.
    NotLoaded,
    /// Connection tracking is loaded, ctnetlink is not; it was not asked, since asking would load
    /// it.
    NetlinkNotLoaded,
    /// The kernel has no ctnetlink.
    Absent,
    /// Something else went wrong.
    Failed(String),
}

/// Looks at all of it.
#[must_use]
pub fn look() -> Capabilities {
    let effective = rustix::thread::capabilities(None).map(|sets| sets.effective);
    let has = |one| effective.is_ok_and(|all| all.contains(one));
    Capabilities {
        netns: identity::netns().ok(),
        net_admin: has(CapabilitySet::NET_ADMIN),
        sys_admin: has(CapabilitySet::SYS_ADMIN),
        ctnetlink: ctnetlink(),
        read_only_sysctl: statvfs("/proc/sys/net")
            .is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::RDONLY)),
        userns_forbidden_by: Setting::in_force(),
    }
}

/// Asks ctnetlink for the number of entries, if connection tracking is there.
#[must_use]
pub fn ctnetlink() -> Access {
    if !LiveTunables.exists("nf_conntrack_count") {
        return Access::NotLoaded;
    }
    if module::presence(module::CTNETLINK) == Presence::NotLoaded {
        return Access::NetlinkNotLoaded;
    }
    let asked = Socket::netfilter().and_then(|mut socket| stats::table(&mut socket));
    let Err(error) = asked else {
        return Access::Granted;
    };
    match error.errno() {
        Some(errno) if errno == Errno::PERM.raw_os_error() => Access::Denied,
        Some(errno)
            if [Errno::INVAL, Errno::PROTONOSUPPORT, Errno::AFNOSUPPORT]
                .iter()
                .any(|known| known.raw_os_error() == errno) =>
        {
            Access::Absent
        }
        _ => Access::Failed(error.to_string()),
    }
}
