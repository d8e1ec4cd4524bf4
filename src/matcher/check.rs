//! One field's test, compiled.

use std::sync::Arc;

use super::Truth;
use super::context::{Context, OwnAddresses};
use super::ranges::{Addresses, Ranges};
use crate::flow::{Counters, Extra, Family, Flow, Present, Protocol, Status, status::StatusWord};
use crate::idle::{Evidence, Grade, Window};
use crate::policy::{AddressField, AddressTerm, NatWord, PathWord, PortField, Test};

/// A test of one field in the form that is quickest to evaluate.
#[derive(Clone, Debug)]
pub(super) enum Check {
    Family(Box<[Family]>),
    Protocol(Box<[Protocol]>),
    State(States),
    Status { any: Status, unreplied: bool },
    Nat { src: bool, dst: bool, none: bool },
    Mark(Box<[(u32, u32)]>),
    Zone(Box<[u16]>),
    OrigZone(Box<[u16]>),
    ReplyZone(Box<[u16]>),
    Port(PortField, Ranges<u16>),
    IcmpType(Ranges<u8>),
    IcmpCode(Ranges<u8>),
    GreKey(Ranges<u16>),
    RemainingAbove(u64),
    RemainingBelow(u64),
    BytesAbove(u64),
    BytesBelow(u64),
    PacketsAbove(u64),
    PacketsBelow(u64),
    Label(u128),
    Helper(Box<[Box<str>]>),
    Address(AddressField, Terms),
    Path(Box<[PathWord]>, Arc<OwnAddresses>),
    AgeAbove(u64, Arc<Evidence>),
    IdleFor(Window, Arc<Evidence>),
}

impl Check {
    pub(super) fn new(test: &Test, context: &Context<'_>, ignore_ct_timeout: bool) -> Self {
        match test {
            Test::Family(list) => Self::Family(list.as_slice().into()),
            Test::Protocol(list) => Self::Protocol(list.as_slice().into()),
            Test::State(list) => Self::State(States::new(list)),
            Test::Status(words) => Self::Status {
                any: words.iter().fold(Status::empty(), |any, w| any | bit(*w)),
                unreplied: words.contains(&StatusWord::Unreplied),
            },
            Test::Nat(words) => Self::Nat {
                src: words
                    .iter()
                    .any(|w| matches!(w, NatWord::Src | NatWord::Any)),
                dst: words
                    .iter()
                    .any(|w| matches!(w, NatWord::Dst | NatWord::Any)),
                none: words.contains(&NatWord::None),
            },
            Test::Mark(list) => Self::Mark(list.as_slice().into()),
            Test::Zone(list) => Self::Zone(list.as_slice().into()),
            Test::OrigZone(list) => Self::OrigZone(list.as_slice().into()),
            Test::ReplyZone(list) => Self::ReplyZone(list.as_slice().into()),
            Test::Port(field, list) => Self::Port(*field, Ranges::new(list.iter().copied())),
            Test::IcmpType(list) => Self::IcmpType(Ranges::new(list.iter().copied())),
            Test::IcmpCode(list) => Self::IcmpCode(Ranges::new(list.iter().copied())),
            Test::GreKey(list) => Self::GreKey(Ranges::new(list.iter().copied())),
            Test::RemainingAbove(seconds) => Self::RemainingAbove(seconds.0),
            Test::RemainingBelow(seconds) => Self::RemainingBelow(seconds.0),
            Test::BytesAbove(bytes) => Self::BytesAbove(*bytes),
            Test::BytesBelow(bytes) => Self::BytesBelow(*bytes),
            Test::PacketsAbove(packets) => Self::PacketsAbove(*packets),
            Test::PacketsBelow(packets) => Self::PacketsBelow(*packets),
            Test::Label(bits) => Self::Label(bits.iter().fold(0, |mask, bit| {
                mask | 1_u128.checked_shl(u32::from(*bit)).unwrap_or(0)
            })),
            Test::Helper(names) => Self::Helper(names.iter().map(|n| n.as_str().into()).collect()),
            Test::Address(field, terms) => Self::Address(*field, Terms::new(terms, context)),
            Test::Path(words) => Self::Path(words.as_slice().into(), Arc::clone(&context.own)),
            Test::AgeAbove(seconds) => Self::AgeAbove(
                seconds.0.saturating_mul(1_000_000_000),
                Arc::clone(&context.evidence),
            ),
            Test::IdleFor(seconds) => Self::IdleFor(
                context.evidence.window(*seconds, ignore_ct_timeout),
                Arc::clone(&context.evidence),
            ),
        }
    }

    /// Cheaper and more telling tests come first.
    pub(super) fn cost(&self) -> u8 {
        match self {
            Self::Family(_) | Self::Protocol(_) | Self::State(_) => 0,
            Self::Status { .. } | Self::Nat { .. } => 1,
            Self::RemainingAbove(_)
            | Self::RemainingBelow(_)
            | Self::BytesAbove(_)
            | Self::BytesBelow(_)
            | Self::PacketsAbove(_)
            | Self::PacketsBelow(_)
            | Self::Label(_) => 2,
            Self::Mark(_) | Self::Zone(_) | Self::OrigZone(_) | Self::ReplyZone(_) => 3,
            Self::Port(..) | Self::IcmpType(_) | Self::IcmpCode(_) | Self::GreKey(_) => 4,
            Self::Helper(_) => 5,
            Self::Address(..) => 6,
            Self::Path(..) => 7,
            Self::AgeAbove(..) => 8,
            Self::IdleFor(..) => 9,
        }
    }

    #[inline]
    pub(super) fn eval(&self, flow: &Flow, extra: &Extra<'_>, grade: Grade) -> Truth {
        match self {
            Self::Family(list) => list.contains(&flow.family).into(),
            Self::Protocol(list) => list.contains(&flow.protocol).into(),
            Self::State(states) => states.eval(flow),
            Self::Status { any, unreplied } => flow
                .status()
                .map(|status| {
                    status.intersects(*any) || *unreplied && !status.contains(Status::SEEN_REPLY)
                })
                .into(),
            Self::Nat { src, dst, none } => flow
                .status()
                .map(|status| {
                    let (is_src, is_dst) = (
                        status.contains(Status::SRC_NAT),
                        status.contains(Status::DST_NAT),
                    );
                    *src && is_src || *dst && is_dst || *none && !is_src && !is_dst
                })
                .into(),
            Self::Mark(list) => flow
                .present
                .contains(Present::MARK)
                .then(|| list.iter().any(|(value, mask)| flow.mark & mask == *value))
                .into(),
            Self::Zone(list) => {
                (flow.zone_orig == flow.zone_reply && list.contains(&flow.zone_orig)).into()
            }
            Self::OrigZone(list) => list.contains(&flow.zone_orig).into(),
            Self::ReplyZone(list) => list.contains(&flow.zone_reply).into(),
            Self::Port(field, ranges) => port(flow, *field, ranges),
            Self::IcmpType(ranges) => is_icmp(flow.protocol)
                .then(|| ranges.contains(flow.orig.icmp_type()))
                .into(),
            Self::IcmpCode(ranges) => is_icmp(flow.protocol)
                .then(|| ranges.contains(flow.orig.icmp_code()))
                .into(),
            Self::GreKey(ranges) => (flow.protocol == Protocol::GRE)
                .then(|| ranges.contains(flow.orig.src_port) || ranges.contains(flow.orig.dst_port))
                .into(),
            Self::RemainingAbove(seconds) => flow
                .remaining()
                .map(|left| u64::from(left) > *seconds)
                .into(),
            Self::RemainingBelow(seconds) => flow
                .remaining()
                .map(|left| u64::from(left) < *seconds)
                .into(),
            Self::BytesAbove(count) => total(flow, |total| total.bytes > *count),
            Self::BytesBelow(count) => total(flow, |total| total.bytes < *count),
            Self::PacketsAbove(count) => total(flow, |total| total.packets > *count),
            Self::PacketsBelow(count) => total(flow, |total| total.packets < *count),
            Self::Label(mask) => extra.labels.is_some_and(|labels| labels & mask != 0).into(),
            Self::Helper(names) => extra
                .helper
                .is_some_and(|helper| names.iter().any(|name| **name == *helper))
                .into(),
            Self::Address(field, terms) => terms.eval(flow, *field),
            Self::Path(words, own) => words.iter().fold(Truth::False, |any, word| {
                any.or(match word {
                    PathWord::Output => own.output(flow),
                    PathWord::Input => own.input(flow),
                    PathWord::Forward => !own.output(flow).or(own.input(flow)),
                })
            }),
            Self::AgeAbove(above, evidence) => {
                evidence.age(flow).ok().map(|age| age > *above).into()
            }
            Self::IdleFor(window, evidence) => evidence.idle(flow, extra, window).truth(grade),
        }
    }
}

/// The bit that a word asks for; none for `unreplied`, which asks for one to be clear.
fn bit(word: StatusWord) -> Status {
    match word {
        StatusWord::Assured => Status::ASSURED,
        StatusWord::SeenReply => Status::SEEN_REPLY,
        StatusWord::Unreplied => Status::empty(),
        StatusWord::SrcNat => Status::SRC_NAT,
        StatusWord::DstNat => Status::DST_NAT,
        StatusWord::Offload => Status::OFFLOAD,
        StatusWord::HwOffload => Status::HW_OFFLOAD,
        StatusWord::FixedTimeout => Status::FIXED_TIMEOUT,
        StatusWord::Expected => Status::EXPECTED,
        StatusWord::Helper => Status::HELPER,
    }
}

fn is_icmp(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::ICMP | Protocol::ICMPV6)
}

fn total(flow: &Flow, holds: impl Fn(Counters) -> bool) -> Truth {
    flow.total().map(holds).into()
}

fn port(flow: &Flow, field: PortField, ranges: &Ranges<u16>) -> Truth {
    if !flow.protocol.has_ports() {
        return Truth::Unknown;
    }
    let reply = flow.present.contains(Present::REPLY).then_some(&flow.reply);
    match field {
        PortField::Src => ranges.contains(flow.orig.src_port).into(),
        PortField::Dst => ranges.contains(flow.orig.dst_port).into(),
        PortField::ReplySrc => reply.map(|tuple| ranges.contains(tuple.src_port)).into(),
        PortField::ReplyDst => reply.map(|tuple| ranges.contains(tuple.dst_port)).into(),
        PortField::Either => {
            (ranges.contains(flow.orig.src_port) || ranges.contains(flow.orig.dst_port)).into()
        }
    }
}

/// States by protocol, a bit each.
#[derive(Clone, Debug, Default)]
pub(super) struct States {
    tcp: u32,
    sctp: u32,
    dccp: u32,
}

impl States {
    fn new(list: &[(Protocol, u8)]) -> Self {
        let mut states = Self::default();
        for (protocol, state) in list {
            let bit = 1_u32.checked_shl(u32::from(*state)).unwrap_or(0);
            match *protocol {
                Protocol::TCP => states.tcp |= bit,
                Protocol::SCTP => states.sctp |= bit,
                Protocol::DCCP => states.dccp |= bit,
                _ => {}
            }
        }
        states
    }

    fn eval(&self, flow: &Flow) -> Truth {
        let bits = match flow.protocol {
            Protocol::TCP => self.tcp,
            Protocol::SCTP => self.sctp,
            Protocol::DCCP => self.dccp,
            _ => return Truth::Unknown,
        };
        flow.state()
            .map(|state| bits.checked_shr(u32::from(state)).unwrap_or(0) & 1 == 1)
            .into()
    }
}

/// Alternatives for an address: prefixes, and sets that many rules share.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    prefixes: Addresses,
    sets: Box<[Arc<Addresses>]>,
    /// Nothing is known of one of the sets.
    unknown_set: bool,
    /// The addresses are not those of the flows.
    redacted: bool,
}

impl Terms {
    fn new(terms: &[AddressTerm], context: &Context<'_>) -> Self {
        let prefixes = Addresses::new(terms.iter().filter_map(|term| match term {
            AddressTerm::Prefix(prefix) => Some(prefix),
            AddressTerm::Set(_) => None,
        }));
        let mut sets = Vec::new();
        let mut unknown_set = false;
        for term in terms {
            if let AddressTerm::Set(index) = term {
                match context.set(*index) {
                    Some(set) => sets.push(set),
                    None => unknown_set = true,
                }
            }
        }
        Self {
            prefixes,
            sets: sets.into_boxed_slice(),
            unknown_set,
            redacted: context.header.redaction.is_some(),
        }
    }

    fn contains(&self, family: Family, address: &[u8; 16]) -> Truth {
        if self.redacted {
            Truth::Unknown
        } else if self.prefixes.contains(family, address)
            || self.sets.iter().any(|set| set.contains(family, address))
        {
            Truth::True
        } else if self.unknown_set {
            Truth::Unknown
        } else {
            Truth::False
        }
    }

    fn eval(&self, flow: &Flow, field: AddressField) -> Truth {
        let family = flow.family;
        let reply = |address| {
            if flow.present.contains(Present::REPLY) {
                self.contains(family, address)
            } else {
                Truth::Unknown
            }
        };
        let reply_src = || reply(&flow.reply.src);
        let reply_dst = || reply(&flow.reply.dst);
        match field {
            AddressField::Src => self.contains(family, &flow.orig.src),
            AddressField::Dst => self.contains(family, &flow.orig.dst),
            AddressField::ReplySrc => reply_src(),
            AddressField::ReplyDst => reply_dst(),
            AddressField::Any => self
                .contains(family, &flow.orig.src)
                .or(self.contains(family, &flow.orig.dst))
                .or(reply_src())
                .or(reply_dst()),
            AddressField::NatSrc if flow.is_src_nat() == Some(true) => reply_dst(),
            AddressField::NatDst if flow.is_dst_nat() == Some(true) => reply_src(),
            AddressField::NatSrc | AddressField::NatDst => Truth::Unknown,
        }
    }
}
