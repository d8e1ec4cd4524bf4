//! What other programs print of a table: `conntrack -L` in each of its forms, and
//! `/proc/net/nf_conntrack`.
//!
//! A text says less than the kernel does: no status bits but those that it marks, no TCP flags, no
//! start time but in XML. What it does not say stays absent, and translations follow from the tuples. A
//! line that cannot be read is named and counted.

mod fields;
mod listing;
mod save;
mod xml;

use std::io::{self, BufRead};

use crate::flow::{Flow, OwnedExtra};
use fields::Fields;

/// Unread lines that are named; the others are counted.
const NAMED: usize = 100;

/// The longest entry that is looked at.
const LONGEST: usize = 1 << 16;

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Entries that were read.
    pub flows: u64,
    /// Lines that are no entry of a table and need not be: headings, summaries.
    pub passed_over: u64,
    /// The first lines that could not be read, by number from 1, with why.
    pub unread: Vec<(u64, String)>,
    /// All of them.
    pub unread_count: u64,
    /// Entries with labels that have names: only conntrack's own map tells their numbers.
    pub named_labels: u64,
}

/// Reads a text and hands out its entries in their order. Every line tells by itself which form it
/// has, so that texts may be put together.
///
/// # Errors
/// Where the text cannot be read on.
pub fn import(
    mut input: impl BufRead,
    mut take: impl FnMut(Flow, OwnedExtra),
) -> io::Result<Imported> {
    let mut imported = Imported::default();
    let mut line = Vec::new();
    let mut number = 0;
    // An XML entry may have several lines.
    let mut open: Option<(u64, String)> = None;
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        let (first, entry) = match open.take() {
            Some((first, before)) => (first, before + " " + text),
            None => (number, text.to_owned()),
        };
        if entry.len() > LONGEST {
            imported.unread(first, "the entry does not end".to_owned());
            continue;
        }
        if xml::is_open(&entry) {
            open = Some((first, entry));
            continue;
        }
        match entry_of(&entry) {
            Ok(None) => imported.passed_over += 1,
            Ok(Some(fields)) => match fields.flow() {
                Ok((flow, extra)) => {
                    imported.flows += 1;
                    imported.named_labels += u64::from(fields.has_named_labels);
                    take(flow, extra);
                }
                Err(why) => imported.unread(first, why),
            },
            Err(why) => imported.unread(first, why),
        }
    }
    if let Some((first, _)) = open {
        imported.unread(first, "the entry does not end".to_owned());
    }
    Ok(imported)
}

/// The fields of one entry; `None` where the text is none and need not be.
fn entry_of(text: &str) -> Result<Option<Fields>, String> {
    if text.is_empty() || (text.starts_with("conntrack v") && text.ends_with("shown.")) {
        return Ok(None);
    }
    if text.starts_with('<') {
        return xml::read(text);
    }
    if text.starts_with('-') {
        return save::read(text).map(Some);
    }
    listing::read(text).map(Some)
}

impl Imported {
    fn unread(&mut self, line: u64, why: String) {
        self.unread_count += 1;
        if self.unread.len() < NAMED {
            self.unread.push((line, why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Protocol, Status};

    fn read(text: &str) -> (Vec<(Flow, OwnedExtra)>, Imported) {
        let mut flows = Vec::new();
        let imported = import(text.as_bytes(), |flow, extra| flows.push((flow, extra))).unwrap();
        (flows, imported)
    }

    fn one(text: &str) -> Flow {
        let (flows, imported) = read(text);
        assert_eq!(imported.unread, []);
        assert_eq!(flows.len(), 1);
        flows[0].0
    }

    const LISTED: &str = "tcp      6 999 ESTABLISHED src=10.0.0.1 dst=198.51.100.1 sport=1111 \
        dport=80 packets=3 bytes=200 src=198.51.100.1 dst=203.0.113.1 sport=80 dport=4444 packets=2 \
        bytes=100 [ASSURED] mark=7 delta-time=0 use=1";

    #[test]
    fn one_entry_is_the_same_in_every_form() {
        let listed = one(LISTED);
        assert_eq!(listed.protocol, Protocol::TCP);
        assert_eq!(listed.state_name(), Some("ESTABLISHED"));
        assert_eq!(listed.remaining(), Some(999));
        assert_eq!(listed.is_src_nat(), Some(true), "by its tuples");
        assert_eq!(listed.is_dst_nat(), Some(false));
        assert!(listed.status.contains(Status::ASSURED | Status::SEEN_REPLY));
        assert_eq!(listed.total().unwrap().bytes, 300);
        assert_eq!(listed.mark, 7);
        assert_eq!(one(&format!("ipv4     2 {LISTED}")), listed);
        let proc = LISTED.replace("mark=7", "mark=7 zone=0");
        assert_eq!(one(&format!("ipv4     2 {proc}")), listed);

        let saved = one(
            "-A -t 999 -u SEEN_REPLY,ASSURED -s 10.0.0.1 -d 198.51.100.1 -r 198.51.100.1 \
             -n 203.0.113.1 -p tcp --sport 1111 --dport 80 --reply-port-src 80 \
             --reply-port-dst 4444 --state ESTABLISHED",
        );
        assert_eq!((saved.key(), saved.reply), (listed.key(), listed.reply));
        assert_eq!((saved.status, saved.state), (listed.status, listed.state));
        assert_eq!(saved.total(), None, "this form loses counters and marks");

        let xml = "<flow><meta direction=\"original\"><layer3 protonum=\"2\" protoname=\"ipv4\">\
            <src>10.0.0.1</src><dst>198.51.100.1</dst></layer3><layer4 protonum=\"6\" \
            protoname=\"tcp\"><sport>1111</sport><dport>80</dport></layer4><counters><packets>3\
            </packets><bytes>200</bytes></counters></meta><meta direction=\"reply\"><layer3 \
            protonum=\"2\" protoname=\"ipv4\"><src>198.51.100.1</src><dst>203.0.113.1</dst></layer3>\
            <layer4 protonum=\"6\" protoname=\"tcp\"><sport>80</sport><dport>4444</dport></layer4>\
            <counters><packets>2</packets><bytes>100</bytes></counters></meta><meta \
            direction=\"independent\"><state>ESTABLISHED</state><timeout>999</timeout><mark>7</mark>\
            <use>1</use><id>3777959047</id><assured/><timestamp><start>1795724105496377431</start>\
            </timestamp></meta></flow>";
        let mut from_xml = one(xml);
        assert_eq!(from_xml.id(), Some(3_777_959_047));
        assert_eq!(from_xml.start_ns(), Some(1_795_724_105_496_377_431));
        from_xml.present = listed.present;
        (from_xml.id, from_xml.start_ns) = (0, 0);
        assert_eq!(from_xml, listed);
        let on_lines = xml.replace("><", ">\n  <");
        assert_eq!(one(&on_lines).key(), listed.key());
    }

    #[test]
    fn zones_icmp_gre_and_unknown_protocols_are_read() {
        let zone = one(
            "udp 17 99 src=10.0.0.1 dst=10.0.0.9 sport=55 dport=53 zone-orig=4 [UNREPLIED] \
             src=10.0.0.9 dst=10.0.0.1 sport=53 dport=55 zone-reply=5 mark=0 use=1",
        );
        assert_eq!((zone.zone_orig, zone.zone_reply), (4, 5));
        assert!(!zone.status.contains(Status::SEEN_REPLY));
        let icmp = one(
            "icmp 1 28 src=10.0.0.1 dst=10.0.0.9 type=8 code=0 id=77 [UNREPLIED] src=10.0.0.9 \
             dst=10.0.0.1 type=0 code=0 id=77 mark=0 use=1 id=99",
        );
        assert_eq!((icmp.orig.icmp_type(), icmp.orig.src_port), (8, 77));
        assert_eq!(icmp.id(), Some(99));
        let gre = one(
            "ipv4 2 gre 47 29 timeout=30, stream_timeout=180 src=10.0.0.1 dst=10.0.0.9 srckey=0x1 \
             dstkey=0x2a [UNREPLIED] src=10.0.0.9 dst=10.0.0.1 srckey=0x2a dstkey=0x1 mark=0 use=2",
        );
        assert_eq!((gre.orig.src_port, gre.orig.dst_port), (1, 42));
        let esp = one("unknown 50 29 src=fd00::1 dst=fd00::2 src=fd00::2 dst=fd00::1 mark=0 use=1");
        assert_eq!(esp.protocol, Protocol(50));
        assert_eq!(esp.family, crate::flow::Family::Ipv6);
    }

    #[test]
    fn offloaded_entries_have_neither_time_nor_state() {
        let flow = one(
            "tcp 6 src=10.0.0.1 dst=10.0.0.9 sport=5 dport=6 src=10.0.0.9 dst=10.0.0.1 sport=6 \
             dport=5 [OFFLOAD] mark=0 use=2",
        );
        assert!(flow.is_offloaded());
        assert_eq!((flow.remaining(), flow.state()), (None, None));
    }

    #[test]
    fn what_goes_beside_an_entry_is_read() {
        let (flows, imported) = read(
            "tcp 6 30 ESTABLISHED src=10.0.0.1 dst=10.0.0.9 sport=77 dport=21 src=10.0.0.9 \
             dst=10.0.0.1 sport=21 dport=77 [ASSURED] mark=0 secctx=system_u:object_r:a_t:s0 \
             helper=ftp [start=Thu Nov 26 20:15:05 2026] use=1 labels=3,7\n\
             udp 17 30 src=10.0.0.1 dst=10.0.0.9 sport=77 dport=21 src=10.0.0.9 dst=10.0.0.1 \
             sport=21 dport=77 mark=0 use=1 labels=eth0-in",
        );
        let extra = flows[0].1.borrow();
        assert_eq!(extra.helper, Some("ftp"));
        assert_eq!(extra.secctx, Some("system_u:object_r:a_t:s0"));
        assert_eq!(extra.labels, Some(1 << 3 | 1 << 7));
        assert_eq!(flows[0].0.start_ns(), None, "local time says little");
        assert_eq!(flows[1].1.borrow().labels, None);
        assert_eq!((imported.flows, imported.named_labels), (2, 1));
    }

    #[test]
    fn what_cannot_be_read_is_named_and_never_dropped() {
        let text = format!(
            "{LISTED}\nconntrack v1.4.7 (conntrack-tools): 2 flow entries have been shown.\n\n\
             tcp      6 999 ESTABLISHED src=10.0.0.1 dst=198.51\n\
             [NEW] udp 17 30 src=10.0.0.1 dst=10.0.0.9 sport=1 dport=2 src=10.0.0.9 dst=10.0.0.1 \
             sport=2 dport=1\n\
             udp 17 30 src=10.0.0.1 dst=10.0.0.9 sport=70000 dport=2 src=10.0.0.9 dst=10.0.0.1\n\
             tcp 6 1 DANCING src=10.0.0.1 dst=10.0.0.9 sport=1 dport=2 src=10.0.0.9 dst=10.0.0.1 \
             sport=2 dport=1\n\
             -A -t 5 --frobnicate 7\n<flow><meta>\nhello"
        );
        let (flows, imported) = read(&text);
        assert_eq!(
            (flows.len(), imported.flows, imported.passed_over),
            (1, 1, 2)
        );
        let lines: Vec<u64> = imported.unread.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [4, 5, 6, 7, 8, 9]);
        assert_eq!(imported.unread_count, 6);
        for (part, (_, why)) in ["198.51", "event", "70000", "DANCING", "--frobnicate", "end"]
            .iter()
            .zip(&imported.unread)
        {
            assert!(why.contains(part), "{part}: {why}");
        }
    }

    #[test]
    fn xml_of_what_it_does_not_tell_is_not_guessed() {
        let flow = |number: u8, state: &str| {
            let side = |direction, src, dst| {
                format!(
                    "<meta direction=\"{direction}\"><layer3 protonum=\"2\"><src>{src}</src>\
                     <dst>{dst}</dst></layer3><layer4 protonum=\"{number}\"><sport>5</sport>\
                     <dport>5</dport></layer4></meta>"
                )
            };
            format!(
                "<flow>{}{}<meta direction=\"independent\"><state>{state}</state>\
                 <timeout>9</timeout></meta></flow>",
                side("original", "10.0.0.1", "10.0.0.2"),
                side("reply", "10.0.0.2", "10.0.0.1")
            )
        };
        assert_eq!(
            one(&flow(132, "FIN_WAIT")).state(),
            None,
            "a TCP state's name for SCTP"
        );
        assert_eq!(one(&flow(6, "FIN_WAIT")).state_name(), Some("FIN_WAIT"));
        let icmp = flow(1, "").replace("<sport>5</sport><dport>5</dport>", "");
        let (_, imported) = read(&icmp);
        assert_eq!(imported.unread_count, 1);
        assert!(imported.unread[0].1.contains("icmp_type"), "{imported:?}");
    }
}
