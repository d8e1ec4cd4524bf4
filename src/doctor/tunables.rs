//! Which tunables exist, and which of them may be written here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Finding, Seen, Verdict};
use crate::tunable::{self, Scope};

/// One tunable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TunableAccess {
    /// Name under `net.netfilter`.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
    /// Whether the caller may write it.
    pub writable: bool,
    /// One for the machine, or one a network namespace; absent where conntidy does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Why it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

pub(super) fn findings(seen: &Seen) -> (Vec<Finding>, Vec<TunableAccess>) {
    let all: Vec<TunableAccess> = seen
        .header
        .tunables
        .iter()
        .filter(|(name, _)| !name.contains('.'))
        .map(|(name, reading)| TunableAccess {
            name: name.clone(),
            value: reading.value.clone(),
            writable: reading.writable,
            scope: tunable::find(name).map(|known| known.scope),
            error: reading.error.clone(),
        })
        .collect();
    if !seen.header.conntrack {
        return (Vec::new(), all);
    }
    let mut findings = vec![writable(seen, &all)];
    findings.extend(machine(seen, &all));
    findings.extend(unreadable(&all));
    (findings, all)
}

fn is_machine_wide(tunable: &TunableAccess) -> bool {
    tunable.scope == Some(Scope::Machine)
}

/// Those that this namespace has for itself, and in the initial one all.
fn writable(seen: &Seen, all: &[TunableAccess]) -> Finding {
    let name = ("tunables", "sysctl");
    let own = all
        .iter()
        .filter(|one| seen.header.netns.initial || !is_machine_wide(one));
    let (can, cannot): (Vec<_>, Vec<_>) = own.partition(|one| one.writable);
    if cannot.is_empty() {
        let says = format!("all {} of this namespace may be written", can.len());
        return Finding::new(name, Verdict::Good, says, &[]);
    }
    let says = format!(
        "{} of {} may not be written{}: `[table]`, `[timeouts]` and `[sysctl]` stay unmet, rules work",
        cannot.len(),
        can.len() + cannot.len(),
        if seen.capabilities.read_only_sysctl {
            ", since /proc/sys is mounted read-only"
        } else {
            ""
        }
    );
    let way_out: &[&str] = if seen.capabilities.read_only_sysctl {
        &[
            "in a unit: `ReadWritePaths=-/proc/sys/net` beside `ProtectKernelTunables=yes`",
            "in a container: set them on the host, or run it privileged",
        ]
    } else {
        &[
            "run as root, or with CAP_NET_ADMIN in the user namespace that owns this network namespace",
        ]
    };
    Finding::new(name, Verdict::Missing, says, way_out)
}

/// Elsewhere than in the initial namespace these are a status, not a lack.
fn machine(seen: &Seen, all: &[TunableAccess]) -> Option<Finding> {
    if seen.header.netns.initial {
        return None;
    }
    let names: Vec<&str> = all
        .iter()
        .filter(|one| is_machine_wide(one))
        .map(|one| one.name.as_str())
        .collect();
    (!names.is_empty()).then(|| {
        Finding::new(
            ("tunables", "machine-wide"),
            Verdict::Note,
            format!("{}: set in the initial namespace alone", names.join(", ")),
            &[],
        )
    })
}

fn unreadable(all: &[TunableAccess]) -> Option<Finding> {
    let names: Vec<&str> = all
        .iter()
        .filter(|one| one.value.is_none())
        .map(|one| one.name.as_str())
        .collect();
    (!names.is_empty()).then(|| {
        Finding::new(
            ("tunables", "unreadable"),
            Verdict::Warning,
            format!(
                "{} cannot be read; what depends on them is left alone",
                names.join(", ")
            ),
            &[],
        )
    })
}
