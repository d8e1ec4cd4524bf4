//! How long entries may live, as far as a policy and its kernel tell.

use super::{Mode, Policy, Want};
use crate::flow::Flow;
use crate::observe::Header;
use crate::tunable::{self, Governing};

/// The kernel's own timeouts in seconds; where kernels differ, the longest.
const KERNEL_DEFAULTS: [(&str, u64); 36] = [
    ("nf_conntrack_generic_timeout", 600),
    ("nf_conntrack_icmp_timeout", 30),
    ("nf_conntrack_icmpv6_timeout", 30),
    ("nf_conntrack_tcp_timeout_syn_sent", 120),
    ("nf_conntrack_tcp_timeout_syn_recv", 60),
    ("nf_conntrack_tcp_timeout_established", 432_000),
    ("nf_conntrack_tcp_timeout_fin_wait", 120),
    ("nf_conntrack_tcp_timeout_close_wait", 60),
    ("nf_conntrack_tcp_timeout_last_ack", 30),
    ("nf_conntrack_tcp_timeout_time_wait", 120),
    ("nf_conntrack_tcp_timeout_close", 10),
    ("nf_conntrack_tcp_timeout_max_retrans", 300),
    ("nf_conntrack_tcp_timeout_unacknowledged", 300),
    ("nf_conntrack_udp_timeout", 30),
    ("nf_conntrack_udp_timeout_stream", 120),
    ("nf_conntrack_gre_timeout", 30),
    ("nf_conntrack_gre_timeout_stream", 180),
    ("nf_conntrack_sctp_timeout_closed", 10),
    ("nf_conntrack_sctp_timeout_cookie_wait", 3),
    ("nf_conntrack_sctp_timeout_cookie_echoed", 3),
    ("nf_conntrack_sctp_timeout_established", 432_000),
    ("nf_conntrack_sctp_timeout_shutdown_sent", 3),
    ("nf_conntrack_sctp_timeout_shutdown_recd", 3),
    ("nf_conntrack_sctp_timeout_shutdown_ack_sent", 3),
    ("nf_conntrack_sctp_timeout_heartbeat_sent", 30),
    ("nf_conntrack_dccp_timeout_request", 240),
    ("nf_conntrack_dccp_timeout_respond", 480),
    ("nf_conntrack_dccp_timeout_partopen", 480),
    ("nf_conntrack_dccp_timeout_open", 43_200),
    ("nf_conntrack_dccp_timeout_closereq", 64),
    ("nf_conntrack_dccp_timeout_closing", 64),
    ("nf_conntrack_dccp_timeout_timewait", 240),
    ("nf_conntrack_frag6_timeout", 60),
    ("nf_flowtable_tcp_timeout", 30),
    ("nf_flowtable_udp_timeout", 30),
    ("net.ipv4.tcp_keepalive_time", 7200),
];

/// What the kernel has unless somebody changed it; where versions differ, the largest.
#[must_use]
pub fn kernel_default(name: &str) -> Option<u64> {
    KERNEL_DEFAULTS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| *value)
}

/// Where a number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The policy sets it.
    Policy,
    /// The kernel has it now.
    Kernel,
    /// The kernel has it unless somebody changed it.
    Default,
}

/// The tunables as they will be once the policy is applied. What is observed counts where there is
/// an observation, the kernel's own defaults elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Timing<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// What is known of the kernel.
    pub header: Option<&'a Header>,
}

impl Timing<'_> {
    /// The largest value that a tunable will have, and who says so.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<(u64, Origin)> {
        let present = self.present(name);
        let goal = self.policy.goals.iter().find(|goal| goal.name == name);
        let Some((Want::Number(wanted), mode)) = goal.map(|goal| (goal.want, goal.mode)) else {
            return present;
        };
        match (mode, present) {
            (Mode::Observe, present) => present,
            (Mode::AtLeast, Some((has, origin))) if has > wanted => Some((has, origin)),
            (Mode::AtMost, Some((has, Origin::Kernel))) if has < wanted => {
                Some((has, Origin::Kernel))
            }
            _ => Some((wanted, Origin::Policy)),
        }
    }

    fn present(&self, name: &str) -> Option<(u64, Origin)> {
        if let Some(number) = self.header.and_then(|header| header.number(name)) {
            return Some((number, Origin::Kernel));
        }
        kernel_default(name).map(|value| (value, Origin::Default))
    }

    /// Whether a switch will be on; kernels have accounting and timestamps off by default.
    #[must_use]
    pub fn switch(&self, name: &str) -> (bool, Origin) {
        match self.value(name) {
            Some((value, origin)) => (value != 0, origin),
            None => (false, Origin::Default),
        }
    }

    /// The timeout that governs an entry, and its sysctl where it has one.
    #[must_use]
    pub fn governing(&self, flow: &Flow) -> Option<(u64, Option<&'static str>)> {
        match tunable::governing(flow)? {
            Governing::Fixed(seconds) => Some((u64::from(seconds), None)),
            Governing::Sysctl(name) => {
                let (seconds, _) = self.value(name)?;
                Some((seconds, Some(name)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunable::{Home, TUNABLES};

    #[test]
    fn every_timeout_has_a_default() {
        for tunable in TUNABLES {
            if matches!(tunable.home, Home::Timeouts(_)) {
                assert!(
                    KERNEL_DEFAULTS
                        .iter()
                        .any(|(name, _)| *name == tunable.name),
                    "{}",
                    tunable.name
                );
            }
        }
    }
}
