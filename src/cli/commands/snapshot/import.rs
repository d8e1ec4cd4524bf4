//! `conntidy snapshot import`: what other programs recorded.

use crate::cli::terminal::say;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use chrono::{DateTime, Local, NaiveDateTime, TimeZone};
use clap::Args;

use super::take::{DetailArg, form};
use crate::cli::args::Common;
use crate::cli::render::number::{bytes, counted};
use crate::cli::stored::StoreArgs;
use crate::cli::{CliError, Outcome};
use crate::kernel::identity;
use crate::kernel::imported::Printed;
use crate::observe::{Header, Netns, Trigger};
use crate::snapshot::import::Imported;
use crate::store::{Taken, take_to};

/// Arguments of `conntidy snapshot import`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "It reads what `conntrack -L` prints, by itself and with `-o extended`, `save` or `xml`, and\n\
    /proc/net/nf_conntrack. Lines that cannot be read are named and counted (exit 4). What such a text\n\
    does not say stays unknown: tunables, statistics, history. Imports are never pruned.\n\n\
    Examples:\n  \
    conntidy snapshot import conntrack-L.txt --host gw1 --at 2026-01-31T03:12:00Z\n  \
    ssh gw2 conntrack -L | conntidy snapshot import - --host gw2 --out gw2.jsonl.zst"
)]
pub struct ImportArgs {
    /// The text; `-` is stdin
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
    /// When it was recorded: 2026-01-31T03:12:00Z, or `2026-01-31 03:12` of this machine's time
    /// zone [default: when the file was last changed; of stdin: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub at: Option<u64>,
    /// The host whose table it is
    #[arg(long, value_name = "NAME", default_value = "")]
    pub host: String,
    /// The network namespace whose table it is
    #[arg(long, value_name = "NAME", default_value = "imported")]
    pub netns: String,
    /// Write this file, and not into the store
    #[arg(long, value_name = "FILE", conflicts_with = "directory")]
    pub out: Option<PathBuf>,
    /// Record every flow, or groups of flows with counts
    #[arg(long, value_enum, default_value_t, value_name = "DETAIL")]
    pub detail: DetailArg,
    /// Where it goes, and whose `[snapshot]` counts.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Nanoseconds since 1970.
fn time(text: &str) -> Result<u64, String> {
    let at = DateTime::parse_from_rfc3339(text).map(|at| at.to_utc());
    let at = at.ok().or_else(|| {
        let formats = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"];
        let naive = formats
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())?;
        Some(Local.from_local_datetime(&naive).earliest()?.to_utc())
    });
    at.and_then(|at| at.timestamp_nanos_opt())
        .and_then(|at| u64::try_from(at).ok())
        .ok_or_else(|| "expected a time as 2026-01-31T03:12:00Z or \"2026-01-31 03:12\"".to_owned())
}

/// Imports and prints where the snapshot is.
pub(super) fn run(common: &Common, args: &ImportArgs) -> Result<Outcome, CliError> {
    let (input, recorded_at) = open(&args.file)?;
    let (store, settings) = args.store.open(common)?;
    let header = Header {
        host: args.host.clone(),
        conntidy: env!("CARGO_PKG_VERSION").to_owned(),
        netns: Netns {
            name: args.netns.clone(),
            ..Netns::default()
        },
        time_ns: args.at.unwrap_or(recorded_at),
        conntrack: true,
        trigger: Some(Trigger::Import),
        ..Header::default()
    };
    let printed = Printed::new(header.clone(), input);
    let form = form(&settings, args.detail)?;
    let taken = match &args.out {
        Some(file) => take_to(file, &printed, &header, &form, |_| ())?,
        None => store.take(&printed, &header, &form, |_| ())?,
    };
    let imported = printed.imported();
    writeln!(std::io::stdout().lock(), "{}", taken.path.display())?;
    tell(common, &args.file, &taken, &imported);
    Ok(Outcome {
        incomplete: imported.unread_count > 0,
        ..Outcome::default()
    })
}

/// The text, and when it was last changed.
fn open(path: &Path) -> Result<(Box<dyn BufRead + Send>, u64), CliError> {
    if path.as_os_str() == "-" {
        if std::io::stdin().is_terminal() {
            return Err(CliError::usage("nothing comes from the terminal")
                .hint("pass it on, as in `conntrack -L | conntidy snapshot import -`"));
        }
        return Ok((
            Box::new(BufReader::new(std::io::stdin())),
            identity::time_ns(),
        ));
    }
    let failed = |source| CliError::failed(format!("open {}", path.display())).because(source);
    let file = File::open(path).map_err(failed)?;
    let modified = file
        .metadata()
        .and_then(|meta| meta.modified())
        .map_err(failed)?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    // Files of /proc change whenever they are read.
    let at = if at == 0 { identity::time_ns() } else { at };
    Ok((Box::new(BufReader::new(file)), at))
}

fn tell(common: &Common, file: &Path, taken: &Taken, imported: &Imported) {
    const SHOWN: usize = 10;
    let name = file.display();
    for (line, why) in imported.unread.iter().take(SHOWN) {
        say!("{name}:{line}: not read: {why}");
    }
    if imported.unread_count > 0 {
        let lines = counted(imported.unread_count, "entry", "entries");
        say!("note: {lines} could not be read, and the snapshot says so");
    }
    if common.quiet {
        return;
    }
    if imported.named_labels > 0 {
        let flows = counted(imported.named_labels, "flow has", "flows have");
        say!(
            "note: {flows} labels with names, of which only conntrack's map tells the numbers: left out"
        );
    }
    let flows = counted(imported.flows, "flow", "flows");
    say!("note: {flows}, {}", bytes(taken.bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_a_zone() {
        assert_eq!(time("2026-01-31T12:00:00Z"), Ok(1_769_860_800_000_000_000));
        assert_eq!(
            time("2026-01-31T13:00:00+01:00"),
            time("2026-01-31T12:00:00Z")
        );
        assert_eq!(time("2026-01-31 03:12"), time("2026-01-31 03:12:00"));
        for text in ["", "yesterday", "03:12", "1950-01-01T00:00:00Z"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
