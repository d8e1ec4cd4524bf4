//! What a dump delivers.

use conntidy::flow::protocol::tcp;
use conntidy::flow::{Family, Protocol, Status};
use conntidy::kernel::Live;
use conntidy::observe::Observe;
use libtest_mimic::Failed;

use crate::fixture;

crate::trials!(
    an_empty_table_has_no_entries,
    what_the_conntrack_tool_made_is_seen,
);

fn an_empty_table_has_no_entries() -> Result<(), Failed> {
    assert_eq!(fixture::table()?.len(), 0);
    let dumped = Live::default().dump(&mut [])?;
    assert_eq!(dumped.entries, 0);
    Ok(())
}

fn what_the_conntrack_tool_made_is_seen() -> Result<(), Failed> {
    if !fixture::has("conntrack") {
        return fixture::skip("what_the_conntrack_tool_made_is_seen", "no conntrack tool");
    }
    fixture::conntrack(
        "-I -p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 1001 --dport 80 --state ESTABLISHED -t 300 -u ASSURED,SEEN_REPLY -m 7",
    )?;
    fixture::conntrack("-I -p udp -s fd00::1 -d fd00::2 --sport 53 --dport 5353 -t 30 -w 9")?;
    fixture::conntrack(
        "-I -p icmp -s 10.0.0.1 -d 10.0.0.2 --icmp-type 8 --icmp-code 0 --icmp-id 77 -t 20",
    )?;
    let table = fixture::table()?;
    assert_eq!(table.len(), 3);
    let (icmp, tcp, udp) = (table[0].0, table[1].0, table[2].0);

    assert_eq!(icmp.protocol, Protocol::ICMP);
    assert_eq!((icmp.orig.icmp_type(), icmp.orig.icmp_code()), (8, 0));
    assert_eq!(icmp.orig.src_port, 77);
    assert_eq!(icmp.reply, icmp.orig.inverse(Protocol::ICMP));
    assert_eq!(icmp.state(), None);

    assert_eq!(tcp.protocol, Protocol::TCP);
    assert_eq!(tcp.orig.src_ip(Family::Ipv4).to_string(), "10.0.0.1");
    assert_eq!((tcp.orig.src_port, tcp.orig.dst_port), (1001, 80));
    assert_eq!(tcp.reply, tcp.orig.inverse(Protocol::TCP));
    assert_eq!(tcp.state(), Some(tcp::ESTABLISHED));
    assert!(tcp.status.contains(Status::ASSURED | Status::SEEN_REPLY));
    assert!(
        tcp.remaining()
            .is_some_and(|left| (290..=300).contains(&left))
    );
    assert_eq!((tcp.mark, tcp.zone_orig), (7, 0));
    assert!(tcp.id().is_some());

    assert_eq!(
        (udp.family, udp.zone_orig, udp.zone_reply),
        (Family::Ipv6, 9, 9)
    );
    assert_eq!(udp.orig.dst_ip(Family::Ipv6).to_string(), "fd00::2");
    assert_eq!(udp.state(), None);
    Ok(())
}
