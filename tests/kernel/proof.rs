//! Idleness that one run proves to the next.

use std::thread::sleep;
use std::time::Duration;

use conntidy::flow::protocol::tcp;
use conntidy::flow::{Flow, Protocol};
use conntidy::kernel::Change;
use libtest_mimic::Failed;

use crate::fixture::{self, read_tunable};
use crate::flows::{self, flow, in_state};
use crate::gateway::{Gateway, assured, is_about, lasting, left, result, rule};

crate::trials!(
    idleness_is_proven_once_the_history_covers_its_window,
    raising_a_timeout_makes_nothing_idle_until_the_history_covers_it,
    what_a_run_shortened_is_not_idle_to_the_next,
    lost_state_proves_nothing,
    what_undo_made_is_not_idle_to_the_next,
);

fn stream(port: u16, seconds: u32) -> Flow {
    let one = flow(Protocol::UDP, &format!("10.0.0.1:{port}"), "192.0.2.1:53");
    assured(lasting(one, seconds))
}

/// As a packet does.
fn refresh(flow: &Flow, seconds: u32) -> Result<(), Failed> {
    let key = flow.key();
    let tally = flows::change(std::iter::once(Change::Retime { key, seconds }))?;
    flows::all_done(&tally)
}

const IDLE: &str = r#"
    [rules.idle]
    match = { protocol = "udp", idle-for = "2s" }
    action = "delete"
    allow-assured = true
"#;

fn idleness_is_proven_once_the_history_covers_its_window() -> Result<(), Failed> {
    let (idle, alive) = (stream(1, 100), stream(2, 120));
    flows::create([&idle, &alive])?;
    let gateway = Gateway::new()?;
    let first = gateway.apply(IDLE)?;
    let plan = rule(&first.plan, "idle");
    assert_eq!(
        (plan.selected, plan.unproven, plan.proof_in),
        (0, 1, Some(2))
    );
    sleep(Duration::from_millis(2_100));
    refresh(&alive, 120)?;
    let second = gateway.apply(IDLE)?;
    assert_eq!(result(&second, "idle").done, 1);
    fixture::same_keys(&fixture::keys()?, &flows::keys_of([&alive]))
}

fn raising_a_timeout_makes_nothing_idle_until_the_history_covers_it() -> Result<(), Failed> {
    const POLICY: &str = r#"
        [timeouts]
        udp.stream = "1h"
        [rules.idle]
        match = { protocol = "udp", idle-for = "10m" }
        action = "delete"
        allow-assured = true
    "#;
    let flow = stream(1, 115);
    flows::create([&flow])?;
    let gateway = Gateway::new()?;
    let first = gateway.apply(POLICY)?;
    assert_eq!(rule(&first.plan, "idle").matched, 0);
    assert_eq!(read_tunable("nf_conntrack_udp_timeout_stream")?, 3_600);
    // By the present value it has been idle for an hour.
    let second = gateway.apply(POLICY)?;
    let plan = rule(&second.plan, "idle");
    assert_eq!((plan.selected, plan.unproven), (0, 1));
    let wait = plan.proof_in.ok_or("no time of proof")?;
    assert!((590..=600).contains(&wait), "{wait}");
    assert!(left(&flow)?.is_some());
    let later = |header: &mut conntidy::observe::Header| {
        header.uptime_ns += 599_000_000_000;
        header.time_ns += 599_000_000_000;
    };
    let third = gateway.apply_as(POLICY, later)?;
    assert_eq!(rule(&third.plan, "idle").unproven, 1);
    let later = |header: &mut conntidy::observe::Header| {
        header.uptime_ns += 601_000_000_000;
        header.time_ns += 601_000_000_000;
    };
    let fourth = gateway.apply_as(POLICY, later)?;
    assert_eq!(result(&fourth, "idle").done, 1);
    Ok(())
}

fn what_a_run_shortened_is_not_idle_to_the_next() -> Result<(), Failed> {
    let web = flow(Protocol::TCP, "10.0.0.1:1", "192.0.2.1:443");
    let web = assured(in_state(web, tcp::ESTABLISHED));
    let alive = lasting(web, 431_990);
    flows::create([&alive])?;
    let gateway = Gateway::new()?;
    gateway.apply(
        r#"
        [rules.shorten]
        match = { protocol = "tcp", dport = 443 }
        action = "expire"
        "#,
    )?;
    is_about(left(&alive)?, 7_440)?;
    // To whom does not know of the first run, it has been idle for nearly five days.
    let idle = |action: &str| {
        format!(
            "[rules.idle]\nmatch = {{ protocol = \"tcp\", state = \"ESTABLISHED\", idle-for = \"12h\" }}\n{action}"
        )
    };
    for action in [
        "action = \"report\"",
        "action = \"expire\"\ngrace = \"30m\"\naccept-risk = \"a test\"",
        "action = \"delete\"\nallow-assured = true",
    ] {
        let report = gateway.apply(&idle(action))?;
        let plan = rule(&report.plan, "idle");
        assert_eq!((plan.matched, plan.unproven), (0, 0), "{action}");
    }
    is_about(left(&alive)?, 7_440)?;
    let stranger = Gateway::new()?.plan(&idle("action = \"report\""))?;
    assert_eq!(rule(&stranger, "idle").matched, 1, "the test can fail");
    Ok(())
}

fn lost_state_proves_nothing() -> Result<(), Failed> {
    let idle = stream(1, 100);
    flows::create([&idle])?;
    let gateway = Gateway::new()?;
    gateway.apply(IDLE)?;
    sleep(Duration::from_millis(2_100));
    std::fs::remove_dir_all(gateway.state_root())?;
    let report = gateway.apply(IDLE)?;
    assert_eq!(rule(&report.plan, "idle").unproven, 1);
    assert!(left(&idle)?.is_some());
    Ok(())
}

fn what_undo_made_is_not_idle_to_the_next() -> Result<(), Failed> {
    let flow = stream(1, 100);
    flows::create([&flow])?;
    let gateway = Gateway::new()?;
    let delete = r#"
        [rules.dns]
        match = { protocol = "udp", dport = 53 }
        action = "delete"
        allow-assured = true
    "#;
    let report = gateway.apply(delete)?;
    assert_eq!(gateway.undo(&report.run)?.created, 1);
    sleep(Duration::from_millis(2_100));
    let report = gateway.apply(IDLE)?;
    let plan = rule(&report.plan, "idle");
    assert_eq!((plan.matched, plan.unproven), (0, 0));
    assert!(left(&flow)?.is_some());
    Ok(())
}
