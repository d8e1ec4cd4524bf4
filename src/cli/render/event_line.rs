//! What is told of a table as it happens: a line of text or of JSON for each thing.

use std::io::{self, Write};
use std::net::IpAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use super::clock::Clock;
use super::flow_line;
use super::netns;
use super::number::{counted, grouped};
use crate::flow::{Expectation, Family, Protocol, Tuple, text};
use crate::kernel::event::{Entry, Event};
use crate::observe::Record;
use crate::snapshot::record::{FlowLine, write_flow};

/// Writes lines of one stream.
#[derive(Debug, Default)]
pub(crate) struct EventWriter<'a> {
    json: bool,
    /// The network namespace, where there are several.
    netns: Option<&'a str>,
    clock: Clock,
}

impl<'a> EventWriter<'a> {
    /// JSON lines, or text, each with the network namespace where there are several.
    pub(crate) fn new(json: bool, netns: Option<&'a str>) -> Self {
        Self {
            json,
            netns,
            clock: Clock::default(),
        }
    }

    /// Appends an event. `now_ns` is its time where the kernel tells none.
    pub(crate) fn event(&mut self, out: &mut Vec<u8>, event: &Event<'_>, now_ns: u64) {
        let told = event.time_ns();
        self.head(out, event.kind.name(), told.unwrap_or(now_ns));
        if !self.json {
            match &event.entry {
                Entry::Flow(record) => flow_line::write(out, record),
                Entry::Expectation(one) => {
                    expectation(out, one).expect("a vector takes every write");
                }
            }
            if event.port != 0 {
                out.pop();
                out.extend_from_slice(b" netlink-port=");
                text::decimal(out, event.port.into());
                out.push(b'\n');
            }
            self.name(out);
            return;
        }
        if told.is_some() {
            out.extend_from_slice(b",\"kernel_time\":true");
        }
        for (name, value) in [
            (
                "netlink_port",
                Some(event.port.into()).filter(|port| *port != 0),
            ),
            ("stop_ns", event.stop_ns()),
        ] {
            if let Some(value) = value {
                number(out, name, value);
            }
        }
        match &event.entry {
            Entry::Flow(record) => flow(out, record),
            Entry::Expectation(one) => document(out, &ExpectationLine::of(one)),
        }
        self.name(out);
    }

    /// Appends a flow that is there, as a dump found it.
    pub(crate) fn present(&mut self, out: &mut Vec<u8>, record: &Record<'_>, now_ns: u64) {
        self.head(out, "present", now_ns);
        if self.json {
            flow(out, record);
        } else {
            flow_line::write(out, record);
        }
        self.name(out);
    }

    /// Appends that events are missing here.
    pub(crate) fn gap(&mut self, out: &mut Vec<u8>, lost: Option<u64>, now_ns: u64) {
        self.head(out, "gap", now_ns);
        if self.json {
            document(out, &GapLine { lost });
        } else {
            let lost = lost.map_or_else(
                || "events".to_owned(),
                |lost| counted(lost, "event", "events"),
            );
            out.extend_from_slice(lost.as_bytes());
            out.extend_from_slice(b" lost here: they came faster than they were read\n");
        }
        self.name(out);
    }

    /// Appends that what the table holds follows.
    pub(crate) fn resync(&mut self, out: &mut Vec<u8>, now_ns: u64) {
        self.head(out, "resync", now_ns);
        let rest: &[u8] = if self.json {
            b"}\n"
        } else {
            b"what the table holds now\n"
        };
        out.extend_from_slice(rest);
        self.name(out);
    }

    /// Appends that this was what the table holds.
    pub(crate) fn resynced(&mut self, out: &mut Vec<u8>, entries: u64, whole: bool, now_ns: u64) {
        self.head(out, "resynced", now_ns);
        if self.json {
            document(out, &ResyncedLine { entries, whole });
        } else {
            out.extend_from_slice(grouped(entries).as_bytes());
            out.extend_from_slice(b" of them");
            if !whole {
                out.extend_from_slice(b", but the hash table was resized meanwhile: again");
            }
            out.push(b'\n');
        }
        self.name(out);
    }

    /// Appends a summary, as a document whose fields follow the time.
    pub(crate) fn summary(&mut self, out: &mut Vec<u8>, summary: &impl Serialize, now_ns: u64) {
        self.head(out, "summary", now_ns);
        document(out, summary);
        self.name(out);
    }

    /// Appends a moment, which no line end follows.
    pub(crate) fn moment(&mut self, out: &mut Vec<u8>, now_ns: u64) {
        self.clock.write(now_ns, out);
        if let Some(name) = self.netns {
            out.extend_from_slice(b" netns=");
            out.extend_from_slice(name.as_bytes());
        }
    }

    /// Names the namespace in the line that was written last.
    fn name(&self, out: &mut Vec<u8>) {
        match self.netns {
            None => {}
            Some(name) if self.json => netns::json(out, name),
            Some(name) => netns::text(out, name),
        }
    }

    fn head(&mut self, out: &mut Vec<u8>, event: &str, time_ns: u64) {
        if self.json {
            out.extend_from_slice(b"{\"event\":\"");
            out.extend_from_slice(event.as_bytes());
            out.extend_from_slice(b"\",\"time\":\"");
            self.clock.write(time_ns, out);
            out.push(b'"');
            return;
        }
        self.clock.write(time_ns, out);
        out.push(b' ');
        out.extend_from_slice(event.as_bytes());
        for _ in event.len()..WIDEST {
            out.push(b' ');
        }
        out.push(b' ');
    }
}

/// The longest word of a line's kind that is frequent.
const WIDEST: usize = "destroy".len();

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    text::decimal(out, value);
}

/// Appends the fields of a flow to an object that has some already.
fn flow(out: &mut Vec<u8>, record: &Record<'_>) {
    let at = out.len();
    write_flow(&record.flow, &record.extra, out);
    out[at] = b',';
}

/// The same with those of any document that has at least one.
fn document(out: &mut Vec<u8>, fields: &impl Serialize) {
    let at = out.len();
    serde_json::to_writer(&mut *out, fields).expect("a vector takes every write");
    out[at] = b',';
    out.push(b'\n');
}

fn expectation(out: &mut Vec<u8>, one: &Expectation<'_>) -> io::Result<()> {
    write!(
        out,
        "expect {} {:<8} {:<3}",
        one.family, one.protocol, one.protocol.0
    )?;
    if let Some(left) = one.timeout {
        write!(out, " {left}")?;
    }
    tuple(out, "", one.family, one.protocol, &one.tuple)?;
    tuple(out, "mask-", one.family, one.protocol, &one.mask)?;
    tuple(out, "master-", one.family, one.master_protocol, &one.master)?;
    if one.zone != 0 {
        write!(out, " zone={}", one.zone)?;
    }
    for (name, number) in [("class", one.class), ("flags", one.flags), ("id", one.id)] {
        if let Some(number) = number {
            write!(out, " {name}={number}")?;
        }
    }
    for (name, word) in [("function", one.function), ("helper", one.helper)] {
        if let Some(word) = word {
            write!(out, " {name}={word}")?;
        }
    }
    writeln!(out)
}

fn tuple(
    out: &mut Vec<u8>,
    prefix: &str,
    family: Family,
    protocol: Protocol,
    tuple: &Tuple,
) -> io::Result<()> {
    let (src, dst) = (tuple.src_ip(family), tuple.dst_ip(family));
    write!(out, " {prefix}src={src} {prefix}dst={dst}")?;
    if protocol.has_ports() {
        let (src, dst) = (tuple.src_port, tuple.dst_port);
        write!(out, " {prefix}sport={src} {prefix}dport={dst}")?;
    }
    Ok(())
}

/// What an entry of the expectation table adds to a line.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Expectation")]
struct ExpectationLine<'a> {
    /// `expect`.
    table: &'static str,
    /// Address family.
    family: &'static str,
    /// IP protocol by name, or its number as text.
    protocol: String,
    /// Source of the expected flow.
    src: IpAddr,
    /// Destination of the expected flow.
    dst: IpAddr,
    /// Source port of the expected flow; null where the protocol has none.
    sport: Option<u16>,
    /// Destination port of the expected flow.
    dport: Option<u16>,
    /// Bits of `src` that must agree.
    mask_src: IpAddr,
    /// Bits of `dst` that must agree.
    mask_dst: IpAddr,
    /// Bits of `sport` that must agree.
    mask_sport: Option<u16>,
    /// Bits of `dport` that must agree.
    mask_dport: Option<u16>,
    /// IP protocol of the flow whose helper expects it.
    master_protocol: String,
    /// Source of that flow.
    master_src: IpAddr,
    /// Destination of that flow.
    master_dst: IpAddr,
    /// Source port of that flow.
    master_sport: Option<u16>,
    /// Destination port of that flow.
    master_dport: Option<u16>,
    /// Zone; 0 where the kernel tells none.
    zone: u16,
    /// Seconds until it is given up.
    timeout: Option<u32>,
    /// The kernel's id of the expectation.
    id: Option<u32>,
    /// `NF_CT_EXPECT_*`: 1 permanent, 2 inactive, 4 made by a program.
    flags: Option<u32>,
    /// The helper's class of expectations.
    class: Option<u32>,
    /// The helper's name.
    helper: Option<&'a str>,
    /// The kernel function that takes the flow when it comes.
    function: Option<&'a str>,
}

impl<'a> ExpectationLine<'a> {
    fn of(one: &Expectation<'a>) -> Self {
        let name = |protocol: Protocol| {
            let name = protocol.name();
            name.map_or_else(|| protocol.0.to_string(), str::to_owned)
        };
        let ports = |protocol: Protocol, tuple: &Tuple| {
            let told = protocol.has_ports();
            let port = |port| told.then_some(port);
            (port(tuple.src_port), port(tuple.dst_port))
        };
        let (sport, dport) = ports(one.protocol, &one.tuple);
        let mask = ports(one.protocol, &one.mask);
        let master = ports(one.master_protocol, &one.master);
        Self {
            table: "expect",
            family: one.family.name(),
            protocol: name(one.protocol),
            src: one.tuple.src_ip(one.family),
            dst: one.tuple.dst_ip(one.family),
            sport,
            dport,
            mask_src: one.mask.src_ip(one.family),
            mask_dst: one.mask.dst_ip(one.family),
            mask_sport: mask.0,
            mask_dport: mask.1,
            master_protocol: name(one.master_protocol),
            master_src: one.master.src_ip(one.family),
            master_dst: one.master.dst_ip(one.family),
            master_sport: master.0,
            master_dport: master.1,
            zone: one.zone,
            timeout: one.timeout,
            id: one.id,
            flags: one.flags,
            class: one.class,
            helper: one.helper,
            function: one.function,
        }
    }
}

/// What a gap adds to a line.
#[derive(Serialize, JsonSchema)]
struct GapLine {
    /// Events that are missing; null where that cannot be told.
    lost: Option<u64>,
}

/// What the end of a resync adds to a line.
#[derive(Serialize, JsonSchema)]
struct ResyncedLine {
    /// Flows that were shown as present.
    entries: u64,
    /// False where the hash table was resized meanwhile, so that some may be missing; it is done
    /// again then.
    whole: bool,
}

/// The JSON Schema of a line; `S` is what a summary adds to it.
pub(crate) fn schema<S: JsonSchema>() -> Schema {
    /// What every line has, and what it is about.
    #[derive(JsonSchema)]
    #[schemars(rename = "{T}Line")]
    #[expect(dead_code, reason = "only its schema is used")]
    struct About<T> {
        /// When it happened, RFC 3339 in the local zone.
        time: String,
        /// The network namespace; absent where one alone was listened to.
        #[serde(default)]
        netns: Option<String>,
        #[serde(flatten)]
        what: T,
    }
    /// A flow that was made, changed or destroyed, or that a resync found present.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct FlowEvent<'a> {
        /// What happened.
        #[schemars(extend("enum" = ["new", "update", "destroy", "present"]))]
        event: String,
        #[serde(flatten)]
        cause: Cause,
        #[serde(flatten)]
        flow: FlowLine<'a>,
    }
    /// An expectation that was made or destroyed.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct ExpectationEvent<'a> {
        /// What happened.
        #[schemars(extend("enum" = ["new", "destroy"]))]
        event: String,
        #[serde(flatten)]
        cause: Cause,
        #[serde(flatten)]
        expectation: ExpectationLine<'a>,
    }
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Cause {
        /// True where the time is the kernel's own; absent where it is that of reading.
        #[serde(default)]
        kernel_time: Option<bool>,
        /// Netlink port of the program that caused it; absent where a packet or a timer did.
        #[serde(default)]
        netlink_port: Option<u32>,
        /// When the entry ended, nanoseconds since 1970; needs `nf_conntrack_timestamp`.
        #[serde(default)]
        stop_ns: Option<u64>,
    }
    /// Events are missing here, or what the table holds begins or ends here.
    #[derive(JsonSchema)]
    #[serde(tag = "event", rename_all = "kebab-case")]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Mark<S> {
        Gap(GapLine),
        Resync {},
        Resynced(ResyncedLine),
        Summary(S),
    }
    /// A line of `conntidy events -o jsonl`.
    #[derive(JsonSchema)]
    #[schemars(title = "conntidy events", untagged)]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Line<'a, S> {
        Flow(Box<About<FlowEvent<'a>>>),
        Expectation(Box<About<ExpectationEvent<'a>>>),
        Mark(About<Mark<S>>),
    }
    SchemaGenerator::default().into_root_schema_for::<Line<'_, S>>()
}
