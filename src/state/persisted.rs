//! The file of followed flows beside `state.json`; only there while a rule asks for `persisted`.

use std::fs;
use std::io::{self, Write};

use crate::history::{Owner, Persisted};

use super::{State, StateError, is_other, replace};

/// The keys are random and the file is written each run: more effort saves little.
const LEVEL: i32 = 1;

impl State {
    fn persisted_path(&self) -> std::path::PathBuf {
        self.directory.join("persisted.zst")
    }

    /// What earlier runs followed; nothing where there is nothing, or of another boot or namespace.
    ///
    /// # Errors
    /// Where it cannot be read, or is damaged; then nothing has persisted.
    pub fn persisted(&self, boot_id: &str) -> Result<Persisted, StateError> {
        let path = self.persisted_path();
        let bytes = match fs::File::open(&path) {
            Ok(file) => zstd::decode_all(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Persisted::default());
            }
            Err(source) => return Err(StateError::file("read", &path)(source)),
        };
        let damaged = |source| StateError::Damaged {
            path: path.clone(),
            source,
        };
        let bytes = bytes.map_err(|error| damaged(error.into()))?;
        let (owner, persisted) =
            Persisted::decode(&bytes).map_err(|error| damaged(error.into()))?;
        if owner.boot_id != boot_id || is_other(owner.created_ns, self.created_ns) {
            return Ok(Persisted::default());
        }
        Ok(persisted)
    }

    /// Writes what is followed, whole; without any flow there is no file.
    ///
    /// # Errors
    /// Where that fails; what was there before is then still there.
    pub fn remember_persisted(
        &self,
        boot_id: &str,
        persisted: &Persisted,
    ) -> Result<(), StateError> {
        let path = self.persisted_path();
        if persisted.is_empty() {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(StateError::file("remove", &path)(error))
                }
                _ => Ok(()),
            };
        }
        let owner = Owner {
            boot_id: boot_id.to_owned(),
            created_ns: self.created_ns,
        };
        let compress = || -> io::Result<Vec<u8>> {
            let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
            encoder.include_checksum(true)?;
            encoder.write_all(&persisted.encode(&owner))?;
            encoder.finish()
        };
        let bytes = compress().map_err(StateError::file("write", &path))?;
        replace(&path, &bytes)
    }
}
