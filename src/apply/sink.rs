//! Takes the flows that a scan selects: changes them at once, or keeps them for later.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::kernel::{Change, Feeder};
use crate::observe::Record;
use crate::plan::{Judge, Selected, Sink, Step};
use crate::policy::Action;
use crate::state::{UndoWriter, frame};

/// The undo files, shared by the dumping threads and the sender.
pub(super) type Undo = Arc<Mutex<UndoWriter>>;

/// A dumping thread's sink.
pub(super) struct ActSink<'s, 'p> {
    judge: &'s Judge<'p>,
    undo: &'s Undo,
    /// There where a rule streams.
    feeder: Option<Feeder<'s>>,
    started: Instant,
    /// Collected, their claim settled.
    selected: Vec<Selected>,
    /// Why an undo record could not be kept; nothing may be deleted then.
    error: Option<io::Error>,
}

impl<'s, 'p> ActSink<'s, 'p> {
    pub(super) fn new(
        judge: &'s Judge<'p>,
        undo: &'s Undo,
        feeder: Option<Feeder<'s>>,
        started: Instant,
    ) -> Self {
        Self {
            judge,
            undo,
            feeder,
            started,
            selected: Vec::new(),
            error: None,
        }
    }

    /// What was collected, and why an undo record could not be kept. What streams has been handed
    /// over by then.
    pub(super) fn into_selected(self) -> (Vec<Selected>, Option<io::Error>) {
        (self.selected, self.error)
    }

    fn at_ms(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_millis()).unwrap_or(u32::MAX)
    }
}

impl Sink for ActSink<'_, '_> {
    fn streams(&self) -> bool {
        self.feeder.is_some()
    }

    fn now(&mut self, rule: u16, record: &Record<'_>) {
        let at_ms = self.at_ms();
        let Some(feeder) = &mut self.feeder else {
            return;
        };
        let key = record.flow.key();
        match self.judge.action(usize::from(rule)) {
            Action::Delete => {
                frame(feeder.record(), record.message, at_ms, rule);
                let id = record.flow.id;
                feeder.push(rule.into(), &Change::Delete { key, id });
            }
            action @ Action::Expire { .. } => {
                if self.judge.can_be_undone(usize::from(rule)) {
                    frame(feeder.record(), record.message, at_ms, rule);
                }
                let seconds = action.timer().unwrap_or(u32::MAX);
                feeder.push(rule.into(), &Change::Retime { key, seconds });
            }
            // These never stream.
            Action::Update(_) | Action::Report => {}
        }
    }

    fn later(&mut self, may_be_undone: bool, record: &Record<'_>) -> Step {
        let at_ms = self.at_ms();
        let mut offset = 0;
        if may_be_undone && self.error.is_none() {
            let mut undo = self.undo.lock().unwrap_or_else(PoisonError::into_inner);
            match undo.keep(record.message, at_ms) {
                Ok(place) => offset = place,
                Err(error) => self.error = Some(error),
            }
        }
        Step { offset, at_ms }
    }

    fn keep(&mut self, selected: Selected) {
        self.selected.push(selected);
    }
}
