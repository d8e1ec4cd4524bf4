//! `conntidy events`: what happens to a table, as it happens.

mod rates;
mod stream;

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::count::pause;
use crate::cli::args::{Common, NetnsArg};
use crate::cli::ending::Ending;
use crate::cli::filter::FilterArgs;
use crate::cli::namespaces::NamespacesArg;
use crate::cli::render::number::{bytes, counted, grouped};
use crate::cli::terminal::say;
use crate::cli::{CliError, Outcome, complete, live, policy};
use crate::group::By;
use crate::kernel::event::Groups;
use crate::kernel::listener::{Listener, ROOM, Received};
use crate::kernel::{Live, SocketError, sets};
use crate::matcher::{Compiled, Context};
use crate::observe::{Header, Observe};
use crate::plan;
use crate::policy::leaf::Leaf;
use crate::policy::{Bytes, Members, Policy, Predicate};

use rates::Rates;
pub(in crate::cli) use rates::Summary;
use stream::Stream;

/// A listener that hears nothing for so long is told why that may be.
const SILENCE: Duration = Duration::from_secs(5);

/// Between one resync and the next at least this, and ten times as long as the first one took: a
/// dump holds up the reading, which loses more.
const BETWEEN_RESYNCS: Duration = Duration::from_secs(1);

/// What a summary counts by where nothing else is asked for.
const DEFAULT_BY: &str = "protocol,state";

/// Arguments of `conntidy events`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy events -e new -p tcp --dport 22\n  \
    conntidy events -s 10.0.0.0/8 --not-dport 53 -o jsonl | jq -r .dst\n  \
    conntidy events -e destroy --bytes-above 100M      needs nf_conntrack_acct\n  \
    conntidy events --summary 1s                       rates a second, until interrupted\n  \
    conntidy events --summary --by src/24 --for 30s    who makes flows\n  \
    conntidy events --table expect                     what helpers expect\n  \
    conntidy events --netns all -e destroy             of every namespace with a name\n  \
    conntidy events --resync -o jsonl | consumer       after a loss, what the table holds\n\n\
    An event tells only what the kernel sends with it: counters come with destroy alone, a state\n\
    where it changed. An event that does not tell a field of the filter is not shown; how many those\n\
    are is said at the end. Ctrl-C ends it. Exit code 4: events were lost and no resync followed.")]
pub struct EventsArgs {
    /// Only these events [default: all]
    #[arg(
        short,
        long = "event",
        value_enum,
        ignore_case = true,
        value_delimiter = ',',
        value_name = "EVENTS"
    )]
    pub events: Vec<Wanted>,
    /// The table that is listened to
    #[arg(long, value_enum, default_value_t, value_name = "TABLE")]
    pub table: Which,
    /// Which flows.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// The policy whose sets `@name` means [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Listen in this network namespace: a name under /run/netns, or a path; repeatable. `all` is every
    /// one that has a name now
    #[arg(long, value_name = "NAME|PATH|all", add = complete::several_namespaces())]
    pub netns: Vec<String>,
    /// End after this many events, of all namespaces together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after this time
    #[arg(long = "for", value_name = "TIME", value_parser = pause)]
    pub time: Option<Duration>,
    /// Show how many events come in place of the events: at the end, or each time so much time has
    /// passed
    #[arg(long, value_name = "EVERY", num_args = 0..=1, value_parser = pause)]
    #[expect(clippy::option_option, reason = "a flag with an optional value")]
    pub summary: Option<Option<Duration>>,
    /// Count by these fields, as `src/24,dport` [default: protocol,state]
    #[arg(long, value_name = "FIELDS", requires = "summary", add = complete::groupings())]
    pub by: Option<By>,
    /// After a loss, show what the table holds then
    #[arg(long, conflicts_with = "summary")]
    pub resync: bool,
    /// Room for events that wait to be read [default: 16MiB]
    #[arg(long, value_name = "SIZE", value_parser = room)]
    pub buffer: Option<usize>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Wanted {
    /// Entries that are made.
    New,
    /// Entries that change: status, state, mark, labels, helper.
    #[value(alias = "updates")]
    Update,
    /// Entries that go.
    #[value(alias = "destroyed")]
    Destroy,
    /// All of them.
    All,
}

/// Tables that tell events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// Flows.
    #[default]
    Conntrack,
    /// What helpers expect.
    Expect,
}

/// Formats of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for people: time, event, flow.
    #[default]
    Text,
    /// A JSON object a line.
    Jsonl,
}

fn room(text: &str) -> Result<usize, String> {
    const MOST: usize = 1 << 30;
    let Bytes(size) = Bytes::read(text).map_err(|error| error.to_string())?;
    match usize::try_from(size) {
        Ok(size @ 1..=MOST) => Ok(size),
        _ => Err("a size from 1 to 1GiB".to_owned()),
    }
}

impl EventsArgs {
    fn groups(&self) -> Result<Groups, CliError> {
        let mut wanted = Groups::empty();
        for event in &self.events {
            wanted |= match event {
                Wanted::New => Groups::NEW | Groups::EXPECT_NEW,
                Wanted::Update => Groups::UPDATE,
                Wanted::Destroy => Groups::DESTROY | Groups::EXPECT_DESTROY,
                Wanted::All => Groups::all(),
            };
        }
        if self.events.is_empty() {
            wanted = Groups::all();
        }
        let groups = wanted
            & match self.table {
                Which::Conntrack => Groups::FLOWS,
                Which::Expect => Groups::EXPECTATIONS,
            };
        if groups.is_empty() {
            return Err(
                CliError::usage("the kernel tells nothing of expectations that change")
                    .hint("`-e new`, `-e destroy`, or neither"),
            );
        }
        Ok(groups)
    }
}

/// Listens until the end is asked for.
pub(super) fn run(common: &Common, args: &EventsArgs) -> Result<Outcome, CliError> {
    let groups = args.groups()?;
    if args.resync && args.table == Which::Expect {
        return Err(CliError::usage(
            "`--resync` shows the flows of the table, not what is expected",
        ));
    }
    let asks = args.filter.names_sets();
    let named = policy::load_where(asks, args.policy.as_ref())?;
    let sets = named
        .as_ref()
        .map_or(&[][..], |(policy, _)| policy.sets.as_slice());
    let predicate = args.filter.predicate(sets)?;
    if predicate.idle_for().is_some() {
        return Err(CliError::usage(
            "`idle-for` takes no event: something has just happened to the flow",
        )
        .hint("`conntidy list --idle-for TIME` shows the flows to which nothing happens"));
    }
    let left = args.count.map(AtomicU64::new);
    let listening = Listening {
        common,
        args,
        groups,
        predicate,
        named,
        ending: Ending::catch()?,
        left,
    };
    let places = NamespacesArg {
        netns: args.netns.clone(),
    };
    match places.one() {
        Some(one) => live::within(&one, |live| listening.listen(&live, None)),
        None => listening.listen_in(&places.names()?),
    }
}

/// What is listened for, wherever.
struct Listening<'a> {
    common: &'a Common,
    args: &'a EventsArgs,
    groups: Groups,
    predicate: Predicate,
    named: Option<(Policy, Vec<Members>)>,
    ending: Ending,
    /// Events that may yet be shown, of all namespaces.
    left: Option<AtomicU64>,
}

impl Listening<'_> {
    /// Listens in several namespaces at once. What ends one ends all.
    fn listen_in(&self, names: &[String]) -> Result<Outcome, CliError> {
        thread::scope(|scope| {
            let start = |name| {
                scope.spawn(move || {
                    let netns = NetnsArg {
                        netns: Some(String::clone(name)),
                    };
                    let ended = live::within(&netns, |live| self.listen(&live, Some(name)));
                    self.ending.ask();
                    ended.map_err(|error| error.in_namespace(name))
                })
            };
            let threads: Vec<_> = names.iter().map(start).collect();
            let mut outcome = Ok(Outcome::default());
            for thread in threads {
                let ended = thread
                    .join()
                    .unwrap_or_else(|payload| std::panic::resume_unwind(payload));
                outcome = outcome.and_then(|outcome| Ok(outcome.and(ended?)));
            }
            outcome
        })
    }

    /// Listens in the namespace of the thread, which has a name where there are several.
    fn listen(&self, live: &Live, netns: Option<&str>) -> Result<Outcome, CliError> {
        let args = self.args;
        let mut listener = live.listen(self.groups, args.buffer.unwrap_or(ROOM))?;
        let header = live.header()?;
        let place = Place(netns);
        if !self.common.quiet {
            warn(args, self.groups, &header, &listener, place);
        }
        let filter = compile(&header, &self.predicate, self.named.clone());
        let rates = args.summary.map(|_| Rates::new(by(args)));
        let json = args.output == Format::Jsonl;
        let mut session = Session {
            common: self.common,
            args,
            live,
            ending: &self.ending,
            stream: Stream::new(filter, json, rates, self.left.as_ref(), netns),
            place,
            started: Instant::now(),
            resync: None,
            resynced: Instant::now(),
            owes_resync: false,
        };
        session.listen(&mut listener)?;
        Ok(session.end(&listener))
    }
}

/// Where a note comes from; it has a name where there are several.
#[derive(Clone, Copy)]
struct Place<'a>(Option<&'a str>);

impl Place<'_> {
    fn note(self, text: &str) {
        let name = self.0.map_or_else(String::new, |name| format!("{name}: "));
        say!("note: {name}{text}");
    }
}

fn by(args: &EventsArgs) -> By {
    args.by.clone().unwrap_or_else(|| {
        DEFAULT_BY
            .parse()
            .expect("the grouping of the default is written as one")
    })
}

fn compile(
    header: &Header,
    predicate: &Predicate,
    named: Option<(Policy, Vec<Members>)>,
) -> Compiled {
    let (sets, members) = match named {
        Some((policy, members)) => {
            let members = plan::members(&policy, &sets::read(&policy, members), header);
            (policy.sets, members)
        }
        None => (Vec::new(), Vec::new()),
    };
    Compiled::new(predicate, &Context::new(header, &sets, &members), false)
}

/// What keeps events from being told, or from being read in time.
fn warn(args: &EventsArgs, groups: Groups, header: &Header, listener: &Listener, place: Place<'_>) {
    let asked = args.buffer.unwrap_or(ROOM);
    if listener.room() < asked {
        place.note(&format!(
            "room for {} of events alone, not {}: more needs CAP_NET_ADMIN in the initial user namespace, \
             or `sysctl -w net.core.rmem_max={asked}`",
            bytes(listener.room() as u64),
            bytes(asked as u64)
        ));
    }
    let older = header.count.unwrap_or(0);
    match header.number("nf_conntrack_events") {
        None => place.note("this kernel tells no events: there is no nf_conntrack_events"),
        Some(0) => place.note(
            "nf_conntrack_events is 0 here: the kernel tells nothing. `sysctl -w \
             net.netfilter.nf_conntrack_events=1` makes it tell of entries that are made from then on"
        ),
        Some(2) if older > 0 && groups.intersects(Groups::UPDATE | Groups::DESTROY) => place.note(&format!(
            "nf_conntrack_events is 2 here: no update or destroy is told of entries that were made while \
             nobody listened, as {} here may be. `sysctl -w net.netfilter.nf_conntrack_events=1` makes the kernel tell \
             of all that are made from then on",
            counted(older, "entry", "entries")
        )),
        Some(_) => {}
    }
}

/// Why nothing is shown.
fn silence(heard: u64, time: Duration, place: Place<'_>) {
    let time = time.as_secs();
    if heard > 0 {
        let heard = counted(heard, "event", "events");
        place.note(&format!(
            "{heard} came within {time} s, and none passes the filter"
        ));
    } else {
        place.note(&format!(
            "the kernel told no event within {time} s. It tells none where nothing is tracked: entries are \
             made once a firewall or NAT rule looks at connections"
        ));
    }
}

/// One time of listening.
struct Session<'a> {
    common: &'a Common,
    args: &'a EventsArgs,
    live: &'a Live,
    ending: &'a Ending,
    stream: Stream<'a>,
    place: Place<'a>,
    started: Instant,
    /// When a resync is due.
    resync: Option<Instant>,
    /// Before this there is no other one.
    resynced: Instant,
    /// Events were lost since the last one.
    owes_resync: bool,
}

impl Session<'_> {
    fn listen(&mut self, listener: &mut Listener) -> Result<(), CliError> {
        let mut whole = Rates::new(by(self.args));
        let every = self.args.summary.flatten();
        let mut ticked = self.started;
        let mut silence_told = self.common.quiet;
        loop {
            let stream = &mut self.stream;
            let received = listener
                .receive(|event| stream.take(event))
                .map_err(failed)?;
            let now = Instant::now();
            let over = self
                .args
                .time
                .is_some_and(|time| now - self.started >= time);
            if over || self.stream.is_full() || self.ending.is_asked() {
                break;
            }
            if let Some(every) = every
                && now - ticked >= every
            {
                if let Some(summary) = self.stream.take_rates(&mut whole, now - ticked) {
                    self.stream.summarize(&summary)?;
                }
                ticked = now;
            }
            match received {
                Received::Events => self.stream.flush_if_full()?,
                Received::Gap(lost) => {
                    self.stream.gap(lost);
                    self.owes_resync = true;
                    if self.args.resync {
                        self.resync = Some(self.resynced);
                    }
                }
                Received::Nothing => {
                    if self.resync.is_some_and(|due| due <= now) {
                        self.show_table()?;
                        continue;
                    }
                    self.stream.flush()?;
                    if !silence_told && now - self.started >= SILENCE {
                        silence_told = true;
                        if self.stream.passed.total() == 0 {
                            silence(self.stream.heard, now - self.started, self.place);
                        }
                    }
                    let next = [
                        self.args.time.map(|time| self.started + time),
                        every.map(|every| ticked + every),
                        self.resync,
                        (!silence_told).then(|| self.started + SILENCE),
                    ];
                    let next = next.into_iter().flatten().min();
                    let timeout = next.map(|next| next.saturating_duration_since(now));
                    let woken = listener
                        .wait(self.ending.as_fd(), io::stdout().as_fd(), timeout)
                        .map_err(failed)?;
                    if woken.unread {
                        return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
                    }
                }
            }
        }
        self.stream.flush()?;
        let last = self.stream.take_rates(&mut whole, ticked.elapsed());
        if let Some(last) = last {
            if every.is_some() {
                self.stream.summarize(&last)?;
            }
            let all = whole.summary(self.started.elapsed(), true);
            self.stream.summarize(&all)?;
        }
        Ok(())
    }

    /// Shows what the table holds. What happens meanwhile waits to be read, so it comes after.
    fn show_table(&mut self) -> Result<(), CliError> {
        let began = Instant::now();
        let mut present = self.stream.resync();
        let dumped = self.live.dump(&mut [&mut present])?;
        present.end(!dumped.resized)?;
        self.resynced = Instant::now() + BETWEEN_RESYNCS.max(began.elapsed() * 10);
        self.owes_resync = dumped.resized;
        self.resync = dumped.resized.then_some(self.resynced);
        Ok(())
    }

    /// Says how it went.
    fn end(self, listener: &Listener) -> Outcome {
        let stream = &self.stream;
        if !self.common.quiet {
            let passed = counted(stream.passed.total(), "event", "events");
            let time = self.started.elapsed().as_secs_f64();
            let lost = match (stream.gaps, stream.lost) {
                (0, _) => String::new(),
                (_, lost) => format!("; {} lost", grouped(lost)),
            };
            // A summary has said so.
            if self.args.summary.is_none() {
                self.place.note(&format!("{passed} in {time:.1} s{lost}"));
            }
            if stream.doubtful > 0 {
                self.place.note(&format!(
                    "{} more do not tell whether they match: the kernel does not send every attribute with \
                     every event",
                    grouped(stream.doubtful)
                ));
            }
            if listener.undecoded() > 0 {
                let undecoded = counted(listener.undecoded(), "event", "events");
                self.place.note(&format!(
                    "{undecoded} could not be decoded and are missing here"
                ));
            }
            if self.owes_resync && !self.args.resync && self.args.summary.is_none() {
                say!(
                    "hint: a bigger `--buffer` loses less; `--resync` shows what the table holds after a loss"
                );
            }
        }
        Outcome {
            incomplete: self.owes_resync || listener.undecoded() > 0,
            ..Outcome::default()
        }
    }
}

fn failed(error: SocketError) -> CliError {
    CliError::failed("events can no longer be read").because(error)
}
