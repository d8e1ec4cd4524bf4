//! Which addresses were this host's own in earlier runs, and which of them are lost.

use std::collections::BTreeSet;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::History;
use crate::observe::Header;
use crate::policy::Seconds;

/// Most addresses that are remembered. One that is not can never be lost.
pub const MOST_ADDRESSES: usize = 4096;

/// An address that this host had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddressSeen {
    /// The last time at which a run saw it.
    pub seen_ns: u64,
    /// The first time since then at which a run saw it missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_ns: Option<u64>,
}

impl History {
    /// Records which addresses this host has, and which it has no more. Nothing where they could
    /// not be read.
    pub fn record_addresses(&mut self, header: &Header) {
        let Some(present) = &header.addresses else {
            return;
        };
        let now = header.uptime_ns;
        for seen in self.addresses.values_mut() {
            seen.missing_ns.get_or_insert(now);
        }
        for &address in present.iter().filter(|address| can_be_lost(address)) {
            let seen = AddressSeen {
                seen_ns: now,
                missing_ns: None,
            };
            self.addresses.insert(address, seen);
        }
    }

    /// Addresses of earlier runs that are not among those `present`, and that runs have seen to be
    /// missing for `settle`, sorted.
    ///
    /// That an address was there in one run and not in the next does not tell for how long it was
    /// gone meanwhile, so the time counts from the first run that missed it.
    #[must_use]
    pub fn lost(&self, present: &[IpAddr], now_ns: u64, settle: Seconds) -> Vec<IpAddr> {
        let present: BTreeSet<&IpAddr> = present.iter().collect();
        let settle_ns = settle.0.saturating_mul(1_000_000_000);
        let has_settled = |seen: &AddressSeen| {
            now_ns.saturating_sub(seen.missing_ns.unwrap_or(now_ns)) >= settle_ns
        };
        self.addresses
            .iter()
            .filter(|(address, seen)| {
                can_be_lost(address) && !present.contains(address) && has_settled(seen)
            })
            .map(|(&address, _)| address)
            .collect()
    }

    /// Forgets addresses that were missed before `since_ns`, and those missed for longest where more
    /// than [`MOST_ADDRESSES`] are left.
    pub(super) fn prune_addresses(&mut self, since_ns: u64) {
        self.addresses
            .retain(|_, seen| seen.missing_ns.is_none_or(|missing| missing >= since_ns));
        let surplus = self.addresses.len().saturating_sub(MOST_ADDRESSES);
        if surplus == 0 {
            return;
        }
        let mut by_age: Vec<(u64, IpAddr)> = self
            .addresses
            .iter()
            .map(|(&address, seen)| (seen.missing_ns.unwrap_or(u64::MAX), address))
            .collect();
        by_age.sort_unstable();
        for (_, address) in &by_age[..surplus] {
            self.addresses.remove(address);
        }
    }
}

/// Whether an address can be one that flows were translated to and that then went to somebody else:
/// not loopback, not link-local, not multicast.
fn can_be_lost(address: &IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let is_of_one_host = !address.is_loopback() && !address.is_unspecified();
    is_of_one_host && !is_link_local && !address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn saw(history: &mut History, at: u64, addresses: &[&str]) {
        history.record_addresses(&Header {
            uptime_ns: at * S,
            addresses: Some(addresses.iter().copied().map(address).collect()),
            ..Header::default()
        });
    }

    fn lost(history: &History, present: &[&str], at: u64, settle: u64) -> Vec<String> {
        let present: Vec<IpAddr> = present.iter().copied().map(address).collect();
        let lost = history.lost(&present, at * S, Seconds(settle));
        lost.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_is_lost_once_runs_have_missed_it_for_the_settle_time() {
        let mut history = History::default();
        saw(&mut history, 100, &["192.0.2.1", "203.0.113.1"]);
        // Nobody knows whether it was gone for 300 s or for one.
        assert!(lost(&history, &["192.0.2.1"], 400, 30).is_empty());
        saw(&mut history, 400, &["192.0.2.1"]);
        assert!(lost(&history, &["192.0.2.1"], 429, 30).is_empty());
        assert_eq!(lost(&history, &["192.0.2.1"], 430, 30), ["203.0.113.1"]);
        saw(&mut history, 460, &["192.0.2.1"]);
        assert_eq!(lost(&history, &["192.0.2.1"], 460, 60), ["203.0.113.1"]);
    }

    #[test]
    fn without_a_settle_time_the_first_run_that_misses_it_knows() {
        let mut history = History::default();
        saw(&mut history, 100, &["203.0.113.1"]);
        assert_eq!(lost(&history, &[], 101, 0), ["203.0.113.1"]);
    }

    #[test]
    fn an_address_that_comes_back_is_not_lost_and_settles_anew() {
        let mut history = History::default();
        saw(&mut history, 100, &["203.0.113.1"]);
        saw(&mut history, 200, &[]);
        assert_eq!(lost(&history, &[], 300, 30), ["203.0.113.1"]);
        assert!(lost(&history, &["203.0.113.1"], 300, 30).is_empty());
        saw(&mut history, 300, &["203.0.113.1"]);
        saw(&mut history, 400, &[]);
        assert!(lost(&history, &[], 420, 30).is_empty());
    }

    #[test]
    fn addresses_that_could_not_be_read_tell_nothing() {
        let mut history = History::default();
        saw(&mut history, 100, &["203.0.113.1"]);
        let before = history.clone();
        history.record_addresses(&Header {
            uptime_ns: 200 * S,
            ..Header::default()
        });
        assert_eq!(history, before);
    }

    #[test]
    fn loopback_and_link_local_are_never_lost() {
        let mut history = History::default();
        let never = ["127.0.0.2", "169.254.7.7", "::1", "fe80::1", "ff02::1"];
        saw(&mut history, 100, &never);
        saw(&mut history, 200, &[]);
        assert_eq!(history, History::default());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_was_missed_first_is_forgotten_first() {
        let mut history = History::default();
        saw(&mut history, 1, &["203.0.113.1"]);
        saw(&mut history, 2, &["203.0.113.2"]);
        let many: Vec<String> = (0..MOST_ADDRESSES - 1)
            .map(|n| format!("fd00::{n:x}"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        saw(&mut history, 3, &many);
        history.prune_addresses(0);
        assert_eq!(history.addresses.len(), MOST_ADDRESSES);
        assert_eq!(lost(&history, &many, 100, 30), ["203.0.113.2"]);
        history.prune_addresses(4 * S);
        assert!(lost(&history, &many, 100, 30).is_empty());
    }
}
