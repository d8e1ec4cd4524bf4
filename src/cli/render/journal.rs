//! A report as records of the journal: one line each for whoever reads, fields for whoever searches.
//!
//! The events, their ids and their fields are documented in `docs/operations.md` and in
//! `systemd/conntidy.catalog`.

use super::number::counted;
use super::plan::{drifted, refused};
use super::report::{answer, put_back, rule_words, summary};
use crate::plan::{RulePlan, TunableState, TunableStep};
use crate::report::{Report, RuleResult, TunableOutcome, TunableResult, Undone};

/// A kind of record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// `MESSAGE_ID`.
    pub(crate) id: &'static str,
    /// `PRIORITY`, as syslog has it.
    priority: u8,
    /// Its fields, beside those of every record.
    fields: &'static [&'static str],
}

/// Fields of every record.
const COMMON: [&str; 3] = ["CONNTIDY_RUN", "CONNTIDY_NETNS", "CONNTIDY_POLICY"];

/// A run came to its end.
const RUN_FINISHED: Event = Event {
    id: "b79a22ab0e1b4d98bf2bbb0a89cf0511",
    priority: 5,
    fields: &[
        "CONNTIDY_CHANGED",
        "CONNTIDY_EXPIRED",
        "CONNTIDY_DELETED",
        "CONNTIDY_PROTECTED",
        "CONNTIDY_REFUSED",
        "CONNTIDY_UNMET",
        "CONNTIDY_MILLISECONDS",
        "CONNTIDY_COUNT_BEFORE",
        "CONNTIDY_COUNT_AFTER",
    ],
};

/// Something that was decided could not be done.
const RUN_INCOMPLETE: Event = Event {
    id: "2415218bfe124764a9d599df7d464938",
    priority: 3,
    fields: &["CONNTIDY_PROBLEM"],
};

/// A rule, or a timeout that is applied to existing entries, changed entries.
const RULE_ACTED: Event = Event {
    id: "cf93fc1c672a46e78c7286814d9cb0fa",
    priority: 5,
    fields: &[
        "CONNTIDY_RULE",
        "CONNTIDY_ACTION",
        "CONNTIDY_DONE",
        "CONNTIDY_GONE",
        "CONNTIDY_BUSY",
        "CONNTIDY_FAILED",
        "CONNTIDY_UNKNOWN",
        "CONNTIDY_UNSENT",
    ],
};

/// A rail refused a rule whole.
const RULE_REFUSED: Event = Event {
    id: "33813dc14513456392975af8a531306c",
    priority: 4,
    fields: &[
        "CONNTIDY_RULE",
        "CONNTIDY_ACTION",
        "CONNTIDY_SELECTED",
        "CONNTIDY_REASON",
    ],
};

/// A tunable was written.
const KEY_CHANGED: Event = Event {
    id: "dcd90fcab6c843b0b2459038c0f56735",
    priority: 5,
    fields: &[
        "CONNTIDY_KEY",
        "CONNTIDY_BEFORE",
        "CONNTIDY_WANTED",
        "CONNTIDY_AFTER",
    ],
};

/// Somebody had changed what an earlier run wrote; it was written again.
const KEY_DRIFTED: Event = Event {
    id: "565b5b610c0c4289b4f58f305e645237",
    priority: 5,
    fields: &[
        "CONNTIDY_KEY",
        "CONNTIDY_BEFORE",
        "CONNTIDY_WANTED",
        "CONNTIDY_AFTER",
        "CONNTIDY_WRITTEN_BY",
    ],
};

/// Another writer changes a tunable back again and again; it is not written any more.
const KEY_CONTESTED: Event = Event {
    id: "7e62f99516514d799b9545c415105924",
    priority: 3,
    fields: &[
        "CONNTIDY_KEY",
        "CONNTIDY_BEFORE",
        "CONNTIDY_WANTED",
        "CONNTIDY_REASON",
    ],
};

/// A rail forbids the value that the policy wishes for a tunable.
const KEY_REFUSED: Event = Event {
    id: "6ff8855259034987bf5f66a1d7c0df1e",
    priority: 4,
    fields: &[
        "CONNTIDY_KEY",
        "CONNTIDY_BEFORE",
        "CONNTIDY_WANTED",
        "CONNTIDY_REASON",
    ],
};

/// Nobody confirmed a run; what it wrote was put back.
const NOT_CONFIRMED: Event = Event {
    id: "1395c122d4434142957d380d19d304f3",
    priority: 4,
    fields: &["CONNTIDY_ANSWER", "CONNTIDY_PUT_BACK"],
};

/// Every kind, for what is said of them elsewhere.
#[cfg(test)]
const EVENTS: [&Event; 9] = [
    &RUN_FINISHED,
    &RUN_INCOMPLETE,
    &RULE_ACTED,
    &RULE_REFUSED,
    &KEY_CHANGED,
    &KEY_DRIFTED,
    &KEY_CONTESTED,
    &KEY_REFUSED,
    &NOT_CONFIRMED,
];

/// One record, as names and values.
pub(crate) type Record = Vec<(&'static str, String)>;

/// The records of a run: what deserves a line of its own, then the end.
pub(crate) fn records(report: &Report) -> Vec<Record> {
    let mut all = Records {
        report,
        records: Vec::new(),
    };
    for result in &report.sysctl {
        all.written(result);
    }
    for step in &report.plan.sysctl {
        all.left(step);
    }
    for rule in report.plan.existing.iter().chain(&report.plan.rules) {
        all.refused(rule);
    }
    for rule in &report.rules {
        all.acted(rule);
    }
    all.incomplete();
    if let (true, Some(undone)) = (report.is_unconfirmed(), report.undone.last()) {
        all.not_confirmed(undone);
    }
    all.finished();
    all.records
}

/// The record of a run that was killed before it was confirmed, and put back later.
pub(crate) fn killed(report: &Report) -> Option<Record> {
    let mut all = Records {
        report,
        records: Vec::new(),
    };
    all.not_confirmed(report.undone.last()?);
    all.records.pop()
}

struct Records<'a> {
    report: &'a Report,
    records: Vec<Record>,
}

impl Records<'_> {
    fn add(&mut self, event: &Event, message: String, values: &[&dyn ToString]) {
        let plan = &self.report.plan;
        let common = [&self.report.run, &plan.netns, &plan.policy_sha256];
        debug_assert_eq!(event.fields.len(), values.len());
        let mut record: Record = vec![
            ("MESSAGE", message),
            ("MESSAGE_ID", event.id.to_owned()),
            ("PRIORITY", event.priority.to_string()),
            ("SYSLOG_IDENTIFIER", "conntidy".to_owned()),
        ];
        record.extend(COMMON.into_iter().zip(common.map(Clone::clone)));
        let values = values.iter().map(|value| value.to_string());
        record.extend(event.fields.iter().copied().zip(values));
        self.records.push(record);
    }

    fn written(&mut self, result: &TunableResult) {
        if result.outcome != TunableOutcome::Written {
            return;
        }
        let name = &result.name;
        let before = result.before.as_deref().unwrap_or("?");
        let after = result.after.as_deref().unwrap_or("?");
        if let Some(drift) = &result.drift {
            let message = format!("{name} {}; written again", drifted(drift));
            let values: [&dyn ToString; 5] = [name, &before, &result.wanted, &after, &drift.run];
            self.add(&KEY_DRIFTED, message, &values);
        } else {
            let message = format!("{name}: {before} -> {after}");
            self.add(
                &KEY_CHANGED,
                message,
                &[name, &before, &result.wanted, &after],
            );
        }
        if result.contested {
            let reason = "another writer has changed it back three times within an hour";
            let message = format!("{name} is contested: {reason}; later runs leave it");
            self.add(
                &KEY_CONTESTED,
                message,
                &[name, &before, &result.wanted, &reason],
            );
        }
    }

    fn left(&mut self, step: &TunableStep) {
        let event = match step.state {
            TunableState::Contested => &KEY_CONTESTED,
            TunableState::Refused => &KEY_REFUSED,
            _ => return,
        };
        let (name, wanted) = (&step.name, step.wanted);
        let before = step.before.as_deref().unwrap_or("?");
        let reason = step.reason.as_deref().unwrap_or("?");
        let message = format!("{name}: {before}, not {wanted}: {reason}");
        self.add(event, message, &[name, &before, &wanted, &reason]);
    }

    fn refused(&mut self, rule: &RulePlan) {
        if let Some(refusal) = &rule.refused {
            let (name, action) = (&rule.name, &rule.action);
            let reason = refused(refusal);
            let selected = counted(rule.selected, "entry", "entries");
            let message = format!("rule {name} would {action} {selected}: {reason}");
            let values: [&dyn ToString; 4] = [name, action, &rule.selected, &reason];
            self.add(&RULE_REFUSED, message, &values);
        }
    }

    fn acted(&mut self, rule: &RuleResult) {
        let message = format!("rule {}: {}", rule.name, rule_words(rule));
        let values: [&dyn ToString; 8] = [
            &rule.name,
            &rule.action,
            &rule.done,
            &rule.gone,
            &rule.busy,
            &rule.failed,
            &rule.unknown,
            &rule.unsent,
        ];
        self.add(&RULE_ACTED, message, &values);
    }

    fn incomplete(&mut self) {
        let report = self.report;
        let mut problems = report.problems.clone();
        for step in &report.plan.sysctl {
            if matches!(
                step.state,
                TunableState::NotWritable | TunableState::Unreadable
            ) {
                let reason = step.reason.as_deref().unwrap_or("?");
                problems.push(format!("{}: {reason}", step.name));
            }
        }
        for result in &report.sysctl {
            let error = result.error.as_deref().unwrap_or("?");
            match result.outcome {
                TunableOutcome::Written => {}
                TunableOutcome::Disagrees => problems.push(format!(
                    "{}: wrote {}, reads back {}: {error}",
                    result.name,
                    result.wanted,
                    result.after.as_deref().unwrap_or("?")
                )),
                TunableOutcome::Failed => {
                    problems.push(format!("{}: not written: {error}", result.name));
                }
            }
        }
        for rule in &report.rules {
            let short = rule.failed + rule.unknown + rule.unsent;
            if short > 0 {
                let first = rule.errors.first().map(String::as_str);
                problems.push(format!(
                    "rule {}: {} not changed for sure: {}",
                    rule.name,
                    counted(short, "entry", "entries"),
                    first.unwrap_or("the kernel did not tell why")
                ));
            }
        }
        if !problems.is_empty() {
            let problem = problems.join("; ");
            self.add(
                &RUN_INCOMPLETE,
                format!("incomplete: {problem}"),
                &[&problem],
            );
        }
    }

    fn not_confirmed(&mut self, undone: &Undone) {
        let answer = match &self.report.confirmation {
            Some(confirmation) => answer(confirmation),
            None => "the run was killed".to_owned(),
        };
        let words = put_back(undone);
        let message = format!("run {} not confirmed: {answer}: {words}", self.report.run);
        self.add(&NOT_CONFIRMED, message, &[&answer, &words]);
    }

    fn finished(&mut self) {
        let report = self.report;
        let totals = report.totals();
        let count = |count: Option<u64>| count.map_or_else(String::new, |n| n.to_string());
        let values: [&dyn ToString; 9] = [
            &totals.written,
            &totals.expired,
            &totals.deleted,
            &report.plan.summary.protected,
            &report.plan.summary.refused,
            &report.plan.summary.unmet,
            &report.timings.total_ms,
            &count(report.count_before),
            &count(report.count_after),
        ];
        self.add(&RUN_FINISHED, summary(report), &values);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const CATALOG: &str = include_str!("../../../systemd/conntidy.catalog");
    const DOCUMENTATION: &str = include_str!("../../../docs/operations.md");

    /// Entries of the catalog by id, as `journalctl --update-catalog` splits them.
    fn catalog() -> BTreeMap<&'static str, String> {
        let mut entries: BTreeMap<&str, String> = BTreeMap::new();
        let mut id = None;
        for line in CATALOG.lines().filter(|line| !line.starts_with('#')) {
            if let Some(next) = line.strip_prefix("-- ") {
                assert!(
                    entries.insert(next, String::new()).is_none(),
                    "{next} twice"
                );
                id = Some(next);
            } else if let Some(entry) = id.and_then(|id| entries.get_mut(id)) {
                entry.push_str(line);
                entry.push('\n');
            }
        }
        entries
    }

    #[test]
    fn the_catalog_explains_each_event_and_no_other() {
        let explained: BTreeSet<&str> = catalog().into_keys().collect();
        let sent: BTreeSet<&str> = EVENTS.iter().map(|event| event.id).collect();
        assert_eq!(explained, sent);
        assert_eq!(sent.len(), EVENTS.len());
        for id in sent {
            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()));
        }
    }

    #[test]
    fn the_catalog_names_only_fields_that_the_event_has() {
        let entries = catalog();
        for event in EVENTS {
            let entry = &entries[event.id];
            assert!(entry.starts_with("Subject: "), "{entry}");
            assert!(entry.contains("\nDefined-By: conntidy\n\n"), "{entry}");
            let named: Vec<&str> = entry.split('@').skip(1).step_by(2).collect();
            assert!(!named.is_empty());
            for field in named {
                let known = event.fields.contains(&field) || COMMON.contains(&field);
                assert!(known, "{field} in {entry}");
            }
        }
    }

    #[test]
    fn every_id_and_field_is_documented() {
        for event in EVENTS {
            assert!(DOCUMENTATION.contains(event.id), "{}", event.id);
            for field in event.fields.iter().chain(&COMMON) {
                assert!(DOCUMENTATION.contains(&format!("`{field}`")), "{field}");
            }
        }
    }
}
