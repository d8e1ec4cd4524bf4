//! Flows that a rule has matched run by run.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use conntidy::flow::{Flow, Protocol};
use conntidy::kernel::Change;
use conntidy::report::Report;
use conntidy::state::State;
use libtest_mimic::Failed;

use crate::fixture;
use crate::flows::{self, flow};
use crate::gateway::{Gateway, result, rule};

crate::trials!(
    what_has_matched_for_long_enough_goes_and_what_is_younger_stays,
    a_gap_of_more_than_three_intervals_starts_anew,
    a_flow_that_did_not_match_once_starts_anew,
    lost_or_damaged_state_has_seen_nothing,
    another_match_starts_anew,
    what_has_not_persisted_is_another_rule_s_to_take,
    nothing_is_kept_or_read_where_no_rule_asks,
);

fn stuck(port: u16) -> Flow {
    flow(Protocol::UDP, &format!("10.0.0.1:{port}"), "192.0.2.1:53")
}

const STUCK: &str = r#"
    [rules.stuck]
    match = { protocol = "udp", dport = 53, persisted = "1s" }
    action = "delete"
    every = "2s"
"#;

const A_SECOND: Duration = Duration::from_millis(1_050);

fn counts(report: &Report) -> (u64, u64) {
    let plan = rule(&report.plan, "stuck");
    (plan.not_persisted, result(report, "stuck").done)
}

fn file(gateway: &Gateway) -> Result<std::path::PathBuf, Failed> {
    let state: State = gateway.state()?;
    Ok(state.directory().join("persisted.zst"))
}

fn what_has_matched_for_long_enough_goes_and_what_is_younger_stays() -> Result<(), Failed> {
    let (old, young) = (stuck(1), stuck(2));
    // An entry that is made again often gets its old id; its start tells it from the one before.
    fixture::write_tunable("nf_conntrack_timestamp", 1)?;
    let gateway = Gateway::new()?;
    flows::create([&old])?;
    assert_eq!(counts(&gateway.apply(STUCK)?), (1, 0));
    flows::create([&young])?;
    // At once: too near to the first run.
    assert_eq!(counts(&gateway.apply(STUCK)?), (2, 0));
    sleep(A_SECOND);
    let plan = gateway.plan(STUCK)?;
    assert_eq!(rule(&plan, "stuck").selected, 2, "both since a second");
    delete(&young)?;
    flows::create([&young])?;
    assert_eq!(counts(&gateway.apply(STUCK)?), (1, 1));
    fixture::same_keys(&fixture::keys()?, &flows::keys_of([&young]))?;
    // What went is followed no more: the next flow of its addresses is a new one.
    flows::create([&old])?;
    assert_eq!(counts(&gateway.apply(STUCK)?), (2, 0));
    Ok(())
}

fn delete(doomed: &Flow) -> Result<(), Failed> {
    let table = fixture::table()?;
    let found = table.iter().find(|(flow, _)| flow.key() == doomed.key());
    let (key, id) = found
        .map(|(flow, _)| (flow.key(), flow.id))
        .ok_or("no such flow")?;
    flows::all_done(&flows::change(std::iter::once(Change::Delete { key, id }))?)
}

fn a_gap_of_more_than_three_intervals_starts_anew() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let often = STUCK.replace("2s", "1s");
    flows::create([&stuck(1)])?;
    assert_eq!(counts(&gateway.apply(&often)?), (1, 0));
    sleep(Duration::from_millis(3_100));
    assert_eq!(counts(&gateway.apply(&often)?), (1, 0));
    sleep(A_SECOND);
    assert_eq!(counts(&gateway.apply(&often)?), (0, 1));
    Ok(())
}

fn a_flow_that_did_not_match_once_starts_anew() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let remaining = STUCK.replace("dport = 53", "remaining-above = 20");
    let mut one = stuck(1);
    one.timeout = 30;
    flows::create([&one])?;
    let key = one.key();
    let set = |seconds| -> Result<(), Failed> {
        let tally = flows::change(std::iter::once(Change::Retime { key, seconds }))?;
        flows::all_done(&tally)
    };
    assert_eq!(counts(&gateway.apply(&remaining)?), (1, 0));
    set(10)?;
    sleep(A_SECOND);
    assert_eq!(counts(&gateway.apply(&remaining)?), (0, 0));
    set(30)?;
    assert_eq!(counts(&gateway.apply(&remaining)?), (1, 0));
    sleep(A_SECOND);
    assert_eq!(counts(&gateway.apply(&remaining)?), (0, 1));
    Ok(())
}

fn lost_or_damaged_state_has_seen_nothing() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    flows::create([&stuck(1)])?;
    let first = gateway.apply(STUCK)?;
    assert_eq!((counts(&first), first.problems.len()), ((1, 0), 0));
    fs::remove_file(file(&gateway)?)?;
    sleep(A_SECOND);
    assert_eq!(counts(&gateway.apply(STUCK)?), (1, 0));
    let mut bytes = fs::read(file(&gateway)?)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(file(&gateway)?, bytes)?;
    sleep(A_SECOND);
    let damaged = gateway.apply(STUCK)?;
    assert_eq!(counts(&damaged), (1, 0));
    assert!(
        damaged.problems[0].contains("none has persisted"),
        "{damaged:#?}"
    );
    // It is whole again.
    sleep(A_SECOND);
    let healed = gateway.apply(STUCK)?;
    assert_eq!((counts(&healed), healed.problems.len()), ((0, 1), 0));
    Ok(())
}

fn another_match_starts_anew() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    flows::create([&stuck(1)])?;
    assert_eq!(counts(&gateway.apply(STUCK)?), (1, 0));
    sleep(A_SECOND);
    let other = STUCK.replace("dport = 53", "dst = \"192.0.2.1\"");
    assert_eq!(counts(&gateway.apply(&other)?), (1, 0));
    Ok(())
}

fn what_has_not_persisted_is_another_rule_s_to_take() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let both = format!(
        "{STUCK}[rules.then]\norder = 60\nmatch = {{ protocol = \"udp\" }}\naction = \"delete\""
    );
    flows::create([&stuck(1)])?;
    let report = gateway.apply(&both)?;
    assert_eq!(counts(&report), (1, 0));
    assert_eq!(result(&report, "then").done, 1);
    Ok(())
}

fn nothing_is_kept_or_read_where_no_rule_asks() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    flows::create([&stuck(1)])?;
    gateway.apply(STUCK)?;
    assert!(file(&gateway)?.exists());
    let other = "[rules.none]\nmatch = { protocol = \"tcp\" }\naction = \"report\"";
    fs::write(file(&gateway)?, "nobody reads this")?;
    let report = gateway.apply(other)?;
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(!file(&gateway)?.exists());
    Ok(())
}
