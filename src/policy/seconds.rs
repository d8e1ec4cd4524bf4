//! Durations in whole seconds, the unit of every conntrack timeout.

use std::fmt::{self, Write as _};
use std::str::FromStr;

/// Whole seconds; reads `"5d"`, `"2h4m"`, `"30s"` or a bare number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(pub u64);

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecondsError {
    /// Neither a number nor a sum of numbers with units.
    #[error("{0}")]
    Grammar(String),
    /// A fraction of a second.
    #[error("timeouts are whole seconds")]
    Fraction,
}

impl FromStr for Seconds {
    type Err = SecondsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Ok(seconds) = text.parse() {
            return Ok(Self(seconds));
        }
        let duration = humantime::parse_duration(text)
            .map_err(|error| SecondsError::Grammar(error.to_string()))?;
        if duration.subsec_nanos() != 0 {
            return Err(SecondsError::Fraction);
        }
        Ok(Self(duration.as_secs()))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut text = String::new();
        for (unit, seconds) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
            if rest >= seconds {
                write!(text, "{}{unit}", rest / seconds)?;
                rest %= seconds;
            }
        }
        f.pad(if text.is_empty() { "0s" } else { &text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units_sums_and_bare_numbers() {
        for (text, seconds) in [("5d", 432_000), ("2h4m", 7440), ("30s", 30), ("7440", 7440)] {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
    }

    #[test]
    fn refuses_fractions_and_words() {
        assert_eq!("1500ms".parse::<Seconds>(), Err(SecondsError::Fraction));
        assert!("soon".parse::<Seconds>().is_err());
        assert!("-5".parse::<Seconds>().is_err());
    }

    #[test]
    fn shows_the_shortest_sum_of_units() {
        assert_eq!(Seconds(7440).to_string(), "2h4m");
        assert_eq!(Seconds(0).to_string(), "0s");
        assert_eq!(Seconds(86_400).to_string(), "1d");
    }
}
