//! Numbers as C's `strtoul` and `atoi` read them, which the tool leaves them to.

/// The number at the start of a text, decimal, `0x` hexadecimal or `0` octal, as `strtoul(text, &end, 0)`
/// takes it, and what follows; `None` without a digit. Too large ones are `u64::MAX`.
#[must_use]
pub fn leading(text: &str) -> Option<(u64, &str)> {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let hexadecimal = rest
        .strip_prefix("0x")
        .or_else(|| rest.strip_prefix("0X"))
        .filter(|digits| digits.starts_with(|c: char| c.is_ascii_hexdigit()));
    let (digits, base) = match hexadecimal {
        Some(digits) => (digits, 16),
        None if rest.starts_with('0') => (rest, 8),
        None => (rest, 10),
    };
    let length = digits
        .find(|c: char| !c.is_digit(base))
        .unwrap_or(digits.len());
    if length == 0 {
        return None;
    }
    let value = u64::from_str_radix(&digits[..length], base).unwrap_or(u64::MAX);
    let value = if negative && value != u64::MAX {
        value.wrapping_neg()
    } else {
        value
    };
    Some((value, &digits[length..]))
}

/// A whole text as `strtoul` reads it, at most `max`.
#[must_use]
pub fn whole(text: &str, max: u64) -> Option<u64> {
    leading(text)
        .filter(|(value, rest)| rest.is_empty() && *value <= max)
        .map(|(value, _)| value)
}

/// What `atoi` makes of a text: the decimal number at its start, else 0, cut to 32 bits.
#[must_use]
pub fn atoi(text: &str) -> i32 {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let mut value: i64 = 0;
    for digit in digits.bytes().take_while(u8::is_ascii_digit) {
        value = value
            .saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'));
    }
    // `strtol` saturates at 64 bits, and the cut to `int` keeps the low half.
    let value = if negative { -value } else { value };
    #[expect(clippy::cast_possible_truncation, reason = "what atoi does")]
    let cut = value as i32;
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_c_reads_them() {
        assert_eq!(leading("0x1f rest"), Some((31, " rest")));
        assert_eq!(leading("017"), Some((15, "")));
        assert_eq!(leading("0"), Some((0, "")));
        assert_eq!(leading("0x"), Some((0, "x")));
        assert_eq!(leading("08"), Some((0, "8")));
        assert_eq!(leading("x"), None);
        assert_eq!(leading(""), None);
        assert_eq!(leading("-"), None);
        assert_eq!(leading("-1"), Some((u64::MAX, "")));
        assert_eq!(whole("5/3", 9), None);
        assert_eq!(whole("65536", 65535), None);
        assert_eq!(whole("65535", 65535), Some(65535));
    }

    #[test]
    fn atoi_takes_what_it_can() {
        assert_eq!(atoi("80-443"), 80);
        assert_eq!(atoi("http"), 0);
        assert_eq!(atoi("-1"), -1);
        assert_eq!(atoi("99999999999"), 1_215_752_191);
        assert_eq!(atoi(" 7"), 7);
    }
}
