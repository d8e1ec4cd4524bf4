//! What one run knows of timers, prepared for a million flows.

use super::timer::Timer;
use super::{Doubt, Idle};
use crate::flow::{
    Extra, Family, Flow, Present, Protocol, Status, TCP_FLAG_DATA_UNACKNOWLEDGED, Tuple,
    protocol::tcp,
};
use crate::history::{AgeDoubt, Clock, History};
use crate::observe::Header;
use crate::policy::Seconds;
use crate::tunable::{Governing, governing};

/// Slots of one class of protocols: a state each, or a combination of status bits.
const CLASS: usize = 16;

/// Protocols whose timeout depends on more than the protocol, then all others but ICMP.
const CLASSES: [Protocol; 9] = [
    Protocol::TCP,
    Protocol::SCTP,
    Protocol::DCCP,
    Protocol::UDP,
    Protocol::UDPLITE,
    Protocol::GRE,
    Protocol::ICMP,
    Protocol::ICMPV6,
    Protocol(0),
];

/// What tells idle flows from live ones in one run.
#[derive(Clone, Debug)]
pub struct Evidence {
    uptime_ns: u64,
    clock: Clock,
    /// Protocols with `ct timeout` objects, a bit each; `None` where it is not known.
    ct_timeouts: Option<[u64; 4]>,
    /// Until when protocols had such objects.
    ct_timeouts_until: Vec<(u8, u64)>,
    timers: Vec<Timer>,
    /// Index into `timers` by protocol class and state or status.
    slots: Box<[Option<u8>]>,
    /// Every value that TCP's caps are known to have had in this boot, ascending: a timer may still
    /// run that an earlier value set. `None` where one could not be read now.
    caps: Option<Box<[u64]>>,
}

/// An idle time to test for, prepared for all timeouts.
#[derive(Clone, Debug)]
pub struct Window {
    seconds: u64,
    ignore_ct_timeout: bool,
    /// The lowest value of each timer within the window, where the history reaches back.
    lowest: Box<[Option<u64>]>,
    /// Protocols that may have had `ct timeout` objects within the window.
    had_ct_timeout: Box<[u8]>,
}

impl Evidence {
    /// Reads timeouts, history and clocks out of a header.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        let mut timers: Vec<Timer> = Vec::new();
        let mut slots = vec![None; CLASSES.len() * CLASS].into_boxed_slice();
        for flow in representatives() {
            let (Some(slot), Some(governing)) = (slot(&flow), governing(&flow)) else {
                continue;
            };
            let name = governing.name();
            let index = timers
                .iter()
                .position(|t| t.name == name)
                .unwrap_or_else(|| {
                    timers.push(Timer::new(governing, header));
                    timers.len() - 1
                });
            slots[slot] = u8::try_from(index).ok();
        }
        Self {
            uptime_ns: header.uptime_ns,
            clock: Clock::new(header.time_ns, header.uptime_ns, &header.history),
            ct_timeouts: header.ct_timeout_protocols.as_ref().map(|protocols| {
                let mut bits = [0; 4];
                for number in protocols {
                    bits[usize::from(number >> 6)] |= 1_u64 << (number & 63);
                }
                bits
            }),
            ct_timeouts_until: header
                .history
                .ct_timeouts
                .iter()
                .map(|(protocol, seen)| {
                    // Those that are gone now may have been there until now.
                    let until = if seen.present {
                        header.uptime_ns
                    } else {
                        seen.until_ns
                    };
                    (*protocol, until)
                })
                .collect(),
            timers,
            slots,
            caps: caps(header),
        }
    }

    /// Prepares an idle time.
    #[must_use]
    pub fn window(&self, idle_for: Seconds, ignore_ct_timeout: bool) -> Window {
        let since = self.ago(idle_for.0);
        Window {
            seconds: idle_for.0,
            ignore_ct_timeout,
            had_ct_timeout: self
                .ct_timeouts_until
                .iter()
                .filter(|(_, until)| since.is_none_or(|since| *until >= since))
                .map(|(protocol, _)| *protocol)
                .collect(),
            lowest: self
                .timers
                .iter()
                .map(|timer| timer.lowest_since(since?))
                .collect(),
        }
    }

    /// A time since boot, nanoseconds; `None` before boot.
    fn ago(&self, seconds: u64) -> Option<u64> {
        self.uptime_ns
            .checked_sub(seconds.checked_mul(1_000_000_000)?)
    }

    /// Nanoseconds since an entry was made.
    ///
    /// # Errors
    /// Where the start is missing or the clock makes it unusable.
    pub fn age(&self, flow: &Flow) -> Result<u64, AgeDoubt> {
        self.clock.age(flow.start_ns().ok_or(AgeDoubt::NoStart)?)
    }

    fn timer(&self, flow: &Flow) -> Option<usize> {
        self.slots[slot(flow)?].map(usize::from)
    }

    /// When, in nanoseconds since boot, idleness over this time will be provable for flows with
    /// the same governing timeout, if that stays as it is; `None` where it never will be: the
    /// timeout is not known, not readable, or (GRE) the entry's own from its creation.
    #[must_use]
    pub fn covered_at(&self, flow: &Flow, idle_for: Seconds) -> Option<u64> {
        if flow.protocol == Protocol::GRE {
            return None;
        }
        let timer = &self.timers[self.timer(flow)?];
        timer.seconds?;
        let since = timer.steady_since().unwrap_or(self.uptime_ns);
        since.checked_add(idle_for.0.checked_mul(1_000_000_000)?)
    }

    /// Whether a flow had no packet for a time.
    #[must_use]
    pub fn idle(&self, flow: &Flow, extra: &Extra<'_>, window: &Window) -> Idle {
        match self.judge(flow, extra, window) {
            Ok(idle) => idle,
            Err(doubt) => Idle::Unknown(doubt),
        }
    }

    /// Seconds since a flow's last packet, if the timeout was the same all along; `None` where
    /// that cannot be told. `now` is a window of no time.
    #[must_use]
    pub fn presumed(&self, flow: &Flow, extra: &Extra<'_>, now: &Window) -> Option<u64> {
        self.judge(flow, extra, now).ok()?;
        let timeout = self.timers[self.timer(flow)?].seconds?;
        let idle = timeout.checked_sub(u64::from(flow.remaining()?))?;
        // An entry was made by a packet.
        let age = self.age(flow).map_or(u64::MAX, |age| age / 1_000_000_000);
        Some(idle.min(age))
    }

    fn judge(&self, flow: &Flow, extra: &Extra<'_>, window: &Window) -> Result<Idle, Doubt> {
        let status = flow.status().ok_or(Doubt::NoStatus)?;
        if flow.is_offloaded() {
            return Err(Doubt::Offloaded);
        }
        let remaining = u64::from(flow.remaining().ok_or(Doubt::NoTimeout)?);
        if status.contains(Status::FIXED_TIMEOUT) {
            return Err(Doubt::FixedTimeout);
        }
        if status.contains(Status::HELPER) || extra.helper.is_some() {
            return Err(Doubt::Helper);
        }
        if !window.ignore_ct_timeout {
            let bits = self.ct_timeouts.as_ref().ok_or(Doubt::CtTimeoutUnread)?;
            let number = flow.protocol.0;
            let there = bits[usize::from(number >> 6)] >> (number & 63) & 1 == 1;
            if there || window.had_ct_timeout.contains(&number) {
                return Err(Doubt::CtTimeout);
            }
        }
        let index = self.timer(flow).ok_or(Doubt::NoState)?;
        let timer = &self.timers[index];
        let timeout = timer.seconds.ok_or(Doubt::Unread(timer.name))?;
        if remaining > timeout {
            return Err(Doubt::AboveTimeout(timeout));
        }
        if flow.protocol == Protocol::TCP {
            self.tcp_caps(flow, status, remaining, timeout)?;
        }
        if let Some(largest) = timer
            .retimed
            .filter(|largest| remaining <= u64::from(*largest))
        {
            return Err(Doubt::Retimed(largest));
        }
        let age = match self.age(flow) {
            Ok(age) if age < window.seconds.saturating_mul(1_000_000_000) => {
                return Err(Doubt::Young);
            }
            Ok(age) => Some(age),
            Err(AgeDoubt::NoStart) => None,
            Err(doubt) => return Err(Doubt::Age(doubt)),
        };

        let idle_by = |timeout: u64| remaining.saturating_add(window.seconds) < timeout;
        if !idle_by(timeout) {
            return Ok(Idle::NotIdle);
        }
        let lowest = if flow.protocol == Protocol::GRE {
            // GRE entries copy their timeouts when they are made.
            age.and_then(|age| timer.lowest_since(self.uptime_ns.checked_sub(age)?))
        } else {
            window.lowest[index]
        };
        Ok(match lowest {
            Some(lowest) if idle_by(lowest) => Idle::Proven,
            _ => Idle::Presumed,
        })
    }

    /// Refuses TCP flows whose timer may have been written with a cap in place of the state's timeout.
    fn tcp_caps(
        &self,
        flow: &Flow,
        status: Status,
        remaining: u64,
        timeout: u64,
    ) -> Result<(), Doubt> {
        if flow.is_closed() {
            return Ok(());
        }
        let caps = self.caps.as_ref().ok_or(Doubt::Unread(
            "nf_conntrack_tcp_timeout_max_retrans or _unacknowledged",
        ))?;
        let established = flow.state() == Some(tcp::ESTABLISHED);
        // In other states a cap governs only where it is below the state's timeout.
        let below = caps.partition_point(|&cap| established || cap < timeout);
        let Some(&cap) = caps[..below].last() else {
            return Ok(());
        };
        if established && !status.contains(Status::SEEN_REPLY) {
            return Err(Doubt::Unreplied);
        }
        let flags = flow.tcp_flags_orig | flow.tcp_flags_reply;
        if !flow.present.contains(Present::TCP_FLAGS) || flags & TCP_FLAG_DATA_UNACKNOWLEDGED != 0 {
            return Err(Doubt::Unacknowledged);
        }
        if remaining <= cap {
            return Err(Doubt::WithinCap(cap));
        }
        Ok(())
    }
}

/// The sysctls that cap the timers of TCP.
const CAPS: [&str; 2] = [
    "nf_conntrack_tcp_timeout_max_retrans",
    "nf_conntrack_tcp_timeout_unacknowledged",
];

/// Notes that a timeout was lowered after an observation, in the history that the observation is
/// judged by: what a packet has refreshed since then has less left than the value observed, as if
/// it had been idle.
pub(crate) fn note_lowered(history: &mut History, name: &'static str, at_ns: u64, seconds: u32) {
    if CAPS.contains(&name) {
        history.record_timeout(name, at_ns, seconds);
    }
    history.record_retime(Governing::Sysctl(name), at_ns, seconds);
}

fn caps(header: &Header) -> Option<Box<[u64]>> {
    let mut values = Vec::new();
    for name in CAPS {
        values.push(header.number(name)?);
        let earlier = header.history.timeouts.get(name).into_iter().flatten();
        values.extend(earlier.map(|seen| u64::from(seen.value)));
    }
    values.sort_unstable();
    Some(values.into_boxed_slice())
}

/// Where the timer of a flow is found; `None` where a state or status is needed but not known.
fn slot(flow: &Flow) -> Option<usize> {
    let class = match flow.protocol {
        Protocol::TCP => 0,
        Protocol::SCTP => 1,
        Protocol::DCCP => 2,
        Protocol::UDP => 3,
        Protocol::UDPLITE => 4,
        Protocol::GRE => 5,
        Protocol::ICMP => 6,
        Protocol::ICMPV6 => 7,
        _ => 8,
    };
    let within = if flow.protocol.has_states() {
        usize::from(flow.state()?)
    } else {
        let status = flow.status()?;
        usize::from(status.contains(Status::ASSURED))
            | usize::from(status.contains(Status::SEEN_REPLY)) << 1
    };
    (within < CLASS).then_some(class * CLASS + within)
}

/// A flow for every slot, so that [`governing`] alone says what governs.
fn representatives() -> impl Iterator<Item = Flow> {
    CLASSES.into_iter().flat_map(|protocol| {
        (0..16_u8).map(move |within| {
            let mut flow = Flow::new(Family::Ipv4, protocol, Tuple::default());
            flow.present = Present::STATE | Present::STATUS;
            flow.state = within;
            flow.status.set(Status::ASSURED, within & 1 != 0);
            flow.status.set(Status::SEEN_REPLY, within & 2 != 0);
            flow
        })
    })
}
