//! The times of a crontab.

/// How often a line of a crontab runs, where an interval says that, and the command behind its times.
/// `None` where the line begins with no times.
pub(super) fn times(line: &str) -> Option<(Option<u64>, &str)> {
    let line = line.trim_start();
    if let Some(rest) = line.strip_prefix('@') {
        let (word, command) = rest.split_once(char::is_whitespace)?;
        let every = match word {
            "hourly" => Some(3600),
            "daily" | "midnight" => Some(DAY),
            "weekly" => Some(WEEK),
            // No interval is as long as every month, or every year.
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

/// `*/5`, `1-5`, `0,30`, `MON-FRI`, `0~59`; a time has at least one of digits and `*`, or is a day's name.
fn is_field(word: &str) -> bool {
    let part = |part: &str| {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let end = |end: &str| {
            let is_name = end.len() == 3 && end.bytes().all(|byte| byte.is_ascii_alphabetic());
            is_name || end.parse::<u8>().is_ok()
        };
        let (first, last) = range.split_once(['-', '~']).unwrap_or((range, range));
        step.parse::<u16>().is_ok() && (["*", "~"].contains(&range) || (end(first) && end(last)))
    };
    word.split(',').all(part)
}

const DAY: u64 = 86_400;
const WEEK: u64 = 7 * DAY;
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// What a field of times says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Any,
    /// Every so many, from the first to the last without a remainder.
    Each(u64),
    One,
    /// A range, a list or a step that leaves a remainder, or nothing that cron takes.
    Other,
}

/// What a field says whose values are from a first to a last one.
fn at(field: &str, (first, last): (u64, u64)) -> At {
    let number = |text: &str| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_number)
    };
    let values = last - first + 1;
    let whole = format!("{first}-{last}");
    let (range, step) = field.split_once('/').unwrap_or((field, "1"));
    if range == "*" || range == whole {
        return match number(step) {
            Some(1) => At::Any,
            Some(step) if step > 0 && values.is_multiple_of(step) => At::Each(step),
            _ => At::Other,
        };
    }
    let listed: Option<Vec<u64>> = field.split(',').map(number).collect();
    let Some(listed) = listed.filter(|all| all.iter().all(|one| (first..=last).contains(one)))
    else {
        return At::Other;
    };
    let count = listed.len() as u64;
    let step = values / count;
    let is_even =
        values.is_multiple_of(count) && listed.windows(2).all(|two| two[1] == two[0] + step);
    match count {
        1 => At::One,
        _ if is_even => At::Each(step),
        _ => At::Other,
    }
}

/// Seconds between two runs, where they are always the same.
fn every([minute, hour, day, month, weekday]: [&str; 5]) -> Option<u64> {
    use At::{Any, Each, One};
    if day != "*" || month != "*" {
        return None;
    }
    let is_named = WEEKDAYS
        .iter()
        .any(|name| name.eq_ignore_ascii_case(weekday));
    // Sunday is 7 as well.
    let weekday = if is_named { One } else { at(weekday, (0, 7)) };
    match (at(minute, (0, 59)), at(hour, (0, 23)), weekday) {
        (Any, Any, Any) => Some(60),
        (Each(step), Any, Any) => Some(step * 60),
        (One, Any, Any) => Some(3600),
        (One, Each(step), Any) => Some(step * 3600),
        (One, One, Any) => Some(DAY),
        (One, One, One) => Some(WEEK),
        _ => None,
    }
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
            ("0 3 * * 0 x", Some(604_800), "x"),
            ("0 3 * * sun x", Some(604_800), "x"),
            ("0 3 * * 7 x", Some(604_800), "x"),
            ("*/5 */1 * * * x", Some(300), "x"),
            ("0,30 * * * * x", Some(1800), "x"),
            ("5,20,35,50 * * * * x", Some(900), "x"),
            ("0-59/10 * * * * x", Some(600), "x"),
            ("7 3,15 * * * x", Some(43_200), "x"),
            ("0 */8 * * * x", Some(28_800), "x"),
            ("@hourly x y", Some(3600), "x y"),
            ("@weekly x", Some(604_800), "x"),
        ] {
            assert_eq!(times(line), Some((every, command)), "{line}");
        }
    }

    #[test]
    fn what_no_interval_says_has_none() {
        for times_of_line in [
            "@reboot",
            "@monthly",
            "@annually",
            "@yearly",
            "0 3 1 * *",
            "0 3 1 1 *",
            "0 3 30 JUN *",
            "*/5 2-4 * * *",
            "*/5 3 * * *",
            "* 3 * * *",
            "0-30/5 * * * *",
            "0 2-4 * * *",
            "0 */5 * * *",
            "*/7 * * * *",
            "*/0 * * * *",
            "0,20 * * * *",
            "0,30,60 * * * *",
            "30,0 * * * *",
            "0,30,30 * * * *",
            "1-59/5 * * * *",
            "0~59 3 * * *",
            "~ 3 * * *",
            "0 3 */2 * *",
            "0 3 1,15 * *",
            "0 3 * 1 *",
            "0 3 1 */3 *",
            "0 3 1 * MON",
            "0 * * * MON",
            "0 3 * * MON-FRI",
            "0 3 * * FOO",
            // Cron refuses these.
            "60 * * * *",
            "0 24 * * *",
            "0 3 * * 8",
            "+5 3 * * *",
        ] {
            let line = format!("{times_of_line} x");
            assert_eq!(times(&line), Some((None, "x")), "{line}");
        }
    }

    #[test]
    fn a_line_that_begins_with_no_times_has_none() {
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
