//! Predicates by the letter of POLICY.md, section 2: no order, no shortcut, no table.

use std::net::IpAddr;

use conntidy::flow::status::StatusWord;
use conntidy::flow::{Extra, Flow, Present, Protocol, Status};
use conntidy::observe::Header;
use conntidy::policy::{
    AddressField, AddressTerm, Members, NatWord, PathWord, PortField, Predicate, Set, Test,
};

use crate::idle::{self, Certainty};

/// `None` is unknown.
pub(crate) type Truth = Option<bool>;

/// Both, by Kleene.
pub(crate) fn both(a: Truth, b: Truth) -> Truth {
    if a == Some(false) || b == Some(false) {
        Some(false)
    } else if a == Some(true) && b == Some(true) {
        Some(true)
    } else {
        None
    }
}

/// Either, by Kleene.
pub(crate) fn either(a: Truth, b: Truth) -> Truth {
    if a == Some(true) || b == Some(true) {
        Some(true)
    } else if a == Some(false) && b == Some(false) {
        Some(false)
    } else {
        None
    }
}

fn any(truths: impl IntoIterator<Item = Truth>) -> Truth {
    truths.into_iter().fold(Some(false), either)
}

/// What one evaluation can see.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) header: &'a Header,
    pub(crate) sets: &'a [Set],
    pub(crate) members: &'a [Members],
    pub(crate) ignore_ct_timeout: bool,
    pub(crate) certainty: Certainty,
}

/// Whether a predicate holds.
pub(crate) fn holds(
    view: View<'_>,
    predicate: &Predicate,
    flow: &Flow,
    extra: &Extra<'_>,
) -> Truth {
    let mut all = Some(true);
    for test in &predicate.tests {
        all = both(all, test_holds(view, test, flow, extra));
    }
    for test in &predicate.not {
        all = both(all, test_holds(view, test, flow, extra).map(|truth| !truth));
    }
    all
}

fn has(flow: &Flow, what: Present) -> bool {
    flow.present.contains(what)
}

fn status_bit(flow: &Flow, bit: Status) -> Truth {
    if has(flow, Present::STATUS) {
        Some(flow.status.contains(bit))
    } else {
        None
    }
}

#[allow(clippy::too_many_lines)] // the table of POLICY.md, line by line
fn test_holds(view: View<'_>, test: &Test, flow: &Flow, extra: &Extra<'_>) -> Truth {
    let now_left = if has(flow, Present::TIMEOUT) {
        Some(u64::from(flow.timeout))
    } else {
        None
    };
    let counted = has(flow, Present::COUNTERS_ORIG) && has(flow, Present::COUNTERS_REPLY);
    let bytes = counted.then(|| flow.counters_orig.bytes + flow.counters_reply.bytes);
    let packets = counted.then(|| flow.counters_orig.packets + flow.counters_reply.packets);
    match test {
        Test::Family(list) => Some(list.contains(&flow.family)),
        Test::Protocol(list) => Some(list.contains(&flow.protocol)),
        Test::State(list) => {
            let stateful = [Protocol::TCP, Protocol::SCTP, Protocol::DCCP].contains(&flow.protocol);
            if stateful && has(flow, Present::STATE) {
                Some(list.contains(&(flow.protocol, flow.state)))
            } else {
                None
            }
        }
        Test::Status(words) => any(words.iter().map(|word| match word {
            StatusWord::Assured => status_bit(flow, Status::ASSURED),
            StatusWord::SeenReply => status_bit(flow, Status::SEEN_REPLY),
            StatusWord::Unreplied => status_bit(flow, Status::SEEN_REPLY).map(|seen| !seen),
            StatusWord::SrcNat => status_bit(flow, Status::SRC_NAT),
            StatusWord::DstNat => status_bit(flow, Status::DST_NAT),
            StatusWord::Offload => status_bit(flow, Status::OFFLOAD),
            StatusWord::HwOffload => status_bit(flow, Status::HW_OFFLOAD),
            StatusWord::FixedTimeout => status_bit(flow, Status::FIXED_TIMEOUT),
            StatusWord::Expected => status_bit(flow, Status::EXPECTED),
            StatusWord::Helper => status_bit(flow, Status::HELPER),
        })),
        Test::Address(field, terms) => any(terms
            .iter()
            .map(|term| any(addresses(*field, flow).map(|address| is_in(view, *term, address))))),
        Test::Port(field, ranges) => {
            if !["tcp", "udp", "udplite", "sctp", "dccp"]
                .contains(&flow.protocol.name().unwrap_or_default())
            {
                return None;
            }
            let reply = has(flow, Present::REPLY);
            let ports: Vec<Option<u16>> = match field {
                PortField::Src => vec![Some(flow.orig.src_port)],
                PortField::Dst => vec![Some(flow.orig.dst_port)],
                PortField::ReplySrc => vec![reply.then_some(flow.reply.src_port)],
                PortField::ReplyDst => vec![reply.then_some(flow.reply.dst_port)],
                PortField::Either => vec![Some(flow.orig.src_port), Some(flow.orig.dst_port)],
            };
            any(ports.into_iter().map(|port| {
                port.map(|port| {
                    ranges
                        .iter()
                        .any(|(low, high)| (*low..=*high).contains(&port))
                })
            }))
        }
        Test::IcmpType(ranges) => icmp(flow).map(|(kind, _)| {
            ranges
                .iter()
                .any(|(low, high)| (*low..=*high).contains(&kind))
        }),
        Test::IcmpCode(ranges) => icmp(flow).map(|(_, code)| {
            ranges
                .iter()
                .any(|(low, high)| (*low..=*high).contains(&code))
        }),
        Test::GreKey(ranges) => {
            if flow.protocol != Protocol::GRE {
                return None;
            }
            Some(
                [flow.orig.src_port, flow.orig.dst_port]
                    .iter()
                    .any(|key| ranges.iter().any(|(low, high)| low <= key && key <= high)),
            )
        }
        Test::Nat(words) => {
            let src = status_bit(flow, Status::SRC_NAT);
            let dst = status_bit(flow, Status::DST_NAT);
            any(words.iter().map(|word| match word {
                NatWord::Src => src,
                NatWord::Dst => dst,
                NatWord::Any => either(src, dst),
                NatWord::None => either(src, dst).map(|translated| !translated),
            }))
        }
        Test::Path(words) => any(words.iter().map(|word| match word {
            PathWord::Output => from_host(view.header, flow),
            PathWord::Input => to_host(view.header, flow),
            PathWord::Forward => {
                either(from_host(view.header, flow), to_host(view.header, flow)).map(|own| !own)
            }
        })),
        Test::Mark(list) => has(flow, Present::MARK)
            .then(|| list.iter().any(|(value, mask)| flow.mark & mask == *value)),
        Test::Zone(list) => Some(
            list.iter()
                .any(|zone| flow.zone_orig == *zone && flow.zone_reply == *zone),
        ),
        Test::OrigZone(list) => Some(list.contains(&flow.zone_orig)),
        Test::ReplyZone(list) => Some(list.contains(&flow.zone_reply)),
        Test::Label(list) => Some(match extra.labels {
            Some(labels) => list.iter().any(|bit| (labels >> bit) & 1 == 1),
            None => false,
        }),
        Test::Helper(list) => Some(match extra.helper {
            Some(helper) => list.iter().any(|name| name == helper),
            None => false,
        }),
        Test::IdleFor(window) => idle::idle_for(view, flow, extra, window.0),
        Test::AgeAbove(above) => {
            idle::age_ns(view.header, flow).map(|age| age > u128::from(above.0) * 1_000_000_000)
        }
        Test::RemainingAbove(above) => now_left.map(|left| left > above.0),
        Test::RemainingBelow(below) => now_left.map(|left| left < below.0),
        Test::BytesAbove(above) => bytes.map(|bytes| bytes > *above),
        Test::BytesBelow(below) => bytes.map(|bytes| bytes < *below),
        Test::PacketsAbove(above) => packets.map(|packets| packets > *above),
        Test::PacketsBelow(below) => packets.map(|packets| packets < *below),
    }
}

fn icmp(flow: &Flow) -> Option<(u8, u8)> {
    let is_icmp = flow.protocol == Protocol::ICMP || flow.protocol == Protocol::ICMPV6;
    is_icmp.then(|| {
        let [kind, code] = flow.orig.dst_port.to_be_bytes();
        (kind, code)
    })
}

/// The addresses that a field looks at; `None` for one that is not known.
fn addresses(field: AddressField, flow: &Flow) -> impl Iterator<Item = Option<IpAddr>> + use<> {
    let src = Some(flow.orig.src_ip(flow.family));
    let dst = Some(flow.orig.dst_ip(flow.family));
    let reply = has(flow, Present::REPLY);
    let reply_src = reply.then(|| flow.reply.src_ip(flow.family));
    let reply_dst = reply.then(|| flow.reply.dst_ip(flow.family));
    match field {
        AddressField::Src => vec![src],
        AddressField::Dst => vec![dst],
        AddressField::ReplySrc => vec![reply_src],
        AddressField::ReplyDst => vec![reply_dst],
        AddressField::Any => vec![src, dst, reply_src, reply_dst],
        AddressField::NatSrc if status_bit(flow, Status::SRC_NAT) == Some(true) => vec![reply_dst],
        AddressField::NatDst if status_bit(flow, Status::DST_NAT) == Some(true) => vec![reply_src],
        AddressField::NatSrc | AddressField::NatDst => vec![None],
    }
    .into_iter()
}

/// Nothing is known of a set that cannot be read, or that is empty and may not be.
pub(crate) fn is_set_usable(view: View<'_>, index: usize) -> bool {
    let members = &view.members[index];
    members.error.is_none() && (!members.prefixes.is_empty() || view.sets[index].allow_empty)
}

fn is_in(view: View<'_>, term: AddressTerm, address: Option<IpAddr>) -> Truth {
    let address = address?;
    match term {
        AddressTerm::Prefix(prefix) => Some(prefix.contains(&address)),
        AddressTerm::Set(index) if !is_set_usable(view, index) => None,
        AddressTerm::Set(index) => Some(
            view.members[index]
                .prefixes
                .iter()
                .any(|prefix| prefix.contains(&address)),
        ),
    }
}

fn is_own(header: &Header, address: IpAddr) -> Truth {
    if address.is_loopback() {
        return Some(true);
    }
    Some(header.addresses.as_ref()?.contains(&address))
}

/// The original source is an address of this host.
pub(crate) fn from_host(header: &Header, flow: &Flow) -> Truth {
    is_own(header, flow.orig.src_ip(flow.family))
}

/// The reply source is an address of this host.
pub(crate) fn to_host(header: &Header, flow: &Flow) -> Truth {
    if has(flow, Present::REPLY) {
        is_own(header, flow.reply.src_ip(flow.family))
    } else {
        None
    }
}
