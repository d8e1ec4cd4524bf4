//! An expectation: a flow that a helper announced, and that is not there yet.

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Extra, Family, Flow, FlowKey, Present, Protocol, Tuple};

/// One entry of the expectation table; borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation<'a> {
    /// Address family of all tuples.
    pub family: Family,
    /// Protocol of the expected flow.
    pub protocol: Protocol,
    /// The expected flow; only what is set in `mask` counts.
    pub tuple: Tuple,
    /// Bits of `tuple` that must agree.
    pub mask: Tuple,
    /// Protocol of the flow whose helper expects it.
    pub master_protocol: Protocol,
    /// That flow's original direction.
    pub master: Tuple,
    /// Seconds until it is given up.
    pub timeout: Option<u32>,
    /// `CTA_EXPECT_ID`; no proof of identity.
    pub id: Option<u32>,
    /// `NF_CT_EXPECT_*`: 1 permanent, 2 inactive, 4 made by a program.
    pub flags: Option<u32>,
    /// The helper's class of expectations.
    pub class: Option<u32>,
    /// The helper's name.
    pub helper: Option<&'a str>,
    /// The kernel function that takes the flow when it comes.
    pub function: Option<&'a str>,
    /// Zone; 0 where the kernel tells none.
    pub zone: u16,
}

/// `NF_CT_EXPECT_*` with their names.
const FLAGS: [(u32, &str); 3] = [(1, "permanent"), (2, "inactive"), (4, "userspace")];

impl<'a> Expectation<'a> {
    /// One that is to be made. The kernel masks the source alone: an address of zeros and a port 0
    /// there stand for any.
    #[must_use]
    pub fn new(key: FlowKey, master: FlowKey, timeout: u32, helper: Option<&'a str>) -> Self {
        let width = match key.family {
            Family::Ipv4 => 4,
            Family::Ipv6 => 16,
        };
        let all = || {
            let mut mask = [0; 16];
            mask[..width].fill(0xff);
            mask
        };
        let any = [0; 16];
        Self {
            family: key.family,
            protocol: key.protocol,
            tuple: key.orig,
            mask: Tuple {
                src: if key.orig.src == any { any } else { all() },
                dst: all(),
                src_port: if key.orig.src_port == 0 { 0 } else { u16::MAX },
                dst_port: u16::MAX,
            },
            master_protocol: master.protocol,
            master: master.orig,
            timeout: Some(timeout),
            id: None,
            flags: None,
            class: None,
            helper,
            function: None,
            zone: master.zone,
        }
    }

    /// The expected flow, as commands name it.
    #[must_use]
    pub fn key(&self) -> FlowKey {
        FlowKey {
            family: self.family,
            zone: self.zone,
            protocol: self.protocol,
            orig: self.tuple,
        }
    }

    /// The flow whose helper expects it.
    #[must_use]
    pub fn master_key(&self) -> FlowKey {
        FlowKey {
            family: self.family,
            zone: self.zone,
            protocol: self.master_protocol,
            orig: self.master,
        }
    }

    /// The expected flow as a filter sees it: without reply, status and state.
    #[must_use]
    pub fn as_flow(&self) -> (Flow, Extra<'a>) {
        let mut flow = Flow::new(self.family, self.protocol, self.tuple);
        (flow.zone_orig, flow.zone_reply) = (self.zone, self.zone);
        if let Some(seconds) = self.timeout {
            flow.timeout = seconds;
            flow.present |= Present::TIMEOUT;
        }
        if let Some(id) = self.id {
            flow.id = id;
            flow.present |= Present::ID;
        }
        let extra = Extra {
            helper: self.helper,
            ..Extra::default()
        };
        (flow, extra)
    }

    /// What its flags say.
    fn flag_names(&self) -> Vec<&'static str> {
        let flags = self.flags.unwrap_or(0);
        let set = FLAGS.iter().filter(|(bit, _)| flags & bit != 0);
        set.map(|(_, name)| *name).collect()
    }
}

/// `tcp 10.0.0.1:0 192.0.2.1:2121 timeout=30 helper=ftp master=(tcp ...) id=7`.
impl fmt::Display for Expectation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key())?;
        if let Some(seconds) = self.timeout {
            write!(f, " timeout={seconds}")?;
        }
        if let Some(helper) = self.helper {
            write!(f, " helper={helper}")?;
        }
        for flag in self.flag_names() {
            write!(f, " [{}]", flag.to_ascii_uppercase())?;
        }
        write!(f, " master=({})", self.master_key())?;
        match self.id {
            Some(id) => write!(f, " id={id}"),
            None => Ok(()),
        }
    }
}

/// An expectation in documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExpectationLine {
    /// What is expected, as commands name a flow; what the mask leaves out is zero.
    flow: String,
    /// `ipv4` or `ipv6`.
    family: &'static str,
    /// Protocol, by name or number.
    protocol: String,
    /// Expected source.
    src: IpAddr,
    /// Expected source port, or what the protocol has there.
    sport: u16,
    /// Expected destination.
    dst: IpAddr,
    /// Expected destination port.
    dport: u16,
    /// Bits of the source that count.
    mask_src: IpAddr,
    /// Bits of the source port that count.
    mask_sport: u16,
    /// Its zone.
    zone: u16,
    /// Seconds left.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u32>,
    /// The flow whose helper expects it.
    master: String,
    /// The helper.
    #[serde(skip_serializing_if = "Option::is_none")]
    helper: Option<String>,
    /// permanent, inactive, userspace.
    flags: Vec<&'static str>,
    /// The helper's class of expectations.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<u32>,
    /// The kernel's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
}

impl From<&Expectation<'_>> for ExpectationLine {
    fn from(one: &Expectation<'_>) -> Self {
        let family = one.family;
        Self {
            flow: one.key().to_string(),
            family: family.name(),
            protocol: one.protocol.to_string(),
            src: one.tuple.src_ip(family),
            sport: one.tuple.src_port,
            dst: one.tuple.dst_ip(family),
            dport: one.tuple.dst_port,
            mask_src: one.mask.src_ip(family),
            mask_sport: one.mask.src_port,
            zone: one.zone,
            timeout: one.timeout,
            master: one.master_key().to_string(),
            helper: one.helper.map(str::to_owned),
            flags: one.flag_names(),
            class: one.class,
            id: one.id,
        }
    }
}
