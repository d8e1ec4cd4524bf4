//! A client that has said all it had to say still reads its download.

use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::flows::Connection;
use crate::program::Program;
use crate::topology::Topology;
use crate::tracked::tracked_where;

const DOWNLOAD: u16 = 8000;
const FORGOTTEN: u16 = 8001;

pub(crate) fn a_half_closed_download_is_not_cut() -> Result<(), Failed> {
    let topology = Topology::new()?;
    let half_closed = |port: u16| {
        let mut connection = Connection::open(&topology, port, 1)?.remove(0);
        connection.close_client_half()?;
        connection.download()?;
        std::io::Result::Ok(connection)
    };
    let mut download = half_closed(DOWNLOAD)?;
    let _forgotten = half_closed(FORGOTTEN)?;
    let entries = |port: u16| {
        tracked_where(&topology.router, move |flow| {
            flow.dport() == Some(port) && flow.is("CLOSE_WAIT")
        })
    };
    assert_eq!(entries(DOWNLOAD)?.len(), 1);
    assert_eq!(entries(FORGOTTEN)?.len(), 1);

    let program = Program::new(
        &topology.router,
        r#"
        [rules.half-closed]
        match = { protocol = "tcp", state = "CLOSE_WAIT", idle-for = "3s" }
        action = "delete"
        allow-assured = true
        budget = { percent = 100 }
        "#,
    )?;
    // The first run begins the history that proves idleness.
    program.apply()?;
    assert_eq!(entries(FORGOTTEN)?.len(), 1, "nothing is proven yet");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(5_500) {
        download.download()?;
        thread::sleep(Duration::from_millis(200));
    }
    program.apply()?;

    assert_eq!(entries(FORGOTTEN)?.len(), 0, "a silent one is cut");
    assert_eq!(entries(DOWNLOAD)?.len(), 1, "a download is not");
    for _ in 0..10 {
        download.download()?;
    }
    download.close_server_half()?;
    Ok(())
}
