//! What rebuilding promises of a flow is what the kernel makes.

use std::collections::BTreeMap;
use std::path::Path;

use conntidy::flow::{Extra, Flow, FlowKey, OwnedExtra, Present, Status};
use conntidy::kernel::{Change, Live, Recorded, SweepOptions};
use conntidy::observe::{Observe, Record};
use conntidy::rebuild::{Lost, rebuild};
use libtest_mimic::Failed;

use crate::fixture;

crate::trials!(every_flow_of_the_sample_is_made_as_promised);

/// What a dump shows and rebuilding does not speak of.
fn comparable(mut flow: Flow) -> Flow {
    (flow.id, flow.start_ns, flow.timeout) = (0, 0, 0);
    flow.present -= Present::ID | Present::START | Present::COUNTERS;
    (flow.counters_orig, flow.counters_reply) = <_>::default();
    // Shown even where it is 0.
    flow.present |= Present::MARK;
    flow
}

fn every_flow_of_the_sample_is_made_as_promised() -> Result<(), Failed> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gateway.jsonl.zst");
    let mut wanted: BTreeMap<FlowKey, (Flow, OwnedExtra, Lost)> = BTreeMap::new();
    let mut impossible = 0;
    let mut take = |record: &Record<'_>| {
        let Ok(mut rebuilt) = rebuild(&record.flow, record.extra) else {
            impossible += 1;
            return;
        };
        // Long enough for none to expire before the dump.
        rebuilt.flow.timeout += 100;
        let extra = rebuilt.extra.to_owned();
        wanted.insert(rebuilt.flow.key(), (rebuilt.flow, extra, rebuilt.lost));
    };
    Recorded::open(sample)?.dump(&mut [&mut take])?;
    assert!(wanted.len() > 15_000 && impossible > 100, "{impossible}");

    let sweep = Live::default().sweep(SweepOptions::default())?;
    {
        let mut feeder = sweep.feeder();
        for (flow, extra, _) in wanted.values() {
            let extra = extra.borrow();
            feeder.push(0, &Change::Create { flow, extra });
        }
    }
    let total = sweep.finish().total();
    assert_eq!(total.done, wanted.len() as u64, "{total:#?}");

    let table = fixture::table()?;
    assert_eq!(table.len(), wanted.len());
    for (seen, seen_extra) in table {
        let (flow, extra, lost) = &wanted[&seen.key()];
        let mut promised = comparable(*flow);
        let seen = comparable(seen);
        if seen.status.contains(Status::HELPER) && !promised.status.contains(Status::HELPER) {
            return Err(format!("a helper nobody asked for: {seen:?}").into());
        }
        promised.extra = 0;
        assert_eq!(seen, promised);
        let mut promised = extra.borrow();
        if lost.contains(Lost::LABELS) {
            promised.labels = None;
        }
        assert_eq!(seen_extra.borrow(), Extra { ..promised }, "{flow:?}");
    }
    Ok(())
}
