//! Idle time by the letter of POLICY.md, section 3, with what the kernel does behind it.

use conntidy::flow::{Extra, Flow, Present, Protocol, Status};
use conntidy::observe::Header;

use crate::truth::{Truth, View};

/// How sure an idle time must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    Presumed,
    Proven,
}

const SECOND: i128 = 1_000_000_000;

/// What governs a flow's timer: a name in the history, and whether the kernel has it as a constant.
fn governing(flow: &Flow) -> Option<(String, Option<u64>)> {
    let sysctl = |name: String| Some((format!("nf_conntrack_{name}"), None));
    if flow.protocol.name() == Some("tcp")
        || flow.protocol.name() == Some("sctp")
        || flow.protocol.name() == Some("dccp")
    {
        let state = flow.state_name()?.to_lowercase();
        return match (flow.protocol.name()?, state.as_str()) {
            (_, "none" | "ignore" | "invalid") => None,
            ("tcp", "syn_sent2") => {
                Some(("nf_conntrack_tcp_timeout_syn_sent2".to_owned(), Some(120)))
            }
            (protocol, state) => sysctl(format!("{protocol}_timeout_{state}")),
        };
    }
    if !flow.present.contains(Present::STATUS) {
        return None;
    }
    let assured = flow.status.contains(Status::ASSURED);
    let replied = flow.status.contains(Status::SEEN_REPLY);
    let name = match flow.protocol.name() {
        Some("udp") if assured => "udp_timeout_stream",
        Some("udplite") if replied => "udp_timeout_stream",
        Some("udp" | "udplite") => "udp_timeout",
        Some("gre") if replied => "gre_timeout_stream",
        Some("gre") => "gre_timeout",
        Some("icmp") => "icmp_timeout",
        Some("icmpv6") => "icmpv6_timeout",
        _ => "generic_timeout",
    };
    sysctl(name.to_owned())
}

fn reading(header: &Header, name: &str) -> Option<i128> {
    let text = header.tunables.get(name)?.value.clone()?;
    text.parse::<u64>().ok().map(i128::from)
}

/// The lowest value that governed at any time since `since` (nanoseconds since boot).
fn lowest(header: &Header, name: &str, constant: Option<u64>, since: i128) -> Option<i128> {
    if let Some(constant) = constant {
        return Some(constant.into());
    }
    let values = header.history.timeouts.get(name)?;
    let mut lowest = reading(header, name)?;
    let mut covered = false;
    for (index, observation) in values.iter().enumerate() {
        let until = values.get(index + 1).map(|next| i128::from(next.at_ns));
        if i128::from(observation.at_ns) <= since {
            covered = true;
        }
        if until.is_none_or(|until| until > since) {
            lowest = lowest.min(observation.value.into());
        }
    }
    covered.then_some(lowest)
}

/// Whether a flow had no packet for `window` seconds.
pub(crate) fn idle_for(view: View<'_>, flow: &Flow, extra: &Extra<'_>, window: u64) -> Truth {
    let header = view.header;
    let present = |what| flow.present.contains(what);
    let now = i128::from(header.uptime_ns);
    let window = i128::from(window);
    let (name, constant) = governing(flow)?;
    let timeout = constant.map(i128::from).or(reading(header, &name))?;
    let remaining = i128::from(flow.timeout);

    // Unknown: no timeout, offloaded, fixed, a helper; no status to tell.
    if !present(Present::TIMEOUT) || !present(Present::STATUS) {
        return None;
    }
    for bit in [
        Status::OFFLOAD,
        Status::HW_OFFLOAD,
        Status::FIXED_TIMEOUT,
        Status::HELPER,
    ] {
        if flow.status.contains(bit) {
            return None;
        }
    }
    if extra.helper.is_some() {
        return None;
    }
    // A protocol with ct timeout objects, or nobody knows.
    if !view.ignore_ct_timeout {
        let protocols = header.ct_timeout_protocols.as_ref()?;
        if protocols.contains(&flow.protocol.0) {
            return None;
        }
        // Or it had some until within the window: while they are there, until now.
        if let Some(seen) = header.history.ct_timeouts.get(&flow.protocol.0)
            && (seen.present || i128::from(seen.until_ns) >= now - window * SECOND)
        {
            return None;
        }
    }
    if remaining > timeout {
        return None;
    }
    if flow.protocol == Protocol::TCP && tcp_capped(header, flow, timeout) {
        return None;
    }
    // Written by conntidy within the last T.
    let written = header
        .history
        .retimes
        .iter()
        .filter(|retime| retime.timeout == name)
        .filter(|retime| i128::from(retime.at_ns) >= (now - timeout * SECOND).max(0))
        .map(|retime| i128::from(retime.seconds))
        .max();
    if written.is_some_and(|written| remaining <= written) {
        return None;
    }
    // Younger than the window, or a start that cannot be used.
    let age = if present(Present::START) {
        let age = i128::try_from(age_ns(header, flow)?).expect("an age fits");
        if age < window * SECOND {
            return None;
        }
        Some(age)
    } else {
        None
    };

    if remaining >= timeout - window {
        return Some(false);
    }
    if view.certainty == Certainty::Presumed {
        return Some(true);
    }
    let since = if flow.protocol == Protocol::GRE {
        // The kernel copies the timeouts into a GRE entry when it makes it.
        now - age?
    } else {
        now - window * SECOND
    };
    let lowest = lowest(header, &name, constant, since)?;
    if since >= 0 && remaining < lowest - window {
        Some(true)
    } else {
        None
    }
}

/// Whether the kernel may have written one of TCP's caps in place of the state's timeout.
fn tcp_capped(header: &Header, flow: &Flow, timeout: i128) -> bool {
    let state = flow.state_name().unwrap_or("NONE");
    if state == "TIME_WAIT" || state == "CLOSE" {
        return false;
    }
    let mut caps = Vec::new();
    for name in [
        "nf_conntrack_tcp_timeout_max_retrans",
        "nf_conntrack_tcp_timeout_unacknowledged",
    ] {
        let Some(now) = reading(header, name) else {
            return true;
        };
        caps.push(now);
        // Timers that an earlier value set may still run.
        for earlier in header.history.timeouts.get(name).into_iter().flatten() {
            caps.push(i128::from(earlier.value));
        }
    }
    let in_flight = !flow.present.contains(Present::TCP_FLAGS)
        || (flow.tcp_flags_orig & 0x10 != 0)
        || (flow.tcp_flags_reply & 0x10 != 0);
    let remaining = i128::from(flow.timeout);
    if state == "ESTABLISHED" {
        let unreplied = !flow.status.contains(Status::SEEN_REPLY);
        return unreplied || in_flight || caps.into_iter().any(|cap| remaining <= cap);
    }
    // In other states a cap governs where it is below the state's timeout.
    caps.into_iter()
        .filter(|cap| *cap < timeout)
        .any(|cap| in_flight || remaining <= cap)
}

/// Nanoseconds since the start, where the clock lets that be told.
pub(crate) fn age_ns(header: &Header, flow: &Flow) -> Option<u128> {
    if !flow.present.contains(Present::START) {
        return None;
    }
    let (time, uptime) = (i128::from(header.time_ns), i128::from(header.uptime_ns));
    let start = i128::from(flow.start_ns);
    let age = time - start;
    if age < 0 || age > uptime {
        return None;
    }
    // Every offset that the clock ever had makes another life; a step within any of them counts.
    let present_offset = time - uptime;
    let mut offsets: Vec<i128> = vec![present_offset];
    offsets.extend(header.history.clock.iter().map(|c| i128::from(c.offset_ns)));
    for offset in offsets {
        let begin = start - offset;
        let mut in_force = None;
        for seen in &header.history.clock {
            let differs = (i128::from(seen.offset_ns) - present_offset).abs() > SECOND;
            if i128::from(seen.at_ns) <= begin {
                in_force = Some(differs);
            } else if differs {
                return None;
            }
        }
        if in_force == Some(true) {
            return None;
        }
    }
    u128::try_from(age).ok()
}
