//! `conntidy diff`: what lies between two snapshots, or a snapshot and the running kernel.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread;

use chrono::{Local, Utc};
use clap::{Args, ValueEnum};

use super::snapshot::{self, unreadable};
use crate::ahead::Ahead;
use crate::cli::args::{Common, NetnsArg};
use crate::cli::live::{self, Told};
use crate::cli::render::diff::flows::{Form, Lines};
use crate::cli::render::{self};
use crate::cli::stored::{Shelf, StoreArgs, file_name};
use crate::cli::{CliError, Outcome, complete, shown, time};
use crate::group::{self, By};
use crate::kernel::Live;
use crate::observe::{Dumped, Observe, ObserveError};
use crate::policy::Compression;
use crate::snapshot::diff::{self, Change, Diff, DiffError, Options, Table, Which};
use crate::snapshot::{Counting, Footing, Party, Refusal, Snapshot, Trailer};
use crate::store;

/// Groupings that are shown where none is asked for.
const DEFAULT_BY: [&str; 4] = ["src/32/64", "dst", "protocol,dport", "protocol,state"];

/// Arguments of `conntidy diff`.
#[derive(Args, Clone, Debug)]
#[command(after_help = format!("Examples:\n  \
    conntidy diff --at 03:12                          who filled the table then?\n  \
    conntidy diff --last 2 --by src/24/48,dport       the two newest of the store\n  \
    conntidy diff before.jsonl.zst live               what has changed since\n  \
    conntidy diff A B --flows | grep '^+' | head      the flows themselves\n  \
    conntidy diff A B -o html > incident.html         one page to pass on\n\n\
Fields of --by: {}.", group::names().collect::<Vec<_>>().join(", ")))]
pub struct DiffArgs {
    /// The first: a file, the name of a snapshot in the store, or `live`
    #[arg(value_name = "A", add = complete::snapshots())]
    pub before: Option<String>,
    /// The second: a file, the name of a snapshot in the store, or `live`
    #[arg(value_name = "B", add = complete::snapshots())]
    pub after: Option<String>,
    /// Compare the oldest of the last N snapshots of the store with the newest
    #[arg(long, value_name = "N", conflicts_with = "before",
        value_parser = clap::value_parser!(u32).range(2..))]
    pub last: Option<u32>,
    /// Compare the last snapshot of the store up to this time with the first one after it: `03:12`,
    /// `yesterday 03:12`, `2026-01-31 03:12`, RFC 3339, `10m ago`
    #[arg(long, value_name = "TIME", conflicts_with_all = ["before", "last"])]
    pub at: Option<String>,
    /// Where the store is.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Where to look, for `live`; whose snapshots, for the store.
    #[command(flatten)]
    pub netns: NetnsArg,
    /// What is shown, and how.
    #[command(flatten)]
    pub show: ShowArgs,
    /// List only groups that changed by at least this many flows
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub min_change: u64,
    /// List the flows that are new, gone, re-created or changed, in place of counting them; of full
    /// snapshots with plain addresses, or pseudonyms of one key
    #[arg(long)]
    pub flows: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: DiffOutput,
    /// Exit 2 where flows or tunables differ; of snapshots whose flows cannot be paired, such as
    /// aggregates, where the count of a class, protocol, state or group does
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// Which groups are shown; the same for `diff` and `series`.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// Group by these fields, as `src/24,dport,state`; repeatable, a table each
    #[arg(long, value_name = "FIELDS", add = complete::groupings())]
    pub by: Vec<By>,
    /// Groups to list of each table; 0 lists all
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub top: usize,
}

impl ShowArgs {
    /// The groupings asked for, or those of the default that can be had, `most` of them; and what to
    /// know of those that cannot.
    pub(super) fn by(
        &self,
        default: &[&str],
        most: usize,
        footing: &Footing,
    ) -> Result<(Vec<By>, Vec<String>), CliError> {
        for by in &self.by {
            footing.admits(by).map_err(|refusal| refused(&refusal))?;
        }
        if !self.by.is_empty() {
            return Ok((self.by.clone(), Vec::new()));
        }
        let (mut had, mut left_out) = (Vec::new(), Vec::<(String, Vec<&str>)>::new());
        for text in default {
            let by: By = text.parse().expect("the default names fields");
            match footing.nearest(&by) {
                Ok(by) => had.push(by),
                Err(Refusal::Incomparable { why, .. }) => match left_out.last_mut() {
                    Some((known, fields)) if *known == why => fields.push(text),
                    _ => left_out.push((why, vec![text])),
                },
                Err(refusal) => return Err(refused(&refusal)),
            }
        }
        had.truncate(most);
        let note =
            |(why, by): (String, Vec<&str>)| format!("{why}: not shown by {}", by.join(", "));
        Ok((had, left_out.into_iter().map(note).collect()))
    }

    pub(super) fn top(&self) -> usize {
        match self.top {
            0 => usize::MAX,
            top => top,
        }
    }
}

/// A grouping that cannot be had, and what can.
fn refused(refusal: &Refusal) -> CliError {
    let hint = match refusal {
        Refusal::Untold { .. } => format!(
            "an aggregate tells {}; `snapshot take` records every flow, and with `[snapshot] \
             detail = \"full\"` the timer does",
            Footing::aggregated().join(", ")
        ),
        Refusal::Incomparable { .. } => {
            "groupings without addresses compare, as `--by protocol,dport`".to_owned()
        }
        Refusal::Finer { instead, .. } | Refusal::Pseudonyms { instead, .. } => {
            format!("`--by {instead}`")
        }
    };
    CliError::failed(refusal.to_string()).hint(hint)
}

/// Formats of `diff`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DiffOutput {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// A line of JSON a flow; with `--flows` alone.
    Jsonl,
    /// For tickets and step summaries.
    Markdown,
    /// The groups of one grouping, for spreadsheets.
    Csv,
    /// One page that needs nothing else.
    Html,
}

/// Compares and prints.
pub(super) fn run(common: &Common, args: &DiffArgs) -> Result<Outcome, CliError> {
    check(args)?;
    let (before, after) = chosen(common, args)?;
    if before.is_live() && after.is_live() {
        return Err(CliError::usage("`live` can be one of the two only"));
    }
    if before.is_live() || after.is_live() {
        return live::within(&args.netns, |live| {
            let before = before.open(common, Some(&live), &args.netns)?;
            let after = after.open(common, Some(&live), &args.netns)?;
            compare(common, args, before, after)
        });
    }
    let before = before.open(common, None, &args.netns)?;
    let after = after.open(common, None, &args.netns)?;
    compare(common, args, before, after)
}

/// What contradicts itself.
fn check(args: &DiffArgs) -> Result<(), CliError> {
    let lists = matches!(args.output, DiffOutput::Text | DiffOutput::Jsonl);
    if args.flows && !lists {
        return Err(CliError::usage("`--flows` lists flows as text or as jsonl")
            .hint("`-o jsonl` has everything that a flow has"));
    }
    if args.output == DiffOutput::Jsonl && !args.flows {
        return Err(
            CliError::usage("`-o jsonl` is a line a flow and needs `--flows`")
                .hint("`-o json` is the diff as one document"),
        );
    }
    if args.output == DiffOutput::Csv && args.show.by.len() > 1 {
        return Err(
            CliError::usage("csv is one table: name one `--by`").hint("`-o json` has all of them")
        );
    }
    let names = [args.before.as_deref(), args.after.as_deref()];
    let by_file = names.iter().flatten().count() == 2 && !names.contains(&Some("live"));
    if by_file && args.netns.netns.is_some() {
        return Err(CliError::usage(
            "`--netns` says where `live` looks, and both are snapshots",
        ));
    }
    Ok(())
}

/// One of the two, as it was named.
enum Chosen {
    Live,
    File(PathBuf),
}

/// A file, or a snapshot of the store by its name.
pub(super) fn named(common: &Common, store: &StoreArgs, name: &str) -> Result<PathBuf, CliError> {
    let path = Path::new(name);
    if path.exists() || path.components().count() > 1 {
        Ok(path.to_owned())
    } else {
        Shelf::open(common, store)?.named(name)
    }
}

fn chosen(common: &Common, args: &DiffArgs) -> Result<(Chosen, Chosen), CliError> {
    let shelf = || Shelf::open(common, &args.store);
    let netns = args.netns.netns.as_deref();
    if let Some(number) = args.last {
        let (before, after) = shelf()?.of(netns)?.ends(common, number)?;
        return Ok((Chosen::File(before), Chosen::File(after)));
    }
    if let Some(text) = &args.at {
        let moment = time::parse(text, &Local::now())
            .map_err(|error| CliError::usage(format!("--at: {error}")))?;
        if moment > Utc::now() {
            return Err(CliError::usage(format!("--at: `{text}` is yet to come")));
        }
        let (before, after) = shelf()?.of(netns)?.around(moment)?;
        return Ok((Chosen::File(before), Chosen::File(after)));
    }
    let one = |name: &str| match name {
        "live" => Ok(Chosen::Live),
        name => named(common, &args.store, name).map(Chosen::File),
    };
    match (&args.before, &args.after) {
        (Some(before), Some(after)) => Ok((one(before)?, one(after)?)),
        _ => Err(CliError::usage("name two snapshots, or one and `live`")
            .hint("`--last 2` are the two newest of the store, `--at 03:12` those around a time")),
    }
}

/// One of the two, open.
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) snapshot: Snapshot<File>,
}

impl Opened {
    pub(super) fn party(&self) -> Party<'_> {
        Party::of(&self.name, &self.snapshot)
    }

    /// Opens a file.
    pub(super) fn file(path: &Path) -> Result<Self, CliError> {
        let file = snapshot::open(path)?;
        Ok(Self {
            name: file_name(path),
            path: path.to_owned(),
            snapshot: Snapshot::open(file).map_err(|error| unreadable(path, error))?,
        })
    }
}

impl Chosen {
    fn is_live(&self) -> bool {
        matches!(self, Self::Live)
    }

    fn open(
        &self,
        common: &Common,
        live: Option<&Live>,
        netns: &NetnsArg,
    ) -> Result<Opened, CliError> {
        match (self, live) {
            (Self::File(path), _) => Opened::file(path),
            (Self::Live, Some(live)) => record(common, live, netns),
            (Self::Live, None) => Err(CliError::failed("there is no kernel to look at")),
        }
    }
}

/// Dumps the running kernel's table into a file without a name: sorted, and no memory is needed
/// for it.
fn record(common: &Common, live: &Live, netns: &NetnsArg) -> Result<Opened, CliError> {
    let mut header = live.header()?;
    if !header.conntrack {
        return Err(ObserveError::Absent(
            "connection tracking is not loaded: there is no table to compare".to_owned(),
        )
        .into());
    }
    live::name_netns(&mut header, netns);
    let failed = |source: io::Error| {
        CliError::failed(format!(
            "a place for the table in {}",
            std::env::temp_dir().display()
        ))
        .because(source)
        .hint("TMPDIR names another directory; a million flows take 60 MB")
    };
    let told = Told::new(common, "reading the table", header.count);
    let file = tempfile::tempfile().map_err(failed)?;
    let (file, _) = store::take(live, &header, file, &Compression::Zstd.into(), |seen| {
        told.tell(seen);
    })?;
    let path = PathBuf::from("live");
    Ok(Opened {
        name: "live".to_owned(),
        snapshot: Snapshot::open(file).map_err(|error| unreadable(&path, error))?,
        path,
    })
}

fn compare(
    common: &Common,
    args: &DiffArgs,
    mut before: Opened,
    mut after: Opened,
) -> Result<Outcome, CliError> {
    let footing = Footing::new(&[before.party(), after.party()]);
    if let (true, Some(why)) = (args.flows, footing.unpaired()) {
        return Err(CliError::failed(format!(
            "`--flows`: {why}, so it is not known which flows are new, gone or the same"
        ))
        .hint("without `--flows` they are compared by how many each group has"));
    }
    let most = match args.output {
        DiffOutput::Csv => 1,
        _ => DEFAULT_BY.len(),
    };
    let (by, notes) = if args.flows {
        Default::default()
    } else {
        args.show.by(&DEFAULT_BY, most, &footing)?
    };
    let options = Options {
        by,
        top: args.show.top(),
        min_change: args.min_change,
    };
    let mut lines = args.flows.then(|| {
        let form = match args.output {
            DiffOutput::Jsonl => Form::Jsonl,
            _ => Form::Text,
        };
        Lines::new(form, BufWriter::new(io::stdout()))
    });
    let mut found = between(&mut before, &mut after, &footing, &options, &mut |change| {
        if let Some(lines) = &mut lines {
            lines.write(&change);
        }
    })?;
    found.notes.extend(notes);
    let outcome = Outcome {
        differences: args.detailed_exitcode && found.differs(),
        ..Outcome::default()
    };
    let printed = match lines {
        Some(lines) => lines.finish().map_err(CliError::from),
        None => print(common, args.output, &found),
    };
    shown(printed)?;
    Ok(outcome)
}

/// Compares them: flow by flow, for which both are read at once, or by counts.
fn between(
    before: &mut Opened,
    after: &mut Opened,
    footing: &Footing,
    options: &Options,
    tell: &mut dyn FnMut(Change<'_>),
) -> Result<Diff, CliError> {
    let (headers, dumps) = (
        (
            before.snapshot.header().clone(),
            after.snapshot.header().clone(),
        ),
        (
            dumped(before.snapshot.trailer()),
            dumped(after.snapshot.trailer()),
        ),
    );
    let one = Table {
        name: before.name.clone(),
        header: &headers.0,
        dumped: dumps.0,
    };
    let other = Table {
        name: after.name.clone(),
        header: &headers.1,
        dumped: dumps.1,
    };
    let (old, new) = (&mut before.snapshot, &mut after.snapshot);
    let found = if footing.unpaired().is_some() {
        let mut old = Counting::new(old, footing.is_aggregate());
        let mut new = Counting::new(new, footing.is_aggregate());
        diff::count((&one, &mut old), (&other, &mut new), footing, options)
    } else {
        thread::scope(|scope| {
            let failed = |error| CliError::failed("start a reading thread").because(error);
            let mut old = Ahead::start(scope, old).map_err(failed)?;
            let mut new = Ahead::start(scope, new).map_err(failed)?;
            Ok::<_, CliError>(diff::diff(
                (&one, &mut old),
                (&other, &mut new),
                options,
                tell,
            ))
        })?
    };
    found.map_err(|DiffError { which, source }| match which {
        Which::Before => unreadable(&before.path, source),
        Which::After => unreadable(&after.path, source),
    })
}

pub(super) fn dumped(trailer: &Trailer) -> Dumped {
    Dumped {
        entries: trailer.table_flows(),
        undecoded: trailer.undecoded,
        resized: trailer.resized,
    }
}

/// Prints a diff on stdout.
fn print(common: &Common, output: DiffOutput, found: &Diff) -> Result<(), CliError> {
    let mut stdout = anstream::stdout().lock();
    match output {
        DiffOutput::Json => return render::json(found),
        DiffOutput::Text | DiffOutput::Jsonl => {
            render::diff::text::write(&mut stdout, found, common.verbose > 0)?;
        }
        DiffOutput::Markdown => render::diff::markdown::write(&mut stdout, found)?,
        DiffOutput::Csv => render::diff::csv::write(&mut stdout, found)?,
        DiffOutput::Html => render::diff::html::write(&mut stdout, found)?,
    }
    Ok(stdout.flush()?)
}
