//! Counts, sizes, shares and rates as policies write them.

use super::leaf::{Leaf, LeafError, leaves};
use super::{Percent, Seconds};

/// A number of things: `512000`, `"512k"` (1000) or `"512Ki"` (1024).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u64);

/// A number of bytes: `"1GiB"`, `"256MB"` or plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// Changes a second: `"100k/s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace(pub u32);

impl Leaf for Seconds {
    const EXPECTED: &'static str = "a duration as \"5d\", \"2h4m\", \"30s\" or whole seconds";
    const INTEGERS: bool = true;

    fn read(text: &str) -> Result<Self, LeafError> {
        text.parse()
            .map_err(|error| LeafError::invalid(format!("`{text}` is no duration: {error}")))
    }
}

const SCALES: [(&str, u64); 9] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1000),
    ("K", 1000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

fn scaled(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, scale) = SCALES
        .iter()
        .find_map(|(suffix, scale)| Some((text.strip_suffix(suffix)?, *scale)))
        .unwrap_or((text, 1));
    let digits = digits.trim_end();
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(scale)
}

impl Leaf for Count {
    const EXPECTED: &'static str = "a count as 512000, \"512k\" or \"512Ki\"";
    const INTEGERS: bool = true;

    fn read(text: &str) -> Result<Self, LeafError> {
        scaled(text)
            .map(Self)
            .ok_or_else(|| LeafError::invalid(format!("`{text}` is no count")))
    }
}

impl Leaf for Bytes {
    const EXPECTED: &'static str = "a size as \"256MiB\" or a number of bytes";
    const INTEGERS: bool = true;

    fn read(text: &str) -> Result<Self, LeafError> {
        let trimmed = text.trim();
        scaled(trimmed.strip_suffix('B').unwrap_or(trimmed))
            .map(Self)
            .ok_or_else(|| LeafError::invalid(format!("`{text}` is no size")))
    }
}

impl Leaf for Pace {
    const EXPECTED: &'static str = "a rate as \"100k/s\"";
    const INTEGERS: bool = true;

    fn read(text: &str) -> Result<Self, LeafError> {
        let trimmed = text.trim();
        let rate = scaled(trimmed.strip_suffix("/s").unwrap_or(trimmed));
        match rate.map(u32::try_from) {
            Some(Ok(0)) => Err(LeafError::invalid("a rate of 0 would never finish")),
            Some(Ok(rate)) => Ok(Self(rate)),
            _ => Err(LeafError::invalid(format!("`{text}` is no rate"))),
        }
    }
}

impl Leaf for Percent {
    const EXPECTED: &'static str = "a share as 30, \"50%\" or \"2.5%\", at most 100";
    const INTEGERS: bool = true;
    const FRACTIONS: bool = true;

    fn read(text: &str) -> Result<Self, LeafError> {
        let trimmed = text.trim();
        let number = trimmed.strip_suffix('%').unwrap_or(trimmed).trim_end();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let invalid = || LeafError::invalid(format!("`{text}` is no share"));
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(invalid());
        }
        if fraction.len() > 2 {
            return Err(LeafError::invalid(format!(
                "`{text}` is finer than a hundredth of a percent"
            )));
        }
        let hundredths = format!("{whole}{fraction:0<2}");
        match hundredths.parse::<u16>() {
            Ok(share) if share <= Self::ALL.0 => Ok(Self(share)),
            _ => Err(LeafError::invalid(format!("`{text}` is above 100 %"))),
        }
    }
}

leaves!(Seconds, Count, Bytes, Pace, Percent);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_know_thousands_and_kibi() {
        for (text, count) in [
            ("0", 0),
            ("512000", 512_000),
            ("512k", 512_000),
            ("512Ki", 524_288),
            ("1M", 1_000_000),
            ("2Gi", 2 << 30),
        ] {
            assert_eq!(Count::read(text), Ok(Count(count)), "{text}");
        }
        for text in [
            "",
            "k",
            "-1",
            "1.5k",
            "+3",
            "0x10",
            "99999999999999999999",
            "99999999999T",
        ] {
            assert!(Count::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_may_end_in_bytes() {
        assert_eq!(Bytes::read("1GiB"), Ok(Bytes(1 << 30)));
        assert_eq!(Bytes::read("256MB"), Ok(Bytes(256_000_000)));
        assert_eq!(Bytes::read("4096"), Ok(Bytes(4096)));
    }

    #[test]
    fn shares_are_exact_to_a_hundredth_of_a_percent() {
        assert_eq!(Percent::read("50%"), Ok(Percent(5000)));
        assert_eq!(Percent::read("2.5"), Ok(Percent(250)));
        assert_eq!(Percent::read("100"), Ok(Percent::ALL));
        for text in [
            "100.01", "101", "-1", "", "%", ".5", "0.001", "NaN", "1e1", "700%",
        ] {
            assert!(Percent::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pace_is_a_positive_rate() {
        assert_eq!(Pace::read("100k/s"), Ok(Pace(100_000)));
        assert!(Pace::read("0/s").is_err());
        assert!(Pace::read("9G/s").is_err());
    }
}
