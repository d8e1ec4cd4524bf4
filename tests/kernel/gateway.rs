//! A gateway under test: this thread's namespace, with state and policies of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use conntidy::apply::Apply;
use conntidy::config::{self, Source};
use conntidy::flow::{Flow, FlowKey, Status};
use conntidy::kernel::{Live, identity, sets};
use conntidy::observe::{Header, Observe};
use conntidy::plan::{self, Judge, Options, Plan, RulePlan};
use conntidy::policy::{Members, Policy};
use conntidy::report::{Report, RuleResult, Undone};
use conntidy::schedule::When;
use conntidy::state::{RunName, State};
use conntidy::undo::Undo;
use libtest_mimic::Failed;
use serde_json::Value;
use tempfile::TempDir;

use crate::fixture;

/// A gateway with an empty state directory.
pub(crate) struct Gateway {
    files: TempDir,
    live: Live,
}

/// How a run of the built program ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// The JSON document that was printed.
    pub(crate) fn document(&self) -> Result<Value, Failed> {
        serde_json::from_str(&self.out).map_err(|error| format!("{error}: {self:?}").into())
    }

    /// Fails unless the program ended with this code.
    pub(crate) fn exits(self, code: i32) -> Result<Self, Failed> {
        if self.code == Some(code) {
            Ok(self)
        } else {
            Err(format!("not exit {code}: {self:#?}").into())
        }
    }
}

impl Gateway {
    pub(crate) fn new() -> Result<Self, Failed> {
        Ok(Self {
            files: tempfile::Builder::new()
                .prefix("conntidy-kernel-")
                .tempdir()?,
            live: Live::default(),
        })
    }

    /// Where this gateway's files are.
    pub(crate) fn path(&self) -> &Path {
        self.files.path()
    }

    pub(crate) fn state_root(&self) -> PathBuf {
        self.path().join("state")
    }

    /// The state of this namespace.
    pub(crate) fn state(&self) -> Result<State, Failed> {
        Ok(State::of(&self.state_root(), &identity::netns()?))
    }

    /// Writes the policy, `version` aside. A machine that was just started holds rules back: not
    /// here, unless the policy has a `[run]` of its own.
    pub(crate) fn write_policy(&self, text: &str) -> Result<PathBuf, Failed> {
        let path = self.path().join("policy.toml");
        let run = if text.contains("[run]") {
            ""
        } else {
            "\n[run]\nboot-grace = 0\n"
        };
        fs::write(&path, format!("version = 1\n{text}{run}"))?;
        Ok(path)
    }

    fn load(&self, text: &str) -> Result<(Policy, Vec<Members>), Failed> {
        let loaded = config::load(&Source {
            file: Some(self.write_policy(text)?),
            assignments: Vec::new(),
            root: PathBuf::from("/"),
        })?;
        match loaded.policy {
            Some(policy) => {
                let members = sets::read(&policy, loaded.members);
                Ok((policy, members))
            }
            None => Err(format!("{:#?}", loaded.diagnostics).into()),
        }
    }

    /// Plans as `conntidy plan` does.
    pub(crate) fn plan(&self, text: &str) -> Result<Plan, Failed> {
        let (policy, members) = self.load(text)?;
        let mut header = self.live.header()?;
        let memory = self.state()?.memory(&header.boot_id)?;
        let options = Options {
            holds: memory.holds(),
            persisted: self.state()?.persisted(&header.boot_id)?,
            ..Options::timeless(&policy, &header)
        };
        header.history = memory.history;
        let members = plan::members(&policy, &members, &header);
        let judge = Judge::new(&policy, &members, &header, &options);
        Ok(plan::plan(&self.live, &judge, &options, &|_| {})?)
    }

    /// Applies as `conntidy apply` does.
    pub(crate) fn apply(&self, text: &str) -> Result<Report, Failed> {
        self.apply_as(text, |_| {})
    }

    /// Applies with another header than the true one.
    pub(crate) fn apply_as(
        &self,
        text: &str,
        change: impl FnOnce(&mut Header),
    ) -> Result<Report, Failed> {
        static RUNS: AtomicU32 = AtomicU32::new(1);
        let (policy, members) = self.load(text)?;
        let mut header = self.live.header()?;
        change(&mut header);
        let run = RunName::new(header.time_ns, RUNS.fetch_add(1, Ordering::Relaxed));
        let report = Apply {
            live: &self.live,
            state: &self.state()?,
            run: &run,
            header,
            policy: &policy,
            members: &members,
            options: Options::default(),
            when: When::Timeless,
            by_hand: None,
            saved: None,
            tell: &|_| {},
            changing: &|_| {},
            confirm: None,
        }
        .run()?;
        Ok(report)
    }

    /// Undoes a run as `conntidy undo` does.
    pub(crate) fn undo(&self, run: &str) -> Result<Undone, Failed> {
        let report = Undo {
            live: &self.live,
            state: &self.state()?,
            run: &run.parse()?,
        }
        .flows()?;
        let mut undone = report.undone;
        undone.pop().ok_or_else(|| "nothing undone".into())
    }

    /// The built program with this gateway's state, in this thread's namespace; started through
    /// `wrapper` where there is one.
    pub(crate) fn command(&self, wrapper: &[&str], arguments: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_conntidy");
        let mut command = match wrapper {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command
            .args(arguments)
            .current_dir(self.path())
            .env("STATE_DIRECTORY", self.state_root())
            .env_remove("SSH_CONNECTION")
            .stdin(Stdio::null());
        command
    }

    /// Runs the built program.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Ran, Failed> {
        Ok(self.command(&[], arguments).output()?.into())
    }

    /// Runs `apply -o json` of the built program with a policy.
    pub(crate) fn run_apply(&self, text: &str) -> Result<Ran, Failed> {
        self.write_policy(text)?;
        self.run(&["apply", "-p", "policy.toml", "-o", "json"])
    }

    /// Runs a shell script in a mount namespace of its own, in which `$1` is the built program and
    /// `$2` the state directory.
    pub(crate) fn run_in_own_mounts(&self, script: &str) -> Result<Ran, Failed> {
        fs::create_dir_all(self.state_root())?;
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-e", "-c", script, "sh"])
            .arg(env!("CARGO_BIN_EXE_conntidy"))
            .arg(self.state_root())
            .current_dir(self.path())
            .env("STATE_DIRECTORY", self.state_root())
            .env_remove("SSH_CONNECTION")
            .stdin(Stdio::null())
            .output()?;
        Ok(output.into())
    }
}

/// A rule of a plan; for a timeout applied to existing entries, by the sysctl's name.
pub(crate) fn rule<'a>(plan: &'a Plan, name: &str) -> &'a RulePlan {
    plan.rules
        .iter()
        .chain(&plan.existing)
        .find(|rule| rule.name == name)
        .unwrap_or_else(|| panic!("no rule {name}: {plan:#?}"))
}

/// What came of a rule; nothing where it sent nothing.
pub(crate) fn result(report: &Report, name: &str) -> RuleResult {
    report
        .rules
        .iter()
        .find(|rule| rule.name == name)
        .cloned()
        .unwrap_or_default()
}

/// What remains of every entry of the table, by key.
pub(crate) fn remaining() -> Result<BTreeMap<FlowKey, u32>, Failed> {
    Ok(fixture::table()?
        .into_iter()
        .map(|(flow, _)| (flow.key(), flow.timeout))
        .collect())
}

/// What remains of one flow; `None` where it is gone.
pub(crate) fn left(flow: &Flow) -> Result<Option<u32>, Failed> {
    Ok(remaining()?.get(&flow.key()).copied())
}

/// The flow with so many seconds left.
pub(crate) fn lasting(mut flow: Flow, seconds: u32) -> Flow {
    flow.timeout = seconds;
    flow
}

/// The flow, assured.
pub(crate) fn assured(mut flow: Flow) -> Flow {
    flow.status |= Status::SEEN_REPLY | Status::ASSURED;
    flow
}

/// Fails unless about so many seconds are left: no more, and at most three fewer.
pub(crate) fn is_about(left: Option<u32>, seconds: u32) -> Result<(), Failed> {
    match left {
        // A busy machine takes its time.
        Some(left) if left <= seconds && left + 10 + seconds / 100 >= seconds => Ok(()),
        other => Err(format!("{other:?} left, not {seconds}").into()),
    }
}
