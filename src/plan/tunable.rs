//! Tunables: wishes against readings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Options;
use super::drift::{Drift, drift, may_write_again};
use crate::observe::{Header, Reading};
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
    /// What an earlier run wrote, where somebody has changed that since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
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
    /// Another writer changes it back again and again; not written any more.
    Contested,
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
pub fn tunables(policy: &Policy, header: &Header, options: &Options) -> Vec<TunableStep> {
    let mut steps: Vec<TunableStep> = Vec::with_capacity(policy.goals.len());
    for goal in &policy.goals {
        let max = steps
            .iter()
            .find(|step| step.name == "nf_conntrack_max")
            .and_then(|step| step.after)
            .or_else(|| header.number("nf_conntrack_max"));
        steps.push(step(goal, header, max, options));
    }
    steps
}

fn step(goal: &Goal, header: &Header, max: Option<u64>, options: &Options) -> TunableStep {
    let reading = header.tunables.get(&goal.name);
    let before = reading.and_then(|reading| reading.value.clone());
    let current = header.number(&goal.name);
    let wanted = match goal.want {
        Want::Number(number) if goal.name == "nf_conntrack_buckets" => Some(buckets_for(number)),
        Want::Number(number) => Some(number),
        Want::Scaled(scaled) => Some(reckon(scaled, header)),
        Want::BucketsAuto => max.filter(|&max| max > 0).map(buckets_for),
    };
    let (state, reason) = match wanted {
        Some(wanted) => judge(goal, header, wanted, options),
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
        drift: drift(&goal.name, header),
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
    wanted: u64,
    options: &Options,
) -> (TunableState, Option<String>) {
    let current = match current_of(&goal.name, header) {
        Ok((_, current)) => current,
        Err((state, reason)) => return (state, reason),
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
    let may = may_write(&goal.name, wanted, header, options.resize);
    match may.and_then(|()| may_write_again(&goal.name, wanted, header, options.confirm)) {
        Ok(()) => (TunableState::Change, None),
        Err((state, reason)) => (state, reason),
    }
}

/// What a tunable is at present.
fn current_of<'h>(name: &str, header: &'h Header) -> Result<(&'h Reading, u64), Kept> {
    if !header.conntrack {
        return Err(absent());
    }
    let Some(reading) = header.tunables.get(name) else {
        return Err((
            TunableState::NotOnThisKernel,
            Some("not on this kernel".to_owned()),
        ));
    };
    if let Some(current) = header.number(name) {
        return Ok((reading, current));
    }
    let no_number = |value: &String| format!("`{value}` is no number");
    let reason = reading.error.clone();
    let reason = reason.or_else(|| reading.value.as_ref().map(no_number));
    Err((TunableState::Unreadable, reason))
}

/// Why a tunable keeps its value: what it is then, and the words for it.
pub type Kept = (TunableState, Option<String>);

/// Whether the rails let a value be written, wherever it comes from.
///
/// # Errors
/// Why not: the kernel would take it for something else, `max` would come too near to the live
/// count, the hash would be resized unasked, or it cannot be written here.
pub fn may_write(name: &str, wanted: u64, header: &Header, resize: Resize) -> Result<(), Kept> {
    let (reading, current) = current_of(name, header)?;
    let known = tunable::find(name);
    if let Some(known) = known
        && !(known.min..=known.max).contains(&wanted)
    {
        return Err((
            TunableState::Refused,
            Some(format!(
                "{wanted} is no value for it: {} to {}",
                known.min, known.max
            )),
        ));
    }
    if known.is_some_and(|known| known.scope == Scope::Machine) && !header.netns.initial {
        return Err((
            TunableState::InitialNamespace,
            Some("set in the initial namespace".to_owned()),
        ));
    }
    if name == "nf_conntrack_max"
        && let Some(reason) = below_headroom(current, wanted, header.count)
    {
        return Err((TunableState::Refused, Some(reason)));
    }
    if !reading.writable {
        return Err((
            TunableState::NotWritable,
            Some("may not be written here: read-only /proc/sys or missing privilege".to_owned()),
        ));
    }
    if name == "nf_conntrack_buckets" && resize == Resize::Later {
        let stall_ms = header
            .count
            .unwrap_or(0)
            .saturating_mul(RESIZE_NS_PER_ENTRY)
            / 1_000_000;
        return Err((
            TunableState::Pending,
            Some(format!(
                "resizing the hash stops all packets, here for about {stall_ms} ms: `--resize now`"
            )),
        ));
    }
    Ok(())
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

/// As many buckets as the kernel makes of a number: it rounds up.
fn buckets_for(number: u64) -> u64 {
    let largest = tunable::find("nf_conntrack_buckets").map_or(u64::MAX, |buckets| buckets.max);
    number
        .div_ceil(BUCKET_STEP)
        .min(largest / BUCKET_STEP)
        .saturating_mul(BUCKET_STEP)
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
    use crate::observe::Netns;

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
            &Options::default(),
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
    fn whatever_a_value_comes_from_the_rails_hold() {
        let header = header(&[
            ("nf_conntrack_max", "4000"),
            ("nf_conntrack_buckets", "1024"),
            ("nf_conntrack_icmp_timeout", "11"),
        ]);
        let kept = |name, wanted, resize| {
            let kept = may_write(name, wanted, &header, resize).err();
            kept.map(|(state, _)| state)
        };
        for (name, wanted) in [
            ("nf_conntrack_max", 1249),
            ("nf_conntrack_max", 0),
            ("nf_conntrack_icmp_timeout", 0),
            ("nf_conntrack_buckets", 0),
        ] {
            let refused = kept(name, wanted, Resize::Now);
            assert_eq!(refused, Some(TunableState::Refused), "{name} = {wanted}");
        }
        assert_eq!(kept("nf_conntrack_max", 1250, Resize::Later), None);
        let buckets = |resize| kept("nf_conntrack_buckets", 512, resize);
        assert_eq!(buckets(Resize::Later), Some(TunableState::Pending));
        assert_eq!(buckets(Resize::Now), None);
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
        let options = Options {
            resize: Resize::Now,
            ..Options::default()
        };
        let now = step(&goal, &header, Some(300_001), &options);
        assert_eq!(now.state, TunableState::Change);
    }

    #[test]
    fn a_count_of_buckets_is_rounded_as_the_kernel_does_it() {
        let goal = |count| goal("nf_conntrack_buckets", Want::Number(count), Mode::Enforce);
        let rounded = header(&[("nf_conntrack_buckets", "300032")]);
        let step = one(&goal(300_001), &rounded);
        assert_eq!((step.state, step.wanted), (TunableState::InSync, 300_032));
        let largest = tunable::find("nf_conntrack_buckets").unwrap().max;
        assert!(one(&goal(largest), &rounded).wanted <= largest);
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
