//! `conntidy stats`: how full the table is, what it costs, what was counted and what that means.

use std::io::Write;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;

use super::count::pause;
use crate::cli::args::{Common, NetnsArg};
use crate::cli::ending::Ending;
use crate::cli::namespaces::NamespacesArg;
use crate::cli::{CliError, Outcome, live, render};
use crate::kernel::{ExpectationStatistics, Live};
use crate::observe::{Header, Observe};
use crate::plan::rfc3339;
use crate::snapshot::diff::{COUNTERS, Weight};
use crate::tunable::{BYTES_PER_BUCKET, BYTES_PER_ENTRY};

/// `schema` of the document.
const SCHEMA: &str = "conntidy.stats/1";

/// Arguments of `conntidy stats`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy stats                     since the machine, or the namespace, began\n  \
    conntidy stats --for 10s           what is counted within ten seconds\n  \
    conntidy stats --every 1s          a line a second, until interrupted\n  \
    conntidy stats --netns all         of every named namespace\n  \
    conntidy stats --netns red -o json | jq '.counters[] | select(.total > 0)'\n\n\
    Counters are of 32 bits a processor and start anew at 2^32.")]
pub struct StatsArgs {
    /// Where to look.
    #[command(flatten)]
    pub netns: NamespacesArg,
    /// Show what is counted a second, again and again, with so long a pause
    #[arg(long, value_name = "TIME", value_parser = pause)]
    pub every: Option<Duration>,
    /// Show what is counted within this time, then end
    #[arg(long = "for", value_name = "TIME", value_parser = pause)]
    pub time: Option<Duration>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Formats of statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document; with `--every`, and of several network namespaces, one a line.
    Json,
}

/// What the kernel tells of a table.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct Stats {
    /// `conntidy.stats/1`; minor versions only add fields.
    schema: &'static str,
    /// Host name.
    pub(in crate::cli) host: String,
    /// Network namespace.
    pub(in crate::cli) netns: String,
    /// When it was looked, RFC 3339.
    pub(in crate::cli) time: String,
    /// Seconds since it was looked before; null on the first look.
    pub(in crate::cli) seconds: Option<f64>,
    /// The table.
    pub(in crate::cli) table: TableStats,
    /// What helpers expect.
    pub(in crate::cli) expectations: ExpectationStats,
    /// What processors counted, the gravest first.
    pub(in crate::cli) counters: Vec<CounterStats>,
}

/// How full a table is, and what it costs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct TableStats {
    /// Entries of this namespace.
    pub(in crate::cli) entries: u64,
    /// How many more than at the look before; null on the first.
    pub(in crate::cli) growth: Option<i64>,
    /// `nf_conntrack_max`; 0 is no limit, null where it cannot be read.
    pub(in crate::cli) max: Option<u64>,
    /// Hash buckets, which all namespaces share.
    pub(in crate::cli) buckets: Option<u64>,
    /// Bytes of the entries, about: 384 each.
    pub(in crate::cli) entry_bytes: u64,
    /// Bytes of the hash table.
    pub(in crate::cli) hash_bytes: Option<u64>,
    /// Bytes of both when the table is full, about; null without a limit.
    pub(in crate::cli) full_bytes: Option<u64>,
}

/// How many flows are expected.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct ExpectationStats {
    /// Expectations of this namespace.
    pub(in crate::cli) entries: u32,
    /// `nf_conntrack_expect_max`; null where it cannot be read.
    pub(in crate::cli) max: Option<u64>,
    /// Made since the namespace began; starts anew at 2^32.
    pub(in crate::cli) created: u32,
}

/// One counter of all processors.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct CounterStats {
    /// Its name, as the kernel calls it.
    pub(in crate::cli) name: &'static str,
    /// Sum over processors.
    pub(in crate::cli) total: u64,
    /// What was counted since the look before; null on the first.
    pub(in crate::cli) delta: Option<u64>,
    /// The same a second.
    pub(in crate::cli) per_second: Option<f64>,
    /// Each processor.
    pub(in crate::cli) cpus: Vec<CpuCount>,
    /// How grave it is that it moves.
    pub(in crate::cli) weight: Weight,
    /// What it counts.
    pub(in crate::cli) meaning: &'static str,
    /// What to do where it moves; null where nothing is to be done.
    pub(in crate::cli) advice: Option<&'static str>,
}

/// What one processor counted.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(rename = "CpuCount")]
pub(in crate::cli) struct CpuCount {
    /// Its number.
    pub(in crate::cli) cpu: u16,
    /// What it counted.
    pub(in crate::cli) total: u32,
    /// The same since the look before; null on the first, and where the processor was not there.
    pub(in crate::cli) delta: Option<u32>,
}

/// One look.
struct Look {
    at: Instant,
    header: Header,
    expectations: ExpectationStatistics,
}

/// Looks and prints.
pub(super) fn run(common: &Common, args: &StatsArgs) -> Result<Outcome, CliError> {
    let Some(pause) = args.every.or(args.time) else {
        return once(common, args);
    };
    let Some(netns) = args.netns.one() else {
        return Err(CliError::usage(
            "`--every` and `--for` look at one network namespace",
        ));
    };
    let ending = Ending::catch()?;
    live::within(&netns, |live| {
        let first = look(&live, &netns)?;
        let mut before = None;
        loop {
            let last = before.as_ref().unwrap_or(&first);
            let over = args.time.map(|time| first.at + time);
            // Looks keep to the beat, however long one takes.
            let due = (last.at + pause).min(over.unwrap_or(last.at + pause));
            ending.wait(due.saturating_duration_since(Instant::now()))?;
            let now = look(&live, &netns)?;
            if args.every.is_some() {
                print_line(args, &Stats::of(&now, Some(last)))?;
            }
            let is_over = over.is_some_and(|over| now.at >= over);
            if ending.is_asked() || is_over {
                return conclude(args, &Stats::of(&now, Some(&first)));
            }
            before = Some(now);
        }
    })
}

/// Looks at each namespace once.
fn once(common: &Common, args: &StatsArgs) -> Result<Outcome, CliError> {
    let mut is_first = true;
    args.netns.each(common, |name, live| {
        let named = NetnsArg {
            netns: (name.or(args.netns.netns.first().map(String::as_str))).map(str::to_owned),
        };
        let stats = Stats::of(&look(&live, &named)?, None);
        if args.output == Format::Json && name.is_some() {
            print_line(args, &stats)?;
        } else {
            if !std::mem::take(&mut is_first) {
                writeln!(std::io::stdout())?;
            }
            print(args, &stats)?;
        }
        Ok(Outcome::default())
    })
}

fn look(live: &Live, netns: &NetnsArg) -> Result<Look, CliError> {
    let mut header = live.header()?;
    if !header.conntrack {
        return Err(CliError::failed("connection tracking is not loaded here")
            .hint("`conntidy doctor` tells what is missing and how to get it"));
    }
    live::name_netns(&mut header, netns);
    Ok(Look {
        at: Instant::now(),
        expectations: live.expectation_statistics()?,
        header,
    })
}

impl Stats {
    fn of(now: &Look, before: Option<&Look>) -> Self {
        let header = &now.header;
        let seconds = before.map(|before| (now.at - before.at).as_secs_f64());
        Self {
            schema: SCHEMA,
            host: header.host.clone(),
            netns: header.netns.name.clone(),
            time: rfc3339(header.time_ns),
            seconds: seconds.map(rounded),
            table: TableStats::of(header, before.map(|before| &before.header)),
            expectations: ExpectationStats {
                entries: now.expectations.entries,
                max: header.number("nf_conntrack_expect_max"),
                created: now.expectations.created,
            },
            counters: counters(header, before.map(|before| &before.header), seconds),
        }
    }
}

impl TableStats {
    fn of(header: &Header, before: Option<&Header>) -> Self {
        let entries = header.count.unwrap_or(0);
        let (max, buckets) = (
            header.number("nf_conntrack_max"),
            header.number("nf_conntrack_buckets"),
        );
        let bytes = |entries: u64| entries.saturating_mul(BYTES_PER_ENTRY);
        let hash_bytes = buckets.map(|buckets| buckets.saturating_mul(BYTES_PER_BUCKET));
        let full = max.filter(|max| *max > 0).map(bytes);
        Self {
            entries,
            growth: before
                .and_then(|before| before.count)
                .map(|before| entries.cast_signed() - before.cast_signed()),
            max,
            buckets,
            entry_bytes: bytes(entries),
            hash_bytes,
            full_bytes: full.map(|full| full.saturating_add(hash_bytes.unwrap_or(0))),
        }
    }
}

fn counters(now: &Header, before: Option<&Header>, seconds: Option<f64>) -> Vec<CounterStats> {
    let one = |counter: &crate::snapshot::diff::Counter| {
        let cpus: Vec<CpuCount> = (now.cpu.iter())
            .map(|cpu| {
                let total = (counter.value)(cpu);
                let old = before.and_then(|before| before.cpu.iter().find(|b| b.cpu == cpu.cpu));
                CpuCount {
                    cpu: cpu.cpu,
                    total,
                    delta: old.map(|old| total.wrapping_sub((counter.value)(old))),
                }
            })
            .collect();
        let sum = |value: fn(&CpuCount) -> Option<u32>| {
            cpus.iter().filter_map(value).map(u64::from).sum::<u64>()
        };
        let delta = before.map(|_| sum(|cpu| cpu.delta));
        #[expect(clippy::cast_precision_loss, reason = "a rate needs three digits")]
        let rate = |delta: u64, seconds: f64| rounded(delta as f64 / seconds);
        CounterStats {
            name: counter.name,
            total: sum(|cpu| Some(cpu.total)),
            delta,
            per_second: (delta.zip(seconds))
                .filter(|(_, seconds)| *seconds > 0.0)
                .map(|(delta, seconds)| rate(delta, seconds)),
            cpus,
            weight: counter.weight,
            meaning: counter.meaning,
            advice: counter.advice,
        }
    };
    COUNTERS.iter().map(one).collect()
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

fn print(args: &StatsArgs, stats: &Stats) -> Result<(), CliError> {
    match args.output {
        Format::Json => render::json(stats),
        Format::Text => {
            let mut out = anstream::stdout().lock();
            render::stats::text(&mut out, stats)?;
            Ok(out.flush()?)
        }
    }
}

fn print_line(args: &StatsArgs, stats: &Stats) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    match args.output {
        Format::Json => {
            serde_json::to_writer(&mut out, stats).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        Format::Text => render::stats::line(&mut out, stats)?,
    }
    Ok(out.flush()?)
}

/// What was counted in all the time. Where documents came line by line, they have said it.
fn conclude(args: &StatsArgs, stats: &Stats) -> Result<Outcome, CliError> {
    if args.output == Format::Text || args.every.is_none() {
        print(args, stats)?;
    }
    Ok(Outcome::default())
}
