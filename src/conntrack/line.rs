//! What a command line of the tool asks for.

use std::net::IpAddr;

use super::legal;
use super::options::{Given, Verb, name};
use super::states::States;
use super::trap::Trap;
use crate::flow::{Family, Protocol, Status};

/// Why a line is refused before anything is done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UsageError {
    message: String,
    /// The exit code: 2, or 1 for the few values where the tool has it so.
    pub code: u8,
}

impl UsageError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 2,
        }
    }

    pub(super) fn unknown_option(option: &str) -> Self {
        Self::new(format!("unknown option `{option}'"))
    }

    pub(super) fn missing_value(option: &str) -> Self {
        Self::new(format!("option `{option}' requires an argument"))
    }

    /// One of the few that end with 1.
    pub(super) fn failing(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 1,
        }
    }

    pub(super) fn unexpected(value: &str, option: Given) -> Self {
        Self::failing(format!(
            "unexpected value '{value}' with --{} option",
            name(option)
        ))
    }
}

/// Which table a command is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Table {
    /// Connection tracking.
    #[default]
    Conntrack,
    /// Expectations.
    Expect,
    /// Entries that are going, until their end has been told.
    Dying,
    /// Entries that are not in the table yet.
    Unconfirmed,
}

/// An address with the bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address; IPv4 in the first four bytes.
    pub address: [u8; 16],
    /// The bits that count; all of them unless a prefix or mask was given.
    pub mask: [u8; 16],
}

/// The end that a translation leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatEnd {
    /// Its address, where one was given.
    pub address: Option<IpAddr>,
    /// Its port, where one was given.
    pub port: Option<u16>,
}

/// Status bits asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusBits {
    /// Bits that are to be set.
    pub set: Status,
    /// Bits that are not (`UNREPLIED`, `!X`).
    pub unset: Status,
    /// `UNSET` was named.
    pub none: bool,
}

bitflags::bitflags! {
    /// Formats of `-o`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Output: u8 {
        /// `xml`
        const XML = 1 << 0;
        /// `extended`
        const EXTENDED = 1 << 1;
        /// `timestamp`
        const TIMESTAMP = 1 << 2;
        /// `id`
        const ID = 1 << 3;
        /// `ktimestamp`
        const KTIMESTAMP = 1 << 4;
        /// `labels`
        const LABELS = 1 << 5;
        /// `save`
        const SAVE = 1 << 6;
        /// `userspace`
        const USERSPACE = 1 << 7;
    }

    /// Events of `-e`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Events: u8 {
        /// `NEW`
        const NEW = 1;
        /// `UPDATES`
        const UPDATE = 2;
        /// `DESTROY`
        const DESTROY = 4;
    }
}

/// What a line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The command; nothing at all asks for help.
    pub verb: Option<Verb>,
    /// The table.
    pub table: Table,
    /// Which options were given.
    pub given: Given,
    /// The family of `-f` or of any address.
    pub family: Option<Family>,
    /// `-s`
    pub src: Option<Network>,
    /// `-d`
    pub dst: Option<Network>,
    /// `-r`
    pub reply_src: Option<[u8; 16]>,
    /// `-q`
    pub reply_dst: Option<[u8; 16]>,
    /// `--tuple-src`
    pub tuple_src: Option<[u8; 16]>,
    /// `--tuple-dst`
    pub tuple_dst: Option<[u8; 16]>,
    /// `--mask-src` by itself
    pub mask_src: Option<[u8; 16]>,
    /// `--mask-dst` by itself
    pub mask_dst: Option<[u8; 16]>,
    /// `-p`
    pub protocol: Option<Protocol>,
    /// Ports and keys.
    pub ports: Ports,
    /// ICMP's type, code and id.
    pub icmp: (Option<u8>, Option<u8>, Option<u16>),
    /// `--state`
    pub states: States,
    /// SCTP's verification tags as numbers in network order.
    pub vtags: (Option<u32>, Option<u32>),
    /// DCCP's role: 0 client, 1 server.
    pub role: Option<u8>,
    /// `-t`
    pub timeout: Option<u32>,
    /// `-u`
    pub status: StatusBits,
    /// `-m`: value and mask.
    pub mark: Option<(u32, u32)>,
    /// `-i`
    pub id: Option<u32>,
    /// `-w`
    pub zone: Option<u16>,
    /// `--orig-zone`
    pub orig_zone: Option<u16>,
    /// `--reply-zone`
    pub reply_zone: Option<u16>,
    /// `-n`
    pub src_nat: Option<NatEnd>,
    /// `-g`
    pub dst_nat: Option<NatEnd>,
    /// `-j`, or the word `nat` behind `-n`
    pub any_nat: Option<NatEnd>,
    /// `-l`
    pub labels: Vec<String>,
    /// `--label-add`
    pub label_add: Vec<String>,
    /// `--label-del`; empty with the option given: all.
    pub label_del: Vec<String>,
    /// `--labelmap`
    pub labelmap: Option<String>,
    /// `-e`
    pub events: Option<Events>,
    /// `-b`
    pub buffer_size: Option<usize>,
    /// `-o`
    pub output: Output,
    /// `--like-conntrack`
    pub like_conntrack: bool,
    /// What is treacherous about it.
    pub traps: Vec<Trap>,
    /// What is worth a warning on stderr.
    pub warnings: Vec<String>,
}

/// Ports, or keys of GRE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Original source.
    pub sport: Option<u16>,
    /// Original destination.
    pub dport: Option<u16>,
    /// Reply source.
    pub reply_sport: Option<u16>,
    /// Reply destination.
    pub reply_dport: Option<u16>,
    /// Mask of an expectation's source.
    pub mask_sport: Option<u16>,
    /// Mask of an expectation's destination.
    pub mask_dport: Option<u16>,
    /// Source of an expected flow.
    pub tuple_sport: Option<u16>,
    /// Destination of an expected flow.
    pub tuple_dport: Option<u16>,
}

impl Line {
    /// The command; none was given where nothing was asked for.
    #[must_use]
    pub fn verb(&self) -> Verb {
        self.verb.unwrap_or(Verb::Help)
    }

    /// Whether anything but a timeout narrows the line.
    #[must_use]
    pub fn is_narrowed(&self) -> bool {
        self.given.intersects(legal::COMPARED)
    }

    /// Both original addresses and the protocol: no more than a few entries can be meant.
    pub(super) fn names_a_tuple(&self) -> bool {
        let both = Given::SRC | Given::DST | Given::PROTOCOL;
        self.given.contains(both) && !self.given.intersects(Given::MASK_SRC | Given::MASK_DST)
    }
}
