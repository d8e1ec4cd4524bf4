//! SCTP by hand over raw sockets: tracking needs no SCTP stack, and many kernels have none.

use std::io;
use std::net::Ipv4Addr;

use rustix::net::ipproto;

use super::raw::Raw;
use crate::topology::{CLIENT, SERVER, Topology};

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const HEARTBEAT: u8 = 4;
const HEARTBEAT_ACK: u8 = 5;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;

/// The port that the server listens on.
const PORT: u16 = 36_412;
const CLIENT_TAG: u32 = 0x1000;
const SERVER_TAG: u32 = 0x9999;

/// An association of which the test plays both ends.
pub(crate) struct Association {
    client: Raw,
    server: Raw,
    port: u16,
    seen_as: Ipv4Addr,
}

impl Association {
    /// Does the four-way handshake from the client's `port`.
    pub(crate) fn open(topology: &Topology, port: u16) -> io::Result<Self> {
        let mut association = Self {
            client: Raw::new(&topology.client, ipproto::SCTP)?,
            server: Raw::new(&topology.server, ipproto::SCTP)?,
            port,
            seen_as: CLIENT,
        };
        let offer = |tag: u32| {
            let mut body = tag.to_be_bytes().to_vec();
            body.extend([0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1]);
            body
        };
        association.ask(0, INIT, &offer(CLIENT_TAG))?;
        let mut acceptance = offer(SERVER_TAG);
        acceptance.extend([0, 7, 0, 8]);
        acceptance.extend(b"cook");
        association.answer(INIT_ACK, &acceptance)?;
        association.ask(SERVER_TAG, COOKIE_ECHO, b"cook")?;
        association.answer(COOKIE_ACK, b"")?;
        Ok(association)
    }

    /// A heartbeat and its acknowledgement.
    pub(crate) fn beat(&mut self) -> io::Result<()> {
        let information = [0, 1, 0, 8, 1, 2, 3, 4];
        self.ask(SERVER_TAG, HEARTBEAT, &information)?;
        self.answer(HEARTBEAT_ACK, &information)
    }

    fn ask(&mut self, tag: u32, chunk: u8, body: &[u8]) -> io::Result<()> {
        self.client
            .send(SERVER, &packet(self.port, PORT, tag, chunk, body))?;
        let port = self.port.to_be_bytes();
        let (from, _) = self
            .server
            .receive(|packet| packet[..2] == port && packet[12] == chunk)?;
        self.seen_as = from;
        Ok(())
    }

    fn answer(&self, chunk: u8, body: &[u8]) -> io::Result<()> {
        self.server.send(
            self.seen_as,
            &packet(PORT, self.port, CLIENT_TAG, chunk, body),
        )?;
        let port = self.port.to_be_bytes();
        self.client
            .receive(|packet| packet[2..4] == port && packet[12] == chunk)?;
        Ok(())
    }
}

/// One packet with one chunk (RFC 9260, 3).
fn packet(from: u16, to: u16, tag: u32, chunk: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + body.len()).expect("a chunk here is short");
    let mut packet = Vec::new();
    packet.extend(from.to_be_bytes());
    packet.extend(to.to_be_bytes());
    packet.extend(tag.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend([chunk, 0]);
    packet.extend(length.to_be_bytes());
    packet.extend(body);
    let sum = crc32c(&packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    packet
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg())
        })
    })
}
