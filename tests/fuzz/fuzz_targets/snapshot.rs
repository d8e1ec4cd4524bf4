//! Whatever a file holds, reading neither panics nor runs away, and what reads whole writes and
//! reads the same again.
//!
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz snapshot tests/fuzz/corpus/snapshot`

#![no_main]

use std::io::Cursor;

use conntidy::flow::{Flow, OwnedExtra};
use conntidy::observe::{Dumped, Header};
use conntidy::policy::Compression;
use conntidy::snapshot::{Snapshot, SnapshotError, salvage, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut salvaged = 0;
    if let Ok(found) = salvage(Cursor::new(bytes), |_| salvaged += 1) {
        assert_eq!(found.flows, salvaged);
        assert!(found.unverified <= found.flows);
    }
    let Ok((header, flows)) = read(bytes) else {
        return;
    };
    let borrowed = flows.iter().map(|(flow, extra)| (*flow, extra.borrow()));
    let compression = match bytes.first() {
        Some(b'{') => Compression::Zstd,
        Some(0x1F) => Compression::None,
        _ => Compression::Gzip,
    };
    let (again, _) = write(Vec::new(), &header, compression, borrowed, Dumped::default())
        .expect("a vector takes every write");
    let (header_again, flows_again) = read(&again).expect("what was written is read");
    assert_eq!(header_again, header);
    assert_eq!(flows_again, flows);
});

fn read(bytes: &[u8]) -> Result<(Header, Vec<(Flow, OwnedExtra)>), SnapshotError> {
    let mut snapshot = Snapshot::open(Cursor::new(bytes))?;
    let header = snapshot.header().clone();
    let mut flows = snapshot.flows()?;
    let mut read = Vec::new();
    while let Some(record) = flows.next_flow()? {
        read.push((record.flow, record.extra.to_owned()));
    }
    Ok((header, read))
}
