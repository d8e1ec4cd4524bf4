//! `conntrack -L -o xml`. It loses types, codes and ids of ICMP, without which there is no such entry,
//! and names states of SCTP by those of TCP.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::fields::{Fields, Side};
use crate::flow::{Protocol, Status};

/// Whether an entry begins in this text and does not end.
pub(super) fn is_open(text: &str) -> bool {
    text.starts_with("<flow") && !text.contains("</flow>")
}

/// Reads one `<flow>`; `None` for what stands around entries.
pub(super) fn read(text: &str) -> Result<Option<Fields>, String> {
    if !text.starts_with("<flow") {
        let around = ["<?xml", "<conntrack", "</conntrack", "<!--"];
        return if around.iter().any(|start| text.starts_with(start)) {
            Ok(None)
        } else {
            Err("no entry of conntrack's XML".to_owned())
        };
    }
    let mut reader = Reader::from_str(text);
    reader.config_mut().trim_text(true);
    let mut entry = Entry::default();
    let mut inside: Vec<String> = Vec::new();
    let wrong = |error: &dyn std::fmt::Display| format!("wrong XML: {error}");
    loop {
        match reader.read_event().map_err(|error| wrong(&error))? {
            Event::Start(tag) => {
                entry.start(&tag)?;
                inside.push(String::from_utf8_lossy(tag.name().as_ref()).into_owned());
            }
            Event::Empty(tag) => {
                entry.start(&tag)?;
                entry.mark(tag.name().as_ref());
            }
            Event::Text(text) => {
                let text = text.decode().map_err(|error| wrong(&error))?;
                if let [.., parent, name] = inside.as_slice() {
                    entry.value(parent, name, &text)?;
                }
            }
            Event::End(_) => drop(inside.pop()),
            Event::Eof => break,
            _ => {}
        }
    }
    if !inside.is_empty() {
        return Err("wrong XML: it does not end".to_owned());
    }
    Ok(Some(entry.finish()))
}

#[derive(Default)]
struct Entry {
    fields: Fields,
    /// `None` in `independent`.
    side: Option<Side>,
    state: Option<String>,
}

impl Entry {
    fn start(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        let attribute = |name: &str| {
            tag.try_get_attribute(name)
                .ok()
                .flatten()
                .map(|found| String::from_utf8_lossy(&found.value).into_owned())
        };
        match tag.name().as_ref() {
            b"meta" => {
                self.side = match attribute("direction").as_deref() {
                    Some("original") => Some(Side::Original),
                    Some("reply") => Some(Side::Reply),
                    _ => None,
                };
            }
            b"layer4" => self
                .fields
                .protocol(&attribute("protonum").unwrap_or_default())?,
            _ => {}
        }
        Ok(())
    }

    fn mark(&mut self, name: &[u8]) {
        match name {
            b"unreplied" => self.fields.unreplied = true,
            b"assured" => self.fields.status(Status::ASSURED),
            _ => {}
        }
    }

    fn value(&mut self, parent: &str, name: &str, text: &str) -> Result<(), String> {
        let fields = &mut self.fields;
        match (self.side, parent, name) {
            (Some(side), _, "src" | "dst") => fields.address(side, name, text),
            (Some(side), _, "sport" | "dport" | "srckey" | "dstkey" | "packets" | "bytes") => {
                fields.number(side, name, text)
            }
            (Some(Side::Original), _, "zone") => fields.number(Side::Original, "orig_zone", text),
            (Some(Side::Reply), _, "zone") => fields.number(Side::Original, "reply_zone", text),
            (None, _, "zone") if text == "0" => Ok(()),
            (None, _, "timeout" | "mark" | "zone" | "id") => {
                fields.number(Side::Original, name, text)
            }
            (None, "timestamp", "start") => fields.number(Side::Original, "start_ns", text),
            (None, _, "helper" | "secctx") => {
                fields.text(name, text);
                Ok(())
            }
            (None, _, "state") => {
                self.state = Some(text.to_owned());
                Ok(())
            }
            (None, "labels", "label") => {
                fields.has_named_labels = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn finish(mut self) -> Fields {
        if let Some(state) = self.state.filter(|_| !self.fields.is(Protocol::SCTP)) {
            self.fields.text("state", &state);
        }
        self.fields
    }
}
