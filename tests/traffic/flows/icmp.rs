//! ICMP echo.

use std::io;
use std::net::Ipv4Addr;

use rustix::net::ipproto;

use super::raw::Raw;
use crate::namespace::Namespace;

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;

/// A run of echo requests with one identifier: one flow.
pub(crate) struct Ping {
    socket: Raw,
    to: Ipv4Addr,
    identifier: u16,
    sequence: u16,
}

impl Ping {
    pub(crate) fn new(namespace: &Namespace, to: Ipv4Addr, identifier: u16) -> io::Result<Self> {
        Ok(Self {
            socket: Raw::new(namespace, ipproto::ICMP)?,
            to,
            identifier,
            sequence: 0,
        })
    }

    /// One request and its reply.
    pub(crate) fn echo(&mut self) -> io::Result<()> {
        self.sequence += 1;
        let mut message = vec![ECHO_REQUEST, 0, 0, 0];
        message.extend(self.identifier.to_be_bytes());
        message.extend(self.sequence.to_be_bytes());
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        self.socket.send(self.to, &message)?;
        self.socket
            .receive(|reply| reply[0] == ECHO_REPLY && reply[4..8] == message[4..8])?;
        Ok(())
    }
}

/// The Internet checksum of an even number of bytes (RFC 1071).
fn checksum(message: &[u8]) -> u16 {
    let sum: u32 = message
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from(folded).expect("a sum of four words folds into one")
}
