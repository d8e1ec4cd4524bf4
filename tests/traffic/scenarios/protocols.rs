//! Every protocol's live flows take their time back after an `expire`, and ping outlives a delete.

use libtest_mimic::Failed;

use crate::flows::{Association, Connection, Dialogue, Ping, Service};
use crate::program::Program;
use crate::topology::{PUBLISHED, ROUTER_INSIDE, SERVER, Topology};
use crate::tracked::{ids, tracked};

pub(crate) fn live_flows_of_every_protocol_outlive_an_expire_of_all() -> Result<(), Failed> {
    let topology = Topology::new()?;
    let mut four = Connection::open(&topology, 8000, 2)?;
    let mut six = Connection::open_v6(&topology, 8000, 2)?;
    let service = Service::new(&topology.server, SERVER, PUBLISHED)?;
    let dialogue = Dialogue::new(&topology.client, (ROUTER_INSIDE, PUBLISHED))?;
    let converse = || -> std::io::Result<()> {
        dialogue.ask()?;
        assert_eq!(service.answer()?, 1);
        dialogue.hear()
    };
    converse()?;
    let mut ping = Ping::new(&topology.client, SERVER, 0x4200)?;
    ping.echo()?;
    let mut association = Association::open(&topology, 20_000)?;
    association.beat()?;
    let before = tracked(&topology.router)?;
    assert_eq!(before.len(), 7, "{before:#?}");

    let program = Program::new(
        &topology.router,
        r#"
        [limits]
        expire = "100%"
        [rules.all]
        everything = true
        action = "expire"
        grace = "8s"
        accept-risk = "a test of how flows recover"
        budget = { percent = 100 }
        "#,
    )?;
    program.apply()?;

    let shortened = tracked(&topology.router)?;
    assert!(
        shortened.iter().all(|flow| flow.remaining <= 8),
        "{shortened:#?}"
    );
    for connection in four.iter_mut().chain(&mut six) {
        connection.exchange()?;
    }
    converse()?;
    ping.echo()?;
    association.beat()?;
    let after = tracked(&topology.router)?;
    assert!(after.iter().all(|flow| flow.remaining > 8), "{after:#?}");
    assert_eq!(ids(&before), ids(&after), "no entry was made anew");
    Ok(())
}

pub(crate) fn a_ping_goes_on_after_its_entry_is_deleted() -> Result<(), Failed> {
    let topology = Topology::new()?;
    let mut ping = Ping::new(&topology.client, SERVER, 0x4200)?;
    ping.echo()?;
    let before = tracked(&topology.router)?;
    let program = Program::new(
        &topology.router,
        r#"
        [limits]
        delete = "100%"
        [rules.ping]
        match = { protocol = "icmp", icmp-type = 8, src = "10.77.1.0/24" }
        action = "delete"
        budget = { percent = 100 }
        "#,
    )?;
    program.apply()?;
    assert_eq!(tracked(&topology.router)?.len(), 0);
    ping.echo()?;
    assert_eq!(tracked(&topology.router)?.len(), before.len());
    Ok(())
}
