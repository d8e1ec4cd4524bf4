//! The terminal: colour, width, and progress for work that lasts.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Writes a line to stderr. A lost terminal or a full disk keeps nothing from being done: unlike
/// `eprintln!` this never panics.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(anstream::stderr(), $($text)*);
    }};
}
pub(in crate::cli) use say;

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Sets the choice for stdout and stderr.
pub fn choose_color(color: Color) {
    match color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// Columns of text that is folded to fit: those of the terminal on stdout, else 100.
#[must_use]
pub fn width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout())
        .map(|size| usize::from(size.ws_col))
        .ok()
        .filter(|columns| *columns >= 40)
        .unwrap_or(100)
}

/// A line on stderr that tells what is being done, from the first second on; nothing where stderr
/// is no terminal, as in a pipe or under systemd.
pub struct Progress {
    what: String,
    started: Instant,
    shown: bool,
    enabled: bool,
    last: Instant,
}

/// Work shorter than this shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);
const REDRAW: Duration = Duration::from_millis(100);

impl Progress {
    /// Starts the clock; draws nothing yet. `quiet` keeps it silent.
    #[must_use]
    pub fn start(what: impl Into<String>, quiet: bool) -> Self {
        let now = Instant::now();
        Self {
            what: what.into(),
            started: now,
            shown: false,
            enabled: !quiet && std::io::stderr().is_terminal(),
            last: now,
        }
    }

    /// Says how far it is; draws at most ten times a second.
    pub fn update(&mut self, done: u64, total: Option<u64>) {
        let now = Instant::now();
        if !self.enabled
            || now - self.started < PATIENCE
            || (self.shown && now - self.last < REDRAW)
        {
            return;
        }
        self.shown = true;
        self.last = now;
        let of = total.filter(|t| *t > 0).map_or_else(String::new, |total| {
            format!(" of {total} ({} %)", (done * 100 / total).min(100))
        });
        // A progress line that cannot be drawn is not worth an error.
        let _ = write!(std::io::stderr(), "\r\x1b[K{}: {done}{of}", self.what);
        let _ = std::io::stderr().flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
            let _ = std::io::stderr().flush();
        }
    }
}
