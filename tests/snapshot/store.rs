use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use conntidy::flow::{Extra, Family, Flow, FlowKey, Protocol, Tuple};
use conntidy::kernel::Recorded;
use conntidy::observe::{Dumped, Header, Netns, Observe, ObserveError, Record, Visit};
use conntidy::policy::Compression;
use conntidy::snapshot::{RUN_FLOWS, SnapshotError};
use conntidy::store::{Store, StoreError, take_to};

/// Flows of both families by number; what comes after them is `end`.
pub(crate) struct Numbered {
    flows: u32,
    end: fn() -> Result<(), ObserveError>,
}

impl Numbered {
    pub(crate) fn new(flows: u32) -> Self {
        Self {
            flows,
            end: || Ok(()),
        }
    }
}

fn numbered(number: u32) -> Flow {
    // Not in the order of the keys.
    let mut src = [0; 16];
    src[..4].copy_from_slice(&number.wrapping_mul(0x9E37_79B1).to_be_bytes());
    let family = if number.is_multiple_of(3) {
        Family::Ipv6
    } else {
        Family::Ipv4
    };
    let orig = Tuple {
        src,
        ..Tuple::default()
    };
    Flow::new(family, Protocol::UDP, orig)
}

impl Observe for Numbered {
    fn header(&self) -> Result<Header, ObserveError> {
        Ok(Header {
            time_ns: 1_769_860_800_000_000_000,
            netns: Netns {
                name: "init".to_owned(),
                ..Netns::default()
            },
            ..Header::default()
        })
    }

    fn dump(&self, visitors: &mut [&mut dyn Visit]) -> Result<Dumped, ObserveError> {
        for number in 0..self.flows {
            visitors[0].visit(&Record {
                flow: numbered(number),
                extra: Extra::default(),
                message: &[],
            });
        }
        (self.end)()?;
        Ok(Dumped {
            entries: self.flows.into(),
            undecoded: 2,
            resized: true,
        })
    }
}

fn take(store: &Store, source: &Numbered) -> Result<conntidy::store::Taken, StoreError> {
    let header = source.header().unwrap();
    store.take(source, &header, &Compression::Zstd.into(), |_| ())
}

fn files(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn what_was_taken_is_observed_again_in_the_order_of_keys() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path().join("new/snapshots"));
    let count = u32::try_from(RUN_FLOWS + 5).unwrap();
    let source = Numbered::new(count);
    let mut heard = 0;
    let header = source.header().unwrap();
    let taken = store
        .take(&source, &header, &Compression::Zstd.into(), |flows| {
            heard = flows;
        })
        .unwrap();
    assert_eq!(taken.trailer.flows, u64::from(count));
    assert_eq!(taken.trailer.runs.len(), 2);
    assert!(heard > 60_000);
    assert_eq!(taken.bytes, fs::metadata(&taken.path).unwrap().len());

    let recorded = Recorded::open(&taken.path).unwrap();
    assert_eq!(recorded.header().unwrap(), header);
    let mut keys: Vec<FlowKey> = Vec::new();
    let mut keep = |record: &Record<'_>| keys.push(record.flow.key());
    let dumped = recorded.dump(&mut [&mut keep]).unwrap();
    assert_eq!(dumped.entries, u64::from(count));
    assert_eq!((dumped.undecoded, dumped.resized), (2, true));
    let mut expected: Vec<_> = (0..count).map(|number| numbered(number).key()).collect();
    expected.sort();
    assert_eq!(keys, expected);
}

#[test]
fn two_visitors_share_the_flows_by_family() {
    let directory = tempfile::tempdir().unwrap();
    let taken = take(&Store::new(directory.path()), &Numbered::new(30)).unwrap();
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    let mut first = |record: &Record<'_>| v4.push(record.flow);
    let mut second = |record: &Record<'_>| v6.push(record.flow);
    let recorded = Recorded::open(taken.path).unwrap();
    recorded.dump(&mut [&mut first, &mut second]).unwrap();
    assert_eq!((v4.len(), v6.len()), (20, 10));
    assert!(v4.iter().all(|flow| flow.family == Family::Ipv4));
    assert!(v6.iter().all(|flow| flow.family == Family::Ipv6));
}

#[test]
fn the_group_may_read_a_snapshot_and_others_may_not() {
    let directory = tempfile::tempdir().unwrap();
    let source = Numbered::new(1);
    let taken = take(&Store::new(directory.path()), &source).unwrap();
    let single = directory.path().join("single");
    let header = source.header().unwrap();
    take_to(&single, &source, &header, &Compression::None.into(), |_| ()).unwrap();
    for path in [&taken.path, &single] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640, "{}", path.display());
    }
}

#[test]
fn snapshots_of_one_second_do_not_replace_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    let names: Vec<_> = (0..3)
        .map(|_| take(&store, &Numbered::new(1)).unwrap().path)
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "20260131T120000Z-init.jsonl.zst",
            "20260131T120000Z-init~2.jsonl.zst",
            "20260131T120000Z-init~3.jsonl.zst",
        ]
    );
    let mut listed: Vec<_> = (store.list().unwrap().into_iter())
        .map(|stored| stored.name.to_string())
        .collect();
    listed.reverse();
    assert_eq!(listed, names, "the newest first");
}

#[test]
fn a_directory_that_is_not_there_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path().join("none"));
    assert_eq!(store.list().unwrap(), []);
    assert!(!directory.path().join("none").exists());
}

#[test]
fn a_dump_that_fails_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let source = Numbered {
        flows: 100_000,
        end: || Err(ObserveError::Absent("gone".to_owned())),
    };
    let error = take(&Store::new(directory.path()), &source).unwrap_err();
    assert_eq!(error.to_string(), "gone");
    assert_eq!(files(directory.path()), 0);
}

#[test]
fn a_full_disk_is_said_to_be_full() {
    let source = Numbered::new(100_000);
    let header = source.header().unwrap();
    let path = Path::new("/dev/full");
    let error = take_to(path, &source, &header, &Compression::Zstd.into(), |_| ()).unwrap_err();
    let Some(SnapshotError::Write(error)) = error.snapshot() else {
        panic!("{error:?}");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

const KILLED: &str = "CONNTIDY_TEST_KILLED_IN";

#[test]
#[ignore = "the part that is killed, run by the next test"]
fn killed() {
    let Some(directory) = std::env::var_os(KILLED) else {
        return;
    };
    let source = Numbered {
        flows: 200_000,
        end: || std::process::abort(),
    };
    drop(take(&Store::new(directory), &source));
    unreachable!("the dump does not end");
}

#[test]
fn a_killed_writer_leaves_nothing_that_is_listed() {
    let directory = tempfile::tempdir().unwrap();
    let killed = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "store::killed"])
        .env(KILLED, directory.path())
        .output()
        .unwrap();
    assert!(!killed.status.success());
    let store = Store::new(directory.path());
    assert_eq!(files(directory.path()), 1, "its temporary file");
    assert_eq!(store.list().unwrap(), []);

    // A day later the next writer removes it.
    let left = fs::read_dir(directory.path()).unwrap().next().unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(25 * 60 * 60);
    fs::File::open(left.unwrap().path())
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    take(&store, &Numbered::new(1)).unwrap();
    assert_eq!(files(directory.path()), 1);
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn a_damaged_snapshot_is_named_with_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let taken = take(&Store::new(directory.path()), &Numbered::new(500)).unwrap();
    let mut bytes = fs::read(&taken.path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&taken.path, bytes).unwrap();
    let recorded = Recorded::open(&taken.path).unwrap();
    let mut nothing = |_: &Record<'_>| ();
    let error = recorded.dump(&mut [&mut nothing]).unwrap_err();
    assert!(matches!(error, ObserveError::Damaged(_)));
    let text = error.to_string();
    assert!(text.contains("20260131T120000Z-init.jsonl.zst"), "{text}");
    assert!(text.contains("run 1"), "{text}");
}

#[test]
fn a_missing_directory_is_said_to_be_missing_and_no_inner_name_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing/a.zst");
    let source = Numbered::new(1);
    let header = source.header().unwrap();
    let error = take_to(&path, &source, &header, &Compression::Zstd.into(), |_| ()).unwrap_err();
    let StoreError::Write {
        path: named,
        source,
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(named, path);
    assert_eq!(source.to_string(), "No such file or directory (os error 2)");
}
