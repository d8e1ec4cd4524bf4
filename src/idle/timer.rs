//! What is known of one timeout.

use crate::history::{History, Observation};
use crate::observe::Header;
use crate::tunable::Governing;

/// A governing timeout: its value now, its history, and what conntidy wrote in its place.
#[derive(Clone, Debug)]
pub(super) struct Timer {
    /// What histories call it.
    pub(super) name: &'static str,
    /// Seconds, now; `None` where it could not be read.
    pub(super) seconds: Option<u64>,
    /// Largest remaining time that conntidy wrote within the last `seconds`.
    pub(super) retimed: Option<u32>,
    /// Values over time, oldest first; `None` for a constant of the kernel.
    observations: Option<Vec<Observation>>,
}

impl Timer {
    pub(super) fn new(governing: Governing, header: &Header) -> Self {
        let name = governing.name();
        let (seconds, observations) = match governing {
            Governing::Fixed(seconds) => (Some(u64::from(seconds)), None),
            Governing::Sysctl(name) => {
                let mut observations = header
                    .history
                    .timeouts
                    .get(name)
                    .cloned()
                    .unwrap_or_default();
                observations.sort_by_key(|observation| observation.at_ns);
                (header.number(name), Some(observations))
            }
        };
        Self {
            name,
            seconds,
            retimed: seconds.and_then(|s| largest_retime(&header.history, name, s, header)),
            observations,
        }
    }

    /// The lowest value since a time of this boot; `None` where the history does not reach back.
    pub(super) fn lowest_since(&self, since_ns: u64) -> Option<u64> {
        let now = self.seconds?;
        let Some(observations) = &self.observations else {
            return Some(now);
        };
        let later = observations.partition_point(|observation| observation.at_ns <= since_ns);
        let in_force = later.checked_sub(1)?;
        observations[in_force..]
            .iter()
            .map(|observation| u64::from(observation.value))
            .min()
            .map(|lowest| lowest.min(now))
    }

    /// Since when, in time since boot, no lower value than today's is known to have governed;
    /// `None` where that is not known of any time before now.
    pub(super) fn steady_since(&self) -> Option<u64> {
        let now = self.seconds?;
        let Some(observations) = &self.observations else {
            return Some(0);
        };
        observations
            .iter()
            .rev()
            .take_while(|observation| u64::from(observation.value) >= now)
            .last()
            .map(|observation| observation.at_ns)
    }
}

fn largest_retime(history: &History, name: &str, seconds: u64, header: &Header) -> Option<u32> {
    let since = header
        .uptime_ns
        .saturating_sub(seconds.saturating_mul(1_000_000_000));
    history
        .retimes
        .iter()
        .filter(|retime| retime.timeout == name && retime.at_ns >= since)
        .map(|retime| retime.seconds)
        .max()
}
