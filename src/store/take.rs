//! A dump to a snapshot: the caller's thread dumps, a second one sorts, encodes, packs and writes.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use crate::observe::{Header, Observe, ObserveError, Record, Visit};
use crate::policy::Compression;
use crate::snapshot::{EncodedRun, Run, SnapshotError, Trailer, Writer, encode};

/// Full runs that wait while one is being encoded.
const WAITING: usize = 1;

/// Flows between two calls of `progress`.
const PROGRESS: u64 = 4096;

/// Why no snapshot came about.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The table could not be seen.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The snapshot could not be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// No thread could be started.
    #[error("start the encoding thread")]
    Thread(#[source] std::io::Error),
}

/// Dumps a table into `out`. Memory is that of three runs, however large the table.
///
/// # Errors
/// Where the dump fails or `out` takes no more; what was written is then no snapshot.
///
/// # Panics
/// Where the encoding thread does.
pub fn take<W: Write + Send>(
    source: &dyn Observe,
    header: &Header,
    out: W,
    compression: Compression,
    progress: impl FnMut(u64) + Send,
) -> Result<(W, Trailer), TakeError> {
    let (full, to_encode) = sync_channel(WAITING);
    let (emptied, to_fill) = channel();
    thread::scope(|scope| {
        let encoder = thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn_scoped(scope, move || {
                encode_runs(out, header, compression, &to_encode, &emptied)
            })
            .map_err(TakeError::Thread)?;
        let mut filler = Filler {
            run: Run::default(),
            full: Some(full),
            to_fill,
            flows: 0,
            progress,
        };
        let dumped = source.dump(&mut [&mut filler]);
        filler.finish();
        let written = encoder
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // A full disk is why the dump's result does not matter any more.
        let writer = written?;
        Ok(writer.finish(dumped?)?)
    })
}

/// Fills runs on the dump's thread.
struct Filler<P> {
    run: Run,
    /// `None` once nobody takes runs any more.
    full: Option<SyncSender<Run>>,
    to_fill: Receiver<Run>,
    flows: u64,
    progress: P,
}

impl<P: FnMut(u64) + Send> Visit for Filler<P> {
    fn visit(&mut self, record: &Record<'_>) {
        if self.full.is_none() {
            return;
        }
        self.run.push(record);
        self.flows += 1;
        if self.flows.is_multiple_of(PROGRESS) {
            (self.progress)(self.flows);
        }
        if self.run.is_full() {
            self.send();
        }
    }
}

impl<P> Filler<P> {
    fn send(&mut self) {
        let next = self.to_fill.try_recv().unwrap_or_default();
        let run = std::mem::replace(&mut self.run, next);
        if let Some(full) = &self.full
            && full.send(run).is_err()
        {
            self.full = None;
        }
    }

    fn finish(mut self) {
        if !self.run.is_empty() {
            self.send();
        }
    }
}

fn encode_runs<W: Write>(
    out: W,
    header: &Header,
    compression: Compression,
    runs: &Receiver<Run>,
    emptied: &Sender<Run>,
) -> Result<Writer<W>, SnapshotError> {
    let mut writer = Writer::new(out, header, compression)?;
    let mut encoded = EncodedRun::default();
    for mut run in runs {
        encoded = encode(&mut run, compression, encoded)?;
        writer.run(&encoded)?;
        run.clear();
        // The last runs come back when nobody fills runs any more.
        let _ = emptied.send(run);
    }
    Ok(writer)
}
