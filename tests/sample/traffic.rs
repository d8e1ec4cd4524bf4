//! What goes through the gateway at noon.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use conntidy::flow::protocol::tcp;
use conntidy::flow::{Extra, Flow, OwnedExtra, Present, Protocol, SeqAdjust, Status};

use crate::gateway::{DMZ, LAN, LAN6, OPERATOR, SECOND_WAN, WAN, WAN6};
use crate::table::{Draft, Table};

const REPLIED: Status = Status::SEEN_REPLY;
const ASSURED: Status = Status::SEEN_REPLY.union(Status::ASSURED);
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// All flows, in no order.
pub(crate) fn entries() -> Vec<(Flow, OwnedExtra)> {
    let mut table = Table::new();
    for part in [
        browsing,
        closing,
        port_forwards,
        datagrams,
        version_six,
        scans,
        doubtful,
        guests,
        echoes,
        tunnels,
        signalling,
        own_connections,
        helpers,
        offloaded,
        database,
        sharer,
    ] {
        part(&mut table);
    }
    table.entries
}

fn client(table: &mut Table) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, table.random.byte(16, 19), table.random.byte(2, 190))
}

fn world(table: &mut Table) -> Ipv4Addr {
    let net = table.random.of(&[
        [104, 16],
        [142, 250],
        [151, 101],
        [13, 107],
        [52, 84],
        [93, 184],
        [185, 199],
    ]);
    Ipv4Addr::new(
        net[0],
        net[1],
        table.random.byte(0, 63),
        table.random.byte(1, 254),
    )
}

fn client6(table: &mut Table) -> Ipv6Addr {
    let low = u16::try_from(table.random.between(0x1000, 0x11ff)).unwrap();
    Ipv6Addr::new(0x2001, 0xdb8, 1, 16, 0x5054, 0xff, 0xfe00, low)
}

fn world6(table: &mut Table) -> Ipv6Addr {
    let net = table.random.of(&[0x4700, 0x4860, 0x2800, 0x41d0]);
    let low = u16::try_from(table.random.between(1, 0x3ff)).unwrap();
    Ipv6Addr::new(0x2606, net, 0, 0, 0, 0, 0, low)
}

fn at(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    (address.into(), port).into()
}

fn high(table: &mut Table) -> u16 {
    table.random.port(32_768, 60_999)
}

fn web(table: &mut Table) -> u16 {
    table.random.of(&[443, 443, 443, 443, 80, 993, 5228, 8443])
}

/// A mark as policy routing sets it: the uplink in the low bits, now and then a customer's class.
fn uplink(table: &mut Table) -> u32 {
    table.random.of(&[0, 0, 0x10, 0x10, 0x20, 0x1_0010])
}

/// A client's connection to the world, behind the gateway's address.
fn outgoing(table: &mut Table, protocol: Protocol, port: u16) -> Draft {
    let (src, dst) = (at(client(table), high(table)), at(world(table), port));
    let (wan, mark) = table
        .random
        .of(&[(WAN, 0x10), (WAN, 0), (WAN, 0), (SECOND_WAN, 0x20)]);
    let remapped = table
        .random
        .percent(22)
        .then(|| table.random.port(1024, 65_535));
    Draft::ports(protocol, src, dst)
        .masquerade(wan, remapped)
        .mark(mark)
}

fn browsing(table: &mut Table) {
    for _ in 0..2750 {
        let port = web(table);
        let (idle, active) = (
            table.random.skewed(0, 600),
            table.random.skewed(1, 6 * HOUR),
        );
        let mut draft = outgoing(table, Protocol::TCP, port)
            .state(tcp::ESTABLISHED)
            .status(ASSURED)
            .times(idle, active)
            .packets(20_000);
        if table.random.percent(4) {
            let labels = Some(1 << table.random.byte(1, 12));
            draft = draft.extra(Extra {
                labels,
                ..Extra::default()
            });
        }
        table.add(draft);
    }
    // Left behind by clients that went away without a word.
    for _ in 0..2450 {
        let port = web(table);
        let idle = table.random.between(2 * HOUR, 4 * DAY + 20 * HOUR);
        let active = table.random.skewed(5, 2 * HOUR);
        let draft = outgoing(table, Protocol::TCP, port)
            .state(tcp::ESTABLISHED)
            .status(ASSURED)
            .times(idle, active)
            .packets(2000);
        table.add(draft);
    }
}

fn closing(table: &mut Table) {
    for (state, count, longest) in [
        (tcp::TIME_WAIT, 2550, 118),
        (tcp::CLOSE, 240, 9),
        (tcp::FIN_WAIT, 210, 100),
        (tcp::CLOSE_WAIT, 170, 55),
        (tcp::LAST_ACK, 110, 28),
    ] {
        for _ in 0..count {
            let port = web(table);
            let (idle, active) = (
                table.random.between(0, longest),
                table.random.skewed(1, HOUR),
            );
            let draft = outgoing(table, Protocol::TCP, port)
                .state(state)
                .status(ASSURED)
                .times(idle, active)
                .packets(400);
            table.add(draft);
        }
    }
    // Half-closed downloads: the client said it all, the server still sends.
    for _ in 0..12 {
        let draft = outgoing(table, Protocol::TCP, 443)
            .state(tcp::CLOSE_WAIT)
            .status(ASSURED)
            .times(table.random.between(0, 2), table.random.between(60, HOUR))
            .packets(2_000_000);
        table.add(draft);
    }
    // Handshakes under way.
    for (state, count, status, longest) in [
        (tcp::SYN_SENT, 60, Status::empty(), 100),
        (tcp::SYN_RECV, 70, REPLIED, 50),
        (tcp::SYN_SENT2, 3, REPLIED, 60),
    ] {
        for _ in 0..count {
            let draft = outgoing(table, Protocol::TCP, 443)
                .state(state)
                .status(status)
                .times(table.random.skewed(0, longest), 0)
                .packets(3);
            table.add(draft);
        }
    }
}

/// The world's connections to servers behind the gateway.
fn port_forwards(table: &mut Table) {
    for (state, count, longest) in [
        (tcp::ESTABLISHED, 1300, 900),
        (tcp::TIME_WAIT, 550, 118),
        (tcp::FIN_WAIT, 30, 100),
    ] {
        for _ in 0..count {
            let (port, server, to) = table.random.of(&[
                (443, 9, Some(8443)),
                (443, 10, Some(8443)),
                (80, 9, Some(8080)),
                (25, 25, None),
                (993, 25, None),
            ]);
            let (src, dst) = (at(world(table), high(table)), at(WAN, port));
            let draft = Draft::ports(Protocol::TCP, src, dst)
                .forward_to([10, 0, 3, server], to)
                .state(state)
                .status(ASSURED)
                .mark(uplink(table))
                .times(
                    table.random.skewed(0, longest),
                    table.random.skewed(1, HOUR),
                )
                .packets(3000);
            table.add(draft);
        }
    }
    // Clients that reach a server by its public name: translated at both ends.
    for _ in 0..40 {
        let (src, dst) = (at(client(table), high(table)), at(WAN, 443));
        let remapped = table
            .random
            .percent(30)
            .then(|| table.random.port(1024, 65_535));
        let draft = Draft::ports(Protocol::TCP, src, dst)
            .forward_to([10, 0, 3, 9], Some(8443))
            .masquerade(DMZ, remapped)
            .state(tcp::ESTABLISHED)
            .status(ASSURED)
            .times(table.random.skewed(0, 600), table.random.skewed(1, HOUR));
        table.add(draft);
    }
    // Game server; some entries still point to where it was before.
    for number in 0..60 {
        let server = if number % 10 == 0 { 61 } else { 60 };
        let (src, dst) = (at(world(table), high(table)), at(WAN, 27_015));
        let draft = Draft::ports(Protocol::UDP, src, dst)
            .forward_to([10, 0, 3, server], None)
            .status(if server == 60 {
                ASSURED
            } else {
                Status::empty()
            })
            .times(table.random.skewed(0, 25), table.random.skewed(3, HOUR))
            .packets(90_000);
        table.add(draft);
    }
}

fn datagrams(table: &mut Table) {
    for (port, count, status, longest, most) in [
        (53, 850, REPLIED, 29, 1),
        (123, 160, REPLIED, 29, 2),
        (443, 650, ASSURED, 115, 9000),
        (3478, 90, ASSURED, 100, 60_000),
        // One-way traffic: alive, and yet without a reply.
        (514, 120, Status::empty(), 20, 800),
        (6343, 60, Status::empty(), 20, 40_000),
        (4500, 30, ASSURED, 60, 400_000),
    ] {
        for _ in 0..count {
            let draft = outgoing(table, Protocol::UDP, port)
                .status(status)
                .times(
                    table.random.between(0, longest),
                    table.random.skewed(0, HOUR),
                )
                .packets(most);
            table.add(draft);
        }
    }
    for _ in 0..30 {
        let status = table.random.of(&[Status::empty(), REPLIED]);
        let draft = outgoing(table, Protocol::UDPLITE, 5004)
            .status(status)
            .times(table.random.between(0, 28), table.random.skewed(1, 900))
            .packets(20_000);
        table.add(draft);
    }
}

/// Forwarded as it is, but for a part with private addresses.
fn version_six(table: &mut Table) {
    for (protocol, state, count, status, idle, most) in [
        (
            Protocol::TCP,
            Some(tcp::ESTABLISHED),
            850,
            ASSURED,
            (0, 600),
            20_000,
        ),
        (
            Protocol::TCP,
            Some(tcp::ESTABLISHED),
            560,
            ASSURED,
            (3 * HOUR, 4 * DAY),
            900,
        ),
        (
            Protocol::TCP,
            Some(tcp::TIME_WAIT),
            800,
            ASSURED,
            (0, 118),
            400,
        ),
        (
            Protocol::TCP,
            Some(tcp::CLOSE_WAIT),
            30,
            ASSURED,
            (0, 55),
            400,
        ),
        (Protocol::UDP, None, 500, ASSURED, (0, 110), 9000),
        (Protocol::UDP, None, 450, REPLIED, (0, 28), 1),
    ] {
        for _ in 0..count {
            let port = if status == REPLIED { 53 } else { 443 };
            let (src, dst) = (at(client6(table), high(table)), at(world6(table), port));
            let mut draft = Draft::ports(protocol, src, dst)
                .status(status)
                .mark(uplink(table))
                .times(
                    table.random.between(idle.0, idle.1),
                    table.random.skewed(1, HOUR),
                )
                .packets(most);
            if let Some(state) = state {
                draft = draft.state(state);
            }
            table.add(draft);
        }
    }
    for number in 0..60 {
        let src: Ipv6Addr = format!("fd00:16::{number:x}").parse().unwrap();
        let (src, dst) = (at(src, high(table)), at(world6(table), 443));
        let wan: IpAddr = WAN6.parse().unwrap();
        let remapped = table
            .random
            .percent(30)
            .then(|| table.random.port(1024, 65_535));
        let draft = Draft::ports(Protocol::TCP, src, dst)
            .masquerade(wan, remapped)
            .state(tcp::ESTABLISHED)
            .status(ASSURED)
            .times(table.random.skewed(0, 600), table.random.skewed(1, HOUR));
        table.add(draft);
    }
}

/// Nobody answers: from the world to our addresses, and from an infected client to the world.
fn scans(table: &mut Table) {
    for _ in 0..620 {
        let port = table.random.of(&[23, 3389, 445, 5900, 8080, 2323, 6379]);
        let (src, dst) = (at(world(table), high(table)), at(WAN, port));
        let draft = Draft::ports(Protocol::TCP, src, dst)
            .state(tcp::SYN_SENT)
            .times(table.random.between(0, 118), 0)
            .packets(2);
        table.add(draft);
    }
    for _ in 0..380 {
        let [a, b, c] = [(); 3].map(|()| table.random.byte(1, 223));
        let (src, dst) = (at([10, 0, 17, 66], high(table)), at([45, a, b, c], 445));
        let draft = Draft::ports(Protocol::TCP, src, dst)
            .masquerade(WAN, None)
            .state(tcp::SYN_SENT)
            .times(table.random.between(0, 118), 0)
            .packets(2);
        table.add(draft);
    }
    for _ in 0..260 {
        let port = table.random.of(&[22, 443, 8443]);
        let (src, dst) = (at(world6(table), high(table)), at(client6(table), port));
        let draft = Draft::ports(Protocol::TCP, src, dst)
            .state(tcp::SYN_SENT)
            .times(table.random.between(0, 118), 0)
            .packets(2);
        table.add(draft);
    }
}

/// Connections whose timer says less than it seems to.
fn doubtful(table: &mut Table) {
    // Data that nobody acknowledged: the timer is capped.
    for _ in 0..60 {
        let mut draft = outgoing(table, Protocol::TCP, 443)
            .state(tcp::ESTABLISHED)
            .status(ASSURED)
            .times(table.random.between(0, 280), table.random.skewed(10, HOUR))
            .cap(300);
        draft.flow.tcp_flags_orig |= 0x10;
        table.add(draft);
    }
    // Picked up from the middle, the other direction not seen yet.
    for _ in 0..35 {
        let draft = outgoing(table, Protocol::TCP, 443)
            .state(tcp::ESTABLISHED)
            .times(table.random.between(0, 280), 1)
            .packets(4)
            .cap(300);
        table.add(draft);
    }
    // A timer that somebody fixed.
    for _ in 0..5 {
        let draft = outgoing(table, Protocol::UDP, 4000)
            .status(ASSURED | Status::FIXED_TIMEOUT)
            .times(table.random.between(0, 100), 60);
        table.add(draft);
    }
}

/// Guests have overlapping addresses, told apart by zone.
fn guests(table: &mut Table) {
    for number in 0..620 {
        let (src, dst) = (at(client(table), high(table)), at(world(table), 443));
        let draft = Draft::ports(Protocol::TCP, src, dst).status(ASSURED);
        let draft = match number % 4 {
            0 => draft
                .state(tcp::TIME_WAIT)
                .times(table.random.between(0, 118), 30),
            1 => draft
                .state(tcp::ESTABLISHED)
                .times(table.random.between(HOUR, 3 * DAY), 300),
            _ => draft
                .state(tcp::ESTABLISHED)
                .times(table.random.skewed(0, 600), table.random.skewed(1, HOUR)),
        };
        let draft = if number % 3 == 0 {
            // Told apart inside only: outside all share the default zone and get own ports.
            draft
                .masquerade(SECOND_WAN, Some(table.random.port(1024, 65_535)))
                .zones(9, 0)
        } else {
            draft.masquerade([192, 168, 77, 2], None).zones(7, 7)
        };
        table.add(draft);
    }
    for _ in 0..180 {
        let (src, dst) = (at(client(table), high(table)), at([10, 0, 0, 1], 53));
        let draft = Draft::ports(Protocol::UDP, src, dst)
            .status(REPLIED)
            .zones(7, 7)
            .times(table.random.between(0, 28), 0)
            .packets(1);
        table.add(draft);
    }
}

fn echoes(table: &mut Table) {
    for number in 0..170 {
        let status = if number % 3 == 0 {
            Status::empty()
        } else {
            REPLIED
        };
        let remapped = table
            .random
            .percent(30)
            .then(|| table.random.port(1, 65_535));
        let id = table.random.port(1, 65_535);
        let draft = Draft::echo(client(table).into(), world(table).into(), id)
            .masquerade(WAN, remapped)
            .status(status)
            .times(table.random.between(0, 28), table.random.skewed(0, 600))
            .packets(600);
        table.add(draft);
    }
    for number in 0..80 {
        let status = if number % 4 == 0 {
            Status::empty()
        } else {
            REPLIED
        };
        let id = table.random.port(1, 65_535);
        let draft = Draft::echo(client6(table).into(), world6(table).into(), id)
            .status(status)
            .times(table.random.between(0, 28), table.random.skewed(0, 600))
            .packets(600);
        table.add(draft);
    }
}

fn tunnels(table: &mut Table) {
    for number in 0..36 {
        let keys = (table.random.port(1, 65_535), table.random.port(1, 65_535));
        let (src, dst) = (client(table).into(), world(table).into());
        let status = if number % 4 == 0 {
            Status::empty()
        } else {
            ASSURED
        };
        let draft = Draft::plain(Protocol::GRE, src, dst, keys)
            .masquerade(WAN, None)
            .status(status)
            .times(table.random.between(0, 28), table.random.skewed(60, DAY))
            .packets(500_000);
        table.add(draft);
    }
    for (number, count) in [(50, 24), (4, 3), (41, 4)] {
        for _ in 0..count {
            let (src, dst) = (client(table).into(), world(table).into());
            let draft = Draft::plain(Protocol(number), src, dst, (0, 0))
                .masquerade(WAN, None)
                .status(REPLIED)
                .times(table.random.between(0, 500), table.random.skewed(60, DAY))
                .packets(900_000);
            table.add(draft);
        }
    }
}

/// Telephone exchanges talk SCTP through the gateway.
fn signalling(table: &mut Table) {
    for (state, count, longest) in [
        (1, 8, 9),
        (2, 6, 2),
        (3, 6, 2),
        (4, 60, 200),
        (5, 4, 2),
        (6, 4, 2),
        (7, 4, 2),
        (8, 8, 25),
    ] {
        for _ in 0..count {
            let exchange = Ipv4Addr::new(10, 0, 5, table.random.byte(10, 40));
            let (src, dst) = (
                at(exchange, table.random.port(2900, 3900)),
                at(world(table), 2905),
            );
            let sctp_vtags = Some((table.random.word(), table.random.word()));
            let draft = Draft::ports(Protocol::SCTP, src, dst)
                .masquerade(WAN, None)
                .state(state)
                .status(if state == 4 { ASSURED } else { REPLIED })
                .extra(Extra {
                    sctp_vtags,
                    ..Extra::default()
                })
                .times(
                    table.random.between(0, longest),
                    table.random.skewed(1, DAY),
                )
                .packets(40_000);
            table.add(draft);
        }
    }
}

/// The gateway's own: its operators, resolver, clock and tunnels.
fn own_connections(table: &mut Table) {
    let session = Draft::ports(Protocol::TCP, at(OPERATOR.0, OPERATOR.1), at(LAN, 22))
        .state(tcp::ESTABLISHED)
        .status(ASSURED)
        .times(0, 2 * HOUR)
        .packets(9000);
    table.add(session);
    for number in 0..7 {
        let (src, dst) = (at([10, 0, 0, 50 + number], high(table)), at(LAN, 22));
        let draft = Draft::ports(Protocol::TCP, src, dst)
            .state(tcp::ESTABLISHED)
            .status(ASSURED)
            .times(
                table.random.between(0, 3 * DAY),
                table.random.skewed(60, DAY),
            )
            .packets(9000);
        table.add(draft);
    }
    for _ in 0..70 {
        let (src, dst) = (
            at(WAN, high(table)),
            at([9, 9, 9, table.random.of(&[9, 10])], 53),
        );
        let draft = Draft::ports(Protocol::UDP, src, dst)
            .status(REPLIED)
            .times(table.random.between(0, 28), 0)
            .packets(1);
        table.add(draft);
    }
    for _ in 0..14 {
        let (src, dst) = (at(world(table), 51_820), at(WAN, 51_820));
        let draft = Draft::ports(Protocol::UDP, src, dst)
            .status(ASSURED)
            .times(
                table.random.between(0, 110),
                table.random.skewed(HOUR, 5 * DAY),
            )
            .packets(3_000_000);
        table.add(draft);
    }
    for _ in 0..9 {
        let lan: IpAddr = LAN6.parse().unwrap();
        let (src, dst) = (at(client6(table), high(table)), at(lan, 53));
        let draft = Draft::ports(Protocol::UDP, src, dst)
            .status(REPLIED)
            .times(table.random.between(0, 28), 0)
            .packets(1);
        table.add(draft);
    }
    // Routing and redundancy protocols.
    for (number, from, to) in [
        (112, [10, 0, 0, 2], [224, 0, 0, 18]),
        (89, [10, 0, 0, 2], [224, 0, 0, 5]),
        (2, [10, 0, 16, 9], [224, 0, 0, 22]),
    ] {
        let draft = Draft::plain(Protocol(number), from.into(), to.into(), (0, 0))
            .times(table.random.between(0, 9), 20 * DAY)
            .packets(5_000_000);
        table.add(draft);
    }
}

fn helpers(table: &mut Table) {
    let helper = |name| Extra {
        helper: Some(name),
        ..Extra::default()
    };
    for number in 0..8 {
        let mut extra = helper("ftp");
        if number % 2 == 0 {
            let adjust = |correction, after| SeqAdjust {
                correction,
                before: 0,
                after,
            };
            extra.seq_adjust = Some((adjust(table.random.word(), 3), SeqAdjust::default()));
        }
        let control = outgoing(table, Protocol::TCP, 21)
            .state(tcp::ESTABLISHED)
            .status(ASSURED | Status::HELPER)
            .status(if number % 2 == 0 {
                Status::SEQ_ADJUST
            } else {
                Status::empty()
            })
            .extra(extra)
            .times(table.random.between(0, 900), table.random.skewed(30, HOUR));
        let (src, dst) = (
            control.flow.orig.src_ip(control.flow.family),
            control.flow.orig.dst_ip(control.flow.family),
        );
        table.add(control);
        // The data connection that it expected.
        let mut data = Draft::ports(Protocol::TCP, at(src, high(table)), at(dst, high(table)))
            .masquerade(WAN, None)
            .state(if number % 3 == 0 {
                tcp::TIME_WAIT
            } else {
                tcp::ESTABLISHED
            })
            .status(ASSURED | Status::EXPECTED)
            .times(table.random.between(0, 60), 20)
            .packets(90_000);
        data.flow.present |= Present::MASTER;
        table.add(data);
    }
    for _ in 0..22 {
        let draft = outgoing(table, Protocol::UDP, 5060)
            .status(ASSURED | Status::HELPER)
            .extra(helper("sip"))
            .times(table.random.between(0, 60), table.random.skewed(HOUR, DAY))
            .packets(4000);
        table.add(draft);
    }
    for _ in 0..3 {
        let draft = outgoing(table, Protocol::TCP, 1723)
            .state(tcp::ESTABLISHED)
            .status(ASSURED | Status::HELPER)
            .extra(helper("pptp"))
            .times(table.random.between(0, 60), table.random.skewed(HOUR, DAY));
        table.add(draft);
    }
}

/// Bulk transfers that the flowtable took.
fn offloaded(table: &mut Table) {
    for number in 0..420 {
        let protocol = if number % 5 == 0 {
            Protocol::UDP
        } else {
            Protocol::TCP
        };
        let status = if number % 7 == 0 {
            Status::OFFLOAD | Status::HW_OFFLOAD
        } else {
            Status::OFFLOAD
        };
        let draft = outgoing(table, protocol, 443)
            .status(ASSURED)
            .offloaded(status)
            .times(0, table.random.skewed(5, HOUR))
            .packets(3_000_000);
        table.add(draft);
    }
}

/// Inside, without translation: a database that moved, and who still holds on to the old place.
fn database(table: &mut Table) {
    for number in 0..90 {
        let server = if number % 3 == 0 {
            [10, 0, 9, 5]
        } else {
            [10, 0, 3, 5]
        };
        let (src, dst) = (
            at([10, 0, 4, 10 + number % 12], high(table)),
            at(server, 5432),
        );
        let idle = if number % 3 == 0 {
            table.random.between(13 * HOUR, 3 * DAY)
        } else {
            table.random.skewed(0, 1800)
        };
        let draft = Draft::ports(Protocol::TCP, src, dst)
            .state(tcp::ESTABLISHED)
            .status(ASSURED)
            .times(idle, table.random.skewed(60, 2 * DAY))
            .packets(200_000);
        table.add(draft);
    }
}

/// One client that shares files has more flows than any other.
fn sharer(table: &mut Table) {
    for number in 0..1200 {
        let src = at(
            [10, 0, 18, 77],
            if number % 2 == 0 { 6881 } else { high(table) },
        );
        let dst = at(world(table), table.random.port(1024, 65_535));
        let draft = if number % 2 == 0 {
            let status = table.random.of(&[Status::empty(), REPLIED, ASSURED]);
            Draft::ports(Protocol::UDP, src, dst)
                .status(status)
                .times(table.random.between(0, 28), table.random.skewed(0, 600))
        } else if number % 3 == 0 {
            Draft::ports(Protocol::TCP, src, dst)
                .state(tcp::SYN_SENT)
                .times(table.random.between(0, 118), 0)
                .packets(3)
        } else {
            Draft::ports(Protocol::TCP, src, dst)
                .state(tcp::ESTABLISHED)
                .status(ASSURED)
                .times(
                    table.random.skewed(0, 2 * DAY),
                    table.random.skewed(1, HOUR),
                )
                .packets(90_000)
        };
        table.add(draft.masquerade(WAN, None));
    }
}
