//! The pipe on stdout.

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
