//! The fields of an entry as columns of a listing: their names, and what an entry has in them.
//!
//! The names are those of the match vocabulary, and those of what an entry has besides.

mod ranked;
mod value;

pub use ranked::Ranked;
pub use value::{Atom, Value};

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::flow::{Class, Flow, Present, Protocol, Status, field};
use crate::idle::{Evidence, Window};
use crate::matcher::{Context, OwnAddresses, Truth};
use crate::observe::Record;
use crate::policy::Seconds;
use crate::policy::diagnostic::nearest;

/// How a column is called, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: &'static str,
    /// How wide most of its values are, characters.
    pub width: usize,
    /// One line of help.
    pub help: &'static str,
}

macro_rules! columns {
    ($($column:ident $name:literal $width:literal $help:expr;)*) => {
        /// What an entry is asked for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Column {
            $(#[doc = concat!("`", $name, "`.")] $column,)*
        }

        /// Every column, in the order of the help.
        pub const ALL: &[Column] = &[$(Column::$column),*];

        impl Column {
            /// How it is called, and what it holds.
            #[must_use]
            pub fn description(self) -> Description {
                match self {
                    $(Self::$column => Description { name: $name, width: $width, help: $help },)*
                }
            }
        }
    };
}

columns! {
    Family "family" 6 field::FAMILY.help;
    Protocol "protocol" 7 field::PROTOCOL.help;
    State "state" 11 "Protocol state.";
    Class "class" 9 "What the entry is to a table that fills up: assured, unreplied, closing, offloaded, other.";
    Status "status" 18 "Status words: assured, seen-reply, unreplied, src-nat and so on.";
    Timeout "timeout" 7 "Seconds until the entry expires.";
    Src "src" 15 field::SRC.help;
    Sport "sport" 5 field::SPORT.help;
    Dst "dst" 15 field::DST.help;
    Dport "dport" 5 field::DPORT.help;
    ReplySrc "reply-src" 15 field::REPLY_SRC.help;
    ReplySport "reply-sport" 11 field::REPLY_SPORT.help;
    ReplyDst "reply-dst" 15 field::REPLY_DST.help;
    ReplyDport "reply-dport" 11 field::REPLY_DPORT.help;
    Address "address" 31 "Every address of the two tuples.";
    Port "port" 11 "Source and destination port of the original direction.";
    IcmpType "icmp-type" 9 field::ICMP_TYPE.help;
    IcmpCode "icmp-code" 9 field::ICMP_CODE.help;
    IcmpId "icmp-id" 7 "ICMP or ICMPv6 identifier of the original direction.";
    GreKey "gre-key" 11 "GRE keys of the original direction's source and destination.";
    Nat "nat" 7 field::NAT.help;
    NatSrc "nat-src" 15 field::NAT_SRC.help;
    NatDst "nat-dst" 15 field::NAT_DST.help;
    Path "path" 7 field::PATH.help;
    Mark "mark" 4 field::MARK.help;
    Zone "zone" 4 "Zone, where both directions have the same.";
    OrigZone "orig-zone" 9 field::ORIG_ZONE.help;
    ReplyZone "reply-zone" 10 field::REPLY_ZONE.help;
    Label "label" 5 "Connection labels by bit number.";
    Helper "helper" 6 field::HELPER.help;
    Secctx "secctx" 6 "Security context.";
    Idle "idle" 6 "Seconds without a packet, if the timeout that governs the entry did not change meanwhile.";
    Age "age" 6 "Seconds since the entry was made; needs nf_conntrack_timestamp.";
    Start "start" 20 "When the entry was made, seconds since 1970; needs nf_conntrack_timestamp.";
    Bytes "bytes" 10 "Bytes of both directions; needs nf_conntrack_acct.";
    Packets "packets" 8 "Packets of both directions; needs nf_conntrack_acct.";
    OrigBytes "orig-bytes" 10 "Bytes of the original direction.";
    OrigPackets "orig-packets" 12 "Packets of the original direction.";
    ReplyBytes "reply-bytes" 11 "Bytes of the reply direction.";
    ReplyPackets "reply-packets" 13 "Packets of the reply direction.";
    Id "id" 10 "The kernel's id of the entry.";
}

/// Fields of the match vocabulary that test a column against something.
const TESTS: [(field::Field, Column); 8] = [
    (field::IDLE_FOR, Column::Idle),
    (field::AGE_ABOVE, Column::Age),
    (field::REMAINING_ABOVE, Column::Timeout),
    (field::REMAINING_BELOW, Column::Timeout),
    (field::BYTES_ABOVE, Column::Bytes),
    (field::BYTES_BELOW, Column::Bytes),
    (field::PACKETS_ABOVE, Column::Packets),
    (field::PACKETS_BELOW, Column::Packets),
];

/// There is no such column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no field of an entry{}; there are {}", maybe(*suggestion), list())]
pub struct ColumnError {
    name: String,
    suggestion: Option<&'static str>,
}

fn maybe(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

/// The names of all columns, for help and completion.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|column| column.description().name)
}

fn list() -> String {
    names().collect::<Vec<_>>().join(", ")
}

/// Any case, `_` and `-` alike; a test's name, as `bytes-above`, is that of what it tests.
impl FromStr for Column {
    type Err = ColumnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.trim().to_ascii_lowercase().replace('_', "-");
        let column = ALL.iter().find(|column| column.description().name == name);
        let tested = TESTS.iter().find(|(field, _)| field.name == name);
        column
            .or(tested.map(|(_, column)| column))
            .copied()
            .ok_or_else(|| ColumnError {
                name: text.trim().to_owned(),
                suggestion: nearest(&name, names()),
            })
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.description().name)
    }
}

/// Reads columns of the entries of one observation.
#[derive(Clone, Debug)]
pub struct Reader {
    evidence: Arc<Evidence>,
    own: Arc<OwnAddresses>,
    now: Window,
}

impl Reader {
    /// For the entries of the context's observation.
    #[must_use]
    pub fn new(context: &Context<'_>) -> Self {
        Self {
            evidence: Arc::clone(&context.evidence),
            own: Arc::clone(&context.own),
            now: context.evidence.window(Seconds(0), false),
        }
    }

    /// What an entry has in a column. Allocates nothing.
    #[must_use]
    pub fn value<'a>(&self, column: Column, record: &Record<'a>) -> Value<'a> {
        let flow = &record.flow;
        let reply = || flow.present.contains(Present::REPLY).then_some(&flow.reply);
        let family = flow.family;
        let ports = flow.protocol.has_ports();
        let port = |port: u16| ports.then_some(port);
        match column {
            Column::Family => family.name().into(),
            Column::Protocol => match flow.protocol.name() {
                Some(name) => name.into(),
                None => Value::One(Atom::Numeral(flow.protocol.0)),
            },
            Column::State => match (flow.state_name(), flow.state()) {
                (Some(name), _) => name.into(),
                (None, Some(number)) => Value::One(Atom::Numeral(number)),
                (None, None) => Value::Absent,
            },
            Column::Class => Class::of(flow).name().into(),
            Column::Status => flow.status().map_or(Value::Absent, Value::Status),
            Column::Timeout => flow.remaining().into(),
            Column::Src => flow.orig.src_ip(family).into(),
            Column::Dst => flow.orig.dst_ip(family).into(),
            Column::ReplySrc => reply().map(|reply| reply.src_ip(family)).into(),
            Column::ReplyDst => reply().map(|reply| reply.dst_ip(family)).into(),
            Column::Sport => port(flow.orig.src_port).into(),
            Column::Dport => port(flow.orig.dst_port).into(),
            Column::ReplySport => reply().and_then(|reply| port(reply.src_port)).into(),
            Column::ReplyDport => reply().and_then(|reply| port(reply.dst_port)).into(),
            Column::Address => Value::addresses(flow),
            Column::Port if ports => Value::Pair([flow.orig.src_port, flow.orig.dst_port]),
            Column::GreKey if flow.protocol == Protocol::GRE => {
                Value::Pair([flow.orig.src_port, flow.orig.dst_port])
            }
            Column::IcmpType => is_icmp(flow).then(|| flow.orig.icmp_type()).into(),
            Column::IcmpCode => is_icmp(flow).then(|| flow.orig.icmp_code()).into(),
            Column::IcmpId => is_icmp(flow).then_some(flow.orig.src_port).into(),
            Column::Nat => flow.status().map(nat).into(),
            Column::NatSrc if flow.is_src_nat() == Some(true) => {
                reply().map(|reply| reply.dst_ip(family)).into()
            }
            Column::NatDst if flow.is_dst_nat() == Some(true) => {
                reply().map(|reply| reply.src_ip(family)).into()
            }
            Column::Port | Column::GreKey | Column::NatSrc | Column::NatDst => Value::Absent,
            Column::Path => self.path(flow).into(),
            Column::Mark => (flow.present.contains(Present::MARK))
                .then_some(flow.mark)
                .into(),
            Column::Zone => (flow.zone_orig == flow.zone_reply)
                .then_some(flow.zone_orig)
                .into(),
            Column::OrigZone => Some(flow.zone_orig).into(),
            Column::ReplyZone => Some(flow.zone_reply).into(),
            Column::Label => record.extra.labels.map_or(Value::Absent, Value::Labels),
            Column::Helper => record.extra.helper.into(),
            Column::Secctx => record.extra.secctx.into(),
            Column::Idle => self
                .evidence
                .presumed(flow, &record.extra, &self.now)
                .into(),
            Column::Age => self.evidence.age(flow).ok().map(|age| age / SECOND).into(),
            Column::Start => flow.start_ns().map(|start| start / SECOND).into(),
            Column::Bytes => flow.total().map(|total| total.bytes).into(),
            Column::Packets => flow.total().map(|total| total.packets).into(),
            Column::OrigBytes => counted(flow, Present::COUNTERS_ORIG, flow.counters_orig.bytes),
            Column::OrigPackets => {
                counted(flow, Present::COUNTERS_ORIG, flow.counters_orig.packets)
            }
            Column::ReplyBytes => counted(flow, Present::COUNTERS_REPLY, flow.counters_reply.bytes),
            Column::ReplyPackets => {
                counted(flow, Present::COUNTERS_REPLY, flow.counters_reply.packets)
            }
            Column::Id => flow.id().into(),
        }
    }

    fn path(&self, flow: &Flow) -> Option<&'static str> {
        match (self.own.output(flow), self.own.input(flow)) {
            (Truth::True, _) => Some("output"),
            (Truth::False, Truth::True) => Some("input"),
            (Truth::False, Truth::False) => Some("forward"),
            _ => None,
        }
    }
}

const SECOND: u64 = 1_000_000_000;

fn is_icmp(flow: &Flow) -> bool {
    matches!(flow.protocol, Protocol::ICMP | Protocol::ICMPV6)
}

fn nat(status: Status) -> &'static str {
    let (src, dst) = (
        status.contains(Status::SRC_NAT),
        status.contains(Status::DST_NAT),
    );
    match (src, dst) {
        (false, false) => "none",
        (true, false) => "src",
        (false, true) => "dst",
        (true, true) => "src+dst",
    }
}

fn counted(flow: &Flow, present: Present, number: u64) -> Value<'static> {
    flow.present.contains(present).then_some(number).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Extra, Family, Tuple, protocol::tcp};
    use crate::observe::Header;

    /// A flow that has nearly everything.
    pub(super) fn record() -> Record<'static> {
        let tuple = Tuple::new([10, 1, 2, 3].into(), [203, 0, 113, 9].into(), 40_000, 443);
        let mut flow = Flow::new(Family::Ipv4, Protocol::TCP, tuple);
        flow.reply.dst[..4].copy_from_slice(&[198, 51, 100, 1]);
        flow.present = Present::STATUS
            | Present::STATE
            | Present::REPLY
            | Present::MARK
            | Present::TIMEOUT
            | Present::COUNTERS;
        flow.status = Status::SEEN_REPLY | Status::ASSURED | Status::SRC_NAT;
        flow.state = tcp::ESTABLISHED;
        (flow.mark, flow.timeout) = (7, 300);
        (flow.counters_orig.bytes, flow.counters_reply.bytes) = (100, 20);
        (flow.counters_orig.packets, flow.counters_reply.packets) = (3, 2);
        Record {
            flow,
            extra: Extra {
                labels: Some(0b101),
                ..Extra::default()
            },
            message: &[],
        }
    }

    pub(super) fn reader() -> Reader {
        let header = Header {
            addresses: Some(vec![[198, 51, 100, 1].into()]),
            ..Header::default()
        };
        Reader::new(&Context::new(&header, &[], &[]))
    }

    fn shown(column: Column) -> String {
        let mut out = Vec::new();
        reader().value(column, &record()).text(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_column_shows_what_the_entry_has() {
        let all: Vec<_> = (ALL.iter())
            .map(|&column| format!("{column}={}", shown(column)))
            .collect();
        assert_eq!(
            all.join(" "),
            "family=ipv4 protocol=tcp state=ESTABLISHED class=assured \
             status=assured+seen-reply+src-nat timeout=300 src=10.1.2.3 sport=40000 \
             dst=203.0.113.9 dport=443 reply-src=203.0.113.9 reply-sport=443 \
             reply-dst=198.51.100.1 reply-dport=40000 address=10.1.2.3+203.0.113.9+198.51.100.1 \
             port=40000+443 icmp-type=- icmp-code=- icmp-id=- gre-key=- nat=src \
             nat-src=198.51.100.1 nat-dst=- path=forward mark=7 zone=0 orig-zone=0 reply-zone=0 \
             label=0+2 helper=- secctx=- idle=- age=- start=- bytes=120 packets=5 orig-bytes=100 \
             orig-packets=3 reply-bytes=20 reply-packets=2 id=-"
        );
    }

    #[test]
    fn every_field_of_the_match_vocabulary_names_a_column() {
        for field in field::ALL {
            assert!(field.name.parse::<Column>().is_ok(), "{}", field.name);
        }
        assert_eq!("Reply_Src".parse(), Ok(Column::ReplySrc));
        assert_eq!("bytes-above".parse(), Ok(Column::Bytes));
        let error = "reply-scr".parse::<Column>().unwrap_err().to_string();
        assert!(error.contains("did you mean `reply-src`?"), "{error}");
    }
}
