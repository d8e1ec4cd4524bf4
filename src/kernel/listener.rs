//! Hears what happens to the table, as it happens (netlink multicast groups of ctnetlink).

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_sys::constants::NETLINK_NETFILTER;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::event::{Event, Groups, event};
use super::message;
use super::socket::{BUFFER, Socket, SocketError};

const OPERATION: &str = "receive an event over ctnetlink";

/// Room for events that wait to be read, where the caller asks for no other: at 50,000 events a
/// second half a second of them.
pub const ROOM: usize = 16 << 20;

/// Listens in the network namespace of the thread that opened it.
///
/// The kernel waits for nobody: events for which there is no room are lost, which [`Received::Gap`]
/// tells.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    port: u32,
    buffer: Vec<u8>,
    room: usize,
    /// The kernel said that it lost something, and what it had kept until then is not read yet.
    overrun: bool,
    lost: u64,
    undecoded: u64,
}

/// What [`Listener::receive`] came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A datagram; its events were delivered.
    Events,
    /// Here events are missing: as many as this, where that can be told.
    Gap(Option<u64>),
    /// Nothing is there to be read now.
    Nothing,
}

/// What ended [`Listener::wait`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// There is something to receive.
    pub events: bool,
    /// The other file is readable.
    pub other: bool,
    /// Nobody reads any more what is written.
    pub unread: bool,
}

impl Listener {
    /// Starts to listen. `room` is asked for in bytes, by force where that is allowed
    /// (`CAP_NET_ADMIN` in the initial user namespace), else up to `net.core.rmem_max`.
    pub(crate) fn open(groups: Groups, room: usize) -> Result<Self, SocketError> {
        let socket = Socket::netfilter()?;
        // Doubled by the kernel, for what it keeps beside each message.
        let granted = socket.widen_receive(room) / 2;
        for group in groups.numbers() {
            socket.join(group)?;
        }
        Ok(Self {
            port: socket.port()?,
            socket,
            buffer: vec![0; BUFFER],
            room: granted,
            overrun: false,
            lost: 0,
            undecoded: 0,
        })
    }

    /// Bytes of room that the kernel granted.
    #[must_use]
    pub fn room(&self) -> usize {
        self.room
    }

    /// Events that could not be decoded; none of them was delivered.
    #[must_use]
    pub fn undecoded(&self) -> u64 {
        self.undecoded
    }

    /// Takes one datagram, if one is there, and delivers its events. Never waits.
    ///
    /// After a loss the kernel keeps nothing new until all is read that it had kept before: that is
    /// where the gap is, and where it is told.
    ///
    /// # Errors
    /// Where the socket fails.
    pub fn receive(&mut self, mut take: impl FnMut(&Event<'_>)) -> Result<Received, SocketError> {
        let datagram = loop {
            match self.socket.receive_now(&mut self.buffer, OPERATION) {
                Ok(Some(datagram)) => break datagram,
                Ok(None) if !self.overrun => return Ok(Received::Nothing),
                Ok(None) => {
                    self.overrun = false;
                    return Ok(Received::Gap(self.newly_lost()));
                }
                Err(error) if error.errno() == Some(Errno::NOBUFS.raw_os_error()) => {
                    // A second loss: the place of the first lies behind.
                    if std::mem::replace(&mut self.overrun, true) {
                        return Ok(Received::Gap(self.newly_lost()));
                    }
                }
                Err(error) => return Err(error),
            }
        };
        for message in message::messages(datagram) {
            match event(&message?) {
                Some(Ok(event)) => take(&event),
                Some(Err(_)) => self.undecoded += 1,
                None => {}
            }
        }
        Ok(Received::Events)
    }

    /// Waits until there is something to receive, until `other` is readable, until nobody reads any
    /// more what is written to `out`, a pipe, or for so long.
    ///
    /// # Errors
    /// Where waiting fails.
    pub fn wait(
        &self,
        other: BorrowedFd<'_>,
        out: BorrowedFd<'_>,
        timeout: Option<Duration>,
    ) -> Result<Woken, SocketError> {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut sources = [
                PollFd::new(&self.socket, PollFlags::IN),
                PollFd::from_borrowed_fd(other, PollFlags::IN),
                // What is wrong with a file is told unasked.
                PollFd::from_borrowed_fd(out, PollFlags::empty()),
            ];
            match poll(&mut sources, left.as_ref()) {
                Ok(_) => {
                    return Ok(Woken {
                        events: !sources[0].revents().is_empty(),
                        other: !sources[1].revents().is_empty(),
                        unread: sources[2].revents().contains(PollFlags::ERR),
                    });
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(SocketError::call("wait for events")(error.into())),
            }
        }
    }

    /// What was lost since this was asked last.
    fn newly_lost(&mut self) -> Option<u64> {
        let lost = fs::read_to_string("/proc/thread-self/net/netlink")
            .ok()
            .and_then(|table| drops(&table, self.port))?;
        let new = lost.saturating_sub(self.lost);
        self.lost = lost;
        Some(new)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Messages that a netfilter socket lost, as `/proc/net/netlink` counts them.
fn drops(table: &str, port: u32) -> Option<u64> {
    let mut lines = table.lines();
    let column = |name| {
        let mut heads = table.lines().next()?.split_whitespace();
        heads.position(|head| head == name)
    };
    let (protocol, pid, drops) = (column("Eth")?, column("Pid")?, column("Drops")?);
    lines.find_map(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let is = |column: usize, value: i64| {
            cells.get(column).and_then(|cell| cell.parse().ok()) == Some(value)
        };
        let ours = is(protocol, NETLINK_NETFILTER as i64) && is(pid, port.into());
        ours.then(|| cells.get(drops)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drops_are_those_of_the_netfilter_socket_with_our_port() {
        let table = "\
sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
00000000f3c25d6b 0   77         00000000 0        0        0     2        5        10
00000000f3c25d6c 12  78         00000000 0        0        0     2        6        11
00000000f3c25d6d 12  77         00000007 0        0        0     2        19834    12
";
        assert_eq!(drops(table, 77), Some(19_834));
        assert_eq!(drops(table, 79), None);
        assert_eq!(drops("", 77), None);
    }
}
