//! What others made of the tunables that earlier runs wrote.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rfc3339;
use super::tunable::{Kept, TunableState};
use crate::observe::Header;

/// A value that conntidy wrote and that is not there any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    /// What a run had made it.
    pub was: u64,
    /// The run.
    pub run: String,
    /// What it is now, the text that was read.
    pub found: String,
    /// Nobody wrote it: the module was loaded anew and set everything back.
    pub reset: bool,
    /// Earlier corrections that count, since the policy asks for its present value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrected: Vec<Corrected>,
}

/// Another writer's value that a run wrote over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Corrected {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// What the other writer had made it.
    pub found: String,
}

/// Whether a tunable has drifted from what an earlier run wrote.
pub(super) fn drift(name: &str, header: &Header) -> Option<Drift> {
    let written = header.history.written.get(name)?;
    let found = header.tunables.get(name)?.value.clone()?;
    if header.number(name) == Some(written.value) {
        return None;
    }
    let corrected = written.corrections.iter().map(|correction| Corrected {
        at: wall(correction.at_ns, header),
        found: correction.found.clone(),
    });
    Some(Drift {
        was: written.value,
        run: written.run.clone(),
        found,
        reset: header.history.was_reset(written, header),
        corrected: corrected.collect(),
    })
}

/// Whether what happened to earlier writes of a value lets it be written again. `confirm`: this run
/// puts it back itself unless somebody confirms it.
///
/// # Errors
/// Why not.
pub(super) fn may_write_again(
    name: &str,
    wanted: u64,
    header: &Header,
    confirm: bool,
) -> Result<(), Kept> {
    let history = &header.history;
    let written = history.written.get(name);
    if let Some(written) = written.filter(|w| w.value == wanted && w.is_contested()) {
        let times: Vec<String> = written
            .corrections
            .iter()
            .map(|correction| format!("{} at {}", correction.found, wall(correction.at_ns, header)))
            .collect();
        return Err((
            TunableState::Contested,
            Some(format!(
                "contested: another writer made it {}; not written again until the policy asks for another \
                 value or `apply --take {name}`",
                times.join(", ")
            )),
        ));
    }
    match history.unconfirmed.get(name) {
        Some(unconfirmed) if unconfirmed.value == wanted && !confirm => Err((
            TunableState::Refused,
            Some(format!(
                "put back after run {}, which nobody confirmed: `apply --confirm 60s` tries it again, \
                 `apply --take {name}` writes it",
                unconfirmed.run
            )),
        )),
        _ => Ok(()),
    }
}

/// A time since boot as the wall clock of the observation has it.
fn wall(at_ns: u64, header: &Header) -> String {
    let ago = header.uptime_ns.saturating_sub(at_ns);
    rfc3339(header.time_ns.saturating_sub(ago))
}
