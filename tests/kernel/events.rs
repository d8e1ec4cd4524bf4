//! `events` on the real kernel.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use conntidy::flow::{Flow, Protocol, protocol::tcp};
use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::fixture;
use crate::flows::{self, flow, in_state};
use crate::gateway::{Gateway, Ran};
use crate::listener::{delete_all, expectation};
use crate::schemas;

crate::trials!(
    an_entrys_life_is_told_to_whom_it_concerns,
    kinds_are_chosen_as_people_write_them,
    a_line_of_text_begins_with_its_moment_and_what_happened,
    a_summary_counts_by_group_and_a_signal_ends_it,
    a_summary_says_its_total_once,
    a_gap_is_told_where_it_is_and_healed_by_what_the_table_holds,
    an_unhealed_gap_is_an_exit_code,
    expectations_are_told_too,
    what_keeps_events_away_is_said,
    a_reader_that_left_ends_it_in_silence,
    an_event_is_told_before_the_next_one_comes,
    events_of_several_namespaces_are_told_by_name,
    what_no_event_can_be_is_refused,
);

/// `events` at work.
struct Listening {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Listening {
    /// Starts it, and waits until it listens.
    fn start(gateway: &Gateway, arguments: &str) -> Result<Self, Failed> {
        let arguments = [vec!["events"], fixture::words(arguments)].concat();
        let mut child = gateway
            .command(&[], &arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().ok_or("no stdout")?;
        let table = format!("/proc/{}/net/netlink", child.id());
        let began = Instant::now();
        while !listens(&std::fs::read_to_string(&table)?, child.id()) {
            if began.elapsed() > Duration::from_secs(20) || child.try_wait()?.is_some() {
                let ran = Ran::from(child.wait_with_output()?);
                return Err(format!("it does not listen: {ran:?}").into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Self {
            child,
            out: BufReader::new(out),
        })
    }

    fn signal(&self, signal: Signal) -> Result<(), Failed> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    fn line(&mut self) -> Result<String, Failed> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        Ok(line)
    }

    fn document(&mut self) -> Result<Value, Failed> {
        Ok(serde_json::from_str(&self.line()?)?)
    }

    /// Waits until it ends; what it printed that was not read yet.
    fn end(mut self) -> Result<Ran, Failed> {
        let (done, is_done) = mpsc::channel();
        let child = Pid::from_child(&self.child);
        // Whoever waits for events that do not come waits for ever.
        let watch = thread::spawn(move || {
            if is_done.recv_timeout(Duration::from_secs(60)).is_err() {
                let _ = kill_process(child, Signal::KILL);
            }
        });
        let mut rest = String::new();
        self.out.read_to_string(&mut rest)?;
        let mut ran = Ran::from(self.child.wait_with_output()?);
        let _ = done.send(());
        let _ = watch.join();
        ran.out = rest;
        Ok(ran)
    }
}

/// Whether a netfilter socket of a process, whose port is its number, is in a group.
fn listens(table: &str, process: u32) -> bool {
    table.lines().any(|line| {
        let cells = fixture::words(line);
        let is = |column: usize, value: &str| cells.get(column) == Some(&value);
        is(1, "12") && is(2, &process.to_string()) && !is(3, "00000000")
    })
}

fn documents(out: &str) -> Result<Vec<Value>, Failed> {
    let lines = out.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

/// Each line agrees with the schema.
fn checked(gateway: &Gateway, lines: &[Value]) -> Result<(), Failed> {
    let schema = schemas::schema(gateway, "events")?;
    lines
        .iter()
        .try_for_each(|line| schemas::agrees("events", &schema, line))
}

fn web() -> Flow {
    in_state(
        flow(Protocol::TCP, "10.0.0.1:1000", "192.0.2.1:443"),
        tcp::ESTABLISHED,
    )
}

fn dns() -> Flow {
    flow(Protocol::UDP, "[fd00::1]:1000", "[fd00::2]:53")
}

fn an_entrys_life_is_told_to_whom_it_concerns() -> Result<(), Failed> {
    crate::needs!("conntrack");
    let gateway = Gateway::new()?;
    let tcp = Listening::start(&gateway, "-p tcp --dport 440-450 --count 3 -o jsonl")?;
    let udp = Listening::start(
        &gateway,
        "--match not={protocol=\"tcp\"} --count 2 -o jsonl",
    )?;
    flows::create([&dns(), &web()])?;
    fixture::conntrack("-U -f ipv4 -p tcp --dport 443 -m 7")?;
    delete_all()?;
    let (tcp, udp) = (tcp.end()?.exits(0)?, udp.end()?.exits(0)?);
    let told = documents(&tcp.out)?;
    checked(&gateway, &told)?;
    let events: Vec<_> = told
        .iter()
        .map(|one| (&one["event"], &one["mark"]))
        .collect();
    let expected = [("new", 0), ("update", 7), ("destroy", 7)]
        .map(|(event, mark)| (Value::from(event), Value::from(mark)));
    let expected: Vec<_> = expected.iter().map(|(event, mark)| (event, mark)).collect();
    assert_eq!(events, expected);
    assert!(
        told.iter()
            .all(|one| one["src"] == "10.0.0.1" && one["dport"] == 443)
    );
    assert!(told.iter().all(|one| one["netlink_port"].is_u64()));
    let told = documents(&udp.out)?;
    checked(&gateway, &told)?;
    assert!(told.iter().all(|one| one["src"] == "fd00::1"), "{told:?}");
    assert!(udp.err.contains("note: 2 events in"), "{}", udp.err);
    Ok(())
}

fn kinds_are_chosen_as_people_write_them() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    for (kinds, expected) in [
        ("new", &["new", "new"][..]),
        ("NEW,DESTROYED", &["new", "new", "destroy", "destroy"]),
        ("destroy", &["destroy", "destroy"]),
        ("all", &["new", "new", "destroy", "destroy"]),
    ] {
        let arguments = format!("-e {kinds} --count {} -o jsonl", expected.len());
        let listening = Listening::start(&gateway, &arguments)?;
        flows::create([&web(), &dns()])?;
        delete_all()?;
        let told = documents(&listening.end()?.exits(0)?.out)?;
        let events: Vec<_> = told.iter().map(|one| one["event"].clone()).collect();
        assert_eq!(events, expected, "{kinds}");
    }
    Ok(())
}

fn a_line_of_text_begins_with_its_moment_and_what_happened() -> Result<(), Failed> {
    fixture::write_tunable("nf_conntrack_timestamp", 1)?;
    let gateway = Gateway::new()?;
    let listening = Listening::start(&gateway, "--count 2")?;
    flows::create([&web()])?;
    delete_all()?;
    let out = listening.end()?.exits(0)?.out;
    let lines: Vec<_> = out.lines().map(fixture::words).collect();
    let [new, gone] = &lines[..] else {
        return Err(out.into());
    };
    assert_eq!((new[1], gone[1]), ("new", "destroy"));
    let [new_at, gone_at] = [new[0], gone[0]].map(chrono::DateTime::parse_from_rfc3339);
    assert!(new_at? <= gone_at?, "{out}");
    for line in [new, gone] {
        assert_eq!(line[2..5], ["ipv4", "tcp", "6"]);
        assert!(line.contains(&"dport=443"), "{out}");
        assert!(
            line.last()
                .is_some_and(|last| last.starts_with("netlink-port="))
        );
    }
    Ok(())
}

fn a_summary_counts_by_group_and_a_signal_ends_it() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    for signal in [Signal::INT, Signal::TERM] {
        let mut listening = Listening::start(
            &gateway,
            "--summary 1s --by protocol,dport --not-dport 1 -o jsonl",
        )?;
        flows::create(&flows::many(40))?;
        delete_all()?;
        let mut seen = 0;
        while seen < 80 {
            let one = listening.document()?;
            checked(&gateway, std::slice::from_ref(&one))?;
            assert_eq!(one["whole"], false);
            seen += one["new"].as_u64().unwrap_or(0) + one["destroy"].as_u64().unwrap_or(0);
        }
        listening.signal(signal)?;
        let ran = listening.end()?.exits(0)?;
        let whole = documents(&ran.out)?.pop().ok_or("no summary")?;
        checked(&gateway, std::slice::from_ref(&whole))?;
        assert_eq!(
            [
                &whole["whole"],
                &whole["new"],
                &whole["destroy"],
                &whole["lost"]
            ],
            [&Value::from(true), &40.into(), &40.into(), &0.into()]
        );
        let groups = whole["groups"].as_array().ok_or("no groups")?;
        let keys: Vec<_> = groups.iter().map(|one| one["key"].to_string()).collect();
        assert_eq!(keys, ["[\"tcp\",443]", "[\"udp\",53]"]);
        assert_eq!(
            (&groups[0]["new"], &groups[1]["destroy"]),
            (&30.into(), &10.into())
        );
    }
    Ok(())
}

/// Loses events of 3000 new flows: they come while nobody reads.
fn lose(listening: &Listening) -> Result<(), Failed> {
    listening.signal(Signal::STOP)?;
    flows::create(&flows::many(3000))?;
    listening.signal(Signal::CONT)
}

fn a_gap_is_told_where_it_is_and_healed_by_what_the_table_holds() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let mut listening = Listening::start(&gateway, "--buffer 64KiB --resync -f ipv4 -o jsonl")?;
    lose(&listening)?;
    let (mut lines, mut known) = (Vec::new(), 0);
    loop {
        let line = listening.document()?;
        let is_over = line["event"] == "resynced";
        known += usize::from(line["event"] == "new");
        lines.push(line);
        if is_over {
            break;
        }
    }
    checked(&gateway, &lines)?;
    let (gap, rest) = lines[known..].split_first().ok_or("no gap")?;
    let lost = gap["lost"].as_u64().ok_or("nothing lost")?;
    assert_eq!(gap["event"], "gap");
    assert!(lost > 500 && lost < 3000 - known as u64, "{lost}");
    let [begin, present @ .., end] = rest else {
        return Err("no resync".into());
    };
    assert_eq!(begin["event"], "resync");
    assert!(
        present
            .iter()
            .all(|one| one["event"] == "present" && one["family"] == "ipv4")
    );
    // A quarter of the flows is IPv6.
    assert_eq!((present.len(), &end["entries"]), (2250, &2250.into()));
    // And on it goes.
    flows::create([&flow(Protocol::UDP, "10.9.9.9:9", "192.0.2.1:9")])?;
    assert_eq!(listening.document()?["src"], "10.9.9.9");
    listening.signal(Signal::INT)?;
    let ran = listening.end()?.exits(0)?;
    assert!(ran.err.contains(" lost\n"), "{}", ran.err);
    Ok(())
}

fn an_unhealed_gap_is_an_exit_code() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let mut listening = Listening::start(&gateway, "--buffer 64KiB -e new")?;
    lose(&listening)?;
    loop {
        let line = listening.line()?;
        if line.contains(" gap ") {
            assert!(line.contains("events lost here"), "{line}");
            break;
        }
        assert!(line.contains(" new "), "{line}");
    }
    listening.signal(Signal::INT)?;
    let ran = listening.end()?.exits(4)?;
    assert!(ran.err.contains(" lost\n"), "{}", ran.err);
    assert!(ran.err.contains("`--resync`"), "{}", ran.err);
    Ok(())
}

fn expectations_are_told_too() -> Result<(), Failed> {
    crate::needs!("conntrack");
    let gateway = Gateway::new()?;
    let text = Listening::start(&gateway, "--table expect -s 192.0.2.1 --count 2")?;
    let json = Listening::start(&gateway, "--table expect --helper ftp --count 2 -o jsonl")?;
    let none = Listening::start(&gateway, "--table expect -p udp --for 2s")?;
    expectation()?;
    delete_all()?;
    let lines = documents(&json.end()?.exits(0)?.out)?;
    checked(&gateway, &lines)?;
    for (line, event) in lines.iter().zip(["new", "destroy"]) {
        assert_eq!(
            (&line["event"], &line["table"]),
            (&event.into(), &"expect".into())
        );
        assert_eq!(
            (&line["src"], &line["master_dport"]),
            (&"192.0.2.1".into(), &21.into())
        );
    }
    let text = text.end()?.exits(0)?.out;
    let first = text.lines().next().unwrap_or_default();
    assert!(first.contains(" new     expect ipv4 "), "{text}");
    assert!(
        first.contains(" master-src=10.0.0.1 master-dst=192.0.2.1 "),
        "{text}"
    );
    assert!(first.contains(" helper=ftp"), "{text}");
    assert_eq!(none.end()?.exits(0)?.out, "");
    Ok(())
}

fn what_keeps_events_away_is_said() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let said = |arguments: &str| -> Result<String, Failed> {
        let arguments = [vec!["events", "--for", "1s"], fixture::words(arguments)].concat();
        Ok(gateway.run(&arguments)?.exits(0)?.err)
    };
    fixture::write_tunable("nf_conntrack_events", 2)?;
    assert!(
        !said("")?.contains("nf_conntrack_events"),
        "nothing is older"
    );
    flows::create([&web()])?;
    let older = said("")?;
    assert!(older.contains("nf_conntrack_events is 2 here"), "{older}");
    assert!(older.contains("as 1 entry here may be"), "{older}");
    assert!(
        !said("-e new")?.contains("nf_conntrack_events"),
        "no such event can be missing"
    );
    fixture::write_tunable("nf_conntrack_events", 0)?;
    assert!(said("")?.contains("the kernel tells nothing"));
    assert_eq!(said("-q")?, "");
    // Events come, and none passes.
    fixture::write_tunable("nf_conntrack_events", 1)?;
    let listening = Listening::start(&gateway, "-p sctp --for 6s")?;
    flows::create([&dns()])?;
    let ran = listening.end()?.exits(0)?;
    assert!(
        ran.err
            .contains("1 event came within 5 s, and none passes the filter"),
        "{}",
        ran.err
    );
    Ok(())
}

fn a_summary_says_its_total_once() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let ran = gateway.run(&["events", "--summary", "--for", "1s"])?;
    let said = [ran.out.as_str(), ran.err.as_str()].concat();
    assert_eq!(said.matches("0 events in").count(), 1, "{said}");
    Ok(())
}

fn a_reader_that_left_ends_it_in_silence() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    for arguments in ["-q", "-q -o jsonl"] {
        let mut listening = Listening::start(&gateway, arguments)?;
        let (unread, _) = std::io::pipe()?;
        listening.out = BufReader::new(std::process::ChildStdout::from(
            std::os::fd::OwnedFd::from(unread),
        ));
        // Without an event: there is nothing that could not be written.
        let status = ended(&mut listening.child)?;
        let mut said = String::new();
        if let Some(mut err) = listening.child.stderr.take() {
            err.read_to_string(&mut said)?;
        }
        assert_eq!((status.code(), said.as_str()), (Some(0), ""));
    }
    Ok(())
}

fn ended(child: &mut Child) -> Result<ExitStatus, Failed> {
    for _ in 0..500 {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill()?;
    Err("it goes on".into())
}

fn an_event_is_told_before_the_next_one_comes() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let mut listening = Listening::start(&gateway, "-o jsonl --count 3")?;
    for port in [1, 2, 3] {
        flows::create([&flow(
            Protocol::UDP,
            "10.0.0.1:1",
            &format!("10.0.0.2:{port}"),
        )])?;
        assert_eq!(listening.document()?["dport"], port);
    }
    listening.end()?.exits(0)?;
    Ok(())
}

fn events_of_several_namespaces_are_told_by_name() -> Result<(), Failed> {
    crate::needs!("ip");
    let ran = Gateway::new()?.run_in_own_mounts(
        "PATH=$PATH:/usr/sbin:/sbin
         mount -t tmpfs none /run
         for name in gw1 gw2; do ip netns add $name; done
         make() { ip netns exec $2 $1 create udp $3:1 192.0.2.1:53 --timeout 600s >/dev/null; }
         heard() { ip netns exec $1 grep -Eqc '^[0-9a-f]+ +12 +[0-9]+ +0*[1-9a-f]' /proc/self/net/netlink; }
         $1 events --netns all --count 3 -o jsonl 2>/run/told >/run/lines &
         until heard gw1 && heard gw2; do sleep 0.05; done
         make $1 gw1 10.0.0.1; make $1 gw2 10.0.0.2; make $1 gw1 10.0.0.3; wait $!
         cat /run/lines; grep ' in [0-9]' /run/told | sort
         $1 events --netns gw2 --netns gw1 -e destroy --summary 2>/run/told &
         until heard gw1 && heard gw2; do sleep 0.05; done
         $1 delete udp 10.0.0.2:1 192.0.2.1:53 --netns gw2 --yes >/dev/null; sleep 0.5; kill $!; wait $!
         ! $1 events --netns gw1 --netns gone --quiet",
    )?;
    let ran = ran.exits(0)?;
    let lines: Vec<_> = ran.out.lines().collect();
    let mut told = Vec::new();
    for line in &lines[..3] {
        let line: Value = serde_json::from_str(line)?;
        told.push(format!("{} {}", line["src"], line["netns"]).replace('"', ""));
    }
    told.sort_unstable();
    assert_eq!(told, ["10.0.0.1 gw1", "10.0.0.2 gw2", "10.0.0.3 gw1"]);
    assert!(lines[3].contains("gw1: 2 events in "), "{}", lines[3]);
    assert!(lines[4].contains("gw2: 1 event in "), "{}", lines[4]);
    for words in ["netns=gw1 all: 0 events", "netns=gw2 all: 1 event in"] {
        assert!(ran.out.contains(words), "{}", ran.out);
    }
    assert!(ran.err.contains("namespace gone"), "{}", ran.err);
    Ok(())
}

fn what_no_event_can_be_is_refused() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    for (arguments, why) in [
        ("events --idle-for 1h", "something has just happened"),
        (
            "events --table expect -e update",
            "expectations that change",
        ),
        ("events --table expect --resync", "the flows of the table"),
        ("events --by src", "--summary"),
        ("events --dport 80-", "--dport"),
    ] {
        let ran = gateway.run(&fixture::words(arguments))?.exits(64)?;
        assert!(ran.err.contains(why), "{}", ran.err);
        assert_eq!(ran.out, "");
    }
    Ok(())
}
