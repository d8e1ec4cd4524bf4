//! What lies between two tables: the decisions, and the command.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cli;
mod coarse;
mod incident;
mod properties;
