//! Reads files that others name: never without an end, never waiting for a writer.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Larger files are no lists of addresses and no policies: four million prefixes fit.
const MOST_BYTES: u64 = 64 << 20;

/// Reads a regular file.
///
/// # Errors
/// Where it cannot be read, is no regular file or is too large.
pub(super) fn regular(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a FIFO waits for its writer unless told not to.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    bounded(file)
}

/// Reads a file that was named on the command line: a pipe from another program will do as well.
///
/// # Errors
/// Where it cannot be read or is too large.
pub(super) fn named(path: &Path) -> io::Result<Vec<u8>> {
    bounded(File::open(path)?)
}

fn bounded(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(io::Error::other(format!(
            "larger than {} MiB",
            MOST_BYTES >> 20
        )));
    }
    Ok(bytes)
}
