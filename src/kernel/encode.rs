//! The frequent requests, written straight into a batch: delete, retime, create.
//!
//! Each names one entry. A delete carries the original tuple, the zone and the id by its type, so
//! a flush, which the kernel reads out of a delete that lacks them, cannot be written here:
//! [`flush`](super::flush) alone does.

use super::attribute::{
    self, NESTED, dccp, ip, nat, proto, protoinfo, sctp, seq_adjust, tcp, tuple,
};
use super::message::{CT_DELETE, CT_NEW, HEADER, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};
use crate::flow::{Extra, Family, Flow, FlowKey, Present, Protocol, SeqAdjust, Status, Tuple};
use crate::policy::Update;
use crate::rebuild::{Endpoint, SETTABLE, TCP_FLAGS_KEPT, Translation};

/// One change to one entry.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Removes the entry with this key if it still has this id.
    Delete {
        /// Which entry.
        key: FlowKey,
        /// `CTA_ID` as it was seen; the kernel compares it.
        id: u32,
    },
    /// Sets the remaining time of the entry with this key. The kernel compares no id here.
    Retime {
        /// Which entry.
        key: FlowKey,
        /// Seconds left; 0 expires it at once.
        seconds: u32,
    },
    /// Sets some of the entry with this key. The kernel compares no id here.
    Update {
        /// Which entry.
        key: FlowKey,
        /// Its status bits as they are: the kernel takes none that lacks one of them.
        status: Status,
        /// What is set.
        update: Update,
    },
    /// Makes an entry that must not exist yet.
    ///
    /// Sent are tuples, zones, translation, timeout, mark, protocol state, helper, labels,
    /// sequence adjustment and those status bits that may be set. The kernel makes id, counters
    /// and start anew.
    Create {
        /// The entry as it was seen.
        flow: &'a Flow,
        /// What goes beside it.
        extra: Extra<'a>,
    },
}

impl Change<'_> {
    /// The entry it is about.
    #[must_use]
    pub fn key(&self) -> FlowKey {
        match self {
            Self::Delete { key, .. } | Self::Retime { key, .. } | Self::Update { key, .. } => *key,
            Self::Create { flow, .. } => flow.key(),
        }
    }

    /// Appends the request to a batch. It asks for no acknowledgement.
    pub(crate) fn encode(&self, sequence: u32, out: &mut Vec<u8>) {
        match self {
            Self::Delete { key, id } => {
                message(out, CT_DELETE, 0, sequence, key.family, |out| {
                    put_key(out, key);
                    put(out, attribute::ID, &id.to_be_bytes());
                });
            }
            Self::Retime { key, seconds } => {
                message(out, CT_NEW, 0, sequence, key.family, |out| {
                    put_key(out, key);
                    put(out, attribute::TIMEOUT, &seconds.to_be_bytes());
                });
            }
            Self::Update {
                key,
                status,
                update,
            } => {
                message(out, CT_NEW, 0, sequence, key.family, |out| {
                    put_key(out, key);
                    put_update(out, *status, update);
                });
            }
            Self::Create { flow, extra } => {
                let flags = NLM_F_CREATE | NLM_F_EXCL;
                message(out, CT_NEW, flags, sequence, flow.family, |out| {
                    put_entry(out, flow, extra);
                });
            }
        }
    }
}

fn put_update(out: &mut Vec<u8>, status: Status, update: &Update) {
    if let Some(seconds) = update.timeout {
        put(out, attribute::TIMEOUT, &seconds.to_be_bytes());
    }
    if !update.status.is_empty() {
        let status = status | update.status;
        put(out, attribute::STATUS, &status.bits().to_be_bytes());
    }
    if let Some((value, mask)) = update.mark {
        put(out, attribute::MARK, &value.to_be_bytes());
        put(out, attribute::MARK_MASK, &mask.to_be_bytes());
    }
    if let Some((value, mask)) = update.labels {
        put(out, attribute::LABELS, &label_words(value));
        put(out, attribute::LABELS_MASK, &label_words(mask));
    }
}

fn put_entry(out: &mut Vec<u8>, flow: &Flow, extra: &Extra<'_>) {
    let both = flow.zone_orig == flow.zone_reply;
    let (orig_zone, reply_zone) = if both {
        (0, 0)
    } else {
        (flow.zone_orig, flow.zone_reply)
    };
    put_tuple(
        out,
        attribute::TUPLE_ORIG,
        flow.family,
        flow.protocol,
        &flow.orig,
        orig_zone,
    );
    // Without translation; the kernel translates this tuple itself and so sets the status bits.
    let plain = flow.orig.inverse(flow.protocol);
    put_tuple(
        out,
        attribute::TUPLE_REPLY,
        flow.family,
        flow.protocol,
        &plain,
        reply_zone,
    );
    if both && flow.zone_orig != 0 {
        put(out, attribute::ZONE, &flow.zone_orig.to_be_bytes());
    }
    put(out, attribute::TIMEOUT, &flow.timeout.to_be_bytes());
    let status = (flow.status & SETTABLE) | Status::CONFIRMED;
    put(out, attribute::STATUS, &status.bits().to_be_bytes());
    if flow.mark != 0 {
        put(out, attribute::MARK, &flow.mark.to_be_bytes());
    }
    put_translation(out, flow);
    put_protoinfo(out, flow, extra);
    if let Some(helper) = extra.helper {
        nest(out, attribute::HELP, |out| {
            put_text(out, attribute::NAME, helper);
        });
    }
    if let Some(labels) = extra.labels {
        put(out, attribute::LABELS, &label_words(labels));
    }
    if let Some((orig, reply)) = extra.seq_adjust {
        put_seq_adjust(out, attribute::SEQ_ADJ_ORIG, orig);
        put_seq_adjust(out, attribute::SEQ_ADJ_REPLY, reply);
    }
}

fn put_translation(out: &mut Vec<u8>, flow: &Flow) {
    let translation = Translation::of(flow);
    if let Some(end) = translation.dst {
        put_nat(out, attribute::NAT_DST, flow.family, &end);
    }
    if let Some(end) = translation.src {
        put_nat(out, attribute::NAT_SRC, flow.family, &end);
    }
}

pub(super) fn put_nat(out: &mut Vec<u8>, number: u16, family: Family, end: &Endpoint) {
    nest(out, number, |out| {
        match family {
            Family::Ipv4 => {
                put(out, nat::V4_MIN, &end.address[..4]);
                put(out, nat::V4_MAX, &end.address[..4]);
            }
            Family::Ipv6 => {
                put(out, nat::V6_MIN, &end.address);
                put(out, nat::V6_MAX, &end.address);
            }
        }
        if let Some(port) = end.port {
            nest(out, nat::PROTO, |out| {
                put(out, nat::PORT_MIN, &port.to_be_bytes());
                put(out, nat::PORT_MAX, &port.to_be_bytes());
            });
        }
    });
}

fn put_protoinfo(out: &mut Vec<u8>, flow: &Flow, extra: &Extra<'_>) {
    let Some(state) = flow.state() else {
        return;
    };
    match flow.protocol {
        Protocol::TCP => nest(out, attribute::PROTOINFO, |out| {
            nest(out, protoinfo::TCP, |out| {
                put(out, tcp::STATE, &[state]);
                if let Some((orig, reply)) = flow.wscale() {
                    put(out, tcp::WSCALE_ORIG, &[orig]);
                    put(out, tcp::WSCALE_REPLY, &[reply]);
                }
                if flow.present.contains(Present::TCP_FLAGS) {
                    let flags = |flags| [flags & TCP_FLAGS_KEPT, TCP_FLAGS_KEPT];
                    put(out, tcp::FLAGS_ORIG, &flags(flow.tcp_flags_orig));
                    put(out, tcp::FLAGS_REPLY, &flags(flow.tcp_flags_reply));
                }
            });
        }),
        Protocol::SCTP => nest(out, attribute::PROTOINFO, |out| {
            nest(out, protoinfo::SCTP, |out| {
                // The kernel takes all three or none.
                let (orig, reply) = extra.sctp_vtags.unwrap_or_default();
                put(out, sctp::STATE, &[state]);
                put(out, sctp::VTAG_ORIG, &orig.to_be_bytes());
                put(out, sctp::VTAG_REPLY, &reply.to_be_bytes());
            });
        }),
        Protocol::DCCP => nest(out, attribute::PROTOINFO, |out| {
            nest(out, protoinfo::DCCP, |out| {
                put(out, dccp::STATE, &[state]);
                put(out, dccp::ROLE, &[extra.dccp_role.unwrap_or_default()]);
            });
        }),
        _ => {}
    }
}

fn put_seq_adjust(out: &mut Vec<u8>, number: u16, adjust: SeqAdjust) {
    nest(out, number, |out| {
        put(
            out,
            seq_adjust::CORRECTION,
            &adjust.correction.to_be_bytes(),
        );
        put(out, seq_adjust::BEFORE, &adjust.before.to_be_bytes());
        put(out, seq_adjust::AFTER, &adjust.after.to_be_bytes());
    });
}

/// The kernel's `unsigned long` words, in the host's byte order.
pub(super) fn label_words(labels: u128) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (index, chunk) in (0u32..).zip(bytes.chunks_exact_mut(size_of::<usize>())) {
        let word = (labels >> (index * usize::BITS)) as usize;
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// The original tuple and, if it is not the default, the zone.
fn put_key(out: &mut Vec<u8>, key: &FlowKey) {
    put_tuple(
        out,
        attribute::TUPLE_ORIG,
        key.family,
        key.protocol,
        &key.orig,
        0,
    );
    // A zone of the original direction alone is found by CTA_ZONE as well.
    if key.zone != 0 {
        put(out, attribute::ZONE, &key.zone.to_be_bytes());
    }
}

pub(super) fn put_tuple(
    out: &mut Vec<u8>,
    number: u16,
    family: Family,
    protocol: Protocol,
    one: &Tuple,
    zone: u16,
) {
    nest(out, number, |out| {
        nest(out, tuple::IP, |out| match family {
            Family::Ipv4 => {
                put(out, ip::V4_SRC, &one.src[..4]);
                put(out, ip::V4_DST, &one.dst[..4]);
            }
            Family::Ipv6 => {
                put(out, ip::V6_SRC, &one.src);
                put(out, ip::V6_DST, &one.dst);
            }
        });
        nest(out, tuple::PROTO, |out| {
            put(out, proto::NUM, &[protocol.0]);
            match protocol {
                Protocol::ICMP => {
                    put(out, proto::ICMP_ID, &one.src_port.to_be_bytes());
                    put(out, proto::ICMP_TYPE, &[one.icmp_type()]);
                    put(out, proto::ICMP_CODE, &[one.icmp_code()]);
                }
                Protocol::ICMPV6 => {
                    put(out, proto::ICMPV6_ID, &one.src_port.to_be_bytes());
                    put(out, proto::ICMPV6_TYPE, &[one.icmp_type()]);
                    put(out, proto::ICMPV6_CODE, &[one.icmp_code()]);
                }
                // Other protocols have zero in both, which the kernel passes over.
                _ => {
                    put(out, proto::SRC_PORT, &one.src_port.to_be_bytes());
                    put(out, proto::DST_PORT, &one.dst_port.to_be_bytes());
                }
            }
        });
        if zone != 0 {
            put(out, tuple::ZONE, &zone.to_be_bytes());
        }
    });
}

pub(super) fn message(
    out: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    family: impl Into<Option<Family>>,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    // The port: the kernel fills in the socket's.
    out.extend_from_slice(&[0; 4]);
    debug_assert_eq!(out.len(), start + HEADER);
    // struct nfgenmsg: family, version 0, resource 0.
    let family = family.into().map_or(0, |family| family as u8);
    out.extend_from_slice(&[family, 0, 0, 0]);
    fill(out);
    let length = u32::try_from(out.len() - start).expect("a request is far below 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

pub(super) fn nest(out: &mut Vec<u8>, number: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    fill(out);
    finish(out, start, number | NESTED);
}

pub(super) fn put(out: &mut Vec<u8>, number: u16, payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    finish(out, start, number);
}

/// Text with the final NUL that the kernel expects.
pub(super) fn put_text(out: &mut Vec<u8>, number: u16, text: &str) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    finish(out, start, number);
}

fn finish(out: &mut Vec<u8>, start: usize, number: u16) {
    let length = u16::try_from(out.len() - start).expect("no attribute of a flow reaches 64 KiB");
    out[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    out[start + 2..start + 4].copy_from_slice(&number.to_ne_bytes());
    let padded = (out.len() - start).next_multiple_of(4);
    out.resize(start + padded, 0);
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
