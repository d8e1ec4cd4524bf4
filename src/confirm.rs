//! Waits for a person to confirm what a run wrote, so that a change that cuts somebody off undoes
//! itself.
//!
//! Only a yes is one: the end of the time, of the terminal or of the process put things back.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{QueueSelector, isatty, tcflush, tcgetpgrp};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::{flag, low_level};

use crate::report::Answer;
use crate::state::{RunName, State};

/// What ends the waiting. A stopped process could put nothing back, so that is one of them.
const SIGNALS: [i32; 5] = [SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGTSTP];

/// How often it is looked whether another process has confirmed the run.
const LOOK: Duration = Duration::from_millis(200);

/// Catches signals from when it is made, so that none ends the run between its writes and the
/// question.
pub struct Waiting {
    signals: UnixStream,
    caught: Arc<AtomicUsize>,
    /// Signals do again what they do by default.
    over: Arc<AtomicBool>,
}

impl Waiting {
    /// Catches the signals that end a process or stop it.
    ///
    /// # Errors
    /// Where that cannot be done.
    pub fn prepare() -> io::Result<Self> {
        let (signals, told) = UnixStream::pair()?;
        let (caught, over) = (Arc::default(), Arc::default());
        for signal in SIGNALS {
            flag::register_conditional_default(signal, Arc::clone(&over))?;
            flag::register_usize(
                signal,
                Arc::clone(&caught),
                usize::try_from(signal).unwrap_or(0),
            )?;
            low_level::pipe::register(signal, told.try_clone()?)?;
        }
        Ok(Self {
            signals,
            caught,
            over,
        })
    }

    /// Waits until the run is confirmed, or is not. What is asked of whom is the caller's affair;
    /// an answer is read from a terminal on stdin alone.
    pub fn wait(&self, state: &State, run: &RunName, within: Duration) -> Answer {
        let answer = self.answer(state, run, within);
        let commanded = state.end_waiting(run);
        let confirmed = match answer {
            Answer::Terminal => {
                state.forget_unconfirmed();
                answer
            }
            // It was in time, whatever else happened.
            _ if commanded => Answer::Command,
            // Until all is put back, no signal ends that either.
            Answer::Command => return Answer::TimedOut,
            other => return other,
        };
        self.over.store(true, Ordering::SeqCst);
        confirmed
    }

    /// There is nothing to confirm: signals do what they do by default, one that came meanwhile too.
    pub fn pass(&self, state: &State, run: &RunName) {
        state.end_waiting(run);
        state.forget_unconfirmed();
        self.over.store(true, Ordering::SeqCst);
        let caught = i32::try_from(self.caught.load(Ordering::SeqCst)).unwrap_or(0);
        if caught != 0 {
            let _ = low_level::raise(caught);
        }
    }

    fn answer(&self, state: &State, run: &RunName, within: Duration) -> Answer {
        let began = Instant::now();
        let stdin = io::stdin();
        let terminal = isatty(&stdin);
        loop {
            if state.is_confirmed(run) {
                return Answer::Command;
            }
            let Some(left) = within.checked_sub(began.elapsed()).filter(|d| !d.is_zero()) else {
                return Answer::TimedOut;
            };
            let step = Timespec::try_from(left.min(LOOK)).ok();
            // Reading in the background would stop the process.
            let asks = terminal && in_foreground(&stdin);
            let signals = PollFd::new(&self.signals, PollFlags::IN);
            let answers = PollFd::new(&stdin, PollFlags::IN);
            let mut sources = [signals, answers];
            let sources = &mut sources[..if asks { 2 } else { 1 }];
            match poll(sources, step.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => std::thread::sleep(left.min(LOOK)),
            }
            let ready = |index: usize| {
                let source = sources.get(index);
                source.is_some_and(|source| !source.revents().is_empty())
            };
            if ready(0) {
                let _ = (&self.signals).read(&mut [0; 8]);
                return Answer::Signal(name(self.caught.load(Ordering::SeqCst)).to_owned());
            }
            if ready(1) {
                return typed(&stdin);
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // What a signal ended is about to end by itself, with a report and a status.
        if self.caught.load(Ordering::SeqCst) == 0 {
            self.over.store(true, Ordering::SeqCst);
        }
    }
}

/// Forgets what was typed on a terminal on stdin until now: nobody was asked yet. What is typed once
/// the question is seen answers it, so this comes before the question.
pub fn forget_typed() {
    let stdin = io::stdin();
    if isatty(&stdin) {
        let _ = tcflush(&stdin, QueueSelector::IFlush);
    }
}

fn in_foreground(terminal: impl AsFd) -> bool {
    tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

fn typed(stdin: impl AsFd) -> Answer {
    let mut line = [0; 256];
    match rustix::io::read(stdin, &mut line) {
        // The end of input, as Ctrl-D or a lost line make it, is no yes.
        Ok(0) | Err(_) => Answer::TerminalLost,
        Ok(length) => meaning(&line[..length]),
    }
}

/// Enter, `y` and `yes` mean yes, everything else no.
fn meaning(line: &[u8]) -> Answer {
    let Some(line) = line.strip_suffix(b"\n") else {
        return Answer::TerminalLost;
    };
    match line.trim_ascii().to_ascii_lowercase().as_slice() {
        b"" | b"y" | b"yes" => Answer::Terminal,
        _ => Answer::Declined,
    }
}

fn name(signal: usize) -> &'static str {
    i32::try_from(signal)
        .ok()
        .and_then(low_level::signal_name)
        .unwrap_or("a signal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_and_yes_confirm_and_nothing_else_does() {
        for yes in ["\n", "y\n", "YES\n", " yes \r\n"] {
            assert_eq!(meaning(yes.as_bytes()), Answer::Terminal, "{yes:?}");
        }
        for no in ["n\n", "no\n", "ye\n", "yes please\n"] {
            assert_eq!(meaning(no.as_bytes()), Answer::Declined, "{no:?}");
        }
        assert_eq!(meaning(b"yes"), Answer::TerminalLost);
    }
}
