//! What a set holds when a policy meets a machine.

use ipnet::IpNet;

/// The members of one set, as they were resolved for a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members {
    /// The addresses and prefixes.
    pub prefixes: Vec<IpNet>,
    /// Why they could not be read, or not all of them; then nothing is known of the set.
    pub error: Option<String>,
}
