//! Which tunables earlier runs wrote, so that another writer is noticed, and two that write against
//! each other stop.
//!
//! A correction is a write over a value that somebody else put in the place of one that conntidy had
//! written. A key that was never written before, or that a reload of the module set back, is no
//! fight.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::History;
use crate::observe::Header;

/// So many corrections of a key within [`WINDOW_NS`] make it contested.
pub const CONTESTED_AFTER: usize = 3;

/// How near together they have to be: an hour, nanoseconds.
pub const WINDOW_NS: u64 = 3_600_000_000_000;

/// A tunable as a run left it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Written {
    /// The value written.
    pub value: u64,
    /// What it was before conntidy first wrote it in this boot, the text that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// The run that wrote it last.
    pub run: String,
    /// When.
    pub at_ns: u64,
    /// [`Header::module_load`] then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_load: Option<u64>,
    /// Corrections since the policy asks for this value, oldest first; once there are
    /// [`CONTESTED_AFTER`] of them none is forgotten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrections: Vec<Correction>,
}

/// Another writer's value that was written over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Correction {
    /// When.
    pub at_ns: u64,
    /// What the other writer had made it, the text that was read.
    pub found: String,
}

/// A value that was put back, since nobody confirmed the run that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unconfirmed {
    /// The value that the run had written.
    pub value: u64,
    /// The run.
    pub run: String,
}

impl Written {
    /// Two write against each other here.
    #[must_use]
    pub fn is_contested(&self) -> bool {
        self.corrections.len() >= CONTESTED_AFTER
    }
}

/// A write of a tunable that went well.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// The key.
    pub name: &'a str,
    /// What was found, the text that was read.
    pub found: Option<&'a str>,
    /// What was written and read back.
    pub value: u64,
    /// The run.
    pub run: &'a str,
    /// When.
    pub at_ns: u64,
    /// [`Header::module_load`].
    pub module_load: Option<u64>,
    /// Somebody else had changed what conntidy had written.
    pub corrects: bool,
}

impl History {
    /// Records a write; whether the key is contested by it.
    pub fn record_write(&mut self, write: Write<'_>) -> bool {
        let earlier = self.written.remove(write.name);
        let found = write.found.map(ToOwned::to_owned);
        let (original, mut corrections) = match earlier {
            // Another wish is another matter: who wrote against the old one may like it.
            Some(earlier) if earlier.value != write.value => (earlier.original, Vec::new()),
            Some(earlier) => (earlier.original, earlier.corrections),
            None => (found.clone(), Vec::new()),
        };
        let since = write.at_ns.saturating_sub(WINDOW_NS);
        corrections.retain(|correction| correction.at_ns >= since);
        if write.corrects
            && let Some(found) = found
        {
            corrections.push(Correction {
                at_ns: write.at_ns,
                found,
            });
        }
        let written = Written {
            value: write.value,
            original,
            run: write.run.to_owned(),
            at_ns: write.at_ns,
            module_load: write.module_load,
            corrections,
        };
        let contested = written.is_contested();
        self.written.insert(write.name.to_owned(), written);
        self.unconfirmed.remove(write.name);
        contested
    }

    /// Forgets that a key was written: it has been put back.
    pub fn forget_write(&mut self, name: &str) {
        self.written.remove(name);
    }

    /// Records that a key was put back, since nobody confirmed the run that wrote this value.
    pub fn record_unconfirmed(&mut self, name: &str, value: u64, run: &str) {
        let run = run.to_owned();
        self.unconfirmed
            .insert(name.to_owned(), Unconfirmed { value, run });
    }

    /// Ends what keeps a key from being written; whether anything did.
    pub fn take(&mut self, name: &str) -> bool {
        let contested = self.written.get(name).is_some_and(Written::is_contested);
        if contested {
            // Who takes a key writes it for the first time, and corrects nobody.
            self.written.remove(name);
        }
        self.unconfirmed.remove(name).is_some() || contested
    }

    /// The keys that [`take`](Self::take) would give back, sorted.
    #[must_use]
    pub fn kept_from_writing(&self) -> Vec<&str> {
        let contested = self.written.iter().filter(|(_, w)| w.is_contested());
        let mut names: Vec<&str> = contested
            .map(|(name, _)| name.as_str())
            .chain(self.unconfirmed.keys().map(String::as_str))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether a key has lost what was written because the module was loaded anew: it tells so
    /// itself, or, where that is out of sight, every key that was written (at least two) is back at
    /// what it was before.
    #[must_use]
    pub fn was_reset(&self, written: &Written, header: &Header) -> bool {
        match (written.module_load, header.module_load) {
            (Some(then), Some(now)) => then != now,
            _ => self.is_back_at_originals(header),
        }
    }

    fn is_back_at_originals(&self, header: &Header) -> bool {
        let mut changed = self
            .written
            .iter()
            .filter(|(_, written)| {
                let original = written.original.as_deref();
                original.and_then(|text| text.trim().parse().ok()) != Some(written.value)
            })
            .peekable();
        let several = changed.clone().nth(1).is_some();
        several
            && changed.peek().is_some()
            && changed.all(|(name, written)| {
                let now = header.tunables.get(name);
                let now = now.and_then(|reading| reading.value.as_deref());
                now.map(str::trim) == written.original.as_deref().map(str::trim)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Reading;

    const MINUTE: u64 = 60_000_000_000;

    fn write(value: u64, at_ns: u64, corrects: bool) -> Write<'static> {
        Write {
            name: "key",
            found: Some("7"),
            value,
            run: "run",
            at_ns,
            module_load: None,
            corrects,
        }
    }

    #[test]
    fn the_third_correction_within_an_hour_contests_a_key() {
        let mut history = History::default();
        assert!(!history.record_write(write(5, 0, false)));
        assert!(!history.record_write(write(5, 10 * MINUTE, true)));
        assert!(!history.record_write(write(5, 20 * MINUTE, true)));
        assert!(history.record_write(write(5, 70 * MINUTE, true)));
        assert_eq!(history.kept_from_writing(), ["key"]);
        assert_eq!(history.written["key"].corrections.len(), 3);
    }

    #[test]
    fn corrections_further_apart_are_no_fight() {
        let mut history = History::default();
        history.record_write(write(5, 0, false));
        for turn in 1..20 {
            assert!(!history.record_write(write(5, turn * 31 * MINUTE, true)));
        }
    }

    #[test]
    fn another_wish_and_taking_the_key_begin_anew() {
        let fought = || {
            let mut history = History::default();
            for at in 0..4 {
                history.record_write(write(5, at, at > 0));
            }
            history
        };
        let mut taken = fought();
        assert!(!taken.take("other"));
        assert!(taken.take("key"));
        assert!(!taken.take("key"));
        assert!(!taken.record_write(write(5, 5, true)));
        let mut changed = fought();
        assert!(!changed.record_write(write(6, 5, true)));
        assert_eq!(changed.written["key"].corrections.len(), 1);
    }

    #[test]
    fn a_value_put_back_unconfirmed_is_kept_until_taken_or_written() {
        let mut history = History::default();
        history.record_write(write(5, 0, false));
        history.forget_write("key");
        history.record_unconfirmed("key", 5, "run");
        assert_eq!(history.kept_from_writing(), ["key"]);
        let mut taken = history.clone();
        assert!(taken.take("key"));
        assert!(taken.kept_from_writing().is_empty());
        history.record_write(write(5, 1, false));
        assert!(history.kept_from_writing().is_empty());
    }

    /// Keys a and b, written 1 over 10, and what they are now.
    fn reset(now: [&str; 2], loads: (Option<u64>, Option<u64>)) -> bool {
        let mut history = History::default();
        let mut header = Header {
            module_load: loads.1,
            ..Header::default()
        };
        for (name, value) in ["a", "b"].into_iter().zip(now) {
            let written = Written {
                value: 1,
                original: Some("10".to_owned()),
                module_load: loads.0,
                ..Written::default()
            };
            history.written.insert(name.to_owned(), written);
            let reading = Reading {
                value: Some(value.to_owned()),
                writable: true,
                error: None,
            };
            header.tunables.insert(name.to_owned(), reading);
        }
        history.was_reset(&history.written["a"], &header)
    }

    #[test]
    fn a_module_that_was_loaded_anew_tells_so() {
        assert!(reset(["10", "10"], (Some(1), Some(2))));
        assert!(!reset(["10", "10"], (Some(1), Some(1))));
    }

    #[test]
    fn out_of_sight_it_is_told_by_all_keys_being_back_at_once() {
        assert!(reset(["10", "10"], (None, Some(2))));
        assert!(!reset(["10", "1"], (None, None)));
        assert!(!reset(["10", "11"], (None, None)));
    }

    #[test]
    fn one_key_alone_tells_of_no_reset() {
        let mut history = History::default();
        history.record_write(write(5, 0, false));
        let reading = Reading {
            value: Some("7".to_owned()),
            writable: true,
            error: None,
        };
        let header = Header {
            tunables: [("key".to_owned(), reading)].into(),
            ..Header::default()
        };
        assert!(!history.was_reset(&history.written["key"], &header));
    }
}
