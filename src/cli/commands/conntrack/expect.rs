//! Commands on the table of expectations.

use std::io::{self, Write};

use super::create::orig;
use super::printer::when;
use super::{Stop, counted, say_as_the_tool};
use crate::conntrack::line::{Line, Output};
use crate::conntrack::options::Verb;
use crate::conntrack::print::expectation as print;
use crate::flow::{Expectation, Family, Protocol, Tuple};
use crate::kernel::SocketError;
use crate::kernel::direct::{Direct, Expected};

pub(super) fn run(line: &Line, verb: Verb) -> Result<u8, Stop> {
    // What the kernel says of expectations, the tool passes on as it is.
    let failed = |error: SocketError| Stop::kernel(&error, Verb::Flush);
    if verb == Verb::Event {
        return super::events::expectations(line);
    }
    let mut direct = Direct::open().map_err(failed)?;
    match verb {
        Verb::List => {
            let mut shown = Shown::new(line);
            direct
                .expectations(Some(family(line)), &mut |one| shown.take(one))
                .map_err(failed)?;
            let count = shown.finish()?;
            say_as_the_tool(&format!("{count} expectations have been shown."));
            Ok(0)
        }
        Verb::Count => {
            let mut count = 0;
            direct
                .expectations(Some(family(line)), &mut |_| count += 1)
                .map_err(failed)?;
            writeln!(io::stdout(), "{count}")?;
            Ok(0)
        }
        Verb::Flush => {
            direct.forget_all().map_err(failed)?;
            say_as_the_tool("expectation table has been emptied.");
            Ok(0)
        }
        Verb::Get => {
            let (family, protocol, tuple) = named(line)?;
            let mut shown = Shown::new(line);
            direct
                .expectation(family, protocol, &tuple, &mut |one| shown.take(one))
                .map_err(failed)?;
            shown.finish()?;
            Ok(0)
        }
        Verb::Delete => {
            let (family, protocol, tuple) = named(line)?;
            direct.forget(family, protocol, &tuple).map_err(failed)?;
            Ok(counted(1, "expectations have been deleted"))
        }
        _ => create(line, &mut direct),
    }
}

/// The tool shows one family, and that is IPv4 where none is named.
fn family(line: &Line) -> Family {
    line.family.unwrap_or(Family::Ipv4)
}

fn named(line: &Line) -> Result<(Family, Protocol, Tuple), Stop> {
    match (line.family, line.protocol, orig(line)) {
        (Some(family), Some(protocol), Some(tuple)) => Ok((family, protocol, tuple)),
        _ => Err(Stop::usage("you have to specify `--src' and `--dst'")),
    }
}

fn create(line: &Line, direct: &mut Direct) -> Result<u8, Stop> {
    let (family, protocol, master) = named(line)?;
    let ports = &line.ports;
    let made = |src: Option<[u8; 16]>, dst: Option<[u8; 16]>, sport, dport| Tuple {
        src: src.unwrap_or_default(),
        dst: dst.unwrap_or_default(),
        src_port: Option::unwrap_or_default(sport),
        dst_port: Option::unwrap_or_default(dport),
    };
    let wanted = Expected {
        family,
        protocol,
        master,
        tuple: made(
            line.tuple_src,
            line.tuple_dst,
            ports.tuple_sport,
            ports.tuple_dport,
        ),
        mask: made(
            line.mask_src,
            line.mask_dst,
            ports.mask_sport,
            ports.mask_dport,
        ),
        timeout: line.timeout.unwrap_or(0),
    };
    direct.expect(&wanted).map_err(|error| {
        if error.errno() == Some(rustix::io::Errno::NOENT.raw_os_error()) {
            Stop::failed("Operation failed: master conntrack not found")
        } else {
            Stop::kernel(&error, Verb::Flush)
        }
    })?;
    Ok(0)
}

/// Expectations on their way to stdout.
struct Shown {
    output: Output,
    out: Vec<u8>,
    count: u64,
}

impl Shown {
    fn new(line: &Line) -> Self {
        Self {
            output: line.output,
            out: Vec::new(),
            count: 0,
        }
    }

    fn take(&mut self, one: &Expectation<'_>) {
        if self.output.contains(Output::XML) {
            if self.count == 0 {
                self.out.extend_from_slice(print::HEAD.as_bytes());
            }
            let when = self.output.contains(Output::TIMESTAMP).then(when);
            print::xml(&mut self.out, one, None, when.as_ref());
        } else {
            print::line(&mut self.out, one, None);
        }
        self.out.push(b'\n');
        self.count += 1;
    }

    fn finish(mut self) -> Result<u64, Stop> {
        if self.output.contains(Output::XML) && self.count > 0 {
            self.out.extend_from_slice(print::TAIL.as_bytes());
        }
        io::stdout().write_all(&self.out)?;
        Ok(self.count)
    }
}
