//! How the tool writes an expectation, as text and as XML.

use super::xml::{When, ends as xml_ends, opening};
use super::{Happened, address, element, ends, number, protocol_name, write};
use crate::flow::{Expectation, Protocol, Tuple};

/// Bits of `CTA_EXPECT_FLAGS` (`NF_CT_EXPECT_*`) and how text and XML name them.
const FLAGS: [(u32, &str, &str); 3] = [
    (1, "PERMANENT", "<permanent/>"),
    (2, "INACTIVE", "<inactive/>"),
    (4, "USERSPACE", "<userspace/>"),
];

/// Before the first element.
pub const HEAD: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<expect>\n";
/// Behind the last element.
pub const TAIL: &str = "</expect>\n";

/// Appends the line of an expectation, without its end.
pub fn line(out: &mut Vec<u8>, expectation: &Expectation<'_>, happened: Option<Happened>) {
    match happened {
        None => {}
        Some(Happened::New) => out.extend_from_slice(b"    [NEW] "),
        Some(Happened::Update) => out.extend_from_slice(b" [UPDATE] "),
        Some(Happened::Destroy) => out.extend_from_slice(b"[DESTROY] "),
    }
    if let Some(left) = expectation.timeout {
        write::decimal(out, left.into());
        out.push(b' ');
    }
    number(out, "proto=", expectation.protocol.0);
    let mut tuple = |before: &str, tuple: &Tuple, protocol: Protocol| {
        for (name, bytes) in [("src=", &tuple.src), ("dst=", &tuple.dst)] {
            out.push(b' ');
            out.extend_from_slice(before.as_bytes());
            out.extend_from_slice(name.as_bytes());
            address(out, bytes, expectation.family);
        }
        ends(out, protocol, tuple);
    };
    tuple("", &expectation.tuple, expectation.protocol);
    tuple("mask-", &expectation.mask, expectation.protocol);
    tuple("master-", &expectation.master, expectation.master_protocol);
    if expectation.zone != 0 {
        number(out, " zone=", expectation.zone);
    }
    let mut before = b' ';
    let flags = expectation.flags.unwrap_or(0);
    for (bit, name, _) in FLAGS {
        if flags & bit != 0 {
            out.push(before);
            out.extend_from_slice(name.as_bytes());
            before = b',';
        }
    }
    if let Some(class) = expectation.class {
        number(out, " class=", class);
    }
    if let Some(helper) = expectation.helper {
        out.extend_from_slice(b" helper=");
        out.extend_from_slice(helper.as_bytes());
    }
}

/// Appends the element of an expectation, without a line end.
pub fn xml(
    out: &mut Vec<u8>,
    expectation: &Expectation<'_>,
    happened: Option<Happened>,
    when: Option<&When>,
) {
    let parts = [
        ("expected", &expectation.tuple, expectation.protocol),
        ("mask", &expectation.mask, expectation.protocol),
        ("master", &expectation.master, expectation.master_protocol),
    ];
    out.extend_from_slice(opening(happened).as_bytes());
    number(out, "<layer3 protonum=\"", expectation.family as u8);
    out.extend_from_slice(b"\" protoname=\"");
    out.extend_from_slice(expectation.family.name().as_bytes());
    out.extend_from_slice(b"\">");
    for (name, tuple, _) in parts {
        element(out, name, |out| {
            for (name, bytes) in [("src", &tuple.src), ("dst", &tuple.dst)] {
                element(out, name, |out| address(out, bytes, expectation.family));
            }
        });
    }
    number(out, "</layer3><layer4 protonum=\"", expectation.protocol.0);
    out.extend_from_slice(b"\" protoname=\"");
    out.extend_from_slice(protocol_name(expectation.protocol).as_bytes());
    out.extend_from_slice(b"\">");
    for (name, tuple, protocol) in parts {
        element(out, name, |out| xml_ends(out, protocol, tuple));
    }
    out.extend_from_slice(b"</layer4><meta>");
    if let Some(helper) = expectation.helper {
        element(out, "helper-name", |out| {
            out.extend_from_slice(helper.as_bytes());
        });
    }
    for (name, value) in [
        ("timeout", expectation.timeout),
        ("class", expectation.class),
        (
            "zone",
            Some(u32::from(expectation.zone)).filter(|zone| *zone != 0),
        ),
    ] {
        if let Some(value) = value {
            element(out, name, |out| write::decimal(out, value.into()));
        }
    }
    if let Some(when) = when {
        when.write(out);
    }
    let flags = expectation.flags.unwrap_or(0);
    for (bit, _, name) in FLAGS {
        if flags & bit != 0 {
            out.extend_from_slice(name.as_bytes());
        }
    }
    out.extend_from_slice(b"</meta></flow>");
}
