//! A dump to a snapshot: the caller's thread dumps, a second one sorts, encodes, packs and writes.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::form::Form;
use crate::observe::{Header, Observe, ObserveError, Record, Visit};
use crate::policy::Detail;
use crate::snapshot::{
    Aggregate, EncodedRun, Run, SnapshotError, Trailer, Writer, encode, write_aggregate,
};

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

/// Dumps a table into `out`. Memory is that of three runs, and of an aggregate its groups, however
/// large the table.
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
    form: &Form,
    progress: impl FnMut(u64) + Send,
) -> Result<(W, Trailer), TakeError> {
    let (full, to_encode) = sync_channel(WAITING);
    let (emptied, to_fill) = channel();
    thread::scope(|scope| {
        let encoder = thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn_scoped(scope, move || match form.detail {
                Detail::Full => encode_runs(out, header, form, &to_encode, &emptied),
                Detail::Aggregate => {
                    let groups = group_runs(header, form, &to_encode, &emptied);
                    Ok(Encoded::Groups(out, Box::new(groups)))
                }
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
        match written? {
            Encoded::Flows(writer) => Ok(writer.finish(dumped?)?),
            Encoded::Groups(out, groups) => {
                let mut header = header.clone();
                if let Some(redactor) = &mut form.redactor.clone() {
                    redactor.header(&mut header);
                }
                let packed = form.compression;
                Ok(write_aggregate(out, &header, packed, *groups, dumped?)?)
            }
        }
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

/// What the second thread leaves to be finished.
enum Encoded<W> {
    /// All of it is written but the trailer.
    Flows(Writer<W>),
    /// Nothing is written yet.
    Groups(W, Box<Aggregate>),
}

fn encode_runs<W: Write>(
    out: W,
    header: &Header,
    form: &Form,
    runs: &Receiver<Run>,
    emptied: &Sender<Run>,
) -> Result<Encoded<W>, SnapshotError> {
    let mut redactor = form.redactor.clone();
    let mut header = header.clone();
    if let Some(redactor) = &mut redactor {
        redactor.header(&mut header);
    }
    let mut writer = Writer::new(out, &header, form.compression)?;
    let mut encoded = EncodedRun::default();
    for mut run in runs {
        if let Some(redactor) = &mut redactor {
            run.redact(redactor);
        }
        encoded = encode(&mut run, form.compression, encoded)?;
        writer.run(&encoded)?;
        run.clear();
        // The last runs come back when nobody fills runs any more.
        let _ = emptied.send(run);
    }
    Ok(Encoded::Flows(writer))
}

fn group_runs(
    header: &Header,
    form: &Form,
    runs: &Receiver<Run>,
    emptied: &Sender<Run>,
) -> Aggregate {
    let mut groups = Aggregate::new(header, form.redactor.clone());
    for mut run in runs {
        for flow in run.flows() {
            groups.add(flow);
        }
        run.clear();
        let _ = emptied.send(run);
    }
    groups
}
