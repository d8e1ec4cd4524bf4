//! The interfaces of the calling thread's network namespace.

use std::fs;

use netlink_sys::constants::NETLINK_ROUTE;
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;

use super::socket::{Socket, SocketError};

/// Their names, as `/proc` lists them; `None` where it does not.
#[must_use]
pub fn names() -> Option<Vec<String>> {
    // Not /proc/net and not /sys/class/net, which belong to the main thread or to the mount.
    let table = fs::read_to_string("/proc/thread-self/net/dev").ok()?;
    Some(names_in(&table))
}

/// The index of an interface, by its name or an alternative name (`SIOCGIFINDEX`); `None` where there
/// is none.
///
/// # Errors
/// Where the kernel cannot be asked.
pub fn index(name: &str) -> Result<Option<u32>, SocketError> {
    const OPERATION: &str = "find an interface by its name";
    let socket = Socket::open(NETLINK_ROUTE)?;
    match name_to_index(&socket, name) {
        Ok(index) => Ok(Some(index)),
        Err(Errno::NODEV) => Ok(None),
        Err(errno) => Err(SocketError::call(OPERATION)(errno.into())),
    }
}

fn names_in(table: &str) -> Vec<String> {
    table
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_lines_of_heading_are_no_interfaces() {
        let table = "Inter-|   Receive                |  Transmit\n face |bytes    packets|bytes\n    \
                     lo:  12  1 0\n  wan0: 7 0\n";
        assert_eq!(names_in(table), ["lo", "wan0"]);
    }
}
