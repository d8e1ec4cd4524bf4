//! `update`, `create` and `flush` by hand.

use std::collections::BTreeMap;

use conntidy::flow::protocol::tcp;
use conntidy::flow::{Flow, FlowKey, OwnedExtra, Protocol, Status};
use libtest_mimic::Failed;

use crate::fixture;
use crate::flows::{self, flow, in_state};
use crate::gateway::{Gateway, Ran, assured, is_about, lasting, left};

crate::trials!(
    an_update_sets_what_it_names_and_nothing_else,
    an_update_leaves_what_it_must_not_touch,
    labels_are_set_and_cleared_where_a_rule_holds_them,
    an_update_is_undone_where_nobody_changed_it_since,
    what_was_shortened_is_undone_or_made_again,
    an_entry_is_made_as_it_was_asked_for,
    the_conntrack_tool_sees_what_was_made,
    what_the_kernel_refuses_is_told_with_the_reason,
    flush_empties_the_table_but_for_the_session,
    flush_wants_to_be_told_what,
    the_kernels_flush_takes_what_its_filter_says,
    the_kernels_flush_refuses_what_it_cannot_compare,
    the_kernels_flush_spares_this_session_by_not_flushing,
    the_kernels_flush_is_recorded_and_nothing_older_is_undone_for_it,
    expectations_are_made_shown_and_deleted,
    entries_that_die_are_shown,
);

fn tcp_flow(port: u16) -> Flow {
    let one = flow(Protocol::TCP, &format!("10.0.0.1:{port}"), "192.0.2.1:443");
    assured(in_state(one, tcp::ESTABLISHED))
}

fn udp_flow(port: u16) -> Flow {
    flow(Protocol::UDP, &format!("10.0.0.1:{port}"), "192.0.2.1:53")
}

fn marked(mut flow: Flow, mark: u32) -> Flow {
    flow.mark = mark;
    flow
}

fn gateway(flows: &[Flow]) -> Result<Gateway, Failed> {
    flows::create(flows)?;
    Gateway::new()
}

fn run(gateway: &Gateway, line: &str) -> Result<Ran, Failed> {
    gateway.run(&fixture::words(line))
}

fn entries() -> Result<BTreeMap<FlowKey, (Flow, OwnedExtra)>, Failed> {
    let all = fixture::table()?.into_iter();
    Ok(all.map(|entry| (entry.0.key(), entry)).collect())
}

fn entry(flow: &Flow) -> Result<(Flow, OwnedExtra), Failed> {
    let found = entries()?.remove(&flow.key());
    found.ok_or_else(|| format!("no {}", flow.key()).into())
}

fn stays(flows: &[Flow]) -> Result<(), Failed> {
    fixture::same_keys(&fixture::keys()?, &flows::keys_of(flows))
}

fn an_update_sets_what_it_names_and_nothing_else() -> Result<(), Failed> {
    let (one, other) = (marked(udp_flow(1), 0xab12), marked(tcp_flow(2), 0xab12));
    let gateway = gateway(&[one, other])?;
    let line = "update --set-mark 0x10/0xff --set-timeout 5m --set-status assured -p udp --yes";
    let ran = run(&gateway, line)?.exits(0)?;
    for words in [
        "1 flow updated",
        "mark 0x10/0xff",
        "timeout 5m",
        "status assured",
    ] {
        assert!(ran.out.contains(words), "{}", ran.out);
    }
    let (now, _) = entry(&one)?;
    assert_eq!(now.mark, 0xab10);
    assert!(now.status.contains(Status::ASSURED | Status::SEEN_REPLY));
    is_about(Some(now.timeout), 300)?;
    let (untouched, _) = entry(&other)?;
    assert_eq!(untouched.mark, 0xab12);
    is_about(Some(untouched.timeout), 600)?;
    // Again: nothing is to be done.
    let ran = run(&gateway, "update --set-mark 0x10/0xff -p udp --yes")?.exits(0)?;
    assert!(ran.out.contains("1 flow is so already"), "{}", ran.out);
    for wrong in [
        "update -p udp --yes",
        "update --set-mark 0x10/0x0f -p udp --yes",
        "update --set-status src-nat -p udp --yes",
        "update --set-timeout 0 -p udp --yes",
        "update --set-timeout 200d -p udp --yes",
        "update --set-label 1 --clear-label 1 -p udp --yes",
        "update --set-mark 1 --yes",
        "update --set-mark 1 -p udp",
    ] {
        run(&gateway, wrong)?.exits(64)?;
    }
    Ok(())
}

fn an_update_leaves_what_it_must_not_touch() -> Result<(), Failed> {
    let mut fixed = tcp_flow(1);
    fixed.status |= Status::FIXED_TIMEOUT;
    let session = in_state(
        flow(Protocol::TCP, "198.51.100.7:50000", "10.0.0.1:22"),
        tcp::ESTABLISHED,
    );
    let gateway = gateway(&[fixed, session, udp_flow(3)])?;
    gateway.write_policy("[protect.names]\nmatch = { dport = 53 }\n")?;
    let line = "update --set-timeout 1m -f ipv4 --policy policy.toml --yes -o json";
    let output = gateway
        .command(&[], &fixture::words(line))
        .env("SSH_CONNECTION", "198.51.100.7 50000 10.0.0.1 22")
        .output()?;
    let report = Ran::from(output).exits(0)?.document()?;
    let rule = &report["plan"]["rules"][0];
    assert_eq!(rule["selected"], 0);
    let left = &rule["left"];
    assert_eq!(
        [&left["fixed_timeout"], &left["session"], &left["protected"]],
        [1, 1, 1]
    );
    for flow in [fixed, session, udp_flow(3)] {
        is_about(crate::gateway::left(&flow)?, 600)?;
    }
    Ok(())
}

fn labels_are_set_and_cleared_where_a_rule_holds_them() -> Result<(), Failed> {
    crate::needs!("nft");
    let one = udp_flow(1);
    let gateway = gateway(&[one])?;
    let ran = run(&gateway, "update --set-label 3 -p udp --yes")?.exits(4)?;
    assert!(ran.out.contains("`ct label` rule"), "{}", ran.out);
    fixture::run(
        "nft",
        &["add table t; add chain t c; add rule t c ct label set 3"],
    )?;
    run(&gateway, "delete -p udp --yes")?.exits(0)?;
    flows::create([&one])?;
    run(&gateway, "update --set-label 3,127 -p udp --yes")?.exits(0)?;
    assert_eq!(entry(&one)?.1.borrow().labels, Some(1 << 127 | 1 << 3));
    run(
        &gateway,
        "update --clear-label 127 --set-label 0 --label 3 --yes",
    )?
    .exits(0)?;
    assert_eq!(entry(&one)?.1.borrow().labels, Some(0b1001));
    run(&gateway, "undo")?.exits(0)?;
    assert_eq!(entry(&one)?.1.borrow().labels, Some(1 << 127 | 1 << 3));
    Ok(())
}

fn an_update_is_undone_where_nobody_changed_it_since() -> Result<(), Failed> {
    let (one, changed) = (marked(udp_flow(1), 7), marked(udp_flow(2), 7));
    let gateway = gateway(&[one, changed])?;
    run(
        &gateway,
        "update --set-mark 0x30/0xf0 --set-timeout 1h -p udp --yes",
    )?
    .exits(0)?;
    assert_eq!(entry(&one)?.0.mark, 0x37);
    run(
        &gateway,
        "update --set-mark 0x50/0xf0 --set-timeout 2m --sport 2 --yes",
    )?
    .exits(0)?;
    let listed = run(&gateway, "undo --list")?.exits(0)?.out;
    let first = listed
        .lines()
        .last()
        .and_then(|line| line.split(' ').next());
    let first = first.ok_or("no run")?.to_owned();
    assert!(listed.contains("2 updated"), "{listed}");
    let ran = run(&gateway, &format!("undo {first}"))?.exits(0)?;
    assert!(ran.out.contains("1  still there"), "{}", ran.out);
    let (back, _) = entry(&one)?;
    assert_eq!(back.mark, 7);
    is_about(Some(back.timeout), 600)?;
    let (kept, _) = entry(&changed)?;
    assert_eq!(kept.mark, 0x57);
    is_about(Some(kept.timeout), 120)?;
    Ok(())
}

fn what_was_shortened_is_undone_or_made_again() -> Result<(), Failed> {
    let (still, ended) = (lasting(tcp_flow(1), 5000), lasting(tcp_flow(2), 5000));
    let refreshed = lasting(tcp_flow(3), 5000);
    let gateway = gateway(&[still, ended, refreshed])?;
    run(&gateway, "expire --in 60s -p tcp --yes")?.exits(0)?;
    is_about(left(&still)?, 60)?;
    let key = ended.key();
    let retime = |key, seconds| conntidy::kernel::Change::Retime { key, seconds };
    let changes = [retime(key, 0), retime(refreshed.key(), 400_000)];
    flows::all_done(&flows::change(changes.into_iter())?)?;
    let ran = run(&gateway, "undo")?.exits(0)?;
    for words in ["1  created", "1  still there", "1  there again already"] {
        assert!(ran.out.contains(words), "{}", ran.out);
    }
    is_about(left(&still)?, 5000)?;
    is_about(left(&ended)?, 5000)?;
    is_about(left(&refreshed)?, 400_000)
}

fn an_entry_is_made_as_it_was_asked_for() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let made = |line: &str| -> Result<serde_json::Value, Failed> {
        run(&gateway, &format!("create {line} -o json"))?
            .exits(0)?
            .document()
    };
    let tcp = "tcp 10.0.0.5:40112 10.0.9.5:5432 --timeout 1h --state established";
    let entry = made(&format!("{tcp} --status assured,seen-reply --mark 0x10"))?;
    assert_eq!(entry["state"], "ESTABLISHED");
    assert_eq!(entry["mark"], 16);
    let left = entry["timeout"].as_u64().ok_or("no timeout")?;
    assert!((3595..=3600).contains(&left), "{left}");
    let entry = made("udp 10.0.0.5:1 192.0.2.1:53 zone 7 --timeout 30s --snat 203.0.113.7:61000")?;
    assert_eq!(entry["reply_dst"], "203.0.113.7");
    assert_eq!(entry["reply_dport"], 61000);
    assert_eq!(entry["zone"], 7);
    let entry = made("udp [fd00::5]:1 [2001:db8::1]:53 --timeout 30s --dnat fd00::8")?;
    assert_eq!(entry["reply_src"], "fd00::8");
    let entry = made("icmp 10.0.0.5 192.0.2.1 type 8 code 0 id 77 --timeout 30s")?;
    assert_eq!(entry["icmp_id"], 77);
    made("gre 10.0.0.5 192.0.2.1 keys 1 2 --timeout 30s")?;
    assert_eq!(fixture::keys()?.len(), 5);
    Ok(())
}

fn the_conntrack_tool_sees_what_was_made() -> Result<(), Failed> {
    crate::needs!("conntrack");
    let gateway = Gateway::new()?;
    let line = "create tcp 198.51.100.7:50000 203.0.113.7:80 --timeout 2m --state SYN_SENT \
                --dnat 10.0.0.8:8080 --mark 5";
    run(&gateway, line)?.exits(0)?;
    let shown = fixture::conntrack("-L -p tcp")?;
    for words in ["SYN_SENT", "src=10.0.0.8", "sport=8080", "mark=5"] {
        assert!(shown.contains(words), "{shown}");
    }
    Ok(())
}

fn what_the_kernel_refuses_is_told_with_the_reason() -> Result<(), Failed> {
    let gateway = gateway(&[tcp_flow(1)])?;
    let there = "create tcp 10.0.0.1:1 192.0.2.1:443 --timeout 1m --state ESTABLISHED";
    let ran = run(&gateway, there)?.exits(1)?;
    assert!(ran.err.contains("is there already"), "{}", ran.err);
    assert!(ran.err.contains("conntidy update"), "{}", ran.err);
    let helper = "create udp 10.0.0.1:1 192.0.2.1:53 --timeout 1m --helper nonesuch";
    let ran = run(&gateway, helper)?.exits(1)?;
    assert!(ran.err.contains("no such helper"), "{}", ran.err);
    for (wrong, words) in [
        ("tcp 10.0.0.1:2 192.0.2.1:443 --timeout 1m", "--state"),
        (
            "udp 10.0.0.1:2 192.0.2.1:443 --timeout 1m --state NEW",
            "no states",
        ),
        (
            "tcp 10.0.0.1:2 192.0.2.1:443 --timeout 1m --state NEW",
            "SYN_SENT",
        ),
        ("udp 10.0.0.1:2 192.0.2.1:443", "--timeout"),
        (
            "udp 10.0.0.1:2 192.0.2.1:443 --timeout 1m --snat fd00::1",
            "other family",
        ),
        ("udp 10.0.0.1:2 --timeout 1m", "destination is missing"),
        (
            "udp 10.0.0.1:2 192.0.2.1:443 --timeout 1m --mark 1/3",
            "mask",
        ),
    ] {
        let ran = run(&gateway, &format!("create {wrong}"))?.exits(64)?;
        assert!(ran.err.contains(words), "{wrong}: {}", ran.err);
    }
    stays(&[tcp_flow(1)])
}

fn flush_empties_the_table_but_for_the_session() -> Result<(), Failed> {
    let session = in_state(
        flow(Protocol::TCP, "198.51.100.7:50000", "10.0.0.1:22"),
        tcp::ESTABLISHED,
    );
    let all = [session, tcp_flow(1), udp_flow(2)];
    let gateway = gateway(&all)?;
    run(&gateway, "flush --all")?.exits(64)?;
    run(&gateway, "flush --all --max 2")?.exits(3)?;
    stays(&all)?;
    let output = gateway
        .command(&[], &["flush", "--all", "--yes"])
        .env("SSH_CONNECTION", "198.51.100.7 50000 10.0.0.1 22")
        .output()?;
    let ran = Ran::from(output).exits(0)?;
    assert!(ran.out.starts_with("conntidy flush "), "{}", ran.out);
    assert!(ran.out.contains("2 flows deleted"), "{}", ran.out);
    stays(&[session])?;
    run(&gateway, "undo")?.exits(0)?;
    stays(&all)
}

fn flush_wants_to_be_told_what() -> Result<(), Failed> {
    let gateway = gateway(&[tcp_flow(1)])?;
    for line in [
        "flush --yes",
        "flush -p tcp --yes",
        "flush --kernel --yes",
        "flush --kernel --match {} --yes",
        "flush --all -p tcp --yes",
        "flush --kernel -p tcp",
    ] {
        run(&gateway, line)?.exits(64)?;
    }
    stays(&[tcp_flow(1)])
}

/// Everything that filters below can tell apart.
fn various() -> Vec<Flow> {
    let mut all = vec![
        tcp_flow(1),
        marked(tcp_flow(2), 0x12),
        marked(udp_flow(3), 0x13),
        marked(udp_flow(4), 0x24),
        flow(Protocol::UDP, "10.0.0.2:5", "192.0.2.2:53"),
        flow(Protocol::UDP, "[fd00::1]:6", "[fd00::2]:53"),
        in_state(
            flow(Protocol::TCP, "[fd00::1]:7", "[fd00::2]:443"),
            tcp::SYN_SENT,
        ),
    ];
    all[4].status = Status::empty();
    all
}

fn the_kernels_flush_takes_what_its_filter_says() -> Result<(), Failed> {
    for line in [
        "-p udp",
        "-p tcp --dport 443",
        "-p udp --sport 5",
        "-s 10.0.0.2",
        "-p udp -s 10.0.0.1 -d 192.0.2.1",
        "-f ipv6",
        "-f ipv6 -p tcp",
        "--mark 0x10/0xf0",
        "--mark 0/0xff",
        "--mark 0x12",
        "--status unreplied",
        "--status assured",
        "--status seen-reply -p udp -f ipv4 --mark 0x13",
    ] {
        let all = various();
        let gateway = gateway(&all)?;
        let plan = run(&gateway, &format!("delete {line} -n -o json"))?.exits(0)?;
        let matched = plan.document()?["rules"][0]["matched"].clone();
        let dry = run(&gateway, &format!("flush --kernel {line} --dry-run"))?.exits(0)?;
        assert!(dry.out.contains("Nothing was changed"), "{}", dry.out);
        stays(&all)?;
        let ran = run(&gateway, &format!("flush --kernel {line} --yes -o json"))?;
        if ran.code == Some(3) {
            // This kernel's filter is not to be trusted, and it says so.
            assert!(ran.err.contains("in a trial"), "{line}: {}", ran.err);
            stays(&all)?;
        } else {
            let flushed = ran.exits(0)?.document()?;
            assert_eq!(flushed["matched"], matched, "{line}");
            let gone = all.len() as u64 - fixture::keys()?.len() as u64;
            assert_eq!(gone, matched, "{line}");
            let left = run(&gateway, &format!("count {line}"))?.exits(0)?;
            assert_eq!(left.out, "0\n", "{line}");
        }
        run(&gateway, "flush --all --kernel --yes")?.exits(0)?;
        stays(&[])?;
    }
    Ok(())
}

fn the_kernels_flush_refuses_what_it_cannot_compare() -> Result<(), Failed> {
    let all = various();
    let gateway = gateway(&all)?;
    for line in [
        "-s fd00::1",
        "-s 10.0.0.0/24",
        "-p udp,tcp",
        "--dport 53",
        "-p udp --dport 53-54",
        "--state ESTABLISHED",
        "-w 0",
        "--not-protocol tcp",
        "--idle-for 1h",
        "--status offload",
        "udp 10.0.0.2:5 192.0.2.2:53",
        "--id 5",
    ] {
        let ran = run(&gateway, &format!("flush --kernel {line} --yes"))?.exits(3)?;
        assert!(ran.err.contains("conntidy delete"), "{line}: {}", ran.err);
    }
    stays(&all)
}

fn the_kernels_flush_spares_this_session_by_not_flushing() -> Result<(), Failed> {
    let session = in_state(
        flow(Protocol::TCP, "198.51.100.7:50000", "10.0.0.1:22"),
        tcp::ESTABLISHED,
    );
    let all = [session, tcp_flow(1)];
    let gateway = gateway(&all)?;
    for filter in ["--all", "-p tcp"] {
        let line = format!("flush --kernel {filter} --yes");
        let output = gateway
            .command(&[], &fixture::words(&line))
            .env("SSH_CONNECTION", "198.51.100.7 50000 10.0.0.1 22")
            .output()?;
        let ran = Ran::from(output).exits(3)?;
        assert!(ran.err.contains("spares nothing"), "{}", ran.err);
        stays(&all)?;
        // Whoever only looks, or would be asked, is told so at once.
        let line = format!("flush --kernel {filter} --dry-run");
        let output = gateway
            .command(&[], &fixture::words(&line))
            .env("SSH_CONNECTION", "198.51.100.7 50000 10.0.0.1 22")
            .output()?;
        let ran = Ran::from(output).exits(3)?;
        assert!(ran.out.starts_with("conntidy flush "), "{}", ran.out);
        assert!(ran.err.contains("spares nothing"), "{}", ran.err);
    }
    run(&gateway, "flush --kernel --all --max 1")?.exits(3)?;
    stays(&all)?;
    let ran = run(&gateway, "flush --kernel --all --max 2")?.exits(0)?;
    assert!(ran.out.contains("cannot be undone"), "{}", ran.out);
    stays(&[])
}

fn the_kernels_flush_is_recorded_and_nothing_older_is_undone_for_it() -> Result<(), Failed> {
    let all = [tcp_flow(1), udp_flow(2)];
    let gateway = gateway(&all)?;
    let report = run(&gateway, "delete -p udp --yes -o json")?
        .exits(0)?
        .document()?;
    run(&gateway, "flush --kernel -p tcp --yes")?.exits(0)?;
    let listed = run(&gateway, "undo --list")?.exits(0)?.out;
    let newest = listed.lines().next().ok_or("no runs")?;
    assert!(newest.contains("about 1 flushed by the kernel"), "{listed}");
    let asked = "by hand: flush --kernel -p tcp --yes";
    assert!(newest.contains(asked), "{listed}");
    let ran = run(&gateway, "undo")?.exits(1)?;
    assert!(ran.err.contains("cannot be undone"), "{}", ran.err);
    stays(&[])?;
    let earlier = report["run"].as_str().ok_or("no run")?;
    let ran = run(&gateway, &format!("undo {earlier}"))?.exits(0)?;
    assert!(ran.out.contains("by hand: delete -p udp"), "{}", ran.out);
    stays(&[udp_flow(2)])?;
    // What the kernel did not flush leaves no record.
    run(&gateway, "flush --kernel -p udp --max 0")?.exits(3)?;
    let listed = run(&gateway, "undo --list")?.exits(0)?.out;
    assert_eq!(listed.lines().count(), 2, "{listed}");
    Ok(())
}

fn expectations_are_made_shown_and_deleted() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let master = "tcp 10.0.0.5:40000 192.0.2.1:21";
    // The helper expects one flow of each master, the latest.
    let others = [
        "tcp 10.0.0.5:40001 192.0.2.1:21",
        "tcp 10.0.0.5:40002 192.0.2.1:21",
    ];
    for master in [master, others[0], others[1]] {
        let line = format!("create {master} --timeout 1h --state ESTABLISHED --helper ftp");
        if run(&gateway, &line)?.code != Some(0) {
            return fixture::skip(module_path!(), "no helper `ftp` in this kernel");
        }
    }
    let expect = |flow: &str, more: &[&str]| -> Result<Ran, Failed> {
        let words = fixture::words(flow);
        let create = ["create", "--table", "expect", "--timeout", "5m"];
        gateway.run(&[&create, &words[..], more].concat())
    };
    let with = ["--master", master];
    expect("tcp 192.0.2.1:0 10.0.0.5:5001", &["--master", others[0]])?.exits(0)?;
    expect("tcp 192.0.2.1:20 10.0.0.5:5002", &with)?.exits(0)?;
    expect("tcp 0.0.0.0:0 10.0.0.6:5003", &["--master", others[1]])?.exits(0)?;
    let again = expect("tcp 192.0.2.1:20 10.0.0.5:5002", &with)?;
    assert!(again.exits(1)?.err.contains("expected already"));
    for (more, words) in [
        (&[][..], "--master"),
        (&["--master", "tcp 10.0.0.5:1 192.0.2.1:21"], "no flow"),
    ] {
        let ran = expect("tcp 192.0.2.1:20 10.0.0.5:5004", more)?;
        assert!(ran.err.contains(words), "{ran:?}");
    }
    expect("tcp 192.0.2.1:20 10.0.0.5:0", &with)?.exits(64)?;
    let marked = expect("tcp 192.0.2.1:20 10.0.0.5:5005", &["--mark", "5"])?.exits(64)?;
    assert!(marked.err.contains("--mark"), "{}", marked.err);
    for line in [
        "list --table expect --policy policy.toml",
        "delete --table expect -p tcp --policy policy.toml --yes",
        "delete --table expect -p tcp --include-protected --yes",
    ] {
        run(&gateway, line)?.exits(64)?;
    }
    let ran = run(&gateway, "list --table expect --state ESTABLISHED")?.exits(0)?;
    assert!(ran.err.contains("3 more do not tell"), "{}", ran.err);
    assert_eq!(run(&gateway, "count --table expect")?.exits(0)?.out, "3\n");
    assert_eq!(
        run(&gateway, "count --table expect -d 10.0.0.5")?
            .exits(0)?
            .out,
        "2\n"
    );
    let listed = run(&gateway, "list --table expect -o json")?
        .exits(0)?
        .document()?;
    let ports: Vec<_> = (listed["expectations"].as_array().ok_or("no list")?.iter())
        .map(|one| {
            (
                one["sport"].as_u64(),
                one["mask_sport"].as_u64(),
                one["dport"].as_u64(),
            )
        })
        .collect();
    assert!(
        ports.contains(&(Some(20), Some(0xffff), Some(5002))),
        "{ports:?}"
    );
    assert!(ports.contains(&(Some(0), Some(0), Some(5001))), "{ports:?}");
    if fixture::has("conntrack") {
        let theirs = fixture::conntrack("-L expect")?;
        assert_eq!(theirs.lines().count(), 3, "{theirs}");
        assert!(theirs.contains("dport=5002"), "{theirs}");
    }
    let one = "tcp 192.0.2.1:20 10.0.0.5:5002";
    let shown = run(&gateway, &format!("get --table expect {one}"))?
        .exits(0)?
        .out;
    assert!(shown.contains(&format!("master=({master})")), "{shown}");
    run(&gateway, &format!("get --table expect {one} --id 1"))?.exits(1)?;
    run(&gateway, &format!("delete --table expect {one}"))?.exits(64)?;
    run(&gateway, "delete --table expect --yes")?.exits(64)?;
    run(&gateway, "delete --table expect -p tcp --max 2")?.exits(3)?;
    run(&gateway, &format!("delete --table expect {one} --dry-run"))?.exits(0)?;
    assert_eq!(run(&gateway, "count --table expect")?.exits(0)?.out, "3\n");
    let deleted = run(
        &gateway,
        &format!("delete --table expect {one} --yes -o json"),
    )?;
    assert_eq!(deleted.exits(0)?.document()?["deleted"], 1);
    run(&gateway, &format!("get --table expect {one}"))?.exits(1)?;
    run(&gateway, "flush --table expect --yes")?.exits(64)?;
    let flushed = run(&gateway, "flush --table expect --all --yes")?.exits(0)?;
    assert!(
        flushed.out.contains("2 expectations deleted"),
        "{}",
        flushed.out
    );
    assert_eq!(run(&gateway, "count --table expect")?.exits(0)?.out, "0\n");
    // The master stays.
    run(&gateway, &format!("get {master}"))?.exits(0)?;
    Ok(())
}

fn entries_that_die_are_shown() -> Result<(), Failed> {
    use netlink_sys::constants::NETLINK_NETFILTER;
    /// `NFNLGRP_CONNTRACK_DESTROY`.
    const DESTROYED: u32 = 3;
    let mut deaf = netlink_sys::Socket::new(NETLINK_NETFILTER)?;
    deaf.bind_auto()?;
    deaf.set_rx_buf_sz(2048_i32)?;
    deaf.set_broadcast_error(true)?;
    deaf.add_membership(DESTROYED)?;
    let all: Vec<Flow> = (1..=200).map(udp_flow).collect();
    let gateway = gateway(&all)?;
    assert_eq!(run(&gateway, "list --table dying")?.exits(0)?.out, "");
    run(&gateway, "delete -p udp --yes")?.exits(0)?;
    let dying = run(&gateway, "count --table dying -p udp")?.exits(0)?.out;
    let dying: u64 = dying.trim().parse()?;
    assert!((100..=200).contains(&dying), "{dying} dying");
    assert_eq!(
        run(&gateway, "count --table dying -p tcp")?.exits(0)?.out,
        "0\n"
    );
    Ok(())
}
