//! The default line, and `-o extended,id,ktimestamp,labels`.

use super::{
    Aside, Happened, NANOSECONDS, Style, address, ends, number, protocol_name, state_name,
};
use crate::flow::{Extra, Flow, Present, Status, Tuple, text as write};

/// More than a line has without labels: one reservation serves the whole of it.
const ROOM: usize = 512;

/// Appends the line of an entry, without its end.
pub fn line(out: &mut Vec<u8>, flow: &Flow, extra: &Extra<'_>, aside: &Aside, style: &Style<'_>) {
    out.reserve(ROOM);
    if let Some(happened) = style.happened {
        out.extend_from_slice(match happened {
            Happened::New => b"    [NEW] ",
            Happened::Update => b" [UPDATE] ",
            Happened::Destroy => b"[DESTROY] ",
        });
    }
    if style.family {
        out.extend_from_slice(flow.family.name().as_bytes());
        number(out, "     ", flow.family as u8);
        out.push(b' ');
    }
    let name = protocol_name(flow.protocol).as_bytes();
    out.extend_from_slice(name);
    write::append(out, [b' '; 9], 9 - name.len());
    write::decimal(out, flow.protocol.0.into());
    if let Some(left) = flow.remaining() {
        number(out, " ", left);
    }
    if let Some(state) = flow.state() {
        out.push(b' ');
        out.extend_from_slice(state_name(flow.protocol, state).as_bytes());
    }

    tuple(out, flow, &flow.orig);
    let one_direction = flow.zone_orig != flow.zone_reply;
    if one_direction && flow.zone_orig != 0 {
        number(out, " zone-orig=", flow.zone_orig);
    }
    if flow.present.contains(Present::COUNTERS_ORIG) {
        number(out, " packets=", flow.counters_orig.packets);
        number(out, " bytes=", flow.counters_orig.bytes);
    }
    let status = flow.status();
    if status.is_some_and(|status| !status.contains(Status::SEEN_REPLY)) {
        out.extend_from_slice(b" [UNREPLIED]");
    }
    if flow.present.contains(Present::REPLY) {
        tuple(out, flow, &flow.reply);
    }
    if one_direction && flow.zone_reply != 0 {
        number(out, " zone-reply=", flow.zone_reply);
    }
    if flow.present.contains(Present::COUNTERS_REPLY) {
        number(out, " packets=", flow.counters_reply.packets);
        number(out, " bytes=", flow.counters_reply.bytes);
    }
    // One of the three: an offloaded flow's assurance is not told.
    let status = status.unwrap_or_default();
    if status.contains(Status::HW_OFFLOAD) {
        out.extend_from_slice(b" [HW_OFFLOAD]");
    } else if status.contains(Status::OFFLOAD) {
        out.extend_from_slice(b" [OFFLOAD]");
    } else if status.contains(Status::ASSURED) {
        out.extend_from_slice(b" [ASSURED]");
    }
    if flow.present.contains(Present::MARK) {
        number(out, " mark=", flow.mark);
    }
    if let Some(secctx) = extra.secctx {
        out.extend_from_slice(b" secctx=");
        out.extend_from_slice(secctx.as_bytes());
    }
    if !one_direction && flow.zone_orig != 0 {
        number(out, " zone=", flow.zone_orig);
    }
    times(out, flow, aside, style);
    if let Some(helper) = extra.helper {
        out.extend_from_slice(b" helper=");
        out.extend_from_slice(helper.as_bytes());
    }
    if let Some(uses) = aside.uses {
        number(out, " use=", uses);
    }
    if let Some(id) = flow.id().filter(|_| style.id) {
        number(out, " id=", id);
    }
    if let (Some(map), Some(labels)) = (style.labels, extra.labels) {
        let mut before: &[u8] = b" labels=";
        for name in map.set(labels) {
            out.extend_from_slice(before);
            out.extend_from_slice(name.as_bytes());
            before = b",";
        }
        if before != b"," {
            // What the tool writes where no label has a name.
            out.extend_from_slice(b" labels");
        }
    }
}

fn tuple(out: &mut Vec<u8>, flow: &Flow, tuple: &Tuple) {
    out.extend_from_slice(b" src=");
    address(out, &tuple.src, flow.family);
    out.extend_from_slice(b" dst=");
    address(out, &tuple.dst, flow.family);
    ends(out, flow.protocol, tuple);
}

fn times(out: &mut Vec<u8>, flow: &Flow, aside: &Aside, style: &Style<'_>) {
    let start = flow.start_ns().map(|start| start / NANOSECONDS);
    let stop = aside.stop_ns.map(|stop| stop / NANOSECONDS);
    if let Some(start) = start {
        let end = stop.filter(|stop| *stop != 0).unwrap_or(style.now);
        // A clock that was set back makes a huge number of it, as the tool does.
        number(out, " delta-time=", end.wrapping_sub(start));
    }
    if !style.times {
        return;
    }
    for (before, moment) in [(" [start=", start), (" [stop=", stop)] {
        if let Some(moment) = moment {
            out.extend_from_slice(before.as_bytes());
            (style.local)(out, moment.cast_signed());
            out.push(b']');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::labels::LabelMap;
    use crate::flow::protocol::tcp;
    use crate::flow::{Family, Protocol};

    fn printed(flow: &Flow, extra: &Extra<'_>, style: &Style<'_>) -> String {
        let mut out = Vec::new();
        let aside = Aside {
            uses: Some(2),
            ..Aside::default()
        };
        line(&mut out, flow, extra, &aside, style);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_has_its_parts_in_the_tools_order() {
        let orig = Tuple::new([10, 0, 0, 1].into(), [192, 0, 2, 2].into(), 1001, 443);
        let mut flow = Flow::new(Family::Ipv4, Protocol::TCP, orig);
        (flow.state, flow.timeout, flow.mark, flow.id) = (tcp::TIME_WAIT, 77, 16, 5);
        (flow.zone_orig, flow.zone_reply) = (9, 9);
        flow.start_ns = 100 * NANOSECONDS;
        flow.status = Status::SEEN_REPLY | Status::ASSURED;
        flow.present = Present::all() - Present::COUNTERS_ORIG;
        let map = LabelMap::parse("0 web\n2 vpn\n");
        let extra = Extra {
            helper: Some("ftp"),
            labels: Some(0b101),
            ..Extra::default()
        };
        let plain = "tcp      6 77 TIME_WAIT src=10.0.0.1 dst=192.0.2.2 sport=1001 dport=443 \
                     src=192.0.2.2 dst=10.0.0.1 sport=443 dport=1001 packets=0 bytes=0 [ASSURED] mark=16 \
                     zone=9 delta-time=20";
        let style = Style {
            now: 120,
            ..Style::default()
        };
        assert_eq!(
            printed(&flow, &extra, &style),
            format!("{plain} helper=ftp use=2")
        );
        let style = Style {
            family: true,
            id: true,
            times: true,
            labels: Some(&map),
            happened: Some(Happened::Update),
            ..style
        };
        assert_eq!(
            printed(&flow, &extra, &style),
            format!(
                " [UPDATE] ipv4     2 {plain} [start=100] helper=ftp use=2 id=5 labels=web,vpn"
            )
        );
    }

    #[test]
    fn ipv6_addresses_with_an_ipv4_address_in_them_are_dotted() {
        let orig = Tuple::new(
            "::102:304".parse().unwrap(),
            "::2".parse().unwrap(),
            256,
            512,
        );
        let mut flow = Flow::new(Family::Ipv6, Protocol::GRE, orig);
        flow.present = Present::REPLY;
        assert_eq!(
            printed(&flow, &Extra::default(), &Style::default()),
            "gre      47 src=::1.2.3.4 dst=::2 srckey=0x100 dstkey=0x200 src=::2 dst=::1.2.3.4 srckey=0x200 \
             dstkey=0x100 use=2"
        );
    }
}
