//! `snapshot import` beside the table itself: the real tool and the real /proc.

use std::collections::BTreeMap;

use conntidy::flow::{FlowKey, Present, Protocol, Status};
use conntidy::kernel::Recorded;
use conntidy::observe::{Observe, Record};
use libtest_mimic::Failed;

use crate::fixture::{self, Entry};
use crate::flows;
use crate::gateway::Gateway;

crate::trials!(
    what_conntrack_prints_is_the_table,
    what_proc_shows_is_the_table,
    the_form_to_restore_is_read,
    xml_is_read_but_for_icmp,
    what_comes_through_a_pipe_is_imported_into_the_store,
);

/// Bits that the texts tell.
const TOLD: Status = Status::SEEN_REPLY
    .union(Status::ASSURED)
    .union(Status::SRC_NAT)
    .union(Status::DST_NAT);

fn make_table() -> Result<Vec<Entry>, Failed> {
    fixture::write_tunable("nf_conntrack_timestamp", 1)?;
    fixture::write_tunable("nf_conntrack_acct", 1)?;
    flows::create_with(&flows::catalogue())?;
    fixture::table()
}

/// Both families; the tool asks for IPv4 alone by itself.
fn conntrack(options: &str) -> Result<String, Failed> {
    let ipv4 = fixture::conntrack(&format!("-L {options}"))?;
    let ipv6 = fixture::conntrack(&format!("-L -f ipv6 {options}"))?;
    Ok(ipv4 + &ipv6)
}

fn import(text: &str, code: i32) -> Result<(BTreeMap<FlowKey, Entry>, String), Failed> {
    let gateway = Gateway::new()?;
    std::fs::write(gateway.path().join("printed.txt"), text)?;
    let import = ["snapshot", "import", "printed.txt", "--out", "a.jsonl.zst"];
    let ran = gateway.run(&import)?.exits(code)?;
    let mut entries = BTreeMap::new();
    let mut keep = |record: &Record<'_>| {
        entries.insert(record.flow.key(), (record.flow, record.extra.to_owned()));
    };
    Recorded::open(gateway.path().join("a.jsonl.zst"))?.dump(&mut [&mut keep])?;
    Ok((entries, ran.err))
}

/// Compares what every text tells. Two forms know no states of SCTP, or not all.
fn same(
    imported: &BTreeMap<FlowKey, Entry>,
    table: &[Entry],
    every_state: bool,
) -> Result<(), Failed> {
    let keys: Vec<FlowKey> = imported.keys().copied().collect();
    let wanted: Vec<FlowKey> = table.iter().map(|(flow, _)| flow.key()).collect();
    fixture::same_keys(&keys, &wanted)?;
    for (there, _) in table {
        let (here, _) = &imported[&there.key()];
        assert_eq!(here.reply, there.reply, "{there:?}");
        assert_eq!(here.zone_reply, there.zone_reply, "{there:?}");
        assert_eq!(here.status & TOLD, there.status & TOLD, "{there:?}");
        if every_state || here.state().is_some() || there.protocol == Protocol::TCP {
            assert_eq!(here.state_name(), there.state_name(), "{there:?}");
        }
        let (now, was) = (here.timeout, there.timeout);
        assert!(now <= was && now + 10 >= was, "{now} {was}");
    }
    Ok(())
}

fn what_conntrack_prints_is_the_table() -> Result<(), Failed> {
    crate::needs!("conntrack");
    let table = make_table()?;
    for options in ["", "-o extended", "-o extended,id,ktimestamp,labels"] {
        let (imported, _) = import(&conntrack(options)?, 0)?;
        same(&imported, &table, true)?;
        for (there, extra) in &table {
            let (here, here_extra) = &imported[&there.key()];
            assert_eq!(here.mark, there.mark);
            assert_eq!(here.total(), there.total());
            assert_eq!(here_extra.borrow().helper, extra.borrow().helper);
            if options.contains("id") {
                assert_eq!(here.id(), there.id());
            }
            assert!(!here.present.contains(Present::TCP_FLAGS), "not told");
        }
    }
    Ok(())
}

fn what_proc_shows_is_the_table() -> Result<(), Failed> {
    let table = make_table()?;
    let Ok(text) = std::fs::read_to_string("/proc/thread-self/net/nf_conntrack") else {
        let name = "what_proc_shows_is_the_table";
        return fixture::skip(name, "a kernel without CONFIG_NF_CONNTRACK_PROCFS");
    };
    let (imported, _) = import(&text, 0)?;
    same(&imported, &table, true)
}

fn the_form_to_restore_is_read() -> Result<(), Failed> {
    crate::needs!("conntrack");
    let table = make_table()?;
    let (imported, _) = import(&conntrack("-o save")?, 0)?;
    same(&imported, &table, false)
}

fn xml_is_read_but_for_icmp() -> Result<(), Failed> {
    crate::needs!("conntrack");
    let mut table = make_table()?;
    let (imported, said) = import(&conntrack("-o xml")?, 4)?;
    assert!(
        said.contains("icmp_type") && said.contains("printed.txt:"),
        "{said}"
    );
    table.retain(|(flow, _)| !matches!(flow.protocol, Protocol::ICMP | Protocol::ICMPV6));
    same(&imported, &table, false)?;
    for (there, _) in &table {
        assert_eq!(imported[&there.key()].0.id(), there.id());
    }
    Ok(())
}

fn what_comes_through_a_pipe_is_imported_into_the_store() -> Result<(), Failed> {
    crate::needs!("conntrack");
    flows::create(&flows::many(40))?;
    let gateway = Gateway::new()?;
    let script = "conntrack -L | \"$0\" -q snapshot import - --host gw9 --directory store \
        --at 2026-01-31T03:12:00Z && \"$0\" snapshot list --directory store";
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_conntidy")])
        .current_dir(gateway.path())
        .env("PATH", path)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(
        said.contains("store/20260131T031200Z-imported.jsonl.zst"),
        "{said}"
    );
    assert!(said.contains("import") && said.contains(" 40 "), "{said}");
    Ok(())
}
