//! The built program, run by the router's administrator.

use std::fs;
use std::io;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::namespace::Namespace;

/// The program, its policy and its state for one router.
pub(crate) struct Program {
    router: Namespace,
    files: TempDir,
}

/// How one run ended.
pub(crate) struct Run {
    /// Exit code; a death by signal has none.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) output: String,
    /// Standard error.
    pub(crate) notes: String,
}

impl Program {
    /// A program without state and with `policy`, `version` aside.
    pub(crate) fn new(router: &Namespace, policy: &str) -> io::Result<Self> {
        let files = tempfile::Builder::new()
            .prefix("conntidy-traffic-")
            .tempdir()?;
        let program = Self {
            router: router.clone(),
            files,
        };
        program.set_policy(policy)?;
        Ok(program)
    }

    /// Replaces the policy, `version` aside.
    pub(crate) fn set_policy(&self, policy: &str) -> io::Result<()> {
        // A machine that was just started holds rules back: not here.
        let text = format!("version = 1\nrun.boot-grace = 0\n{policy}");
        fs::write(self.files.path().join("policy.toml"), text)
    }

    /// The command in this program's surroundings, ready to be started inside the router.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conntidy"));
        self.surround(&mut command);
        command.args(words);
        command
    }

    /// Gives any command the state directory, and no terminal's or session's influence.
    pub(crate) fn surround(&self, command: &mut Command) {
        command
            .current_dir(self.files.path())
            .env("STATE_DIRECTORY", self.files.path().join("state"))
            .env_remove("SSH_CONNECTION");
    }

    /// Runs `conntidy WORDS` inside the router to its end.
    pub(crate) fn run(&self, words: &[&str]) -> io::Result<Run> {
        Ok(Run::from(self.router.output(self.command(words))?))
    }

    /// Runs `apply`, which must succeed; returns its report.
    pub(crate) fn apply(&self) -> io::Result<Value> {
        self.run(&["apply", "--policy", "policy.toml", "-o", "json"])?
            .document()
    }

    /// Runs `undo`, which must succeed; returns its report.
    pub(crate) fn undo(&self) -> io::Result<Value> {
        self.run(&["undo", "-o", "json"])?.document()
    }
}

impl Run {
    /// The JSON document that a successful run wrote.
    pub(crate) fn document(&self) -> io::Result<Value> {
        if self.code != Some(0) {
            return Err(self.complaint("did not succeed"));
        }
        serde_json::from_str(&self.output)
            .map_err(|error| self.complaint(&format!("wrote no JSON document: {error}")))
    }

    fn complaint(&self, what: &str) -> io::Error {
        io::Error::other(format!(
            "conntidy {what} (exit {:?})\n{}\n{}",
            self.code, self.output, self.notes
        ))
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            notes: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
