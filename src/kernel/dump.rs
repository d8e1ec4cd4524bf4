//! Reading the whole table.
//!
//! One socket and one thread a part, one buffer, entries decoded in place. The kernel's walk is
//! what takes the time, so where both families are common two walks in parallel are faster; where
//! one is rare a second walk would only cost.

use std::thread;

use super::decode::decode_message;
use super::message::{self, CT_GET_DYING, CT_NEW, HEADER};
use super::request;
use super::socket::{BUFFER, End, Socket, SocketError, end};
use crate::flow::Family;
use crate::observe::{Dumped, Visit};

const OPERATION: &str = "dump the table over ctnetlink";

/// Datagrams looked at before deciding whether to split. The table is hashed, so the first
/// entries of a walk are a fair sample of all.
const SAMPLE: usize = 8;

/// Percent of the entries that each family needs for a walk of its own.
const WORTH: usize = 5;

/// Delivers each entry of the calling thread's namespace to one of the visitors.
pub(crate) fn dump(visitors: &mut [&mut dyn Visit]) -> Result<Dumped, SocketError> {
    match visitors {
        [] => Part::start(None)?.run(&mut |_: &crate::observe::Record<'_>| {}),
        [only] => Part::start(None)?.run(*only),
        [first, second, ..] => {
            let mut part = Part::start(None)?;
            if !part.sample()?.is_worth_splitting() {
                return part.run(*first);
            }
            drop(part);
            let v6 = Part::start(Some(Family::Ipv6))?;
            let v4 = Part::start(Some(Family::Ipv4))?;
            let second = &mut **second;
            let (v4, v6) = thread::scope(|scope| {
                let v6 = scope.spawn(move || v6.run(second));
                let v4 = v4.run(*first);
                (v4, v6.join())
            });
            let (v4, v6) = (v4?, v6.unwrap_or_else(|p| std::panic::resume_unwind(p))?);
            Ok(Dumped {
                entries: v4.entries + v6.entries,
                undecoded: v4.undecoded + v6.undecoded,
                resized: false,
            })
        }
    }
}

/// Delivers each entry that is deleted and kept until its event has been taken.
pub(crate) fn dying(visitor: &mut dyn Visit) -> Result<Dumped, SocketError> {
    dump_kind(CT_GET_DYING, None, visitor)
}

/// Delivers each entry of a dump of another kind: those that are dying, those whose counters are set
/// to zero on the way.
pub(crate) fn dump_kind(
    kind: u16,
    family: Option<Family>,
    visitor: &mut dyn Visit,
) -> Result<Dumped, SocketError> {
    let asking = |sequence| request::dump_kind(kind, family, sequence);
    Part::ask(family, asking)?.run(visitor)
}

/// How many entries of each family a sample holds.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    v4: usize,
    v6: usize,
    /// The table did not end within the sample.
    more: bool,
}

impl Sample {
    fn is_worth_splitting(self) -> bool {
        let least = (self.v4 + self.v6) * WORTH;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        self.more && cores > 1 && self.v4 * 100 >= least && self.v6 * 100 >= least
    }
}

/// One walk of the table.
struct Part {
    socket: Socket,
    sequence: u32,
    family: Option<Family>,
    /// Datagrams received for the sample, still to be delivered.
    kept: Vec<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Part {
    fn start(family: Option<Family>) -> Result<Self, SocketError> {
        Self::ask(family, |sequence| request::dump(family, sequence))
    }

    fn ask(
        family: Option<Family>,
        asking: impl FnOnce(u32) -> Vec<u8>,
    ) -> Result<Self, SocketError> {
        let mut socket = Socket::netfilter()?;
        let sequence = socket.take_sequence(1);
        socket.send(&asking(sequence), OPERATION)?;
        Ok(Self {
            socket,
            sequence,
            family,
            kept: Vec::new(),
            buffer: vec![0; BUFFER],
        })
    }

    /// Looks at the first datagrams and keeps them for [`Part::run`].
    fn sample(&mut self) -> Result<Sample, SocketError> {
        let mut sample = Sample {
            more: true,
            ..Sample::default()
        };
        while self.kept.len() < SAMPLE && sample.more {
            let datagram = self.socket.receive(&mut self.buffer, OPERATION)?;
            for message in message::messages(datagram) {
                let message = message?;
                match message.bytes.get(HEADER) {
                    _ if message.kind != CT_NEW => sample.more = false,
                    Some(&family) if family == Family::Ipv4 as u8 => sample.v4 += 1,
                    Some(&family) if family == Family::Ipv6 as u8 => sample.v6 += 1,
                    _ => {}
                }
            }
            self.kept.push(datagram.to_vec());
        }
        Ok(sample)
    }

    fn run(mut self, visitor: &mut dyn Visit) -> Result<Dumped, SocketError> {
        let mut dumped = Dumped::default();
        let mut deliver =
            |datagram: &[u8]| deliver(datagram, self.sequence, self.family, visitor, &mut dumped);
        for datagram in std::mem::take(&mut self.kept) {
            if deliver(&datagram)? == End::Reached {
                return Ok(dumped);
            }
        }
        loop {
            let datagram = self.socket.receive(&mut self.buffer, OPERATION)?;
            if deliver(datagram)? == End::Reached {
                return Ok(dumped);
            }
        }
    }
}

#[inline]
fn deliver(
    datagram: &[u8],
    sequence: u32,
    family: Option<Family>,
    visitor: &mut dyn Visit,
    dumped: &mut Dumped,
) -> Result<End, SocketError> {
    for message in message::messages(datagram) {
        let message = message?;
        if message.sequence != sequence {
            continue;
        }
        if end(&message, OPERATION)? == End::Reached {
            return Ok(End::Reached);
        }
        match decode_message(&message) {
            // The kernel's own filter is not believed: each entry must reach one visitor only.
            Ok(record) if family.is_some_and(|family| family != record.flow.family) => {}
            Ok(record) => {
                dumped.entries += 1;
                visitor.visit(&record);
            }
            Err(_) => dumped.undecoded += 1,
        }
    }
    Ok(End::NotYet)
}
