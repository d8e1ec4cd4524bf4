//! The kinds of entries that there are, and which of them a predicate can take.
//!
//! A cell is a kind of entry: family, protocol, state, direction of traffic, NAT, offload. There are
//! some thousand of them, so what a policy means for each can simply be tried.

use super::timing::Timing;
use super::{AddressField, AddressTerm, NatWord, Policy, Predicate, Rule, Test};
use crate::flow::status::StatusWord;
use crate::flow::{Family, Flow, Present, Protocol, Status, Tuple, protocol};

/// What a test can come to on the entries of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcomes {
    /// It can hold.
    pub yes: bool,
    /// It can fail.
    pub no: bool,
    /// It can stay unknown.
    pub unknown: bool,
}

impl Outcomes {
    const YES: Self = Self::of(true, false, false);
    const NO: Self = Self::of(false, true, false);
    const UNKNOWN: Self = Self::of(false, false, true);
    const KNOWN: Self = Self::of(true, true, false);
    const ANY: Self = Self::of(true, true, true);

    const fn of(yes: bool, no: bool, unknown: bool) -> Self {
        Self { yes, no, unknown }
    }

    const fn certain(holds: bool) -> Self {
        if holds { Self::YES } else { Self::NO }
    }

    /// It always holds.
    #[must_use]
    pub fn is_always(self) -> bool {
        self == Self::YES
    }

    /// It never holds, and that is known.
    #[must_use]
    pub fn is_never(self) -> bool {
        self == Self::NO
    }

    /// It cannot be known.
    #[must_use]
    pub fn is_unknowable(self) -> bool {
        self == Self::UNKNOWN
    }
}

/// Every cell that matters for one policy, and what is known of its timeouts.
#[derive(Debug)]
pub struct Cells<'a> {
    kinds: Vec<Flow>,
    rules: Vec<CellSet>,
    /// The timeouts.
    pub timing: Timing<'a>,
}

/// Some of the cells, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellSet(Vec<u64>);

impl CellSet {
    /// None of them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Whether a cell is in both.
    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    fn contains(&self, index: usize) -> bool {
        self.0[index / 64] & (1 << (index % 64)) != 0
    }
}

/// A protocol number that nobody uses: stands for every protocol that a policy does not name.
const ANY_OTHER: Protocol = Protocol(253);

impl<'a> Cells<'a> {
    /// The cells of a policy.
    #[must_use]
    pub fn new(timing: Timing<'a>) -> Self {
        let mut kinds = Vec::new();
        let nat = translations(timing.policy);
        for protocol in protocols(timing.policy) {
            let states: Vec<Option<u8>> = if protocol.has_states() {
                (0..protocol::state_names(protocol).len())
                    .filter_map(|state| u8::try_from(state).ok().map(Some))
                    .collect()
            } else {
                vec![None]
            };
            for family in [Family::Ipv4, Family::Ipv6] {
                for state in &states {
                    push_variants(&mut kinds, family, protocol, *state, nat);
                }
                if matches!(protocol, Protocol::TCP | Protocol::UDP) {
                    kinds.push(offloaded(family, protocol));
                }
            }
        }
        let mut cells = Self {
            kinds,
            rules: Vec::new(),
            timing,
        };
        let rules = timing.policy.rules.iter();
        cells.rules = rules.map(|rule| cells.possible(&rule.predicate)).collect();
        cells
    }

    /// The policy's rules in their order, each with the cells of which it can take entries.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = (&'a Rule, &CellSet)> {
        self.timing.policy.rules.iter().zip(&self.rules)
    }

    /// The cells of a set.
    pub fn of(&self, set: &CellSet) -> impl Iterator<Item = &Flow> {
        let cells = self.kinds.iter().enumerate();
        cells.filter_map(|(index, cell)| set.contains(index).then_some(cell))
    }

    /// The cells that fulfil a condition.
    pub fn select(&self, mut holds: impl FnMut(&Flow) -> bool) -> CellSet {
        let mut words = vec![0_u64; self.kinds.len().div_ceil(64)];
        for (index, cell) in self.kinds.iter().enumerate() {
            if holds(cell) {
                words[index / 64] |= 1 << (index % 64);
            }
        }
        CellSet(words)
    }

    /// The cells of which a predicate can take entries.
    #[must_use]
    pub fn possible(&self, predicate: &Predicate) -> CellSet {
        self.select(|cell| {
            predicate
                .tests
                .iter()
                .all(|test| self.outcomes(test, cell).yes)
                && predicate
                    .not
                    .iter()
                    .all(|test| self.outcomes(test, cell).no)
        })
    }

    /// The same, leaving the idle time out of account.
    #[must_use]
    pub fn possible_if_idle(&self, predicate: &Predicate) -> CellSet {
        self.select(|cell| {
            let is_idle = |test: &&Test| matches!(test, Test::IdleFor(_));
            let mut tests = predicate.tests.iter().filter(|test| !is_idle(test));
            tests.all(|test| self.outcomes(test, cell).yes)
                && predicate
                    .not
                    .iter()
                    .all(|test| self.outcomes(test, cell).no)
        })
    }

    /// What a test can come to on entries of a cell.
    #[must_use]
    pub fn outcomes(&self, test: &Test, cell: &Flow) -> Outcomes {
        match test {
            Test::Family(families) => Outcomes::certain(families.contains(&cell.family)),
            Test::Protocol(protocols) => Outcomes::certain(protocols.contains(&cell.protocol)),
            Test::State(states) => match cell.state() {
                Some(state) => Outcomes::certain(states.contains(&(cell.protocol, state))),
                None => Outcomes::UNKNOWN,
            },
            Test::Status(words) => status_outcomes(words, cell),
            Test::Address(field, terms) => address_outcomes(*field, terms, cell),
            Test::Port(_, ranges) if cell.protocol.has_ports() => {
                if ranges.contains(&(0, u16::MAX)) {
                    Outcomes::YES
                } else {
                    Outcomes::KNOWN
                }
            }
            Test::IcmpType(_) | Test::IcmpCode(_)
                if matches!(cell.protocol, Protocol::ICMP | Protocol::ICMPV6) =>
            {
                Outcomes::KNOWN
            }
            Test::GreKey(_) if cell.protocol == Protocol::GRE => Outcomes::KNOWN,
            Test::Port(..) | Test::IcmpType(_) | Test::IcmpCode(_) | Test::GreKey(_) => {
                Outcomes::UNKNOWN
            }
            Test::Nat(words) => {
                let src = cell.status.contains(Status::SRC_NAT);
                let dst = cell.status.contains(Status::DST_NAT);
                Outcomes::certain(words.iter().any(|word| match word {
                    NatWord::Src => src,
                    NatWord::Dst => dst,
                    NatWord::Any => src || dst,
                    NatWord::None => !src && !dst,
                }))
            }
            Test::Path(_) | Test::Mark(_) | Test::Label(_) | Test::Helper(_) => Outcomes::ANY,
            Test::IdleFor(idle) => {
                // Helpers and fixed timers hide idleness, but no cell says that.
                match self.timing.governing(cell) {
                    Some((timeout, _)) if !cell.is_offloaded() => {
                        Outcomes::of(idle.0 < timeout, true, true)
                    }
                    _ => Outcomes::UNKNOWN,
                }
            }
            Test::RemainingAbove(_) | Test::RemainingBelow(_) if cell.is_offloaded() => {
                Outcomes::UNKNOWN
            }
            Test::RemainingAbove(_)
            | Test::RemainingBelow(_)
            | Test::Zone(_)
            | Test::OrigZone(_)
            | Test::ReplyZone(_) => Outcomes::KNOWN,
            Test::AgeAbove(_) => self.switched("nf_conntrack_timestamp"),
            Test::BytesAbove(_)
            | Test::BytesBelow(_)
            | Test::PacketsAbove(_)
            | Test::PacketsBelow(_) => self.switched("nf_conntrack_acct"),
        }
    }

    fn switched(&self, name: &str) -> Outcomes {
        if self.timing.switch(name).0 {
            Outcomes::ANY
        } else {
            Outcomes::UNKNOWN
        }
    }
}

fn all_tests(policy: &Policy) -> impl Iterator<Item = &Test> {
    let rules = policy.rules.iter().map(|rule| &rule.predicate);
    let protect = policy.protect.iter().map(|protect| &protect.predicate);
    rules.chain(protect).flat_map(Predicate::all_tests)
}

/// Every combination of translations, or none where no test can tell them apart.
fn translations(policy: &Policy) -> &'static [Status] {
    const ALL: &[Status] = &[
        Status::empty(),
        Status::SRC_NAT,
        Status::DST_NAT,
        Status::SRC_NAT.union(Status::DST_NAT),
    ];
    let looks_at_nat = |test: &Test| match test {
        Test::Nat(_) | Test::Address(AddressField::NatSrc | AddressField::NatDst, _) => true,
        Test::Status(words) => words
            .iter()
            .any(|word| matches!(word, StatusWord::SrcNat | StatusWord::DstNat)),
        _ => false,
    };
    if all_tests(policy).any(looks_at_nat) {
        ALL
    } else {
        &ALL[..1]
    }
}

fn protocols(policy: &Policy) -> Vec<Protocol> {
    let named = all_tests(policy).flat_map(|test| match test {
        Test::Protocol(protocols) => protocols.as_slice(),
        _ => &[],
    });
    let mut all: Vec<Protocol> = [
        Protocol::TCP,
        Protocol::UDP,
        Protocol::UDPLITE,
        Protocol::SCTP,
        Protocol::DCCP,
        Protocol::ICMP,
        Protocol::ICMPV6,
        Protocol::GRE,
        ANY_OTHER,
    ]
    .into_iter()
    .chain(named.copied())
    .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Every combination of traffic directions and NAT. An assured entry has seen both directions.
fn push_variants(
    cells: &mut Vec<Flow>,
    family: Family,
    protocol: Protocol,
    state: Option<u8>,
    nat: &[Status],
) {
    for traffic in [
        Status::empty(),
        Status::SEEN_REPLY,
        Status::SEEN_REPLY | Status::ASSURED,
    ] {
        for translation in nat {
            let mut cell = Flow::new(family, protocol, Tuple::default());
            cell.status = traffic | *translation;
            cell.present = Present::STATUS | Present::TIMEOUT;
            if let Some(state) = state {
                cell.state = state;
                cell.present |= Present::STATE;
            }
            cells.push(cell);
        }
    }
}

/// The flowtable takes the timer and the state away.
fn offloaded(family: Family, protocol: Protocol) -> Flow {
    let mut cell = Flow::new(family, protocol, Tuple::default());
    cell.status = Status::SEEN_REPLY | Status::ASSURED | Status::OFFLOAD;
    cell.present = Present::STATUS;
    cell
}

fn status_outcomes(words: &[StatusWord], cell: &Flow) -> Outcomes {
    let holds = |word: &StatusWord| match word {
        StatusWord::FixedTimeout | StatusWord::Expected | StatusWord::Helper => Outcomes::KNOWN,
        StatusWord::HwOffload if cell.is_offloaded() => Outcomes::KNOWN,
        word => Outcomes::certain(word.holds(cell.status)),
    };
    let mut any = Outcomes::NO;
    for outcome in words.iter().map(holds) {
        if outcome == Outcomes::YES {
            return outcome;
        }
        if outcome.yes {
            any = Outcomes::KNOWN;
        }
    }
    any
}

fn address_outcomes(field: AddressField, terms: &[AddressTerm], cell: &Flow) -> Outcomes {
    let is_translated = match field {
        AddressField::NatSrc => cell.status.contains(Status::SRC_NAT),
        AddressField::NatDst => cell.status.contains(Status::DST_NAT),
        _ => true,
    };
    if !is_translated {
        // Whether a missing translation is another address or none at all makes no difference
        // for taking entries, and is left open here.
        return Outcomes::of(false, true, true);
    }
    let of_family = |prefix: &ipnet::IpNet| match prefix {
        ipnet::IpNet::V4(_) => cell.family == Family::Ipv4,
        ipnet::IpNet::V6(_) => cell.family == Family::Ipv6,
    };
    let mut any = Outcomes::NO;
    for term in terms {
        match term {
            AddressTerm::Prefix(prefix) if !of_family(prefix) => {}
            AddressTerm::Prefix(prefix) if prefix.prefix_len() == 0 => return Outcomes::YES,
            AddressTerm::Prefix(_) if any == Outcomes::NO => any = Outcomes::KNOWN,
            AddressTerm::Prefix(_) => {}
            AddressTerm::Set(_) => any = Outcomes::ANY,
        }
    }
    any
}
