//! A run that writes tunables and goes on only once somebody has confirmed that they may stay.
//!
//! No rule acts before: what is deleted is not put back with the tunables, and the flows of whoever
//! is to confirm are among those that a rule could take.

use std::time::Instant;

use super::{ApplyError, Confirm, Running, Writes, milliseconds, source_of, tunable};
use crate::kernel::sets;
use crate::observe::{Header, Observe};
use crate::plan::{self, Judge};

impl Running<'_> {
    pub(super) fn act_once_confirmed(
        &mut self,
        confirm: &Confirm<'_>,
        mut judge: Judge<'_>,
        header: &Header,
    ) {
        let began = Instant::now();
        // A run that is killed while it writes has to have told what it may have written.
        self.report.sysctl = tunable::intended(&self.report.plan.sysctl);
        let told = self.apply.state.write_audit(self.apply.run, &self.report);
        self.report.sysctl.clear();
        if let Err(error) = told {
            let cause = source_of(&error);
            self.problem(format!(
                "what is written could not be recorded, so nothing is: {error}: {cause}"
            ));
            confirm(&[]);
            return;
        }
        self.write_tunables(&mut judge);
        self.tell_what_was_written();
        self.report.timings.sysctl_ms = milliseconds(began);
        self.report.confirmation = confirm(&self.report.sysctl);
        if self.report.is_unconfirmed() {
            return;
        }
        let (steps, change) = (
            self.report.plan.sysctl.clone(),
            self.report.plan.summary.change,
        );
        if let Err(error) = self.look_anew_and_act(header) {
            self.problem(format!("no rule acts: {error}: {}", source_of(&error)));
        }
        // What became of the tunables is told as it was decided, not as it looks now.
        (self.report.plan.sysctl, self.report.plan.summary.change) = (steps, change);
    }

    /// The waiting took time, and what was written governs timers now.
    fn look_anew_and_act(&mut self, header: &Header) -> Result<(), ApplyError> {
        let apply = self.apply;
        let mut now = apply.live.header()?;
        now.netns.clone_from(&header.netns);
        self.memory.history.record(&now);
        now.history = self.memory.history.clone();
        let members = sets::read(apply.policy, apply.members.to_vec());
        let members = plan::members(apply.policy, &members, &now);
        apply.foresee_streamed(&mut now, &members);
        let judge = Judge::new(apply.policy, &members, &now, &apply.options);
        // Nobody was asked about what differs only now: the next run sees to it.
        self.act(judge, &now, Writes::None)
    }
}
