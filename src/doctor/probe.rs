//! What this kernel honours of the requests that `apply` and `undo` rest on, tried in a network
//! namespace of its own that ends with the trial.

use std::error::Error;

use super::{Finding, Verdict};
use crate::flow::{Extra, Family, Flow, FlowKey, OwnedExtra, Present, Protocol, Status, Tuple};
use crate::kernel::capability::{self, Access};
use crate::kernel::namespace::{self, NamespaceError};
use crate::kernel::{Change, Live, SweepOptions};

/// What a request should lead to.
struct Expectation {
    name: &'static str,
    /// How bad it is where the kernel does otherwise.
    otherwise: Verdict,
    honoured: &'static str,
    not: &'static str,
}

/// Seconds that entries are made with, and then given.
const LONG: u32 = 600;
const SHORT: u32 = 60;
const MARK: u32 = 0x0c07;
const ZONE: u16 = 7;

/// Tries every request once, in a new namespace.
#[must_use]
pub fn probe() -> Vec<Finding> {
    if capability::ctnetlink() == Access::NotLoaded {
        return vec![finding(
            "namespace",
            Verdict::Note,
            "not tried: nf_conntrack is not loaded",
            &[],
        )];
    }
    match namespace::within_new(trials) {
        Ok(Ok(findings)) => findings,
        Ok(Err(error)) => vec![finding(
            "namespace",
            Verdict::Warning,
            format!("the trial did not come to its end: {error}"),
            &[],
        )],
        Err(NamespaceError::Refused(error)) => vec![finding(
            "namespace",
            Verdict::Warning,
            format!(
                "not tried: a network namespace of its own cannot be made ({error}); that needs CAP_SYS_ADMIN"
            ),
            &[
                "run as root, or try the kernel alone: `unshare --user --map-root-user conntidy doctor --probe`",
            ],
        )],
        Err(error) => vec![finding(
            "namespace",
            Verdict::Warning,
            error.to_string(),
            &[],
        )],
    }
}

type Trial = fn(&Live) -> Result<bool, Box<dyn Error + Send + Sync>>;

const TRIALS: [(Expectation, Trial); 6] = [
    (
        Expectation {
            name: "create",
            otherwise: Verdict::Warning,
            honoured: "an entry is made with tuples, mark and remaining time as asked: `undo` works",
            not: "an entry is not made as asked: `undo` and `rehearse` do not work",
        },
        |live| {
            let seen = make(live, &flow(1), Extra::default())?;
            Ok(seen.is_some_and(|(flow, _)| {
                flow.mark == MARK && flow.remaining().is_some_and(|left| left > LONG - 60)
            }))
        },
    ),
    (
        Expectation {
            name: "retime",
            otherwise: Verdict::Missing,
            honoured: "the remaining time of an entry is set: `expire` works",
            not: "the remaining time of an entry cannot be set: `expire` does not work",
        },
        |live| {
            let key = made(live, 2)?.0;
            let change = Change::Retime {
                key,
                seconds: SHORT,
            };
            let done = send(live, &change)?;
            let left = live.get(&key)?.and_then(|(flow, _)| flow.remaining());
            Ok(done && left.is_some_and(|left| left <= SHORT))
        },
    ),
    (
        Expectation {
            name: "delete",
            otherwise: Verdict::Missing,
            honoured: "an entry is deleted by its tuple and id",
            not: "an entry cannot be deleted by its tuple and id: `delete` does not work",
        },
        |live| {
            let (key, id) = made(live, 3)?;
            let done = send(live, &Change::Delete { key, id })?;
            Ok(done && live.get(&key)?.is_none())
        },
    ),
    (
        Expectation {
            name: "delete-checks-id",
            otherwise: Verdict::Missing,
            honoured: "a delete with another id is refused: a tuple taken anew since the dump is safe",
            not: "a delete with another id deletes: this kernel does not compare ids, and a tuple taken \
                  anew since the dump is not safe",
        },
        |live| {
            let (key, id) = made(live, 4)?;
            let id = id.wrapping_add(1);
            let done = send(live, &Change::Delete { key, id })?;
            Ok(!done && live.get(&key)?.is_some())
        },
    ),
    (
        Expectation {
            name: "zones",
            otherwise: Verdict::Warning,
            honoured: "entries of one tuple in two zones are told apart",
            not: "entries of one tuple in two zones are not told apart",
        },
        |live| {
            let plain = made(live, 5)?.0;
            let mut zoned = flow(5);
            (zoned.zone_orig, zoned.zone_reply) = (ZONE, ZONE);
            let Some((seen, _)) = make(live, &zoned, Extra::default())? else {
                return Ok(false);
            };
            let (key, id) = (seen.key(), seen.id);
            let done = send(live, &Change::Delete { key, id })?;
            Ok(
                key.zone == ZONE
                    && done
                    && live.get(&key)?.is_none()
                    && live.get(&plain)?.is_some(),
            )
        },
    ),
    (
        Expectation {
            name: "labels",
            otherwise: Verdict::Note,
            honoured: "labels are kept: `undo` brings them back",
            not: "labels are not kept without a `ct label` rule in the namespace: `undo` and `rehearse` say \
                  what they lose",
        },
        |live| {
            let extra = Extra {
                labels: Some(2),
                ..Extra::default()
            };
            let seen = make(live, &flow(6), extra)?;
            Ok(seen.is_some_and(|(_, extra)| extra.borrow().labels == Some(2)))
        },
    ),
];

fn trials() -> Result<Vec<Finding>, Box<dyn Error + Send + Sync>> {
    // Trying is what was asked for, so ctnetlink may be loaded by it.
    let live = Live::default().loading();
    TRIALS
        .iter()
        .map(|(expected, trial)| {
            Ok(if trial(&live)? {
                finding(expected.name, Verdict::Good, expected.honoured, &[])
            } else {
                finding(expected.name, expected.otherwise, expected.not, &[])
            })
        })
        .collect()
}

fn finding(name: &str, verdict: Verdict, says: impl Into<String>, way_out: &[&str]) -> Finding {
    Finding::new(("probe", name), verdict, says, way_out)
}

/// A UDP flow between two documentation addresses (RFC 5737), told apart by its port.
fn flow(port: u16) -> Flow {
    let (src, dst) = ([192, 0, 2, 1], [198, 51, 100, 1]);
    let tuple = Tuple::new(src.into(), dst.into(), port, 9);
    let mut flow = Flow::new(Family::Ipv4, Protocol::UDP, tuple);
    flow.timeout = LONG;
    flow.mark = MARK;
    flow.status = Status::SEEN_REPLY;
    flow.present = Present::TIMEOUT | Present::STATUS | Present::REPLY | Present::MARK;
    flow
}

/// Makes an entry; gives it back as the kernel shows it.
fn make(
    live: &Live,
    flow: &Flow,
    extra: Extra<'_>,
) -> Result<Option<(Flow, OwnedExtra)>, Box<dyn Error + Send + Sync>> {
    send(live, &Change::Create { flow, extra })?;
    Ok(live.get(&flow.key())?)
}

/// Makes an entry that a trial needs; its key and id.
fn made(live: &Live, port: u16) -> Result<(FlowKey, u32), Box<dyn Error + Send + Sync>> {
    let (flow, _) = make(live, &flow(port), Extra::default())?.ok_or("no entry can be made")?;
    Ok((flow.key(), flow.id))
}

/// Sends one change; whether the kernel says that it was made.
fn send(live: &Live, change: &Change<'_>) -> Result<bool, Box<dyn Error + Send + Sync>> {
    let sweep = live.sweep(SweepOptions::default())?;
    sweep.feeder().push(0, change);
    Ok(sweep.finish().total().done == 1)
}
