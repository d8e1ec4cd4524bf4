//! conntidy keeps a Linux connection tracking table the way a declarative policy says.
//!
//! Pure rooms, which do no I/O and know no clock, file, environment or namespace:
//! [`flow`], [`observe`], [`history`], [`policy`].

pub mod cli;
pub mod config;
pub mod flow;
pub mod history;
pub mod observe;
pub mod policy;
pub mod tunable;
