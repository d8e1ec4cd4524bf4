//! The policy as text, with a comment on where each part of it came from.

use std::fmt::Write;

use super::{Act, Found, Left, Rule, Setting, rule};
use crate::tunable::{Home, Unit};

/// Writes the policy.
pub(super) fn policy(names: &[&str], found: &Found, passed_over: &[String]) -> String {
    let mut out = String::new();
    let of = match names {
        few if few.len() <= 3 => printable(&few.join(", ")),
        many => format!("{} files", many.len()),
    };
    line(&mut out, &format!("# Made by `conntidy convert` of {of}."));
    line(
        &mut out,
        "# `conntidy plan --policy FILE` shows what it would do; it changes nothing.",
    );
    line(&mut out, "version = 1");
    for (section, is_of) in [
        (
            "table",
            (|home| matches!(home, Home::Table(_))) as fn(Home) -> bool,
        ),
        ("timeouts", |home| matches!(home, Home::Timeouts(_))),
        ("sysctl", |home| home == Home::Sysctl),
    ] {
        let mut settings = (found.settings.iter())
            .filter(|setting| is_of(setting.tunable.home))
            .peekable();
        if settings.peek().is_some() {
            line(&mut out, &format!("\n[{section}]"));
        }
        for setting in settings {
            let (key, value) = (key(setting), value(setting));
            let from = printable(&format!("{}: {}", setting.origin, setting.text));
            line(&mut out, &format!("# {from}\n{key} = {value}"));
        }
    }
    for (index, rule) in found.rules.iter().enumerate() {
        write_rule(&mut out, rule, (index + 1) * 10, found);
    }
    for (title, looks) in [
        ("Not turned: see to these yourself", false),
        ("Left out, since nothing is missing without", true),
    ] {
        let mut left = (found.left.iter())
            .filter(|left| left.looks == looks)
            .peekable();
        if left.peek().is_some() {
            line(&mut out, &format!("\n# {title}:"));
        }
        for Left {
            origin, text, why, ..
        } in left
        {
            line(
                &mut out,
                &format!(
                    "# {}\n#     {}",
                    printable(&format!("{origin}: {text}")),
                    printable(why)
                ),
            );
        }
    }
    if !passed_over.is_empty() {
        line(
            &mut out,
            "\n# Passed over in a directory: name it by itself where it counts:",
        );
    }
    for name in passed_over {
        line(&mut out, &format!("# {}", printable(name)));
    }
    out
}

fn write_rule(out: &mut String, rule: &Rule, order: usize, found: &Found) {
    line(out, "");
    for (origin, text) in &rule.origins {
        line(
            out,
            &format!("# {}", printable(&format!("{origin}: {text}"))),
        );
    }
    match rule.act {
        Act::Idle { .. } => line(
            out,
            "# What is idle is shortened, not deleted: a living connection's next packet takes that back.",
        ),
        Act::Delete { assured: true } => line(
            out,
            "# This host's own flows are left alone; `include-host = true` takes them too, as conntrack did.",
        ),
        Act::Delete { assured: false } => {}
    }
    line(out, &format!("[rules.{}]", rule.name));
    line(out, &format!("order = {order}"));
    match rule.every {
        Some(seconds) => line(out, &format!("every = {}", rule::duration(seconds))),
        None => line(out, "# every = \"5m\"    it is not said how often this ran"),
    }
    let mut fields: Vec<_> = (rule.fields.iter())
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    if !rule.not.is_empty() {
        let not: Vec<_> = (rule.not.iter())
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        fields.push(format!("not = {{ {} }}", not.join(", ")));
    }
    if let Act::Idle { seconds } = rule.act {
        fields.push(format!("idle-for = {}", rule::duration(seconds)));
    }
    line(out, &format!("match = {{ {} }}", fields.join(", ")));
    match rule.act {
        Act::Idle { .. } => {
            line(out, "action = \"expire\"");
            if let Some(grace) = rule.grace(&found.settings) {
                line(out, &format!("grace = {}", rule::duration(grace)));
                line(
                    out,
                    &format!(
                        "accept-risk = \"these were deleted at once before ({})\"",
                        quoted(
                            &rule
                                .origins
                                .first()
                                .map(|(o, _)| o.to_string())
                                .unwrap_or_default()
                        )
                    ),
                );
            }
        }
        Act::Delete { assured } => {
            line(out, "action = \"delete\"");
            if assured {
                line(out, "allow-assured = true");
            }
        }
    }
}

fn line(out: &mut String, text: &str) {
    // A string takes every write.
    let _ = writeln!(out, "{text}");
}

/// Text that stays in its line, of a comment or a terminal: names of files hold line ends too. What would end
/// the line, or show it in another order than it is read, is escaped.
#[must_use]
pub fn printable(text: &str) -> String {
    let is_plain = |c: char| match c {
        '\t' => true,
        '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        c => !c.is_control(),
    };
    let mut out = String::new();
    for character in text.chars() {
        if is_plain(character) {
            out.push(character);
        } else {
            out.extend(character.escape_default());
        }
    }
    out
}

/// Text that may stand between quotes.
fn quoted(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('"', "\\\"")
}

fn key(setting: &Setting) -> String {
    match setting.tunable.home {
        Home::Table(key) | Home::Timeouts(key) => key.to_owned(),
        Home::Sysctl | Home::ReadOnly => setting.tunable.name.to_owned(),
    }
}

/// The value as policies have it; what is no number is shown to `check` as it is.
fn value(setting: &Setting) -> String {
    let text = setting.value.trim_matches(['"', '\'']);
    match (text.parse::<u64>(), setting.tunable.unit) {
        (Ok(number @ (0 | 1)), Unit::Switch) => (number == 1).to_string(),
        (Ok(number), Unit::Seconds) if number > 0 => rule::duration(number),
        (Ok(number), _) => number.to_string(),
        (Err(_), _) => format!("\"{}\"", quoted(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_line() {
        for (text, shown) in [
            ("a.sh:1: conntrack -D", "a.sh:1: conntrack -D"),
            ("5 * * * *\troot é \\n", "5 * * * *\troot é \\n"),
            ("a\n[rules.x]\r\n", "a\\n[rules.x]\\r\\n"),
            ("\u{1b}[2J\0\u{85}\u{7f}", "\\u{1b}[2J\\u{0}\\u{85}\\u{7f}"),
            ("a\u{2028}b\u{202e}c", "a\\u{2028}b\\u{202e}c"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}
