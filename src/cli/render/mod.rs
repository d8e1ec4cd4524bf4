//! Results for people and programs; one file a thing that is shown.

pub(crate) mod number;
pub(crate) mod plan;
