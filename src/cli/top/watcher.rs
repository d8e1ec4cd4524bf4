//! Looks at the table again and again, on a thread of its own.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use std::{error, io};

use rustix::time::{ClockId, clock_gettime};

use super::Told;
use super::look::{Ask, Look, Losses, Walk, pace};
use crate::history::History;
use crate::kernel::{Live, sets};
use crate::matcher::{Compiled, Context};
use crate::observe::{Header, Observe, ObserveError};
use crate::plan;
use crate::policy::{Members, Policy};

/// The other end of the thread; it ends when this does, or with the process.
pub(super) struct Watcher {
    asks: Sender<Ask>,
}

/// What the thread works with.
struct Eyes {
    live: Live,
    history: History,
    named: Option<(Policy, Vec<Members>)>,
    told: Sender<Told>,
}

impl Drop for Eyes {
    /// Also where the thread panicked: without it the screen would show the past for ever.
    fn drop(&mut self) {
        let _ = self.told.send(Told::Over);
    }
}

impl Watcher {
    /// Starts to look, in the calling thread's network namespace.
    pub(super) fn start(
        live: Live,
        header: Header,
        named: Option<(Policy, Vec<Members>)>,
        first: Ask,
        told: Sender<Told>,
    ) -> io::Result<Self> {
        let (asks, asked) = channel();
        let eyes = Eyes {
            live,
            history: header.history,
            named,
            told,
        };
        thread::Builder::new()
            .name("watcher".to_owned())
            .spawn(move || eyes.watch(first, &asked))?;
        Ok(Self { asks })
    }

    /// Something else is to be seen, now.
    pub(super) fn ask(&self, ask: Ask) {
        // Where the thread is gone, it has said so.
        let _ = self.asks.send(ask);
    }
}

impl Eyes {
    fn watch(self, mut ask: Ask, asked: &Receiver<Ask>) {
        let mut looked_for = None;
        loop {
            let began = Instant::now();
            let pause = if ask.paused && looked_for == Some(ask.version) {
                None
            } else {
                looked_for = Some(ask.version);
                let (told, pause) = match self.look(&ask) {
                    Ok(look) => {
                        let pause = look.pause;
                        (Told::Looked(Box::new(look)), pause)
                    }
                    Err(error) => (Told::Failed(words(&error)), ask.every),
                };
                if self.told.send(told).is_err() {
                    return;
                }
                Some(pause)
            };
            let next = match pause {
                Some(pause) => asked.recv_timeout(pause.saturating_sub(began.elapsed())),
                None => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                // Only the last of those that wait matters.
                Ok(next) => ask = asked.try_iter().last().unwrap_or(next),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn look(&self, ask: &Ask) -> Result<Look, ObserveError> {
        let began = cpu_time();
        let mut header = self.live.header()?;
        header.history.clone_from(&self.history);
        let named = self.named.as_ref().filter(|_| ask.names_sets);
        let (policy_sets, members) = match named {
            Some((policy, members)) => {
                let members = sets::read(policy, members.clone());
                let members = plan::members(policy, &members, &header);
                (policy.sets.as_slice(), members)
            }
            None => (&[][..], Vec::new()),
        };
        let context = Context::new(&header, policy_sets, &members);
        let filter = Compiled::new(&ask.predicate, &context, false);
        let mut walk = Walk::new(ask, &filter);
        // One walk at a time: two would be faster, and take as much of two cores.
        let dumped = self.live.dump(&mut [&mut walk])?;
        let seen = walk.finish();
        let flow = match &ask.flow {
            Some(key) => self.live.get(key)?,
            None => None,
        };
        let cost = cpu_time().saturating_sub(began);
        Ok(Look {
            version: ask.version,
            clock: chrono::Local::now().format("%H:%M:%S").to_string(),
            time_ns: header.time_ns,
            entries: header.count.unwrap_or(dumped.entries),
            limit: header.number("nf_conntrack_max").filter(|limit| *limit > 0),
            losses: Losses::of(&header.cpu),
            seen,
            flow,
            undecoded: dumped.undecoded,
            resized: dumped.resized,
            cost,
            pause: pace(ask.every, cost),
        })
    }
}

/// What this thread took of a core, the kernel's work for it included.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime)
        .try_into()
        .unwrap_or_default()
}

fn words(error: &ObserveError) -> String {
    let mut words = error.to_string();
    let mut source = error::Error::source(error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}
