//! Conditions, loops, groups and functions: what a command stands in.

/// What is open where a command stands: a command in it may run often, or never.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Open {
    If,
    Loop,
    Case,
    Group,
    Subshell,
    /// With its name.
    Function(String),
}

/// Words that stand before a command and leave it what it is.
const BETWEEN: [&str; 5] = ["then", "else", "elif", "do", "!"];
/// What is open, the innermost last.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    open: Vec<Open>,
    /// The head of a function was read, and the brace that opens its body not yet.
    awaits_brace: bool,
}

impl Blocks {
    /// Whether nothing is open: a command runs once.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether patterns of a `case` may come.
    pub(super) fn is_case(&self) -> bool {
        self.open.last() == Some(&Open::Case)
    }

    /// The function in which a command stands.
    pub(super) fn function(&self) -> Option<&str> {
        self.open.iter().find_map(|open| match open {
            Open::Function(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// What stands within a command.
    pub(super) fn within(&self) -> Self {
        let mut blocks = self.clone();
        blocks.open.push(Open::Subshell);
        blocks
    }

    /// Takes the words away that open and end conditions, loops, groups and functions; whether there were
    /// any.
    pub(super) fn enter(&mut self, words: &mut Vec<String>) -> bool {
        let mut is_block = false;
        while let Some(first) = words.first().cloned() {
            let mut taken = 1;
            match first.as_str() {
                word if BETWEEN.contains(&word) => {}
                "if" => self.open.push(Open::If),
                "while" | "until" => self.open.push(Open::Loop),
                "for" | "select" | "case" => {
                    taken = words.len();
                    let is_case = first == "case";
                    self.open
                        .push(if is_case { Open::Case } else { Open::Loop });
                }
                "{" if std::mem::take(&mut self.awaits_brace) => {}
                "{" => self.open.push(Open::Group),
                "(" => self.open.push(Open::Subshell),
                "fi" => self.close(|open| *open == Open::If),
                "done" => self.close(|open| *open == Open::Loop),
                "esac" => self.close(|open| *open == Open::Case),
                // Behind a pattern of a `case` it closes nothing.
                ")" => {
                    let of = |open: &Open| matches!(open, Open::Subshell | Open::Case);
                    if self.open.iter().rfind(|open| of(open)) == Some(&Open::Subshell) {
                        self.close(|open| *open == Open::Subshell);
                    }
                }
                "}" => self.close(|open| matches!(open, Open::Group | Open::Function(_))),
                _ => {
                    let is_named = first == "function";
                    let name = &words[usize::from(is_named).min(words.len() - 1)];
                    let behind = words.get(1 + usize::from(is_named));
                    let is_apart = behind.is_some_and(|word| word == "()");
                    if !is_named && !is_apart && !name.ends_with("()") {
                        return is_block;
                    }
                    let name = name.trim_end_matches("()").to_owned();
                    self.open.push(Open::Function(name));
                    self.awaits_brace = true;
                    taken = 1 + usize::from(is_named) + usize::from(is_apart);
                }
            }
            is_block |= !BETWEEN.contains(&first.as_str());
            words.drain(..taken.min(words.len()));
        }
        is_block
    }

    /// Closes the innermost that is meant, and what is open in it.
    fn close(&mut self, is_meant: impl Fn(&Open) -> bool) {
        if let Some(at) = self.open.iter().rposition(is_meant) {
            self.open.truncate(at);
        }
    }
}
