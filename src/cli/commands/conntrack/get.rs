//! `-G`: one entry by its tuple.

use std::io::{self, Write};

use super::create::{orig, reply};
use super::printer::Printer;
use super::{Chosen, Stop, counted};
use crate::conntrack::filter::Filter;
use crate::conntrack::options::Verb;
use crate::flow::FlowKey;
use crate::kernel::aside;
use crate::kernel::direct::Direct;

pub(super) fn run(chosen: &Chosen<'_>) -> Result<u8, Stop> {
    let line = chosen.line;
    let filter = Filter::looking(line, chosen.labels);
    let mut printer = Printer::new(chosen);
    let (tuple, is_reply) = match orig(line) {
        Some(tuple) => (tuple, false),
        None => (reply(line).unwrap_or_default(), true),
    };
    let (Some(family), Some(protocol)) = (line.family, line.protocol) else {
        return Err(Stop::usage("you have to specify addresses and a protocol"));
    };
    let key = FlowKey {
        family,
        zone: 0,
        protocol,
        orig: tuple,
    };
    let (mut out, mut count) = (Vec::new(), 0);
    let mut direct = Direct::open().map_err(|error| Stop::kernel(&error, Verb::Get))?;
    direct
        .get(&key, is_reply, &mut |record| {
            if filter.matches(&record.flow, &record.extra) {
                count += 1;
                printer.entry(&mut out, record, &aside(record.message), None);
            }
        })
        .map_err(|error| Stop::kernel(&error, Verb::Get))?;
    io::stdout().write_all(&out)?;
    Ok(counted(count, "flow entries have been shown"))
}
