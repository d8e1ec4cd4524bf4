//! `[snapshot]`.

use super::super::diagnostic::{Code, Diagnostic};
use super::super::document::{OnPressureTable, SnapshotKeepTable, SnapshotTable};
use super::super::key::KeyPath;
use super::super::{
    AddressForm, AddressSetting, Detail, KeySource, OnPressure, Percent, Seconds, SnapshotKeep,
    SnapshotSettings,
};
use super::Validation;

/// How soon a lasting pressure asks for another snapshot by default.
const AGAIN_AFTER: Seconds = Seconds(600);

fn key(name: &str) -> KeyPath {
    KeyPath::of(["snapshot", name])
}

impl Validation<'_> {
    pub(super) fn snapshot(&mut self) -> SnapshotSettings {
        let table = self.document.snapshot.clone().unwrap_or_default();
        let default = SnapshotSettings::default();
        let addresses = self.address_setting(&table);
        let directory = table.directory.unwrap_or(default.directory);
        self.absolute("directory", &directory);
        if let Some(every) = table.every {
            self.positive(every, &key("every"));
        } else if table.detail.is_some() {
            self.found.push(
                Diagnostic::warning(
                    Code::NoEffect,
                    key("detail"),
                    "no snapshot is due by time, so this says nothing",
                )
                .at_key()
                .help("say `every`, or `on-pressure = { detail = … }`"),
            );
        }
        SnapshotSettings {
            directory,
            every: table.every,
            detail: table.detail.unwrap_or(default.detail),
            on_pressure: table.on_pressure.map(|table| self.on_pressure(&table)),
            addresses,
            compression: table.compression.unwrap_or(default.compression),
            keep: self.keep(&table.keep.unwrap_or_default()),
        }
    }

    fn absolute(&mut self, name: &str, path: &str) {
        if !path.starts_with('/') {
            self.found.push(
                Diagnostic::error(
                    Code::InvalidValue,
                    key(name),
                    format!("`{path}` is relative, and a timer starts nowhere in particular"),
                )
                .expected("an absolute path"),
            );
        }
    }

    fn on_pressure(&mut self, table: &OnPressureTable) -> OnPressure {
        let path = key("on-pressure");
        let above = table.above.unwrap_or(Percent::ALL);
        if table.above.is_none() {
            self.missing(
                &path,
                "above",
                "from which fill on is not said",
                "say `above = \"90%\"`",
            );
        } else if above.0 == 0 || above == Percent::ALL {
            self.found.push(
                Diagnostic::error(
                    Code::OutOfRange,
                    path.child("above"),
                    "a table is always above 0 % and never above 100 %",
                )
                .expected("a share between the two"),
            );
        }
        if let Some(again_after) = table.again_after {
            self.positive(again_after, &path.child("again-after"));
        }
        OnPressure {
            above,
            again_after: table.again_after.unwrap_or(AGAIN_AFTER),
            detail: table.detail.unwrap_or(Detail::Full),
        }
    }

    fn address_setting(&mut self, table: &SnapshotTable) -> AddressSetting {
        let form = table.addresses.unwrap_or(AddressForm::Plain);
        let source = match (&table.key_file, &table.credential) {
            (Some(_), Some(_)) => {
                self.found.push(
                    Diagnostic::error(
                        Code::Conflict,
                        key("credential"),
                        "there is one key: it comes from `key-file` or from `credential`",
                    )
                    .at_key(),
                );
                None
            }
            (Some(file), None) => {
                self.absolute("key-file", file);
                Some(("key-file", KeySource::File(file.clone())))
            }
            (None, Some(name)) => {
                self.credential(name);
                Some(("credential", KeySource::Credential(name.clone())))
            }
            (None, None) => None,
        };
        match (form, source) {
            (AddressForm::Pseudonym, Some((_, source))) => AddressSetting::Pseudonym(source),
            (AddressForm::Pseudonym, None) => {
                if table.key_file.is_none() && !self.lacks(&key("credential")) {
                    self.missing(
                        &KeyPath::of(["snapshot"]),
                        "key-file",
                        "pseudonyms need a key",
                        "say `key-file` or `credential`; \
                         `(umask 077; head -c 32 /dev/urandom > FILE)` makes a key",
                    );
                }
                AddressSetting::Plain
            }
            (AddressForm::Plain | AddressForm::Prefix, source) => {
                if let Some((name, _)) = source
                    && !self.lacks(&key("addresses"))
                {
                    self.found.push(
                        Diagnostic::warning(
                            Code::NoEffect,
                            key(name),
                            "only pseudonyms have a key",
                        )
                        .at_key()
                        .help("say `addresses = \"pseudonym\"`"),
                    );
                }
                match form {
                    AddressForm::Prefix => AddressSetting::Prefix,
                    _ => AddressSetting::Plain,
                }
            }
        }
    }

    /// systemd's own rule for names of credentials: those that can be file names.
    fn credential(&mut self, name: &str) {
        let fits = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
        if name.is_empty() || name.starts_with('.') || name.len() > 255 || !name.chars().all(fits) {
            self.found.push(
                Diagnostic::error(
                    Code::InvalidName,
                    key("credential"),
                    format!("{name:?} cannot name a credential"),
                )
                .expected("the name in `LoadCredential=NAME:…`"),
            );
        }
    }

    fn keep(&mut self, table: &SnapshotKeepTable) -> SnapshotKeep {
        let path = key("keep");
        let keep = SnapshotKeep {
            last: table.last.map(|count| count.0),
            hourly: table.hourly.map(|count| count.0),
            daily: table.daily.map(|count| count.0),
            weekly: table.weekly.map(|count| count.0),
            monthly: table.monthly.map(|count| count.0),
            max_age: table.max_age,
            max_bytes: table.max_bytes.map(|bytes| bytes.0),
        };
        if keep.counts().next().is_some() && keep.counts().all(|count| count == 0) {
            self.found.push(
                Diagnostic::error(
                    Code::OutOfRange,
                    path.clone(),
                    "this keeps no snapshot at all",
                )
                .expected("at least one count above 0"),
            );
        }
        if let Some(max_age) = keep.max_age {
            self.positive(max_age, &path.child("max-age"));
        }
        if keep.max_bytes == Some(0) {
            self.found.push(
                Diagnostic::error(
                    Code::OutOfRange,
                    path.child("max-bytes"),
                    "no snapshot fits into 0 bytes",
                )
                .expected("a size as \"1GiB\""),
            );
        }
        keep
    }
}
