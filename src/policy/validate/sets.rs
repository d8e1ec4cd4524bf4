//! `[sets]`.

use super::Validation;
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::document::SetTable;
use crate::policy::key::KeyPath;
use crate::policy::{Set, SetSource};

impl Validation<'_> {
    pub(super) fn read_sets(&mut self) -> Vec<Set> {
        let mut sets = Vec::new();
        for (name, table) in self.document.sets.iter().flatten() {
            let path = KeyPath::of(["sets", name]);
            self.check_name("set", &path);
            if table.enabled == Some(false) {
                self.disabled_sets.insert(name.clone());
                continue;
            }
            // A set that is itself mistaken still exists for the rules that use it.
            let source = self
                .source(table, &path)
                .unwrap_or_else(|| SetSource::Addresses(Vec::new()));
            sets.push(Set {
                name: name.clone(),
                source,
                allow_empty: table.allow_empty.unwrap_or(false),
            });
        }
        sets
    }

    fn source(&mut self, table: &SetTable, path: &KeyPath) -> Option<SetSource> {
        let mut sources = Vec::new();
        if let Some(addresses) = &table.addresses {
            let prefixes = addresses.iter().map(|prefix| prefix.0).collect();
            sources.push(("addresses", SetSource::Addresses(prefixes)));
        }
        if let Some(file) = &table.file {
            if file.is_empty() {
                self.found.push(Diagnostic::error(
                    Code::InvalidValue,
                    path.child("file"),
                    "this names no file",
                ));
            }
            sources.push(("file", SetSource::File(file.clone())));
        }
        match table.local {
            Some(true) => sources.push(("local", SetSource::Local)),
            Some(false) => self.found.push(
                Diagnostic::error(
                    Code::InvalidValue,
                    path.child("local"),
                    "`local = false` is no set of addresses",
                )
                .expected("true"),
            ),
            None => {}
        }
        if sources.len() > 1 {
            let names: Vec<_> = sources
                .iter()
                .map(|(name, _)| format!("`{name}`"))
                .collect();
            self.found.push(
                Diagnostic::error(
                    Code::Conflict,
                    path.clone(),
                    format!("a set has one source, not {}", names.join(" and ")),
                )
                .at_key(),
            );
        }
        if sources.is_empty() && table.local.is_none() && !self.lacks(path) {
            self.found.push(
                Diagnostic::error(
                    Code::MissingKey,
                    path.clone(),
                    "this set does not say where its members come from",
                )
                .at_key()
                .expected("one of `addresses`, `file` and `local`"),
            );
        }
        sources.into_iter().next().map(|(_, source)| source)
    }
}
