//! `conntidy snapshot list`: what the store holds.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::args::{Common, Output};
use crate::cli::render;
use crate::cli::render::number::{bytes, grouped};
use crate::cli::stored::StoreArgs;
use crate::cli::{CliError, Outcome, shown};
use crate::observe::{Redaction, Trigger};
use crate::plan::rfc3339;
use crate::store::Stored;

/// Arguments of `conntidy snapshot list`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy snapshot list\n  \
    conntidy snapshot list -o json | jq -r '.snapshots[] | select(.trigger == \"pressure\").file'")]
pub struct ListArgs {
    /// Where they are.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
}

/// What `snapshot list -o json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "conntidy snapshot list")]
pub(in crate::cli) struct List {
    /// `conntidy.snapshot-list/1`.
    schema: &'static str,
    /// The directory.
    directory: String,
    /// The snapshots, the newest first.
    snapshots: Vec<Listed>,
}

/// One snapshot of the store.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Listed {
    /// Its path.
    file: PathBuf,
    /// Its size.
    bytes: u64,
    /// The network namespace, as the file's name has it.
    netns: String,
    /// Why it cannot be read, and where it is damaged; then nothing below is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// When it was taken, nanoseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ns: Option<u64>,
    /// Whose table it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    /// `full` or `aggregate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    /// Flows of the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    flows: Option<u64>,
    /// `nf_conntrack_max` at the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<u64>,
    /// Why it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger: Option<Trigger>,
    /// What was done to its addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    redaction: Option<Redaction>,
}

impl Listed {
    fn new(stored: Stored) -> Self {
        let contents = stored.contents();
        let mut listed = Self {
            file: stored.path,
            bytes: stored.bytes,
            netns: stored.name.netns,
            error: None,
            time_ns: None,
            host: None,
            detail: None,
            flows: None,
            max: None,
            trigger: None,
            redaction: None,
        };
        match contents {
            Ok(contents) => {
                listed.time_ns = Some(contents.header.time_ns);
                listed.detail = Some(contents.detail.word());
                listed.flows = Some(contents.trailer.table_flows());
                listed.max = contents.header.number("nf_conntrack_max");
                listed.trigger = contents.header.trigger;
                listed.redaction = contents.header.redaction;
                listed.host = Some(contents.header.host);
            }
            Err(error) => listed.error = Some(error.to_string()),
        }
        listed
    }
}

/// Lists what the store holds; exit 4 where something in it cannot be read.
pub(super) fn run(common: &Common, args: &ListArgs) -> Result<Outcome, CliError> {
    let (store, _) = args.store.open(common)?;
    let list = List {
        schema: "conntidy.snapshot-list/1",
        directory: store.directory().display().to_string(),
        snapshots: store.list()?.into_iter().map(Listed::new).collect(),
    };
    shown(match args.output {
        Output::Text => text(&list),
        Output::Json => render::json(&list),
    })?;
    Ok(Outcome {
        incomplete: list.snapshots.iter().any(|one| one.error.is_some()),
        ..Outcome::default()
    })
}

fn text(list: &List) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    if list.snapshots.is_empty() {
        writeln!(out, "no snapshots in {}", list.directory)?;
        return Ok(());
    }
    let netns = widest(list.snapshots.iter().map(|one| one.netns.as_str()), "NETNS");
    writeln!(
        out,
        "{:<20}  {:<netns$}  {:>11}  {:>5}  {:<9}  {:<9}  {:<8}  {:>9}  FILE",
        "TIME", "NETNS", "FLOWS", "FILL", "DETAIL", "ADDRESSES", "TAKEN", "SIZE"
    )?;
    for one in &list.snapshots {
        let file = one.file.display();
        if let Some(error) = &one.error {
            writeln!(out, "unreadable  {file}: {error}")?;
            continue;
        }
        let share = (one.flows.zip(one.max))
            .filter(|(_, max)| *max > 0)
            .map_or_else(String::new, |(flows, max)| {
                format!("{} %", flows * 100 / max)
            });
        let addresses = match one.redaction {
            None => "plain",
            Some(Redaction::Prefix { .. }) => "prefix",
            Some(Redaction::Pseudonym { .. }) => "pseudonym",
        };
        let taken = match one.trigger {
            None => "",
            Some(Trigger::ByHand) => "by hand",
            Some(Trigger::Interval) => "interval",
            Some(Trigger::Pressure) => "pressure",
            Some(Trigger::Import) => "import",
        };
        writeln!(
            out,
            "{:<20}  {:<netns$}  {:>11}  {share:>5}  {:<9}  {addresses:<9}  {taken:<8}  {:>9}  {file}",
            one.time_ns.map(rfc3339).unwrap_or_default(),
            one.netns,
            one.flows.map(grouped).unwrap_or_default(),
            one.detail.unwrap_or_default(),
            bytes(one.bytes),
        )?;
    }
    Ok(())
}

fn widest<'a>(words: impl Iterator<Item = &'a str>, title: &str) -> usize {
    words.map(str::len).chain([title.len()]).max().unwrap_or(0)
}
