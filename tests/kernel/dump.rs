//! What a dump delivers.

use std::net::{IpAddr, Ipv4Addr};

use conntidy::flow::protocol::tcp;
use conntidy::flow::{Family, Flow, FlowKey, Protocol, Status};
use conntidy::kernel::{Change, Live};
use conntidy::observe::{Observe, Record, Visit};
use libtest_mimic::Failed;

use crate::fixture;
use crate::flows::{self, flow};

crate::trials!(
    an_empty_table_has_no_entries,
    what_the_conntrack_tool_made_is_seen,
    the_conntrack_tool_lists_what_was_made,
    two_visitors_share_a_mixed_table_by_family,
    a_rare_family_is_not_worth_a_second_walk,
    a_small_table_goes_to_the_first_visitor,
    a_dump_is_whole_while_others_come_and_go,
);

fn an_empty_table_has_no_entries() -> Result<(), Failed> {
    assert_eq!(fixture::table()?.len(), 0);
    let dumped = Live::default().dump(&mut [])?;
    assert_eq!(dumped.entries, 0);
    Ok(())
}

fn what_the_conntrack_tool_made_is_seen() -> Result<(), Failed> {
    if !fixture::has("conntrack") {
        return fixture::skip("what_the_conntrack_tool_made_is_seen", "no conntrack tool");
    }
    fixture::conntrack(
        "-I -p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 1001 --dport 80 --state ESTABLISHED -t 300 -u ASSURED,SEEN_REPLY -m 7",
    )?;
    fixture::conntrack("-I -p udp -s fd00::1 -d fd00::2 --sport 53 --dport 5353 -t 30 -w 9")?;
    fixture::conntrack(
        "-I -p icmp -s 10.0.0.1 -d 10.0.0.2 --icmp-type 8 --icmp-code 0 --icmp-id 77 -t 20",
    )?;
    let table = fixture::table()?;
    assert_eq!(table.len(), 3);
    let (icmp, tcp, udp) = (table[0].0, table[1].0, table[2].0);

    assert_eq!(icmp.protocol, Protocol::ICMP);
    assert_eq!((icmp.orig.icmp_type(), icmp.orig.icmp_code()), (8, 0));
    assert_eq!(icmp.orig.src_port, 77);
    assert_eq!(icmp.reply, icmp.orig.inverse(Protocol::ICMP));
    assert_eq!(icmp.state(), None);

    assert_eq!(tcp.protocol, Protocol::TCP);
    assert_eq!(tcp.orig.src_ip(Family::Ipv4).to_string(), "10.0.0.1");
    assert_eq!((tcp.orig.src_port, tcp.orig.dst_port), (1001, 80));
    assert_eq!(tcp.reply, tcp.orig.inverse(Protocol::TCP));
    assert_eq!(tcp.state(), Some(tcp::ESTABLISHED));
    assert!(tcp.status.contains(Status::ASSURED | Status::SEEN_REPLY));
    assert!(
        tcp.remaining()
            .is_some_and(|left| (290..=300).contains(&left))
    );
    assert_eq!((tcp.mark, tcp.zone_orig), (7, 0));
    assert!(tcp.id().is_some());

    assert_eq!(
        (udp.family, udp.zone_orig, udp.zone_reply),
        (Family::Ipv6, 9, 9)
    );
    assert_eq!(udp.orig.dst_ip(Family::Ipv6).to_string(), "fd00::2");
    assert_eq!(udp.state(), None);
    Ok(())
}

fn the_conntrack_tool_lists_what_was_made() -> Result<(), Failed> {
    if !fixture::has("conntrack") {
        return fixture::skip(
            "the_conntrack_tool_lists_what_was_made",
            "no conntrack tool",
        );
    }
    flows::create_with(&flows::catalogue())?;
    let table = fixture::table()?;
    for (family, name) in [(Family::Ipv4, "ipv4"), (Family::Ipv6, "ipv6")] {
        let listed = fixture::conntrack(&format!("-L -f {name} -o id"))?;
        let word = |line: &str, name: &str| -> Vec<String> {
            line.split_whitespace()
                .filter_map(|word| word.strip_prefix(name)?.strip_prefix('='))
                .map(str::to_owned)
                .collect()
        };
        let mut theirs: Vec<_> = listed
            .lines()
            .map(|line| {
                let state = line
                    .split_whitespace()
                    .nth(3)
                    .unwrap_or_default()
                    .to_owned();
                (
                    // The last one: an ICMP id goes before.
                    word(line, "id").pop().unwrap_or_default(),
                    word(line, "src"),
                    word(line, "mark"),
                    state,
                )
            })
            .collect();
        let mut ours: Vec<_> = table
            .iter()
            .filter(|(flow, _)| flow.family == family)
            .map(|(flow, _)| {
                let sources = [flow.orig, flow.reply].map(|t| t.src_ip(family).to_string());
                let state = flow.state_name().map(str::to_owned);
                (
                    flow.id.to_string(),
                    sources.to_vec(),
                    vec![flow.mark.to_string()],
                    state,
                )
            })
            .collect();
        theirs.sort();
        ours.sort();
        assert_eq!(theirs.len(), ours.len());
        for (theirs, ours) in theirs.iter().zip(&ours) {
            assert_eq!(
                (&theirs.0, &theirs.1, &theirs.2),
                (&ours.0, &ours.1, &ours.2)
            );
            if let Some(state) = &ours.3 {
                assert_eq!(theirs.3, *state);
            }
        }
    }
    Ok(())
}

/// Dumps to two visitors; the keys that each saw, sorted.
fn shared() -> Result<(Vec<FlowKey>, Vec<FlowKey>), Failed> {
    let (mut one, mut two) = (Vec::new(), Vec::new());
    let mut first = |record: &Record<'_>| one.push(record.flow.key());
    let mut second = |record: &Record<'_>| two.push(record.flow.key());
    let dumped = Live::default().dump(&mut [&mut first as &mut dyn Visit, &mut second])?;
    fixture::sound(dumped, one.len() + two.len())?;
    assert!(!dumped.resized);
    one.sort_unstable();
    two.sort_unstable();
    Ok((one, two))
}

fn two_visitors_share_a_mixed_table_by_family() -> Result<(), Failed> {
    let all = flows::many(8000);
    flows::create(&all)?;
    let (one, two) = shared()?;
    let v6 = |flow: &&Flow| flow.family == Family::Ipv6;
    if std::thread::available_parallelism().map_or(1, usize::from) == 1 {
        fixture::same_keys(&one, &flows::keys_of(&all))?;
        return Ok(());
    }
    fixture::same_keys(&two, &flows::keys_of(all.iter().filter(v6)))?;
    fixture::same_keys(&one, &flows::keys_of(all.iter().filter(|flow| !v6(flow))))?;
    Ok(())
}

fn a_rare_family_is_not_worth_a_second_walk() -> Result<(), Failed> {
    let all: Vec<_> = flows::many(8000)
        .into_iter()
        .enumerate()
        .filter(|(index, flow)| flow.family == Family::Ipv4 || index % 200 == 3)
        .map(|(_, flow)| flow)
        .collect();
    flows::create(&all)?;
    let (one, two) = shared()?;
    fixture::same_keys(&one, &flows::keys_of(&all))?;
    fixture::same_keys(&two, &[])?;
    Ok(())
}

fn a_small_table_goes_to_the_first_visitor() -> Result<(), Failed> {
    let all = flows::many(40);
    flows::create(&all)?;
    let (one, two) = shared()?;
    fixture::same_keys(&one, &flows::keys_of(&all))?;
    fixture::same_keys(&two, &[])?;
    Ok(())
}

fn a_dump_is_whole_while_others_come_and_go() -> Result<(), Failed> {
    let stable = flows::many(8000);
    flows::create(&stable)?;
    let passing: Vec<_> = (1..2000)
        .map(|port| flow(Protocol::UDP, &format!("172.16.0.1:{port}"), "172.16.0.2:9"))
        .collect();
    std::thread::scope(|scope| {
        let churn = scope.spawn(|| -> Result<(), Failed> {
            for _ in 0..5 {
                flows::create(&passing)?;
                let expire = passing.iter().map(|flow| Change::Retime {
                    key: flow.key(),
                    seconds: 0,
                });
                flows::all_done(&flows::change(expire)?)?;
            }
            Ok(())
        });
        let expected = flows::keys_of(&stable);
        while !churn.is_finished() {
            let (one, two) = shared()?;
            let mut seen: Vec<_> = one.into_iter().chain(two).collect();
            let passing: IpAddr = Ipv4Addr::new(172, 16, 0, 1).into();
            seen.retain(|key| key.orig.src_ip(key.family) != passing);
            seen.sort_unstable();
            fixture::same_keys(&seen, &expected)?;
        }
        churn.join().map_err(|_| "the churn panicked")?
    })
}
