//! A flow's line as it is parsed, field by field; its schema is derived from this.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::status_bit;
use crate::flow::{Status, protocol};

/// One flow of a snapshot.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(expecting = "a flow")]
#[schemars(title = "Flow", rename = "Flow")]
pub struct FlowLine<'a> {
    /// Address family.
    #[schemars(extend("enum" = ["ipv4", "ipv6"]))]
    #[serde(borrow)]
    pub(super) family: Text<'a>,
    /// Zone of both directions; absent where it is 0, or where the directions differ.
    pub(super) zone: Option<u16>,
    /// Zone of the original direction where the reply has another one; absent where it is 0.
    pub(super) orig_zone: Option<u16>,
    /// Zone of the reply direction where the original has another one; absent where it is 0.
    pub(super) reply_zone: Option<u16>,
    /// IP protocol by name, or its number as text.
    #[serde(borrow)]
    pub(super) protocol: Text<'a>,
    /// Source of the original direction.
    pub(super) src: IpAddr,
    /// Destination of the original direction.
    pub(super) dst: IpAddr,
    /// Source port of the original direction; tcp, udp, udplite, sctp, dccp.
    pub(super) sport: Option<u16>,
    /// Destination port of the original direction.
    pub(super) dport: Option<u16>,
    /// GRE key of the original direction's source.
    pub(super) srckey: Option<u16>,
    /// GRE key of the original direction's destination.
    pub(super) dstkey: Option<u16>,
    /// ICMP or `ICMPv6` type of the original direction.
    pub(super) icmp_type: Option<u8>,
    /// ICMP or `ICMPv6` code of the original direction.
    pub(super) icmp_code: Option<u8>,
    /// ICMP or `ICMPv6` identifier of the original direction.
    pub(super) icmp_id: Option<u16>,
    /// False where the kernel sent no reply tuple; else absent.
    pub(super) reply: Option<bool>,
    /// Source of the reply direction; absent where it is `dst`. Differs under destination NAT.
    pub(super) reply_src: Option<IpAddr>,
    /// Destination of the reply direction; absent where it is `src`. Differs under source NAT.
    pub(super) reply_dst: Option<IpAddr>,
    /// Source port of the reply direction; absent where it is `dport`.
    pub(super) reply_sport: Option<u16>,
    /// Destination port of the reply direction; absent where it is `sport`.
    pub(super) reply_dport: Option<u16>,
    /// GRE key of the reply's source; absent where it is `dstkey`.
    pub(super) reply_srckey: Option<u16>,
    /// GRE key of the reply's destination; absent where it is `srckey`.
    pub(super) reply_dstkey: Option<u16>,
    /// ICMP type of the reply; absent where it is the answer to `icmp_type`.
    pub(super) reply_icmp_type: Option<u8>,
    /// ICMP code of the reply; absent where it is `icmp_code`.
    pub(super) reply_icmp_code: Option<u8>,
    /// ICMP identifier of the reply; absent where it is `icmp_id`.
    pub(super) reply_icmp_id: Option<u16>,
    /// The `IPS_*` bits that are set, as words; bits without a word as `bit-N`.
    pub(super) status: Option<StatusList>,
    /// State of the protocol by name, or its number as text; absent on offloaded entries.
    #[serde(borrow)]
    pub(super) state: Option<Text<'a>>,
    /// `IP_CT_TCP_FLAG_*` of the original direction; 16 is unacknowledged data.
    pub(super) tcp_flags: Option<u8>,
    /// `IP_CT_TCP_FLAG_*` of the reply direction.
    pub(super) reply_tcp_flags: Option<u8>,
    /// TCP window scale factor of the original direction, 0 to 15.
    pub(super) wscale: Option<u8>,
    /// TCP window scale factor of the reply direction, 0 to 15.
    pub(super) reply_wscale: Option<u8>,
    /// Seconds until the entry expires, rounded down; absent on offloaded entries.
    pub(super) timeout: Option<u32>,
    /// Connection mark.
    pub(super) mark: Option<u32>,
    /// The kernel's id of the entry.
    pub(super) id: Option<u32>,
    /// True where the entry was expected by another flow's helper; else absent.
    pub(super) master: Option<bool>,
    /// When the entry was confirmed, nanoseconds since 1970; needs `nf_conntrack_timestamp`.
    pub(super) start_ns: Option<u64>,
    /// Packets of the original direction; needs `nf_conntrack_acct`.
    pub(super) packets: Option<u64>,
    /// Bytes of the original direction, network layer headers included.
    pub(super) bytes: Option<u64>,
    /// Packets of the reply direction.
    pub(super) reply_packets: Option<u64>,
    /// Bytes of the reply direction.
    pub(super) reply_bytes: Option<u64>,
    /// Name of the conntrack helper.
    #[serde(borrow)]
    pub(super) helper: Option<Text<'a>>,
    /// Connection labels that are set, by bit number.
    pub(super) labels: Option<LabelList>,
    /// Security context.
    #[serde(borrow)]
    pub(super) secctx: Option<Text<'a>>,
    /// SCTP verification tag of the original direction.
    pub(super) vtag: Option<u32>,
    /// SCTP verification tag of the reply direction.
    pub(super) reply_vtag: Option<u32>,
    /// DCCP role of the original direction: 0 client, 1 server.
    pub(super) dccp_role: Option<u8>,
    /// TCP sequence adjustment of the original direction.
    pub(super) seq_adjust: Option<SeqAdjustLine>,
    /// TCP sequence adjustment of the reply direction.
    pub(super) reply_seq_adjust: Option<SeqAdjustLine>,
}

/// Sequence number adjustment of one direction.
#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema)]
#[schemars(rename = "SeqAdjust")]
pub(super) struct SeqAdjustLine {
    /// Position of the last correction.
    pub(super) correction: u32,
    /// Offset before that position.
    pub(super) before: i32,
    /// Offset after that position.
    pub(super) after: i32,
}

/// Text that borrows from the line unless it has escapes.
#[derive(Debug, JsonSchema)]
#[schemars(transparent, inline)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// Status words, folded into bits as they are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatusList(pub(super) Status);

impl<'de> Deserialize<'de> for StatusList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = StatusList;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of status words")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<StatusList, A::Error> {
                let mut status = Status::empty();
                while let Some(word) = list.next_element::<Text<'de>>()? {
                    status |= status_bit(&word.0).ok_or_else(|| {
                        de::Error::custom(format_args!("unknown status `{}`", word.0))
                    })?;
                }
                Ok(StatusList(status))
            }
        }
        deserializer.deserialize_seq(Words)
    }
}

impl JsonSchema for StatusList {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "StatusList".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Vec::<String>::json_schema(generator)
    }
}

/// Label numbers, folded into bits as they are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct LabelList(pub(super) u128);

impl<'de> Deserialize<'de> for LabelList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl<'de> Visitor<'de> for Numbers {
            type Value = LabelList;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of label numbers")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<LabelList, A::Error> {
                let mut labels = 0;
                while let Some(number) = list.next_element::<u8>()? {
                    labels |= 1u128
                        .checked_shl(number.into())
                        .ok_or_else(|| de::Error::custom(format_args!("no label {number}")))?;
                }
                Ok(LabelList(labels))
            }
        }
        deserializer.deserialize_seq(Numbers)
    }
}

impl JsonSchema for LabelList {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "LabelList".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Vec::<u8>::json_schema(generator)
    }
}

/// The number of a protocol's state, by exact name or by number as text.
pub(super) fn state_number(protocol: crate::flow::Protocol, text: &str) -> Option<u8> {
    protocol::state_names(protocol)
        .iter()
        .position(|name| *name == text)
        .and_then(|index| u8::try_from(index).ok())
        .or_else(|| text.parse().ok())
}
