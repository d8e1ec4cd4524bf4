//! The members of a policy's sets that the running kernel has.

use super::{addresses, nft};
use crate::policy::{InterfaceName, Members, NftSet, Policy, SetSource};

/// Fills in, for the calling thread's network namespace, what sets of nftables and of interfaces
/// hold; the other members, which reading the policy gave, stay.
#[must_use]
pub fn read(policy: &Policy, mut members: Vec<Members>) -> Vec<Members> {
    for (set, members) in policy.sets.iter().zip(&mut members) {
        match &set.source {
            SetSource::Nft(set) => *members = of_nft(set),
            SetSource::Interface(name) => *members = of_interface(name),
            SetSource::Addresses(_)
            | SetSource::File(_)
            | SetSource::Local
            | SetSource::Lost { .. } => {}
        }
    }
    members
}

fn of_nft(set: &NftSet) -> Members {
    nft::members(set).unwrap_or_else(|error| Members::unreadable(error.to_string()))
}

/// An interface without addresses is an empty set, and one that does not exist is none.
fn of_interface(name: &InterfaceName) -> Members {
    match addresses::of_interface(&name.0) {
        Ok(Some(addresses)) => Members {
            prefixes: addresses.into_iter().map(Into::into).collect(),
            error: None,
        },
        Ok(None) => Members::unreadable(format!("there is no interface `{name}` here")),
        Err(error) => Members::unreadable(error.to_string()),
    }
}
