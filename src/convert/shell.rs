//! Lines of a shell script as commands: no more of the shell than maintenance scripts have.

/// What stands before a command in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing: it runs.
    Nothing,
    /// `&&` or `||`: it runs if the one before it went well, or did not.
    Condition,
    /// `|`: it reads what another one writes.
    Pipe,
}

/// One command of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) before: Before,
    pub(super) words: Vec<String>,
    /// The file that its output goes to.
    pub(super) output: Option<String>,
    /// Part of it is known only when it runs.
    pub(super) expands: bool,
}

impl Command {
    fn new(before: Before) -> Self {
        Self {
            before,
            words: Vec::new(),
            output: None,
            expands: false,
        }
    }
}

/// Logical lines with the number of their first one: what ends in a backslash goes on.
pub(super) fn lines(content: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, line) in content.lines().enumerate() {
        let line = line.trim_end();
        let (text, continues) = match line.strip_suffix('\\') {
            Some(text) => (text, true),
            None => (line, false),
        };
        match lines.last_mut() {
            Some((_, whole)) if goes_on => {
                whole.push(' ');
                whole.push_str(text.trim_start());
            }
            _ => lines.push((index + 1, text.trim_start().to_owned())),
        }
        goes_on = continues;
    }
    lines
}

/// The commands of a line. `None` where a quote does not end.
pub(super) fn commands(line: &str) -> Option<Vec<Command>> {
    let mut done = Vec::new();
    let mut command = Command::new(Before::Nothing);
    let mut word: Option<String> = None;
    let mut redirects = Redirect::No;
    let mut rest = line.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\'' => {
                let text = word.get_or_insert_default();
                loop {
                    match rest.next()? {
                        '\'' => break,
                        other => text.push(other),
                    }
                }
            }
            '"' => {
                let text = word.get_or_insert_default();
                loop {
                    match rest.next()? {
                        '"' => break,
                        '\\' if matches!(rest.peek(), Some('"' | '\\' | '$' | '`')) => {
                            text.extend(rest.next());
                        }
                        other => {
                            command.expands |= matches!(other, '$' | '`');
                            text.push(other);
                        }
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(rest.next()),
            '#' if word.is_none() => break,
            '>' | '<' => {
                // A number right before it names what is redirected.
                let of = word.take_if(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
                end(&mut command, &mut word, &mut redirects);
                let mut is_copy = false;
                while let Some(next) = rest.next_if(|next| matches!(next, '>' | '&' | '|' | '<')) {
                    is_copy |= next == '&';
                }
                let is_output = character == '>' && of.is_none_or(|of| of == "1") && !is_copy;
                redirects = if is_output {
                    Redirect::Output
                } else {
                    Redirect::Other
                };
            }
            '&' if rest.peek() == Some(&'>') => {
                end(&mut command, &mut word, &mut redirects);
                rest.next();
                redirects = Redirect::Other;
            }
            ';' | '&' | '|' => {
                end(&mut command, &mut word, &mut redirects);
                let twice = rest.next_if_eq(&character).is_some();
                let before = match (character, twice) {
                    ('&' | '|', true) => Before::Condition,
                    ('|', false) => Before::Pipe,
                    _ => Before::Nothing,
                };
                done.push(std::mem::replace(&mut command, Command::new(before)));
            }
            character if character.is_whitespace() => {
                end(&mut command, &mut word, &mut redirects);
            }
            character => {
                command.expands |= matches!(character, '$' | '`' | '*' | '?');
                word.get_or_insert_default().push(character);
            }
        }
    }
    end(&mut command, &mut word, &mut redirects);
    done.push(command);
    done.retain(|command| !command.words.is_empty());
    Some(done)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Redirect {
    No,
    Output,
    Other,
}

fn end(command: &mut Command, word: &mut Option<String>, redirects: &mut Redirect) {
    let Some(word) = word.take() else { return };
    match std::mem::replace(redirects, Redirect::No) {
        Redirect::No => command.words.push(word),
        Redirect::Output => command.output = Some(word),
        Redirect::Other => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<(Before, String, Option<String>)> {
        let commands = commands(line).unwrap();
        (commands.into_iter())
            .map(|command| (command.before, command.words.join(" "), command.output))
            .collect()
    }

    #[test]
    fn a_line_is_cut_into_commands_and_what_they_write_to() {
        use Before::{Condition, Nothing, Pipe};
        let none = |before, text: &str| (before, text.to_owned(), None);
        for (line, commands) in [
            ("conntrack -C # now", vec![none(Nothing, "conntrack -C")]),
            (
                "conntrack -D -p tcp >/dev/null 2>&1 || true",
                vec![
                    (
                        Nothing,
                        "conntrack -D -p tcp".to_owned(),
                        Some("/dev/null".to_owned()),
                    ),
                    none(Condition, "true"),
                ],
            ),
            (
                "a 'b c' \"d;e\";f\\ g&&h|i &> log",
                vec![
                    none(Nothing, "a b c d;e"),
                    none(Nothing, "f g"),
                    none(Condition, "h"),
                    none(Pipe, "i"),
                ],
            ),
            (
                "echo 7 > /proc/x",
                vec![(Nothing, "echo 7".to_owned(), Some("/proc/x".to_owned()))],
            ),
            ("# nothing", vec![]),
        ] {
            assert_eq!(words(line), commands, "{line}");
        }
        assert_eq!(commands("echo 'x"), None);
        assert!(commands("conntrack -D -s $ip").unwrap()[0].expands);
        assert!(!commands("conntrack -D -s '$ip'").unwrap()[0].expands);
    }

    #[test]
    fn a_backslash_at_the_end_joins_lines() {
        let lines = lines("a \\\n  b\nc\n");
        assert_eq!(lines, [(1, "a  b".to_owned()), (3, "c".to_owned())]);
    }
}
