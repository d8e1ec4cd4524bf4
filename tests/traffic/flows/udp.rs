//! UDP: services that say which address answered, and clients that ask them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use super::PATIENCE;
use crate::namespace::Namespace;

/// A socket of the server that the test answers from by hand.
pub(crate) struct Service {
    socket: UdpSocket,
}

impl Service {
    /// Binds `address:port` in the namespace.
    pub(crate) fn new(namespace: &Namespace, address: Ipv4Addr, port: u16) -> io::Result<Self> {
        let socket = namespace.enter(|| UdpSocket::bind((address, port)))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// Answers what has come; says how many datagrams that were.
    pub(crate) fn answer(&self) -> io::Result<usize> {
        let (mut buffer, mut answered) = ([0; 64], 0);
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((length, from)) => {
                    self.socket.send_to(&buffer[..length], from)?;
                    answered += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(answered),
                Err(error) => return Err(error),
            }
        }
    }
}

/// A client socket that keeps its port, so all it sends is one flow.
pub(crate) struct Dialogue {
    socket: UdpSocket,
}

impl Dialogue {
    /// Connects a new socket of the namespace.
    pub(crate) fn new(namespace: &Namespace, to: impl Into<SocketAddr>) -> io::Result<Self> {
        let to = to.into();
        let socket = namespace.enter(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(to)?;
            Ok(socket)
        })?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket })
    }

    /// Sends a question. Within namespaces of one machine it has arrived when this returns.
    pub(crate) fn ask(&self) -> io::Result<()> {
        self.socket.send(b"question").map(drop)
    }

    /// Waits for the answer.
    pub(crate) fn hear(&self) -> io::Result<()> {
        self.socket.recv(&mut [0; 64]).map(drop)
    }

    /// The client's port.
    pub(crate) fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }
}
