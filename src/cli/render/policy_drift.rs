//! What changes for one table if the policy does.

use std::io::{self, Write};

use super::number::grouped;
use super::sheet::{Kind, Sheet};
use crate::plan::{Does, PolicyDrift};
use crate::policy::Seconds;

/// Writes it as text, or as GitHub's Markdown.
pub(crate) fn write(out: &mut impl Write, drift: &PolicyDrift, markdown: bool) -> io::Result<()> {
    let short = |digest: &str| digest.chars().take(6).collect::<String>();
    let (old, new) = (short(&drift.old_sha256), short(&drift.new_sha256));
    let mark = if markdown { "## " } else { "" };
    writeln!(out, "{mark}Policy {old} -> {new} on this table")?;
    if drift.is_empty() {
        return writeln!(out, "\nNothing changes for this table.");
    }
    let mut part = |heading: &str, sheet: &Sheet| {
        if sheet.is_empty() {
            return Ok(());
        }
        if markdown {
            writeln!(out, "\n### {heading}\n")?;
            sheet.markdown(out)
        } else {
            writeln!(out, "\n{heading}")?;
            sheet.text(out, "  ")
        }
    };
    let heads = |first: &str, kind| {
        let heads = [(first, Kind::Words), ("old", kind), ("new", kind)];
        Sheet::new(heads.map(|(head, kind)| (head.to_owned(), kind)))
    };
    let mut sheet = heads("tunable", Kind::Number);
    let value = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |n| n.to_string());
    for one in &drift.tunables {
        sheet.row(vec![one.name.clone(), value(one.old), value(one.new)]);
    }
    part("Tunables", &sheet)?;
    let mut sheet = heads("rule", Kind::Words);
    for one in &drift.rules {
        sheet.row(vec![
            one.name.clone(),
            words(one.old.as_ref()),
            words(one.new.as_ref()),
        ]);
    }
    part("Rules", &sheet)?;
    let moved = [
        ("changed by", Kind::Words),
        ("now by", Kind::Words),
        ("flows", Kind::Number),
    ];
    let mut sheet = Sheet::new(moved.map(|(head, kind)| (head.to_owned(), kind)));
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "no rule".to_owned());
    for one in &drift.moved {
        sheet.row(vec![name(&one.old), name(&one.new), grouped(one.flows)]);
    }
    part("Flows", &sheet)
}

fn words(does: Option<&Does>) -> String {
    let Some(does) = does else {
        return "-".to_owned();
    };
    let grace = does
        .grace
        .map_or_else(String::new, |grace| format!(" to {}", Seconds(grace)));
    let refused = if does.refused { ", refused" } else { "" };
    format!(
        "{}{grace}: {} of {} matched{refused}",
        does.action,
        grouped(does.selected),
        grouped(does.matched)
    )
}
