//! What the service manager and the journal are told.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use conntidy::flow::Protocol;
use libtest_mimic::Failed;

use crate::fixture::{self, write_tunable};
use crate::flows::{self, flow};
use crate::gateway::Gateway;

crate::trials!(
    the_service_manager_hears_of_progress_and_of_the_end,
    the_journal_gets_a_record_for_each_thing_that_happened,
    a_timer_tells_the_journal_nothing_while_nothing_happens,
    where_the_journal_takes_no_records_the_report_is_printed,
);

const POLICY: &str = r#"
    [timeouts]
    icmp = 11
    [rules.dns]
    match = { protocol = "udp", dport = 53 }
    action = "delete"
    [rules.web]
    match = { protocol = "udp", dport = 443 }
    action = "delete"
    budget = { count = 0 }
"#;

/// Everything that a socket has got.
fn received(socket: &UnixDatagram) -> Result<Vec<String>, Failed> {
    socket.set_nonblocking(true)?;
    let mut all = Vec::new();
    let mut bytes = vec![0; 65_536];
    while let Ok(length) = socket.recv(&mut bytes) {
        all.push(String::from_utf8(bytes[..length].to_vec())?);
    }
    Ok(all)
}

fn the_service_manager_hears_of_progress_and_of_the_end() -> Result<(), Failed> {
    let port = |port: u32| flow(Protocol::UDP, &format!("10.0.0.1:{port}"), "192.0.2.1:53");
    let many: Vec<_> = (1..20_000).map(port).collect();
    flows::create(&many)?;
    let gateway = Gateway::new()?;
    gateway.write_policy(
        r#"
        [limits]
        delete = "100%"
        [timeouts]
        icmp = 11
        [rules.dns]
        match = { protocol = "udp", dport = 53 }
        action = "delete"
        budget = { count = 100000, percent = 100 }
        "#,
    )?;
    let path = gateway.path().join("notify");
    let manager = UnixDatagram::bind(&path)?;
    manager.set_read_timeout(Some(Duration::from_secs(1)))?;
    let output = gateway
        .command(&[], &["apply", "-q", "-p", "policy.toml"])
        .env("NOTIFY_SOCKET", &path)
        .output()?;
    assert!(output.stderr.is_empty(), "{output:?}");
    let told = received(&manager)?;
    for work in ["reading the table: ", "changing entries: "] {
        let progress = told.iter().find(|told| told.contains(work));
        let progress = progress.ok_or_else(|| format!("{told:?}"))?;
        assert!(progress.contains("EXTEND_TIMEOUT_USEC="), "{progress}");
    }
    let end = told.last().ok_or("nothing")?;
    for line in [
        "STATUS=Applied: 1 key changed",
        "\nREADY=1\n",
        "\nSTOPPING=1",
    ] {
        assert!(end.contains(line), "{end}");
    }
    Ok(())
}

/// Runs `apply` with stdout connected to what is named as the journal, which `mounts` prepares below
/// `/run`: its output, errors last.
fn under_systemd(
    gateway: &Gateway,
    mounts: &str,
    arguments: &str,
    code: u8,
) -> Result<String, Failed> {
    let script = format!(
        "mount -t tmpfs none /run
         mkdir -p /run/systemd/journal
         {mounts}
         : >out
         export JOURNAL_STREAM=$(stat -c %d:%i out)
         if \"$1\" apply {arguments} -p policy.toml >out 2>err; then echo 0; else echo $?; fi"
    );
    let ran = gateway.run_in_own_mounts(&script)?.exits(0)?;
    assert_eq!(ran.out, format!("{code}\n"), "{}", ran.err);
    let read = |name| std::fs::read_to_string(gateway.path().join(name));
    Ok(read("out")? + &read("err")?)
}

fn journald(gateway: &Gateway) -> Result<UnixDatagram, Failed> {
    let directory = gateway.path().join("journal");
    std::fs::create_dir(&directory)?;
    Ok(UnixDatagram::bind(directory.join("socket"))?)
}

const JOURNAL: &str = "mount --bind journal /run/systemd/journal";

fn a_timer_tells_the_journal_nothing_while_nothing_happens() -> Result<(), Failed> {
    crate::needs!("unshare", "mount");
    let gateway = Gateway::new()?;
    gateway.write_policy(POLICY)?;
    let journald = journald(&gateway)?;
    // Both rules run in vain; then neither is due.
    for changed in [1, 0] {
        let said = under_systemd(&gateway, JOURNAL, "--due", 0)?;
        assert_eq!(said, "", "no warning about the policy either");
        let records = received(&journald)?;
        assert_eq!(records.len(), 2 * changed, "{records:#?}");
    }
    // By hand it is told.
    under_systemd(&gateway, JOURNAL, "-q", 0)?;
    assert_eq!(received(&journald)?.len(), 1);
    Ok(())
}

fn the_journal_gets_a_record_for_each_thing_that_happened() -> Result<(), Failed> {
    crate::needs!("unshare", "mount");
    let gateway = Gateway::new()?;
    gateway.run_apply(POLICY)?.exits(0)?;
    write_tunable("nf_conntrack_icmp_timeout", 40)?;
    flows::create([
        &flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53"),
        &flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:443"),
    ])?;
    let journald = journald(&gateway)?;
    // The refused rule.
    let out = under_systemd(&gateway, JOURNAL, "-q", 3)?;
    assert_eq!(out, "", "the records stand in its place");
    assert_eq!(fixture::keys()?.len(), 1);
    let records = received(&journald)?;
    let wanted = [
        (
            "PRIORITY=5",
            "CONNTIDY_KEY=nf_conntrack_icmp_timeout\nCONNTIDY_BEFORE=40\n",
        ),
        (
            "PRIORITY=4",
            "CONNTIDY_RULE=web\nCONNTIDY_ACTION=delete\nCONNTIDY_SELECTED=1\n",
        ),
        (
            "PRIORITY=5",
            "CONNTIDY_RULE=dns\nCONNTIDY_ACTION=delete\nCONNTIDY_DONE=1\n",
        ),
        (
            "PRIORITY=5",
            "CONNTIDY_CHANGED=1\nCONNTIDY_EXPIRED=0\nCONNTIDY_DELETED=1\n",
        ),
    ];
    assert_eq!(records.len(), wanted.len(), "{records:#?}");
    for (record, (priority, fields)) in records.iter().zip(wanted) {
        assert!(record.starts_with("MESSAGE="), "{record}");
        for line in [
            priority,
            fields,
            "\nMESSAGE_ID=",
            "\nSYSLOG_IDENTIFIER=conntidy\n",
        ] {
            assert!(record.contains(line), "{line} in {record}");
        }
    }
    Ok(())
}

fn where_the_journal_takes_no_records_the_report_is_printed() -> Result<(), Failed> {
    crate::needs!("unshare", "mount");
    flows::create([&flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:443")])?;
    let gateway = Gateway::new()?;
    gateway.write_policy(POLICY)?;
    let out = under_systemd(&gateway, "", "-q", 3)?;
    assert!(out.contains("rule refused"), "{out}");
    assert!(out.contains("Applied: "), "{out}");
    Ok(())
}
