//! An `expire` rule that takes every connection there is breaks none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use libtest_mimic::Failed;

use crate::flows::Connection;
use crate::program::Program;
use crate::topology::Topology;
use crate::tracked::{ids, tracked_where};

const SPEAKING: u16 = 8000;
const LISTENING: u16 = 8001;

/// Nine hundred wait for something to say, a hundred speak all the time.
pub(crate) fn a_thousand_live_nat_connections_outlive_an_expire_of_all() -> Result<(), Failed> {
    let topology = Topology::new()?;
    let mut speaking = Connection::open(&topology, SPEAKING, 100)?;
    let mut listening = Connection::open(&topology, LISTENING, 900)?;
    let entries =
        |port: u16| tracked_where(&topology.router, move |flow| flow.dport() == Some(port));
    let ids_of = |port: u16| -> Result<Vec<u32>, Failed> { Ok(ids(&entries(port)?)) };
    let before = (ids_of(SPEAKING)?, ids_of(LISTENING)?);
    assert_eq!((before.0.len(), before.1.len()), (100, 900));
    let program = Program::new(
        &topology.router,
        r#"
        [limits]
        expire = "100%"
        [rules.all]
        match = { protocol = "tcp", state = "ESTABLISHED" }
        action = "expire"
        "#,
    )?;

    let over = AtomicBool::new(false);
    let report = thread::scope(|scope| {
        let chat = scope.spawn(|| -> std::io::Result<usize> {
            let mut rounds = 0;
            while !over.load(Ordering::Relaxed) {
                for connection in &mut speaking {
                    connection.exchange()?;
                }
                rounds += 1;
            }
            Ok(rounds)
        });
        let report = program.apply();
        over.store(true, Ordering::Relaxed);
        let rounds = chat.join().expect("the chat does not panic")?;
        assert!(rounds > 0, "they spoke meanwhile");
        report
    })?;

    let at_full_time = |port: u16| -> Result<usize, Failed> {
        let flows = entries(port)?;
        let rearmed = flows.iter().filter(|flow| flow.remaining > 431_000);
        Ok(rearmed.count())
    };
    assert_eq!(
        at_full_time(LISTENING)?,
        0,
        "the rule takes them: {report:#}"
    );
    for connection in speaking.iter_mut().chain(&mut listening) {
        connection.exchange()?;
    }
    assert_eq!(
        (at_full_time(SPEAKING)?, at_full_time(LISTENING)?),
        (100, 900),
        "all are re-armed"
    );
    assert_eq!(
        (ids_of(SPEAKING)?, ids_of(LISTENING)?),
        before,
        "no entry was made anew"
    );
    Ok(())
}
