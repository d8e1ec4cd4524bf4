//! `-U`: changes what matches, entry by entry, and shows what became of each.

use std::io::{self, Write};

use super::create::vtags;
use super::list::{complete, dump};
use super::printer::Printer;
use super::{Chosen, Stop, counted};
use crate::conntrack::filter::Filter;
use crate::conntrack::options::{Given, Verb};
use crate::flow::Flow;
use crate::kernel::direct::{Direct, Wanted};
use crate::kernel::{SocketError, aside};
use crate::observe::{Record, Visit};

pub(super) fn run(chosen: &Chosen<'_>, counts: bool) -> Result<u8, Stop> {
    let direct = Direct::open().map_err(|error| Stop::kernel(&error, Verb::Update))?;
    let mut updates = Updates {
        chosen,
        filter: Filter::acting(chosen.line, chosen.labels),
        printer: Printer::bare(chosen),
        direct,
        out: Vec::new(),
        count: 0,
        stopped: None,
    };
    let dumped = dump(chosen, &mut updates)?;
    if let Some(stop) = updates.stopped {
        return Err(stop);
    }
    complete(dumped)?;
    Ok(if counts {
        counted(updates.count, "flow entries have been updated")
    } else {
        0
    })
}

struct Updates<'c> {
    chosen: &'c Chosen<'c>,
    filter: Filter<'c>,
    printer: Printer<'c>,
    direct: Direct,
    out: Vec<u8>,
    count: u64,
    stopped: Option<Stop>,
}

impl Visit for Updates<'_> {
    fn visit(&mut self, record: &Record<'_>) {
        if self.stopped.is_none()
            && self.filter.matches_tuple(&record.flow, &record.extra)
            && let Some(wanted) = self.change(record)
        {
            self.stopped = self.update(&record.flow, &wanted).err();
        }
    }
}

impl Updates<'_> {
    /// What is to become of an entry; `None` where it is so already.
    fn change(&self, record: &Record<'_>) -> Option<Wanted> {
        let (line, flow) = (self.chosen.line, &record.flow);
        let labels = record.extra.labels.unwrap_or(0);
        let mut wanted = Wanted::of(&flow.key());
        let mut changes = false;
        if let Some(timeout) = line.timeout {
            wanted.timeout = Some(timeout);
            changes |= flow.remaining() != Some(timeout);
        }
        if let Some((value, mask)) = line.mark {
            let mark = (flow.mark & !mask) ^ value;
            wanted.mark = Some(mark);
            changes |= flow.mark != mark;
        }
        if line.given.contains(Given::STATUS) {
            let status = flow.status().unwrap_or_default();
            // Bits can be set and never taken away.
            wanted.status = Some(status | line.status.set);
            changes |= !status.contains(line.status.set);
        }
        if let Some(state) = line.states.only() {
            wanted.state = Some(state);
            wanted.vtags = vtags(line).or(record.extra.sctp_vtags);
            wanted.role = record.extra.dccp_role;
            changes |= flow.state() != Some(state);
        }
        if line.given.contains(Given::LABEL_ADD) {
            wanted.labels = Some((self.chosen.add, !self.chosen.add));
            changes |= labels | self.chosen.add != labels;
        }
        if line.given.contains(Given::LABEL_DEL) {
            wanted.labels = Some((0, !self.chosen.remove));
            changes |= labels & self.chosen.remove != 0;
        }
        changes.then_some(wanted)
    }

    fn update(&mut self, flow: &Flow, wanted: &Wanted) -> Result<(), Stop> {
        let is_gone =
            |error: &SocketError| error.errno() == Some(rustix::io::Errno::NOENT.raw_os_error());
        match self.direct.update(wanted) {
            Ok(()) => {}
            Err(error) if is_gone(&error) => return Ok(()),
            // Entries without room for labels, which came before there was a rule that sets some.
            Err(error)
                if wanted.labels.is_some()
                    && error.errno() == Some(rustix::io::Errno::NOSPC.raw_os_error()) =>
            {
                return Ok(());
            }
            Err(error) => return Err(Stop::kernel(&error, Verb::Update)),
        }
        let (printer, out) = (&mut self.printer, &mut self.out);
        let shown = self.direct.get(&flow.key(), false, &mut |record| {
            printer.entry(out, record, &aside(record.message), None);
        });
        match shown {
            Ok(()) => self.count += 1,
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(Stop::kernel(&error, Verb::Update)),
        }
        // A reader that has gone keeps nothing from being done.
        let _ = io::stdout().write_all(&self.out);
        self.out.clear();
        Ok(())
    }
}
