//! What is known of a table and of conntidy's runs, in the text format of Prometheus.
//!
//! Every sample has the label `netns`, so that files of several namespaces may lie in one directory.

use std::fmt::Write;

use crate::flow::Class;
use crate::observe::{CpuStatistics, Header};
use crate::state::Health;

/// What is shown; what is not known is left out.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// The table, as the kernel tells of it.
    pub(crate) header: Header,
    /// Entries by class, in the order of [`Class::ALL`].
    pub(crate) classes: Option<[u64; 5]>,
    /// What runs left; `None` where that could not be read.
    pub(crate) state: Option<Own>,
}

/// What runs of conntidy left.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// How the last runs went.
    pub(crate) health: Health,
    /// Exit code of the last run that ended.
    pub(crate) exit_code: u8,
    /// The rules of the last recorded run.
    pub(crate) rules: Vec<RuleSample>,
    /// Rules on hold.
    pub(crate) holds: Vec<String>,
    /// Tunables that were written, and whether they are contested.
    pub(crate) tunables: Vec<(String, bool)>,
}

/// A rule: what the last recorded run says of it, and what it did when it last ran.
#[derive(Debug, Default)]
pub(crate) struct RuleSample {
    /// Its name.
    pub(crate) name: String,
    /// Why it was refused in the last recorded run.
    pub(crate) refused: Option<String>,
    /// Why it waited in the last recorded run.
    pub(crate) waiting: Option<String>,
    /// Its last run.
    pub(crate) ran: Option<RuleRun>,
}

/// What a rule did in the last run in which it did not wait.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RuleRun {
    /// When that run started, seconds since 1970.
    pub(crate) at: i64,
    /// Entries that it claimed.
    pub(crate) matched: u64,
    /// Entries whose remaining time it shortened.
    pub(crate) expired: u64,
    /// Entries that it deleted.
    pub(crate) deleted: u64,
    /// Entries that the kernel refused to change, or of which it did not tell.
    pub(crate) failed: u64,
}

type Counter = (&'static str, &'static str, fn(&CpuStatistics) -> u32);

const CPU: [Counter; 10] = [
    (
        "found",
        "Lookups that found an entry, by processor.",
        |cpu| cpu.found,
    ),
    (
        "invalid",
        "Packets that could not be tracked, by processor.",
        |cpu| cpu.invalid,
    ),
    (
        "insert",
        "Entries inserted by a clash or from userspace, by processor.",
        |cpu| cpu.insert,
    ),
    (
        "insert_failed",
        "Insertions that failed, by processor.",
        |cpu| cpu.insert_failed,
    ),
    (
        "drop",
        "Packets dropped because no entry could be made, by processor.",
        |cpu| cpu.drop,
    ),
    (
        "early_drop",
        "Entries given up early to make room, by processor.",
        |cpu| cpu.early_drop,
    ),
    ("error", "Packets with errors, by processor.", |cpu| {
        cpu.error
    }),
    (
        "search_restart",
        "Lookups restarted because the table changed, by processor.",
        |cpu| cpu.search_restart,
    ),
    (
        "clash_resolve",
        "Insertion races resolved, by processor.",
        |cpu| cpu.clash_resolve,
    ),
    (
        "chain_toolong",
        "Insertions refused because a hash chain was too long, by processor.",
        |cpu| cpu.chain_toolong,
    ),
];

/// The whole file.
pub(crate) fn render(metrics: &Metrics) -> String {
    let mut text = Text {
        out: String::new(),
        netns: escaped(&metrics.header.netns.name),
    };
    table(&mut text, metrics);
    processors(&mut text, &metrics.header.cpu);
    let readable = [(String::new(), flag(metrics.state.is_some()))];
    text.gauge(
        "conntidy_state_readable",
        "Whether the records of earlier runs could be read.",
        readable,
    );
    if let Some(own) = &metrics.state {
        runs(&mut text, own);
        rules(&mut text, own);
    }
    text.out
}

fn table(text: &mut Text, metrics: &Metrics) {
    let header = &metrics.header;
    text.gauge(
        "conntidy_build_info",
        "Always 1; the version is a label.",
        [(label("version", &header.conntidy), "1".to_owned())],
    );
    text.gauge(
        "conntidy_conntrack_loaded",
        "Whether connection tracking is loaded.",
        [(String::new(), flag(header.conntrack))],
    );
    let max = header.number("nf_conntrack_max");
    text.one(
        "conntidy_table_entries",
        "Entries of the connection tracking table.",
        header.count,
    );
    text.one(
        "conntidy_table_entries_limit",
        "Most entries of the table, nf_conntrack_max; 0 is no limit.",
        max,
    );
    text.one(
        "conntidy_table_buckets",
        "Buckets of the hash table.",
        header.number("nf_conntrack_buckets"),
    );
    let limit = max.filter(|max| *max > 0);
    text.one(
        "conntidy_table_fill_ratio",
        "Entries per limit; 1 is full.",
        header
            .count
            .zip(limit)
            .map(|(count, max)| ratio(count, max)),
    );
    let health = metrics.state.as_ref().map(|own| &own.health);
    let growth = (health.zip(header.count))
        .and_then(|(health, count)| health.growth(count, header.uptime_ns));
    text.one(
        "conntidy_table_growth_entries_per_second",
        "Net growth of the table over the last runs, at most an hour.",
        growth,
    );
    let left = header.count.zip(limit).zip(growth);
    let to_full = left.filter(|(_, growth)| *growth > 0.0).map(
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        |((count, max), growth)| max.saturating_sub(count) as f64 / growth,
    );
    text.one(
        "conntidy_table_time_to_full_seconds",
        "Time until the table is full if it goes on growing like that; absent where it does not grow.",
        to_full,
    );
    let classes = metrics.classes.into_iter().flatten().zip(Class::ALL);
    text.gauge(
        "conntidy_table_class_entries",
        "Entries by class: assured, unreplied, closing, offloaded, other.",
        classes.map(|(entries, class)| (label("class", class.name()), entries.to_string())),
    );
}

fn processors(text: &mut Text, cpus: &[CpuStatistics]) {
    for (name, help, value) in CPU {
        text.family(
            &format!("conntidy_cpu_{name}_total"),
            "counter",
            help,
            cpus.iter()
                .map(|cpu| (label("cpu", &cpu.cpu.to_string()), value(cpu).to_string())),
        );
    }
}

fn runs(text: &mut Text, own: &Own) {
    let health = &own.health;
    text.one(
        "conntidy_run_last_start_timestamp_seconds",
        "When the last run began.",
        health.started,
    );
    text.one(
        "conntidy_run_last_end_timestamp_seconds",
        "When a run last came to its end.",
        health.ended,
    );
    text.one(
        "conntidy_run_last_success_timestamp_seconds",
        "When a run last did all that it had decided, refused rules aside.",
        health.succeeded,
    );
    text.one(
        "conntidy_run_last_exit_code",
        "Exit code of the run that ended last: 0, 3 refused, 4 incomplete, 5 contested.",
        health.ended.map(|_| own.exit_code),
    );
    text.gauge(
        "conntidy_tunable_contested",
        "Whether another writer fights for a tunable that conntidy wrote.",
        (own.tunables.iter()).map(|(name, contested)| (label("tunable", name), flag(*contested))),
    );
}

fn rules(text: &mut Text, own: &Own) {
    let ran = |value: fn(&RuleRun) -> String| {
        (own.rules.iter()).filter_map(move |rule| {
            let ran = rule.ran.as_ref()?;
            Some((label("rule", &rule.name), value(ran)))
        })
    };
    text.gauge(
        "conntidy_rule_last_run_timestamp_seconds",
        "When the rule last ran.",
        ran(|ran| ran.at.to_string()),
    );
    text.gauge(
        "conntidy_rule_matched_entries",
        "Entries that the rule claimed when it last ran.",
        ran(|ran| ran.matched.to_string()),
    );
    text.gauge(
        "conntidy_rule_expired_entries",
        "Entries whose remaining time the rule shortened when it last ran.",
        ran(|ran| ran.expired.to_string()),
    );
    text.gauge(
        "conntidy_rule_deleted_entries",
        "Entries that the rule deleted when it last ran.",
        ran(|ran| ran.deleted.to_string()),
    );
    text.gauge(
        "conntidy_rule_failed_entries",
        "Entries that the kernel refused to change when the rule last ran.",
        ran(|ran| ran.failed.to_string()),
    );
    let reasoned = |why: fn(&RuleSample) -> Option<&String>| {
        (own.rules.iter()).map(move |rule| {
            let reason =
                why(rule).map_or_else(String::new, |why| format!(",{}", label("reason", why)));
            let labels = format!("{}{reason}", label("rule", &rule.name));
            (labels, flag(why(rule).is_some()))
        })
    };
    text.gauge(
        "conntidy_rule_refused",
        "Whether the rule was refused in the last recorded run, and why.",
        reasoned(|rule| rule.refused.as_ref()),
    );
    text.gauge(
        "conntidy_rule_waiting",
        "Whether the rule waited in the last recorded run, and why.",
        reasoned(|rule| rule.waiting.as_ref()),
    );
    text.gauge(
        "conntidy_rule_on_hold",
        "Rules that do nothing since they were undone, until they are released.",
        (own.holds.iter()).map(|rule| (label("rule", rule), "1".to_owned())),
    );
}

#[expect(
    clippy::cast_precision_loss,
    reason = "tables are far below 2^53 entries"
)]
fn ratio(count: u64, max: u64) -> f64 {
    count as f64 / max as f64
}

fn flag(holds: bool) -> String {
    u8::from(holds).to_string()
}

fn label(name: &str, value: &str) -> String {
    format!("{name}=\"{}\"", escaped(value))
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

struct Text {
    out: String,
    netns: String,
}

impl Text {
    /// A gauge without labels of its own.
    fn one(&mut self, name: &str, help: &str, value: Option<impl ToString>) {
        let sample = value.map(|value| (String::new(), value.to_string()));
        self.gauge(name, help, sample);
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (String, String)>,
    ) {
        self.family(name, "gauge", help, samples);
    }

    /// A family with its samples, labels and value each; nothing where there is no sample.
    fn family(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (String, String)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let Self { out, netns } = self;
        let written = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        let written = samples.fold(written, |written, (labels, value)| {
            let comma = if labels.is_empty() { "" } else { "," };
            written.and(writeln!(
                out,
                "{name}{{netns=\"{netns}\"{comma}{labels}}} {value}"
            ))
        });
        written.expect("a String takes everything");
    }
}

#[cfg(test)]
mod tests;
