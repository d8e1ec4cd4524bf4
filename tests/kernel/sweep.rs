//! Changes in batches, and what the tally says of each.

use std::io;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use conntidy::flow::{Extra, Flow, FlowKey, Protocol, Status};
use conntidy::kernel::{Change, Live, SweepError, SweepOptions};
use conntidy::observe::{Observe, Record, Visit};
use libtest_mimic::Failed;

use crate::fixture;
use crate::flows::{self, flow};

crate::trials!(
    a_delete_with_another_id_leaves_the_entry,
    each_error_is_counted_under_its_own_tag,
    a_refused_change_keeps_the_kernels_sentence,
    a_retime_shortens_and_lengthens_and_never_makes_an_entry,
    a_fixed_timer_is_not_retimed,
    a_taken_tuple_is_told_from_a_new_one,
    lost_answers_are_unknown_and_never_done,
    errors_of_a_whole_table_fit_the_room_for_answers,
    the_hook_sees_every_batch_before_it_is_sent,
    the_answers_to_what_was_recorded_are_told_after_each_batch,
    a_refusing_hook_keeps_back_its_batch_and_all_later_ones,
    a_sweep_that_is_not_finished_sends_nothing_more,
    a_pace_is_kept,
    deleting_while_the_dump_runs_takes_each_entry_once,
    two_feeders_share_one_sweep,
);

fn delete(flow: &Flow) -> Change<'static> {
    Change::Delete {
        key: flow.key(),
        id: flow.id,
    }
}

fn a_delete_with_another_id_leaves_the_entry() -> Result<(), Failed> {
    flows::create(&flows::many(3))?;
    let table = fixture::table()?;
    let wrong = table.iter().map(|(flow, _)| Change::Delete {
        key: flow.key(),
        id: flow.id ^ 1,
    });
    let count = flows::change(wrong)?.count(0);
    assert_eq!((count.gone, count.total()), (3, 3), "{count:#?}");
    assert_eq!(fixture::table()?.len(), 3);
    Ok(())
}

fn each_error_is_counted_under_its_own_tag() -> Result<(), Failed> {
    let all = flows::many(2000);
    flows::create(&all)?;
    let table = fixture::table()?;
    // Every third is deleted twice, so every third answer of tag 1 is an error.
    let sweep = Live::default().sweep(SweepOptions::default())?;
    let mut feeder = sweep.feeder();
    let mut twice = 0;
    for (index, (flow, _)) in table.iter().enumerate() {
        feeder.push(7, &delete(flow));
        if index % 3 == 0 {
            feeder.push(1, &delete(flow));
            twice += 1;
        }
    }
    drop(feeder);
    let tally = sweep.finish();
    assert!(tally.stopped.is_none());
    let (first, second) = (tally.count(7), tally.count(1));
    assert_eq!((first.done, first.total()), (2000, 2000), "{first:#?}");
    assert_eq!((second.gone, second.total()), (twice, twice), "{second:#?}");
    assert_eq!(Live::default().count()?, 0);
    Ok(())
}

fn a_refused_change_keeps_the_kernels_sentence() -> Result<(), Failed> {
    // Two zones that differ are more than the kernel has room for.
    let mut one = flow(Protocol::UDP, "10.0.0.1:1", "10.0.0.2:2");
    (one.zone_orig, one.zone_reply) = (3, 4);
    let create = Change::Create {
        flow: &one,
        extra: Extra::default(),
    };
    let count = flows::change([create].into_iter())?.count(0);
    assert_eq!((count.failed, count.total()), (1, 1), "{count:#?}");
    assert_eq!(count.failures[0].key, one.key());
    assert_eq!(count.failures[0].errno, 22, "{count:#?}");
    Ok(())
}

fn retime(flow: &Flow, seconds: u32) -> Change<'static> {
    Change::Retime {
        key: flow.key(),
        seconds,
    }
}

fn a_retime_shortens_and_lengthens_and_never_makes_an_entry() -> Result<(), Failed> {
    let all = flows::many(8);
    flows::create(&all)?;
    for seconds in [90, 5000] {
        flows::all_done(&flows::change(
            all.iter().map(|flow| retime(flow, seconds)),
        )?)?;
        for (flow, _) in fixture::table()? {
            let left = flow.remaining().ok_or("no timeout")?;
            assert!(
                left <= seconds && left + 5 >= seconds,
                "{left} for {seconds}"
            );
        }
    }
    let absent = flow(Protocol::UDP, "10.9.9.9:1", "10.0.0.2:2");
    let count = flows::change([retime(&absent, 90)].into_iter())?.count(0);
    assert_eq!((count.gone, count.total()), (1, 1), "{count:#?}");
    fixture::same_keys(&fixture::keys()?, &flows::keys_of(&all))?;
    Ok(())
}

fn a_fixed_timer_is_not_retimed() -> Result<(), Failed> {
    let mut one = flow(Protocol::UDP, "10.0.0.1:1", "10.0.0.2:2");
    one.status |= Status::FIXED_TIMEOUT;
    flows::create([&one])?;
    let count = flows::change([retime(&one, 90)].into_iter())?.count(0);
    assert_eq!((count.failed, count.total()), (1, 1), "{count:#?}");
    assert_eq!(count.failures[0].errno, 1, "EPERM: {count:#?}");
    assert!(fixture::table()?[0].0.timeout > 500);
    Ok(())
}

fn a_taken_tuple_is_told_from_a_new_one() -> Result<(), Failed> {
    let all = flows::many(10);
    flows::create(&all[..4])?;
    let count = flows::change(all.iter().map(|flow| Change::Create {
        flow,
        extra: Extra::default(),
    }))?
    .count(0);
    assert_eq!((count.done, count.exists, count.total()), (6, 4, 10));
    fixture::same_keys(&fixture::keys()?, &flows::keys_of(&all))?;
    Ok(())
}

fn lost_answers_are_unknown_and_never_done() -> Result<(), Failed> {
    // Some 250 answers fit into what the kernel makes of this.
    let sweep = Live::default().sweep(SweepOptions {
        batch_messages: NonZeroU32::new(600),
        receive_bytes: Some(100_000),
        ..SweepOptions::default()
    })?;
    let mut feeder = sweep.feeder();
    for flow in flows::many(600) {
        feeder.push(0, &delete(&flow));
    }
    drop(feeder);
    let tally = sweep.finish();
    let count = tally.count(0);
    assert_eq!(count.total(), 600);
    assert_eq!(count.done, 0, "nothing was there to be deleted: {count:#?}");
    assert!(count.unknown > 0 && count.gone > 100, "{count:#?}");

    // The next batch is counted well again.
    flows::create(&flows::many(5))?;
    let deletes: Vec<_> = fixture::table()?.iter().map(|(f, _)| delete(f)).collect();
    flows::all_done(&flows::change(deletes.into_iter())?)
}

fn errors_of_a_whole_table_fit_the_room_for_answers() -> Result<(), Failed> {
    let all = flows::many(20_000);
    let count = flows::change(all.iter().map(delete))?.count(0);
    assert_eq!((count.gone, count.total()), (20_000, 20_000), "{count:#?}");
    Ok(())
}

fn the_hook_sees_every_batch_before_it_is_sent() -> Result<(), Failed> {
    let all = flows::many(3000);
    flows::create(&all)?;
    let table = fixture::table()?;
    let seen: Arc<Mutex<Vec<(FlowKey, u64)>>> = Arc::default();
    let record: Arc<Mutex<Vec<u8>>> = Arc::default();
    let (keys, bytes) = (Arc::clone(&seen), Arc::clone(&record));
    let mut left = table.len() as u64;
    let sweep = Live::default().sweep(SweepOptions {
        before: Some(Box::new(move |outgoing| {
            // Nothing of this batch has been deleted yet, all before it has.
            let count = Live::default().count().map_err(io::Error::other)?;
            if count != left {
                return Err(io::Error::other(format!("{count}, not {left}")));
            }
            left -= outgoing.changes.len() as u64;
            let mut keys = keys.lock().expect("not poisoned");
            keys.extend(outgoing.changes.iter().map(|(_, key)| (*key, left)));
            bytes.lock().expect("not poisoned").extend(outgoing.record);
            Ok(())
        })),
        ..SweepOptions::default()
    })?;
    let mut feeder = sweep.feeder();
    for (flow, _) in &table {
        let id = flow.id.to_be_bytes();
        feeder.record().extend(id);
        feeder.push(0, &delete(flow));
    }
    drop(feeder);
    flows::all_done(&sweep.finish())?;
    let seen = seen.lock().expect("not poisoned");
    assert!(
        seen.iter()
            .map(|(key, _)| *key)
            .eq(table.iter().map(|(flow, _)| flow.key()))
    );
    let ids: Vec<_> = table
        .iter()
        .flat_map(|(flow, _)| flow.id.to_be_bytes())
        .collect();
    assert_eq!(*record.lock().expect("not poisoned"), ids);
    Ok(())
}

fn the_answers_to_what_was_recorded_are_told_after_each_batch() -> Result<(), Failed> {
    flows::create(&flows::many(1000))?;
    let told: Arc<Mutex<Vec<bool>>> = Arc::default();
    let made = Arc::clone(&told);
    let mut batches = 0;
    let sweep = Live::default().sweep(SweepOptions {
        batch_messages: NonZeroU32::new(100),
        before: Some(Box::new(move |_| {
            batches += 1;
            if batches == 10 {
                return Err(io::Error::other("the disk is full"));
            }
            Ok(())
        })),
        after: Some(Box::new(move |answered| {
            made.lock().expect("not poisoned").extend(answered.made());
        })),
        ..SweepOptions::default()
    })?;
    let mut feeder = sweep.feeder();
    for (index, (flow, _)) in fixture::table()?.iter().enumerate() {
        let mut change = delete(flow);
        if index % 3 == 0
            && let Change::Delete { id, .. } = &mut change
        {
            *id ^= 1;
        }
        // Every other one is of no interest.
        if index % 2 == 0 {
            feeder.record().push(0);
        }
        feeder.push(0, &change);
    }
    drop(feeder);
    let count = sweep.finish().count(0);
    assert_eq!((count.done, count.gone, count.unsent), (600, 300, 100));
    let wanted = (0..1000)
        .step_by(2)
        .map(|index| index < 900 && index % 3 != 0);
    assert!(
        told.lock()
            .expect("not poisoned")
            .iter()
            .copied()
            .eq(wanted)
    );
    Ok(())
}

fn a_refusing_hook_keeps_back_its_batch_and_all_later_ones() -> Result<(), Failed> {
    let all = flows::many(1000);
    flows::create(&all)?;
    let mut batches = 0;
    let sweep = Live::default().sweep(SweepOptions {
        batch_messages: NonZeroU32::new(100),
        before: Some(Box::new(move |_| {
            batches += 1;
            if batches == 3 {
                return Err(io::Error::other("the disk is full"));
            }
            Ok(())
        })),
        ..SweepOptions::default()
    })?;
    let mut feeder = sweep.feeder();
    for (flow, _) in &fixture::table()? {
        feeder.push(0, &delete(flow));
    }
    drop(feeder);
    let tally = sweep.finish();
    let count = tally.count(0);
    assert_eq!((count.done, count.unsent, count.total()), (200, 800, 1000));
    assert!(
        matches!(tally.stopped, Some(SweepError::Hook(_))),
        "{tally:?}"
    );
    assert_eq!(Live::default().count()?, 800);
    Ok(())
}

fn a_sweep_that_is_not_finished_sends_nothing_more() -> Result<(), Failed> {
    let all = flows::many(1000);
    flows::create(&all)?;
    let table = fixture::table()?;
    let sweep = Live::default().sweep(SweepOptions {
        // The first batch goes out at once, each other one a fifth of a second later.
        pace: NonZeroU32::new(5),
        ..SweepOptions::default()
    })?;
    let mut feeder = sweep.feeder();
    for (flow, _) in &table[..3] {
        feeder.push(0, &delete(flow));
    }
    drop(feeder);
    drop(sweep);
    assert!(Live::default().count()? >= 999);
    Ok(())
}

fn a_pace_is_kept() -> Result<(), Failed> {
    let all = flows::many(600);
    let started = Instant::now();
    let sweep = Live::default().sweep(SweepOptions {
        pace: NonZeroU32::new(1000),
        ..SweepOptions::default()
    })?;
    let mut feeder = sweep.feeder();
    for flow in &all {
        let extra = Extra::default();
        feeder.push(0, &Change::Create { flow, extra });
    }
    drop(feeder);
    flows::all_done(&sweep.finish())?;
    let took = started.elapsed();
    // 600 at 1000 a second in bursts of 50 ms: the last burst leaves after 550 ms.
    assert!(took >= Duration::from_millis(540), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    Ok(())
}

fn deleting_while_the_dump_runs_takes_each_entry_once() -> Result<(), Failed> {
    flows::create(&flows::many(20_000))?;
    let sweep = Live::default().sweep(SweepOptions::default())?;
    let dumped = {
        let mut feeder = sweep.feeder();
        let mut visit = |record: &Record<'_>| {
            if record.flow.protocol == Protocol::TCP {
                feeder.push(0, &delete(&record.flow));
            }
        };
        Live::default().dump(&mut [&mut visit as &mut dyn Visit])?
    };
    let tally = sweep.finish();
    assert_eq!((dumped.entries, dumped.undecoded), (20_000, 0));
    let count = tally.count(0);
    assert_eq!((count.done, count.total()), (15_000, 15_000), "{count:#?}");
    assert_eq!(Live::default().count()?, 5_000);
    Ok(())
}

fn two_feeders_share_one_sweep() -> Result<(), Failed> {
    flows::create(&flows::many(20_000))?;
    let sweep = Live::default().sweep(SweepOptions::default())?;
    let dumped = {
        let (mut one, mut two) = (sweep.feeder(), sweep.feeder());
        let mut first = |record: &Record<'_>| one.push(1, &delete(&record.flow));
        let mut second = |record: &Record<'_>| two.push(2, &delete(&record.flow));
        Live::default().dump(&mut [&mut first as &mut dyn Visit, &mut second])?
    };
    let tally = sweep.finish();
    assert_eq!((dumped.entries, dumped.undecoded), (20_000, 0));
    let total = tally.total();
    assert_eq!((total.done, total.total()), (20_000, 20_000), "{total:#?}");
    if std::thread::available_parallelism().map_or(1, usize::from) > 1 {
        assert_eq!((tally.count(1).done, tally.count(2).done), (15_000, 5_000));
    }
    assert_eq!(Live::default().count()?, 0);
    Ok(())
}
