//! `conntidy series`: how groups of flows grew and shrank over many snapshots.

use std::io::Write;
use std::path::PathBuf;

use chrono::Local;
use clap::{Args, ValueEnum};

use super::diff::{Opened, ShowArgs, named};
use super::snapshot::unreadable;
use crate::cli::args::{Common, NetnsArg};
use crate::cli::render::{self, number::counted};
use crate::cli::stored::{Shelf, StoreArgs};
use crate::cli::terminal::Progress;
use crate::cli::{CliError, Outcome, complete, shown, time};
use crate::group;
use crate::snapshot::series::{Collector, Series};
use crate::snapshot::{Counting, Footing};

/// Groupings that are shown where none is asked for.
const DEFAULT_BY: [&str; 3] = ["src/24", "protocol,dport", "protocol,state"];

/// Snapshots of the store that are shown where nothing else is said.
const DEFAULT_LAST: u32 = 24;

/// Arguments of `conntidy series`.
#[derive(Args, Clone, Debug)]
#[command(after_help = format!("Examples:\n  \
    conntidy series                                  the last {DEFAULT_LAST} snapshots of the store\n  \
    conntidy series --since 'yesterday 22:00' --by src/24/48\n  \
    conntidy series gw1-*.jsonl.zst --by state -o csv > states.csv\n  \
    conntidy series --last 288 -o html > day.html    one page to pass on\n\n\
Fields of --by: {}.", group::names().collect::<Vec<_>>().join(", ")))]
pub struct SeriesArgs {
    /// Snapshots: files, or names in the store [default: the last ones of the store]
    #[arg(value_name = "FILES", conflicts_with_all = ["last", "since", "netns"], add = complete::snapshots())]
    pub files: Vec<String>,
    /// The last N snapshots of the store
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub last: Option<u32>,
    /// The snapshots of the store since this time: `03:12`, `yesterday 22:00`, `2026-01-31 03:12`,
    /// RFC 3339, `2d ago`
    #[arg(long, value_name = "TIME", conflicts_with = "last")]
    pub since: Option<String>,
    /// Where the store is.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Whose snapshots.
    #[command(flatten)]
    pub netns: NetnsArg,
    /// What is shown.
    #[command(flatten)]
    pub show: ShowArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: SeriesOutput,
}

/// Formats of `series`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SeriesOutput {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// For tickets and step summaries.
    Markdown,
    /// The groups of one grouping, a row a group and snapshot.
    Csv,
    /// One page that needs nothing else.
    Html,
}

/// Reads the snapshots, one after the other, and prints what became of the groups.
pub(super) fn run(common: &Common, args: &SeriesArgs) -> Result<Outcome, CliError> {
    if args.output == SeriesOutput::Csv && args.show.by.len() > 1 {
        return Err(
            CliError::usage("csv is one table: name one `--by`").hint("`-o json` has all of them")
        );
    }
    let paths = paths(common, args)?;
    let (mut opened, mut unread) = (Vec::new(), 0);
    // One damaged file in the store does not hide what all others tell.
    let mut pass_over = |error: CliError| {
        if !args.files.is_empty() {
            return Err(error);
        }
        error.print();
        unread += 1;
        Ok(())
    };
    for path in &paths {
        match Opened::file(path) {
            Ok(one) => opened.push(one),
            Err(error) => pass_over(error)?,
        }
    }
    opened.sort_by_key(|one| one.snapshot.header().time_ns);
    let parties: Vec<_> = opened.iter().map(Opened::party).collect();
    let footing = Footing::new(&parties);
    let most = match args.output {
        SeriesOutput::Csv => 1,
        _ => DEFAULT_BY.len(),
    };
    let (by, left_out) = args.show.by(&DEFAULT_BY, most, &footing)?;
    let mut notes = [footing.notes(&by), left_out].concat();
    let mut collector = Collector::new(by, opened.len());
    let mut progress = Progress::start("reading the snapshots", common.quiet);
    let total = Some(opened.len() as u64);
    for (number, one) in opened.iter_mut().enumerate() {
        progress.update(number as u64, total);
        let header = one.snapshot.header().clone();
        let mut table = Counting::new(&mut one.snapshot, footing.is_aggregate());
        if let Err(error) = collector.take(&one.name, &header, &mut table) {
            pass_over(unreadable(&one.path, error))?;
        }
    }
    drop(progress);
    if unread > 0 {
        if unread == paths.len() as u64 {
            return Err(CliError::failed("none of these snapshots can be read"));
        }
        let these = counted(unread, "snapshot", "snapshots");
        notes.push(format!("{these} could not be read: not shown"));
    }
    let series = collector.finish(args.show.top(), notes);
    shown(print(args.output, &series))?;
    Ok(Outcome {
        incomplete: unread > 0,
        ..Outcome::default()
    })
}

fn paths(common: &Common, args: &SeriesArgs) -> Result<Vec<PathBuf>, CliError> {
    if !args.files.is_empty() {
        let files = args.files.iter();
        return files.map(|file| named(common, &args.store, file)).collect();
    }
    let shelf = Shelf::open(common, &args.store)?.of(args.netns.netns.as_deref())?;
    let Some(since) = &args.since else {
        return Ok(match args.last {
            Some(number) => shelf.newest(common, number),
            None => shelf.last(DEFAULT_LAST as usize),
        });
    };
    let moment = time::parse(since, &Local::now())
        .map_err(|error| CliError::usage(format!("--since: {error}")))?;
    let paths = shelf.since(moment);
    if paths.is_empty() {
        return Err(CliError::failed(format!(
            "no snapshot was taken since {since}"
        )));
    }
    Ok(paths)
}

fn print(output: SeriesOutput, series: &Series) -> Result<(), CliError> {
    let mut stdout = anstream::stdout().lock();
    match output {
        SeriesOutput::Json => return render::json(series),
        SeriesOutput::Text => render::series::text(&mut stdout, series)?,
        SeriesOutput::Markdown => render::series::markdown(&mut stdout, series)?,
        SeriesOutput::Csv => render::series::csv(&mut stdout, series)?,
        SeriesOutput::Html => render::series::html::write(&mut stdout, series)?,
    }
    Ok(stdout.flush()?)
}
