//! Real sockets on either side of the router, one file a protocol.

mod icmp;
mod raw;
mod sctp;
mod tcp;
mod udp;

use std::time::Duration;

pub(crate) use icmp::Ping;
pub(crate) use sctp::Association;
pub(crate) use tcp::Connection;
pub(crate) use udp::{Dialogue, Service};

/// How long one end waits for the other before the flow counts as broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
