//! Many changes, sent in batches from a thread of their own while the caller goes on looking.
//!
//! ```text
//! feeder --push--> batch --bounded channel--> thread: hook, send, read every answer, count
//! ```
//!
//! A batch asks for an acknowledgement of its last message only; the kernel answers failures one
//! by one anyway. It handles the whole batch before `sendmsg` returns, so every answer there will
//! ever be is waiting then. What has no answer was done, if the last message was acknowledged and
//! no answer was lost; else its outcome is unknown.

use std::io;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::encode::Change;
use super::message::{self, NLM_F_ACK};
use super::socket::{BUFFER, Socket, SocketError};
use super::stats;
use super::tally::{Outcome, Tally};
use crate::flow::FlowKey;

/// Bytes at which a batch is sent. Below 16 KiB system calls show, above 200 KiB the kernel does
/// not let others run in between.
const BATCH_BYTES: usize = 64 * 1024;

/// More than any one request needs.
const LARGEST_REQUEST: usize = 1024;

/// Bytes of receive buffer that one queued answer costs, by the kernel's accounting.
const ANSWER_ROOM: usize = 832;

/// Receive buffer asked for; the kernel doubles it.
const RECEIVE_BYTES: usize = 2 * 1024 * 1024;

/// Send buffer asked for.
const SEND_BYTES: usize = 1024 * 1024;

/// Full batches that may wait for the sender.
const WAITING: usize = 2;

/// Batches a second of a paced sweep, at least: what each may do at once is short.
const BURSTS: u32 = 20;

const OPERATION: &str = "send a batch of changes over ctnetlink";

/// Why a sweep could not start, or went no further.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The kernel cannot be spoken to.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The hook refused a batch; neither it nor any later one was sent.
    #[error("record a batch before it is sent: {0}")]
    Hook(#[source] io::Error),
    /// No thread could be started.
    #[error("start the sending thread: {0}")]
    Thread(#[source] io::Error),
}

/// A batch about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Tag and key of each change, in the order in which they go out.
    pub changes: &'a [(u32, FlowKey)],
    /// What the feeder wrote with [`Feeder::record`] for these changes.
    pub record: &'a [u8],
}

/// Called, on the sending thread, with each batch before it is sent; an error keeps it and all
/// later ones back.
pub type BeforeBatch = Box<dyn FnMut(&Outgoing<'_>) -> io::Result<()> + Send>;

/// A batch that was sent and answered, or could not be sent.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// Tag and key of each change, as the hook before the batch saw them.
    pub changes: &'a [(u32, FlowKey)],
    /// What was written to [`Feeder::record`] for the batch.
    pub record: &'a [u8],
    /// For each of them, whether [`Feeder::record`] was written for it.
    recorded: &'a [bool],
    /// For each of them, whether it certainly was not made.
    unmade: &'a [bool],
}

impl Answered<'_> {
    /// For each change that came with a record, in order: whether it was made, as far as is known.
    /// False where the kernel refused it, had no such entry, or never got it.
    pub fn made(&self) -> impl Iterator<Item = bool> {
        let both = self.recorded.iter().zip(self.unmade);
        both.filter(|(recorded, _)| **recorded)
            .map(|(_, unmade)| !unmade)
    }
}

/// Called, on the sending thread, with each batch that was to be sent.
pub type AfterBatch = Box<dyn FnMut(&Answered<'_>) + Send>;

/// How a sweep goes.
#[derive(Default)]
pub struct SweepOptions {
    /// Changes a second; as fast as the kernel goes without.
    pub pace: Option<NonZeroU32>,
    /// Called before each batch.
    pub before: Option<BeforeBatch>,
    /// Called after each batch.
    pub after: Option<AfterBatch>,
    /// Messages a batch, instead of what the room for answers holds. Above that, answers of
    /// failed changes get lost, and their outcome is counted as unknown.
    pub batch_messages: Option<NonZeroU32>,
    /// Bytes of receive buffer to ask for, instead of 2 MiB.
    pub receive_bytes: Option<usize>,
}

impl std::fmt::Debug for SweepOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SweepOptions")
            .field("pace", &self.pace)
            .field("before", &self.before.is_some())
            .field("after", &self.after.is_some())
            .field("batch_messages", &self.batch_messages)
            .field("receive_bytes", &self.receive_bytes)
            .finish()
    }
}

/// Requests of one datagram.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where the last message starts.
    last: usize,
    /// Sequence number of the first message; the others follow it.
    sequence: u32,
    changes: Vec<(u32, FlowKey)>,
    /// As many as `changes`.
    messages: u32,
    record: Vec<u8>,
    /// Length of `record` behind the last change.
    record_end: usize,
    /// For each change, whether `record` grew for it.
    recorded: Vec<bool>,
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        self.changes.clear();
        self.messages = 0;
        self.record.clear();
        self.record_end = 0;
        self.recorded.clear();
    }
}

/// A running sweep. See the module's own page.
#[derive(Debug)]
pub struct Sweep {
    full: Option<SyncSender<Batch>>,
    thread: Option<JoinHandle<Tally>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Batches to be filled again.
    empty: Mutex<Vec<Batch>>,
    sequence: AtomicU32,
    /// Nothing more may be sent.
    stopped: AtomicBool,
    batch_bytes: usize,
    batch_messages: u32,
}

impl Sweep {
    /// Starts a sweep in the calling thread's network namespace.
    ///
    /// # Errors
    /// Where the caller may not change the table, which is asked first: the kernel would answer
    /// a refused batch once and leave the outcome of its other messages open.
    pub fn start(options: SweepOptions) -> Result<Self, SweepError> {
        let mut socket = Socket::netfilter()?;
        stats::table(&mut socket)?;
        let room =
            socket.widen_receive(options.receive_bytes.unwrap_or(RECEIVE_BYTES)) / ANSWER_ROOM;
        let send = socket.widen_send(SEND_BYTES);
        // One is for the acknowledgement.
        let mut messages = u32::try_from(room.saturating_sub(1)).unwrap_or(u32::MAX);
        if let Some(wanted) = options.batch_messages {
            messages = wanted.get();
        }
        if let Some(pace) = options.pace {
            messages = messages.min(pace.get() / BURSTS);
        }
        let shared = Arc::new(Shared {
            empty: Mutex::new(Vec::new()),
            sequence: AtomicU32::new(1 << 16),
            stopped: AtomicBool::new(false),
            // The kernel refuses datagrams above the buffer less 32 bytes.
            batch_bytes: BATCH_BYTES.min(send.saturating_sub(32)),
            batch_messages: messages.max(1),
        });
        let (full, waiting) = sync_channel(WAITING);
        let mut sender = Sender {
            socket,
            shared: Arc::clone(&shared),
            before: options.before,
            after: options.after,
            pace: options.pace,
            due: Instant::now(),
            buffer: vec![0; BUFFER],
            answered: Vec::new(),
            unmade: Vec::new(),
            tally: Tally::default(),
        };
        let thread = thread::Builder::new()
            .name("sweep".to_owned())
            .spawn(move || {
                sender.run(&waiting);
                sender.tally
            })
            .map_err(SweepError::Thread)?;
        Ok(Self {
            full: Some(full),
            thread: Some(thread),
            shared,
        })
    }

    /// A way to push changes. Each dumping thread has its own; batches never mix feeders.
    pub fn feeder(&self) -> Feeder<'_> {
        Feeder {
            sweep: self,
            batch: self.shared.take(),
        }
    }

    /// Whether the sweep has stopped on an error; what is pushed from then on is not sent.
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Relaxed)
    }

    /// Waits until everything pushed has been sent and answered.
    ///
    /// # Panics
    /// If the hook panicked.
    pub fn finish(mut self) -> Tally {
        self.full = None;
        let thread = self.thread.take().expect("only finish takes the thread");
        thread
            .join()
            .unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    }
}

impl Drop for Sweep {
    /// A sweep that is not finished sends nothing more.
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.full = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn take(&self) -> Batch {
        let pool = &mut *self.empty.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = pool.pop().unwrap_or_else(|| Batch {
            bytes: Vec::with_capacity(self.batch_bytes + LARGEST_REQUEST),
            ..Batch::default()
        });
        let count = self.batch_messages;
        batch.sequence = self.sequence.fetch_add(count, Ordering::Relaxed);
        batch
    }

    fn give_back(&self, mut batch: Batch) {
        batch.clear();
        let pool = &mut *self.empty.lock().unwrap_or_else(PoisonError::into_inner);
        pool.push(batch);
    }
}

/// Pushes changes into a [`Sweep`]. What is left in it goes out when it is dropped, unless its
/// thread is panicking.
#[derive(Debug)]
pub struct Feeder<'s> {
    sweep: &'s Sweep,
    batch: Batch,
}

impl Feeder<'_> {
    /// Adds a change under a tag, by which the tally counts. Waits where the sender is behind.
    pub fn push(&mut self, tag: u32, change: &Change<'_>) {
        let batch = &mut self.batch;
        batch.last = batch.bytes.len();
        let sequence = batch.sequence.wrapping_add(batch.messages);
        change.encode(sequence, &mut batch.bytes);
        batch.changes.push((tag, change.key()));
        batch.recorded.push(batch.record.len() > batch.record_end);
        batch.record_end = batch.record.len();
        batch.messages += 1;
        let shared = &self.sweep.shared;
        if batch.bytes.len() + LARGEST_REQUEST > shared.batch_bytes
            || batch.messages >= shared.batch_messages
        {
            self.flush();
        }
    }

    /// Bytes that the hook gets together with the change that is pushed next.
    pub fn record(&mut self) -> &mut Vec<u8> {
        &mut self.batch.record
    }

    /// Hands over what has been pushed so far.
    pub fn flush(&mut self) {
        if self.batch.changes.is_empty() {
            return;
        }
        let batch = std::mem::replace(&mut self.batch, self.sweep.shared.take());
        if let Some(full) = &self.sweep.full {
            // The receiving end lives until every sender is gone, unless the hook panicked, which
            // finish() passes on.
            let _ = full.send(batch);
        }
    }
}

impl Drop for Feeder<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.flush();
        }
    }
}

/// The thread's side.
struct Sender {
    socket: Socket,
    shared: Arc<Shared>,
    before: Option<BeforeBatch>,
    after: Option<AfterBatch>,
    pace: Option<NonZeroU32>,
    /// When the next batch may go out.
    due: Instant,
    buffer: Vec<u8>,
    answered: Vec<bool>,
    /// For each change of a batch, whether it certainly was not made.
    unmade: Vec<bool>,
    tally: Tally,
}

impl Sender {
    fn run(&mut self, waiting: &Receiver<Batch>) {
        for mut batch in waiting {
            self.wait(batch.messages);
            if self.shared.stopped.load(Ordering::Relaxed) {
                self.count(&batch, Outcome::Unsent);
            } else {
                self.unmade.clear();
                self.unmade.resize(batch.changes.len(), false);
                if let Err(error) = self.act(&mut batch) {
                    self.shared.stopped.store(true, Ordering::Relaxed);
                    self.count(&batch, Outcome::Unsent);
                    self.tally.stopped = Some(error);
                    self.unmade.fill(true);
                }
                if let Some(after) = &mut self.after {
                    after(&Answered {
                        changes: &batch.changes,
                        record: &batch.record,
                        recorded: &batch.recorded,
                        unmade: &self.unmade,
                    });
                }
            }
            self.shared.give_back(batch);
        }
    }

    /// Sends one batch and counts its answers. An error means that nothing of it was sent.
    fn act(&mut self, batch: &mut Batch) -> Result<(), SweepError> {
        if let Some(before) = &mut self.before {
            let outgoing = Outgoing {
                changes: &batch.changes,
                record: &batch.record,
            };
            before(&outgoing).map_err(SweepError::Hook)?;
        }
        let flags = batch.last + 6..batch.last + 8;
        let field: [u8; 2] = batch.bytes[flags.clone()]
            .try_into()
            .expect("the range has two bytes");
        let asked = u16::from_ne_bytes(field) | NLM_F_ACK;
        batch.bytes[flags].copy_from_slice(&asked.to_ne_bytes());
        self.socket.send(&batch.bytes, OPERATION)?;
        self.answers(batch);
        Ok(())
    }

    fn wait(&mut self, changes: u32) {
        let Some(pace) = self.pace else {
            return;
        };
        if self.shared.stopped.load(Ordering::Relaxed) {
            return;
        }
        let now = Instant::now();
        if let Some(left) = self.due.checked_duration_since(now) {
            thread::sleep(left);
        }
        self.due = self.due.max(now) + Duration::from_secs(1) * changes / pace.get();
    }

    /// Reads every answer that waits, and counts each change.
    fn answers(&mut self, batch: &Batch) {
        self.answered.clear();
        self.answered.resize(batch.changes.len(), false);
        let last = batch.changes.len() - 1;
        let mut whole = true;
        loop {
            let datagram = match self.socket.receive_now(&mut self.buffer, OPERATION) {
                Ok(Some(datagram)) => datagram,
                Ok(None) => break,
                // Answers were dropped for want of room. The kernel says so once and goes on.
                Err(error) if error.errno() == Some(Errno::NOBUFS.raw_os_error()) => {
                    whole = false;
                    continue;
                }
                Err(_) => {
                    whole = false;
                    break;
                }
            };
            for message in message::messages(datagram) {
                let Ok(message) = message else {
                    whole = false;
                    break;
                };
                let index = message.sequence.wrapping_sub(batch.sequence) as usize;
                let (Some(answer), Some((tag, key))) = (message.answer(), batch.changes.get(index))
                else {
                    continue;
                };
                if std::mem::replace(&mut self.answered[index], true) {
                    continue;
                }
                self.unmade[index] = answer.errno != 0;
                self.tally.answer(*tag, key, answer);
            }
        }
        // The last message is always answered; without that, what came before it may not even
        // have been read.
        let outcome = if whole && self.answered[last] {
            Outcome::Done
        } else {
            Outcome::Unknown
        };
        for ((tag, _), answered) in batch.changes.iter().zip(&self.answered) {
            if !answered {
                self.tally.add(*tag, outcome);
            }
        }
    }

    fn count(&mut self, batch: &Batch, outcome: Outcome) {
        for (tag, _) in &batch.changes {
            self.tally.add(*tag, outcome);
        }
    }
}
