//! The pipe on stdout, for the lines of a whole table.

use std::io::{self, ErrorKind, Write};

use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

/// Bytes that a pipe holds while its reader is busy: a fourth of what the kernel lets anybody have
/// (`fs.pipe-max-size`).
const ROOM: usize = 256 << 10;

/// Gives a pipe on stdout room for several writes, so that a dump goes on while the reader works: by
/// default a pipe holds 64 KiB, and each write would wait for the one before to be read. Where stdout
/// is no pipe, or its user has too many already, it stays as it is.
pub(super) fn widen() {
    let stdout = std::io::stdout();
    if fcntl_getpipe_size(&stdout).is_ok_and(|room| room < ROOM) {
        let _ = fcntl_setpipe_size(&stdout, ROOM);
    }
}

/// Writes lines to stdout at once. Where nobody reads them any more this ends the program, as a reader
/// that has seen enough is no failure: the rest of a walk of the table would be for nobody.
///
/// # Errors
/// Where stdout takes no more for another reason, as a full disk.
pub(super) fn write(lines: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(lines).and_then(|()| stdout.flush());
    if written
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)
    {
        std::process::exit(0);
    }
    written
}
