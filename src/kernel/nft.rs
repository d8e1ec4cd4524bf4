//! nftables, asked through `nft` as a child process: its own decoder of set elements is the one
//! that people check theirs against.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::module::{self, Presence};
use super::nft_set::{self, ElementError};
use crate::policy::{Members, NftSet};

/// Where distributions put it; looked at before `$PATH`, so that no user's own comes first.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// How long it may take; a hundred thousand elements take about a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest answer that is read: a million elements with timeouts and comments.
const MOST_BYTES: usize = 256 << 20;

/// The module without which there is no set.
const NF_TABLES: &str = "nf_tables";

/// Why a set could not be read.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// `nft` is nowhere.
    #[error("nft is not installed: neither in {} nor in $PATH", DIRECTORIES.join(", "))]
    NotInstalled,
    /// Without its module nftables has no sets, and looking does not load it.
    #[error("nf_tables is not loaded, so nftables has no sets here")]
    NotLoaded,
    /// `nft` could not be run.
    #[error("{} cannot be run: {source}", program.display())]
    Run {
        /// Which.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It did not end.
    #[error("nft did not answer within {} s", PATIENCE.as_secs())]
    Late,
    /// It said more than can be the list of a set.
    #[error("the answer of nft is longer than {} MiB", MOST_BYTES >> 20)]
    TooLong,
    /// The caller may not ask.
    #[error("nft may not list it: CAP_NET_ADMIN is needed")]
    Denied,
    /// The table does not exist.
    #[error("nftables has no table `{family} {table}` here")]
    NoTable {
        /// Family of the table.
        family: String,
        /// The table.
        table: String,
    },
    /// The table has no such set.
    #[error("the nftables table `{family} {table}` has no set or map `{name}`")]
    NoSet {
        /// Family of the table.
        family: String,
        /// The table.
        table: String,
        /// The set.
        name: String,
    },
    /// It failed for another reason.
    #[error("nft failed: {0}")]
    Failed(String),
    /// What it lists are no addresses.
    #[error(transparent)]
    Element(#[from] ElementError),
}

/// The elements of a set, or the keys of a map, in the calling thread's network namespace.
///
/// # Errors
/// Where they cannot be read, or not all of them can be told as prefixes.
pub fn members(set: &NftSet) -> Result<Members, NftError> {
    if module::presence(NF_TABLES) == Presence::NotLoaded {
        return Err(NftError::NotLoaded);
    }
    let nft = program().ok_or(NftError::NotInstalled)?;
    let NftSet {
        family,
        table,
        name,
    } = set;
    for kind in ["set", "map"] {
        let answer = run(&nft, &["-j", "list", kind, family, table, name], PATIENCE)?;
        if answer.status.success() {
            let prefixes = nft_set::prefixes(&answer.out)?;
            return Ok(Members {
                prefixes,
                error: None,
            });
        }
        if !answer.is_missing() {
            return Err(answer.failure());
        }
    }
    let (family, table, name) = (family.clone(), table.clone(), name.clone());
    // Both are missing to `nft` in the same words.
    let answer = run(&nft, &["-j", "list", "tables", &family], PATIENCE)?;
    if answer.status.success() && !nft_set::lists_table(&answer.out, &family, &table) {
        return Err(NftError::NoTable { family, table });
    }
    Err(NftError::NoSet {
        family,
        table,
        name,
    })
}

/// Where `nft` is.
#[must_use]
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let fixed = DIRECTORIES.iter().map(PathBuf::from);
    fixed
        .chain(std::env::split_paths(&path))
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join("nft"))
        .find(|program| program.is_file())
}

/// How a run ended, and what it said.
struct Answer {
    status: ExitStatus,
    out: Vec<u8>,
    errors: String,
}

impl Answer {
    fn is_missing(&self) -> bool {
        self.errors.contains("No such file or directory")
    }

    fn failure(&self) -> NftError {
        if self.errors.contains("Operation not permitted") {
            return NftError::Denied;
        }
        let first = self.errors.lines().find(|line| !line.trim().is_empty());
        let said = first.map_or_else(|| self.status.to_string(), |line| line.trim().to_owned());
        NftError::Failed(said)
    }
}

fn run(program: &Path, arguments: &[&str], patience: Duration) -> Result<Answer, NftError> {
    let failed = |source| NftError::Run {
        program: program.to_owned(),
        source,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        // What it says is compared with words.
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let heard = listen(&mut child, Instant::now() + patience);
    if heard.is_err() {
        // It may have ended by itself meanwhile.
        let _ = child.kill();
    }
    let status = child.wait().map_err(failed);
    let (out, errors) = heard.map_err(|stopped| match stopped {
        Stopped::Late => NftError::Late,
        Stopped::TooLong => NftError::TooLong,
        Stopped::Failed(error) => failed(error),
    })?;
    Ok(Answer {
        status: status?,
        out,
        errors: String::from_utf8_lossy(&errors).into_owned(),
    })
}

/// Why a child was not listened to until its end.
enum Stopped {
    Late,
    TooLong,
    Failed(io::Error),
}

/// Everything that a child writes to its two pipes.
fn listen(child: &mut Child, until: Instant) -> Result<(Vec<u8>, Vec<u8>), Stopped> {
    let (Some(mut out), Some(mut errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Stopped::Failed(io::Error::other("it has no pipes")));
    };
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let (mut out_open, mut errors_open) = (true, true);
    while out_open || errors_open {
        let mut pipes = [
            PollFd::from_borrowed_fd(out.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(errors.as_fd(), PollFlags::IN),
        ];
        // A closed pipe is always ready: it is not asked again.
        let first = usize::from(!out_open);
        let last = if errors_open { 2 } else { 1 };
        let left = until.checked_duration_since(Instant::now());
        let left = left.ok_or(Stopped::Late)?;
        let left = Timespec::try_from(left).map_err(|_| Stopped::Late)?;
        match poll(&mut pipes[first..last], Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Stopped::Failed(errno.into())),
        }
        let [out_ready, errors_ready] = pipes.map(|pipe| !pipe.revents().is_empty());
        if out_ready {
            out_open = take(&mut out, &mut said)?;
        }
        if errors_ready {
            errors_open = take(&mut errors, &mut complained)?;
        }
    }
    Ok((said, complained))
}

/// Reads what is there; whether more may come.
fn take(pipe: &mut impl Read, into: &mut Vec<u8>) -> Result<bool, Stopped> {
    let mut buffer = [0; 16 * 1024];
    match pipe.read(&mut buffer) {
        Ok(length) if into.len() + length > MOST_BYTES => Err(Stopped::TooLong),
        Ok(length) => {
            into.extend_from_slice(&buffer[..length]);
            Ok(length > 0)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
        Err(error) => Err(Stopped::Failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, patience: Duration) -> Result<Answer, NftError> {
        run(Path::new("/bin/sh"), &["-c", script], patience)
    }

    #[test]
    fn both_pipes_are_read_to_their_end() {
        let script = "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; exit 3";
        let answer = shell(script, PATIENCE).unwrap();
        assert_eq!((answer.out.len(), answer.errors.len()), (300_000, 300_000));
        assert_eq!(answer.status.code(), Some(3));
    }

    #[test]
    fn whoever_does_not_answer_in_time_is_ended() {
        let answer = shell("exec sleep 1000", Duration::from_millis(50));
        assert!(matches!(answer, Err(NftError::Late)));
    }

    #[test]
    fn the_environment_does_not_reach_it() {
        let answer = shell("env", PATIENCE).unwrap();
        let said = String::from_utf8(answer.out).unwrap();
        let names: Vec<&str> = said.lines().filter_map(|l| l.split('=').next()).collect();
        assert!(
            names.contains(&"LC_ALL") && !names.contains(&"HOME"),
            "{said}"
        );
    }

    #[test]
    fn a_refusal_is_told_from_other_failures() {
        let refused = "echo 'Operation not permitted (you must be root)' >&2; exit 1";
        let refused = shell(refused, PATIENCE).unwrap();
        assert!(matches!(refused.failure(), NftError::Denied));
        let failed = shell("echo; echo 'Error: JSON support' >&2; exit 1", PATIENCE).unwrap();
        assert_eq!(
            failed.failure().to_string(),
            "nft failed: Error: JSON support"
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let answer = run(Path::new("/no/such/nft"), &[], PATIENCE);
        let error = answer.err().unwrap().to_string();
        assert!(error.starts_with("/no/such/nft cannot be run"), "{error}");
    }
}
