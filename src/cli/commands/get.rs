//! `conntidy get`: one entry of the table.

use std::io::Write;

use clap::Args;

use crate::cli::args::{Common, Output};
use crate::cli::namespaces::NamespacesArg;
use crate::cli::render::{flow_line, netns};
use crate::cli::select::{SelectArgs, whole_key};
use crate::cli::table::Changeable;
use crate::cli::table::filtered;
use crate::cli::{CliError, Outcome, expect, live};
use crate::kernel::Live;
use crate::observe::Record;
use crate::snapshot::record::write_flow;

/// Arguments of `conntidy get`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy get tcp 10.0.0.5:40112 10.0.9.5:5432\n  \
    conntidy get -p udp -s 10.0.0.5 --sport 40112 -d 10.0.9.5 --dport 53 -w 7\n  \
    conntidy get icmp 10.0.0.5 10.0.9.5 type 8 code 0 id 77 -o json\n  \
    conntidy get --id 3207512312\n  \
    conntidy get tcp 10.0.0.5:40112 10.0.9.5:5432 --netns all\n\n\
    An entry is named by its original direction. It is asked for by itself: however large the table\n\
    is, nothing is dumped, but for --id alone. Without a zone it is looked for in zone 0.\n\
    Of several network namespaces each that has it shows its own.\n\
    Exit 1 where there is no such entry.")]
pub struct GetArgs {
    /// Which table
    #[arg(long, value_enum, default_value_t, value_name = "TABLE")]
    pub table: Changeable,
    /// Which entry.
    #[command(flatten)]
    pub select: SelectArgs,
    /// Where to look.
    #[command(flatten)]
    pub netns: NamespacesArg,
    /// Output format; JSON is a line as in a snapshot
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
}

/// Gets and prints.
pub(super) fn run(common: &Common, args: &GetArgs) -> Result<Outcome, CliError> {
    if args.table == Changeable::Expect {
        return expect::get(common, &args.select, &args.netns, args.output);
    }
    let mut selection = args.select.read(false)?;
    if selection.goes_by_groups {
        return Err(CliError::usage(
            "this rule, or one before it, goes by groups of flows, and one entry is no group",
        )
        .hint("`conntidy list --rule NAME` shows what it takes"));
    }
    let only = &mut selection.only;
    only.key = only
        .key
        .or_else(|| whole_key(&selection.predicate, Some(0)));
    if only.key.is_none() && only.id.is_none() {
        return Err(CliError::usage(
            "this names no single entry: protocol, both addresses and both ports do, or --id",
        )
        .hint("`conntidy list` takes any filter"));
    }
    let (only, predicate) = (selection.only, selection.predicate);
    let named = (selection.policy, selection.members);
    let rule = args.select.rule.as_deref();
    let mut found = false;
    let mut get = |name: Option<&str>, live: Live| {
        let (live, named) = (live.only(only), Some(named.clone()));
        filtered(common, &live, &predicate, named, rule, name, |table| {
            let mut buffer = Vec::new();
            let mut write = |record: &Record<'_>| match args.output {
                Output::Text => {
                    flow_line::write(&mut buffer, record);
                    name.inspect(|name| netns::text(&mut buffer, name));
                }
                Output::Json => {
                    write_flow(&record.flow, &record.extra, &mut buffer);
                    name.inspect(|name| netns::json(&mut buffer, name));
                }
            };
            table.visit(&mut [&mut write])?;
            found |= !buffer.is_empty();
            std::io::stdout().lock().write_all(&buffer)?;
            Ok(Outcome::default())
        })
    };
    let outcome = match args.netns.one() {
        Some(one) => live::looking(&one, |live| get(None, live)),
        None => args.netns.each(common, &mut get),
    }?;
    if !found {
        return Err(CliError::failed("there is no such entry").hint(
            "an entry is named by its original direction, and by its zone where it has one",
        ));
    }
    Ok(outcome)
}
