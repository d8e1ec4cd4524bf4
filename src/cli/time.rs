//! Moments as people write them: `03:12`, `2026-01-31 03:12`, RFC 3339, `10m ago`.

use chrono::{DateTime, Days, LocalResult, NaiveDateTime, NaiveTime, TimeZone, Utc};

use crate::policy::Seconds;

/// How a moment may be written, for help and errors.
pub(super) const FORMS: &str = "`03:12` (the last one), `yesterday 03:12`, `2026-01-31 03:12`, `2026-01-31T03:12:00Z`, `10m ago` or `now`";

/// Why a text is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TimeError {
    /// No form of it.
    #[error("`{0}` is no time; it is written as {FORMS}")]
    Grammar(String),
    /// The clock jumped over it.
    #[error("`{0}` does not exist here: the clock was put forward past it")]
    Skipped(String),
}

/// Reads a moment. Times without a zone are those of `now`'s; one that the clock shows twice is the
/// first of the two.
pub(super) fn parse<Z: TimeZone>(
    text: &str,
    now: &DateTime<Z>,
) -> Result<DateTime<Utc>, TimeError> {
    let grammar = || TimeError::Grammar(text.to_owned());
    let zone = now.timezone();
    let words = text.trim();
    let local = |naive: NaiveDateTime| match zone.from_local_datetime(&naive) {
        LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Ok(time.with_timezone(&Utc)),
        LocalResult::None => Err(TimeError::Skipped(text.to_owned())),
    };
    if words == "now" {
        return Ok(now.with_timezone(&Utc));
    }
    if let Some(ago) = words.strip_suffix("ago") {
        let Seconds(seconds) = ago.trim().parse().map_err(|_| grammar())?;
        let seconds = i64::try_from(seconds).map_err(|_| grammar())?;
        let ago = chrono::TimeDelta::try_seconds(seconds).ok_or_else(grammar)?;
        let then = now.with_timezone(&Utc).checked_sub_signed(ago);
        return then.ok_or_else(grammar);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(&words.replacen(' ', "T", 1)) {
        return Ok(time.with_timezone(&Utc));
    }
    let today = now.naive_local().date();
    let yesterday = today.checked_sub_days(Days::new(1)).ok_or_else(grammar)?;
    if let Some(clock) = clock(words) {
        let time = local(today.and_time(clock))?;
        return if time <= now.with_timezone(&Utc) {
            Ok(time)
        } else {
            local(yesterday.and_time(clock))
        };
    }
    for (day, date) in [("today", today), ("yesterday", yesterday)] {
        if let Some(rest) = words.strip_prefix(day) {
            return local(date.and_time(clock(rest.trim()).ok_or_else(grammar)?));
        }
    }
    let text = words.replacen('T', " ", 1);
    for format in ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"] {
        if let Ok(naive) = NaiveDateTime::parse_from_str(&text, format) {
            return local(naive);
        }
    }
    Err(grammar())
}

fn clock(text: &str) -> Option<NaiveTime> {
    let formats = ["%H:%M:%S", "%H:%M"];
    (formats.iter()).find_map(|format| NaiveTime::parse_from_str(text, format).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::FixedOffset;

    /// 12:00 two hours east of Greenwich.
    fn now() -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339("2026-01-31T12:00:00+02:00").unwrap()
    }

    #[test]
    fn moments_are_read_in_the_zone_of_now() {
        for (text, time) in [
            ("now", "2026-01-31T10:00:00Z"),
            ("03:12", "2026-01-31T01:12:00Z"),
            ("03:12:30", "2026-01-31T01:12:30Z"),
            // Not yet today: that of yesterday.
            ("23:00", "2026-01-30T21:00:00Z"),
            ("yesterday 03:12", "2026-01-30T01:12:00Z"),
            ("today 13:00", "2026-01-31T11:00:00Z"),
            ("2026-01-31 03:12", "2026-01-31T01:12:00Z"),
            ("2026-01-31T03:12:05", "2026-01-31T01:12:05Z"),
            ("2026-01-31T03:12:05Z", "2026-01-31T03:12:05Z"),
            ("2026-01-31 03:12:05+01:00", "2026-01-31T02:12:05Z"),
            ("10m ago", "2026-01-31T09:50:00Z"),
            ("1d2h ago", "2026-01-30T08:00:00Z"),
        ] {
            let read = parse(text, &now())
                .map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
            assert_eq!(read.as_deref(), Ok(time), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_says_what_one_looks_like() {
        for text in [
            "",
            "25:00",
            "3 o'clock",
            "ago",
            "10 ago ago",
            "2026-13-01 00:00",
            "yesterday",
        ] {
            let error = parse(text, &now()).unwrap_err().to_string();
            assert!(
                error.contains("is no time; it is written as `03:12`"),
                "{error}"
            );
        }
    }
}
