//! What `undo` brings back, and what it says of the rest.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use conntidy::flow::protocol::tcp;
use conntidy::flow::{Flow, Protocol, Status};
use conntidy::kernel::namespace::within_new;
use conntidy::kernel::{Change, Live};
use conntidy::observe::Observe;
use libtest_mimic::Failed;

use crate::fixture::{self, read_tunable, write_tunable};
use crate::flows::{self, flow, in_state, translated};
use crate::gateway::{Gateway, Ran, assured, is_about, lasting, left, result};

crate::trials!(
    entries_come_back_with_translation_mark_zone_and_the_time_that_is_left,
    what_is_there_taken_or_expired_is_counted_and_not_made,
    the_rules_of_an_undone_run_are_on_hold_until_released,
    an_undo_that_makes_nothing_holds_no_rule,
    tunables_are_put_back_where_nobody_else_has_written_them,
    the_rails_hold_for_tunables_that_are_put_back,
    a_run_is_undone_once_and_listed_as_such,
    every_undo_of_a_run_stays_on_its_record,
    the_list_tells_undone_entries_from_undone_tunables,
    a_list_of_no_runs_says_where_there_are_none,
    what_somebody_else_deleted_meanwhile_is_not_made,
    a_damaged_record_costs_its_own_entry_alone,
    an_entry_recorded_twice_is_made_once,
    nothing_is_made_where_holds_cannot_be_kept,
    an_unknown_run_is_no_run,
    a_namespace_that_got_the_number_of_another_starts_anew,
    a_run_whose_record_is_removed_meanwhile_is_passed_over,
    a_run_whose_record_is_damaged_is_passed_over_and_named,
    the_last_run_is_the_last_one_also_where_the_clock_was_set_back,
    what_a_refused_rule_would_have_deleted_is_not_kept,
);

const DELETE: &str = r#"
    [limits]
    delete = "100%"
    [rules.all]
    match = { protocol = ["tcp", "udp", "icmp"] }
    action = "delete"
    allow-assured = true
    budget = { count = 1000 }
"#;

/// Deleted by [`DELETE`]: translated both ways, both families, zoned, marked, a ping.
fn varied() -> Vec<Flow> {
    let masqueraded = translated(
        flow(Protocol::TCP, "10.0.0.1:1001", "192.0.2.1:443"),
        "192.0.2.1:443",
        "203.0.113.1:40001",
    );
    let forwarded = translated(
        flow(Protocol::UDP, "198.51.100.1:1002", "203.0.113.1:53"),
        "10.0.0.53:5353",
        "198.51.100.1:1002",
    );
    let six = flow(Protocol::TCP, "[fd00::1]:1003", "[2001:db8::1]:443");
    let mut zoned = flow(Protocol::UDP, "10.0.0.1:1004", "192.0.2.1:53");
    (zoned.zone_orig, zoned.zone_reply) = (7, 7);
    zoned.mark = 0xbeef;
    zoned.present |= conntidy::flow::Present::MARK;
    vec![
        assured(lasting(in_state(masqueraded, tcp::ESTABLISHED), 400_000)),
        assured(lasting(forwarded, 110)),
        lasting(in_state(six, tcp::SYN_RECV), 55),
        lasting(zoned, 25),
        flows::icmp("10.0.0.1", "192.0.2.1", 8, 0, 7),
    ]
}

fn entries_come_back_with_translation_mark_zone_and_the_time_that_is_left() -> Result<(), Failed> {
    flows::create(&varied())?;
    let before = fixture::table()?;
    let has = |bit| before.iter().any(|(flow, _)| flow.status.contains(bit));
    assert!(has(Status::SRC_NAT) && has(Status::DST_NAT));
    let gateway = Gateway::new()?;
    let report = gateway.apply(DELETE)?;
    assert_eq!(result(&report, "all").done, 5);
    assert!(fixture::keys()?.is_empty());
    sleep(Duration::from_secs(2));
    let undone = gateway.undo(&report.run)?;
    assert_eq!((undone.created, undone.failed, undone.unknown), (5, 0, 0));
    let after = fixture::table()?;
    assert_eq!(after.len(), 5);
    for ((old, _), (new, _)) in before.iter().zip(&after) {
        assert_eq!(new.key(), old.key());
        assert_eq!(new.reply, old.reply);
        assert_eq!(new.status, old.status, "{}", old.key());
        assert_eq!((new.mark, new.state), (old.mark, old.state));
        assert_eq!(
            (new.zone_orig, new.zone_reply),
            (old.zone_orig, old.zone_reply)
        );
        is_about(Some(new.timeout), old.timeout - 2)?;
    }
    Ok(())
}

fn what_is_there_taken_or_expired_is_counted_and_not_made() -> Result<(), Failed> {
    let make = |port: u16, seconds| {
        let one = flow(Protocol::UDP, &format!("10.0.0.1:{port}"), "192.0.2.1:53");
        lasting(one, seconds)
    };
    let (back, taken, short, normal) = (make(1, 100), make(2, 100), make(3, 2), make(4, 100));
    flows::create([&back, &taken, &short, &normal])?;
    let gateway = Gateway::new()?;
    let report = gateway.apply(DELETE)?;
    assert_eq!(result(&report, "all").done, 4);
    // Its own packet came first; to another a connection of the other side has its tuple.
    let mut opposite = taken;
    std::mem::swap(&mut opposite.orig, &mut opposite.reply);
    opposite.orig = taken.orig.inverse(Protocol::UDP);
    opposite.reply = taken.orig;
    flows::create([&lasting(back, 33), &opposite])?;
    sleep(Duration::from_millis(2_100));
    let undone = gateway.undo(&report.run)?;
    assert_eq!(
        (undone.created, undone.there, undone.taken, undone.expired),
        (1, 1, 1, 1)
    );
    is_about(left(&back)?, 31)?;
    assert!(left(&normal)?.is_some() && left(&short)?.is_none());
    assert!(left(&opposite)?.is_some());
    Ok(())
}

fn the_rules_of_an_undone_run_are_on_hold_until_released() -> Result<(), Failed> {
    let dns = flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53");
    flows::create([&dns])?;
    let gateway = Gateway::new()?;
    gateway.run_apply(DELETE)?.exits(0)?;
    let undone = gateway.run(&["undo"])?.exits(0)?;
    assert!(undone.out.contains("--release all"), "{}", undone.out);
    let held = gateway.run_apply(DELETE)?.exits(3)?.document()?;
    assert_eq!(held["plan"]["rules"][0]["refused"]["kind"], "on-hold");
    assert!(left(&dns)?.is_some());
    let plan = gateway.plan(DELETE)?;
    assert_eq!(plan.summary.refused, 1, "plan knows of it too");
    let wrong = ["apply", "-p", "policy.toml", "--release", "al"];
    let wrong = gateway.run(&wrong)?.exits(64)?;
    assert!(wrong.err.contains("on hold: all"), "{}", wrong.err);
    assert!(left(&dns)?.is_some());
    let release = ["apply", "-p", "policy.toml", "--release", "all"];
    gateway.run(&release)?.exits(0)?;
    assert!(left(&dns)?.is_none());
    Ok(())
}

fn an_undo_that_makes_nothing_holds_no_rule() -> Result<(), Failed> {
    let one = |port: u16, seconds| {
        let one = flow(Protocol::UDP, &format!("10.0.0.1:{port}"), "192.0.2.1:53");
        lasting(one, seconds)
    };
    flows::create([&one(1, 100), &one(2, 2)])?;
    let gateway = Gateway::new()?;
    let run = gateway.apply(DELETE)?.run;
    sleep(Duration::from_millis(2_100));
    assert_eq!(gateway.undo(&run)?.holds, ["all"]);
    // Released by a run in which it takes nothing.
    gateway.write_policy(
        &DELETE
            .replace("\"icmp\"", "\"sctp\"")
            .replace("\"tcp\", \"udp\", ", ""),
    )?;
    let release = ["apply", "-p", "policy.toml", "--release", "all"];
    gateway.run(&release)?.exits(0)?;
    let again = gateway.undo(&run)?;
    assert_eq!((again.created, again.there, again.expired), (0, 1, 1));
    assert_eq!(again.holds, Vec::<String>::new());
    let boot_id = Live::default().header()?.boot_id;
    assert!(gateway.state()?.memory(&boot_id)?.holds().is_empty());
    gateway.run_apply(DELETE)?.exits(0)?;
    assert!(fixture::keys()?.is_empty());
    Ok(())
}

fn tunables_are_put_back_where_nobody_else_has_written_them() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    gateway
        .run_apply("[timeouts]\nicmp = 11\nudp.stream = 61\n[sysctl]\nnf_conntrack_acct = true\n")?
        .exits(0)?;
    write_tunable("nf_conntrack_icmp_timeout", 12)?;
    let report = gateway
        .run(&["undo", "--sysctl", "-o", "json"])?
        .exits(0)?
        .document()?;
    let undone = &report["undone"][0];
    assert_eq!(undone["sysctl"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        undone["sysctl_left"]["nf_conntrack_icmp_timeout"]["value"],
        "12"
    );
    assert_eq!(read_tunable("nf_conntrack_udp_timeout_stream")?, 120);
    assert_eq!(read_tunable("nf_conntrack_acct")?, 0);
    assert_eq!(read_tunable("nf_conntrack_icmp_timeout")?, 12);
    Ok(())
}

fn the_rails_hold_for_tunables_that_are_put_back() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    // The kernel takes it for: new entries end at once.
    write_tunable("nf_conntrack_icmp_timeout", 0)?;
    gateway
        .run_apply("[timeouts]\nicmp = 11\nudp.stream = 61\n")?
        .exits(0)?;
    // What a run in the initial namespace would have written.
    let state = gateway.state()?;
    let run = state.runs()?.into_iter().next().ok_or("no run")?;
    let mut report = state.read_audit(&run)?;
    let mut max = report.sysctl[0].clone();
    "nf_conntrack_max".clone_into(&mut max.name);
    max.before = Some("1".to_owned());
    max.after = Some(read_tunable("nf_conntrack_max")?.to_string());
    report.sysctl.push(max);
    state.write_audit(&run, &report)?;
    let undone = gateway.run(&["undo", "--sysctl", "-o", "json"])?.exits(3)?;
    let undone = &undone.document()?["undone"][0];
    let left = &undone["sysctl_left"];
    assert_eq!(left["nf_conntrack_icmp_timeout"]["state"], "refused");
    assert_eq!(left["nf_conntrack_max"]["state"], "initial-namespace");
    assert_eq!(read_tunable("nf_conntrack_icmp_timeout")?, 11);
    assert_eq!(read_tunable("nf_conntrack_udp_timeout_stream")?, 120);
    Ok(())
}

fn a_run_is_undone_once_and_listed_as_such() -> Result<(), Failed> {
    flows::create(&varied())?;
    let gateway = Gateway::new()?;
    gateway.run_apply(DELETE)?.exits(0)?;
    gateway.run(&["undo"])?.exits(0)?;
    let again = gateway.run(&["undo"])?.exits(0)?;
    assert!(again.out.contains("5  there again"), "{}", again.out);
    assert_eq!(fixture::keys()?.len(), 5);
    let list = gateway.run(&["undo", "--list"])?.exits(0)?;
    assert_eq!(list.out.lines().count(), 1);
    assert!(
        list.out.contains("5 deleted   entries undone"),
        "{}",
        list.out
    );
    Ok(())
}

fn every_undo_of_a_run_stays_on_its_record() -> Result<(), Failed> {
    flows::create(&varied())?;
    let gateway = Gateway::new()?;
    gateway
        .run_apply(&format!("[timeouts]\nicmp = 11\n{DELETE}"))?
        .exits(0)?;
    for arguments in [&["undo"][..], &["undo", "--sysctl"], &["undo"]] {
        gateway.run(arguments)?.exits(0)?;
    }
    let state = gateway.state()?;
    let run = state.runs()?.into_iter().next().ok_or("no run")?;
    let undone = state.read_audit(&run)?.undone;
    let created: Vec<u64> = undone.iter().map(|undone| undone.created).collect();
    assert_eq!(created, [5, 0, 0], "{undone:#?}");
    assert_eq!(undone[0].holds, ["all"]);
    assert_eq!(undone[1].sysctl.len(), 1);
    assert_eq!(undone[2].there, 5);
    Ok(())
}

fn the_list_tells_undone_entries_from_undone_tunables() -> Result<(), Failed> {
    flows::create(&varied())?;
    let gateway = Gateway::new()?;
    gateway
        .run_apply(&format!("[timeouts]\nicmp = 11\n{DELETE}"))?
        .exits(0)?;
    let ends = |words: &str| -> Result<(), Failed> {
        let list = gateway.run(&["undo", "--list"])?.exits(0)?;
        let did = format!("   1 key written, 0 expired, 5 deleted{words}\n");
        assert!(list.out.ends_with(&did), "{}", list.out);
        Ok(())
    };
    ends("")?;
    gateway.run(&["undo", "--sysctl"])?.exits(0)?;
    ends("   tunables undone")?;
    gateway.run(&["undo"])?.exits(0)?;
    ends("   entries and tunables undone")?;
    let list = ["undo", "--list", "-o", "json"];
    let list = gateway.run(&list)?.exits(0)?.document()?;
    assert_eq!(list["schema"], "conntidy.runs/1");
    assert_eq!(list["runs"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(list["runs"][0]["schema"], "conntidy.report/1");
    Ok(())
}

fn a_list_of_no_runs_says_where_there_are_none() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let list = gateway.run(&["undo", "--list"])?.exits(0)?;
    let directory = gateway.state()?.directory().display().to_string();
    assert_eq!(list.out, "");
    assert_eq!(list.err, format!("note: no runs recorded in {directory}\n"));
    Ok(())
}

fn what_somebody_else_deleted_meanwhile_is_not_made() -> Result<(), Failed> {
    for streaming in [false, true] {
        within_new(|| flushed_meanwhile(streaming))??;
    }
    Ok(())
}

fn flushed_meanwhile(streaming: bool) -> Result<(), Failed> {
    let all: Vec<Flow> = (1..=10)
        .map(|port| {
            let one = flow(Protocol::UDP, &format!("10.0.0.1:{port}"), "192.0.2.1:53");
            lasting(one, 100)
        })
        .collect();
    flows::create(&all)?;
    let gateway = Gateway::new()?;
    let budget = if streaming {
        "percent = 100"
    } else {
        "count = 10"
    };
    gateway.write_policy(&format!(
        "[limits]\ndelete = \"100%\"\npace = \"4/s\"\n[rules.dns]\nmatch = {{ protocol = \"udp\" }}\n\
        action = \"delete\"\nbudget = {{ {budget} }}\n"
    ))?;
    let apply = gateway
        .command(&[], &["apply", "-p", "policy.toml", "-o", "json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    while fixture::keys()?.len() == 10 {
        sleep(Duration::from_millis(10));
    }
    let rest: Vec<Change<'_>> = fixture::table()?
        .iter()
        .map(|(flow, _)| Change::Delete {
            key: flow.key(),
            id: flow.id,
        })
        .collect();
    flows::change(rest.into_iter())?;
    let report = Ran::from(apply.wait_with_output()?).exits(0)?.document()?;
    let dns = &report["rules"][0];
    let done = dns["done"].as_u64().ok_or("no number")?;
    assert!((1..9).contains(&done), "{dns}");
    assert_eq!(dns["gone"], 10 - done);
    let undone = gateway.undo(report["run"].as_str().ok_or("no run")?)?;
    assert_eq!(undone.created, done, "{undone:#?}");
    assert_eq!(fixture::keys()?.len() as u64, done);
    Ok(())
}

/// The undo file of the only run, by the end of its name.
fn undo_file(gateway: &Gateway, suffix: &str) -> Result<PathBuf, Failed> {
    let state = gateway.state()?;
    let run = state.runs()?.into_iter().next().ok_or("no run")?;
    Ok(state
        .directory()
        .join("undo")
        .join(format!("{run}{suffix}")))
}

fn a_damaged_record_costs_its_own_entry_alone() -> Result<(), Failed> {
    flows::create(&varied())?;
    let gateway = Gateway::new()?;
    gateway.run_apply(DELETE)?.exits(0)?;
    // The second that was sent: offset in `.sent`, length in `.flows`.
    let sent = fs::read(undo_file(&gateway, ".sent")?)?;
    let offset = usize::try_from(u64::from_le_bytes(sent[10..18].try_into()?))?;
    let path = undo_file(&gateway, ".flows")?;
    let mut records = fs::read(&path)?;
    records[offset + 3] = 0xff;
    fs::write(&path, records)?;
    let undone = gateway.run(&["undo", "-o", "json"])?.exits(4)?.document()?;
    let undone = &undone["undone"][0];
    assert_eq!(
        (&undone["created"], &undone["failed"]),
        (&4.into(), &1.into())
    );
    assert_eq!(fixture::keys()?.len(), 4);
    assert_eq!(undone["holds"][0], "all");
    gateway.run_apply(DELETE)?.exits(3)?;
    assert_eq!(fixture::keys()?.len(), 4);
    Ok(())
}

fn an_entry_recorded_twice_is_made_once() -> Result<(), Failed> {
    flows::create(&varied())?;
    let gateway = Gateway::new()?;
    let report = gateway.apply(DELETE)?;
    // As where a table that was looked at again showed it again.
    let path = undo_file(&gateway, ".sent")?;
    let sent = fs::read(&path)?;
    fs::write(&path, [&sent[..], &sent[..]].concat())?;
    let undone = gateway.undo(&report.run)?;
    assert_eq!((undone.created, undone.taken, undone.there), (5, 0, 0));
    Ok(())
}

fn nothing_is_made_where_holds_cannot_be_kept() -> Result<(), Failed> {
    crate::needs!("unshare", "mount");
    flows::create(&varied())?;
    let gateway = Gateway::new()?;
    gateway.write_policy(DELETE)?;
    let ran = gateway.run_in_own_mounts(
        "mount -t tmpfs -o size=256k none \"$2\"
         \"$1\" apply -q -p policy.toml >/dev/null
         cat /dev/zero >\"$2/full\" 2>/dev/null || true
         exec \"$1\" undo",
    )?;
    let ran = ran.exits(1)?;
    assert!(ran.err.contains("state.json"), "{}", ran.err);
    assert!(ran.err.contains("No space left"), "{}", ran.err);
    assert!(fixture::keys()?.is_empty());
    Ok(())
}

fn an_unknown_run_is_no_run() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    for arguments in [&["undo"][..], &["undo", "20200101T000000.000Z-1"]] {
        gateway.run(arguments)?.exits(1)?;
    }
    assert!(!gateway.state_root().exists(), "asking makes nothing");
    Ok(())
}

fn a_run_whose_record_is_removed_meanwhile_is_passed_over() -> Result<(), Failed> {
    flows::create(&varied())?;
    let gateway = Gateway::new()?;
    gateway.run_apply(DELETE)?.exits(0)?;
    // Listed, and not there once it is read, as where another run removes it in between.
    let audit = gateway.state()?.directory().join("audit");
    std::os::unix::fs::symlink("nowhere", audit.join("29990101T000000.000Z-1.json"))?;
    let list = gateway.run(&["undo", "--list"])?.exits(0)?;
    assert_eq!(list.out.lines().count(), 1, "{}", list.out);
    gateway.run(&["undo"])?.exits(0)?;
    assert_eq!(fixture::keys()?.len(), 5);
    Ok(())
}

fn a_run_whose_record_is_damaged_is_passed_over_and_named() -> Result<(), Failed> {
    flows::create(&varied())?;
    let gateway = Gateway::new()?;
    gateway.run_apply(DELETE)?.exits(0)?;
    let audit = gateway.state()?.directory().join("audit");
    let damaged = "29990101T000000.000Z-1";
    fs::write(audit.join(format!("{damaged}.json")), "{")?;
    let list = gateway.run(&["undo", "--list"])?.exits(0)?;
    assert_eq!(list.out.lines().count(), 1, "{}", list.out);
    assert!(list.err.contains("note: passed over"), "{}", list.err);
    assert!(list.err.contains(damaged), "{}", list.err);
    // Nothing on hold is forgotten with a record, so none has to be told of that.
    let named = gateway.run(&["undo", damaged])?.exits(1)?;
    assert!(named.err.contains(damaged), "{}", named.err);
    assert!(!named.err.contains("start anew"), "{}", named.err);
    assert!(fixture::keys()?.is_empty());
    let undone = gateway.run(&["undo"])?.exits(0)?;
    assert!(undone.err.contains(damaged), "{}", undone.err);
    assert_eq!(fixture::keys()?.len(), 5);
    Ok(())
}

fn a_namespace_that_got_the_number_of_another_starts_anew() -> Result<(), Failed> {
    crate::needs!("unshare", "mount", "ip", "conntrack");
    let gateway = Gateway::new()?;
    gateway.write_policy(DELETE)?;
    let ran = gateway.run_in_own_mounts(
        r#"PATH=$PATH:/usr/sbin:/sbin
        fill() {
            ip netns exec "$1" conntrack -I -p udp -s 10.0.0.1 -d 192.0.2.1 --sport 1 --dport 53 \
                -t 100 >/dev/null 2>&1
        }
        mount -t tmpfs none /run
        ip netns add first
        number=$(stat -L -c %i /run/netns/first)
        fill first
        "$1" apply -q -p policy.toml --netns first >/dev/null
        "$1" undo --netns first >/dev/null
        # The same namespace, seen again: the rule is on hold.
        "$1" apply -q -p policy.toml --netns first >/dev/null && exit 90
        run=$("$1" undo --netns first --list | tail -1 | cut -d ' ' -f 1)
        ip netns delete first
        ip netns add second
        next=$(stat -L -c %i /run/netns/second)
        # Where others take numbers too, it cannot be waited for that the same is given again.
        [ "$next" = "$number" ] || mv "$2"/netns-*-"$number" "$2/netns-$(stat -L -c %d /run/netns/second)-$next"
        fill second
        "$1" undo "$run" --netns second && exit 92
        exec "$1" apply -p policy.toml -o json --netns second"#,
    )?;
    let ran = ran.exits(0)?;
    assert!(ran.err.contains("another network namespace"), "{}", ran.err);
    assert_eq!(ran.document()?["rules"][0]["done"], 1);
    Ok(())
}

fn the_last_run_is_the_last_one_also_where_the_clock_was_set_back() -> Result<(), Failed> {
    let request = |port: u16| flow(Protocol::UDP, &format!("10.0.0.1:{port}"), "192.0.2.1:53");
    let (first, second) = (lasting(request(1), 1000), lasting(request(2), 1000));
    let gateway = Gateway::new()?;
    let directory = gateway.state()?.directory().to_owned();
    flows::create([&first])?;
    let run = gateway.apply(DELETE)?.run;
    // As if the clock had been ahead of itself in that run.
    let late = run.replacen("20", "21", 1);
    for parent in ["audit", "undo"] {
        for file in fs::read_dir(directory.join(parent))? {
            let path = file?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or("no name")?.replace(&run, &late);
            fs::rename(&path, path.with_file_name(name))?;
        }
    }
    flows::create([&second])?;
    let last = gateway.apply(DELETE)?.run;
    let listed = gateway.run(&["undo", "--list"])?.exits(0)?;
    let names: Vec<&str> = listed
        .out
        .lines()
        .filter_map(|l| l.split(' ').next())
        .collect();
    assert_eq!(names, [&last, &late]);
    gateway.run(&["undo"])?.exits(0)?;
    fixture::same_keys(&fixture::keys()?, &[second.key()])
}

fn what_a_refused_rule_would_have_deleted_is_not_kept() -> Result<(), Failed> {
    let acts = r#"
        [rules.one]
        match = { protocol = "udp", dport = 53, sport = 1 }
        action = "delete"
        order = 1
        budget = { count = 1 }
    "#;
    let narrow = DELETE.replace("1000", "4");
    let gateway = Gateway::new()?;
    let kept = |run: &str| -> Result<u64, Failed> {
        let undo = gateway.state()?.directory().join("undo");
        Ok(fs::metadata(undo.join(format!("{run}.flows")))?.len())
    };
    flows::create(&varied())?;
    let refused = gateway.apply(&narrow)?;
    assert!(refused.has_refusals());
    // It would push out what other runs deleted.
    assert_eq!(kept(&refused.run)?, 0);
    let all = gateway.apply(DELETE)?;
    assert!(kept(&all.run)? > 0);
    gateway.undo(&all.run)?;
    flows::create([&flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53")])?;
    // On hold from now on, beside a rule that acts.
    let both = gateway.apply(&format!("{DELETE}{acts}"))?;
    assert_eq!(result(&both, "one").done, 1);
    assert!(kept(&both.run)? * 2 < kept(&all.run)?);
    assert_eq!(gateway.undo(&both.run)?.created, 1);
    Ok(())
}
