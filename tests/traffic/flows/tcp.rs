//! TCP connections of which the test holds both ends.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};

use rustix::net::sockopt::set_tcp_quickack;

use super::PATIENCE;
use crate::namespace::Namespace;
use crate::topology::{Topology, server};

/// Both ends of one connection through the router.
pub(crate) struct Connection {
    pub(crate) client: TcpStream,
    pub(crate) server: TcpStream,
}

impl Connection {
    /// Opens `count` connections from the client to `port` of the server and says something on each.
    pub(crate) fn open(topology: &Topology, port: u16, count: usize) -> io::Result<Vec<Self>> {
        Self::between(
            &topology.client,
            &topology.server,
            (server(false), port),
            count,
        )
    }

    /// The same over IPv6, which is not translated.
    pub(crate) fn open_v6(topology: &Topology, port: u16, count: usize) -> io::Result<Vec<Self>> {
        Self::between(
            &topology.client,
            &topology.server,
            (server(true), port),
            count,
        )
    }

    /// The same from the router itself.
    pub(crate) fn open_from_router(
        topology: &Topology,
        port: u16,
        count: usize,
    ) -> io::Result<Vec<Self>> {
        Self::between(
            &topology.router,
            &topology.server,
            (server(false), port),
            count,
        )
    }

    fn between(
        from: &Namespace,
        to: &Namespace,
        at: (IpAddr, u16),
        count: usize,
    ) -> io::Result<Vec<Self>> {
        let address = SocketAddr::from(at);
        let listener = to.enter(|| TcpListener::bind(address))?;
        let mut connections = from.enter(|| {
            (0..count)
                .map(|_| {
                    let client = TcpStream::connect_timeout(&address, PATIENCE)?;
                    let (server, _) = listener.accept()?;
                    for end in [&client, &server] {
                        end.set_read_timeout(Some(PATIENCE))?;
                        end.set_write_timeout(Some(PATIENCE))?;
                        end.set_nodelay(true)?;
                    }
                    Ok(Self { client, server })
                })
                .collect::<io::Result<Vec<_>>>()
        })?;
        for connection in &mut connections {
            connection.exchange()?;
        }
        Ok(connections)
    }

    /// One word each way; an error when either does not arrive.
    pub(crate) fn exchange(&mut self) -> io::Result<()> {
        pass(&mut self.client, &mut self.server, b"question")?;
        pass(&mut self.server, &mut self.client, b"answer")
    }

    /// The client speaks; what it hears must be a reset, from a server that knows no such connection.
    pub(crate) fn expect_reset(&mut self) -> io::Result<()> {
        self.client.write_all(b"question")?;
        match self.client.read(&mut [0; 16]) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            other => Err(io::Error::other(format!("no reset, but {other:?}"))),
        }
    }

    /// One word from the server to the client: a download goes on.
    pub(crate) fn download(&mut self) -> io::Result<()> {
        pass(&mut self.server, &mut self.client, b"more")
    }

    /// The client says that it has no more to say, and goes on reading.
    pub(crate) fn close_client_half(&mut self) -> io::Result<()> {
        self.client.shutdown(Shutdown::Write)?;
        expect_end(&mut self.server)
    }

    /// The server ends its download.
    pub(crate) fn close_server_half(&mut self) -> io::Result<()> {
        self.server.shutdown(Shutdown::Write)?;
        expect_end(&mut self.client)
    }

    /// Closes in order, the client first, so that the entry ends in `TIME_WAIT`.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.close_client_half()?;
        self.close_server_half()
    }

    /// The client's port: what tells its entry from the others'.
    pub(crate) fn port(&self) -> io::Result<u16> {
        Ok(self.client.local_addr()?.port())
    }
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, word: &[u8]) -> io::Result<()> {
    from.write_all(word)?;
    let mut heard = vec![0; word.len()];
    to.read_exact(&mut heard)?;
    // Acknowledges at once: unacknowledged data holds the entry's timer low.
    set_tcp_quickack(&*to, true)?;
    if heard == word {
        Ok(())
    } else {
        Err(io::Error::other("another word arrived than was sent"))
    }
}

fn expect_end(stream: &mut TcpStream) -> io::Result<()> {
    match stream.read(&mut [0; 16])? {
        0 => Ok(()),
        _ => Err(io::Error::other("data arrived where the end was expected")),
    }
}
