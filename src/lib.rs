//! conntidy keeps a Linux connection tracking table the way a declarative policy says.
//!
//! Pure rooms, which do no I/O and know no clock, file, environment or namespace:
//! [`flow`], [`observe`], [`history`], [`policy`], [`tunable`], [`matcher`], [`idle`], [`group`],
//! [`impact`], [`plan`], [`report`], [`rebuild`], [`snapshot`].
//!
//! The edge, which touches Linux and files: [`kernel`], [`config`], [`state`], [`store`].
//!
//! Between them: [`apply`], [`undo`], [`rehearse`], [`doctor`]. Above all: [`cli`].

pub mod apply;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod flow;
pub mod group;
pub mod history;
pub mod idle;
pub mod impact;
pub mod kernel;
pub mod matcher;
pub mod observe;
pub mod plan;
pub mod policy;
pub mod rebuild;
pub mod rehearse;
pub mod report;
pub mod snapshot;
pub mod state;
pub mod store;
pub mod tunable;
pub mod undo;
