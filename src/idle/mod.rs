//! Whether a flow is idle (POLICY.md, section 3).
//!
//! The kernel keeps the remaining time alone, so idle time is the timeout that was last written
//! minus what remains. Which timeout that was is known only as far as the history tells; what else
//! could have set the timer makes the answer [`Idle::Unknown`].
//!
//! Beyond the letter of section 3, and on the side of doubt:
//! - TCP's caps (`max_retrans`, `unacknowledged`) apply to every state whose timeout is above them,
//!   so a half-closed connection under a long `close_wait` is judged like an established one;
//! - GRE entries keep the timeouts of their creation: nothing is proven unless the history covers
//!   their whole life;
//! - a start time that the clock makes unusable leaves the age, and so the idle time, unknown.

mod evidence;
mod timer;

#[cfg(test)]
mod tests;

pub(crate) use evidence::note_lowered;
pub use evidence::{Evidence, Window};

use std::fmt;

use crate::flow::Flow;
use crate::history::AgeDoubt;
use crate::matcher::Truth;
use crate::policy::Action;

/// How idle a flow is, measured against a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It cannot be told.
    Unknown(Doubt),
    /// A packet passed within the window.
    NotIdle,
    /// No packet for the window, if the timeout was the same all along.
    Presumed,
    /// No packet for the window, by every value that the timeout had meanwhile.
    Proven,
}

/// How sure an idle time must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// Enough for `report`, `expire` and the `delete` of closed flows.
    Presumed,
    /// What every other `delete`, and `protect`, needs.
    Proven,
}

impl Grade {
    /// What an action on a flow needs.
    #[must_use]
    pub fn needed(action: Action, flow: &Flow) -> Self {
        match action {
            Action::Delete if !flow.is_closed() => Self::Proven,
            Action::Delete | Action::Expire { .. } | Action::Report | Action::Update(_) => {
                Self::Presumed
            }
        }
    }
}

impl Idle {
    /// Whether `idle-for` holds at a grade.
    #[must_use]
    pub fn truth(self, grade: Grade) -> Truth {
        match (self, grade) {
            (Self::Proven, _) | (Self::Presumed, Grade::Presumed) => Truth::True,
            (Self::NotIdle, _) => Truth::False,
            (Self::Presumed, Grade::Proven) | (Self::Unknown(_), _) => Truth::Unknown,
        }
    }
}

/// Why the idle time of a flow cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The kernel sent no status.
    NoStatus,
    /// The kernel sent no remaining time.
    NoTimeout,
    /// The flowtable handles the flow.
    Offloaded,
    /// Packets do not refresh the timer.
    FixedTimeout,
    /// A helper sets timeouts of its own.
    Helper,
    /// `ct timeout` objects exist for the protocol.
    CtTimeout,
    /// Whether `ct timeout` objects exist could not be found out.
    CtTimeoutUnread,
    /// Without its state the governing timeout is not known.
    NoState,
    /// The governing timeout could not be read.
    Unread(&'static str),
    /// More remains than the governing timeout: something else wrote the timer.
    AboveTimeout(u64),
    /// Data is unacknowledged, or the kernel did not say: TCP's caps may have governed.
    Unacknowledged,
    /// An established connection without a reply.
    Unreplied,
    /// What remains lies within TCP's caps.
    WithinCap(u64),
    /// conntidy may have written the timer itself.
    Retimed(u32),
    /// The entry is younger than the window.
    Young,
    /// The age cannot be told.
    Age(AgeDoubt),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStatus => f.write_str("the kernel sent no status"),
            Self::NoTimeout => f.write_str("the kernel sent no remaining time"),
            Self::Offloaded => f.write_str("the flow is offloaded"),
            Self::FixedTimeout => f.write_str("its timer is fixed"),
            Self::Helper => f.write_str("it has a helper, which sets its own timeouts"),
            Self::CtTimeout => f.write_str("ct timeout objects exist for its protocol"),
            Self::CtTimeoutUnread => {
                f.write_str("whether ct timeout objects exist could not be found out")
            }
            Self::NoState => f.write_str("its state, and so its timeout, is not known"),
            Self::Unread(name) => write!(f, "{name} could not be read"),
            Self::AboveTimeout(timeout) => {
                write!(f, "more remains than the timeout of {timeout} s")
            }
            Self::Unacknowledged => f.write_str("it may have unacknowledged data"),
            Self::Unreplied => f.write_str("it is established without a reply"),
            Self::WithinCap(cap) => write!(
                f,
                "what remains lies within the {cap} s of tcp max_retrans and unacknowledged"
            ),
            Self::Retimed(seconds) => {
                write!(f, "conntidy wrote up to {seconds} s within the timeout")
            }
            Self::Young => f.write_str("the entry is younger than the window"),
            Self::Age(doubt) => write!(f, "its age is not known: {doubt}"),
        }
    }
}
