//! The policy language through the library: properties, meaning, documentation, examples.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cells;
mod documentation;
mod examples;
mod lints;
mod meaning;
mod properties;
