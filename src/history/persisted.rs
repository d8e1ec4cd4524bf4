//! Flows that a rule has matched run by run (`persisted`), and since when.
//!
//! A flow that does not match in one run is forgotten, so that all flows of a rule were last seen in
//! the same run: only the first sight is kept for each.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::flow::{Family, Flow, FlowKey, Present, Protocol, Tuple};
use crate::policy::{Policy, Rule, Seconds};

/// Most flows that are followed in a namespace, all rules together.
pub const MOST_FLOWS: usize = 1_000_000;

/// A rule that did not look for longer than so many of its intervals starts anew.
const LONGEST_GAP: u64 = 3;

const SCHEMA: &str = "conntidy.persisted/1";

/// What tells one entry from every other, as far as the kernel lets it be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    key: FlowKey,
    id: u32,
    /// 0 where the kernel did not tell.
    start_ns: u64,
}

impl Identity {
    /// Nothing for an entry without an id: it cannot be told from a later one.
    #[must_use]
    pub fn of(flow: &Flow) -> Option<Self> {
        let start = flow.present.contains(Present::START);
        Some(Self {
            key: flow.key(),
            id: flow.id()?,
            start_ns: if start { flow.start_ns } else { 0 },
        })
    }
}

/// A flow, and since when it has matched; 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Which entry.
    pub identity: Identity,
    /// The first run that saw it match, nanoseconds since boot.
    pub since_ns: u64,
}

/// The flows of one rule.
#[derive(Clone, Debug, Default)]
pub struct Followed {
    /// What the rule's match was: another match makes all flows new.
    fingerprint: u64,
    /// When the rule last looked, nanoseconds since boot.
    last_ns: u64,
    flows: Vec<Sighting>,
    /// Made when first asked: a rule that waits asks nothing.
    index: OnceLock<Index>,
}

/// Numbers of flows by identity.
#[derive(Clone, Debug)]
struct Index {
    numbers: HashTable<u32>,
    /// Remote hosts choose the keys, so hashing is seeded.
    hasher: RandomState,
}

impl Index {
    fn new(flows: &[Sighting]) -> Self {
        let hasher = RandomState::new();
        let mut numbers = HashTable::with_capacity(flows.len());
        for (number, sighting) in (0..).zip(flows) {
            let hash = hasher.hash_one(sighting.identity);
            numbers.insert_unique(hash, number, |&other: &u32| {
                hasher.hash_one(flows[other as usize].identity)
            });
        }
        Self { numbers, hasher }
    }
}

impl Followed {
    /// What a rule saw in a run.
    #[must_use]
    pub fn new(fingerprint: u64, last_ns: u64, flows: Vec<Sighting>) -> Self {
        Self {
            fingerprint,
            last_ns,
            flows,
            index: OnceLock::new(),
        }
    }

    /// Since when a flow has matched, run by run.
    #[must_use]
    pub fn since(&self, identity: &Identity) -> Option<u64> {
        let index = self.index.get_or_init(|| Index::new(&self.flows));
        let found = index
            .numbers
            .find(index.hasher.hash_one(identity), |&number| {
                self.flows[number as usize].identity == *identity
            })?;
        Some(self.flows[*found as usize].since_ns)
    }

    /// How many flows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }
}

/// The flows of every rule that follows some.
#[derive(Clone, Debug, Default)]
pub struct Persisted {
    rules: BTreeMap<String, Arc<Followed>>,
}

/// What is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not what a run writes")]
pub struct NotPersisted;

/// Whose flows they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The boot.
    pub boot_id: String,
    /// When the namespace was made, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_ns: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    schema: String,
    #[serde(flatten)]
    owner: Owner,
    rules: Vec<HeadRule>,
}

#[derive(Serialize, Deserialize)]
struct HeadRule {
    name: String,
    fingerprint: u64,
    last_ns: u64,
    flows: usize,
}

impl Persisted {
    /// What an earlier run saw, as far as it still counts for a rule now.
    #[must_use]
    pub fn of(&self, policy: &Policy, rule: &Rule, now_ns: u64) -> Option<Arc<Followed>> {
        let followed = self.rules.get(&rule.name)?;
        let Seconds(every) = rule.every.unwrap_or(policy.every);
        let longest = every.saturating_mul(LONGEST_GAP * 1_000_000_000);
        let gap = now_ns.checked_sub(followed.last_ns)?;
        let counts = gap <= longest && followed.fingerprint == fingerprint(policy, rule);
        counts.then(|| Arc::clone(followed))
    }

    /// Keeps what a rule saw.
    pub fn keep(&mut self, rule: &str, followed: Arc<Followed>) {
        self.rules.insert(rule.to_owned(), followed);
    }

    /// How many flows of all rules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.values().map(|followed| followed.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As bytes: a line of JSON, then each flow in 34 bytes (IPv4) or 58.
    #[must_use]
    pub fn encode(&self, owner: &Owner) -> Vec<u8> {
        let head = Head {
            schema: SCHEMA.to_owned(),
            owner: owner.clone(),
            rules: self
                .rules
                .iter()
                .map(|(name, followed)| HeadRule {
                    name: name.clone(),
                    fingerprint: followed.fingerprint,
                    last_ns: followed.last_ns,
                    flows: followed.len(),
                })
                .collect(),
        };
        let mut bytes = serde_json::to_vec(&head).unwrap_or_default();
        bytes.push(b'\n');
        bytes.reserve(self.len() * 58);
        for followed in self.rules.values() {
            for sighting in &followed.flows {
                push(&mut bytes, sighting);
            }
        }
        bytes
    }

    /// Reads what was [encoded](Self::encode).
    ///
    /// # Errors
    /// Where the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> Result<(Owner, Self), NotPersisted> {
        let end = bytes.iter().position(|&b| b == b'\n').ok_or(NotPersisted)?;
        let head: Head = serde_json::from_slice(&bytes[..end]).map_err(|_| NotPersisted)?;
        let total = head
            .rules
            .iter()
            .map(|rule| rule.flows)
            .try_fold(0, usize::checked_add);
        if head.schema != SCHEMA || total.is_none_or(|total| total > MOST_FLOWS) {
            return Err(NotPersisted);
        }
        let mut rest = &bytes[end + 1..];
        let mut persisted = Self::default();
        for rule in head.rules {
            let mut flows = Vec::with_capacity(rule.flows);
            for _ in 0..rule.flows {
                flows.push(pull(&mut rest).ok_or(NotPersisted)?);
            }
            let followed = Followed::new(rule.fingerprint, rule.last_ns, flows);
            persisted.keep(&rule.name, Arc::new(followed));
        }
        if rest.is_empty() {
            Ok((head.owner, persisted))
        } else {
            Err(NotPersisted)
        }
    }
}

/// Of what a rule matches, so that another match is noticed; the members of sets are no part of it.
#[must_use]
pub fn fingerprint(policy: &Policy, rule: &Rule) -> u64 {
    let sets: Vec<_> = rule
        .predicate
        .sets()
        .filter_map(|index| policy.sets.get(index))
        .collect();
    let digest = Sha256::digest(format!("{:?}{:?}{sets:?}", rule.predicate, rule.everything));
    digest
        .iter()
        .take(8)
        .fold(0, |all, byte| all << 8 | u64::from(*byte))
}

fn push(bytes: &mut Vec<u8>, sighting: &Sighting) {
    let Identity { key, id, start_ns } = sighting.identity;
    let length = address_length(key.family);
    bytes.push(key.family as u8);
    bytes.push(key.protocol.0);
    bytes.extend_from_slice(&key.zone.to_le_bytes());
    bytes.extend_from_slice(&key.orig.src_port.to_le_bytes());
    bytes.extend_from_slice(&key.orig.dst_port.to_le_bytes());
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(&start_ns.to_le_bytes());
    bytes.extend_from_slice(&sighting.since_ns.to_le_bytes());
    bytes.extend_from_slice(&key.orig.src[..length]);
    bytes.extend_from_slice(&key.orig.dst[..length]);
}

fn pull(rest: &mut &[u8]) -> Option<Sighting> {
    let [family, protocol] = take(rest)?;
    let family = Family::from_number(family)?;
    let zone = u16::from_le_bytes(take(rest)?);
    let src_port = u16::from_le_bytes(take(rest)?);
    let dst_port = u16::from_le_bytes(take(rest)?);
    let id = u32::from_le_bytes(take(rest)?);
    let start_ns = u64::from_le_bytes(take(rest)?);
    let since_ns = u64::from_le_bytes(take(rest)?);
    let mut address = || {
        let mut whole = [0; 16];
        let (mine, after) = rest.split_at_checked(address_length(family))?;
        whole[..mine.len()].copy_from_slice(mine);
        *rest = after;
        Some(whole)
    };
    let orig = Tuple {
        src: address()?,
        dst: address()?,
        src_port,
        dst_port,
    };
    let key = FlowKey {
        family,
        zone,
        protocol: Protocol(protocol),
        orig,
    };
    let identity = Identity { key, id, start_ns };
    Some(Sighting { identity, since_ns })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*first)
}

fn address_length(family: Family) -> usize {
    match family {
        Family::Ipv4 => 4,
        Family::Ipv6 => 16,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn sighting(number: u16, source: &str) -> Sighting {
        let source: IpAddr = source.parse().unwrap();
        let family = if source.is_ipv4() {
            Family::Ipv4
        } else {
            Family::Ipv6
        };
        let key = FlowKey {
            family,
            zone: 3,
            protocol: Protocol::UDP,
            orig: Tuple::new(source, source, number, 53),
        };
        Sighting {
            identity: Identity {
                key,
                id: 7,
                start_ns: 9,
            },
            since_ns: u64::from(number),
        }
    }

    fn owner() -> Owner {
        Owner {
            boot_id: "boot".to_owned(),
            created_ns: Some(5),
        }
    }

    #[test]
    fn a_followed_flow_takes_64_bytes() {
        assert_eq!(size_of::<Sighting>(), 64);
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let flows: Vec<_> = (0..100)
            .flat_map(|n| [sighting(n, "10.0.0.1"), sighting(n, "fd00::1")])
            .collect();
        let mut persisted = Persisted::default();
        persisted.keep("a", Arc::new(Followed::new(1, 2, flows.clone())));
        persisted.keep("b", Arc::new(Followed::new(3, 4, Vec::new())));
        let bytes = persisted.encode(&owner());
        let (read_owner, read) = Persisted::decode(&bytes).unwrap();
        assert_eq!(read_owner, owner());
        assert_eq!(read.len(), 200);
        for flow in &flows {
            assert_eq!(read.rules["a"].since(&flow.identity), Some(flow.since_ns));
        }
        let mut other = flows[0].identity;
        other.start_ns += 1;
        assert_eq!(read.rules["a"].since(&other), None);
        for cut in [0, 10, bytes.len() - 1] {
            assert!(Persisted::decode(&bytes[..cut]).is_err());
        }
        assert!(Persisted::decode(&[&bytes[..], b"x"].concat()).is_err());
    }
}
