//! `conntidy snapshot show`: what a snapshot holds.

use crate::cli::terminal::say;
use std::io::{self, BufWriter, Write};

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::diff::named;
use super::{open, unreadable};
use crate::cli::args::Common;
use crate::cli::render::{self, flow_line};
use crate::cli::stored::StoreArgs;
use crate::cli::{CliError, Outcome, complete, shown};
use crate::observe::Header;
use crate::policy::Detail;
use crate::snapshot::record::{write_flow, write_group};
use crate::snapshot::{Line, Salvaged, Snapshot, Summary, Trailer, salvage_lines};

/// Arguments of `conntidy snapshot show`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy snapshot show gw1.jsonl.zst\n  \
    conntidy snapshot show gw1.jsonl.zst --flows | grep TIME_WAIT | head\n  \
    conntidy snapshot show gw1.jsonl.zst -o json | jq .summary.protocols")]
pub struct ShowArgs {
    /// The snapshot: a file, or its name in the store
    #[arg(value_name = "FILE", add = complete::snapshots())]
    pub file: String,
    /// Where the store is.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: ShowOutput,
    /// List the flows, or the groups of an aggregate, in their order instead of counting them
    #[arg(long)]
    pub flows: bool,
    /// Show what can be read of a damaged snapshot, and what is wrong with it (exit 4)
    #[arg(long)]
    pub salvage: bool,
}

/// Formats of `snapshot show`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ShowOutput {
    /// For people.
    #[default]
    Text,
    /// One JSON document; an array with `--flows`.
    Json,
    /// One line of JSON; a line a flow with `--flows`.
    Jsonl,
}

/// What `snapshot show -o json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "conntidy snapshot summary")]
pub(in crate::cli) struct Shown {
    /// `conntidy.snapshot-summary/1`.
    pub schema: &'static str,
    /// The file.
    pub file: String,
    /// The header; absent where it could not be salvaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// The trailer; absent where it could not be salvaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trailer: Option<Trailer>,
    /// Counts over all flows that could be read.
    pub summary: Summary,
    /// Flows that were salvaged and that no checksum vouches for.
    pub unverified: u64,
    /// What is wrong with the file, with the place of each damage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damages: Vec<String>,
}

/// Shows a snapshot on stdout.
pub(super) fn run(common: &Common, args: &ShowArgs) -> Result<Outcome, CliError> {
    let path = named(common, &args.store, &args.file)?;
    let file = open(&path)?;
    let unreadable = |error| unreadable(&path, error);
    let mut flows = Flows::new(args);
    let (header, trailer, found) = if args.salvage {
        let found = salvage_lines(file, |line| flows.take(line)).map_err(unreadable)?;
        (found.header.clone(), found.trailer.clone(), found)
    } else {
        let mut snapshot = Snapshot::open(file).map_err(unreadable)?;
        let (header, trailer) = (snapshot.header().clone(), snapshot.trailer().clone());
        match snapshot.detail() {
            Detail::Full => {
                let mut sorted = snapshot.flows().map_err(unreadable)?;
                while let Some(record) = sorted.next_flow().map_err(unreadable)? {
                    flows.take(Line::Flow(&record));
                    if flows.written.is_err() {
                        break;
                    }
                }
            }
            Detail::Aggregate => {
                let mut sorted = snapshot.groups().map_err(unreadable)?;
                while let Some(group) = sorted.next_group().map_err(unreadable)? {
                    flows.take(Line::Group(&group));
                    if flows.written.is_err() {
                        break;
                    }
                }
            }
        }
        (Some(header), Some(trailer), Salvaged::default())
    };
    let damages = damages(&found);
    let outcome = Outcome {
        incomplete: !damages.is_empty(),
        ..Outcome::default()
    };
    match flows.finish() {
        Ok(Some(summary)) => {
            let document = Shown {
                schema: "conntidy.snapshot-summary/1",
                file: path.display().to_string(),
                header,
                trailer,
                summary,
                unverified: found.unverified,
                damages,
            };
            shown(print(args.output, &document))?;
        }
        listed => {
            for damage in damages {
                say!("damage: {damage}");
            }
            shown(listed.map(drop).map_err(CliError::from))?;
        }
    }
    Ok(outcome)
}

fn print(output: ShowOutput, document: &Shown) -> Result<(), CliError> {
    match output {
        ShowOutput::Text => {
            let mut stdout = anstream::stdout().lock();
            render::snapshot::write(&mut stdout, document)?;
            stdout.flush()?;
        }
        ShowOutput::Json => render::json(document)?,
        ShowOutput::Jsonl => {
            let text = serde_json::to_string(document)
                .map_err(|error| CliError::failed("the result has no JSON form").because(error))?;
            writeln!(io::stdout().lock(), "{text}")?;
        }
    }
    Ok(())
}

fn damages(found: &Salvaged) -> Vec<String> {
    let mut damages: Vec<_> = found.damages.iter().map(ToString::to_string).collect();
    if found.more > 0 {
        damages.push(format!("{} more", found.more));
    }
    damages
}

/// Counts flows, or writes them as they come.
struct Flows {
    out: Option<(ShowOutput, BufWriter<io::Stdout>)>,
    summary: Summary,
    line: Vec<u8>,
    before: &'static [u8],
    written: io::Result<()>,
}

impl Flows {
    fn new(args: &ShowArgs) -> Self {
        Self {
            out: args
                .flows
                .then(|| (args.output, BufWriter::new(io::stdout()))),
            summary: Summary::default(),
            line: Vec::new(),
            before: b"[\n",
            written: Ok(()),
        }
    }

    fn take(&mut self, line: Line<'_>) {
        let Some((output, out)) = &mut self.out else {
            match line {
                Line::Flow(record) => self.summary.add(record),
                Line::Group(group) => self.summary.add_group(group),
            }
            return;
        };
        if self.written.is_err() {
            return;
        }
        self.line.clear();
        if *output == ShowOutput::Json {
            self.line.extend_from_slice(self.before);
            self.before = b",\n";
        }
        match (line, &output) {
            (Line::Flow(record), ShowOutput::Text) => flow_line::write(&mut self.line, record),
            (Line::Flow(record), _) => write_flow(&record.flow, &record.extra, &mut self.line),
            (Line::Group(group), ShowOutput::Text) => flow_line::write_group(&mut self.line, group),
            (Line::Group(group), _) => write_group(group, &mut self.line),
        }
        if *output == ShowOutput::Json {
            self.line.pop();
        }
        self.written = out.write_all(&self.line);
    }

    /// The counts; `None` where the flows were written.
    fn finish(self) -> io::Result<Option<Summary>> {
        let Some((output, mut out)) = self.out else {
            return Ok(Some(self.summary.finish()));
        };
        self.written?;
        if output == ShowOutput::Json {
            let end: &[u8] = if self.before == b"[\n" {
                b"[]\n"
            } else {
                b"\n]\n"
            };
            out.write_all(end)?;
        }
        out.flush()?;
        Ok(None)
    }
}
