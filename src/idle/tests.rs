//! What makes an entry look idle, and when that proves something.

use super::*;
use crate::flow::{Extra, Family, Present, Protocol, Status, Tuple, protocol::tcp};
use crate::history::{CtTimeoutSeen, Observation, Retime};
use crate::observe::{Header, Reading};
use crate::policy::Seconds;

const S: u64 = 1_000_000_000;
const HOUR: u64 = 3600;
const UPTIME: u64 = 20 * 24 * HOUR;
const ESTABLISHED: &str = "nf_conntrack_tcp_timeout_established";

/// A machine with the kernel's defaults, their history complete since an hour after boot.
fn header() -> Header {
    let mut header = Header {
        time_ns: 1_700_000_000 * S + UPTIME * S,
        uptime_ns: UPTIME * S,
        ct_timeout_protocols: Some(Vec::new()),
        ..Header::default()
    };
    for (name, seconds) in [
        (ESTABLISHED, 432_000),
        ("nf_conntrack_tcp_timeout_time_wait", 120),
        ("nf_conntrack_tcp_timeout_close_wait", 60),
        ("nf_conntrack_tcp_timeout_max_retrans", 300),
        ("nf_conntrack_tcp_timeout_unacknowledged", 300),
        ("nf_conntrack_udp_timeout", 30),
        ("nf_conntrack_udp_timeout_stream", 120),
        ("nf_conntrack_gre_timeout", 30),
        ("nf_conntrack_gre_timeout_stream", 180),
        ("nf_conntrack_generic_timeout", 600),
    ] {
        set(&mut header, name, seconds);
        observed(&mut header, name, &[(HOUR, seconds)]);
    }
    header
}

fn set(header: &mut Header, name: &str, seconds: u32) {
    let reading = Reading {
        value: Some(seconds.to_string()),
        writable: true,
        error: None,
    };
    header.tunables.insert(name.to_owned(), reading);
}

/// Replaces the history of a timeout; times in seconds since boot.
fn observed(header: &mut Header, name: &str, values: &[(u64, u32)]) {
    let list = values
        .iter()
        .map(|&(at, value)| Observation {
            at_ns: at * S,
            value,
        })
        .collect();
    header.history.timeouts.insert(name.to_owned(), list);
}

fn retimed(header: &mut Header, name: &str, at: u64, seconds: u32) {
    header.history.retimes.push(Retime {
        at_ns: at * S,
        timeout: name.to_owned(),
        seconds,
    });
}

fn flow(protocol: Protocol, remaining: u32) -> Flow {
    let client = "10.0.0.1:40000".parse().unwrap();
    let server = "192.0.2.9:443".parse().unwrap();
    let mut flow = Flow::new(Family::Ipv4, protocol, Tuple::between(client, server));
    flow.present = Present::STATUS | Present::TIMEOUT;
    flow.status = Status::SEEN_REPLY | Status::ASSURED;
    flow.timeout = remaining;
    flow
}

fn tcp(state: u8, remaining: u32) -> Flow {
    let mut flow = flow(Protocol::TCP, remaining);
    flow.present |= Present::STATE | Present::TCP_FLAGS;
    flow.state = state;
    flow
}

fn idle(header: &Header, flow: &Flow, seconds: u64) -> Idle {
    let evidence = Evidence::new(header);
    let window = evidence.window(Seconds(seconds), false);
    evidence.idle(flow, &Extra::default(), &window)
}

fn started(mut flow: Flow, seconds_ago: u64) -> Flow {
    flow.present |= Present::START;
    flow.start_ns = (1_700_000_000 + UPTIME - seconds_ago) * S;
    flow
}

#[test]
fn idle_time_is_the_timeout_minus_what_remains() {
    let header = header();
    let established = |remaining| tcp(tcp::ESTABLISHED, remaining);
    let half_day = 12 * HOUR;
    assert_eq!(
        idle(&header, &established(432_000 - 43_201), half_day),
        Idle::Proven
    );
    assert_eq!(
        idle(&header, &established(432_000 - 43_200), half_day),
        Idle::NotIdle
    );
    assert_eq!(
        idle(&header, &established(431_999), half_day),
        Idle::NotIdle
    );
}

#[test]
fn a_raised_timeout_makes_old_entries_look_idle_and_proves_nothing() {
    let mut header = header();
    observed(
        &mut header,
        ESTABLISHED,
        &[(HOUR, 86_400), (UPTIME - HOUR, 432_000)],
    );
    // Live a moment before the raise: it has a day left, and looks four days idle.
    let flow = tcp(tcp::ESTABLISHED, 86_400 - 3600);
    assert_eq!(idle(&header, &flow, 2 * HOUR), Idle::Presumed);
    let really = tcp(tcp::ESTABLISHED, 86_400 - 7201);
    assert_eq!(idle(&header, &really, 2 * HOUR), Idle::Proven);
    assert_eq!(
        idle(&header, &flow, HOUR),
        Idle::Proven,
        "the raise is as long ago as the window"
    );
}

#[test]
fn a_timeout_raised_since_the_last_run_proves_nothing() {
    let mut header = header();
    observed(&mut header, ESTABLISHED, &[(HOUR, 86_400)]);
    let flow = tcp(tcp::ESTABLISHED, 86_000);
    assert_eq!(idle(&header, &flow, HOUR), Idle::Presumed);
}

#[test]
fn a_lowered_timeout_leaves_entries_with_more_unknown() {
    let mut header = header();
    set(&mut header, ESTABLISHED, 86_400);
    observed(
        &mut header,
        ESTABLISHED,
        &[(HOUR, 432_000), (UPTIME - 10, 86_400)],
    );
    let above = tcp(tcp::ESTABLISHED, 86_401);
    assert_eq!(
        idle(&header, &above, HOUR),
        Idle::Unknown(Doubt::AboveTimeout(86_400))
    );
    let armed_now = tcp(tcp::ESTABLISHED, 86_400);
    assert_eq!(idle(&header, &armed_now, HOUR), Idle::NotIdle);
    let below = tcp(tcp::ESTABLISHED, 86_400 - 3601);
    assert_eq!(idle(&header, &below, HOUR), Idle::Proven);
}

#[test]
fn a_window_that_the_history_does_not_cover_proves_nothing_and_says_until_when() {
    let mut header = header();
    observed(&mut header, ESTABLISHED, &[(UPTIME - HOUR, 432_000)]);
    let flow = tcp(tcp::ESTABLISHED, 432_000 - 80_000);
    assert_eq!(idle(&header, &flow, 2 * HOUR), Idle::Presumed);
    assert_eq!(idle(&header, &flow, HOUR), Idle::Proven);
    let evidence = Evidence::new(&header);
    let covered = evidence.covered_at(&flow, Seconds(2 * HOUR));
    assert_eq!(covered, Some((UPTIME + HOUR) * S));

    header.history.timeouts.clear();
    assert_eq!(idle(&header, &flow, 1), Idle::Presumed);
    let evidence = Evidence::new(&header);
    assert_eq!(
        evidence.covered_at(&flow, Seconds(HOUR)),
        Some((UPTIME + HOUR) * S)
    );
}

#[test]
fn a_window_longer_than_the_uptime_is_never_covered() {
    let header = header();
    let flow = tcp(tcp::ESTABLISHED, 400);
    assert_eq!(idle(&header, &flow, UPTIME + 1), Idle::NotIdle);
    let mut header = header;
    set(&mut header, ESTABLISHED, 2_147_483);
    assert_eq!(idle(&header, &flow, UPTIME + 1), Idle::Presumed);
}

#[test]
fn the_date_of_proof_counts_from_the_last_lower_value() {
    let mut header = header();
    observed(
        &mut header,
        ESTABLISHED,
        &[
            (HOUR, 500),
            (2 * HOUR, 432_000),
            (3 * HOUR, 500_000),
            (4 * HOUR, 432_000),
        ],
    );
    let flow = tcp(tcp::ESTABLISHED, 400);
    let evidence = Evidence::new(&header);
    let covered = evidence.covered_at(&flow, Seconds(HOUR));
    assert_eq!(covered, Some(3 * HOUR * S));
}

#[test]
fn what_conntidy_wrote_looks_idle_and_is_unknown() {
    let mut header = header();
    retimed(&mut header, ESTABLISHED, UPTIME - HOUR, 7440);
    let flow = |remaining| tcp(tcp::ESTABLISHED, remaining);
    assert_eq!(
        idle(&header, &flow(7440), HOUR),
        Idle::Unknown(Doubt::Retimed(7440))
    );
    assert_eq!(
        idle(&header, &flow(3840), HOUR),
        Idle::Unknown(Doubt::Retimed(7440))
    );
    assert_eq!(idle(&header, &flow(7441), HOUR), Idle::Proven);
    let udp = self::flow(Protocol::UDP, 20);
    assert_eq!(idle(&header, &udp, 30), Idle::Proven, "another timeout");
}

#[test]
fn a_retime_longer_ago_than_the_timeout_is_forgotten() {
    let mut header = header();
    retimed(&mut header, ESTABLISHED, UPTIME - 432_001, 7440);
    assert_eq!(
        idle(&header, &tcp(tcp::ESTABLISHED, 7000), HOUR),
        Idle::Proven
    );
    retimed(&mut header, ESTABLISHED, UPTIME - 432_000, 7440);
    let flow = tcp(tcp::ESTABLISHED, 7000);
    assert_eq!(
        idle(&header, &flow, HOUR),
        Idle::Unknown(Doubt::Retimed(7440))
    );
}

#[test]
fn tcp_caps_leave_established_connections_unknown() {
    let header = header();
    let plain = tcp(tcp::ESTABLISHED, 200_000);
    assert_eq!(idle(&header, &plain, HOUR), Idle::Proven);
    for (doubt, flow) in [
        (
            Doubt::Unacknowledged,
            Flow {
                tcp_flags_orig: 0x10,
                ..plain
            },
        ),
        (
            Doubt::Unacknowledged,
            Flow {
                tcp_flags_reply: 0x12,
                ..plain
            },
        ),
        (
            Doubt::Unacknowledged,
            Flow {
                present: plain.present - Present::TCP_FLAGS,
                ..plain
            },
        ),
        (
            Doubt::WithinCap(300),
            Flow {
                timeout: 300,
                ..plain
            },
        ),
        (
            Doubt::Unreplied,
            Flow {
                status: Status::empty(),
                ..plain
            },
        ),
    ] {
        assert_eq!(idle(&header, &flow, HOUR), Idle::Unknown(doubt));
    }
    assert_eq!(
        idle(
            &header,
            &Flow {
                timeout: 301,
                ..plain
            },
            HOUR
        ),
        Idle::Proven
    );
}

#[test]
fn the_larger_cap_counts_and_an_unread_one_is_a_doubt() {
    let mut header = header();
    set(&mut header, "nf_conntrack_tcp_timeout_max_retrans", 1000);
    let flow = tcp(tcp::ESTABLISHED, 1000);
    assert_eq!(
        idle(&header, &flow, HOUR),
        Idle::Unknown(Doubt::WithinCap(1000))
    );
    header
        .tunables
        .remove("nf_conntrack_tcp_timeout_max_retrans");
    let flow = tcp(tcp::ESTABLISHED, 100_000);
    assert!(matches!(
        idle(&header, &flow, HOUR),
        Idle::Unknown(Doubt::Unread(_))
    ));
}

#[test]
fn a_timer_that_an_earlier_cap_set_may_still_run() {
    let mut header = header();
    let name = "nf_conntrack_tcp_timeout_max_retrans";
    for name in [name, "nf_conntrack_tcp_timeout_unacknowledged"] {
        set(&mut header, name, 60);
        observed(&mut header, name, &[(HOUR, 300), (UPTIME - 6, 60)]);
    }
    let retransmitting = tcp(tcp::ESTABLISHED, 299);
    assert_eq!(
        idle(&header, &retransmitting, HOUR),
        Idle::Unknown(Doubt::WithinCap(300))
    );
}

#[test]
fn objects_that_were_there_within_the_window_leave_a_doubt() {
    let mut header = header();
    let seen = |until, present| CtTimeoutSeen {
        until_ns: until * S,
        present,
    };
    let flow = tcp(tcp::ESTABLISHED, 100_000);
    let mut with = |seen| {
        header.history.ct_timeouts.insert(6, seen);
        idle(&header, &flow, HOUR)
    };
    let doubt = Idle::Unknown(Doubt::CtTimeout);
    assert_eq!(with(seen(UPTIME - HOUR + 1, false)), doubt);
    // What is not seen now may have gone a moment ago.
    assert_eq!(with(seen(HOUR, true)), doubt);
    // Since they went a packet would have brought the sysctl's timeout back.
    assert_eq!(with(seen(UPTIME - HOUR - 1, false)), Idle::Proven);
}

#[test]
fn a_half_closed_download_under_a_long_close_wait_is_capped_too() {
    let mut header = header();
    let close_wait = "nf_conntrack_tcp_timeout_close_wait";
    let flow = |remaining| tcp(tcp::CLOSE_WAIT, remaining);
    assert_eq!(
        idle(&header, &flow(20), 30),
        Idle::Proven,
        "60 s lie below the caps"
    );
    set(&mut header, close_wait, 3600);
    observed(&mut header, close_wait, &[(HOUR, 3600)]);
    // A packet a moment ago, with data that is not acknowledged: the kernel wrote 300 s.
    let live = Flow {
        tcp_flags_orig: 0x10,
        ..flow(299)
    };
    assert_eq!(
        idle(&header, &live, 1800),
        Idle::Unknown(Doubt::Unacknowledged)
    );
    assert_eq!(
        idle(&header, &flow(299), 1800),
        Idle::Unknown(Doubt::WithinCap(300))
    );
    assert_eq!(idle(&header, &flow(301), 1800), Idle::Proven);
}

#[test]
fn closed_connections_are_presumed_idle_without_history_and_need_no_more() {
    let mut header = header();
    header.history.timeouts.clear();
    let mut time_wait = tcp(tcp::TIME_WAIT, 100);
    time_wait.present.remove(Present::TCP_FLAGS);
    let found = idle(&header, &time_wait, 10);
    assert_eq!(found, Idle::Presumed);
    let grade = Grade::needed(Action::Delete, &time_wait);
    assert_eq!(found.truth(grade), Truth::True);
}

#[test]
fn only_a_delete_of_what_is_not_closed_needs_proof() {
    let expire = Action::Expire { grace: Seconds(60) };
    let open = tcp(tcp::CLOSE_WAIT, 10);
    assert_eq!(Grade::needed(Action::Delete, &open), Grade::Proven);
    assert_eq!(
        Grade::needed(Action::Delete, &tcp(tcp::CLOSE, 1)),
        Grade::Presumed
    );
    assert_eq!(
        Grade::needed(Action::Delete, &flow(Protocol::UDP, 1)),
        Grade::Proven
    );
    assert_eq!(Grade::needed(expire, &open), Grade::Presumed);
    assert_eq!(Grade::needed(Action::Report, &open), Grade::Presumed);
}

#[test]
fn timers_that_something_else_governs_are_unknown() {
    let header = header();
    let evidence = Evidence::new(&header);
    let window = evidence.window(Seconds(10), false);
    let plain = flow(Protocol::UDP, 20);
    let of = |flow: &Flow| evidence.idle(flow, &Extra::default(), &window);
    assert_eq!(of(&plain), Idle::Proven);
    let with = |status| Flow {
        status: plain.status | status,
        ..plain
    };
    let without = |present| Flow {
        present: plain.present - present,
        ..plain
    };
    assert_eq!(
        of(&with(Status::FIXED_TIMEOUT)),
        Idle::Unknown(Doubt::FixedTimeout)
    );
    assert_eq!(of(&with(Status::HELPER)), Idle::Unknown(Doubt::Helper));
    assert_eq!(of(&with(Status::OFFLOAD)), Idle::Unknown(Doubt::Offloaded));
    assert_eq!(
        of(&with(Status::HW_OFFLOAD)),
        Idle::Unknown(Doubt::Offloaded)
    );
    assert_eq!(
        of(&without(Present::TIMEOUT)),
        Idle::Unknown(Doubt::NoTimeout)
    );
    assert_eq!(
        of(&without(Present::STATUS)),
        Idle::Unknown(Doubt::NoStatus)
    );
    let ftp = Extra {
        helper: Some("ftp"),
        ..Extra::default()
    };
    assert_eq!(
        evidence.idle(&plain, &ftp, &window),
        Idle::Unknown(Doubt::Helper)
    );
    let mut stateless = tcp(tcp::ESTABLISHED, 10);
    stateless.present.remove(Present::STATE);
    assert_eq!(of(&stateless), Idle::Unknown(Doubt::NoState));
}

#[test]
fn ct_timeout_objects_leave_their_protocol_unknown_unless_ignored() {
    let mut header = header();
    header.ct_timeout_protocols = Some(vec![6]);
    let udp = flow(Protocol::UDP, 20);
    let flow = tcp(tcp::ESTABLISHED, 200_000);
    assert_eq!(idle(&header, &flow, HOUR), Idle::Unknown(Doubt::CtTimeout));
    assert_eq!(idle(&header, &udp, 30), Idle::Proven);
    header.ct_timeout_protocols = None;
    assert_eq!(
        idle(&header, &udp, 30),
        Idle::Unknown(Doubt::CtTimeoutUnread)
    );
    let evidence = Evidence::new(&header);
    let ignoring = evidence.window(Seconds(HOUR), true);
    assert_eq!(
        evidence.idle(&flow, &Extra::default(), &ignoring),
        Idle::Proven
    );
}

#[test]
fn an_unread_or_negative_timeout_is_unknown() {
    let mut header = header();
    let flow = tcp(tcp::ESTABLISHED, 200_000);
    header.tunables.remove(ESTABLISHED);
    assert_eq!(
        idle(&header, &flow, HOUR),
        Idle::Unknown(Doubt::Unread(ESTABLISHED))
    );
    set(&mut header, ESTABLISHED, 1);
    header.tunables.get_mut(ESTABLISHED).unwrap().value = Some("-1".to_owned());
    assert_eq!(
        idle(&header, &flow, HOUR),
        Idle::Unknown(Doubt::Unread(ESTABLISHED))
    );
}

#[test]
fn an_entry_younger_than_the_window_is_unknown() {
    let header = header();
    let flow = tcp(tcp::ESTABLISHED, 400_000);
    assert_eq!(
        idle(&header, &started(flow, HOUR - 1), HOUR),
        Idle::Unknown(Doubt::Young)
    );
    assert_eq!(idle(&header, &started(flow, HOUR), HOUR), Idle::Proven);
    let unusable = Flow {
        present: flow.present | Present::START,
        start_ns: 5,
        ..flow
    };
    let doubt = Doubt::Age(crate::history::AgeDoubt::BeforeBoot);
    assert_eq!(idle(&header, &unusable, HOUR), Idle::Unknown(doubt));
}

#[test]
fn udp_is_governed_by_its_assured_bit() {
    let header = header();
    let assured = flow(Protocol::UDP, 25);
    let replied = Flow {
        status: Status::SEEN_REPLY,
        ..assured
    };
    assert_eq!(idle(&header, &assured, 60), Idle::Proven);
    assert_eq!(idle(&header, &replied, 60), Idle::NotIdle);
}

#[test]
fn syn_sent2_has_a_constant_that_needs_no_history() {
    let mut header = header();
    header.history.timeouts.clear();
    let flow = tcp(tcp::SYN_SENT2, 50);
    assert_eq!(idle(&header, &flow, 60), Idle::Proven);
    let name = crate::tunable::governing(&flow).unwrap().name();
    retimed(&mut header, name, UPTIME - 30, 80);
    assert_eq!(idle(&header, &flow, 60), Idle::Unknown(Doubt::Retimed(80)));
}

#[test]
fn gre_keeps_the_timeout_of_its_creation() {
    let mut header = header();
    let gre = |remaining| flow(Protocol::GRE, remaining);
    assert_eq!(
        idle(&header, &gre(50), 60),
        Idle::Presumed,
        "its creation is not known"
    );
    let evidence = Evidence::new(&header);
    assert_eq!(evidence.covered_at(&gre(50), Seconds(60)), None);
    assert_eq!(
        idle(&header, &started(gre(50), 10 * HOUR), 60),
        Idle::Proven
    );
    let before_history = started(gre(50), UPTIME - HOUR + 1);
    assert_eq!(idle(&header, &before_history, 60), Idle::Presumed);
    let stream = "nf_conntrack_gre_timeout_stream";
    observed(&mut header, stream, &[(HOUR, 60), (UPTIME - 5 * HOUR, 180)]);
    assert_eq!(
        idle(&header, &started(gre(50), 10 * HOUR), 60),
        Idle::Presumed
    );
    assert_eq!(idle(&header, &started(gre(50), 4 * HOUR), 60), Idle::Proven);
}

#[test]
fn every_other_protocol_has_the_generic_timeout() {
    let header = header();
    assert_eq!(idle(&header, &flow(Protocol(50), 100), 499), Idle::Proven);
    assert_eq!(idle(&header, &flow(Protocol(50), 100), 500), Idle::NotIdle);
}
