//! Annotations of GitHub Actions: workflow commands that the runner shows at file and line.

use std::io::{self, Write};

use super::{Finding, Level};

/// The runner shows this many of each kind in a step, the first that it sees.
const SHOWN: usize = 10;

/// Writes the findings; they are sorted, the worst first.
pub(crate) fn write(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    for level in [Level::Error, Level::Warning, Level::Notice] {
        let of_level: Vec<&Finding> = findings.iter().filter(|one| one.level == level).collect();
        let shown = if of_level.len() > SHOWN {
            SHOWN - 1
        } else {
            of_level.len()
        };
        for finding in &of_level[..shown] {
            annotation(out, finding)?;
        }
        if of_level.len() > shown {
            writeln!(
                out,
                "::{} title=conntidy::{} more are not shown here: the log and the other formats have them",
                word(level),
                of_level.len() - shown
            )?;
        }
    }
    Ok(())
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Notice => "notice",
    }
}

fn annotation(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    write!(out, "::{} ", word(finding.level))?;
    if let Some(spot) = &finding.spot {
        write!(
            out,
            "file={},line={},col={},endLine={},",
            property(&spot.file),
            spot.line,
            spot.column,
            spot.end_line
        )?;
        // The runner refuses columns where an annotation spans lines.
        if spot.line == spot.end_line {
            write!(out, "endColumn={},", spot.end_column)?;
        }
    }
    let title = format!("{} {}", finding.about.word(), finding.name);
    writeln!(
        out,
        "title=conntidy%3A {}::{}",
        property(title.trim_end()),
        data(&finding.message)
    )
}

/// Text behind `::`, in which the runner unescapes these.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Text of a property, where colon and comma end it too.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::{About, Spot};
    use super::*;

    fn finding(name: &str, message: &str, file: &str) -> Finding {
        Finding {
            level: Level::Warning,
            about: About::Rule,
            name: name.to_owned(),
            message: message.to_owned(),
            spot: Some(Spot {
                file: file.to_owned(),
                line: 3,
                column: 1,
                end_line: 3,
                end_column: 5,
            }),
        }
    }

    fn written(findings: &[Finding]) -> String {
        let mut out = Vec::new();
        write(&mut out, findings).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn whatever_would_end_a_property_or_the_line_is_escaped() {
        assert_eq!(
            written(&[finding("a,b", "50 %: x\n::error::y", "p:1,2.toml")]),
            "::warning file=p%3A1%2C2.toml,line=3,col=1,endLine=3,endColumn=5,\
             title=conntidy%3A rule a%2Cb::50 %25: x%0A::error::y\n"
        );
    }

    #[test]
    fn more_than_the_runner_shows_are_counted() {
        let many: Vec<_> = (0..12)
            .map(|n| finding(&format!("r{n}"), "m", "p"))
            .collect();
        let text = written(&many);
        assert_eq!(text.lines().count(), 10);
        assert!(text.lines().last().unwrap().contains("::3 more"), "{text}");
        assert_eq!(written(&many[..10]).lines().count(), 10);
    }
}
