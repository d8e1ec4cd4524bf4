//! On what footing tables are compared: the finest that all of them tell.
//!
//! Flows can be paired where all have every flow, with real addresses or pseudonyms of one key.
//! Everywhere else they are counted by group, and the finer tables tell no more than the coarsest.

use std::io::{Read, Seek};

use super::{PREFIX4, PREFIX6, Snapshot};
use crate::group::{By, WHOLE};
use crate::observe::{Header, Redaction};
use crate::policy::Detail;

/// The fields that an aggregate tells.
const AGGREGATED: [&str; 13] = [
    "family",
    "protocol",
    "state",
    "class",
    "status",
    "src",
    "dst",
    "dport",
    "icmp-type",
    "nat",
    "mark",
    "zone",
    "orig-zone",
];

/// One of the tables, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Party<'a> {
    /// What people call it.
    pub name: &'a str,
    /// Whether it has flows or groups.
    pub detail: Detail,
    /// Everything else.
    pub header: &'a Header,
    /// Flows in groups without addresses, ports and marks, since there were too many groups.
    pub folded: u64,
}

impl<'a> Party<'a> {
    /// A snapshot by its name.
    pub fn of<R: Read + Seek>(name: &'a str, snapshot: &'a Snapshot<R>) -> Self {
        let aggregated = snapshot.trailer().aggregate;
        Self {
            name,
            detail: snapshot.detail(),
            header: snapshot.header(),
            folded: aggregated.map_or(0, |groups| groups.folded),
        }
    }

    fn is_aggregate(&self) -> bool {
        self.detail == Detail::Aggregate
    }

    fn redaction(&self) -> Option<&Redaction> {
        self.header.redaction.as_ref()
    }

    fn key(&self) -> Option<&str> {
        match self.redaction() {
            Some(Redaction::Pseudonym { key }) => Some(key),
            _ => None,
        }
    }

    /// The prefix lengths to which all its addresses are cut.
    fn cut(&self) -> (u8, u8) {
        match self.redaction() {
            Some(Redaction::Prefix { ipv4, ipv6 }) => (*ipv4, *ipv6),
            _ => WHOLE,
        }
    }
}

/// What is told of one kind of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    /// Networks of these lengths and wider ones; by whose fault no more.
    UpTo((u8, u8), String),
    /// Which are the same, and nothing else.
    AsTheyAre,
    /// Nothing, and why.
    Nothing(String),
}

/// Why a grouping cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An aggregate does not have the field.
    #[error("`--by {by}`: {name} is an aggregate and does not tell `{field}`")]
    Untold {
        /// The grouping.
        by: String,
        /// The field.
        field: &'static str,
        /// The aggregate.
        name: String,
    },
    /// Addresses of this kind cannot be compared.
    #[error("`--by {by}`: {why}, so `{field}` does not compare")]
    Incomparable {
        /// The grouping.
        by: String,
        /// The field.
        field: &'static str,
        /// Why.
        why: String,
    },
    /// Networks are told, and smaller ones are asked for.
    #[error("`--by {by}` is finer than what is told: {why}")]
    Finer {
        /// The grouping.
        by: String,
        /// What is told, and by whom.
        why: String,
        /// What can be had.
        instead: By,
    },
    /// Networks of pseudonyms are asked for.
    #[error(
        "`--by {by}`: addresses are pseudonyms, and a prefix of them groups nothing that belongs \
         together"
    )]
    Pseudonyms {
        /// The grouping.
        by: String,
        /// What can be had.
        instead: By,
    },
}

/// On what footing tables are compared.
#[derive(Clone, Debug)]
pub struct Footing {
    /// Why flows cannot be paired, if so.
    unpaired: Option<String>,
    /// The first aggregate.
    aggregate: Option<String>,
    src: Told,
    dst: Told,
    others: Told,
    folded: Vec<(String, u64)>,
}

impl Footing {
    /// Of these tables.
    #[must_use]
    pub fn new(parties: &[Party<'_>]) -> Self {
        let others = addresses(parties);
        let aggregate = parties.iter().find(|one| one.is_aggregate());
        let full = parties.iter().find(|one| !one.is_aggregate());
        let (src, dst) = match aggregate {
            None => (others.clone(), others.clone()),
            Some(aggregate) => (
                sources(&others, aggregate, full),
                destinations(&others, aggregate, parties),
            ),
        };
        let unpaired = match (aggregate, &others) {
            (Some(aggregate), _) => Some(format!("{} is an aggregate", aggregate.name)),
            (None, Told::Nothing(why)) => Some(why.clone()),
            (None, Told::UpTo(prefix, why)) if *prefix != WHOLE => Some(why.clone()),
            (None, _) => None,
        };
        Self {
            unpaired,
            aggregate: aggregate.map(|one| one.name.to_owned()),
            src,
            dst,
            others,
            folded: (parties.iter())
                .filter(|one| one.folded > 0)
                .map(|one| (one.name.to_owned(), one.folded))
                .collect(),
        }
    }

    /// The fields that an aggregate tells.
    #[must_use]
    pub fn aggregated() -> &'static [&'static str] {
        &AGGREGATED
    }

    /// Why flows cannot be told apart and found again; `None` where they can.
    #[must_use]
    pub fn unpaired(&self) -> Option<&str> {
        self.unpaired.as_deref()
    }

    /// Whether no more is told of any flow than an aggregate does.
    #[must_use]
    pub fn is_aggregate(&self) -> bool {
        self.aggregate.is_some()
    }

    fn told(&self, field: &str) -> &Told {
        match field {
            "src" => &self.src,
            "dst" => &self.dst,
            _ => &self.others,
        }
    }

    /// Whether all tables tell of what a grouping asks for.
    ///
    /// # Errors
    /// Where one does not.
    pub fn admits(&self, by: &By) -> Result<(), Refusal> {
        for (field, prefix) in by.prefixes() {
            let by_text = || by.to_string();
            if let Some(name) = &self.aggregate
                && !AGGREGATED.contains(&field)
            {
                return Err(Refusal::Untold {
                    by: by_text(),
                    field,
                    name: name.clone(),
                });
            }
            let Some((ipv4, ipv6)) = prefix else {
                continue;
            };
            match self.told(field) {
                Told::Nothing(why) => {
                    return Err(Refusal::Incomparable {
                        by: by_text(),
                        field,
                        why: why.clone(),
                    });
                }
                Told::UpTo(most, why) if ipv4 > most.0 || ipv6 > most.1 => {
                    return Err(Refusal::Finer {
                        by: by_text(),
                        why: why.clone(),
                        instead: self.narrow(by),
                    });
                }
                Told::AsTheyAre if (ipv4, ipv6) != WHOLE => {
                    return Err(Refusal::Pseudonyms {
                        by: by_text(),
                        instead: self.narrow(by),
                    });
                }
                Told::UpTo(..) | Told::AsTheyAre => {}
            }
        }
        Ok(())
    }

    /// The grouping as far as all tables tell of it.
    ///
    /// # Errors
    /// Where one does not tell of a field at all.
    pub fn nearest(&self, by: &By) -> Result<By, Refusal> {
        let narrowed = self.narrow(by);
        self.admits(&narrowed).map(|()| narrowed)
    }

    fn narrow(&self, by: &By) -> By {
        by.with_prefixes(|field, prefix| match self.told(field) {
            Told::UpTo(most, _) => (prefix.0.min(most.0), prefix.1.min(most.1)),
            Told::AsTheyAre => WHOLE,
            Told::Nothing(_) => prefix,
        })
    }

    /// What to know of these groupings before the numbers.
    #[must_use]
    pub fn notes(&self, by: &[By]) -> Vec<String> {
        let has = |field| by.iter().any(|by| by.fields().any(|one| one == field));
        let mut notes = Vec::new();
        if self.is_aggregate() && has("dst") {
            notes.push(
                "`dst` is told of services here and behind translation alone; `-` is anywhere else"
                    .to_owned(),
            );
        }
        if self.is_aggregate() && self.src == Told::AsTheyAre && has("src") {
            notes.push("`src` is the pseudonym of a network, not of one address".to_owned());
        }
        for (name, flows) in &self.folded {
            notes.push(format!(
                "{name}: it had too many groups, and {flows} of its flows were recorded without \
                 `src`, `dst`, `dport` and `mark`: counts of groups by these may be short by so many"
            ));
        }
        notes
    }
}

/// What all tables tell of addresses that are recorded as those of flows are.
fn addresses(parties: &[Party<'_>]) -> Told {
    let Some((first, rest)) = parties.split_first() else {
        return Told::UpTo(WHOLE, String::new());
    };
    if let Some(other) = rest.iter().find(|one| one.key() != first.key()) {
        let (one, other) = if first.key().is_some() {
            (first, other)
        } else {
            (other, first)
        };
        let of = match other.key() {
            Some(_) => "of another key",
            None => "not",
        };
        return Told::Nothing(format!(
            "addresses of {} are pseudonyms, and those of {} are {of}",
            one.name, other.name
        ));
    }
    if first.key().is_some() {
        return Told::AsTheyAre;
    }
    let cut = |length: fn((u8, u8)) -> u8| parties.iter().map(|one| length(one.cut())).min();
    let most = (
        cut(|cut| cut.0).unwrap_or(32),
        cut(|cut| cut.1).unwrap_or(128),
    );
    let who = parties.iter().find(|one| one.cut() != WHOLE);
    Told::UpTo(
        most,
        who.map_or_else(String::new, |one| {
            let (ipv4, ipv6) = one.cut();
            format!("addresses of {} are cut to /{ipv4} and /{ipv6}", one.name)
        }),
    )
}

/// What all tell of sources, where one is an aggregate: it has networks.
fn sources(addresses: &Told, aggregate: &Party<'_>, full: Option<&Party<'_>>) -> Told {
    match (addresses, full) {
        (Told::UpTo(most, why), _) if most.0 <= PREFIX4 && most.1 <= PREFIX6 => {
            Told::UpTo(*most, why.clone())
        }
        (Told::UpTo(most, _), _) => Told::UpTo(
            (most.0.min(PREFIX4), most.1.min(PREFIX6)),
            format!(
                "{} is an aggregate and tells sources by /{PREFIX4} and /{PREFIX6}",
                aggregate.name
            ),
        ),
        (Told::AsTheyAre, Some(full)) => Told::Nothing(format!(
            "a pseudonym is that of an address in {} and that of a network in {}",
            full.name, aggregate.name
        )),
        (told, _) => told.clone(),
    }
}

/// What all tell of destinations, where one is an aggregate: it has own and translated ones.
fn destinations(addresses: &Told, aggregate: &Party<'_>, parties: &[Party<'_>]) -> Told {
    let unknown = |one: &&Party<'_>| !one.is_aggregate() && one.header.addresses.is_none();
    match (addresses, parties.iter().find(unknown)) {
        (Told::UpTo(..) | Told::AsTheyAre, Some(unknown)) => Told::Nothing(format!(
            "{} tells destinations of the host's own services, and {} not which addresses are own",
            aggregate.name, unknown.name
        )),
        (told, _) => told.clone(),
    }
}
