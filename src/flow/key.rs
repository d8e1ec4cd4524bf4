//! What identifies an entry: two live entries may differ in their zone direction alone.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::{Family, Protocol, Tuple};

/// Family, zone of the original direction, protocol and original tuple.
///
/// The order is that of snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// Address family.
    pub family: Family,
    /// Zone of the original direction.
    pub zone: u16,
    /// IP protocol.
    pub protocol: Protocol,
    /// Original tuple.
    pub orig: Tuple,
}

/// A [`FlowKey`] as numbers that compare as it does, at a part of the cost: family, zone, protocol,
/// source, destination and ports, one behind the other.
pub type KeyOrder = [u64; 5];

impl FlowKey {
    /// The same order in numbers.
    #[must_use]
    pub fn order(&self) -> KeyOrder {
        let mut bytes = [0; 40];
        bytes[0] = self.family as u8;
        bytes[1..3].copy_from_slice(&self.zone.to_be_bytes());
        bytes[3] = self.protocol.0;
        bytes[4..20].copy_from_slice(&self.orig.src);
        bytes[20..36].copy_from_slice(&self.orig.dst);
        bytes[36..38].copy_from_slice(&self.orig.src_port.to_be_bytes());
        bytes[38..].copy_from_slice(&self.orig.dst_port.to_be_bytes());
        let (words, _) = bytes.as_chunks();
        std::array::from_fn(|at| u64::from_be_bytes(words[at]))
    }
}

/// `tcp 10.0.0.5:40112 10.0.9.5:5432`, with the zone behind it where it is not 0.
impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let src = self.orig.src_ip(self.family);
        let dst = self.orig.dst_ip(self.family);
        write!(f, "{} ", self.protocol)?;
        if self.protocol.has_ports() {
            write!(
                f,
                "{} {}",
                SocketAddr::new(src, self.orig.src_port),
                SocketAddr::new(dst, self.orig.dst_port)
            )?;
        } else {
            write!(f, "{src} {dst}")?;
        }
        match self.protocol {
            Protocol::ICMP | Protocol::ICMPV6 => write!(
                f,
                " type {} code {} id {}",
                self.orig.icmp_type(),
                self.orig.icmp_code(),
                self.orig.src_port
            )?,
            Protocol::GRE => write!(f, " keys {} {}", self.orig.src_port, self.orig.dst_port)?,
            _ => {}
        }
        if self.zone != 0 {
            write!(f, " zone {}", self.zone)?;
        }
        Ok(())
    }
}

/// Why a text names no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{problem}; an entry is written like `tcp 10.0.0.5:40112 10.0.9.5:5432`, `icmp 10.0.0.5 10.0.9.5 type 8 code 0 id 77`, `gre 10.0.0.5 10.0.9.5 keys 1 2`, each with ` zone 3` behind it where its zone is not 0, or as `conntrack -L` shows it"
)]
pub struct FlowKeyError {
    problem: String,
}

impl FlowKeyError {
    fn new(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
        }
    }
}

/// Reads what is displayed, and lines of `conntrack -L`.
impl FromStr for FlowKey {
    type Err = FlowKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains("src=") {
            return from_conntrack(text);
        }
        let mut words = text.split_whitespace().filter(|word| *word != "->");
        let mut next = |what: &str| {
            words
                .next()
                .ok_or_else(|| FlowKeyError::new(format!("{what} is missing")))
        };
        let name = next("the protocol")?;
        let protocol = Protocol::from_name(name)
            .ok_or_else(|| FlowKeyError::new(format!("`{name}` is no protocol")))?;
        let (src, src_port) = end(next("the source")?, protocol)?;
        let (dst, dst_port) = end(next("the destination")?, protocol)?;
        let family = match (src, dst) {
            (IpAddr::V4(_), IpAddr::V4(_)) => Family::Ipv4,
            (IpAddr::V6(_), IpAddr::V6(_)) => Family::Ipv6,
            _ => return Err(FlowKeyError::new("the addresses are of two families")),
        };
        let mut key = Self {
            family,
            zone: 0,
            protocol,
            orig: Tuple::new(src, dst, src_port, dst_port),
        };
        let icmp = matches!(protocol, Protocol::ICMP | Protocol::ICMPV6);
        let mut type_and_code = [0; 2];
        let mut has_type = false;
        while let Some(word) = words.next() {
            let mut number = || {
                let text = words.next().unwrap_or_default();
                text.parse::<u16>().map_err(|_| {
                    FlowKeyError::new(format!("`{text}` behind `{word}` is no number"))
                })
            };
            let byte = |number: u16| {
                u8::try_from(number)
                    .map_err(|_| FlowKeyError::new(format!("`{word}` is above 255")))
            };
            match word {
                "zone" => key.zone = number()?,
                "type" if icmp => {
                    type_and_code[0] = byte(number()?)?;
                    has_type = true;
                }
                "code" if icmp => type_and_code[1] = byte(number()?)?,
                "id" if icmp => key.orig.src_port = number()?,
                "keys" if protocol == Protocol::GRE => {
                    key.orig.src_port = number()?;
                    key.orig.dst_port = number()?;
                }
                state if super::protocol::state_number(protocol, state).is_some() => {}
                other => {
                    return Err(FlowKeyError::new(format!(
                        "`{other}` says nothing of {protocol}"
                    )));
                }
            }
        }
        if icmp {
            // 0 is a type of its own.
            if !has_type {
                return Err(FlowKeyError::new("the type is missing"));
            }
            key.orig.dst_port = u16::from_be_bytes(type_and_code);
        }
        Ok(key)
    }
}

/// Reads the original direction of a line that `conntrack -L` or `conntidy list` prints. The entry's
/// own id at its end, which both call `id` as ICMP's, is passed over.
fn from_conntrack(line: &str) -> Result<FlowKey, FlowKeyError> {
    let protocol = line
        .split_whitespace()
        .take_while(|word| !word.contains('='))
        // `-o extended` has the family in front.
        .filter(|word| !word.starts_with("ipv"))
        .find_map(Protocol::from_name_alone)
        .ok_or_else(|| FlowKeyError::new("the protocol is missing"))?;
    let value = |name: &str| {
        line.split_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    let need = |name| value(name).ok_or_else(|| FlowKeyError::new(format!("{name}= is missing")));
    let end = |address, port| -> Result<String, FlowKeyError> {
        let address = need(address)?;
        Ok(if !protocol.has_ports() {
            address.to_owned()
        } else if address.contains(':') {
            format!("[{address}]:{}", need(port)?)
        } else {
            format!("{address}:{}", need(port)?)
        })
    };
    let mut words = vec![
        protocol.to_string(),
        end("src", "sport")?,
        end("dst", "dport")?,
    ];
    if matches!(protocol, Protocol::ICMP | Protocol::ICMPV6) {
        for name in ["type", "code", "id"] {
            if let Some(number) = value(name) {
                words.extend([name.to_owned(), number.to_owned()]);
            }
        }
    }
    if let (Some(src), Some(dst)) = (value("srckey"), value("dstkey")) {
        let key = |text: &str| {
            u16::from_str_radix(text.trim_start_matches("0x"), 16)
                .map_err(|_| FlowKeyError::new(format!("`{text}` is no key")))
        };
        words.push(format!("keys {} {}", key(src)?, key(dst)?));
    }
    if let Some(zone) = value("zone").or_else(|| value("zone-orig")) {
        words.push(format!("zone {zone}"));
    }
    words.join(" ").parse()
}

fn end(text: &str, protocol: Protocol) -> Result<(IpAddr, u16), FlowKeyError> {
    let wrong = |what| FlowKeyError::new(format!("`{text}` is no {what}"));
    if protocol.has_ports() {
        let end: SocketAddr = text.parse().map_err(|_| wrong("address with a port"))?;
        Ok((end.ip(), end.port()))
    } else {
        Ok((text.parse().map_err(|_| wrong("address"))?, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_displayed_is_read_back() {
        for text in [
            "tcp 10.0.0.5:40112 10.0.9.5:5432",
            "udp [fd00::1]:53 [fd00::2]:40000 zone 7",
            "icmp 10.0.0.5 10.0.9.5 type 8 code 0 id 77",
            "gre 10.0.0.5 10.0.9.5 keys 1 2 zone 3",
            "esp 10.0.0.5 10.0.9.5",
        ] {
            let key: FlowKey = text.parse().unwrap();
            assert_eq!(key.to_string(), text);
        }
        let with_arrow: FlowKey = "tcp 10.0.0.5:1 -> 10.0.9.5:2".parse().unwrap();
        assert_eq!(with_arrow.to_string(), "tcp 10.0.0.5:1 10.0.9.5:2");
    }

    #[test]
    fn numbers_have_the_order_of_the_keys() {
        let mut keys: Vec<FlowKey> = [
            "udp [fd00::1]:53 [fd00::2]:40000 zone 7",
            "udp [fd00::1]:53 [fd00::2]:40000",
            "tcp 10.0.0.5:40112 10.0.9.5:5432",
            "tcp 10.0.0.5:40112 10.0.9.5:5431",
            "tcp 9.255.0.5:60000 10.0.9.6:1",
            "udp 1.2.3.4:1 5.6.7.8:2",
            "tcp 255.0.0.1:1 10.0.9.6:1",
            "icmp 10.0.0.5 10.0.9.5 type 8 code 0 id 77",
            "gre 10.0.0.5 10.0.9.5 keys 1 2 zone 300",
        ]
        .map(|text| text.parse().unwrap())
        .to_vec();
        let mut by_number = keys.clone();
        keys.sort_unstable();
        by_number.sort_unstable_by_key(FlowKey::order);
        assert_eq!(keys, by_number);
    }

    #[test]
    fn what_a_plan_shows_behind_an_entry_is_passed_over() {
        let shown: FlowKey = "tcp 10.0.0.5:1 10.0.9.5:2 ESTABLISHED".parse().unwrap();
        assert_eq!(shown.to_string(), "tcp 10.0.0.5:1 10.0.9.5:2");
    }

    #[test]
    fn lines_of_conntrack_are_read_by_their_original_direction() {
        for (line, key) in [
            (
                "tcp      6 431999 ESTABLISHED src=10.0.0.5 dst=10.0.9.5 sport=40112 dport=5432 \
                 src=10.0.9.5 dst=10.0.0.5 sport=5432 dport=40112 [ASSURED] mark=0 use=1",
                "tcp 10.0.0.5:40112 10.0.9.5:5432",
            ),
            (
                "ipv6     10 udp      17 29 src=fd00::1 dst=fd00::2 sport=53 dport=99 [UNREPLIED] \
                 src=fd00::2 dst=fd00::1 sport=99 dport=53 mark=0 zone=7 use=1",
                "udp [fd00::1]:53 [fd00::2]:99 zone 7",
            ),
            (
                "icmp     1 29 src=10.0.0.5 dst=10.0.9.5 type=8 code=0 id=77 src=10.0.9.5 \
                 dst=10.0.0.5 type=0 code=0 id=77 mark=0 zone-orig=3 use=1",
                "icmp 10.0.0.5 10.0.9.5 type 8 code 0 id 77 zone 3",
            ),
            (
                "gre      47 29 src=10.0.0.5 dst=10.0.9.5 srckey=0x1 dstkey=0x2 src=10.0.9.5 \
                 dst=10.0.0.5 srckey=0x2 dstkey=0x1 mark=0 use=1",
                "gre 10.0.0.5 10.0.9.5 keys 1 2",
            ),
            (
                "ipv4 tcp      6   3599 ESTABLISHED src=10.0.0.5 dst=10.0.9.5 sport=40112 dport=5432 \
                 src=10.0.9.5 dst=10.0.0.5 sport=5432 dport=40112 [ASSURED] mark=0 id=3497965851",
                "tcp 10.0.0.5:40112 10.0.9.5:5432",
            ),
            (
                "ipv4 icmp     1   29 src=10.0.0.5 dst=10.0.9.5 type=8 code=0 id=77 src=10.0.9.5 \
                 dst=10.0.0.5 type=0 code=0 id=77 mark=0 id=3497965851",
                "icmp 10.0.0.5 10.0.9.5 type 8 code 0 id 77",
            ),
        ] {
            assert_eq!(line.parse::<FlowKey>().unwrap().to_string(), key);
        }
    }

    #[test]
    fn what_names_no_entry_says_why() {
        for (text, problem) in [
            ("", "the protocol is missing"),
            (
                "tcp 10.0.0.5 10.0.9.5",
                "`10.0.0.5` is no address with a port",
            ),
            (
                "tcp 10.0.0.5:1 [::1]:2",
                "the addresses are of two families",
            ),
            ("udp 10.0.0.5:1 10.0.0.6:2 id 7", "`id` says nothing of udp"),
        ] {
            let error = text.parse::<FlowKey>().unwrap_err().to_string();
            assert!(error.starts_with(problem), "{text}: {error}");
        }
    }
}
