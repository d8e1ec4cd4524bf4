//! The terminal: taken, drawn on, and given back on every way out; keys and signals.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::style::force_color_output;
use ratatui::crossterm::terminal::{Clear, ClearType};
use ratatui::crossterm::{event, execute};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::{flag, low_level};

use super::Told;
use super::model::Model;
use super::theme::Theme;
use super::view;

/// The terminal while it is ours.
pub(super) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    /// Takes the terminal. A panic of any thread gives it back before it is told.
    pub(super) fn enter(colors: bool) -> io::Result<Self> {
        // The library has an own opinion on NO_COLOR, and `--color always` is stronger.
        force_color_output(colors);
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Draws, and tells the model what of it was to be seen.
    pub(super) fn draw(&mut self, model: &mut Model, theme: Theme) -> io::Result<()> {
        let mut end = 0;
        let drawn = self
            .terminal
            .draw(|frame| end = view::draw(model, theme, frame))?;
        model.drawn(drawn.area.height, end);
        Ok(())
    }

    /// The next draw draws everything. The library's own way asks the terminal where its cursor is,
    /// and not every terminal answers.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        execute!(io::stdout(), Clear(ClearType::All))?;
        self.terminal = DefaultTerminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(())
    }

    /// Gives the terminal back while something else has it.
    pub(super) fn suspended(&mut self, meanwhile: impl FnOnce()) -> io::Result<()> {
        give_back();
        meanwhile();
        self.terminal = ratatui::try_init()?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// A terminal that is gone needs nothing back.
fn give_back() {
    let _ = ratatui::try_restore();
    let _ = execute!(io::stdout(), Show);
}

/// How often it is looked whether the terminal changed its size.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Who reads the terminal: the thread below, unless somebody else does.
#[derive(Clone, Default)]
pub(super) struct Turn {
    is_others: Arc<AtomicBool>,
    reading: Arc<Mutex<()>>,
}

impl Turn {
    /// Nothing is read here meanwhile.
    pub(super) fn leave_to(&self, other: impl FnOnce()) {
        self.is_others.store(true, Ordering::SeqCst);
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        other();
        self.is_others.store(false, Ordering::SeqCst);
        drop(reading);
    }
}

/// Tells what is typed, from a thread of its own, which ends with the process.
pub(super) fn listen(told: Sender<Told>, turn: Turn) -> io::Result<()> {
    thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            let _: Option<()> = listening(&told, &turn);
            let _ = told.send(Told::Lost);
        })
        .map(drop)
}

/// Ends where the terminal is gone. It is looked for that here, since the library would read a
/// terminal that has hung up again and again.
fn listening(told: &Sender<Told>, turn: &Turn) -> Option<()> {
    let stdin = io::stdin();
    loop {
        if turn.is_others.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        let _reading = turn.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sources = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut sources, Some(&LOOK)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return None,
        }
        let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        if sources[0].revents().intersects(gone) {
            return None;
        }
        while event::poll(Duration::ZERO).ok()? {
            told.send(Told::Typed(event::read().ok()?)).ok()?;
        }
    }
}

/// Signals that end the program or stop it: not before the terminal was given back.
pub(super) struct Signals {
    ending: Arc<AtomicUsize>,
    stopping: Arc<AtomicUsize>,
    /// Signals do what they do by default.
    is_default: Arc<AtomicBool>,
}

impl Signals {
    /// From here on they are only noted.
    pub(super) fn catch() -> io::Result<Self> {
        let signals = Self {
            ending: Arc::default(),
            stopping: Arc::default(),
            is_default: Arc::default(),
        };
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            flag::register_conditional_default(signal, Arc::clone(&signals.is_default))?;
            let number = usize::try_from(signal).unwrap_or(0);
            flag::register_usize(signal, Arc::clone(&signals.ending), number)?;
        }
        flag::register_conditional_default(SIGTSTP, Arc::clone(&signals.is_default))?;
        flag::register_usize(SIGTSTP, Arc::clone(&signals.stopping), 1)?;
        Ok(signals)
    }

    /// The signal that ends the program, if one came.
    pub(super) fn ending(&self) -> Option<i32> {
        let signal = self.ending.load(Ordering::SeqCst);
        i32::try_from(signal).ok().filter(|signal| *signal != 0)
    }

    /// The terminal is as it was before: a signal may end the program at once.
    pub(super) fn by_default(&self, work: impl FnOnce()) {
        self.is_default.store(true, Ordering::SeqCst);
        work();
        self.is_default.store(false, Ordering::SeqCst);
        // Where it came meanwhile, it stopped the program already.
        self.stopping.store(0, Ordering::SeqCst);
    }

    /// Whether the program is to stop until it is continued.
    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst) != 0
    }

    /// Stops; returns when it is continued.
    pub(super) fn stop(&self) {
        let _ = low_level::emulate_default_handler(SIGTSTP);
        self.stopping.store(0, Ordering::SeqCst);
    }

    /// Ends as the signal alone would have done.
    pub(super) fn die_of(signal: i32) {
        let _ = low_level::emulate_default_handler(signal);
    }
}
