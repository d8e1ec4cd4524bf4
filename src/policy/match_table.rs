//! The `match` tables as written. Field names are those of [`crate::flow::field`].

use schemars::JsonSchema;
use serde::Deserialize;

use super::quantity::{Bytes, Count};
use super::shape::OneOrMany;
use super::term::{AddressText, ByteRange, HelperName, Label, Mark, PortRange, StateName, Zone};
use super::{GroupField, NatWord, PathWord, Seconds};
use crate::flow::status::StatusWord;
use crate::flow::{Family, Protocol};

/// Makes `match` and `not` from one list of fields, since `not` has all fields but `not`, `over` and
/// `persisted`.
macro_rules! match_tables {
    ($($(#[doc = $doc:literal])* $field:ident: $written:ty;)*) => {
        /// The fields of `not`; also those of `match` without its own three.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table of match fields")]
        pub struct Fields {
            $($(#[doc = $doc])* pub $field: Option<$written>,)*
        }

        /// A `match` table: all of its fields must hold, and none of those under `not`.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table of match fields")]
        pub struct Match {
            $($(#[doc = $doc])* pub $field: Option<$written>,)*
            /// None of these holds: `{ a, b }` means neither a nor b.
            pub not: Option<Fields>,
            /// Only flows of groups that have more than so many flows matching the other fields.
            pub over: Option<OverTable>,
            /// Only flows that matched in at least two runs whose first and last lie that far apart.
            pub persisted: Option<Seconds>,
        }

        impl Match {
            /// Its own fields, without `not`, `over` and `persisted`.
            #[must_use]
            pub fn fields(&self) -> Fields {
                Fields { $($field: self.$field.clone(),)* }
            }
        }
    };
}

match_tables! {
    /// Address family.
    family: OneOrMany<Family>;
    /// IP protocol, by name or number.
    protocol: OneOrMany<Protocol>;
    /// TCP, SCTP or DCCP state; without `protocol`, of any protocol with that state.
    state: OneOrMany<StateName>;
    /// Status bits of the entry.
    status: OneOrMany<StatusWord>;
    /// Source address of the original direction.
    src: OneOrMany<AddressText>;
    /// Destination address of the original direction.
    dst: OneOrMany<AddressText>;
    /// Source address of the reply direction.
    reply_src: OneOrMany<AddressText>;
    /// Destination address of the reply direction.
    reply_dst: OneOrMany<AddressText>;
    /// Any of the four addresses.
    address: OneOrMany<AddressText>;
    /// Source port of the original direction.
    sport: OneOrMany<PortRange>;
    /// Destination port of the original direction.
    dport: OneOrMany<PortRange>;
    /// Source port of the reply direction.
    reply_sport: OneOrMany<PortRange>;
    /// Destination port of the reply direction.
    reply_dport: OneOrMany<PortRange>;
    /// Source or destination port of the original direction.
    port: OneOrMany<PortRange>;
    /// ICMP or `ICMPv6` type of the original direction.
    icmp_type: OneOrMany<ByteRange>;
    /// ICMP or `ICMPv6` code of the original direction.
    icmp_code: OneOrMany<ByteRange>;
    /// GRE key of either end.
    gre_key: OneOrMany<PortRange>;
    /// Network address translation, by status bits.
    nat: OneOrMany<NatWord>;
    /// The address that the source is translated to.
    nat_src: OneOrMany<AddressText>;
    /// The address that the destination is translated to.
    nat_dst: OneOrMany<AddressText>;
    /// Whether the flow crosses, ends at or starts from this host.
    path: OneOrMany<PathWord>;
    /// Connection mark, with an optional mask.
    mark: OneOrMany<Mark>;
    /// Zone of both directions.
    zone: OneOrMany<Zone>;
    /// Zone of the original direction.
    orig_zone: OneOrMany<Zone>;
    /// Zone of the reply direction.
    reply_zone: OneOrMany<Zone>;
    /// Connection label, by bit number.
    label: OneOrMany<Label>;
    /// Conntrack helper.
    helper: OneOrMany<HelperName>;
    /// No packet for at least this long, by proof.
    idle_for: Seconds;
    /// Older than this; needs `nf_conntrack_timestamp`.
    age_above: Seconds;
    /// More than this left until it expires.
    remaining_above: Seconds;
    /// Less than this left until it expires.
    remaining_below: Seconds;
    /// More bytes than this in both directions together; needs `nf_conntrack_acct`.
    bytes_above: Bytes;
    /// Fewer bytes than this in both directions together; needs `nf_conntrack_acct`.
    bytes_below: Bytes;
    /// More packets than this in both directions together; needs `nf_conntrack_acct`.
    packets_above: Count;
    /// Fewer packets than this in both directions together; needs `nf_conntrack_acct`.
    packets_below: Count;
}

/// `over`: large groups alone.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a table as { per = \"src\", count = 1000 }"
)]
pub struct OverTable {
    /// What makes a group.
    pub per: Option<GroupField>,
    /// IPv4 addresses are cut to this prefix length; default 32.
    pub prefix4: Option<PrefixLength>,
    /// IPv6 addresses are cut to this prefix length; default 128.
    pub prefix6: Option<PrefixLength>,
    /// A group of this many is not yet over.
    pub count: Option<Count>,
}

/// A prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixLength(pub u8);

impl super::leaf::Leaf for PrefixLength {
    const EXPECTED: &'static str = "a prefix length from 0 to 128";
    const INTEGERS: bool = true;

    fn read(text: &str) -> Result<Self, super::leaf::LeafError> {
        match text.parse() {
            Ok(length @ 0..=128) => Ok(Self(length)),
            _ => Err(super::leaf::LeafError::invalid(format!(
                "`{text}` is no prefix length"
            ))),
        }
    }
}

super::leaf::leaves!(PrefixLength);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::field;

    #[test]
    fn match_has_exactly_the_fields_of_the_flow_vocabulary() {
        let schema = schemars::schema_for!(Fields);
        let properties = schema.get("properties").unwrap().as_object().unwrap();
        let mut written: Vec<_> = properties.keys().map(String::as_str).collect();
        let mut known: Vec<_> = field::ALL.iter().map(|field| field.name).collect();
        written.sort_unstable();
        known.sort_unstable();
        assert_eq!(written, known);
    }
}
