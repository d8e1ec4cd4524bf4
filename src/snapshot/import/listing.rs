//! `conntrack -L`, with and without `-o extended,id,ktimestamp,labels`, and `/proc/net/nf_conntrack`.
//!
//! ```text
//! [ipv4 2] tcp 6 [431999] [ESTABLISHED] src= dst= sport= dport= [packets= bytes=] [UNREPLIED] src= …
//! ```

use super::fields::{Fields, Side};
use crate::flow::Status;

pub(super) fn read(text: &str) -> Result<Fields, String> {
    let mut words = text.split_whitespace().peekable();
    if let Some(word @ ("[NEW]" | "[UPDATE]" | "[DESTROY]")) = words.peek().copied() {
        return Err(format!("an event ({word}), no entry of a table"));
    }
    if let Some("ipv4" | "ipv6") = words.peek().copied() {
        words.next();
        words.next();
    }
    let name = words.next().unwrap_or_default();
    let number = words.next().unwrap_or_default();
    let mut fields = Fields::default();
    if number.parse::<u8>().is_err() {
        return Err(format!("`{name} {number}` is no protocol with its number"));
    }
    fields.protocol(number)?;
    if let Some(seconds) = words.next_if(|word| word.bytes().all(|b| b.is_ascii_digit())) {
        fields.number(Side::Original, "timeout", seconds)?;
    }
    if let Some(state) = words.next_if(|word| !word.contains('=') && !word.starts_with('[')) {
        fields.text("state", state);
    }
    let mut side = Side::Original;
    let mut before = "";
    while let Some(word) = words.next() {
        if word.starts_with('[') {
            flag(word, &mut fields, &mut words)?;
            continue;
        }
        let (key, value) = word
            .split_once('=')
            .ok_or_else(|| format!("`{word}` is neither a field nor a flag"))?;
        if key == "src" && fields.has(Side::Original, "src") {
            side = Side::Reply;
        }
        match key {
            "src" | "dst" => fields.address(side, key, value)?,
            "sport" | "dport" | "srckey" | "dstkey" | "packets" | "bytes" => {
                fields.number(side, key, value)?;
            }
            "type" => fields.number(side, "icmp_type", value)?,
            "code" => fields.number(side, "icmp_code", value)?,
            "id" if before == "code" && fields.is_icmp() => {
                fields.number(side, "icmp_id", value)?;
            }
            "id" | "mark" => fields.number(Side::Original, key, value)?,
            "zone" if value == "0" => {}
            "zone" => fields.number(Side::Original, "zone", value)?,
            "zone-orig" => fields.number(Side::Original, "orig_zone", value)?,
            "zone-reply" => fields.number(Side::Original, "reply_zone", value)?,
            "helper" | "secctx" => fields.text(key, value),
            "labels" => fields.labels(value),
            "timeout" | "stream_timeout" | "use" | "secmark" | "delta-time" => {}
            _ => return Err(format!("`{key}` is not known")),
        }
        before = key;
    }
    // Protocols that the kernel does not track have zero in place of ports, and no text of them.
    if name == "unknown" && fields.protocol_has_ports() && !fields.has(Side::Original, "sport") {
        for side in [Side::Original, Side::Reply] {
            fields.number(side, "sport", "0")?;
            fields.number(side, "dport", "0")?;
        }
    }
    Ok(fields)
}

fn flag<'a>(
    word: &str,
    fields: &mut Fields,
    words: &mut impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    match word {
        "[UNREPLIED]" => fields.unreplied = true,
        "[ASSURED]" => fields.status(Status::ASSURED),
        "[OFFLOAD]" => fields.status(Status::OFFLOAD),
        "[HW_OFFLOAD]" => fields.status(Status::OFFLOAD | Status::HW_OFFLOAD),
        // `[start=Thu Nov 26 20:15:05 2026]`, in whatever zone that was.
        _ if word.starts_with("[start=") || word.starts_with("[stop=") => {
            if !word.ends_with(']') {
                words.find(|word| word.ends_with(']'));
            }
        }
        _ => return Err(format!("`{word}` is not known")),
    }
    Ok(())
}
