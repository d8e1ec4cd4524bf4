//! Manual pages: one a command, from its help, and one a format, from its documentation.

use std::io;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use super::markdown;

const MANUAL: &str = "Connection tracking policy";

/// The program, and its page.
const PROGRAM: &str = "conntidy";

/// What the examples of a command's help begin with.
const EXAMPLES: &str = "Examples:";

/// Where the exit codes are documented, for the page of the program itself.
const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// The pages of section 5: name, what it is in a line, and its source.
const FORMATS: [(&str, &str, &str); 2] = [
    (
        "conntidy-policy",
        "the policy language of conntidy",
        include_str!("../../../docs/policy.md"),
    ),
    (
        "conntidy-snapshot",
        "the snapshot format of conntidy",
        include_str!("../../../docs/snapshot-format.md"),
    ),
];

/// A manual page.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Page {
    /// As `man` is asked for it: `conntidy-apply`.
    pub(in crate::cli) name: String,
    /// 1 or 5.
    pub(in crate::cli) section: u8,
    /// Its source.
    pub(in crate::cli) roff: String,
}

impl Page {
    /// `conntidy-apply.1`.
    pub(in crate::cli) fn file_name(&self) -> String {
        format!("{}.{}", self.name, self.section)
    }
}

/// All pages, the program's own first.
pub(in crate::cli) fn pages(program: Command) -> Vec<Page> {
    // The built-in `help` would be a page of its own, that of each command's `help` too.
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add_commands(&program, &mut pages);
    pages.extend(FORMATS.map(|(name, about, source)| format_page(name, about, source)));
    pages
}

fn add_commands(command: &Command, pages: &mut Vec<Page>) {
    pages.push(command_page(command));
    for command in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        add_commands(command, pages);
    }
}

/// The page of a command: what `clap_mangen` makes of its arguments, with the examples of its help.
fn command_page(command: &Command) -> Page {
    let name = command.get_display_name().unwrap_or(PROGRAM).to_owned();
    let help = command.get_after_help().map(ToString::to_string);
    let help = help.unwrap_or_default();
    let (examples, notes): (Vec<_>, Vec<_>) = help
        .split("\n\n")
        .partition(|block| block.starts_with(EXAMPLES));
    // Of the program itself the notes are its exit codes, which have a section of their own.
    let notes = notes
        .iter()
        .filter(|note| !note.is_empty() && name != PROGRAM);

    let of_arguments = || {
        let man = Man::new(command.clone());
        let mut text = Vec::new();
        man.render_synopsis_section(&mut text)?;
        man.render_description_section(&mut text)?;
        let mut roff = Roff::new();
        for note in notes {
            roff.control("PP", []).text([roman(*note)]);
        }
        roff.to_writer(&mut text)?;
        man.render_options_section(&mut text)?;
        if command.has_subcommands() {
            man.render_subcommands_section(&mut text)?;
        }
        io::Result::Ok(text)
    };
    let of_arguments = of_arguments().expect("memory takes everything");
    let of_arguments = tidied(&String::from_utf8_lossy(&of_arguments));

    let mut head = Roff::new();
    let about = command.get_about().map(ToString::to_string);
    title(&mut head, &name, 1, &about.unwrap_or_default());
    let mut tail = Roff::new();
    for block in examples {
        tail.control("SH", ["EXAMPLES"]);
        markdown::verbatim(&mut tail, &without_margin(&block[EXAMPLES.len()..]));
    }
    tail.control("SH", ["EXIT STATUS"]);
    if name == PROGRAM {
        markdown::body(&mut tail, markdown::section(OPERATIONS, "Exit codes"));
    } else {
        tail.text([roman("As told in "), bold(PROGRAM), roman("(1).")]);
    }
    see_also(&mut tail, &name, 1);
    // Each part begins with the definition of the apostrophe; a page needs it once.
    let preamble = Roff::new().render();
    let page = head.render() + &of_arguments + &tail.render();
    Page {
        section: 1,
        roff: preamble.clone() + &page.replace(&preamble, ""),
        name,
    }
}

fn format_page(name: &str, about: &str, document: &str) -> Page {
    let mut roff = Roff::new();
    title(&mut roff, name, 5, about);
    roff.control("SH", ["DESCRIPTION"]);
    markdown::body(&mut roff, document);
    see_also(&mut roff, name, 5);
    Page {
        name: name.to_owned(),
        section: 5,
        roff: roff.render(),
    }
}

/// Without a date: one that the build does not know would only make two builds differ.
fn title(roff: &mut Roff, name: &str, section: u8, about: &str) {
    let (title, section) = (name.to_uppercase(), section.to_string());
    let source = format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"));
    roff.control("TH", [title.as_str(), &section, "\"\"", &source, MANUAL])
        .control("SH", ["NAME"])
        .text([roman(format!("{name} - {about}"))]);
}

/// What [`Man`] made: backquotes as bold type, and no breaks around an empty line, which would be none.
fn tidied(roff: &str) -> String {
    let roff = roff.replace("\n.br\n\n.br\n", "\n.sp\n");
    let mut tidy = String::with_capacity(roff.len());
    for line in roff.lines() {
        // A line without its pair stays as it is.
        let pairs = line.matches('`').count().is_multiple_of(2);
        for (index, part) in line.trim_end().split('`').enumerate() {
            match (index, index % 2 == 1) {
                (0, _) => {}
                (_, true) if pairs => tidy.push_str("\\fB"),
                (_, false) if pairs => tidy.push_str("\\fR"),
                _ => tidy.push('`'),
            }
            tidy.push_str(part);
        }
        tidy.push('\n');
    }
    tidy
}

fn see_also(roff: &mut Roff, name: &str, section: u8) {
    roff.control("SH", ["SEE ALSO"]);
    let others = [
        (PROGRAM, 1),
        ("conntidy-policy", 5),
        ("conntidy-snapshot", 5),
        ("conntrack", 8),
        ("nft", 8),
    ];
    let mut line: Vec<Inline> = Vec::new();
    for (other, of) in others.into_iter().filter(|other| *other != (name, section)) {
        if !line.is_empty() {
            line.push(roman(",\n"));
        }
        line.push(bold(other));
        line.push(roman(format!("({of})")));
    }
    roff.text(line);
}

/// Lines without the blanks that all of them begin with.
fn without_margin(text: &str) -> String {
    let lines = text.trim_start_matches('\n').lines();
    let lines: Vec<_> = lines.map(str::trim_start).collect();
    lines.join("\n")
}
