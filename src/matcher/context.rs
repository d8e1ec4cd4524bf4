//! What is fixed for one run: set members, own addresses, clocks, evidence of idleness.

use std::sync::Arc;

use super::Truth;
use super::ranges::{Addresses, ipv4_bits};
use crate::flow::{Family, Flow, Present};
use crate::idle::Evidence;
use crate::observe::Header;
use crate::policy::{Members, Set};

/// What every predicate of a run is compiled against.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// What was observed besides the entries.
    pub header: &'a Header,
    /// The policy's sets.
    pub sets: &'a [Set],
    /// What they hold, by index of `sets`.
    pub members: &'a [Members],
    /// What tells idle flows from live ones.
    pub evidence: Arc<Evidence>,
    /// This host's own addresses.
    pub own: Arc<OwnAddresses>,
    compiled_sets: Vec<Option<Arc<Addresses>>>,
}

impl<'a> Context<'a> {
    /// Prepares a run.
    ///
    /// Nothing is known of a set that could not be read, nor of one that is empty without
    /// `allow-empty`: membership is [`Truth::Unknown`] then, so that a protect rule on it holds.
    #[must_use]
    pub fn new(header: &'a Header, sets: &'a [Set], members: &'a [Members]) -> Self {
        let compiled_sets = members
            .iter()
            .enumerate()
            .map(|(index, members)| {
                let allow_empty = sets.get(index).is_some_and(|set| set.allow_empty);
                let known =
                    members.error.is_none() && (allow_empty || !members.prefixes.is_empty());
                known.then(|| Arc::new(Addresses::new(&members.prefixes)))
            })
            .collect();
        Self {
            header,
            sets,
            members,
            evidence: Arc::new(Evidence::new(header)),
            own: Arc::new(OwnAddresses::new(header)),
            compiled_sets,
        }
    }

    /// The members of a set; `None` where nothing is known of it.
    pub(super) fn set(&self, index: usize) -> Option<Arc<Addresses>> {
        self.compiled_sets.get(index).cloned().flatten()
    }

    /// Whether a flow is this host's own: its original source or its reply source is a local address.
    #[must_use]
    pub fn is_host(&self, flow: &Flow) -> Truth {
        self.own.output(flow).or(self.own.input(flow))
    }
}

/// The addresses of this host; loopback is always among them.
#[derive(Clone, Debug, Default)]
pub struct OwnAddresses(Option<Addresses>);

impl OwnAddresses {
    /// As the header has them.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        Self(header.addresses.as_ref().map(Addresses::single))
    }

    fn contains(&self, family: Family, address: &[u8; 16]) -> Truth {
        let loopback = match family {
            Family::Ipv4 => ipv4_bits(address) >> 24 == 127,
            Family::Ipv6 => u128::from_be_bytes(*address) == 1,
        };
        if loopback {
            return Truth::True;
        }
        Truth::from(self.0.as_ref().map(|own| own.contains(family, address)))
    }

    /// Whether the first packet came from this host.
    #[must_use]
    pub fn output(&self, flow: &Flow) -> Truth {
        self.contains(flow.family, &flow.orig.src)
    }

    /// Whether replies come from this host.
    #[must_use]
    pub fn input(&self, flow: &Flow) -> Truth {
        if flow.present.contains(Present::REPLY) {
            self.contains(flow.family, &flow.reply.src)
        } else {
            Truth::Unknown
        }
    }
}
