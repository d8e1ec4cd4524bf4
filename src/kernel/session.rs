//! Connections of the caller's own session, which no rule may cut.
//!
//! Two sources, since neither is sure: `SSH_CONNECTION` is lost under sudo, and sockets of
//! ancestor processes are not to be seen without privilege or through a jump over another host's
//! multiplexer.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::flow::Protocol;
use crate::observe::Connection;

/// Deepest chain of ancestors that is followed.
const DEPTH: usize = 128;

/// Both sources together, each connection once, sorted. `ssh_connection` is the value of
/// `SSH_CONNECTION`, which the caller reads: nothing here looks at the environment.
#[must_use]
pub fn connections(ssh_connection: Option<&str>) -> Vec<Connection> {
    let mut all = of_ancestors();
    all.extend(ssh_connection.and_then(parse_ssh_connection));
    all.sort_unstable_by_key(|c| (c.protocol, c.local, c.local_port, c.peer, c.peer_port));
    all.dedup();
    all
}

/// `SSH_CONNECTION`: client address and port, server address and port, by spaces.
#[must_use]
pub fn parse_ssh_connection(text: &str) -> Option<Connection> {
    let mut words = text.split_ascii_whitespace();
    let mut end = || {
        // A link-local address comes with its interface.
        let address = words.next()?.split('%').next()?;
        let address: IpAddr = address.parse().ok()?;
        let port: u16 = words.next()?.parse().ok()?;
        Some((address.to_canonical(), port))
    };
    let ((peer, peer_port), (local, local_port)) = (end()?, end()?);
    Some(Connection {
        protocol: Protocol::TCP.0,
        local,
        local_port,
        peer,
        peer_port,
    })
}

/// TCP connections that this process or an ancestor has open, as far as `/proc` shows their
/// descriptors and they are in the calling thread's network namespace.
#[must_use]
pub fn of_ancestors() -> Vec<Connection> {
    let mut inodes = HashSet::new();
    let mut pid = std::process::id();
    for _ in 0..DEPTH {
        sockets_of(pid, &mut inodes);
        match fs::read_to_string(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|stat| parent(&stat))
        {
            Some(parent) if parent != 0 => pid = parent,
            _ => break,
        }
    }
    if inodes.is_empty() {
        return Vec::new();
    }
    // Not /proc/net, which is the main thread's namespace.
    ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| connections_in(&table, &inodes))
        .collect()
}

/// The parent in `/proc/PID/stat`; the command before it may hold spaces and brackets.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn sockets_of(pid: u32, inodes: &mut HashSet<u64>) {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return;
    };
    for descriptor in descriptors.filter_map(Result::ok) {
        let Ok(target) = fs::read_link(descriptor.path()) else {
            continue;
        };
        inodes.extend(
            target
                .to_str()
                .and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']'))
                .and_then(|inode| inode.parse::<u64>().ok()),
        );
    }
}

/// The connected sockets with these inodes in a table as `/proc/net/tcp` is.
fn connections_in(table: &str, inodes: &HashSet<u64>) -> Vec<Connection> {
    table
        .lines()
        .filter_map(|line| {
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            let inode = words.get(9)?.parse().ok()?;
            if !inodes.contains(&inode) {
                return None;
            }
            let (local, local_port) = end(words.get(1)?)?;
            let (peer, peer_port) = end(words.get(2)?)?;
            // A listening socket has no other end.
            (peer_port != 0).then_some(Connection {
                protocol: Protocol::TCP.0,
                local,
                local_port,
                peer,
                peer_port,
            })
        })
        .collect()
}

/// `0100007F:1F90`: words of the address in the host's byte order, port as a number.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let word = |index: usize| {
        let digits = address.get(index * 8..index * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn ssh_connection_is_read_from_the_servers_side() {
        let connection = parse_ssh_connection("192.0.2.7 50112 10.0.0.1 22").unwrap();
        assert_eq!(connection.peer.to_string(), "192.0.2.7");
        assert_eq!(connection.peer_port, 50112);
        assert_eq!(connection.local.to_string(), "10.0.0.1");
        assert_eq!(connection.local_port, 22);
    }

    #[test]
    fn interfaces_and_mapped_addresses_are_taken_off() {
        let link = parse_ssh_connection("fe80::1%eth0 5 fe80::2%eth0 22").unwrap();
        assert_eq!(link.peer.to_string(), "fe80::1");
        let mapped = parse_ssh_connection("::ffff:10.0.0.9 5 ::ffff:10.0.0.1 22").unwrap();
        assert_eq!(mapped.local.to_string(), "10.0.0.1");
        for text in ["", "10.0.0.1 5", "10.0.0.1 x 10.0.0.2 22", "a b c d"] {
            assert_eq!(parse_ssh_connection(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_parent_is_found_behind_any_command_name() {
        assert_eq!(parent("12 (a) b (c) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12"), None);
    }

    #[test]
    fn a_connection_of_this_process_is_its_sessions() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (local, peer) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
            let all = connections(None);
            assert!(
                all.iter()
                    .any(|c| (c.local, c.local_port) == (local.ip(), local.port())
                        && (c.peer, c.peer_port) == (peer.ip(), peer.port())),
                "{all:?}"
            );
            assert!(all.iter().all(|c| c.peer_port != 0));
        }
    }
}
