//! What `plan` asks of the kernel, seen by strace: nothing that could change it.

use std::fs;
use std::process::Stdio;

use libtest_mimic::Failed;

use crate::flows::Connection;
use crate::namespace::tool;
use crate::program::Program;
use crate::topology::Topology;
use crate::tracked::{ids, tracked};

const POLICY: &str = r#"
    [limits]
    delete = "100%"
    [timeouts]
    tcp.established = "1d"
    tcp.time-wait = "30s"
    apply-to-existing = true
    [rules.all]
    match = { protocol = "tcp", dport = 8000 }
    action = "delete"
    allow-assured = true
    budget = { percent = 100 }
"#;

/// The system calls by which a process can ask for a change of what this is about.
const WAYS_OUT: &str = "trace=open,openat,openat2,creat,write,writev,pwrite64,pwritev,\
    sendto,sendmsg,sendmmsg,sendfile,splice,io_uring_setup,io_uring_enter";

/// What the kernel was asked to do.
#[derive(Debug, Default)]
struct Asked {
    /// Files opened for writing below `/proc` and `/sys`.
    written: Vec<String>,
    /// Types of the netlink messages sent.
    messages: Vec<String>,
}

impl Asked {
    /// Whatever could change something.
    fn changes(&self) -> Vec<&String> {
        let harmless = |kind: &str| {
            let name = kind.rsplit('|').next().unwrap_or(kind);
            if kind.contains("NFNL_SUBSYS_CTNETLINK<<") {
                [
                    "IPCTNL_MSG_CT_GET",
                    "IPCTNL_MSG_CT_GET_STATS",
                    "IPCTNL_MSG_CT_GET_STATS_CPU",
                ]
                .contains(&name)
            } else {
                // Other families are asked for addresses and timeout objects.
                name.contains("GET")
            }
        };
        self.written
            .iter()
            .chain(self.messages.iter().filter(|kind| !harmless(kind)))
            .collect()
    }
}

pub(crate) fn plan_changes_nothing() -> Result<(), Failed> {
    let topology = Topology::new()?;
    let mut connections = Connection::open(&topology, 8000, 10)?;
    let program = Program::new(&topology.router, POLICY)?;
    let before = tracked(&topology.router)?;

    let asked = trace(&topology, &program, "plan")?;
    assert!(
        asked
            .messages
            .iter()
            .any(|kind| kind.ends_with("IPCTNL_MSG_CT_GET")),
        "the trace shows the dump: {asked:#?}"
    );
    assert!(asked.changes().is_empty(), "{:#?}", asked.changes());
    assert_eq!(ids(&before), ids(&tracked(&topology.router)?));
    for connection in &mut connections {
        connection.exchange()?;
    }

    // The same look at `apply` sees changes of either kind, so it is not blind.
    let asked = trace(&topology, &program, "apply")?;
    assert!(!asked.written.is_empty(), "{asked:#?}");
    assert!(
        asked
            .messages
            .iter()
            .any(|kind| kind.ends_with("IPCTNL_MSG_CT_DELETE")),
        "{asked:#?}"
    );
    Ok(())
}

fn trace(topology: &Topology, program: &Program, verb: &str) -> Result<Asked, Failed> {
    let record = tempfile::NamedTempFile::new()?;
    let mut strace = tool("strace");
    strace
        .args(["-f", "-qq", "-yy", "-e", WAYS_OUT])
        .args(["-e", "abbrev=none", "-o"])
        .arg(record.path())
        .arg(env!("CARGO_BIN_EXE_conntidy"))
        .args([verb, "--policy", "policy.toml", "-o", "json"])
        .stderr(Stdio::piped());
    program.surround(&mut strace);
    topology.router.succeed(strace)?;
    let mut asked = Asked::default();
    for line in fs::read_to_string(record.path())?.lines() {
        let on_netlink = line.contains("<NETLINK:");
        if line.contains("io_uring") || (on_netlink && !line.contains("send")) {
            return Err(format!("a way out that this test does not understand: {line}").into());
        }
        if on_netlink {
            let kinds = line
                .split("nlmsg_type=")
                .skip(1)
                .filter_map(|rest| rest.split([',', '}']).next());
            let known = asked.messages.len();
            asked.messages.extend(kinds.map(str::to_owned));
            if asked.messages.len() == known {
                return Err(format!("no message type in {line}").into());
            }
        } else if line.contains("open")
            && (line.contains("\"/proc/") || line.contains("\"/sys/"))
            && ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"]
                .iter()
                .any(|flag| line.contains(flag))
        {
            asked.written.push(line.to_owned());
        }
    }
    Ok(asked)
}
