//! Snapshots: a table and everything around it, as JSON Lines.
//!
//! ```text
//! {"schema":"conntidy.snapshot/1","host":...}       the header: crate::observe::Header
//! {"family":"ipv4","protocol":"tcp","src":...}      a line a flow, in runs of 65,536
//! {"trailer":{...},"xxh3":"..."}                    counts, run index, checksums
//! ```
//!
//! An aggregate has the header's `schema` `conntidy.aggregate/1` and a line a [`Group`] in place of
//! flows.
//!
//! Each run is sorted by [`FlowKey`](crate::flow::FlowKey); reading merges the runs, so memory is
//! flat in both directions. Compressed, the header, each run and the trailer are one Zstandard
//! frame each, followed by a seek table in Zstandard's seekable format, which every decoder skips:
//! `zstdcat` shows the same lines. What the trailer says refers to the text, so a file that was
//! unpacked by hand stays a valid snapshot.
//!
//! This module works over `Read`, `Write` and `Seek`; files are `crate::store`'s affair.

mod aggregate;
mod counting;
pub mod diff;
pub mod due;
mod error;
mod footing;
mod groups;
mod gzip;
pub mod import;
mod lines;
mod merge;
mod outline;
mod pack;
mod reader;
pub mod record;
mod redact;
pub mod retention;
mod run;
mod salvage;
mod seek_table;
pub mod series;
mod span;
mod summary;
mod trailer;
mod writer;

pub use aggregate::{Aggregate, MOST_GROUPS};
pub use counting::{Countable, Counted, Counting};
pub use error::{Damage, SnapshotError};
pub use footing::{Footing, Party, Refusal};
pub use groups::Groups;
pub use merge::Merge;
pub use outline::Outline;
pub use reader::Snapshot;
pub use record::{Common, Group, Totals};
pub use redact::{PREFIX4, PREFIX6, Redactor, SHORTEST_KEY, ShortKey};
pub use run::{EncodedRun, RUN_FLOWS, Run, encode};
pub use salvage::{Line, Salvaged, salvage, salvage_lines};
pub use summary::{Count, Summary};
pub use trailer::{Aggregated, RunIndex, Trailer};
pub use writer::{Writer, write, write_aggregate};

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::observe::Header;
use crate::policy::Detail;

/// The `schema` of the header line. The number rises when older versions could no longer read it.
pub const SCHEMA: &str = "conntidy.snapshot/1";

/// The `schema` of the header line of an aggregate.
pub const AGGREGATE_SCHEMA: &str = "conntidy.aggregate/1";

fn schema_of(detail: Detail) -> &'static str {
    match detail {
        Detail::Full => SCHEMA,
        Detail::Aggregate => AGGREGATE_SCHEMA,
    }
}

/// The JSON Schema of a line: header, flow or trailer.
#[must_use]
pub fn schema() -> Schema {
    #[derive(JsonSchema)]
    #[schemars(rename = "Header")]
    #[expect(dead_code, reason = "only its schema is used")]
    struct HeaderLine {
        /// `conntidy.snapshot/1`, or `conntidy.aggregate/1` where groups follow in place of flows.
        #[schemars(extend("enum" = [SCHEMA, AGGREGATE_SCHEMA]))]
        schema: String,
        #[serde(flatten)]
        header: Header,
    }
    /// A line of a conntidy snapshot: first the header, then a line a flow or group, last the trailer.
    #[derive(JsonSchema)]
    #[schemars(title = "conntidy snapshot", untagged)]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Line<'a> {
        Header(Box<HeaderLine>),
        Flow(Box<record::FlowLine<'a>>),
        Group(Box<record::GroupLine<'a>>),
        Trailer(trailer::TrailerLine),
    }
    SchemaGenerator::default().into_root_schema_for::<Line<'_>>()
}
