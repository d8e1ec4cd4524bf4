//! What is written comes back, whole or torn.

use super::*;
use crate::observe::Netns;

fn written() -> (tempfile::TempDir, State, RunName) {
    let root = tempfile::tempdir().unwrap();
    let state = State::of(root.path(), &Netns::default());
    state.create().unwrap();
    let run = RunName::new(0, 1);
    let mut writer = state.undo_writer(&run).unwrap();
    let kept = writer.keep(b"never sent", 1).unwrap();
    let first = writer.keep(b"first", 2).unwrap();
    let second = writer.keep(b"second", 3).unwrap();
    assert_eq!(kept, 0);
    let mut frames = Vec::new();
    frame(&mut frames, b"streamed", 4, 7);
    writer.append_sent(&frames).unwrap();
    let mut marks = Vec::new();
    mark(&mut marks, second, 9);
    mark(&mut marks, first, 8);
    writer.mark_sent(&marks).unwrap();
    (root, state, run)
}

fn read(state: &State, run: &RunName) -> Vec<(Vec<u8>, u32, u16)> {
    let mut reader = state.undo_reader(run).unwrap();
    let mut all = Vec::new();
    while let Some(deleted) = reader.next_deleted().unwrap() {
        all.push((
            deleted.message.unwrap().to_vec(),
            deleted.at_ms,
            deleted.rule,
        ));
    }
    all
}

#[test]
fn only_what_was_sent_comes_back_in_the_order_of_sending() {
    let (_root, state, run) = written();
    let expected = vec![
        (b"streamed".to_vec(), 4, 7),
        (b"second".to_vec(), 3, 9),
        (b"first".to_vec(), 2, 8),
    ];
    assert_eq!(read(&state, &run), expected);
}

#[test]
fn what_is_not_sent_is_forgotten_where_nothing_was() {
    let root = tempfile::tempdir().unwrap();
    let state = State::of(root.path(), &Netns::default());
    state.create().unwrap();
    let run = RunName::new(0, 1);
    let mut writer = state.undo_writer(&run).unwrap();
    writer.keep(b"never sent", 1).unwrap();
    writer.forget_unsent().unwrap();
    let mut frames = Vec::new();
    frame(&mut frames, b"streamed", 4, 7);
    writer.append_sent(&frames).unwrap();
    writer.keep(b"not sent yet", 1).unwrap();
    writer.forget_unsent().unwrap();
    writer.append_sent(&frames).unwrap();
    let streamed = (b"streamed".to_vec(), 4, 7);
    assert_eq!(read(&state, &run), [streamed.clone(), streamed]);
}

#[test]
fn a_torn_end_costs_the_torn_record_alone() {
    let (_root, state, run) = written();
    let path = state.undo_sent_path(&run);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    assert_eq!(read(&state, &run).len(), 2);
    let path = state.undo_flows_path(&run);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    // The torn frame is the streamed one, the first that was sent; that it is lost is told.
    let mut reader = state.undo_reader(&run).unwrap();
    let torn = reader.next_deleted().unwrap().unwrap();
    assert_eq!((torn.message.is_err(), torn.rule), (true, 7));
    let second = reader.next_deleted().unwrap().unwrap();
    assert_eq!(second.message.unwrap(), b"second");
    assert!(reader.next_deleted().unwrap().is_none());
}

#[test]
fn after_an_error_nothing_more_is_recorded() {
    let root = tempfile::tempdir().unwrap();
    let state = State::of(root.path(), &Netns::default());
    state.create().unwrap();
    let run = RunName::new(0, 1);
    let full = || BufWriter::with_capacity(4, File::create("/dev/full").unwrap());
    let mut frames = Vec::new();
    frame(&mut frames, b"streamed", 4, 7);
    for (flows, sent) in [(true, false), (false, true)] {
        let mut writer = state.undo_writer(&run).unwrap();
        let (good_flows, good_sent) = (
            BufWriter::new(File::create(state.undo_flows_path(&run)).unwrap()),
            BufWriter::new(File::create(state.undo_sent_path(&run)).unwrap()),
        );
        writer.flows = if flows { full() } else { good_flows };
        writer.sent = if sent { full() } else { good_sent };
        writer.append_sent(&frames).unwrap_err();
        // The disk has room again, but what was written until then is not known.
        writer.flows = BufWriter::new(File::create(state.undo_flows_path(&run)).unwrap());
        writer.sent = BufWriter::new(File::create(state.undo_sent_path(&run)).unwrap());
        writer.append_sent(&frames).unwrap_err();
        writer.keep(b"kept", 1).unwrap_err();
        writer.mark_sent(&[0; SENT]).unwrap_err();
        writer.mark_sent(&[]).unwrap();
        drop(writer);
        assert!(read(&state, &run).is_empty());
        fs::remove_dir_all(state.undo_directory()).unwrap();
        state.create().unwrap();
    }
}

#[test]
fn what_a_delete_did_not_delete_does_not_come_back() {
    let (_root, state, run) = written();
    fs::remove_dir_all(state.undo_directory()).unwrap();
    state.create().unwrap();
    let mut writer = state.undo_writer(&run).unwrap();
    let kept: Vec<u64> = [b"zero", b"one ", b"two "]
        .iter()
        .map(|text| writer.keep(*text, 1).unwrap())
        .collect();
    let mut frames = Vec::new();
    for text in [&b"three"[..], b"four", b"five"] {
        frame(&mut frames, text, 4, 7);
    }
    writer.append_sent(&frames).unwrap();
    writer.answered([true, false, true].into_iter());
    let mut marks = Vec::new();
    for offset in &kept {
        mark(&mut marks, *offset, 8);
    }
    writer.mark_sent(&marks).unwrap();
    writer.answered([false, true, false].into_iter());
    // Timers alone.
    writer.mark_sent(&[]).unwrap();
    writer.answered([].into_iter());
    let texts = || -> Vec<String> {
        let all = read(&state, &run).into_iter();
        all.map(|(text, ..)| String::from_utf8(text).unwrap())
            .collect()
    };
    assert_eq!(texts(), ["three", "five", "one "]);
    assert_eq!(state.may_have_deleted(&run).unwrap(), 3);
    // Torn or lost, it only hides less.
    let path = state.undo_kept_path(&run);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    assert_eq!(texts(), ["three", "five", "one ", "two "]);
    fs::remove_file(&path).unwrap();
    assert_eq!(texts().len(), 6);
}
