//! Lines of a shell script as commands: no more of the shell than maintenance scripts have.

use std::iter::Peekable;
use std::str::Chars;

/// What stands before a command in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing: it runs.
    Nothing,
    /// `&&`: it runs if the one before it went well.
    And,
    /// `||`: it runs if the one before it did not.
    Or,
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
    /// Commands whose output is part of it: what stands in `$(...)`, and between backticks.
    pub(super) inner: Vec<String>,
    /// The lines that end the here documents which it reads.
    pub(super) documents: Vec<String>,
}

impl Command {
    fn new(before: Before) -> Self {
        Self {
            before,
            words: Vec::new(),
            output: None,
            expands: false,
            inner: Vec::new(),
            documents: Vec::new(),
        }
    }

    /// Takes what runs within it, which stands at the front of `rest` up to `end`.
    fn substitute(
        &mut self,
        rest: &mut Peekable<Chars<'_>>,
        (start, end): (char, char),
        text: &mut String,
    ) -> Option<()> {
        let mut inner = String::new();
        let mut depth = 1;
        loop {
            let character = rest.next()?;
            if character == end {
                depth -= 1;
            } else if character == start {
                depth += 1;
            }
            if depth == 0 {
                break;
            }
            inner.push(character);
        }
        self.expands = true;
        text.push_str(&inner);
        // `$((1 + 2))` runs nothing.
        if !inner.starts_with('(') {
            self.inner.push(inner);
        }
        Some(())
    }
}

/// Logical lines with the number of their first one: what ends in a backslash or in an operator goes
/// on.
pub(super) fn lines(content: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, line) in content.lines().enumerate() {
        let line = line.trim();
        let code = line[..comment(line).unwrap_or(line.len())].trim_end();
        let operator = ["&&", "||", "|"].iter().any(|end| code.ends_with(end));
        let (text, continues) = match line.strip_suffix('\\') {
            // A comment ends with its line, whatever its last byte is.
            Some(text) if code == line => (text, true),
            _ if operator && !line.starts_with(';') => (code, true),
            _ => (line, false),
        };
        match lines.last_mut() {
            Some((_, whole)) if goes_on => {
                whole.push(' ');
                whole.push_str(text);
            }
            _ => lines.push((index + 1, text.to_owned())),
        }
        goes_on = continues;
    }
    lines
}

/// Where the comment of a line begins.
fn comment(line: &str) -> Option<usize> {
    let mut quote = None;
    let mut is_start = true;
    for (at, character) in line.char_indices() {
        match (quote, character) {
            (None, '#') if is_start => return Some(at),
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
        is_start = character.is_whitespace() || matches!(character, ';' | '&' | '|' | '(');
    }
    None
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
                        '$' if rest.next_if_eq(&'(').is_some() => {
                            command.substitute(&mut rest, ('(', ')'), text)?;
                        }
                        '`' => command.substitute(&mut rest, ('\0', '`'), text)?,
                        other => {
                            command.expands |= other == '$';
                            text.push(other);
                        }
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(rest.next()),
            '$' if rest.next_if_eq(&'(').is_some() => {
                command.substitute(&mut rest, ('(', ')'), word.get_or_insert_default())?;
            }
            '`' => command.substitute(&mut rest, ('\0', '`'), word.get_or_insert_default())?,
            '#' if word.is_none() => break,
            // The head of a function.
            '(' if rest.next_if_eq(&')').is_some() => {
                word.get_or_insert_default().push_str("()");
                end(&mut command, &mut word, &mut redirects);
            }
            '(' | ')' => {
                end(&mut command, &mut word, &mut redirects);
                if !command.words.is_empty() {
                    done.push(std::mem::replace(
                        &mut command,
                        Command::new(Before::Nothing),
                    ));
                }
                command.words.push(character.to_string());
            }
            '>' | '<' => {
                // A number right before it names what is redirected.
                let of = word.take_if(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
                end(&mut command, &mut word, &mut redirects);
                redirects = redirect(&mut rest, character, of.as_deref());
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
                    ('&', true) => Before::And,
                    ('|', true) => Before::Or,
                    ('|', false) => Before::Pipe,
                    _ => Before::Nothing,
                };
                done.push(std::mem::replace(&mut command, Command::new(before)));
            }
            character if character.is_whitespace() => {
                end(&mut command, &mut word, &mut redirects);
            }
            character => {
                command.expands |= matches!(character, '$' | '*' | '?');
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
    Document,
    Other,
}

/// What the signs say of which `first` is the first, with the number before them.
fn redirect(rest: &mut Peekable<Chars<'_>>, first: char, of: Option<&str>) -> Redirect {
    let mut signs = first.to_string();
    while let Some(next) = rest.next_if(|next| matches!(next, '>' | '&' | '|' | '<')) {
        signs.push(next);
    }
    match signs.as_str() {
        "<<" => {
            rest.next_if_eq(&'-');
            Redirect::Document
        }
        ">" | ">>" | ">|" if of.is_none_or(|of| of == "1") => Redirect::Output,
        _ => Redirect::Other,
    }
}

fn end(command: &mut Command, word: &mut Option<String>, redirects: &mut Redirect) {
    let Some(word) = word.take() else { return };
    match std::mem::replace(redirects, Redirect::No) {
        Redirect::No => command.words.push(word),
        Redirect::Output => command.output = Some(word),
        Redirect::Document => command.documents.push(word),
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
        use Before::{And, Nothing, Or, Pipe};
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
                    none(Or, "true"),
                ],
            ),
            (
                "a 'b c' \"d;e\";f\\ g&&h|i &> log",
                vec![
                    none(Nothing, "a b c d;e"),
                    none(Nothing, "f g"),
                    none(And, "h"),
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
    fn a_backslash_or_an_operator_at_the_end_joins_lines() {
        for (content, joined) in [
            ("a \\\n  b\nc\n", &[(1, "a  b"), (3, "c")][..]),
            ("a &&\n  b ||\nc\n", &[(1, "a && b || c")]),
            ("a | # why\nb", &[(1, "a | b")]),
            ("# a \\\nb", &[(1, "# a \\"), (2, "b")]),
            ("a # b \\\nc", &[(1, "a # b \\"), (2, "c")]),
            ("echo '# \\\nb'", &[(1, "echo '#  b'")]),
        ] {
            let lines = lines(content);
            let lines: Vec<_> = (lines.iter())
                .map(|(n, line)| (*n, line.as_str()))
                .collect();
            assert_eq!(lines, joined, "{content}");
        }
    }

    #[test]
    fn what_runs_within_a_command_is_found() {
        let inner = |line: &str| commands(line).unwrap()[0].inner.clone();
        assert_eq!(
            inner("logger \"$(conntrack -D -p udp)\""),
            ["conntrack -D -p udp"]
        );
        assert_eq!(inner("n=`conntrack -C`"), ["conntrack -C"]);
        assert_eq!(inner("a $(b $(c) d)"), ["b $(c) d"]);
        assert_eq!(inner("echo '$(a)' $((1 + 2))"), [""; 0]);
        assert_eq!(commands("cat <<-EOF").unwrap()[0].documents, ["EOF"]);
        assert_eq!(commands("cat <<<EOF").unwrap()[0].documents, [""; 0]);
    }

    #[test]
    fn groups_and_heads_of_functions_stand_by_themselves() {
        use Before::{And, Nothing};
        let none = |before, text: &str| (before, text.to_owned(), None);
        for (line, commands) in [
            (
                "a && (b; c)",
                vec![
                    none(Nothing, "a"),
                    none(And, "( b"),
                    none(Nothing, "c"),
                    none(Nothing, ")"),
                ],
            ),
            (
                "f() { a; }",
                vec![none(Nothing, "f() { a"), none(Nothing, "}")],
            ),
            ("f () {", vec![none(Nothing, "f () {")]),
            (
                "stop) a ;;",
                vec![none(Nothing, "stop"), none(Nothing, ") a")],
            ),
        ] {
            assert_eq!(words(line), commands, "{line}");
        }
    }
}
