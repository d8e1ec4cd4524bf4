//! Nothing is allocated for each entry: not in decoding, not in a dump, not in a listing, not in a sweep.
//!
//! A binary of its own, since it counts by replacing the global allocator.

use std::process::ExitCode;

use allocation_counter::measure;
use conntidy::column::{self, Reader};
use conntidy::flow::{Extra, Family, Flow, Present, Protocol, Status, Tuple};
use conntidy::kernel::event::Groups;
use conntidy::kernel::listener::Received;
use conntidy::kernel::namespace::{private, within_new};
use conntidy::kernel::{Change, Live, SweepOptions};
use conntidy::kernel::{decode::decode, message::messages};
use conntidy::matcher::Context;
use conntidy::observe::{Observe, Record, Visit};
use libtest_mimic::{Arguments, Failed, Trial};

/// Entries of the tests against the kernel.
const ENTRIES: u32 = 20_000;

/// Allocations that a whole dump or sweep may take: sockets, buffers, batches, a thread.
const FIXED: u64 = 200;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let refusal = private().err().map(|error| error.to_string());
    let kernel = |name: &str, body: fn() -> Result<(), Failed>| {
        let (name, refusal) = (name.to_owned(), refusal.clone());
        Trial::test(name.clone(), move || match refusal {
            None => within_new(body).map_err(|error| Failed::from(error.to_string()))?,
            Some(why) if std::env::var_os("CONNTIDY_REQUIRE_ALL").is_some_and(|v| v == "1") => {
                Err(format!("cannot run: {why}").into())
            }
            Some(why) => {
                eprintln!("skipped {name}: {why}");
                Ok(())
            }
        })
    };
    let trials = vec![
        Trial::test("decoding_allocates_nothing", decoding_allocates_nothing),
        kernel("a_dump_allocates_nothing_for_each_entry", dump),
        kernel("rows_of_columns_allocate_nothing_for_each_entry", columns),
        kernel("hearing_events_allocates_nothing_for_each_event", hear),
        kernel("rows_of_columns_allocate_nothing_for_each_entry", columns),
        kernel("a_sweep_allocates_nothing_for_each_change", sweep),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn decoding_allocates_nothing() -> Result<(), Failed> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures");
    let mut seen = 0;
    for file in std::fs::read_dir(directory)? {
        let bytes = std::fs::read(file?.path())?;
        let mut entries = 0;
        let counted = measure(|| {
            for message in messages(&bytes) {
                entries += u32::from(message.is_ok_and(|m| decode(m.bytes).is_ok()));
            }
        });
        assert!(entries > 0);
        assert_eq!(counted.count_total, 0, "for {entries} entries");
        seen += entries;
    }
    assert!(seen > 50);
    Ok(())
}

fn flow(n: u32) -> Flow {
    let address = |n: u32| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&(0x0a00_0000 + n).to_be_bytes());
        bytes
    };
    let orig = Tuple {
        src: address(n),
        dst: address(0xff_ffff),
        src_port: 1000,
        dst_port: 443,
    };
    let mut flow = Flow::new(Family::Ipv4, Protocol::TCP, orig);
    flow.timeout = 600;
    flow.state = 3;
    flow.status = Status::SEEN_REPLY;
    flow.present = Present::TIMEOUT | Present::STATUS | Present::STATE | Present::REPLY;
    flow
}

/// Makes the entries; the allocations of the pushing thread.
fn fill(entries: u32) -> Result<u64, Failed> {
    let sweep = Live::default().sweep(SweepOptions::default())?;
    let counted = measure(|| {
        let mut feeder = sweep.feeder();
        for n in 0..entries {
            let flow = flow(n);
            let extra = Extra::default();
            feeder.push(0, &Change::Create { flow: &flow, extra });
        }
    });
    let tally = sweep.finish();
    assert_eq!(tally.count(0).done, u64::from(entries), "{tally:?}");
    Ok(counted.count_total)
}

fn dump() -> Result<(), Failed> {
    fill(ENTRIES)?;
    let mut timeouts = 0;
    let mut visit = |record: &Record<'_>| timeouts += u64::from(record.flow.timeout);
    let mut dumped = None;
    let counted = measure(|| {
        dumped = Some(Live::default().dump(&mut [&mut visit as &mut dyn Visit]));
    });
    let dumped = dumped.ok_or("not dumped")??;
    assert_eq!(dumped.entries, u64::from(ENTRIES));
    assert!(counted.count_total < FIXED, "{counted:?}");
    Ok(())
}

fn hear() -> Result<(), Failed> {
    const BATCH: u32 = 500;
    let mut listener = Live::default().listen(Groups::NEW, 1 << 20)?;
    fill(BATCH)?;
    let mut heard = 0;
    let counted = measure(|| {
        while let Ok(Received::Events) = listener.receive(|event| {
            heard += u32::from(event.time_ns().is_none());
        }) {}
    });
    assert_eq!(heard, BATCH);
    assert_eq!(counted.count_total, 0, "{counted:?}");
    Ok(())
}

fn columns() -> Result<(), Failed> {
    fill(ENTRIES)?;
    let header = Live::default().header()?;
    let reader = Reader::new(&Context::new(&header, &[], &[]));
    let mut row = Vec::with_capacity(4096);
    let mut rows = 0;
    let mut visit = |record: &Record<'_>| {
        row.clear();
        for &column in column::ALL {
            let value = reader.value(column, record);
            value.text(&mut row);
            value.json(&mut row);
        }
        rows += u32::from(row.len() > 100);
    };
    let mut dumped = None;
    let counted = measure(|| {
        dumped = Some(Live::default().dump(&mut [&mut visit as &mut dyn Visit]));
    });
    dumped.ok_or("not dumped")??;
    assert_eq!(rows, ENTRIES);
    assert!(counted.count_total < FIXED, "{counted:?}");
    Ok(())
}

fn sweep() -> Result<(), Failed> {
    let made = fill(ENTRIES)?;
    assert!(made < FIXED, "{made} allocations to make {ENTRIES} entries");
    let sweep = Live::default().sweep(SweepOptions::default())?;
    let mut dumped = None;
    let counted = measure(|| {
        let mut feeder = sweep.feeder();
        let mut visit = |record: &Record<'_>| {
            let (key, id) = (record.flow.key(), record.flow.id);
            feeder.push(0, &Change::Delete { key, id });
        };
        dumped = Some(Live::default().dump(&mut [&mut visit as &mut dyn Visit]));
    });
    dumped.ok_or("not dumped")??;
    let tally = sweep.finish();
    assert_eq!(tally.count(0).done, u64::from(ENTRIES), "{tally:?}");
    assert!(counted.count_total < FIXED, "{counted:?}");
    Ok(())
}
