//! The groups of a diff's first grouping as CSV.

use std::io::{self, Write};

use super::super::sheet::{Kind, Sheet};
use crate::snapshot::diff::Diff;

/// Writes a row a group: its fields, then plain numbers. The last row, whose fields are `*`, is all
/// groups that are not listed, so that the columns add up to the tables. What became of flows that are not paired is empty.
pub(crate) fn write(out: &mut impl Write, diff: &Diff) -> io::Result<()> {
    let Some(grouping) = diff.groupings.first() else {
        return Ok(());
    };
    let numbers = [
        "before",
        "after",
        "change",
        "share",
        "new",
        "gone",
        "recreated",
    ];
    let fields = grouping
        .fields
        .iter()
        .map(|name| (name.clone(), Kind::Words));
    let mut sheet = Sheet::new(fields.chain(numbers.map(|name| (name.to_owned(), Kind::Number))));
    for group in grouping
        .growers
        .iter()
        .chain(grouping.shrinkers.iter().rev())
    {
        let mut row: Vec<_> = (group.key.0.iter())
            .map(|(_, cell)| cell.to_string())
            .collect();
        row.extend([
            group.before.to_string(),
            group.after.to_string(),
            group.change.to_string(),
            group
                .share
                .map_or_else(String::new, |share| share.to_string()),
        ]);
        row.extend(match &group.fates {
            Some(fates) => [fates.new, fates.gone, fates.recreated].map(|flows| flows.to_string()),
            None => Default::default(),
        });
        sheet.row(row);
    }
    let rest = &grouping.rest;
    let mut row = vec!["*".to_owned(); grouping.fields.len()];
    row.extend([
        rest.before.to_string(),
        rest.after.to_string(),
        (i128::from(rest.after) - i128::from(rest.before)).to_string(),
    ]);
    row.resize(grouping.fields.len() + numbers.len(), String::new());
    sheet.row(row);
    sheet.csv(out)
}
