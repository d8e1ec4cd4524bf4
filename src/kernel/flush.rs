//! The kernel's own flush: of the whole table, or of what a simple filter takes. The only place that
//! can write one.
//!
//! The kernel compares no ids, protects nothing and tells nothing of what it deleted. What is worse:
//! it passes over attributes that it does not know, so a filter that an older kernel lacks empties
//! the table, and some filters that it has are wrong (IPv6 addresses before 6.12.117 take everything
//! but the address; ports work for TCP and UDP alone). So a filter is sent only where this kernel
//! has just shown, in a network namespace of its own that ends with the trial, that this very filter
//! takes what it should and nothing else.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::attribute::{self, filter as flags, ip, proto, tuple};
use super::encode::{Change, message, nest, put};
use super::message::{CT_DELETE, NLM_F_ACK};
use super::namespace::{self, NamespaceError};
use super::socket::{Socket, SocketError};
use super::{Live, SweepError, SweepOptions};
use crate::flow::status::StatusWord;
use crate::flow::{Extra, Family, Flow, FlowKey, Present, Protocol, Status, Tuple};
use crate::observe::{Observe, ObserveError, Record};
use crate::policy::{AddressField, AddressTerm, PortField, Predicate, Test};

const OPERATION: &str = "flush the table over ctnetlink";

/// Why the kernel does not flush.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// The filter has something that the kernel cannot compare, or is not trusted with.
    #[error("the kernel's flush does not know `{what}`{why}")]
    Unknown {
        /// The field.
        what: String,
        /// Why, behind a colon; empty where it never heard of it.
        why: &'static str,
    },
    /// It took too much or too little in the trial.
    #[error("this kernel does not flush what the filter says: in a trial {0}")]
    Disproven(String),
    /// No trial could be made.
    #[error("the filter cannot be tried in a network namespace of its own")]
    Untried(#[from] NamespaceError),
    /// The trial came to no end.
    #[error("the trial failed")]
    Trial(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kernel refused.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

/// What one flush takes: all that is given has to agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    family: Option<Family>,
    protocol: Option<Protocol>,
    src: Option<Ipv4Addr>,
    dst: Option<Ipv4Addr>,
    sport: Option<u16>,
    dport: Option<u16>,
    /// Value and mask.
    mark: Option<(u32, u32)>,
    /// Bits that are compared, and what they have to be.
    status: Option<(Status, Status)>,
}

/// Deletes every entry of the calling thread's network namespace.
///
/// # Errors
/// Where the kernel refuses.
pub fn everything() -> Result<(), FlushError> {
    send(&Filter::default())
}

/// Deletes what the filter takes, if a trial shows that this kernel does that and no more.
///
/// # Errors
/// Where it does not, where no trial can be made, and where the kernel refuses; nothing was deleted
/// then.
pub fn matching(filter: &Filter) -> Result<(), FlushError> {
    prove(filter)?;
    requests(filter).iter().try_for_each(send)
}

/// Tries the filter on made-up entries.
///
/// # Errors
/// As [`matching`].
pub fn prove(filter: &Filter) -> Result<(), FlushError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| FlushError::Trial(error);
    namespace::within_new(|| {
        let (go, stay) = witnesses(filter);
        make(go.iter().chain(&stay)).map_err(failed)?;
        for request in requests(filter) {
            send(&request)?;
        }
        let left = keys().map_err(|error| failed(error.into()))?;
        let wrongly = |flows: &[Flow], present: bool| {
            let flow = flows.iter().find(|f| left.contains(&f.key()) == present);
            flow.map(|flow| flow.key().to_string())
        };
        if let Some(key) = wrongly(&go, true) {
            return Err(FlushError::Disproven(format!("it left {key}")));
        }
        match wrongly(&stay, false) {
            Some(key) => Err(FlushError::Disproven(format!("it took {key} as well"))),
            None => Ok(()),
        }
    })?
}

impl Filter {
    /// What a predicate asks for, as a flush.
    ///
    /// # Errors
    /// Where the kernel cannot compare that.
    pub fn of(predicate: &Predicate) -> Result<Self, FlushError> {
        let mut filter = Self::default();
        if !predicate.not.is_empty() {
            return Err(unknown("not", ""));
        }
        for test in &predicate.tests {
            filter.add(test)?;
        }
        if filter == Self::default() {
            return Err(unknown("no filter", ": that is `--all`"));
        }
        let ports = filter.sport.is_some() || filter.dport.is_some();
        match filter.protocol {
            Some(Protocol::TCP | Protocol::UDP) => {}
            Some(_) if ports => {
                return Err(unknown("port", ": it compares ports of tcp and udp alone"));
            }
            None if ports => return Err(unknown("port", " without a `protocol`")),
            _ => {}
        }
        if filter.src.is_some() || filter.dst.is_some() {
            if filter.family == Some(Family::Ipv6) {
                return Err(unknown("family", ": the addresses are of the other one"));
            }
            filter.family = Some(Family::Ipv4);
        }
        Ok(filter)
    }

    fn add(&mut self, test: &Test) -> Result<(), FlushError> {
        let twice = ": it is asked for twice";
        match test {
            Test::Family(families) => set(&mut self.family, one(families, "family")?, "family"),
            Test::Protocol(all) => set(&mut self.protocol, one(all, "protocol")?, "protocol"),
            Test::Address(AddressField::Src, terms) => {
                set(&mut self.src, address(terms, "src")?, "src")
            }
            Test::Address(AddressField::Dst, terms) => {
                set(&mut self.dst, address(terms, "dst")?, "dst")
            }
            Test::Port(PortField::Src, ranges) => {
                set(&mut self.sport, port(ranges, "sport")?, "sport")
            }
            Test::Port(PortField::Dst, ranges) => {
                set(&mut self.dport, port(ranges, "dport")?, "dport")
            }
            Test::Mark(marks) => set(&mut self.mark, one(marks, "mark")?, "mark"),
            Test::Status(words) => {
                let (bits, wanted) = match one(words, "status")? {
                    StatusWord::Assured => (Status::ASSURED, Status::ASSURED),
                    StatusWord::SeenReply => (Status::SEEN_REPLY, Status::SEEN_REPLY),
                    StatusWord::Unreplied => (Status::SEEN_REPLY, Status::empty()),
                    StatusWord::FixedTimeout => (Status::FIXED_TIMEOUT, Status::FIXED_TIMEOUT),
                    word => return Err(unknown(word.name(), ": that cannot be tried")),
                };
                let (known, value) = self.status.unwrap_or_default();
                if known.intersects(bits) {
                    return Err(unknown("status", twice));
                }
                self.status = Some((known | bits, value | wanted));
                Ok(())
            }
            Test::Zone(_) => Err(unknown(
                "zone",
                ": it also takes entries with that zone in one direction only",
            )),
            other => Err(unknown(name(other), "")),
        }
    }

    fn has_tuple(&self) -> bool {
        self.protocol.is_some() || self.src.is_some() || self.dst.is_some()
    }
}

/// The name of a field that no flush knows.
fn name(test: &Test) -> &'static str {
    match test {
        Test::State(_) => "state",
        Test::Address(..) => "reply-src, reply-dst, address, nat-src or nat-dst",
        Test::Port(..) => "reply-sport, reply-dport or port",
        Test::IdleFor(_) => "idle-for",
        Test::Label(_) => "label",
        Test::Helper(_) => "helper",
        Test::Nat(_) => "nat",
        Test::Path(_) => "path",
        Test::IcmpType(_) | Test::IcmpCode(_) => "icmp-type or icmp-code",
        Test::GreKey(_) => "gre-key",
        Test::OrigZone(_) | Test::ReplyZone(_) => "orig-zone or reply-zone",
        Test::RemainingAbove(_) | Test::RemainingBelow(_) => "remaining-above or remaining-below",
        Test::AgeAbove(_) => "age-above",
        _ => "bytes or packets",
    }
}

fn unknown(what: impl Into<String>, why: &'static str) -> FlushError {
    FlushError::Unknown {
        what: what.into(),
        why,
    }
}

fn set<T>(place: &mut Option<T>, value: T, what: &'static str) -> Result<(), FlushError> {
    if place.is_some() {
        return Err(unknown(what, ": it is asked for twice"));
    }
    *place = Some(value);
    Ok(())
}

fn one<T: Copy>(values: &[T], what: &'static str) -> Result<T, FlushError> {
    match values {
        [one] => Ok(*one),
        _ => Err(unknown(what, " of several values")),
    }
}

fn address(terms: &[AddressTerm], what: &'static str) -> Result<Ipv4Addr, FlushError> {
    match one(terms, what)? {
        AddressTerm::Prefix(net) if net.prefix_len() == net.max_prefix_len() => match net.addr() {
            IpAddr::V4(address) => Ok(address),
            IpAddr::V6(_) => Err(unknown(
                what,
                " of IPv6: many kernels take every address but that one",
            )),
        },
        _ => Err(unknown(what, " of a prefix or set, but of one address")),
    }
}

fn port(ranges: &[(u16, u16)], what: &'static str) -> Result<u16, FlushError> {
    match one(ranges, what)? {
        (from, to) if from == to => Ok(from),
        _ => Err(unknown(what, " of a range, but of one port")),
    }
}

/// The requests of a filter: what compares tuples needs a family, so both are asked for.
fn requests(filter: &Filter) -> Vec<Filter> {
    if filter.has_tuple() && filter.family.is_none() {
        let of = |family| Filter {
            family: Some(family),
            ..*filter
        };
        vec![of(Family::Ipv4), of(Family::Ipv6)]
    } else {
        vec![*filter]
    }
}

/// Asks for one flush in the calling thread's network namespace.
fn send(filter: &Filter) -> Result<(), FlushError> {
    let mut socket = Socket::netfilter()?;
    let sequence = socket.take_sequence(1);
    let mut request = Vec::new();
    encode(filter, sequence, &mut request);
    socket.ask(&request, sequence, false, OPERATION, |_| {})?;
    Ok(())
}

fn encode(filter: &Filter, sequence: u32, out: &mut Vec<u8>) {
    message(out, CT_DELETE, NLM_F_ACK, sequence, filter.family, |out| {
        if let Some((bits, value)) = filter.status {
            put(out, attribute::STATUS, &value.bits().to_be_bytes());
            put(out, attribute::STATUS_MASK, &bits.bits().to_be_bytes());
        }
        if let Some((value, mask)) = filter.mark {
            put(out, attribute::MARK, &value.to_be_bytes());
            put(out, attribute::MARK_MASK, &mask.to_be_bytes());
        }
        if filter.has_tuple() {
            encode_tuple(filter, out);
        }
    });
    // `nfgenmsg.version`: with 0 the kernel passes over the family (ctnetlink_flush_conntrack).
    if filter.family.is_some() {
        out[super::message::HEADER + 1] = 1;
    }
}

fn encode_tuple(filter: &Filter, out: &mut Vec<u8>) {
    let mut compared = 0_u32;
    nest(out, attribute::TUPLE_ORIG, |out| {
        if filter.src.is_some() || filter.dst.is_some() {
            nest(out, tuple::IP, |out| {
                if let Some(src) = filter.src {
                    put(out, ip::V4_SRC, &src.octets());
                    compared |= flags::IP_SRC;
                }
                if let Some(dst) = filter.dst {
                    put(out, ip::V4_DST, &dst.octets());
                    compared |= flags::IP_DST;
                }
            });
        }
        if let Some(protocol) = filter.protocol {
            nest(out, tuple::PROTO, |out| {
                put(out, proto::NUM, &[protocol.0]);
                compared |= flags::PROTO_NUM;
                if let Some(port) = filter.sport {
                    put(out, proto::SRC_PORT, &port.to_be_bytes());
                    compared |= flags::SRC_PORT;
                }
                if let Some(port) = filter.dport {
                    put(out, proto::DST_PORT, &port.to_be_bytes());
                    compared |= flags::DST_PORT;
                }
            });
        }
    });
    nest(out, attribute::FILTER, |out| {
        // The one number that is in the host's byte order.
        put(out, flags::ORIG_FLAGS, &compared.to_ne_bytes());
    });
}

/// Entries of which the filter has to take the first ones and none of the others: each of these
/// differs from what it takes in one thing. A zone of its own keeps them apart.
fn witnesses(filter: &Filter) -> (Vec<Flow>, Vec<Flow>) {
    let families = match filter.family {
        Some(family) => vec![family],
        None => vec![Family::Ipv4, Family::Ipv6],
    };
    let (mut go, mut stay) = (Vec::new(), Vec::new());
    for family in families {
        let taken = |change: &dyn Fn(&mut Witness)| {
            let mut witness = Witness::of(filter, family);
            change(&mut witness);
            witness.flow()
        };
        go.push(taken(&|_| {}));
        if let Some((_, mask)) = filter.mark {
            if mask != u32::MAX {
                go.push(taken(&|one| one.mark ^= lowest(!mask)));
            }
            if mask != 0 {
                stay.push(taken(&|one| one.mark ^= lowest(mask)));
            }
        }
        if let Some((bits, _)) = filter.status {
            for bit in bits.iter() {
                stay.push(taken(&|one| one.status ^= bit));
            }
        }
        if filter.protocol.is_some() {
            stay.push(taken(&|one| {
                one.protocol = match one.protocol {
                    Protocol::UDP => Protocol::TCP,
                    _ => Protocol::UDP,
                };
            }));
        }
        if filter.sport.is_some() {
            stay.push(taken(&|one| one.sport ^= 1));
        }
        if filter.dport.is_some() {
            stay.push(taken(&|one| one.dport ^= 1));
        }
        if filter.src.is_some() {
            stay.push(taken(&|one| one.src = other(one.src)));
        }
        if filter.dst.is_some() {
            stay.push(taken(&|one| one.dst = other(one.dst)));
        }
    }
    if let Some(family) = filter.family {
        let other = match family {
            Family::Ipv4 => Family::Ipv6,
            Family::Ipv6 => Family::Ipv4,
        };
        let addressless = Filter {
            src: None,
            dst: None,
            ..*filter
        };
        stay.push(Witness::of(&addressless, other).flow());
    }
    for (zone, flow) in (1..).zip(go.iter_mut().chain(&mut stay)) {
        (flow.zone_orig, flow.zone_reply) = (zone, zone);
    }
    (go, stay)
}

fn lowest(bits: u32) -> u32 {
    bits & bits.wrapping_neg()
}

fn other(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) ^ 1).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) ^ 1).into()),
    }
}

/// A made-up entry, by what a filter can look at.
struct Witness {
    family: Family,
    protocol: Protocol,
    src: IpAddr,
    dst: IpAddr,
    sport: u16,
    dport: u16,
    mark: u32,
    status: Status,
}

impl Witness {
    /// One that the filter takes.
    fn of(filter: &Filter, family: Family) -> Self {
        let documentation = |last: u8| match family {
            Family::Ipv4 => IpAddr::from([192, 0, 2, last]),
            Family::Ipv6 => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)]),
        };
        Self {
            family,
            protocol: filter.protocol.unwrap_or(Protocol::UDP),
            src: filter.src.map_or_else(|| documentation(1), IpAddr::V4),
            dst: filter.dst.map_or_else(|| documentation(2), IpAddr::V4),
            sport: filter.sport.unwrap_or(1024),
            dport: filter.dport.unwrap_or(2048),
            mark: filter.mark.map_or(0, |(value, _)| value),
            status: filter.status.map_or(Status::empty(), |(_, value)| value),
        }
    }

    fn flow(&self) -> Flow {
        let ports = self.protocol.has_ports();
        let port = |port| if ports { port } else { 0 };
        let tuple = Tuple::new(self.src, self.dst, port(self.sport), port(self.dport));
        let mut flow = Flow::new(self.family, self.protocol, tuple);
        flow.present = Present::TIMEOUT | Present::STATUS | Present::REPLY | Present::MARK;
        flow.timeout = 600;
        flow.mark = self.mark;
        flow.status = self.status;
        if self.protocol == Protocol::TCP {
            flow.state = crate::flow::protocol::tcp::ESTABLISHED;
            flow.present |= Present::STATE;
        }
        flow
    }
}

fn make<'a>(
    flows: impl Iterator<Item = &'a Flow>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let sweep = Live::default()
        .sweep(SweepOptions::default())
        .map_err(|error: SweepError| Box::new(error))?;
    let mut feeder = sweep.feeder();
    let mut wanted = 0;
    for flow in flows {
        let extra = Extra::default();
        feeder.push(0, &Change::Create { flow, extra });
        wanted += 1;
    }
    drop(feeder);
    let count = sweep.finish().total();
    if count.done == wanted {
        Ok(())
    } else {
        Err(format!(
            "the kernel made {} of {wanted} entries to try it on",
            count.done
        )
        .into())
    }
}

fn keys() -> Result<BTreeSet<FlowKey>, ObserveError> {
    let mut keys = BTreeSet::new();
    let mut visit = |record: &Record<'_>| {
        keys.insert(record.flow.key());
    };
    Live::default().dump(&mut [&mut visit])?;
    Ok(keys)
}
