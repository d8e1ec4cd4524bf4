//! `conntidy count`: how many flows pass, by group.

use std::io::Write;
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::args::Common;
use crate::cli::render;
use crate::cli::render::sheet::{Kind, Sheet};
use crate::cli::table::{Table, TableArgs, Which};
use crate::cli::{CliError, Outcome, complete, expect};
use crate::group::{By, Cell, PerGroup};
use crate::observe::{Record, Visit};
use crate::policy::Seconds;
use crate::policy::leaf::Leaf;

/// `schema` of the document.
const SCHEMA: &str = "conntidy.count/1";

/// Arguments of `conntidy count`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy count                                    one number\n  \
    conntidy count -p tcp --by state\n  \
    conntidy count --status unreplied --by src/24,dport --top 20\n  \
    conntidy count --from gw1.jsonl.zst --by protocol,state -o csv\n  \
    conntidy count --rule idle-established            what this rule of the policy would take\n  \
    conntidy count --netns all --by state             of every named namespace\n  \
    conntidy count --dport 443 --watch 1s             a number a second, until interrupted")]
pub struct CountArgs {
    /// Where to look, and at which flows.
    #[command(flatten)]
    pub table: TableArgs,
    /// Count by these fields, as `src/24,dport,state`
    #[arg(long, value_name = "FIELDS", add = complete::groupings())]
    pub by: Option<By>,
    /// Only the largest groups
    #[arg(long, value_name = "N", requires = "by")]
    pub top: Option<usize>,
    /// Count again and again, with so long a pause
    #[arg(long, value_name = "TIME", value_parser = pause, conflicts_with = "from")]
    pub watch: Option<Duration>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Formats of counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns.
    #[default]
    Text,
    /// One JSON document; with `--watch`, one a line.
    Json,
    /// Comma-separated values.
    Csv,
}

/// How many flows passed.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct Counted {
    /// `conntidy.count/1`; minor versions only add fields.
    schema: &'static str,
    /// Flows that passed.
    flows: u64,
    /// Entries of the table.
    entries: u64,
    /// Fields of the groups, as they were asked for; `netns` in front where several network namespaces
    /// were looked at.
    by: Vec<String>,
    /// Groups, the largest first; equal ones in the order of their fields.
    groups: Vec<Group>,
    /// Groups that `--top` left out.
    more: usize,
}

/// Flows that have the same fields.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Group {
    /// The fields, in the order of `by`.
    key: Vec<Cell>,
    /// Flows.
    flows: u64,
}

/// A pause between two looks.
pub(super) fn pause(text: &str) -> Result<Duration, String> {
    let seconds = Seconds::read(text).map_err(|error| error.to_string())?;
    if seconds.0 == 0 {
        return Err("at least 1s".to_owned());
    }
    Ok(Duration::from_secs(seconds.0))
}

/// Counts and prints.
pub(super) fn run(common: &Common, args: &CountArgs) -> Result<Outcome, CliError> {
    if args.table.which == Which::Expect {
        if args.by.is_some() || args.watch.is_some() || args.output != Format::Text {
            return Err(CliError::usage("expectations are counted as one number"));
        }
        return expect::count(common, &args.table);
    }
    // A table a look is told from the next by a line without text.
    let is_apart =
        args.output == Format::Text && (args.by.is_some() || args.table.netns.are_several());
    let mut is_first = true;
    loop {
        let mut total = Total::default();
        let outcome = args.table.open(common, |table| {
            total.add(table, args)?;
            Ok(Outcome::default())
        })?;
        if is_apart && !std::mem::take(&mut is_first) {
            writeln!(std::io::stdout())?;
        }
        print(args, &total.counted(args))?;
        match args.watch {
            Some(pause) => thread::sleep(pause),
            None => return Ok(outcome),
        }
    }
}

/// What the tables that were looked at have together.
#[derive(Default)]
struct Total {
    flows: u64,
    entries: u64,
    /// Names of the namespaces, where there are several.
    netns: Vec<String>,
    /// Namespace, key and size of each group.
    groups: Vec<(usize, Box<[u8]>, u64)>,
}

impl Total {
    fn add(&mut self, table: &Table<'_>, args: &CountArgs) -> Result<(), CliError> {
        let (mut first, mut second) = (Tally::new(args), Tally::new(args));
        let dumped = table.visit(&mut [&mut first, &mut second])?;
        for (key, flows) in second.groups.iter() {
            *first.groups.of(key) += flows;
        }
        let flows = first.flows + second.flows;
        self.flows += flows;
        self.entries += dumped.entries;
        let netns = self.netns.len();
        if let Some(name) = table.netns {
            self.netns.push(name.to_owned());
            if args.by.is_none() {
                self.groups.push((netns, Box::default(), flows));
            }
        }
        let groups = first.groups.iter();
        self.groups
            .extend(groups.map(|(key, flows)| (netns, key.into(), *flows)));
        Ok(())
    }

    fn counted(mut self, args: &CountArgs) -> Counted {
        let by_size = |(n, a, x): &(usize, Box<[u8]>, u64), (m, b, y): &(usize, Box<[u8]>, u64)| {
            y.cmp(x).then_with(|| (n, a).cmp(&(m, b)))
        };
        self.groups.sort_unstable_by(by_size);
        let shown = args.top.unwrap_or(self.groups.len());
        let more = self.groups.len().saturating_sub(shown);
        self.groups.truncate(shown);
        let groups = (self.groups.iter())
            .map(|(netns, key, flows)| Group {
                key: (self.netns.get(*netns).cloned().map(Cell::Text).into_iter())
                    .chain(args.by.iter().flat_map(|by| by.decode(key)))
                    .collect(),
                flows: *flows,
            })
            .collect();
        let netns = args.table.netns.are_several().then(|| "netns".to_owned());
        Counted {
            schema: SCHEMA,
            flows: self.flows,
            entries: self.entries,
            by: (netns.into_iter())
                .chain(args.by.iter().flat_map(By::heads))
                .collect(),
            groups,
            more,
        }
    }
}

/// Counts of one walk of the table. Allocates only for groups not seen before.
struct Tally<'a> {
    by: Option<&'a By>,
    flows: u64,
    groups: PerGroup<u64>,
    key: Vec<u8>,
}

impl<'a> Tally<'a> {
    fn new(args: &'a CountArgs) -> Self {
        Self {
            by: args.by.as_ref(),
            flows: 0,
            groups: PerGroup::default(),
            key: Vec::new(),
        }
    }
}

impl Visit for Tally<'_> {
    fn visit(&mut self, record: &Record<'_>) {
        self.flows += 1;
        let Some(by) = self.by else { return };
        by.encode(record, &mut self.key);
        *self.groups.of(&self.key) += 1;
    }
}

fn print(args: &CountArgs, counted: &Counted) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    match args.output {
        Format::Json if args.watch.is_some() => {
            serde_json::to_writer(&mut out, counted).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        Format::Json => {
            drop(out);
            return render::json(counted);
        }
        Format::Text if counted.by.is_empty() => writeln!(out, "{}", counted.flows)?,
        Format::Text => {
            sheet(counted).text(&mut out, "")?;
            if counted.more > 0 {
                writeln!(out, "and {} smaller groups", counted.more)?;
            }
        }
        Format::Csv => sheet(counted).csv(&mut out)?,
    }
    Ok(out.flush()?)
}

fn sheet(counted: &Counted) -> Sheet {
    let fields = counted.by.iter().map(|head| (head.clone(), Kind::Words));
    let mut sheet = Sheet::new(fields.chain([("flows".to_owned(), Kind::Number)]));
    if counted.by.is_empty() {
        sheet.row(vec![counted.flows.to_string()]);
    }
    for group in &counted.groups {
        let cells = group.key.iter().map(ToString::to_string);
        sheet.row(cells.chain([group.flows.to_string()]).collect());
    }
    sheet
}
