//! What `nft -j` says of a set or map (libnftables-json(5), schema version 1), as prefixes.

use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Why a list is no set of addresses.
#[derive(Debug, thiserror::Error)]
pub enum ElementError {
    /// Not what libnftables-json(5) describes.
    #[error("the answer of nft cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// It lists no set and no map.
    #[error("the answer of nft tells of no set")]
    Nothing,
    /// Its keys are of another type.
    #[error("its keys are of type `{0}`, not ipv4_addr or ipv6_addr")]
    KeyType(String),
    /// Its keys have several parts.
    #[error("its keys are concatenations, of which one part alone would say something else")]
    Concatenation,
    /// It has an element for everything that has none of its own.
    #[error("its catch-all element `*` stands for every address")]
    CatchAll,
    /// One of its elements is no address, prefix or range.
    #[error("its element {0} is no address, prefix or range")]
    Element(String),
}

/// What one list tells of a set or map.
#[derive(Debug, PartialEq)]
pub(super) struct Listing {
    /// Its keys, in the order of the list.
    pub(super) prefixes: Vec<IpNet>,
    /// Elements come or go without a change of the ruleset: they time out, or packets add them.
    pub(super) changes_by_itself: bool,
}

/// The keys of the one set or map that is listed.
///
/// # Errors
/// Where one of them cannot be told as prefixes: a set that is half known is not known.
pub(super) fn listing(json: &[u8]) -> Result<Listing, ElementError> {
    let document: Document = serde_json::from_slice(json)?;
    let mut objects = document.nftables.into_iter();
    let listed = objects
        .find_map(|object| object.set.or(object.map))
        .ok_or(ElementError::Nothing)?;
    check_type(&listed.key)?;
    let mut prefixes = Vec::with_capacity(listed.elements.len());
    for element in listed.elements {
        element.append_to(&mut prefixes)?;
    }
    let flags = listed.flags.to_string();
    Ok(Listing {
        prefixes,
        changes_by_itself: flags.contains("timeout") || flags.contains("dynamic"),
    })
}

/// Whether a list of tables has this one.
pub(super) fn lists_table(json: &[u8], family: &str, name: &str) -> bool {
    serde_json::from_slice::<Document>(json).is_ok_and(|document| {
        let mut tables = document.nftables.iter().filter_map(|o| o.table.as_ref());
        tables.any(|table| table.family == family && table.name == name)
    })
}

#[derive(Deserialize)]
struct Document {
    nftables: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    set: Option<Listed>,
    map: Option<Listed>,
    table: Option<Table>,
}

#[derive(Deserialize)]
struct Table {
    family: String,
    name: String,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "type")]
    key: Value,
    /// A word, or several.
    #[serde(default)]
    flags: Value,
    #[serde(rename = "elem", default)]
    elements: Vec<Element>,
}

/// A name, several of a concatenation, or what a `typeof` set was declared with, whose elements then
/// have to tell.
fn check_type(key: &Value) -> Result<(), ElementError> {
    match key {
        Value::String(name) if matches!(name.as_str(), "ipv4_addr" | "ipv6_addr") => Ok(()),
        Value::String(name) => Err(ElementError::KeyType(name.clone())),
        Value::Array(_) => Err(ElementError::Concatenation),
        other if other.pointer("/typeof/concat").is_some() => Err(ElementError::Concatenation),
        _ => Ok(()),
    }
}

#[derive(Debug, PartialEq)]
enum Element {
    Address(IpAddr),
    Prefix(IpAddr, u8),
    Range(IpAddr, IpAddr),
    Concatenation,
    Other(String),
}

impl Element {
    fn append_to(self, prefixes: &mut Vec<IpNet>) -> Result<(), ElementError> {
        match self {
            Self::Address(address) => prefixes.push(address.into()),
            Self::Prefix(address, length) => {
                let prefix = IpNet::new(address, length);
                let no = |_| ElementError::Element(format!("{address}/{length}"));
                prefixes.push(prefix.map_err(no)?.trunc());
            }
            Self::Range(IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
                prefixes.extend(Ipv4Subnets::new(first, last, 0).map(IpNet::V4));
            }
            Self::Range(IpAddr::V6(first), IpAddr::V6(last)) if first <= last => {
                prefixes.extend(Ipv6Subnets::new(first, last, 0).map(IpNet::V6));
            }
            Self::Range(first, last) => {
                return Err(ElementError::Element(format!("{first}-{last}")));
            }
            Self::Concatenation => return Err(ElementError::Concatenation),
            Self::Other(text) if text == "*" => return Err(ElementError::CatchAll),
            Self::Other(text) => return Err(ElementError::Element(format!("`{text}`"))),
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

/// Reads an element without a tree of values for it: there may be a million.
struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an element of a set")
    }

    fn visit_str<E>(self, text: &str) -> Result<Element, E> {
        Ok(text
            .parse()
            .map_or_else(|_| Element::Other(text.to_owned()), Element::Address))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Element, E> {
        Ok(Element::Other(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Element, E> {
        Ok(Element::Other(number.to_string()))
    }

    fn visit_bool<E>(self, switch: bool) -> Result<Element, E> {
        Ok(Element::Other(switch.to_string()))
    }

    /// Of a map: key and value.
    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Element, A::Error> {
        let key = pair.next_element()?;
        while pair.next_element::<IgnoredAny>()?.is_some() {}
        Ok(key.unwrap_or_else(|| Element::Other("[]".to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Element, A::Error> {
        #[derive(Deserialize)]
        struct PrefixObject {
            addr: IpAddr,
            len: u8,
        }
        // Beside the value stand timeout, time left, comment and counters.
        #[derive(Deserialize)]
        struct ValueObject {
            val: Element,
        }
        let mut found = None;
        while let Some(kind) = object.next_key::<String>()? {
            found = Some(match kind.as_str() {
                "elem" => object.next_value::<ValueObject>()?.val,
                "prefix" => {
                    let PrefixObject { addr, len } = object.next_value()?;
                    Element::Prefix(addr, len)
                }
                "range" => match object.next_value::<(Element, Element)>()? {
                    (Element::Address(first), Element::Address(last)) => {
                        Element::Range(first, last)
                    }
                    _ => Element::Other(kind),
                },
                "concat" => {
                    object.next_value::<IgnoredAny>()?;
                    Element::Concatenation
                }
                _ => {
                    object.next_value::<IgnoredAny>()?;
                    Element::Other(kind)
                }
            });
        }
        Ok(found.unwrap_or_else(|| Element::Other("{}".to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What nft 1.0.6 of Debian 12 printed for a set or map with this type and these elements.
    fn listed(kind: &str, key: &str, elements: &str) -> String {
        let elements = match elements {
            "" => String::new(),
            elements => format!(", \"elem\": [{elements}]"),
        };
        format!(
            "{{\"nftables\": [{{\"metainfo\": {{\"version\": \"1.0.6\", \"release_name\": \
             \"Lester Gooch #5\", \"json_schema_version\": 1}}}}, {{\"{kind}\": {{\"family\": \
             \"inet\", \"name\": \"banned\", \"table\": \"filter\", \"type\": {key}, \"handle\": \
             2{elements}}}}}]}}"
        )
    }

    fn read(kind: &str, key: &str, elements: &str) -> Result<Vec<String>, String> {
        let listing = listing(listed(kind, key, elements).as_bytes());
        let listing = listing.map_err(|error| error.to_string())?;
        Ok(listing.prefixes.iter().map(ToString::to_string).collect())
    }

    const IPV4: &str = "\"ipv4_addr\"";
    const IPV6: &str = "\"ipv6_addr\"";

    #[test]
    fn addresses_prefixes_and_ranges_are_read_with_or_without_what_stands_beside_them() {
        let plain = "\"192.0.2.1\", \"192.0.2.2\"";
        assert_eq!(
            read("set", IPV4, plain).unwrap(),
            ["192.0.2.1/32", "192.0.2.2/32"]
        );
        let rich = r#"{"elem": {"val": "10.0.0.1", "timeout": 3600, "expires": 3599, "comment": "x", "counter": {"packets": 0, "bytes": 0}}}, {"elem": {"val": {"prefix": {"addr": "10.0.3.0", "len": 24}}, "counter": {"packets": 0, "bytes": 0}}}, {"elem": {"val": {"range": ["10.1.0.5", "10.1.0.9"]}, "counter": {"packets": 0, "bytes": 0}}}"#;
        assert_eq!(
            read("set", IPV4, rich).unwrap(),
            [
                "10.0.0.1/32",
                "10.0.3.0/24",
                "10.1.0.5/32",
                "10.1.0.6/31",
                "10.1.0.8/31"
            ]
        );
        let six = r#"{"range": ["2001:db8::1", "2001:db8::5"]}, "2001:db8:1::1", {"prefix": {"addr": "fd00::", "len": 64}}"#;
        assert_eq!(
            read("set", IPV6, six).unwrap(),
            [
                "2001:db8::1/128",
                "2001:db8::2/127",
                "2001:db8::4/127",
                "2001:db8:1::1/128",
                "fd00::/64"
            ]
        );
    }

    #[test]
    fn the_flags_tell_whether_a_set_changes_by_itself() {
        for (flags, changes) in [
            ("", false),
            (r#", "flags": ["interval"]"#, false),
            (r#", "flags": "constant""#, false),
            (r#", "flags": ["interval", "timeout"]"#, true),
            (r#", "flags": "dynamic""#, true),
        ] {
            let json = format!(
                r#"{{"nftables": [{{"set": {{"type": "ipv4_addr"{flags}, "elem": ["10.0.0.1"]}}}}]}}"#
            );
            let listing = listing(json.as_bytes()).unwrap();
            assert_eq!(listing.changes_by_itself, changes, "{flags}");
        }
    }

    #[test]
    fn the_whole_of_a_family_is_one_prefix() {
        let whole = r#"{"prefix": {"addr": "0.0.0.0", "len": 0}}"#;
        assert_eq!(read("set", IPV4, whole).unwrap(), ["0.0.0.0/0"]);
        let whole = r#"{"range": ["::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]}"#;
        assert_eq!(read("set", IPV6, whole).unwrap(), ["::/0"]);
    }

    #[test]
    fn a_set_without_elements_is_empty() {
        assert_eq!(read("set", IPV6, "").unwrap(), <[String; 0]>::default());
    }

    #[test]
    fn of_a_map_the_keys_count() {
        let verdicts = r#"["10.0.0.7", {"accept": null}], ["10.0.0.8", {"drop": null}]"#;
        assert_eq!(
            read("map", IPV4, verdicts).unwrap(),
            ["10.0.0.7/32", "10.0.0.8/32"]
        );
        let addresses = r#"[{"prefix": {"addr": "10.9.0.0", "len": 16}}, "1.2.3.4"]"#;
        assert_eq!(read("map", IPV4, addresses).unwrap(), ["10.9.0.0/16"]);
        let marks = r#"[{"elem": {"val": "10.0.0.7", "timeout": 3600, "expires": 3599, "comment": "q"}}, 5]"#;
        assert_eq!(read("map", IPV4, marks).unwrap(), ["10.0.0.7/32"]);
    }

    #[test]
    fn keys_of_another_type_and_concatenations_are_refused() {
        let error = read("set", "\"inet_service\"", "22").unwrap_err();
        assert!(error.contains("`inet_service`"), "{error}");
        let parts = r#"["ipv4_addr", "inet_service"]"#;
        let error = read("set", parts, r#"{"concat": ["10.0.0.1", 80]}"#).unwrap_err();
        assert!(error.contains("concatenations"), "{error}");
        let of = r#"{"typeof": {"concat": [{"payload": {"protocol": "ip", "field": "saddr"}}]}}"#;
        assert!(read("set", of, "").unwrap_err().contains("concatenations"));
    }

    #[test]
    fn a_typeof_set_is_judged_by_its_elements() {
        let of = r#"{"typeof": {"payload": {"protocol": "ip", "field": "saddr"}}}"#;
        assert_eq!(read("set", of, "\"10.0.0.9\"").unwrap(), ["10.0.0.9/32"]);
        let error = read("set", of, "\"02:00:00:00:00:01\"").unwrap_err();
        assert!(error.contains("`02:00:00:00:00:01`"), "{error}");
        assert!(read("set", of, "7").is_err());
    }

    #[test]
    fn one_element_that_is_not_understood_makes_the_whole_set_unreadable() {
        let wild = r#"{"prefix": {"addr": "10.0.0.0", "len": 8}}, "*""#;
        assert!(read("set", IPV4, wild).unwrap_err().contains("catch-all"));
        for element in [
            r#"{"prefix": {"addr": "10.0.0.0", "len": 33}}"#,
            r#"{"range": ["10.0.0.9", "10.0.0.1"]}"#,
            r#"{"range": ["10.0.0.9", "fd00::1"]}"#,
            r#"{"set": [1]}"#,
            "true",
            "-1",
            "{}",
            "[]",
        ] {
            assert!(read("set", IPV4, element).is_err(), "{element}");
        }
    }

    #[test]
    fn another_answer_is_no_set() {
        assert!(listing(b"{\"nftables\": []}").is_err());
        assert!(listing(b"").is_err());
        assert!(listing(b"[]").is_err());
    }

    #[test]
    fn a_table_is_found_by_family_and_name() {
        let tables = br#"{"nftables": [{"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}}, {"table": {"family": "inet", "name": "filter", "handle": 1}}]}"#;
        assert!(lists_table(tables, "inet", "filter"));
        assert!(!lists_table(tables, "ip", "filter"));
        assert!(!lists_table(tables, "inet", "nat"));
    }
}
