//! What no rule may touch: protected flows, and the router's own.

use libtest_mimic::Failed;

use crate::flows::Connection;
use crate::program::Program;
use crate::topology::Topology;
use crate::tracked::{ids, tracked_where};

const TAKEN: u16 = 8000;
const PROTECTED: u16 = 8022;
const OWN: u16 = 8080;

pub(crate) fn protected_and_own_flows_are_untouched_by_rules_that_match_them() -> Result<(), Failed>
{
    for action in [
        r#"action = "delete"
           allow-assured = true"#,
        r#"action = "expire"
           grace = "1m"
           accept-risk = "a test of the rails""#,
    ] {
        let topology = Topology::new()?;
        let _taken = Connection::open(&topology, TAKEN, 10)?;
        let mut protected = Connection::open(&topology, PROTECTED, 10)?;
        let mut own = Connection::open_from_router(&topology, OWN, 10)?;
        let normal = |port: u16| {
            tracked_where(&topology.router, move |flow| {
                flow.dport() == Some(port) && flow.remaining > 431_000
            })
        };
        let ids_of = |port: u16| -> Result<Vec<u32>, Failed> { Ok(ids(&normal(port)?)) };
        assert_eq!(ids_of(TAKEN)?.len(), 10);
        let before = (ids_of(PROTECTED)?, ids_of(OWN)?);
        assert_eq!((before.0.len(), before.1.len()), (10, 10));

        let program = Program::new(
            &topology.router,
            &format!(
                r#"
                [limits]
                delete = "100%"
                expire = "100%"
                [rules.all]
                match = {{ protocol = "tcp" }}
                {action}
                budget = {{ percent = 100 }}
                [protect.management]
                match = {{ protocol = "tcp", dport = {PROTECTED} }}
                "#
            ),
        )?;
        program.apply()?;

        assert_eq!(
            normal(TAKEN)?.len(),
            0,
            "the rule does take flows: {action}"
        );
        assert_eq!((ids_of(PROTECTED)?, ids_of(OWN)?), before, "{action}");
        for connection in protected.iter_mut().chain(&mut own) {
            connection.exchange()?;
        }
    }
    Ok(())
}
