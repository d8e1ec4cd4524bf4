//! `[sets]`.

use super::Validation;
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::document::SetTable;
use crate::policy::key::KeyPath;
use crate::policy::leaf::Leaf;
use crate::policy::set_source::LocalWord;
use crate::policy::{DEFAULT_SETTLE, Set, SetSource};

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
            // That nothing is lost is how things should be.
            let is_lost = matches!(source, SetSource::Lost { .. });
            sets.push(Set {
                name: name.clone(),
                source,
                allow_empty: table.allow_empty.unwrap_or(is_lost),
            });
        }
        sets
    }

    fn source(&mut self, table: &SetTable, path: &KeyPath) -> Option<SetSource> {
        let mut sources = Vec::new();
        if let Some(addresses) = &table.addresses {
            let prefixes = addresses.iter().map(|prefix| prefix.0).collect();
            sources.push(SetSource::Addresses(prefixes));
        }
        if let Some(file) = &table.file {
            if file.is_empty() {
                self.found.push(Diagnostic::error(
                    Code::InvalidValue,
                    path.child("file"),
                    "this names no file",
                ));
            }
            sources.push(SetSource::File(file.clone()));
        }
        if let Some(nft) = &table.nft {
            sources.push(SetSource::Nft(nft.clone()));
        }
        if let Some(interface) = &table.interface {
            sources.push(SetSource::Interface(interface.clone()));
        }
        match table.local {
            Some(LocalWord::Own) => sources.push(SetSource::Local),
            Some(LocalWord::Lost) => sources.push(SetSource::Lost {
                settle: table.settle.unwrap_or(DEFAULT_SETTLE),
            }),
            Some(LocalWord::No) => self.found.push(
                Diagnostic::error(
                    Code::InvalidValue,
                    path.child("local"),
                    "`local = false` is no set of addresses",
                )
                .expected(LocalWord::EXPECTED),
            ),
            None => {}
        }
        let is_lost = table.local == Some(LocalWord::Lost);
        if table.settle.is_some() && !is_lost && !self.lacks(&path.child("local")) {
            self.found.push(
                Diagnostic::error(
                    Code::Conflict,
                    path.child("settle"),
                    "only `local = \"lost\"` settles",
                )
                .at_key()
                .help("leave it out, or say `local = \"lost\"`"),
            );
        }
        if sources.len() > 1 {
            let names: Vec<_> = sources
                .iter()
                .map(|source| format!("`{}`", source.key()))
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
                .expected("one of `addresses`, `file`, `nft`, `interface` and `local`"),
            );
        }
        sources.into_iter().next()
    }
}
