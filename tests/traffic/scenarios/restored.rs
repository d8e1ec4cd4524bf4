//! A table that traffic made, restored on another gateway, is the same table.

use libtest_mimic::Failed;
use serde_json::Value;

use crate::flows::{Association, Connection, Dialogue, Ping, Service};
use crate::namespace::Namespace;
use crate::program::{Program, Run};
use crate::topology::{PUBLISHED, ROUTER_INSIDE, SERVER, Topology};

/// Labels hold only where a rule sets one.
const LABELS: &str = "table inet labels {
    chain every {
        type filter hook forward priority filter;
        ct label set 1;
    }
}";

/// Marks, and zones of both directions or one.
const MARKS_AND_ZONES: &str = "table ip zones {
    chain every {
        type filter hook prerouting priority raw;
        ip protocol sctp ct zone set 7;
        iifname in0 icmp type echo-request ct original zone set 9;
    }
}
table inet marks {
    chain every {
        type filter hook forward priority filter;
        meta l4proto tcp ct mark set 0xdeadbeef;
    }
}";

pub(crate) fn a_restored_table_differs_in_nothing_that_a_kernel_lets_be_made() -> Result<(), Failed>
{
    let topology = Topology::new()?;
    topology.router.nft(LABELS)?;
    topology.router.nft(MARKS_AND_ZONES)?;
    let _four = Connection::open(&topology, 8000, 2)?;
    let _six = Connection::open_v6(&topology, 8000, 2)?;
    let service = Service::new(&topology.server, SERVER, PUBLISHED)?;
    let dialogue = Dialogue::new(&topology.client, (ROUTER_INSIDE, PUBLISHED))?;
    dialogue.ask()?;
    assert_eq!(service.answer()?, 1);
    dialogue.hear()?;
    Ping::new(&topology.client, SERVER, 0x4200)?.echo()?;
    Association::open(&topology, 20_000)?.beat()?;

    let program = Program::new(&topology.router, "")?;
    let taken = program.run(&["snapshot", "take", "--out", "a.jsonl.zst"])?;
    assert_eq!(taken.code, Some(0), "{}", taken.notes);
    let shown = program.run(&["snapshot", "show", "a.jsonl.zst", "-o", "json"])?;
    let summary = shown.document()?["summary"].clone();
    for (kind, flows) in [
        ("flows", 7),
        ("ipv6", 2),
        ("src_nat", 5),
        ("dst_nat", 1),
        ("marked", 4),
        ("labelled", 7),
        ("zoned", 2),
        ("counted", 7),
        ("timestamped", 7),
    ] {
        assert_eq!(summary[kind], flows, "{kind}: {summary:#}");
    }

    let copy = Namespace::new()?;
    copy.nft(LABELS)?;
    for key in ["acct", "timestamp"] {
        copy.set(&format!("netfilter/nf_conntrack_{key}"), 1)?;
    }
    let run = |words: &[&str]| -> Result<Run, Failed> {
        Ok(Run::from(copy.output(program.command(words))?))
    };
    let restored = run(&["snapshot", "restore", "a.jsonl.zst", "--yes"])?;
    assert_eq!(restored.code, Some(0), "{}", restored.notes);
    let diff: Value = run(&["diff", "a.jsonl.zst", "live", "-o", "json"])?.document()?;
    let counts = &diff["flows"];
    assert_eq!(counts["after"], 7, "{counts:#}");
    assert_eq!(counts["unchanged"], 7, "{counts:#} {:#}", diff["changed"]);
    Ok(())
}
