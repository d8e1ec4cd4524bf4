use std::net::IpAddr;

use super::*;
use crate::flow::protocol::tcp;
use crate::flow::{Extra, Family, Flow, Present, Protocol, Status, Tuple};
use crate::matcher::{Compiled, Context, Grade, Truth};
use crate::observe::Header;
use crate::policy::filter::filter;

fn record(src: &str) -> Record<'static> {
    let src: IpAddr = src.parse().unwrap();
    let (family, dst) = match src {
        IpAddr::V4(_) => (Family::Ipv4, "203.0.113.9"),
        IpAddr::V6(_) => (Family::Ipv6, "2001:db8::9"),
    };
    let mut flow = Flow::new(
        family,
        Protocol::TCP,
        Tuple::new(src, dst.parse().unwrap(), 40_000, 443),
    );
    flow.present = Present::STATUS | Present::STATE | Present::REPLY | Present::MARK;
    flow.status = Status::SEEN_REPLY | Status::ASSURED | Status::SRC_NAT;
    flow.state = tcp::ESTABLISHED;
    flow.mark = 0x1234;
    Record {
        flow,
        extra: Extra {
            helper: Some("ftp"),
            labels: Some(0b101),
            ..Extra::default()
        },
        message: &[],
    }
}

fn cells(by: &str, record: &Record<'_>) -> String {
    let by: By = by.parse().unwrap();
    let mut key = b"before".to_vec();
    by.encode(record, &mut key);
    let cells: Vec<_> = by.decode(&key).iter().map(ToString::to_string).collect();
    cells.join(" ")
}

#[test]
fn every_field_is_shown_as_people_write_it() {
    let v4 = record("10.1.2.3");
    let all = names().collect::<Vec<_>>();
    let shown: Vec<_> = all
        .iter()
        .map(|name| format!("{name}={}", cells(name, &v4)))
        .collect();
    assert_eq!(
        shown.join(" "),
        "family=ipv4 protocol=tcp state=ESTABLISHED class=assured \
         status=assured+seen-reply+src-nat src=10.1.2.3 dst=203.0.113.9 reply-src=203.0.113.9 \
         reply-dst=10.1.2.3 sport=40000 dport=443 reply-sport=443 reply-dport=40000 icmp-type=- \
         icmp-code=- nat=src nat-src=10.1.2.3 nat-dst=- mark=4660 zone=0 orig-zone=0 \
         reply-zone=0 label=0+2 helper=ftp"
    );
}

/// What a group's match table says of a flow.
fn takes(by: &str, of: &Record<'_>, flow: &Record<'_>) -> Option<Truth> {
    let by: By = by.parse().unwrap();
    let mut key = Vec::new();
    by.encode(of, &mut key);
    let filter = filter(&[], &[by.table(&key)?], &[]);
    assert_eq!(filter.diagnostics, [], "{by}");
    let header = Header::default();
    let context = Context::new(&header, &[], &[]);
    let compiled = Compiled::new(&filter.predicate, &context, false);
    Some(compiled.eval(&flow.flow, &flow.extra, Grade::Presumed))
}

#[test]
fn a_groups_table_takes_its_flows_and_no_others() {
    let one = record("10.1.2.3");
    let mut other = record("2001:db8::3");
    other.flow.protocol = Protocol::SCTP;
    other.flow.state = 5;
    other.flow.status = Status::SEEN_REPLY | Status::SRC_NAT | Status::DST_NAT;
    other.flow.orig.src_port = 1;
    other.flow.orig.dst_port = 2;
    other.flow.reply.src_port = 3;
    other.flow.reply.dst_port = 4;
    (other.flow.zone_orig, other.flow.zone_reply) = (7, 7);
    other.flow.mark = 0x99;
    other.extra.helper = Some("sip");
    let mut inexact = Vec::new();
    for name in names() {
        match takes(name, &one, &one) {
            None => inexact.push(name),
            Some(own) => {
                assert_eq!(own, Truth::True, "{name}");
                assert_eq!(takes(name, &one, &other), Some(Truth::False), "{name}");
            }
        }
    }
    assert_eq!(
        inexact,
        [
            "class",
            "status",
            "icmp-type",
            "icmp-code",
            "nat",
            "nat-dst",
            "label"
        ]
    );
    let near = record("10.1.2.77");
    for by in ["src/24,dport,state", "mark/0xf0,src/24,protocol"] {
        assert_eq!(takes(by, &one, &near), Some(Truth::True), "{by}");
        assert_eq!(takes(by, &one, &other), Some(Truth::False), "{by}");
    }
    assert_eq!(takes("src", &one, &near), Some(Truth::False));
}

#[test]
fn addresses_and_marks_are_cut_as_written() {
    for (by, v4, v6) in [
        ("src", "10.1.2.3", "2001:db8:1:2::3"),
        ("src/24", "10.1.2.0/24", "2001:db8:1:2::/64"),
        ("src/16/48", "10.1.0.0/16", "2001:db8:1::/48"),
        ("src/0", "0.0.0.0/0", "2001:db8:1:2::/64"),
        ("mark/0xff", "52", "52"),
        ("dport,src/8", "443 10.0.0.0/8", "443 2001:db8:1:2::/64"),
    ] {
        assert_eq!(cells(by, &record("10.1.2.3")), v4, "{by}");
        assert_eq!(cells(by, &record("2001:db8:1:2::3")), v6, "{by}");
        assert_eq!(by.parse::<By>().unwrap().to_string(), by);
    }
}

#[test]
fn what_an_entry_does_not_provide_is_a_group_of_its_own() {
    let mut icmp = record("10.1.2.3");
    icmp.flow.protocol = Protocol::ICMP;
    icmp.flow.orig.dst_port = 0x0803;
    icmp.flow.present = Present::empty();
    icmp.extra = Extra::default();
    let by = "dport,state,status,nat,mark,reply-src,helper,label";
    assert_eq!(cells(by, &icmp), "- - - - - - - -");
    assert_eq!(cells("icmp-type,icmp-code", &icmp), "8 3");
}

#[test]
fn a_state_without_a_name_goes_by_its_number() {
    let mut odd = record("10.1.2.3");
    for (state, name) in [(77, "77"), (200, "200"), (tcp::CLOSE, "CLOSE")] {
        odd.flow.state = state;
        assert_eq!(cells("state", &odd), name);
    }
}

#[test]
fn what_cannot_be_grouped_by_says_why() {
    let all = list();
    for (by, error) in [
        (
            "srcc",
            format!("`srcc` is no field to group by (did you mean `src`?); there are {all}"),
        ),
        (
            "bytes",
            format!("`bytes` is no field to group by; there are {all}"),
        ),
        (
            "src,,dst",
            "a field is missing; it is written like `src/24,dport,state`".to_owned(),
        ),
        ("src/8,src/24", "`src` stands there twice".to_owned()),
        (
            "dport/24",
            "`dport` takes nothing behind `/`; addresses take prefix lengths, `mark` a mask"
                .to_owned(),
        ),
        (
            "src/33",
            "`/33` is no prefix length: `/24` cuts IPv4 at 24 and IPv6 at 64, `/24/56` says both"
                .to_owned(),
        ),
        (
            "mark/x",
            "`/x` is no mask: it is written like `mark/0xff`".to_owned(),
        ),
    ] {
        assert_eq!(by.parse::<By>().unwrap_err().to_string(), error);
    }
    let many = "family,protocol,state,class,src,dst,sport,dport,nat";
    assert_eq!(many.parse::<By>(), Err(ByError::TooMany));
}
