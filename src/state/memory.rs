//! What one run tells the next: the history of this boot, rules on hold, and when rules ran.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::history::History;
use crate::schedule::Rounds;

use super::health::Health;
use super::{State, StateError, replace, replace_soon};

const SCHEMA: &str = "conntidy.state/1";

/// The content of `state.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    #[serde(default)]
    schema: String,
    /// Boot that the history belongs to.
    pub boot_id: String,
    /// When the namespace was made, where that was ever known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_ns: Option<u64>,
    /// Timeouts seen and timers written in that boot.
    #[serde(default)]
    pub history: History,
    /// Rules on hold, with the run that was undone; they outlive a boot.
    #[serde(default)]
    pub holds: BTreeMap<String, String>,
    /// When rules ran and how that went; what the breaker holds outlives a boot.
    #[serde(default)]
    pub rounds: Rounds,
    /// How the last runs went; outlives a boot.
    #[serde(default)]
    pub health: Health,
}

impl Memory {
    /// Rules on hold, as planning wants them.
    #[must_use]
    pub fn holds(&self) -> Vec<(String, String)> {
        self.holds
            .iter()
            .map(|(rule, run)| (rule.clone(), run.clone()))
            .collect()
    }
}

impl State {
    /// Reads what earlier runs left; empty where there is nothing. The history of another boot is
    /// dropped: its clock began anew. What another namespace of this boot left, whose number this
    /// one got, is dropped whole.
    ///
    /// # Errors
    /// Where there is something that cannot be read: going on without would forget rules on hold.
    pub fn memory(&self, boot_id: &str) -> Result<Memory, StateError> {
        let path = self.directory.join("state.json");
        let empty = || Memory {
            boot_id: boot_id.to_owned(),
            ..Memory::default()
        };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(empty()),
            Err(source) => return Err(StateError::file("read", &path)(source)),
        };
        let damaged = |source: Box<dyn std::error::Error + Send + Sync>| StateError::Damaged {
            path: path.clone(),
            source,
        };
        let memory: Memory = serde_json::from_slice(&text).map_err(|e| damaged(e.into()))?;
        if memory.schema != SCHEMA {
            return Err(damaged(format!("schema `{}`", memory.schema).into()));
        }
        if memory.boot_id != boot_id {
            return Ok(Memory {
                holds: memory.holds,
                rounds: memory.rounds.of_other_boot(),
                health: memory.health.of_other_boot(),
                ..empty()
            });
        }
        if is_other(memory.created_ns, self.created_ns) {
            return Ok(empty());
        }
        Ok(memory)
    }

    /// Writes it, whole.
    ///
    /// # Errors
    /// Where that fails; what was there before is then still there.
    pub fn remember(&self, memory: &Memory) -> Result<(), StateError> {
        let (path, text) = self.written(memory)?;
        replace(&path, &text)
    }

    /// The same where nothing is new that outlives a boot, and so need not outlive the machine's end.
    ///
    /// # Errors
    /// Where that fails; what was there before is then still there.
    pub fn remember_history(&self, memory: &Memory) -> Result<(), StateError> {
        let (path, text) = self.written(memory)?;
        replace_soon(&path, &text)
    }

    fn written(&self, memory: &Memory) -> Result<(PathBuf, Vec<u8>), StateError> {
        let path = self.directory.join("state.json");
        let memory = Memory {
            schema: SCHEMA.to_owned(),
            created_ns: self.created_ns.or(memory.created_ns),
            ..memory.clone()
        };
        let text = serde_json::to_vec(&memory).map_err(|source| StateError::Damaged {
            path: path.clone(),
            source: source.into(),
        })?;
        Ok((path, text))
    }
}

/// Whether two namespaces of one number and boot are known to be different ones, by when they were
/// made.
#[must_use]
pub fn is_other(one: Option<u64>, other: Option<u64>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Observation;
    use crate::observe::Netns;

    #[test]
    fn another_boot_forgets_the_history_but_not_the_holds() {
        let root = tempfile::tempdir().unwrap();
        let state = State::of(root.path(), &Netns::default());
        state.create().unwrap();
        let mut memory = state.memory("one").unwrap();
        let seen = Observation { at_ns: 1, value: 2 };
        memory.history.timeouts.insert("x".to_owned(), vec![seen]);
        memory.holds.insert("rule".to_owned(), "run".to_owned());
        state.remember(&memory).unwrap();
        assert_eq!(state.memory("one").unwrap().history, memory.history);
        let other = state.memory("two").unwrap();
        assert_eq!(other.history, History::default());
        assert_eq!(other.holds, memory.holds);
    }

    #[test]
    fn another_namespace_of_the_same_number_starts_anew() {
        let root = tempfile::tempdir().unwrap();
        let made = |created_ns| {
            let netns = Netns {
                created_ns,
                ..Netns::default()
            };
            State::of(root.path(), &netns)
        };
        let state = made(Some(1));
        state.create().unwrap();
        let mut memory = state.memory("one").unwrap();
        let seen = Observation { at_ns: 1, value: 2 };
        memory.history.timeouts.insert("x".to_owned(), vec![seen]);
        memory.holds.insert("rule".to_owned(), "run".to_owned());
        state.remember(&memory).unwrap();
        let unknown = made(None);
        let same = unknown.memory("one").unwrap();
        assert_eq!(
            (&same.history, &same.holds),
            (&memory.history, &memory.holds)
        );
        // Whoever cannot tell forgets nothing of what others told.
        unknown.remember(&same).unwrap();
        assert_eq!(made(Some(1)).memory("one").unwrap().holds, memory.holds);
        let other = made(Some(2)).memory("one").unwrap();
        assert_eq!(other.history, History::default());
        assert!(other.holds.is_empty());
    }

    #[test]
    fn damaged_state_is_an_error_not_a_fresh_start() {
        let root = tempfile::tempdir().unwrap();
        let state = State::of(root.path(), &Netns::default());
        state.create().unwrap();
        fs::write(state.directory().join("state.json"), "{").unwrap();
        assert!(matches!(
            state.memory("one"),
            Err(StateError::Damaged { .. })
        ));
    }
}
