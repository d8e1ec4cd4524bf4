//! The policy language through the library: properties, meaning, documentation, examples.

mod documentation;
mod examples;
mod lints;
mod meaning;
mod properties;
