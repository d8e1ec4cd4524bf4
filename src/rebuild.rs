//! A flow that is gone or was never here, as a request can make it: for rehearse, undo and restore.
//!
//! The kernel takes tuples, zones, translation, timeout, mark, some status bits, protocol state,
//! helper, labels and sequence adjustment. It makes id, counters and start time anew, and keeps
//! for itself what ties an entry to something else: a master, a flowtable, a security context.
//! Here is decided what is asked for and what is lost; `kernel::encode` writes the request.
//! Tried on 6.18.

use crate::flow::field::{self, Field};
use crate::flow::{Counters, Extra, Flow, Present, Protocol, Status};

/// Status bits that a create may ask for.
pub const SETTABLE: Status = Status::SEEN_REPLY
    .union(Status::ASSURED)
    .union(Status::FIXED_TIMEOUT);

/// `IP_CT_TCP_FLAG_*` that mean something without the sequence numbers they were seen with:
/// `WINDOW_SCALE`, `SACK_PERM`, `CLOSE_INIT`, `BE_LIBERAL`, `DATA_UNACKNOWLEDGED`,
/// `SIMULTANEOUS_OPEN`. With `MAXACK_SET`, but without the acknowledgement that goes with it, the
/// kernel would take good resets for forged ones.
pub const TCP_FLAGS_KEPT: u8 = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x80;

/// `IP_CT_TCP_FLAG_WINDOW_SCALE`: the kernel keeps scales only where both directions have it.
const TCP_FLAG_WINDOW_SCALE: u8 = 0x01;

/// A flow as it will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebuild<'a> {
    /// What a dump will show, but for id, counters and start time, which are absent here.
    pub flow: Flow,
    /// What goes beside it.
    pub extra: Extra<'a>,
    /// What of the original is not reproduced.
    pub lost: Lost,
}

bitflags::bitflags! {
    /// What a rebuilt flow does not have of the original.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Lost: u16 {
        /// The kernel's id: the new entry has another.
        const ID = 1 << 0;
        /// Packets and bytes: they start at 0.
        const COUNTERS = 1 << 1;
        /// Start time: it is that of the create.
        const START = 1 << 2;
        /// Labels: they hold only where a `ct label` rule exists.
        const LABELS = 1 << 3;
        /// The helper, where this kernel refused it.
        const HELPER = 1 << 4;
        /// The flow that it was expected by, and with it the `expected` status.
        const MASTER = 1 << 5;
        /// The security context.
        const SECCTX = 1 << 6;
        /// A translation that the tuples do not show.
        const TRANSLATION = 1 << 7;
        /// Other status bits.
        const STATUS = 1 << 8;
        /// TCP flags that go with sequence numbers.
        const TCP_FLAGS = 1 << 9;
        /// The state of DCCP: kernels that do not track DCCP make an entry without state.
        const DCCP = 1 << 10;
    }
}

impl Lost {
    /// Every reason with what it means, for people.
    pub const REASONS: [(Self, &str); 11] = [
        (Self::ID, "the kernel gives a new id"),
        (Self::COUNTERS, "counters start at 0"),
        (Self::START, "the start time is that of the create"),
        (
            Self::LABELS,
            "labels hold only where a `ct label` rule exists",
        ),
        (Self::HELPER, "the helper is not on this kernel"),
        (Self::MASTER, "the flow that expected it cannot be named"),
        (Self::SECCTX, "a security context cannot be set"),
        (
            Self::TRANSLATION,
            "a translation that the tuples do not show",
        ),
        (Self::STATUS, "status bits that cannot be set"),
        (Self::TCP_FLAGS, "TCP flags that go with sequence numbers"),
        (
            Self::DCCP,
            "the state of DCCP, where the kernel does not track it",
        ),
    ];

    /// What these reasons mean, for people.
    pub fn reasons(self) -> impl Iterator<Item = &'static str> {
        (Self::REASONS.iter())
            .filter(move |(reason, _)| self.contains(*reason))
            .map(|(_, text)| *text)
    }

    /// The match fields that see another value than the original had.
    pub fn blinds(self) -> impl Iterator<Item = Field> {
        const FIELDS: [(Lost, Field); 11] = [
            (Lost::COUNTERS, field::BYTES_ABOVE),
            (Lost::COUNTERS, field::BYTES_BELOW),
            (Lost::COUNTERS, field::PACKETS_ABOVE),
            (Lost::COUNTERS, field::PACKETS_BELOW),
            (Lost::START, field::AGE_ABOVE),
            (Lost::LABELS, field::LABEL),
            (Lost::HELPER, field::HELPER),
            (Lost::TRANSLATION, field::NAT),
            (Lost::TRANSLATION, field::NAT_SRC),
            (Lost::TRANSLATION, field::NAT_DST),
            (
                Lost::HELPER
                    .union(Lost::MASTER)
                    .union(Lost::TRANSLATION)
                    .union(Lost::STATUS),
                field::STATUS,
            ),
        ];
        (FIELDS.iter())
            .filter(move |(lost, _)| self.intersects(*lost))
            .map(|(_, field)| *field)
    }
}

/// Why a flow cannot be made at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Impossible {
    /// The flowtable held it; the kernel cannot be told to put it back there.
    #[error("it was offloaded")]
    Offloaded,
    /// The kernel sent no remaining time, and a create needs one.
    #[error("its remaining time is unknown")]
    NoTimeout,
    /// The kernel sent no reply tuple, so its translation is unknown.
    #[error("its reply tuple is unknown")]
    NoReply,
    /// The kernel sent no state for a protocol that has one.
    #[error("its protocol state is unknown")]
    NoState,
    /// It is no entry of the table: a template, or dying.
    #[error("it was not in the table")]
    NotInTable,
    /// Its replies differ without translation; asking for them would translate its packets.
    #[error("its reply tuple differs without a translation")]
    Untranslated,
}

/// One end of a translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address; IPv4 in the first four bytes.
    pub address: [u8; 16],
    /// Port or ICMP id, for protocols that have one. Named even where it stays: left to choose,
    /// the kernel could choose another.
    pub port: Option<u16>,
}

/// What a create asks the kernel to translate (`CTA_NAT_SRC`, `CTA_NAT_DST`). The request has the
/// untranslated reply tuple: the kernel translates it itself and only then sets the status bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// The source becomes where replies go to.
    pub src: Option<Endpoint>,
    /// The destination becomes where replies come from.
    pub dst: Option<Endpoint>,
}

impl Translation {
    /// Reads the translation out of both tuples; none where there is no reply tuple.
    #[must_use]
    pub fn of(flow: &Flow) -> Self {
        if !flow.present.contains(Present::REPLY) {
            return Self::default();
        }
        let plain = flow.orig.inverse(flow.protocol);
        let reply = &flow.reply;
        let icmp = matches!(flow.protocol, Protocol::ICMP | Protocol::ICMPV6);
        let dst = reply.src != plain.src || (!icmp && reply.src_port != plain.src_port);
        let src = reply.dst != plain.dst || (!icmp && reply.dst_port != plain.dst_port);
        // An ICMP id is in one place for both; where no address tells, it is the source's.
        let src = src || (icmp && reply.src_port != plain.src_port && !dst);
        let port = |number| (flow.protocol.has_ports() || icmp).then_some(number);
        Self {
            src: src.then_some(Endpoint {
                address: reply.dst,
                port: port(if icmp { reply.src_port } else { reply.dst_port }),
            }),
            dst: dst.then_some(Endpoint {
                address: reply.src,
                port: port(reply.src_port),
            }),
        }
    }

    /// The status bits that the kernel sets for it.
    #[must_use]
    pub fn status(&self) -> Status {
        let mut status = Status::empty();
        status.set(Status::SRC_NAT, self.src.is_some());
        status.set(Status::DST_NAT, self.dst.is_some());
        if !status.is_empty() {
            status |= Status::SRC_NAT_DONE | Status::DST_NAT_DONE;
        }
        status
    }
}

/// Says what a create request reproduces of a flow.
///
/// # Errors
/// Where the result would not be that flow.
pub fn rebuild<'a>(flow: &Flow, extra: Extra<'a>) -> Result<Rebuild<'a>, Impossible> {
    refuse(flow)?;
    let translation = Translation::of(flow);
    let mut rebuilt = Rebuild {
        flow: *flow,
        extra,
        lost: Lost::empty(),
    };
    rebuilt.make_anew();
    rebuilt.set_status(&translation);
    rebuilt.keep_tcp_flags();
    rebuilt
        .lost
        .set(Lost::DCCP, flow.protocol == Protocol::DCCP);
    rebuilt.lost.set(Lost::SECCTX, extra.secctx.is_some());
    rebuilt.extra.secctx = None;
    match extra.labels {
        Some(0) => rebuilt.extra.labels = None,
        Some(_) => rebuilt.lost |= Lost::LABELS,
        None => {}
    }
    Ok(rebuilt)
}

fn refuse(flow: &Flow) -> Result<(), Impossible> {
    if flow.is_offloaded() {
        return Err(Impossible::Offloaded);
    }
    if flow.status.intersects(Status::DYING | Status::TEMPLATE) {
        return Err(Impossible::NotInTable);
    }
    if flow.remaining().is_none() {
        return Err(Impossible::NoTimeout);
    }
    if !flow.present.contains(Present::REPLY) {
        return Err(Impossible::NoReply);
    }
    if flow.protocol.has_states() && flow.state().is_none() {
        return Err(Impossible::NoState);
    }
    let translated = flow.status.intersects(Status::SRC_NAT | Status::DST_NAT);
    if !translated && flow.reply != flow.orig.inverse(flow.protocol) {
        return Err(Impossible::Untranslated);
    }
    Ok(())
}

impl Rebuild<'_> {
    /// The same without its helper: the kernel refuses a create that names one it does not have.
    #[must_use]
    pub fn without_helper(mut self) -> Self {
        if self.extra.helper.take().is_some() {
            self.flow.status.remove(Status::HELPER);
            self.lost |= Lost::HELPER;
        }
        self
    }

    fn make_anew(&mut self) {
        const ANEW: [(Present, Lost); 4] = [
            (Present::ID, Lost::ID),
            (Present::COUNTERS_ORIG, Lost::COUNTERS),
            (Present::COUNTERS_REPLY, Lost::COUNTERS),
            (Present::START, Lost::START),
        ];
        for (present, lost) in ANEW {
            if self.flow.present.contains(present) {
                self.lost |= lost;
            }
            self.flow.present.remove(present);
        }
        self.flow.id = 0;
        self.flow.start_ns = 0;
        self.flow.counters_orig = Counters::default();
        self.flow.counters_reply = Counters::default();
        self.flow.extra = 0;
    }

    fn set_status(&mut self, translation: &Translation) {
        let was = self.flow.status;
        let mut status = (was & SETTABLE) | Status::CONFIRMED | translation.status();
        status.set(Status::SEQ_ADJUST, self.extra.seq_adjust.is_some());
        status.set(Status::HELPER, self.extra.helper.is_some());
        let gone = was - status;
        // Whether a chain was asked for a translation and had none: nothing depends on it.
        let asked = Status::SRC_NAT_DONE | Status::DST_NAT_DONE;
        let master = Status::EXPECTED;
        let translated = Status::SRC_NAT | Status::DST_NAT;
        self.lost.set(
            Lost::MASTER,
            gone.contains(master) || self.flow.present.contains(Present::MASTER),
        );
        self.lost
            .set(Lost::TRANSLATION, gone.intersects(translated));
        self.lost.set(
            Lost::STATUS,
            !(gone - asked - master - translated).is_empty(),
        );
        self.flow.status = status;
        self.flow.present |= Present::STATUS;
        self.flow.present.remove(Present::MASTER);
    }

    fn keep_tcp_flags(&mut self) {
        let flow = &mut self.flow;
        if !flow.present.contains(Present::TCP_FLAGS) {
            return;
        }
        for flags in [&mut flow.tcp_flags_orig, &mut flow.tcp_flags_reply] {
            if *flags & !TCP_FLAGS_KEPT != 0 {
                self.lost |= Lost::TCP_FLAGS;
            }
            *flags &= TCP_FLAGS_KEPT;
        }
        if flow.tcp_flags_orig & flow.tcp_flags_reply & TCP_FLAG_WINDOW_SCALE == 0 {
            flow.tcp_wscale = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::protocol::tcp;
    use crate::flow::{Family, Tuple};

    fn flow() -> Flow {
        let orig = Tuple::new([10, 0, 0, 1].into(), [192, 0, 2, 2].into(), 1001, 443);
        let mut flow = Flow::new(Family::Ipv4, Protocol::TCP, orig);
        flow.present = Present::REPLY | Present::STATUS | Present::TIMEOUT | Present::STATE;
        flow.status = Status::SEEN_REPLY | Status::ASSURED | Status::CONFIRMED;
        flow.state = tcp::ESTABLISHED;
        flow.timeout = 100;
        flow
    }

    fn lost(flow: &Flow, extra: Extra<'_>) -> Lost {
        rebuild(flow, extra).unwrap().lost
    }

    #[test]
    fn a_plain_flow_loses_nothing() {
        let rebuilt = rebuild(&flow(), Extra::default()).unwrap();
        assert_eq!(rebuilt.flow, flow());
        assert_eq!(rebuilt.lost, Lost::empty());
    }

    #[test]
    fn what_the_kernel_makes_anew_is_lost_where_it_was_there() {
        let mut one = flow();
        one.present |= Present::ID | Present::COUNTERS | Present::START;
        (one.id, one.start_ns, one.counters_orig.bytes) = (7, 8, 9);
        let rebuilt = rebuild(&one, Extra::default()).unwrap();
        assert_eq!(rebuilt.lost, Lost::ID | Lost::COUNTERS | Lost::START);
        assert_eq!(rebuilt.flow, flow());
        let blind: Vec<_> = rebuilt.lost.blinds().map(|field| field.name).collect();
        assert!(blind.contains(&"packets-above") && blind.contains(&"age-above"));
        assert!(!blind.contains(&"status"));
    }

    #[test]
    fn a_translation_is_read_out_of_the_reply() {
        let mut one = flow();
        one.status |= Status::SRC_NAT | Status::DST_NAT;
        one.reply = Tuple::new([10, 0, 3, 9].into(), [10, 0, 0, 254].into(), 8443, 60_001);
        let found = Translation::of(&one);
        let end = |address: [u8; 4], port| {
            let mut padded = [0; 16];
            padded[..4].copy_from_slice(&address);
            Some(Endpoint {
                address: padded,
                port: Some(port),
            })
        };
        assert_eq!(found.src, end([10, 0, 0, 254], 60_001));
        assert_eq!(found.dst, end([10, 0, 3, 9], 8443));
        assert_eq!(lost(&one, Extra::default()), Lost::empty());
    }

    #[test]
    fn a_translation_that_no_tuple_shows_is_lost() {
        let mut one = flow();
        one.status |= Status::SRC_NAT;
        let rebuilt = rebuild(&one, Extra::default()).unwrap();
        assert_eq!(rebuilt.lost, Lost::TRANSLATION);
        assert_eq!(rebuilt.flow.is_src_nat(), Some(false));
    }

    #[test]
    fn ties_to_other_things_are_lost() {
        let mut one = flow();
        one.present |= Present::MASTER;
        one.status |= Status::EXPECTED | Status::NAT_CLASH;
        let extra = Extra {
            helper: Some("ftp"),
            labels: Some(4),
            secctx: Some("user_u"),
            ..Extra::default()
        };
        let rebuilt = rebuild(&one, extra).unwrap();
        assert_eq!(
            rebuilt.lost,
            Lost::MASTER | Lost::STATUS | Lost::LABELS | Lost::SECCTX
        );
        assert_eq!(rebuilt.extra.helper, Some("ftp"));
        let without = rebuilt.without_helper();
        assert_eq!(without.lost, rebuilt.lost | Lost::HELPER);
        assert_eq!(without.extra.helper, None);
        assert_eq!(without.lost.reasons().count(), 5);
    }

    #[test]
    fn what_would_be_another_flow_is_refused() {
        let refused = |change: fn(&mut Flow)| {
            let mut one = flow();
            change(&mut one);
            rebuild(&one, Extra::default()).unwrap_err()
        };
        assert_eq!(
            refused(|flow| flow.status |= Status::OFFLOAD),
            Impossible::Offloaded
        );
        assert_eq!(
            refused(|flow| flow.status |= Status::DYING),
            Impossible::NotInTable
        );
        assert_eq!(
            refused(|flow| flow.present -= Present::TIMEOUT),
            Impossible::NoTimeout
        );
        assert_eq!(
            refused(|flow| flow.present -= Present::REPLY),
            Impossible::NoReply
        );
        assert_eq!(
            refused(|flow| flow.present -= Present::STATE),
            Impossible::NoState
        );
        assert_eq!(
            refused(|flow| flow.reply.dst_port = 9),
            Impossible::Untranslated
        );
    }

    #[test]
    fn every_reason_has_a_text() {
        assert_eq!(Lost::all().reasons().count(), Lost::all().iter().count());
    }
}
