//! The times of a crontab.

/// How often a line of a crontab runs, where that is every so often, and the command behind its
/// times. `None` where the line begins with no times.
pub(super) fn times(line: &str) -> Option<(Option<u64>, &str)> {
    let line = line.trim_start();
    if let Some(rest) = line.strip_prefix('@') {
        let (word, command) = rest.split_once(char::is_whitespace)?;
        let every = match word {
            "hourly" => Some(3600),
            "daily" | "midnight" => Some(86_400),
            "weekly" => Some(7 * 86_400),
            "monthly" | "yearly" | "annually" | "reboot" => None,
            _ => return None,
        };
        return Some((every, command.trim_start()));
    }
    let mut rest = line;
    let mut fields = [""; 5];
    for field in &mut fields {
        let (word, after) = rest.split_once(char::is_whitespace)?;
        if !is_field(word) {
            return None;
        }
        (*field, rest) = (word, after.trim_start());
    }
    Some((every(fields), rest))
}

/// `*/5`, `1-5`, `0,30`, `MON-FRI`; a time has at least one of digits and `*`, or is a day's name.
fn is_field(word: &str) -> bool {
    let part = |part: &str| {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let end = |end: &str| {
            let is_name = end.len() == 3 && end.bytes().all(|byte| byte.is_ascii_alphabetic());
            is_name || end.parse::<u8>().is_ok()
        };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        step.parse::<u16>().is_ok() && (range == "*" || (end(first) && end(last)))
    };
    word.split(',').all(part)
}

/// Seconds between two runs, where they are always the same.
fn every([minute, hour, day, month, weekday]: [&str; 5]) -> Option<u64> {
    let is_any = |field: &str| field == "*";
    let is_one = |field: &str| field.parse::<u8>().is_ok();
    let step = |field: &str, of: u64| {
        if is_any(field) {
            return Some(1);
        }
        let step: u64 = field.strip_prefix("*/")?.parse().ok()?;
        (step > 0 && of.is_multiple_of(step)).then_some(step)
    };
    if !(is_any(day) && is_any(month)) {
        return None;
    }
    if !is_any(weekday) {
        let is_day = is_one(weekday) || weekday.bytes().all(|byte| byte.is_ascii_alphabetic());
        let once = is_one(minute) && is_one(hour) && is_day;
        return once.then_some(7 * 86_400);
    }
    if is_any(hour) && !is_one(minute) {
        return Some(step(minute, 60)? * 60);
    }
    if !is_one(minute) {
        return None;
    }
    if is_one(hour) {
        return Some(86_400);
    }
    Some(step(hour, 24)? * 3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_times_become_an_interval() {
        for (line, every, command) in [
            (
                "*/5 * * * * root conntrack -D",
                Some(300),
                "root conntrack -D",
            ),
            ("* * * * * x", Some(60), "x"),
            ("0 * * * * x", Some(3600), "x"),
            ("17 */6 * * *\tx", Some(21_600), "x"),
            ("0 3 * * * x", Some(86_400), "x"),
            ("0 3 * * SUN x", Some(604_800), "x"),
            ("0 3 * * MON-FRI x", None, "x"),
            ("0 3 * * 0 x", Some(604_800), "x"),
            ("*/7 * * * * x", None, "x"),
            ("0,30 * * * * x", None, "x"),
            ("0 3 1 * * x", None, "x"),
            ("@hourly x y", Some(3600), "x y"),
            ("@reboot x", None, "x"),
        ] {
            assert_eq!(times(line), Some((every, command)), "{line}");
        }
        for line in [
            "conntrack -D -p tcp -s 10.0.0.1 x",
            "@home x",
            "1 2 3 x",
            "echo a b c d e",
        ] {
            assert_eq!(times(line), None, "{line}");
        }
    }
}
