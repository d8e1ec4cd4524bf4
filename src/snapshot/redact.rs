//! Addresses that say less: cut to prefixes, or replaced by pseudonyms.
//!
//! A pseudonym is the start of the HMAC-SHA256 of an address under a key, so that the same address
//! is the same pseudonym in every snapshot of that key, and nobody without the key can tell which
//! address it was, or try them all. Its family is kept. Loopback and unspecified addresses stay:
//! they are nobody's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hmac::{Hmac, Mac};
use ipnet::IpNet;
use sha2::Sha256;

use crate::flow::{Family, Flow};
use crate::observe::{Connection, Header, Redaction};

/// Where IPv4 addresses are cut.
pub const PREFIX4: u8 = 24;
/// Where IPv6 addresses are cut: what one customer is usually given.
pub const PREFIX6: u8 = 48;

/// The shortest key of pseudonyms, bytes.
pub const SHORTEST_KEY: usize = 16;

/// Pseudonyms that are remembered; each has one place in the table.
const REMEMBERED: usize = 1 << 15;

/// The key has too few bytes to keep anybody from guessing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key of {0} bytes is too short: it takes at least {SHORTEST_KEY}")]
pub struct ShortKey(pub usize);

/// Makes addresses say less.
#[derive(Clone, Debug)]
pub struct Redactor(How);

#[derive(Clone, Debug)]
enum How {
    Prefix,
    Pseudonym(Box<Pseudonyms>),
}

/// An address and its pseudonym.
type Known = (Family, [u8; 16], [u8; 16]);

#[derive(Clone)]
struct Pseudonyms {
    keyed: Hmac<Sha256>,
    fingerprint: String,
    /// Most addresses of a table come again and again.
    known: Vec<Option<Known>>,
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pseudonyms")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl Redactor {
    /// Cuts addresses to [`PREFIX4`] and [`PREFIX6`].
    #[must_use]
    pub fn prefix() -> Self {
        Self(How::Prefix)
    }

    /// Replaces addresses by pseudonyms under this key.
    ///
    /// # Errors
    /// Where the key is too short.
    ///
    /// # Panics
    /// Never; HMAC takes keys of any length.
    pub fn pseudonym(key: &[u8]) -> Result<Self, ShortKey> {
        if key.len() < SHORTEST_KEY {
            return Err(ShortKey(key.len()));
        }
        let keyed = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        let mut of_key = keyed.clone();
        // No address is hashed like this: those start with a family.
        of_key.update(b"conntidy key");
        let digest = of_key.finalize().into_bytes();
        let fingerprint = digest[..8].iter().fold(String::new(), |mut text, byte| {
            use std::fmt::Write;
            write!(text, "{byte:02x}").expect("a string takes every write");
            text
        });
        Ok(Self(How::Pseudonym(Box::new(Pseudonyms {
            keyed,
            fingerprint,
            known: vec![None; REMEMBERED],
        }))))
    }

    /// What the header says of it.
    #[must_use]
    pub fn redaction(&self) -> Redaction {
        match &self.0 {
            How::Prefix => Redaction::Prefix {
                ipv4: PREFIX4,
                ipv6: PREFIX6,
            },
            How::Pseudonym(pseudonyms) => Redaction::Pseudonym {
                key: pseudonyms.fingerprint.clone(),
            },
        }
    }

    /// Redacts all addresses of a flow. Allocates nothing.
    pub fn flow(&mut self, flow: &mut Flow) {
        for tuple in [&mut flow.orig, &mut flow.reply] {
            tuple.src = self.octets(flow.family, tuple.src);
            tuple.dst = self.octets(flow.family, tuple.dst);
        }
    }

    /// Redacts an address.
    pub fn address(&mut self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(v4) => {
                let mut octets = [0; 16];
                octets[..4].copy_from_slice(&v4.octets());
                let [a, b, c, d, ..] = self.octets(Family::Ipv4, octets);
                Ipv4Addr::new(a, b, c, d).into()
            }
            IpAddr::V6(v6) => Ipv6Addr::from(self.octets(Family::Ipv6, v6.octets())).into(),
        }
    }

    /// Redacts everything in a header that is, or names, an address, and has it say so.
    ///
    /// Own addresses that are cut to prefixes would make neighbours look like this host: they are
    /// left out. So are sets with prefixes, of which no pseudonym could tell what lies in them.
    pub fn header(&mut self, header: &mut Header) {
        header.redaction = Some(self.redaction());
        let session = std::mem::take(&mut header.session);
        header.session = session
            .into_iter()
            .map(|end| self.connection(end))
            .collect();
        match self.0 {
            How::Prefix => {
                header.addresses = None;
                header.history.addresses.clear();
                for members in header.sets.values_mut() {
                    for member in &mut *members {
                        *member = cut(*member);
                    }
                    members.sort_unstable();
                    members.dedup();
                }
            }
            How::Pseudonym(_) => {
                if let Some(addresses) = &mut header.addresses {
                    for address in addresses {
                        *address = self.address(*address);
                    }
                }
                let before = std::mem::take(&mut header.history.addresses);
                header.history.addresses = before
                    .into_iter()
                    .map(|(address, seen)| (self.address(address), seen))
                    .collect();
                header.sets.retain(|_, members| {
                    let single = |net: &IpNet| net.prefix_len() == net.max_prefix_len();
                    members.iter().all(single)
                });
                for members in header.sets.values_mut() {
                    for member in members {
                        *member = self.address(member.addr()).into();
                    }
                }
            }
        }
    }

    fn connection(&mut self, end: Connection) -> Connection {
        Connection {
            local: self.address(end.local),
            peer: self.address(end.peer),
            ..end
        }
    }

    pub(super) fn octets(&mut self, family: Family, octets: [u8; 16]) -> [u8; 16] {
        if is_nobodys(family, &octets) {
            return octets;
        }
        match &mut self.0 {
            How::Prefix => network(family, octets),
            How::Pseudonym(pseudonyms) => pseudonyms.of(family, octets),
        }
    }
}

/// The first address of the network of [`PREFIX4`] or [`PREFIX6`].
pub(super) fn network(family: Family, octets: [u8; 16]) -> [u8; 16] {
    let length = match family {
        Family::Ipv4 => PREFIX4,
        Family::Ipv6 => PREFIX6,
    };
    let mask = u128::MAX << (128 - u32::from(length));
    (u128::from_be_bytes(octets) & mask).to_be_bytes()
}

/// The network in which a longer prefix lies.
fn cut(net: IpNet) -> IpNet {
    let longest = match net {
        IpNet::V4(_) => PREFIX4,
        IpNet::V6(_) => PREFIX6,
    };
    IpNet::new(net.addr(), net.prefix_len().min(longest)).map_or(net, |cut| cut.trunc())
}

/// Loopback and unspecified addresses.
fn is_nobodys(family: Family, octets: &[u8; 16]) -> bool {
    match family {
        Family::Ipv4 => octets[0] == 127 || octets[..4] == [0; 4],
        Family::Ipv6 => u128::from_be_bytes(*octets) <= 1,
    }
}

impl Pseudonyms {
    fn of(&mut self, family: Family, octets: [u8; 16]) -> [u8; 16] {
        let place = place(&octets);
        if let Some((known_family, known, pseudonym)) = self.known[place]
            && (known_family, known) == (family, octets)
        {
            return pseudonym;
        }
        let pseudonym = self.make(family, &octets);
        self.known[place] = Some((family, octets, pseudonym));
        pseudonym
    }

    /// A unicast address of the same family: of IPv6 a unique local one, of IPv4 any that is
    /// neither loopback nor multicast.
    fn make(&self, family: Family, octets: &[u8; 16]) -> [u8; 16] {
        for attempt in 0_u8..=u8::MAX {
            let mut mac = self.keyed.clone();
            mac.update(&[family as u8, attempt]);
            mac.update(octets);
            let digest = mac.finalize().into_bytes();
            let mut pseudonym = [0; 16];
            match family {
                Family::Ipv4 => {
                    if matches!(digest[0], 0 | 127 | 224..) {
                        continue;
                    }
                    pseudonym[..4].copy_from_slice(&digest[..4]);
                }
                Family::Ipv6 => {
                    pseudonym.copy_from_slice(&digest[..16]);
                    pseudonym[0] = 0xFD;
                }
            }
            return pseudonym;
        }
        // One try in eight fails: this is reached once in 10^230.
        [0; 16]
    }
}

/// Where a pseudonym is remembered; a collision costs a calculation.
fn place(octets: &[u8; 16]) -> usize {
    let half = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte))
    };
    let folded = half(&octets[..8]) ^ half(&octets[8..]);
    let mixed = folded.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    usize::try_from(mixed >> 49).expect("15 bits") % REMEMBERED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Protocol, Tuple};

    const KEY: &[u8] = b"0123456789abcdef";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_same_address_is_the_same_pseudonym_under_one_key_alone() {
        let mut one = Redactor::pseudonym(KEY).unwrap();
        let mut same = Redactor::pseudonym(KEY).unwrap();
        let mut other = Redactor::pseudonym(b"fedcba9876543210").unwrap();
        for address in ["10.0.0.1", "203.0.113.9", "2001:db8::1"].map(ip) {
            let pseudonym = one.address(address);
            assert_ne!(pseudonym, address);
            assert_eq!(pseudonym.is_ipv4(), address.is_ipv4());
            assert_eq!(one.address(address), pseudonym, "remembered");
            assert_eq!(same.address(address), pseudonym);
            assert_ne!(other.address(address), pseudonym);
        }
        assert_eq!(one.redaction(), same.redaction());
        assert_ne!(one.redaction(), other.redaction());
    }

    /// Computed with Python's `hmac`: the format is a promise.
    #[test]
    fn a_pseudonym_is_what_the_documentation_says() {
        let mut redactor = Redactor::pseudonym(KEY).unwrap();
        assert_eq!(redactor.address(ip("10.0.0.1")), ip("35.165.80.109"));
        assert_eq!(
            redactor.address(ip("2001:db8::1")),
            ip("fdbe:afce:f6e2:f6fe:8b13:c2d3:364e:ef62")
        );
    }

    #[test]
    fn pseudonyms_are_unicast_and_loopback_stays() {
        let mut redactor = Redactor::pseudonym(KEY).unwrap();
        for number in 0..20_000_u32 {
            let IpAddr::V4(pseudonym) =
                redactor.address(Ipv4Addr::from(0x0A00_0000 + number).into())
            else {
                panic!("another family");
            };
            assert!(!pseudonym.is_loopback() && !pseudonym.is_multicast());
        }
        for address in ["127.0.0.1", "127.8.8.8", "0.0.0.0", "::1", "::"].map(ip) {
            assert_eq!(redactor.address(address), address);
            assert_eq!(Redactor::prefix().address(address), address);
        }
    }

    #[test]
    fn prefixes_keep_the_network_alone() {
        let mut redactor = Redactor::prefix();
        assert_eq!(redactor.address(ip("203.0.113.9")), ip("203.0.113.0"));
        let long = ip("2001:db8:1:2:3:4:5:6");
        assert_eq!(redactor.address(long), ip("2001:db8:1::"));
        let tuple = Tuple::new(ip("10.1.2.3"), ip("192.0.2.77"), 1, 2);
        let mut flow = Flow::new(Family::Ipv4, Protocol::TCP, tuple);
        redactor.flow(&mut flow);
        assert_eq!(flow.orig.src_ip(Family::Ipv4), ip("10.1.2.0"));
        assert_eq!(flow.reply.src_ip(Family::Ipv4), ip("192.0.2.0"));
        assert_eq!(flow.orig.src_port, 1);
    }

    #[test]
    fn no_address_is_left_in_a_header() {
        let secret = "198.51.100.7";
        let mut header = Header {
            addresses: Some(vec![ip(secret)]),
            session: vec![Connection {
                protocol: 6,
                local: ip(secret),
                local_port: 22,
                peer: ip(secret),
                peer_port: 5,
            }],
            ..Header::default()
        };
        header.history.addresses.insert(
            ip(secret),
            crate::history::AddressSeen {
                seen_ns: 1,
                missing_ns: None,
            },
        );
        let nets = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect();
        header
            .sets
            .insert("hosts".to_owned(), nets(&["198.51.100.7/32"]));
        header
            .sets
            .insert("nets".to_owned(), nets(&["198.51.100.0/28", "10.0.0.0/8"]));
        for mut redactor in [Redactor::prefix(), Redactor::pseudonym(KEY).unwrap()] {
            let mut header = header.clone();
            redactor.header(&mut header);
            let text = serde_json::to_string(&header).unwrap();
            assert!(!text.contains(secret), "{text}");
            assert!(!text.contains("/28"), "{text}");
            assert_eq!(header.redaction, Some(redactor.redaction()));
            assert_eq!(serde_json::from_str::<Header>(&text).unwrap(), header);
        }
    }

    #[test]
    fn a_short_key_is_refused() {
        assert_eq!(Redactor::pseudonym(b"secret").unwrap_err(), ShortKey(6));
    }
}
