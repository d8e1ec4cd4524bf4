//! For how long flows have matched a rule with `persisted`.

use std::sync::Arc;

use crate::flow::Flow;
use crate::history::{Followed, Identity, Sighting};

/// What a rule with `persisted` knows of earlier runs.
pub(super) struct Following {
    pub(super) window_ns: u64,
    pub(super) now_ns: u64,
    pub(super) before: Option<Arc<Followed>>,
}

/// What earlier runs say of a flow that a rule with `persisted` matches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Followup {
    /// What the next run shall know of it; nothing where it cannot be told from another flow.
    pub(super) sighting: Option<Sighting>,
    /// It has matched for long enough.
    pub(super) persisted: bool,
}

impl Following {
    pub(super) fn up(&self, flow: &Flow) -> Followup {
        let Some(identity) = Identity::of(flow) else {
            return Followup {
                sighting: None,
                persisted: false,
            };
        };
        let since = self.before.as_ref().and_then(|b| b.since(&identity));
        let since = since.filter(|&since_ns| since_ns < self.now_ns);
        Followup {
            persisted: since.is_some_and(|since_ns| self.now_ns - since_ns >= self.window_ns),
            sighting: Some(Sighting {
                identity,
                since_ns: since.unwrap_or(self.now_ns),
            }),
        }
    }

    /// Nanoseconds for which a flow has matched, and for which it has to.
    pub(super) fn so_far(&self, flow: &Flow) -> (u64, u64) {
        let since_ns = self.up(flow).sighting.map_or(self.now_ns, |s| s.since_ns);
        (self.now_ns - since_ns, self.window_ns)
    }
}
