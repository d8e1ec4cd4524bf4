//! A delete or flush of the `conntrack` tool as a rule.

use std::net::IpAddr;

use super::{Act, Origin, Rule, Setting};
use crate::conntrack::line::{Line, NatEnd, Network};
use crate::conntrack::options::{Given, Verb};
use crate::conntrack::trap::Trap;
use crate::flow::protocol::{state_name, tcp};
use crate::flow::{Family, Protocol, Status, status::STATUS_WORDS};
use crate::policy::{DEFAULT_GRACE, Predicate, Seconds, Test, timing};
use crate::tunable::{self, Governing};

/// Options that a rule can say.
const SAID: Given = Given::SRC
    .union(Given::DST)
    .union(Given::MASK_SRC)
    .union(Given::MASK_DST)
    .union(Given::REPLY_SRC)
    .union(Given::REPLY_DST)
    .union(Given::PROTOCOL)
    .union(Given::STATE)
    .union(Given::STATUS)
    .union(Given::MARK)
    .union(Given::FAMILY)
    .union(Given::ZONE)
    .union(Given::ORIG_ZONE)
    .union(Given::REPLY_ZONE)
    .union(Given::SRC_NAT)
    .union(Given::DST_NAT)
    .union(Given::ANY_NAT)
    .union(Given::SPORT)
    .union(Given::DPORT)
    .union(Given::REPLY_SPORT)
    .union(Given::REPLY_DPORT)
    .union(Given::ICMP_TYPE)
    .union(Given::ICMP_CODE)
    .union(Given::TIMEOUT);

/// Options that change what is printed alone.
const SILENT: Given = Given::OUTPUT.union(Given::BUFFER_SIZE);

/// A line's rule, or why there is none.
pub(super) fn of(
    line: &Line,
    origin: &Origin,
    text: &str,
    every: Option<u64>,
) -> Result<Rule, String> {
    if let Some(trap) = line.traps.first() {
        return Err(match trap {
            Trap::Timeout { value, .. } => format!(
                "`-t {value}` is no filter of conntrack's: if idle flows are meant, write a rule with `idle-for` and \
                 `action = \"expire\"`"
            ),
            other => other.to_string(),
        });
    }
    if line.states.invalid {
        return Err(
            "no entry is INVALID: such packets have none, so there is nothing to delete".to_owned(),
        );
    }
    if line.states.new {
        return Err("no entry is NEW for longer than a packet: `status = \"unreplied\"` may be what is meant".to_owned());
    }
    let other = line.given - SAID - SILENT;
    if !other.is_empty() {
        let names: Vec<_> = other.iter().map(crate::conntrack::options::name).collect();
        return Err(format!("a rule cannot say --{}", names.join(", --")));
    }
    let mut rule = Rule {
        origins: vec![(origin.clone(), text.to_owned())],
        name: String::new(),
        fields: Vec::new(),
        not: Vec::new(),
        act: Act::Delete { assured: true },
        governing: Vec::new(),
        every,
    };
    tuples(line, &mut rule)?;
    attributes(line, &mut rule)?;
    if rule.fields.is_empty() && rule.not.is_empty() {
        return Err(
            "empties the whole table, connections that live included, which no rule is to do: \
             `conntidy flush --all` does it once"
                .to_owned(),
        );
    }
    rule.act = match line.timeout {
        Some(seconds) if line.verb() == Verb::Delete => {
            rule.governing = governing(line)?;
            Act::Idle {
                seconds: seconds.into(),
            }
        }
        Some(_) => return Err("a flush has no idle time".to_owned()),
        None => Act::Delete {
            assured: !is_closed(line),
        },
    };
    rule.name = name(line, rule.act);
    Ok(rule)
}

impl Rule {
    fn field(&mut self, name: &'static str, value: impl std::fmt::Display) {
        self.fields.push((name, format!("\"{value}\"")));
    }

    fn number(&mut self, name: &'static str, value: Option<impl std::fmt::Display>) {
        self.fields
            .extend(value.map(|value| (name, value.to_string())));
    }

    /// The timeout of the entries that a rule for idle ones is about: of several protocols' the shortest that is
    /// longer than the idle time, so that the grace shortens all that are ever idle for so long.
    pub(super) fn timeout(&self, settings: &[Setting]) -> Option<u64> {
        let Act::Idle { seconds } = self.act else {
            return None;
        };
        let timeout = |governing: &Governing| match governing {
            Governing::Fixed(seconds) => Some(u64::from(*seconds)),
            Governing::Sysctl(name) => {
                let set = settings
                    .iter()
                    .find(|setting| setting.tunable.name == *name);
                match set {
                    Some(setting) => setting.value.parse().ok(),
                    None => timing::kernel_default(name),
                }
            }
        };
        let timeouts = || self.governing.iter().filter_map(timeout);
        let outlived = timeouts().filter(|timeout| *timeout > seconds).min();
        outlived.or_else(|| timeouts().max())
    }

    /// The remaining time that idle flows are given, where it is not the usual one: what an idle flow
    /// has left is more.
    pub(super) fn grace(&self, settings: &[Setting]) -> Option<u64> {
        let Act::Idle { seconds } = self.act else {
            return None;
        };
        let left = self.timeout(settings)?.checked_sub(seconds)?;
        (left <= DEFAULT_GRACE.0).then_some((left / 2).max(1))
    }
}

/// The timeouts of the one state that a line for idle entries names: one for each protocol that has it.
fn governing(line: &Line) -> Result<Vec<Governing>, String> {
    let named = &line.states.named;
    let mut words: Vec<_> = (named.iter())
        .filter_map(|&(protocol, state)| state_name(protocol, state))
        .collect();
    words.sort_unstable();
    words.dedup();
    if words.len() > 1 {
        return Err(format!(
            "{} have a timeout each, and one `grace` does not fit all: write a line for each",
            words.join(" and ")
        ));
    }
    if named.contains(&(Protocol::TCP, tcp::SYN_SENT)) {
        return Err(
            "a SYN that is sent again does not put the timer of an entry in SYN_SENT back, so what is shortened \
             ends: `tcp.syn-sent` in `[timeouts]` may be what is meant"
                .to_owned(),
        );
    }
    Ok(tunable::possible(&Predicate {
        tests: vec![Test::State(named.clone())],
        not: Vec::new(),
    }))
}

fn address(family: Family, bytes: [u8; 16]) -> IpAddr {
    let tuple = crate::flow::Tuple {
        src: bytes,
        ..crate::flow::Tuple::default()
    };
    tuple.src_ip(family)
}

fn tuples(line: &Line, rule: &mut Rule) -> Result<(), String> {
    // Addresses say their family themselves.
    let family = line.family.unwrap_or(Family::Ipv4);
    let ends = [line.src_nat, line.dst_nat, line.any_nat];
    let has_address = line.src.is_some()
        || line.dst.is_some()
        || line.reply_src.is_some()
        || line.reply_dst.is_some()
        || ends.iter().flatten().any(|end| end.address.is_some());
    if let (Some(family), false) = (line.family, has_address) {
        rule.field("family", family);
    }
    if let Some(protocol) = line.protocol {
        rule.field("protocol", protocol);
    }
    for (name, network, mask) in [
        ("src", line.src, line.mask_src),
        ("dst", line.dst, line.mask_dst),
    ] {
        if let Some(network) = network {
            rule.field(name, prefix(family, network, mask)?);
        }
    }
    for (name, bytes) in [("reply-src", line.reply_src), ("reply-dst", line.reply_dst)] {
        if let Some(bytes) = bytes {
            rule.field(name, address(family, bytes));
        }
    }
    if line.protocol == Some(Protocol::GRE)
        && line.ports != crate::conntrack::line::Ports::default()
    {
        return Err("conntrack compares no keys of GRE: write a rule with `gre-key`".to_owned());
    }
    rule.number("sport", line.ports.sport);
    rule.number("dport", line.ports.dport);
    rule.number("reply-sport", line.ports.reply_sport);
    rule.number("reply-dport", line.ports.reply_dport);
    rule.number("icmp-type", line.icmp.0);
    rule.number("icmp-code", line.icmp.1);
    Ok(())
}

fn prefix(family: Family, network: Network, mask: Option<[u8; 16]>) -> Result<String, String> {
    let bits = match family {
        Family::Ipv4 => 32,
        Family::Ipv6 => 128,
    };
    let mask = u128::from_be_bytes(mask.unwrap_or(network.mask));
    let length = mask.leading_ones().min(bits);
    let whole = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    let wanted = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    if mask & whole != wanted & whole {
        return Err("its mask is no prefix".to_owned());
    }
    // Host bits are masked, as the tool does.
    let bytes = u128::from_be_bytes(network.address) & mask;
    let address = address(family, bytes.to_be_bytes());
    Ok(if length == bits {
        address.to_string()
    } else {
        format!("{address}/{length}")
    })
}

fn attributes(line: &Line, rule: &mut Rule) -> Result<(), String> {
    let mut states: Vec<_> = (line.states.named.iter())
        .filter_map(|&(protocol, state)| state_name(protocol, state))
        .collect();
    states.sort_unstable();
    states.dedup();
    if let Some(list) = list(&states) {
        rule.fields.push(("state", list));
    }
    let words = |bits: Status| -> Vec<&str> {
        let is_set = |(word, _): &(crate::flow::status::StatusWord, &str)| {
            word.holds(bits) && !word.holds(Status::empty())
        };
        (STATUS_WORDS.iter())
            .filter(|word| is_set(word))
            .map(|(_, name)| *name)
            .collect()
    };
    if line.status.none {
        return Err("`-u UNSET` narrows no delete: write the status that is meant".to_owned());
    }
    match words(line.status.set).as_slice() {
        [] if line.status.set.is_empty() => {}
        [one] => rule.field("status", one),
        _ => {
            return Err("it asks for several status bits at once: a rule's `status` is a list of alternatives".to_owned());
        }
    }
    if let Some(list) = list(&words(line.status.unset)) {
        rule.not.push(("status", list));
    }
    if let Some((value, mask)) = line.mark {
        let mask = (mask != u32::MAX).then(|| format!("/{mask:#x}"));
        rule.field("mark", format!("{value:#x}{}", mask.unwrap_or_default()));
    }
    rule.number("zone", line.zone);
    rule.number("orig-zone", line.orig_zone);
    rule.number("reply-zone", line.reply_zone);
    for (name, word, end) in [
        ("nat-src", "src", line.src_nat),
        ("nat-dst", "dst", line.dst_nat),
    ] {
        match end {
            None => {}
            Some(NatEnd { port: Some(_), .. }) => {
                return Err("a rule cannot say the port of a translation".to_owned());
            }
            Some(NatEnd {
                address: Some(address),
                ..
            }) => rule.field(name, address),
            Some(_) => rule.field("nat", word),
        }
    }
    match line.any_nat {
        None => {}
        Some(NatEnd {
            address: None,
            port: None,
        }) => rule.field("nat", "any"),
        Some(_) => {
            return Err("either translation to an address takes two rules: one with `nat-src`, one with `nat-dst`".to_owned());
        }
    }
    let twice = rule
        .fields
        .iter()
        .filter(|(name, _)| *name == "nat")
        .count()
        > 1;
    if twice {
        return Err(
            "it asks for both translations: a rule's `nat` is a list of alternatives".to_owned(),
        );
    }
    Ok(())
}

fn list(words: &[&str]) -> Option<String> {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("[{}]", many.join(", "))),
    }
}

/// Whether closed TCP connections are all that it is about.
fn is_closed(line: &Line) -> bool {
    let named = &line.states.named;
    let tcp = |&(protocol, state): &(Protocol, u8)| {
        protocol == Protocol::TCP && matches!(state, tcp::TIME_WAIT | tcp::CLOSE)
    };
    !named.is_empty() && named.iter().all(tcp)
}

/// A name that says what the rule is about.
fn name(line: &Line, act: Act) -> String {
    let mut words = vec![match act {
        Act::Delete { .. } => "delete".to_owned(),
        Act::Idle { .. } => "idle".to_owned(),
    }];
    words.extend(line.protocol.map(|protocol| protocol.to_string()));
    let mut states: Vec<_> = (line.states.named.iter())
        .filter_map(|&(protocol, state)| state_name(protocol, state))
        .collect();
    states.sort_unstable();
    states.dedup();
    words.extend(states.iter().map(|state| state.to_ascii_lowercase()));
    let ends = [
        ("from", line.given.intersects(Given::SRC | Given::REPLY_DST)),
        ("to", line.given.intersects(Given::DST | Given::REPLY_SRC)),
        (
            "nat",
            line.given
                .intersects(Given::SRC_NAT | Given::DST_NAT | Given::ANY_NAT),
        ),
    ];
    words.extend(
        ends.iter()
            .filter(|(_, is)| *is)
            .map(|(word, _)| (*word).to_owned()),
    );
    words.extend(line.ports.dport.map(|port| port.to_string()));
    words.join("-").replace('_', "-")
}

/// Seconds as a policy has them.
pub(super) fn duration(seconds: u64) -> String {
    format!("\"{}\"", Seconds(seconds))
}
