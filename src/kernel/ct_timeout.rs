//! Protocols that have `ct timeout` objects: there, a timer may follow another value than the
//! sysctl, and nothing in a dump tells.

use netlink_packet_core::DefaultNla;

use super::attribute::Attributes;
use super::message::NFGENMSG;
use super::module::{self, Presence};
use super::request;
use super::socket::{Socket, SocketError};

/// A netfilter subsystem that keeps such objects.
struct Subsystem {
    number: u8,
    message: u8,
    /// Its module, with underscores.
    module: &'static str,
    operation: &'static str,
}

/// iptables' `-j CT --timeout`: `IPCTNL_MSG_TIMEOUT_GET`.
const CTTIMEOUT: Subsystem = Subsystem {
    number: 8,
    message: 1,
    module: "nfnetlink_cttimeout",
    operation: "list timeout policies (cttimeout)",
};

/// `NFT_MSG_GETOBJ`.
const NF_TABLES: Subsystem = Subsystem {
    number: 10,
    message: 19,
    module: "nf_tables",
    operation: "list timeout objects (nf_tables)",
};

/// `NFT_OBJECT_CT_TIMEOUT`.
const OBJECT_CT_TIMEOUT: u32 = 7;

/// IP protocol numbers for which `ct timeout` objects exist in the calling thread's network
/// namespace, sorted; `None` where that cannot be found out without loading a module.
#[must_use]
pub fn protocols() -> Option<Vec<u8>> {
    let mut all = ask(&CTTIMEOUT, Vec::new(), cttimeout)?;
    let kind = DefaultNla::new(3, OBJECT_CT_TIMEOUT.to_be_bytes().to_vec());
    all.extend(ask(&NF_TABLES, vec![kind], nf_tables)?);
    all.sort_unstable();
    all.dedup();
    Some(all)
}

fn ask(
    subsystem: &Subsystem,
    attributes: Vec<DefaultNla>,
    protocol: fn(&[u8]) -> Option<u8>,
) -> Option<Vec<u8>> {
    match module::presence(subsystem.module) {
        Presence::Settled => {}
        // What is not there has no objects.
        Presence::NotLoaded => return Some(Vec::new()),
        Presence::Unknown => return None,
    }
    let mut socket = Socket::netfilter().ok()?;
    let sequence = socket.take_sequence(1);
    let request =
        request::dump_subsystem(subsystem.number, subsystem.message, attributes, sequence);
    let mut found = Vec::new();
    let mut understood = true;
    let asked = socket.ask(
        &request,
        sequence,
        true,
        subsystem.operation,
        |message| match protocol(message.payload().get(NFGENMSG..).unwrap_or(&[])) {
            Some(protocol) => found.push(protocol),
            None => understood = false,
        },
    );
    match asked {
        Ok(()) => understood.then_some(found),
        // The kernel was built without it: nothing could be loaded either.
        Err(SocketError::Refused { errno, .. })
            if errno == rustix::io::Errno::INVAL.raw_os_error() =>
        {
            Some(Vec::new())
        }
        Err(_) => None,
    }
}

/// `CTA_TIMEOUT_L4PROTO`.
fn cttimeout(attributes: &[u8]) -> Option<u8> {
    find(attributes, 3)?.first().copied()
}

/// `NFTA_CT_TIMEOUT_L4PROTO` in `NFTA_OBJ_DATA`; objects of other kinds are not asked for, but
/// old kernels may not know the filter.
fn nf_tables(attributes: &[u8]) -> Option<u8> {
    find(find(attributes, 4)?, 2)?.first().copied()
}

fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    Attributes::new(bytes)
        .filter_map(Result::ok)
        .find(|(number, _)| *number == wanted)
        .map(|(_, payload)| payload)
}
