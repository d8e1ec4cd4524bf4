//! One netlink socket to netfilter, owned by one thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_sys::constants::NETLINK_NETFILTER;
use netlink_sys::{Socket as Raw, SocketAddr};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{RecvFlags, SendFlags};

use super::message::{self, Message};

/// Room for one datagram. The kernel fills at most 32 KiB of it; a smaller one could cut entries.
pub(crate) const BUFFER: usize = 64 * 1024;

/// How long a blocking answer may take before it counts as lost. The kernel makes every answer
/// while it takes the request, or the datagram before, so nothing waits this long in earnest.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a conversation with the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A system call failed.
    #[error("{operation}: {source}")]
    Call {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel answered with an error.
    #[error("{operation}: {}{}{sentence}", io::Error::from_raw_os_error(*errno), if sentence.is_empty() { "" } else { ": " })]
    Refused {
        /// What was asked for.
        operation: &'static str,
        /// The error number.
        errno: i32,
        /// The kernel's own sentence; often empty.
        sentence: String,
    },
    /// A datagram was larger than any the kernel is known to send.
    #[error("a datagram of {0} bytes did not fit the buffer")]
    Cut(usize),
    /// A datagram held something that is no netlink message.
    #[error(transparent)]
    Broken(#[from] message::Broken),
    /// An answer says something that cannot be read.
    #[error("{operation}: an answer cannot be decoded")]
    Undecoded {
        /// What was asked for.
        operation: &'static str,
    },
    /// The table changed in a way that the kernel itself calls inconsistent.
    #[error("the kernel says that the dump was interrupted")]
    Interrupted,
}

impl SocketError {
    /// The error number behind it, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Call { source, .. } => source.raw_os_error(),
            Self::Refused { errno, .. } => Some(*errno),
            Self::Cut(_) | Self::Broken(_) | Self::Undecoded { .. } | Self::Interrupted => None,
        }
    }

    pub(crate) fn call(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Call { operation, source }
    }
}

/// A netlink socket. It belongs to the network namespace of the thread that opened it.
///
/// Not `Clone`: the underlying type's clone closes the descriptor twice.
#[derive(Debug)]
pub(crate) struct Socket {
    raw: Raw,
    sequence: u32,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}

impl Socket {
    /// Opens a socket to netfilter in the calling thread's namespace.
    pub(crate) fn netfilter() -> Result<Self, SocketError> {
        Self::open(NETLINK_NETFILTER)
    }

    /// Opens a socket of any netlink protocol in the calling thread's namespace.
    pub(crate) fn open(protocol: isize) -> Result<Self, SocketError> {
        let mut raw = Raw::new(protocol).map_err(SocketError::call("open a netlink socket"))?;
        raw.bind_auto()
            .map_err(SocketError::call("bind a netlink socket"))?;
        // Connected to the kernel, it takes messages from nobody else.
        raw.connect(&SocketAddr::new(0, 0))
            .map_err(SocketError::call("connect a netlink socket"))?;
        sockopt::set_socket_timeout(raw.as_fd(), Timeout::Recv, Some(PATIENCE))
            .map_err(|e| SocketError::call("set a socket's patience")(e.into()))?;
        // Both only shape errors: kernels without them answer in fewer words.
        let _ = raw.set_ext_ack(true);
        let _ = raw.set_cap_ack(true);
        Ok(Self { raw, sequence: 1 })
    }

    /// Takes `count` sequence numbers; returns the first.
    pub(crate) fn take_sequence(&mut self, count: u32) -> u32 {
        // 0 marks messages that answer nothing.
        if self.sequence.checked_add(count).is_none() {
            self.sequence = 1;
        }
        let first = self.sequence;
        self.sequence += count;
        first
    }

    pub(crate) fn send(&self, bytes: &[u8], operation: &'static str) -> Result<(), SocketError> {
        let sent = rustix::io::retry_on_intr(|| {
            rustix::net::send(self.raw.as_fd(), bytes, SendFlags::empty())
        })
        .map_err(|e| SocketError::call(operation)(e.into()))?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(SocketError::call(operation)(
                io::ErrorKind::WriteZero.into(),
            ))
        }
    }

    /// Receives one datagram, waiting for it.
    pub(crate) fn receive<'b>(
        &self,
        buffer: &'b mut [u8],
        operation: &'static str,
    ) -> Result<&'b [u8], SocketError> {
        self.receive_with(buffer, operation, RecvFlags::empty())
    }

    /// Receives one datagram if one is there.
    pub(crate) fn receive_now<'b>(
        &self,
        buffer: &'b mut [u8],
        operation: &'static str,
    ) -> Result<Option<&'b [u8]>, SocketError> {
        match self.receive_with(buffer, operation, RecvFlags::DONTWAIT) {
            Ok(datagram) => Ok(Some(datagram)),
            Err(SocketError::Call { source, .. }) if source.kind() == io::ErrorKind::WouldBlock => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn receive_with<'b>(
        &self,
        buffer: &'b mut [u8],
        operation: &'static str,
        flags: RecvFlags,
    ) -> Result<&'b [u8], SocketError> {
        let (_, length) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(self.raw.as_fd(), &mut *buffer, flags | RecvFlags::TRUNC)
        })
        .map_err(|e| SocketError::call(operation)(e.into()))?;
        buffer.get(..length).ok_or(SocketError::Cut(length))
    }

    /// Joins a multicast group.
    pub(crate) fn join(&self, group: u32) -> Result<(), SocketError> {
        self.raw
            .add_membership(group)
            .map_err(SocketError::call("listen for events"))
    }

    /// The netlink port that the kernel gave this socket.
    pub(crate) fn port(&self) -> Result<u32, SocketError> {
        let mut address = SocketAddr::new(0, 0);
        self.raw
            .get_address(&mut address)
            .map_err(SocketError::call("ask for a socket's port"))?;
        Ok(address.port_number())
    }

    /// Asks for room for the answers; returns the bytes granted, by the kernel's own accounting.
    pub(crate) fn widen_receive(&self, bytes: usize) -> usize {
        let fd = self.raw.as_fd();
        // FORCE needs CAP_NET_ADMIN in the initial user namespace; without it, up to rmem_max.
        if sockopt::set_socket_recv_buffer_size_force(fd, bytes).is_err() {
            let _ = sockopt::set_socket_recv_buffer_size(fd, bytes);
        }
        sockopt::socket_recv_buffer_size(fd).unwrap_or(0)
    }

    /// Asks for room for one request datagram; returns the bytes granted, by the kernel's own
    /// accounting.
    pub(crate) fn widen_send(&self, bytes: usize) -> usize {
        let fd = self.raw.as_fd();
        if sockopt::set_socket_send_buffer_size_force(fd, bytes).is_err() {
            let _ = sockopt::set_socket_send_buffer_size(fd, bytes);
        }
        sockopt::socket_send_buffer_size(fd).unwrap_or(0)
    }

    /// Sends one request and hands each message of its answer to `take`, until the end.
    ///
    /// `many` tells a dump, which ends with its own message, from a request with one answer.
    pub(crate) fn ask(
        &mut self,
        request: &[u8],
        sequence: u32,
        many: bool,
        operation: &'static str,
        mut take: impl FnMut(&Message<'_>),
    ) -> Result<(), SocketError> {
        self.send(request, operation)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let datagram = self.receive(&mut buffer, operation)?;
            for message in message::messages(datagram) {
                let message = message?;
                if message.sequence != sequence {
                    continue;
                }
                match end(&message, operation)? {
                    End::Reached => return Ok(()),
                    End::NotYet => take(&message),
                }
                if !many {
                    return Ok(());
                }
            }
        }
    }
}

/// Whether a message ends an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Reached,
    NotYet,
}

/// Whether a message ends the answer it belongs to; an error message is an error here.
#[inline]
pub(crate) fn end(message: &Message<'_>, operation: &'static str) -> Result<End, SocketError> {
    if message.flags & message::NLM_F_DUMP_INTR != 0 {
        return Err(SocketError::Interrupted);
    }
    if message.kind >= message::NLMSG_MIN_TYPE {
        return Ok(End::NotYet);
    }
    end_of(message, operation)
}

/// The same of a message that is netlink's own.
fn end_of(message: &Message<'_>, operation: &'static str) -> Result<End, SocketError> {
    if let Some(errno) = message.done() {
        return if errno == 0 {
            Ok(End::Reached)
        } else {
            Err(SocketError::Refused {
                operation,
                errno,
                sentence: String::new(),
            })
        };
    }
    if message.kind == message::NLMSG_OVERRUN {
        return Err(SocketError::Interrupted);
    }
    match message.answer() {
        Some(answer) if answer.errno == 0 => Ok(End::Reached),
        Some(answer) => Err(SocketError::Refused {
            operation,
            errno: answer.errno,
            sentence: answer.sentence.to_owned(),
        }),
        None => Ok(End::NotYet),
    }
}
