//! Raw IPv4 sockets, for protocols that a process speaks by itself.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto,
    socket_with,
};

use super::PATIENCE;
use crate::namespace::Namespace;

/// A raw socket: sends payloads, receives whole packets of its protocol.
pub(crate) struct Raw {
    socket: OwnedFd,
}

impl Raw {
    pub(crate) fn new(namespace: &Namespace, protocol: Protocol) -> io::Result<Self> {
        let socket = namespace.enter(|| {
            Ok(socket_with(
                AddressFamily::INET,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                Some(protocol),
            )?)
        })?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket })
    }

    pub(crate) fn send(&self, to: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        sendto(
            &self.socket,
            payload,
            SendFlags::empty(),
            &SocketAddrV4::new(to, 0),
        )?;
        Ok(())
    }

    /// The payload of the next packet that `wanted` picks, and who sent it.
    pub(crate) fn receive(
        &self,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> io::Result<(Ipv4Addr, Vec<u8>)> {
        let mut buffer = [0; 2048];
        loop {
            let (length, _) = recv(&self.socket, &mut buffer, RecvFlags::empty())?;
            let packet = &buffer[..length];
            let header = usize::from(packet[0] & 0x0f) * 4;
            let payload = &packet[header..];
            if wanted(payload) {
                let from = Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]);
                return Ok((from, payload.to_vec()));
            }
        }
    }
}
