//! Closed connections go, idle ones get a deadline, live ones do not notice.

use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::flows::Connection;
use crate::program::Program;
use crate::topology::Topology;
use crate::tracked::{ids, tracked_where};

const LIVE: u16 = 8000;
const IDLE: u16 = 8001;
const CLOSED: u16 = 8002;

pub(crate) fn time_wait_is_deleted_and_live_connections_go_on() -> Result<(), Failed> {
    let topology = Topology::new()?;
    let mut live = Connection::open(&topology, LIVE, 20)?;
    for connection in Connection::open(&topology, CLOSED, 50)? {
        connection.close()?;
    }
    let closed = || tracked_where(&topology.router, |flow| flow.is("TIME_WAIT"));
    assert_eq!(closed()?.len(), 50);
    let established = || tracked_where(&topology.router, |flow| flow.is("ESTABLISHED"));
    let before = established()?;

    let program = Program::new(
        &topology.router,
        r#"
        [rules.closing]
        match = { protocol = "tcp", state = "TIME_WAIT" }
        action = "delete"
        budget = { percent = 90 }
        "#,
    )?;
    program.apply()?;

    assert_eq!(closed()?.len(), 0, "{:#?}", closed()?);
    assert_eq!(ids(&before), ids(&established()?), "the same entries");
    for connection in &mut live {
        connection.exchange()?;
    }
    Ok(())
}

/// Real idleness: one group of connections is silent while the other speaks.
pub(crate) fn idle_connections_are_expired_and_live_ones_are_not() -> Result<(), Failed> {
    let topology = Topology::new()?;
    let mut live = Connection::open(&topology, LIVE, 20)?;
    let mut idle = Connection::open(&topology, IDLE, 20)?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(5_500) {
        for connection in &mut live {
            connection.exchange()?;
        }
        thread::sleep(Duration::from_millis(200));
    }
    let program = Program::new(
        &topology.router,
        r#"
        [rules.idle]
        match = { protocol = "tcp", state = "ESTABLISHED", idle-for = "3s" }
        action = "expire"
        "#,
    )?;
    program.apply()?;

    let remaining = |port: u16| -> Result<Vec<u32>, Failed> {
        let flows = tracked_where(&topology.router, |flow| flow.dport() == Some(port))?;
        Ok(flows.iter().map(|flow| flow.remaining).collect())
    };
    let (of_idle, of_live) = (remaining(IDLE)?, remaining(LIVE)?);
    assert_eq!((of_idle.len(), of_live.len()), (20, 20));
    assert!(
        of_idle.iter().all(|left| (7_400..=7_440).contains(left)),
        "two hours and four minutes from now: {of_idle:?}"
    );
    assert!(of_live.iter().all(|left| *left > 431_000), "{of_live:?}");
    for connection in live.iter_mut().chain(&mut idle) {
        connection.exchange()?;
    }
    let rearmed = remaining(IDLE)?;
    assert!(
        rearmed.iter().all(|left| *left > 431_000),
        "their next packet restores them: {rearmed:?}"
    );
    Ok(())
}
