//! Writes a run to the journal where that is what its output goes to.

use std::path::Path;
use std::time::Duration;

use super::render::journal::Record;
use crate::journal::{Journal, SOCKET, is_connected};

/// journald reads from `/proc` which unit a record is of, once it has received it: of a process that
/// has ended by then it finds none, and `journalctl -u` would not show the record.
const LINGER: Duration = Duration::from_millis(100);

/// What became of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// They are what a reader of stdout sees.
    InPlaceOfStdout,
    /// Stdout goes elsewhere, or the journal does not take records: it has to tell by itself.
    Beside,
}

/// Sends records if stdout or stderr is connected to the journal.
pub(super) fn send(records: impl FnOnce() -> Vec<Record>) -> Sent {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let stdout = is_connected(stream.as_deref(), std::io::stdout());
    if !stdout && !is_connected(stream.as_deref(), std::io::stderr()) {
        return Sent::Beside;
    }
    let sent = Journal::open(Path::new(SOCKET))
        .and_then(|journal| records().iter().try_for_each(|record| journal.send(record)));
    if sent.is_err() {
        return Sent::Beside;
    }
    std::thread::sleep(LINGER);
    if stdout {
        Sent::InPlaceOfStdout
    } else {
        Sent::Beside
    }
}
