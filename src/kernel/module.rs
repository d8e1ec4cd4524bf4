//! Whether code that may be a module is in the kernel: asking it over netlink would load it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::identity;

/// ctnetlink's module.
pub const CTNETLINK: &str = "nf_conntrack_netlink";

/// Connection tracking's own module.
pub const CONNTRACK: &str = "nf_conntrack";

/// Whether code is in the running kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is there already, or this kernel loads no modules at all: asking changes nothing.
    Settled,
    /// It is not there; asking would have the kernel load it, where it has such a module.
    NotLoaded,
    /// Neither can be told.
    Unknown,
}

/// Tells one load of a module from the next, within a boot; `None` where it is not loaded or
/// `/sys/module` is out of sight, as in many containers.
///
/// sysfs numbers a directory when it is made and gives no number again before all are used up.
#[must_use]
pub fn load(module: &str) -> Option<u64> {
    let directory = fs::metadata(format!("/sys/module/{module}"));
    directory.ok().map(|directory| directory.ino())
}

/// Whether a module, named with underscores, is in the running kernel.
#[must_use]
pub fn presence(module: &str) -> Presence {
    let loaded = fs::read_to_string("/proc/modules").ok();
    let release = identity::kernel_release();
    let built_in = fs::read_to_string(format!("/lib/modules/{release}/modules.builtin")).ok();
    judge(loaded.as_deref(), built_in.as_deref(), module)
}

/// From `/proc/modules`, which a kernel that cannot load modules does not have, and
/// `modules.builtin`, which is out of sight in many containers and units.
fn judge(loaded: Option<&str>, built_in: Option<&str>, module: &str) -> Presence {
    let Some(loaded) = loaded else {
        return Presence::Settled;
    };
    if lists(loaded, module) {
        return Presence::Settled;
    }
    // What builds on a module is none of the kernel's own parts.
    if module == CTNETLINK && lists(loaded, CONNTRACK) {
        return Presence::NotLoaded;
    }
    match built_in {
        Some(list) if is_built_in(list, module) => Presence::Settled,
        Some(_) => Presence::NotLoaded,
        None => Presence::Unknown,
    }
}

fn lists(modules: &str, module: &str) -> bool {
    modules
        .lines()
        .any(|line| line.split(' ').next() == Some(module))
}

fn is_built_in(list: &str, module: &str) -> bool {
    list.lines().any(|line| {
        let file = line.rsplit('/').next().unwrap_or(line);
        file.strip_suffix(".ko")
            .is_some_and(|name| name.replace('-', "_") == module)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_found_by_its_whole_name() {
        let modules = "nf_tables_set 1 0 - Live 0x0\nnf_tables 303104 57 nft_ct, Live 0x0\n";
        assert!(lists(modules, "nf_tables"));
        assert!(!lists(modules, "nf_table"));
        assert!(!lists(modules, "nfnetlink_cttimeout"));
    }

    #[test]
    fn a_built_in_module_is_found_with_either_dash() {
        let list =
            "kernel/net/netfilter/nf_tables.ko\nkernel/net/netfilter/nfnetlink-cttimeout.ko\n";
        assert!(is_built_in(list, "nfnetlink_cttimeout"));
        assert!(!is_built_in(list, "nf_conntrack"));
    }

    #[test]
    fn a_kernel_without_modules_loads_nothing_when_asked() {
        assert_eq!(judge(None, None, CTNETLINK), Presence::Settled);
    }

    #[test]
    fn a_loaded_or_built_in_module_may_be_asked() {
        let loaded = "nf_conntrack_netlink 57344 0 - Live 0x0\nnf_conntrack 1 2 x, Live 0x0\n";
        assert_eq!(judge(Some(loaded), None, CTNETLINK), Presence::Settled);
        let built_in = "kernel/net/netfilter/nf_conntrack_netlink.ko\n";
        assert_eq!(
            judge(Some(""), Some(built_in), CTNETLINK),
            Presence::Settled
        );
    }

    #[test]
    fn ctnetlink_of_a_modular_tracker_is_not_loaded_unless_it_is_listed() {
        let loaded = "nf_conntrack 212992 3 nf_nat,nft_ct, Live 0x0\n";
        assert_eq!(judge(Some(loaded), None, CTNETLINK), Presence::NotLoaded);
        assert_eq!(judge(Some(""), Some(""), CTNETLINK), Presence::NotLoaded);
        assert_eq!(judge(Some(""), None, CTNETLINK), Presence::Unknown);
    }
}
