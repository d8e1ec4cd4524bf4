//! The table of expectations: looked at, and changed one by one.

use rustix::io::Errno;

use super::attribute::expect;
use super::decode_expectation;
use super::encode::{message, put, put_text, put_tuple};
use super::live::observe;
use super::message::{
    EXP_DELETE, EXP_GET, EXP_NEW, Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL,
};
use super::socket::{Socket, SocketError};
use crate::flow::{Expectation, Family, FlowKey};
use crate::observe::ObserveError;

/// Hands on every expectation of the calling thread's network namespace.
pub(super) fn dump(take: &mut dyn FnMut(&Expectation<'_>)) -> Result<(), ObserveError> {
    const OPERATION: &str = "dump the expectations over ctnetlink";
    let mut socket = Socket::netfilter().map_err(observe)?;
    let sequence = socket.take_sequence(1);
    let mut request = Vec::new();
    message(&mut request, EXP_GET, NLM_F_DUMP, sequence, None, |_| {});
    let mut is_broken = false;
    let each = |message: &Message<'_>| match decode_expectation::expectation(message) {
        Ok(one) => take(&one),
        Err(_) => is_broken = true,
    };
    let dumped = socket.ask(&request, sequence, true, OPERATION, each);
    dumped.map_err(observe)?;
    if is_broken {
        let operation = OPERATION;
        return Err(observe(SocketError::Undecoded { operation }));
    }
    Ok(())
}

/// Deletes an expectation by its tuple and id; whether it still was there.
///
/// # Errors
/// Where the kernel refuses.
pub fn delete(key: &FlowKey, id: Option<u32>) -> Result<bool, SocketError> {
    let operation = "delete an expectation over ctnetlink";
    let said = ask(EXP_DELETE, 0, key.family, operation, |out| {
        put_key(out, expect::TUPLE, key);
        put_zone(out, key.zone);
        if let Some(id) = id {
            put(out, expect::ID, &id.to_be_bytes());
        }
    });
    match said {
        Err(error) if error.errno() == Some(Errno::NOENT.raw_os_error()) => Ok(false),
        said => said.map(|()| true),
    }
}

/// Makes an expectation that must not exist yet.
///
/// # Errors
/// Where the kernel refuses.
pub fn create(one: &Expectation<'_>) -> Result<(), SocketError> {
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    let operation = "make an expectation over ctnetlink";
    ask(EXP_NEW, flags, one.family, operation, |out| {
        put_key(out, expect::MASTER, &one.master_key());
        put_key(out, expect::TUPLE, &one.key());
        put_tuple(out, expect::MASK, one.family, one.protocol, &one.mask, 0);
        put_zone(out, one.zone);
        if let Some(seconds) = one.timeout {
            put(out, expect::TIMEOUT, &seconds.to_be_bytes());
        }
        if let Some(helper) = one.helper {
            put_text(out, expect::HELP_NAME, helper);
        }
    })
}

fn ask(
    kind: u16,
    flags: u16,
    family: Family,
    operation: &'static str,
    fill: impl FnOnce(&mut Vec<u8>),
) -> Result<(), SocketError> {
    let mut socket = Socket::netfilter()?;
    let sequence = socket.take_sequence(1);
    let mut request = Vec::new();
    let flags = flags | NLM_F_ACK;
    message(&mut request, kind, flags, sequence, family, fill);
    socket.ask(&request, sequence, false, operation, |_| {})
}

fn put_key(out: &mut Vec<u8>, number: u16, key: &FlowKey) {
    put_tuple(out, number, key.family, key.protocol, &key.orig, 0);
}

fn put_zone(out: &mut Vec<u8>, zone: u16) {
    if zone != 0 {
        put(out, expect::ZONE, &zone.to_be_bytes());
    }
}
