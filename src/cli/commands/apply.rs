//! `conntidy apply`: the policy, now.

use crate::cli::terminal::say;
use std::fmt::Display;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::confirm::{self, Asking, Within};
use super::snapshot::take_due;
use crate::apply::{Apply, ApplyError, Confirm};
use crate::cli::args::{Common, NetnsArg, Output, PolicySource};
use crate::cli::journal::{self, Sent};
use crate::cli::live::{self, Told};
use crate::cli::render;
use crate::cli::{CliError, Outcome, complete, policy, service, shown};
use crate::history::History;
use crate::kernel::{Live, sets};
use crate::observe::{Header, Observe};
use crate::plan::{self, Options, Resize, Saved};
use crate::policy::leaf::Leaf;
use crate::policy::{Members, Policy, Seconds};
use crate::report::{Report, TunableResult};
use crate::schedule::When;
use crate::state::{RunName, State, StateError};

/// Arguments of `conntidy apply`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy apply                          the system's policy\n  \
    conntidy apply -p gw.toml --netns red   in another network namespace\n  \
    conntidy apply plan.json                what `plan --out plan.json` saved, and no other flow;\n                                          \
    --confirm 60s goes with it\n  \
    conntidy apply --due                    what a timer calls: tunables, and the rules that are due\n  \
    conntidy apply --boot                   tunables only, as early as possible; resizes the hash\n  \
    conntidy apply --release old-postgres   end what holds a rule, `undo` or the breaker, then apply\n  \
    conntidy apply --take nf_conntrack_max  write a key again that another writer fought for\n  \
    conntidy apply --confirm 60s            put tunables back unless Enter is pressed, or\n                                          \
    `conntidy confirm` is run, within a minute\n\n\
    Within `[run] boot-grace` after boot or module load rules only count; --set run.boot-grace=0\n\
    lifts that for one run. Rules with `when` act only while the table is full.\n\n\
    With `--confirm`, tunables are written first and no rule acts before they are confirmed. SIGHUP,\n\
    SIGTERM, SIGINT and the loss of the terminal put them back at once. What rules delete afterwards\n\
    is not put back: `conntidy undo` does that.\n\n\
    Every run is recorded; `conntidy undo --list` shows the runs, `conntidy undo` puts back what the\n\
    last one deleted.")]
pub struct ApplyArgs {
    /// A plan that `plan --out` saved: only flows that it names and that are still selected are changed
    #[arg(value_name = "PLAN", conflicts_with_all = ["due", "boot", "resize", "release", "take"])]
    pub plan: Option<PathBuf>,
    /// The oldest that PLAN may be
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = age, requires = "plan")]
    pub max_age: Seconds,
    /// Where the policy comes from.
    #[command(flatten)]
    pub policy: PolicySource,
    /// Where to act.
    #[command(flatten)]
    pub netns: NetnsArg,
    /// Resize the hash table in this run: all packets stop meanwhile, about 0.4 s a million entries
    #[arg(long, value_enum, value_name = "WHEN")]
    pub resize: Option<ResizeArg>,
    /// Run only the rules whose interval has passed; that none is due is no error
    #[arg(long)]
    pub due: bool,
    /// Set tunables only, the size of the hash too; no rule runs and no flow is touched
    #[arg(long, conflicts_with_all = ["due", "release"])]
    pub boot: bool,
    /// End what `undo` or the breaker put on this rule; repeatable
    #[arg(long, value_name = "RULE", add = complete::rules())]
    pub release: Vec<String>,
    /// End the contest about this key, or write again what nobody confirmed; repeatable
    #[arg(long, value_name = "KEY")]
    pub take: Vec<String>,
    /// Put back the tunables that this run writes unless somebody confirms them within this time
    #[arg(long, value_name = "TIME", conflicts_with_all = ["due", "boot"])]
    pub confirm: Option<Within>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
}

fn age(text: &str) -> Result<Seconds, String> {
    Seconds::read(text).map_err(|error| error.to_string())
}

/// When the hash table is resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResizeArg {
    /// In this run.
    Now,
}

impl From<ResizeArg> for Resize {
    fn from(when: ResizeArg) -> Self {
        match when {
            ResizeArg::Now => Self::Now,
        }
    }
}

/// Applies and prints what was done.
pub(super) fn run(common: &Common, args: &ApplyArgs) -> Result<Outcome, CliError> {
    if let Some(path) = args.plan.as_deref().filter(|path| is_policy(path)) {
        let path = path.display();
        return Err(CliError::usage(format!("{path} is no saved plan"))
            .hint(format!("a policy is applied by `--policy {path}`")));
    }
    let (policy, members) = if args.due {
        policy::load_unwarned(&args.policy)?
    } else {
        policy::load(common, &args.policy)?
    };
    live::within(&args.netns, |live| {
        if args.boot {
            // Nothing is loaded before its time.
            boot(common, args, &live, &policy, members)
        } else {
            let live = live.loading();
            let state = live::state_here()?;
            let _lock = live::lock(&state, "apply")?;
            // Behind the lock: a run that just ended may have changed what is read here.
            let header = live.header()?;
            apply(common, args, &live, &state, header, &policy, members)
        }
    })
}

/// While a machine boots, its state directory may not be there yet, or read-only: what is remembered
/// then goes to a place that is thrown away. Tunables have to be right in any case.
fn boot(
    common: &Common,
    args: &ApplyArgs,
    live: &Live,
    policy: &Policy,
    members: Vec<Members>,
) -> Result<Outcome, CliError> {
    let header = live.surroundings()?;
    let forgets = |why: &dyn Display| {
        if !common.quiet {
            say!("note: {why}: nothing of this run is remembered");
        }
    };
    match live::state_root() {
        Some(root) => {
            let state = State::of(&root, &header.netns);
            let lock = live::hold(&state, "apply --boot");
            match lock.and_then(|lock| state.memory(&header.boot_id).map(|_| lock)) {
                Ok(_lock) => {
                    return apply(common, args, live, &state, header, policy, members);
                }
                Err(busy @ StateError::Busy { .. }) => return Err(busy.into()),
                Err(error) => forgets(&error),
            }
        }
        None => forgets(&"there is no place for state between runs"),
    }
    let mut scratch = tempfile::Builder::new();
    let scratch = scratch.prefix("conntidy-boot-");
    let scratch = scratch.tempdir_in("/run").or_else(|_| scratch.tempdir());
    let scratch = scratch.map_err(|error| {
        CliError::failed("there is no place for what a run needs while it runs").because(error)
    })?;
    let state = State::of(scratch.path(), &header.netns);
    apply(common, args, live, &state, header, policy, members)
}

/// A policy in the place of a saved plan, as `check` takes one.
fn is_policy(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "toml")
}

/// Reads a saved plan, but for what only a look at the kernel can tell.
fn read_saved(path: &Path) -> Result<Saved, CliError> {
    let file = File::open(path).map_err(|error| {
        CliError::failed(format!("{} cannot be read", path.display())).because(error)
    })?;
    let mut saved: Saved = serde_json::from_reader(BufReader::new(file)).map_err(|error| {
        CliError::failed(format!("{} is no saved plan", path.display()))
            .because(error)
            .hint("`conntidy plan --out FILE` writes one; `-o json` shows a plan without its flows")
    })?;
    // Somebody may have edited it, and it is searched.
    saved.sort();
    Ok(saved)
}

/// Refuses a plan of another boot, namespace or policy, an old one, and one of other values.
fn refuse_stale(
    saved: &Saved,
    header: &Header,
    state: &State,
    policy: &Policy,
    most: Seconds,
) -> Result<(), CliError> {
    let mut header = header.clone();
    header.history = state.memory(&header.boot_id)?.history;
    let steps = plan::tunables(policy, &header, &Options::default());
    saved.check(&header, policy, &steps, most).map_err(|stale| {
        CliError::refused(format!(
            "the saved plan is not applied, and nothing was changed: {stale}"
        ))
        .hint("plan again: `conntidy plan --out FILE`")
    })
}

fn apply(
    common: &Common,
    args: &ApplyArgs,
    live: &Live,
    state: &State,
    mut header: Header,
    policy: &Policy,
    members: Vec<Members>,
) -> Result<Outcome, CliError> {
    let saved = args.plan.as_deref().map(read_saved).transpose()?;
    live::name_netns(&mut header, &args.netns);
    let killed = match confirm::revert_killed(common, live, state) {
        Ok(killed) => killed,
        // Tunables have to be right in any case. A later run tries again, and says what is wrong.
        Err(error) if args.boot => {
            error.print();
            None
        }
        Err(error) => return Err(error),
    };
    if killed.is_some() {
        header = if args.boot {
            live.surroundings()?
        } else {
            live.header()?
        };
        live::name_netns(&mut header, &args.netns);
    }
    if let Some(saved) = &saved {
        refuse_stale(saved, &header, state, policy, args.max_age)?;
    }
    lift(state, &header.boot_id, args, policy)?;
    // No rule runs at boot, and nft would have the kernel load its modules.
    let members = if args.boot {
        members
    } else {
        sets::read(policy, members)
    };
    // Before the rules run: afterwards what filled the table is gone.
    let snapshot = if args.boot {
        Outcome::default()
    } else {
        take_due(common, live, &header, policy, &members)
    };
    let run = RunName::new(header.time_ns, std::process::id());
    let asking = args
        .confirm
        .map(|within| Asking::prepare(common, within))
        .transpose()?;
    let ask = asking
        .as_ref()
        .map(|asking| |written: &[TunableResult]| asking.ask(state, &run, written));
    let resize = match args.resize {
        _ if args.boot => Resize::Now,
        Some(when) => when.into(),
        None => Resize::Later,
    };
    service::status("reading tunables and the table");
    let told = Told::new(common, "reading the table", header.count);
    let changing = Told::new(common, "changing entries", None);
    let mut report = Apply {
        live,
        state,
        run: &run,
        header,
        policy,
        members: &members,
        options: Options {
            resize,
            // A saved plan that leaves such a key leaves it.
            confirm: asking.is_some() && saved.is_none(),
            ..Options::default()
        },
        when: match (args.boot, args.due) {
            (true, _) => When::Boot,
            (_, true) => When::Due,
            _ => When::Now,
        },
        by_hand: None,
        saved: saved.as_ref(),
        tell: &|seen| told.tell(seen),
        changing: &|handed| changing.tell(handed),
        confirm: ask.as_ref().map(|ask| ask as &Confirm<'_>),
    }
    .run()?;
    drop((told, changing));
    if report.is_unconfirmed() {
        report = confirm::revert(live, state, &run, resize)?;
        state.forget_unconfirmed();
    }
    drop(asking);
    let sent = journal::send(|| {
        let killed = killed
            .as_ref()
            .and_then(|(_, report)| render::journal::killed(report));
        // A record each minute of which nothing happened would bury those of which something did.
        let own = if args.due && report.is_uneventful() {
            Vec::new()
        } else {
            render::journal::records(&report)
        };
        killed.into_iter().chain(own).collect()
    });
    service::done(&render::report::summary(&report));
    let told = sent == Sent::InPlaceOfStdout && args.output == Output::Text && common.verbose == 0;
    if !told {
        shown(print(common, args.output, &report))?;
    }
    let outcome = outcome(&report);
    Ok(Outcome {
        incomplete: outcome.incomplete || snapshot.incomplete,
        ..outcome
    })
}

fn print(common: &Common, output: Output, report: &Report) -> Result<(), CliError> {
    match output {
        Output::Text => {
            let mut stdout = anstream::stdout().lock();
            render::report::write(&mut stdout, report, common.verbose > 0)?;
            Ok(stdout.flush()?)
        }
        Output::Json => render::json(report),
    }
}

/// What a report means for the exit code.
pub(in crate::cli) fn outcome(report: &Report) -> Outcome {
    Outcome {
        incomplete: report.is_incomplete(),
        disagrees: report.disagrees(),
        refused: report.has_refusals(),
        differences: false,
    }
}

/// Ends holds and contests as the arguments say; all of them or none.
fn lift(state: &State, boot_id: &str, args: &ApplyArgs, policy: &Policy) -> Result<(), CliError> {
    if args.release.is_empty() && args.take.is_empty() {
        return Ok(());
    }
    let mut memory = state.memory(boot_id)?;
    for rule in &args.release {
        let was_held = memory.holds.remove(rule).is_some();
        let was_broken = memory.rounds.release(rule);
        if !was_held && !was_broken {
            let held: Vec<&str> = memory
                .holds
                .keys()
                .map(String::as_str)
                .chain(memory.rounds.gone_wrong())
                .collect();
            let held = if held.is_empty() {
                "no rule is".to_owned()
            } else {
                format!("on hold: {}", held.join(", "))
            };
            return Err(CliError::usage(format!(
                "nothing holds rule `{rule}` ({held})"
            )));
        }
    }
    for key in &args.take {
        take(&mut memory.history, key, policy)?;
    }
    Ok(state.remember(&memory)?)
}

/// A key is called by its sysctl's name, or as the policy calls it.
fn take(history: &mut History, key: &str, policy: &Policy) -> Result<(), CliError> {
    let bare = key.strip_prefix("net.netfilter.").unwrap_or(key);
    let goal = policy
        .goals
        .iter()
        .find(|goal| goal.name == bare || goal.path == key);
    let Some(goal) = goal else {
        return Err(CliError::usage(format!(
            "the policy has no key `{key}`: `--take` names a sysctl, as `nf_conntrack_max`, or a key of the \
             policy, as `table.max`"
        )));
    };
    if history.take(&goal.name) {
        return Ok(());
    }
    let kept = history.kept_from_writing();
    let kept = if kept.is_empty() {
        "no key is".to_owned()
    } else {
        format!("contested: {}", kept.join(", "))
    };
    Err(CliError::usage(format!(
        "`{key}` is not contested ({kept})"
    )))
}

impl From<ApplyError> for CliError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Observe(error) => error.into(),
            ApplyError::State(error) => error.into(),
        }
    }
}
