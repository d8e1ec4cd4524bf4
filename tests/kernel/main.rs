//! Tests against the real kernel, as an ordinary user: one user namespace for the process, one
//! network namespace for each test. Nothing of the host's is touched.

#![expect(clippy::unnecessary_wraps, reason = "every trial has one signature")]

mod budgets;
mod by_hand;
mod capture;
mod command;
mod confirm;
mod diff;
mod doctor;
mod dump;
mod events;
mod fixture;
mod flows;
mod front;
mod front_guide;
mod front_random;
mod gateway;
mod header;
mod import;
mod list;
mod listener;
mod metrics;
mod namespace;
mod oracle;
mod persisted;
mod proof;
mod rails;
mod rebuild;
mod records;
mod rehearse;
mod restore;
mod round_trip;
mod saved;
mod schedule;
mod schemas;
mod service;
mod sets;
mod snapshot;
mod stats;
mod surgery;
mod sweep;
mod timeouts;
mod top;
mod undoing;
mod writers;

use std::process::ExitCode;

use conntidy::kernel::namespace::{private, within_new};
use libtest_mimic::{Arguments, Failed, Trial};

/// A test's body, called within a namespace of its own.
type Body = fn() -> Result<(), Failed>;

/// Makes a trial of each function, named `module::function`.
#[macro_export]
macro_rules! trials {
    ($($function:ident),* $(,)?) => {
        /// The tests of this module.
        pub(crate) fn all() -> Vec<(String, $crate::Body)> {
            let module = module_path!().rsplit("::").next().unwrap_or_default();
            vec![$((format!("{module}::{}", stringify!($function)), $function as $crate::Body)),*]
        }
    };
}

/// Skips the test where a tool is missing.
#[macro_export]
macro_rules! needs {
    ($($tool:literal),*) => {
        for tool in [$($tool),*] {
            if !$crate::fixture::has(tool) {
                return $crate::fixture::skip(module_path!(), &format!("no {tool}"));
            }
        }
    };
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Before libtest-mimic starts threads: a user namespace is made by a single thread only.
    let refusal = private().err();
    let trials = [
        budgets::all(),
        by_hand::all(),
        capture::all(),
        command::all(),
        confirm::all(),
        diff::all(),
        doctor::all(),
        dump::all(),
        events::all(),
        front::all(),
        front_guide::all(),
        front_random::all(),
        header::all(),
        import::all(),
        list::all(),
        listener::all(),
        metrics::all(),
        namespace::all(),
        persisted::all(),
        proof::all(),
        rails::all(),
        rebuild::all(),
        records::all(),
        rehearse::all(),
        restore::all(),
        round_trip::all(),
        saved::all(),
        schedule::all(),
        schemas::all(),
        service::all(),
        sets::all(),
        snapshot::all(),
        surgery::all(),
        stats::all(),
        sweep::all(),
        timeouts::all(),
        top::all(),
        undoing::all(),
        writers::all(),
    ]
    .into_iter()
    .flatten()
    .map(|(name, body)| trial(name, body, refusal.as_ref().map(ToString::to_string)))
    .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: String, body: Body, refusal: Option<String>) -> Trial {
    Trial::test(name.clone(), move || {
        if let Some(refusal) = refusal {
            return fixture::skip(&name, &refusal);
        }
        within_new(body).map_err(|error| Failed::from(error.to_string()))?
    })
}
