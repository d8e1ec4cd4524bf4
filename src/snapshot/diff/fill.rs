//! What the tables are full of: classes, protocols and states.

use std::collections::BTreeMap;

use super::document::{Composition, Fill, Split};
use crate::flow::protocol::state_name;
use crate::flow::{Class, Flow, Protocol};
use crate::observe::Header;

type Kind = (u8, Option<u8>);

/// Counts of both sides.
#[derive(Default)]
pub(super) struct Filling {
    classes: [[u64; 2]; Class::ALL.len()],
    kinds: BTreeMap<Kind, [u64; 2]>,
}

const BEFORE: usize = 0;
const AFTER: usize = 1;

impl Filling {
    pub(super) fn before(&mut self, flow: &Flow) {
        self.add(flow, [1, 0]);
    }

    pub(super) fn after(&mut self, flow: &Flow) {
        self.add(flow, [0, 1]);
    }

    pub(super) fn both(&mut self, old: &Flow, new: &Flow) {
        if kind(old) == kind(new) && Class::of(old) == Class::of(new) {
            self.add(old, [1, 1]);
        } else {
            self.before(old);
            self.after(new);
        }
    }

    /// So many flows before and after that are like this one.
    pub(super) fn add(&mut self, flow: &Flow, [before, after]: [u64; 2]) {
        let class = &mut self.classes[Class::of(flow) as usize];
        class[BEFORE] += before;
        class[AFTER] += after;
        let kind = self.kinds.entry(kind(flow)).or_default();
        kind[BEFORE] += before;
        kind[AFTER] += after;
    }

    pub(super) fn fill(&self, before: &Header, after: &Header) -> Fill {
        Fill {
            before: self.split(BEFORE, before),
            after: self.split(AFTER, after),
        }
    }

    fn split(&self, side: usize, header: &Header) -> Split {
        Split::of(|class| self.classes[class as usize][side], header)
    }

    /// Protocols and states, the most frequent first.
    pub(super) fn composition(&self) -> Vec<Composition> {
        let mut list: Vec<_> = self
            .kinds
            .iter()
            .map(|((protocol, state), [before, after])| {
                let protocol = Protocol(*protocol);
                let name = |state: &u8| {
                    state_name(protocol, *state).map_or_else(|| state.to_string(), str::to_owned)
                };
                Composition {
                    protocol: protocol.to_string(),
                    state: state.as_ref().map(name),
                    before: *before,
                    after: *after,
                }
            })
            .collect();
        list.sort_by_key(|one| std::cmp::Reverse(one.before.max(one.after)));
        list
    }
}

fn kind(flow: &Flow) -> Kind {
    (flow.protocol.0, flow.state())
}
