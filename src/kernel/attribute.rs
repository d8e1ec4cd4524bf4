//! Attribute numbers of ctnetlink (`linux/netfilter/nfnetlink_conntrack.h`), and the walk over attributes.

/// Bits of an attribute's type that are its number; the others are `NLA_F_NESTED` and
/// `NLA_F_NET_BYTEORDER`. Kernels before 5.2 do not set the first, newer ones do.
const NUMBER: u16 = 0x3fff;

/// `NLA_F_NESTED`.
pub(crate) const NESTED: u16 = 0x8000;

pub(crate) const TUPLE_ORIG: u16 = 1;
pub(crate) const TUPLE_REPLY: u16 = 2;
pub(crate) const STATUS: u16 = 3;
pub(crate) const PROTOINFO: u16 = 4;
pub(crate) const HELP: u16 = 5;
pub(crate) const NAT_SRC: u16 = 6;
pub(crate) const TIMEOUT: u16 = 7;
pub(crate) const MARK: u16 = 8;
pub(crate) const COUNTERS_ORIG: u16 = 9;
pub(crate) const COUNTERS_REPLY: u16 = 10;
pub(crate) const USE: u16 = 11;
pub(crate) const ID: u16 = 12;
pub(crate) const NAT_DST: u16 = 13;
pub(crate) const TUPLE_MASTER: u16 = 14;
pub(crate) const SEQ_ADJ_ORIG: u16 = 15;
pub(crate) const SEQ_ADJ_REPLY: u16 = 16;
pub(crate) const ZONE: u16 = 18;
pub(crate) const SECCTX: u16 = 19;
pub(crate) const TIMESTAMP: u16 = 20;
pub(crate) const MARK_MASK: u16 = 21;
pub(crate) const LABELS: u16 = 22;
pub(crate) const LABELS_MASK: u16 = 23;
pub(crate) const FILTER: u16 = 25;
pub(crate) const STATUS_MASK: u16 = 26;
pub(crate) const TIMESTAMP_EVENT: u16 = 27;

/// Inside `CTA_TUPLE_*`.
pub(crate) mod tuple {
    pub(crate) const IP: u16 = 1;
    pub(crate) const PROTO: u16 = 2;
    pub(crate) const ZONE: u16 = 3;
}

/// Inside `CTA_TUPLE_IP`.
pub(crate) mod ip {
    pub(crate) const V4_SRC: u16 = 1;
    pub(crate) const V4_DST: u16 = 2;
    pub(crate) const V6_SRC: u16 = 3;
    pub(crate) const V6_DST: u16 = 4;
}

/// Inside `CTA_TUPLE_PROTO`. GRE keys travel as ports.
pub(crate) mod proto {
    pub(crate) const NUM: u16 = 1;
    pub(crate) const SRC_PORT: u16 = 2;
    pub(crate) const DST_PORT: u16 = 3;
    pub(crate) const ICMP_ID: u16 = 4;
    pub(crate) const ICMP_TYPE: u16 = 5;
    pub(crate) const ICMP_CODE: u16 = 6;
    pub(crate) const ICMPV6_ID: u16 = 7;
    pub(crate) const ICMPV6_TYPE: u16 = 8;
    pub(crate) const ICMPV6_CODE: u16 = 9;
}

/// Inside `CTA_PROTOINFO`.
pub(crate) mod protoinfo {
    pub(crate) const TCP: u16 = 1;
    pub(crate) const DCCP: u16 = 2;
    pub(crate) const SCTP: u16 = 3;
}

/// Inside `CTA_PROTOINFO_TCP`.
pub(crate) mod tcp {
    pub(crate) const STATE: u16 = 1;
    pub(crate) const WSCALE_ORIG: u16 = 2;
    pub(crate) const WSCALE_REPLY: u16 = 3;
    pub(crate) const FLAGS_ORIG: u16 = 4;
    pub(crate) const FLAGS_REPLY: u16 = 5;
}

/// Inside `CTA_PROTOINFO_DCCP`.
pub(crate) mod dccp {
    pub(crate) const STATE: u16 = 1;
    pub(crate) const ROLE: u16 = 2;
}

/// Inside `CTA_PROTOINFO_SCTP`.
pub(crate) mod sctp {
    pub(crate) const STATE: u16 = 1;
    pub(crate) const VTAG_ORIG: u16 = 2;
    pub(crate) const VTAG_REPLY: u16 = 3;
}

/// Inside `CTA_COUNTERS_*`.
pub(crate) mod counters {
    pub(crate) const PACKETS: u16 = 1;
    pub(crate) const BYTES: u16 = 2;
}

/// Inside `CTA_TIMESTAMP`.
pub(crate) mod timestamp {
    pub(crate) const START: u16 = 1;
    pub(crate) const STOP: u16 = 2;
}

/// Inside `CTA_FILTER`.
pub(crate) mod filter {
    /// Which fields of the original tuple are compared: a word in the host's byte order.
    pub(crate) const ORIG_FLAGS: u16 = 1;
    pub(crate) const IP_SRC: u32 = 1 << 0;
    pub(crate) const IP_DST: u32 = 1 << 1;
    pub(crate) const PROTO_NUM: u32 = 1 << 3;
    pub(crate) const SRC_PORT: u32 = 1 << 4;
    pub(crate) const DST_PORT: u32 = 1 << 5;
}

/// Inside `CTA_HELP` and `CTA_SECCTX`.
pub(crate) const NAME: u16 = 1;

/// Inside `CTA_SEQ_ADJ_*`.
pub(crate) mod seq_adjust {
    pub(crate) const CORRECTION: u16 = 1;
    pub(crate) const BEFORE: u16 = 2;
    pub(crate) const AFTER: u16 = 3;
}

/// Inside `CTA_NAT_*`.
pub(crate) mod nat {
    pub(crate) const V4_MIN: u16 = 1;
    pub(crate) const V4_MAX: u16 = 2;
    pub(crate) const PROTO: u16 = 3;
    pub(crate) const V6_MIN: u16 = 4;
    pub(crate) const V6_MAX: u16 = 5;
    /// Inside `CTA_NAT_PROTO`.
    pub(crate) const PORT_MIN: u16 = 1;
    pub(crate) const PORT_MAX: u16 = 2;
}

/// Of an expectation (`CTA_EXPECT_*`).
pub(crate) mod expect {
    pub(crate) const MASTER: u16 = 1;
    pub(crate) const TUPLE: u16 = 2;
    pub(crate) const MASK: u16 = 3;
    pub(crate) const TIMEOUT: u16 = 4;
    pub(crate) const ID: u16 = 5;
    pub(crate) const HELP_NAME: u16 = 6;
    pub(crate) const ZONE: u16 = 7;
    pub(crate) const FLAGS: u16 = 8;
    pub(crate) const CLASS: u16 = 9;
    pub(crate) const FN: u16 = 11;
}

/// Inside the answer to `IPCTNL_MSG_CT_GET_STATS`.
pub(crate) mod stats {
    pub(crate) const ENTRIES: u16 = 1;
    pub(crate) const MAX_ENTRIES: u16 = 2;
}

/// Inside the answer to `IPCTNL_MSG_CT_GET_STATS_CPU`; numbers not named here are dead.
pub(crate) mod stats_cpu {
    pub(crate) const FOUND: u16 = 2;
    pub(crate) const INVALID: u16 = 4;
    pub(crate) const INSERT: u16 = 8;
    pub(crate) const INSERT_FAILED: u16 = 9;
    pub(crate) const DROP: u16 = 10;
    pub(crate) const EARLY_DROP: u16 = 11;
    pub(crate) const ERROR: u16 = 12;
    pub(crate) const SEARCH_RESTART: u16 = 13;
    pub(crate) const CLASH_RESOLVE: u16 = 14;
    pub(crate) const CHAIN_TOOLONG: u16 = 15;
}

/// Inside the answer to `IPCTNL_MSG_EXP_GET_STATS_CPU`.
pub(crate) mod stats_expect {
    pub(crate) const CREATE: u16 = 2;
    pub(crate) const DELETE: u16 = 3;
}

/// Bytes that do not form attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Number and payload of each attribute in a buffer.
pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let [l0, l1, t0, t1, ..] = *self.rest else {
            // Fewer than four bytes hold no attribute; the kernel's own parser ignores them too.
            return None;
        };
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let number = u16::from_ne_bytes([t0, t1]) & NUMBER;
        if length < 4 {
            self.rest = &[];
            return Some(Err(Malformed));
        }
        let Some(payload) = self.rest.get(4..length) else {
            self.rest = &[];
            return Some(Err(Malformed));
        };
        // The next multiple of four; sixteen bits do not overflow.
        self.rest = self.rest.get((length + 3) & !3..).unwrap_or(&[]);
        Some(Ok((number, payload)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nested_bit_is_no_part_of_the_number() {
        let mut bytes = Vec::new();
        bytes.extend(8u16.to_ne_bytes());
        bytes.extend((STATUS | NESTED).to_ne_bytes());
        bytes.extend([1, 2, 3, 4]);
        let all: Vec<_> = Attributes::new(&bytes).collect();
        assert_eq!(all, [Ok((STATUS, &[1, 2, 3, 4][..]))]);
    }

    #[test]
    fn a_length_past_the_end_ends_the_walk_with_an_error() {
        let mut bytes = Vec::new();
        bytes.extend(9u16.to_ne_bytes());
        bytes.extend(STATUS.to_ne_bytes());
        bytes.extend([1, 2, 3, 4]);
        let all: Vec<_> = Attributes::new(&bytes).collect();
        assert_eq!(all, [Err(Malformed)]);
    }

    #[test]
    fn a_length_of_nothing_does_not_loop() {
        let all: Vec<_> = Attributes::new(&[0; 64]).collect();
        assert_eq!(all, [Err(Malformed)]);
    }
}
