//! Names of sysctls in all the ways in which scripts write them.

use crate::policy::KeyPath;
use crate::tunable::{self, Home, Tunable};

/// What a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A tunable of connection tracking.
    Known(&'static Tunable),
    /// One that can only be read.
    ReadOnly,
    /// One of connection tracking that conntidy does not know.
    Unknown,
    /// Something else.
    Foreign,
}

/// What a sysctl's name, or its path below `/proc/sys`, stands for.
pub(super) fn named(name: &str) -> Named {
    let name = name.strip_prefix("/proc/sys/").unwrap_or(name);
    // The first separator tells which of the two a name uses.
    let dotted = match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('/') => name.replace('/', "."),
        _ => name.to_owned(),
    };
    let bare = match dotted.strip_prefix("net.netfilter.") {
        Some(bare) => bare,
        None if dotted == "net.nf_conntrack_max" => "nf_conntrack_max",
        None if dotted.contains("conntrack") => return Named::Unknown,
        None => return Named::Foreign,
    };
    match tunable::find(bare) {
        Some(tunable) if tunable.home == Home::ReadOnly => Named::ReadOnly,
        Some(tunable) => Named::Known(tunable),
        None => Named::Unknown,
    }
}

/// Where a policy has a tunable.
pub(super) fn key(tunable: &Tunable) -> KeyPath {
    match tunable.home {
        Home::Table(key) => KeyPath::of(["table", key]),
        Home::Timeouts(key) => KeyPath::of(["timeouts"].into_iter().chain(key.split('.'))),
        Home::Sysctl | Home::ReadOnly => KeyPath::of(["sysctl", tunable.name]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_name_leads_to_the_tunable() {
        for name in [
            "net.netfilter.nf_conntrack_max",
            "net/netfilter/nf_conntrack_max",
            "/proc/sys/net/netfilter/nf_conntrack_max",
            "net.nf_conntrack_max",
            "/proc/sys/net/nf_conntrack_max",
        ] {
            assert!(
                matches!(named(name), Named::Known(known) if known.name == "nf_conntrack_max"),
                "{name}"
            );
        }
        assert_eq!(named("net.netfilter.nf_conntrack_count"), Named::ReadOnly);
        assert_eq!(named("net.ipv4.netfilter.ip_conntrack_max"), Named::Unknown);
        assert_eq!(named("net.netfilter.nf_conntrack_tcp_*"), Named::Unknown);
        assert_eq!(named("net.ipv4.ip_forward"), Named::Foreign);
    }
}
