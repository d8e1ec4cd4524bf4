//! What the program prints is what its JSON Schemas say.

use conntidy::flow::Protocol;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::flows::{self, flow};
use crate::gateway::Gateway;

crate::trials!(
    every_document_agrees_with_its_schema,
    what_disagrees_with_a_schema_is_found,
);

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/gateway.jsonl.zst");
const VERSION_1: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/cases/snapshot/version-1.jsonl.zst"
);
const AGGREGATE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/cases/snapshot/aggregate-1.jsonl.zst"
);
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/gateway.toml");

/// Keywords that say nothing of what is valid, or little beside the others.
const ANNOTATIONS: [&str; 11] = [
    "$schema",
    "$defs",
    "title",
    "description",
    "default",
    "format",
    "examples",
    "minimum",
    "maximum",
    "pattern",
    "uniqueItems",
];

/// Where a value breaks a schema; the root schema resolves references.
fn breaches(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let Value::Object(keywords) = schema else {
        let refused = *schema == Value::Bool(false);
        return Vec::from_iter(refused.then(|| format!("{at}: nothing is allowed")));
    };
    let mut found = Vec::new();
    for (keyword, wanted) in keywords {
        let list = wanted.as_array().map_or(&[][..], Vec::as_slice);
        match keyword.as_str() {
            "type" => {
                let any = list.is_empty() && is_a(wanted, value);
                if !any && !list.iter().any(|one| is_a(one, value)) {
                    found.push(format!("{at}: {value} is no {wanted}"));
                }
            }
            "const" if value != wanted => found.push(format!("{at}: {value} is not {wanted}")),
            "enum" if !list.contains(value) => found.push(format!("{at}: {value}, not {wanted}")),
            "const" | "enum" => {}
            "$ref" => {
                let pointer = wanted.as_str().unwrap_or_default().trim_start_matches('#');
                match root.pointer(pointer) {
                    Some(target) if target != schema => {
                        found.extend(breaches(root, target, value, at));
                    }
                    _ => found.push(format!("{at}: {wanted} leads nowhere")),
                }
            }
            "anyOf" | "oneOf" => {
                let tried: Vec<_> = (list.iter())
                    .map(|one| breaches(root, one, value, at))
                    .collect();
                let held = tried.iter().filter(|found| found.is_empty()).count();
                if held == 0 || (keyword == "oneOf" && held > 1) {
                    found.push(format!("{at}: {held} of {keyword}: {tried:?}"));
                }
            }
            "allOf" => {
                for one in list {
                    found.extend(breaches(root, one, value, at));
                }
            }
            "required" => {
                let absent = (list.iter()).filter(|key| {
                    value.is_object() && value.get(key.as_str().unwrap_or_default()).is_none()
                });
                found.extend(absent.map(|key| format!("{at}: no {key}")));
            }
            "properties" => {
                for (key, schema) in wanted.as_object().into_iter().flatten() {
                    if let Some(value) = value.get(key) {
                        found.extend(breaches(root, schema, value, &format!("{at}/{key}")));
                    }
                }
            }
            "additionalProperties" => {
                let known = keywords.get("properties");
                for (key, value) in value.as_object().into_iter().flatten() {
                    if known.is_none_or(|known| known.get(key).is_none()) {
                        found.extend(breaches(root, wanted, value, &format!("{at}/{key}")));
                    }
                }
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(breaches(root, wanted, value, &format!("{at}/{index}")));
                }
            }
            "prefixItems" => {
                let members = value.as_array().map_or(&[][..], Vec::as_slice);
                for (index, (schema, value)) in list.iter().zip(members).enumerate() {
                    found.extend(breaches(root, schema, value, &format!("{at}/{index}")));
                }
            }
            "minItems" | "maxItems" => {
                let length = value.as_array().map(|members| members.len() as u64);
                let holds = |length: u64| match keyword.as_str() {
                    "minItems" => wanted.as_u64().is_some_and(|least| length >= least),
                    _ => wanted.as_u64().is_some_and(|most| length <= most),
                };
                if !length.is_none_or(holds) {
                    found.push(format!("{at}: not {keyword} {wanted}"));
                }
            }
            other if ANNOTATIONS.contains(&other) => {}
            other => found.push(format!("{at}: `{other}` is not checked by this test")),
        }
    }
    found
}

fn is_a(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap_or_default() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

pub(crate) fn schema(gateway: &Gateway, name: &str) -> Result<Value, Failed> {
    gateway.run(&["schema", name])?.exits(0)?.document()
}

pub(crate) fn agrees(name: &str, schema: &Value, document: &Value) -> Result<(), Failed> {
    let found = breaches(schema, schema, document, name);
    if found.is_empty() {
        return Ok(());
    }
    Err(found
        .into_iter()
        .take(8)
        .collect::<Vec<_>>()
        .join("\n")
        .into())
}

const CLAIMED: &str = "udp 10.0.0.1:1 192.0.2.1:53";
const UNCLAIMED: &str = "udp 10.0.0.1:1 192.0.2.1:54";

/// Schemas, and the code with which these command lines end that print such a document.
const DOCUMENTS: &[(&str, i32, &[&str])] = &[
    ("check", 0, &["check", EXAMPLE, "-o", "json"]),
    ("check", 78, &["check", "bad.toml", "-o", "json"]),
    ("doctor", 0, &["doctor", "-o", "json"]),
    ("doctor", 0, &["doctor", "--probe", "-o", "json"]),
    (
        "explain",
        0,
        &["explain", "-p", "policy.toml", CLAIMED, "-o", "json"],
    ),
    (
        "explain",
        0,
        &["explain", "-p", "policy.toml", UNCLAIMED, "-o", "json"],
    ),
    ("plan", 0, &["plan", "-p", "policy.toml", "-o", "json"]),
    (
        "plan",
        0,
        &["plan", "-p", EXAMPLE, "--from", SAMPLE, "-o", "json"],
    ),
    (
        "plan",
        0,
        &["plan", "-p", EXAMPLE, "--from", VERSION_1, "-o", "json"],
    ),
    (
        "plan",
        0,
        &[
            "plan",
            "-p",
            "policy.toml",
            "--out",
            "plan.json",
            "-o",
            "json",
        ],
    ),
    ("report", 0, &["apply", "-p", "policy.toml", "-o", "json"]),
    (
        "plan",
        0,
        &[
            "update",
            "--set-mark",
            "1",
            "--dport",
            "54",
            "-n",
            "-o",
            "json",
        ],
    ),
    (
        "report",
        0,
        &[
            "update",
            "--set-mark",
            "1/3",
            "--dport",
            "54",
            "-y",
            "-o",
            "json",
        ],
    ),
    (
        "report",
        0,
        &["delete", "--dport", "54", "--yes", "-o", "json"],
    ),
    (
        "expectations",
        0,
        &["list", "--table", "expect", "-o", "json"],
    ),
    ("runs", 0, &["undo", "--list", "-o", "json"]),
    ("report", 0, &["undo", "-o", "json"]),
    (
        "flush",
        0,
        &["flush", "--kernel", "-p", "tcp", "--yes", "-o", "json"],
    ),
    ("rehearsal", 0, &["rehearse", EXAMPLE, "-o", "json"]),
    (
        "snapshot-summary",
        0,
        &["snapshot", "show", SAMPLE, "-o", "json"],
    ),
    (
        "snapshot-summary",
        0,
        &["snapshot", "show", VERSION_1, "-o", "json"],
    ),
    ("count", 0, &["count", "--by", "src/24,dport", "-o", "json"]),
    ("list", 0, &["list", "-o", "json"]),
    ("list", 4, &["list", "--from", VERSION_1, "-o", "json"]),
    (
        "list",
        0,
        &["list", "--columns", "src,state,status", "-o", "json"],
    ),
    ("test", 1, &["test", "-o", "json"]),
    (
        "policy-drift",
        0,
        &[
            "plan",
            "-p",
            EXAMPLE,
            "--from",
            SAMPLE,
            "--compare",
            "policy.toml",
            "-o",
            "json",
        ],
    ),
    ("stats", 0, &["stats", "-o", "json"]),
    ("stats", 0, &["stats", "--for", "1s", "-o", "json"]),
    ("diff", 0, &["diff", SAMPLE, VERSION_1, "-o", "json"]),
    ("diff", 0, &["diff", VERSION_1, "live", "-o", "json"]),
    ("diff", 0, &["diff", AGGREGATE, "live", "-o", "json"]),
    ("series", 0, &["series", SAMPLE, VERSION_1, "-o", "json"]),
    ("series", 0, &["series", AGGREGATE, SAMPLE, "-o", "json"]),
    (
        "snapshot-summary",
        4,
        &["snapshot", "show", "--salvage", "cut", "-o", "json"],
    ),
];

fn every_document_agrees_with_its_schema() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    gateway.write_policy(
        "[timeouts]\nicmp = 11\n[rules.dns]\nmatch = { protocol = \"udp\", dport = 53 }\n\
         action = \"delete\"\n",
    )?;
    let dns = flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53");
    let other = flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:54");
    flows::create([&dns, &other])?;
    let cut = gateway.path().join("cut");
    std::fs::write(&cut, &std::fs::read(SAMPLE)?[..300_000])?;
    std::fs::write(gateway.path().join("bad.toml"), "version = 1\nrulse = 1\n")?;
    std::fs::write(
        gateway.path().join("a.test.toml"),
        "policy = \"policy.toml\"\n[tests.one]\nflows = \"udp 17 9 src=10.0.0.5 dst=192.0.2.1 sport=1 \
         dport=53 src=192.0.2.1 dst=10.0.0.5 sport=53 dport=1\"\nexpect.dns = { selected = 2 }\n",
    )?;
    for (name, code, arguments) in DOCUMENTS {
        let document = gateway.run(arguments)?.exits(*code)?.document()?;
        agrees(name, &schema(&gateway, name)?, &document)?;
    }
    let saved = std::fs::read(gateway.path().join("plan.json"))?;
    agrees(
        "saved-plan",
        &schema(&gateway, "saved-plan")?,
        &serde_json::from_slice(&saved)?,
    )?;
    let lines = schema(&gateway, "snapshot")?;
    let taken = gateway.path().join("taken");
    let path = taken.to_str().ok_or("not UTF-8")?;
    gateway
        .run(&["snapshot", "take", "--out", path])?
        .exits(0)?;
    for (file, fewest) in [(path, 3), (VERSION_1, 14), (SAMPLE, 20_000)] {
        let text = zstd::decode_all(std::fs::File::open(file)?)?;
        let mut count = 0;
        for line in text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            agrees("snapshot", &lines, &serde_json::from_slice(line)?)?;
            count += 1;
        }
        assert!(count >= fewest, "{file}: {count}");
    }
    Ok(())
}

fn what_disagrees_with_a_schema_is_found() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let doctor = schema(&gateway, "doctor")?;
    let mut document = gateway.run(&["doctor", "-o", "json"])?.document()?;
    agrees("doctor", &doctor, &document)?;
    document["findings"][0]["verdict"] = json!("fine");
    document["ready"] = json!("yes");
    assert_eq!(breaches(&doctor, &doctor, &document, "").len(), 2);
    document["findings"][0] = json!({});
    assert!(breaches(&doctor, &doctor, &document, "").len() > 2);
    let lines = schema(&gateway, "snapshot")?;
    for line in [json!({}), json!({ "trailer": {}, "xxh3": "0" }), json!(7)] {
        assert!(agrees("snapshot", &lines, &line).is_err(), "{line}");
    }
    Ok(())
}
