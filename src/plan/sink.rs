//! What takes the flows that a pass selects.

use super::selected::Selected;
use crate::observe::Record;

/// Where a sink put the undo record of a flow, and when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step {
    /// Offset of the undo record.
    pub offset: u64,
    /// Milliseconds since the dump began.
    pub at_ms: u32,
}

/// Takes the flows that are to be changed.
pub trait Sink: Send {
    /// Whether it can make changes at once; otherwise every change comes later.
    fn streams(&self) -> bool;

    /// Nothing can refuse this change any more: it may be made now.
    fn now(&mut self, rule: u16, record: &Record<'_>);

    /// The change may still be refused: where it may be one that can be undone, its undo record is
    /// kept and the place returned.
    fn later(&mut self, may_be_undone: bool, record: &Record<'_>) -> Step;

    /// The change may still be refused, and its claim is settled: keep it.
    fn keep(&mut self, selected: Selected);
}

/// Does nothing with them: a plan counts.
pub(super) struct Count;

impl Sink for Count {
    fn streams(&self) -> bool {
        false
    }

    fn now(&mut self, _: u16, _: &Record<'_>) {}

    fn later(&mut self, _: bool, _: &Record<'_>) -> Step {
        Step::default()
    }

    fn keep(&mut self, _: Selected) {}
}

impl From<Count> for Vec<Selected> {
    fn from(_: Count) -> Self {
        Self::new()
    }
}

/// Keeps what is selected, for a plan that is saved.
#[derive(Default)]
pub(super) struct Keep(Vec<Selected>);

impl Sink for Keep {
    fn streams(&self) -> bool {
        false
    }

    fn now(&mut self, _: u16, _: &Record<'_>) {}

    fn later(&mut self, _: bool, _: &Record<'_>) -> Step {
        Step::default()
    }

    fn keep(&mut self, selected: Selected) {
        self.0.push(selected);
    }
}

impl From<Keep> for Vec<Selected> {
    fn from(Keep(selected): Keep) -> Self {
        selected
    }
}
