//! Counters that ctnetlink answers: `IPCTNL_MSG_CT_GET_STATS` and `_GET_STATS_CPU`.

use super::attribute::{Attributes, stats, stats_cpu, stats_expect};
use super::message::{Message, NFGENMSG};
use super::request;
use super::socket::{Socket, SocketError};
use crate::observe::CpuStatistics;

/// Entries and limit of one network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStatistics {
    /// Entries of this namespace.
    pub entries: u64,
    /// `nf_conntrack_max`; 0 is no limit. Kernels before 5.10 do not send it.
    pub max: Option<u64>,
}

/// Asks for the number of entries. It also proves, as only a request can, that the caller may use
/// ctnetlink in this namespace.
pub(crate) fn table(socket: &mut Socket) -> Result<TableStatistics, SocketError> {
    let sequence = socket.take_sequence(1);
    let request = request::stats(sequence);
    let mut answer = TableStatistics::default();
    socket.ask(
        &request,
        sequence,
        false,
        "count the entries over ctnetlink",
        |message| {
            for (number, value) in values(message) {
                match number {
                    stats::ENTRIES => answer.entries = value.into(),
                    stats::MAX_ENTRIES => answer.max = Some(value.into()),
                    _ => {}
                }
            }
        },
    )?;
    Ok(answer)
}

/// Asks for the counters of each processor, in the order of their numbers.
pub(crate) fn cpu(socket: &mut Socket) -> Result<Vec<CpuStatistics>, SocketError> {
    let sequence = socket.take_sequence(1);
    let request = request::stats_cpu(sequence);
    let mut all = Vec::new();
    socket.ask(
        &request,
        sequence,
        true,
        "read the counters of each processor over ctnetlink",
        |message| all.push(decode_cpu(message)),
    )?;
    all.sort_unstable_by_key(|one| one.cpu);
    Ok(all)
}

/// What the kernel counted of expectations in one network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpectationStatistics {
    /// Expectations that are there.
    pub entries: u32,
    /// Made since the namespace began; starts anew at 2^32.
    pub created: u32,
}

/// Asks for the number of expectations.
pub(crate) fn expectations(socket: &mut Socket) -> Result<ExpectationStatistics, SocketError> {
    let sequence = socket.take_sequence(1);
    let (mut created, mut deleted) = (0_u32, 0_u32);
    socket.ask(
        &request::stats_expect(sequence),
        sequence,
        true,
        "count the expectations over ctnetlink",
        |message| {
            for (number, value) in values(message) {
                match number {
                    stats_expect::CREATE => created = created.wrapping_add(value),
                    stats_expect::DELETE => deleted = deleted.wrapping_add(value),
                    _ => {}
                }
            }
        },
    )?;
    Ok(ExpectationStatistics {
        entries: created.wrapping_sub(deleted),
        created,
    })
}

fn decode_cpu(message: &Message<'_>) -> CpuStatistics {
    let mut one = CpuStatistics::default();
    // The processor's number travels in nfgenmsg's res_id.
    if let Some(&[_, _, high, low]) = message.payload().first_chunk::<NFGENMSG>() {
        one.cpu = u16::from_be_bytes([high, low]);
    }
    for (number, value) in values(message) {
        let field = match number {
            stats_cpu::FOUND => &mut one.found,
            stats_cpu::INVALID => &mut one.invalid,
            stats_cpu::INSERT => &mut one.insert,
            stats_cpu::INSERT_FAILED => &mut one.insert_failed,
            stats_cpu::DROP => &mut one.drop,
            stats_cpu::EARLY_DROP => &mut one.early_drop,
            stats_cpu::ERROR => &mut one.error,
            stats_cpu::SEARCH_RESTART => &mut one.search_restart,
            stats_cpu::CLASH_RESOLVE => &mut one.clash_resolve,
            stats_cpu::CHAIN_TOOLONG => &mut one.chain_toolong,
            _ => continue,
        };
        *field = value;
    }
    one
}

fn values<'a>(message: &Message<'a>) -> impl Iterator<Item = (u16, u32)> + use<'a> {
    Attributes::new(message.payload().get(NFGENMSG..).unwrap_or(&[]))
        .filter_map(Result::ok)
        .filter_map(|(number, payload)| Some((number, u32::from_be_bytes(*payload.first_chunk()?))))
}
