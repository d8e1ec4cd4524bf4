//! What predicates cost beside the kernel's 1.4 µs an entry: `cargo bench --bench matcher`.

use conntidy::flow::{Extra, Family, Flow, Present, Protocol, Status, Tuple};
use conntidy::matcher::{Compiled, Context, Grade, Truth};
use conntidy::observe::{Header, Reading};
use conntidy::policy::{
    AddressField, AddressTerm, Members, PortField, Predicate, Seconds, Set, SetSource, Test,
};
use divan::{Bencher, counter::ItemsCount};
use std::net::IpAddr;

const FLOWS: u32 = 10_000;

fn main() {
    divan::main();
}

/// Three quarters TCP, the rest UDP and ICMP; many clients, few servers.
fn flows() -> Vec<Flow> {
    (0..FLOWS)
        .map(|n| {
            let protocol = match n % 8 {
                0..6 => Protocol::TCP,
                6 => Protocol::UDP,
                _ => Protocol::ICMP,
            };
            let src = IpAddr::from((0x0a00_0000 + n * 37 % 65_536).to_be_bytes());
            let dst = IpAddr::from((0xc000_0200 + n % 64).to_be_bytes());
            let sport = u16::try_from(1024 + n * 7 % 60_000).expect("a port");
            let mut flow = Flow::new(Family::Ipv4, protocol, Tuple::new(src, dst, sport, 443));
            flow.present = Present::STATUS
                | Present::TIMEOUT
                | Present::MARK
                | Present::ID
                | Present::REPLY
                | Present::STATE
                | Present::TCP_FLAGS;
            flow.present.set(Present::STATE, protocol.has_states());
            flow.status = Status::CONFIRMED | Status::SEEN_REPLY | Status::ASSURED;
            flow.state = u8::try_from(n / 8 % 8 + 1).expect("a state");
            flow.timeout = n * 43 % 432_000;
            flow
        })
        .collect()
}

fn header() -> Header {
    let mut header = Header {
        time_ns: 1_700_000_000_000_000_000,
        uptime_ns: 900_000_000_000_000,
        addresses: Some(vec!["203.0.113.1".parse().expect("an address")]),
        ct_timeout_protocols: Some(Vec::new()),
        ..Header::default()
    };
    for tunable in conntidy::tunable::TUNABLES {
        let reading = Reading {
            value: Some(
                if tunable.name.contains("established") {
                    "432000"
                } else {
                    "120"
                }
                .to_owned(),
            ),
            writable: true,
            error: None,
        };
        header.tunables.insert(tunable.name.to_owned(), reading);
        header
            .history
            .record_timeout(tunable.name, 1_000_000_000, 432_000);
    }
    header
}

fn tests(tests: Vec<Test>) -> Predicate {
    Predicate {
        tests,
        not: Vec::new(),
    }
}

fn net(text: &str) -> AddressTerm {
    AddressTerm::Prefix(text.parse().expect("a prefix"))
}

/// Predicates as gateways have them; none of the first kind matches.
fn predicate(kind: usize) -> Predicate {
    let tcp = Test::Protocol(vec![Protocol::TCP]);
    let udp = Test::Protocol(vec![Protocol::UDP]);
    let state = |state| Test::State(vec![(Protocol::TCP, state)]);
    match kind % 7 {
        0 => tests(vec![Test::Protocol(vec![Protocol::SCTP]), state(3)]),
        1 => tests(vec![tcp, state(9)]),
        2 => tests(vec![
            udp,
            Test::Port(PortField::Dst, vec![(53, 53), (5060, 5061)]),
        ]),
        3 => tests(vec![tcp, state(3), Test::IdleFor(Seconds(43_200))]),
        4 => tests(vec![
            tcp,
            Test::Address(AddressField::Dst, vec![net("10.0.9.5/32")]),
        ]),
        5 => tests(vec![Test::Mark(vec![(0x10, 0xff)])]),
        _ => tests(vec![tcp, state(7), Test::IdleFor(Seconds(10))]),
    }
}

fn evaluate(bencher: Bencher<'_, '_>, predicates: &[Predicate], sets: &[Set], members: &[Members]) {
    let header = header();
    let context = Context::new(&header, sets, members);
    let compiled: Vec<Compiled> = predicates
        .iter()
        .map(|predicate| Compiled::new(predicate, &context, false))
        .collect();
    let flows = flows();
    let items = flows.len() * compiled.len();
    bencher.counter(ItemsCount::new(items)).bench_local(|| {
        flows
            .iter()
            .map(|flow| {
                compiled
                    .iter()
                    .filter(|c| c.eval(flow, &Extra::default(), Grade::Proven) == Truth::True)
                    .count()
            })
            .sum::<usize>()
    });
}

/// One rule of each kind; an item is a flow and a rule.
#[divan::bench(args = 0..7_usize)]
fn one_rule(bencher: Bencher<'_, '_>, kind: usize) {
    evaluate(bencher, &[predicate(kind)], &[], &[]);
}

/// Twenty rules of all kinds; an item is a flow and a rule.
#[divan::bench]
fn twenty_rules(bencher: Bencher<'_, '_>) {
    let predicates: Vec<Predicate> = (0..20).map(predicate).collect();
    evaluate(bencher, &predicates, &[], &[]);
}

/// A file of banned addresses.
#[divan::bench(args = [10_u32, 1000, 100_000])]
fn banned(bencher: Bencher<'_, '_>, addresses: u32) {
    let prefixes = (0..addresses)
        .map(|n| ipnet::IpNet::from(IpAddr::from((n * 40_009).to_be_bytes())))
        .collect();
    let members = [Members {
        prefixes,
        error: None,
    }];
    let sets = [Set {
        name: "banned".to_owned(),
        source: SetSource::Local,
        allow_empty: false,
    }];
    let test = Test::Address(AddressField::Src, vec![AddressTerm::Set(0)]);
    evaluate(bencher, &[tests(vec![test])], &sets, &members);
}
