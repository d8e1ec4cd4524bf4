//! Numbers and addresses as text, appended to a buffer.
//!
//! `core::fmt` costs ten times as much, and a table of a million flows has twenty million numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Appends the first bytes of an array. All of them are copied, which takes a few instructions where
/// a copy of any other length is a call.
#[inline]
pub(crate) fn append<const N: usize>(out: &mut Vec<u8>, text: [u8; N], length: usize) {
    let end = out.len() + length;
    out.extend_from_slice(&text);
    out.truncate(end);
}

/// Numbers below it are written at once.
const EIGHT_DIGITS: u64 = 100_000_000;

/// Eight zeros.
const ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);

/// Appends a number in decimal.
pub(crate) fn decimal(out: &mut Vec<u8>, number: u64) {
    if number >= EIGHT_DIGITS {
        return long(out, number);
    }
    let digits = eight_digits(number);
    // Of zeros in front all but the last digit are left out.
    let zeros = (digits | 1 << 56).trailing_zeros() & !7;
    let text = (digits | ZEROS) >> zeros;
    append(out, text.to_le_bytes(), 8 - zeros as usize / 8);
}

#[inline(never)]
fn long(out: &mut Vec<u8>, number: u64) {
    decimal(out, number / EIGHT_DIGITS);
    let digits = eight_digits(number % EIGHT_DIGITS);
    out.extend_from_slice(&(digits | ZEROS).to_le_bytes());
}

/// The digits of a number below 10^8, the first in the lowest byte: all of them are split off at
/// once, each in a part of the word by itself.
#[inline]
fn eight_digits(number: u64) -> u64 {
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((pairs - tens * 10) << 8)
}

/// Each octet with a dot behind it, and how long that is.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([0; 4], 0); 256];
    let mut octet: u8 = 0;
    loop {
        let (hundreds, tens, ones) = (
            b'0' + octet / 100,
            b'0' + octet / 10 % 10,
            b'0' + octet % 10,
        );
        octets[octet as usize] = match octet {
            0..10 => ([ones, b'.', 0, 0], 2),
            10..100 => ([tens, ones, b'.', 0], 3),
            _ => ([hundreds, tens, ones, b'.'], 4),
        };
        if octet == u8::MAX {
            break octets;
        }
        octet += 1;
    }
};

/// Appends a signed number in decimal.
pub(crate) fn signed(out: &mut Vec<u8>, number: i32) {
    if number < 0 {
        out.push(b'-');
    }
    decimal(out, number.unsigned_abs().into());
}

/// Appends an address as text, IPv6 in the form of RFC 5952.
pub(crate) fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => dotted(out, v4),
        IpAddr::V6(v6) => colons(out, v6),
    }
}

/// Appends a number in hexadecimal, without leading zeros.
pub(crate) fn hexadecimal(out: &mut Vec<u8>, number: u16) {
    let (text, length) = four_digits(number);
    append(out, text.to_le_bytes(), length);
}

/// A number in hexadecimal without leading zeros, the first digit in the lowest byte, and how many
/// digits that are.
#[inline]
fn four_digits(number: u16) -> (u32, usize) {
    let number = u32::from(number);
    let digits =
        (number >> 12) | (number & 0xf00) | ((number & 0xf0) << 12) | ((number & 0xf) << 24);
    let is_letter = ((digits + 0x0606_0606) >> 4) & 0x0101_0101;
    let text = digits + 0x3030_3030 + is_letter * u32::from(b'a' - b'0' - 10);
    let zeros = (digits | 1 << 24).trailing_zeros() & !7;
    (text >> zeros, 4 - zeros as usize / 8)
}

/// The longest run of two or more zero groups, the first of equal ones, is written as `::`.
fn colons(out: &mut Vec<u8>, address: Ipv6Addr) {
    let groups = address.segments();
    if let [0, 0, 0, 0, 0, 0xffff, ..] = groups {
        let [.., a, b, c, d] = address.octets();
        out.extend_from_slice(b"::ffff:");
        return dotted(out, Ipv4Addr::new(a, b, c, d));
    }
    let mut zeros = 0_u32;
    for (index, group) in groups.iter().enumerate() {
        zeros |= u32::from(*group == 0) << index;
    }
    // With each step the bits are left where a run starts that is longer by one.
    let (mut at, mut longest) = (groups.len(), 0);
    while zeros != 0 {
        at = zeros.trailing_zeros() as usize;
        longest += 1;
        zeros &= zeros >> 1;
    }
    if longest < 2 {
        (at, longest) = (groups.len(), 0);
    }
    let mut text = [b':'; 48];
    let mut index = 0;
    let mut length = 0;
    if at == 0 {
        index = longest;
        length = 2;
    }
    while index < groups.len() {
        if index == at {
            text[length] = b':';
            length += 1;
            index += longest;
            continue;
        }
        let (digits, count) = four_digits(groups[index]);
        let digits = u64::from(digits) | u64::from(b':') << (count * 8);
        text[length..length + 8].copy_from_slice(&digits.to_le_bytes());
        length += count + 1;
        index += 1;
    }
    // Behind the last group there is a colon too much.
    if at + longest != groups.len() || longest == 0 {
        length -= 1;
    }
    append(out, text, length);
}

fn dotted(out: &mut Vec<u8>, address: Ipv4Addr) {
    let mut text = [0; 16];
    let mut length = 0;
    for octet in address.octets() {
        let (digits, digits_length) = OCTETS[usize::from(octet)];
        text[length..length + 4].copy_from_slice(&digits);
        length += usize::from(digits_length);
    }
    append(out, text, length - 1);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_read_as_the_standard_library_prints_them() {
        let edges = (0..20).flat_map(|exponent| {
            let power = 10_u64.pow(exponent);
            [power - 1, power, power + 1]
        });
        let largest = [u64::from(u32::MAX), u64::MAX, u64::MAX / 10];
        for number in (0..10_200).chain(edges).chain(largest) {
            let mut out = Vec::new();
            decimal(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
        for number in [0, -1, i32::MIN, i32::MAX] {
            let mut out = Vec::new();
            signed(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }

    proptest! {
        #[test]
        fn ipv6_addresses_read_as_the_standard_library_prints_them(
            groups in prop::array::uniform8(prop_oneof![Just(0_u16), any::<u16>()]),
        ) {
            let v6 = Ipv6Addr::from(groups);
            let mut out = Vec::new();
            address(&mut out, v6.into());
            prop_assert_eq!(String::from_utf8(out).unwrap(), v6.to_string());
        }
    }

    #[test]
    fn addresses_read_as_the_standard_library_prints_them() {
        for octet in 0..=u8::MAX {
            let v4 = Ipv4Addr::new(octet, 7, octet, octet);
            let mut out = Vec::new();
            address(&mut out, v4.into());
            assert_eq!(out, v4.to_string().as_bytes());
        }
        for text in [
            "0.0.0.0",
            "10.200.3.255",
            "::",
            "2001:db8::1",
            "::ffff:1.2.3.4",
            "1:2:3:4:5:6:7:8",
            "1::8",
            "1:0:0:4::8",
            "1:0:3:4:5:6:7:8",
            "0:1::1:0",
            "fe80::",
            "::1:0:0:0:0",
        ] {
            let address_: IpAddr = text.parse().unwrap();
            let mut out = Vec::new();
            address(&mut out, address_);
            assert_eq!(out, address_.to_string().as_bytes());
        }
    }
}
