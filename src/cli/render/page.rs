//! The frame of a page that needs nothing else: no script, no font, no picture from elsewhere.
//!
//! Whatever comes from outside (host names, states, helpers, values of tunables) is escaped, and
//! the page forbids itself to load anything.

use std::fmt;
use std::io::{self, Write};

const STYLE: &str = include_str!("page.css");

/// Text in which nothing is markup.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

/// Everything before the content.
pub(super) fn open(out: &mut impl Write, title: &str) -> io::Result<()> {
    writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>",
        Text(title)
    )
}

/// Everything behind the content; the footer's lines.
pub(super) fn close(out: &mut impl Write, footer: &[String]) -> io::Result<()> {
    let lines: Vec<_> = footer.iter().map(|line| Text(line).to_string()).collect();
    writeln!(
        out,
        "<footer>{}, by conntidy {}.</footer>\n</body>\n</html>",
        lines.join("<br>"),
        env!("CARGO_PKG_VERSION")
    )
}

/// What to know before the numbers.
pub(super) fn notes(out: &mut impl Write, notes: &[String]) -> io::Result<()> {
    if notes.is_empty() {
        return Ok(());
    }
    writeln!(out, "<ul class=\"notes\">")?;
    for note in notes {
        writeln!(out, "<li>{}</li>", Text(note))?;
    }
    writeln!(out, "</ul>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_markup() {
        let text = Text("<script>alert('1') & \"2\"</script>").to_string();
        assert_eq!(
            text,
            "&lt;script&gt;alert(&#39;1&#39;) &amp; &quot;2&quot;&lt;/script&gt;"
        );
    }
}
