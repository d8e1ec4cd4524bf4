//! conntidy keeps a Linux connection tracking table the way a declarative policy says.
//!
//! Pure rooms, which do no I/O and know no clock, file, environment or namespace:
//! [`flow`], [`observe`], [`history`], [`policy`], [`tunable`], [`matcher`], [`idle`], [`group`],
//! [`mod@column`], [`impact`], [`plan`], [`report`], [`rebuild`], [`snapshot`], [`conntrack`],
//! [`convert`].
//!
//! The edge, which touches Linux and files: [`kernel`], [`config`], [`state`], [`store`],
//! [`journal`], [`ahead`].
//!
//! Between them: [`apply`], [`confirm`], [`undo`], [`rehearse`], [`doctor`]. Above all: [`cli`].

pub mod ahead;
pub mod apply;
pub mod cli;
pub mod column;
pub mod config;
pub mod confirm;
pub mod conntrack;
pub mod convert;
pub mod doctor;
pub mod flow;
pub mod group;
pub mod history;
pub mod idle;
pub mod impact;
pub mod journal;
pub mod kernel;
pub mod matcher;
pub mod observe;
mod ownership;
pub mod plan;
pub mod policy;
pub mod policy_test;
pub mod rebuild;
pub mod rehearse;
pub mod report;
pub mod schedule;
pub mod snapshot;
pub mod state;
pub mod store;
pub mod tunable;
pub mod undo;
