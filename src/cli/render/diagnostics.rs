//! Diagnostics of a policy: underlined places for people, lines and columns for programs.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use schemars::JsonSchema;
use serde::Serialize;

use crate::policy::Text;
use crate::policy::diagnostic::{Diagnostic, Severity};

/// Renders diagnostics as the compiler does: file, line, column, the underlined place.
///
/// The text is styled; print it through anstream, which takes the colours out where there is no
/// terminal.
pub(in crate::cli) fn text(diagnostics: &[Diagnostic], texts: &[Text], width: usize) -> String {
    let renderer = Renderer::styled().term_width(width);
    let mut output = String::new();
    for diagnostic in diagnostics {
        output.push_str(&renderer.render(&[group(diagnostic, texts)]));
        output.push_str("\n\n");
    }
    output
}

fn group<'a>(diagnostic: &'a Diagnostic, texts: &'a [Text]) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level
        .primary_title(&diagnostic.message)
        .id(diagnostic.code.name());
    let mut group = Group::with_title(title);
    let place = diagnostic
        .place
        .as_ref()
        .and_then(|place| Some((place, texts.get(place.text)?)));
    if let Some((place, text)) = place {
        let span = text.clamp(&place.span);
        let annotation = AnnotationKind::Primary.span(span);
        let annotation = match &diagnostic.expected {
            Some(expected) if expected.len() <= LONGEST_LABEL => {
                annotation.label(format!("expected {expected}"))
            }
            _ => annotation,
        };
        group = group.element(
            Snippet::source(&text.content)
                .path(&text.name)
                .annotation(annotation),
        );
    }
    if let Some(expected) = &diagnostic.expected
        && (place.is_none() || expected.len() > LONGEST_LABEL)
    {
        group = group.element(Level::NOTE.message(format!("expected {expected}")));
    }
    for help in &diagnostic.help {
        group = group.element(Level::HELP.message(help));
    }
    group
}

/// Longer expectations stand below the source instead of beside the underlined place.
const LONGEST_LABEL: usize = 60;

/// A diagnostic in a JSON document.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct DiagnosticJson {
    /// How bad it is.
    pub severity: Severity,
    /// What it is; stable over versions.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// The key concerned, dotted; empty for the whole document.
    pub key: String,
    /// The file, or `--set`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line of the place's start, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column of the place's start in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// Line of the place's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_line: Option<usize>,
    /// Column behind the place's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_column: Option<usize>,
    /// What was expected there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Ways out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub help: Vec<String>,
}

impl DiagnosticJson {
    /// With the place as line and column.
    pub(in crate::cli) fn new(diagnostic: &Diagnostic, texts: &[Text]) -> Self {
        let place = diagnostic.place.as_ref().and_then(|place| {
            let text = texts.get(place.text)?;
            let span = text.clamp(&place.span);
            Some((
                text.name.clone(),
                text.line_and_column(span.start),
                text.line_and_column(span.end),
            ))
        });
        Self {
            severity: diagnostic.severity,
            code: diagnostic.code.name().to_owned(),
            message: diagnostic.message.clone(),
            key: diagnostic.key.to_string(),
            file: place.as_ref().map(|(file, ..)| file.clone()),
            line: place.as_ref().map(|(_, start, _)| start.0),
            column: place.as_ref().map(|(_, start, _)| start.1),
            end_line: place.as_ref().map(|(_, _, end)| end.0),
            end_column: place.as_ref().map(|(_, _, end)| end.1),
            expected: diagnostic.expected.clone(),
            help: diagnostic.help.clone(),
        }
    }
}
