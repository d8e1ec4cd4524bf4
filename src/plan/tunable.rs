//! Tunables: wishes against readings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::observe::Header;
use crate::policy::{Goal, Mode, Policy, Scaled, Want};
use crate::tunable::{self, BUCKET_STEP, BYTES_PER_BUCKET, BYTES_PER_ENTRY, Scope};

/// `nf_conntrack_max` is never lowered below this many quarters of the live count: 1.25 times.
const HEADROOM_QUARTERS: u64 = 5;

/// Measured stall of a hash resize, all packets stopped: 0.42 s a million entries on 6.18.
const RESIZE_NS_PER_ENTRY: u64 = 420;

/// Whether the hash table may be resized in this run; packets stop meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resize {
    /// Not now: shown as pending.
    #[default]
    Later,
    /// `--resize now`.
    Now,
}

/// What becomes of one tunable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TunableStep {
    /// Sysctl name; bare under `net.netfilter`.
    pub name: String,
    /// Its present value, the text that was read.
    pub before: Option<String>,
    /// The wished value, reckoned for this machine.
    pub wanted: u64,
    /// The value in force once the plan is applied: `wanted`, or the present one where the mode
    /// is content with it or it cannot be changed. A number, where a report has the text read back.
    pub after: Option<u64>,
    /// `enforce`, `at-least`, `at-most` or `observe`.
    pub mode: String,
    /// What becomes of it.
    pub state: TunableState,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Memory that the change may cost at most, bytes; negative when it gives some back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    /// Where the policy says so.
    pub path: String,
}

/// What becomes of a tunable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TunableState {
    /// As wished.
    InSync,
    /// Would be written.
    Change,
    /// Differs; `observe` never writes.
    Observed,
    /// Waits: the module is not loaded, or a resize was not allowed now.
    Pending,
    /// This kernel has no such tunable.
    NotOnThisKernel,
    /// Writable in the initial network namespace alone.
    InitialNamespace,
    /// A rail forbids the value.
    Refused,
    /// Could not be read.
    Unreadable,
    /// May not be written by the caller.
    NotWritable,
}

impl TunableState {
    /// The wish is not met and applying would not change that.
    #[must_use]
    pub fn is_unmet(self) -> bool {
        !matches!(self, Self::InSync | Self::Change | Self::Observed)
    }
}

/// Plans every goal of a policy, in its order.
#[must_use]
pub fn tunables(policy: &Policy, header: &Header, resize: Resize) -> Vec<TunableStep> {
    let mut steps: Vec<TunableStep> = Vec::with_capacity(policy.goals.len());
    for goal in &policy.goals {
        let max = steps
            .iter()
            .find(|step| step.name == "nf_conntrack_max")
            .and_then(|step| step.after)
            .or_else(|| header.number("nf_conntrack_max"));
        steps.push(step(goal, header, max, resize));
    }
    steps
}

fn step(goal: &Goal, header: &Header, max: Option<u64>, resize: Resize) -> TunableStep {
    let reading = header.tunables.get(&goal.name);
    let before = reading.and_then(|reading| reading.value.clone());
    let current = header.number(&goal.name);
    let wanted = match goal.want {
        Want::Number(number) => Some(number),
        Want::Scaled(scaled) => Some(reckon(scaled, header)),
        Want::BucketsAuto => max.filter(|&max| max > 0).map(buckets_for),
    };
    let (state, reason) = match wanted {
        Some(wanted) => judge(goal, header, current, wanted, resize),
        None if !header.conntrack => absent(),
        None => (
            TunableState::Unreadable,
            Some("nf_conntrack_max is not known, so nothing follows from it".to_owned()),
        ),
    };
    let wanted = wanted.unwrap_or(0);
    let changes = state == TunableState::Change;
    TunableStep {
        name: goal.name.clone(),
        before,
        wanted,
        after: if changes { Some(wanted) } else { current },
        mode: mode_word(goal.mode).to_owned(),
        memory: memory(&goal.name, current, wanted)
            .filter(|_| !matches!(state, TunableState::InSync | TunableState::NotOnThisKernel)),
        state,
        reason,
        path: goal.path.clone(),
    }
}

fn absent() -> (TunableState, Option<String>) {
    (
        TunableState::Pending,
        Some("nf_conntrack is not loaded; applied once it is".to_owned()),
    )
}

fn judge(
    goal: &Goal,
    header: &Header,
    current: Option<u64>,
    wanted: u64,
    resize: Resize,
) -> (TunableState, Option<String>) {
    if !header.conntrack {
        return absent();
    }
    let Some(reading) = header.tunables.get(&goal.name) else {
        return (
            TunableState::NotOnThisKernel,
            Some("not on this kernel".to_owned()),
        );
    };
    let Some(current) = current else {
        let reason = reading.error.clone().or_else(|| {
            reading
                .value
                .as_ref()
                .map(|v| format!("`{v}` is no number"))
        });
        return (TunableState::Unreadable, reason);
    };
    let met = match goal.mode {
        Mode::Enforce | Mode::Observe => current == wanted,
        // A limit of 0 means no limit, which is more than any number.
        Mode::AtLeast => current >= wanted || (goal.name == "nf_conntrack_max" && current == 0),
        Mode::AtMost => current <= wanted && !(goal.name == "nf_conntrack_max" && current == 0),
    };
    if met {
        return (TunableState::InSync, None);
    }
    if goal.mode == Mode::Observe {
        return (TunableState::Observed, None);
    }
    let known = tunable::find(&goal.name);
    if known.is_some_and(|known| known.scope == Scope::Machine) && !header.netns.initial {
        return (
            TunableState::InitialNamespace,
            Some("set in the initial namespace".to_owned()),
        );
    }
    if goal.name == "nf_conntrack_max"
        && let Some(reason) = below_headroom(current, wanted, header.count)
    {
        return (TunableState::Refused, Some(reason));
    }
    if !reading.writable {
        return (
            TunableState::NotWritable,
            Some("may not be written here: read-only /proc/sys or missing privilege".to_owned()),
        );
    }
    if goal.name == "nf_conntrack_buckets" && resize == Resize::Later {
        let stall_ms = header
            .count
            .unwrap_or(0)
            .saturating_mul(RESIZE_NS_PER_ENTRY)
            / 1_000_000;
        return (
            TunableState::Pending,
            Some(format!(
                "resizing the hash stops all packets, here for about {stall_ms} ms: `apply --resize now`"
            )),
        );
    }
    (TunableState::Change, None)
}

fn below_headroom(current: u64, wanted: u64, count: Option<u64>) -> Option<String> {
    if current != 0 && wanted >= current {
        return None;
    }
    let Some(count) = count else {
        return Some("the live count is not known, so max is not lowered".to_owned());
    };
    let floor = count.saturating_mul(HEADROOM_QUARTERS).div_ceil(4);
    (wanted < floor).then(|| format!("below 1.25 times the {count} live entries ({floor})"))
}

fn reckon(scaled: Scaled, header: &Header) -> u64 {
    const GIB: u128 = 1 << 30;
    let by_core = scaled
        .per_core
        .map(|entries| entries.saturating_mul(u64::from(header.cores)));
    let by_memory = scaled.per_gib.map(|entries| {
        u64::try_from(u128::from(entries) * u128::from(header.memory) / GIB).unwrap_or(u64::MAX)
    });
    let size = by_core.into_iter().chain(by_memory).max().unwrap_or(0);
    let size = size.max(scaled.min.unwrap_or(0));
    let largest = tunable::find("nf_conntrack_max").map_or(u64::MAX, |max| max.max);
    size.min(scaled.cap.unwrap_or(largest)).clamp(1, largest)
}

fn buckets_for(max: u64) -> u64 {
    max.div_ceil(BUCKET_STEP).saturating_mul(BUCKET_STEP)
}

fn memory(name: &str, current: Option<u64>, wanted: u64) -> Option<i64> {
    let bytes = match name {
        "nf_conntrack_max" => BYTES_PER_ENTRY,
        "nf_conntrack_buckets" => BYTES_PER_BUCKET,
        _ => return None,
    };
    let difference = i128::from(wanted) - i128::from(current?);
    i64::try_from(difference * i128::from(bytes)).ok()
}

fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::AtLeast => "at-least",
        Mode::AtMost => "at-most",
        Mode::Observe => "observe",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Netns, Reading};

    fn header(values: &[(&str, &str)]) -> Header {
        Header {
            conntrack: true,
            cores: 4,
            memory: 8 << 30,
            count: Some(1000),
            netns: Netns {
                name: "init".to_owned(),
                initial: true,
                ..Netns::default()
            },
            tunables: values
                .iter()
                .map(|(name, value)| {
                    let reading = Reading {
                        value: Some((*value).to_owned()),
                        writable: true,
                        error: None,
                    };
                    ((*name).to_owned(), reading)
                })
                .collect(),
            ..Header::default()
        }
    }

    fn goal(name: &str, want: Want, mode: Mode) -> Goal {
        Goal {
            name: name.to_owned(),
            want,
            mode,
            path: String::new(),
        }
    }

    fn one(goal: &Goal, header: &Header) -> TunableStep {
        step(
            goal,
            header,
            header.number("nf_conntrack_max"),
            Resize::Later,
        )
    }

    #[test]
    fn at_least_keeps_a_larger_value_and_no_limit() {
        let goal = goal("nf_conntrack_max", Want::Number(512_000), Mode::AtLeast);
        for current in ["600000", "0"] {
            let header = header(&[("nf_conntrack_max", current)]);
            assert_eq!(one(&goal, &header).state, TunableState::InSync, "{current}");
        }
        let raised = one(&goal, &header(&[("nf_conntrack_max", "262144")]));
        assert_eq!(raised.state, TunableState::Change);
        assert_eq!(raised.memory, Some((512_000 - 262_144) * 384));
    }

    #[test]
    fn max_is_never_lowered_below_the_live_count_with_headroom() {
        let header = header(&[("nf_conntrack_max", "4000")]);
        let low = goal("nf_conntrack_max", Want::Number(1249), Mode::Enforce);
        assert_eq!(one(&low, &header).state, TunableState::Refused);
        let enough = goal("nf_conntrack_max", Want::Number(1250), Mode::Enforce);
        assert_eq!(one(&enough, &header).state, TunableState::Change);
    }

    #[test]
    fn machine_wide_keys_elsewhere_are_a_status_not_a_difference() {
        let mut header = header(&[("nf_conntrack_max", "4000")]);
        header.netns.initial = false;
        let goal = goal("nf_conntrack_max", Want::Number(8000), Mode::Enforce);
        assert_eq!(one(&goal, &header).state, TunableState::InitialNamespace);
    }

    #[test]
    fn a_missing_module_is_pending_and_a_missing_key_is_named() {
        let goal = goal("nf_conntrack_acct", Want::Number(1), Mode::Enforce);
        assert_eq!(
            one(&goal, &header(&[])).state,
            TunableState::NotOnThisKernel
        );
        let mut without = header(&[]);
        without.conntrack = false;
        assert_eq!(one(&goal, &without).state, TunableState::Pending);
    }

    #[test]
    fn buckets_follow_max_and_wait_for_permission_to_resize() {
        let header = header(&[
            ("nf_conntrack_max", "300001"),
            ("nf_conntrack_buckets", "512"),
        ]);
        let goal = goal("nf_conntrack_buckets", Want::BucketsAuto, Mode::Enforce);
        let later = one(&goal, &header);
        assert_eq!(
            (later.state, later.wanted),
            (TunableState::Pending, 300_032)
        );
        let now = step(&goal, &header, Some(300_001), Resize::Now);
        assert_eq!(now.state, TunableState::Change);
    }

    #[test]
    fn sizes_follow_the_machine_between_floor_and_cap() {
        let header = header(&[]);
        let scaled = Scaled {
            per_core: Some(32_000),
            per_gib: Some(64_000),
            min: Some(128_000),
            cap: Some(1_000_000),
        };
        assert_eq!(reckon(scaled, &header), 512_000);
        let capped = Scaled {
            cap: Some(100_000),
            ..scaled
        };
        assert_eq!(reckon(capped, &header), 100_000);
    }
}
