//! The host's own addresses in the calling thread's network namespace.

use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::constants::NETLINK_ROUTE;

use super::links;
use super::message::Message;
use super::socket::{Socket, SocketError};

const OPERATION: &str = "list this host's addresses";

/// Every address of every interface (`RTM_GETADDR`), sorted, each once; also those that are
/// tentative or deprecated. Needs no privilege.
///
/// # Errors
/// Where rtnetlink does not answer, or says what cannot be read: an address passed over would
/// count as another host's.
pub fn own() -> Result<Vec<IpAddr>, SocketError> {
    Ok(sorted(list()?))
}

/// The addresses of one interface, as [`own`] gives those of all; `None` where there is no such
/// interface.
///
/// # Errors
/// As those of [`own`].
pub fn of_interface(name: &str) -> Result<Option<Vec<IpAddr>>, SocketError> {
    let Some(index) = links::index(name)? else {
        return Ok(None);
    };
    let mut addresses = list()?;
    addresses.retain(|address| address.interface == index);
    Ok(Some(sorted(addresses)))
}

/// An address and the index of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Assigned {
    interface: u32,
    address: IpAddr,
}

fn sorted(addresses: Vec<Assigned>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = addresses.into_iter().map(|a| a.address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn list() -> Result<Vec<Assigned>, SocketError> {
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
    let mut unread = None;
    socket.ask(
        &bytes,
        sequence,
        true,
        OPERATION,
        |message| match address_in(message) {
            Ok(address) => addresses.extend(address),
            Err(error) => unread = Some(error),
        },
    )?;
    if let Some(error) = unread {
        return Err(error);
    }
    Ok(addresses)
}

/// The address that a message tells of; `None` for those of other families than IP.
fn address_in(message: &Message<'_>) -> Result<Option<Assigned>, SocketError> {
    let family = message.payload().first().copied().map(AddressFamily::from);
    if !matches!(family, Some(AddressFamily::Inet | AddressFamily::Inet6)) {
        return Ok(None);
    }
    let unread = || SocketError::Undecoded {
        operation: OPERATION,
    };
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(message.bytes);
    match message.map_err(|_| unread())?.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) => {
            let assigned = address_of(&address).map(|own| Assigned {
                interface: address.header.index,
                address: own,
            });
            assigned.ok_or_else(unread).map(Some)
        }
        _ => Err(unread()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::message::messages;

    const IFA_ADDRESS: u8 = 1;
    const IFA_LOCAL: u8 = 2;

    /// What is read in an `RTM_NEWADDR` of this family with these attributes.
    fn read(family: u8, attributes: &[(u8, &[u8])]) -> Result<Option<IpAddr>, ()> {
        let mut bytes = vec![0; 16];
        bytes[4] = 20;
        bytes.extend([family, 24, 0, 0, 1, 0, 0, 0]);
        for (kind, value) in attributes {
            let length = u8::try_from(4 + value.len()).unwrap();
            bytes.extend([length, 0, *kind, 0]);
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes[0] = u8::try_from(bytes.len()).unwrap();
        let message = messages(&bytes).next().unwrap().unwrap();
        let found = address_in(&message).map_err(drop)?;
        Ok(found.map(|found| found.address))
    }

    #[test]
    fn this_ends_address_counts_on_a_point_to_point_link() {
        let both: [(u8, &[u8]); 2] = [(IFA_ADDRESS, &[10, 0, 0, 2]), (IFA_LOCAL, &[10, 0, 0, 1])];
        let own = Some("10.0.0.1".parse().unwrap());
        assert_eq!(read(2, &both), Ok(own));
        assert_eq!(read(2, &both[1..]), Ok(own));
    }

    #[test]
    fn an_address_that_cannot_be_read_is_an_error_and_not_passed_over() {
        assert_eq!(read(2, &[(IFA_LOCAL, &[10, 0, 0])]), Err(()));
        assert_eq!(read(10, &[(IFA_ADDRESS, &[0; 15])]), Err(()));
        assert_eq!(read(10, &[]), Err(()));
    }

    #[test]
    fn an_address_of_another_family_is_no_address_of_this_host() {
        const AF_MCTP: u8 = 45;
        assert_eq!(read(AF_MCTP, &[(IFA_LOCAL, &[8])]), Ok(None));
    }
}
