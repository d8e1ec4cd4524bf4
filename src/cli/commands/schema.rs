//! `conntidy schema`: JSON Schemas of what is read and written.

use std::io::Write;

use clap::Args;
use clap::builder::PossibleValuesParser;
use schemars::{Schema, schema_for};
use serde_json::Value;

use super::check::CheckJson;
use super::count::Counted;
use super::events::Summary;
use super::flush::Flushed;
use super::list::Listing;
use super::rehearse::Rehearsal;
use super::snapshot::{List, PruneJson, Restored, Shown};
use super::stats::Stats;
use super::test::TestJson;
use super::undo::Runs;
use crate::cli::expect::Expectations;
use crate::cli::render::event_line;
use crate::cli::{CliError, Outcome};
use crate::doctor::Diagnosis;
use crate::plan::{Explanation, Plan, PolicyDrift, Saved};
use crate::policy::Document;
use crate::report::Report;

/// Makes a schema.
type Make = fn() -> Schema;

/// Every document that has a schema, and how to make it.
const SCHEMAS: &[(&str, Make)] = &[
    ("policy", || schema_for!(Document)),
    ("check", || schema_for!(CheckJson)),
    ("plan", || schema_for!(Plan)),
    ("saved-plan", || schema_for!(Saved)),
    ("test", || schema_for!(TestJson)),
    ("policy-drift", || schema_for!(PolicyDrift)),
    ("report", || schema_for!(Report)),
    ("runs", || schema_for!(Runs)),
    ("explain", || schema_for!(Explanation)),
    ("rehearsal", || schema_for!(Rehearsal)),
    ("diff", || schema_for!(crate::snapshot::diff::Diff)),
    ("series", || schema_for!(crate::snapshot::series::Series)),
    ("list", || schema_for!(Listing<'_>)),
    ("count", || schema_for!(Counted)),
    ("expectations", || schema_for!(Expectations)),
    ("flush", || schema_for!(Flushed)),
    ("events", event_line::schema::<Summary>),
    ("stats", || schema_for!(Stats)),
    ("doctor", || schema_for!(Diagnosis)),
    ("snapshot", crate::snapshot::schema),
    ("snapshot-summary", || schema_for!(Shown)),
    ("snapshot-list", || schema_for!(List)),
    ("snapshot-prune", || schema_for!(PruneJson)),
    ("snapshot-restore", || schema_for!(Restored)),
];

/// Arguments of `conntidy schema`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy schema policy > conntidy.schema.json    for editors that complete and check TOML\n  \
    conntidy schema plan | jq .properties            what `plan -o json` prints")]
pub struct SchemaArgs {
    /// Which document
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(SCHEMAS.iter().map(|(name, _)| *name)))]
    pub name: String,
}

/// Prints one schema on stdout.
pub(super) fn run(args: &SchemaArgs) -> Result<Outcome, CliError> {
    let mut schema = SCHEMAS
        .iter()
        .find(|(name, _)| *name == args.name)
        .map(|(_, make)| make().to_value())
        .ok_or_else(|| CliError::usage(format!("there is no schema `{}`", args.name)))?;
    if WITHOUT_NULL.contains(&args.name.as_str()) {
        schema = without_null(schema);
    }
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|error| CliError::failed("the schema has no JSON form").because(error))?;
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(Outcome::default())
}

/// Documents whose optional keys are left out, never null: TOML has no null, and the results of
/// `check` omit them. The others have null where a value that is always asked for
/// is not known.
const WITHOUT_NULL: [&str; 2] = ["policy", "check"];

/// The schema of a document in which nothing is null.
fn without_null(schema: Value) -> Value {
    match schema {
        Value::Object(map) => {
            let mut map: serde_json::Map<_, _> = map
                .into_iter()
                .map(|(key, value)| (key, without_null(value)))
                .collect();
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(words)) = map.get_mut("enum") {
                words.retain(|word| !word.is_null());
            }
            if let Some(Value::Array(alternatives)) = map.get_mut("anyOf") {
                alternatives.retain(|schema| *schema != serde_json::json!({ "type": "null" }));
                if let [Value::Object(only)] = alternatives.as_slice() {
                    let only = only.clone();
                    map.remove("anyOf");
                    for (key, value) in only {
                        map.entry(key).or_insert(value);
                    }
                }
            }
            Value::Object(map)
        }
        Value::Array(list) => Value::Array(list.into_iter().map(without_null).collect()),
        other => other,
    }
}
