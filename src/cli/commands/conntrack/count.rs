//! `-C`: how many, on stdout. The tool counts everything; here a filter narrows it.

use std::io::{self, Write};

use super::list::{complete, dump};
use super::{Chosen, Stop};
use crate::conntrack::filter::Filter;
use crate::kernel::Live;
use crate::kernel::sysctl::{LiveTunables, Tunables};
use crate::observe::{ObserveError, Record, Visit};

pub(super) fn run(chosen: &Chosen<'_>) -> Result<u8, Stop> {
    if chosen.line.given.is_empty() {
        return everything();
    }
    let mut matching = Matching {
        filter: Filter::looking(chosen.line, chosen.labels),
        count: 0,
    };
    let dumped = dump(chosen, &mut matching)?;
    writeln!(io::stdout(), "{}", matching.count)?;
    complete(dumped)
}

fn everything() -> Result<u8, Stop> {
    match Live::default().loading().count() {
        Ok(count) => {
            writeln!(io::stdout(), "{count}")?;
            Ok(0)
        }
        // Anyone may read the number; that ctnetlink was refused is told all the same.
        Err(error @ ObserveError::Permission(_)) => {
            if let Ok(count) = LiveTunables.read("nf_conntrack_count") {
                writeln!(io::stdout(), "{}", count.trim())?;
            }
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}

struct Matching<'l> {
    filter: Filter<'l>,
    count: u64,
}

impl Visit for Matching<'_> {
    fn visit(&mut self, record: &Record<'_>) {
        self.count += u64::from(self.filter.matches(&record.flow, &record.extra));
    }
}
