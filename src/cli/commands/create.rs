//! `conntidy create`: makes an entry.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use clap::Args;

use super::update::{label, mark, seconds, status, word};
use crate::cli::args::{Common, NetnsArg, Output};
use crate::cli::render::flow_line;
use crate::cli::table::Changeable;
use crate::cli::terminal::say;
use crate::cli::{CliError, Outcome, expect, live};
use crate::flow::protocol::{state_names, state_number};
use crate::flow::{
    Extra, Flow, FlowKey, FlowKeyError, OwnedExtra, Present, Protocol, Status, Tuple,
};
use crate::kernel::{Change, Live, SweepOptions};
use crate::observe::Record;
use crate::policy::leaf::Leaf;
use crate::policy::term::{HelperName, Mark};
use crate::snapshot::record::write_flow;

/// Arguments of `conntidy create`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy create tcp 10.0.0.5:40112 10.0.9.5:5432 --timeout 1h --state ESTABLISHED --status assured\n  \
    conntidy create udp 10.0.0.5:40112 192.0.2.1:53 --timeout 30s --snat 203.0.113.7:61000\n  \
    conntidy create tcp 198.51.100.7:50000 203.0.113.7:80 --timeout 2m --state SYN_SENT \\\n    \
    --dnat 10.0.0.8:8080\n  \
    conntidy create icmp 10.0.0.5 10.0.9.5 type 8 code 0 id 77 --timeout 30s\n  \
    conntidy create udp 10.0.0.5:1 10.0.9.5:2 zone 7 --timeout 1m --mark 0x10 --label 3\n\n\
    An entry that is there already stays as it is: exit 1. The kernel gives id, counters and start\n\
    time; what it did not take of the rest is said.")]
pub struct CreateArgs {
    /// Which table; an expectation has the flow that is expected as FLOW, with 0 for any source or port
    #[arg(long, value_enum, default_value_t, value_name = "TABLE")]
    pub table: Changeable,
    /// The flow that an expectation belongs to
    #[arg(long, value_name = "FLOW")]
    pub master: Option<String>,
    /// The entry: protocol, source and destination of its original direction, ` zone N` behind it
    #[arg(value_name = "FLOW", required = true, num_args = 1..)]
    pub flow: Vec<String>,
    /// The remaining time
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub timeout: u32,
    /// The state, for tcp, sctp and dccp
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// assured, seen-reply, fixed-timeout; repeatable
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    pub status: Vec<Status>,
    /// Translate the source to this address, or address and port
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = end)]
    pub snat: Option<End>,
    /// Translate the destination to this address, or address and port
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = end)]
    pub dnat: Option<End>,
    /// The mark
    #[arg(long, value_name = "VALUE", value_parser = mark)]
    pub mark: Option<Mark>,
    /// The zone of the reply direction, where it is another one
    #[arg(long, value_name = "ZONE")]
    pub reply_zone: Option<u16>,
    /// A label; repeatable
    #[arg(long, value_name = "BIT", value_delimiter = ',', value_parser = label)]
    pub label: Vec<u8>,
    /// The helper
    #[arg(long, value_name = "NAME", value_parser = helper)]
    pub helper: Option<String>,
    /// Where to act.
    #[command(flatten)]
    pub netns: NetnsArg,
    /// Output format; JSON is a line as in a snapshot
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
}

/// An address, and a port where one is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    address: IpAddr,
    port: Option<u16>,
}

fn end(text: &str) -> Result<End, String> {
    if let Ok(address) = text.parse() {
        return Ok(End {
            address,
            port: None,
        });
    }
    let both: SocketAddr = text.parse().map_err(|_| {
        "an address as 10.0.0.8, 10.0.0.8:80 or [fd00::8]:80 is expected".to_owned()
    })?;
    Ok(End {
        address: both.ip(),
        port: Some(both.port()),
    })
}

fn helper(text: &str) -> Result<String, String> {
    HelperName::read(text)
        .map(|HelperName(name)| name)
        .map_err(|error| error.to_string())
}

impl CreateArgs {
    /// What was given that entries alone have.
    fn of_entries(&self) -> Option<&'static str> {
        let given = [
            ("--state", self.state.is_some()),
            ("--status", !self.status.is_empty()),
            ("--snat", self.snat.is_some()),
            ("--dnat", self.dnat.is_some()),
            ("--mark", self.mark.is_some()),
            ("--reply-zone", self.reply_zone.is_some()),
            ("--label", !self.label.is_empty()),
        ];
        let mut given = given.into_iter().filter(|(_, is_given)| *is_given);
        given.next().map(|(option, _)| option)
    }
}

/// Creates, and shows what came of it.
pub(super) fn run(common: &Common, args: &CreateArgs) -> Result<Outcome, CliError> {
    if args.table == Changeable::Expect {
        let (master, helper) = (args.master.as_deref(), args.helper.as_deref());
        let (netns, output) = (&args.netns, args.output);
        if let Some(option) = args.of_entries() {
            return Err(CliError::usage(format!(
                "`{option}`: an expectation has none"
            )));
        }
        let (flow, timeout) = (&args.flow, args.timeout);
        return expect::create(common, flow, master, timeout, helper, netns, output);
    }
    if args.master.is_some() {
        return Err(CliError::usage("`--master` belongs to `--table expect`"));
    }
    let flow = wanted(args)?;
    let extra = Extra {
        helper: args.helper.as_deref(),
        labels: (!args.label.is_empty()).then(|| word(&args.label)),
        ..Extra::default()
    };
    live::within(&args.netns, |live| {
        let live = live.loading();
        make(&live, &flow, extra)?;
        let Some((entry, with)) = live.get(&flow.key())? else {
            return Err(CliError::incomplete(
                "the kernel took the entry, and it is gone already",
            ));
        };
        if !common.quiet {
            for what in not_taken(&flow, extra, &entry, &with) {
                say!("note: {what}");
            }
        }
        let record = Record {
            flow: entry,
            extra: with.borrow(),
            message: &[],
        };
        let mut buffer = Vec::new();
        match args.output {
            Output::Text => flow_line::write(&mut buffer, &record),
            Output::Json => write_flow(&record.flow, &record.extra, &mut buffer),
        }
        std::io::stdout().lock().write_all(&buffer)?;
        Ok(Outcome::default())
    })
}

/// The entry that was asked for.
fn wanted(args: &CreateArgs) -> Result<Flow, CliError> {
    let named = args.flow.join(" ").parse();
    let key: FlowKey = named.map_err(|error: FlowKeyError| CliError::usage(error.to_string()))?;
    let mut flow = Flow::new(key.family, key.protocol, key.orig);
    flow.present = Present::TIMEOUT | Present::STATUS | Present::REPLY;
    flow.zone_orig = key.zone;
    flow.zone_reply = args.reply_zone.unwrap_or(key.zone);
    flow.timeout = args.timeout;
    flow.status = args.status.iter().copied().collect();
    if let Some(mark) = args.mark {
        if mark.mask != u32::MAX {
            return Err(CliError::usage(
                "`--mark` of a new entry takes no mask: it has no bits yet that could stay",
            ));
        }
        flow.mark = mark.value;
    }
    let states = state_names(key.protocol);
    match &args.state {
        Some(name) => {
            flow.state = state_number(key.protocol, name).ok_or_else(|| {
                CliError::usage(match states {
                    [] => format!("`--state`: {} has no states", key.protocol),
                    _ => format!(
                        "`--state`: `{name}` is none of {}: {}",
                        key.protocol,
                        states.join(", ")
                    ),
                })
            })?;
            flow.present |= Present::STATE;
        }
        None if !states.is_empty() => {
            return Err(CliError::usage(format!(
                "an entry of {} has a state: `--state {}`",
                key.protocol,
                states.get(3).unwrap_or(&"NAME")
            )));
        }
        None => {}
    }
    flow.reply = reply(&key, args.snat, args.dnat)?;
    Ok(flow)
}

/// The reply tuple of a translated entry.
fn reply(key: &FlowKey, snat: Option<End>, dnat: Option<End>) -> Result<Tuple, CliError> {
    let plain = key.orig.inverse(key.protocol);
    let translated = |flag: &str, address: IpAddr, port: u16, end: Option<End>| match end {
        None => Ok((address, port)),
        Some(end) if end.address.is_ipv4() != address.is_ipv4() => Err(CliError::usage(format!(
            "`{flag}` names an address of the other family"
        ))),
        Some(End { port: Some(_), .. }) if !key.protocol.has_ports() => Err(CliError::usage(
            format!("`{flag}` names a port, and {} has none", key.protocol),
        )),
        Some(end) => Ok((end.address, end.port.unwrap_or(port))),
    };
    // What the destination becomes is where replies come from, and the other way about.
    let (src, src_port) = translated("--dnat", plain.src_ip(key.family), plain.src_port, dnat)?;
    let (dst, dst_port) = translated("--snat", plain.dst_ip(key.family), plain.dst_port, snat)?;
    Ok(Tuple::new(src, dst, src_port, dst_port))
}

fn make(live: &Live, flow: &Flow, extra: Extra<'_>) -> Result<(), CliError> {
    let sweep = live
        .sweep(SweepOptions::default())
        .map_err(|error| CliError::failed("the table cannot be changed").because(error))?;
    sweep.feeder().push(0, &Change::Create { flow, extra });
    let tally = sweep.finish();
    let count = tally.count(0);
    if count.done == 1 {
        return Ok(());
    }
    let key = flow.key();
    if count.exists > 0 {
        return Err(CliError::failed(format!(
            "nothing was made: {key}, or its reply direction, is there already"
        ))
        .hint("`conntidy get` shows it, `conntidy update` changes it"));
    }
    let failed = CliError::failed(format!("the kernel did not make {key}"));
    let Some(failure) = count.failures.first() else {
        return Err(match tally.stopped {
            Some(error) => failed.because(error),
            None => failed.hint(reason(flow, extra, 0)),
        });
    };
    let error = std::io::Error::from_raw_os_error(failure.errno);
    let failed = if failure.sentence.is_empty() {
        failed.because(error)
    } else {
        failed.because(format!("{error}: {}", failure.sentence))
    };
    Err(failed.hint(reason(flow, extra, failure.errno)))
}

/// What the kernel most likely does not like.
fn reason(flow: &Flow, extra: Extra<'_>, errno: i32) -> String {
    use rustix::io::Errno;
    let is = |known: Errno| errno == known.raw_os_error();
    if extra.helper.is_some() && (is(Errno::OPNOTSUPP) || is(Errno::NOTSUP)) {
        return "this kernel has no such helper for this protocol: is its module loaded?"
            .to_owned();
    }
    if extra.labels.is_some() && is(Errno::NOSPC) {
        return "labels hold only where a `ct label` rule exists in this network namespace"
            .to_owned();
    }
    if flow.reply != flow.orig.inverse(flow.protocol) && is(Errno::OPNOTSUPP) {
        return "this kernel has no NAT for this protocol: is nf_nat loaded?".to_owned();
    }
    if is(Errno::NOMEM) {
        return "the table is full: `sysctl net.netfilter.nf_conntrack_max`".to_owned();
    }
    "`conntidy doctor --probe` tells what this kernel makes".to_owned()
}

/// What the entry does not have of what was asked for.
fn not_taken(asked: &Flow, extra: Extra<'_>, made: &Flow, with: &OwnedExtra) -> Vec<String> {
    let with = with.borrow();
    let mut notes = Vec::new();
    if extra.labels.is_some() && extra.labels != with.labels {
        notes.push("no label was set: they hold only where a `ct label` rule exists".to_owned());
    }
    if extra.helper != with.helper {
        notes.push("the helper was not set".to_owned());
    }
    if asked.mark != made.mark {
        notes.push(format!("the mark is {:#x}", made.mark));
    }
    if asked.reply != made.reply {
        let what = "the translation is another one than was asked for: the port was taken";
        notes.push(what.to_owned());
    }
    if asked.protocol != Protocol::DCCP && asked.state() != made.state() {
        let state = made.state_name().unwrap_or("none");
        notes.push(format!("the state is {state}"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_a_translated_flow_go_to_the_new_source_and_come_from_the_new_destination() {
        let key: FlowKey = "tcp 10.0.0.5:1 192.0.2.1:80".parse().unwrap();
        let end = |text: &str| Some(end(text).unwrap());
        let both = reply(&key, end("203.0.113.7:9"), end("10.0.0.8")).unwrap();
        assert_eq!(
            both,
            Tuple::between(
                "10.0.0.8:80".parse().unwrap(),
                "203.0.113.7:9".parse().unwrap()
            )
        );
        assert!(reply(&key, end("fd00::1"), None).is_err());
        let ping: FlowKey = "icmp 10.0.0.5 192.0.2.1 type 8 code 0 id 1"
            .parse()
            .unwrap();
        assert!(reply(&ping, end("203.0.113.7:9"), None).is_err());
    }
}
