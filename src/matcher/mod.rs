//! Three-valued predicates over flows (POLICY.md, section 2).
//!
//! A [`Predicate`] is compiled once a run into checks that allocate nothing and stop at the first
//! that is false; the family and protocol, which are always known, are one bit of a table.

mod check;
mod context;
mod explain;
mod ranges;
mod truth;

#[cfg(test)]
mod tests;

pub use context::{Context, OwnAddresses};
pub use explain::{Clause, explain};
pub use ranges::{Addresses, Ranges};
pub use truth::Truth;

use check::Check;

use crate::flow::{Extra, Family, Flow, Protocol};
pub use crate::idle::Grade;
use crate::policy::{Predicate, Test};

/// A predicate, ready for a million flows.
#[derive(Clone, Debug)]
pub struct Compiled {
    gate: Gate,
    checks: Box<[(Check, bool)]>,
}

impl Compiled {
    /// Compiles a predicate for one run.
    ///
    /// `ignore_ct_timeout` trusts idle times although `ct timeout` objects exist
    /// ([`Rule::ignore_ct_timeout`](crate::policy::Rule::ignore_ct_timeout)).
    #[must_use]
    pub fn new(predicate: &Predicate, context: &Context<'_>, ignore_ct_timeout: bool) -> Self {
        let mut gate = Gate::open();
        let mut checks = Vec::new();
        let positive = predicate.tests.iter().map(|test| (test, false));
        let negative = predicate.not.iter().map(|test| (test, true));
        for (test, negated) in positive.chain(negative) {
            match test {
                Test::Family(families) => gate.keep(|f, _| families.contains(&f) != negated),
                Test::Protocol(protocols) => gate.keep(|_, p| protocols.contains(&p) != negated),
                _ => checks.push((Check::new(test, context, ignore_ct_timeout), negated)),
            }
        }
        checks.sort_by_key(|(check, _)| check.cost());
        Self {
            gate,
            checks: checks.into_boxed_slice(),
        }
    }

    /// Whether the predicate holds on a flow.
    ///
    /// `extra` is the flow's; `grade` says how sure an idle time must be to count as true.
    #[inline]
    #[must_use]
    pub fn eval(&self, flow: &Flow, extra: &Extra<'_>, grade: Grade) -> Truth {
        if !self.gate.admits(flow.family, flow.protocol) {
            return Truth::False;
        }
        let mut all = Truth::True;
        for (check, negated) in &self.checks {
            let truth = check.eval(flow, extra, grade);
            match if *negated { !truth } else { truth } {
                Truth::True => {}
                Truth::False => return Truth::False,
                Truth::Unknown => all = Truth::Unknown,
            }
        }
        all
    }
}

/// Which families and protocols can match at all, a bit each.
#[derive(Clone, Debug)]
struct Gate([[u64; 4]; 2]);

impl Gate {
    fn open() -> Self {
        Self([[u64::MAX; 4]; 2])
    }

    fn row(family: Family) -> usize {
        usize::from(family == Family::Ipv6)
    }

    fn keep(&mut self, admits: impl Fn(Family, Protocol) -> bool) {
        for family in [Family::Ipv4, Family::Ipv6] {
            for number in 0..=u8::MAX {
                if !admits(family, Protocol(number)) {
                    self.0[Self::row(family)][usize::from(number >> 6)] &= !(1 << (number & 63));
                }
            }
        }
    }

    fn admits(&self, family: Family, protocol: Protocol) -> bool {
        self.0[Self::row(family)][usize::from(protocol.0 >> 6)] >> (protocol.0 & 63) & 1 == 1
    }
}
