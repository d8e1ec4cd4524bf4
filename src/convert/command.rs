//! Lines, and the commands in them: which of them set a tunable or act on the table.

use super::shell::{self, Before, Command};
use super::sysctl::{self, Named};
use super::{Found, Input, Left, Origin, Setting, cron, rule};
use crate::conntrack::options::Verb;
use crate::conntrack::parse::{Line, Table};

/// Reads all lines of an input.
pub(super) fn read(found: &mut Found, input: usize, text: &Input) {
    let mut reader = Reader { found, depth: 0 };
    for (line, text_of_line) in shell::lines(&text.content) {
        let origin = Origin {
            input,
            file: text.name.clone(),
            line,
        };
        reader.line(&origin, &text_of_line);
    }
}

struct Reader<'a> {
    found: &'a mut Found,
    /// How many conditions, loops and functions are open.
    depth: usize,
}

/// One command and all that matters of its surroundings.
struct At<'a> {
    origin: &'a Origin,
    /// The line.
    text: &'a str,
    /// It stands behind the times of a crontab.
    is_timed: bool,
    every: Option<u64>,
}

/// Words that open what may run often, or never.
const OPENING: [&str; 7] = ["if", "while", "until", "for", "case", "select", "function"];
/// Words that end it.
const CLOSING: [&str; 4] = ["fi", "done", "esac", "}"];
/// Words between.
const BETWEEN: [&str; 4] = ["then", "else", "elif", "do"];
/// Commands that do nothing to the system.
const NOTHING: [&str; 4] = ["true", ":", "exit", "set"];
/// Commands that only show something.
const SHOWING: [&str; 13] = [
    "cat", "grep", "egrep", "head", "tail", "wc", "sort", "uniq", "awk", "sed", "logger", "less",
    "dmesg",
];
/// Commands that are understood, also behind others such as `sudo -n` or `nice`.
const KNOWN: [&str; 5] = ["conntrack", "sysctl", "echo", "watch", "cat"];
/// Commands that run another one as it stands.
const RUNNING: [&str; 9] = [
    "sudo", "doas", "exec", "command", "env", "nice", "ionice", "timeout", "time",
];

impl Reader<'_> {
    fn line(&mut self, origin: &Origin, text: &str) {
        if text.is_empty() || text.starts_with(['#', ';']) {
            return;
        }
        if let Some((name, value)) = assignment(text) {
            let at = At {
                origin,
                text,
                is_timed: false,
                every: None,
            };
            return self.set(&at, name, value);
        }
        let times = cron::times(text);
        let (every, rest) = times.unwrap_or((None, text));
        let at = At {
            origin,
            text,
            is_timed: times.is_some(),
            every,
        };
        let Some(commands) = shell::commands(rest) else {
            return self.leave(&at, "a quote does not end in its line");
        };
        let mut before_was_known = true;
        for command in commands {
            before_was_known = self.command(&at, command, before_was_known);
        }
    }

    /// Whether the command is one that is understood.
    fn command(&mut self, at: &At<'_>, mut command: Command, before_was_known: bool) -> bool {
        let is = |list: &[&str], command: &Command| {
            command
                .words
                .first()
                .is_some_and(|word| list.contains(&word.as_str()))
        };
        while is(&BETWEEN, &command) {
            command.words.remove(0);
        }
        let Some(first) = command.words.first().cloned() else {
            return true;
        };
        if is(&CLOSING, &command) {
            self.depth = self.depth.saturating_sub(1);
            return true;
        }
        let opens_function = first.ends_with("()") || first == "{";
        if is(&OPENING, &command) || opens_function {
            self.depth += 1;
            self.show(
                at,
                "a condition, a loop or a function: what stands in it is told by itself",
            );
            return true;
        }
        if is(&NOTHING, &command) {
            return true;
        }
        unwrap(&mut command.words, at.is_timed);
        let program = command.words[0]
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        if command.before == Before::Pipe {
            if matches!(program.as_str(), "conntrack" | "xargs" | "while") {
                self.leave(
                    at,
                    "goes by what another command writes: write the match that is meant",
                );
            } else {
                self.show(at, "shows what another command writes");
            }
            return true;
        }
        let may_not_run =
            (command.before == Before::Condition && !before_was_known) || self.depth > 0;
        match program.as_str() {
            "conntrack" | "sysctl" if may_not_run => self.leave(
                at,
                "runs under a condition only: write a rule, with `when = { fill-above = ... }` where it is a full \
                 table",
            ),
            "conntrack" | "sysctl" if command.expands => {
                self.leave(at, "a part of it is known only when it runs");
            }
            "conntrack" => self.conntrack(at, &command.words[1..]),
            "sysctl" => self.sysctl(at, &command.words[1..]),
            "echo" | "printf" => self.echo(at, &command, may_not_run),
            "watch" => self.watch(at, &command.words[1..]),
            "sh" | "bash" if command.words.get(1).is_some_and(|word| word == "-c") => {
                let inner = command.words.get(2).and_then(|inner| shell::commands(inner));
                match inner {
                    Some(inner) if !may_not_run => {
                        let mut known = true;
                        for command in inner {
                            known = self.command(at, command, known);
                        }
                    }
                    _ => self.leave(at, "what it runs is not known here"),
                }
            }
            "ip" if command.words.iter().any(|word| word == "conntrack" || word == "sysctl") => {
                self.leave(
                    at,
                    "works in another network namespace, which has a policy of its own: convert it by itself",
                );
            }
            name if SHOWING.contains(&name) => self.show(at, "only shows something"),
            _ if is_variable(&first) && command.words.len() == 1 => {
                self.show(at, "sets a variable, which a policy has no use for");
            }
            _ => {
                self.leave(at, "is no sysctl and no conntrack command");
                return false;
            }
        }
        true
    }

    fn set(&mut self, at: &At<'_>, name: &str, value: &str) {
        match sysctl::named(name) {
            Named::Known(tunable) => self.found.settings.push(Setting {
                origin: at.origin.clone(),
                text: at.text.to_owned(),
                tunable,
                value: value.to_owned(),
            }),
            Named::ReadOnly => self.leave(at, "this tunable can only be read"),
            Named::Unknown => {
                self.leave(at, "conntidy knows no such tunable of connection tracking");
            }
            Named::Foreign => self.leave(
                at,
                "is no tunable of connection tracking: leave it where it is",
            ),
        }
    }

    fn sysctl(&mut self, at: &At<'_>, words: &[String]) {
        let loads = |word: &String| {
            word.starts_with("-p")
                || word.starts_with("--load")
                || word == "--system"
                || word == "-f"
        };
        if words.iter().any(loads) {
            return self.leave(at, "loads files: convert those");
        }
        let mut sets = false;
        for word in words {
            if let Some((name, value)) = word.split_once('=') {
                sets = true;
                self.set(at, name.trim(), value.trim());
            }
        }
        if !sets {
            self.show(
                at,
                "only reads: `conntidy plan` shows the tunables of a policy",
            );
        }
    }

    /// `echo 1 > /proc/sys/net/netfilter/nf_conntrack_acct`.
    fn echo(&mut self, at: &At<'_>, command: &Command, may_not_run: bool) {
        let path = command.output.as_deref().unwrap_or_default();
        if !path.starts_with("/proc/sys/") {
            return self.show(at, "only prints");
        }
        match &command.words[1..] {
            _ if may_not_run => self.leave(at, "runs under a condition only"),
            [value] if !command.expands => self.set(at, path, value),
            _ => self.leave(at, "its value is known only when it runs"),
        }
    }

    /// `watch -n1 'conntrack -C'`.
    fn watch(&mut self, at: &At<'_>, words: &[String]) {
        let inner = words.join(" ");
        let acts = |flag: &str| words.iter().any(|word| word.contains(flag));
        if inner.contains("conntrack") && ["-D", "-F", "--delete", "--flush"].into_iter().any(acts)
        {
            self.leave(
                at,
                "acts for as long as somebody watches: convert the command in it",
            );
        } else {
            self.show(at, "only looks: `conntidy count --watch 1s`");
        }
    }

    fn conntrack(&mut self, at: &At<'_>, words: &[String]) {
        let line = match Line::parse(words) {
            Ok(line) => line,
            Err(error) => return self.leave(at, format!("conntrack refuses it too: {error}")),
        };
        let instead = match line.verb() {
            Verb::List => Some("list"),
            Verb::Get => Some("get"),
            Verb::Event => Some("events"),
            Verb::Count => Some("count"),
            Verb::Stats => Some("stats"),
            Verb::Version | Verb::Help => Some("--help"),
            _ => None,
        };
        if let Some(instead) = instead {
            return self.show(at, format!("only looks: `conntidy {instead}`"));
        }
        match line.verb() {
            Verb::Delete | Verb::Flush if line.table == Table::Conntrack => {
                match rule::of(&line, at.origin, at.text, at.every) {
                    Ok(rule) => self.found.rules.push(rule),
                    Err(why) => self.leave(at, why),
                }
            }
            Verb::Delete | Verb::Flush => self.leave(at, "rules are about flows, not about expectations"),
            _ => self.leave(
                at,
                "makes or changes entries, which no rule does: `conntidy create` and `conntidy update` do it once",
            ),
        }
    }

    fn leave(&mut self, at: &At<'_>, why: impl Into<String>) {
        self.tell(at, why.into(), false);
    }

    fn show(&mut self, at: &At<'_>, why: impl Into<String>) {
        self.tell(at, why.into(), true);
    }

    /// Several commands of a line are told as one; what acts counts more than what looks.
    fn tell(&mut self, at: &At<'_>, why: String, looks: bool) {
        let last = self.found.left.last_mut();
        match last.filter(|left| left.origin == *at.origin) {
            Some(left) if left.looks && !looks => (left.why, left.looks) = (why, false),
            Some(left) if left.looks == looks && !left.why.contains(&why) => {
                left.why = format!("{}; {why}", left.why);
            }
            Some(_) => {}
            None => self.found.left.push(Left {
                origin: at.origin.clone(),
                text: at.text.to_owned(),
                why,
                looks,
            }),
        }
    }
}

/// A line of a sysctl.d file.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let name = name.strip_prefix('-').unwrap_or(name);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/*".contains(&byte);
    let is_name = name.contains(['.', '/']) && name.bytes().all(is_plain);
    (is_name && !value.trim().is_empty()).then(|| (name, value.trim()))
}

/// `NAME=value`.
fn is_variable(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// Takes away what stands before a command: the user of a crontab, variables, `sudo` and the like.
fn unwrap(words: &mut Vec<String>, is_timed: bool) {
    let program = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let is_known = |word: &String| KNOWN.contains(&program(word).as_str());
    let Some(at) = words.iter().position(is_known) else {
        return;
    };
    let runs = |word: &String| is_variable(word) || RUNNING.contains(&program(word).as_str());
    // A user's name stands alone.
    let is_user = is_timed
        && at == 1
        && words[0]
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let of_a_user = is_timed && at > 1 && words.get(1).is_some_and(runs);
    if words.first().is_some_and(runs) || is_user || of_a_user {
        words.drain(..at);
    }
}
