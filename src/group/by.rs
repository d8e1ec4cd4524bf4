//! `--by src/24,dport,state`: the fields that the flows of a group have in common, as written.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::{cut, state};
use crate::flow::field::{self, Field};
use crate::flow::status::STATUS_WORDS;
use crate::flow::{Class, Family, Flow, Present, Protocol, Status};
use crate::observe::Record;
use crate::policy::diagnostic::nearest;

/// Fields of one grouping at most: more make a group of every flow, and lines too long to read.
pub const MOST_FIELDS: usize = 8;

/// Prefix lengths of a whole address.
pub const WHOLE: (u8, u8) = (32, 128);

/// IPv6 prefix where only the IPv4 one is given: a customer's network, as `over` has it.
const PREFIX6: u8 = 64;

/// One field of an entry, as a group knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Attribute {
    Family,
    Protocol,
    State,
    Class,
    Status,
    Src,
    Dst,
    ReplySrc,
    ReplyDst,
    Sport,
    Dport,
    ReplySport,
    ReplyDport,
    IcmpType,
    IcmpCode,
    Nat,
    NatSrc,
    NatDst,
    Mark,
    Zone,
    OrigZone,
    ReplyZone,
    Label,
    Helper,
}

/// `class` is no field of the match vocabulary, but of what is counted.
const CLASS: Field = Field {
    name: "class",
    value: "assured | unreplied | closing | offloaded | other",
    help: "What the entry is to a table that fills up.",
};

/// Every field that groups can have, in the order of the help.
const FIELDS: [(Attribute, Field); 24] = [
    (Attribute::Family, field::FAMILY),
    (Attribute::Protocol, field::PROTOCOL),
    (Attribute::State, field::STATE),
    (Attribute::Class, CLASS),
    (Attribute::Status, field::STATUS),
    (Attribute::Src, field::SRC),
    (Attribute::Dst, field::DST),
    (Attribute::ReplySrc, field::REPLY_SRC),
    (Attribute::ReplyDst, field::REPLY_DST),
    (Attribute::Sport, field::SPORT),
    (Attribute::Dport, field::DPORT),
    (Attribute::ReplySport, field::REPLY_SPORT),
    (Attribute::ReplyDport, field::REPLY_DPORT),
    (Attribute::IcmpType, field::ICMP_TYPE),
    (Attribute::IcmpCode, field::ICMP_CODE),
    (Attribute::Nat, field::NAT),
    (Attribute::NatSrc, field::NAT_SRC),
    (Attribute::NatDst, field::NAT_DST),
    (Attribute::Mark, field::MARK),
    (Attribute::Zone, field::ZONE),
    (Attribute::OrigZone, field::ORIG_ZONE),
    (Attribute::ReplyZone, field::REPLY_ZONE),
    (Attribute::Label, field::LABEL),
    (Attribute::Helper, field::HELPER),
];

/// The names that `--by` takes, for help and completion.
pub fn names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(_, field)| field.name)
}

/// Why a text names no grouping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ByError {
    /// No such field.
    #[error("`{name}` is no field to group by{}; there are {}", maybe(*suggestion), list())]
    Unknown {
        /// As written.
        name: String,
        /// What was probably meant.
        suggestion: Option<&'static str>,
    },
    /// Nothing between two commas, or nothing at all.
    #[error("a field is missing; it is written like `src/24,dport,state`")]
    Empty,
    /// The same field twice.
    #[error("`{0}` stands there twice")]
    Twice(&'static str),
    /// Too many fields.
    #[error("a group has at most {MOST_FIELDS} fields")]
    TooMany,
    /// Something behind the `/` of a field that has none.
    #[error("`{0}` takes nothing behind `/`; addresses take prefix lengths, `mark` a mask")]
    NoSuffix(&'static str),
    /// A prefix length that is none.
    #[error("`{0}` is no prefix length: `/24` cuts IPv4 at 24 and IPv6 at 64, `/24/56` says both")]
    Prefix(String),
    /// A mask that is none.
    #[error("`{0}` is no mask: it is written like `mark/0xff`")]
    Mask(String),
}

fn maybe(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

fn list() -> String {
    names().collect::<Vec<_>>().join(", ")
}

bitflags::bitflags! {
    /// What flows have and are not told of, so that they are in no group by it.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Untold: u8 {
        /// Source of the original direction.
        const SRC = 1 << 0;
        /// Destination of the original direction.
        const DST = 1 << 1;
        /// Its port.
        const DPORT = 1 << 2;
    }
}

/// One field of a grouping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Column {
    attribute: Attribute,
    name: &'static str,
    /// Prefix lengths of an address.
    prefix: (u8, u8),
    /// Bits of a mark.
    mask: u32,
}

/// What makes a group: one field or several, in the order in which they are shown.
///
/// Displays as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct By {
    columns: Vec<Column>,
}

impl FromStr for By {
    type Err = ByError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut columns: Vec<Column> = Vec::new();
        for word in text.split(',') {
            let column = Column::parse(word.trim())?;
            if columns.iter().any(|known| known.name == column.name) {
                return Err(ByError::Twice(column.name));
            }
            columns.push(column);
        }
        if columns.len() > MOST_FIELDS {
            return Err(ByError::TooMany);
        }
        Ok(Self { columns })
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, column) in self.columns.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{column}")?;
        }
        Ok(())
    }
}

impl Serialize for By {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Column {
    fn parse(word: &str) -> Result<Self, ByError> {
        let (name, suffix) = match word.split_once('/') {
            Some((name, suffix)) => (name, Some(suffix)),
            None => (word, None),
        };
        if name.is_empty() {
            return Err(ByError::Empty);
        }
        let folded = name.to_ascii_lowercase().replace('_', "-");
        let Some((attribute, field)) = FIELDS.iter().find(|(_, field)| field.name == folded) else {
            return Err(ByError::Unknown {
                name: name.to_owned(),
                suggestion: nearest(name, names()),
            });
        };
        let mut column = Self {
            attribute: *attribute,
            name: field.name,
            prefix: WHOLE,
            mask: u32::MAX,
        };
        match suffix {
            None => {}
            Some(suffix) if column.is_address() => column.prefix = prefixes(suffix)?,
            Some(suffix) if column.attribute == Attribute::Mark => column.mask = mask(suffix)?,
            Some(_) => return Err(ByError::NoSuffix(column.name)),
        }
        Ok(column)
    }

    fn is_address(&self) -> bool {
        matches!(
            self.attribute,
            Attribute::Src
                | Attribute::Dst
                | Attribute::ReplySrc
                | Attribute::ReplyDst
                | Attribute::NatSrc
                | Attribute::NatDst
        )
    }

    /// Appends the flow's value: 0 where it has none, else 1 and the value.
    fn encode(&self, record: &Record<'_>, key: &mut Vec<u8>) {
        let flow = &record.flow;
        let at = key.len();
        key.push(1);
        let told = match self.attribute {
            Attribute::Family => put(key, [flow.family as u8]),
            Attribute::Protocol => put(key, [flow.protocol.0]),
            Attribute::State => state::encode(flow).is_some_and(|state| put(key, state)),
            Attribute::Class => put(key, [Class::of(flow) as u8]),
            Attribute::Status => flow
                .status()
                .is_some_and(|status| put(key, (status & Status::WORDED).bits().to_be_bytes())),
            Attribute::Src => self.address(flow, flow.orig.src, key),
            Attribute::Dst => self.address(flow, flow.orig.dst, key),
            Attribute::ReplySrc => replied(flow) && self.address(flow, flow.reply.src, key),
            Attribute::ReplyDst => replied(flow) && self.address(flow, flow.reply.dst, key),
            Attribute::Sport => port(flow, flow.orig.src_port, key),
            Attribute::Dport => port(flow, flow.orig.dst_port, key),
            Attribute::ReplySport => replied(flow) && port(flow, flow.reply.src_port, key),
            Attribute::ReplyDport => replied(flow) && port(flow, flow.reply.dst_port, key),
            Attribute::IcmpType => is_icmp(flow) && put(key, [flow.orig.icmp_type()]),
            Attribute::IcmpCode => is_icmp(flow) && put(key, [flow.orig.icmp_code()]),
            Attribute::Nat => flow.status().is_some_and(|status| {
                let bits = status & (Status::SRC_NAT | Status::DST_NAT);
                put(key, bits.bits().to_be_bytes())
            }),
            Attribute::NatSrc => {
                flow.is_src_nat() == Some(true)
                    && replied(flow)
                    && self.address(flow, flow.reply.dst, key)
            }
            Attribute::NatDst => {
                flow.is_dst_nat() == Some(true)
                    && replied(flow)
                    && self.address(flow, flow.reply.src, key)
            }
            Attribute::Mark => {
                flow.present.contains(Present::MARK)
                    && put(key, (flow.mark & self.mask).to_be_bytes())
            }
            Attribute::Zone => {
                flow.zone_orig == flow.zone_reply && put(key, flow.zone_orig.to_be_bytes())
            }
            Attribute::OrigZone => put(key, flow.zone_orig.to_be_bytes()),
            Attribute::ReplyZone => put(key, flow.zone_reply.to_be_bytes()),
            Attribute::Label => record
                .extra
                .labels
                .is_some_and(|labels| put(key, labels.to_be_bytes())),
            Attribute::Helper => record.extra.helper.is_some_and(|name| text(name, key)),
        };
        if !told {
            key.truncate(at);
            key.push(0);
        }
    }

    fn address(&self, flow: &Flow, address: [u8; 16], key: &mut Vec<u8>) -> bool {
        let bits = u128::from_be_bytes(address);
        match flow.family {
            Family::Ipv4 => {
                let [a, b, c, d, ..] = cut(bits, self.prefix.0).to_be_bytes();
                put(key, [Family::Ipv4 as u8, a, b, c, d])
            }
            Family::Ipv6 => {
                key.push(Family::Ipv6 as u8);
                put(key, cut(bits, self.prefix.1).to_be_bytes())
            }
        }
    }

    /// Reads what [`encode`](Self::encode) appended.
    fn decode(&self, key: &mut &[u8]) -> Cell {
        if take::<1>(key) == [0] {
            return Cell::Absent;
        }
        match self.attribute {
            Attribute::Family => {
                let [number] = take(key);
                let name = Family::from_number(number).map_or("?", Family::name);
                Cell::Text(name.to_owned())
            }
            Attribute::Protocol => Cell::Text(Protocol(take::<1>(key)[0]).to_string()),
            Attribute::State => Cell::Text(state::decode(take(key))),
            Attribute::Helper => {
                let [length] = take(key);
                let (text, rest) = key.split_at(usize::from(length).min(key.len()));
                *key = rest;
                Cell::Text(String::from_utf8_lossy(text).into_owned())
            }
            Attribute::Class => {
                let [number] = take(key);
                let class = Class::ALL.into_iter().find(|one| *one as u8 == number);
                Cell::Text(class.unwrap_or(Class::Other).name().to_owned())
            }
            Attribute::Status => Cell::Text(words(Status::from_bits_retain(u32::from_be_bytes(
                take(key),
            )))),
            Attribute::Nat => {
                let bits = Status::from_bits_retain(u32::from_be_bytes(take(key)));
                let name = match (
                    bits.contains(Status::SRC_NAT),
                    bits.contains(Status::DST_NAT),
                ) {
                    (false, false) => "none",
                    (true, false) => "src",
                    (false, true) => "dst",
                    (true, true) => "src+dst",
                };
                Cell::Text(name.to_owned())
            }
            Attribute::Src
            | Attribute::Dst
            | Attribute::ReplySrc
            | Attribute::ReplyDst
            | Attribute::NatSrc
            | Attribute::NatDst => Cell::Text(self.shown_address(key)),
            Attribute::Sport
            | Attribute::Dport
            | Attribute::ReplySport
            | Attribute::ReplyDport
            | Attribute::Zone
            | Attribute::OrigZone
            | Attribute::ReplyZone => Cell::Number(u16::from_be_bytes(take(key)).into()),
            Attribute::IcmpType | Attribute::IcmpCode => Cell::Number(take::<1>(key)[0].into()),
            Attribute::Mark => Cell::Number(u32::from_be_bytes(take(key))),
            Attribute::Label => {
                let labels = u128::from_be_bytes(take(key));
                let numbers = (0..u128::BITS).filter(|number| labels & (1 << number) != 0);
                let numbers: Vec<_> = numbers.map(|number| number.to_string()).collect();
                Cell::Text(if numbers.is_empty() {
                    "none".to_owned()
                } else {
                    numbers.join("+")
                })
            }
        }
    }

    /// The value as a match table has it, where that means this value and no other.
    fn term(&self, value: &Cell) -> Option<String> {
        let text = match value {
            Cell::Absent => return None,
            Cell::Number(mark) if self.attribute == Attribute::Mark => {
                format!("{mark}/{:#x}", self.mask)
            }
            Cell::Number(number) => number.to_string(),
            Cell::Text(text) => text.clone(),
        };
        let is_exact = match self.attribute {
            Attribute::Class | Attribute::Status | Attribute::Label => false,
            // `src` also takes what is translated in both directions.
            Attribute::Nat => text == "none",
            Attribute::State | Attribute::Helper => text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)),
            _ => true,
        };
        is_exact.then_some(text)
    }

    fn shown_address(&self, key: &mut &[u8]) -> String {
        let (address, prefix, whole): (IpAddr, u8, u8) = if take::<1>(key) == [Family::Ipv4 as u8] {
            (Ipv4Addr::from(take::<4>(key)).into(), self.prefix.0, 32)
        } else {
            (Ipv6Addr::from(take::<16>(key)).into(), self.prefix.1, 128)
        };
        if prefix == whole {
            address.to_string()
        } else {
            format!("{address}/{prefix}")
        }
    }
}

impl Column {
    /// Appends that there is no value where a group of flows leaves it out.
    fn encode_told(&self, record: &Record<'_>, untold: Untold, key: &mut Vec<u8>) {
        let field = match self.attribute {
            Attribute::Src => Untold::SRC,
            Attribute::Dst => Untold::DST,
            Attribute::Dport => Untold::DPORT,
            _ => Untold::empty(),
        };
        if untold.intersects(field) {
            key.push(0);
        } else {
            self.encode(record, key);
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if self.is_address() && self.prefix != WHOLE {
            write!(f, "/{}", self.prefix.0)?;
            if self.prefix.1 != PREFIX6 {
                write!(f, "/{}", self.prefix.1)?;
            }
        }
        if self.mask != u32::MAX {
            write!(f, "/{:#x}", self.mask)?;
        }
        Ok(())
    }
}

impl By {
    /// The key of a flow's group, in place of what `key` held. Keys of one grouping are equal where
    /// all its fields are, and sort as their fields do. Allocates nothing once `key` has grown.
    pub fn encode(&self, record: &Record<'_>, key: &mut Vec<u8>) {
        key.clear();
        for column in &self.columns {
            column.encode(record, key);
        }
    }

    /// [`encode`](Self::encode) of flows that do not tell all that they have.
    pub fn encode_told(&self, record: &Record<'_>, untold: Untold, key: &mut Vec<u8>) {
        key.clear();
        for column in &self.columns {
            column.encode_told(record, untold, key);
        }
    }

    /// What a key says, field by field.
    #[must_use]
    pub fn decode(&self, mut key: &[u8]) -> Vec<Cell> {
        self.columns
            .iter()
            .map(|column| column.decode(&mut key))
            .collect()
    }

    /// A match table that takes the flows of a group and no others; `None` where none says it
    /// exactly, since its flows lack a field, or the field is matched by parts of it alone.
    #[must_use]
    pub fn table(&self, mut key: &[u8]) -> Option<String> {
        let mut tests = Vec::new();
        for column in &self.columns {
            let value = column.decode(&mut key);
            tests.push(format!("{} = \"{}\"", column.name, column.term(&value)?));
        }
        Some(tests.join(", "))
    }

    /// The names of its fields, without what they are cut to.
    pub fn fields(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.columns.iter().map(|column| column.name)
    }

    /// Its fields as they are written, for the head of a table.
    pub fn heads(&self) -> impl Iterator<Item = String> + '_ {
        self.columns.iter().map(ToString::to_string)
    }

    /// Its fields, those that are addresses with the prefix lengths of IPv4 and IPv6 to which they
    /// are cut.
    pub fn prefixes(&self) -> impl Iterator<Item = (&'static str, Option<(u8, u8)>)> + '_ {
        let prefix = |column: &Column| column.is_address().then_some(column.prefix);
        (self.columns.iter()).map(move |column| (column.name, prefix(column)))
    }

    /// The same fields, addresses cut to other prefix lengths.
    #[must_use]
    pub fn with_prefixes(&self, prefix: impl Fn(&'static str, (u8, u8)) -> (u8, u8)) -> Self {
        let mut by = self.clone();
        for column in by.columns.iter_mut().filter(|column| column.is_address()) {
            column.prefix = prefix(column.name, column.prefix);
        }
        by
    }
}

/// One field of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    /// The entries do not provide it, or the kernel did not tell.
    Absent,
    /// A port, mark, zone or type.
    Number(u32),
    /// Anything else.
    Text(String),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.pad("-"),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.pad(text),
        }
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_none(),
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl schemars::JsonSchema for Cell {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cell".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "integer", "null"],
            "description": "A field of a group: text, a number, or null where entries do not have it.",
        })
    }
}

fn prefixes(suffix: &str) -> Result<(u8, u8), ByError> {
    let wrong = || ByError::Prefix(format!("/{suffix}"));
    let number = |text: &str, most: u8| -> Result<u8, ByError> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let length = text.parse().ok().filter(|length| digits && *length <= most);
        length.ok_or_else(wrong)
    };
    match suffix.split_once('/') {
        Some((v4, v6)) => Ok((number(v4, 32)?, number(v6, 128)?)),
        None => Ok((number(suffix, 32)?, PREFIX6)),
    }
}

fn mask(suffix: &str) -> Result<u32, ByError> {
    let parsed = match suffix.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => suffix.parse(),
    };
    parsed.map_err(|_| ByError::Mask(format!("/{suffix}")))
}

fn words(status: Status) -> String {
    let words: Vec<_> = STATUS_WORDS
        .iter()
        .filter(|(word, _)| word.holds(status))
        .map(|(_, name)| *name)
        .collect();
    words.join("+")
}

fn put<const N: usize>(key: &mut Vec<u8>, bytes: [u8; N]) -> bool {
    key.extend_from_slice(&bytes);
    true
}

/// Text of at most 255 bytes; names of helpers are far shorter.
fn text(text: &str, key: &mut Vec<u8>) -> bool {
    let bytes = &text.as_bytes()[..text.len().min(255)];
    key.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    key.extend_from_slice(bytes);
    true
}

fn port(flow: &Flow, port: u16, key: &mut Vec<u8>) -> bool {
    flow.protocol.has_ports() && put(key, port.to_be_bytes())
}

fn replied(flow: &Flow) -> bool {
    flow.present.contains(Present::REPLY)
}

fn is_icmp(flow: &Flow) -> bool {
    matches!(flow.protocol, Protocol::ICMP | Protocol::ICMPV6)
}

/// The first bytes of a key that this module made; zeros past its end.
fn take<const N: usize>(key: &mut &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    let (first, rest) = key.split_at(N.min(key.len()));
    bytes[..first.len()].copy_from_slice(first);
    *key = rest;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::protocol::tcp;
    use crate::flow::{Extra, Tuple};
    use crate::matcher::{Compiled, Context, Grade, Truth};
    use crate::observe::Header;
    use crate::policy::filter::filter;

    fn record(src: &str) -> Record<'static> {
        let src: IpAddr = src.parse().unwrap();
        let (family, dst) = match src {
            IpAddr::V4(_) => (Family::Ipv4, "203.0.113.9"),
            IpAddr::V6(_) => (Family::Ipv6, "2001:db8::9"),
        };
        let mut flow = Flow::new(
            family,
            Protocol::TCP,
            Tuple::new(src, dst.parse().unwrap(), 40_000, 443),
        );
        flow.present = Present::STATUS | Present::STATE | Present::REPLY | Present::MARK;
        flow.status = Status::SEEN_REPLY | Status::ASSURED | Status::SRC_NAT;
        flow.state = tcp::ESTABLISHED;
        flow.mark = 0x1234;
        Record {
            flow,
            extra: Extra {
                helper: Some("ftp"),
                labels: Some(0b101),
                ..Extra::default()
            },
            message: &[],
        }
    }

    fn cells(by: &str, record: &Record<'_>) -> String {
        let by: By = by.parse().unwrap();
        let mut key = b"before".to_vec();
        by.encode(record, &mut key);
        let cells: Vec<_> = by.decode(&key).iter().map(ToString::to_string).collect();
        cells.join(" ")
    }

    #[test]
    fn every_field_is_shown_as_people_write_it() {
        let v4 = record("10.1.2.3");
        let all = names().collect::<Vec<_>>();
        let shown: Vec<_> = all
            .iter()
            .map(|name| format!("{name}={}", cells(name, &v4)))
            .collect();
        assert_eq!(
            shown.join(" "),
            "family=ipv4 protocol=tcp state=ESTABLISHED class=assured \
             status=assured+seen-reply+src-nat src=10.1.2.3 dst=203.0.113.9 reply-src=203.0.113.9 \
             reply-dst=10.1.2.3 sport=40000 dport=443 reply-sport=443 reply-dport=40000 icmp-type=- \
             icmp-code=- nat=src nat-src=10.1.2.3 nat-dst=- mark=4660 zone=0 orig-zone=0 \
             reply-zone=0 label=0+2 helper=ftp"
        );
    }

    /// What a group's match table says of a flow.
    fn takes(by: &str, of: &Record<'_>, flow: &Record<'_>) -> Option<Truth> {
        let by: By = by.parse().unwrap();
        let mut key = Vec::new();
        by.encode(of, &mut key);
        let filter = filter(&[], &[by.table(&key)?], &[]);
        assert_eq!(filter.diagnostics, [], "{by}");
        let header = Header::default();
        let context = Context::new(&header, &[], &[]);
        let compiled = Compiled::new(&filter.predicate, &context, false);
        Some(compiled.eval(&flow.flow, &flow.extra, Grade::Presumed))
    }

    #[test]
    fn a_groups_table_takes_its_flows_and_no_others() {
        let one = record("10.1.2.3");
        let mut other = record("2001:db8::3");
        other.flow.protocol = Protocol::SCTP;
        other.flow.state = 5;
        other.flow.status = Status::SEEN_REPLY | Status::SRC_NAT | Status::DST_NAT;
        other.flow.orig.src_port = 1;
        other.flow.orig.dst_port = 2;
        other.flow.reply.src_port = 3;
        other.flow.reply.dst_port = 4;
        (other.flow.zone_orig, other.flow.zone_reply) = (7, 7);
        other.flow.mark = 0x99;
        other.extra.helper = Some("sip");
        let mut inexact = Vec::new();
        for name in names() {
            match takes(name, &one, &one) {
                None => inexact.push(name),
                Some(own) => {
                    assert_eq!(own, Truth::True, "{name}");
                    assert_eq!(takes(name, &one, &other), Some(Truth::False), "{name}");
                }
            }
        }
        assert_eq!(
            inexact,
            [
                "class",
                "status",
                "icmp-type",
                "icmp-code",
                "nat",
                "nat-dst",
                "label"
            ]
        );
        let near = record("10.1.2.77");
        for by in ["src/24,dport,state", "mark/0xf0,src/24,protocol"] {
            assert_eq!(takes(by, &one, &near), Some(Truth::True), "{by}");
            assert_eq!(takes(by, &one, &other), Some(Truth::False), "{by}");
        }
        assert_eq!(takes("src", &one, &near), Some(Truth::False));
    }

    #[test]
    fn addresses_and_marks_are_cut_as_written() {
        for (by, v4, v6) in [
            ("src", "10.1.2.3", "2001:db8:1:2::3"),
            ("src/24", "10.1.2.0/24", "2001:db8:1:2::/64"),
            ("src/16/48", "10.1.0.0/16", "2001:db8:1::/48"),
            ("src/0", "0.0.0.0/0", "2001:db8:1:2::/64"),
            ("mark/0xff", "52", "52"),
            ("dport,src/8", "443 10.0.0.0/8", "443 2001:db8:1:2::/64"),
        ] {
            assert_eq!(cells(by, &record("10.1.2.3")), v4, "{by}");
            assert_eq!(cells(by, &record("2001:db8:1:2::3")), v6, "{by}");
            assert_eq!(by.parse::<By>().unwrap().to_string(), by);
        }
    }

    #[test]
    fn what_an_entry_does_not_provide_is_a_group_of_its_own() {
        let mut icmp = record("10.1.2.3");
        icmp.flow.protocol = Protocol::ICMP;
        icmp.flow.orig.dst_port = 0x0803;
        icmp.flow.present = Present::empty();
        icmp.extra = Extra::default();
        let by = "dport,state,status,nat,mark,reply-src,helper,label";
        assert_eq!(cells(by, &icmp), "- - - - - - - -");
        assert_eq!(cells("icmp-type,icmp-code", &icmp), "8 3");
    }

    #[test]
    fn a_state_without_a_name_goes_by_its_number() {
        let mut odd = record("10.1.2.3");
        for (state, name) in [(77, "77"), (200, "200"), (tcp::CLOSE, "CLOSE")] {
            odd.flow.state = state;
            assert_eq!(cells("state", &odd), name);
        }
    }

    #[test]
    fn what_cannot_be_grouped_by_says_why() {
        let all = list();
        for (by, error) in [
            (
                "srcc",
                format!("`srcc` is no field to group by (did you mean `src`?); there are {all}"),
            ),
            ("bytes", format!("`bytes` is no field to group by; there are {all}")),
            (
                "src,,dst",
                "a field is missing; it is written like `src/24,dport,state`".to_owned(),
            ),
            ("src/8,src/24", "`src` stands there twice".to_owned()),
            (
                "dport/24",
                "`dport` takes nothing behind `/`; addresses take prefix lengths, `mark` a mask"
                    .to_owned(),
            ),
            (
                "src/33",
                "`/33` is no prefix length: `/24` cuts IPv4 at 24 and IPv6 at 64, `/24/56` says both"
                    .to_owned(),
            ),
            (
                "mark/x",
                "`/x` is no mask: it is written like `mark/0xff`".to_owned(),
            ),
        ] {
            assert_eq!(by.parse::<By>().unwrap_err().to_string(), error);
        }
        let many = "family,protocol,state,class,src,dst,sport,dport,nat";
        assert_eq!(many.parse::<By>(), Err(ByError::TooMany));
    }
}
