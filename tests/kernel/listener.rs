//! What the listener hears of the real kernel.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use conntidy::flow::{Extra, Flow, FlowKey, Protocol, protocol::tcp};
use conntidy::kernel::event::{Entry, Event, Groups, Kind};
use conntidy::kernel::listener::{Listener, ROOM, Received};
use conntidy::kernel::{Change, Live};
use libtest_mimic::Failed;

use crate::fixture;
use crate::flows::{self, flow, in_state};

crate::trials!(
    what_comes_changes_and_goes_is_heard_in_order,
    only_the_groups_that_were_asked_for_are_heard,
    every_kind_of_entry_is_heard_as_it_is_dumped,
    what_is_lost_is_counted_to_the_event_at_its_place,
    expectations_are_heard,
    waiting_ends_with_an_event_or_another_file_or_in_time,
    moments_are_the_kernels_where_it_tells_them,
);

fn listen(groups: Groups) -> Result<Listener, Failed> {
    Ok(Live::default().listen(groups, ROOM)?)
}

/// Everything that is there to be heard.
fn drain(
    listener: &mut Listener,
    mut take: impl FnMut(&Event<'_>),
) -> Result<Vec<Option<u64>>, Failed> {
    let mut gaps = Vec::new();
    loop {
        match listener.receive(&mut take)? {
            Received::Events => {}
            Received::Gap(lost) => gaps.push(lost),
            Received::Nothing => return Ok(gaps),
        }
    }
}

fn heard(listener: &mut Listener) -> Result<Vec<(Kind, FlowKey)>, Failed> {
    let mut all = Vec::new();
    let gaps = drain(listener, |event| {
        if let Entry::Flow(record) = event.entry {
            all.push((event.kind, record.flow.key()));
        }
    })?;
    assert_eq!((gaps.len(), listener.undecoded()), (0, 0));
    Ok(all)
}

/// Deletes the whole table, one entry after the other.
pub(crate) fn delete_all() -> Result<(), Failed> {
    let table = fixture::table()?;
    flows::all_done(&flows::change(table.iter().map(|(flow, _)| {
        Change::Delete {
            key: flow.key(),
            id: flow.id,
        }
    }))?)
}

fn what_comes_changes_and_goes_is_heard_in_order() -> Result<(), Failed> {
    crate::needs!("conntrack");
    let mut listener = listen(Groups::FLOWS)?;
    let one = in_state(
        flow(Protocol::TCP, "10.0.0.1:1000", "192.0.2.1:443"),
        tcp::ESTABLISHED,
    );
    flows::create([&one])?;
    fixture::conntrack("-U -f ipv4 -p tcp --dport 443 -m 7")?;
    fixture::conntrack("-D -p tcp --dport 443")?;
    let mut all = Vec::new();
    drain(&mut listener, |event| {
        if let Entry::Flow(record) = event.entry {
            all.push((event.kind, record.flow.mark, event.port != 0));
        }
    })?;
    let expected = [
        (Kind::New, 0, true),
        (Kind::Update, 7, true),
        (Kind::Destroy, 7, true),
    ];
    assert_eq!(all, expected);
    Ok(())
}

fn only_the_groups_that_were_asked_for_are_heard() -> Result<(), Failed> {
    let one = flow(Protocol::UDP, "10.0.0.1:1000", "192.0.2.1:53");
    for (groups, kinds) in [
        (Groups::NEW, &[Kind::New][..]),
        (Groups::DESTROY, &[Kind::Destroy]),
        (Groups::NEW | Groups::DESTROY, &[Kind::New, Kind::Destroy]),
        (Groups::EXPECTATIONS, &[]),
    ] {
        let mut listener = listen(groups)?;
        flows::create([&one])?;
        delete_all()?;
        let expected: Vec<_> = kinds.iter().map(|kind| (*kind, one.key())).collect();
        assert_eq!(heard(&mut listener)?, expected);
    }
    Ok(())
}

/// Without what may differ: a second may pass in between, and labels are told only where they are
/// set later.
fn comparable(mut flow: Flow, mut extra: Extra<'_>) -> fixture::Entry {
    (flow.timeout, extra.labels) = (0, None);
    (flow, extra.to_owned())
}

fn every_kind_of_entry_is_heard_as_it_is_dumped() -> Result<(), Failed> {
    let mut listener = listen(Groups::FLOWS)?;
    flows::create_with(&flows::catalogue())?;
    let table = fixture::table()?;
    let mut made = Vec::new();
    drain(&mut listener, |event| {
        let Entry::Flow(record) = event.entry else {
            return;
        };
        made.push(comparable(record.flow, record.extra));
    })?;
    made.sort_by_key(|(flow, _)| flow.key());
    let table: Vec<_> = table
        .into_iter()
        .map(|(flow, extra)| comparable(flow, extra.borrow()))
        .collect();
    assert_eq!(made, table);
    delete_all()?;
    let gone = heard(&mut listener)?;
    assert!(gone.iter().all(|(kind, _)| *kind == Kind::Destroy));
    let mut gone: Vec<_> = gone.into_iter().map(|(_, key)| key).collect();
    gone.sort_unstable();
    fixture::same_keys(&gone, &flows::keys_of(table.iter().map(|(flow, _)| flow)))
}

fn what_is_lost_is_counted_to_the_event_at_its_place() -> Result<(), Failed> {
    let mut listener = Live::default().listen(Groups::NEW, 64 << 10)?;
    let many = flows::many(3000);
    let mut received = 0_u64;
    let mut count = |listener: &mut Listener| drain(listener, |_| received += 1);
    flows::create(&many[..1000])?;
    let [Some(first)] = count(&mut listener)?[..] else {
        return Err("not one gap".into());
    };
    // All was read, so there is room again.
    flows::create(&many[1000..1020])?;
    assert_eq!(count(&mut listener)?, []);
    flows::create(&many[1020..])?;
    let [Some(second)] = count(&mut listener)?[..] else {
        return Err("not one gap".into());
    };
    assert!(first > 100 && second > first, "{first} and {second}");
    assert_eq!(received + first + second, 3000);
    Ok(())
}

/// Makes a flow whose helper expects another one; that flow.
pub(crate) fn expectation() -> Result<Flow, Failed> {
    let master = in_state(
        flow(Protocol::TCP, "10.0.0.1:1000", "192.0.2.1:21"),
        tcp::ESTABLISHED,
    );
    let extra = Extra {
        helper: Some("ftp"),
        ..Extra::default()
    };
    flows::create_with(&[(master, extra.to_owned())])?;
    fixture::conntrack(
        "-I expect -s 10.0.0.1 -d 192.0.2.1 -p tcp --sport 1000 --dport 21 --tuple-src 192.0.2.1 \
         --tuple-dst 10.0.0.1 --mask-src 255.255.255.255 --mask-dst 255.255.255.255 \
         --tuple-port-src 0 --tuple-port-dst 4000 --mask-port-src 0 --mask-port-dst 65535 -t 30",
    )?;
    Ok(master)
}

fn expectations_are_heard() -> Result<(), Failed> {
    crate::needs!("conntrack");
    let mut listener = listen(Groups::EXPECTATIONS)?;
    let master = expectation()?;
    // The expectations go with their master.
    delete_all()?;
    let mut all = Vec::new();
    drain(&mut listener, |event| {
        if let Entry::Expectation(one) = event.entry {
            let helper = one.helper.map(str::to_owned);
            all.push((event.kind, one.tuple, one.mask, one.master, helper));
        }
    })?;
    assert_eq!(listener.undecoded(), 0);
    let [new, gone] = &all[..] else {
        return Err(format!("{all:?}").into());
    };
    assert_eq!((new.0, gone.0), (Kind::New, Kind::Destroy));
    // The tool of 1.4.7 sends other ports than it is told.
    assert_eq!(new.1.src[..4], [192, 0, 2, 1]);
    assert_eq!(new.1.dst[..4], [10, 0, 0, 1]);
    assert_eq!(new.2.src[..4], [255; 4]);
    assert_eq!(new.4.as_deref(), Some("ftp"));
    assert_eq!(new.3, master.orig);
    assert_eq!((new.1, new.3), (gone.1, gone.3));
    Ok(())
}

fn waiting_ends_with_an_event_or_another_file_or_in_time() -> Result<(), Failed> {
    let mut listener = listen(Groups::FLOWS)?;
    let (other, mut end) = UnixStream::pair()?;
    let (unread, out) = std::io::pipe()?;
    let short = Some(Duration::from_millis(20));
    let woken = listener.wait(other.as_fd(), out.as_fd(), short)?;
    assert_eq!((woken.events, woken.other), (false, false));
    flows::create([&flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53")])?;
    let woken = listener.wait(other.as_fd(), out.as_fd(), None)?;
    assert_eq!((woken.events, woken.other), (true, false));
    assert_eq!(heard(&mut listener)?.len(), 1);
    std::io::Write::write_all(&mut end, b"x")?;
    let woken = listener.wait(other.as_fd(), out.as_fd(), None)?;
    assert_eq!((woken.events, woken.other), (false, true));
    assert!(!woken.unread);
    drop(unread);
    assert!(listener.wait(other.as_fd(), out.as_fd(), None)?.unread);
    Ok(())
}

fn moments_are_the_kernels_where_it_tells_them() -> Result<(), Failed> {
    let now = || conntidy::kernel::identity::time_ns();
    for on in [false, true] {
        fixture::write_tunable("nf_conntrack_timestamp", on.into())?;
        let mut listener = listen(Groups::FLOWS)?;
        let before = now();
        flows::create([&flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53")])?;
        delete_all()?;
        let after = now();
        let mut seen = 0;
        drain(&mut listener, |event| {
            for time in [event.time_ns(), event.stop_ns()].into_iter().flatten() {
                assert!(on && (before..=after).contains(&time), "{time}");
                seen += 1;
            }
        })?;
        // The end of the entry at least; kernels before 6.14 do not tell of the events themselves.
        assert_eq!(seen > 0, on);
    }
    Ok(())
}
