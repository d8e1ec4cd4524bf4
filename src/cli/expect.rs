//! The table of expectations, as commands show and change it.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::args::{Common, NetnsArg, Output};
use super::change::AgreeArgs;
use super::commands::list::Format;
use super::filter::FilterArgs;
use super::namespaces::NamespacesArg;
use super::render;
use super::render::number::counted;
use super::select::SelectArgs;
use super::table::TableArgs;
use super::terminal::say;
use super::{CliError, Outcome, live, shown};
use crate::flow::{Expectation, ExpectationLine, FlowKey, FlowKeyError};
use crate::kernel::{Live, expect};
use crate::matcher::{Compiled, Context, Grade, Truth};
use crate::observe::Header;

/// `schema` of the document.
const SCHEMA: &str = "conntidy.expectations/1";

/// What `--table expect` prints as JSON.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "conntidy expectations")]
pub(in crate::cli) struct Expectations {
    /// `conntidy.expectations/1`; minor versions only add fields.
    schema: &'static str,
    /// Those that were named.
    #[serde(rename = "expectations")]
    named: Vec<ExpectationLine>,
    /// How many of them were deleted; absent where they were only shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<u64>,
    /// How many ended by themselves before.
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<u64>,
}

/// One that was named.
struct Named {
    key: FlowKey,
    id: Option<u32>,
    text: String,
    line: ExpectationLine,
}

/// Those that pass a filter, and have the key and id where these are given.
fn named(
    common: &Common,
    live: &Live,
    filter: &FilterArgs,
    key: Option<&FlowKey>,
    id: Option<u32>,
) -> Result<Vec<Named>, CliError> {
    if filter.names_sets() {
        return Err(CliError::usage(
            "a filter of expectations takes no `@set`: name the addresses",
        ));
    }
    let predicate = filter.predicate(&[])?;
    let header = Header::default();
    let context = Context::new(&header, &[], &[]);
    let compiled = Compiled::new(&predicate, &context, false);
    let mut all = Vec::new();
    let mut doubtful = 0;
    live.expectations(&mut |one| {
        let (flow, extra) = one.as_flow();
        let is_named = key.is_none_or(|key| *key == one.key());
        if !is_named || id.is_some_and(|id| one.id != Some(id)) {
            return;
        }
        match compiled.eval(&flow, &extra, Grade::Presumed) {
            Truth::True => all.push(Named {
                key: one.key(),
                id: one.id,
                text: one.to_string(),
                line: one.into(),
            }),
            Truth::Unknown => doubtful += 1,
            Truth::False => {}
        }
    })?;
    if doubtful > 0 && !common.quiet {
        say!("note: {doubtful} more do not tell whether they match: they have no such field");
    }
    all.sort_by_key(|one| one.key);
    Ok(all)
}

fn key(flow: &[String]) -> Result<Option<FlowKey>, CliError> {
    if flow.is_empty() {
        return Ok(None);
    }
    let key = flow.join(" ").parse();
    key.map(Some)
        .map_err(|error: FlowKeyError| CliError::usage(error.to_string()))
}

fn of_select(common: &Common, live: &Live, select: &SelectArgs) -> Result<Vec<Named>, CliError> {
    no_policy(select.rule.as_ref(), select.policy.as_ref())?;
    let key = key(&select.flow)?;
    named(common, live, &select.filter, key.as_ref(), select.id)
}

/// A policy says nothing of expectations.
fn no_policy(rule: Option<&String>, policy: Option<&PathBuf>) -> Result<(), CliError> {
    if rule.is_some() {
        return Err(CliError::usage("no rule takes expectations"));
    }
    if policy.is_some() {
        return Err(CliError::usage(
            "`--policy` says nothing of expectations: it has no rule and no protection for them",
        ));
    }
    Ok(())
}

fn document(named: Vec<Named>) -> Expectations {
    Expectations {
        schema: SCHEMA,
        named: named.into_iter().map(|one| one.line).collect(),
        deleted: None,
        gone: None,
    }
}

fn text(named: &[Named]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    for one in named {
        writeln!(out, "{}", one.text)?;
    }
    Ok(())
}

fn of_table(args: &TableArgs) -> Result<NetnsArg, CliError> {
    no_policy(args.rule.as_ref(), args.policy.as_ref())?;
    one(&args.netns)
}

fn one(netns: &NamespacesArg) -> Result<NetnsArg, CliError> {
    let several = || CliError::usage("`--table expect` looks in one network namespace");
    netns.one().ok_or_else(several)
}

/// `list --table expect`.
pub(super) fn list(common: &Common, args: &TableArgs, output: Format) -> Result<Outcome, CliError> {
    live::within(&of_table(args)?, |live| {
        let named = named(common, &live, &args.filter, None, None)?;
        match output {
            Format::Text => text(&named)?,
            Format::Json => render::json(&document(named))?,
            Format::Jsonl => {
                let mut out = io::stdout().lock();
                for one in named {
                    let line = serde_json::to_string(&one.line).map_err(|error| {
                        CliError::failed("the result has no JSON form").because(error)
                    })?;
                    writeln!(out, "{line}")?;
                }
            }
            _ => {
                return Err(CliError::usage(
                    "expectations are listed as text, json or jsonl",
                ));
            }
        }
        Ok(Outcome::default())
    })
}

/// `count --table expect`.
pub(super) fn count(common: &Common, args: &TableArgs) -> Result<Outcome, CliError> {
    live::within(&of_table(args)?, |live| {
        let named = named(common, &live, &args.filter, None, None)?;
        writeln!(io::stdout().lock(), "{}", named.len())?;
        Ok(Outcome::default())
    })
}

/// `get --table expect`.
pub(super) fn get(
    common: &Common,
    select: &SelectArgs,
    netns: &NamespacesArg,
    output: Output,
) -> Result<Outcome, CliError> {
    if select.is_empty() {
        return Err(CliError::usage(
            "which expectation? The flow that is expected, a filter, or --id",
        ));
    }
    live::within(&one(netns)?, |live| {
        let named = of_select(common, &live, select)?;
        if named.is_empty() {
            return Err(CliError::failed("there is no such expectation")
                .hint("`conntidy list --table expect` lists all"));
        }
        match output {
            Output::Text => text(&named)?,
            Output::Json => render::json(&document(named))?,
        }
        Ok(Outcome::default())
    })
}

/// `delete --table expect` and, with `all`, `flush --table expect`.
pub(super) fn delete(
    common: &Common,
    select: &SelectArgs,
    netns: &NetnsArg,
    agree: &AgreeArgs,
    all: bool,
) -> Result<Outcome, CliError> {
    if all != select.is_empty() {
        return Err(CliError::usage(if all {
            "`--all` takes no filter"
        } else {
            "which expectations? The flow that is expected, a filter, or --id"
        }));
    }
    if agree.include_protected {
        return Err(CliError::usage(
            "`--include-protected`: nothing protects expectations",
        ));
    }
    let asks = agree.asks()?;
    live::within(netns, |live| {
        let named = of_select(common, &live, select)?;
        let count = named.len() as u64;
        let refused = agree.max.is_some_and(|most| count > most);
        if agree.output == Output::Text {
            text(&named)?;
        }
        let what = counted(count, "expectation", "expectations");
        if agree.dry_run || refused || named.is_empty() {
            match agree.output {
                Output::Json => render::json(&document(named))?,
                Output::Text => {
                    let why = match agree.max {
                        Some(most) if refused => format!(", more than `--max {most}`"),
                        _ => String::new(),
                    };
                    println(&format!("{what}{why}; nothing was changed"))?;
                }
            }
            return Ok(Outcome {
                refused,
                ..Outcome::default()
            });
        }
        if asks {
            let question = format!("Delete {what}? This cannot be undone. [y/N] ");
            write!(anstream::stderr(), "{question}")?;
            let mut answer = String::new();
            io::stdin().read_line(&mut answer)?;
            if !matches!(answer.trim(), "y" | "Y" | "yes") {
                return Err(CliError::refused("not confirmed; nothing was done"));
            }
        }
        let (mut deleted, mut gone) = (0, 0);
        for one in &named {
            match expect::delete(&one.key, one.id) {
                Ok(true) => deleted += 1,
                Ok(false) => gone += 1,
                Err(error) => {
                    return Err(CliError::incomplete(format!(
                        "{} was not deleted; {deleted} were before it",
                        one.key
                    ))
                    .because(error));
                }
            }
        }
        shown(match agree.output {
            Output::Json => render::json(&Expectations {
                deleted: Some(deleted),
                gone: Some(gone),
                ..document(named)
            }),
            Output::Text => println(&format!(
                "{} deleted{}",
                counted(deleted, "expectation", "expectations"),
                if gone > 0 {
                    format!(", {gone} gone by themselves")
                } else {
                    String::new()
                }
            )),
        })?;
        Ok(Outcome::default())
    })
}

fn println(text: &str) -> Result<(), CliError> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// `create --table expect`.
pub(super) fn create(
    common: &Common,
    flow: &[String],
    master: Option<&str>,
    timeout: u32,
    helper: Option<&str>,
    netns: &NetnsArg,
    output: Output,
) -> Result<Outcome, CliError> {
    let key = key(flow)?.ok_or_else(|| CliError::usage("which flow is expected?"))?;
    let master = master.ok_or_else(|| {
        CliError::usage(
            "an expectation belongs to a flow: `--master 'tcp 10.0.0.1:40000 192.0.2.1:21'`",
        )
    })?;
    let master: FlowKey = master
        .parse()
        .map_err(|error: FlowKeyError| CliError::usage(error.to_string()))?;
    let dst: IpAddr = key.orig.dst_ip(key.family);
    if dst.is_unspecified() || (key.protocol.has_ports() && key.orig.dst_port == 0) {
        return Err(CliError::usage(
            "the kernel expects one destination: only the source's address or port may be 0, for any",
        ));
    }
    if key.zone != 0 && key.zone != master.zone || key.family != master.family {
        return Err(CliError::usage(
            "an expectation is in the zone and of the family of its `--master`",
        ));
    }
    let one = Expectation::new(key, master, timeout, helper);
    live::within(netns, |live| {
        let live = live.loading();
        let wanted = one.key();
        // The kernel would put the new one in its place.
        let expected = || {
            let filter = FilterArgs::default();
            named(common, &live, &filter, Some(&wanted), None)
        };
        if !expected()?.is_empty() {
            return Err(CliError::failed(format!("{wanted} is expected already"))
                .hint("`conntidy delete --table expect` deletes it"));
        }
        expect::create(&one).map_err(|error| refused(error, &one))?;
        let made = expected()?;
        match output {
            Output::Text => text(&made)?,
            Output::Json => render::json(&document(made))?,
        }
        Ok(Outcome::default())
    })
}

fn refused(error: crate::kernel::SocketError, one: &Expectation<'_>) -> CliError {
    use rustix::io::Errno;
    let is = |known: Errno| error.errno() == Some(known.raw_os_error());
    let master = one.master_key();
    let failed = if is(Errno::EXIST) {
        CliError::failed(format!("{} is expected already", one.key()))
    } else if is(Errno::NOENT) {
        CliError::failed(format!(
            "there is no flow {master}, which is to be the master"
        ))
    } else if is(Errno::OPNOTSUPP) || is(Errno::NOTSUP) {
        CliError::failed(format!("the kernel makes no expectation of {master}")).hint(
            "the master needs a helper: `conntidy create ... --helper ftp`, or a `ct helper` rule",
        )
    } else {
        CliError::failed(format!("the kernel does not expect {}", one.key()))
    };
    failed.because(error)
}
