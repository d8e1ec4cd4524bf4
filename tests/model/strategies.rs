//! Random valid policies, and tables, headers and histories small enough that they meet.

use std::collections::BTreeMap;
use std::net::IpAddr;

use conntidy::flow::status::StatusWord;
use conntidy::flow::{
    Counters, ExtraTable, Family, Flow, OwnedExtra, Present, Protocol, Status, Tuple,
};
use conntidy::flow::{Extra, protocol};
use conntidy::history::{ClockOffset, CtTimeoutSeen, History, Observation, Retime};
use conntidy::observe::{Connection, Header, Reading};
use conntidy::policy::{
    Action, AddressField, AddressTerm, AuditKeep, Budget, Compression, GroupField, Limits, Members,
    NatWord, Over, PathWord, Percent, Policy, PortField, Predicate, Protect, Rule, RunMode,
    Seconds, Set, SetSource, SnapshotSettings, Test,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const S: u64 = 1_000_000_000;
/// Time since boot of every random header, seconds.
const UPTIME: u64 = 200_000;
/// Wall clock minus time since boot, seconds.
const OFFSET: u64 = 1_700_000_000;

const IPV4: [&str; 6] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.1.1",
    "192.0.2.9",
    "203.0.113.1",
    "127.0.0.1",
];
const IPV6: [&str; 4] = ["fd00::1", "fd00::2", "2001:db8::9", "::1"];
const PORTS: [u16; 6] = [22, 53, 80, 443, 1024, 40_000];
const PROTOCOLS: [u8; 10] = [6, 6, 6, 17, 17, 1, 58, 47, 132, 50];
/// Timeouts, and the durations of tests about them.
const SECONDS: [u32; 9] = [10, 30, 60, 120, 300, 600, 7440, 86_400, 432_000];
const TIMEOUTS: [&str; 24] = [
    "generic_timeout",
    "icmp_timeout",
    "icmpv6_timeout",
    "tcp_timeout_syn_sent",
    "tcp_timeout_syn_recv",
    "tcp_timeout_established",
    "tcp_timeout_fin_wait",
    "tcp_timeout_close_wait",
    "tcp_timeout_last_ack",
    "tcp_timeout_time_wait",
    "tcp_timeout_close",
    "tcp_timeout_syn_sent2",
    "tcp_timeout_max_retrans",
    "tcp_timeout_unacknowledged",
    "udp_timeout",
    "udp_timeout_stream",
    "gre_timeout",
    "gre_timeout_stream",
    "sctp_timeout_cookie_wait",
    "sctp_timeout_established",
    "sctp_timeout_shutdown_sent",
    "sctp_timeout_heartbeat_sent",
    "dccp_timeout_open",
    "dccp_timeout_request",
];
const HELPERS: [&str; 2] = ["ftp", "sip"];

/// Everything that a decision is made from.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) policy: Policy,
    pub(crate) header: Header,
    pub(crate) members: Vec<Members>,
    pub(crate) flows: Vec<(Flow, OwnedExtra)>,
    pub(crate) earlier: Earlier,
}

/// What earlier runs left.
#[derive(Clone, Debug)]
pub(crate) struct Earlier {
    /// Rules that are not due, by index.
    resting: Vec<bool>,
    /// For how many seconds flows have matched, in no particular order.
    ages: Vec<Option<u64>>,
}

impl Earlier {
    /// Whether a rule is not due.
    pub(crate) fn rests(&self, rule: usize) -> bool {
        self.resting[rule % self.resting.len()]
    }

    /// For how many seconds a rule has matched a flow.
    pub(crate) fn age(&self, rule: usize, flow: usize) -> Option<u64> {
        self.ages[(rule * 7 + flow) % self.ages.len()]
    }
}

fn earlier() -> impl Strategy<Value = Earlier> {
    let resting = vec(proptest::bool::weighted(0.15), 6);
    let ages = vec(option::of(select(&[0_u64, 1, 29, 30, 60, 61][..])), 11);
    (resting, ages).prop_map(|(resting, ages)| Earlier { resting, ages })
}

impl Case {
    /// The flows with borrowed extras.
    pub(crate) fn borrowed(&self) -> Vec<(Flow, Extra<'_>)> {
        self.flows
            .iter()
            .map(|(flow, extra)| (*flow, extra.borrow()))
            .collect()
    }
}

/// A policy on a table of at most `most` flows.
pub(crate) fn case(most: usize) -> impl Strategy<Value = Case> {
    let table = (sets(), header(), vec(flow(), 1..most), earlier());
    table.prop_flat_map(|(sets, header, flows, earlier)| {
        let (sets, members): (Vec<Set>, Vec<Members>) = sets.into_iter().unzip();
        policy(sets).prop_map(move |policy| Case {
            policy,
            header: header.clone(),
            members: members.clone(),
            flows: flows.clone(),
            earlier: earlier.clone(),
        })
    })
}

fn address(family: Family) -> BoxedStrategy<IpAddr> {
    let texts: &'static [&'static str] = match family {
        Family::Ipv4 => &IPV4,
        Family::Ipv6 => &IPV6,
    };
    select(texts)
        .prop_map(|text| text.parse().expect("an address"))
        .boxed()
}

fn prefix() -> impl Strategy<Value = ipnet::IpNet> {
    let text = prop_oneof![
        select(&IPV4[..]).prop_map(|a| format!("{a}/32")),
        select(&IPV6[..]).prop_map(|a| format!("{a}/128")),
        select(
            &[
                "10.0.0.0/24",
                "10.0.0.0/8",
                "0.0.0.0/0",
                "fd00::/64",
                "::/0",
                "203.0.113.0/25"
            ][..]
        )
        .prop_map(str::to_owned),
    ];
    text.prop_map(|text| text.parse().expect("a prefix"))
}

/// Three sets with their members, one in six of them unreadable.
fn sets() -> impl Strategy<Value = Vec<(Set, Members)>> {
    let set = (vec(prefix(), 0..12), 0..6_u8, any::<bool>());
    vec(set, 3).prop_map(|sets| {
        let sets = sets.into_iter().enumerate();
        sets.map(|(index, (prefixes, luck, allow_empty))| {
            let set = Set {
                name: format!("set{index}"),
                source: SetSource::Addresses(prefixes.clone()),
                allow_empty,
            };
            let members = Members {
                prefixes,
                error: (luck == 0).then(|| "unreadable".to_owned()),
            };
            (set, members)
        })
        .collect()
    })
}

fn seconds() -> impl Strategy<Value = Seconds> {
    select(&SECONDS[..]).prop_map(|s| Seconds(s.into()))
}

fn ranges(values: &'static [u16]) -> impl Strategy<Value = Vec<(u16, u16)>> {
    let range = (select(values), 0..3_u16).prop_map(|(low, wide)| (low, low.saturating_add(wide)));
    vec(range, 1..12)
}

fn byte_ranges() -> impl Strategy<Value = Vec<(u8, u8)>> {
    let range = (select(&[0_u8, 3, 8, 128, 255][..]), 0..2_u8);
    vec(
        range.prop_map(|(low, wide)| (low, low.saturating_add(wide))),
        1..3,
    )
}

/// States by name, as a policy writes them: of every protocol that has the name.
fn states() -> impl Strategy<Value = Vec<(Protocol, u8)>> {
    let names = [
        "ESTABLISHED",
        "TIME_WAIT",
        "CLOSE_WAIT",
        "SYN_SENT",
        "CLOSED",
        "OPEN",
        "CLOSE",
    ];
    subsequence(names.to_vec(), 1..4).prop_map(|names| {
        let stateful = [Protocol::TCP, Protocol::SCTP, Protocol::DCCP];
        names
            .into_iter()
            .flat_map(|name| {
                stateful
                    .into_iter()
                    .filter_map(move |p| Some((p, protocol::state_number(p, name)?)))
            })
            .collect()
    })
}

fn address_test() -> impl Strategy<Value = Test> {
    use AddressField::{Any, Dst, NatDst, NatSrc, ReplyDst, ReplySrc, Src};
    let term = prop_oneof![
        3 => prefix().prop_map(AddressTerm::Prefix),
        1 => (0..3_usize).prop_map(AddressTerm::Set),
    ];
    let field = select(&[Src, Dst, ReplySrc, ReplyDst, Any, NatSrc, NatDst][..]);
    (field, vec(term, 1..4)).prop_map(|(field, terms)| Test::Address(field, terms))
}

fn port_test() -> impl Strategy<Value = Test> {
    use PortField::{Dst, Either, ReplyDst, ReplySrc, Src};
    (
        select(&[Src, Dst, ReplySrc, ReplyDst, Either][..]),
        ranges(&PORTS),
    )
        .prop_map(|(field, ranges)| Test::Port(field, ranges))
}

fn word_test() -> impl Strategy<Value = Test> {
    let statuses = conntidy::flow::status::STATUS_WORDS
        .map(|(word, _)| word)
        .to_vec();
    let protocols: Vec<u8> = vec![1, 6, 17, 47, 50, 58, 132];
    prop_oneof![
        1 => select(&[Family::Ipv4, Family::Ipv6][..]).prop_map(|f| Test::Family(vec![f])),
        4 => subsequence(protocols, 1..4)
            .prop_map(|list| Test::Protocol(list.into_iter().map(Protocol).collect())),
        4 => states().prop_map(Test::State),
        3 => subsequence(statuses, 1..3).prop_map(Test::Status),
        1 => select(&[NatWord::Src, NatWord::Dst, NatWord::Any, NatWord::None][..])
            .prop_map(|word| Test::Nat(vec![word])),
        1 => subsequence(vec![PathWord::Forward, PathWord::Input, PathWord::Output], 1..3)
            .prop_map(Test::Path),
    ]
}

fn number_test() -> impl Strategy<Value = Test> {
    let mark = prop_oneof![Just((1, 1)), Just((0, 0xff)), Just((5, u32::MAX))];
    let zones = vec(0..3_u16, 1..3);
    prop_oneof![
        byte_ranges().prop_map(Test::IcmpType),
        byte_ranges().prop_map(Test::IcmpCode),
        ranges(&PORTS).prop_map(Test::GreKey),
        vec(mark, 1..3).prop_map(Test::Mark),
        zones.clone().prop_map(Test::Zone),
        zones.clone().prop_map(Test::OrigZone),
        zones.prop_map(Test::ReplyZone),
        vec(select(&[0_u8, 3, 127][..]), 1..3).prop_map(Test::Label),
        vec(select(&HELPERS[..]).prop_map(str::to_owned), 1..3).prop_map(Test::Helper),
    ]
}

fn measure_test() -> impl Strategy<Value = Test> {
    let count = select(&[0_u64, 5, 6, 10][..]);
    prop_oneof![
        seconds().prop_map(Test::AgeAbove),
        seconds().prop_map(Test::RemainingAbove),
        seconds().prop_map(Test::RemainingBelow),
        count.clone().prop_map(Test::BytesAbove),
        count.clone().prop_map(Test::BytesBelow),
        count.clone().prop_map(Test::PacketsAbove),
        count.prop_map(Test::PacketsBelow),
    ]
}

fn test() -> impl Strategy<Value = Test> {
    prop_oneof![
        4 => word_test(),
        2 => address_test(),
        1 => port_test(),
        2 => number_test(),
        2 => measure_test(),
        2 => seconds().prop_map(Test::IdleFor),
    ]
}

/// What a table of a policy can hold once.
fn key(test: &Test) -> String {
    let debug = format!("{test:?}");
    let end = debug.find(['[', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    debug[..end.unwrap_or(debug.len())].to_owned()
}

fn distinct(tests: Vec<Test>) -> Vec<Test> {
    let mut seen = Vec::new();
    tests
        .into_iter()
        .filter(|test| {
            let key = key(test);
            let new = !seen.contains(&key);
            seen.push(key);
            new
        })
        .collect()
}

/// A predicate of at least one test; idle times under `not` only where they may stand there.
fn predicate(idle_under_not: bool) -> impl Strategy<Value = Predicate> {
    (vec(test(), 1..4), vec(test(), 0..3)).prop_map(move |(tests, mut not)| {
        if !idle_under_not {
            not.retain(|test| !matches!(test, Test::IdleFor(_)));
        }
        Predicate {
            tests: distinct(tests),
            not: distinct(not),
        }
    })
}

/// Predicates, for comparisons one by one.
pub(crate) fn predicates() -> impl Strategy<Value = Vec<Predicate>> {
    vec(predicate(true), 1..12)
}

fn percent() -> impl Strategy<Value = Percent> {
    select(&[1_u16, 500, 5000, 10_000][..]).prop_map(Percent)
}

fn over() -> impl Strategy<Value = Over> {
    use GroupField::{Dport, Dst, Mark, ReplyDst, ReplySrc, Src, Zone};
    (
        select(&[Src, Dst, ReplySrc, ReplyDst, Dport, Mark, Zone][..]),
        select(&[0_u8, 24, 32][..]),
        select(&[0_u8, 64, 128][..]),
        0..4_u64,
    )
        .prop_map(|(per, prefix4, prefix6, count)| Over {
            per,
            prefix4,
            prefix6,
            count,
        })
}

fn budget() -> impl Strategy<Value = Budget> {
    let count = select(&[0_u64, 1, 5, 60, 500][..]);
    (option::of(count), option::of(percent())).prop_map(|(count, percent)| Budget {
        count: count.or_else(|| percent.is_none().then_some(100)),
        percent,
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let action = prop_oneof![
        3 => Just(Action::Delete),
        3 => seconds().prop_map(|grace| Action::Expire { grace }),
        1 => Just(Action::Report),
    ];
    let predicate = prop_oneof![
        4 => predicate(false).prop_map(|p| (p, false)),
        2 => Just((Predicate::default(), true)),
    ];
    (
        predicate,
        action,
        select(&[10_i32, 50, 90][..]),
        (option::of(budget()), option::weighted(0.25, over())),
        (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
    )
        .prop_map(
            |((predicate, everything), action, order, (budget, over), switches)| {
                let (allow_assured, include_host, ignore_ct_timeout, accept_risk) = switches;
                let mut predicate = predicate;
                if matches!(action, Action::Expire { .. }) {
                    // `expire` on offloaded flows is an error of a policy.
                    for test in &mut predicate.tests {
                        if let Test::Status(words) = test {
                            let offload = [StatusWord::Offload, StatusWord::HwOffload];
                            words.retain(|word| !offload.contains(word));
                            if words.is_empty() {
                                words.push(StatusWord::Assured);
                            }
                        }
                    }
                }
                Rule {
                    name: String::new(),
                    description: None,
                    budget: budget.or_else(|| {
                        let percent = Some(Percent::ALL);
                        everything.then_some(Budget {
                            count: None,
                            percent,
                        })
                    }),
                    predicate,
                    narrowed: Predicate::default(),
                    allow_half_closed: false,
                    only_claims: false,
                    everything,
                    action,
                    order,
                    allow_assured,
                    by_hand: false,
                    include_host,
                    ignore_ct_timeout,
                    accept_risk: accept_risk.then(|| "tried".to_owned()),
                    over,
                    persisted: None,
                    every: None,
                    when: None,
                }
            },
        )
}

fn policy(sets: Vec<Set>) -> impl Strategy<Value = Policy> {
    let mode = prop_oneof![5 => Just(RunMode::Act), 1 => Just(RunMode::Report)];
    (
        mode,
        (percent(), percent()),
        vec(
            (rule(), option::weighted(0.25, select(&[1_u64, 30, 60][..]))),
            0..6,
        ),
        vec(predicate(true), 0..2),
    )
        .prop_map(move |(mode, (delete, expire), mut rules, protect)| {
            for (index, (rule, persisted)) in rules.iter_mut().enumerate() {
                rule.persisted = persisted.filter(|_| rule.over.is_none()).map(Seconds);
                rule.name = format!("rule{index}");
            }
            let mut rules: Vec<Rule> = rules.into_iter().map(|(rule, _)| rule).collect();
            rules.sort_by_key(|rule| (rule.order, rule.name.clone()));
            let protect = protect.into_iter().enumerate();
            Policy {
                mode,
                every: Seconds(300),
                boot_grace: Seconds(600),
                strict_filter: false,
                limits: Limits {
                    delete,
                    expire,
                    pace: None,
                    breaker: 3,
                },
                goals: Vec::new(),
                apply_to_existing: Vec::new(),
                timeouts_accept_risk: None,
                sets: sets.clone(),
                rules,
                protect: protect
                    .map(|(index, predicate)| Protect {
                        name: format!("protect{index}"),
                        description: None,
                        predicate,
                    })
                    .collect(),
                snapshot: SnapshotSettings {
                    directory: "/var/lib/conntidy/snapshots".to_owned(),
                    compression: Compression::Zstd,
                    ..SnapshotSettings::default()
                },
                audit: AuditKeep {
                    runs: 50,
                    max_bytes: 1 << 28,
                },
                sha256: "0".repeat(64),
            }
        })
}

fn reading() -> impl Strategy<Value = Reading> {
    let value = prop_oneof![
        30 => select(&SECONDS[..]).prop_map(|s| Some(s.to_string())),
        1 => Just(None),
        1 => Just(Some("-1".to_owned())),
    ];
    value.prop_map(|value| Reading {
        value,
        writable: true,
        error: None,
    })
}

/// A time since boot, often long ago, seldom after now.
fn past() -> impl Strategy<Value = u64> {
    let ago = prop_oneof![
        6 => select(&SECONDS[..7]).prop_map(u64::from),
        6 => Just(UPTIME - 1),
        1 => 0..UPTIME,
    ];
    (ago, 0..3_u64).prop_map(|(ago, more)| (UPTIME + 1 - ago - more).min(UPTIME) * S)
}

fn history() -> impl Strategy<Value = History> {
    let observation =
        (past(), select(&SECONDS[..])).prop_map(|(at_ns, value)| Observation { at_ns, value });
    let values = vec(observation, 0..4).prop_map(|mut list| {
        list.sort_by_key(|o| o.at_ns);
        list.dedup_by_key(|o| o.at_ns);
        list
    });
    let retime = (past(), select(&TIMEOUTS[..]), select(&SECONDS[..])).prop_map(
        |(at_ns, timeout, seconds)| Retime {
            at_ns,
            timeout: format!("nf_conntrack_{timeout}"),
            seconds,
        },
    );
    let offset = select(&[0_i64, 0, 0, 300, -300][..]);
    let clock = (past(), offset).prop_map(|(at_ns, by)| ClockOffset {
        at_ns,
        offset_ns: (OFFSET.cast_signed() + by) * S.cast_signed(),
    });
    let ct_timeout =
        (past(), any::<bool>()).prop_map(|(until_ns, present)| CtTimeoutSeen { until_ns, present });
    (
        vec(values, TIMEOUTS.len()),
        vec(retime, 0..8),
        vec(clock, 0..3),
        proptest::collection::btree_map(select(&[6_u8, 17][..]), ct_timeout, 0..2),
    )
        .prop_map(|(values, mut retimes, mut clock, ct_timeouts)| {
            retimes.sort_by_key(|r| r.at_ns);
            clock.sort_by_key(|c| c.at_ns);
            clock.dedup_by_key(|c| c.at_ns);
            let names = TIMEOUTS.iter().map(|name| format!("nf_conntrack_{name}"));
            let timeouts = names.zip(values).filter(|(_, list)| !list.is_empty());
            History {
                timeouts: timeouts.collect(),
                retimes,
                ct_timeouts,
                clock,
                ..History::default()
            }
        })
}

fn header() -> impl Strategy<Value = Header> {
    let addresses = vec(select(&["203.0.113.1", "10.0.1.1", "fd00::1"][..]), 0..3);
    let ct_timeouts = prop_oneof![
        6 => Just(Some(Vec::new())),
        1 => Just(Some(vec![6])),
        1 => Just(Some(vec![17, 132])),
        1 => Just(None),
    ];
    let port = || select(&PORTS[..]);
    let ipv4 = || address(Family::Ipv4);
    let session =
        (ipv4(), port(), ipv4(), port()).prop_map(|(local, local_port, peer, peer_port)| {
            Connection {
                protocol: 6,
                local,
                local_port,
                peer,
                peer_port,
            }
        });
    (
        vec(reading(), TIMEOUTS.len()),
        option::weighted(0.9, addresses),
        ct_timeouts,
        vec(session, 0..24),
        history(),
    )
        .prop_map(
            |(readings, addresses, ct_timeout_protocols, session, history)| {
                let names = TIMEOUTS.iter().filter(|name| !name.ends_with("syn_sent2"));
                let tunables: BTreeMap<String, Reading> = names
                    .map(|name| format!("nf_conntrack_{name}"))
                    .zip(readings)
                    .collect();
                Header {
                    time_ns: (OFFSET + UPTIME) * S,
                    uptime_ns: UPTIME * S,
                    cores: 2,
                    memory: 1 << 30,
                    conntrack: true,
                    tunables,
                    addresses: addresses.map(|list| {
                        list.iter()
                            .map(|a| a.parse().expect("an address"))
                            .collect()
                    }),
                    ct_timeout_protocols,
                    session,
                    history,
                    ..Header::default()
                }
            },
        )
}

fn tuple(family: Family) -> impl Strategy<Value = Tuple> {
    let port = || select(&PORTS[..]);
    (address(family), address(family), port(), port())
        .prop_map(|(src, dst, sport, dport)| Tuple::new(src, dst, sport, dport))
}

/// Status bits: what is common, and now and then what is not.
fn status() -> impl Strategy<Value = Status> {
    let nat = prop_oneof![
        4 => Just(Status::empty()),
        1 => Just(Status::SRC_NAT),
        1 => Just(Status::DST_NAT),
        1 => Just(Status::SRC_NAT | Status::DST_NAT),
    ];
    let seen = prop_oneof![
        1 => Just(Status::empty()),
        2 => Just(Status::SEEN_REPLY),
        4 => Just(Status::SEEN_REPLY | Status::ASSURED),
    ];
    let rare = prop_oneof![
        12 => Just(Status::empty()),
        1 => Just(Status::OFFLOAD),
        1 => Just(Status::HW_OFFLOAD),
        1 => Just(Status::FIXED_TIMEOUT),
        1 => Just(Status::HELPER),
        1 => Just(Status::EXPECTED),
    ];
    (nat, seen, rare).prop_map(|(nat, seen, rare)| Status::CONFIRMED | nat | seen | rare)
}

/// Remaining seconds, near the differences of two of [`SECONDS`].
fn remaining() -> impl Strategy<Value = u32> {
    let value = || select(&SECONDS[..]);
    (value(), option::of(value()), 0..3_u32).prop_map(|(timeout, idle, near)| {
        (timeout + 1)
            .saturating_sub(idle.unwrap_or(0))
            .saturating_sub(near)
    })
}

fn start() -> impl Strategy<Value = u64> {
    let ago = prop_oneof![
        8 => select(&SECONDS[..8]).prop_map(u64::from),
        2 => 0..UPTIME,
        1 => Just(UPTIME + 5),
    ];
    (ago, 0..3_u64).prop_map(|(ago, near)| (OFFSET + UPTIME + 1 - ago - near) * S)
}

fn extra() -> impl Strategy<Value = OwnedExtra> {
    let labels = select(&[1_u128, 8, 1 << 127][..]);
    let helper = option::weighted(0.1, select(&HELPERS[..]));
    (helper, option::weighted(0.2, labels)).prop_map(|(helper, labels)| {
        Extra {
            helper,
            labels,
            ..Extra::default()
        }
        .to_owned()
    })
}

/// An entry as the kernel could send it: zero where it sent nothing.
fn flow() -> impl Strategy<Value = (Flow, OwnedExtra)> {
    let family = prop_oneof![4 => Just(Family::Ipv4), 1 => Just(Family::Ipv6)];
    let missing = || any::<u16>().prop_map(|bits| bits % 24);
    family.prop_flat_map(move |family| {
        (
            (
                tuple(family),
                option::weighted(0.4, tuple(family)),
                select(&PROTOCOLS[..]),
            ),
            (status(), remaining(), 0..10_u8, start()),
            (0..4_u8, select(&[0_u32, 1, 5][..]), 0..3_u16, 0..3_u16),
            (0..8_u64, 0..8_u64, any::<u32>()),
            (missing(), any::<bool>(), any::<bool>(), extra()),
        )
            .prop_map(move |(wire, timer, marks, counts, rest)| {
                let (orig, reply, protocol) = wire;
                let (status, remaining, state, start) = timer;
                let (flags, mark, zone_orig, zone_reply) = marks;
                let (packets, bytes, id) = counts;
                let (missing, accounting, timestamps, extra) = rest;
                let mut flow = Flow::new(family, Protocol(protocol), orig);
                flow.reply = reply.unwrap_or(flow.reply);
                flow.present = Present::STATUS
                    | Present::TIMEOUT
                    | Present::MARK
                    | Present::ID
                    | Present::REPLY;
                if flow.protocol.has_states() {
                    flow.present |= Present::STATE;
                }
                if flow.protocol == Protocol::TCP {
                    flow.present |= Present::TCP_FLAGS;
                }
                flow.present.set(Present::COUNTERS, accounting);
                flow.present.set(Present::START, timestamps);
                let lost = match missing {
                    0 => Present::STATUS,
                    1 => Present::TIMEOUT,
                    2 => Present::MARK,
                    3 => Present::ID,
                    4 => Present::REPLY,
                    5 => Present::STATE,
                    6 => Present::TCP_FLAGS,
                    7 => Present::COUNTERS_REPLY,
                    _ => Present::empty(),
                };
                flow.present.remove(lost);
                let has = |what| flow.present.contains(what);
                if !has(Present::REPLY) {
                    flow.reply = orig.inverse(flow.protocol);
                }
                if has(Present::STATUS) {
                    flow.status = status;
                }
                if has(Present::TIMEOUT) {
                    flow.timeout = remaining;
                }
                if has(Present::STATE) {
                    flow.state = state;
                }
                if has(Present::TCP_FLAGS) && flags == 1 {
                    flow.tcp_flags_orig = 0x13;
                }
                if has(Present::TCP_FLAGS) && flags == 2 {
                    flow.tcp_flags_reply = 0x10;
                }
                if has(Present::MARK) {
                    flow.mark = mark;
                }
                if has(Present::ID) {
                    flow.id = id;
                }
                let counters = Counters { packets, bytes };
                if has(Present::COUNTERS_ORIG) {
                    flow.counters_orig = counters;
                }
                if has(Present::COUNTERS_REPLY) {
                    flow.counters_reply = counters;
                }
                if has(Present::START) {
                    flow.start_ns = start;
                }
                (flow.zone_orig, flow.zone_reply) = (zone_orig, zone_reply);
                (flow, extra)
            })
    })
}

/// Interns the extras of a case, as a source that keeps flows would.
#[allow(dead_code)] // for comparisons with plans
pub(crate) fn interned(case: &Case) -> (Vec<Flow>, ExtraTable) {
    let mut table = ExtraTable::default();
    let flows = case.flows.iter().map(|(flow, extra)| Flow {
        extra: table.intern(&extra.borrow()),
        ..*flow
    });
    (flows.collect(), table)
}
