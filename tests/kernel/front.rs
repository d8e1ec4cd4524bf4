//! `conntidy conntrack` beside the real tool, on a table with one of everything.

use std::collections::BTreeSet;
use std::fs;

use conntidy::flow::protocol::tcp;
use conntidy::flow::{FlowKey, Protocol, Status};
use libtest_mimic::Failed;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::fixture::{self, words};
use crate::flows::{self, flow, in_state, translated};
use crate::front_guide::wait_for_listeners;
use crate::gateway::{Gateway, Ran, lasting};

crate::trials!(
    what_is_shown_is_what_the_tool_shows,
    what_is_shown_on_one_processor_is_what_the_tool_shows,
    what_is_done_is_what_the_tool_does,
    files_made_by_one_are_loaded_by_the_other,
    treacherous_lines_are_refused_and_the_table_is_untouched,
    the_dangerous_reading_is_there_for_whoever_asks_for_it,
    the_program_answers_to_the_tools_name,
    without_privilege_the_tools_words_are_said,
    a_delete_names_the_entry_by_its_id_as_well,
    idle_entries_go_once_the_record_proves_them_idle,
    counters_are_zeroed_as_they_are_shown,
    events_have_their_moment_as_the_tool_writes_it,
);

/// One of everything that there is.
pub(crate) fn fill() -> Result<(), Failed> {
    let mut all = flows::catalogue();
    let web = in_state(
        flow(Protocol::TCP, "10.0.7.1:1001", "203.0.113.1:80"),
        tcp::ESTABLISHED,
    );
    let mut web = translated(web, "10.0.3.9:8080", "10.0.0.254:60001");
    web.status |= Status::ASSURED;
    web.mark = 0x11;
    let mut unreplied = flow(Protocol::UDP, "10.0.7.2:53", "10.0.7.3:53");
    unreplied.status = Status::empty();
    for one in [web, unreplied] {
        all.push((one, conntidy::flow::OwnedExtra::default()));
    }
    for (one, _) in &mut all {
        one.timeout = 6000;
    }
    flows::create_with(&all)
}

/// The table, emptied and filled again.
pub(crate) fn refill() -> Result<(), Failed> {
    fixture::conntrack("-F")?;
    fill()
}

fn labels() -> Result<(), Failed> {
    let script = "table inet l { chain c { type filter hook input priority 0; ct label set 1; }; }";
    fixture::run("nft", &[script]).map(drop)
}

pub(crate) fn ours(gateway: &Gateway, line: &str) -> Result<Ran, Failed> {
    gateway.run(&[vec!["conntrack"], words(line)].concat())
}

pub(crate) fn theirs(line: &str) -> Result<Ran, Failed> {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    let mut tool = std::process::Command::new("conntrack");
    Ok(tool.args(words(line)).env("PATH", path).output()?.into())
}

/// Without what changes while two programs look, and without versions.
fn still(text: &str) -> String {
    text.lines()
        .map(|line| {
            let line = line.replace("v1.4.7", "v1.4.9").replace("v1.4.8", "v1.4.9");
            let words = line.split(' ').map(|word| {
                let is_time = matches!(word.parse(), Ok(5000..=6000));
                match word.split_once("<timeout>") {
                    _ if is_time || word.starts_with("delta-time=") => "T".to_owned(),
                    Some((before, _)) => {
                        let after = word.split_once("</timeout>").map_or("", |(_, after)| after);
                        let after = match after.split_once("<deltatime>") {
                            Some((one, other)) => {
                                let rest = other.split_once("</deltatime>").map_or("", |x| x.1);
                                format!("{one}{rest}")
                            }
                            None => after.to_owned(),
                        };
                        format!("{before}{after}")
                    }
                    None => word.to_owned(),
                }
            });
            words.collect::<Vec<_>>().join(" ") + "\n"
        })
        .collect()
}

/// The same in any order.
fn sorted(text: &str) -> BTreeSet<String> {
    still(text).lines().map(str::to_owned).collect()
}

fn agree(line: &str, ours: &Ran, theirs: &Ran) -> Result<(), Failed> {
    if ours.code != theirs.code || still(&ours.out) != still(&theirs.out) {
        return Err(format!("{line}\nours: {ours:#?}\ntheirs: {theirs:#?}").into());
    }
    Ok(())
}

fn what_is_shown_is_what_the_tool_shows() -> Result<(), Failed> {
    crate::needs!("conntrack", "nft");
    labels()?;
    fixture::write_tunable("nf_conntrack_acct", 1)?;
    fixture::write_tunable("nf_conntrack_timestamp", 1)?;
    fill()?;
    let gateway = Gateway::new()?;
    let map = gateway.path().join("connlabel.conf");
    fs::write(&map, "1 lan\n64 vpn\n127 guests\n")?;
    for line in include_str!("../cases/conntrack/shown.txt").lines() {
        let (ours, theirs) = (ours(&gateway, line)?, theirs(line)?);
        agree(line, &ours, &theirs)?;
        // What the tool says of the number, scripts look for.
        if theirs.code == Some(0) && !line.contains("labels") {
            assert_eq!(still(&ours.err), still(&theirs.err), "{line}");
        }
    }
    // The option that names the map is younger than many an installed tool.
    let line = format!("-L -p tcp -o labels --labelmap {}", map.display());
    let labelled = ours(&gateway, &line)?.exits(0)?;
    assert!(
        labelled.out.contains(" labels=lan,vpn,guests"),
        "{labelled:?}"
    );
    let line = format!("-C -l vpn,lan --labelmap {}", map.display());
    assert_eq!(ours(&gateway, &line)?.exits(0)?.out, "1\n");
    Ok(())
}

/// There one thread does all.
fn what_is_shown_on_one_processor_is_what_the_tool_shows() -> Result<(), Failed> {
    crate::needs!("conntrack");
    fill()?;
    let gateway = Gateway::new()?;
    let all = sched_getaffinity(None)?;
    let mut one = CpuSet::new();
    one.set(
        (0..CpuSet::MAX_CPU)
            .find(|cpu| all.is_set(*cpu))
            .unwrap_or(0),
    );
    sched_setaffinity(None, &one)?;
    let shown: Result<Vec<_>, _> = [
        "-L",
        "-L -p tcp -o extended,id",
        "-L -o xml",
        "-L -s 192.0.2.99",
    ]
    .map(|line| Ok::<_, Failed>((line, ours(&gateway, line)?)))
    .into_iter()
    .collect();
    sched_setaffinity(None, &all)?;
    for (line, ours) in shown? {
        let theirs = theirs(line)?;
        agree(line, &ours, &theirs)?;
        assert_eq!(still(&ours.err), still(&theirs.err), "{line}");
    }
    Ok(())
}

fn what_is_done_is_what_the_tool_does() -> Result<(), Failed> {
    crate::needs!("conntrack");
    let gateway = Gateway::new()?;
    for line in include_str!("../cases/conntrack/done.txt").lines() {
        refill()?;
        let by_tool = theirs(line)?;
        let left_by_tool = fixture::conntrack("-L")?;
        refill()?;
        let by_us = ours(&gateway, line)?;
        let left_by_us = fixture::conntrack("-L")?;
        assert_eq!(by_us.code, by_tool.code, "{line}: {by_us:?} {by_tool:?}");
        assert_eq!(sorted(&by_us.out), sorted(&by_tool.out), "{line}");
        assert_eq!(still(&by_us.err), still(&by_tool.err), "{line}");
        assert_eq!(sorted(&left_by_us), sorted(&left_by_tool), "{line}");
    }
    Ok(())
}

fn files_made_by_one_are_loaded_by_the_other() -> Result<(), Failed> {
    crate::needs!("conntrack");
    let gateway = Gateway::new()?;
    fill()?;
    let saved = ours(&gateway, "-L -o save")?.exits(0)?.out;
    let file = gateway.path().join("saved");
    // Vtags of SCTP are read by the tool as it writes them; a helper and ICMP's answers are its own.
    fs::write(&file, format!("# comment\n\n  {saved}"))?;
    let before = fixture::keys()?;
    let line = format!("-R {}", file.display());
    fixture::conntrack("-F")?;
    let loaded = ours(&gateway, &line)?;
    assert_eq!(loaded.code, Some(0), "{loaded:?}");
    fixture::same_keys(&fixture::keys()?, &before)?;
    let again = ours(&gateway, "-L -o save")?.out;
    assert_eq!(sorted(&again), sorted(&saved));

    fs::write(&file, "-D -p udp\n-D -p udp\nnonsense -D -p\n")?;
    let wrong = ours(&gateway, &line)?.exits(2)?;
    assert!(wrong.err.contains(":3: option `-p'"), "{}", wrong.err);
    fixture::same_keys(&fixture::keys()?, &before)?;
    fs::write(&file, "-L\n")?;
    let wrong = ours(&gateway, &line)?.exits(2)?;
    assert!(
        wrong
            .err
            .contains("Cannot use command `-L' with --load-file"),
        "{}",
        wrong.err
    );
    Ok(())
}

/// Lines of section 4 of what is known of the tool, and some that were found since.
const TRAPS: [&str; 28] = [
    "-L -z -n",
    "-L -z -f ipv4",
    "-D -u UNREPLIED",
    "-D -u !ASSURED",
    "-D -u UNSET",
    "-D -s 10.0.0.1 -u UNREPLIED",
    "-U -u UNREPLIED -m 3",
    "-D -t 3600",
    "-D -p tcp -t 3600",
    "-D -s 10.1.2.3/",
    "-D -m 0/",
    "-D -m foo",
    "-D -w foo",
    "-D --zone 65536",
    "-D --dst-nat 2001:db8::99",
    "-D --dst-nat=10.0.3.9",
    "-D -g10.0.3.9",
    "-F -f ipv4",
    "-D -p tcp --dport 65616",
    "-D -p tcp --dport 80-443",
    "-D -p tcp --dport http",
    "-D -s 10.0.1",
    "-D -s 0x0a000001",
    "-D -s 10.0.0.1 10.0.0.2",
    "-D -p gre --srckey 0x7777",
    "-D -p tcp -p udp --sport 77",
    "-I -t abc -p udp -s 10.9.9.1 -d 10.9.9.2 --sport 1 --dport 2",
    "-I -t 99999999999 -p udp -s 10.9.9.1 -d 10.9.9.2 --sport 1 --dport 2",
];

fn treacherous_lines_are_refused_and_the_table_is_untouched() -> Result<(), Failed> {
    fill()?;
    let before = fixture::table()?;
    let gateway = Gateway::new()?;
    for line in TRAPS {
        let refused = ours(&gateway, line)?;
        assert!(matches!(refused.code, Some(1 | 2)), "{line}: {refused:?}");
        assert_eq!(refused.out, "", "{line}");
        let told = refused.err.contains("would have") || refused.err.contains("unexpected value");
        assert!(told, "{line}: {}", refused.err);
        assert_eq!(fixture::table()?.len(), before.len(), "{line}");
    }
    let marks = |table: &[fixture::Entry]| table.iter().map(|(f, _)| f.mark).collect::<Vec<_>>();
    assert_eq!(marks(&fixture::table()?), marks(&before));
    Ok(())
}

fn the_dangerous_reading_is_there_for_whoever_asks_for_it() -> Result<(), Failed> {
    crate::needs!("conntrack");
    let gateway = Gateway::new()?;
    for line in [
        "-D -u UNREPLIED",
        "-D -s 10.0.0.1 -u UNREPLIED",
        "-D -t 3600",
        "-D -s 10.1.2.3/",
        "-D -m 0/",
        "-D --dst-nat 2001:db8::99",
        "-D --dst-nat=10.0.3.9",
        "-F -f ipv4",
        "-D -p tcp --dport 65616",
        "-D -p udp --dport 53-443",
        "-D -s 10.1",
        "-D -s 10.0.0.1 10.0.0.2",
        "-D -p gre --srckey 0x7777",
    ] {
        refill()?;
        theirs(line)?;
        let left = fixture::keys()?;
        refill()?;
        ours(&gateway, &format!("{line} --like-conntrack"))?;
        fixture::same_keys(&fixture::keys()?, &left)
            .map_err(|error| format!("{line}: {error:?}"))?;
    }
    Ok(())
}

fn the_program_answers_to_the_tools_name() -> Result<(), Failed> {
    fill()?;
    let gateway = Gateway::new()?;
    let link = gateway.path().join("conntrack");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_conntidy"), &link)?;
    let called = |line: &str| -> Result<Ran, Failed> {
        let mut program = std::process::Command::new(&link);
        Ok(program.args(words(line)).output()?.into())
    };
    let count = called("-C")?.exits(0)?.out;
    assert_eq!(count.trim().parse::<usize>()?, fixture::keys()?.len());
    // Words that belong to nothing are passed over: scripts rely on it.
    let listed = called("conntrack -L -p tcp again")?.exits(0)?;
    assert!(listed.err.contains("flow entries have been shown"));
    assert!(called("-V")?.exits(0)?.out.starts_with("conntrack v1.4.9"));
    assert!(called("--help")?.exits(0)?.out.contains("-D -s 192.0.2.7"));
    Ok(())
}

fn without_privilege_the_tools_words_are_said() -> Result<(), Failed> {
    crate::needs!("setpriv");
    fill()?;
    let gateway = Gateway::new()?;
    for line in ["-L", "-D -p tcp", "-F", "-C", "-S"] {
        let words = [vec!["conntrack"], words(line)].concat();
        let ran: Ran = gateway
            .command(&fixture::NO_PRIVILEGE, &words)
            .output()?
            .into();
        let ran = ran.exits(1)?;
        assert!(
            ran.err.contains("you must be root or get CAP_NET_ADMIN"),
            "{line}: {}",
            ran.err
        );
        // Anyone may read the counters.
        assert_eq!(ran.out.is_empty(), !matches!(line, "-C" | "-S"), "{line}");
        assert!(!ran.err.contains("emptied"), "{}", ran.err);
    }
    Ok(())
}

fn a_delete_names_the_entry_by_its_id_as_well() -> Result<(), Failed> {
    crate::needs!("strace");
    fill()?;
    let gateway = Gateway::new()?;
    let trace = gateway.path().join("trace");
    let strace = [
        "strace",
        "-f",
        "-s",
        "4096",
        "-e",
        "trace=sendto,sendmsg",
        "-o",
    ];
    let strace = [&strace[..], &[trace.to_str().unwrap_or_default()]].concat();
    let words = words("conntrack -D -p sctp");
    let ran: Ran = gateway.command(&strace, &words).output()?.into();
    ran.exits(0)?;
    let trace = fs::read_to_string(trace)?;
    let count = |what: &str| trace.matches(what).count();
    let deletes = count("CTNETLINK<<8|IPCTNL_MSG_CT_DELETE");
    // CTA_ID, by its number or its name.
    let with_id = count("{nla_len=8, nla_type=0xc}") + count("nla_type=CTA_ID");
    assert!(deletes > 0 && with_id == deletes, "{trace}");
    Ok(())
}

fn idle_entries_go_once_the_record_proves_them_idle() -> Result<(), Failed> {
    const POLICY: &str =
        "[rules.idle]\nmatch = { protocol = \"tcp\", idle-for = \"2s\" }\naction = \"report\"\n";
    let established = fixture::read_tunable("nf_conntrack_tcp_timeout_established")?;
    let stream = |port: u16, seconds: u64| {
        let one = flow(Protocol::TCP, &format!("10.0.0.1:{port}"), "192.0.2.1:443");
        let mut one = lasting(in_state(one, tcp::ESTABLISHED), 1);
        one.timeout = u32::try_from(seconds).unwrap_or(u32::MAX);
        one.status |= Status::ASSURED;
        one
    };
    let idle = stream(1, established - 100);
    let busy = stream(2, established + 60);
    flows::create([&idle, &busy])?;
    let gateway = Gateway::new()?;
    let line = "-D --state ESTABLISHED --timeout 2";
    // Nothing proves which timeouts were in force.
    let first = ours(&gateway, line)?.exits(1)?;
    assert!(
        first.err.contains("of 2 more it is not known"),
        "{}",
        first.err
    );
    assert!(first.err.contains("0 flow entries have been deleted"));
    gateway.apply(POLICY)?;
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    let second = ours(&gateway, line)?.exits(0)?;
    assert!(
        second.err.contains("1 flow entries have been deleted"),
        "{second:?}"
    );
    assert!(second.out.contains("sport=1 "), "{second:?}");
    let left: Vec<FlowKey> = fixture::keys()?;
    fixture::same_keys(&left, &flows::keys_of([&busy]))
}

/// What runs a line.
type Tool<'a> = &'a dyn Fn(&str) -> Result<Ran, Failed>;

/// Packets of the original direction that a list shows of the one entry that has replies.
fn packets(listed: &str) -> Result<u64, Failed> {
    let line = listed.lines().find(|line| line.contains("sport=5000 "));
    let words = line.ok_or("it is not listed")?.split(' ');
    let mut counts = words.filter_map(|word| word.strip_prefix("packets="));
    Ok(counts.next().ok_or("it has no counters")?.parse()?)
}

fn counters_are_zeroed_as_they_are_shown() -> Result<(), Failed> {
    crate::needs!("conntrack", "nft", "ip");
    fixture::run("ip", &words("link set lo up"))?;
    let script =
        "table inet t { chain c { type filter hook output priority 0; ct state new counter; }; }";
    fixture::run("nft", &[script])?;
    fixture::write_tunable("nf_conntrack_acct", 1)?;
    let gateway = Gateway::new()?;
    let sender = std::net::UdpSocket::bind("127.0.0.1:5000")?;
    let receiver = std::net::UdpSocket::bind("127.0.0.1:5001")?;
    let send = |datagrams: u64| -> Result<(), Failed> {
        for _ in 0..datagrams {
            sender.send_to(b"x", receiver.local_addr()?)?;
        }
        Ok(())
    };
    let tools: [Tool<'_>; 2] = [&theirs, &|line| ours(&gateway, line)];
    for tool in tools {
        send(3)?;
        assert_eq!(packets(&tool("-L -z")?.exits(0)?.out)?, 3);
        assert_eq!(packets(&tool("-L")?.exits(0)?.out)?, 0);
        send(2)?;
        assert_eq!(packets(&tool("-L")?.exits(0)?.out)?, 2);
        // What would be zeroed and not shown.
        tool("-L -z -p udp")?.exits(2)?;
        assert_eq!(packets(&tool("-L --zero -o extended")?.exits(0)?.out)?, 2);
    }
    for line in ["-L -z -f ipv4", "-L -z -n"] {
        send(1)?;
        ours(&gateway, line)?.exits(2)?;
        assert_ne!(packets(&ours(&gateway, "-L")?.out)?, 0, "{line}");
        ours(&gateway, &format!("{line} --like-conntrack"))?.exits(0)?;
        assert_eq!(packets(&ours(&gateway, "-L")?.out)?, 0, "{line}");
    }
    Ok(())
}

fn events_have_their_moment_as_the_tool_writes_it() -> Result<(), Failed> {
    crate::needs!("conntrack");
    let gateway = Gateway::new()?;
    let now = conntidy::kernel::identity::time_ns;
    let before = now();
    let line = "-E -e NEW,DESTROY -o timestamp,extended";
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    let mut tool = std::process::Command::new("conntrack");
    tool.args(words(line)).env("PATH", path);
    let front = gateway.command(&[], &[vec!["conntrack"], words(line)].concat());
    let mut waiting = Vec::new();
    for mut command in [tool, front] {
        let piped = || std::process::Stdio::piped();
        waiting.push(command.stdout(piped()).stderr(piped()).spawn()?);
    }
    wait_for_listeners(2)?;
    flows::create([&flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53")])?;
    fixture::conntrack("-D -p udp")?;
    let mut seen = Vec::new();
    for child in waiting {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let process = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM)?;
        let ran: Ran = child.wait_with_output()?.into();
        let mut events = Vec::new();
        for event in ran.exits(0)?.out.lines() {
            let (moment, event) = event.split_once(']').ok_or("no moment")?;
            let moment = moment.strip_prefix('[').ok_or("no moment")?;
            let (seconds, micros) = moment.split_once('.').ok_or("no fraction")?;
            assert_eq!(micros.len(), 6, "{moment}");
            let at = (seconds.parse::<u64>()? * 1_000_000 + micros.parse::<u64>()?) * 1000;
            assert!((before / 1000 * 1000..=now()).contains(&at), "{moment}");
            // Which program it was is told while it runs.
            let event = event.split(" [USERSPACE]").next().unwrap_or_default();
            events.push(event.to_owned());
        }
        seen.push(events);
    }
    assert_eq!(seen[0].len(), 2, "{seen:?}");
    assert_eq!(seen[0], seen[1]);
    Ok(())
}
