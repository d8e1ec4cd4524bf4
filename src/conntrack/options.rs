//! The tool's options, and how words become options: GNU's `getopt_long`, with its abbreviations,
//! clusters and words out of place.

use super::line::UsageError;
use crate::flow::Protocol;

/// What a run is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `-L`
    List,
    /// `-G`
    Get,
    /// `-D`
    Delete,
    /// `-I`
    Create,
    /// `-A`
    Add,
    /// `-U`
    Update,
    /// `-E`
    Event,
    /// `-F`
    Flush,
    /// `-C`
    Count,
    /// `-S`
    Stats,
    /// `-V`
    Version,
    /// `-h`, or nothing at all
    Help,
}

bitflags::bitflags! {
    /// Options, a bit each.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Given: u64 {
        /// `-s`
        const SRC = 1 << 0;
        /// `-d`
        const DST = 1 << 1;
        /// `-r`
        const REPLY_SRC = 1 << 2;
        /// `-q`
        const REPLY_DST = 1 << 3;
        /// `-p`
        const PROTOCOL = 1 << 4;
        /// `-t`
        const TIMEOUT = 1 << 5;
        /// `-u`
        const STATUS = 1 << 6;
        /// `-z`
        const ZERO = 1 << 7;
        /// `-e`
        const EVENT_MASK = 1 << 8;
        /// `--tuple-src`
        const TUPLE_SRC = 1 << 9;
        /// `--tuple-dst`
        const TUPLE_DST = 1 << 10;
        /// `--mask-src`, or a prefix behind `-s`
        const MASK_SRC = 1 << 11;
        /// `--mask-dst`, or a prefix behind `-d`
        const MASK_DST = 1 << 12;
        /// `-m`
        const MARK = 1 << 13;
        /// `-i`
        const ID = 1 << 14;
        /// `-f`
        const FAMILY = 1 << 15;
        /// `-n`
        const SRC_NAT = 1 << 16;
        /// `-g`
        const DST_NAT = 1 << 17;
        /// `-o`
        const OUTPUT = 1 << 18;
        /// `-c`
        const SECMARK = 1 << 19;
        /// `-b`
        const BUFFER_SIZE = 1 << 20;
        /// `-j`
        const ANY_NAT = 1 << 21;
        /// `-w`
        const ZONE = 1 << 22;
        /// `-l`
        const LABEL = 1 << 23;
        /// `--label-add`
        const LABEL_ADD = 1 << 24;
        /// `--label-del`
        const LABEL_DEL = 1 << 25;
        /// `--orig-zone`
        const ORIG_ZONE = 1 << 26;
        /// `--reply-zone`
        const REPLY_ZONE = 1 << 27;
        /// `--labelmap`
        const LABELMAP = 1 << 28;
        /// `--sport`, `--srckey`
        const SPORT = 1 << 29;
        /// `--dport`, `--dstkey`
        const DPORT = 1 << 30;
        /// `--reply-port-src`, `--reply-key-src`
        const REPLY_SPORT = 1 << 31;
        /// `--reply-port-dst`, `--reply-key-dst`
        const REPLY_DPORT = 1 << 32;
        /// `--mask-port-src`, `--mask-key-src`
        const MASK_SPORT = 1 << 33;
        /// `--mask-port-dst`, `--mask-key-dst`
        const MASK_DPORT = 1 << 34;
        /// `--tuple-port-src`, `--tuple-key-src`
        const TUPLE_SPORT = 1 << 35;
        /// `--tuple-port-dst`, `--tuple-key-dst`
        const TUPLE_DPORT = 1 << 36;
        /// `--state`
        const STATE = 1 << 37;
        /// `--orig-vtag`
        const ORIG_VTAG = 1 << 38;
        /// `--reply-vtag`
        const REPLY_VTAG = 1 << 39;
        /// `--role`
        const ROLE = 1 << 40;
        /// `--icmp-type`, `--icmpv6-type`
        const ICMP_TYPE = 1 << 41;
        /// `--icmp-code`, `--icmpv6-code`
        const ICMP_CODE = 1 << 42;
        /// `--icmp-id`, `--icmpv6-id`
        const ICMP_ID = 1 << 43;
    }
}

/// What an option means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The run's command.
    Verb(Verb),
    /// An option with a bit.
    Option(Given),
    /// `-a`: taken with a warning.
    NatRange,
    /// `--like-conntrack`: ours.
    LikeConntrack,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    None,
    Required,
    Optional,
}

struct Long {
    name: &'static str,
    value: Value,
    meaning: Meaning,
}

const fn verb(name: &'static str, verb: Verb) -> Long {
    Long {
        name,
        value: Value::Optional,
        meaning: Meaning::Verb(verb),
    }
}

const fn valued(name: &'static str, given: Given) -> Long {
    Long {
        name,
        value: Value::Required,
        meaning: Meaning::Option(given),
    }
}

const fn optional(name: &'static str, given: Given) -> Long {
    Long {
        name,
        value: Value::Optional,
        meaning: Meaning::Option(given),
    }
}

const GENERAL: [Long; 44] = [
    verb("dump", Verb::List),
    verb("create", Verb::Create),
    verb("add", Verb::Add),
    verb("delete", Verb::Delete),
    verb("update", Verb::Update),
    verb("get", Verb::Get),
    verb("flush", Verb::Flush),
    verb("event", Verb::Event),
    verb("counter", Verb::Count),
    verb("stats", Verb::Stats),
    verb("version", Verb::Version),
    verb("help", Verb::Help),
    valued("orig-src", Given::SRC),
    valued("src", Given::SRC),
    valued("orig-dst", Given::DST),
    valued("dst", Given::DST),
    valued("reply-src", Given::REPLY_SRC),
    valued("reply-dst", Given::REPLY_DST),
    valued("protonum", Given::PROTOCOL),
    valued("timeout", Given::TIMEOUT),
    valued("status", Given::STATUS),
    Long {
        name: "zero",
        value: Value::None,
        meaning: Meaning::Option(Given::ZERO),
    },
    valued("event-mask", Given::EVENT_MASK),
    valued("tuple-src", Given::TUPLE_SRC),
    valued("tuple-dst", Given::TUPLE_DST),
    valued("mask-src", Given::MASK_SRC),
    valued("mask-dst", Given::MASK_DST),
    Long {
        name: "nat-range",
        value: Value::Required,
        meaning: Meaning::NatRange,
    },
    valued("mark", Given::MARK),
    valued("secmark", Given::SECMARK),
    valued("id", Given::ID),
    valued("family", Given::FAMILY),
    optional("src-nat", Given::SRC_NAT),
    optional("dst-nat", Given::DST_NAT),
    valued("output", Given::OUTPUT),
    valued("buffer-size", Given::BUFFER_SIZE),
    optional("any-nat", Given::ANY_NAT),
    valued("zone", Given::ZONE),
    valued("label", Given::LABEL),
    valued("labelmap", Given::LABELMAP),
    valued("label-add", Given::LABEL_ADD),
    optional("label-del", Given::LABEL_DEL),
    valued("orig-zone", Given::ORIG_ZONE),
    valued("reply-zone", Given::REPLY_ZONE),
];

/// Options that a protocol adds. The tool knows them behind its `-p` only.
const OF_PORTS: [Long; 10] = [
    valued("orig-port-src", Given::SPORT),
    valued("sport", Given::SPORT),
    valued("orig-port-dst", Given::DPORT),
    valued("dport", Given::DPORT),
    valued("reply-port-src", Given::REPLY_SPORT),
    valued("reply-port-dst", Given::REPLY_DPORT),
    valued("mask-port-src", Given::MASK_SPORT),
    valued("mask-port-dst", Given::MASK_DPORT),
    valued("tuple-port-src", Given::TUPLE_SPORT),
    valued("tuple-port-dst", Given::TUPLE_DPORT),
];
const OF_STATES: [Long; 1] = [valued("state", Given::STATE)];
const OF_SCTP: [Long; 2] = [
    valued("orig-vtag", Given::ORIG_VTAG),
    valued("reply-vtag", Given::REPLY_VTAG),
];
const OF_DCCP: [Long; 1] = [valued("role", Given::ROLE)];
const OF_ICMP: [Long; 3] = [
    valued("icmp-type", Given::ICMP_TYPE),
    valued("icmp-code", Given::ICMP_CODE),
    valued("icmp-id", Given::ICMP_ID),
];
const OF_ICMPV6: [Long; 3] = [
    valued("icmpv6-type", Given::ICMP_TYPE),
    valued("icmpv6-code", Given::ICMP_CODE),
    valued("icmpv6-id", Given::ICMP_ID),
];
const OF_GRE: [Long; 10] = [
    valued("orig-key-src", Given::SPORT),
    valued("srckey", Given::SPORT),
    valued("orig-key-dst", Given::DPORT),
    valued("dstkey", Given::DPORT),
    valued("reply-key-src", Given::REPLY_SPORT),
    valued("reply-key-dst", Given::REPLY_DPORT),
    valued("mask-key-src", Given::MASK_SPORT),
    valued("mask-key-dst", Given::MASK_DPORT),
    valued("tuple-key-src", Given::TUPLE_SPORT),
    valued("tuple-key-dst", Given::TUPLE_DPORT),
];

const ALL_OF_PROTOCOLS: [&[Long]; 7] = [
    &OF_PORTS, &OF_STATES, &OF_SCTP, &OF_DCCP, &OF_ICMP, &OF_ICMPV6, &OF_GRE,
];

/// What a protocol adds.
fn of_protocol(protocol: Protocol) -> &'static [&'static [Long]] {
    match protocol {
        Protocol::TCP => &[&OF_PORTS, &OF_STATES],
        Protocol::UDP | Protocol::UDPLITE => &[&OF_PORTS],
        Protocol::SCTP => &[&OF_PORTS, &OF_STATES, &OF_SCTP],
        Protocol::DCCP => &[&OF_PORTS, &OF_STATES, &OF_DCCP],
        Protocol::ICMP => &[&OF_ICMP],
        Protocol::ICMPV6 => &[&OF_ICMPV6],
        Protocol::GRE => &[&OF_GRE],
        _ => &[],
    }
}

/// Options that a protocol has at all, whatever the command.
#[must_use]
pub fn known_to(protocol: Protocol) -> Given {
    of_protocol(protocol)
        .iter()
        .copied()
        .flatten()
        .filter_map(|long| match long.meaning {
            Meaning::Option(given) => Some(given),
            _ => None,
        })
        .collect()
}

/// The name that messages call an option by, without its dashes.
#[must_use]
pub fn name(given: Given) -> &'static str {
    // The second of two names is the one that people type.
    let named = |long: &&Long| long.meaning == Meaning::Option(given);
    let mut all = GENERAL
        .iter()
        .chain(ALL_OF_PROTOCOLS.iter().copied().flatten());
    let first = all.find(named).map_or("", |long| long.name);
    match first {
        "orig-src" => "src",
        "orig-dst" => "dst",
        "orig-port-src" => "sport",
        "orig-port-dst" => "dport",
        other => other,
    }
}

fn short(letter: char) -> Option<(Meaning, Value)> {
    let option = |given| Some((Meaning::Option(given), Value::Required));
    let maybe = |given| Some((Meaning::Option(given), Value::Optional));
    let command = |verb| Some((Meaning::Verb(verb), Value::None));
    match letter {
        'L' => command(Verb::List),
        'I' => command(Verb::Create),
        'A' => command(Verb::Add),
        'D' => command(Verb::Delete),
        'U' => command(Verb::Update),
        'G' => command(Verb::Get),
        'F' => command(Verb::Flush),
        'E' => command(Verb::Event),
        'C' => Some((Meaning::Verb(Verb::Count), Value::Optional)),
        'S' => command(Verb::Stats),
        'V' => command(Verb::Version),
        'h' => command(Verb::Help),
        's' => option(Given::SRC),
        'd' => option(Given::DST),
        'r' => option(Given::REPLY_SRC),
        'q' => option(Given::REPLY_DST),
        'p' => option(Given::PROTOCOL),
        't' => option(Given::TIMEOUT),
        'u' => option(Given::STATUS),
        'z' => Some((Meaning::Option(Given::ZERO), Value::None)),
        'e' => option(Given::EVENT_MASK),
        '[' => option(Given::TUPLE_SRC),
        ']' => option(Given::TUPLE_DST),
        '{' => option(Given::MASK_SRC),
        '}' => option(Given::MASK_DST),
        'a' => Some((Meaning::NatRange, Value::Required)),
        'm' => option(Given::MARK),
        'c' => option(Given::SECMARK),
        'i' => option(Given::ID),
        'f' => option(Given::FAMILY),
        'n' => maybe(Given::SRC_NAT),
        'g' => maybe(Given::DST_NAT),
        'j' => maybe(Given::ANY_NAT),
        'o' => option(Given::OUTPUT),
        'b' => option(Given::BUFFER_SIZE),
        'w' => option(Given::ZONE),
        'l' => option(Given::LABEL),
        'M' => option(Given::LABELMAP),
        '<' => option(Given::LABEL_ADD),
        '>' => maybe(Given::LABEL_DEL),
        '(' => option(Given::ORIG_ZONE),
        ')' => option(Given::REPLY_ZONE),
        _ => None,
    }
}

/// An option as it was found on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// What it means.
    pub meaning: Meaning,
    /// Its value, where it has one.
    pub value: Option<&'a str>,
    /// The value was written into the same word (`-n1.2.3.4`, `--src-nat=1.2.3.4`).
    pub attached: bool,
}

/// Walks over the words of a line.
#[derive(Debug)]
pub struct Scanner<'a> {
    words: &'a [String],
    at: usize,
    /// Rest of a cluster of short options.
    cluster: &'a str,
    /// Protocols named so far: what they add is known from there on.
    protocols: Vec<Protocol>,
    /// Words that belong to no option.
    stray: Vec<&'a str>,
}

impl<'a> Scanner<'a> {
    /// Starts at the first word.
    #[must_use]
    pub fn new(words: &'a [String]) -> Self {
        Self {
            words,
            at: 0,
            cluster: "",
            protocols: Vec::new(),
            stray: Vec::new(),
        }
    }

    /// A protocol adds its options.
    pub fn learn(&mut self, protocol: Protocol) {
        self.protocols.push(protocol);
    }

    /// Words that belong to no option, so far.
    #[must_use]
    pub fn stray(&self) -> &[&'a str] {
        &self.stray
    }

    /// The next word, if it can be the value of an option that needs none.
    pub fn optional_word(&mut self) -> Option<&'a str> {
        if !self.cluster.is_empty() {
            return None;
        }
        let word = self.words.get(self.at)?;
        if word.starts_with(['-', '!']) {
            return None;
        }
        self.at += 1;
        Some(word)
    }

    /// The next option; `None` at the end.
    ///
    /// # Errors
    /// Where a word is no option, or its value is missing.
    pub fn next_option(&mut self) -> Result<Option<Found<'a>>, UsageError> {
        if !self.cluster.is_empty() {
            return self.next_of_cluster().map(Some);
        }
        while let Some(word) = self.words.get(self.at) {
            self.at += 1;
            if word == "--" {
                self.stray
                    .extend(self.words[self.at..].iter().map(String::as_str));
                self.at = self.words.len();
                return Ok(None);
            }
            if let Some(long) = word.strip_prefix("--") {
                return self.long(long).map(Some);
            }
            match word.strip_prefix('-') {
                Some(cluster) if !cluster.is_empty() => {
                    self.cluster = cluster;
                    return self.next_of_cluster().map(Some);
                }
                _ => self.stray.push(word),
            }
        }
        Ok(None)
    }

    fn next_of_cluster(&mut self) -> Result<Found<'a>, UsageError> {
        let mut letters = self.cluster.chars();
        let letter = letters.next().unwrap_or_default();
        let rest = letters.as_str();
        self.cluster = "";
        let Some((meaning, value)) = short(letter) else {
            return Err(UsageError::unknown_option(&format!("-{letter}")));
        };
        let attached = !rest.is_empty() && value != Value::None;
        let value = match value {
            Value::None => {
                self.cluster = rest;
                None
            }
            _ if attached => Some(rest),
            Value::Optional => None,
            Value::Required => Some(self.required(&format!("-{letter}"))?),
        };
        Ok(Found {
            meaning,
            value,
            attached,
        })
    }

    fn required(&mut self, option: &str) -> Result<&'a str, UsageError> {
        let word = self.words.get(self.at);
        self.at += 1;
        word.map(String::as_str)
            .ok_or_else(|| UsageError::missing_value(option))
    }

    fn long(&mut self, word: &'a str) -> Result<Found<'a>, UsageError> {
        let (name, attached) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let unknown = || UsageError::unknown_option(&format!("--{word}"));
        if name == "like-conntrack" && attached.is_none() {
            return Ok(Found {
                meaning: Meaning::LikeConntrack,
                value: None,
                attached: false,
            });
        }
        let learnt = self.protocols.iter().flat_map(|p| of_protocol(*p)).copied();
        let known = GENERAL.iter().chain(learnt.flatten());
        let long = match resolve(known, name) {
            Resolved::One(long) => long,
            Resolved::Ambiguous => return Err(unknown()),
            // Without `-p` the tool knows none of these.
            Resolved::None => match resolve(ALL_OF_PROTOCOLS.iter().copied().flatten(), name) {
                Resolved::One(long) => long,
                _ => return Err(unknown()),
            },
        };
        let value = match (long.value, attached) {
            (Value::None, Some(_)) => return Err(unknown()),
            (Value::None | Value::Optional, None) => None,
            (_, Some(value)) => Some(value),
            (Value::Required, None) => Some(self.required(&format!("--{name}"))?),
        };
        Ok(Found {
            meaning: long.meaning,
            value,
            attached: attached.is_some(),
        })
    }
}

enum Resolved {
    One(&'static Long),
    Ambiguous,
    None,
}

/// The option that a name or the start of one means.
fn resolve(all: impl Iterator<Item = &'static Long>, name: &str) -> Resolved {
    let mut found: Option<&'static Long> = None;
    let mut ambiguous = false;
    for long in all.filter(|long| long.name.starts_with(name)) {
        if long.name == name {
            return Resolved::One(long);
        }
        match found {
            Some(other) if other.meaning != long.meaning => ambiguous = true,
            _ => found = Some(long),
        }
    }
    match found {
        Some(_) if ambiguous => Resolved::Ambiguous,
        Some(long) => Resolved::One(long),
        None => Resolved::None,
    }
}
