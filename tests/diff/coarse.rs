//! Tables of which not every flow with its addresses is told: aggregates, prefixes, pseudonyms.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;

use conntidy::observe::{Dumped, Header};
use conntidy::policy::{Compression, Detail};
use conntidy::snapshot::diff::{self, Diff, Options, Table};
use conntidy::snapshot::{
    Aggregate, Counting, Footing, Party, Redactor, Snapshot, write, write_aggregate,
};
use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{Ran, run};
use crate::incident::{self, Entry};
use crate::properties::{compare, two_tables};

const KEY: &[u8] = b"a key for tests only, 32 bytes..";
const OTHER_KEY: &[u8] = b"another key for tests, 32 bytes.";

/// That of the incident; the web server is the host itself.
fn header(after: bool) -> Header {
    Header {
        addresses: Some(vec![[203, 0, 113, 80].into()]),
        ..incident::header(after)
    }
}

/// A table as it was recorded.
#[derive(Clone, Copy, Debug)]
struct Form(Detail, fn() -> Option<Redactor>);

const PLAIN: Form = Form(Detail::Full, || None);
const AGGREGATE: Form = Form(Detail::Aggregate, || None);
const PREFIX: Form = Form(Detail::Full, || Some(Redactor::prefix()));
const AGGREGATE_PREFIX: Form = Form(Detail::Aggregate, || Some(Redactor::prefix()));
const KEYED: Form = Form(Detail::Full, || Redactor::pseudonym(KEY).ok());
const OTHERWISE_KEYED: Form = Form(Detail::Full, || Redactor::pseudonym(OTHER_KEY).ok());
const AGGREGATE_KEYED: Form = Form(Detail::Aggregate, || Redactor::pseudonym(KEY).ok());

impl Form {
    fn file(self, header: &Header, entries: &[Entry]) -> Vec<u8> {
        let Self(detail, redactor) = self;
        let mut redactor = redactor();
        let mut groups = Aggregate::new(header, redactor.clone());
        let mut header = header.clone();
        if let Some(redactor) = &mut redactor {
            redactor.header(&mut header);
        }
        let dumped = Dumped::default();
        let packed = Compression::None;
        if detail == Detail::Aggregate {
            for (flow, _) in entries {
                groups.add(flow);
            }
            return write_aggregate(Vec::new(), &header, packed, groups, dumped)
                .unwrap()
                .0;
        }
        let flows = entries.iter().map(|(flow, extra)| {
            let mut flow = *flow;
            if let Some(redactor) = &mut redactor {
                redactor.flow(&mut flow);
            }
            (flow, extra.borrow())
        });
        write(Vec::new(), &header, packed, flows, dumped).unwrap().0
    }
}

/// The two by counts, and on what footing.
fn counted(before: &[u8], after: &[u8], by: &[&str]) -> (Footing, Diff) {
    let open = |file| Snapshot::open(Cursor::new(file)).unwrap();
    let (mut before, mut after) = (open(before), open(after));
    let footing = Footing::new(&[Party::of("a", &before), Party::of("b", &after)]);
    let table = |name: &str, header| Table {
        name: name.to_owned(),
        header,
        dumped: Dumped::default(),
    };
    let headers = (before.header().clone(), after.header().clone());
    let options = Options {
        by: by.iter().map(|by| by.parse().unwrap()).collect(),
        top: usize::MAX,
        min_change: 1,
    };
    for by in &options.by {
        footing.admits(by).unwrap();
    }
    let mut old = Counting::new(&mut before, footing.is_aggregate());
    let mut new = Counting::new(&mut after, footing.is_aggregate());
    let found = diff::count(
        (&table("a", &headers.0), &mut old),
        (&table("b", &headers.1), &mut new),
        &footing,
        &options,
    );
    (footing, found.unwrap())
}

/// Before and after of every group that changed, by its fields.
fn changes(found: &Diff) -> Vec<BTreeMap<String, (u64, u64)>> {
    let groupings = found.groupings.iter();
    let groups = groupings.map(|one| one.growers.iter().chain(&one.shrinkers));
    let shown = |group: &diff::Group| {
        let cells = group.key.0.iter().map(|(_, cell)| cell.to_string());
        cells.collect::<Vec<_>>().join(" ")
    };
    groups
        .map(|all| {
            all.map(|group| (shown(group), (group.before, group.after)))
                .collect()
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The judge is the diff of the flows themselves.
    #[test]
    fn what_is_counted_is_what_the_flows_come_to((before, after) in two_tables()) {
        let by = ["src/24/48,dport", "src/16/32", "family,protocol,state", "class", "nat,mark",
            "icmp-type,orig-zone"];
        let (old, new) = (header(false), header(true));
        let exact = compare((&old, &before), (&new, &after), &by, usize::MAX, &mut |_| ());
        for (one, other) in [
            (AGGREGATE, AGGREGATE), (AGGREGATE, PLAIN), (PLAIN, AGGREGATE), (PREFIX, PREFIX),
            (PLAIN, PREFIX), (AGGREGATE_PREFIX, PREFIX), (AGGREGATE_PREFIX, PLAIN),
        ] {
            let (footing, found) = counted(&one.file(&old, &before), &other.file(&new, &after), &by);
            prop_assert!(footing.unpaired().is_some());
            prop_assert_eq!(changes(&found), changes(&exact));
            prop_assert_eq!(found.fill, exact.fill);
            prop_assert_eq!(&found.composition, &exact.composition);
            prop_assert_eq!(found.flows.before, exact.flows.before);
            prop_assert_eq!(found.flows.after, exact.flows.after);
            prop_assert_eq!(found.flows.fates, None);
        }
    }

    /// Whatever is told of a table, coarsening the flows themselves tells the same.
    #[test]
    fn a_table_does_not_differ_from_its_aggregate((table, _) in two_tables()) {
        let header = header(false);
        let all = Footing::aggregated();
        for (form, cut) in [(AGGREGATE, ""), (AGGREGATE_PREFIX, "/24/48")] {
            let by: Vec<_> = all.iter().map(|field| match *field {
                "src" => "src/24/48".to_owned(),
                "dst" => format!("dst{cut}"),
                other => other.to_owned(),
            }).collect();
            let by: Vec<_> = by.iter().map(String::as_str).collect();
            let (one, other) = (PLAIN.file(&header, &table), form.file(&header, &table));
            let (_, found) = counted(&one, &other, &by);
            prop_assert!(!found.differs(), "{:?}", changes(&found));
            let (_, found) = counted(&other, &one, &by);
            prop_assert!(!found.differs(), "{:?}", changes(&found));
        }
    }
}

const A: &str = "20260131T030000Z-init.jsonl";
const B: &str = "20260131T031500Z-init.jsonl";

/// A store of the incident, as timers would have filled it.
fn store(forms: [Form; 2]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, later, entries, form) in [
        (A, false, incident::before(), forms[0]),
        (B, true, incident::after(), forms[1]),
    ] {
        let file = form.file(&header(later), &entries);
        fs::write(directory.path().join(name), file).unwrap();
    }
    directory
}

fn on(store: &TempDir, arguments: &[&str]) -> Ran {
    let directory = store.path().to_str().unwrap();
    run(
        store.path(),
        &[arguments, &["--directory", directory]].concat(),
    )
}

fn diffed(forms: [Form; 2], arguments: &[&str]) -> Ran {
    on(
        &store(forms),
        &[&["diff", "--last", "2"], arguments].concat(),
    )
}

#[test]
fn aggregates_of_a_timer_tell_who_filled_the_table() {
    let store = store([AGGREGATE, AGGREGATE]);
    for around in [["--last", "2"], ["--at", "2026-01-31 03:12"]] {
        let ran = on(&store, &[&["diff"], &around[..]].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!("aggregates", ran.stdout);
        });
    }
}

#[test]
fn every_format_does_without_what_is_not_known() {
    let store = store([AGGREGATE, AGGREGATE]);
    let shown = |arguments: &[&str]| {
        let ran = on(&store, arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        ran.stdout
    };
    let found: Value =
        serde_json::from_str(&shown(&["diff", "--last", "2", "-o", "json"])).unwrap();
    assert_eq!(
        found["flows"],
        serde_json::json!({"before": 261, "after": 771})
    );
    for absent in ["changed", "transitions", "traffic"] {
        assert_eq!(found.get(absent), None, "{absent}");
    }
    let group = &found["groupings"][0]["growers"][0];
    assert_eq!(group["key"]["src"], "10.7.7.0/24");
    assert_eq!((&group["change"], group.get("new")), (&600.into(), None));
    let csv = shown(&["diff", "--last", "2", "-o", "csv"]);
    assert!(
        csv.starts_with("src/24/48,before,after,change,share,new,gone,recreated\n"),
        "{csv}"
    );
    assert!(csv.contains("\n10.7.7.0/24,0,600,600,1,,,\n"), "{csv}");
    let markdown = shown(&["diff", "--last", "2", "-o", "markdown"]);
    assert!(
        markdown.contains("- flows: 261 -> 771 (+510), counted and not paired"),
        "{markdown}"
    );
    let html = shown(&["diff", "--last", "2", "-o", "html"]);
    assert!(
        html.contains("<b>+510</b><span>counted, not paired</span>"),
        "{html}"
    );
    let series: Value = serde_json::from_str(&shown(&["series", "-o", "json"])).unwrap();
    assert_eq!(series["points"][1]["flows"], 771);
    assert_eq!(series["groupings"][0]["by"], "src/24/48");
    assert_eq!(
        series["groupings"][0]["lines"][0]["flows"],
        serde_json::json!([0, 600])
    );
}

#[test]
fn the_exit_code_says_whether_a_count_differs() {
    let same = AGGREGATE.file(&header(false), &incident::before());
    let mut retimed = incident::before();
    for (flow, _) in &mut retimed {
        flow.timeout /= 2;
        flow.counters_orig.packets += 1;
    }
    let retimed = AGGREGATE.file(&header(false), &retimed);
    let directory = TempDir::new().unwrap();
    let file = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    file("a", &same);
    file("b", &retimed);
    file("c", &AGGREGATE.file(&header(true), &incident::before()));
    file("d", &AGGREGATE.file(&header(false), &incident::after()));
    for (other, code) in [("b", 0), ("c", 2), ("d", 2)] {
        let files = ["diff", "./a", &format!("./{other}"), "--detailed-exitcode"];
        let ran = run(directory.path(), &files);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(code), ""), "{other}");
    }
}

/// Who is told by which grouping.
#[test]
fn default_groupings_are_those_that_both_tell() {
    for (forms, expected) in [
        ([PLAIN, PLAIN], "src/32 dst protocol,dport protocol,state"),
        ([KEYED, KEYED], "src dst protocol,dport protocol,state"),
        (
            [PREFIX, PREFIX],
            "src/24/48 dst/24/48 protocol,dport protocol,state",
        ),
        (
            [PLAIN, PREFIX],
            "src/24/48 dst/24/48 protocol,dport protocol,state",
        ),
        (
            [AGGREGATE, PLAIN],
            "src/24/48 dst protocol,dport protocol,state",
        ),
        (
            [AGGREGATE, AGGREGATE_PREFIX],
            "src/24/48 dst/24/48 protocol,dport protocol,state",
        ),
        // Which destinations are own is not told where addresses are cut.
        (
            [AGGREGATE, PREFIX],
            "src/24/48 protocol,dport protocol,state",
        ),
        (
            [AGGREGATE_KEYED, AGGREGATE_KEYED],
            "src dst protocol,dport protocol,state",
        ),
        // The pseudonym of an address is not that of its network.
        (
            [AGGREGATE_KEYED, KEYED],
            "dst protocol,dport protocol,state",
        ),
        ([KEYED, OTHERWISE_KEYED], "protocol,dport protocol,state"),
        ([KEYED, PLAIN], "protocol,dport protocol,state"),
        (
            [AGGREGATE_KEYED, AGGREGATE],
            "protocol,dport protocol,state",
        ),
    ] {
        let ran = diffed(forms, &["-o", "json"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{forms:?}");
        let found: Value = serde_json::from_str(&ran.stdout).unwrap();
        let groupings = found["groupings"].as_array().unwrap();
        let by: Vec<_> = groupings
            .iter()
            .map(|one| one["by"].as_str().unwrap())
            .collect();
        assert_eq!(by.join(" "), expected, "{forms:?}");
    }
}

#[test]
fn what_to_know_of_the_numbers_is_said() {
    for (forms, expected) in [
        (
            [PREFIX, PLAIN],
            &[format!(
                "addresses of {A} are cut to /24 and /48: flows are counted by group; which of them \
                 are new, gone or the same is not known"
            )][..],
        ),
        (
            [AGGREGATE_KEYED, AGGREGATE_KEYED],
            &[
                format!(
                    "{A} is an aggregate: flows are counted by group; which of them are new, gone or \
                     the same is not known"
                ),
                "`dst` is told of services here and behind translation alone; `-` is anywhere else"
                    .to_owned(),
                "`src` is the pseudonym of a network, not of one address".to_owned(),
            ],
        ),
        (
            [KEYED, OTHERWISE_KEYED],
            &[
                format!(
                    "addresses of {A} are pseudonyms, and those of {B} are of another key: flows are \
                     counted by group; which of them are new, gone or the same is not known"
                ),
                format!(
                    "addresses of {A} are pseudonyms, and those of {B} are of another key: not shown \
                     by src/32/64, dst"
                ),
            ],
        ),
    ] {
        let found: Value = serde_json::from_str(&diffed(forms, &["-o", "json"]).stdout).unwrap();
        assert_eq!(found["notes"], serde_json::json!(expected), "{forms:?}");
    }
    let reversed = store([PREFIX, PLAIN]);
    let ran = run(reversed.path(), &["diff", B, A, "-o", "json"]);
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        found["notes"][0],
        "the second was taken before the first: what grows here shrank in truth, and counters are \
         not compared"
    );
    let ran = on(&store([KEYED, OTHERWISE_KEYED]), &["series"]);
    assert!(
        ran.stdout.contains("not shown by src/24\n"),
        "{}",
        ran.stdout
    );
    let ran = on(&store([PLAIN, PLAIN]), &["series", "-o", "json"]);
    assert!(ran.stdout.contains("\"notes\": []"), "{}", ran.stdout);
}

#[test]
fn what_is_not_told_is_refused_with_the_way_out() {
    for (forms, arguments, error, hint) in [
        (
            [AGGREGATE, PLAIN],
            ["--by", "src"],
            format!(
                "`--by src` is finer than what is told: {A} is an aggregate and tells sources by /24 and /48"
            ),
            "`--by src/24/48`",
        ),
        (
            [AGGREGATE, AGGREGATE],
            ["--by", "src/24,dport"],
            format!("`--by src/24,dport` is finer than what is told: {A} is an aggregate"),
            "`--by src/24/48,dport`",
        ),
        (
            [PLAIN, PREFIX],
            ["--by", "reply-dst"],
            format!(
                "`--by reply-dst` is finer than what is told: addresses of {B} are cut to /24 and /48"
            ),
            "`--by reply-dst/24/48`",
        ),
        (
            [PLAIN, AGGREGATE],
            ["--by", "sport"],
            format!("`--by sport`: {B} is an aggregate and does not tell `sport`"),
            "an aggregate tells family, protocol, state, class, status, src, dst, dport, icmp-type, nat, mark, zone",
        ),
        (
            [AGGREGATE, PREFIX],
            ["--by", "dst/8"],
            format!("{B} not which addresses are own, so `dst` does not compare"),
            "groupings without addresses compare, as `--by protocol,dport`",
        ),
        (
            [KEYED, OTHERWISE_KEYED],
            ["--by", "src"],
            format!(
                "`--by src`: addresses of {A} are pseudonyms, and those of {B} are of another key, so `src` does not compare"
            ),
            "groupings without addresses compare",
        ),
        (
            [PLAIN, KEYED],
            ["--by", "src"],
            format!("`--by src`: addresses of {B} are pseudonyms, and those of {A} are not"),
            "groupings without addresses compare",
        ),
        (
            [KEYED, KEYED],
            ["--by", "src/24"],
            "a prefix of them groups nothing that belongs together".to_owned(),
            "`--by src`",
        ),
    ] {
        let store = store(forms);
        for command in [&["diff", "--last", "2"][..], &["series"]] {
            let ran = on(&store, &[command, &arguments[..]].concat());
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{forms:?}");
            assert!(ran.stderr.contains(&error), "{}", ran.stderr);
            assert!(ran.stderr.contains(hint), "{}", ran.stderr);
        }
    }
    for (forms, error) in [
        (
            [AGGREGATE, PLAIN],
            "is an aggregate, so it is not known which flows are new",
        ),
        (
            [PREFIX, PREFIX],
            "are cut to /24 and /48, so it is not known",
        ),
        (
            [KEYED, OTHERWISE_KEYED],
            "are of another key, so it is not known",
        ),
    ] {
        let ran = diffed(forms, &["--flows"]);
        assert_eq!(ran.code, Some(1), "{}", ran.stdout);
        assert!(ran.stderr.contains(error), "{}", ran.stderr);
        assert!(ran.stderr.contains("without `--flows`"), "{}", ran.stderr);
    }
}
