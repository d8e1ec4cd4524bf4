//! The interfaces of the calling thread's network namespace.

use std::fs;

/// Their names, as `/proc` lists them; `None` where it does not.
#[must_use]
pub fn names() -> Option<Vec<String>> {
    // Not /proc/net and not /sys/class/net, which belong to the main thread or to the mount.
    let table = fs::read_to_string("/proc/thread-self/net/dev").ok()?;
    Some(names_in(&table))
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
