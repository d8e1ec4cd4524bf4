//! The rails that concern one flow: what leaves it alone although a rule claims it (POLICY 4).

use crate::flow::{Flow, Present, Protocol, Status, protocol::tcp};
use crate::observe::Connection;
use crate::policy::Update;

/// Why a claimed flow is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// In the flowtable.
    Offloaded,
    /// Kept by the protect rule of this index.
    Protected(u16),
    /// A connection of the caller's own session.
    Session,
    /// A flow of this host itself, or own addresses are not known.
    Host,
    /// Timer fixed, none, or set by something else than the sysctl.
    FixedTimeout,
    /// The grace is too short for an assured or established flow.
    Grace,
    /// Assured and not closed.
    Assured,
    /// Half closed, and the rule does not ask for idleness.
    HalfClosed,
    /// Status or id missing.
    Unknown,
}

/// What happens to a claimed flow, if its rule is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is changed.
    Select,
    /// It ends at least as soon anyway.
    Already,
    /// A rail leaves it alone.
    Left(Left),
}

/// What `expire` does with a flow. `short_is_fine` where the grace is long enough for any flow, or
/// the risk of a short one is accepted.
pub(super) fn expire_fate(flow: &Flow, grace: u64, short_is_fine: bool) -> Fate {
    let Some(remaining) = flow.remaining() else {
        return Fate::Left(Left::FixedTimeout);
    };
    if flow.status.contains(Status::FIXED_TIMEOUT) {
        return Fate::Left(Left::FixedTimeout);
    }
    if u64::from(remaining) <= grace {
        return Fate::Already;
    }
    let Some(status) = flow.status() else {
        return Fate::Left(Left::Unknown);
    };
    // Without a state it may be established.
    let established =
        flow.protocol == Protocol::TCP && matches!(flow.state(), None | Some(tcp::ESTABLISHED));
    if !short_is_fine && (established || status.contains(Status::ASSURED)) {
        return Fate::Left(Left::Grace);
    }
    Fate::Select
}

/// What `update` does with a flow.
pub(super) fn update_fate(flow: &Flow, update: Update) -> Fate {
    let Some(status) = flow.status() else {
        return Fate::Left(Left::Unknown);
    };
    // The kernel refuses to set a fixed timer, and without an id nothing tells which entry it is.
    if update.timeout.is_some() && status.contains(Status::FIXED_TIMEOUT) {
        return Fate::Left(Left::FixedTimeout);
    }
    if flow.id().is_none() {
        return Fate::Left(Left::Unknown);
    }
    let is_so = update.timeout.is_none()
        && update.labels.is_none()
        && update
            .mark
            .is_none_or(|(value, mask)| flow.mark & mask == value)
        && status.contains(update.status);
    if is_so { Fate::Already } else { Fate::Select }
}

/// What `delete` does with a flow.
pub(super) fn delete_fate(flow: &Flow, allow_assured: bool, allow_half_closed: bool) -> Fate {
    let (Some(status), Some(_)) = (flow.status(), flow.id()) else {
        return Fate::Left(Left::Unknown);
    };
    if flow.is_closed() {
        return Fate::Select;
    }
    if status.contains(Status::ASSURED) && !allow_assured {
        return Fate::Left(Left::Assured);
    }
    // Without a state it may be any of them.
    let half_closed = flow.protocol == Protocol::TCP
        && matches!(
            flow.state(),
            None | Some(tcp::CLOSE_WAIT | tcp::FIN_WAIT | tcp::LAST_ACK)
        );
    if half_closed && !allow_half_closed {
        return Fate::Left(Left::HalfClosed);
    }
    Fate::Select
}

/// Whether a flow carries a connection of this host, whoever called whom, before or past any NAT.
pub(super) fn belongs_to(flow: &Flow, connection: &Connection) -> bool {
    if flow.protocol.0 != connection.protocol {
        return false;
    }
    let local = (connection.local, connection.local_port);
    let peer = (connection.peer, connection.peer_port);
    let reply = flow.present.contains(Present::REPLY).then_some(flow.reply);
    [Some(flow.orig), reply].into_iter().flatten().any(|tuple| {
        let src = (tuple.src_ip(flow.family), tuple.src_port);
        let dst = (tuple.dst_ip(flow.family), tuple.dst_port);
        (src, dst) == (local, peer) || (src, dst) == (peer, local)
    })
}
