//! The command lines of a guide that is in circulation: each runs as written and does what it is
//! written for.

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use conntidy::flow::protocol::tcp;
use conntidy::flow::{Flow, FlowKey, Protocol};
use conntidy::kernel::Change;
use libtest_mimic::Failed;

use crate::fixture::{self, words};
use crate::flows::{self, flow, in_state, translated};
use crate::gateway::{Gateway, Ran};

crate::trials!(
    every_line_of_the_guide_that_looks_or_deletes_does_what_it_says,
    every_line_of_the_guide_that_waits_for_events_shows_its_own,
);

const GUIDE: &str = include_str!("../cases/conntrack/guide.txt");

fn lines() -> Vec<&'static str> {
    GUIDE
        .lines()
        .filter_map(|line| line.strip_prefix("conntrack "))
        .collect()
}

/// Flows that the guide talks of, with a name each.
fn made() -> Vec<(&'static str, Flow)> {
    let established =
        |src: &str, dst: &str| in_state(flow(Protocol::TCP, src, dst), tcp::ESTABLISHED);
    let waiting = |src: &str, dst: &str| in_state(flow(Protocol::TCP, src, dst), tcp::TIME_WAIT);
    vec![
        ("web", established("192.168.1.100:40001", "192.168.0.5:80")),
        (
            "dns",
            flow(Protocol::UDP, "192.168.1.100:40002", "192.168.0.6:53"),
        ),
        ("container", waiting("172.17.0.2:40003", "10.96.0.10:443")),
        ("pod", established("10.244.0.7:40004", "10.96.0.11:5432")),
        ("mail", established("10.0.0.9:40005", "192.0.2.25:25")),
        (
            "masqueraded",
            translated(
                established("10.0.0.8:40006", "192.0.2.80:8443"),
                "192.0.2.80:8443",
                "203.0.113.9:40006",
            ),
        ),
        (
            "published",
            translated(
                waiting("192.168.0.77:40007", "10.0.0.100:80"),
                "172.17.0.3:8080",
                "192.168.0.77:40007",
            ),
        ),
    ]
}

/// Which of them a line is about.
fn expected(line: &str) -> Vec<&'static str> {
    match line {
        "-L" | "-C" | "-F" => vec![
            "container",
            "dns",
            "mail",
            "masqueraded",
            "pod",
            "published",
            "web",
        ],
        "-D -p tcp" | "-L -p tcp" | "-C -p tcp" => {
            vec![
                "container",
                "mail",
                "masqueraded",
                "pod",
                "published",
                "web",
            ]
        }
        "-D -s 192.168.1.100" | "-L --src 192.168.1.100" => vec!["dns", "web"],
        "-D -s 172.17.0.0/16" | "-D -s 172.17.0.0/16 --state TIME_WAIT" => vec!["container"],
        "-D -d 10.96.0.0/16" => vec!["container", "pod"],
        "-D --state TIME_WAIT" | "-F --state TIME_WAIT" => vec!["container", "published"],
        "-L --state ESTABLISHED" => vec!["mail", "masqueraded", "pod", "web"],
        "-L --dport 80" | "-L -p tcp --dport 80" | "-D -p tcp --dport 80" => {
            vec!["published", "web"]
        }
        "-L -n nat" | "-F -n nat" => vec!["masqueraded", "published"],
        "-L -p tcp --dport 5432" => vec!["pod"],
        "-L -p tcp --dport 25" => vec!["mail"],
        "-L --dst 192.168.0.0/24 --state ESTABLISHED" => vec!["web"],
        "-D --state TIME_WAIT --orig-dst 10.0.0.100" => vec!["published"],
        // Nothing is proven idle in a table that was just made, and no entry is INVALID.
        "-D --state ESTABLISHED --timeout 3600" | "-D --state INVALID" | "-S" => vec![],
        other => panic!("nothing is known of `{other}`"),
    }
}

fn keys(named: &[&str]) -> Vec<FlowKey> {
    let made = made();
    flows::keys_of(
        made.iter()
            .filter(|(n, _)| named.contains(n))
            .map(|(_, f)| f),
    )
}

fn every_line_of_the_guide_that_looks_or_deletes_does_what_it_says() -> Result<(), Failed> {
    assert_eq!(lines().len(), 46);
    let gateway = Gateway::new()?;
    for line in lines().into_iter().filter(|line| !line.starts_with("-E")) {
        // All that is there goes before what the line needs comes.
        let gone = fixture::table()?;
        let gone = gone.iter().filter_map(|(flow, _)| {
            let (key, id) = (flow.key(), flow.id()?);
            Some(Change::Delete { key, id })
        });
        flows::change(gone)?;
        flows::create(made().iter().map(|(_, flow)| flow))?;
        let ran = gateway.run(&[vec!["conntrack"], words(line)].concat())?;
        let expected = expected(line);
        let found = expected.len();
        let nothing = line.starts_with("-D") && found == 0;
        assert_eq!(ran.code, Some(i32::from(nothing)), "{line}: {ran:?}");
        let mut left = keys(&made().iter().map(|(name, _)| *name).collect::<Vec<_>>());
        match &line[..2] {
            "-L" => assert_eq!(ran.out.lines().count(), found, "{line}: {ran:?}"),
            "-C" => assert_eq!(ran.out, format!("{found}\n"), "{line}"),
            "-S" => assert!(ran.out.starts_with("cpu=0"), "{ran:?}"),
            _ => {
                let gone = keys(&expected);
                left.retain(|key| !gone.contains(key));
                if line.starts_with("-D") {
                    assert_eq!(ran.out.lines().count(), found, "{line}: {ran:?}");
                    let said = format!("{found} flow entries have been deleted");
                    assert!(ran.err.contains(&said), "{line}: {}", ran.err);
                }
            }
        }
        fixture::same_keys(&fixture::keys()?, &left).map_err(|e| format!("{line}: {e:?}"))?;
        match line {
            "-D --state ESTABLISHED --timeout 3600" => {
                assert!(ran.err.contains("of 4 more it is not known"), "{}", ran.err);
            }
            "-D --state INVALID" => {
                assert!(ran.err.contains("no entry is INVALID"), "{}", ran.err);
            }
            _ => {}
        }
    }
    Ok(())
}

/// What a line that waits shows of the life of one flow of each kind: how often each sort of event.
fn shown(line: &str) -> &'static [&'static str] {
    match line {
        "-E" => &["[NEW]", "[UPDATE]", "[DESTROY]"],
        "-E -e NEW,DESTROYED" => &["[NEW]", "[DESTROY]"],
        "-E --state CLOSE" => &["[UPDATE]"],
        "-E --state INVALID" | "-E --state INVALID -p tcp" => &[],
        _ => &["[NEW]"],
    }
}

fn every_line_of_the_guide_that_waits_for_events_shows_its_own() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let lines: Vec<_> = lines()
        .into_iter()
        .filter(|l| l.starts_with("-E"))
        .collect();
    let mut waiting: Vec<(&str, Child)> = Vec::new();
    for line in &lines {
        let words = [vec!["conntrack"], words(line)].concat();
        let child = gateway
            .command(&[], &words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        waiting.push((line, child));
    }
    wait_for_listeners(lines.len() - 2)?;
    // One flow for each address and port that the guide names, born, closed and gone.
    let mut made = made();
    made.push((
        "ssh",
        in_state(
            flow(Protocol::TCP, "192.0.2.7:50000", "10.0.0.9:22"),
            tcp::SYN_SENT,
        ),
    ));
    made.push((
        "published-lan",
        translated(
            in_state(
                flow(Protocol::TCP, "192.168.0.5:50001", "10.0.0.100:80"),
                tcp::ESTABLISHED,
            ),
            "172.17.0.3:8080",
            "192.168.0.5:50001",
        ),
    ));
    flows::create(made.iter().map(|(_, flow)| flow))?;
    fixture::conntrack("-U -f ipv4 -p tcp -s 192.168.1.100 --state CLOSE -t 60")?;
    fixture::conntrack("-F")?;
    sleep(Duration::from_millis(500));
    for (line, child) in waiting {
        let process = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM)?;
        let ran: Ran = child.wait_with_output()?.into();
        assert_eq!(ran.code, Some(0), "{line}: {ran:?}");
        assert!(
            ran.err.contains("flow events have been shown"),
            "{line}: {ran:?}"
        );
        let wanted = shown(line);
        for sort in ["[NEW]", "[UPDATE]", "[DESTROY]"] {
            let is_there = ran.out.contains(sort);
            if wanted.contains(&sort) {
                assert!(is_there, "{line} shows no {sort}: {ran:?}");
            }
        }
        if line.contains("--state NEW") {
            assert!(
                !ran.out.contains("[UPDATE]") && !ran.out.contains("[DESTROY]"),
                "{ran:?}"
            );
        }
        if line.contains("INVALID") {
            assert!(ran.err.contains("nf_conntrack_log_invalid"), "{ran:?}");
        }
        for (option, address) in [
            ("-s 172.17.0.0/16", " src=172.17."),
            ("-d 10.96.0.0/16", " dst=10.96."),
            ("-s 10.244.0.0/16", " src=10.244."),
            ("--src 192.168.1.100", " src=192.168.1.100"),
            ("--orig-src 10.0.0.0/8", " src=10.0.0.8"),
            ("--orig-src 192.168.0.0/24", " src=192.168.0."),
            ("--orig-dst 10.0.0.100", " dst=10.0.0.100"),
        ] {
            if line.contains(option) {
                let all = ran.out.lines().all(|event| event.contains(address));
                assert!(all && !ran.out.is_empty(), "{line}: {ran:?}");
            }
        }
        if line.contains("-n nat") {
            let plain = ran.out.lines().any(|event| event.contains("192.168.1.100"));
            assert!(!plain, "{line}: {ran:?}");
        }
        if line == "-E --state CLOSE" {
            assert!(
                ran.out.lines().all(|event| event.contains(" CLOSE ")),
                "{ran:?}"
            );
        }
    }
    Ok(())
}

/// Waits until so many sockets listen for events here.
pub(crate) fn wait_for_listeners(count: usize) -> Result<(), Failed> {
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        let table = std::fs::read_to_string("/proc/thread-self/net/netlink")?;
        let listening = table.lines().filter(|line| {
            let cells: Vec<&str> = line.split_whitespace().collect();
            cells.get(1) == Some(&"12") && cells.get(3).is_some_and(|groups| *groups != "00000000")
        });
        if listening.count() >= count {
            return Ok(());
        }
        sleep(Duration::from_millis(20));
    }
    Err("not all of them listen".into())
}
