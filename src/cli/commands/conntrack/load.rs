//! `-R`: a file of lines of this language, read whole before anything is done.

use std::fs;
use std::io::{self, Read};

use super::{Stop, obey, read};
use crate::conntrack::line::{Line, Table};
use crate::conntrack::options::Verb;

/// Words of a line and bytes of a word, as the tool has them.
const WORDS: usize = 254;
const WORD: usize = 1023;

pub(super) fn run(file: &str) -> Result<u8, Stop> {
    let text = if file == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    let text = text
        .map_err(|error| Stop::usage(format!("Failed to open file {file} for reading: {error}")))?;
    let mut lines: Vec<(usize, Line)> = Vec::new();
    for (number, text) in (1..).zip(text.lines()) {
        let place = format!("{file}:{number}");
        let text = text.trim_start_matches([' ', '\t']);
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let at = |stop: Stop| stop.at(&place);
        let line = words(text)
            .and_then(|words| read(&words))
            .and_then(|line| may_be_loaded(&line).map(|()| line))
            .map_err(at)?;
        lines.push((number, line));
    }
    for (number, line) in &lines {
        obey(line, false).map_err(|stop| stop.at(&format!("{file}:{number}")))?;
    }
    Ok(0)
}

fn may_be_loaded(line: &Line) -> Result<(), Stop> {
    let name = match line.verb() {
        Verb::Create | Verb::Add | Verb::Update | Verb::Delete | Verb::Flush
            if line.table == Table::Conntrack =>
        {
            return Ok(());
        }
        Verb::List => "-L",
        Verb::Get => "-G",
        Verb::Event => "-E",
        Verb::Version => "-V",
        Verb::Help => "-h",
        Verb::Count => "-C",
        Verb::Stats => "-S",
        Verb::Create => "-I expect",
        Verb::Delete => "-D expect",
        _ => "-F expect",
    };
    Err(Stop::usage(format!(
        "Cannot use command `{name}' with --load-file"
    )))
}

/// Words between blanks; within double quotes blanks count, and a backslash takes the next as it is.
fn words(text: &str) -> Result<Vec<String>, Stop> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars().chain([' ']) {
        match c {
            c if escaped => {
                word.push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
        if word.len() > WORD {
            return Err(Stop::usage("Parameter too long!"));
        }
    }
    if quoted {
        return Err(Stop::usage("a double quote is not closed"));
    }
    if words.len() > WORDS {
        return Err(Stop::usage("too many arguments"));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_the_tool_splits_them() {
        assert_eq!(
            words(r#"-A  "a b"	c\d "e\"f""#).unwrap(),
            ["-A", "a b", r"c\d", "e\"f"]
        );
        assert!(words("\"open").is_err());
    }
}
