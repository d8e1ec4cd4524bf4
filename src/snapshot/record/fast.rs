//! A line to its flow, as the writer writes it and in no other way.
//!
//! Nearly all lines are of this kind, and reading them so takes a fifth of the time: a diff of two
//! large tables does little else. Whatever is not exactly what the writer writes (another order,
//! spaces, escapes, fields that few flows have, mistakes of any kind) is left to the general
//! reader, which also says what is wrong. What both read is the same; a test holds that.

use crate::flow::protocol::state_names;
use crate::flow::{Counters, Family, Flow, Present, Protocol, Status, Tuple};

/// The flow of a line; `None` where the general reader has to look, and `flow` is worth nothing.
pub(super) fn read(line: &[u8], flow: &mut Flow) -> Option<()> {
    let mut line = Cursor(line);
    let family = if line.eat(b"{\"family\":\"ipv4\"") {
        Family::Ipv4
    } else if line.eat(b"{\"family\":\"ipv6\"") {
        Family::Ipv6
    } else {
        return None;
    };
    let zones = zones(&mut line)?;
    let protocol = protocol(&mut line)?;
    let src = line.field(b",\"src\":\"")?.address(family)?;
    let dst = line.field(b",\"dst\":\"")?.address(family)?;
    let is_icmp = matches!(protocol, Protocol::ICMP | Protocol::ICMPV6);
    let (src_port, dst_port) = if is_icmp {
        let kind = line.field(b",\"icmp_type\":")?.small()?;
        let code = line.field(b",\"icmp_code\":")?.small()?;
        let id = line.field(b",\"icmp_id\":")?.port()?;
        (id, u16::from_be_bytes([kind, code]))
    } else if protocol.has_ports() {
        let source = line.field(b",\"sport\":")?.port()?;
        (source, line.field(b",\"dport\":")?.port()?)
    } else {
        return None;
    };
    let orig = Tuple {
        src,
        dst,
        src_port,
        dst_port,
    };
    *flow = Flow::new(family, protocol, orig);
    (flow.zone_orig, flow.zone_reply) = zones;
    reply(&mut line, flow, is_icmp)?;
    attributes(&mut line, flow)?;
    counters(&mut line, flow)?;
    (line.0 == b"}\n" || line.0 == b"}").then_some(())
}

fn zones(line: &mut Cursor<'_>) -> Option<(u16, u16)> {
    if line.eat(b",\"zone\":") {
        let zone = line.port()?;
        return Some((zone, zone));
    }
    let mut zones = (0, 0);
    if line.eat(b",\"orig_zone\":") {
        zones.0 = line.port()?;
    }
    if line.eat(b",\"reply_zone\":") {
        zones.1 = line.port()?;
    }
    Some(zones)
}

fn protocol(line: &mut Cursor<'_>) -> Option<Protocol> {
    line.field(b",\"protocol\":\"")?;
    if line.eat(b"tcp\"") {
        return Some(Protocol::TCP);
    }
    Some(match line.word()? {
        b"udp" => Protocol::UDP,
        b"icmp" => Protocol::ICMP,
        b"icmpv6" => Protocol::ICMPV6,
        b"sctp" => Protocol::SCTP,
        b"dccp" => Protocol::DCCP,
        b"udplite" => Protocol::UDPLITE,
        _ => return None,
    })
}

fn reply(line: &mut Cursor<'_>, flow: &mut Flow, is_icmp: bool) -> Option<()> {
    let absent = line.eat(b",\"reply\":false");
    flow.present.set(Present::REPLY, !absent);
    if line.eat(b",\"reply_src\":\"") {
        flow.reply.src = line.address(flow.family)?;
    }
    if line.eat(b",\"reply_dst\":\"") {
        flow.reply.dst = line.address(flow.family)?;
    }
    if is_icmp {
        return Some(());
    }
    if line.eat(b",\"reply_sport\":") {
        flow.reply.src_port = line.port()?;
    }
    if line.eat(b",\"reply_dport\":") {
        flow.reply.dst_port = line.port()?;
    }
    Some(())
}

fn attributes(line: &mut Cursor<'_>, flow: &mut Flow) -> Option<()> {
    let mut present = flow.present;
    if line.eat(b",\"status\":[") {
        present |= Present::STATUS;
        flow.status = status(line)?;
    }
    if line.eat(b",\"state\":\"") {
        present |= Present::STATE;
        let name = line.word()?;
        let names = state_names(flow.protocol);
        let number = names.iter().position(|known| known.as_bytes() == name)?;
        flow.state = u8::try_from(number).ok()?;
    }
    if line.eat(b",\"tcp_flags\":") {
        present |= Present::TCP_FLAGS;
        flow.tcp_flags_orig = line.small()?;
        flow.tcp_flags_reply = line.field(b",\"reply_tcp_flags\":")?.small()?;
    }
    if line.eat(b",\"wscale\":") {
        present |= Present::TCP_WSCALE;
        let original = line.small().filter(|factor| *factor <= 15)?;
        let reply = line.field(b",\"reply_wscale\":")?.small()?;
        flow.tcp_wscale = original | (reply <= 15).then_some(reply << 4)?;
    }
    if line.eat(b",\"timeout\":") {
        present |= Present::TIMEOUT;
        flow.timeout = line.long()?;
    }
    if line.eat(b",\"mark\":") {
        present |= Present::MARK;
        flow.mark = line.long()?;
    }
    if line.eat(b",\"id\":") {
        present |= Present::ID;
        flow.id = line.long()?;
    }
    if line.eat(b",\"master\":true") {
        present |= Present::MASTER;
    }
    if line.eat(b",\"start_ns\":") {
        present |= Present::START;
        flow.start_ns = line.number()?;
    }
    flow.present = present;
    Some(())
}

fn counters(line: &mut Cursor<'_>, flow: &mut Flow) -> Option<()> {
    if line.eat(b",\"packets\":") {
        flow.present |= Present::COUNTERS_ORIG;
        flow.counters_orig = Counters {
            packets: line.number()?,
            bytes: line.field(b",\"bytes\":")?.number()?,
        };
    }
    if line.eat(b",\"reply_packets\":") {
        flow.present |= Present::COUNTERS_REPLY;
        flow.counters_reply = Counters {
            packets: line.number()?,
            bytes: line.field(b",\"reply_bytes\":")?.number()?,
        };
    }
    Some(())
}

/// Words up to the closing bracket, those that flows usually have.
fn status(line: &mut Cursor<'_>) -> Option<Status> {
    // What most of them have, at once.
    if line.eat(b"\"seen-reply\",\"assured\",\"confirmed\"]") {
        return Some(Status::SEEN_REPLY | Status::ASSURED | Status::CONFIRMED);
    }
    let mut status = Status::empty();
    if line.eat(b"]") {
        return Some(status);
    }
    loop {
        status |= match line.field(b"\"")?.word()? {
            b"seen-reply" => Status::SEEN_REPLY,
            b"assured" => Status::ASSURED,
            b"confirmed" => Status::CONFIRMED,
            b"src-nat" => Status::SRC_NAT,
            b"dst-nat" => Status::DST_NAT,
            b"src-nat-done" => Status::SRC_NAT_DONE,
            b"dst-nat-done" => Status::DST_NAT_DONE,
            b"seq-adjust" => Status::SEQ_ADJUST,
            b"expected" => Status::EXPECTED,
            b"offload" => Status::OFFLOAD,
            b"hw-offload" => Status::HW_OFFLOAD,
            b"fixed-timeout" => Status::FIXED_TIMEOUT,
            b"helper" => Status::HELPER,
            b"dying" => Status::DYING,
            _ => return None,
        };
        if line.eat(b"]") {
            return Some(status);
        }
        line.field(b",")?;
    }
}

/// What is left of a line.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Takes exactly these bytes, if they are next.
    #[inline]
    fn eat<const N: usize>(&mut self, bytes: &[u8; N]) -> bool {
        match self.0.split_first_chunk::<N>() {
            Some((next, rest)) if next == bytes => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    /// The same where nothing else is allowed.
    #[inline]
    fn field<const N: usize>(&mut self, bytes: &[u8; N]) -> Option<&mut Self> {
        self.eat(bytes).then_some(self)
    }

    /// Up to the closing quote, which is taken. No word that is looked for has an escape.
    fn word(&mut self) -> Option<&'a [u8]> {
        /// Longer than every word.
        const LONGEST: usize = 32;
        let end = (self.0.iter().take(LONGEST)).position(|byte| *byte == b'"')?;
        let (word, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        Some(word)
    }

    /// A whole number as JSON has it: no sign, no zeros in front. Of a fraction it takes the start,
    /// behind which no field begins.
    #[inline]
    fn number(&mut self) -> Option<u64> {
        let (value, length) = match self.0.first_chunk().map(|next| Digits::before(*next)) {
            Some(Digits { count, value }) if count < 8 => (value, count),
            _ => self.long_number(),
        };
        // 19 digits are below 2^64; the rest is left to the general reader.
        if length == 0 || length > 19 || (length > 1 && self.0[0] == b'0') {
            return None;
        }
        self.0 = &self.0[length..];
        Some(value)
    }

    /// Any number of digits, and what they make: nothing of worth above 19.
    #[inline(never)]
    fn long_number(&self) -> (u64, usize) {
        let mut value: u64 = 0;
        let mut length = 0;
        while let Some(next) = self.0[length..].first_chunk() {
            let digits = Digits::before(*next);
            value = digits.after(value);
            length += digits.count;
            if digits.count < next.len() {
                return (value, length);
            }
        }
        // The last bytes of a line are fewer than eight.
        for byte in &self.0[length..] {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.wrapping_mul(10).wrapping_add(digit.into());
            length += 1;
        }
        (value, length)
    }

    fn long(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn port(&mut self) -> Option<u16> {
        self.number()?.try_into().ok()
    }

    fn small(&mut self) -> Option<u8> {
        self.number()?.try_into().ok()
    }

    /// An address and its closing quote.
    fn address(&mut self, family: Family) -> Option<[u8; 16]> {
        match family {
            Family::Ipv4 => {
                let mut octets = [0; 16];
                for octet in &mut octets[..3] {
                    *octet = self.octet(b'.')?;
                }
                octets[3] = self.octet(b'"')?;
                Some(octets)
            }
            Family::Ipv6 => self.groups(),
        }
    }

    /// A number from 0 to 255 without zeros in front, and the byte behind it.
    #[inline]
    fn octet(&mut self, end: u8) -> Option<u8> {
        let mut value = 0;
        for (length, byte) in self.0.iter().take(4).enumerate() {
            if *byte == end && length > 0 {
                self.0 = &self.0[length + 1..];
                return u8::try_from(value).ok();
            }
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 || (value == 0 && length > 0) {
                return None;
            }
            value = value * 10 + u16::from(digit);
        }
        None
    }

    /// Eight groups of an IPv6 address, or fewer around one `::`, and the closing quote.
    fn groups(&mut self) -> Option<[u8; 16]> {
        let mut octets = [0; 16];
        let mut filled = 0;
        let mut gap = None;
        if self.eat(b"::") {
            gap = Some(0);
        }
        while !self.eat(b"\"") {
            if filled == octets.len() {
                return None;
            }
            octets[filled..filled + 2].copy_from_slice(&self.group()?.to_be_bytes());
            filled += 2;
            match self.0 {
                [b':', b':', ..] if gap.is_none() => {
                    gap = Some(filled);
                    self.0 = &self.0[2..];
                }
                [b':', next, ..] if *next != b'"' => self.0 = &self.0[1..],
                [b'"', ..] => {}
                _ => return None,
            }
        }
        match gap {
            Some(at) if filled < octets.len() => {
                let end = octets.len() - (filled - at);
                octets.copy_within(at..filled, end);
                octets[at..end].fill(0);
                Some(octets)
            }
            None if filled == octets.len() => Some(octets),
            _ => None,
        }
    }

    /// Up to four hexadecimal digits.
    fn group(&mut self) -> Option<u16> {
        let mut value = 0;
        let mut length = 0;
        for byte in self.0.iter().take(4) {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => break,
            };
            value = value << 4 | u16::from(digit);
            length += 1;
        }
        self.0 = &self.0[length..];
        (length > 0).then_some(value)
    }
}

/// The digits that eight bytes start with, read at once: most of a line are numbers.
struct Digits {
    count: usize,
    value: u64,
}

impl Digits {
    #[inline]
    fn before(bytes: [u8; 8]) -> Self {
        const HIGH: u64 = 0x8080_8080_8080_8080;
        // The first byte is the lowest one. Digits become 0 to 9, and no other byte does.
        let word = u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030;
        // 0x76 lifts 10 and what is above it over 0x7f. What it carries comes from a byte that is marked itself.
        let others = (word.wrapping_add(0x7676_7676_7676_7676) | word) & HIGH;
        let count = (others.trailing_zeros() / 8) as usize;
        // Zeros in front, the digits behind them; no digits at all leave nothing.
        let word = if count == 0 {
            0
        } else {
            word << (64 - 8 * count)
        };
        // Neighbours become two digits, then four, then eight.
        let word = (word.wrapping_mul(0x0a01) >> 8) & 0x00ff_00ff_00ff_00ff;
        let word = (word.wrapping_mul(0x0064_0001) >> 16) & 0x0000_ffff_0000_ffff;
        let value = word.wrapping_mul(0x2710_0000_0001) >> 32;
        Self { count, value }
    }

    /// The number that they make behind the digits of another one.
    fn after(&self, before: u64) -> u64 {
        const POWERS: [u64; 9] = [
            1,
            10,
            100,
            1000,
            10_000,
            100_000,
            1_000_000,
            10_000_000,
            100_000_000,
        ];
        before
            .wrapping_mul(POWERS[self.count])
            .wrapping_add(self.value)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn number(text: &str) -> Option<(u64, usize)> {
        let mut line = Cursor(text.as_bytes());
        let value = line.number()?;
        Some((value, text.len() - line.0.len()))
    }

    #[test]
    fn numbers_of_any_length_are_read_with_anything_behind_them() {
        for behind in ["", "}", "}\n", ",\"bytes\":1", "/", ":", "\u{ff}\u{ff}"] {
            let mut value: u64 = 0;
            for length in 1..=19 {
                value = value * 10 + length % 10;
                let text = format!("{value}{behind}");
                let digits = text.len() - behind.len();
                assert_eq!(number(&text), Some((value, digits)), "{text}");
            }
            for text in ["", "01", "00", "-1", "18446744073709551615"] {
                assert_eq!(number(&format!("{text}{behind}")), None, "{text}{behind}");
            }
            assert_eq!(number(&format!("0{behind}")), Some((0, 1)));
        }
    }

    #[test]
    fn addresses_are_those_of_the_standard_library_or_none() {
        let parts = ["", "::", ":", "0", "1", "ab", "12ef", "12345", "g", "0:0"];
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            let more = |text: &String| parts.map(|part| format!("{text}{part}"));
            texts = texts.iter().flat_map(more).collect();
        }
        texts.extend(
            [
                "1:2:3:4:5:6:7:8",
                "1:2:3:4:5:6:7::",
                "::2:3:4:5:6:7:8",
                "1::3:4:5:6:7:8:9",
            ]
            .map(str::to_owned),
        );
        let mut read = 0;
        for text in texts {
            let line = format!("{text}\"");
            if let Some(octets) = Cursor(line.as_bytes()).address(Family::Ipv6) {
                assert_eq!(text.parse(), Ok(Ipv6Addr::from(octets)), "{text}");
                read += 1;
            }
        }
        assert!(read > 1000, "{read}");
        for bits in 0..=u16::MAX {
            let groups = [
                bits & 0x101,
                bits,
                0,
                bits & 0x10,
                0,
                bits & 0x200,
                bits & 0x400,
                bits & 0x800,
            ];
            let address = Ipv6Addr::from(groups);
            let line = format!("{address}\"");
            assert_eq!(
                Cursor(line.as_bytes()).address(Family::Ipv6),
                Some(address.octets())
            );
        }
        for (text, octets) in [
            ("0.0.0.0", Some([0, 0, 0, 0])),
            ("255.10.9.1", Some([255, 10, 9, 1])),
            ("256.1.1.1", None),
            ("01.1.1.1", None),
            ("1.1.1", None),
            ("1.1.1.1.1", None),
            ("1.1.1.1000", None),
            ("1..1.1", None),
        ] {
            let line = format!("{text}\"");
            let found = Cursor(line.as_bytes()).address(Family::Ipv4);
            assert_eq!(
                found.map(|found| found[..4].to_vec()),
                octets.map(|known: [u8; 4]| known.to_vec()),
                "{text}"
            );
        }
    }
}
