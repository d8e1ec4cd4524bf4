//! The house itself, by the `conntrack` tool alone: what the other scenarios rest on.

use libtest_mimic::Failed;

use crate::flows::{Association, Connection, Dialogue, Ping, Service};
use crate::namespace::tool;
use crate::topology::{BACKEND_B, PUBLISHED, ROUTER_INSIDE, SERVER, Topology};
use crate::tracked::{tracked, tracked_where};

pub(crate) fn every_kind_of_flow_is_tracked() -> Result<(), Failed> {
    let topology = Topology::new()?;
    let mut live = Connection::open(&topology, 8000, 3)?;
    let mut six = Connection::open_v6(&topology, 8006, 2)?;
    let mut own = Connection::open_from_router(&topology, 8022, 1)?;
    let mut half = Connection::open(&topology, 8002, 1)?;
    half[0].close_client_half()?;
    half[0].download()?;
    for connection in Connection::open(&topology, 8001, 2)? {
        connection.close()?;
    }
    let service = Service::new(&topology.server, SERVER, PUBLISHED)?;
    let dialogue = Dialogue::new(&topology.client, (ROUTER_INSIDE, PUBLISHED))?;
    dialogue.ask()?;
    assert_eq!(service.answer()?, 1, "the question reaches the backend");
    dialogue.hear()?;
    Dialogue::new(&topology.client, (SERVER, 9))?.ask()?;
    let mut ping = Ping::new(&topology.client, SERVER, 0x4200)?;
    ping.echo()?;
    let mut association = Association::open(&topology, 20_000)?;
    association.beat()?;

    let table = tracked(&topology.router)?;
    let count = |protocol: &str, dport: u16, state: &str| {
        table
            .iter()
            .filter(|flow| {
                flow.protocol == protocol && flow.dport() == Some(dport) && flow.is(state)
            })
            .count()
    };
    assert_eq!(count("tcp", 8000, "ESTABLISHED"), 3, "{table:#?}");
    assert_eq!(count("tcp", 8006, "ESTABLISHED"), 2, "{table:#?}");
    assert_eq!(count("tcp", 8022, "ESTABLISHED"), 1, "{table:#?}");
    assert_eq!(count("tcp", 8002, "CLOSE_WAIT"), 1, "{table:#?}");
    assert_eq!(count("tcp", 8001, "TIME_WAIT"), 2, "{table:#?}");
    assert_eq!(count("sctp", 36_412, "ESTABLISHED"), 1, "{table:#?}");
    let one = |protocol: &str, dport: Option<u16>| {
        let mut found = table
            .iter()
            .filter(|flow| flow.protocol == protocol && flow.dport() == dport);
        (found.next(), found.count())
    };
    assert!(matches!(one("icmp", None), (Some(flow), 0) if !flow.has("UNREPLIED")));
    assert!(matches!(one("udp", Some(9)), (Some(flow), 0) if flow.has("UNREPLIED")));
    assert!(matches!(
        one("udp", Some(PUBLISHED)),
        (Some(flow), 0) if flow.reply_src() == Some("10.77.2.2")
    ));
    assert_eq!(table.len(), 13, "nothing else is tracked: {table:#?}");

    for connection in live.iter_mut().chain(&mut six).chain(&mut own) {
        connection.exchange()?;
    }
    half[0].download()?;
    ping.echo()?;
    association.beat()?;
    Ok(())
}

/// The loss that `undo` must prevent is real here.
pub(crate) fn a_remapped_connection_does_not_survive_a_plain_delete() -> Result<(), Failed> {
    let topology = Topology::new()?;
    let mut connections = Connection::open(&topology, 8000, 2)?;
    let mut delete = tool("conntrack");
    delete.args(["-D", "-p", "tcp", "--sport"]);
    delete.arg(connections[0].port()?.to_string());
    topology.router.succeed(delete)?;
    connections[0].expect_reset()?;
    connections[1].exchange()?;
    Ok(())
}

/// The trouble that a policy must end is real here.
pub(crate) fn a_stale_dnat_entry_keeps_the_old_backend() -> Result<(), Failed> {
    let topology = Topology::new()?;
    let old = Service::new(&topology.server, SERVER, PUBLISHED)?;
    let new = Service::new(&topology.server, BACKEND_B, PUBLISHED)?;
    let dialogue = Dialogue::new(&topology.client, (ROUTER_INSIDE, PUBLISHED))?;
    dialogue.ask()?;
    assert_eq!((old.answer()?, new.answer()?), (1, 0));
    dialogue.hear()?;

    topology.publish(BACKEND_B)?;
    dialogue.ask()?;
    assert_eq!((old.answer()?, new.answer()?), (1, 0), "the entry decides");
    dialogue.hear()?;

    let port = dialogue.port()?;
    let mine = tracked_where(&topology.router, |flow| flow.sport() == Some(port))?;
    assert_eq!(mine.len(), 1);
    let mut delete = tool("conntrack");
    delete.args(["-D", "-p", "udp", "--sport", &port.to_string()]);
    topology.router.succeed(delete)?;
    dialogue.ask()?;
    assert_eq!(
        (old.answer()?, new.answer()?),
        (0, 1),
        "the ruleset decides"
    );
    dialogue.hear()?;
    Ok(())
}

/// What makes `expire` harmless holds here: a live entry takes its normal time back.
pub(crate) fn a_shortened_entry_is_rearmed_by_its_next_packet() -> Result<(), Failed> {
    let topology = Topology::new()?;
    let mut connections = Connection::open(&topology, 8000, 1)?;
    let before = tracked(&topology.router)?;
    let mut shorten = tool("conntrack");
    shorten.args([
        "-U", "-f", "ipv4", "-p", "tcp", "--dport", "8000", "-t", "100",
    ]);
    topology.router.succeed(shorten)?;
    let shortened = tracked(&topology.router)?;
    assert!(shortened[0].remaining <= 100, "{shortened:?}");
    connections[0].exchange()?;
    let after = tracked(&topology.router)?;
    assert!(after[0].remaining > 431_000, "{after:?}");
    assert_eq!(before[0].id, after[0].id, "one entry all the while");
    Ok(())
}
