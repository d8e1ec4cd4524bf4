//! A run: flows that are sorted and encoded together.

use std::io::{self, Write};

use xxhash_rust::xxh3::Xxh3;

use super::SnapshotError;
use super::pack::Packer;
use super::record::write_flow;
use super::redact::Redactor;
use super::trailer::Checksum;
use crate::flow::{ExtraTable, Flow};
use crate::observe::Record;
use crate::policy::Compression;

/// Flows of a full run. A run of this size is sorted in memory; only the last one of a snapshot is
/// smaller.
pub const RUN_FLOWS: usize = 65_536;

/// Flows that wait for their run to be full.
#[derive(Clone, Debug, Default)]
pub struct Run {
    flows: Vec<Flow>,
    extras: ExtraTable,
}

impl Run {
    /// Takes a flow as a dump delivers it.
    pub fn push(&mut self, record: &Record<'_>) {
        let mut flow = record.flow;
        flow.extra = self.extras.intern(&record.extra);
        self.flows.push(flow);
    }

    /// Whether it holds [`RUN_FLOWS`] flows.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.flows.len() >= RUN_FLOWS
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// The flows, in the order in which they came until they are encoded.
    #[must_use]
    pub fn flows(&self) -> &[Flow] {
        &self.flows
    }

    /// Redacts the addresses of all flows.
    pub fn redact(&mut self, redactor: &mut Redactor) {
        for flow in &mut self.flows {
            redactor.flow(flow);
        }
    }

    /// Forgets the flows and keeps the memory.
    pub fn clear(&mut self) {
        self.flows.clear();
        self.extras.clear();
    }
}

/// A run as it stands in the file.
#[derive(Clone, Debug, Default)]
pub struct EncodedRun {
    /// Its bytes in the file.
    pub(super) packed: Vec<u8>,
    /// Length of its lines.
    pub(super) bytes: u64,
    /// Its flows.
    pub(super) flows: u64,
    /// Checksum of its lines.
    pub(super) xxh3: Checksum,
}

/// Sorts a run, writes its lines and packs them. `reuse` gives its memory to the result.
///
/// # Errors
/// Where the compressor fails, which means that it got no memory.
pub fn encode(
    run: &mut Run,
    compression: Compression,
    reuse: EncodedRun,
) -> Result<EncodedRun, SnapshotError> {
    run.flows.sort_by_cached_key(Flow::key);
    let extras = &run.extras;
    let append = |flow: &Flow, text: &mut Vec<u8>| write_flow(flow, &extras.get(flow.extra), text);
    encode_lines(run.flows.iter(), append, compression, reuse)
}

/// Writes lines in the order in which they come and packs them.
pub(super) fn encode_lines<'a, T: 'a>(
    items: impl ExactSizeIterator<Item = &'a T>,
    append: impl Fn(&T, &mut Vec<u8>),
    compression: Compression,
    reuse: EncodedRun,
) -> Result<EncodedRun, SnapshotError> {
    let mut out = reuse.packed;
    out.clear();
    let mut packer = Packer::new(compression, out).map_err(SnapshotError::Write)?;
    let mut encoded = lines(items, append, &mut packer).map_err(SnapshotError::Write)?;
    encoded.packed = packer.finish().map_err(SnapshotError::Write)?;
    Ok(encoded)
}

fn lines<'a, T: 'a>(
    items: impl ExactSizeIterator<Item = &'a T>,
    append: impl Fn(&T, &mut Vec<u8>),
    out: &mut impl Write,
) -> io::Result<EncodedRun> {
    /// Text that is hashed and packed at a time, and makes one block of its frame.
    const BLOCK: usize = 128 * 1024;
    /// The first blocks are smaller: of a frame that is cut short whole blocks can be unpacked and
    /// no more, and a small table would be a single one.
    const FIRST_BLOCK: usize = 16 * 1024;
    let mut encoded = EncodedRun {
        flows: items.len() as u64,
        ..EncodedRun::default()
    };
    let mut xxh3 = Xxh3::new();
    let mut text = Vec::with_capacity(BLOCK + 1024);
    let mut packed = 0;
    let mut emit = |text: &mut Vec<u8>| {
        xxh3.update(text);
        encoded.bytes += text.len() as u64;
        let result = out.write_all(text).and_then(|()| out.flush());
        text.clear();
        result
    };
    for item in items {
        append(item, &mut text);
        let block = if packed < BLOCK { FIRST_BLOCK } else { BLOCK };
        if text.len() >= block {
            packed += text.len();
            emit(&mut text)?;
        }
    }
    emit(&mut text)?;
    encoded.xxh3 = Checksum(xxh3.digest());
    Ok(encoded)
}
