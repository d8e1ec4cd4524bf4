//! Timeouts that are also applied to entries that exist.

use super::{Options, Refusal, TunableState, tunables};
use crate::flow::Protocol;
use crate::observe::Header;
use crate::policy::{Policy, RunMode};
use crate::schedule::Waiting;
use crate::tunable;

/// A timeout that is also applied to entries that exist.
pub(super) struct Existing<'a> {
    pub(super) name: &'a str,
    pub(super) seconds: u64,
    /// The highest value that the timeout is known to have had.
    pub(super) highest: u64,
    pub(super) refused: Option<Refusal>,
}

/// Those of a run.
pub(super) fn existing<'a>(
    policy: &'a Policy,
    header: &Header,
    options: &Options,
) -> Vec<Existing<'a>> {
    if policy.mode == RunMode::Report {
        return Vec::new();
    }
    let steps = tunables(policy, header, options);
    policy
        .apply_to_existing
        .iter()
        .filter_map(|wish| {
            let step = steps.iter().find(|step| step.name == wish.name)?;
            // Only what is, or is about to be, in force may shorten anything.
            match (&step.state, options.schedule.existing()) {
                (TunableState::InSync | TunableState::Change, None)
                | (TunableState::Change, Some(Waiting::NotDue { .. })) => {}
                _ => return None,
            }
            let seconds = step.after?;
            let refused =
                (!wish.by_key && has_ct_timeout(header, &wish.name)).then_some(Refusal::CtTimeout);
            Some(Existing {
                name: &wish.name,
                seconds,
                highest: highest(header, &wish.name),
                refused,
            })
        })
        .collect()
}

/// The highest value that a timeout is known to have had: now, in this boot's history, or before
/// anybody changed it.
fn highest(header: &Header, name: &str) -> u64 {
    let seen = header.history.timeouts.get(name).into_iter().flatten();
    seen.map(|observation| u64::from(observation.value))
        .chain(header.number(name))
        .chain(crate::policy::timing::kernel_default(name))
        .max()
        .unwrap_or(0)
}

/// Whether `ct timeout` objects may exist for the protocol that a timeout governs.
fn has_ct_timeout(header: &Header, name: &str) -> bool {
    let Some(protocols) = &header.ct_timeout_protocols else {
        return true;
    };
    protocols
        .iter()
        .any(|&protocol| tunable::governs(name, Protocol(protocol)))
}
