//! A published UDP service moves to another backend: its clients must follow.

use libtest_mimic::Failed;

use crate::flows::{Dialogue, Service};
use crate::program::Program;
use crate::topology::{BACKEND_B, PUBLISHED, ROUTER_INSIDE, SERVER, Topology};
use crate::tracked::tracked_where;

pub(crate) fn a_stale_dnat_entry_is_removed_and_the_client_reaches_the_new_backend()
-> Result<(), Failed> {
    let topology = Topology::new()?;
    let old = Service::new(&topology.server, SERVER, PUBLISHED)?;
    let new = Service::new(&topology.server, BACKEND_B, PUBLISHED)?;
    let stale = Dialogue::new(&topology.client, (ROUTER_INSIDE, PUBLISHED))?;
    stale.ask()?;
    assert_eq!((old.answer()?, new.answer()?), (1, 0));
    stale.hear()?;
    topology.publish(BACKEND_B)?;
    let fresh = Dialogue::new(&topology.client, (ROUTER_INSIDE, PUBLISHED))?;
    fresh.ask()?;
    assert_eq!((old.answer()?, new.answer()?), (0, 1));
    fresh.hear()?;
    let entry = |port: u16| tracked_where(&topology.router, move |flow| flow.sport() == Some(port));
    let before = entry(fresh.port()?)?;

    let program = Program::new(
        &topology.router,
        r#"
        [sets.backends]
        addresses = ["10.77.2.3"]
        [rules.stale]
        match = { protocol = "udp", dst = "10.77.1.1", dport = 5353, nat = "dst", not = { reply-src = "@backends" } }
        action = "delete"
        budget = { percent = 100 }
        "#,
    )?;
    program.apply()?;

    assert_eq!(entry(stale.port()?)?.len(), 0, "the stale entry is gone");
    assert_eq!(
        entry(fresh.port()?)?[0].id,
        before[0].id,
        "the fresh one is not"
    );
    stale.ask()?;
    assert_eq!((old.answer()?, new.answer()?), (0, 1), "the client follows");
    stale.hear()?;
    assert_eq!(entry(stale.port()?)?[0].reply_src(), Some("10.77.2.3"));
    Ok(())
}
