//! The decoder on captured messages and on any bytes.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "kernel/oracle.rs"]
mod oracle;

use std::path::{Path, PathBuf};

use conntidy::flow::{Extra, Present, Protocol, SeqAdjust, Status};
use conntidy::kernel::decode::{DecodeError, decode};
use conntidy::kernel::message::messages;
use proptest::prelude::*;

fn captures() -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    assert!(files.len() >= 3);
    files
}

fn captured_messages() -> Vec<Vec<u8>> {
    captures()
        .iter()
        .flat_map(|(_, bytes)| messages(bytes).map(|m| m.unwrap().bytes.to_vec()))
        .collect()
}

#[test]
fn another_decoder_agrees_on_every_captured_message() {
    for message in captured_messages() {
        oracle::agrees(&message);
    }
}

/// What comes in the usual order is read in one step.
#[test]
fn what_stands_before_the_usual_start_changes_nothing() {
    for message in captured_messages() {
        let mut other = message.clone();
        let unknown = [4_u16.to_ne_bytes(), 200_u16.to_ne_bytes()].concat();
        other.splice(20..20, unknown);
        let length = u32::try_from(other.len()).unwrap();
        other[..4].copy_from_slice(&length.to_ne_bytes());
        let (usual, walked) = (decode(&message).unwrap(), decode(&other).unwrap());
        assert_eq!((usual.flow, usual.extra), (walked.flow, walked.extra));
    }
}

#[test]
fn captured_extras_are_read() {
    let (_, made) = &captures()
        .into_iter()
        .find(|(path, _)| path.to_string_lossy().contains("made"))
        .unwrap();
    let mut zones = Vec::new();
    let mut helped = 0;
    let mut tags = 0;
    for message in messages(made) {
        let record = decode(message.unwrap().bytes).unwrap();
        let (flow, extra) = (record.flow, record.extra);
        if flow.zone_orig != flow.zone_reply || flow.zone_orig != 0 {
            zones.push((flow.orig.src_port, flow.zone_orig, flow.zone_reply));
            assert_eq!(flow.mark, 0xdead_beef);
            assert!(
                flow.status
                    .contains(Status::FIXED_TIMEOUT | Status::ASSURED)
            );
        }
        if flow.protocol == Protocol::SCTP {
            let state = u32::from(flow.state().unwrap());
            assert_eq!(extra.sctp_vtags, Some((state << 8, 7)));
            tags += 1;
        } else if !extra.is_empty() {
            let adjust = SeqAdjust {
                correction: 4_000_000_000,
                before: -3,
                after: 7,
            };
            let expected = Extra {
                helper: Some("ftp"),
                labels: Some(1 << 127 | 1 << 64 | 2),
                seq_adjust: Some((adjust, SeqAdjust::default())),
                ..Extra::default()
            };
            assert_eq!(extra, expected);
            helped += 1;
        }
    }
    zones.sort_unstable();
    assert_eq!(zones, [(1, 5, 5), (2, 6, 0), (3, 0, 7)]);
    assert_eq!((helped, tags), (1, 8));
}

/// The attributes of a message, each with its header and padding.
fn attributes(message: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &message[20..];
    let mut all = Vec::new();
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let padded = length.next_multiple_of(4).min(rest.len());
        all.push(rest[..padded].to_vec());
        rest = &rest[padded..];
    }
    all
}

fn message_of<'a>(header: &[u8], attributes: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<u8> {
    let mut message = header[..20].to_vec();
    for attribute in attributes {
        message.extend_from_slice(attribute);
    }
    let length = u32::try_from(message.len()).unwrap();
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message
}

/// The same message with the nested bit taken off every attribute, as kernels before 5.2 sent it.
fn without_nested_bits(bytes: &mut [u8]) {
    let mut at = 0;
    while at + 4 <= bytes.len() {
        let length = usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
        let kind = u16::from_ne_bytes([bytes[at + 2], bytes[at + 3]]);
        if kind & 0x8000 != 0 {
            bytes[at + 2..at + 4].copy_from_slice(&(kind & 0x7fff).to_ne_bytes());
            without_nested_bits(&mut bytes[at + 4..at + length]);
        }
        at += length.next_multiple_of(4);
    }
}

fn same(one: &[u8], other: &[u8]) {
    let (one, other) = (decode(one).unwrap(), decode(other).unwrap());
    assert_eq!(one.flow, other.flow);
    assert_eq!(one.extra, other.extra);
}

#[test]
fn the_order_of_attributes_does_not_matter() {
    for message in captured_messages() {
        let parts = attributes(&message);
        let reversed = message_of(&message, parts.iter().rev());
        same(&message, &reversed);
    }
}

#[test]
fn kernels_that_set_no_nested_bit_are_understood() {
    for message in captured_messages() {
        let mut old = message.clone();
        without_nested_bits(&mut old[20..]);
        assert_ne!(old, message);
        same(&message, &old);
    }
}

#[test]
fn unknown_attributes_are_passed_over() {
    let unknown = vec![12, 0, 0x7f, 0x00, 1, 2, 3, 4, 5, 6, 7, 8];
    for message in captured_messages() {
        let mut parts = attributes(&message);
        parts.insert(1, unknown.clone());
        parts.push(unknown.clone());
        same(&message, &message_of(&message, &parts));
    }
}

#[test]
fn a_left_out_attribute_is_absent_and_not_zero() {
    for message in captured_messages() {
        let parts = attributes(&message);
        for left_out in 0..parts.len() {
            let rest: Vec<_> = (0..parts.len())
                .filter(|index| *index != left_out)
                .map(|index| &parts[index])
                .collect();
            let kind = u16::from_ne_bytes([parts[left_out][2], parts[left_out][3]]) & 0x3fff;
            let message = message_of(&message, rest);
            let decoded = decode(&message);
            let absent = match kind {
                1 => {
                    assert_eq!(decoded.unwrap_err(), DecodeError::Tuple);
                    continue;
                }
                2 => Present::REPLY,
                3 => Present::STATUS,
                4 => Present::STATE,
                7 => Present::TIMEOUT,
                8 => Present::MARK,
                9 => Present::COUNTERS_ORIG,
                10 => Present::COUNTERS_REPLY,
                12 => Present::ID,
                20 => Present::START,
                _ => continue,
            };
            assert!(!decoded.unwrap().flow.present.intersects(absent), "{kind}");
        }
    }
}

#[test]
fn a_short_attribute_makes_the_entry_unknown() {
    for message in captured_messages() {
        for mut part in attributes(&message) {
            let kind = u16::from_ne_bytes([part[2], part[3]]) & 0x3fff;
            if ![3, 7, 8, 12, 18].contains(&kind) {
                continue;
            }
            part[..2].copy_from_slice(&5u16.to_ne_bytes());
            let mut parts = attributes(&message);
            parts.push(part);
            assert_eq!(
                decode(&message_of(&message, &parts)).unwrap_err(),
                DecodeError::Length {
                    number: kind,
                    length: 1
                }
            );
        }
    }
}

#[test]
fn a_tuple_without_its_parts_makes_the_entry_unknown() {
    let mut cut = 0;
    for message in captured_messages() {
        let protocol = decode(&message).unwrap().flow.protocol;
        for number in [1, 2] {
            let mut parts = attributes(&message);
            let index = parts.iter().position(|p| p[2] & 0x3f == number).unwrap();
            // The last attribute of the protocol part, which comes last where there is no zone.
            let inner = [vec![0; 16], parts[index].clone()].concat();
            let mut inner = attributes(&inner);
            if inner.len() != 2 || inner[1].len() < 24 {
                continue;
            }
            let fields = [vec![0; 16], inner[1].clone()].concat();
            let mut fields = attributes(&fields);
            fields.pop();
            let rebuilt = |parts: &[Vec<u8>], header: &[u8]| {
                let body = parts.concat();
                let length = u16::try_from(4 + body.len()).unwrap();
                [&length.to_ne_bytes()[..], &header[2..4], &body].concat()
            };
            inner[1] = rebuilt(&fields, &inner[1]);
            parts[index] = rebuilt(&inner, &parts[index]);
            let cut_short = message_of(&message, &parts);
            let decoded = decode(&cut_short);
            if matches!(protocol.0, 1 | 6 | 17 | 58) {
                assert_eq!(decoded.unwrap_err(), DecodeError::Tuple, "{protocol}");
                cut += 1;
            } else {
                assert!(decoded.is_ok(), "{protocol}");
            }
        }
    }
    assert!(cut > 50, "{cut}");
}

#[test]
fn a_master_is_noticed() {
    let message = &captured_messages()[0];
    let mut parts = attributes(message);
    let mut master = parts[0].clone();
    master[2..4].copy_from_slice(&(0x800e_u16).to_ne_bytes());
    parts.push(master);
    let with = message_of(message, &parts);
    assert!(
        decode(&with)
            .unwrap()
            .flow
            .present
            .contains(Present::MASTER)
    );
    assert!(
        !decode(message)
            .unwrap()
            .flow
            .present
            .contains(Present::MASTER)
    );
}

#[test]
fn what_is_no_entry_is_refused() {
    let mut message = captured_messages().remove(0);
    assert_eq!(
        decode(&message[..message.len() - 1]).unwrap_err(),
        DecodeError::Truncated
    );
    assert_eq!(decode(&[]).unwrap_err(), DecodeError::Truncated);
    message[16] = 7;
    assert_eq!(decode(&message).unwrap_err(), DecodeError::Family(7));
    message[4] = 2;
    assert_eq!(
        decode(&message).unwrap_err(),
        DecodeError::NotAnEntry(0x102)
    );
}

/// Walks everything that comes in from outside, as the dump and the sweep do.
fn walk(bytes: &[u8]) {
    let _ = decode(bytes);
    for message in messages(bytes) {
        let Ok(message) = message else { continue };
        let _ = decode(message.bytes);
        let _ = message.answer();
        let _ = message.done();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        walk(&bytes);
    }

    #[test]
    fn no_bytes_behind_a_good_header_make_it_panic(
        kind in prop::sample::select(vec![0x100u16, 2, 3]), flags: u16,
        family in prop::sample::select(vec![2u8, 10]),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = vec![0; 16];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend([family, 0, 0, 0]);
        bytes.extend(body);
        let length = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        walk(&bytes);
    }

    #[test]
    fn no_damage_to_a_captured_message_makes_it_panic(
        which: prop::sample::Index,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let all = captured_messages();
        let mut message = which.get(&all).clone();
        for (place, value) in damage {
            let index = place.index(message.len());
            message[index] = value;
        }
        walk(&message);
    }
}
