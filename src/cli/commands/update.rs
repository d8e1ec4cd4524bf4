//! `conntidy update`: sets what the kernel lets be set of an entry.

use clap::Args;

use crate::cli::args::{Common, NetnsArg};
use crate::cli::change::{AgreeArgs, Change};
use crate::cli::select::SelectArgs;
use crate::cli::{CliError, Outcome};
use crate::flow::Status;
use crate::flow::status::StatusWord;
use crate::policy::leaf::Leaf;
use crate::policy::term::{Label, Mark};
use crate::policy::{Action, Seconds, Update};

/// Arguments of `conntidy update`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy update --set-mark 0x10/0xff -s 10.0.0.0/8     only these bits; the others stay\n  \
    conntidy update --set-timeout 1h tcp 10.0.0.5:40112 10.0.9.5:5432\n  \
    conntidy update --set-label 3 --clear-label 4 --mark 0x10/0xff --max 100\n  \
    conntidy update --set-status assured -p udp --dport 51820\n\n\
    The kernel sets status bits and clears none. `fixed-timeout` freezes the timer for good: the entry\n\
    ends when it runs out, even if packets flow, and neither conntidy nor anybody else can set it\n\
    again. A timeout that is set holds until the flow's next packet puts its own back. Labels hold\n\
    only where a `ct label` rule exists.\n\n\
    `conntidy undo` sets back what nobody has set since.")]
pub struct UpdateArgs {
    /// The new remaining time
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub set_timeout: Option<u32>,
    /// The new mark, or the new value of the bits in MASK
    #[arg(long, value_name = "VALUE[/MASK]", value_parser = mark)]
    pub set_mark: Option<Mark>,
    /// Set these: assured, seen-reply, fixed-timeout; repeatable
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    pub set_status: Vec<Status>,
    /// Set this label; repeatable
    #[arg(long, value_name = "BIT", value_delimiter = ',', value_parser = label)]
    pub set_label: Vec<u8>,
    /// Clear this label; repeatable
    #[arg(long, value_name = "BIT", value_delimiter = ',', value_parser = label)]
    pub clear_label: Vec<u8>,
    /// Which flows.
    #[command(flatten)]
    pub select: SelectArgs,
    /// Where to look.
    #[command(flatten)]
    pub netns: NetnsArg,
    /// How it is agreed to.
    #[command(flatten)]
    pub agree: AgreeArgs,
}

/// Seconds of a timer: the kernel clamps what is longer without a word.
pub(super) fn seconds(text: &str) -> Result<u32, String> {
    /// `INT_MAX` jiffies at 1000 Hz, the shortest limit of any kernel.
    const MOST: u32 = 2_147_483;
    let Seconds(seconds) = Seconds::read(text).map_err(|error| error.to_string())?;
    match u32::try_from(seconds) {
        Ok(0) => Err("a flow that is to end at once is one to `conntidy delete`".to_owned()),
        Ok(seconds) if seconds <= MOST => Ok(seconds),
        _ => Err(format!("the longest that every kernel takes is {MOST} s")),
    }
}

pub(super) fn mark(text: &str) -> Result<Mark, String> {
    Mark::read(text).map_err(|error| error.to_string())
}

pub(super) fn label(text: &str) -> Result<u8, String> {
    Label::read(text)
        .map(|Label(bit)| bit)
        .map_err(|error| error.to_string())
}

/// Status bits that the kernel lets be set.
pub(super) fn status(text: &str) -> Result<Status, String> {
    match StatusWord::from_name(text) {
        Some(StatusWord::Assured) => Ok(Status::ASSURED),
        Some(StatusWord::SeenReply) => Ok(Status::SEEN_REPLY),
        Some(StatusWord::FixedTimeout) => Ok(Status::FIXED_TIMEOUT),
        Some(word) => Err(format!(
            "the kernel does not let `{}` be set: assured, seen-reply and fixed-timeout can",
            word.name()
        )),
        None => Err("one of assured, seen-reply, fixed-timeout is expected".to_owned()),
    }
}

/// Labels as bits.
pub(super) fn word(labels: &[u8]) -> u128 {
    labels.iter().fold(0, |word, label| word | 1 << label)
}

/// Updates.
pub(super) fn run(common: &Common, args: &UpdateArgs) -> Result<Outcome, CliError> {
    let (set, cleared) = (word(&args.set_label), word(&args.clear_label));
    if set & cleared != 0 {
        return Err(CliError::usage(
            "`--set-label` and `--clear-label` name the same label",
        ));
    }
    let update = Update {
        timeout: args.set_timeout,
        mark: args.set_mark.map(|mark| (mark.value, mark.mask)),
        status: args.set_status.iter().copied().collect(),
        labels: (set | cleared != 0).then_some((set, set | cleared)),
    };
    if update.is_empty() {
        return Err(CliError::usage("nothing to set").hint(
            "`--set-mark`, `--set-timeout`, `--set-status`, `--set-label` and `--clear-label` say what",
        ));
    }
    let change = Change {
        common,
        command: "update",
        select: &args.select,
        netns: &args.netns,
        agree: &args.agree,
        action: Action::Update(update),
    };
    change.run()
}
