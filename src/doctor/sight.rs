//! What rules can see, what they are blind to, and what is left alone whatever a rule says.

use std::path::Path;

use super::{Finding, Seen, Verdict};
use crate::observe::Connection;

pub(super) fn findings(seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    if seen.header.conntrack {
        findings.push(switch(
            seen,
            "nf_conntrack_acct",
            "counts packets and bytes of new entries",
            "`bytes-above`, `bytes-below`, `packets-above` and `packets-below` match nothing, and \
             equal counters cannot prove idleness",
        ));
        findings.push(switch(
            seen,
            "nf_conntrack_timestamp",
            "keeps the start time of new entries",
            "`age-above` matches nothing, and a young entry is not told from an idle one",
        ));
        findings.extend(events(seen));
    }
    if seen.answered() {
        findings.push(timeout_objects(seen.header.ct_timeout_protocols.as_deref()));
    }
    findings.push(nft_sets(seen.nft.as_deref()));
    findings.push(addresses(seen));
    findings.push(session(&seen.header.session));
    findings
}

fn switch(seen: &Seen, key: &str, on: &str, blinds: &str) -> Finding {
    let name = ("sight", key);
    match seen.header.number(key) {
        None => Finding::new(
            name,
            Verdict::Note,
            format!("not on this kernel: {blinds}"),
            &[],
        ),
        Some(0) => Finding::new(
            name,
            Verdict::Note,
            format!("off: {blinds}"),
            &[&format!(
                "`[sysctl] {key} = true`; entries that exist already stay without"
            )],
        ),
        Some(_) => Finding::new(name, Verdict::Good, format!("on: {on}"), &[]),
    }
}

fn events(seen: &Seen) -> Option<Finding> {
    let key = "nf_conntrack_events";
    let name = ("sight", key);
    Some(match seen.header.number(key)? {
        0 => Finding::new(
            name,
            Verdict::Note,
            "0: programs that listen, as conntrackd, learn nothing; rules do not need events",
            &["`[sysctl] nf_conntrack_events = 2`"],
        ),
        1 => Finding::new(name, Verdict::Good, "1: every entry sends events", &[]),
        _ => Finding::new(
            name,
            Verdict::Good,
            "2: entries made while somebody listens send events",
            &[],
        ),
    })
}

fn timeout_objects(protocols: Option<&[u8]>) -> Finding {
    let name = ("sight", "ct-timeout");
    match protocols {
        None => Finding::new(
            name,
            Verdict::Warning,
            "whether `ct timeout` objects exist cannot be found out without loading a module, or \
             was refused: idle times are unknown",
            &["`ignore-ct-timeout = true` in rules, where there are surely none"],
        ),
        Some([]) => Finding::new(
            name,
            Verdict::Good,
            "no `ct timeout` objects: the sysctls govern every timer",
            &[],
        ),
        Some(protocols) => {
            let numbers: Vec<String> = protocols.iter().map(u8::to_string).collect();
            Finding::new(
                name,
                Verdict::Note,
                format!(
                    "`ct timeout` objects exist for IP protocol {}: idle times there are unknown",
                    numbers.join(", ")
                ),
                &["`ignore-ct-timeout = true` in rules about flows that they do not govern"],
            )
        }
    }
}

fn nft_sets(nft: Option<&Path>) -> Finding {
    let name = ("sight", "nft-sets");
    match nft {
        None => Finding::new(
            name,
            Verdict::Note,
            "nft is not installed: rules that use a set of nftables are refused",
            &["install nftables; in a unit, have its directory in `PATH`"],
        ),
        Some(nft) => Finding::new(
            name,
            Verdict::Good,
            format!("{} lists the sets and maps of nftables", nft.display()),
            &[],
        ),
    }
}

fn addresses(seen: &Seen) -> Finding {
    let name = ("safety", "own-addresses");
    match &seen.header.addresses {
        None => Finding::new(
            name,
            Verdict::Warning,
            "they cannot be read, so every flow may be this host's own: only rules with \
             `include-host = true` act",
            &["in a unit: `RestrictAddressFamilies=AF_NETLINK AF_UNIX` allows it"],
        ),
        Some(addresses) => {
            let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let texts = if texts.is_empty() {
                "none".to_owned()
            } else {
                texts.join(", ")
            };
            let says = format!("{texts}: flows of this host itself are left alone");
            Finding::new(name, Verdict::Good, says, &[])
        }
    }
}

fn session(connections: &[Connection]) -> Finding {
    let name = ("safety", "session");
    if connections.is_empty() {
        return Finding::new(
            name,
            Verdict::Note,
            "no connection of this session is known: neither SSH_CONNECTION nor a socket of a parent process",
            &["a `[protect]` rule for the management port holds in any case"],
        );
    }
    let texts: Vec<String> = connections
        .iter()
        .map(|c| {
            let socket = |address, port| std::net::SocketAddr::new(address, port);
            format!(
                "{} -> {}",
                socket(c.peer, c.peer_port),
                socket(c.local, c.local_port)
            )
        })
        .collect();
    Finding::new(
        name,
        Verdict::Good,
        format!("left alone by every rule: {}", texts.join(", ")),
        &[],
    )
}
