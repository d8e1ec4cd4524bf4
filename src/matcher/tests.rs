//! Every field: when it is true, false and unknown, each also under `not`.

use std::net::IpAddr;

use super::*;
use crate::flow::{Counters, Present, Status, Tuple, protocol::tcp, status::StatusWord};
use crate::history::ClockOffset;
use crate::observe::{Header, Reading};
use crate::policy::{
    AddressField, AddressTerm, Members, NatWord, PathWord, PortField, Seconds, Set, SetSource,
};

const S: u64 = 1_000_000_000;
const OFFSET: u64 = 1_700_000_000;
const UPTIME: u64 = 1_000_000;

fn header() -> Header {
    let mut header = Header {
        time_ns: (OFFSET + UPTIME) * S,
        uptime_ns: UPTIME * S,
        addresses: Some(vec![
            "203.0.113.1".parse().unwrap(),
            "fd00::1".parse().unwrap(),
        ]),
        ct_timeout_protocols: Some(Vec::new()),
        ..Header::default()
    };
    for (name, value) in [
        ("nf_conntrack_udp_timeout", "30"),
        ("nf_conntrack_udp_timeout_stream", "120"),
    ] {
        let value = Some(value.to_owned());
        header.tunables.insert(
            name.to_owned(),
            Reading {
                value,
                writable: true,
                error: None,
            },
        );
    }
    header
}

fn flow(protocol: Protocol, src: &str, dst: &str) -> Flow {
    let (src, dst): (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
    let family = if src.is_ipv4() {
        Family::Ipv4
    } else {
        Family::Ipv6
    };
    let mut flow = Flow::new(family, protocol, Tuple::new(src, dst, 40_000, 443));
    flow.present =
        Present::STATUS | Present::TIMEOUT | Present::MARK | Present::ID | Present::REPLY;
    flow
}

fn udp() -> Flow {
    flow(Protocol::UDP, "10.0.0.1", "192.0.2.9")
}

fn tcp(state: u8) -> Flow {
    let mut flow = flow(Protocol::TCP, "10.0.0.1", "192.0.2.9");
    flow.present |= Present::STATE;
    flow.state = state;
    flow
}

fn icmp() -> Flow {
    let mut flow = flow(Protocol::ICMP, "10.0.0.1", "192.0.2.9");
    flow.orig.dst_port = u16::from_be_bytes([8, 3]);
    flow
}

fn gre() -> Flow {
    flow(Protocol::GRE, "10.0.0.1", "192.0.2.9")
}

fn with(mut flow: Flow, change: impl FnOnce(&mut Flow)) -> Flow {
    change(&mut flow);
    flow
}

fn without(mut flow: Flow, absent: Present) -> Flow {
    flow.present.remove(absent);
    flow
}

fn set(allow_empty: bool) -> Set {
    Set {
        name: "set".to_owned(),
        source: SetSource::Local,
        allow_empty,
    }
}

fn check_in(context: &Context<'_>, test: &Test, flow: &Flow, extra: &Extra<'_>, expected: Truth) {
    for (predicate, expected) in [
        (
            Predicate {
                tests: vec![test.clone()],
                not: Vec::new(),
            },
            expected,
        ),
        (
            Predicate {
                tests: Vec::new(),
                not: vec![test.clone()],
            },
            !expected,
        ),
    ] {
        let truth = Compiled::new(&predicate, context, false).eval(flow, extra, Grade::Proven);
        assert_eq!(truth, expected, "{predicate:?} on {flow:?} {extra:?}");
        let clauses = explain(&predicate, context, false, flow, extra, Grade::Proven);
        assert_eq!(clauses.len(), 1);
        assert_eq!(clauses[0].truth, expected, "{clauses:?}");
        let why = clauses[0].why.as_deref();
        assert_eq!(why.is_some(), expected == Truth::Unknown, "{clauses:?}");
        assert_ne!(why, Some(""), "{clauses:?}");
    }
}

fn check(test: &Test, cases: &[(Flow, Truth)]) {
    let header = header();
    let context = Context::new(&header, &[], &[]);
    for (flow, expected) in cases {
        check_in(&context, test, flow, &Extra::default(), *expected);
    }
}

use Truth::{False, True, Unknown};

#[test]
fn family_and_protocol_are_always_known() {
    let v6 = flow(Protocol::UDP, "fd00::2", "fd00::3");
    check(
        &Test::Family(vec![Family::Ipv6]),
        &[(v6, True), (udp(), False)],
    );
    let list = vec![Protocol::UDP, Protocol(50)];
    check(&Test::Protocol(list), &[(udp(), True), (gre(), False)]);
}

#[test]
fn state_is_unknown_for_protocols_without_states_and_without_protoinfo() {
    let established = vec![(Protocol::TCP, 3), (Protocol::SCTP, 4)];
    let mut sctp = flow(Protocol::SCTP, "10.0.0.1", "10.0.0.2");
    sctp.present |= Present::STATE;
    sctp.state = 4;
    check(
        &Test::State(established),
        &[
            (tcp(tcp::ESTABLISHED), True),
            (sctp, True),
            (tcp(4), False),
            (tcp(200), False),
            (without(tcp(3), Present::STATE), Unknown),
            (udp(), Unknown),
        ],
    );
}

#[test]
fn a_state_of_one_protocol_is_false_on_another_with_states() {
    let time_wait = Test::State(vec![(Protocol::TCP, tcp::TIME_WAIT)]);
    let sctp = with(tcp(tcp::TIME_WAIT), |f| f.protocol = Protocol::SCTP);
    check(&time_wait, &[(sctp, False)]);
}

#[test]
fn status_needs_the_status() {
    for (word, bit) in [
        (StatusWord::Assured, Status::ASSURED),
        (StatusWord::SeenReply, Status::SEEN_REPLY),
        (StatusWord::SrcNat, Status::SRC_NAT),
        (StatusWord::DstNat, Status::DST_NAT),
        (StatusWord::Offload, Status::OFFLOAD),
        (StatusWord::HwOffload, Status::HW_OFFLOAD),
        (StatusWord::FixedTimeout, Status::FIXED_TIMEOUT),
        (StatusWord::Expected, Status::EXPECTED),
        (StatusWord::Helper, Status::HELPER),
    ] {
        check(
            &Test::Status(vec![word]),
            &[
                (with(udp(), |f| f.status = bit), True),
                (with(udp(), |f| f.status = !bit), False),
                (without(udp(), Present::STATUS), Unknown),
            ],
        );
    }
    let replied = with(udp(), |f| f.status = Status::SEEN_REPLY);
    check(
        &Test::Status(vec![StatusWord::Unreplied]),
        &[
            (udp(), True),
            (replied, False),
            (without(udp(), Present::STATUS), Unknown),
        ],
    );
    check(
        &Test::Status(vec![StatusWord::Unreplied, StatusWord::SeenReply]),
        &[(udp(), True), (replied, True)],
    );
}

fn net(text: &str) -> AddressTerm {
    AddressTerm::Prefix(text.parse().unwrap())
}

#[test]
fn addresses_are_those_of_their_direction() {
    let mut nat = udp();
    nat.reply.dst = [203, 0, 113, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (field, hit, miss) in [
        (AddressField::Src, "10.0.0.0/24", "192.0.2.0/24"),
        (AddressField::Dst, "192.0.2.9/32", "10.0.0.0/8"),
        (AddressField::ReplySrc, "192.0.2.0/24", "10.0.0.0/8"),
        (AddressField::ReplyDst, "203.0.113.1/32", "10.0.0.0/8"),
        (AddressField::Any, "203.0.113.1/32", "172.16.0.0/12"),
    ] {
        check(&Test::Address(field, vec![net(hit)]), &[(nat, True)]);
        check(
            &Test::Address(field, vec![net(miss), net("::/0")]),
            &[(nat, False)],
        );
        check(
            &Test::Address(field, vec![net(miss), net(hit)]),
            &[(nat, True)],
        );
    }
}

#[test]
fn without_a_reply_tuple_its_addresses_and_ports_are_unknown() {
    let bare = without(udp(), Present::REPLY);
    let own = vec![net("10.0.0.1/32")];
    for field in [AddressField::ReplySrc, AddressField::ReplyDst] {
        check(&Test::Address(field, own.clone()), &[(bare, Unknown)]);
    }
    check(&Test::Address(AddressField::Any, own), &[(bare, True)]);
    check(
        &Test::Address(AddressField::Any, vec![net("9.9.9.9/32")]),
        &[(bare, Unknown)],
    );
    for field in [PortField::ReplySrc, PortField::ReplyDst] {
        check(&Test::Port(field, vec![(443, 443)]), &[(bare, Unknown)]);
    }
    check(&Test::Path(vec![PathWord::Forward]), &[(bare, Unknown)]);
    check(&Test::Path(vec![PathWord::Output]), &[(bare, False)]);
}

#[test]
fn a_translated_address_is_unknown_where_nothing_is_translated() {
    let mut snat = udp();
    snat.status = Status::SRC_NAT;
    snat.reply.dst[..4].copy_from_slice(&[203, 0, 113, 1]);
    let wan = vec![net("203.0.113.1/32")];
    let other = vec![net("203.0.113.2/32")];
    check(
        &Test::Address(AddressField::NatSrc, wan.clone()),
        &[
            (snat, True),
            (udp(), Unknown),
            (with(snat, |f| f.status = Status::DST_NAT), Unknown),
            (without(snat, Present::STATUS), Unknown),
            (without(snat, Present::REPLY), Unknown),
        ],
    );
    check(
        &Test::Address(AddressField::NatSrc, other.clone()),
        &[(snat, False)],
    );
    let mut dnat = udp();
    dnat.status = Status::DST_NAT;
    dnat.reply.src[..4].copy_from_slice(&[203, 0, 113, 1]);
    check(
        &Test::Address(AddressField::NatDst, wan),
        &[(dnat, True), (snat, Unknown)],
    );
    check(
        &Test::Address(AddressField::NatDst, other),
        &[(dnat, False)],
    );
}

#[test]
fn sets_are_known_unless_unreadable_or_empty() {
    let header = header();
    let prefixes: Vec<ipnet::IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
    let read = Members {
        prefixes: prefixes.clone(),
        error: None,
    };
    let unread = Members {
        prefixes,
        error: Some("no such file".to_owned()),
    };
    let empty = Members::default();
    for (members, allow_empty, expected) in [
        (&read, false, True),
        (&unread, true, Unknown),
        (&empty, false, Unknown),
        (&empty, true, False),
    ] {
        let sets = [set(allow_empty)];
        let members = [members.clone()];
        let context = Context::new(&header, &sets, &members);
        let test = Test::Address(AddressField::Src, vec![AddressTerm::Set(0)]);
        check_in(&context, &test, &udp(), &Extra::default(), expected);
        let either = vec![AddressTerm::Set(0), net("10.0.0.1/32")];
        let either = Test::Address(AddressField::Src, either);
        check_in(&context, &either, &udp(), &Extra::default(), True);
    }
    let context = Context::new(&header, &[], &[]);
    let missing = Test::Address(AddressField::Src, vec![AddressTerm::Set(7)]);
    check_in(&context, &missing, &udp(), &Extra::default(), Unknown);
}

#[test]
fn a_set_of_many_addresses_is_searched() {
    let header = header();
    let prefixes = (0..50_000_u32)
        .map(|n| ipnet::IpNet::from(IpAddr::from((n * 2).to_be_bytes())))
        .collect();
    let members = [Members {
        prefixes,
        error: None,
    }];
    let sets = [set(false)];
    let context = Context::new(&header, &sets, &members);
    let test = Test::Address(AddressField::Src, vec![AddressTerm::Set(0)]);
    for (src, expected) in [
        ("0.1.134.158", True),
        ("0.1.134.159", False),
        ("10.0.0.0", False),
    ] {
        let flow = flow(Protocol::UDP, src, "192.0.2.9");
        check_in(&context, &test, &flow, &Extra::default(), expected);
    }
}

#[test]
fn ports_are_those_of_protocols_that_have_them() {
    for (field, hit) in [
        (PortField::Src, 40_000),
        (PortField::Dst, 443),
        (PortField::ReplySrc, 443),
        (PortField::ReplyDst, 40_000),
        (PortField::Either, 443),
        (PortField::Either, 40_000),
    ] {
        check(
            &Test::Port(field, vec![(1, 2), (hit - 1, hit + 1)]),
            &[
                (udp(), True),
                (tcp(0), True),
                (icmp(), Unknown),
                (gre(), Unknown),
            ],
        );
        check(
            &Test::Port(field, vec![(hit + 1, hit + 1), (0, 0)]),
            &[(udp(), False), (icmp(), Unknown)],
        );
    }
}

#[test]
fn a_port_of_the_reply_is_no_port_of_either_end() {
    let remapped = with(udp(), |f| f.reply.dst_port = 1024);
    check(
        &Test::Port(PortField::Either, vec![(1024, 1024)]),
        &[(remapped, False)],
    );
    check(
        &Test::Port(PortField::ReplyDst, vec![(1024, 1024)]),
        &[(remapped, True)],
    );
}

#[test]
fn icmp_types_codes_and_gre_keys_belong_to_their_protocol() {
    let v6 = with(icmp(), |f| f.protocol = Protocol::ICMPV6);
    check(
        &Test::IcmpType(vec![(8, 8)]),
        &[
            (icmp(), True),
            (v6, True),
            (tcp(0), Unknown),
            (udp(), Unknown),
        ],
    );
    check(&Test::IcmpType(vec![(0, 0), (9, 255)]), &[(icmp(), False)]);
    check(
        &Test::IcmpCode(vec![(3, 3)]),
        &[(icmp(), True), (gre(), Unknown)],
    );
    check(&Test::IcmpCode(vec![(0, 2)]), &[(icmp(), False)]);
    check(
        &Test::GreKey(vec![(443, 443)]),
        &[(gre(), True), (udp(), Unknown)],
    );
    check(&Test::GreKey(vec![(40_000, 40_000)]), &[(gre(), True)]);
    check(&Test::GreKey(vec![(5, 5)]), &[(gre(), False)]);
}

#[test]
fn nat_is_read_from_status_bits() {
    let snat = with(udp(), |f| f.status = Status::SRC_NAT);
    let dnat = with(udp(), |f| f.status = Status::DST_NAT);
    let both = with(udp(), |f| f.status = Status::SRC_NAT | Status::DST_NAT);
    let unknown = (without(udp(), Present::STATUS), Unknown);
    for (word, plain, src, dst) in [
        (NatWord::Src, False, True, False),
        (NatWord::Dst, False, False, True),
        (NatWord::Any, False, True, True),
        (NatWord::None, True, False, False),
    ] {
        let both_truth = Truth::from(word != NatWord::None);
        check(
            &Test::Nat(vec![word]),
            &[
                (udp(), plain),
                (snat, src),
                (dnat, dst),
                (both, both_truth),
                unknown,
            ],
        );
    }
}

#[test]
fn path_needs_the_own_addresses_but_for_loopback() {
    let out = flow(Protocol::UDP, "203.0.113.1", "192.0.2.9");
    let dnat_to_host = with(udp(), |f| {
        f.reply.src[..4].copy_from_slice(&[203, 0, 113, 1]);
    });
    let inward = flow(Protocol::UDP, "fd00::2", "fd00::1");
    let loopback = flow(Protocol::UDP, "127.5.5.5", "192.0.2.9");
    let loopback6 = flow(Protocol::UDP, "::1", "::1");
    for (word, cases) in [
        (
            PathWord::Output,
            [
                (out, True),
                (udp(), False),
                (loopback, True),
                (inward, False),
            ],
        ),
        (
            PathWord::Input,
            [
                (dnat_to_host, True),
                (inward, True),
                (loopback6, True),
                (out, False),
            ],
        ),
        (
            PathWord::Forward,
            [
                (udp(), True),
                (out, False),
                (inward, False),
                (loopback, False),
            ],
        ),
    ] {
        check(&Test::Path(vec![word]), &cases);
    }
    let header = Header {
        addresses: None,
        ..header()
    };
    let context = Context::new(&header, &[], &[]);
    for word in [PathWord::Output, PathWord::Input, PathWord::Forward] {
        let test = Test::Path(vec![word]);
        check_in(&context, &test, &udp(), &Extra::default(), Unknown);
    }
    let output = Test::Path(vec![PathWord::Output]);
    check_in(&context, &output, &loopback, &Extra::default(), True);
    assert_eq!(context.is_host(&udp()), Unknown);
    assert_eq!(context.is_host(&loopback), True);
}

#[test]
fn marks_are_compared_under_their_mask() {
    let marked = with(udp(), |f| f.mark = 0x1234);
    check(
        &Test::Mark(vec![(0x34, 0xff), (7, u32::MAX)]),
        &[
            (marked, True),
            (udp(), False),
            (without(marked, Present::MARK), Unknown),
        ],
    );
}

#[test]
fn an_absent_zone_is_zero_and_zone_means_both_directions() {
    let orig_only = with(udp(), |f| f.zone_orig = 5);
    let reply_only = with(udp(), |f| f.zone_reply = 5);
    let both = with(orig_only, |f| f.zone_reply = 5);
    check(
        &Test::Zone(vec![5]),
        &[
            (both, True),
            (orig_only, False),
            (reply_only, False),
            (udp(), False),
        ],
    );
    check(&Test::Zone(vec![0]), &[(udp(), True), (orig_only, False)]);
    check(&Test::Zone(vec![0, 5]), &[(orig_only, False), (both, True)]);
    check(
        &Test::OrigZone(vec![5]),
        &[(orig_only, True), (reply_only, False)],
    );
    check(
        &Test::ReplyZone(vec![5]),
        &[(reply_only, True), (orig_only, False)],
    );
}

#[test]
fn an_absent_label_or_helper_is_false() {
    let header = header();
    let context = Context::new(&header, &[], &[]);
    let extra = Extra {
        helper: Some("ftp"),
        labels: Some(1 << 127 | 1 << 3),
        ..Extra::default()
    };
    let none = Extra::default();
    for (test, extra, expected) in [
        (Test::Label(vec![127]), &extra, True),
        (Test::Label(vec![0, 3]), &extra, True),
        (Test::Label(vec![4]), &extra, False),
        (Test::Label(vec![4]), &none, False),
        (
            Test::Helper(vec!["sip".to_owned(), "ftp".to_owned()]),
            &extra,
            True,
        ),
        (Test::Helper(vec!["sip".to_owned()]), &extra, False),
        (Test::Helper(vec!["ftp".to_owned()]), &none, False),
    ] {
        check_in(&context, &test, &udp(), extra, expected);
    }
}

#[test]
fn remaining_time_is_compared_strictly() {
    let ten = with(udp(), |f| f.timeout = 10);
    let unknown = (without(ten, Present::TIMEOUT), Unknown);
    for (above, truth) in [(9, True), (10, False), (11, False)] {
        check(
            &Test::RemainingAbove(Seconds(above)),
            &[(ten, truth), unknown],
        );
    }
    for (below, truth) in [(9, False), (10, False), (11, True)] {
        check(
            &Test::RemainingBelow(Seconds(below)),
            &[(ten, truth), unknown],
        );
    }
}

#[test]
fn counters_are_summed_and_needed_in_both_directions() {
    let counted = with(udp(), |f| {
        f.present |= Present::COUNTERS;
        f.counters_orig = Counters {
            packets: 3,
            bytes: 300,
        };
        f.counters_reply = Counters {
            packets: 4,
            bytes: 400,
        };
    });
    let half = without(counted, Present::COUNTERS_REPLY);
    for (test, truth) in [
        (Test::BytesAbove(699), True),
        (Test::BytesAbove(700), False),
        (Test::BytesBelow(701), True),
        (Test::BytesBelow(700), False),
        (Test::PacketsAbove(6), True),
        (Test::PacketsAbove(7), False),
        (Test::PacketsBelow(8), True),
        (Test::PacketsBelow(7), False),
    ] {
        check(
            &test,
            &[(counted, truth), (half, Unknown), (udp(), Unknown)],
        );
    }
}

#[test]
fn age_needs_a_start_within_this_boot_and_an_unstepped_clock() {
    let started = |ago: i64| {
        with(udp(), |f| {
            f.present |= Present::START;
            f.start_ns = ((OFFSET + UPTIME) * S)
                .checked_add_signed(-ago * 1_000_000_000)
                .unwrap();
        })
    };
    check(
        &Test::AgeAbove(Seconds(600)),
        &[
            (started(601), True),
            (started(600), False),
            (started(5), False),
            (started(-5), Unknown),
            (started(1_000_001), Unknown),
            (udp(), Unknown),
        ],
    );
    let mut header = header();
    header.history.clock = vec![
        ClockOffset {
            at_ns: S,
            offset_ns: 1_699_999_000 * 1_000_000_000,
        },
        ClockOffset {
            at_ns: (UPTIME - 1000) * S,
            offset_ns: 1_700_000_000 * 1_000_000_000,
        },
    ];
    let context = Context::new(&header, &[], &[]);
    let age = Test::AgeAbove(Seconds(600));
    check_in(&context, &age, &started(5000), &Extra::default(), Unknown);
    check_in(&context, &age, &started(900), &Extra::default(), True);
}

#[test]
fn idle_counts_by_grade() {
    let header = header();
    let context = Context::new(&header, &[], &[]);
    let silent = with(udp(), |f| f.timeout = 5);
    let fresh = with(udp(), |f| f.timeout = 29);
    let predicate = Predicate {
        tests: vec![Test::IdleFor(Seconds(10))],
        not: Vec::new(),
    };
    let compiled = Compiled::new(&predicate, &context, false);
    let eval = |flow, grade| compiled.eval(flow, &Extra::default(), grade);
    assert_eq!(eval(&silent, Grade::Presumed), True);
    assert_eq!(eval(&silent, Grade::Proven), Unknown);
    assert_eq!(eval(&fresh, Grade::Presumed), False);
    let clause = &explain(
        &predicate,
        &context,
        false,
        &silent,
        &Extra::default(),
        Grade::Proven,
    )[0];
    assert_eq!(
        clause.why.as_deref(),
        Some("presumed, not proven: the history of its timeout covers 10s in 10s")
    );
    assert_eq!(
        (clause.wanted.as_str(), clause.found.as_str()),
        ("10s", "5s left")
    );
}

#[test]
fn a_false_field_wins_over_an_unknown_one() {
    let header = header();
    let context = Context::new(&header, &[], &[]);
    let predicate = Predicate {
        tests: vec![
            Test::State(vec![(Protocol::TCP, 3)]),
            Test::Port(PortField::Dst, vec![(80, 80)]),
        ],
        not: Vec::new(),
    };
    let compiled = Compiled::new(&predicate, &context, false);
    assert_eq!(
        compiled.eval(&udp(), &Extra::default(), Grade::Proven),
        False
    );
}

#[test]
fn not_means_neither() {
    let header = header();
    let context = Context::new(&header, &[], &[]);
    let predicate = Predicate {
        tests: Vec::new(),
        not: vec![
            Test::Port(PortField::Dst, vec![(80, 80)]),
            Test::Zone(vec![5]),
        ],
    };
    let compiled = Compiled::new(&predicate, &context, false);
    let eval = |flow| compiled.eval(&flow, &Extra::default(), Grade::Proven);
    assert_eq!(eval(udp()), True);
    assert_eq!(eval(with(udp(), |f| f.orig.dst_port = 80)), False);
    let zoned = with(icmp(), |f| (f.zone_orig, f.zone_reply) = (5, 5));
    assert_eq!(eval(zoned), False);
    assert_eq!(eval(icmp()), Unknown);
}

#[test]
fn the_empty_predicate_holds_on_everything() {
    let header = header();
    let context = Context::new(&header, &[], &[]);
    let compiled = Compiled::new(&Predicate::default(), &context, false);
    assert_eq!(
        compiled.eval(&icmp(), &Extra::default(), Grade::Proven),
        True
    );
}
