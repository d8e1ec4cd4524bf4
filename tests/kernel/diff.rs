//! `diff FILE live` on the real kernel, judged by what the `conntrack` tool did in between.

use libtest_mimic::Failed;
use serde_json::Value;

use crate::fixture::{self, conntrack};
use crate::gateway::Gateway;

crate::trials!(
    what_happened_since_a_snapshot_is_told_flow_by_flow,
    nothing_happened_is_no_difference,
    what_a_timer_took_tells_who_grew_since,
);

/// An entry of the tool, from `10.0.0.1` to port 53 of the address.
fn add(dst: &str, more: &str) -> Result<(), Failed> {
    conntrack(&format!(
        "-I -s 10.0.0.1 -d {dst} -p udp --sport 1111 --dport 53 -t 1000 {more}"
    ))?;
    Ok(())
}

fn diff(gateway: &Gateway, code: i32) -> Result<Value, Failed> {
    let arguments = [
        "diff",
        "./before",
        "live",
        "-o",
        "json",
        "--detailed-exitcode",
    ];
    gateway.run(&arguments)?.exits(code)?.document()
}

fn what_happened_since_a_snapshot_is_told_flow_by_flow() -> Result<(), Failed> {
    let name = "what_happened_since_a_snapshot_is_told_flow_by_flow";
    if !fixture::has("conntrack") {
        return fixture::skip(name, "no conntrack");
    }
    // So that an entry that was made again is told from one that lived on.
    fixture::write_tunable("nf_conntrack_timestamp", 1)?;
    let gateway = Gateway::new()?;
    for last in 1..=4 {
        add(&format!("192.0.2.{last}"), "-u SEEN_REPLY")?;
    }
    (gateway.run(&["snapshot", "take", "--out", "before"])?).exits(0)?;
    let of = |last: u8| format!("-s 10.0.0.1 -d 192.0.2.{last} -p udp --sport 1111 --dport 53");
    conntrack(&format!("-D {}", of(1)))?;
    conntrack(&format!("-D {}", of(2)))?;
    add("192.0.2.2", "-u SEEN_REPLY")?;
    conntrack(&format!("-U {} -m 7", of(3)))?;
    for last in 100..110 {
        add(&format!("198.51.100.{last}"), "")?;
    }
    fixture::write_tunable("nf_conntrack_udp_timeout", 17)?;
    let found = diff(&gateway, 2)?;
    assert_eq!(found["relation"], "same-table");
    let flows = &found["flows"];
    for (fate, number) in [
        ("before", 4),
        ("after", 13),
        ("new", 10),
        ("gone", 1),
        ("recreated", 1),
        ("changed", 1),
        ("unchanged", 1),
        ("presumed", 0),
    ] {
        assert_eq!(flows[fate], number, "{fate}: {flows}");
    }
    assert_eq!(found["changed"]["mark"], 1);
    assert_eq!(found["tunables"][0]["name"], "nf_conntrack_udp_timeout");
    assert_eq!(found["tunables"][0]["after"], "17");
    assert_eq!(found["fill"]["after"]["unreplied"], 10);
    let services = found["groupings"].as_array().ok_or("no groupings")?;
    assert_eq!(services[2]["growers"][0]["key"]["dport"], 53);
    assert_eq!(services[2]["growers"][0]["change"], 9);
    assert_eq!(found["statistics"]["incomparable"], Value::Null);
    Ok(())
}

fn nothing_happened_is_no_difference() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let flows = crate::flows::many(500);
    crate::flows::create(&flows)?;
    (gateway.run(&["snapshot", "take", "--out", "before"])?).exits(0)?;
    let found = diff(&gateway, 0)?;
    assert_eq!(found["flows"]["unchanged"], 500);
    assert_eq!(found["flows"]["presumed"], 500, "there are no start times");
    Ok(())
}

/// The timer's own run takes an aggregate; what the kernel has now is told as coarsely.
fn what_a_timer_took_tells_who_grew_since() -> Result<(), Failed> {
    let name = "what_a_timer_took_tells_who_grew_since";
    if !fixture::has("conntrack") {
        return fixture::skip(name, "no conntrack");
    }
    let gateway = Gateway::new()?;
    let store = gateway.path().join("store");
    gateway.write_policy(&format!(
        "[snapshot]\ndirectory = '{}'\nevery = '1h'\n",
        store.display()
    ))?;
    for last in 1..=4 {
        add(&format!("192.0.2.{last}"), "-u SEEN_REPLY")?;
    }
    let due = ["apply", "--due", "-p", "policy.toml"];
    gateway.run(&due)?.exits(0)?;
    for last in 100..110 {
        add(&format!("198.51.100.{last}"), "")?;
    }
    let taken = std::fs::read_dir(store)?.next();
    let taken = taken.ok_or("the timer took none")??.path();
    let taken = taken.to_str().ok_or("not UTF-8")?;
    let arguments = ["diff", taken, "live", "-o", "json", "--detailed-exitcode"];
    let found = gateway.run(&arguments)?.exits(2)?.document()?;
    assert_eq!(
        found["flows"],
        serde_json::json!({"before": 4, "after": 14})
    );
    assert_eq!(found["groupings"][0]["by"], "src/24/48");
    let grower = &found["groupings"][0]["growers"][0];
    assert_eq!(grower["key"]["src"], "10.0.0.0/24");
    assert_eq!(
        (&grower["before"], &grower["after"]),
        (&4.into(), &14.into())
    );
    assert_eq!(found["fill"]["after"]["unreplied"], 10);
    Ok(())
}
