//! conntidy keeps a Linux connection tracking table the way a declarative policy says.
//!
//! Pure rooms, which do no I/O and know no clock, file, environment or namespace:
//! [`flow`], [`observe`], [`history`].
//!
//! The edge, which touches Linux: [`kernel`].

pub mod flow;
pub mod history;
pub mod kernel;
pub mod observe;
