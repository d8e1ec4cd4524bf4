//! `-S`: counters of each processor.

use std::io::{self, Write};

use super::Stop;
use crate::conntrack::line::Table;
use crate::conntrack::options::Verb;
use crate::kernel::direct::Direct;
use crate::observe::CpuStatistics;

pub(super) fn run(table: Table) -> Result<u8, Stop> {
    let mut out = Vec::new();
    if table == Table::Expect {
        // ctnetlink answers these as well, but every kernel has them here.
        from_proc(&mut out, &["expect_new", "expect_create", "expect_delete"])?;
        io::stdout().write_all(&out)?;
        return Ok(0);
    }
    let asked = Direct::open().and_then(|mut direct| direct.processors());
    match &asked {
        Ok(all) => all.iter().try_for_each(|one| line(&mut out, one))?,
        // Anyone may read the counters; that ctnetlink was refused is told all the same.
        Err(_) => from_proc(&mut out, &[])?,
    }
    io::stdout().write_all(&out)?;
    asked.map_err(|error| Stop::kernel(&error, Verb::Stats))?;
    Ok(0)
}

fn line(out: &mut Vec<u8>, one: &CpuStatistics) -> io::Result<()> {
    write!(out, "cpu={:<4}\t", one.cpu)?;
    for (name, value) in [
        ("found", one.found),
        ("invalid", one.invalid),
        ("insert", one.insert),
        ("insert_failed", one.insert_failed),
        ("drop", one.drop),
        ("early_drop", one.early_drop),
        ("error", one.error),
        ("search_restart", one.search_restart),
        ("clash_resolve", one.clash_resolve),
        ("chaintoolong", one.chain_toolong),
    ] {
        write!(out, "{name}={value} ")?;
    }
    writeln!(out)
}

/// The same out of `/proc`: names in the first line, hexadecimal numbers below. Without `only` all
/// columns.
fn from_proc(out: &mut Vec<u8>, only: &[&str]) -> Result<(), Stop> {
    let text = std::fs::read_to_string("/proc/thread-self/net/stat/nf_conntrack")
        .map_err(|error| Stop::failed(format!("Can't open /proc interface: {error}")))?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    for (cpu, values) in lines.enumerate() {
        write!(out, "cpu={cpu:<4}\t")?;
        for (name, value) in names.iter().zip(values.split_whitespace()) {
            if only.is_empty() || only.contains(name) {
                let value = u32::from_str_radix(value, 16).unwrap_or(0);
                write!(out, "{name}={value} ")?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}
