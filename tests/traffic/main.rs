//! Real traffic through a real NAT router in network namespaces, and what conntidy does to it.
//!
//! Runs as an ordinary user: the process becomes root of a user namespace of its own, each test makes
//! three network namespaces. The judges are the traffic itself and the `conntrack` tool.

mod flows;
mod namespace;
mod program;
mod scenarios;
mod topology;
mod tracked;

use std::env;
use std::io;
use std::process::{ExitCode, Stdio};

use conntidy::kernel::namespace::private;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::namespace::tool;

/// Where nothing may be skipped, as in CI.
const REQUIRE_ALL: &str = "CONNTIDY_REQUIRE_ALL";

/// The tools that every scenario needs.
const TOOLS: [&str; 3] = ["ip", "nft", "conntrack"];

/// A test.
struct Scenario {
    name: &'static str,
    run: fn() -> Result<(), Failed>,
    /// Tools that it needs beyond those that all need.
    tools: &'static [&'static str],
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let missing = if arguments.list {
        None
    } else {
        what_is_missing()
    };
    let trials = scenarios::ALL
        .iter()
        .map(|scenario| {
            let missing = missing.clone();
            Trial::ignorable_test(scenario.name, move || attempt(scenario, missing))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn attempt(scenario: &Scenario, missing: Option<String>) -> Result<Completion, Failed> {
    match missing.or_else(|| missing_tool(scenario.tools)) {
        None => (scenario.run)().map(|()| Completion::Completed),
        Some(reason) if env::var_os(REQUIRE_ALL).is_some_and(|value| value == "1") => {
            Err(format!("nothing may be skipped here ({REQUIRE_ALL}=1), but {reason}").into())
        }
        Some(reason) => Ok(Completion::ignored_with(reason)),
    }
}

/// Prepares the process; says what keeps these tests from running, if anything does.
fn what_is_missing() -> Option<String> {
    if let Err(error) = private() {
        return Some(format!("a user namespace is not to be had: {error}"));
    }
    if let Some(reason) = missing_tool(&TOOLS) {
        return Some(reason);
    }
    if let Err(error) = allow_many_sockets() {
        return Some(format!(
            "the limit of open files is not to be raised: {error}"
        ));
    }
    None
}

/// Names the first tool that does not start. What it is told does not matter, so all are told the same.
fn missing_tool(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| {
        let answer = tool(name)
            .arg("-V")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let error = answer.err()?;
        Some(format!("the tool `{name}` does not start: {error}"))
    })
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
