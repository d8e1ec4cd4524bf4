//! What is created is what a dump shows: every protocol, state, translation, zone and status.

use conntidy::flow::protocol::{self, tcp};
use conntidy::flow::{Extra, Flow, OwnedExtra, Present, Protocol, SeqAdjust, Status};

use conntidy::kernel::{Change, Live};
use conntidy::rebuild::TCP_FLAGS_KEPT;
use libtest_mimic::Failed;

use crate::fixture::{self, Entry};
use crate::flows::{self, flow, icmp, in_state, translated};

crate::trials!(
    every_protocol,
    every_tcp_state_with_window_scales_and_flags,
    every_sctp_state_with_its_tags,
    source_translation_of_address_and_port,
    destination_translation_of_address_and_port,
    translation_of_both_ends,
    icmp_translation_of_address_and_id,
    translation_where_the_port_stays_or_alone_changes,
    translation_of_protocols_without_ports,
    zones_of_both_directions_or_of_one,
    marks_and_status_bits,
    sequence_adjustment,
    labels_hold_where_a_rule_uses_labels,
    without_such_a_rule_labels_are_left_out_without_a_word,
    a_helper_is_attached_and_an_unknown_one_is_refused,
    one_entry_is_found_by_its_key,
    an_entry_in_its_kernel_form_is_made_again_the_same,
);

/// Bits that a create brings about, directly or through translation.
const STATUS: Status = Status::SEEN_REPLY
    .union(Status::ASSURED)
    .union(Status::CONFIRMED)
    .union(Status::SRC_NAT)
    .union(Status::DST_NAT)
    .union(Status::FIXED_TIMEOUT);

/// Creates entries and compares what a dump shows of them.
fn comes_back(entries: &[Entry]) -> Result<(), Failed> {
    flows::create_with(entries)?;
    let table = fixture::table()?;
    let mut wanted = entries.to_vec();
    wanted.sort_by_key(|(flow, _)| flow.key());
    assert_eq!(table.len(), wanted.len(), "{table:#?}");
    for ((seen, seen_extra), (made, made_extra)) in table.iter().zip(&wanted) {
        same(seen, made)?;
        assert_eq!(seen_extra, made_extra, "{made:?}");
    }
    Ok(())
}

fn plain(flows: impl IntoIterator<Item = Flow>) -> Vec<Entry> {
    flows
        .into_iter()
        .map(|flow| (flow, OwnedExtra::default()))
        .collect()
}

fn same(seen: &Flow, made: &Flow) -> Result<(), Failed> {
    assert_eq!(seen.key(), made.key());
    assert_eq!(seen.reply, made.reply, "{made:?}");
    assert_eq!(seen.zone_reply, made.zone_reply, "{made:?}");
    assert_eq!(seen.mark, made.mark, "{made:?}");
    let left = seen.remaining().ok_or("no timeout")?;
    assert!(
        left <= made.timeout && left + 5 >= made.timeout,
        "{left} of {made:?}"
    );
    let plain = made.orig.inverse(made.protocol);
    let mut status = made.status | Status::CONFIRMED;
    let icmp = matches!(made.protocol, Protocol::ICMP | Protocol::ICMPV6);
    let dst = made.reply.src != plain.src || (!icmp && made.reply.src_port != plain.src_port);
    let src = made.reply.dst != plain.dst || (!icmp && made.reply.dst_port != plain.dst_port);
    let id = icmp && made.reply.src_port != plain.src_port;
    status.set(Status::DST_NAT, dst);
    status.set(Status::SRC_NAT, src || (id && !dst));
    assert_eq!(seen.status & STATUS, status & STATUS, "{made:?}");
    if made.protocol.has_states() && made.protocol != Protocol::DCCP {
        assert_eq!(seen.state(), made.state(), "{made:?}");
    }
    if made.present.contains(Present::TCP_WSCALE) {
        assert_eq!(seen.wscale(), made.wscale());
    }
    if made.present.contains(Present::TCP_FLAGS) {
        assert_eq!(seen.tcp_flags_orig, made.tcp_flags_orig & TCP_FLAGS_KEPT);
        assert_eq!(seen.tcp_flags_reply, made.tcp_flags_reply & TCP_FLAGS_KEPT);
    }
    Ok(())
}

fn every_protocol() -> Result<(), Failed> {
    let mut all = Vec::new();
    for (src, dst) in [
        ("10.0.0.1:1001", "10.0.0.2:80"),
        ("[fd00::1]:1001", "[fd00::2]:80"),
    ] {
        all.push(in_state(flow(Protocol::TCP, src, dst), tcp::ESTABLISHED));
        all.push(flow(Protocol::UDP, src, dst));
        all.push(flow(Protocol::UDPLITE, src, dst));
        all.push(flow(Protocol::GRE, src, dst));
    }
    for number in [4, 50, 51, 103, 255] {
        all.push(flow(Protocol(number), "10.0.0.1:0", "10.0.0.2:0"));
        all.push(flow(Protocol(number), "[fd00::1]:0", "[fd00::2]:0"));
    }
    all.push(icmp("10.0.0.1", "10.0.0.2", 8, 0, 77));
    all.push(icmp("10.0.0.1", "10.0.0.2", 13, 0, 78));
    all.push(icmp("fd00::1", "fd00::2", 128, 0, 79));
    comes_back(&plain(all))
}

fn every_tcp_state_with_window_scales_and_flags() -> Result<(), Failed> {
    let mut all = Vec::new();
    for state in tcp::NONE..=tcp::SYN_SENT2 {
        let src = format!("10.0.0.1:{}", 1000 + u16::from(state));
        let mut one = in_state(flow(Protocol::TCP, &src, "10.0.0.2:80"), state);
        one.tcp_wscale = 0x70 | state;
        one.tcp_flags_orig = 0xff;
        one.tcp_flags_reply = 0x03;
        one.present |= Present::TCP_FLAGS | Present::TCP_WSCALE;
        all.push(one);
    }
    comes_back(&plain(all))
}

fn every_sctp_state_with_its_tags() -> Result<(), Failed> {
    let states = protocol::state_names(Protocol::SCTP).len();
    let mut all = Vec::new();
    for state in 0..states {
        let state = u8::try_from(state)?;
        let src = format!("10.0.0.1:{}", 1000 + u16::from(state));
        let one = in_state(flow(Protocol::SCTP, &src, "10.0.0.2:80"), state);
        let extra = Extra {
            sctp_vtags: Some((u32::from(state), 0xffff_fff0 + u32::from(state))),
            ..Extra::default()
        };
        all.push((one, extra.to_owned()));
    }
    comes_back(&all)
}

fn source_translation_of_address_and_port() -> Result<(), Failed> {
    let mut all = Vec::new();
    for protocol in [
        Protocol::TCP,
        Protocol::UDP,
        Protocol::UDPLITE,
        Protocol::SCTP,
    ] {
        let v4 = flow(protocol, "10.0.0.1:1001", "192.0.2.2:80");
        all.push(translated(v4, "192.0.2.2:80", "203.0.113.1:40001"));
        let v6 = flow(protocol, "[fd00::1]:1001", "[2001:db8::2]:80");
        all.push(translated(v6, "[2001:db8::2]:80", "[2001:db8::1]:40001"));
    }
    comes_back(&with_states(all))
}

fn destination_translation_of_address_and_port() -> Result<(), Failed> {
    let mut all = Vec::new();
    for protocol in [
        Protocol::TCP,
        Protocol::UDP,
        Protocol::UDPLITE,
        Protocol::SCTP,
    ] {
        let v4 = flow(protocol, "198.51.100.7:1001", "203.0.113.1:80");
        all.push(translated(v4, "10.0.3.9:8080", "198.51.100.7:1001"));
        let v6 = flow(protocol, "[2001:db8::7]:1001", "[2001:db8::1]:80");
        all.push(translated(v6, "[fd00:3::9]:8080", "[2001:db8::7]:1001"));
    }
    comes_back(&with_states(all))
}

fn translation_of_both_ends() -> Result<(), Failed> {
    let mut all = Vec::new();
    for protocol in [Protocol::TCP, Protocol::UDP, Protocol::SCTP] {
        let v4 = flow(protocol, "10.0.0.1:1001", "203.0.113.1:80");
        all.push(translated(v4, "10.0.3.9:8080", "10.0.0.254:60001"));
        let v6 = flow(protocol, "[fd00::1]:1001", "[2001:db8::1]:80");
        all.push(translated(v6, "[fd00:3::9]:8080", "[fd00::fe]:60001"));
    }
    let one = icmp("10.0.0.1", "203.0.113.1", 8, 0, 5);
    all.push(icmp_translated(one, "10.0.3.9", "10.0.0.254", 6));
    comes_back(&with_states(all))
}

fn icmp_translation_of_address_and_id() -> Result<(), Failed> {
    let ping = |id| icmp("10.0.0.1", "192.0.2.2", 8, 0, id);
    let ping6 = |id| icmp("fd00::1", "2001:db8::2", 128, 0, id);
    comes_back(&plain([
        icmp_translated(ping(1), "192.0.2.2", "203.0.113.1", 40_001),
        icmp_translated(ping(2), "192.0.2.2", "203.0.113.1", 2),
        icmp_translated(ping(3), "10.0.3.9", "10.0.0.1", 3),
        icmp_translated(ping(4), "10.0.3.9", "10.0.0.1", 44),
        icmp_translated(ping(5), "192.0.2.2", "10.0.0.1", 55),
        icmp_translated(ping6(1), "2001:db8::2", "2001:db8::1", 40_001),
        icmp_translated(ping6(3), "fd00:3::9", "fd00::1", 3),
    ]))
}

fn translation_where_the_port_stays_or_alone_changes() -> Result<(), Failed> {
    let one = |port| flow(Protocol::UDP, &format!("10.0.0.1:{port}"), "192.0.2.2:80");
    comes_back(&plain([
        translated(one(1), "192.0.2.2:80", "203.0.113.1:1"),
        translated(one(2), "192.0.2.2:80", "10.0.0.1:2002"),
        translated(one(3), "10.0.3.9:80", "10.0.0.1:3"),
        translated(one(4), "192.0.2.2:8080", "10.0.0.1:4"),
    ]))
}

fn translation_of_protocols_without_ports() -> Result<(), Failed> {
    let gre = flow(Protocol::GRE, "10.0.0.1:256", "192.0.2.2:512");
    let esp = flow(Protocol(50), "10.0.0.1:0", "192.0.2.2:0");
    let back = flow(Protocol(50), "198.51.100.7:0", "203.0.113.1:0");
    comes_back(&plain([
        translated(gre, "192.0.2.2:512", "203.0.113.1:256"),
        translated(esp, "192.0.2.2:0", "203.0.113.1:0"),
        translated(back, "10.0.3.9:0", "198.51.100.7:0"),
    ]))
}

fn zones_of_both_directions_or_of_one() -> Result<(), Failed> {
    let zoned = |orig, reply| {
        let mut one = flow(Protocol::UDP, "10.0.0.1:1", "10.0.0.2:2");
        (one.zone_orig, one.zone_reply) = (orig, reply);
        one
    };
    let other = |port, orig, reply| {
        let mut one = zoned(orig, reply);
        one.orig.src_port = port;
        one.reply = one.orig.inverse(Protocol::UDP);
        one
    };
    // The first two differ in their zone alone.
    let all = [
        zoned(0, 0),
        zoned(5, 5),
        other(3, 65_535, 0),
        other(4, 0, 5),
    ];
    comes_back(&plain(all))?;
    for one in &all {
        let got = Live::default().get(&one.key())?.ok_or("not found")?;
        assert_eq!(
            (got.0.zone_orig, got.0.zone_reply),
            (one.zone_orig, one.zone_reply)
        );
    }
    let table = fixture::table()?;
    let deletes = table.iter().map(|(flow, _)| Change::Delete {
        key: flow.key(),
        id: flow.id,
    });
    flows::all_done(&flows::change(deletes)?)?;
    assert_eq!(fixture::table()?.len(), 0);
    Ok(())
}

fn marks_and_status_bits() -> Result<(), Failed> {
    let mut all = Vec::new();
    for (port, status, mark) in [
        (1, Status::empty(), 0),
        (2, Status::SEEN_REPLY, 1),
        (3, Status::SEEN_REPLY | Status::ASSURED, u32::MAX),
        (4, Status::FIXED_TIMEOUT, 0x8000_0000),
        // Not to be set: they are left out of the request, not refused.
        (
            5,
            Status::SEEN_REPLY | Status::SRC_NAT | Status::OFFLOAD | Status::EXPECTED,
            0,
        ),
        (
            6,
            Status::SRC_NAT_DONE | Status::DST_NAT_DONE | Status::HELPER,
            0,
        ),
    ] {
        let mut one = flow(Protocol::UDP, &format!("10.0.0.1:{port}"), "10.0.0.2:2");
        (one.status, one.mark) = (status, mark);
        all.push(one);
    }
    comes_back(&plain(all))
}

fn sequence_adjustment() -> Result<(), Failed> {
    let one = flow(Protocol::TCP, "10.0.0.1:1", "192.0.2.2:21");
    let one = translated(one, "192.0.2.2:21", "203.0.113.1:1");
    let adjust = |correction, before, after| SeqAdjust {
        correction,
        before,
        after,
    };
    let extra = Extra {
        seq_adjust: Some((adjust(4_000_000_000, -3, 7), adjust(9, 0, 1))),
        ..Extra::default()
    };
    comes_back(&[(in_state(one, tcp::ESTABLISHED), extra.to_owned())])
}

fn labels_hold_where_a_rule_uses_labels() -> Result<(), Failed> {
    if !fixture::has("nft") {
        return fixture::skip("labels_hold_where_a_rule_uses_labels", "no nft");
    }
    let script = "table inet t { chain c { type filter hook input priority 0; ct label set 1; }; }";
    fixture::run("nft", &[script])?;
    let extra = Extra {
        labels: Some(1 << 127 | 1 << 64 | 1 << 1),
        ..Extra::default()
    };
    comes_back(&[(
        flow(Protocol::UDP, "10.0.0.1:1", "10.0.0.2:2"),
        extra.to_owned(),
    )])
}

fn without_such_a_rule_labels_are_left_out_without_a_word() -> Result<(), Failed> {
    let extra = Extra {
        labels: Some(2),
        ..Extra::default()
    };
    let one = flow(Protocol::UDP, "10.0.0.1:1", "10.0.0.2:2");
    let create = Change::Create { flow: &one, extra };
    flows::all_done(&flows::change([create].into_iter())?)?;
    assert_eq!(fixture::table()?[0].1, OwnedExtra::default());
    Ok(())
}

fn a_helper_is_attached_and_an_unknown_one_is_refused() -> Result<(), Failed> {
    let one = in_state(
        flow(Protocol::TCP, "10.0.0.1:1", "10.0.0.2:21"),
        tcp::ESTABLISHED,
    );
    let helped = |name| Extra {
        helper: Some(name),
        ..Extra::default()
    };
    let create = Change::Create {
        flow: &one,
        extra: helped("no-such-helper"),
    };
    let count = flows::change([create].into_iter())?.count(0);
    assert_eq!((count.failed, count.total()), (1, 1), "{count:#?}");
    assert_eq!(fixture::table()?.len(), 0);
    comes_back(&[(one, helped("ftp").to_owned())])
}

fn one_entry_is_found_by_its_key() -> Result<(), Failed> {
    let one = icmp("fd00::1", "fd00::2", 128, 0, 79);
    let other = icmp("fd00::1", "fd00::2", 128, 0, 80);
    flows::create([&one])?;
    let (got, _) = Live::default().get(&one.key())?.ok_or("not found")?;
    let mut dumped = fixture::table()?[0].0;
    // A second may begin in between.
    dumped.timeout = got.timeout;
    assert_eq!(got, dumped);
    assert!(Live::default().get(&other.key())?.is_none());
    Ok(())
}

fn an_entry_in_its_kernel_form_is_made_again_the_same() -> Result<(), Failed> {
    let ping = icmp("10.0.0.1", "192.0.2.2", 8, 0, 1);
    let web = flow(Protocol::TCP, "10.0.0.1:1001", "203.0.113.1:80");
    let web = translated(web, "10.0.3.9:8080", "10.0.0.254:60001");
    let mut zoned = flow(Protocol::UDP, "10.0.0.1:1", "10.0.0.2:2");
    zoned.zone_reply = 9;
    flows::create(&[
        icmp_translated(ping, "192.0.2.2", "203.0.113.1", 40_001),
        in_state(web, tcp::ESTABLISHED),
        zoned,
    ])?;
    let before = fixture::table()?;
    flows::all_done(&flows::change(before.iter().map(|(flow, _)| {
        Change::Delete {
            key: flow.key(),
            id: flow.id,
        }
    }))?)?;
    comes_back(&before)?;
    for ((then, _), (now, _)) in before.iter().zip(fixture::table()?) {
        assert_eq!(then.status, now.status);
    }
    Ok(())
}

/// An ICMP flow whose replies come from, go to and have these.
fn icmp_translated(mut one: Flow, reply_src: &str, reply_dst: &str, id: u16) -> Flow {
    let parse = |text: &str| text.parse().expect("an address");
    let kinds = one.reply.dst_port;
    one.reply = conntidy::flow::Tuple::new(parse(reply_src), parse(reply_dst), id, kinds);
    one
}

fn with_states(flows: Vec<Flow>) -> Vec<Entry> {
    flows
        .into_iter()
        .map(|flow| match flow.protocol {
            Protocol::TCP => (in_state(flow, tcp::ESTABLISHED), OwnedExtra::default()),
            Protocol::SCTP => {
                let extra = Extra {
                    sctp_vtags: Some((1, 2)),
                    ..Extra::default()
                };
                (in_state(flow, 4), extra.to_owned())
            }
            _ => (flow, OwnedExtra::default()),
        })
        .collect()
}
