//! The host's own addresses in the calling thread's network namespace.

use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_sys::constants::NETLINK_ROUTE;

use super::socket::{Socket, SocketError};

/// Every address of every interface (`RTM_GETADDR`), sorted, each once. Needs no privilege.
///
/// # Errors
/// Where rtnetlink does not answer.
pub fn own() -> Result<Vec<IpAddr>, SocketError> {
    let mut socket = Socket::open(NETLINK_ROUTE)?;
    let sequence = socket.take_sequence(1);
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = sequence;
    let payload = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(payload));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);

    let mut addresses = Vec::new();
    socket.ask(
        &bytes,
        sequence,
        true,
        "list this host's addresses",
        |message| {
            if let Ok(NetlinkMessage {
                payload: NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)),
                ..
            }) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(message.bytes)
            {
                addresses.extend(address_of(&address));
            }
        },
    )?;
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// On a point-to-point link `IFA_ADDRESS` is the other end and `IFA_LOCAL` this one; IPv6 has
/// `IFA_LOCAL` only there.
fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let mut plain = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => return Some(*address),
            AddressAttribute::Address(address) => plain = Some(*address),
            _ => {}
        }
    }
    plain
}
