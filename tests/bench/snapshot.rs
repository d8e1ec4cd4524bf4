//! What encoding and reading a snapshot costs, on the sample gateway.

use std::io::Cursor;

use conntidy::flow::{Flow, OwnedExtra};
use conntidy::observe::Record;
use conntidy::policy::Compression;
use conntidy::snapshot::record::{read_flow, write_flow};
use conntidy::snapshot::{EncodedRun, Run, Snapshot, encode};
use divan::Bencher;
use divan::counter::ItemsCount;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

fn file() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/gateway.jsonl.zst");
    std::fs::read(path).expect("the sample")
}

fn entries() -> Vec<(Flow, OwnedExtra)> {
    let mut snapshot = Snapshot::open(Cursor::new(file())).expect("the sample");
    let mut flows = snapshot.flows().expect("flows");
    let mut entries = Vec::new();
    while let Some(record) = flows.next_flow().expect("a flow") {
        entries.push((record.flow, record.extra.to_owned()));
    }
    entries
}

#[divan::bench]
fn lines(bencher: Bencher<'_, '_>) {
    let entries = entries();
    let mut out = Vec::with_capacity(16 << 20);
    bencher
        .counter(ItemsCount::new(entries.len()))
        .bench_local(|| {
            out.clear();
            for (flow, extra) in &entries {
                write_flow(flow, &extra.borrow(), &mut out);
            }
            out.len()
        });
}

#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    let mut text = Vec::new();
    let entries = entries();
    for (flow, extra) in &entries {
        write_flow(flow, &extra.borrow(), &mut text);
    }
    bencher
        .counter(ItemsCount::new(entries.len()))
        .bench_local(|| {
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                divan::black_box(read_flow(line)).expect("a flow");
            }
        });
}

#[divan::bench(args = [Compression::Zstd, Compression::None])]
fn run(bencher: Bencher<'_, '_>, compression: Compression) {
    let entries = entries();
    bencher
        .counter(ItemsCount::new(entries.len()))
        .with_inputs(|| {
            let mut run = Run::default();
            for number in 0..entries.len() {
                // Dumps come in no order.
                let (flow, extra) = &entries[number * 7919 % entries.len()];
                run.push(&Record {
                    flow: *flow,
                    extra: extra.borrow(),
                    message: &[],
                });
            }
            run
        })
        .bench_local_refs(|run| encode(run, compression, EncodedRun::default()).expect("a run"));
}

#[divan::bench]
fn merge(bencher: Bencher<'_, '_>) {
    let file = file();
    bencher
        .counter(ItemsCount::new(entries().len()))
        .bench_local(|| {
            let mut snapshot = Snapshot::open(Cursor::new(&file)).expect("the sample");
            let mut flows = snapshot.flows().expect("flows");
            let mut count = 0;
            while flows.next_flow().expect("a flow").is_some() {
                count += 1;
            }
            count
        });
}
