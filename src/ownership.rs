//! Whom what root makes belongs to.
//!
//! A service keeps state and snapshots as a user of its own, and root's shell shares them with it. What root makes there
//! must stay the service's, or its next run can neither read nor replace it. So it goes to the owner of the directory in
//! which it is made.
//!
//! That owner may do less than root, and may have put a link where a directory was: in somebody else's directory root
//! follows none, so that it neither writes nor gives away what lies elsewhere.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;

/// Gives a new file or directory to the owner of the directory that it is in, where root made it and that one is
/// somebody else's.
///
/// # Errors
/// Where the directory cannot be looked at, or root is not allowed to give files away.
pub(crate) fn hand_over(new: &File, directory: &Path) -> io::Result<()> {
    match foreign_owner(directory)? {
        Some((owner, group)) => fchown(new, Some(owner), Some(group)),
        None => Ok(()),
    }
}

/// Makes a directory and those above it that are missing, each for the owner of the one above.
///
/// # Errors
/// Where one cannot be made or handed over, or has the name of something else.
pub(crate) fn create_directory(path: &Path, mode: u32) -> io::Result<()> {
    let above = match path.parent() {
        Some(above) if above != Path::new("") => above,
        _ => Path::new("."),
    };
    if !above.is_dir() {
        create_directory(above, mode)?;
    }
    let new = match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    let follow = if foreign_owner(above)?.is_some() {
        OFlags::NOFOLLOW
    } else {
        OFlags::empty()
    };
    let directory = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::DIRECTORY | follow).bits().cast_signed())
        .open(path)?;
    if new {
        hand_over(&directory, above)?;
    }
    Ok(())
}

/// Owner and group of a directory, where the caller is root and the directory somebody else's.
fn foreign_owner(directory: &Path) -> io::Result<Option<(u32, u32)>> {
    // An ordinary user has nothing to give, and this is asked for each file.
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let directory = fs::metadata(directory)?;
    let owner = (directory.uid(), directory.gid());
    Ok((owner.0 != 0).then_some(owner))
}
