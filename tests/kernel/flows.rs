//! Flows to be made, and how to make them.

use std::net::SocketAddr;

use conntidy::flow::{Extra, Family, Flow, FlowKey, OwnedExtra, Present, Protocol, Status, Tuple};
use conntidy::kernel::{Change, Live, SweepOptions, Tally};
use libtest_mimic::Failed;

/// A flow between two socket addresses, seen in both directions.
pub(crate) fn flow(protocol: Protocol, src: &str, dst: &str) -> Flow {
    let parse = |text: &str| text.parse::<SocketAddr>().expect("a socket address");
    let (src, dst) = (parse(src), parse(dst));
    let family = if src.is_ipv4() {
        Family::Ipv4
    } else {
        Family::Ipv6
    };
    let mut flow = Flow::new(family, protocol, Tuple::between(src, dst));
    flow.timeout = 600;
    flow.status = Status::SEEN_REPLY;
    flow.present = Present::TIMEOUT | Present::STATUS | Present::REPLY;
    flow
}

/// The same with a protocol state.
pub(crate) fn in_state(mut flow: Flow, state: u8) -> Flow {
    flow.state = state;
    flow.present |= Present::STATE;
    flow
}

/// The same, source or destination translated: its replies come from and go to these.
pub(crate) fn translated(mut flow: Flow, reply_src: &str, reply_dst: &str) -> Flow {
    let parse = |text: &str| text.parse::<SocketAddr>().expect("a socket address");
    flow.reply = Tuple::between(parse(reply_src), parse(reply_dst));
    flow
}

/// An ICMP request of either family.
pub(crate) fn icmp(src: &str, dst: &str, kind: u8, code: u8, id: u16) -> Flow {
    let parse = |text: &str| text.parse().expect("an address");
    let orig = Tuple::new(parse(src), parse(dst), id, u16::from_be_bytes([kind, code]));
    let (family, protocol) = if parse(src).is_ipv4() {
        (Family::Ipv4, Protocol::ICMP)
    } else {
        (Family::Ipv6, Protocol::ICMPV6)
    };
    let mut flow = Flow::new(family, protocol, orig);
    flow.timeout = 600;
    flow.status = Status::SEEN_REPLY;
    flow.present = Present::TIMEOUT | Present::STATUS | Present::REPLY;
    flow
}

/// Makes flows in the kernel; fails unless every one was made.
pub(crate) fn create<'a>(flows: impl IntoIterator<Item = &'a Flow>) -> Result<(), Failed> {
    let tally = change(flows.into_iter().map(|flow| Change::Create {
        flow,
        extra: Extra::default(),
    }))?;
    all_done(&tally)
}

/// Makes flows with what goes beside them; fails unless every one was made.
pub(crate) fn create_with(entries: &[(Flow, OwnedExtra)]) -> Result<(), Failed> {
    let tally = change(entries.iter().map(|(flow, extra)| Change::Create {
        flow,
        extra: extra.borrow(),
    }))?;
    all_done(&tally)
}

/// Sends changes, all under tag 0.
pub(crate) fn change<'a>(changes: impl Iterator<Item = Change<'a>>) -> Result<Tally, Failed> {
    let sweep = Live::default().sweep(SweepOptions::default())?;
    {
        let mut feeder = sweep.feeder();
        for change in changes {
            feeder.push(0, &change);
        }
    }
    Ok(sweep.finish())
}

/// Fails unless every change was done.
pub(crate) fn all_done(tally: &Tally) -> Result<(), Failed> {
    let total = tally.total();
    if tally.stopped.is_some() || total.done != total.total() {
        return Err(format!("{tally:#?}").into());
    }
    Ok(())
}

/// `count` different plain flows: tcp established, udp, IPv4 and every fourth IPv6.
pub(crate) fn many(count: u32) -> Vec<Flow> {
    (0..count)
        .map(|n| {
            let [_, a, b, c] = n.to_be_bytes();
            let port = 1024 + (n % 50_000);
            if n % 4 == 3 {
                flow(
                    Protocol::UDP,
                    &format!("[fd00::{a:x}:{b:x}{c:02x}]:{port}"),
                    "[2001:db8::5]:53",
                )
            } else {
                in_state(
                    flow(
                        Protocol::TCP,
                        &format!("10.{a}.{b}.{c}:{port}"),
                        "192.0.2.1:443",
                    ),
                    conntidy::flow::protocol::tcp::ESTABLISHED,
                )
            }
        })
        .collect()
}

/// The keys of flows, sorted.
pub(crate) fn keys_of<'a>(flows: impl IntoIterator<Item = &'a Flow>) -> Vec<FlowKey> {
    let mut keys: Vec<_> = flows.into_iter().map(Flow::key).collect();
    keys.sort_unstable();
    keys
}

/// One of each kind: protocols, states, translations, zones, marks, helpers, both families.
#[expect(clippy::too_many_lines, reason = "an entry a few lines")]
pub(crate) fn catalogue() -> Vec<(Flow, OwnedExtra)> {
    use conntidy::flow::SeqAdjust;
    use conntidy::flow::protocol::tcp;
    let none = Extra::default();
    let mut all: Vec<(Flow, Extra<'_>)> = Vec::new();
    for state in tcp::NONE..=tcp::SYN_SENT2 {
        let src = format!("10.0.0.1:{}", 2000 + u16::from(state));
        let mut one = in_state(flow(Protocol::TCP, &src, "192.0.2.2:443"), state);
        one.tcp_wscale = 0x97;
        one.tcp_flags_orig = 0x33;
        one.tcp_flags_reply = 0x13;
        one.present |= Present::TCP_FLAGS | Present::TCP_WSCALE;
        all.push((
            translated(
                one,
                "192.0.2.2:443",
                &format!("203.0.113.1:{}", 40_000 + u16::from(state)),
            ),
            none,
        ));
    }
    for state in 1..=8 {
        let src = format!("[fd00::1]:{}", 3000 + u16::from(state));
        let extra = Extra {
            sctp_vtags: Some((u32::from(state) << 8, 7)),
            ..none
        };
        all.push((
            in_state(flow(Protocol::SCTP, &src, "[fd00::2]:80"), state),
            extra,
        ));
    }
    for (src, dst) in [
        ("10.0.0.1:256", "192.0.2.2:512"),
        ("[fd00::1]:256", "[2001:db8::2]:512"),
    ] {
        for protocol in [Protocol::UDP, Protocol::UDPLITE, Protocol::GRE] {
            all.push((flow(protocol, src, dst), none));
        }
        let mut esp = flow(Protocol(50), src, dst);
        for tuple in [&mut esp.orig, &mut esp.reply] {
            (tuple.src_port, tuple.dst_port) = (0, 0);
        }
        all.push((esp, none));
    }
    all.push((icmp("10.0.0.1", "10.0.0.2", 8, 0, 77), none));
    all.push((icmp("10.0.0.1", "10.0.0.2", 13, 0, 78), none));
    all.push((icmp("fd00::1", "fd00::2", 128, 0, 79), none));
    let web = flow(Protocol::TCP, "[2001:db8::7]:1001", "[2001:db8::1]:80");
    let web = translated(web, "[fd00:3::9]:8080", "[2001:db8::7]:1001");
    all.push((in_state(web, tcp::ESTABLISHED), none));
    for (src, dst, reply_src, reply_dst) in [
        // The source of IPv6; a port alone, either end; both ends.
        (
            "[fd00::1]:3101",
            "[2001:db8::9]:53",
            "[2001:db8::9]:53",
            "[2001:db8::100]:41001",
        ),
        (
            "10.0.0.1:3102",
            "192.0.2.2:80",
            "192.0.2.2:8080",
            "10.0.0.1:3102",
        ),
        (
            "10.0.0.1:3103",
            "192.0.2.2:80",
            "192.0.2.2:80",
            "10.0.0.1:41003",
        ),
        (
            "10.0.0.1:3104",
            "203.0.113.9:53",
            "10.9.0.1:5353",
            "203.0.113.1:41004",
        ),
    ] {
        let plain = flow(Protocol::UDP, src, dst);
        all.push((translated(plain, reply_src, reply_dst), none));
    }
    for (port, orig, reply) in [(1, 5, 5), (2, 6, 0), (3, 0, 7)] {
        let mut zoned = flow(Protocol::UDP, &format!("10.0.0.1:{port}"), "10.0.0.2:2");
        (zoned.zone_orig, zoned.zone_reply) = (orig, reply);
        zoned.mark = 0xdead_beef;
        zoned.status |= Status::ASSURED | Status::FIXED_TIMEOUT;
        all.push((zoned, none));
    }
    let adjust = SeqAdjust {
        correction: 4_000_000_000,
        before: -3,
        after: 7,
    };
    let helped = Extra {
        helper: Some("ftp"),
        labels: Some(1 << 127 | 1 << 64 | 2),
        seq_adjust: Some((adjust, SeqAdjust::default())),
        ..none
    };
    let ftp = flow(Protocol::TCP, "10.0.0.1:1001", "192.0.2.2:21");
    all.push((in_state(ftp, tcp::ESTABLISHED), helped));
    all.into_iter()
        .map(|(flow, extra)| (flow, extra.to_owned()))
        .collect()
}
