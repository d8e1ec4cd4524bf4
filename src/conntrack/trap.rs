//! Command lines that do more than they say.
//!
//! Each of these is taken by the tool without a word, and deletes or rewrites other entries than
//! whoever typed it meant. They are refused, with what would have happened and how to say it exactly.

use std::fmt;

use super::line::{Line, Table};
use super::options::{Given, Verb};
use super::value::is_value;
use crate::flow::{Family, Protocol, Status};

/// What is treacherous about a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trap {
    /// `-D -u UNREPLIED`, `-D -u '!ASSURED'`, `-D -u UNSET`: only bits that are set narrow a delete.
    UnsetStatus {
        /// The value as typed.
        value: String,
        /// Whether entries would be rewritten, not deleted.
        update: bool,
    },
    /// `-D -t 3600`: no filter by itself; beside one, exactly so many seconds left.
    Timeout {
        /// The value as typed.
        value: String,
        /// Whether something else narrows the line.
        narrowed: bool,
    },
    /// `-U -t 0`: an entry that is left no time ends.
    NoTime,
    /// `-s 10.1.2.3/`: an empty prefix length is 0.
    EmptyPrefix(String),
    /// `-m 5/`: an empty mask is 0.
    EmptyMask(String),
    /// `--dst-nat 2001:db8::1`: the address is passed over.
    Nat6(String),
    /// `-n1.2.3.4`, `--src-nat=1.2.3.4`, `--label-del=a`: a value in the same word is passed over.
    AttachedValue {
        /// The option's name.
        option: &'static str,
        /// The value that counts for nothing.
        value: String,
    },
    /// `-F -f ipv4`: the family is passed over.
    FlushFamily(String),
    /// `--dport 80-443`: what is no number counts as far as it is one, cut to its low bits.
    Number {
        /// The option's name.
        option: &'static str,
        /// The value as typed.
        value: String,
        /// The number that it is taken for.
        taken: u64,
    },
    /// `-s 10.1`: an old way to write 10.0.0.1.
    Address {
        /// The value as typed.
        value: String,
        /// The address that it is taken for.
        taken: std::net::Ipv4Addr,
    },
    /// `-D -s A B`: words that belong to no option are passed over.
    StrayValue(String),
    /// `-D -p gre --srckey 1`: keys of GRE narrow nothing.
    GreKey,
    /// `-L -z -n`: entries that are not shown are zeroed too.
    Zero,
    /// `-p tcp -p udp`: the last counts, and what its options say in between is passed over.
    Protocols,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsetStatus {
                value,
                update: false,
            } => write!(
                f,
                "`-u {value}` narrows nothing here: conntrack would have deleted every entry that the rest of \
                 the line lets through, whatever its status; `conntidy delete --status unreplied` (or \
                 --not-status assured) deletes what this says"
            ),
            Self::UnsetStatus {
                value,
                update: true,
            } => write!(
                f,
                "`-u {value}` narrows nothing here: conntrack would have rewritten every entry that the rest of \
                 the line lets through; `conntidy update --status unreplied` changes what this says"
            ),
            Self::Timeout {
                value,
                narrowed: false,
            } => write!(
                f,
                "`-t {value}` is no filter: conntrack would have deleted the whole table; say what is meant: \
                 `--state ESTABLISHED -t {value}` (proven idle for so long), `conntidy delete --idle-for {value}s`, \
                 or `conntidy delete --remaining-below {value}s`"
            ),
            Self::Timeout {
                value,
                narrowed: true,
            } => write!(
                f,
                "`-t {value}` means exactly {value} seconds left: conntrack would have deleted those entries alone, \
                 if there happened to be any; say what is meant: `--state ESTABLISHED -t {value}` (proven idle for \
                 so long), `conntidy delete --idle-for {value}s`, or `conntidy delete --remaining-below {value}s`"
            ),
            Self::NoTime => f.write_str(
                "`-t 0` leaves no time: conntrack would have ended every entry that the rest of the line lets \
                 through; `conntrack -D` with the same filters deletes them",
            ),
            Self::EmptyPrefix(value) => write!(
                f,
                "`{value}` has an empty prefix length, which is 0: conntrack would have taken every address of the \
                 family; write `{}` or `{value}32`",
                value.trim_end_matches('/')
            ),
            Self::EmptyMask(value) => write!(
                f,
                "`{value}` has an empty mask, which is 0: conntrack would have compared no bit of the mark; write \
                 `{}` or a mask behind the slash",
                value.trim_end_matches('/')
            ),
            Self::Nat6(value) => write!(
                f,
                "conntrack passes over IPv6 addresses of translations: it would have taken every entry with a \
                 translation of the kind, not those of {value}; `conntidy delete --nat-dst {value}` (or --nat-src) \
                 takes these"
            ),
            Self::AttachedValue { option, value } => write!(
                f,
                "conntrack passes over a value in the same word as `--{option}`: it would have done without \
                 `{value}`; write `--{option} {value}`, as two words"
            ),
            Self::FlushFamily(value) => write!(
                f,
                "conntrack passes over the family of a flush: it would have emptied the table of both families; \
                 `conntrack -D -f {value}` deletes one"
            ),
            Self::Number {
                option,
                value,
                taken,
            } => write!(
                f,
                "`--{option} {value}` is not a plain number: conntrack would have taken it for {taken}; write one \
                 number, or use `conntidy list|delete`, which take lists and ranges"
            ),
            Self::Address { value, taken } => write!(
                f,
                "`{value}` is not a whole address: conntrack would have taken it for {taken}; write {taken}, or a \
                 prefix such as 10.1.0.0/16"
            ),
            Self::StrayValue(word) => write!(
                f,
                "`{word}` belongs to no option: conntrack would have passed over it and acted on all that the rest \
                 of the line lets through; run it once for each value, or use `conntidy delete`, which takes lists"
            ),
            Self::Zero => f.write_str(
                "`-z` goes by no filter: conntrack would have set the counters of all entries to zero, those that \
                 it does not show as well; leave the filter out, or leave out `-z`",
            ),
            Self::GreKey => f.write_str(
                "conntrack compares no keys of GRE: it would have taken every GRE entry that the rest of the line \
                 lets through; `conntidy delete --gre-key KEY` takes those with a key",
            ),
            Self::Protocols => f.write_str(
                "the line names two protocols: conntrack would have gone by the last, and passed over options \
                 between or behind them; name one, or use `conntidy delete -p tcp,udp`",
            ),
        }
    }
}

/// Adds the traps that show only in the whole of a line; `stray` are its words without an option.
pub(super) fn find(line: &mut Line, stray: &[&str]) {
    let verb = line.verb();
    let narrows = matches!(verb, Verb::Delete | Verb::Flush);
    let changes = narrows || verb == Verb::Update;
    // A translation that is made, and none that is looked for, may be one of IPv6.
    if line.family == Some(Family::Ipv6) && changes {
        let ends = [line.src_nat, line.dst_nat, line.any_nat];
        if let Some(address) = ends.iter().flatten().find_map(|end| end.address) {
            line.traps.push(Trap::Nat6(address.to_string()));
        }
    }
    let bits = line.status;
    let unset = bits.unset != Status::empty();
    let nothing = bits.none && bits.set == Status::empty();
    // A whole tuple, as `-E -o save` writes one, names its entry without the status.
    if (changes && unset) || (narrows && nothing && !line.names_a_tuple()) {
        let mut value = String::new();
        if bits.unset.contains(Status::SEEN_REPLY) {
            value.push_str("UNREPLIED");
        } else if unset {
            value.push_str("!...");
        } else {
            value.push_str("UNSET");
        }
        line.traps.push(Trap::UnsetStatus {
            value,
            update: verb == Verb::Update,
        });
    }
    if let Some(seconds) = line.timeout.filter(|_| verb == Verb::Delete)
        && line.states.is_empty()
    {
        line.traps.push(Trap::Timeout {
            value: seconds.to_string(),
            narrowed: line.is_narrowed(),
        });
    }
    if verb == Verb::Update && line.timeout == Some(0) && !line.names_a_tuple() {
        line.traps.push(Trap::NoTime);
    }
    if verb == Verb::Flush && line.table == Table::Conntrack && line.given.contains(Given::FAMILY) {
        let family = line.family.map_or("ipv4", Family::name);
        line.traps.push(Trap::FlushFamily(family.to_owned()));
    }
    if changes
        && line.protocol == Some(Protocol::GRE)
        && line
            .given
            .intersects(Given::SPORT | Given::DPORT | Given::REPLY_SPORT | Given::REPLY_DPORT)
        && !line.names_a_tuple()
    {
        line.traps.push(Trap::GreKey);
    }
    if changes && let Some(word) = stray.iter().find(|word| is_value(word)) {
        line.traps.push(Trap::StrayValue((*word).to_owned()));
    }
    // Two protocols harm only where entries go or change.
    if !changes {
        line.traps.retain(|trap| *trap != Trap::Protocols);
    }
}
