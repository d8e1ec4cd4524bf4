//! Who this is: namespace, host, clocks, size of the machine.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::observe::Netns;

/// Where `ip netns` keeps named namespaces.
pub(crate) const NAMED: &str = "/run/netns";

const OWN: &str = "/proc/thread-self/ns/net";

/// The calling thread's network namespace.
///
/// It is called by its name under `/run/netns`, `init` if it is the initial one, else as the
/// kernel prints it (`net:[4026532178]`).
///
/// # Errors
/// Where `/proc` is not mounted.
pub fn netns() -> std::io::Result<Netns> {
    let own = fs::metadata(OWN)?;
    let (device, inode) = (own.dev(), own.ino());
    // Registered in the initial namespace only, and there whatever the kernel's options are.
    let initial = Path::new("/proc/sys/net/core/netdev_budget").exists();
    let name = if initial {
        "init".to_owned()
    } else {
        named(device, inode).unwrap_or_else(|| unnamed(inode))
    };
    // Not pinned, the inode is made anew each time that it is looked at. The initial namespace is
    // the same one as long as the machine runs.
    let pinned = !initial && pins(&contents("/proc/thread-self/mountinfo"), inode);
    Ok(Netns {
        name,
        device,
        inode,
        initial,
        created_ns: pinned.then(|| changed_ns(&own)).flatten(),
    })
}

/// Whether a list of mounts has one that keeps a network namespace.
fn pins(mounts: &str, inode: u64) -> bool {
    let root = format!("net:[{inode}]");
    mounts.lines().any(|line| {
        line.split_once(" - ").is_some_and(|(mount, source)| {
            source.starts_with("nsfs ") && mount.split(' ').nth(3) == Some(&root)
        })
    })
}

fn changed_ns(file: &fs::Metadata) -> Option<u64> {
    let seconds = u64::try_from(file.ctime()).ok()?;
    let rest = u64::try_from(file.ctime_nsec()).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(rest)
}

/// Whether a namespace is neither the initial one nor named under `/run/netns`.
pub(crate) fn is_nameless(netns: &Netns) -> bool {
    netns.name == unnamed(netns.inode)
}

/// As the kernel prints a namespace.
fn unnamed(inode: u64) -> String {
    format!("net:[{inode}]")
}

fn named(device: u64, inode: u64) -> Option<String> {
    fs::read_dir(NAMED)
        .ok()?
        .filter_map(Result::ok)
        .find(|entry| {
            fs::metadata(entry.path()).is_ok_and(|m| (m.dev(), m.ino()) == (device, inode))
        })
        .and_then(|entry| entry.file_name().into_string().ok())
}

/// Whether the caller is root of the machine: effective user 0, and in the initial user namespace
/// or one that maps every user to itself.
#[must_use]
pub fn is_machine_root() -> bool {
    rustix::process::geteuid().is_root() && maps_all(&contents("/proc/self/uid_map"))
}

fn maps_all(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

pub(crate) fn boot_id() -> String {
    contents("/proc/sys/kernel/random/boot_id")
}

pub(crate) fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// Kernel release, as `uname -r` prints it.
#[must_use]
pub fn kernel_release() -> String {
    let name = rustix::system::uname();
    name.release().to_string_lossy().into_owned()
}

/// Wall clock, nanoseconds since 1970; 0 before.
#[must_use]
pub fn time_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_nanos()).ok())
        .unwrap_or(0)
}

/// Time since boot, suspend included, nanoseconds (`CLOCK_BOOTTIME`).
#[must_use]
pub fn uptime_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// Processors online; those the caller may use, where the system does not say.
pub(crate) fn cores() -> u32 {
    count_list(&contents("/sys/devices/system/cpu/online")).unwrap_or_else(|| {
        std::thread::available_parallelism()
            .ok()
            .and_then(|cores| u32::try_from(cores.get()).ok())
            .unwrap_or(1)
    })
}

/// Numbers in a list such as `0-3,8`.
fn count_list(text: &str) -> Option<u32> {
    let mut count = 0u32;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

/// Memory of the machine in bytes; 0 where the system does not say.
pub(crate) fn memory() -> u64 {
    contents("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes.saturating_mul(1024))
}

fn contents(path: &str) -> String {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_over_gaps() {
        assert_eq!(count_list("0"), Some(1));
        assert_eq!(count_list("0-3,8,10-11"), Some(7));
        assert_eq!(count_list(""), None);
        assert_eq!(count_list("3-0"), None);
    }

    #[test]
    fn only_a_mount_of_its_own_pins_a_namespace() {
        let mounts = "64 29 0:23 / /run rw - tmpfs none rw\n\
            65 64 0:4 net:[4026532248] /run/netns/x rw shared:2 - nsfs nsfs rw\n\
            66 64 0:4 mnt:[4026532249] /run/other rw - nsfs nsfs rw\n\
            67 64 0:5 net:[4026532250] /run/fake rw - tmpfs none rw";
        assert!(pins(mounts, 4_026_532_248));
        for other in [402_653_224, 4_026_532_249, 4_026_532_250] {
            assert!(!pins(mounts, other), "{other}");
        }
    }

    #[test]
    fn only_the_whole_range_maps_every_user_to_itself() {
        assert!(maps_all("         0          0 4294967295"));
        for other in ["0 1000 1", "0 0 1", "0 0 65536\n65536 65536 65536", ""] {
            assert!(!maps_all(other), "{other}");
        }
    }

    #[test]
    fn the_machine_has_cores_memory_and_an_uptime() {
        assert!(cores() >= 1);
        assert!(memory() > 1 << 20);
        assert!(uptime_ns() > 0);
        assert!(!boot_id().is_empty());
    }
}
