//! How a snapshot is written, and the key of its pseudonyms.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::policy::{AddressSetting, Compression, Detail, KeySource};
use crate::snapshot::{Redactor, ShortKey};

/// How a snapshot is written.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// How it is packed.
    pub compression: Compression,
    /// Whether it has flows or groups.
    pub detail: Detail,
    /// What is done to its addresses.
    pub redactor: Option<Redactor>,
}

/// Every flow as it is.
impl From<Compression> for Form {
    fn from(compression: Compression) -> Self {
        Self {
            compression,
            ..Self::default()
        }
    }
}

/// Why there is no key for pseudonyms.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("read the key of pseudonyms {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// It can, and is too short.
    #[error("the key of pseudonyms {}", path.display())]
    Short {
        /// Which.
        path: PathBuf,
        /// How short.
        source: ShortKey,
    },
    /// Everybody on the machine can read it, and so undo the pseudonyms of every snapshot.
    #[error("the key of pseudonyms {} can be read by everybody", path.display())]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// The policy names a credential, and the caller was given none.
    #[error("the key of pseudonyms is the credential `{0}`, and there is no CREDENTIALS_DIRECTORY")]
    NoCredentials(String),
}

impl Form {
    /// What is done to addresses by a policy's setting. `credentials` is where systemd keeps those of
    /// the caller (`$CREDENTIALS_DIRECTORY`).
    ///
    /// # Errors
    /// Where pseudonyms have no key.
    pub fn redactor(
        setting: &AddressSetting,
        credentials: Option<&Path>,
    ) -> Result<Option<Redactor>, KeyError> {
        let path = match setting {
            AddressSetting::Plain => return Ok(None),
            AddressSetting::Prefix => return Ok(Some(Redactor::prefix())),
            AddressSetting::Pseudonym(KeySource::File(path)) => PathBuf::from(path),
            AddressSetting::Pseudonym(KeySource::Credential(name)) => credentials
                .ok_or_else(|| KeyError::NoCredentials(name.clone()))?
                .join(name),
        };
        let (key, mode) = match read(&path) {
            Ok(read) => read,
            Err(source) => return Err(KeyError::Unreadable { path, source }),
        };
        if mode & 0o004 != 0 {
            return Err(KeyError::Open { path });
        }
        // What `echo` and editors put behind a key is none of it.
        let key = key.strip_suffix(b"\n").unwrap_or(&key);
        Redactor::pseudonym(key)
            .map(Some)
            .map_err(|source| KeyError::Short { path, source })
    }
}

/// What a file holds, and its mode.
fn read(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let mut file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok((content, mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};

    #[test]
    fn a_key_that_everybody_can_read_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, "0123456789abcdef\n").unwrap();
        let file = AddressSetting::Pseudonym(KeySource::File(path.display().to_string()));
        let credential = AddressSetting::Pseudonym(KeySource::Credential("key".to_owned()));
        for (mode, is_open) in [(0o644, true), (0o640, false), (0o400, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            for setting in [&file, &credential] {
                let redactor = Form::redactor(setting, Some(directory.path()));
                let refused = matches!(redactor, Err(KeyError::Open { .. }));
                assert_eq!(refused, is_open, "{mode:o}");
                assert_eq!(redactor.is_ok(), !is_open, "{mode:o}");
            }
        }
    }
}
