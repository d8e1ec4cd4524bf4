//! `conntidy metrics`: how full the table is and how runs went, for Prometheus.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::cli::args::{Common, NetnsArg};
use crate::cli::live::{self, Told};
use crate::cli::render::openmetrics::{self, Metrics, Own, RuleRun, RuleSample};
use crate::cli::{CliError, Outcome, shown};
use crate::flow::Class;
use crate::kernel::Live;
use crate::observe::{Header, Observe, ObserveError, Record};
use crate::report::Report;
use crate::state::{State, StateError};
use crate::store::atomic;

/// Everybody may read it: `node_exporter` runs as a user of its own.
const MODE: u32 = 0o644;

/// Recorded runs that are looked through for the last one of each rule.
const MOST_RUNS: usize = 64;

/// Arguments of `conntidy metrics`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Nothing is changed, and no module is loaded by looking. Without connection tracking that is what the\n\
    metrics say, with exit 0. --classes dumps the table once: about 1.5 s for a million entries.\n\n\
    Examples:\n  \
    conntidy metrics\n  \
    conntidy metrics --out /var/lib/prometheus/node-exporter/conntidy.prom\n  \
    conntidy metrics --classes --netns red --out /var/lib/prometheus/node-exporter/conntidy-red.prom\n  \
    conntidy metrics | promtool check metrics"
)]
pub struct MetricsArgs {
    /// Replace this file, whole, in place of writing to stdout; `node_exporter` reads `*.prom`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Also count entries by class; needs a dump of the table
    #[arg(long)]
    pub classes: bool,
    /// Where to look.
    #[command(flatten)]
    pub netns: NetnsArg,
}

/// Looks and writes.
pub(super) fn run(common: &Common, args: &MetricsArgs) -> Result<Outcome, CliError> {
    live::within(&args.netns, |live| {
        let text = openmetrics::render(&collect(common, args, &live)?);
        match &args.out {
            None => shown(print(&text))?,
            Some(path) => atomic::replace(path, MODE, text.as_bytes()).map_err(|source| {
                CliError::failed(format!("cannot write {}", path.display()))
                    .because(source)
                    .hint("its directory must exist and be writable: a temporary file is renamed there")
            })?,
        }
        Ok(Outcome::default())
    })
}

fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

fn collect(common: &Common, args: &MetricsArgs, live: &Live) -> Result<Metrics, CliError> {
    let mut header = match live.header() {
        // The sysctls alone tell how full it is.
        Err(ObserveError::Permission(why) | ObserveError::Absent(why)) => {
            note(common, &format!("no counters of processors: {why}"));
            live.surroundings()
        }
        header => header,
    }?;
    live::name_netns(&mut header, &args.netns);
    let classes = if args.classes && header.conntrack {
        Some(classes(common, live, &header)?)
    } else {
        None
    };
    let state = match own(&header) {
        Ok(own) => own,
        Err(error) => {
            note(common, &format!("records of runs are left out: {error}"));
            None
        }
    };
    Ok(Metrics {
        header,
        classes,
        state,
    })
}

fn note(common: &Common, text: &str) {
    if !common.quiet {
        anstream::eprintln!("note: {text}");
    }
}

/// Entries by class, in the order of [`Class::ALL`].
fn classes(common: &Common, live: &Live, header: &Header) -> Result<[u64; 5], CliError> {
    let told = Told::new(common, "counting classes", header.count);
    let (mut counts, mut seen) = ([0; 5], 0_u64);
    let mut count = |record: &Record<'_>| {
        counts[Class::of(&record.flow) as usize] += 1;
        seen += 1;
        if seen.is_multiple_of(8192) {
            told.tell(seen);
        }
    };
    live.dump(&mut [&mut count])?;
    Ok(Class::ALL.map(|class| counts[class as usize]))
}

/// What runs left; `None` where there is no place for it.
fn own(header: &Header) -> Result<Option<Own>, StateError> {
    let Some(root) = live::state_root() else {
        return Ok(None);
    };
    let state = State::of(&root, &header.netns);
    let memory = state.memory(&header.boot_id)?;
    let health = memory.health.clone();
    let outcome = Outcome {
        incomplete: health.incomplete,
        disagrees: health.disagrees,
        refused: health.refused,
        ..Outcome::default()
    };
    let tunables = memory.history.written.iter();
    Ok(Some(Own {
        exit_code: outcome.code(),
        health,
        rules: rules(&state)?,
        holds: memory.holds.into_keys().collect(),
        tunables: tunables
            .map(|(name, written)| (name.clone(), written.is_contested()))
            .collect(),
    }))
}

/// The rules of the last recorded run, each with its own last run.
fn rules(state: &State) -> Result<Vec<RuleSample>, StateError> {
    let mut rules: Vec<RuleSample> = Vec::new();
    let mut found: BTreeMap<String, RuleRun> = BTreeMap::new();
    let mut is_first = true;
    for run in state.runs()?.iter().take(MOST_RUNS) {
        let report = match state.read_audit(run) {
            Ok(report) if report.finished.is_some() => report,
            // Killed, still at work, pruned meanwhile, or of another version: not of this.
            Ok(_) | Err(StateError::DamagedRecord { .. } | StateError::NoRun { .. }) => continue,
            Err(error) => return Err(error),
        };
        if std::mem::take(&mut is_first) {
            rules = report
                .plan
                .rules
                .iter()
                .map(|rule| RuleSample {
                    name: rule.name.clone(),
                    refused: rule.refused.as_ref().map(kind),
                    waiting: rule.waiting.as_ref().map(kind),
                    ran: None,
                })
                .collect();
        }
        ran(&report, &mut found);
        if rules.iter().all(|rule| found.contains_key(&rule.name)) {
            break;
        }
    }
    for rule in &mut rules {
        rule.ran = found.get(&rule.name).copied();
    }
    Ok(rules)
}

/// Adds the rules that ran in this run and in none that was seen before.
fn ran(report: &Report, found: &mut BTreeMap<String, RuleRun>) {
    let at = chrono::DateTime::parse_from_rfc3339(&report.started)
        .map_or(0, |started| started.timestamp());
    for plan in report
        .plan
        .rules
        .iter()
        .filter(|plan| plan.waiting.is_none())
    {
        let result = report.rules.iter().find(|result| result.name == plan.name);
        let done = |action: &str| {
            result.map_or(0, |result| {
                if result.action == action {
                    result.done
                } else {
                    0
                }
            })
        };
        found.entry(plan.name.clone()).or_insert(RuleRun {
            at,
            matched: plan.matched,
            expired: done("expire"),
            deleted: done("delete"),
            failed: result.map_or(0, |result| result.failed + result.unknown),
        });
    }
}

/// The `kind` of a reason, as documents spell it.
fn kind(reason: &impl Serialize) -> String {
    serde_json::to_value(reason)
        .ok()
        .and_then(|value| Some(value.get("kind")?.as_str()?.to_owned()))
        .unwrap_or_else(|| "other".to_owned())
}
