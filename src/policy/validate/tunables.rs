//! `[table]`, `[timeouts]` and `[sysctl]`.

use super::Validation;
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::document::{
    Buckets, Existing, ModedBuckets, ModedCount, ModedSeconds, ModedSysctl, Sizing, Timeout,
};
use crate::policy::key::KeyPath;
use crate::policy::leaf::{Leaf, LeafError};
use crate::policy::quantity::{Bytes, Count};
use crate::policy::shape::ScalarOr;
use crate::policy::{ApplyToExisting, DEFAULT_GRACE, Goal, Mode, Scaled, Seconds, Want};
use crate::tunable::{self, Home, Tunable, Unit};

const ESTABLISHED: &str = "nf_conntrack_tcp_timeout_established";

impl Validation<'_> {
    /// Every wish for a tunable.
    pub(super) fn goals(&mut self) -> Vec<Goal> {
        let mut goals = Vec::new();
        self.table(&mut goals);
        self.timeouts(&mut goals);
        self.sysctls(&mut goals);
        goals
    }

    fn table(&mut self, goals: &mut Vec<Goal>) {
        let Some(table) = self.document.table.clone() else {
            return;
        };
        let path = KeyPath::of(["table"]);
        let max_mode = table.mode.unwrap_or(Mode::AtLeast);
        if let Some(max) = table.max {
            let path = path.child("max");
            let want = match max {
                ScalarOr::Scalar(Count(count)) => Some(Want::Number(count)),
                ScalarOr::Table(sizing) => self.sizing(&sizing, &path),
            };
            goals.extend(self.goal("nf_conntrack_max", want, max_mode, &path));
        } else if table.mode.is_some() && !self.lacks(&path.child("max")) {
            let diagnostic = Diagnostic::warning(
                Code::NoEffect,
                path.child("mode"),
                "`mode` says how strictly `max` is held, and there is no `max`",
            );
            self.found.push(diagnostic.at_key());
        }
        if let Some(buckets) = table.buckets {
            let path = path.child("buckets");
            let (value, mode) = match buckets {
                ScalarOr::Scalar(value) => (Some(value), None),
                ScalarOr::Table(ModedBuckets { value, mode }) => (value, mode),
            };
            let want = value.map(|buckets| match buckets {
                Buckets::Auto => Want::BucketsAuto,
                Buckets::Count(count) => Want::Number(count),
            });
            self.need_value(want.is_none(), &path);
            let mode = mode.unwrap_or(Mode::Enforce);
            goals.extend(self.goal("nf_conntrack_buckets", want, mode, &path));
        }
        if let Some(expect_max) = table.expect_max {
            let path = path.child("expect-max");
            let (value, mode) = match expect_max {
                ScalarOr::Scalar(value) => (Some(value), None),
                ScalarOr::Table(ModedCount { value, mode }) => (value, mode),
            };
            self.need_value(value.is_none(), &path);
            let want = value.map(|count| Want::Number(count.0));
            let mode = mode.unwrap_or(Mode::Enforce);
            goals.extend(self.goal("nf_conntrack_expect_max", want, mode, &path));
        }
    }

    fn sizing(&mut self, sizing: &Sizing, path: &KeyPath) -> Option<Want> {
        let scaled = Scaled {
            per_core: sizing.per_core.map(|count| count.0),
            per_gib: sizing.per_gib.map(|count| count.0),
            min: sizing.min.map(|count| count.0),
            cap: sizing.cap.map(|count| count.0),
        };
        let limits = tunable::find("nf_conntrack_max").map_or((1, u64::MAX), |t| (t.min, t.max));
        for (key, value) in [
            ("per-core", scaled.per_core),
            ("per-gib", scaled.per_gib),
            ("min", scaled.min),
            ("cap", scaled.cap),
        ] {
            if let Some(value) = value
                && !(limits.0..=limits.1).contains(&value)
            {
                self.found
                    .push(out_of_range(value, path.child(key), limits));
            }
        }
        if scaled.per_core.is_none() && scaled.per_gib.is_none() && !self.lacks(path) {
            self.found.push(
                Diagnostic::error(
                    Code::MissingKey,
                    path.clone(),
                    "a size that grows with nothing",
                )
                .expected("`per-core`, `per-gib` or both"),
            );
            return None;
        }
        if let (Some(min), Some(cap)) = (scaled.min, scaled.cap)
            && min > cap
        {
            self.found.push(Diagnostic::error(
                Code::Conflict,
                path.child("min"),
                format!("`min` is {min}, above `cap`, which is {cap}"),
            ));
        }
        Some(Want::Scaled(scaled))
    }

    fn timeouts(&mut self, goals: &mut Vec<Goal>) {
        let Some(timeouts) = &self.document.timeouts else {
            return;
        };
        for (key, timeout) in timeouts.each() {
            let mut path = KeyPath::of(["timeouts"]);
            path.0.extend(key.split('.').map(str::to_owned));
            let Some(tunable) = tunable::TUNABLES
                .iter()
                .find(|tunable| matches!(tunable.home, Home::Timeouts(own) if own == key))
            else {
                continue;
            };
            let (value, mode) = match timeout {
                Timeout::Scalar(value) => (Some(*value), None),
                Timeout::Table(ModedSeconds { value, mode }) => (*value, *mode),
            };
            self.need_value(value.is_none(), &path);
            let want = value.map(|seconds| Want::Number(seconds.0));
            let mode = mode.unwrap_or(Mode::Enforce);
            goals.extend(self.goal(tunable.name, want, mode, &path));
        }
    }

    fn sysctls(&mut self, goals: &mut Vec<Goal>) {
        for (name, written) in self.document.sysctl.iter().flatten() {
            let path = KeyPath::of(["sysctl", name]);
            let Some(tunable) = self.home(name, &path) else {
                continue;
            };
            let (value, mode) = match written {
                ScalarOr::Scalar(value) => (Some(value.clone()), None),
                ScalarOr::Table(ModedSysctl { value, mode }) => (value.clone(), *mode),
            };
            self.need_value(value.is_none(), &path);
            let Some(value) = value else { continue };
            match sysctl_number(tunable.unit, &value.0) {
                Ok(number) => {
                    let mode = mode.unwrap_or(Mode::Enforce);
                    let want = Some(Want::Number(number));
                    goals.extend(self.goal(tunable.name, want, mode, &path));
                }
                Err((problem, expected)) => self
                    .found
                    .push(Diagnostic::error(Code::InvalidValue, path, problem).expected(expected)),
            }
        }
    }

    /// The tunable of a `[sysctl]` key, or why it has no place there.
    fn home(&mut self, name: &str, path: &KeyPath) -> Option<&'static Tunable> {
        match tunable::find(name) {
            Some(tunable) if tunable.home == Home::Sysctl => Some(tunable),
            _ => {
                self.found.push(homeless(name, path));
                None
            }
        }
    }

    fn goal(&mut self, name: &str, want: Option<Want>, mode: Mode, path: &KeyPath) -> Option<Goal> {
        let want = want?;
        let tunable = tunable::find(name)?;
        if let Want::Number(number) = want
            && !(tunable.min..=tunable.max).contains(&number)
        {
            let mut diagnostic = out_of_range(number, path.clone(), (tunable.min, tunable.max));
            if tunable.unit == Unit::Seconds {
                diagnostic.message = format!("{} is out of range", Seconds(number));
                diagnostic.expected = Some(format!("{} to {} seconds", tunable.min, tunable.max));
            }
            if number == 0 && tunable.unit == Unit::Seconds {
                diagnostic =
                    diagnostic.help("the kernel takes 0, and new entries then expire at once");
            } else if number == 0 && tunable.name == "nf_conntrack_max" {
                diagnostic = diagnostic.help("the kernel takes 0 for no limit at all");
            }
            self.found.push(diagnostic);
            return None;
        }
        Some(Goal {
            name: name.to_owned(),
            want,
            mode,
            path: path.to_string(),
        })
    }

    fn need_value(&mut self, is_missing: bool, path: &KeyPath) {
        if is_missing {
            self.missing(path, "value", "a mode without a value", "add `value = …`");
        }
    }

    /// Timeouts whose new value is applied to entries that exist.
    pub(super) fn apply_to_existing(&mut self, goals: &[Goal]) -> Vec<ApplyToExisting> {
        let Some(timeouts) = &self.document.timeouts else {
            return Vec::new();
        };
        let path = KeyPath::of(["timeouts", "apply-to-existing"]);
        let usable = |goal: &&Goal| goal.mode != Mode::Observe && governs(&goal.name);
        let declared = |goal: &&Goal| goal.path.starts_with("timeouts.");
        let (listed, by_key) = match &timeouts.apply_to_existing {
            None | Some(Existing::All(false)) => return Vec::new(),
            Some(Existing::All(true)) => {
                let all = goals.iter().filter(declared).filter(usable);
                (all.map(|goal| goal.name.clone()).collect(), false)
            }
            Some(Existing::Keys(keys)) => (self.listed_timeouts(keys, goals, &path), true),
        };
        let established = goals.iter().find(|goal| goal.name == ESTABLISHED);
        if let Some(Goal {
            want: Want::Number(seconds),
            ..
        }) = established
            && *seconds < DEFAULT_GRACE.0
            && listed.iter().any(|name| name == ESTABLISHED)
            && timeouts.accept_risk.is_none()
        {
            self.found.push(
                Diagnostic::error(
                    Code::RiskyGrace,
                    path,
                    format!(
                        "existing established connections would be shortened to {}, and living \
                         ones may be silent for longer",
                        Seconds(*seconds)
                    ),
                )
                .expected("a `tcp.established` of at least 2h4m (RFC 5382)")
                .help("say why it is right: `accept-risk = \"…\"` in `[timeouts]`"),
            );
        }
        listed
            .into_iter()
            .map(|name| ApplyToExisting { name, by_key })
            .collect()
    }

    fn listed_timeouts(&mut self, keys: &[String], goals: &[Goal], path: &KeyPath) -> Vec<String> {
        let mut names = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let path = if keys.len() == 1 {
                path.clone()
            } else {
                path.child(index)
            };
            let known = || {
                tunable::TUNABLES
                    .iter()
                    .filter_map(|tunable| match tunable.home {
                        Home::Timeouts(key) => Some((key, tunable.name)),
                        _ => None,
                    })
            };
            let Some((_, name)) = known().find(|(known, _)| known == key) else {
                self.found.push(
                    Diagnostic::error(Code::UnknownWord, path, format!("`{key}` is no timeout"))
                        .expected("a timeout's dotted key as \"tcp.established\"")
                        .did_you_mean(key, known().map(|(key, _)| key)),
                );
                continue;
            };
            let mut own = KeyPath::of(["timeouts"]);
            own.0.extend(key.split('.').map(str::to_owned));
            match goals.iter().find(|goal| goal.name == name) {
                Some(goal) if goal.mode == Mode::Observe => self.found.push(Diagnostic::error(
                    Code::Conflict,
                    path,
                    format!("`{key}` is only observed, so it has no value to apply"),
                )),
                Some(_) if !governs(name) => self.found.push(Diagnostic::error(
                    Code::Conflict,
                    path,
                    format!("`{key}` governs no state of its own: no entry can be told to have it"),
                )),
                Some(_) if names.iter().any(|known: &String| known == name) => {}
                Some(_) => names.push(name.to_owned()),
                None if self.lacks(&own) => {}
                None => self.found.push(
                    Diagnostic::error(
                        Code::Conflict,
                        path,
                        format!("`{key}` is to be applied, but has no value in `[timeouts]`"),
                    )
                    .help(format!("add `{key} = …`")),
                ),
            }
        }
        names
    }
}

/// Why a name has no place in `[sysctl]`.
pub(in crate::policy) fn homeless(name: &str, path: &KeyPath) -> Diagnostic {
    let bare = match name.strip_prefix("net.netfilter.") {
        Some(bare) => bare,
        None if name == "net.nf_conntrack_max" => "nf_conntrack_max",
        None => name,
    };
    match tunable::find(bare) {
        Some(tunable) => misplaced(tunable, path),
        None => unknown(bare, path),
    }
    .at_key()
}

/// A tunable that is no `[sysctl]` key, and where it belongs.
fn misplaced(tunable: &Tunable, path: &KeyPath) -> Diagnostic {
    let name = tunable.name;
    let error = |code, message: String| Diagnostic::error(code, path.clone(), message);
    match tunable.home {
        Home::Sysctl => error(
            Code::UnknownTunable,
            "keys are written without `net.netfilter.` here".to_owned(),
        )
        .help(format!("write `{name}`")),
        Home::Table(key) => error(
            Code::WrongHome,
            format!("`{name}` is declared as `{key}` in `[table]`"),
        )
        .help(format!("write `table.{key}`")),
        Home::Timeouts(key) => error(
            Code::WrongHome,
            format!("`{name}` is declared as `{key}` in `[timeouts]`"),
        )
        .help(format!("write `timeouts.{key}`")),
        Home::ReadOnly => error(Code::UnknownTunable, format!("`{name}` can only be read")),
    }
}

fn unknown(name: &str, path: &KeyPath) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        Code::UnknownTunable,
        path.clone(),
        format!("`{name}` is no tunable that conntidy knows"),
    )
    .expected("a key of net.netfilter that begins with nf_conntrack_ or nf_flowtable_");
    let whole = format!("nf_conntrack_{name}");
    if tunable::find(&whole).is_some() {
        return diagnostic.help(format!("did you mean `{whole}`?"));
    }
    let names = tunable::TUNABLES
        .iter()
        .filter(|tunable| tunable.home == Home::Sysctl)
        .map(|tunable| tunable.name);
    diagnostic.did_you_mean(name, names)
}

/// Whether a timeout is that of a state, and no cap on others.
fn governs(name: &str) -> bool {
    !matches!(
        name,
        "nf_conntrack_tcp_timeout_max_retrans" | "nf_conntrack_tcp_timeout_unacknowledged"
    )
}

fn out_of_range(number: u64, path: KeyPath, (min, max): (u64, u64)) -> Diagnostic {
    Diagnostic::error(Code::OutOfRange, path, format!("{number} is out of range"))
        .expected(format!("{min} to {max}"))
}

fn sysctl_number(unit: Unit, text: &str) -> Result<u64, (String, &'static str)> {
    fn of<T: Leaf>(text: &str, number: impl Fn(T) -> u64) -> Result<u64, (String, &'static str)> {
        T::read(text)
            .map(number)
            .map_err(|error: LeafError| (error.to_string(), T::EXPECTED))
    }
    match unit {
        Unit::Switch => match text {
            "true" | "1" => Ok(1),
            "false" | "0" => Ok(0),
            _ => Err((format!("`{text}` is no switch"), "true or false")),
        },
        Unit::Seconds => of(text, |seconds: Seconds| seconds.0),
        Unit::Bytes => of(text, |bytes: Bytes| bytes.0),
        Unit::Count | Unit::Choice => of(text, |count: Count| count.0),
    }
}
