//! `conntidy list`: the entries of a table, as they come, or the first of a ranking.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use clap::{Args, ValueEnum};
use schemars::JsonSchema;

use crate::cli::args::Common;
use crate::cli::error::INCOMPLETE;
use crate::cli::render::columns::{Rows, Style};
use crate::cli::render::flow_line;
use crate::cli::render::netns;
use crate::cli::table::{Table, TableArgs, Which};
use crate::cli::{CliError, Outcome, complete, expect, pipe};
use crate::column::{Column, Ranked};
use crate::conntrack::print;
use crate::kernel::aside;
use crate::observe::{Record, Visit};
use crate::snapshot::record::{FlowLine, write_flow};

/// `schema` of the document.
const SCHEMA: &str = "conntidy.list/1";

/// Arguments of `conntidy list`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy list -p tcp --state ESTABLISHED -s 10.0.0.0/8 --dport 80,443,8000-8100\n  \
    conntidy list --idle-for 1h --not-dst 10.0.0.0/8\n  \
    conntidy list --sort bytes --top 20 -o wide\n  \
    conntidy list --columns src,dst,dport,bytes,idle --dport 443\n  \
    conntidy list --rule idle-established             what this rule of the policy would take\n  \
    conntidy list --netns all -o csv > flows.csv\n  \
    conntidy list --nat dst -o jsonl | jq -r .reply_src | sort | uniq -c\n  \
    conntidy list --from gw1.jsonl.zst --match 'protocol = \"udp\", not = { dport = 53 }'\n\n\
    A flow that does not tell a field is not listed; how many those are is said at the end.")]
pub struct ListArgs {
    /// Where to look, and at which flows.
    #[command(flatten)]
    pub table: TableArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
    /// Show these fields alone: those of the filter, and id, class, timeout, idle, age, start, bytes,
    /// packets, orig-bytes, reply-bytes and so on
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', value_parser = column, add = complete::columns())]
    pub columns: Vec<Column>,
    /// The largest value of this field first; what has none comes last. Without `--top` the whole
    /// listing is held in memory, some 200 bytes a flow
    #[arg(long, value_name = "FIELD", value_parser = column, add = complete::columns())]
    pub sort: Option<Column>,
    /// With `--sort`, only the first N; memory goes by N then
    #[arg(long, value_name = "N", requires = "sort")]
    pub top: Option<NonZeroUsize>,
    /// With `--sort`, the smallest value first
    #[arg(long, requires = "sort")]
    pub reverse: bool,
}

/// How flows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for people, much as the `conntrack` tool has it; with `--columns`, values with blanks
    /// between them.
    #[default]
    Text,
    /// Aligned columns below their names.
    Wide,
    /// One JSON document.
    Json,
    /// A JSON object a line, as in a snapshot.
    Jsonl,
    /// The lines of `conntrack -L`.
    Conntrack,
    /// Comma-separated values below the names of their columns.
    Csv,
}

fn column(text: &str) -> Result<Column, String> {
    text.parse::<Column>().map_err(|error| error.to_string())
}

/// What people look for first.
const WIDE: [Column; 14] = [
    Column::Protocol,
    Column::State,
    Column::Timeout,
    Column::Src,
    Column::Sport,
    Column::Dst,
    Column::Dport,
    Column::NatSrc,
    Column::NatDst,
    Column::Mark,
    Column::Zone,
    Column::Packets,
    Column::Bytes,
    Column::Status,
];

/// All that an entry is and has, each thing once.
const CSV: [Column; 27] = [
    Column::Family,
    Column::Protocol,
    Column::State,
    Column::Status,
    Column::Timeout,
    Column::Src,
    Column::Sport,
    Column::Dst,
    Column::Dport,
    Column::ReplySrc,
    Column::ReplySport,
    Column::ReplyDst,
    Column::ReplyDport,
    Column::IcmpType,
    Column::IcmpCode,
    Column::IcmpId,
    Column::GreKey,
    Column::Mark,
    Column::OrigZone,
    Column::ReplyZone,
    Column::Label,
    Column::Helper,
    Column::Start,
    Column::OrigPackets,
    Column::OrigBytes,
    Column::ReplyPackets,
    Column::ReplyBytes,
];

/// The flows that passed, as `list -o json` prints them.
#[derive(JsonSchema)]
#[expect(
    dead_code,
    reason = "only its schema is used: the document is written flow by flow"
)]
pub(in crate::cli) struct Listing<'a> {
    /// `conntidy.list/1`; minor versions only add fields.
    schema: String,
    /// The columns that were asked for; absent: all that a flow has, as in a snapshot.
    #[serde(default)]
    columns: Vec<String>,
    /// Flows, in the order of the table or in the one that was asked for.
    flows: Vec<Listed<'a>>,
    /// How many those are.
    listed: u64,
}

/// A flow of a listing; `netns` is its network namespace where several were looked at.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Listed<'a> {
    /// All that it has.
    Flow(Box<FlowLine<'a>>),
    /// The columns that were asked for, `_` in place of `-`; null where the flow does not tell.
    Row(BTreeMap<String, Told>),
}

/// What a flow has in a column.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Told {
    Nothing(()),
    Number(u64),
    Word(String),
    Words(Vec<String>),
    Numbers(Vec<u64>),
}

/// Lists, in the order of the table or in that of a ranking.
pub(super) fn run(common: &Common, args: &ListArgs) -> Result<Outcome, CliError> {
    if args.table.which == Which::Expect {
        if !args.columns.is_empty() || args.sort.is_some() {
            return Err(CliError::usage(
                "expectations have no columns, and one order",
            ));
        }
        return expect::list(common, &args.table, args.output);
    }
    if args.output == Format::Conntrack && !args.columns.is_empty() {
        return Err(
            CliError::usage("conntrack's lines have no columns to choose")
                .hint("`-o text`, `wide`, `csv`, `json` and `jsonl` show those of `--columns`"),
        );
    }
    let form = Form::of(args);
    let asks = |column| args.columns.contains(&column) || args.sort == Some(column);
    let table = TableArgs {
        shows_idle: asks(Column::Idle),
        ..args.table.clone()
    };
    pipe::widen();
    let out = Mutex::new(Out::default());
    let mut head = Vec::new();
    form.head(args, &mut head);
    locked(&out).write(&head);
    let listed = table.open(common, |table| {
        list(args, &form, table, &out)?;
        Ok(Outcome::default())
    });
    let mut out = out.into_inner().unwrap_or_else(PoisonError::into_inner);
    // What could not be decoded is missing, but what is there is a whole document.
    let is_whole = listed
        .as_ref()
        .err()
        .is_none_or(|error| error.code() == INCOMPLETE);
    if is_whole && form.is_document {
        let end = format!("\n],\"listed\":{}}}\n", out.flows);
        out.write(end.as_bytes());
    }
    if let Some(error) = out.error {
        return Err(error.into());
    }
    listed
}

fn list(args: &ListArgs, form: &Form, table: &Table<'_>, out: &Mutex<Out>) -> Result<(), CliError> {
    let lines = || Lines {
        form,
        table,
        buffer: Vec::with_capacity(BUFFER + ROOM),
        out,
        flows: 0,
        is_first: true,
    };
    let (mut first, mut second) = (lines(), lines());
    let Some(column) = args.sort else {
        table.visit(&mut [&mut first, &mut second])?;
        return Ok(());
    };
    let most = args.top.map(NonZeroUsize::get);
    let ranked = || Ranked::new(&table.reader, column, args.reverse, most);
    let (mut one, mut two) = (ranked(), ranked());
    let mut offer_one = |record: &Record<'_>| one.offer(record);
    let mut offer_two = |record: &Record<'_>| two.offer(record);
    table.visit(&mut [&mut offer_one as &mut dyn Visit, &mut offer_two])?;
    one.merge(two);
    one.visit(|record| first.visit(record));
    Ok(())
}

/// How a flow is written.
#[derive(Debug)]
struct Form {
    shape: Shape,
    /// The flows are members of one document.
    is_document: bool,
}

#[derive(Debug)]
enum Shape {
    Line,
    Conntrack,
    Object,
    Rows(Rows),
}

impl Form {
    fn of(args: &ListArgs) -> Self {
        let of_several = args.table.netns.are_several();
        let rows = |style, default: &[Column]| {
            let columns = if args.columns.is_empty() {
                default
            } else {
                &args.columns
            };
            Shape::Rows(Rows::new(style, columns.to_vec(), of_several))
        };
        let shape = match args.output {
            Format::Text if args.columns.is_empty() => Shape::Line,
            Format::Text => rows(Style::Plain, &[]),
            Format::Conntrack => Shape::Conntrack,
            Format::Wide => rows(Style::Aligned, &WIDE),
            Format::Csv => rows(Style::Csv, &CSV),
            Format::Json | Format::Jsonl if args.columns.is_empty() => Shape::Object,
            Format::Json | Format::Jsonl => rows(Style::Json, &[]),
        };
        Self {
            shape,
            is_document: args.output == Format::Json,
        }
    }

    /// What stands before the first flow.
    fn head(&self, args: &ListArgs, out: &mut Vec<u8>) {
        if self.is_document {
            out.extend_from_slice(b"{\"schema\":\"");
            out.extend_from_slice(SCHEMA.as_bytes());
            out.push(b'"');
            if !args.columns.is_empty() {
                let names: Vec<_> = args.columns.iter().map(|c| format!("\"{c}\"")).collect();
                out.extend_from_slice(format!(",\"columns\":[{}]", names.join(",")).as_bytes());
            }
            out.extend_from_slice(b",\"flows\":[");
        } else if let Shape::Rows(rows) = &self.shape {
            rows.head(out);
        }
    }

    /// Appends a flow and a line end; before it, where flows are members of a document, what keeps
    /// it from the one before.
    fn flow(&self, out: &mut Vec<u8>, table: &Table<'_>, record: &Record<'_>) {
        if self.is_document {
            out.extend_from_slice(SEPARATOR);
        }
        match &self.shape {
            Shape::Line | Shape::Conntrack => {
                if let Shape::Line = &self.shape {
                    flow_line::write(out, record);
                } else {
                    let style = print::Style {
                        now: table.time_ns / 1_000_000_000,
                        ..print::Style::default()
                    };
                    let aside = aside(record.message);
                    print::text::line(out, &record.flow, &record.extra, &aside, &style);
                    out.push(b'\n');
                }
                if let Some(name) = table.netns {
                    netns::text(out, name);
                }
            }
            Shape::Object => {
                write_flow(&record.flow, &record.extra, out);
                if let Some(name) = table.netns {
                    netns::json(out, name);
                }
            }
            Shape::Rows(rows) => rows.row(out, &table.reader, record, table.netns),
        }
        if self.is_document {
            out.pop();
        }
    }
}

/// Between the flows of a document.
const SEPARATOR: &[u8] = b",\n";

/// Lines go out by this many bytes.
const BUFFER: usize = 64 << 10;
/// Longer lines make the buffer grow.
const ROOM: usize = 4 << 10;

/// Where lines go; what went wrong there is told at the end.
#[derive(Default)]
struct Out {
    flows: u64,
    error: Option<io::Error>,
}

fn locked(out: &Mutex<Out>) -> std::sync::MutexGuard<'_, Out> {
    out.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Out {
    fn write(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            self.error = pipe::write(bytes).err();
        }
    }
}

/// Makes lines of the flows of one walk of the table. Only whole lines go out, so that those of two
/// walks do not mix.
struct Lines<'a> {
    form: &'a Form,
    table: &'a Table<'a>,
    buffer: Vec<u8>,
    out: &'a Mutex<Out>,
    /// In the buffer.
    flows: u64,
    is_first: bool,
}

impl Lines<'_> {
    fn flush(&mut self) {
        let mut out = locked(self.out);
        // The first flow of a document has none before it.
        let skip = usize::from(self.form.is_document && out.flows == 0);
        out.write(&self.buffer[skip..]);
        out.flows += std::mem::take(&mut self.flows);
        self.buffer.clear();
    }
}

impl Visit for Lines<'_> {
    fn visit(&mut self, record: &Record<'_>) {
        self.form.flow(&mut self.buffer, self.table, record);
        self.flows += 1;
        // Whoever waits sees the first at once.
        if self.buffer.len() >= BUFFER || std::mem::take(&mut self.is_first) {
            self.flush();
        }
    }
}

impl Drop for Lines<'_> {
    fn drop(&mut self) {
        if self.flows > 0 {
            self.flush();
        }
    }
}
