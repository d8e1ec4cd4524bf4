//! `get`, `delete`, `expire` by hand: what they take, what holds them back, what is put back.

use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use conntidy::flow::protocol::tcp;
use conntidy::flow::{Flow, FlowKey, Protocol, Status};
use conntidy::kernel::namespace::within_new;
use conntidy::kernel::{Change, Live};
use libtest_mimic::Failed;
use serde_json::Value;

use crate::fixture;
use crate::flows::{self, flow, in_state};
use crate::gateway::{Gateway, Ran, assured, is_about, lasting, left};

crate::trials!(
    nothing_is_done_unless_somebody_agrees,
    more_than_the_most_is_refused_whole,
    what_was_agreed_to_is_done_and_another_flow_of_the_same_tuple_stays,
    no_is_no,
    an_empty_filter_is_refused,
    nothing_that_matches_is_no_error_and_leaves_no_record,
    protected_flows_and_this_session_stay,
    flows_that_no_rule_may_take_unasked_are_taken_by_hand,
    idleness_has_to_be_proven_by_hand_too,
    what_was_deleted_is_put_back_and_no_rule_is_held,
    one_flow_is_named_by_its_tuple_or_id_and_nothing_is_dumped,
    a_flow_is_taken_in_its_own_zone_only,
    get_shows_one_entry_or_exits_1,
    expire_shortens_and_never_lengthens,
    a_rule_of_the_policy_names_flows,
    a_rule_takes_by_hand_what_list_shows_of_it,
    another_namespace_is_worked_in,
    a_policy_that_is_named_is_read,
    what_becomes_protected_while_somebody_is_asked_keeps_the_kernel_from_flushing,
);

fn tcp_flow(port: u16) -> Flow {
    let one = flow(Protocol::TCP, &format!("10.0.0.1:{port}"), "192.0.2.1:443");
    assured(in_state(one, tcp::ESTABLISHED))
}

fn dns(port: u16) -> Flow {
    flow(Protocol::UDP, &format!("10.0.0.1:{port}"), "192.0.2.1:53")
}

fn gateway(flows: &[Flow]) -> Result<Gateway, Failed> {
    flows::create(flows)?;
    Gateway::new()
}

fn run(gateway: &Gateway, line: &str) -> Result<Ran, Failed> {
    gateway.run(&fixture::words(line))
}

fn stays(flows: &[&Flow]) -> Result<(), Failed> {
    fixture::same_keys(&fixture::keys()?, &flows::keys_of(flows.iter().copied()))
}

/// The only rule of a report's plan.
fn rule(report: &Value) -> &Value {
    &report["plan"]["rules"][0]
}

fn nothing_is_done_unless_somebody_agrees() -> Result<(), Failed> {
    let all = [tcp_flow(1), dns(2)];
    let gateway = gateway(&all)?;
    for command in ["delete", "expire --in 1s"] {
        let ran = run(&gateway, &format!("{command} -s 10.0.0.1"))?.exits(64)?;
        for way in ["--yes", "--max N", "--dry-run"] {
            assert!(ran.err.contains(way), "{}", ran.err);
        }
        let ran = run(&gateway, &format!("{command} -s 10.0.0.1 --dry-run"))?.exits(0)?;
        assert!(ran.out.contains("2 flows"), "{}", ran.out);
        assert!(ran.out.contains("only shown"), "{}", ran.out);
    }
    stays(&[&all[0], &all[1]])?;
    is_about(left(&all[1])?, 600)?;
    let plan = run(&gateway, "delete -s 10.0.0.1 -n -o json")?.exits(0)?;
    assert_eq!(plan.document()?["rules"][0]["selected"], 2);
    assert!(!gateway.state_root().exists(), "looking left something");
    run(&gateway, "delete -s 10.0.0.1 --yes")?.exits(0)?;
    stays(&[])
}

fn more_than_the_most_is_refused_whole() -> Result<(), Failed> {
    let all = [tcp_flow(1), tcp_flow(2), tcp_flow(3)];
    let gateway = gateway(&all)?;
    for dry in ["", " --dry-run"] {
        let ran = run(&gateway, &format!("delete -p tcp --max 2{dry}"))?.exits(3)?;
        assert!(ran.out.contains("more than `--max 2`"), "{}", ran.out);
    }
    stays(&[&all[0], &all[1], &all[2]])?;
    let ran = run(&gateway, "delete -p tcp --max 3 -o json")?.exits(0)?;
    assert_eq!(ran.document()?["rules"][0]["done"], 3);
    stays(&[])
}

/// The program on a terminal, once it has asked.
fn asked(gateway: &Gateway, line: &str) -> Result<(Child, String), Failed> {
    let on_a_terminal = format!("exec script -qec \"$0 {line}\" /dev/null");
    let mut child = gateway
        .command(&["sh", "-c", &on_a_terminal], &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    let out = child.stdout.as_mut().ok_or("no stdout")?;
    let mut byte = [0];
    while !said.contains("[y/N]") {
        if out.read(&mut byte)? == 0 {
            return Err(format!("it asked nothing: {said}").into());
        }
        said.push(char::from(byte[0]));
    }
    Ok((child, said))
}

fn answer(mut child: Child, answer: &str) -> Result<Ran, Failed> {
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    stdin.write_all(answer.as_bytes())?;
    let ran = child.wait_with_output()?.into();
    drop(stdin);
    Ok(ran)
}

fn what_was_agreed_to_is_done_and_another_flow_of_the_same_tuple_stays() -> Result<(), Failed> {
    crate::needs!("script");
    let (shown, replaced) = (tcp_flow(1), tcp_flow(2));
    let gateway = gateway(&[shown, replaced])?;
    let (child, said) = asked(&gateway, "delete --dport 443")?;
    assert!(said.contains("Delete 2 flows? [y/N]"), "{said}");
    let before = fixture::table()?[1].0;
    let (key, id) = (before.key(), before.id);
    flows::all_done(&flows::change([Change::Delete { key, id }].into_iter())?)?;
    // Others take its place in memory, which the id is made of; not always at once.
    let mut others = (100..).map(dns);
    let after = loop {
        let fillers: Vec<Flow> = others.by_ref().take(100).collect();
        flows::create(&fillers)?;
        flows::create([&replaced])?;
        let after = Live::default().get(&key)?.ok_or("not made again")?.0;
        if after.id != id {
            break after;
        }
        flows::all_done(&flows::change([Change::Delete { key, id }].into_iter())?)?;
        sleep(Duration::from_millis(50));
    };
    let ran = answer(child, "y\n")?.exits(0)?;
    for words in [
        "1 flow deleted",
        "1 gone or changed",
        "1 new and left alone",
    ] {
        assert!(ran.out.contains(words), "{}", ran.out);
    }
    assert_eq!(left(&shown)?, None);
    assert_eq!(Live::default().get(&key)?.map(|e| e.0.id), Some(after.id));
    Ok(())
}

fn no_is_no() -> Result<(), Failed> {
    crate::needs!("script");
    let all = [tcp_flow(1)];
    let gateway = gateway(&all)?;
    for no in ["n\n", "\n", "yikes\n"] {
        let (child, _) = asked(&gateway, "delete -p tcp")?;
        let ran = answer(child, no)?.exits(3)?;
        assert!(ran.out.contains("nothing was done"), "{}", ran.out);
    }
    stays(&[&all[0]])
}

fn an_empty_filter_is_refused() -> Result<(), Failed> {
    let all = [tcp_flow(1)];
    let gateway = gateway(&all)?;
    gateway.write_policy(
        "[rules.all]\nmatch = {}\neverything = true\naction = \"report\"\nbudget = { percent = 100 }\n",
    )?;
    for line in [
        "delete --yes",
        "expire --in 1s --yes",
        "delete --match {} --yes",
        "delete --policy policy.toml --rule all --yes",
    ] {
        let ran = run(&gateway, line)?;
        assert!(ran.code == Some(64) || ran.code == Some(78), "{ran:?}");
    }
    stays(&[&all[0]])
}

fn nothing_that_matches_is_no_error_and_leaves_no_record() -> Result<(), Failed> {
    let gateway = gateway(&[tcp_flow(1)])?;
    for line in [
        "delete --dport 444 --yes",
        "delete tcp 10.0.0.1:1 192.0.2.1:444 --yes",
        "expire --in 5s --dport 444 --max 3",
    ] {
        let ran = run(&gateway, line)?.exits(0)?;
        assert!(ran.out.contains("nothing to do"), "{}", ran.out);
    }
    assert_eq!(run(&gateway, "undo --list")?.exits(0)?.out, "");
    Ok(())
}

fn protected_flows_and_this_session_stay() -> Result<(), Failed> {
    let ssh = assured(in_state(
        flow(Protocol::TCP, "198.51.100.7:50000", "10.0.0.1:22"),
        tcp::ESTABLISHED,
    ));
    let (kept, taken) = (dns(1), tcp_flow(2));
    let gateway = gateway(&[ssh, kept, taken])?;
    gateway.write_policy("[protect.names]\nmatch = { dport = 53 }\n")?;
    let with_session = |line: &str| -> Result<Ran, Failed> {
        let output = gateway
            .command(&[], &fixture::words(line))
            .env("SSH_CONNECTION", "198.51.100.7 50000 10.0.0.1 22")
            .output()?;
        Ok(output.into())
    };
    let everything = "-f ipv4 --policy policy.toml --yes";
    let ran = with_session(&format!("expire --in 5s {everything}"))?.exits(0)?;
    for words in ["1 by names", "1 of this session", "1 flow shortened"] {
        assert!(ran.out.contains(words), "{}", ran.out);
    }
    is_about(left(&ssh)?, 600)?;
    let ran = with_session(&format!("delete {everything} -o json"))?.exits(0)?;
    let report = ran.document()?;
    assert_eq!(rule(&report)["left"]["session"], 1);
    assert_eq!(report["plan"]["protected"][0]["flows"], 1);
    stays(&[&ssh, &kept])?;
    with_session(&format!("delete {everything} --include-protected"))?.exits(0)?;
    stays(&[&ssh])?;
    // One that is named by itself is none the less this session's.
    with_session("delete tcp 198.51.100.7:50000 10.0.0.1:22 --yes")?.exits(0)?;
    stays(&[&ssh])
}

fn flows_that_no_rule_may_take_unasked_are_taken_by_hand() -> Result<(), Failed> {
    fixture::run("ip", &["address", "add", "192.0.2.1/32", "dev", "lo"])?;
    let half_closed = assured(in_state(
        flow(Protocol::TCP, "10.0.0.1:1", "192.0.2.1:443"),
        tcp::CLOSE_WAIT,
    ));
    let gateway = gateway(&[half_closed, tcp_flow(2)])?;
    let ran = run(&gateway, "delete -d 192.0.2.1 --yes -o json")?.exits(0)?;
    assert_eq!(ran.document()?["rules"][0]["done"], 2);
    stays(&[])
}

fn idleness_has_to_be_proven_by_hand_too() -> Result<(), Failed> {
    // Within the unacknowledged timeout of 300 s nothing is known of it; this one only looks idle.
    let idle = lasting(tcp_flow(1), 300_000);
    let gateway = gateway(&[idle])?;
    let ran = run(&gateway, "delete --idle-for 10m --yes")?.exits(0)?;
    assert!(ran.out.contains("idle without proof"), "{}", ran.out);
    stays(&[&idle])?;
    run(&gateway, "expire --in 5s --idle-for 10m --yes")?.exits(0)?;
    is_about(left(&idle)?, 5)
}

fn what_was_deleted_is_put_back_and_no_rule_is_held() -> Result<(), Failed> {
    const POLICY: &str = "[rules.delete]\nmatch = { dport = 443 }\naction = \"delete\"\nallow-assured = true\nbudget = { percent = 100 }\n";
    let all = [tcp_flow(1), tcp_flow(2), dns(3)];
    let gateway = gateway(&all)?;
    run(&gateway, "delete --dport 443 --yes")?.exits(0)?;
    stays(&[&all[2]])?;
    let listed = run(&gateway, "undo --list")?.exits(0)?.out;
    assert!(listed.contains("2 deleted"), "{listed}");
    assert!(listed.contains("delete --dport 443 --yes"), "{listed}");
    let ran = run(&gateway, "undo")?.exits(0)?;
    assert!(!ran.out.contains("on hold"), "{}", ran.out);
    stays(&[&all[0], &all[1], &all[2]])?;
    // A rule of that name is not the one that was undone, nor has it run.
    let report = gateway.run_apply(POLICY)?.exits(0)?.document()?;
    assert_eq!(report["rules"][0]["done"], 2);
    let report: Value = run(&gateway, "undo -o json")?.exits(0)?.document()?;
    assert_eq!(report["undone"][0]["holds"][0], "delete");
    // That holds the rule, and not whoever asks by hand.
    let ran = run(&gateway, "delete --dport 443 --yes -o json")?.exits(0)?;
    assert_eq!(ran.document()?["rules"][0]["done"], 2);
    gateway.run_apply(POLICY)?.exits(3)?;
    Ok(())
}

fn one_flow_is_named_by_its_tuple_or_id_and_nothing_is_dumped() -> Result<(), Failed> {
    let all: Vec<Flow> = (1..=20).map(tcp_flow).collect();
    let gateway = gateway(&all)?;
    let by_tuple = "delete tcp 10.0.0.1:1 192.0.2.1:443 --yes -o json";
    let by_flags =
        "delete -p tcp -s 10.0.0.1 --sport 2 -d 192.0.2.1 --dport 443 -w 0 --yes -o json";
    for line in [by_tuple, by_flags] {
        let report = run(&gateway, line)?.exits(0)?.document()?;
        assert_eq!(report["plan"]["table"]["dumped"], 1, "{line}");
        assert_eq!(report["rules"][0]["done"], 1, "{line}");
    }
    let third = fixture::table()?[0].0;
    let (id, other) = (third.id, third.id ^ 1);
    let wrong = format!("delete {} --id {other} --yes", third.key());
    run(&gateway, &wrong)?.exits(0)?;
    assert_eq!(fixture::keys()?.len(), 18);
    run(&gateway, &format!("delete --id {id} --yes"))?.exits(0)?;
    assert_eq!(left(&third)?, None);
    assert_eq!(fixture::keys()?.len(), 17);
    run(&gateway, "undo")?.exits(0)?;
    assert_eq!(fixture::keys()?.len(), 18);
    Ok(())
}

fn a_flow_is_taken_in_its_own_zone_only() -> Result<(), Failed> {
    let here = tcp_flow(1);
    let mut there = here;
    (there.zone_orig, there.zone_reply) = (7, 7);
    let gateway = gateway(&[here, there])?;
    run(&gateway, "delete tcp 10.0.0.1:1 192.0.2.1:443 zone 7 --yes")?.exits(0)?;
    stays(&[&here])?;
    flows::create([&there])?;
    run(&gateway, "delete tcp 10.0.0.1:1 192.0.2.1:443 --yes")?.exits(0)?;
    stays(&[&there])?;
    let shown = run(
        &gateway,
        "get -p tcp -s 10.0.0.1 --sport 1 -d 192.0.2.1 --dport 443 -w 7",
    )?;
    assert!(shown.exits(0)?.out.contains("zone=7"));
    Ok(())
}

fn get_shows_one_entry_or_exits_1() -> Result<(), Failed> {
    let ping = flows::icmp("10.0.0.1", "192.0.2.1", 8, 0, 77);
    let gateway = gateway(&[tcp_flow(1), tcp_flow(2), ping])?;
    let shown = run(&gateway, "get tcp 10.0.0.1:1 192.0.2.1:443")?.exits(0)?;
    let listed = run(&gateway, "list --sport 1")?.exits(0)?;
    assert_eq!(shown.out, listed.out);
    let ran = run(
        &gateway,
        "get icmp 10.0.0.1 192.0.2.1 type 8 code 0 id 77 -o json",
    )?;
    let id = ran.exits(0)?.document()?["id"].clone();
    let by_id = run(&gateway, &format!("get --id {id} -o json"))?.exits(0)?;
    assert_eq!(by_id.document()?["icmp_type"], 8);
    for line in [
        "get tcp 10.0.0.1:3 192.0.2.1:443",
        "get tcp 10.0.0.1:1 192.0.2.1:443 --state SYN_SENT",
        "get --id 1",
    ] {
        let ran = run(&gateway, line)?.exits(1)?;
        assert!(ran.err.contains("no such entry"), "{}", ran.err);
        assert_eq!(ran.out, "");
    }
    // Without its type it would be that of type 0.
    let ran = run(&gateway, "get icmp 10.0.0.1 192.0.2.1")?.exits(64)?;
    assert!(ran.err.contains("the type is missing"), "{}", ran.err);
    let ran = run(&gateway, "get --dport 443")?.exits(64)?;
    assert!(ran.err.contains("conntidy list"), "{}", ran.err);
    run(&gateway, "get tcp 10.0.0.1")?.exits(64)?;
    Ok(())
}

fn expire_shortens_and_never_lengthens() -> Result<(), Failed> {
    let (long, short) = (lasting(tcp_flow(1), 400_000), lasting(tcp_flow(2), 20));
    let mut fixed = lasting(tcp_flow(3), 400_000);
    fixed.status |= Status::FIXED_TIMEOUT;
    let other = lasting(dns(4), 400);
    let gateway = gateway(&[long, short, fixed, other])?;
    let ran = run(&gateway, "expire --in 30s --dport 443 --yes")?.exits(0)?;
    for words in [
        "1 flow shortened",
        "1 flow ends at least as soon",
        "timer fixed",
    ] {
        assert!(ran.out.contains(words), "{}", ran.out);
    }
    is_about(left(&long)?, 30)?;
    is_about(left(&short)?, 20)?;
    is_about(left(&fixed)?, 400_000)?;
    is_about(left(&other)?, 400)?;
    run(&gateway, "expire --in 0 --dport 443 --yes")?.exits(64)?;
    Ok(())
}

fn a_rule_of_the_policy_names_flows() -> Result<(), Failed> {
    let all = [tcp_flow(1), tcp_flow(2), dns(3)];
    let gateway = gateway(&all)?;
    gateway.write_policy(
        "[rules.web]\nmatch = { dport = 443, not = { sport = 2 } }\norder = 0\naction = \"report\"\n\
         [rules.old]\nmatch = { dport = 53, persisted = \"1h\" }\naction = \"report\"\n\
         [rules.first]\nmatch = { sport = 1 }\norder = 1\naction = \"delete\"\nallow-assured = true\n\
         [rules.second]\nmatch = { dport = 443 }\naction = \"delete\"\n\
         [rules.crowd]\nmatch = { protocol = \"tcp\", over = { per = \"src\", count = 1 } }\naction = \"report\"\n",
    )?;
    let named = |rule: &str, more: &str| {
        run(
            &gateway,
            &format!("delete --policy policy.toml --rule {rule} {more} --yes"),
        )
    };
    // Nothing has been seen by an earlier run.
    named("old", "")?.exits(0)?;
    let ran = named("wbe", "")?.exits(64)?;
    assert!(ran.err.contains("web"), "{}", ran.err);
    let dry = "delete --policy policy.toml --rule crowd -n -o json";
    let plan = run(&gateway, dry)?.exits(0)?.document()?;
    // Of the two that make the crowd, one is an earlier rule's.
    let rules = plan["rules"].as_array().ok_or("no rules")?;
    let actions: Vec<_> = rules.iter().map(|rule| &rule["action"]).collect();
    assert_eq!(actions, ["keep", "delete"]);
    assert_eq!(rules[1]["selected"], 1);
    // What an earlier rule takes is not the second one's, and what that may not take stays.
    named("second", "")?.exits(0)?;
    stays(&[&all[0], &all[1], &all[2]])?;
    named("web", "--sport 2")?.exits(0)?;
    stays(&[&all[0], &all[1], &all[2]])?;
    named("web", "")?.exits(0)?;
    stays(&[&all[1], &all[2]])
}

/// Earlier rules that go by groups, by fill or by earlier runs keep what is theirs, and one whose set
/// is missing keeps all that it might take.
fn a_rule_takes_by_hand_what_list_shows_of_it() -> Result<(), Failed> {
    let other = |port: u16, dport: u16| {
        let dst = format!("192.0.2.9:{dport}");
        flow(Protocol::UDP, &format!("10.0.0.2:{port}"), &dst)
    };
    let half_closed = in_state(tcp_flow(9), tcp::CLOSE_WAIT);
    let all = [
        tcp_flow(1),
        tcp_flow(2),
        tcp_flow(3),
        assured(half_closed),
        dns(4),
        dns(5),
        other(6, 100),
        other(7, 101),
        other(8, 102),
    ];
    let gateway = gateway(&all)?;
    gateway.write_policy(
        "[rules.crowd]\norder = 1\nmatch = { protocol = \"tcp\", sport = \"1-3\", over = { per = \"src\", count = 2 } }\naction = \"delete\"\nallow-assured = true\n\
         [rules.pressed]\norder = 2\nmatch = { dport = 53 }\nwhen = { fill-above = \"90%\", until-below = \"80%\" }\naction = \"delete\"\n\
         [sets.none]\naddresses = []\n\
         [rules.blind]\norder = 3\nmatch = { dport = 100, not = { src = \"@none\" } }\naction = \"delete\"\n\
         [rules.followed]\norder = 4\nmatch = { dport = 101, persisted = \"1s\" }\naction = \"expire\"\ngrace = \"2h4m\"\n\
         [rules.rest]\norder = 5\nmatch = { protocol = [\"tcp\", \"udp\"] }\naction = \"delete\"\nallow-assured = true\n",
    )?;
    let agree = |rule: &str, more: &str, flows: u64| -> Result<(), Failed> {
        let named = format!("--policy policy.toml --rule {rule} {more}");
        let counted = run(&gateway, &format!("count {named} -o json"))?.exits(0)?;
        assert_eq!(counted.document()?["flows"], flows, "count {named}");
        let plan = run(&gateway, &format!("delete {named} -n -o json"))?.exits(0)?;
        let plan = plan.document()?;
        let last = plan["rules"].as_array().and_then(|rules| rules.last());
        assert_eq!(last.ok_or("no rule")?["selected"], flows, "delete {named}");
        Ok(())
    };
    agree("crowd", "", 3)?;
    // Groups are counted before they are narrowed.
    agree("crowd", "--sport 1", 1)?;
    agree("pressed", "", 2)?;
    agree("followed", "", 0)?;
    agree("rest", "", 4)?;
    agree("rest", "--dport 53", 2)?;
    // One flow by itself would be no crowd.
    let one = "-p tcp -s 10.0.0.1 --sport 1 -d 192.0.2.1 --dport 443 -w 0";
    agree("rest", one, 0)?;
    for line in ["delete -n", "get"] {
        let line = format!("{line} --policy policy.toml --rule rest tcp 10.0.0.1:1 192.0.2.1:443");
        let ran = run(&gateway, &line)?.exits(64)?;
        assert!(ran.err.contains("groups of flows"), "{}", ran.err);
    }
    run(&gateway, "delete --policy policy.toml --rule rest --yes")?.exits(0)?;
    stays(&[&all[0], &all[1], &all[2], &all[3], &all[6]])?;
    run(&gateway, "undo")?.exits(0)?;
    stays(&all.each_ref())
}

fn another_namespace_is_worked_in() -> Result<(), Failed> {
    let all = [tcp_flow(1), dns(2)];
    let gateway = gateway(&all)?;
    let thread = std::fs::read_link("/proc/thread-self")?;
    let here = format!("/proc/{}/ns/net", thread.display());
    let key: FlowKey = all[0].key();
    let within = |line: String| -> Result<Ran, Failed> {
        within_new(|| run(&gateway, &format!("{line} --netns {here}")))?
    };
    within(format!("get {key}"))?.exits(0)?;
    within(format!("expire --in 9s {key} --yes"))?.exits(0)?;
    is_about(left(&all[0])?, 9)?;
    within("delete -p udp --yes".to_owned())?.exits(0)?;
    stays(&[&all[0]])
}

/// What the command would do without it.
fn a_policy_that_is_named_is_read() -> Result<(), Failed> {
    let all = [tcp_flow(1), tcp_flow(2)];
    let gateway = gateway(&all)?;
    for line in [
        "list",
        "count",
        "get tcp 10.0.0.1:1 192.0.2.1:443",
        "delete -p tcp --yes",
        "events --for 1s",
    ] {
        let ran = run(&gateway, &format!("{line} --policy nowhere.toml"))?;
        assert_ne!(ran.code, Some(0), "{line}");
        assert!(ran.err.contains("nowhere.toml"), "{}", ran.err);
    }
    gateway.write_policy(
        "[rules.one]\nmatch = { sport = 1 }\naction = \"delete\"\nallow-assured = true\n",
    )?;
    let named = "--policy policy.toml --rule one";
    run(
        &gateway,
        &format!("get tcp 10.0.0.1:1 192.0.2.1:443 {named}"),
    )?
    .exits(0)?;
    run(
        &gateway,
        &format!("get tcp 10.0.0.1:2 192.0.2.1:443 {named}"),
    )?
    .exits(1)?;
    // Lints are what `check` is for.
    let ran = run(&gateway, &format!("list {named}"))?.exits(0)?;
    assert_eq!(ran.err, "");
    // Without one there is no rule.
    for line in ["list --rule one", "delete --rule one --yes"] {
        let ran = run(&gateway, line)?.exits(78)?;
        assert!(ran.err.contains("there is no policy"), "{}", ran.err);
    }
    stays(&[&all[0], &all[1]])
}

fn what_becomes_protected_while_somebody_is_asked_keeps_the_kernel_from_flushing()
-> Result<(), Failed> {
    crate::needs!("script");
    let (shown, protected) = (dns(1), tcp_flow(2));
    let gateway = gateway(&[shown])?;
    gateway.write_policy("[protect.web]\nmatch = { protocol = \"tcp\", dport = 443 }\n")?;
    let (child, said) = asked(&gateway, "flush --all --kernel --policy policy.toml")?;
    assert!(said.contains("Delete 1 flow? [y/N]"), "{said}");
    flows::create([&protected])?;
    let ran = answer(child, "y\n")?.exits(3)?;
    assert!(ran.out.contains("nothing was done"), "{}", ran.out);
    stays(&[&shown, &protected])
}
