//! Lines, and the commands in them: which of them set a tunable or act on the table.

use super::block::Blocks;
use super::prefix::{is_variable, unwrap};
use super::shell::{self, Before, Command};
use super::sysctl::{self, Named};
use super::{Found, Input, Left, Origin, Setting, cron, rule};
use crate::conntrack::line::{Line, Table};
use crate::conntrack::options::Verb;

/// Reads all lines of an input.
pub(super) fn read(found: &mut Found, input: usize, text: &Input) {
    let mut reader = Reader {
        found,
        blocks: Blocks::default(),
        enders: Vec::new(),
        doubt: None,
    };
    let lines = shell::lines(&text.content);
    let mut at = 0;
    while let Some((line, text_of_line)) = lines.get(at) {
        let origin = Origin {
            input,
            file: text.name.clone(),
            line: *line,
        };
        at += 1;
        at += reader.line(&origin, text_of_line, &lines[at..]);
    }
}

struct Reader<'a> {
    found: &'a mut Found,
    blocks: Blocks,
    /// Functions that end the script.
    enders: Vec<String>,
    /// Why what follows may not run at all.
    doubt: Option<&'static str>,
}

/// What is known of a command that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ran {
    /// It goes well.
    Well,
    /// Where it does not go well, means are missing: a script that ends then would have failed.
    Able,
    Unknown,
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

/// Commands that do nothing to the system, and go well.
const NOTHING: [&str; 4] = ["true", ":", "set", "sleep"];
/// Commands that end a script, or a function.
const ENDING: [&str; 2] = ["exit", "return"];
/// Commands that look whether a program is there.
const SEEKING: [&str; 3] = ["which", "type", "hash"];
/// Commands that fail where means are missing.
const NEEDING: [&str; 2] = ["modprobe", "cd"];
/// Commands that only show something.
const SHOWING: [&str; 18] = [
    "cat", "grep", "egrep", "head", "tail", "wc", "sort", "uniq", "awk", "sed", "logger", "less",
    "dmesg", "[", "[[", "test", "date", "id",
];
/// Stands around code in Markdown.
const FENCE: &str = "```";

const CONDITION: &str = "runs under a condition only: write a rule, with `when = { fill-above = ... }` where it is a \
                         full table";
const UNREAD: &str = "stands behind a quote that does not end";
const ENDED: &str = "stands behind the end of the script";
const PERHAPS_ENDED: &str = "runs only where the script did not end before";

impl Reader<'_> {
    /// Reads a line; how many of those that follow belong to it.
    fn line(&mut self, origin: &Origin, text: &str, following: &[(usize, String)]) -> usize {
        if text.is_empty() || text.starts_with(['#', ';']) {
            return 0;
        }
        if text.starts_with(FENCE) {
            // What follows is a script of its own, or prose.
            (self.blocks, self.doubt) = (Blocks::default(), None);
            return 0;
        }
        if let Some((name, value)) = assignment(text) {
            let at = At {
                origin,
                text,
                is_timed: false,
                every: None,
            };
            self.set(&at, name, value);
            return 0;
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
            return self.open_quote(&at, rest, following);
        };
        let documents: Vec<_> = (commands.iter())
            .flat_map(|command| command.documents.clone())
            .collect();
        if at.is_timed {
            // A script of its own.
            let outer = (std::mem::take(&mut self.blocks), self.doubt.take());
            self.chain(&at, commands);
            (self.blocks, self.doubt) = outer;
        } else {
            self.chain(&at, commands);
        }
        let mut length = 0;
        for end in documents {
            let body = &following[length..];
            let ends = body.iter().position(|(_, line)| *line == end);
            let body = &body[..ends.unwrap_or(body.len())];
            length = (length + body.len() + 1).min(following.len());
            if body.iter().any(|(_, line)| may_act(line)) {
                self.leave(
                    &at,
                    format!("what follows up to `{end}` is text for a command, and no command"),
                );
            }
        }
        length
    }

    /// Passes over the lines that a quote goes over.
    fn open_quote(&mut self, at: &At<'_>, start: &str, following: &[(usize, String)]) -> usize {
        let mut whole = start.to_owned();
        for (index, (_, line)) in following.iter().enumerate() {
            if at.is_timed || line.starts_with(FENCE) {
                break;
            }
            whole.push('\n');
            whole.push_str(line);
            if shell::commands(&whole).is_none() {
                continue;
            }
            let why = "a quote in it goes over several lines";
            if may_act(&whole) {
                self.leave(at, why);
            } else {
                self.show(at, why);
            }
            return index + 1;
        }
        self.leave(at, "a quote does not end in its line");
        if !at.is_timed {
            self.doubt = Some(UNREAD);
        }
        0
    }

    /// The commands of a line, or of what a command runs.
    fn chain(&mut self, at: &At<'_>, commands: Vec<Command>) {
        let mut commands = commands.into_iter().peekable();
        let (mut runs, mut last) = (true, Ran::Well);
        while let Some(mut command) = commands.next() {
            let next = commands.peek();
            let is_pattern = next.is_some_and(|next| next.words[0] == ")");
            if is_pattern && self.blocks.is_case() {
                continue;
            }
            if let Some(path) = next.and_then(teed)
                && command.words[0] == "echo"
                && command.output.is_none()
            {
                command.output = Some(path);
                commands.next();
            }
            let certain = match command.before {
                Before::Nothing => true,
                Before::And => runs && last == Ran::Well,
                Before::Or => false,
                Before::Pipe => runs,
            };
            let is_otherwise = command.before == Before::Or;
            let was_able = last != Ran::Unknown;
            last = self.command(at, command, certain, is_otherwise && was_able);
            runs = certain;
        }
    }

    /// One command. `certain`: it runs, as far as the line tells. `lacks`: it runs where means are
    /// missing.
    fn command(&mut self, at: &At<'_>, mut command: Command, certain: bool, lacks: bool) -> Ran {
        self.inner(at, std::mem::take(&mut command.inner));
        if self.blocks.enter(&mut command.words) {
            self.show(
                at,
                "a condition, a loop or a function: what stands in it is told by itself",
            );
        }
        if command.words.is_empty() {
            return Ran::Unknown;
        }
        let seeks = SEEKING.contains(&command.words[0].as_str())
            || command.words[..2.min(command.words.len())] == ["command", "-v"];
        if seeks && command.before != Before::Pipe {
            self.show(at, "only looks whether a program is there");
            return Ran::Able;
        }
        let is_assignment = command.words.iter().all(|word| is_variable(word));
        unwrap(&mut command.words, at.is_timed);
        let program = command.words[0]
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let may_not_run = !certain || !self.blocks.is_empty() || self.doubt.is_some();
        if command.before == Before::Pipe {
            if SHOWING.contains(&program.as_str()) && !writes(&command) {
                self.show(at, "shows what another command writes");
            } else {
                self.leave(
                    at,
                    "goes by what another command writes: write the match that is meant",
                );
            }
            return Ran::Unknown;
        }
        match program.as_str() {
            name if NOTHING.contains(&name) => return Ran::Well,
            name if ENDING.contains(&name) || self.enders.iter().any(|ender| ender == name) => {
                self.end(certain, lacks);
            }
            "conntrack" | "sysctl"
                if (may_not_run || command.expands) && !looks(&program, &command.words[1..]) =>
            {
                let why = if may_not_run {
                    self.doubt.unwrap_or(CONDITION)
                } else {
                    "a part of it is known only when it runs"
                };
                self.leave(at, why);
            }
            // Without an entry to delete the tool fails.
            "conntrack" => {
                self.conntrack(at, &command.words[1..]);
                return Ran::Able;
            }
            "sysctl" => {
                self.sysctl(at, &command.words[1..]);
                return Ran::Well;
            }
            "echo" | "printf" => {
                self.echo(at, &command, may_not_run);
                return Ran::Well;
            }
            "watch" => self.watch(at, &command.words[1..]),
            "sh" | "bash" if command.words.get(1).is_some_and(|word| word == "-c") => {
                let inner = command
                    .words
                    .get(2)
                    .and_then(|inner| shell::commands(inner));
                match inner {
                    Some(inner) if !may_not_run => self.chain(at, inner),
                    _ => self.leave(at, "what it runs is not known here"),
                }
            }
            "ip" if command
                .words
                .iter()
                .any(|word| word == "conntrack" || word == "sysctl") =>
            {
                self.leave(
                    at,
                    "works in another network namespace, which has a policy of its own: convert it by itself",
                );
            }
            _ if writes(&command) => self.leave(at, "writes a file: convert what it writes"),
            name if SHOWING.contains(&name) => {
                self.show(at, "only shows something");
                if asks_for_means(&command.words) {
                    return Ran::Able;
                }
            }
            _ if is_assignment => self.show(at, "sets a variable, which a policy has no use for"),
            name => {
                self.leave(at, "is no sysctl and no conntrack command");
                if NEEDING.contains(&name) {
                    return Ran::Able;
                }
            }
        }
        Ran::Unknown
    }

    /// What runs within a command, for its output.
    fn inner(&mut self, at: &At<'_>, inner: Vec<String>) {
        for inner in inner {
            let within = self.blocks.within();
            let outer = std::mem::replace(&mut self.blocks, within);
            match shell::commands(&inner) {
                Some(commands) => self.chain(at, commands),
                None => self.leave(at, "a quote does not end in it"),
            }
            self.blocks = outer;
        }
    }

    /// The script ends here, if it gets here.
    fn end(&mut self, certain: bool, lacks: bool) {
        match self.blocks.function() {
            Some(name) => self.enders.push(name.to_owned()),
            None if certain && self.blocks.is_empty() => self.doubt = Some(ENDED),
            None if lacks && self.blocks.is_empty() => {}
            None => self.doubt = self.doubt.or(Some(PERHAPS_ENDED)),
        }
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
        if words.iter().any(|word| loads(word)) {
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
            return if writes(command) {
                self.leave(at, "writes a file: convert what it writes");
            } else {
                self.show(at, "only prints");
            };
        }
        match &command.words[1..] {
            _ if may_not_run => self.leave(at, self.doubt.unwrap_or(CONDITION)),
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
        if words
            .first()
            .is_some_and(|word| word == "-R" || word == "--load-file")
        {
            return self.leave(
                at,
                "loads a file: convert its lines, with `conntrack` before each",
            );
        }
        let line = match Line::parse(words) {
            Ok(line) => line,
            Err(error) => return self.leave(at, format!("conntrack refuses it too: {error}")),
        };
        if let Some(instead) = instead(line.verb()) {
            return self.show(at, format!("only looks: `conntidy {instead}`"));
        }
        match line.verb() {
            Verb::Delete | Verb::Flush if at.is_timed && at.every.is_none() => {
                self.leave(at, "runs at times that no interval says: write a rule with the `every` that is meant");
            }
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

/// The command of conntidy that shows what a conntrack command shows.
fn instead(verb: Verb) -> Option<&'static str> {
    match verb {
        Verb::List => Some("list"),
        Verb::Get => Some("get"),
        Verb::Event => Some("events"),
        Verb::Count => Some("count"),
        Verb::Stats => Some("stats"),
        Verb::Version | Verb::Help => Some("--help"),
        _ => None,
    }
}

/// Whether an argument of `sysctl` has it read a file.
fn loads(word: &str) -> bool {
    let is_cluster = word.starts_with('-') && !word.starts_with("--");
    word.starts_with("--load") || word == "--system" || (is_cluster && word.contains(['p', 'f']))
}

/// Whether a command changes nothing, whatever its words expand to.
fn looks(program: &str, words: &[String]) -> bool {
    if program == "sysctl" {
        return !words
            .iter()
            .any(|word| word.contains(['=', '$', '`']) || loads(word));
    }
    Line::parse(words).is_ok_and(|line| instead(line.verb()).is_some())
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

/// Whether a text has to do with connection tracking or its tunables.
fn may_act(text: &str) -> bool {
    ["conntrack", "sysctl", "/proc/sys"]
        .iter()
        .any(|word| text.contains(word))
}

/// Whether the output of a command may become a setting: a log is none.
fn writes(command: &Command) -> bool {
    let is_setting = |text: &str| text.contains("nf_conntrack") || text.contains("sysctl");
    command.output.as_ref().is_some_and(|path| {
        is_setting(path)
            || ["/proc/", "/sys/", "/etc/"]
                .iter()
                .any(|of| path.starts_with(of))
            || (!path.starts_with("/dev/") && command.words.iter().any(|word| is_setting(word)))
    })
}

/// `| sudo tee /proc/sys/...`: the file, where it is one.
fn teed(command: &Command) -> Option<String> {
    let mut words = command.words.clone();
    unwrap(&mut words, false);
    let (program, arguments) = words.split_first()?;
    let mut files = arguments.iter().filter(|word| !word.starts_with('-'));
    let file = files.next().filter(|file| file.starts_with("/proc/sys/"))?;
    let is_one = command.before == Before::Pipe && program == "tee" && files.next().is_none();
    is_one.then(|| file.clone())
}

/// `[ -x /usr/sbin/conntrack ]`, `[ "$(id -u)" = 0 ]`.
fn asks_for_means(words: &[String]) -> bool {
    (words.iter()).any(|word| word == "-x" || word.contains("id -u") || word.contains("UID"))
}
