//! States of `--state`: those of protocols, and two words that people use as if they were some.

use super::line::UsageError;
use crate::flow::{Protocol, protocol};

/// What `--state` asks for; any of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct States {
    /// States of protocols.
    pub named: Vec<(Protocol, u8)>,
    /// `NEW`: no state of an entry, but netfilter's word for one that has just come.
    pub new: bool,
    /// `INVALID`: netfilter's word for a packet that belongs to no entry.
    pub invalid: bool,
}

impl States {
    /// Reads a list of names; without a protocol a name is that of any protocol that has it.
    pub(super) fn parse(names: &[&str], of: Option<Protocol>) -> Result<Self, UsageError> {
        let mut states = Self::default();
        for name in names {
            let before = states.named.len();
            for protocol in [Protocol::TCP, Protocol::SCTP, Protocol::DCCP] {
                if of.is_some_and(|of| of != protocol) {
                    continue;
                }
                // The tool's older name of the same number.
                let is_listen = protocol == Protocol::TCP && name.eq_ignore_ascii_case("LISTEN");
                let is_nameless = of == Some(Protocol::SCTP) && *name == "(null)";
                let known = match name {
                    _ if is_listen => "SYN_SENT2",
                    // As `-o save` has it.
                    _ if is_nameless => "HEARTBEAT_SENT",
                    name => name,
                };
                if let Some(state) = protocol::state_number(protocol, known) {
                    states.named.push((protocol, state));
                }
            }
            let is_one = states.named.len() > before;
            match name.to_ascii_uppercase().as_str() {
                "NEW" if !is_one => states.new = true,
                // Without a protocol, DCCP's rare state of that name is not what is meant.
                "INVALID" if of != Some(Protocol::DCCP) => {
                    states.named.truncate(before);
                    states.invalid = true;
                }
                _ if is_one => {}
                _ => return Err(unknown(name, of)),
            }
        }
        Ok(states)
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && !self.new && !self.invalid
    }

    /// The one state that an entry is to get: such a line names its protocol.
    #[must_use]
    pub fn only(&self) -> Option<u8> {
        match (self.named.as_slice(), self.new, self.invalid) {
            (&[(_, state)], false, false) => Some(state),
            _ => None,
        }
    }
}

fn unknown(name: &str, of: Option<Protocol>) -> UsageError {
    let Some(of) = of else {
        return UsageError::new(format!("unknown state `{name}'"));
    };
    let known = protocol::state_names(of);
    let protocol = super::print::protocol_name(of);
    if known.is_empty() {
        UsageError::new(format!("`-p {protocol}' has no states"))
    } else {
        UsageError::new(format!(
            "unknown {} state `{name}'; there are: {}",
            protocol.to_ascii_uppercase(),
            known.join(" ")
        ))
    }
}
