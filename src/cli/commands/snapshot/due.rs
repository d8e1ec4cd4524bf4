//! The snapshot that is due when a policy is applied.

use crate::cli::terminal::say;
use std::path::PathBuf;

use super::prune::note_after_take;
use super::take::{describe, flows, judge};
use crate::cli::args::Common;
use crate::cli::commands::plan::remember;
use crate::cli::live::Told;
use crate::cli::{CliError, Outcome};
use crate::kernel::Live;
use crate::observe::{Header, Trigger};
use crate::plan::Options;
use crate::policy::{Members, Policy};
use crate::store::take_due as take;

/// Takes a snapshot if one is due. Call it before the rules run. A store that fails keeps no rule
/// from running: it is told of, and the run is incomplete.
pub(in crate::cli) fn take_due(
    common: &Common,
    live: &Live,
    header: &Header,
    policy: &Policy,
    members: &[Members],
) -> Outcome {
    let settings = &policy.snapshot;
    if !header.conntrack || (settings.every.is_none() && settings.on_pressure.is_none()) {
        return Outcome::default();
    }
    try_take(common, live, header, policy, members).unwrap_or_else(|error| {
        error.print();
        if !common.quiet {
            say!("note: no snapshot was taken; the run goes on");
        }
        Outcome {
            incomplete: true,
            ..Outcome::default()
        }
    })
}

fn try_take(
    common: &Common,
    live: &Live,
    header: &Header,
    policy: &Policy,
    members: &[Members],
) -> Result<Outcome, CliError> {
    let mut header = header.clone();
    remember(common, &mut header, &mut Options::default())?;
    describe(common, &mut header, policy, members.to_vec());
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let told = Told::new(common, "taking a snapshot", header.count);
    let progress = |seen| told.tell(seen);
    let taken = take(
        &policy.snapshot,
        live,
        &header,
        credentials.as_deref(),
        progress,
    )?;
    drop(told);
    let Some(taken) = taken else {
        return Ok(Outcome::default());
    };
    if !common.quiet {
        let why = match taken.due.trigger {
            Trigger::Pressure => "the table is filling up",
            _ => "its interval has passed",
        };
        let path = taken.taken.path.display();
        let flows = flows(&taken.taken.trailer);
        say!("note: snapshot {path}, {flows}: {why}");
    }
    let pruned_all = note_after_take(common, &taken.pruned?);
    let outcome = judge(common, &taken.taken.trailer);
    Ok(Outcome {
        incomplete: outcome.incomplete || !pruned_all,
        ..outcome
    })
}
