//! nftables, asked through `nft` as a child process: its own decoder of set elements is the one
//! that people check theirs against.

use std::collections::HashSet;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::module::{self, Presence};
use super::nft_set::{self, ElementError, Listing};
use crate::policy::{Members, NftSet};

/// Where distributions put it; looked at before `$PATH`, so that no user's own comes first.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// How long it may take; a hundred thousand elements take about a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Elements that fit into one message of the kernel, which is one look, whatever their comments.
const AT_ONCE: usize = 32;

/// A set that never comes out the same is read so often.
const MOST_READS: usize = 4;

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
        let list = || run(&nft, &["-j", "list", kind, family, table, name], PATIENCE);
        let first = list()?;
        if first.status.success() {
            let prefixes = whole(nft_set::listing(&first.out)?, || {
                let again = list()?;
                if again.status.success() {
                    Ok(nft_set::listing(&again.out)?)
                } else {
                    Err(again.failure())
                }
            })?;
            return Ok(Members {
                prefixes,
                error: None,
            });
        }
        if !first.is_missing() {
            return Err(first.failure());
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

/// Everything that a set holds. The kernel tells it message by message and counts elements to know how
/// far it was: where one before that goes meanwhile (its time is over), another is passed over, and
/// where the hash table grows, some come twice and others not at all (`nf_tables_dump_set`, seen on Linux
/// 6.18). So it is listed until a list brings nothing new; what only one of them had counts too.
fn whole(
    first: Listing,
    mut again: impl FnMut() -> Result<Listing, NftError>,
) -> Result<Vec<IpNet>, NftError> {
    let mut seen = HashSet::with_capacity(first.prefixes.len());
    let mut prefixes = Vec::with_capacity(first.prefixes.len());
    let mut listing = first;
    for reads in 1.. {
        let (listed, known) = (listing.prefixes.len(), prefixes.len());
        let mut alone = HashSet::new();
        let comes_twice = !listing.prefixes.iter().all(|prefix| alone.insert(*prefix));
        prefixes.extend(
            listing
                .prefixes
                .into_iter()
                .filter(|prefix| seen.insert(*prefix)),
        );
        let is_one_look = reads == 1 && (listed <= AT_ONCE || !listing.changes_by_itself);
        let brought_nothing = reads > 1 && prefixes.len() == known;
        if (!comes_twice && (is_one_look || brought_nothing)) || reads == MOST_READS {
            break;
        }
        listing = again()?;
    }
    Ok(prefixes)
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
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn shell(script: &str, patience: Duration) -> Result<Answer, NftError> {
        run(Path::new("/bin/sh"), &["-c", script], patience)
    }

    /// What is known of a set, and how often it was listed, by what each list has.
    fn read(lists: &[Vec<u32>], changes_by_itself: bool) -> (Vec<u32>, usize) {
        let listing = |list: &Vec<u32>| {
            let addresses = list
                .iter()
                .map(|n| IpNet::from(IpAddr::from(Ipv4Addr::from(*n))));
            Listing {
                prefixes: addresses.collect(),
                changes_by_itself,
            }
        };
        let mut rest = lists.iter().map(listing);
        let first = rest.next().unwrap();
        let prefixes = whole(first, || rest.next().ok_or(NftError::Late)).unwrap();
        let number = |prefix: &IpNet| match prefix.addr() {
            IpAddr::V4(address) => address.to_bits(),
            IpAddr::V6(_) => unreachable!("all are IPv4"),
        };
        let reads = lists.len() - rest.count();
        (prefixes.iter().map(number).collect(), reads)
    }

    #[test]
    fn a_set_is_listed_until_a_list_brings_nothing_new() {
        let some: Vec<u32> = (0..100).collect();
        let without = |gone: u32| {
            some.iter()
                .copied()
                .filter(|n| *n != gone)
                .collect::<Vec<_>>()
        };
        // Nothing goes by itself, or it is told in one look.
        assert_eq!(read(std::slice::from_ref(&some), false), (some.clone(), 1));
        assert_eq!(read(&[vec![1, 2]], true), (vec![1, 2], 1));
        assert_eq!(read(&[some.clone(), some.clone()], true), (some.clone(), 2));
        // One was passed over, in this list or in that.
        let (members, reads) = read(&[without(7), some.clone(), some.clone()], true);
        assert_eq!((members.len(), members[99], reads), (100, 7, 3));
        assert_eq!(read(&[some.clone(), without(7)], true), (some.clone(), 2));
        // The table grew: what comes twice stands for what does not come.
        let grown = [without(7), vec![8]].concat();
        let (members, reads) = read(&[grown, some.clone(), some.clone()], false);
        assert_eq!((members.len(), reads), (100, 3));
        // It never comes out the same.
        let lists: Vec<_> = (0..9)
            .map(|n| [some.clone(), vec![200 + n]].concat())
            .collect();
        assert_eq!(
            read(&lists, true),
            ([some, vec![200, 201, 202, 203]].concat(), 4)
        );
    }

    #[test]
    fn a_set_that_goes_while_it_is_read_is_not_known() {
        let some: Vec<u32> = (0..100).collect();
        let listing = Listing {
            prefixes: some
                .iter()
                .map(|n| IpNet::from(IpAddr::from(Ipv4Addr::from(*n))))
                .collect(),
            changes_by_itself: true,
        };
        assert!(whole(listing, || Err(NftError::Late)).is_err());
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
