//! What the kernel says beside its entries.

use conntidy::kernel::Live;
use conntidy::observe::Observe;
use libtest_mimic::Failed;

use crate::fixture;

crate::trials!(the_header_tells_the_namespace_and_every_tunable);

fn the_header_tells_the_namespace_and_every_tunable() -> Result<(), Failed> {
    let header = Live::default().header()?;
    assert!(header.conntrack);
    assert!(!header.netns.initial);
    assert!(header.netns.name.starts_with("net:["), "{:?}", header.netns);
    assert_eq!(header.count, Some(0));
    assert_eq!(header.cpu.len(), header.cores as usize);
    assert!(header.time_ns > 0 && header.uptime_ns > 0 && header.memory > 0);
    assert_eq!(
        header.number("nf_conntrack_tcp_timeout_established"),
        Some(432_000)
    );
    assert_eq!(header.number("net.ipv4.tcp_keepalive_time"), Some(7200));
    let max = &header.tunables["nf_conntrack_max"];
    assert!(!max.writable, "only the initial namespace may write it");
    assert!(header.tunables["nf_conntrack_udp_timeout"].writable);
    assert!(!header.tunables.contains_key("nf_conntrack_count"));
    assert_eq!(header.ct_timeout_protocols.as_deref(), Some(&[][..]));
    if fixture::has("ip") || fixture::run("ip", &["-V"]).is_ok() {
        fixture::run("ip", &fixture::words("link set lo up"))?;
        let header = Live::default().header()?;
        let addresses: Vec<_> = header
            .addresses
            .iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        assert_eq!(addresses, ["127.0.0.1", "::1"]);
    }
    Ok(())
}
