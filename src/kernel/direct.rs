//! Single requests, each with its answer: get, create, update, and expectations.
//!
//! What is done to many entries goes through a [`Sweep`](super::Sweep).

use super::attribute::{self, dccp, expect, protoinfo, sctp, tcp};
use super::decode::decode;
use super::decode_expectation::expectation;
use super::dump;
use super::encode::{label_words, message, nest, put, put_nat, put_tuple};
use super::message::{
    CT_GET, CT_GET_CTRZERO, CT_GET_DYING, CT_GET_UNCONFIRMED, CT_NEW, EXP_DELETE, EXP_GET, EXP_NEW,
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL,
};
use super::request;
use super::socket::{Socket, SocketError};
use super::stats;
use crate::flow::{Expectation, Family, FlowKey, Protocol, Status, Tuple};
use crate::observe::{CpuStatistics, Dumped, Record, Visit};
use crate::rebuild::Endpoint;

/// An entry to be made, or what is to become of one.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Address family.
    pub family: Family,
    /// IP protocol.
    pub protocol: Protocol,
    /// The tuple of the first packet.
    pub orig: Tuple,
    /// The tuple of a reply, before translation; only for entries to be made.
    pub reply: Option<Tuple>,
    /// Zone of both directions.
    pub zone: u16,
    /// Zone of the original direction alone.
    pub orig_zone: u16,
    /// Zone of the reply direction alone.
    pub reply_zone: u16,
    /// Status bits.
    pub status: Option<Status>,
    /// Seconds until it expires.
    pub timeout: Option<u32>,
    /// Connection mark.
    pub mark: Option<u32>,
    /// The protocol's state.
    pub state: Option<u8>,
    /// SCTP's verification tags, original and reply.
    pub vtags: Option<(u32, u32)>,
    /// DCCP's role.
    pub role: Option<u8>,
    /// What the source is translated to; only for entries to be made.
    pub src_nat: Option<Endpoint>,
    /// What the destination is translated to; only for entries to be made.
    pub dst_nat: Option<Endpoint>,
    /// Labels: those that are set anew, and those of before that stay.
    pub labels: Option<(u128, u128)>,
}

impl Wanted {
    /// Nothing but what names the entry with this key.
    #[must_use]
    pub fn of(key: &FlowKey) -> Self {
        Self {
            family: key.family,
            protocol: key.protocol,
            orig: key.orig,
            reply: None,
            zone: key.zone,
            orig_zone: 0,
            reply_zone: 0,
            status: None,
            timeout: None,
            mark: None,
            state: None,
            vtags: None,
            role: None,
            src_nat: None,
            dst_nat: None,
            labels: None,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        let (family, protocol) = (self.family, self.protocol);
        let orig = attribute::TUPLE_ORIG;
        put_tuple(out, orig, family, protocol, &self.orig, self.orig_zone);
        if let Some(reply) = &self.reply {
            let number = attribute::TUPLE_REPLY;
            put_tuple(out, number, family, protocol, reply, self.reply_zone);
        }
        if self.zone != 0 {
            put(out, attribute::ZONE, &self.zone.to_be_bytes());
        }
        if let Some(status) = self.status {
            let status = status | Status::CONFIRMED;
            put(out, attribute::STATUS, &status.bits().to_be_bytes());
        }
        for (number, value) in [
            (attribute::TIMEOUT, self.timeout),
            (attribute::MARK, self.mark),
        ] {
            if let Some(value) = value {
                put(out, number, &value.to_be_bytes());
            }
        }
        self.put_protoinfo(out);
        for (number, end) in [
            (attribute::NAT_SRC, &self.src_nat),
            (attribute::NAT_DST, &self.dst_nat),
        ] {
            if let Some(end) = end {
                put_nat(out, number, family, end);
            }
        }
        if let Some((set, kept)) = self.labels {
            put(out, attribute::LABELS, &label_words(set));
            put(out, attribute::LABELS_MASK, &label_words(kept));
        }
    }

    fn put_protoinfo(&self, out: &mut Vec<u8>) {
        /// `IP_CT_TCP_FLAG_BE_LIBERAL` and `_SACK_PERM`: an entry that saw no packet knows no
        /// window, and would take every packet for one outside of it.
        const WITHOUT_WINDOW: u8 = 0x08 | 0x02;
        /// `IP_CT_TCP_FLAG_CLOSE_INIT`: a new connection may follow at once (RFC 1122).
        const CLOSED: u8 = 0x04;
        let Some(state) = self.state else {
            return;
        };
        let inner = match self.protocol {
            Protocol::TCP => protoinfo::TCP,
            Protocol::SCTP => protoinfo::SCTP,
            Protocol::DCCP => protoinfo::DCCP,
            _ => return,
        };
        nest(out, attribute::PROTOINFO, |out| {
            nest(out, inner, |out| match self.protocol {
                Protocol::TCP => {
                    let closed = state >= crate::flow::protocol::tcp::TIME_WAIT;
                    let flags = WITHOUT_WINDOW | if closed { CLOSED } else { 0 };
                    put(out, tcp::STATE, &[state]);
                    put(out, tcp::FLAGS_ORIG, &[flags, flags]);
                    put(out, tcp::FLAGS_REPLY, &[flags, flags]);
                }
                Protocol::SCTP => {
                    let (orig, reply) = self.vtags.unwrap_or_default();
                    put(out, sctp::STATE, &[state]);
                    put(out, sctp::VTAG_ORIG, &orig.to_be_bytes());
                    put(out, sctp::VTAG_REPLY, &reply.to_be_bytes());
                }
                _ => {
                    put(out, dccp::STATE, &[state]);
                    put(out, dccp::ROLE, &[self.role.unwrap_or_default()]);
                }
            });
        });
    }
}

/// An expectation to be made.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Address family.
    pub family: Family,
    /// IP protocol of all three tuples.
    pub protocol: Protocol,
    /// The flow whose helper is to expect it.
    pub master: Tuple,
    /// The flow to come.
    pub tuple: Tuple,
    /// Which bits of it count.
    pub mask: Tuple,
    /// Seconds until it is given up.
    pub timeout: u32,
}

/// Entries that are not simply the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// The table, with all counters set to zero on the way.
    Zeroed,
    /// Entries that are going, until their end has been told.
    Dying,
    /// Entries that are not in the table yet; newer kernels show none.
    Unconfirmed,
}

/// A socket for single requests, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Direct {
    socket: Socket,
}

impl Direct {
    /// Opens it.
    ///
    /// # Errors
    /// Where this kernel has no netfilter sockets.
    pub fn open() -> Result<Self, SocketError> {
        Ok(Self {
            socket: Socket::netfilter()?,
        })
    }

    /// Delivers each of the special entries.
    ///
    /// # Errors
    /// Where the dump did not come to its end.
    pub fn dump(
        special: Special,
        family: Option<Family>,
        visitor: &mut dyn Visit,
    ) -> Result<Dumped, SocketError> {
        let kind = match special {
            Special::Zeroed => CT_GET_CTRZERO,
            Special::Dying => CT_GET_DYING,
            Special::Unconfirmed => CT_GET_UNCONFIRMED,
        };
        dump::dump_kind(kind, family, visitor)
    }

    /// Hands over one entry by its original tuple, or by that of its replies.
    ///
    /// # Errors
    /// Where there is none (`ENOENT`), or the caller may not ask.
    pub fn get(
        &mut self,
        key: &FlowKey,
        is_reply: bool,
        take: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), SocketError> {
        let operation = "get an entry over ctnetlink";
        let sequence = self.socket.take_sequence(1);
        let mut request = Vec::new();
        message(&mut request, CT_GET, 0, sequence, key.family, |out| {
            let number = if is_reply {
                attribute::TUPLE_REPLY
            } else {
                attribute::TUPLE_ORIG
            };
            put_tuple(out, number, key.family, key.protocol, &key.orig, 0);
            if key.zone != 0 {
                put(out, attribute::ZONE, &key.zone.to_be_bytes());
            }
        });
        let mut undecoded = false;
        self.socket.ask(
            &request,
            sequence,
            false,
            operation,
            |message| match decode(message.bytes) {
                Ok(record) => take(&record),
                Err(_) => undecoded = true,
            },
        )?;
        if undecoded {
            return Err(SocketError::Undecoded { operation });
        }
        Ok(())
    }

    /// Makes an entry. Without `exclusive`, one that is there already is changed.
    ///
    /// # Errors
    /// Where the kernel refuses it; `EEXIST` where it is there already.
    pub fn create(&mut self, wanted: &Wanted, exclusive: bool) -> Result<(), SocketError> {
        let flags = NLM_F_CREATE | if exclusive { NLM_F_EXCL } else { 0 };
        let operation = "make an entry over ctnetlink";
        self.change(CT_NEW, flags, wanted.family, operation, |out| {
            wanted.put(out);
        })
    }

    /// Changes an entry that is there.
    ///
    /// # Errors
    /// Where the kernel refuses it; `ENOENT` where it is gone.
    pub fn update(&mut self, wanted: &Wanted) -> Result<(), SocketError> {
        let operation = "change an entry over ctnetlink";
        self.change(CT_NEW, 0, wanted.family, operation, |out| wanted.put(out))
    }

    /// Counters of each processor, in the order of their numbers.
    ///
    /// # Errors
    /// Where the caller may not ask.
    pub fn processors(&mut self) -> Result<Vec<CpuStatistics>, SocketError> {
        stats::cpu(&mut self.socket)
    }

    /// Delivers each expectation.
    ///
    /// # Errors
    /// Where the dump did not come to its end.
    pub fn expectations(
        &mut self,
        family: Option<Family>,
        take: &mut dyn FnMut(&Expectation<'_>),
    ) -> Result<(), SocketError> {
        let sequence = self.socket.take_sequence(1);
        let request = request::dump_kind(EXP_GET, family, sequence);
        self.ask_expectations(&request, sequence, true, take)
    }

    /// Hands over one expectation by the tuple of the flow that it expects.
    ///
    /// # Errors
    /// Where there is none (`ENOENT`), or the caller may not ask.
    pub fn expectation(
        &mut self,
        family: Family,
        protocol: Protocol,
        tuple: &Tuple,
        take: &mut dyn FnMut(&Expectation<'_>),
    ) -> Result<(), SocketError> {
        let sequence = self.socket.take_sequence(1);
        let mut request = Vec::new();
        message(&mut request, EXP_GET, 0, sequence, family, |out| {
            put_tuple(out, expect::TUPLE, family, protocol, tuple, 0);
        });
        self.ask_expectations(&request, sequence, false, take)
    }

    fn ask_expectations(
        &mut self,
        request: &[u8],
        sequence: u32,
        many: bool,
        take: &mut dyn FnMut(&Expectation<'_>),
    ) -> Result<(), SocketError> {
        let operation = "read expectations over ctnetlink";
        let mut undecoded = false;
        self.socket.ask(
            request,
            sequence,
            many,
            operation,
            |message| match expectation(message) {
                Ok(one) => take(&one),
                Err(_) => undecoded = true,
            },
        )?;
        if undecoded {
            return Err(SocketError::Undecoded { operation });
        }
        Ok(())
    }

    /// Makes an expectation.
    ///
    /// # Errors
    /// Where the kernel refuses it; `ENOENT` where its master is not there, `EOPNOTSUPP` where that
    /// has no helper.
    pub fn expect(&mut self, wanted: &Expected) -> Result<(), SocketError> {
        let (family, protocol) = (wanted.family, wanted.protocol);
        let operation = "make an expectation over ctnetlink";
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.change(EXP_NEW, flags, family, operation, |out| {
            for (number, tuple) in [
                (expect::MASTER, &wanted.master),
                (expect::TUPLE, &wanted.tuple),
                (expect::MASK, &wanted.mask),
            ] {
                put_tuple(out, number, family, protocol, tuple, 0);
            }
            put(out, expect::TIMEOUT, &wanted.timeout.to_be_bytes());
        })
    }

    /// Removes an expectation by the tuple of the flow that it expects.
    ///
    /// # Errors
    /// Where there is none (`ENOENT`), or the caller may not.
    pub fn forget(
        &mut self,
        family: Family,
        protocol: Protocol,
        tuple: &Tuple,
    ) -> Result<(), SocketError> {
        let operation = "remove an expectation over ctnetlink";
        self.change(EXP_DELETE, 0, family, operation, |out| {
            put_tuple(out, expect::TUPLE, family, protocol, tuple, 0);
        })
    }

    /// Removes every expectation of the namespace.
    ///
    /// # Errors
    /// Where the caller may not.
    pub fn forget_all(&mut self) -> Result<(), SocketError> {
        let operation = "flush the expectations over ctnetlink";
        let sequence = self.socket.take_sequence(1);
        let mut request = Vec::new();
        message(
            &mut request,
            EXP_DELETE,
            NLM_F_ACK,
            sequence,
            Family::Ipv4,
            |_| {},
        );
        self.socket.ask(&request, sequence, true, operation, |_| {})
    }

    fn change(
        &mut self,
        kind: u16,
        flags: u16,
        family: Family,
        operation: &'static str,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), SocketError> {
        let sequence = self.socket.take_sequence(1);
        let mut request = Vec::new();
        message(
            &mut request,
            kind,
            flags | NLM_F_ACK,
            sequence,
            family,
            fill,
        );
        self.socket.ask(&request, sequence, true, operation, |_| {})
    }
}
