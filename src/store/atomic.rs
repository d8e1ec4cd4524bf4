//! A file that appears whole or not at all.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::ownership;

const PREFIX: &str = ".snapshot-";
const SUFFIX: &str = ".tmp";

/// Snapshots name addresses and hosts: for the owner and the group.
const MODE: u32 = 0o640;

/// A file without a name of its own yet; gone if it is dropped.
pub(super) struct Pending {
    file: BufWriter<NamedTempFile>,
    directory: PathBuf,
    mode: u32,
}

/// Replaces a file whole, with these permissions: a reader sees the old or the new content.
pub(crate) fn replace(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    };
    let mut pending = Pending::create(directory)?;
    pending.mode = mode;
    pending.write_all(content)?;
    pending.persist(path)?;
    Ok(())
}

/// Whether a name is that of a file which was never finished.
pub(super) fn is_pending(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
}

impl Pending {
    /// Starts a file in the directory in which it will be.
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        let file = tempfile::Builder::new()
            .prefix(PREFIX)
            .suffix(SUFFIX)
            // `tempfile_in` would put a name that nobody gave into its errors.
            .make_in(directory, |path| {
                File::options()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)
            })?;
        ownership::hand_over(file.as_file(), directory)?;
        Ok(Self {
            file: BufWriter::with_capacity(256 * 1024, file),
            directory: directory.to_owned(),
            mode: MODE,
        })
    }

    /// Gives the file its name, replacing what has it; its size.
    pub(super) fn persist(self, path: &Path) -> io::Result<u64> {
        let (file, bytes, directory) = self.sync()?;
        file.persist(path)?;
        File::open(directory)?.sync_all()?;
        Ok(bytes)
    }

    /// Gives the file the first name that nothing has, of those for 1, 2, and so on; the name and
    /// its size.
    pub(super) fn persist_new(self, name: impl Fn(u32) -> PathBuf) -> io::Result<(PathBuf, u64)> {
        let (mut file, bytes, directory) = self.sync()?;
        for attempt in 1.. {
            let path = name(attempt);
            match file.persist_noclobber(&path) {
                Ok(_) => {
                    File::open(directory)?.sync_all()?;
                    return Ok((path, bytes));
                }
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                    file = error.file;
                }
                Err(error) => return Err(error.error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Everything on the disk, with its final mode: a name never points to less.
    fn sync(self) -> io::Result<(NamedTempFile, u64, PathBuf)> {
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.as_file()
            .set_permissions(Permissions::from_mode(self.mode))?;
        file.as_file().sync_all()?;
        let bytes = file.as_file().metadata()?.len();
        Ok((file, bytes, self.directory))
    }
}

impl Write for Pending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
