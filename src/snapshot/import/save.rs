//! `conntrack -L -o save`: lines for `conntrack -R`. They lose marks, labels, helpers and counters.

use super::fields::{Fields, Side};
use crate::flow::{Protocol, Status};

pub(super) fn read(text: &str) -> Result<Fields, String> {
    use Side::{Original, Reply};
    let mut fields = Fields::default();
    fields.unreplied = true;
    let mut words = text.split_whitespace();
    match words.next() {
        Some("-A" | "-I") => {}
        command => return Err(format!("`{}` adds no entry", command.unwrap_or_default())),
    }
    while let Some(option) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| format!("`{option}` has no value"))?;
        match option {
            "-t" => fields.number(Original, "timeout", value)?,
            "-u" => status(&mut fields, value)?,
            "-s" => fields.address(Original, "src", value)?,
            "-d" => fields.address(Original, "dst", value)?,
            // Of a translated entry the address that it is translated to stands in their place.
            "-r" | "-g" => fields.address(Reply, "src", value)?,
            "-q" | "-n" => fields.address(Reply, "dst", value)?,
            "-p" => fields.protocol(value)?,
            "-m" => fields.number(Original, "mark", value)?,
            "-w" => fields.number(Original, "zone", value)?,
            "--orig-zone" => fields.number(Original, "orig_zone", value)?,
            "--reply-zone" => fields.number(Original, "reply_zone", value)?,
            "--sport" | "--orig-port-src" => fields.number(Original, "sport", value)?,
            "--dport" | "--orig-port-dst" => fields.number(Original, "dport", value)?,
            "--reply-port-src" => fields.number(Reply, "sport", value)?,
            "--reply-port-dst" => fields.number(Reply, "dport", value)?,
            "--srckey" => fields.number(Original, "srckey", value)?,
            "--dstkey" => fields.number(Original, "dstkey", value)?,
            "--reply-key-src" => fields.number(Reply, "srckey", value)?,
            "--reply-key-dst" => fields.number(Reply, "dstkey", value)?,
            "--icmp-type" | "--icmpv6-type" => fields.number(Original, "icmp_type", value)?,
            "--icmp-code" | "--icmpv6-code" => fields.number(Original, "icmp_code", value)?,
            "--icmp-id" | "--icmpv6-id" => fields.number(Original, "icmp_id", value)?,
            "--orig-vtag" => fields.number(Original, "vtag", value)?,
            "--reply-vtag" => fields.number(Reply, "vtag", value)?,
            // The tool's word for a state that it has no name for.
            "--state" if value == "(null)" => {}
            "--state" => fields.text("state", value),
            "--role" => match value {
                "client" => fields.number(Original, "dccp_role", "0")?,
                _ => fields.number(Original, "dccp_role", "1")?,
            },
            _ => return Err(format!("`{option}` is not known")),
        }
    }
    if fields.is(Protocol::DCCP) && !fields.has(Original, "sport") {
        for side in [Original, Reply] {
            fields.number(side, "sport", "0")?;
            fields.number(side, "dport", "0")?;
        }
    }
    Ok(fields)
}

fn status(fields: &mut Fields, words: &str) -> Result<(), String> {
    for word in words.split(',') {
        match word {
            "SEEN_REPLY" => fields.unreplied = false,
            "ASSURED" => fields.status(Status::ASSURED),
            "FIXED_TIMEOUT" => fields.status(Status::FIXED_TIMEOUT),
            "EXPECTED" => fields.status(Status::EXPECTED),
            "OFFLOAD" => fields.status(Status::OFFLOAD),
            "HW_OFFLOAD" => fields.status(Status::OFFLOAD | Status::HW_OFFLOAD),
            // None is set; or it is told by the tuples, too.
            "UNSET" | "CONFIRMED" | "SRC_NAT" | "DST_NAT" => {}
            _ => return Err(format!("`-u {word}` is not known")),
        }
    }
    Ok(())
}
