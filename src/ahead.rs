//! The flows of a snapshot, unpacked and parsed on a thread of its own while another one works on
//! those before them.

use std::io::{Read, Seek};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope};

use crate::flow::{Extra, Flow, OwnedExtra};
use crate::observe::Record;
use crate::snapshot::diff::Flows;
use crate::snapshot::{Snapshot, SnapshotError};

/// Flows that change threads together.
const BATCH: usize = 1024;

/// Full batches that wait.
const WAITING: usize = 4;

/// Some flows, with what few of them carry beside them.
#[derive(Default)]
struct Batch {
    /// [`Flow::extra`] is 1 + the place in `extras`, or 0.
    flows: Vec<Flow>,
    extras: Vec<OwnedExtra>,
}

impl Batch {
    fn push(&mut self, flow: &Flow, extra: &OwnedExtra) {
        let mut flow = *flow;
        if *extra != OwnedExtra::default() {
            self.extras.push(extra.clone());
            flow.extra = u32::try_from(self.extras.len()).expect("a batch is small");
        }
        self.flows.push(flow);
    }

    fn get(&self, at: usize) -> Option<Record<'_>> {
        let mut flow = *self.flows.get(at)?;
        let extra = (flow.extra as usize)
            .checked_sub(1)
            .map_or_else(Extra::default, |place| self.extras[place].borrow());
        flow.extra = 0;
        Some(Record {
            flow,
            extra,
            message: &[],
        })
    }

    fn clear(&mut self) {
        self.flows.clear();
        self.extras.clear();
    }
}

/// A snapshot that is read ahead.
pub struct Ahead {
    full: Receiver<Result<Batch, SnapshotError>>,
    emptied: Sender<Batch>,
    batch: Batch,
    at: usize,
}

impl Ahead {
    /// Starts to read. The thread ends with the flows, or when nobody takes them any more.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start<'scope, R: Read + Seek + Send>(
        scope: &'scope Scope<'scope, '_>,
        snapshot: &'scope mut Snapshot<R>,
    ) -> std::io::Result<Self> {
        let (send, full) = sync_channel(WAITING);
        let (emptied, to_fill) = channel();
        Builder::new()
            .name("read".to_owned())
            .spawn_scoped(scope, move || {
                if let Err(error) = read(snapshot, &send, &to_fill) {
                    // Whoever does not listen any more has an error of their own.
                    let _ = send.send(Err(error));
                }
            })?;
        Ok(Self {
            full,
            emptied,
            batch: Batch::default(),
            at: 0,
        })
    }
}

fn read<R: Read + Seek>(
    snapshot: &mut Snapshot<R>,
    full: &SyncSender<Result<Batch, SnapshotError>>,
    to_fill: &Receiver<Batch>,
) -> Result<(), SnapshotError> {
    let mut flows = snapshot.flows()?;
    loop {
        let mut batch = to_fill.try_recv().unwrap_or_default();
        batch.clear();
        while batch.flows.len() < BATCH {
            match flows.next_in_place()? {
                Some((flow, extra)) => batch.push(flow, extra),
                None => break,
            }
        }
        let is_last = batch.flows.len() < BATCH;
        if full.send(Ok(batch)).is_err() || is_last {
            return Ok(());
        }
    }
}

impl Flows for Ahead {
    fn next_flow(&mut self) -> Result<Option<Record<'_>>, SnapshotError> {
        while self.at >= self.batch.flows.len() {
            let Ok(next) = self.full.recv() else {
                return Ok(None);
            };
            let old = std::mem::replace(&mut self.batch, next?);
            self.at = 0;
            // The last batches come back when nobody fills them any more.
            let _ = self.emptied.send(old);
        }
        self.at += 1;
        Ok(self.batch.get(self.at - 1))
    }
}
