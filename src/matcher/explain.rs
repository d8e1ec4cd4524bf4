//! Why a predicate holds on a flow, or does not: one clause a field.

use std::fmt::Display;

use super::check::Check;
use super::{Context, Truth};
use crate::flow::{Extra, Flow, Present, Protocol, field::Field, protocol, status::STATUS_WORDS};
use crate::idle::{Grade, Idle};
use crate::policy::{
    AddressField, AddressTerm, NatWord, PathWord, PortField, Predicate, Seconds, Test,
};

/// One field of a predicate, applied to one flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// The field.
    pub field: Field,
    /// It stands under `not`.
    pub negated: bool,
    /// Whether the clause holds; `negated` is already applied.
    pub truth: Truth,
    /// What the flow has; `unknown` where it has nothing or nothing was told.
    pub found: String,
    /// What the predicate asks for, as a policy writes it.
    pub wanted: String,
    /// Why the truth is unknown.
    pub why: Option<String>,
}

/// Every clause of a predicate on a flow, in the order in which it was written.
#[must_use]
pub fn explain(
    predicate: &Predicate,
    context: &Context<'_>,
    ignore_ct_timeout: bool,
    flow: &Flow,
    extra: &Extra<'_>,
    grade: Grade,
) -> Vec<Clause> {
    let positive = predicate.tests.iter().map(|test| (test, false));
    let negative = predicate.not.iter().map(|test| (test, true));
    positive
        .chain(negative)
        .map(|(test, negated)| {
            let check = Check::new(test, context, ignore_ct_timeout);
            let truth = check.eval(flow, extra, grade);
            let idle = match &check {
                Check::IdleFor(window, evidence) => Some(evidence.idle(flow, extra, window)),
                _ => None,
            };
            Clause {
                field: test.field(),
                negated,
                truth: if negated { !truth } else { truth },
                found: found(test, context, flow, extra).unwrap_or_else(|| "unknown".to_owned()),
                wanted: wanted(test, context),
                why: (truth == Truth::Unknown).then(|| why(test, context, flow, idle)),
            }
        })
        .collect()
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

fn range<T: Display + PartialEq>((low, high): &(T, T)) -> String {
    if low == high {
        low.to_string()
    } else {
        format!("{low}-{high}")
    }
}

fn mark((value, mask): (u32, u32)) -> String {
    if mask == u32::MAX {
        format!("{value:#x}")
    } else {
        format!("{value:#x}/{mask:#x}")
    }
}

fn wanted(test: &Test, context: &Context<'_>) -> String {
    match test {
        Test::Family(families) => list(families),
        Test::Protocol(protocols) => list(protocols),
        Test::State(states) => {
            let mut names: Vec<&str> = Vec::new();
            for (protocol, state) in states {
                let name = protocol::state_name(*protocol, *state).unwrap_or("?");
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            names.join(", ")
        }
        Test::Status(words) => list(words.iter().map(|word| word.name())),
        Test::Address(_, terms) => list(terms.iter().map(|term| match term {
            AddressTerm::Prefix(prefix) if prefix.prefix_len() == prefix.max_prefix_len() => {
                prefix.addr().to_string()
            }
            AddressTerm::Prefix(prefix) => prefix.to_string(),
            AddressTerm::Set(index) => {
                format!("@{}", context.sets.get(*index).map_or("?", |set| &set.name))
            }
        })),
        Test::Port(_, ranges) | Test::GreKey(ranges) => list(ranges.iter().map(range)),
        Test::IcmpType(ranges) | Test::IcmpCode(ranges) => list(ranges.iter().map(range)),
        Test::Nat(words) => list(words.iter().map(|word| match word {
            NatWord::Src => "src",
            NatWord::Dst => "dst",
            NatWord::Any => "any",
            NatWord::None => "none",
        })),
        Test::Path(words) => list(words.iter().map(|word| match word {
            PathWord::Forward => "forward",
            PathWord::Input => "input",
            PathWord::Output => "output",
        })),
        Test::Mark(marks) => list(marks.iter().copied().map(mark)),
        Test::Zone(zones) | Test::OrigZone(zones) | Test::ReplyZone(zones) => list(zones),
        Test::Label(labels) => list(labels),
        Test::Helper(names) => list(names),
        Test::IdleFor(seconds)
        | Test::AgeAbove(seconds)
        | Test::RemainingAbove(seconds)
        | Test::RemainingBelow(seconds) => seconds.to_string(),
        Test::BytesAbove(count)
        | Test::BytesBelow(count)
        | Test::PacketsAbove(count)
        | Test::PacketsBelow(count) => count.to_string(),
    }
}

/// What the flow has for a test's field; `None` where that is not known.
fn found(test: &Test, context: &Context<'_>, flow: &Flow, extra: &Extra<'_>) -> Option<String> {
    let reply = flow.present.contains(Present::REPLY).then_some(&flow.reply);
    let seconds = |ns: u64| Seconds(ns / 1_000_000_000).to_string();
    Some(match test {
        Test::Family(_) => flow.family.to_string(),
        Test::Protocol(_) => flow.protocol.to_string(),
        Test::State(_) => match flow.state_name() {
            Some(name) => name.to_owned(),
            None => flow.state()?.to_string(),
        },
        Test::Status(_) => {
            let status = flow.status()?;
            list(
                STATUS_WORDS
                    .iter()
                    .filter(|(w, _)| w.holds(status))
                    .map(|(_, name)| name),
            )
        }
        Test::Address(address, _) => found_address(*address, flow)?,
        Test::Port(_, _) if !flow.protocol.has_ports() => return None,
        Test::Port(PortField::Src, _) => flow.orig.src_port.to_string(),
        Test::Port(PortField::Dst, _) => flow.orig.dst_port.to_string(),
        Test::Port(PortField::ReplySrc, _) => reply?.src_port.to_string(),
        Test::Port(PortField::ReplyDst, _) => reply?.dst_port.to_string(),
        Test::IcmpType(_) | Test::IcmpCode(_) if !is_icmp(flow) => return None,
        Test::IcmpType(_) => flow.orig.icmp_type().to_string(),
        Test::IcmpCode(_) => flow.orig.icmp_code().to_string(),
        Test::GreKey(_) if flow.protocol != Protocol::GRE => return None,
        Test::Port(PortField::Either, _) | Test::GreKey(_) => {
            list([flow.orig.src_port, flow.orig.dst_port])
        }
        Test::Nat(_) => match (flow.is_src_nat()?, flow.is_dst_nat()?) {
            (true, true) => "src, dst".to_owned(),
            (true, false) => "src".to_owned(),
            (false, true) => "dst".to_owned(),
            (false, false) => "none".to_owned(),
        },
        Test::Path(_) => match (context.own.output(flow), context.own.input(flow)) {
            (Truth::True, Truth::True) => "output, input".to_owned(),
            (Truth::True, _) => "output".to_owned(),
            (_, Truth::True) => "input".to_owned(),
            (Truth::False, Truth::False) => "forward".to_owned(),
            _ => return None,
        },
        Test::Mark(_) if !flow.present.contains(Present::MARK) => return None,
        Test::Mark(_) => format!("{:#x}", flow.mark),
        Test::Zone(_) if flow.zone_orig != flow.zone_reply => {
            format!("{} and {}", flow.zone_orig, flow.zone_reply)
        }
        Test::Zone(_) | Test::OrigZone(_) => flow.zone_orig.to_string(),
        Test::ReplyZone(_) => flow.zone_reply.to_string(),
        Test::Label(_) => match extra.labels {
            Some(labels) if labels != 0 => list((0..128).filter(|bit| labels >> bit & 1 == 1)),
            _ => "none".to_owned(),
        },
        Test::Helper(_) => extra.helper.unwrap_or("none").to_owned(),
        Test::IdleFor(_) | Test::RemainingAbove(_) | Test::RemainingBelow(_) => {
            let left = Seconds(flow.remaining()?.into());
            match test {
                Test::IdleFor(_) => format!("{left} left"),
                _ => left.to_string(),
            }
        }
        Test::AgeAbove(_) => seconds(context.evidence.age(flow).ok()?),
        Test::BytesAbove(_) | Test::BytesBelow(_) => flow.total()?.bytes.to_string(),
        Test::PacketsAbove(_) | Test::PacketsBelow(_) => flow.total()?.packets.to_string(),
    })
}

fn found_address(field: AddressField, flow: &Flow) -> Option<String> {
    let family = flow.family;
    let reply = flow.present.contains(Present::REPLY).then_some(&flow.reply);
    Some(match field {
        AddressField::Src => flow.orig.src_ip(family).to_string(),
        AddressField::Dst => flow.orig.dst_ip(family).to_string(),
        AddressField::ReplySrc => reply?.src_ip(family).to_string(),
        AddressField::ReplyDst => reply?.dst_ip(family).to_string(),
        AddressField::Any => {
            let mut addresses = vec![flow.orig.src_ip(family), flow.orig.dst_ip(family)];
            addresses.extend(reply.map(|tuple| tuple.src_ip(family)));
            addresses.extend(reply.map(|tuple| tuple.dst_ip(family)));
            addresses.sort_unstable();
            addresses.dedup();
            list(addresses)
        }
        AddressField::NatSrc if flow.is_src_nat()? => reply?.dst_ip(family).to_string(),
        AddressField::NatDst if flow.is_dst_nat()? => reply?.src_ip(family).to_string(),
        AddressField::NatSrc | AddressField::NatDst => return None,
    })
}

fn is_icmp(flow: &Flow) -> bool {
    matches!(flow.protocol, Protocol::ICMP | Protocol::ICMPV6)
}

/// Why a test is unknown.
fn why(test: &Test, context: &Context<'_>, flow: &Flow, idle: Option<Idle>) -> String {
    const NO_STATUS: &str = "the kernel sent no status";
    match test {
        Test::State(_) if flow.protocol.has_states() => {
            "the kernel sent no state (offloaded flows have none)".to_owned()
        }
        Test::State(_) => format!("{} has no states", flow.protocol),
        Test::Port(..) if !flow.protocol.has_ports() => format!("{} has no ports", flow.protocol),
        Test::IcmpType(_) | Test::IcmpCode(_) => format!("{} is not icmp", flow.protocol),
        Test::GreKey(_) => format!("{} is not gre", flow.protocol),
        Test::Status(_) | Test::Nat(_) => NO_STATUS.to_owned(),
        Test::Address(field, terms) => why_address(*field, terms, context, flow),
        Test::Path(_) if context.header.addresses.is_none() => {
            "this host's own addresses could not be read".to_owned()
        }
        Test::Port(..) | Test::Path(_) => "the kernel sent no reply tuple".to_owned(),
        Test::Mark(_) => "the kernel sent no mark".to_owned(),
        Test::BytesAbove(_)
        | Test::BytesBelow(_)
        | Test::PacketsAbove(_)
        | Test::PacketsBelow(_) => "no counters; they need nf_conntrack_acct".to_owned(),
        Test::RemainingAbove(_) | Test::RemainingBelow(_) => {
            "the kernel sent no remaining time".to_owned()
        }
        Test::AgeAbove(_) => match context.evidence.age(flow) {
            Err(doubt) => doubt.to_string(),
            Ok(_) => String::new(),
        },
        Test::IdleFor(seconds) => match idle {
            Some(Idle::Unknown(doubt)) => doubt.to_string(),
            _ => match context.evidence.covered_at(flow, *seconds) {
                Some(at_ns) => {
                    let wait = at_ns.saturating_sub(context.header.uptime_ns);
                    let wait = Seconds(wait.div_ceil(1_000_000_000));
                    format!(
                        "presumed, not proven: the history of its timeout covers {seconds} in {wait}"
                    )
                }
                None => "presumed, not proven: its timeout is the entry's own".to_owned(),
            },
        },
        // Known of every entry.
        Test::Family(_)
        | Test::Protocol(_)
        | Test::Zone(_)
        | Test::OrigZone(_)
        | Test::ReplyZone(_)
        | Test::Label(_)
        | Test::Helper(_) => String::new(),
    }
}

fn why_address(
    field: AddressField,
    terms: &[AddressTerm],
    context: &Context<'_>,
    flow: &Flow,
) -> String {
    match field {
        AddressField::NatSrc if flow.is_src_nat() == Some(false) => {
            return "its source is not translated".to_owned();
        }
        AddressField::NatDst if flow.is_dst_nat() == Some(false) => {
            return "its destination is not translated".to_owned();
        }
        AddressField::NatSrc | AddressField::NatDst if flow.status().is_none() => {
            return "the kernel sent no status".to_owned();
        }
        AddressField::Src | AddressField::Dst => {}
        _ if !flow.present.contains(Present::REPLY) => {
            return "the kernel sent no reply tuple".to_owned();
        }
        _ => {}
    }
    if context.header.redaction.is_some() {
        return "the snapshot does not have the real addresses".to_owned();
    }
    let unknown = terms.iter().find_map(|term| match term {
        AddressTerm::Set(index) if context.set(*index).is_none() => Some(*index),
        _ => None,
    });
    let index = unknown.unwrap_or_default();
    let name = context.sets.get(index).map_or("?", |set| &set.name);
    match context.members.get(index).and_then(|m| m.error.as_ref()) {
        Some(error) => format!("@{name} could not be read: {error}"),
        None => format!("@{name} is empty"),
    }
}
