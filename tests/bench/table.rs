//! A table to measure against, and the floor to measure by. Run it in a network namespace made
//! for it:
//!
//! ```text
//! unshare -Urn -- sh -c 'table fill 1000000 && table bare && table dump 2 && table delete 7'
//! ```
//!
//! `fill N` makes N varied flows (a quarter IPv6, three quarters TCP, a fifth translated, a
//! twentieth in a zone, half with mark 7). `bare` dumps over one socket with a 64 KiB buffer and
//! only walks the headers: nothing that reads the table is faster. `dump 1|2` is conntidy's own
//! dump with that many visitors, `delete MARK` deletes the entries with that mark while it runs.
//! With a PACE, `fill` and `delete` make so many changes a second.
//! Each prints what it did and the seconds it took.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use conntidy::flow::protocol::tcp;
use conntidy::flow::{Extra, Family, Flow, Present, Protocol, Status, Tuple};
use conntidy::kernel::identity;
use conntidy::kernel::{Change, Live, SweepOptions};
use conntidy::observe::{Observe, Record, Visit};
use netlink_sys::Socket;
use rustix::net::{RecvFlags, SendFlags};

type Done = Result<(String, Duration), Box<dyn std::error::Error>>;

const USAGE: &str = "usage: table fill N [PACE] | bare | dump 1|2 | delete MARK [PACE]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let done = match words[..] {
        ["fill", count] => number(count).and_then(|count| fill(count, None)),
        ["fill", count, pace] => number(count).and_then(|count| fill(count, Some(pace))),
        ["bare"] => bare(),
        ["dump", visitors] => number(visitors).and_then(dump),
        ["delete", mark] => number(mark).and_then(|mark| delete(mark, None)),
        ["delete", mark, pace] => number(mark).and_then(|mark| delete(mark, Some(pace))),
        [] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => Err(USAGE.into()),
    };
    match done {
        Ok((what, took)) => {
            println!("{what} {:.3} s", took.as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn number(text: &str) -> Result<u32, Box<dyn std::error::Error>> {
    Ok(text.parse()?)
}

/// The initial namespace is someone's own: nothing is made or deleted there.
fn not_in_the_initial_namespace() -> Result<(), Box<dyn std::error::Error>> {
    if identity::netns()?.initial {
        return Err("refused in the initial network namespace".into());
    }
    Ok(())
}

/// The `n`th flow; all of them differ.
fn varied(n: u32) -> Flow {
    // Odd multipliers spread the kinds over the numbers.
    let kind = n.wrapping_mul(0x9e37_79b1) >> 8;
    let v6 = kind.is_multiple_of(4);
    let protocol = match kind / 4 % 100 {
        0..74 => Protocol::TCP,
        74..95 => Protocol::UDP,
        95..98 => Protocol::SCTP,
        _ => Protocol::GRE,
    };
    let port = u16::try_from(n % 60_000).unwrap_or(0) + 1024;
    let service = [80, 443, 53, 5432, 22][(kind / 400 % 5) as usize];
    let (client, server, gateway, backend): (IpAddr, IpAddr, IpAddr, IpAddr) = if v6 {
        let client = Ipv6Addr::from((0xfd00_u128 << 112) | u128::from(n));
        let other = |last: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into();
        (client.into(), other(2), other(1), other(9))
    } else {
        let other = |last| Ipv4Addr::new(192, 0, 2, last).into();
        (
            Ipv4Addr::from(0x0a00_0000 | n).into(),
            other(2),
            other(1),
            other(9),
        )
    };
    let family = if v6 { Family::Ipv6 } else { Family::Ipv4 };
    let orig = Tuple::new(client, server, port, service);
    let mut flow = Flow::new(family, protocol, orig);
    flow.timeout = 600 + n % 86_400;
    flow.status = Status::SEEN_REPLY;
    flow.present = Present::TIMEOUT | Present::STATUS | Present::REPLY;
    if !kind.is_multiple_of(6) {
        flow.status |= Status::ASSURED;
    }
    if kind % 2 == 1 {
        flow.mark = 7;
    }
    match kind / 7 % 20 {
        // Translated to one address, the port stays: two clients of one port would clash, but the
        // backend's side differs.
        0..2 => flow.reply = Tuple::new(backend, client, service, port),
        2..4 if protocol.has_ports() => {
            let spread = u16::try_from(n >> 16).unwrap_or(0);
            flow.orig.dst_port = 10_000 + spread;
            flow.reply = Tuple::new(server, gateway, flow.orig.dst_port, low(n));
        }
        4 => {
            let zone = u16::try_from(n % 50).unwrap_or(0) + 1;
            (flow.zone_orig, flow.zone_reply) = (zone, zone);
        }
        _ => {}
    }
    if protocol == Protocol::TCP {
        flow.state = [
            tcp::ESTABLISHED,
            tcp::TIME_WAIT,
            tcp::ESTABLISHED,
            tcp::SYN_SENT,
            tcp::CLOSE_WAIT,
        ][(kind / 3 % 5) as usize];
        flow.present |= Present::STATE;
    }
    if protocol == Protocol::SCTP {
        flow.state = 4;
        flow.present |= Present::STATE;
    }
    flow
}

/// The low sixteen bits.
fn low(n: u32) -> u16 {
    let [_, _, high, low] = n.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// As fast as the kernel goes, or with so many changes a second.
fn paced(pace: Option<&str>) -> Result<SweepOptions, Box<dyn std::error::Error>> {
    Ok(SweepOptions {
        pace: pace.map(str::parse).transpose()?,
        ..SweepOptions::default()
    })
}

fn fill(count: u32, pace: Option<&str>) -> Done {
    not_in_the_initial_namespace()?;
    let started = Instant::now();
    let sweep = Live::default().sweep(paced(pace)?)?;
    let mut feeder = sweep.feeder();
    for n in 0..count {
        let flow = varied(n);
        let extra = Extra::default();
        feeder.push(0, &Change::Create { flow: &flow, extra });
    }
    drop(feeder);
    let tally = sweep.finish();
    let took = started.elapsed();
    let total = tally.count(0);
    if tally.stopped.is_some() || total.done != u64::from(count) {
        return Err(format!("{tally:#?}").into());
    }
    Ok((format!("filled {count}"), took))
}

fn bare() -> Done {
    const LENGTH: u32 = 20;
    let mut socket = Socket::new(netlink_sys::constants::NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    let mut request = Vec::new();
    request.extend(LENGTH.to_ne_bytes());
    request.extend(0x0101_u16.to_ne_bytes());
    request.extend(0x0301_u16.to_ne_bytes());
    request.extend([0; 12]);
    let mut buffer = vec![0; 64 * 1024];
    let mut entries = 0_u64;
    let started = Instant::now();
    rustix::net::send(socket.as_fd(), &request, SendFlags::empty())?;
    'dump: loop {
        let (_, length) = rustix::net::recv(socket.as_fd(), &mut buffer[..], RecvFlags::empty())?;
        let mut rest = &buffer[..length];
        while let Some(&[l0, l1, l2, l3, t0, t1]) = rest.first_chunk() {
            let kind = u16::from_ne_bytes([t0, t1]);
            if kind == 3 {
                break 'dump;
            }
            if kind == 2 {
                return Err("the kernel refuses the dump".into());
            }
            entries += 1;
            let length = u32::from_ne_bytes([l0, l1, l2, l3]).next_multiple_of(4);
            rest = rest.get(length as usize..).unwrap_or(&[]);
        }
    }
    Ok((format!("bare dump of {entries}"), started.elapsed()))
}

fn dump(visitors: u32) -> Done {
    let (mut first, mut second) = (0_u64, 0_u64);
    let mut one = |record: &Record<'_>| first += u64::from(record.flow.timeout);
    let mut two = |record: &Record<'_>| second += u64::from(record.flow.timeout);
    let started = Instant::now();
    let dumped = if visitors == 1 {
        Live::default().dump(&mut [&mut one as &mut dyn Visit])?
    } else {
        Live::default().dump(&mut [&mut one as &mut dyn Visit, &mut two])?
    };
    let took = started.elapsed();
    if dumped.undecoded != 0 {
        return Err(format!("{dumped:?}").into());
    }
    Ok((format!("dump of {} to {visitors}", dumped.entries), took))
}

fn delete(mark: u32, pace: Option<&str>) -> Done {
    not_in_the_initial_namespace()?;
    let started = Instant::now();
    let sweep = Live::default().sweep(paced(pace)?)?;
    {
        let (mut first, mut second) = (sweep.feeder(), sweep.feeder());
        let take = |feeder: &mut conntidy::kernel::Feeder<'_>, record: &Record<'_>| {
            if record.flow.mark == mark {
                let (key, id) = (record.flow.key(), record.flow.id);
                feeder.push(0, &Change::Delete { key, id });
            }
        };
        let mut one = |record: &Record<'_>| take(&mut first, record);
        let mut two = |record: &Record<'_>| take(&mut second, record);
        Live::default().dump(&mut [&mut one as &mut dyn Visit, &mut two])?;
    }
    let tally = sweep.finish();
    let took = started.elapsed();
    let total = tally.count(0);
    if tally.stopped.is_some() || total.done != total.total() {
        return Err(format!("{tally:#?}").into());
    }
    Ok((format!("deleted {}", total.done), took))
}
