//! A command line of the tool, as what it asks for.
//!
//! Where a line is treacherous the values hold what the tool reads, and [`Line::traps`] says so.

use std::net::IpAddr;

use super::legal;
use super::number::{atoi, leading, whole};
use super::options::{Found, Given, Meaning, Scanner, Verb, known_to, name};
use super::states::States;
use super::trap::Trap;
use super::value::{
    STATUS, event, inet_aton, is_value, labels, low, number, output, port, prefix, protocol,
    split_port, starts,
};
use crate::flow::tuple::octets;
use crate::flow::{Family, Protocol, Status};

/// Why a line is refused before anything is done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UsageError {
    message: String,
    /// The exit code: 2, or 1 for the few values where the tool has it so.
    pub code: u8,
}

impl UsageError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 2,
        }
    }

    pub(super) fn unknown_option(option: &str) -> Self {
        Self::new(format!("unknown option `{option}'"))
    }

    pub(super) fn missing_value(option: &str) -> Self {
        Self::new(format!("option `{option}' requires an argument"))
    }

    pub(super) fn unexpected(value: &str, option: Given) -> Self {
        Self {
            message: format!("unexpected value '{value}' with --{} option", name(option)),
            code: 1,
        }
    }
}

/// Which table a command is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Table {
    /// Connection tracking.
    #[default]
    Conntrack,
    /// Expectations.
    Expect,
    /// Entries that are going, until their end has been told.
    Dying,
    /// Entries that are not in the table yet.
    Unconfirmed,
}

/// An address with the bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address; IPv4 in the first four bytes.
    pub address: [u8; 16],
    /// The bits that count; all of them unless a prefix or mask was given.
    pub mask: [u8; 16],
}

/// The end that a translation leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatEnd {
    /// Its address, where one was given.
    pub address: Option<IpAddr>,
    /// Its port, where one was given.
    pub port: Option<u16>,
}

/// Status bits asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusBits {
    /// Bits that are to be set.
    pub set: Status,
    /// Bits that are not (`UNREPLIED`, `!X`).
    pub unset: Status,
    /// `UNSET` was named.
    pub none: bool,
}

bitflags::bitflags! {
    /// Formats of `-o`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Output: u8 {
        /// `xml`
        const XML = 1 << 0;
        /// `extended`
        const EXTENDED = 1 << 1;
        /// `timestamp`
        const TIMESTAMP = 1 << 2;
        /// `id`
        const ID = 1 << 3;
        /// `ktimestamp`
        const KTIMESTAMP = 1 << 4;
        /// `labels`
        const LABELS = 1 << 5;
        /// `save`
        const SAVE = 1 << 6;
        /// `userspace`
        const USERSPACE = 1 << 7;
    }

    /// Events of `-e`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Events: u8 {
        /// `NEW`
        const NEW = 1;
        /// `UPDATES`
        const UPDATE = 2;
        /// `DESTROY`
        const DESTROY = 4;
    }
}

/// What a line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The command; nothing at all asks for help.
    pub verb: Option<Verb>,
    /// The table.
    pub table: Table,
    /// Which options were given.
    pub given: Given,
    /// The family of `-f` or of any address.
    pub family: Option<Family>,
    /// `-s`
    pub src: Option<Network>,
    /// `-d`
    pub dst: Option<Network>,
    /// `-r`
    pub reply_src: Option<[u8; 16]>,
    /// `-q`
    pub reply_dst: Option<[u8; 16]>,
    /// `--tuple-src`
    pub tuple_src: Option<[u8; 16]>,
    /// `--tuple-dst`
    pub tuple_dst: Option<[u8; 16]>,
    /// `--mask-src` by itself
    pub mask_src: Option<[u8; 16]>,
    /// `--mask-dst` by itself
    pub mask_dst: Option<[u8; 16]>,
    /// `-p`
    pub protocol: Option<Protocol>,
    /// Ports and keys.
    pub ports: Ports,
    /// ICMP's type, code and id.
    pub icmp: (Option<u8>, Option<u8>, Option<u16>),
    /// `--state`
    pub states: States,
    /// SCTP's verification tags as numbers in network order.
    pub vtags: (Option<u32>, Option<u32>),
    /// DCCP's role: 0 client, 1 server.
    pub role: Option<u8>,
    /// `-t`
    pub timeout: Option<u32>,
    /// `-u`
    pub status: StatusBits,
    /// `-m`: value and mask.
    pub mark: Option<(u32, u32)>,
    /// `-i`
    pub id: Option<u32>,
    /// `-w`
    pub zone: Option<u16>,
    /// `--orig-zone`
    pub orig_zone: Option<u16>,
    /// `--reply-zone`
    pub reply_zone: Option<u16>,
    /// `-n`
    pub src_nat: Option<NatEnd>,
    /// `-g`
    pub dst_nat: Option<NatEnd>,
    /// `-j`, or the word `nat` behind `-n`
    pub any_nat: Option<NatEnd>,
    /// `-l`
    pub labels: Vec<String>,
    /// `--label-add`
    pub label_add: Vec<String>,
    /// `--label-del`; empty with the option given: all.
    pub label_del: Vec<String>,
    /// `--labelmap`
    pub labelmap: Option<String>,
    /// `-e`
    pub events: Option<Events>,
    /// `-b`
    pub buffer_size: Option<usize>,
    /// `-o`
    pub output: Output,
    /// `--like-conntrack`
    pub like_conntrack: bool,
    /// What is treacherous about it.
    pub traps: Vec<Trap>,
    /// What is worth a warning on stderr.
    pub warnings: Vec<String>,
}

/// Ports, or keys of GRE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Original source.
    pub sport: Option<u16>,
    /// Original destination.
    pub dport: Option<u16>,
    /// Reply source.
    pub reply_sport: Option<u16>,
    /// Reply destination.
    pub reply_dport: Option<u16>,
    /// Mask of an expectation's source.
    pub mask_sport: Option<u16>,
    /// Mask of an expectation's destination.
    pub mask_dport: Option<u16>,
    /// Source of an expected flow.
    pub tuple_sport: Option<u16>,
    /// Destination of an expected flow.
    pub tuple_dport: Option<u16>,
}

impl Line {
    /// Reads a line, without the program's name.
    ///
    /// # Errors
    /// Where the tool refuses it too and nobody would want otherwise.
    pub fn parse(words: &[String]) -> Result<Self, UsageError> {
        let mut line = Self::default();
        let mut scanner = Scanner::new(words);
        let mut states: Vec<&str> = Vec::new();
        while let Some(found) = scanner.next_option()? {
            match found.meaning {
                Meaning::Verb(verb) => line.command(verb, found, &mut scanner)?,
                Meaning::LikeConntrack => line.like_conntrack = true,
                Meaning::NatRange => line
                    .warnings
                    .push("WARNING: ignoring -a, deprecated option.".to_owned()),
                Meaning::Option(Given::STATE) => {
                    line.given |= Given::STATE;
                    states = found.value.unwrap_or_default().split(',').collect();
                }
                Meaning::Option(option) => {
                    line.option(option, found, &mut scanner)?;
                    line.given |= option;
                }
            }
        }
        line.states = States::parse(&states, line.protocol)?;
        line.check(scanner.stray())?;
        Ok(line)
    }

    /// The command; none was given where nothing was asked for.
    #[must_use]
    pub fn verb(&self) -> Verb {
        self.verb.unwrap_or(Verb::Help)
    }

    fn command(
        &mut self,
        verb: Verb,
        found: Found<'_>,
        scanner: &mut Scanner<'_>,
    ) -> Result<(), UsageError> {
        // A value in the same word counts for nothing, which is no harm here.
        let word = if found.attached {
            None
        } else {
            scanner.optional_word()
        };
        let table = match word {
            None => Table::Conntrack,
            Some("") => return Err(UsageError::new("unknown type `'")),
            Some(word) if "expect".starts_with(word) => Table::Expect,
            Some(word) if "conntrack".starts_with(word) => Table::Conntrack,
            Some(word) if "dying".starts_with(word) => Table::Dying,
            Some(word) if "unconfirmed".starts_with(word) => Table::Unconfirmed,
            Some(word) => return Err(UsageError::new(format!("unknown type `{word}'"))),
        };
        if matches!(table, Table::Dying | Table::Unconfirmed) && verb != Verb::List {
            return Err(UsageError::new(
                "Can't do that command with tables `dying' and `unconfirmed'",
            ));
        }
        if table == Table::Expect && matches!(verb, Verb::Update | Verb::Add) {
            let name = if verb == Verb::Add { "add" } else { "update" };
            return Err(UsageError::new(format!(
                "Can't do --{name} on expectations"
            )));
        }
        if self.verb.is_some() {
            return Err(UsageError::new("Invalid commands combination"));
        }
        (self.verb, self.table) = (Some(verb), table);
        Ok(())
    }

    #[expect(clippy::too_many_lines, reason = "an arm an option")]
    fn option(
        &mut self,
        option: Given,
        found: Found<'_>,
        scanner: &mut Scanner<'_>,
    ) -> Result<(), UsageError> {
        let value = found.value.unwrap_or_default();
        match option {
            Given::SRC => self.src = Some(self.network(value, Given::MASK_SRC)?),
            Given::DST => self.dst = Some(self.network(value, Given::MASK_DST)?),
            Given::REPLY_SRC => self.reply_src = Some(self.address(option, value)?),
            Given::REPLY_DST => self.reply_dst = Some(self.address(option, value)?),
            Given::TUPLE_SRC => self.tuple_src = Some(self.address(option, value)?),
            Given::TUPLE_DST => self.tuple_dst = Some(self.address(option, value)?),
            Given::MASK_SRC => self.mask_src = Some(self.address(option, value)?),
            Given::MASK_DST => self.mask_dst = Some(self.address(option, value)?),
            Given::PROTOCOL => {
                let protocol = protocol(value)?;
                if self.protocol.is_some_and(|before| before != protocol) {
                    self.traps.push(Trap::Protocols);
                }
                self.protocol = Some(protocol);
                scanner.learn(protocol);
            }
            Given::TIMEOUT => {
                let number = self.plain(option, value, u32::MAX.into());
                self.timeout = Some(low(number));
            }
            Given::STATUS => self.status_bits(value)?,
            Given::EVENT_MASK => {
                for word in value.split(',') {
                    *self.events.get_or_insert(Events::empty()) |= event(word)?;
                }
            }
            Given::OUTPUT => {
                for word in value.split(',') {
                    self.output |= output(word)?;
                }
                if self.output.contains(Output::SAVE) && self.output != Output::SAVE {
                    return Err(UsageError {
                        message: "cannot combine save output with any other output type, use -o save only"
                            .to_owned(),
                        code: 1,
                    });
                }
            }
            Given::MARK => self.mark = Some(self.mark_and_mask(value)?),
            Given::ID => self.id = Some(low(number(option, value, u32::MAX.into())?)),
            Given::SECMARK => {
                number(option, value, u32::MAX.into())?;
                self.warnings
                    .push("the kernel tells no secmark of an entry: -c narrows nothing".to_owned());
            }
            Given::ZONE => self.zone = Some(port(number(option, value, u16::MAX.into())?)),
            Given::ORIG_ZONE => {
                self.orig_zone = Some(port(number(option, value, u16::MAX.into())?));
            }
            Given::REPLY_ZONE => {
                self.reply_zone = Some(port(number(option, value, u16::MAX.into())?));
            }
            Given::FAMILY => {
                let family = if value.starts_with("ipv4") {
                    Family::Ipv4
                } else if value.starts_with("ipv6") {
                    Family::Ipv6
                } else {
                    return Err(UsageError::new(format!("`{value}' unsupported protocol")));
                };
                self.set_family(family)?;
            }
            Given::SRC_NAT | Given::DST_NAT | Given::ANY_NAT => {
                let word = if found.attached {
                    self.attached(option, value);
                    None
                } else {
                    scanner.optional_word()
                };
                self.translation(option, word)?;
            }
            Given::LABEL => self.labels.extend(labels(value)),
            Given::LABEL_ADD => self.label_add.extend(labels(value)),
            Given::LABEL_DEL => {
                if found.attached {
                    self.attached(option, value);
                } else if let Some(word) = scanner.optional_word() {
                    self.label_del.extend(labels(word));
                }
            }
            Given::LABELMAP => {
                if self.labelmap.is_some() {
                    return Err(UsageError::new(
                        "option `--labelmap' can only be specified once",
                    ));
                }
                self.labelmap = Some(value.to_owned());
            }
            Given::BUFFER_SIZE => {
                let size = whole(value, u64::MAX).ok_or_else(|| {
                    UsageError::new(format!("`{value}' is no buffer size in bytes"))
                })?;
                self.buffer_size = Some(usize::try_from(size).unwrap_or(usize::MAX));
            }
            Given::SPORT => self.ports.sport = Some(self.port(option, value)),
            Given::DPORT => self.ports.dport = Some(self.port(option, value)),
            Given::REPLY_SPORT => self.ports.reply_sport = Some(self.port(option, value)),
            Given::REPLY_DPORT => self.ports.reply_dport = Some(self.port(option, value)),
            Given::MASK_SPORT => self.ports.mask_sport = Some(self.port(option, value)),
            Given::MASK_DPORT => self.ports.mask_dport = Some(self.port(option, value)),
            Given::TUPLE_SPORT => self.ports.tuple_sport = Some(self.port(option, value)),
            Given::TUPLE_DPORT => self.ports.tuple_dport = Some(self.port(option, value)),
            Given::ORIG_VTAG => {
                self.vtags.0 = Some(low(self.plain(option, value, u32::MAX.into())));
            }
            Given::REPLY_VTAG => {
                self.vtags.1 = Some(low(self.plain(option, value, u32::MAX.into())));
            }
            Given::ROLE => {
                let is = |name: &str| !value.is_empty() && starts(name, value);
                self.role = Some(match () {
                    () if is("client") => 0,
                    () if is("server") => 1,
                    () => return Err(UsageError::new(format!("Unknown DCCP role `{value}'"))),
                });
            }
            Given::ICMP_TYPE => self.icmp.0 = Some(self.byte(option, value)),
            Given::ICMP_CODE => self.icmp.1 = Some(self.byte(option, value)),
            Given::ICMP_ID => self.icmp.2 = Some(self.port(option, value)),
            _ => {}
        }
        Ok(())
    }

    /// A value that the tool passes over, since it stands in the option's own word.
    fn attached(&mut self, option: Given, value: &str) {
        self.traps.push(Trap::AttachedValue {
            option: name(option),
            value: value.to_owned(),
        });
    }

    fn set_family(&mut self, family: Family) -> Result<(), UsageError> {
        match self.family.replace(family) {
            Some(before) if before != family => Err(UsageError::new("mismatched address family")),
            _ => Ok(()),
        }
    }

    /// An address, which sets the family of the whole line.
    fn ip(&mut self, value: &str, shown: &str) -> Result<IpAddr, UsageError> {
        let address = if let Ok(address) = value.parse::<IpAddr>() {
            address
        } else if let Some(taken) = inet_aton(value) {
            self.traps.push(Trap::Address {
                value: value.to_owned(),
                taken,
            });
            taken.into()
        } else {
            return Err(UsageError::new(format!("Invalid IP address `{shown}'")));
        };
        self.set_family(match address {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        })?;
        Ok(address)
    }

    fn address(&mut self, option: Given, value: &str) -> Result<[u8; 16], UsageError> {
        let plain = value.split('/').next().unwrap_or_default();
        let address = self.ip(plain, value)?;
        if plain.len() != value.len() {
            return Err(UsageError::new(format!(
                "CIDR notation unavailable for `--{}'",
                name(option)
            )));
        }
        Ok(octets(address))
    }

    fn network(&mut self, value: &str, mask: Given) -> Result<Network, UsageError> {
        let (plain, length) = match value.split_once('/') {
            Some((plain, length)) => (plain, Some(length)),
            None => (value, None),
        };
        let address = self.ip(plain, value)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => most,
            Some("") => {
                self.traps.push(Trap::EmptyPrefix(value.to_owned()));
                0
            }
            Some(length) => length
                .parse::<u32>()
                .ok()
                .filter(|length| *length <= most)
                .ok_or_else(|| UsageError::new("Invalid netmask"))?,
        };
        if length < most {
            self.given |= mask;
        }
        Ok(Network {
            address: octets(address),
            mask: prefix(length),
        })
    }

    fn translation(&mut self, option: Given, word: Option<&str>) -> Result<(), UsageError> {
        let mut end = NatEnd::default();
        match word {
            // Any translation: what `-n nat` is written for, in guides and in scripts.
            Some("nat") => {
                self.any_nat = Some(end);
                return Ok(());
            }
            Some(word) => {
                let (address, port) = split_port(word)?;
                if address.contains('/') {
                    self.ip(address.split('/').next().unwrap_or_default(), address)?;
                    return Err(UsageError::new(format!(
                        "CIDR notation unavailable for `--{}'",
                        name(option)
                    )));
                }
                end.address = Some(self.ip(address, address)?);
                end.port = port;
            }
            None => {}
        }
        *match option {
            Given::SRC_NAT => &mut self.src_nat,
            Given::DST_NAT => &mut self.dst_nat,
            _ => &mut self.any_nat,
        } = Some(end);
        Ok(())
    }

    /// A number that is written plainly; else a trap, and what the tool takes it for.
    fn plain(&mut self, option: Given, value: &str, max: u64) -> u64 {
        let is_plain = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        match value.parse::<u64>() {
            Ok(number) if is_plain && number <= max => number,
            _ => {
                #[expect(
                    clippy::cast_sign_loss,
                    reason = "cut to its low bits, as the tool does"
                )]
                let taken = u64::from(atoi(value) as u32) & max;
                self.traps.push(Trap::Number {
                    option: name(option),
                    value: value.to_owned(),
                    taken,
                });
                taken
            }
        }
    }

    fn port(&mut self, option: Given, value: &str) -> u16 {
        // Keys of GRE may be hexadecimal.
        if self.protocol == Some(Protocol::GRE)
            && let Some(key) = whole(value, u16::MAX.into())
        {
            return port(key);
        }
        port(self.plain(option, value, u16::MAX.into()))
    }

    fn byte(&mut self, option: Given, value: &str) -> u8 {
        u8::try_from(self.plain(option, value, u8::MAX.into())).expect("at most 255")
    }

    fn mark_and_mask(&mut self, value: &str) -> Result<(u32, u32), UsageError> {
        let wrong = || UsageError::unexpected(value, Given::MARK);
        let within = |number: u64| u32::try_from(number).map_err(|_| wrong());
        let (bits, rest) = leading(value).ok_or_else(wrong)?;
        let bits = within(bits)?;
        let mask = match rest.strip_prefix('/') {
            None if rest.is_empty() => u32::MAX,
            None => return Err(wrong()),
            Some("") => {
                self.traps.push(Trap::EmptyMask(value.to_owned()));
                0
            }
            Some(mask) => within(whole(mask, u64::MAX).ok_or_else(wrong)?)?,
        };
        if bits & !mask != 0 && mask != 0 {
            self.warnings.push(format!(
                "`-m {value}` has bits outside of its mask: no mark is like this"
            ));
        }
        Ok((bits, mask))
    }

    fn status_bits(&mut self, value: &str) -> Result<(), UsageError> {
        let bad = || UsageError::new(format!("Bad parameter `{value}'"));
        for word in value.split(',') {
            let (negated, word) = match word.strip_prefix('!') {
                Some(word) => (true, word),
                None => (false, word),
            };
            if word.is_empty() {
                return Err(bad());
            }
            if !negated && word.to_ascii_uppercase().starts_with("UNREPLIED") {
                self.status.unset |= Status::SEEN_REPLY;
                continue;
            }
            if starts("SRC_NAT", word) || starts("DST_NAT", word) {
                self.warnings.push(format!(
                    "WARNING: ignoring {word}, use --src-nat or --dst-nat instead"
                ));
                continue;
            }
            let (_, bit) = STATUS
                .iter()
                .find(|(name, _)| starts(name, word))
                .ok_or_else(bad)?;
            match (bit.is_empty(), negated) {
                (true, _) => self.status.none = true,
                (false, true) => self.status.unset |= *bit,
                (false, false) => self.status.set |= *bit,
            }
        }
        Ok(())
    }

    /// Whether anything but a timeout narrows the line.
    #[must_use]
    pub fn is_narrowed(&self) -> bool {
        self.given.intersects(legal::COMPARED)
    }

    /// Both original addresses and the protocol: no more than a few entries can be meant.
    fn names_a_tuple(&self) -> bool {
        let both = Given::SRC | Given::DST | Given::PROTOCOL;
        self.given.contains(both) && !self.given.intersects(Given::MASK_SRC | Given::MASK_DST)
    }

    fn check(&mut self, stray: &[&str]) -> Result<(), UsageError> {
        let verb = self.verb();
        if self.given.contains(Given::LABEL_ADD | Given::LABEL_DEL) {
            return Err(UsageError {
                message: "cannot use --label-add and --label-del at the same time".to_owned(),
                code: 1,
            });
        }
        if self.given.contains(Given::ANY_NAT)
            && self.given.intersects(Given::SRC_NAT | Given::DST_NAT)
        {
            return Err(UsageError::new(
                "cannot specify `--src-nat' or `--dst-nat' with `--any-nat'",
            ));
        }
        legal::check(verb, self.table, self.given, self.protocol)?;
        if let Some(protocol) = self.protocol {
            let foreign = (self.given & legal::OF_PROTOCOLS) - known_to(protocol);
            if let Some(option) = foreign.iter().next() {
                return Err(UsageError::new(format!(
                    "`--{}' says nothing of `-p {}'",
                    name(option),
                    super::print::protocol_name(protocol)
                )));
            }
        }
        for (mask, of, option) in [
            (Given::MASK_SRC, Given::SRC, "src"),
            (Given::MASK_DST, Given::DST, "dst"),
        ] {
            if self.given.contains(mask) && !self.given.contains(of) {
                return Err(UsageError::new(format!(
                    "Can't use --mask-{option} without --{option}"
                )));
            }
        }
        let zeroes = verb == Verb::List && self.given.contains(Given::ZERO);
        if zeroes && self.given.intersects(legal::COMPARED) {
            return Err(UsageError::new("Can't use -z with filtering parameters"));
        }
        if zeroes && self.given.intersects(legal::NARROWING) {
            self.traps.push(Trap::Zero);
        }
        if matches!(verb, Verb::Create | Verb::Add | Verb::Update)
            && self.given.contains(Given::STATE)
        {
            if self.protocol.is_none() {
                return Err(UsageError::new(
                    "an entry gets a state of its protocol: say which with -p",
                ));
            }
            if self.states.only().is_none() {
                return Err(UsageError::new("an entry gets one state of its protocol"));
            }
        }
        self.find_traps(verb, stray);
        Ok(())
    }

    fn find_traps(&mut self, verb: Verb, stray: &[&str]) {
        let narrows = matches!(verb, Verb::Delete | Verb::Flush);
        let changes = narrows || verb == Verb::Update;
        // A translation that is made, and none that is looked for, may be one of IPv6.
        if self.family == Some(Family::Ipv6) && changes {
            let ends = [self.src_nat, self.dst_nat, self.any_nat];
            if let Some(address) = ends.iter().flatten().find_map(|end| end.address) {
                self.traps.push(Trap::Nat6(address.to_string()));
            }
        }
        let bits = self.status;
        let unset = bits.unset != Status::empty();
        let nothing = bits.none && bits.set == Status::empty();
        // A whole tuple, as `-E -o save` writes one, names its entry without the status.
        if (changes && unset) || (narrows && nothing && !self.names_a_tuple()) {
            let mut value = String::new();
            if bits.unset.contains(Status::SEEN_REPLY) {
                value.push_str("UNREPLIED");
            } else if unset {
                value.push_str("!...");
            } else {
                value.push_str("UNSET");
            }
            self.traps.push(Trap::UnsetStatus {
                value,
                update: verb == Verb::Update,
            });
        }
        if let Some(seconds) = self.timeout.filter(|_| verb == Verb::Delete)
            && self.states.is_empty()
        {
            self.traps.push(Trap::Timeout {
                value: seconds.to_string(),
                narrowed: self.is_narrowed(),
            });
        }
        if verb == Verb::Update && self.timeout == Some(0) && !self.names_a_tuple() {
            self.traps.push(Trap::NoTime);
        }
        if verb == Verb::Flush
            && self.table == Table::Conntrack
            && self.given.contains(Given::FAMILY)
        {
            let family = self.family.map_or("ipv4", Family::name);
            self.traps.push(Trap::FlushFamily(family.to_owned()));
        }
        if changes
            && self.protocol == Some(Protocol::GRE)
            && self
                .given
                .intersects(Given::SPORT | Given::DPORT | Given::REPLY_SPORT | Given::REPLY_DPORT)
            && !self.names_a_tuple()
        {
            self.traps.push(Trap::GreKey);
        }
        if changes && let Some(word) = stray.iter().find(|word| is_value(word)) {
            self.traps.push(Trap::StrayValue((*word).to_owned()));
        }
        // Two protocols harm only where entries go or change.
        if !changes {
            self.traps.retain(|trap| *trap != Trap::Protocols);
        }
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
