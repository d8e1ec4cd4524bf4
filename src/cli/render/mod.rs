//! Results for people and programs; one file a thing that is shown.

pub(super) mod diagnostics;
pub(super) mod number;
pub(super) mod plan;
