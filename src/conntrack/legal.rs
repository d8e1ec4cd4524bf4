//! Which options go with which command.

use super::line::{Table, UsageError};
use super::options::{Given, Verb, name};
use crate::flow::Protocol;

/// Options that the tool compares with entries by itself.
pub(super) const COMPARED: Given = Given::PROTOCOL
    .union(Given::SRC)
    .union(Given::DST)
    .union(Given::REPLY_SRC)
    .union(Given::REPLY_DST)
    .union(Given::MARK)
    .union(Given::SECMARK)
    .union(Given::STATUS)
    .union(Given::ID)
    .union(Given::ZONE)
    .union(Given::LABEL)
    .union(Given::ORIG_ZONE)
    .union(Given::REPLY_ZONE)
    .union(PORTS)
    .union(ICMP)
    .union(Given::STATE);

/// Everything that narrows a list.
pub(super) const NARROWING: Given = COMPARED
    .union(Given::SRC_NAT)
    .union(Given::DST_NAT)
    .union(Given::ANY_NAT)
    .union(Given::FAMILY);

const ADDRESSES: Given = Given::SRC
    .union(Given::DST)
    .union(Given::REPLY_SRC)
    .union(Given::REPLY_DST);
const PORTS: Given = Given::SPORT
    .union(Given::DPORT)
    .union(Given::REPLY_SPORT)
    .union(Given::REPLY_DPORT);
const ICMP: Given = Given::ICMP_TYPE
    .union(Given::ICMP_CODE)
    .union(Given::ICMP_ID);
const VTAGS: Given = Given::ORIG_VTAG.union(Given::REPLY_VTAG);
const MASKED_PORTS: Given = Given::MASK_SPORT
    .union(Given::MASK_DPORT)
    .union(Given::TUPLE_SPORT)
    .union(Given::TUPLE_DPORT);

/// Options that belong to protocols.
pub(super) const OF_PROTOCOLS: Given = PORTS
    .union(ICMP)
    .union(VTAGS)
    .union(MASKED_PORTS)
    .union(Given::STATE)
    .union(Given::ROLE);

/// What a filter may say, whatever is done with what it lets through.
const MATCH: Given = NARROWING
    .union(Given::MASK_SRC)
    .union(Given::MASK_DST)
    .union(Given::LABELMAP);

const CHANGING: Given = ADDRESSES
    .union(PORTS)
    .union(ICMP)
    .union(Given::PROTOCOL)
    .union(Given::TIMEOUT)
    .union(Given::STATUS)
    .union(Given::MARK)
    .union(Given::SRC_NAT)
    .union(Given::DST_NAT)
    .union(Given::STATE)
    .union(Given::LABEL_ADD);

struct Rules {
    allowed: Given,
    required: Given,
    /// Addresses, and ports where the protocol has them, go in pairs of one direction at least.
    paired: bool,
}

fn rules(verb: Verb, table: Table, protocol: Option<Protocol>) -> Rules {
    let free = |allowed| Rules {
        allowed,
        required: Given::empty(),
        paired: false,
    };
    if table == Table::Expect {
        return of_expectations(verb, protocol);
    }
    match verb {
        Verb::List => free(MATCH | Given::ZERO | Given::OUTPUT),
        Verb::Count | Verb::Flush => free(MATCH),
        Verb::Event => free(MATCH | Given::EVENT_MASK | Given::OUTPUT | Given::BUFFER_SIZE),
        Verb::Delete => free((MATCH - Given::SECMARK) | Given::TIMEOUT | Given::OUTPUT),
        Verb::Update => free(
            CHANGING
                | VTAGS
                | Given::MASK_SRC
                | Given::MASK_DST
                | Given::ID
                | Given::FAMILY
                | Given::OUTPUT
                | Given::LABEL
                | Given::LABEL_DEL
                | Given::LABELMAP,
        ),
        Verb::Create | Verb::Add => Rules {
            allowed: CHANGING
                | VTAGS
                | Given::ROLE
                | Given::ZONE
                | Given::ORIG_ZONE
                | Given::REPLY_ZONE
                | Given::LABELMAP,
            required: Given::PROTOCOL | Given::TIMEOUT | made_with(protocol),
            paired: true,
        },
        Verb::Get => Rules {
            allowed: ADDRESSES
                | PORTS
                | ICMP
                | VTAGS
                | Given::STATE
                | Given::PROTOCOL
                | Given::ID
                | Given::OUTPUT
                | Given::LABEL
                | Given::LABELMAP,
            required: Given::PROTOCOL
                | match protocol {
                    Some(Protocol::ICMP | Protocol::ICMPV6) => Given::ICMP_TYPE | Given::ICMP_CODE,
                    _ => Given::empty(),
                },
            paired: true,
        },
        Verb::Help => free(Given::PROTOCOL),
        Verb::Stats | Verb::Version => free(Given::empty()),
    }
}

/// What an entry of a protocol cannot be made without.
fn made_with(protocol: Option<Protocol>) -> Given {
    match protocol {
        Some(Protocol::TCP) => Given::STATE,
        Some(Protocol::SCTP) => Given::STATE | VTAGS,
        Some(Protocol::DCCP) => Given::STATE | Given::ROLE,
        Some(Protocol::ICMP | Protocol::ICMPV6) => Given::ICMP_TYPE | Given::ICMP_CODE,
        _ => Given::empty(),
    }
}

fn of_expectations(verb: Verb, protocol: Option<Protocol>) -> Rules {
    let has_ports =
        protocol.is_some_and(|protocol| protocol.has_ports() || protocol == Protocol::GRE);
    let if_ports = |given| if has_ports { given } else { Given::empty() };
    let both = Given::SRC | Given::DST | Given::PROTOCOL;
    match verb {
        Verb::List => Rules {
            allowed: Given::FAMILY | Given::OUTPUT,
            required: Given::empty(),
            paired: false,
        },
        Verb::Event => Rules {
            allowed: Given::OUTPUT | Given::EVENT_MASK | Given::BUFFER_SIZE,
            required: Given::empty(),
            paired: false,
        },
        Verb::Create => {
            let required = both
                | Given::TIMEOUT
                | Given::TUPLE_SRC
                | Given::TUPLE_DST
                | Given::MASK_SRC
                | Given::MASK_DST
                | if_ports(Given::SPORT | Given::DPORT | MASKED_PORTS);
            Rules {
                allowed: required | ADDRESSES | PORTS | Given::STATUS,
                required,
                paired: false,
            }
        }
        Verb::Delete | Verb::Get => {
            let required = both | if_ports(Given::SPORT | Given::DPORT);
            Rules {
                allowed: required | ADDRESSES | PORTS,
                required,
                paired: false,
            }
        }
        _ => Rules {
            allowed: Given::empty(),
            required: Given::empty(),
            paired: false,
        },
    }
}

/// Refuses options that do not go with the command, and commands without what they need.
pub(super) fn check(
    verb: Verb,
    table: Table,
    given: Given,
    protocol: Option<Protocol>,
) -> Result<(), UsageError> {
    let rules = rules(verb, table, protocol);
    if let Some(missing) = (rules.required - given).iter().next() {
        return Err(UsageError::new(format!(
            "You need to supply the `--{}' option for this command",
            name(missing)
        )));
    }
    if let Some(illegal) = (given - rules.allowed).iter().next() {
        return Err(UsageError::new(format!(
            "Illegal option `--{}' with this command",
            name(illegal)
        )));
    }
    if !rules.paired {
        return Ok(());
    }
    let pairs = [
        (
            [Given::SRC, Given::DST],
            [Given::REPLY_SRC, Given::REPLY_DST],
        ),
        (
            [Given::SPORT, Given::DPORT],
            [Given::REPLY_SPORT, Given::REPLY_DPORT],
        ),
    ];
    let has_ports =
        protocol.is_some_and(|protocol| protocol.has_ports() || protocol == Protocol::GRE);
    for (orig, reply) in pairs.iter().take(if has_ports { 2 } else { 1 }) {
        let whole = |pair: &[Given; 2]| given.contains(pair[0] | pair[1]);
        if whole(orig) || whole(reply) {
            continue;
        }
        let begun = |pair: &[Given; 2]| given.intersects(pair[0] | pair[1]);
        let wanted = if begun(reply) && !begun(orig) {
            reply
        } else {
            orig
        };
        return Err(UsageError::new(format!(
            "you have to specify `--{}' and `--{}'",
            name(wanted[0]),
            name(wanted[1])
        )));
    }
    Ok(())
}
