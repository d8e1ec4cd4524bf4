//! What the service manager is told of a run (`sd_notify(3)`); nothing where `NOTIFY_SOCKET` is unset.
//!
//! Whether it listens is the unit's affair: `NotifyAccess=main`, which `Type=notify` implies and
//! `Type=oneshot` does not.

use std::time::Duration;

use sd_notify::{NotifyState, notify};

/// Work that goes on asks for so much more time at once.
const MORE: Duration = Duration::from_secs(30);

/// A line for `systemctl status`.
pub(super) fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// Asks for more time beyond `TimeoutStartSec=`, from now on: this much and some to spare.
pub(super) fn extend(time: Duration) {
    let microseconds = (time + MORE).as_micros();
    let microseconds = u32::try_from(microseconds).unwrap_or(u32::MAX);
    tell(&[NotifyState::ExtendTimeoutUsec(microseconds)]);
}

/// The work goes on, and is there.
pub(super) fn progress(text: &str) {
    let microseconds = u32::try_from(MORE.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Status(text),
        NotifyState::ExtendTimeoutUsec(microseconds),
    ]);
}

/// The run has come to its end, which for `Type=notify` is what it starts for.
pub(super) fn done(text: &str) {
    tell(&[
        NotifyState::Status(text),
        NotifyState::Ready,
        NotifyState::Stopping,
    ]);
}

fn tell(states: &[NotifyState<'_>]) {
    // A manager that does not listen keeps nothing from being done.
    let _ = notify(states);
}
