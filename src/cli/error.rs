//! What a command ends with: exit codes (POLICY 7), messages and hints.

use super::terminal::say;
use std::error::Error;
use std::io;

use anstyle::{AnsiColor, Style};

/// Exit code where something that was asked for could not be done, or not wholly.
pub(super) const INCOMPLETE: u8 = 4;
/// Exit code of a wrong command line (`EX_USAGE`).
pub(super) const USAGE: u8 = 64;
/// Exit code when another run holds the lock (`EX_TEMPFAIL`).
pub(super) const BUSY: u8 = 75;
/// Exit code when a privilege is missing (`EX_NOPERM`).
pub(super) const PERMISSION: u8 = 77;
/// Exit code of an invalid policy (`EX_CONFIG`).
pub(super) const POLICY: u8 = 78;

/// What a command that came to its end has to report. Several may hold at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one exit code")]
pub struct Outcome {
    /// Something that was to be done could not be done, or not wholly: exit 4.
    pub incomplete: bool,
    /// A value was read back different, or is contested: exit 5.
    pub disagrees: bool,
    /// A rule was refused by a rail: exit 3.
    pub refused: bool,
    /// Differences exist, and the caller asked to be told: exit 2.
    pub differences: bool,
}

impl Outcome {
    /// What holds of one or the other.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            incomplete: self.incomplete || other.incomplete,
            disagrees: self.disagrees || other.disagrees,
            refused: self.refused || other.refused,
            differences: self.differences || other.differences,
        }
    }

    /// The exit code: the first that holds of 4, 5, 3, 2, 0.
    #[must_use]
    pub fn code(self) -> u8 {
        if self.incomplete {
            4
        } else if self.disagrees {
            5
        } else if self.refused {
            3
        } else if self.differences {
            2
        } else {
            0
        }
    }
}

/// Why a command did not come to its end.
#[derive(Debug)]
pub struct CliError {
    code: u8,
    message: String,
    hints: Vec<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl CliError {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hints: Vec::new(),
            source: None,
        }
    }

    /// All that is to be said was said; the exit code remains.
    pub(super) fn silent(code: u8) -> Self {
        Self::new(code, "")
    }

    /// Anything without an exit code of its own.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(1, message)
    }

    /// The command line contradicts itself.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, message)
    }

    /// Another run holds the lock.
    pub fn busy(message: impl Into<String>) -> Self {
        Self::new(BUSY, message)
    }

    /// A privilege is missing.
    pub fn permission(message: impl Into<String>) -> Self {
        Self::new(PERMISSION, message)
    }

    /// The policy is invalid; its diagnostics were printed already.
    pub fn policy(message: impl Into<String>) -> Self {
        Self::new(POLICY, message)
    }

    /// A rail forbids it, and nothing was done.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(3, message)
    }

    /// The run could not be finished.
    pub fn incomplete(message: impl Into<String>) -> Self {
        Self::new(INCOMPLETE, message)
    }

    /// A snapshot comes through a pipe.
    pub(super) fn not_seekable(what: impl std::fmt::Display) -> Self {
        Self::failed(format!(
            "{what}: a snapshot is read from a file, not from a pipe"
        ))
        .hint("`conntidy snapshot take --out FILE` writes one; `cat > FILE` keeps what comes through a pipe")
    }

    /// Says in which of several namespaces it went wrong.
    pub(super) fn in_namespace(mut self, name: &str) -> Self {
        if !self.message.is_empty() {
            self.message = format!("in the network namespace {name}: {}", self.message);
        }
        self
    }

    /// Adds the underlying error; its chain is printed line by line.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds a way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Prints the message, its causes and its hints on stderr.
    pub fn print(&self) {
        if self.message.is_empty() {
            return;
        }
        let error = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        let hint = Style::new().bold().fg_color(Some(AnsiColor::Cyan.into()));
        say!("{error}error{error:#}: {}", self.message);
        let mut cause = self.source.as_deref().map(|source| source as &dyn Error);
        while let Some(error) = cause {
            say!("  caused by: {error}");
            cause = error.source();
        }
        for text in &self.hints {
            say!("{hint}hint{hint:#}: {text}");
        }
    }
}

/// What was to be shown, where the exit code has more to say: a reader that left keeps nothing
/// from being told by it.
pub(super) fn shown(result: Result<(), CliError>) -> Result<(), CliError> {
    match result {
        Err(error) if error.code == 0 => Ok(()),
        result => result,
    }
}

impl From<crate::config::ConfigError> for CliError {
    fn from(error: crate::config::ConfigError) -> Self {
        use crate::config::ConfigError;
        let message = error.to_string();
        match error {
            ConfigError::Unreadable { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Self::permission(message).because(source)
            }
            ConfigError::Unreadable { source, .. } => Self::policy(message).because(source),
            ConfigError::Absent { .. } => Self::policy(message)
                .hint("name one with `--policy FILE`, or start from one of the examples"),
        }
    }
}

impl From<crate::observe::ObserveError> for CliError {
    fn from(error: crate::observe::ObserveError) -> Self {
        use crate::observe::ObserveError;
        match error {
            ObserveError::Permission(message) => Self::permission(message)
                .hint(
                    "run as root, or grant CAP_NET_ADMIN in the network namespace's user namespace",
                )
                .hint("`conntidy doctor` tells what this kernel and these privileges allow"),
            ObserveError::Absent(message) => Self::failed(message)
                .hint("`conntidy doctor` tells what is missing and how to get it"),
            ObserveError::Damaged(message) => Self::failed(message),
            ObserveError::Failed { what, source }
                if (source.downcast_ref::<io::Error>())
                    .is_some_and(|error| error.kind() == io::ErrorKind::NotSeekable) =>
            {
                Self::not_seekable(what)
            }
            ObserveError::Failed { what, source } => {
                let forbidden = (source.downcast_ref::<io::Error>())
                    .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
                let mut failed = if forbidden {
                    Self::permission(what)
                } else {
                    Self::failed(what)
                };
                failed.source = Some(source);
                failed
            }
        }
    }
}

/// Writing results: a closed pipe is no error (the reader has seen enough).
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(0, "");
        }
        Self::failed("output could not be written").because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_code_of_the_documented_order_wins() {
        let all = Outcome {
            incomplete: true,
            disagrees: true,
            refused: true,
            differences: true,
        };
        assert_eq!(all.code(), 4);
        assert_eq!(
            Outcome {
                incomplete: false,
                ..all
            }
            .code(),
            5
        );
        let refused = Outcome {
            refused: true,
            differences: true,
            ..Outcome::default()
        };
        assert_eq!(refused.code(), 3);
        assert_eq!(Outcome::default().code(), 0);
    }
}
