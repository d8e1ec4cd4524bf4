//! What `check` believes of a kind of entry is what the matcher says of entries of that kind.

use std::collections::BTreeMap;
use std::net::IpAddr;

use conntidy::flow::{Counters, Extra, Flow, Present, Tuple};
use conntidy::matcher::{Compiled, Context, Grade, Truth};
use conntidy::observe::{Header, Reading};
use conntidy::policy::cell::Cells;
use conntidy::policy::timing::Timing;
use conntidy::policy::{Members, Policy, Predicate, SetSource, Test};
use conntidy::tunable::TUNABLES;
use proptest::prelude::*;

use crate::meaning::load_policy;

const SWITCHED: [(&str, &str); 2] = [
    ("true", "1"),
    // Without accounting and timestamps no entry has counters or a start.
    ("false", "0"),
];

/// The kernel as the policy wishes it, so that both sides know the same timeouts.
fn header(policy: &Policy) -> Header {
    let timing = Timing {
        policy,
        header: None,
    };
    let mut tunables = BTreeMap::new();
    for tunable in TUNABLES {
        if let Some((value, _)) = timing.value(tunable.name) {
            let reading = Reading {
                value: Some(value.to_string()),
                writable: true,
                error: None,
            };
            tunables.insert(tunable.name.to_owned(), reading);
        }
    }
    Header {
        tunables,
        uptime_ns: 10_000_000 * 1_000_000_000,
        time_ns: 2_000_000_000 * 1_000_000_000,
        addresses: Some(vec![IpAddr::from([10, 0, 0, 1])]),
        ct_timeout_protocols: Some(Vec::new()),
        ..Header::default()
    }
}

fn members(policy: &Policy) -> Vec<Members> {
    let of = |source: &SetSource| match source {
        SetSource::Addresses(prefixes) => prefixes.clone(),
        _ => Vec::new(),
    };
    let sets = policy.sets.iter();
    sets.map(|set| Members {
        prefixes: of(&set.source),
        error: None,
    })
    .collect()
}

fn all_tests(policy: &Policy) -> Vec<Test> {
    let rules = policy.rules.iter().map(|rule| &rule.predicate);
    let protect = policy.protect.iter().map(|protect| &protect.predicate);
    rules
        .chain(protect)
        .flat_map(|predicate| predicate.all_tests().cloned())
        .collect()
}

/// What varies within a cell.
#[derive(Clone, Debug)]
struct Variation {
    addresses: [u8; 4],
    ports: (u16, u16),
    mark: u32,
    zones: (u16, u16),
    remaining: u32,
    bytes: u64,
}

fn variation() -> impl Strategy<Value = Variation> {
    let port = || prop_oneof![Just(22_u16), Just(53), Just(8 << 8), any::<u16>()];
    (
        prop::array::uniform4(prop_oneof![Just(1_u8), any::<u8>()]),
        (port(), port()),
        prop_oneof![Just(0x10_u32), Just(3), any::<u32>()],
        (0..2_u16, 0..2_u16),
        prop_oneof![0..200_u32, 0..500_000_u32],
        prop_oneof![0..100_000_u64, any::<u64>()],
    )
        .prop_map(
            |(addresses, ports, mark, zones, remaining, bytes)| Variation {
                addresses,
                ports,
                mark,
                zones,
                remaining,
                bytes,
            },
        )
}

fn vary(cell: &Flow, variation: &Variation, has_accounting: bool) -> Flow {
    let mut flow = *cell;
    let bytes = |last: u8| {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[10, 0, 0, last]);
        address
    };
    let [src, dst, reply_src, reply_dst] = variation.addresses.map(bytes);
    let (src_port, dst_port) = if flow.protocol.has_ports() || flow.protocol.0 == 1 {
        variation.ports
    } else {
        (0, 0)
    };
    flow.orig = Tuple {
        src,
        dst,
        src_port,
        dst_port,
    };
    flow.reply = Tuple {
        src: reply_src,
        dst: reply_dst,
        src_port: dst_port,
        dst_port: src_port,
    };
    flow.mark = variation.mark;
    (flow.zone_orig, flow.zone_reply) = variation.zones;
    flow.timeout = variation.remaining;
    flow.present |= Present::MARK | Present::REPLY | Present::ID;
    if has_accounting {
        let counters = Counters {
            packets: variation.bytes / 100,
            bytes: variation.bytes,
        };
        flow.counters_orig = counters;
        flow.start_ns = 1_999_990_000 * 1_000_000_000;
        flow.present |= Present::COUNTERS | Present::START;
    }
    flow
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_matcher_never_says_what_check_holds_impossible(variation in variation()) {
        for (word, value) in SWITCHED {
            let text = include_str!("../cases/policy/valid/every-key.toml")
                .replace("nf_conntrack_acct = true", &format!("nf_conntrack_acct = {word}"))
                .replace("nf_conntrack_timestamp = 1", &format!("nf_conntrack_timestamp = {value}"));
            let policy = load_policy(&text);
            let header = header(&policy);
            let members = members(&policy);
            let context = Context::new(&header, &policy.sets, &members);
            let cells = Cells::new(Timing { policy: &policy, header: None });
            let everything = cells.select(|_| true);
            for test in all_tests(&policy) {
                let predicate = Predicate { tests: vec![test.clone()], not: Vec::new() };
                let compiled = Compiled::new(&predicate, &context, false);
                for cell in cells.of(&everything) {
                    let flow = vary(cell, &variation, word == "true");
                    let can = cells.outcomes(&test, cell);
                    for grade in [Grade::Presumed, Grade::Proven] {
                        let is_possible = match compiled.eval(&flow, &Extra::default(), grade) {
                            Truth::True => can.yes,
                            Truth::False => can.no,
                            Truth::Unknown => can.unknown,
                        };
                        prop_assert!(
                            is_possible,
                            "{test:?} on {flow:?} is {:?}, but {can:?}",
                            compiled.eval(&flow, &Extra::default(), grade)
                        );
                    }
                }
            }
        }
    }
}
