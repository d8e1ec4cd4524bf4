//! Ends what would go on for ever when somebody asks for it: SIGINT, SIGTERM.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// Whether the end was asked for. Asked for a second time, the process ends at once.
pub(super) struct Ending {
    asked: Arc<AtomicBool>,
    told: UnixStream,
    tell: UnixStream,
}

impl Ending {
    /// Catches the signals from now on.
    pub(super) fn catch() -> io::Result<Self> {
        let (told, tell) = UnixStream::pair()?;
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order, so that the first signal does not find the flag of its own setting.
            flag::register_conditional_default(signal, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
            low_level::pipe::register(signal, tell.try_clone()?)?;
        }
        Ok(Self { asked, told, tell })
    }

    /// Asks for it.
    pub(super) fn ask(&self) {
        // Nobody reads what is written, so a second time would in the end wait for ever.
        if !self.asked.swap(true, Ordering::Relaxed) {
            let _ = (&self.tell).write(&[0]);
        }
    }

    /// Whether it was asked for.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Waits for so long, or until it is asked for.
    pub(super) fn wait(&self, time: Duration) -> io::Result<()> {
        let time = Timespec::try_from(time).ok();
        let mut sources = [PollFd::new(&self.told, PollFlags::IN)];
        match poll(&mut sources, time.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Readable from when it is asked for.
impl AsFd for Ending {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.told.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_may_ask_for_the_end_and_none_waits_for_another() {
        let ending = Ending::catch().unwrap();
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            (0..10_000).for_each(|_| ending.ask());
            let _ = done.send(ending.is_asked());
        });
        assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(true));
    }
}
