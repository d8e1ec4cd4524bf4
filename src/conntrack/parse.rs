//! Reads a command line of the tool.
//!
//! Where a line is treacherous the values hold what the tool reads, and [`Line::traps`] says so.

use std::net::IpAddr;

use super::legal;
use super::line::{Events, Line, NatEnd, Network, Output, Table, UsageError};
use super::number::{atoi, leading, whole};
use super::options::{Found, Given, Meaning, Scanner, Verb, known_to, name};
use super::states::States;
use super::trap::{self, Trap};
use super::value::{
    STATUS, event, inet_aton, labels, low, number, output, port, prefix, protocol, split_port,
    starts,
};
use crate::flow::tuple::octets;
use crate::flow::{Family, Protocol, Status};

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
                    return Err(UsageError::failing(
                        "cannot combine save output with any other output type, use -o save only",
                    ));
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

    fn check(&mut self, stray: &[&str]) -> Result<(), UsageError> {
        let verb = self.verb();
        if self.given.contains(Given::LABEL_ADD | Given::LABEL_DEL) {
            return Err(UsageError::failing(
                "cannot use --label-add and --label-del at the same time",
            ));
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
        trap::find(self, stray);
        Ok(())
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
