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
    #[error("it is no sum of whole numbers with units")]
    Grammar,
    /// A number without a unit beside others.
    #[error("`{0}` has no unit")]
    NoUnit(String),
    /// A unit that durations do not have.
    #[error("`{0}` is no unit: write s, m, h, d or w, in lower case")]
    UnknownUnit(String),
    /// Months and years.
    #[error("`{0}` is not always equally long: write days or weeks")]
    Calendar(String),
    /// A fraction of a second.
    #[error("there are whole seconds alone")]
    Fraction,
    /// More than 64 bits of seconds.
    #[error("it is too long")]
    TooLong,
}

fn unit_seconds(unit: &str) -> Result<u64, SecondsError> {
    Ok(match unit {
        "s" | "sec" | "secs" | "second" | "seconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 604_800,
        "ms" | "us" | "µs" | "ns" => return Err(SecondsError::Fraction),
        "month" | "months" | "y" | "year" | "years" => {
            return Err(SecondsError::Calendar(unit.to_owned()));
        }
        _ => return Err(SecondsError::UnknownUnit(unit.to_owned())),
    })
}

impl FromStr for Seconds {
    type Err = SecondsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rest = text.trim();
        let is_bare = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
        if is_bare {
            return rest.parse().map(Self).map_err(|_| SecondsError::TooLong);
        }
        let mut sum: u64 = 0;
        loop {
            let digits = rest.find(|c: char| !c.is_ascii_digit());
            let (number, after) = rest.split_at(digits.unwrap_or(rest.len()));
            let after = after.trim_start();
            let letters = after.find(|c: char| !c.is_alphabetic());
            let (unit, after) = after.split_at(letters.unwrap_or(after.len()));
            match (number, unit) {
                ("", _) => return Err(SecondsError::Grammar),
                (_, "") if after.starts_with('.') => return Err(SecondsError::Fraction),
                (_, "") if after.is_empty() => {
                    return Err(SecondsError::NoUnit(number.to_owned()));
                }
                (_, "") => return Err(SecondsError::Grammar),
                _ => {}
            }
            let number: u64 = number.parse().map_err(|_| SecondsError::TooLong)?;
            sum = number
                .checked_mul(unit_seconds(unit)?)
                .and_then(|seconds| sum.checked_add(seconds))
                .ok_or(SecondsError::TooLong)?;
            rest = after.trim_start();
            if rest.is_empty() {
                return Ok(Self(sum));
            }
        }
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
        for (text, seconds) in [
            ("5d", 432_000),
            ("2h4m", 7440),
            ("2 hours 4 minutes", 7440),
            ("30s", 30),
            ("1w", 604_800),
            ("0s", 0),
            ("7440", 7440),
        ] {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
    }

    #[test]
    fn refuses_units_that_are_no_fixed_number_of_seconds_and_capitals() {
        for text in ["2months", "1y", "3 years"] {
            let read = text.parse::<Seconds>();
            assert!(matches!(read, Err(SecondsError::Calendar(_))), "{text}");
        }
        for text in ["1M", "1H", "5k", "1fortnight"] {
            let read = text.parse::<Seconds>();
            assert!(matches!(read, Err(SecondsError::UnknownUnit(_))), "{text}");
        }
        assert_eq!(
            "1h30".parse::<Seconds>(),
            Err(SecondsError::NoUnit("30".to_owned()))
        );
        assert_eq!("1.5h".parse::<Seconds>(), Err(SecondsError::Fraction));
        for text in [
            "99999999999999999999",
            "99999999999999999w",
            "18446744073709551615s 1s",
        ] {
            assert_eq!(
                text.parse::<Seconds>(),
                Err(SecondsError::TooLong),
                "{text}"
            );
        }
        for text in ["", " ", "h", "1h-5m", "+5"] {
            assert_eq!(
                text.parse::<Seconds>(),
                Err(SecondsError::Grammar),
                "{text:?}"
            );
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
