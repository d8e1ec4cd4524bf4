//! conntidy keeps a Linux connection tracking table the way a declarative policy says.
//!
//! Pure rooms, which do no I/O and know no clock, file, environment or namespace:
//! [`flow`], [`observe`], [`history`].

pub mod flow;
pub mod history;
pub mod kernel;
pub mod observe;
