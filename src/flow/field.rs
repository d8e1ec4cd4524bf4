//! The names of a flow's fields, once: policies, flags, explanations and groups all use these.

/// A field that a predicate can test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// Its name in a policy.
    pub name: &'static str,
    /// What the value looks like.
    pub value: &'static str,
    /// One line of help.
    pub help: &'static str,
}

macro_rules! fields {
    ($($constant:ident $name:literal $value:literal $help:literal;)*) => {
        $(#[doc = concat!("The `", $name, "` field.")]
        pub const $constant: Field = Field { name: $name, value: $value, help: $help };)*

        /// Every field of the match vocabulary, in the order of the documentation.
        pub const ALL: &[Field] = &[$($constant),*];
    };
}

fields! {
    FAMILY "family" "ipv4 | ipv6" "Address family.";
    PROTOCOL "protocol" "name or number" "IP protocol.";
    STATE "state" "TCP or SCTP state" "Protocol state; without `protocol`, of any protocol with that state.";
    STATUS "status" "word" "Status bits: assured, seen-reply, unreplied, src-nat, dst-nat, offload, hw-offload, fixed-timeout, expected, helper.";
    SRC "src" "prefix or @set" "Source address of the original direction.";
    DST "dst" "prefix or @set" "Destination address of the original direction.";
    REPLY_SRC "reply-src" "prefix or @set" "Source address of the reply direction.";
    REPLY_DST "reply-dst" "prefix or @set" "Destination address of the reply direction.";
    ADDRESS "address" "prefix or @set" "Any of the four addresses.";
    SPORT "sport" "port or range" "Source port of the original direction.";
    DPORT "dport" "port or range" "Destination port of the original direction.";
    REPLY_SPORT "reply-sport" "port or range" "Source port of the reply direction.";
    REPLY_DPORT "reply-dport" "port or range" "Destination port of the reply direction.";
    PORT "port" "port or range" "Source or destination port of the original direction.";
    ICMP_TYPE "icmp-type" "0-255" "ICMP or ICMPv6 type of the original direction.";
    ICMP_CODE "icmp-code" "0-255" "ICMP or ICMPv6 code of the original direction.";
    GRE_KEY "gre-key" "0-65535" "GRE key of either end.";
    NAT "nat" "src | dst | any | none" "Network address translation, by status bits.";
    NAT_SRC "nat-src" "prefix or @set" "The address that the source is translated to.";
    NAT_DST "nat-dst" "prefix or @set" "The address that the destination is translated to.";
    PATH "path" "forward | input | output" "Whether the flow crosses, ends at or starts from this host.";
    MARK "mark" "value or value/mask" "Connection mark.";
    ZONE "zone" "0-65535" "Zone of both directions.";
    ORIG_ZONE "orig-zone" "0-65535" "Zone of the original direction.";
    REPLY_ZONE "reply-zone" "0-65535" "Zone of the reply direction.";
    LABEL "label" "0-127" "Connection label (bit number).";
    HELPER "helper" "name" "Conntrack helper.";
    IDLE_FOR "idle-for" "duration" "No packet for at least this long, proven from the remaining time.";
    AGE_ABOVE "age-above" "duration" "Older than this; needs nf_conntrack_timestamp.";
    REMAINING_ABOVE "remaining-above" "duration" "More than this left until it expires.";
    REMAINING_BELOW "remaining-below" "duration" "Less than this left until it expires.";
    BYTES_ABOVE "bytes-above" "count" "More bytes than this, both directions; needs nf_conntrack_acct.";
    BYTES_BELOW "bytes-below" "count" "Fewer bytes than this, both directions; needs nf_conntrack_acct.";
    PACKETS_ABOVE "packets-above" "count" "More packets than this, both directions; needs nf_conntrack_acct.";
    PACKETS_BELOW "packets-below" "count" "Fewer packets than this, both directions; needs nf_conntrack_acct.";
}
