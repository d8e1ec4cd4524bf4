//! `list` and `count` on the real kernel, judged by the `conntrack` tool and by the snapshots' reader.

use conntidy::flow::Protocol;
use conntidy::flow::protocol::tcp;
use libtest_mimic::Failed;
use serde_json::Value;

use crate::fixture;
use crate::flows::{self, flow, in_state};
use crate::gateway::{Gateway, assured, lasting};

crate::trials!(
    a_filter_takes_what_the_conntrack_tool_takes_and_more,
    alternatives_negations_and_tables_narrow_the_list,
    counts_by_fields_add_up,
    what_does_not_tell_is_not_listed_but_said,
    a_mistaken_filter_shows_nothing_and_names_the_flag,
    sets_of_a_policy_are_members_here_too,
    columns_are_the_same_in_every_format,
    the_lines_of_the_conntrack_tool_are_its_own,
    a_listing_is_one_document_however_many_flows_pass,
    the_first_of_a_ranking_are_those_of_the_whole,
    a_rule_lists_what_apply_then_changes,
    a_rule_that_does_not_act_or_exist_is_told,
    tables_of_several_namespaces_are_listed_by_name,
);

/// Forty flows: TCP in two states, UDP, both families.
fn fill() -> Result<(), Failed> {
    let mut made = Vec::new();
    for host in 0..10 {
        let tcp_flow = |state, port| {
            let (src, dst) = (
                format!("10.0.{host}.1:4{port}"),
                format!("192.0.2.1:{port}"),
            );
            in_state(flow(Protocol::TCP, &src, &dst), state)
        };
        made.push(tcp_flow(tcp::ESTABLISHED, 443));
        made.push(tcp_flow(tcp::TIME_WAIT, 80));
        made.push(flow(
            Protocol::UDP,
            &format!("10.0.{host}.2:53"),
            "192.0.2.2:53",
        ));
        made.push(flow(
            Protocol::UDP,
            &format!("[fd00::{host}]:53"),
            "[fd00:2::2]:53",
        ));
    }
    flows::create(made.iter())
}

fn lines(gateway: &Gateway, arguments: &str) -> Result<usize, Failed> {
    let arguments = [vec!["list"], fixture::words(arguments)].concat();
    let ran = gateway.run(&arguments)?.exits(0)?;
    Ok(ran.out.lines().count())
}

fn a_filter_takes_what_the_conntrack_tool_takes_and_more() -> Result<(), Failed> {
    crate::needs!("conntrack");
    fill()?;
    let gateway = Gateway::new()?;
    for (line, tool) in [
        ("", "-L"),
        ("-p tcp", "-L -p tcp"),
        ("-p tcp --state TIME_WAIT", "-L -p tcp --state TIME_WAIT"),
        ("-s 10.0.3.0/24", "-L -s 10.0.3.0/24"),
        (
            "-d 192.0.2.1 --dport 443",
            "-L -p tcp -d 192.0.2.1 --dport 443",
        ),
        ("-f ipv6", "-L -f ipv6"),
    ] {
        let theirs = fixture::conntrack(tool)?.lines().count();
        assert_eq!(lines(&gateway, line)?, theirs, "{line}");
    }
    // Without a protocol the state says enough.
    assert_eq!(lines(&gateway, "--state established")?, 10);
    Ok(())
}

fn alternatives_negations_and_tables_narrow_the_list() -> Result<(), Failed> {
    fill()?;
    let gateway = Gateway::new()?;
    for (line, count) in [
        ("--dport 80,443", 20),
        ("--dport 80 --dport 440-450", 20),
        ("--not-protocol tcp", 20),
        ("--not-dport 80,53", 10),
        ("--remaining-above 10m", 0),
        ("--remaining-below 20m --family ipv6", 10),
    ] {
        assert_eq!(lines(&gateway, line)?, count, "{line}");
    }
    let table = "protocol = \"udp\", not = { family = \"ipv6\" }";
    let listed = gateway
        .run(&["list", "--match", table, "-o", "jsonl"])?
        .exits(0)?;
    let mut count = 0;
    for line in listed.out.lines() {
        let flow: Value = serde_json::from_str(line)?;
        assert_eq!(
            (&flow["protocol"], &flow["family"]),
            (&"udp".into(), &"ipv4".into())
        );
        count += 1;
    }
    assert_eq!(count, 10);
    Ok(())
}

fn counts_by_fields_add_up() -> Result<(), Failed> {
    fill()?;
    let gateway = Gateway::new()?;
    assert_eq!(gateway.run(&["count"])?.exits(0)?.out, "40\n");
    let counted = gateway
        .run(&["count", "-p", "tcp", "--by", "state", "-o", "json"])?
        .exits(0)?
        .document()?;
    assert_eq!(
        (&counted["flows"], &counted["entries"]),
        (&20.into(), &40.into())
    );
    let groups = counted["groups"].as_array().ok_or("no groups")?;
    assert_eq!(groups.len(), 2);
    assert!(groups.iter().all(|group| group["flows"] == 10));
    let top = ["count", "--by", "src/16", "--top", "1", "-o", "csv"];
    let top = gateway.run(&top)?.exits(0)?.out;
    assert!(top.ends_with("10.0.0.0/16,30\n"), "{top}");
    Ok(())
}

fn what_does_not_tell_is_not_listed_but_said() -> Result<(), Failed> {
    fill()?;
    let gateway = Gateway::new()?;
    let ran = gateway.run(&["list", "--bytes-above", "0"])?.exits(0)?;
    assert_eq!(ran.out, "");
    assert!(ran.err.contains("40 more do not tell"), "{}", ran.err);
    let quiet = gateway
        .run(&["count", "-q", "--bytes-above", "0"])?
        .exits(0)?;
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("0\n", ""));
    Ok(())
}

fn a_mistaken_filter_shows_nothing_and_names_the_flag() -> Result<(), Failed> {
    fill()?;
    let gateway = Gateway::new()?;
    let wrong = ["list", "--dport", "80-", "--state", "GONE"];
    let ran = gateway.run(&wrong)?.exits(64)?;
    assert_eq!(ran.out, "");
    for flag in ["--dport", "--state"] {
        assert!(ran.err.contains(flag), "{}", ran.err);
    }
    Ok(())
}

fn sets_of_a_policy_are_members_here_too() -> Result<(), Failed> {
    fill()?;
    let gateway = Gateway::new()?;
    gateway.write_policy("[sets.servers]\naddresses = [\"192.0.2.1\"]\n")?;
    let arguments = "--policy policy.toml --dst @servers";
    assert_eq!(lines(&gateway, arguments)?, 20);
    let unknown = ["list", "--policy", "policy.toml", "--dst", "@server"];
    let ran = gateway.run(&unknown)?.exits(64)?;
    assert!(ran.err.contains("did you mean `@servers`"), "{}", ran.err);
    Ok(())
}

fn columns_are_the_same_in_every_format() -> Result<(), Failed> {
    let udp = flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53");
    flows::create([&lasting(udp, 400)])?;
    let gateway = Gateway::new()?;
    let list = |format: &str| {
        let columns = [
            "list",
            "--columns",
            "src,dport,state,status,bytes",
            "-o",
            format,
        ];
        Ok::<_, Failed>(gateway.run(&columns)?.exits(0)?.out)
    };
    assert_eq!(list("text")?, "10.0.0.1 53 - seen-reply -\n");
    assert_eq!(
        list("csv")?,
        "src,dport,state,status,bytes\n10.0.0.1,53,,seen-reply,\n"
    );
    let object = "{\"src\":\"10.0.0.1\",\"dport\":53,\"state\":null,\
                  \"status\":[\"seen-reply\"],\"bytes\":null}";
    assert_eq!(list("jsonl")?, format!("{object}\n"));
    let wide = list("wide")?;
    let lines: Vec<Vec<_>> = wide.lines().map(fixture::words).collect();
    assert_eq!(lines[0], ["SRC", "DPORT", "STATE", "STATUS", "BYTES"]);
    assert_eq!(lines[1], ["10.0.0.1", "53", "-", "seen-reply", "-"]);
    let document: Value = serde_json::from_str(&list("json")?)?;
    assert_eq!(document["flows"][0], serde_json::from_str::<Value>(object)?);
    let whole = gateway.run(&["list", "-o", "csv"])?.exits(0)?.out;
    assert!(whole.contains("\nipv4,udp,,seen-reply,"), "{whole}");
    let ran = gateway
        .run(&["list", "--columns", "src,reply-scr"])?
        .exits(64)?;
    assert!(ran.err.contains("did you mean `reply-src`"), "{}", ran.err);
    Ok(())
}

fn the_lines_of_the_conntrack_tool_are_its_own() -> Result<(), Failed> {
    crate::needs!("conntrack");
    flows::create_with(&flows::catalogue())?;
    // The remaining time may be another second by then.
    let sorted = |text: &str| {
        let timeless = |line: &str| {
            let words = line.split_whitespace().enumerate();
            let words: Vec<_> = words
                .filter(|(at, _)| *at != 2)
                .map(|(_, word)| word)
                .collect();
            words.join(" ")
        };
        let mut lines: Vec<_> = text.lines().map(timeless).collect();
        lines.sort_unstable();
        lines
    };
    let ran = Gateway::new()?
        .run(&["list", "-o", "conntrack"])?
        .exits(0)?;
    let theirs = fixture::conntrack("-L")?;
    assert_eq!(sorted(&ran.out), sorted(&theirs));
    Ok(())
}

fn a_listing_is_one_document_however_many_flows_pass() -> Result<(), Failed> {
    fill()?;
    let gateway = Gateway::new()?;
    for (filter, count) in [
        ("--dport=1", 0_usize),
        ("--dport=80", 10),
        ("--dport=1-65535", 40),
    ] {
        let document = gateway
            .run(&["list", filter, "-o", "json"])?
            .exits(0)?
            .document()?;
        assert_eq!(document["flows"].as_array().map(Vec::len), Some(count));
        assert_eq!(document["listed"], count);
    }
    Ok(())
}

fn the_first_of_a_ranking_are_those_of_the_whole() -> Result<(), Failed> {
    let many: Vec<_> = (0..200)
        .map(|n| {
            let src = format!("10.0.0.1:{}", 1000 + n);
            // Every number of seconds once, in no order.
            lasting(
                flow(Protocol::UDP, &src, "192.0.2.1:53"),
                1000 + n * 77 % 200 * 10,
            )
        })
        .collect();
    flows::create(&many)?;
    let gateway = Gateway::new()?;
    let ports = |more: &[&str]| {
        let columns = ["list", "--columns", "sport", "--sort", "timeout"];
        let ran = gateway.run(&[&columns[..], more].concat())?.exits(0)?;
        Ok::<_, Failed>(ran.out.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    let mut wanted = many.clone();
    wanted.sort_by_key(|flow| flow.timeout);
    let wanted: Vec<_> = wanted
        .iter()
        .map(|flow| flow.orig.src_port.to_string())
        .collect();
    assert_eq!(ports(&["--reverse"])?, wanted);
    assert_eq!(ports(&["--reverse", "--top", "7"])?, wanted[..7]);
    let largest: Vec<_> = wanted.iter().rev().take(7).cloned().collect();
    assert_eq!(ports(&["--top", "7"])?, largest);
    Ok(())
}

/// Rules of every kind that decide who gets a flow.
const RULES: &str = r#"
    [limits]
    delete = "100%"
    expire = "100%"
    [rules.first]
    order = 10
    match = { protocol = "udp", dport = 53, src = "10.0.1.0/24" }
    action = "delete"
    budget = { percent = 100 }
    [rules.crowded]
    order = 20
    match = { protocol = "udp", over = { per = "src", prefix4 = 24, count = 30 } }
    action = "delete"
    budget = { percent = 100 }
    [rules.dns]
    order = 30
    match = { protocol = "udp", dport = 53 }
    action = "delete"
    budget = { percent = 100 }
    [rules.seen]
    match = { protocol = "udp", dport = 53 }
    action = "report"
    [protect.one]
    match = { sport = 1005 }
"#;

fn a_rule_lists_what_apply_then_changes() -> Result<(), Failed> {
    let mut many = Vec::new();
    // Of three networks, the last one crowded; some assured, which no rule here may delete.
    for (net, hosts) in [(1, 10_u16), (2, 10), (3, 40)] {
        for n in 0..hosts {
            let src = format!("10.0.{net}.1:{}", 1000 + n);
            let one = flow(Protocol::UDP, &src, "192.0.2.1:53");
            many.push(if n % 4 == 3 { assured(one) } else { one });
        }
    }
    flows::create(&many)?;
    let gateway = Gateway::new()?;
    gateway.write_policy(RULES)?;
    let keys = |rule: &str| {
        let arguments = [
            "list",
            "--policy",
            "policy.toml",
            "--rule",
            rule,
            "--columns",
            "src,sport",
        ];
        let ran = gateway.run(&arguments)?.exits(0)?;
        let mut keys: Vec<_> = ran.out.lines().map(str::to_owned).collect();
        keys.sort_unstable();
        Ok::<_, Failed>(keys)
    };
    let mut listed = Vec::new();
    // Without the assured ones and the protected one.
    for (rule, count) in [("first", 7), ("crowded", 29), ("dns", 7)] {
        let keys = keys(rule)?;
        assert_eq!(keys.len(), count, "{rule}: {keys:?}");
        listed.extend(keys);
    }
    assert_eq!(keys("seen")?.len(), 60);
    let count = [
        "count",
        "--policy",
        "policy.toml",
        "--rule",
        "dns",
        "-s",
        "10.0.2.0/24",
    ];
    assert_eq!(gateway.run(&count)?.exits(0)?.out, "7\n");
    let words = |flow: &conntidy::flow::Flow| {
        format!("{} {}", flow.orig.src_ip(flow.family), flow.orig.src_port)
    };
    gateway.run(&["apply", "-p", "policy.toml"])?.exits(0)?;
    let left: Vec<_> = fixture::table()?
        .iter()
        .map(|(flow, _)| words(flow))
        .collect();
    let mut deleted: Vec<_> = many
        .iter()
        .map(words)
        .filter(|key| !left.contains(key))
        .collect();
    deleted.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, deleted);
    Ok(())
}

fn a_rule_that_does_not_act_or_exist_is_told() -> Result<(), Failed> {
    fill()?;
    let gateway = Gateway::new()?;
    gateway.write_policy(
        "[rules.pressure]\nwhen = { fill-above = \"99%\", until-below = \"98%\" }\n\
         match = { protocol = \"udp\" }\naction = \"delete\"\n",
    )?;
    let list = ["list", "--policy", "policy.toml", "--rule"];
    let ran = gateway
        .run(&[&list[..], &["pressure"]].concat())?
        .exits(0)?;
    assert_eq!(ran.out.lines().count(), 20);
    assert!(
        ran.err.contains("`pressure` does not act now: waits for"),
        "{}",
        ran.err
    );
    let ran = gateway
        .run(&[&list[..], &["presure"]].concat())?
        .exits(64)?;
    assert!(ran.err.contains("did you mean `pressure`?"), "{}", ran.err);
    Ok(())
}

fn tables_of_several_namespaces_are_listed_by_name() -> Result<(), Failed> {
    crate::needs!("ip", "conntrack");
    let ran = Gateway::new()?.run_in_own_mounts(
        "PATH=$PATH:/usr/sbin:/sbin
         mount -t tmpfs none /run
         for name in gw1 gw2 idle; do ip netns add $name; done
         make() { ip netns exec $1 conntrack -I -p udp -s $2 -d 192.0.2.1 --sport 1 --dport 53 -t 600; }
         { make gw1 10.0.0.1; make gw2 10.0.0.2; make gw2 10.0.0.3; } >/dev/null 2>&1
         $1 list --netns all --columns src,dport -o csv
         $1 list --netns gw2 --netns idle -o jsonl | tail -1
         $1 list --netns gw1 --netns gw2 | head -1
         $1 list --netns all -o json | tr -d '\\n'; echo
         $1 count --netns all
         $1 count --netns all --by dport -o csv
         $1 stats --netns all -o json | wc -l
         $1 stats --netns gw2 --netns gw1 | grep -e '^conntidy stats' -e '^entries'
         $1 get udp 10.0.0.2:1 192.0.2.1:53 --netns all
         $1 get udp 10.0.0.1:1 192.0.2.1:53 --netns gw2 --netns gw1 -o json
         ! $1 get udp 10.0.0.1:1 192.0.2.1:53 --netns gw2 --netns idle
         ! $1 stats --netns all --every 1s
         ! $1 count --netns all --netns gone",
    )?;
    let ran = ran.exits(0)?;
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines[..2], ["netns,src,dport", "gw1,10.0.0.1,53"]);
    let mut second = [lines[2], lines[3]];
    second.sort_unstable();
    assert_eq!(second, ["gw2,10.0.0.2,53", "gw2,10.0.0.3,53"]);
    assert!(lines[4].ends_with(",\"netns\":\"gw2\"}"), "{}", lines[4]);
    assert!(lines[5].ends_with(" netns=gw1"), "{}", lines[5]);
    let document: Value = serde_json::from_str(lines[6])?;
    assert_eq!(document["listed"], 3);
    let counts: Vec<Vec<_>> = lines[7..].iter().map(|line| fixture::words(line)).collect();
    assert_eq!(
        counts[..3],
        [vec!["netns", "flows"], vec!["gw2", "2"], vec!["gw1", "1"]]
    );
    assert_eq!(
        lines[10..14],
        ["netns,dport,flows", "gw2,53,2", "gw1,53,1", "2"]
    );
    for (at, words) in [
        (14, "netns gw2"),
        (15, " 2 /"),
        (16, "netns gw1"),
        (17, " 1 /"),
        (18, "src=10.0.0.2 "),
        (18, " netns=gw2"),
        (19, ",\"netns\":\"gw1\"}"),
    ] {
        assert!(lines[at].contains(words), "{}", lines[at]);
    }
    assert!(
        ran.err.contains("look at one network namespace"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("skipped, since the table is empty: idle"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("gone"), "{}", ran.err);
    Ok(())
}
