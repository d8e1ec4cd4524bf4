//! The table that a command looks at, and which of its flows pass the filter.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::{Args, ValueEnum};

use super::args::Common;
use super::commands::plan::{remember, schedule};
use super::filter::FilterArgs;
use super::namespaces::NamespacesArg;
use super::render::plan::refused;
use super::terminal::say;
use super::{CliError, Outcome, complete, policy};
use crate::column::Reader;
use crate::kernel::recorded::Recorded;
use crate::kernel::{Live, Only, sets};
use crate::matcher::{Compiled, Context, Grade, Truth};
use crate::observe::{Dumped, Header, Observe, Record, Visit};
use crate::plan::{self, Judge, Options, Taken, waiting_text};
use crate::policy::diagnostic::nearest;
use crate::policy::{Members, Policy, Predicate};
use crate::schedule::When;

/// Where a command looks, and at which flows.
#[derive(Args, Clone, Debug)]
pub struct TableArgs {
    /// Which flows.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Only the flows that this rule of the policy would take: it matches, no earlier rule takes
    /// them, nothing protects them. Budgets do not count
    #[arg(long, value_name = "NAME", add = complete::rules())]
    pub rule: Option<String>,
    /// The policy that `--rule` names a rule of, and whose sets `@name` means [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Where.
    #[command(flatten)]
    pub netns: NamespacesArg,
    /// Which table: `dying` are entries that are deleted, and kept until a listener has taken the event
    /// of that
    #[arg(
        long = "table",
        value_enum,
        default_value_t,
        value_name = "TABLE",
        conflicts_with = "from"
    )]
    pub which: Which,
    /// Look in a snapshot instead of the running kernel; needs no root
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "netns")]
    pub from: Option<PathBuf>,
    /// Idle times are shown, so what earlier runs know of timers has to be read.
    #[arg(skip)]
    pub(super) shows_idle: bool,
}

/// The tables of connection tracking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// Entries.
    #[default]
    Conntrack,
    /// Flows that helpers expect.
    Expect,
    /// Entries that are deleted and still kept.
    Dying,
}

/// The tables that can be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Changeable {
    /// Entries.
    #[default]
    Conntrack,
    /// Flows that helpers expect.
    Expect,
}

/// A table with a filter on it.
pub(super) struct Table<'a> {
    observe: &'a dyn Observe,
    filter: Compiled,
    rule: Option<Taken<'a, 'a>>,
    /// Reads the fields of its entries.
    pub(super) reader: Reader,
    /// Wall clock at the observation, nanoseconds since 1970.
    pub(super) time_ns: u64,
    /// The namespace, where the command looks at several.
    pub(super) netns: Option<&'a str>,
    /// How many flows do not tell whether they match.
    doubtful: AtomicU64,
}

impl TableArgs {
    /// Opens the table, or each of several: in the network namespaces that were named, one after
    /// the other.
    pub(super) fn open(
        &self,
        common: &Common,
        mut work: impl FnMut(&Table<'_>) -> Result<Outcome, CliError> + Send,
    ) -> Result<Outcome, CliError> {
        let asks = self.filter.names_sets() || self.rule.is_some();
        let named = policy::load_where(asks, self.policy.as_ref())?;
        let sets = named
            .as_ref()
            .map_or(&[][..], |(policy, _)| policy.sets.as_slice());
        let asked = Asked {
            common,
            predicate: self.filter.predicate(sets)?,
            named,
            rule: self.rule.as_deref(),
            shows_idle: self.shows_idle,
            shows_entries_alone: false,
        };
        let only = Only {
            dying: self.which == Which::Dying,
            ..Only::default()
        };
        if let Some(path) = &self.from {
            let recorded = Recorded::open(path)?;
            return asked.look(&recorded, false, None, &mut work);
        }
        self.netns.each(common, |name, live| {
            asked.look(&live.only(only), true, name, &mut work)
        })
    }
}

/// Puts a filter on the kernel's table, and does work with it for which nothing matters but entries.
pub(super) fn filtered(
    common: &Common,
    live: &Live,
    predicate: &Predicate,
    named: Option<(Policy, Vec<Members>)>,
    rule: Option<&str>,
    netns: Option<&str>,
    mut work: impl FnMut(&Table<'_>) -> Result<Outcome, CliError> + Send,
) -> Result<Outcome, CliError> {
    let asked = Asked {
        common,
        predicate: predicate.clone(),
        named,
        rule,
        shows_idle: false,
        shows_entries_alone: true,
    };
    asked.look(live, true, netns, &mut work)
}

/// What a command asks of each table.
struct Asked<'a> {
    common: &'a Common,
    predicate: Predicate,
    named: Option<(Policy, Vec<Members>)>,
    rule: Option<&'a str>,
    shows_idle: bool,
    /// Nothing is shown that an entry does not tell.
    shows_entries_alone: bool,
}

impl Asked<'_> {
    /// Puts the filter on a table and does the work with it.
    fn look(
        &self,
        observe: &dyn Observe,
        is_live: bool,
        netns: Option<&str>,
        work: &mut (impl FnMut(&Table<'_>) -> Result<Outcome, CliError> + Send),
    ) -> Result<Outcome, CliError> {
        // To look around takes longer than to ask for one entry.
        let asks_entries_alone = self.rule.is_none() && self.predicate.asks_entries_alone();
        let mut header = if self.shows_entries_alone && asks_entries_alone {
            Header::default()
        } else {
            observe.header()?
        };
        let policy = self.named.as_ref().map(|(policy, _)| policy);
        let judging = policy.filter(|_| self.rule.is_some());
        let options = self.options(&mut header, judging, is_live)?;
        let members = match &self.named {
            Some((policy, members)) if is_live => {
                plan::members(policy, &sets::read(policy, members.clone()), &header)
            }
            Some((policy, members)) => plan::members(policy, members, &header),
            None => Vec::new(),
        };
        let sets = policy.map_or(&[][..], |policy| policy.sets.as_slice());
        let context = Context::new(&header, sets, &members);
        let judge = judging.map(|policy| Judge::new(policy, &members, &header, &options));
        let rule = match (&judge, self.rule) {
            (Some(judge), Some(name)) => Some(self.taken(judge, name)?),
            _ => None,
        };
        let table = Table {
            observe,
            filter: Compiled::new(&self.predicate, &context, false),
            rule,
            reader: Reader::new(&context),
            time_ns: header.time_ns,
            netns,
            doubtful: AtomicU64::new(0),
        };
        let outcome = work(&table)?;
        let doubtful = table.doubtful.into_inner();
        if doubtful > 0 && !self.common.quiet {
            let within = netns.map_or_else(String::new, |name| format!(" in {name}"));
            say!(
                "note: {doubtful} more{within} do not tell whether they match: they have no such field, or nothing \
                 proves that they are idle"
            );
        }
        Ok(outcome)
    }

    /// What earlier runs tell, as far as it is asked for.
    fn options(
        &self,
        header: &mut Header,
        judging: Option<&Policy>,
        is_live: bool,
    ) -> Result<Options, CliError> {
        if !is_live {
            let timeless = |policy| Options::timeless(policy, header);
            return Ok(judging.map(timeless).unwrap_or_default());
        }
        let mut options = Options::default();
        let asks_idle = self.predicate.idle_for().is_some() || self.shows_idle;
        if asks_idle || judging.is_some() {
            let rounds = remember(self.common, header, &mut options)?;
            if let Some(policy) = judging {
                schedule(self.common, policy, header, &mut options, rounds, When::Now)?;
            }
        }
        Ok(options)
    }

    fn taken<'j>(&self, judge: &'j Judge<'j>, name: &str) -> Result<Taken<'j, 'j>, CliError> {
        let Some(taken) = Taken::new(judge, name) else {
            let names: Vec<_> = (judge.policy().rules.iter())
                .map(|rule| rule.name.as_str())
                .collect();
            let error = CliError::usage(format!("the policy has no rule `{name}` that is enabled"));
            return Err(match nearest(name, names.iter().copied()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None if names.is_empty() => error.hint("it has none at all"),
                None => error.hint(format!("it has {}", names.join(", "))),
            });
        };
        if !self.common.quiet {
            let why = match taken.rests() {
                (Some(waiting), _) => Some(waiting_text(waiting)),
                (None, Some(refusal)) => Some(refused(refusal)),
                (None, None) => None,
            };
            if let Some(why) = why {
                say!("note: the rule `{name}` does not act now: {why}");
            }
        }
        Ok(taken)
    }
}

impl Table<'_> {
    /// Delivers the flows that pass. With two visitors, families may come in parallel.
    pub(super) fn visit(&self, visitors: &mut [&mut dyn Visit]) -> Result<Dumped, CliError> {
        self.doubtful.store(0, Ordering::Relaxed);
        let counted = match &self.rule {
            Some(rule) if rule.counts() => Some(self.count(rule)?),
            _ => None,
        };
        let rule = counted.as_ref().or(self.rule.as_ref());
        let mut passing: Vec<_> = visitors
            .iter_mut()
            .map(|visitor| Passing {
                table: self,
                rule,
                visitor: &mut **visitor,
                doubtful: 0,
            })
            .collect();
        let mut passing: Vec<&mut dyn Visit> = passing
            .iter_mut()
            .map(|passing| passing as &mut dyn Visit)
            .collect();
        let dumped = self.observe.dump(&mut passing)?;
        if dumped.undecoded > 0 {
            return Err(CliError::incomplete(format!(
                "{} entries could not be decoded and are missing here",
                dumped.undecoded
            )));
        }
        Ok(dumped)
    }

    /// The rule with the sizes of the groups that it goes by.
    fn count<'t>(&'t self, rule: &Taken<'t, 't>) -> Result<Taken<'t, 't>, CliError> {
        let (mut first, mut second) = (rule.empty(), rule.empty());
        let mut one = |record: &Record<'_>| first.count(record);
        let mut two = |record: &Record<'_>| second.count(record);
        self.observe
            .dump(&mut [&mut one as &mut dyn Visit, &mut two])?;
        first.merge(&second);
        Ok(first)
    }
}

struct Passing<'a> {
    table: &'a Table<'a>,
    rule: Option<&'a Taken<'a, 'a>>,
    visitor: &'a mut dyn Visit,
    doubtful: u64,
}

impl Visit for Passing<'_> {
    fn visit(&mut self, record: &Record<'_>) {
        let filter = &self.table.filter;
        let mut passes = filter.eval(&record.flow, &record.extra, Grade::Presumed);
        if let Some(rule) = self.rule
            && passes != Truth::False
        {
            passes = passes.and(rule.takes(record));
        }
        match passes {
            Truth::True => self.visitor.visit(record),
            Truth::False => {}
            Truth::Unknown => self.doubtful += 1,
        }
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        let doubtful = &self.table.doubtful;
        doubtful.fetch_add(self.doubtful, Ordering::Relaxed);
    }
}
