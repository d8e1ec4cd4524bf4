//! Snapshots: what is written is read, and every damage is noticed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod aggregate;
mod arbitrary;
mod cli;
mod damage;
mod identity;
mod keep;
mod mutated;
mod store;
