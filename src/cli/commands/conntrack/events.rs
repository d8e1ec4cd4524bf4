//! `-E`: events as they happen, until interrupted.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::owner::Owners;
use super::printer::{Printer, when};
use super::{Chosen, Stop, say_as_the_tool};
use crate::cli::terminal::say;
use crate::conntrack::filter::Filter;
use crate::conntrack::line::{Events, Line, Output};
use crate::conntrack::options::{Given, Verb};
use crate::conntrack::print::{Happened, expectation};
use crate::kernel::direct::Direct;
use crate::kernel::event::{Entry, Event, Groups, Kind};
use crate::kernel::listener::{Listener, ROOM, Received};
use crate::kernel::sysctl::{LiveTunables, Tunables};
use crate::kernel::{Live, aside, identity};
use crate::observe::CpuStatistics;

/// How often counters are looked at, of which no event tells.
const LOOK: Duration = Duration::from_secs(1);

pub(super) fn run(chosen: &Chosen<'_>) -> Result<u8, Stop> {
    let line = chosen.line;
    let events = line.events.unwrap_or(Events::all());
    let mut groups = Groups::empty();
    groups.set(Groups::NEW, events.contains(Events::NEW));
    groups.set(Groups::UPDATE, events.contains(Events::UPDATE));
    groups.set(Groups::DESTROY, events.contains(Events::DESTROY));
    let invalid = line.states.invalid.then(Invalid::open).transpose()?;
    if line.states.invalid && line.states.named.is_empty() && !line.states.new {
        groups = Groups::empty();
    }
    let mut shown = Shown {
        filter: Filter::looking(line, chosen.labels),
        printer: Printer::new(chosen),
        owners: Owners::default(),
        line,
        out: Vec::new(),
        count: 0,
    };
    tell_what_is_hidden(groups);
    listen(line, groups, invalid, &mut shown)?;
    shown.printer.end(&mut shown.out);
    print(&mut shown.out)?;
    say_as_the_tool(&format!("{} flow events have been shown.", shown.count));
    Ok(0)
}

/// `-E expect`
pub(super) fn expectations(line: &Line) -> Result<u8, Stop> {
    let events = line.events.unwrap_or(Events::all());
    let mut groups = Groups::empty();
    groups.set(Groups::EXPECT_NEW, events.contains(Events::NEW));
    groups.set(Groups::EXPECT_DESTROY, events.contains(Events::DESTROY));
    let mut shown = ShownExpectations {
        output: line.output,
        out: Vec::new(),
        count: 0,
    };
    listen(line, groups, None, &mut shown)?;
    if shown.output.contains(Output::XML) && shown.count > 0 {
        shown.out.extend_from_slice(expectation::TAIL.as_bytes());
    }
    print(&mut shown.out)?;
    say_as_the_tool(&format!(
        "{} expectation events have been shown.",
        shown.count
    ));
    Ok(0)
}

/// What becomes of events.
trait Show {
    fn event(&mut self, event: &Event<'_>);
    fn invalid(&mut self, cpu: u16, more: u32);
    fn out(&mut self) -> &mut Vec<u8>;
}

/// Listens until a signal, or until nobody reads any more.
fn listen(
    line: &Line,
    groups: Groups,
    mut invalid: Option<Invalid>,
    show: &mut dyn Show,
) -> Result<(), Stop> {
    let (signalled, signal) = UnixStream::pair()?;
    for number in [SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(number, signal.try_clone()?)?;
    }
    let room = line.buffer_size.unwrap_or(ROOM);
    let mut listener: Listener = Live::default().loading().listen(groups, room)?;
    if line.given.contains(Given::BUFFER_SIZE) {
        say!(
            "NOTICE: Netlink socket buffer size has been set to {} bytes.",
            listener.room() * 2
        );
    }
    let failed = |error| Stop::kernel(&error, Verb::Event);
    loop {
        loop {
            match listener
                .receive(|event| show.event(event))
                .map_err(failed)?
            {
                Received::Events => {
                    if !still_read(print(show.out()))? {
                        return Ok(());
                    }
                }
                Received::Gap(lost) => {
                    let lost = lost.map_or_else(String::new, |lost| format!(" ({lost} of them)"));
                    say!(
                        "WARNING: events were lost here{lost}: they came faster than they were taken, \
                         ENOBUFS. `--buffer-size BYTES` gives them more room than {} bytes.",
                        listener.room()
                    );
                }
                Received::Nothing => break,
            }
        }
        if let Some(invalid) = &mut invalid {
            invalid.look(show)?;
            if !still_read(print(show.out()))? {
                return Ok(());
            }
        }
        let timeout = invalid.is_some().then_some(LOOK);
        let woken = listener
            .wait(signalled.as_fd(), io::stdout().as_fd(), timeout)
            .map_err(failed)?;
        if woken.other || woken.unread {
            return Ok(());
        }
    }
}

fn print(out: &mut Vec<u8>) -> io::Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(out).and_then(|()| stdout.flush());
    out.clear();
    written
}

/// A reader that has gone ends the run, which is no failure.
fn still_read(written: io::Result<()>) -> Result<bool, Stop> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Says where the kernel tells less than whoever listens may think.
fn tell_what_is_hidden(groups: Groups) {
    let count = LiveTunables.read("nf_conntrack_count").unwrap_or_default();
    if groups.is_empty() {
        return;
    }
    match LiveTunables.read("nf_conntrack_events").as_deref() {
        Ok("0") => say!(
            "note: net.netfilter.nf_conntrack_events is 0: new entries tell nothing of what happens to them"
        ),
        Ok("2") if count.trim() != "0" => say!(
            "note: entries that were made before anybody listened tell nothing \
             (net.netfilter.nf_conntrack_events is 2; with 1 they all do)"
        ),
        _ => {}
    }
}

struct Shown<'c> {
    filter: Filter<'c>,
    printer: Printer<'c>,
    owners: Owners,
    line: &'c Line,
    out: Vec<u8>,
    count: u64,
}

impl Shown<'_> {
    fn is_wanted(&self, event: &Event<'_>) -> bool {
        let Entry::Flow(record) = &event.entry else {
            return false;
        };
        let (states, flow) = (&self.line.states, &record.flow);
        if !self.filter.matches_but_state(flow, &record.extra) {
            return false;
        }
        states.is_empty()
            || (states.new && event.kind == Kind::New)
            // The state that an entry had when it went is no news, unless it is asked for as the
            // tool has it.
            || (self.filter.is_in_state(flow)
                && (event.kind != Kind::Destroy || self.line.protocol.is_some()))
    }
}

impl Show for Shown<'_> {
    fn event(&mut self, event: &Event<'_>) {
        if !self.is_wanted(event) {
            return;
        }
        let Entry::Flow(record) = &event.entry else {
            return;
        };
        let aside = aside(record.message);
        let is_xml = self.line.output.contains(Output::XML);
        if self.line.output.contains(Output::TIMESTAMP) && !is_xml {
            let (seconds, micros) = moment(aside.event_ns);
            self.out
                .extend_from_slice(format!("[{seconds:08}.{micros:06}]\t").as_bytes());
        }
        self.printer.tick();
        self.printer
            .entry(&mut self.out, record, &aside, Some(happened(event.kind)));
        if event.port != 0 && !is_xml {
            let end = self.out.pop();
            let mut by = format!(" [USERSPACE] portid={}", event.port);
            if let Some(name) = self.owners.name(event.port) {
                by += " progname=";
                by += &name;
            }
            self.out.extend_from_slice(by.as_bytes());
            self.out.extend(end);
        }
        self.count += 1;
    }

    fn invalid(&mut self, cpu: u16, more: u32) {
        if self.line.output.contains(Output::TIMESTAMP) {
            let (seconds, micros) = moment(None);
            self.out
                .extend_from_slice(format!("[{seconds:08}.{micros:06}]\t").as_bytes());
        }
        self.out
            .extend_from_slice(format!("[INVALID] cpu={cpu} packets={more}\n").as_bytes());
        self.count += u64::from(more);
    }

    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }
}

fn happened(kind: Kind) -> Happened {
    match kind {
        Kind::New => Happened::New,
        Kind::Update => Happened::Update,
        Kind::Destroy => Happened::Destroy,
    }
}

/// Seconds and microseconds: of the event where the kernel tells, else of now.
fn moment(event_ns: Option<u64>) -> (u64, u64) {
    let nanoseconds = event_ns.unwrap_or_else(identity::time_ns);
    (
        nanoseconds / 1_000_000_000,
        nanoseconds % 1_000_000_000 / 1000,
    )
}

struct ShownExpectations {
    output: Output,
    out: Vec<u8>,
    count: u64,
}

impl Show for ShownExpectations {
    fn event(&mut self, event: &Event<'_>) {
        let Entry::Expectation(one) = &event.entry else {
            return;
        };
        let happened = Some(happened(event.kind));
        if self.output.contains(Output::XML) {
            if self.count == 0 {
                self.out.extend_from_slice(expectation::HEAD.as_bytes());
            }
            let when = self.output.contains(Output::TIMESTAMP).then(when);
            expectation::xml(&mut self.out, one, happened, when.as_ref());
        } else {
            if self.output.contains(Output::TIMESTAMP) {
                let (seconds, micros) = moment(None);
                self.out
                    .extend_from_slice(format!("[{seconds:<8}.{micros:<6}]\t").as_bytes());
            }
            expectation::line(&mut self.out, one, happened);
        }
        self.out.push(b'\n');
        self.count += 1;
    }

    fn invalid(&mut self, _: u16, _: u32) {}

    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }
}

/// Packets that belong to no entry. They have no events: their counters are looked at.
struct Invalid {
    direct: Direct,
    before: Vec<CpuStatistics>,
}

impl Invalid {
    fn open() -> Result<Self, Stop> {
        let failed = |error| Stop::kernel(&error, Verb::Event);
        let mut direct = Direct::open().map_err(failed)?;
        let before = direct.processors().map_err(failed)?;
        say!(
            "note: INVALID packets have no entry and no event; what is shown is how their counters grow, whatever \
             else the line says"
        );
        say!(
            "hint: `sysctl -w net.netfilter.nf_conntrack_log_invalid=255` writes each of them to the kernel's log"
        );
        Ok(Self { direct, before })
    }

    fn look(&mut self, show: &mut dyn Show) -> Result<(), Stop> {
        let now = self
            .direct
            .processors()
            .map_err(|error| Stop::kernel(&error, Verb::Event))?;
        for one in &now {
            let before = self.before.iter().find(|before| before.cpu == one.cpu);
            let more = one
                .invalid
                .wrapping_sub(before.map_or(0, |before| before.invalid));
            if more > 0 {
                show.invalid(one.cpu, more);
            }
        }
        self.before = now;
        Ok(())
    }
}
