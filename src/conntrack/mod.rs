//! The `conntrack` tool's own language: how it writes an entry, and what its command lines ask for.
//!
//! Facts of conntrack-tools 1.4.9 and `libnetfilter_conntrack` 1.1.1. Nothing here does I/O.

pub mod filter;
pub mod labels;
mod legal;
pub mod line;
pub mod number;
pub mod options;
mod parse;
pub mod print;
pub mod states;
pub mod trap;
mod value;
