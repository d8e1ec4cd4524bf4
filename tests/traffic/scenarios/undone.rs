//! A mistake that is taken back in time did not happen.

use libtest_mimic::Failed;

use crate::flows::Connection;
use crate::program::Program;
use crate::topology::Topology;
use crate::tracked::{Tracked, tracked_where};

const PORT: u16 = 8000;

/// Its NAT mapping is one that nobody could guess, so without `undo` its next packet meets a reset:
/// `house` shows that.
pub(crate) fn a_deleted_nat_connection_goes_on_after_undo() -> Result<(), Failed> {
    let topology = Topology::new()?;
    let mut connections = Connection::open(&topology, PORT, 5)?;
    let entries = || tracked_where(&topology.router, |flow| flow.dport() == Some(PORT));
    let mappings = || -> Result<Vec<String>, Failed> {
        let mut mappings: Vec<String> = entries()?.iter().map(Tracked::tuples).collect();
        mappings.sort_unstable();
        Ok(mappings)
    };
    let before = mappings()?;
    assert_eq!(before.len(), 5);
    let program = Program::new(
        &topology.router,
        r#"
        [limits]
        delete = "100%"
        [rules.mistake]
        match = { protocol = "tcp", dst = "10.77.2.2", dport = 8000 }
        action = "delete"
        allow-assured = true
        budget = { percent = 100 }
        "#,
    )?;
    program.apply()?;
    assert_eq!(entries()?.len(), 0);

    program.undo()?;

    assert_eq!(
        mappings()?,
        before,
        "the same addresses and ports both ways"
    );
    for connection in &mut connections {
        connection.exchange()?;
        connection.exchange()?;
    }
    let after = entries()?;
    assert_eq!(mappings()?, before);
    assert!(
        after
            .iter()
            .all(|flow| flow.is("ESTABLISHED") && flow.has("ASSURED") && flow.remaining > 431_000),
        "{after:#?}"
    );
    Ok(())
}
