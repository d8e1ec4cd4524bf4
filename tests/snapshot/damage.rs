use std::io::Cursor;

use conntidy::flow::{Extra, Family, Flow, Present, Protocol, Tuple};
use conntidy::observe::Record;
use conntidy::observe::{Dumped, Header};
use conntidy::policy::Compression;
use conntidy::snapshot::{
    EncodedRun, Run, Snapshot, SnapshotError, Writer, encode, salvage, write,
};

fn flow(number: u32) -> Flow {
    let orig = Tuple::new(
        std::net::Ipv4Addr::from(0x0A00_0000 + number).into(),
        std::net::Ipv4Addr::new(198, 51, 100, 7).into(),
        u16::try_from(1024 + number * 7 % 50_000).unwrap(),
        443,
    );
    let mut flow = Flow::new(Family::Ipv4, Protocol::TCP, orig);
    flow.present = Present::REPLY | Present::TIMEOUT | Present::MARK;
    flow.timeout = number * 31;
    flow.mark = number;
    flow
}

fn header() -> Header {
    Header {
        host: "gw1".to_owned(),
        kernel: "6.1.0".to_owned(),
        ..Header::default()
    }
}

/// Three runs of 100 flows.
fn sample(compression: Compression) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header(), compression).unwrap();
    for third in 0..3 {
        let mut run = Run::default();
        for number in 0..100 {
            run.push(&Record {
                flow: flow(number * 3 + third),
                extra: Extra::default(),
                message: &[],
            });
        }
        let encoded = encode(&mut run, compression, EncodedRun::default()).unwrap();
        writer.run(&encoded).unwrap();
    }
    let dumped = Dumped {
        entries: 300,
        ..Dumped::default()
    };
    writer.finish(dumped).unwrap().0
}

fn read(file: &[u8]) -> Result<(Header, Vec<Flow>), SnapshotError> {
    let mut snapshot = Snapshot::open(Cursor::new(file))?;
    let mut read = Vec::new();
    let header = snapshot.header().clone();
    let mut flows = snapshot.flows()?;
    while let Some(record) = flows.next_flow()? {
        read.push(record.flow);
    }
    Ok((header, read))
}

/// Flows that `salvage` hands out, and whether it found fault.
fn salvaged(file: &[u8]) -> (Vec<Flow>, Option<conntidy::snapshot::Salvaged>) {
    let mut flows = Vec::new();
    let found = salvage(Cursor::new(file), |record| flows.push(record.flow)).ok();
    (flows, found)
}

/// Small, repeatable and good enough to choose places (`SplitMix64`).
pub(crate) fn random(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    usize::try_from((z ^ (z >> 31)) >> 1).unwrap()
}

#[test]
fn a_whole_file_reads_and_has_nothing_to_salvage() {
    for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
        let file = sample(compression);
        let (_, flows) = read(&file).unwrap();
        assert_eq!(flows, (0..300).map(flow).collect::<Vec<_>>());
        let (mut flows, found) = salvaged(&file);
        let found = found.unwrap();
        assert_eq!(found.damages, []);
        assert_eq!((found.flows, found.unverified), (300, 0));
        assert_eq!(found.header, Some(header()));
        assert!(found.trailer.is_some());
        flows.sort_by_key(Flow::key);
        assert_eq!(flows, (0..300).map(flow).collect::<Vec<_>>());
    }
}

#[test]
fn no_truncation_goes_unnoticed() {
    for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
        let file = sample(compression);
        // Every place in the first and last part, and some between.
        let edge = 400.min(file.len() / 2);
        let lengths = (0..edge)
            .chain((edge..file.len() - edge).step_by(61))
            .chain(file.len() - edge..file.len());
        for length in lengths {
            assert!(read(&file[..length]).is_err(), "{compression:?}, {length}");
            let (_, found) = salvaged(&file[..length]);
            let clean = found.is_some_and(|found| found.damages.is_empty());
            assert!(!clean, "{compression:?}, {length}");
        }
    }
}

#[test]
fn no_mutation_gives_a_wrong_table() {
    let truth = (header(), (0..300).map(flow).collect::<Vec<_>>());
    let mut state = 1;
    for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
        let file = sample(compression);
        let mut noticed = 0;
        for _ in 0..300 {
            let mut other = file.clone();
            for _ in 0..=random(&mut state) % 3 {
                let at = random(&mut state) % other.len();
                match random(&mut state) % 4 {
                    0 => other[at] ^= 1 << (random(&mut state) % 8),
                    1 => drop(other.remove(at)),
                    2 => other.insert(at, b"0\n{}\"9"[random(&mut state) % 6]),
                    _ => {
                        let end = (at + random(&mut state) % 200).min(other.len());
                        let piece = other[at..end].to_vec();
                        other.splice(at..at, piece);
                    }
                }
                if other.is_empty() {
                    break;
                }
            }
            match read(&other) {
                Ok(read) => assert_eq!(read, truth),
                Err(error) => {
                    noticed += 1;
                    assert!(
                        !matches!(error, SnapshotError::Read(_) | SnapshotError::Write(_)),
                        "{error:?}"
                    );
                }
            }
            let (flows, found) = salvaged(&other);
            if let Some(found) = found {
                assert_eq!(found.flows, flows.len() as u64);
                assert!(found.unverified <= found.flows);
                let wrong = flows.iter().filter(|flow| !truth.1.contains(flow)).count() as u64;
                assert!(wrong <= found.unverified, "{wrong} wrong, {found:?}");
            }
        }
        assert!(noticed > 250, "{compression:?}: {noticed}");
    }
}

#[test]
fn damage_is_named_by_offset_run_and_line() {
    let file = sample(Compression::None);
    let text = String::from_utf8(file.clone()).unwrap();
    // The 5th flow of the second run: header, 100 flows, and 4 more lines go before it.
    let line = 1 + 100 + 5;
    let offset: usize = (text.split_inclusive('\n').take(line - 1))
        .map(str::len)
        .sum();
    let mut other = file;
    other[offset] = b'x';
    let SnapshotError::Damaged(damage) = read(&other).unwrap_err() else {
        panic!("not damaged");
    };
    assert_eq!(damage.offset, offset as u64, "{damage}");
    assert_eq!(damage.run, Some(2), "{damage}");
    assert_eq!(damage.line, Some(line as u64), "{damage}");
}

#[test]
fn a_damaged_frame_is_named_and_the_others_are_salvaged() {
    let mut file = sample(Compression::Zstd);
    let frames: Vec<usize> = (0..file.len() - 4)
        .filter(|at| file[*at..at + 4] == [0x28, 0xB5, 0x2F, 0xFD])
        .collect();
    assert_eq!(frames.len(), 5, "header, three runs, trailer");
    file[frames[2] + 200] ^= 0x55;
    let SnapshotError::Damaged(damage) = read(&file).unwrap_err() else {
        panic!("not damaged");
    };
    assert_eq!(damage.run, Some(2), "{damage}");
    assert!(
        (frames[2]..=frames[3]).contains(&usize::try_from(damage.offset).unwrap()),
        "{damage}"
    );
    let (flows, found) = salvaged(&file);
    let found = found.unwrap();
    assert_eq!(found.damages.len(), 1, "{:?}", found.damages);
    assert_eq!(found.damages[0].run, Some(2));
    assert!(flows.len() >= 200, "{}", flows.len());
    assert_eq!(found.unverified, found.flows - 200);
}

#[test]
fn a_small_table_that_is_cut_short_is_not_lost() {
    let flows = (0..300).map(|number| (flow(number), Extra::default()));
    let (file, _) = write(
        Vec::new(),
        &header(),
        Compression::Zstd,
        flows,
        Dumped::default(),
    )
    .unwrap();
    let (flows, found) = salvaged(&file[..file.len() * 9 / 10]);
    let found = found.unwrap();
    assert!(flows.len() > 200, "{}", flows.len());
    assert_eq!(found.unverified, found.flows);
    let expected: Vec<_> = (0..u32::try_from(flows.len()).unwrap()).map(flow).collect();
    assert_eq!(flows, expected);
}

#[test]
fn a_trailer_that_counts_otherwise_is_refused() {
    let file = sample(Compression::None);
    let text = String::from_utf8(file).unwrap();
    let without_one_flow: String = (text.split_inclusive('\n').enumerate())
        .filter(|(number, _)| *number != 7)
        .map(|(_, line)| line)
        .collect();
    let error = read(without_one_flow.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("the runs end at"), "{error}");
}

#[test]
fn other_files_and_versions_are_told_apart_from_damage() {
    let error = read(b"hello").unwrap_err();
    assert!(matches!(error, SnapshotError::Foreign(_)), "{error}");
    let error = read(b"{\"a\":1}\n{\"b\":2}\n").unwrap_err();
    assert!(matches!(error, SnapshotError::Foreign(_)), "{error}");
    let later = String::from_utf8(sample(Compression::None))
        .unwrap()
        .replacen("conntidy.snapshot/1", "conntidy.snapshot/2", 1);
    let error = read(later.as_bytes()).unwrap_err();
    assert!(matches!(error, SnapshotError::Version { .. }), "{error}");
    let packed_again = zstd::encode_all(Cursor::new(sample(Compression::None)), 3).unwrap();
    let error = read(&packed_again).unwrap_err().to_string();
    assert!(error.contains("zstd -d"), "{error}");
}

#[test]
fn a_full_disk_is_an_error_of_writing() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            Ok(taken)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let whole = sample(Compression::Zstd).len();
    for room in [0, 10, whole / 2] {
        let flows = (0..300).map(|number| (flow(number), Extra::default()));
        let result = write(
            Full(room),
            &header(),
            Compression::Zstd,
            flows,
            Dumped::default(),
        );
        assert!(matches!(result, Err(SnapshotError::Write(_))), "{room}");
    }
}
