//! The program as people run it: a module a command, one fixture for all.

mod check;
mod fixture;
mod schema;
