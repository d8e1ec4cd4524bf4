//! Real traffic through a real NAT router in network namespaces, and what conntidy does to it.
//!
//! Runs as an ordinary user: the process becomes root of a user namespace of its own, each test makes
//! three network namespaces. The judges are the traffic itself and the `conntrack` tool.

mod flows;
mod namespace;
mod scenarios;
mod topology;
mod tracked;

use std::env;
use std::io;
use std::process::{ExitCode, Stdio};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::namespace::{Namespace, become_private, tool};

/// Where nothing may be skipped, as in CI.
const REQUIRE_ALL: &str = "CONNTIDY_REQUIRE_ALL";

/// A test: its name and what it does.
type Scenario = (&'static str, fn() -> Result<(), Failed>);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let missing = if arguments.list {
        None
    } else {
        what_is_missing()
    };
    let trials = scenarios::ALL
        .iter()
        .map(|&(name, run)| {
            let missing = missing.clone();
            Trial::ignorable_test(name, move || attempt(run, missing))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn attempt(run: fn() -> Result<(), Failed>, missing: Option<String>) -> Result<Completion, Failed> {
    match missing {
        None => run().map(|()| Completion::Completed),
        Some(reason) if env::var_os(REQUIRE_ALL).is_some_and(|value| value == "1") => {
            Err(format!("nothing may be skipped here ({REQUIRE_ALL}=1), but {reason}").into())
        }
        Some(reason) => Ok(Completion::ignored_with(reason)),
    }
}

/// Prepares the process; says what keeps these tests from running, if anything does.
fn what_is_missing() -> Option<String> {
    if let Err(error) = become_private() {
        return Some(format!("user namespaces are not to be had: {error}"));
    }
    for (name, version) in [("ip", "-V"), ("nft", "-v"), ("conntrack", "-V")] {
        let answer = tool(name)
            .arg(version)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if let Err(error) = answer {
            return Some(format!("the tool `{name}` does not start: {error}"));
        }
    }
    if let Err(error) = allow_many_sockets().and_then(|()| probe()) {
        return Some(format!(
            "a user namespace has no power over its own tracking table: {error}"
        ));
    }
    None
}

/// The soft limit is often 1024, which a thousand connections with both ends here exceed.
fn allow_many_sockets() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?)
}

/// Some systems let a process into a user namespace and take its capabilities there: only use tells.
fn probe() -> io::Result<()> {
    let mut list = tool("conntrack");
    list.arg("-L");
    Namespace::new()?.succeed(list).map(drop)
}
