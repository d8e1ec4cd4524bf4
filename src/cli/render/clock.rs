//! Moments as text, many a second: `2026-01-31T03:12:05.123456+01:00`.

use std::fmt::Write;

use chrono::{DateTime, Local};

/// Writes moments of the wall clock in the local zone. What does not change within a second is
/// made once.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    second: Option<u64>,
    head: String,
    offset: String,
}

impl Clock {
    /// Appends a moment, given in nanoseconds since 1970, to the microsecond.
    pub(crate) fn write(&mut self, time_ns: u64, out: &mut Vec<u8>) {
        let (second, mut micros) = (time_ns / 1_000_000_000, time_ns % 1_000_000_000 / 1000);
        if self.second != Some(second) {
            self.turn(second);
        }
        out.extend_from_slice(self.head.as_bytes());
        let mut digits = *b".000000";
        for digit in digits[1..].iter_mut().rev() {
            *digit += (micros % 10) as u8;
            micros /= 10;
        }
        out.extend_from_slice(&digits);
        out.extend_from_slice(self.offset.as_bytes());
    }

    fn turn(&mut self, second: u64) {
        let time = i64::try_from(second)
            .ok()
            .and_then(|second| DateTime::from_timestamp(second, 0))
            .unwrap_or_default()
            .with_timezone(&Local);
        self.second = Some(second);
        self.head.clear();
        self.offset.clear();
        write!(self.head, "{}", time.format("%Y-%m-%dT%H:%M:%S")).expect("a string takes it");
        write!(self.offset, "{}", time.format("%:z")).expect("a string takes it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_rfc_3339() {
        let mut clock = Clock::default();
        for time_ns in [
            0,
            1_769_826_725_000_001_999,
            1_769_826_725_999_999_999,
            1_769_826_726_120_000_000,
            1_769_826_725_000_000_000,
        ] {
            let mut out = Vec::new();
            clock.write(time_ns, &mut out);
            let text = String::from_utf8(out).unwrap();
            let read = DateTime::parse_from_rfc3339(&text).unwrap();
            let nanos = u64::try_from(read.timestamp_nanos_opt().unwrap()).unwrap();
            assert_eq!(nanos, time_ns / 1000 * 1000, "{text}");
        }
    }
}
