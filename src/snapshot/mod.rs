//! Snapshots: a table and everything around it, as JSON Lines.
//!
//! ```text
//! {"schema":"conntidy.snapshot/1","host":...}       the header: crate::observe::Header
//! {"family":"ipv4","protocol":"tcp","src":...}      a line a flow, in runs of 65,536
//! {"trailer":{...},"xxh3":"..."}                    counts, run index, checksums
//! ```
//!
//! Each run is sorted by [`FlowKey`](crate::flow::FlowKey); reading merges the runs, so memory is
//! flat in both directions. Compressed, the header, each run and the trailer are one Zstandard
//! frame each, followed by a seek table in Zstandard's seekable format, which every decoder skips:
//! `zstdcat` shows the same lines. What the trailer says refers to the text, so a file that was
//! unpacked by hand stays a valid snapshot.
//!
//! This module works over `Read`, `Write` and `Seek`; files are `crate::store`'s affair.

mod error;
mod merge;
mod reader;
pub mod record;
mod run;
mod salvage;
mod seek_table;
mod span;
mod summary;
mod trailer;
mod writer;

pub use error::{Damage, SnapshotError};
pub use merge::Merge;
pub use reader::Snapshot;
pub use run::{EncodedRun, RUN_FLOWS, Run, encode};
pub use salvage::{Salvaged, salvage};
pub use summary::{Count, Summary};
pub use trailer::{RunIndex, Trailer};
pub use writer::{Writer, write};

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::observe::Header;

/// The `schema` of the header line. The number rises when older versions could no longer read it.
pub const SCHEMA: &str = "conntidy.snapshot/1";

/// The JSON Schema of a line: header, flow or trailer.
#[must_use]
pub fn schema() -> Schema {
    #[derive(JsonSchema)]
    #[schemars(rename = "Header")]
    #[expect(dead_code, reason = "only its schema is used")]
    struct HeaderLine {
        /// `conntidy.snapshot/1`.
        #[schemars(extend("const" = SCHEMA))]
        schema: String,
        #[serde(flatten)]
        header: Header,
    }
    /// A line of a conntidy snapshot: first the header, then a line a flow, last the trailer.
    #[derive(JsonSchema)]
    #[schemars(title = "conntidy snapshot", untagged)]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Line<'a> {
        Header(Box<HeaderLine>),
        Flow(Box<record::FlowLine<'a>>),
        Trailer(trailer::TrailerLine),
    }
    SchemaGenerator::default().into_root_schema_for::<Line<'_>>()
}
