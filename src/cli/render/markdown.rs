//! Documentation to manual pages: the part of Markdown that `docs/` uses, as man(7) shows it best.
//!
//! A table of keys becomes a list of them, since its texts are too long for columns. Links are their text: where they lead
//! to is a place in the repository.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// What stands under a heading of the second level, without it; everything where there is no such heading.
pub(super) fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let after = document.split_once(&format!("\n## {heading}\n"));
    let after = after.map_or(document, |(_, after)| after);
    after.split("\n## ").next().unwrap_or(after)
}

/// Text as it is, indented.
pub(super) fn verbatim(roff: &mut Roff, text: &str) {
    roff.control("in", ["+4n"]).control("EX", []);
    roff.text([roman(text.trim_end())]);
    roff.control("EE", []).control("in", []);
}

/// Adds a document, its title left out.
pub(super) fn body(roff: &mut Roff, document: &str) {
    let mut page = Body {
        roff,
        line: Vec::new(),
        style: roman,
        begun: true,
        lists: Vec::new(),
        row: Vec::new(),
    };
    for event in Parser::new_ext(document, Options::ENABLE_TABLES) {
        page.event(event);
    }
}

/// A document on its way into a page.
struct Body<'a> {
    roff: &'a mut Roff,
    /// What was read since the last block began.
    line: Vec<Inline>,
    /// How plain text is shown.
    style: fn(String) -> Inline,
    /// A heading or an item came last: the text that follows is part of it.
    begun: bool,
    /// Numbers of the next items of the lists around, where they have numbers.
    lists: Vec<Option<u64>>,
    /// Cells of a table's row.
    row: Vec<Vec<Inline>>,
}

impl Body<'_> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.push((self.style)(text.into_string())),
            Event::Code(text) => self.push(bold(text.into_string())),
            Event::SoftBreak => self.push(roman("\n")),
            Event::HardBreak => self.push(Inline::LineBreak),
            // Neither HTML nor anything else is used.
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Strong => self.style = bold,
            Tag::Emphasis => self.style = italic,
            Tag::List(first) => self.lists.push(*first),
            Tag::Item => {
                let numbered = self.lists.last_mut().and_then(Option::as_mut);
                let (mark, width) = numbered.map_or(("\\(bu".to_owned(), "2"), |next| {
                    *next += 1;
                    (format!("{}.", *next - 1), "4")
                });
                self.roff.control("IP", [mark.as_str(), width]);
                self.begun = true;
            }
            Tag::Paragraph | Tag::CodeBlock(_) => self.paragraph(),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong | TagEnd::Emphasis => self.style = roman,
            TagEnd::Heading(level) => self.heading(level),
            TagEnd::Paragraph | TagEnd::Item => self.flush(),
            TagEnd::List(_) => {
                self.lists.pop();
            }
            TagEnd::CodeBlock => {
                let text = plain(&std::mem::take(&mut self.line));
                verbatim(self.roff, &text);
            }
            TagEnd::TableCell => self.row.push(std::mem::take(&mut self.line)),
            // What the columns are is plain from what stands in them.
            TagEnd::TableHead => self.row.clear(),
            TagEnd::TableRow => self.row(),
            _ => {}
        }
    }

    /// Begins a paragraph, unless what came last began one.
    fn paragraph(&mut self) {
        if !std::mem::take(&mut self.begun) {
            self.roff.control("PP", []);
        }
    }

    fn heading(&mut self, level: HeadingLevel) {
        let line = std::mem::take(&mut self.line);
        match level {
            HeadingLevel::H1 => {}
            HeadingLevel::H2 => {
                // Code is written as it must be.
                let words = line.iter().map(|part| match part {
                    Inline::Bold(code) => code.clone(),
                    part => plain(std::slice::from_ref(part)).to_uppercase(),
                });
                let heading: String = words.collect();
                self.roff.control("SH", [heading.as_str()]);
            }
            _ => {
                self.roff.control("SS", [plain(&line).as_str()]);
            }
        }
        self.begun = true;
    }

    /// The first cell names what the last one explains; those between qualify the name.
    fn row(&mut self) {
        let mut cells = std::mem::take(&mut self.row).into_iter();
        let name = cells.next().unwrap_or_default();
        let text = cells.next_back().unwrap_or_default();
        let mut tag = vec![bold(plain(&name))];
        for cell in cells {
            tag.push(roman(" "));
            tag.push(italic(plain(&cell)));
        }
        self.roff.control("TP", []).text(tag).text(text);
        self.begun = false;
    }

    fn flush(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.roff.text(line);
        }
        self.begun = false;
    }

    /// Plain text is joined: a period is only escaped where a part that has the line's start has it too.
    fn push(&mut self, part: Inline) {
        match (self.line.last_mut(), part) {
            (Some(Inline::Roman(before)), Inline::Roman(more)) => before.push_str(&more),
            (_, part) => self.line.push(part),
        }
    }
}

fn plain(line: &[Inline]) -> String {
    let text = line.iter().map(|part| match part {
        Inline::Roman(text) | Inline::Bold(text) | Inline::Italic(text) => text.as_str(),
        Inline::LineBreak => "\n",
    });
    text.collect()
}
