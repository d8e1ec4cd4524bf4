//! The program as people run it: a module a command, one fixture for all.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod check;
mod ci_examples;
mod completions;
mod convert;
mod convert_scripts;
mod fixture;
mod list;
mod man;
mod plan;
mod policy_tests;
mod schema;
