//! `stats` on the real kernel, judged by the `conntrack` tool.

use conntidy::flow::Protocol;
use libtest_mimic::Failed;
use serde_json::Value;

use crate::fixture;
use crate::flows::{self, flow};
use crate::gateway::Gateway;
use crate::listener::{delete_all, expectation};

crate::trials!(
    counts_are_those_of_the_kernel,
    expectations_are_counted_while_they_are_there,
    what_is_counted_within_a_time_is_shown_a_second,
    each_counter_that_moved_is_told_in_plain_words,
);

fn stats(gateway: &Gateway) -> Result<Value, Failed> {
    gateway.run(&["stats", "-o", "json"])?.exits(0)?.document()
}

fn counter<'a>(stats: &'a Value, name: &str) -> Result<&'a Value, Failed> {
    let counters = stats["counters"].as_array().ok_or("no counters")?;
    let found = counters.iter().find(|one| one["name"] == name);
    Ok(found.ok_or_else(|| format!("no counter {name}"))?)
}

fn counts_are_those_of_the_kernel() -> Result<(), Failed> {
    crate::needs!("conntrack");
    flows::create(&flows::many(40))?;
    let gateway = Gateway::new()?;
    let stats = stats(&gateway)?;
    let table = &stats["table"];
    assert_eq!(
        (&table["entries"], &table["entry_bytes"]),
        (&40.into(), &(40 * 384).into())
    );
    for (key, tunable) in [
        ("max", "nf_conntrack_max"),
        ("buckets", "nf_conntrack_buckets"),
    ] {
        assert_eq!(table[key], fixture::read_tunable(tunable)?);
    }
    // `cpu=0 found=0 invalid=0 insert=40 ...`, a line a processor.
    let theirs = fixture::conntrack("-S")?;
    for (index, line) in theirs.lines().enumerate() {
        for word in fixture::words(line) {
            let Some((name, value)) = word.split_once('=') else {
                continue;
            };
            if name == "cpu" || value == "0" {
                continue;
            }
            let ours = &counter(&stats, name)?["cpus"][index]["total"];
            assert_eq!(ours.to_string(), value, "{name}");
        }
    }
    assert_eq!(counter(&stats, "insert")?["total"], 40);
    Ok(())
}

fn expectations_are_counted_while_they_are_there() -> Result<(), Failed> {
    crate::needs!("conntrack");
    let gateway = Gateway::new()?;
    let count = || -> Result<(Value, Value), Failed> {
        let stats = stats(&gateway)?;
        let expected = &stats["expectations"];
        Ok((expected["entries"].clone(), expected["created"].clone()))
    };
    assert_eq!(count()?, (0.into(), 0.into()));
    expectation()?;
    assert_eq!(count()?, (1.into(), 1.into()));
    delete_all()?;
    assert_eq!(count()?, (0.into(), 1.into()));
    Ok(())
}

fn what_is_counted_within_a_time_is_shown_a_second() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    flows::create(&flows::many(40))?;
    let every = ["stats", "--every", "1s", "--for", "2s", "-o", "json"];
    let child = gateway
        .command(&[], &every)
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    // Whichever interval this falls in, together they have it; unless it comes before the first look.
    std::thread::sleep(std::time::Duration::from_millis(700));
    flows::create([&flow(Protocol::UDP, "10.0.0.1:1", "10.0.0.2:2")])?;
    let output = child.wait_with_output()?;
    let lines: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    assert_eq!(lines.len(), 2, "{lines:?}");
    let mut inserted = 0;
    for line in &lines {
        let seconds = line["seconds"].as_f64().ok_or("no time")?;
        assert!((0.5..10.0).contains(&seconds), "{seconds}");
        inserted += counter(line, "insert")?["delta"]
            .as_u64()
            .ok_or("no delta")?;
    }
    assert_eq!(inserted, 1, "{lines:?}");
    let text = gateway.run(&["stats", "--for", "1s"])?.exits(0)?.out;
    assert!(text.contains("none moved meanwhile"), "{text}");
    Ok(())
}

fn each_counter_that_moved_is_told_in_plain_words() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let text = || -> Result<String, Failed> { Ok(gateway.run(&["stats"])?.exits(0)?.out) };
    let before = text()?;
    assert!(
        before.contains("none moved so far: nothing was dropped"),
        "{before}"
    );
    flows::create(&flows::many(40))?;
    let after = text()?;
    assert!(after.contains("entries were made by a program"), "{after}");
    assert!(after.contains("entries      40 / "), "{after}");
    assert!(!after.contains("nothing was dropped"), "{after}");
    Ok(())
}
