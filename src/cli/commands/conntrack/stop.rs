//! What ends a run before its end, in the tool's words where scripts look for them.

use std::io;

use rustix::io::Errno;

use crate::cli::terminal::say;
use crate::conntrack::line::UsageError;
use crate::conntrack::options::Verb;
use crate::conntrack::trap::Trap;
use crate::kernel::{SocketError, SweepError};
use crate::observe::ObserveError;

/// The tool's name and version, as every line of it starts with.
pub(super) const TOOL: &str = "conntrack v1.4.9 (conntrack-tools)";

const DENIED: &str = "sorry, you must be root or get CAP_NET_ADMIN capability to do this";

/// Says a line on stderr under the tool's name.
pub(super) fn say_as_the_tool(text: &str) {
    say!("{TOOL}: {text}");
}

/// Why a run ended early.
#[derive(Debug)]
pub(super) struct Stop {
    code: u8,
    message: String,
    hints: Vec<String>,
}

impl Stop {
    /// The operation failed.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self {
            code: 1,
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// The line cannot be meant like this.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: 2,
            ..Self::failed(message)
        }
    }

    /// The line would do more than it says.
    pub(super) fn trapped(traps: &[Trap]) -> Self {
        let mut all = traps.iter().map(ToString::to_string);
        let mut stop = Self::usage(format!("refused: {}", all.next().unwrap_or_default()));
        stop.hints = all.collect();
        stop.hints
            .push("`--like-conntrack` in the line has it done as conntrack does".to_owned());
        stop
    }

    /// Adds a way out.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Names where it happened.
    pub(super) fn at(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// The kernel refused a request.
    pub(super) fn kernel(error: &SocketError, verb: Verb) -> Self {
        let is = |errno: Errno| error.errno() == Some(errno.raw_os_error());
        let creates = matches!(verb, Verb::Create | Verb::Add);
        let why = if is(Errno::PERM) || is(Errno::ACCESS) {
            DENIED.to_owned()
        } else if is(Errno::EXIST) && verb == Verb::Create {
            "Such conntrack exists, try -U to update".to_owned()
        } else if is(Errno::NOENT) && (creates || matches!(verb, Verb::Get | Verb::Delete)) {
            "such conntrack doesn't exist".to_owned()
        } else if is(Errno::TIME) && creates {
            "conntrack has expired".to_owned()
        } else if is(Errno::INVAL) {
            match error {
                SocketError::Refused { sentence, .. } if !sentence.is_empty() => {
                    format!("invalid parameters: {sentence}")
                }
                _ => "invalid parameters".to_owned(),
            }
        } else if let SocketError::Refused {
            errno, sentence, ..
        } = error
        {
            let name = io::Error::from_raw_os_error(*errno).to_string();
            // Without ` (os error 95)`, which the tool does not say.
            let name = name.split(" (os error").next().unwrap_or_default();
            if sentence.is_empty() {
                name.to_owned()
            } else {
                format!("{name}: {sentence}")
            }
        } else {
            error.to_string()
        };
        Self::failed(format!("Operation failed: {why}"))
    }

    /// The exit code.
    pub(super) fn code(&self) -> u8 {
        self.code
    }

    /// Says why, and what helps.
    pub(super) fn print(&self) {
        if self.message.is_empty() {
            return;
        }
        say_as_the_tool(&self.message);
        for hint in &self.hints {
            say!("hint: {hint}");
        }
        if self.code == 2 {
            say!("Try `conntrack -h' or 'conntrack --help' for more information.");
        }
    }
}

impl From<UsageError> for Stop {
    fn from(error: UsageError) -> Self {
        Self {
            code: error.code,
            message: error.to_string(),
            hints: Vec::new(),
        }
    }
}

impl From<ObserveError> for Stop {
    fn from(error: ObserveError) -> Self {
        match error {
            ObserveError::Permission(_) => Self::failed(format!("Operation failed: {DENIED}")),
            ObserveError::Failed { what, source } => {
                Self::failed(format!("Operation failed: {what}: {source}"))
            }
            ObserveError::Absent(message) | ObserveError::Damaged(message) => {
                Self::failed(format!("Operation failed: {message}"))
            }
        }
    }
}

impl From<SweepError> for Stop {
    fn from(error: SweepError) -> Self {
        match error {
            SweepError::Socket(error) => Self::kernel(&error, Verb::Delete),
            error => Self::failed(format!("Operation failed: {error}")),
        }
    }
}

/// A reader that has seen enough is no failure; a full disk is one.
impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                code: 0,
                message: String::new(),
                hints: Vec::new(),
            };
        }
        Self::failed(format!("output could not be written: {error}"))
    }
}
