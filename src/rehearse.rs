//! Makes a table in a private namespace look like another one, so that a policy can be tried on
//! the real kernel for real.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::apply::result;
use crate::kernel::sysctl::{TunableError, Tunables};
use crate::kernel::{Change, Feeder, Live, SweepError, SweepOptions, Tally};
use crate::observe::{Header, Observe, ObserveError, Record};
use crate::rebuild::rebuild;
use crate::tunable::{self, Home, Scope};

/// What became of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Filled {
    /// Entries of the original.
    pub original: u64,
    /// Entries that were made.
    pub created: u64,
    /// Entries that cannot be made, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub impossible: BTreeMap<String, u64>,
    /// Entries whose tuples were taken: by entries that were there, or by others of the original.
    #[serde(default)]
    pub exists: u64,
    /// Entries that the kernel refused.
    pub failed: u64,
    /// The first few refusals, in the kernel's words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// What kept entries from being sent to the kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What entries lack of their original, with how many.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<String, u64>,
    /// Match fields that see other values than in the original.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub blind_fields: BTreeSet<String>,
    /// Tunables that could not be set as in the original, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tunables_left: BTreeMap<String, Vec<String>>,
}

/// Why nothing could be copied.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// The original cannot be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The kernel takes no entries.
    #[error(transparent)]
    Sweep(#[from] SweepError),
}

const TIMESTAMP: &str = "nf_conntrack_timestamp";

const PLAIN: u32 = 0;
const WITH_HELPER: u32 = 1;
const HELPER_LOST: u32 = 2;

/// Sets the present namespace's own tunables as they were in the original, and makes its entries.
///
/// # Errors
/// Where nothing could be copied; what could not be copied in part is said in the result.
pub fn fill(live: &Live, original: &dyn Observe, header: &Header) -> Result<Filled, FillError> {
    let tunables = live.tunables();
    let mut filled = Filled {
        tunables_left: set_tunables(&tunables, header),
        ..Filled::default()
    };
    // Entries made with a start time of now would all be too young to be idle. Without one their
    // age is unknown, which is the truth.
    let timestamps = tunables.read(TIMESTAMP).ok();
    let _ = tunables.write(TIMESTAMP, "0");
    let copied = copy(live, original, &mut filled);
    if let Some(timestamps) = timestamps {
        let _ = tunables.write(TIMESTAMP, &timestamps);
    }
    copied?;
    Ok(filled)
}

/// Makes the entries of the original beside those that are there.
///
/// # Errors
/// Where nothing could be made; what could not be made in part is said in `filled`.
pub fn copy(live: &Live, original: &dyn Observe, filled: &mut Filled) -> Result<(), FillError> {
    let sweep = live.sweep(SweepOptions::default())?;
    let mut feeder = sweep.feeder();
    let mut visit = |record: &Record<'_>| {
        filled.original += 1;
        let tag = if record.extra.helper.is_some() {
            WITH_HELPER
        } else {
            PLAIN
        };
        create(&mut feeder, tag, record, filled);
    };
    original.dump(&mut [&mut visit])?;
    drop(feeder);
    let tally = sweep.finish();
    note_stop(&tally, filled);
    let mut counts = vec![tally.count(PLAIN)];
    let helped = tally.count(WITH_HELPER);
    if helped.failed == 0 {
        counts.push(helped);
    } else {
        // A kernel without the helper refuses the whole entry. What came of each is told by the
        // second try, which finds those there that were made.
        filled.created += helped.done;
        let sweep = live.sweep(SweepOptions::default())?;
        let mut feeder = sweep.feeder();
        let mut visit = |record: &Record<'_>| {
            if record.extra.helper.is_some()
                && let Ok(rebuilt) = rebuild(&record.flow, record.extra)
            {
                let rebuilt = rebuilt.without_helper();
                push(&mut feeder, HELPER_LOST, &rebuilt);
            }
        };
        original.dump(&mut [&mut visit])?;
        drop(feeder);
        let tally = sweep.finish();
        note_stop(&tally, filled);
        let mut count = tally.count(HELPER_LOST);
        // Those that were made at once, with their helper.
        count.exists = count.exists.saturating_sub(helped.done);
        let lost = crate::rebuild::Lost::HELPER;
        note_lost(lost, count.done, filled);
        counts.push(count);
    }
    for count in counts {
        filled.created += count.done;
        filled.exists += count.exists;
        filled.failed += count.failed + count.gone + count.busy + count.unsent;
        filled.failed += count.unknown;
        filled
            .errors
            .extend(count.failures.iter().map(result::failure));
    }
    Ok(())
}

fn create(feeder: &mut Feeder<'_>, tag: u32, record: &Record<'_>, filled: &mut Filled) {
    match rebuild(&record.flow, record.extra) {
        Ok(rebuilt) => {
            note_lost(rebuilt.lost, 1, filled);
            push(feeder, tag, &rebuilt);
        }
        Err(impossible) => {
            *filled.impossible.entry(impossible.to_string()).or_default() += 1;
        }
    }
}

fn push(feeder: &mut Feeder<'_>, tag: u32, rebuilt: &crate::rebuild::Rebuild<'_>) {
    feeder.push(
        tag,
        &Change::Create {
            flow: &rebuilt.flow,
            extra: rebuilt.extra,
        },
    );
}

fn note_stop(tally: &Tally, filled: &mut Filled) {
    if let Some(error) = &tally.stopped {
        filled.problems.push(format!("stopped: {error}"));
    }
}

fn note_lost(lost: crate::rebuild::Lost, flows: u64, filled: &mut Filled) {
    for reason in lost.reasons() {
        *filled.lost.entry(reason.to_owned()).or_default() += flows;
    }
    if flows > 0 {
        filled
            .blind_fields
            .extend(lost.blinds().map(|field| field.name.to_owned()));
    }
}

fn set_tunables(tunables: &dyn Tunables, header: &Header) -> BTreeMap<String, Vec<String>> {
    let mut left: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, reading) in &header.tunables {
        let (Some(known), Some(value)) = (tunable::find(name), &reading.value) else {
            continue;
        };
        if known.home == Home::ReadOnly || tunables.read(name).is_ok_and(|now| now == *value) {
            continue;
        }
        let reason = if known.scope == Scope::Machine {
            "set in the initial namespace".to_owned()
        } else {
            match tunables.write(name, value) {
                Ok(()) => continue,
                Err(TunableError::Missing(_)) => "not on this kernel".to_owned(),
                Err(error) => error.to_string(),
            }
        };
        left.entry(reason).or_default().push(name.clone());
    }
    left
}

/// The header of a copy: the machine is the present one, what surrounds the table is the
/// original's, and time since boot goes on from the original's, so that its history holds.
#[must_use]
pub fn header_of_copy(mut live: Header, original: &Header, elapsed_ns: u64) -> Header {
    live.host.clone_from(&original.host);
    "rehearsal".clone_into(&mut live.netns.name);
    live.uptime_ns = original.uptime_ns.saturating_add(elapsed_ns);
    live.cores = original.cores;
    live.memory = original.memory;
    live.addresses.clone_from(&original.addresses);
    // Those that are not real are no more so for being in a kernel.
    live.redaction.clone_from(&original.redaction);
    live.sets.clone_from(&original.sets);
    live.ct_timeout_protocols
        .clone_from(&original.ct_timeout_protocols);
    live.session.clone_from(&original.session);
    live.history = original.history.clone();
    live.module_load = original.module_load;
    // Start times are those of the copy.
    live.history.clock.clear();
    live
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stopped_the_copy_is_told() {
        let mut filled = Filled::default();
        note_stop(&Tally::default(), &mut filled);
        assert!(filled.problems.is_empty());
        let full = std::io::Error::other("no room");
        let tally = Tally {
            stopped: Some(SweepError::Thread(full)),
            ..Tally::default()
        };
        note_stop(&tally, &mut filled);
        assert_eq!(
            filled.problems,
            ["stopped: start the sending thread: no room"]
        );
    }
}
