//! `snapshot restore`: a table in another namespace, as far as a kernel lets it be made.

use conntidy::flow::{Extra, Flow, Present, Status};
use conntidy::kernel::namespace::within_new;
use conntidy::rebuild::rebuild;
use libtest_mimic::Failed;

use crate::fixture::{self, Entry};
use crate::flows;
use crate::gateway::Gateway;

crate::trials!(
    a_restored_table_is_the_one_that_was_taken,
    a_table_with_entries_is_only_added_to_if_asked,
    nothing_is_loaded_unasked,
    invented_addresses_are_not_restored,
);

/// What a restored entry has of the original, by `rebuild`; the rest the kernel makes anew.
fn comparable((flow, extra): &Entry) -> Result<Entry, Failed> {
    let rebuilt = rebuild(flow, extra.borrow())?;
    let mut flow: Flow = rebuilt.flow;
    flow.timeout = 0;
    // Whether a chain was asked for a translation.
    flow.status
        .remove(Status::SRC_NAT_DONE | Status::DST_NAT_DONE);
    flow.present.remove(Present::START);
    Ok((flow, rebuilt.extra.to_owned()))
}

fn use_labels() -> Result<(), Failed> {
    for line in [
        "add table ip t",
        "add chain ip t c { type filter hook forward priority 0 ; }",
        "add rule ip t c ct label set 1",
    ] {
        fixture::run("nft", &[line])?;
    }
    Ok(())
}

fn a_restored_table_is_the_one_that_was_taken() -> Result<(), Failed> {
    crate::needs!("nft");
    fixture::write_tunable("nf_conntrack_timestamp", 1)?;
    fixture::write_tunable("nf_conntrack_acct", 1)?;
    use_labels()?;
    let mut all = flows::catalogue();
    // Masqueraded, with another identifier.
    let mut ping = flows::icmp("10.0.0.1", "10.0.0.2", 8, 0, 80);
    ping.reply.dst[..4].copy_from_slice(&[203, 0, 113, 1]);
    ping.reply.src_port = 1080;
    all.push((ping, Extra::default().to_owned()));
    flows::create_with(&all)?;
    let original = fixture::table()?;
    let labelled = original
        .iter()
        .filter(|(_, extra)| extra.borrow().labels.is_some());
    assert_ne!(labelled.count(), 0, "labels are part of what is tried");
    let gateway = Gateway::new()?;
    for (name, compression) in [("a.jsonl.zst", "zstd"), ("a.jsonl.gz", "gzip")] {
        let set = format!("snapshot.compression={compression}");
        let take = ["snapshot", "take", "--out", name, "--set", &set];
        gateway.run(&take)?.exits(0)?;
        let (restored, ran) = within_new(|| -> Result<_, Failed> {
            use_labels()?;
            let dry = ["snapshot", "restore", name, "--dry-run"];
            gateway.run(&dry)?.exits(0)?;
            assert!(fixture::table()?.is_empty(), "a dry run makes nothing");
            let ran = gateway
                .run(&["snapshot", "restore", name, "--yes"])?
                .exits(0)?;
            differs_in_nothing(&gateway, name, original.len())?;
            Ok((fixture::table()?, ran))
        })??;
        assert!(ran.out.contains("the kernel gives a new id"), "{}", ran.out);
        assert!(ran.out.contains("counters start at 0"), "{}", ran.out);
        assert_eq!(restored.len(), original.len());
        for (before, after) in original.iter().zip(&restored) {
            assert_eq!(comparable(after)?, comparable(before)?);
            let left = (before.0.remaining(), after.0.remaining());
            let (Some(was), Some(is)) = left else {
                return Err(format!("no remaining time: {left:?}").into());
            };
            assert!(is <= was && is + 10 >= was, "{left:?}");
        }
    }
    Ok(())
}

/// Fails unless `diff` finds the table of this namespace to be the one of a snapshot. Ids, start times, counters and
/// remaining time are no differences between two tables.
fn differs_in_nothing(gateway: &Gateway, name: &str, flows: usize) -> Result<(), Failed> {
    let live = ["diff", name, "live", "-o", "json"];
    let diff = gateway.run(&live)?.exits(0)?.document()?;
    let counts = &diff["flows"];
    assert_eq!(counts["before"], flows, "{counts:#}");
    assert_eq!(counts["after"], flows, "{counts:#}");
    assert_eq!(
        counts["unchanged"], flows,
        "{counts:#} {:#}",
        diff["changed"]
    );
    Ok(())
}

fn a_table_with_entries_is_only_added_to_if_asked() -> Result<(), Failed> {
    flows::create(&flows::many(30))?;
    let gateway = Gateway::new()?;
    gateway
        .run(&["snapshot", "take", "--out", "a.jsonl.zst"])?
        .exits(0)?;
    let restore = ["snapshot", "restore", "a.jsonl.zst", "--yes"];
    within_new(|| -> Result<(), Failed> {
        // Three of the snapshot's, and one of its own.
        let many = flows::many(31);
        let mut here = vec![many[0], many[1], many[2], many[30]];
        here[0].mark = 7;
        flows::create(&here)?;
        let ran = gateway.run(&restore)?.exits(3)?;
        assert!(ran.err.contains("4 entries already"), "{}", ran.err);
        assert!(ran.err.contains("--merge"), "{}", ran.err);
        assert_eq!(fixture::keys()?, flows::keys_of(&here));
        let merge = [&restore[..], &["--merge", "-o", "json"]].concat();
        let document = gateway.run(&merge)?.exits(0)?.document()?;
        assert_eq!(document["before"], 4);
        assert_eq!(document["flows"]["created"], 27);
        assert_eq!(document["flows"]["exists"], 3);
        fixture::same_keys(&fixture::keys()?, &flows::keys_of(&many))?;
        let marked = fixture::table()?;
        assert_eq!(marked.iter().filter(|(flow, _)| flow.mark == 7).count(), 1);
        Ok(())
    })?
}

fn nothing_is_loaded_unasked() -> Result<(), Failed> {
    flows::create(&flows::many(3))?;
    let gateway = Gateway::new()?;
    gateway
        .run(&["snapshot", "take", "--out", "a.jsonl.zst"])?
        .exits(0)?;
    within_new(|| -> Result<(), Failed> {
        let ran = gateway
            .run(&["snapshot", "restore", "a.jsonl.zst"])?
            .exits(64)?;
        assert!(ran.err.contains("--yes"), "{}", ran.err);
        assert!(fixture::keys()?.is_empty());
        Ok(())
    })?
}

fn invented_addresses_are_not_restored() -> Result<(), Failed> {
    flows::create(&flows::many(3))?;
    let gateway = Gateway::new()?;
    let prefix = ["--set", "snapshot.addresses=prefix"];
    let take = ["snapshot", "take", "--out", "a.jsonl.zst"];
    gateway.run(&[&take[..], &prefix].concat())?.exits(0)?;
    let take = [
        "snapshot",
        "take",
        "--out",
        "b.jsonl.zst",
        "--detail",
        "aggregate",
    ];
    gateway.run(&take)?.exits(0)?;
    within_new(|| -> Result<(), Failed> {
        for (file, why) in [("a.jsonl.zst", "not real"), ("b.jsonl.zst", "no flows")] {
            let ran = gateway
                .run(&["snapshot", "restore", file, "--yes"])?
                .exits(1)?;
            assert!(ran.err.contains(why), "{}", ran.err);
        }
        assert!(fixture::keys()?.is_empty());
        Ok(())
    })?
}
