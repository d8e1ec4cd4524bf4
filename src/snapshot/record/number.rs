//! Numbers and addresses as text, appended to a buffer.
//!
//! `core::fmt` costs ten times as much, and a table of a million flows has twenty million numbers.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};

/// Appends a number in decimal.
pub(super) fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a signed number in decimal.
pub(super) fn signed(out: &mut Vec<u8>, number: i32) {
    if number < 0 {
        out.push(b'-');
    }
    decimal(out, number.unsigned_abs().into());
}

/// Appends an address as text, IPv6 in the form of RFC 5952.
pub(super) fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => dotted(out, v4),
        IpAddr::V6(v6) => write!(out, "{v6}").expect("a vector takes every write"),
    }
}

fn dotted(out: &mut Vec<u8>, address: Ipv4Addr) {
    let [a, b, c, d] = address.octets();
    for (octet, end) in [(a, "."), (b, "."), (c, "."), (d, "")] {
        decimal(out, octet.into());
        out.extend_from_slice(end.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_the_standard_library_prints_them() {
        for number in [0, 1, 9, 10, 99, 100, u64::from(u32::MAX), u64::MAX] {
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

    #[test]
    fn addresses_read_as_the_standard_library_prints_them() {
        for text in [
            "0.0.0.0",
            "10.200.3.255",
            "::",
            "2001:db8::1",
            "::ffff:1.2.3.4",
        ] {
            let address_: IpAddr = text.parse().unwrap();
            let mut out = Vec::new();
            address(&mut out, address_);
            assert_eq!(out, address_.to_string().as_bytes());
        }
    }
}
