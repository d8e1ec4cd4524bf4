//! The walls of the house: pure rooms name no file, environment, clock, socket or edge.

use std::fs;
use std::path::{Path, PathBuf};

const PURE: [&str; 24] = [
    "flow",
    "observe",
    "history",
    "policy",
    "tunable",
    "matcher",
    "idle",
    "group",
    "column",
    "impact",
    "plan",
    "policy_test",
    "report",
    "rebuild",
    "schedule",
    "conntrack",
    "convert",
    "snapshot",
    // What `top` knows and shows, apart from its terminal and threads.
    "cli/top/editor",
    "cli/top/growth",
    "cli/top/look",
    "cli/top/model",
    "cli/top/theme",
    "cli/top/view",
];

/// Words that no pure room may say, wherever they stand in a path.
const WORDS: [&str; 10] = [
    "SystemTime",
    "Instant",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "rustix",
    "netlink_sys",
    "stdin",
    "stdout",
];

/// Modules and functions that no pure room may name, by what stands before them.
const MODULES: [(&str, &[&str]); 4] = [
    ("Utc", &["now"]),
    ("Local", &["now"]),
    ("std", &["fs", "env", "process", "thread", "os"]),
    (
        "crate",
        &[
            "kernel", "cli", "apply", "state", "store", "config", "resident",
        ],
    ),
];

/// What a source names that a pure room may not.
fn breaches(source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if WORDS.contains(&token.as_str()) {
            found.push(token.clone());
        }
        for (root, modules) in MODULES {
            if token == root && tokens.get(index + 1).is_some_and(|t| t == "::") {
                for name in first_segments(&tokens[index + 2..]) {
                    if modules.contains(&name.as_str()) {
                        found.push(format!("{root}::{name}"));
                    }
                }
            }
        }
    }
    found
}

/// The names right behind `root::`, one or a braced list.
fn first_segments(tokens: &[String]) -> Vec<String> {
    if tokens.first().is_none_or(|token| token != "{") {
        return tokens.first().cloned().into_iter().collect();
    }
    let mut depth = 0;
    let mut names = Vec::new();
    for pair in tokens.windows(2) {
        match pair[0].as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(pair[0].as_str(), "{" | ",") {
            names.push(pair[1].clone());
        }
    }
    names
}

/// Words and punctuation, without comments.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    for line in source.lines() {
        let code = line.split("//").next().unwrap_or_default();
        let mut rest = code;
        while let Some(first) = rest.chars().next() {
            let length = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(rest.len());
            let length = match length {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                word => word,
            };
            let (token, after) = rest.split_at(length);
            if !token.trim().is_empty() {
                tokens.push(token.to_owned());
            }
            rest = after;
        }
    }
    tokens
}

fn sources(path: &Path, into: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a directory of the sources") {
            let entry = entry.expect("an entry of the sources");
            sources(&entry.path(), into);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        into.push(path.to_owned());
    }
}

#[test]
fn pure_rooms_name_no_file_environment_clock_socket_or_edge() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for room in PURE {
        let file = src.join(format!("{room}.rs"));
        for path in [file, src.join(room)] {
            if path.exists() {
                sources(&path, &mut files);
            }
        }
    }
    assert!(files.len() > 20, "the rooms were not found: {files:?}");
    let breaches: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let source = fs::read_to_string(path).unwrap();
            breaches(&source)
                .into_iter()
                .map(move |name| format!("{}: {name}", path.display()))
        })
        .collect();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn a_breach_is_seen_in_every_way_of_naming() {
    for source in [
        "use std::fs;",
        "use std::{fmt, fs};",
        "use std::{\n    collections::{HashMap, BTreeMap},\n    env,\n};",
        "let now = std::time::SystemTime::now();",
        "use std::net::{IpAddr, TcpStream};",
        "let x = std :: env :: var(\"A\");",
        "use crate::{flow::Flow, kernel};",
        "use crate::cli::error::Outcome;",
        "let now = chrono::Utc::now();",
    ] {
        assert_eq!(breaches(source).len(), 1, "{source}");
    }
}

#[test]
fn pure_code_and_comments_are_no_breach() {
    for source in [
        "use std::net::IpAddr; // not std::fs",
        "/// See `std::env`.",
        "header.kernel = env!(\"CARGO_PKG_VERSION\").into();",
        "SetSource::Local => {}",
        "use std::{fmt, collections::{fs_like, HashMap}};",
        "use crate::flow::{Flow, Present};",
    ] {
        assert_eq!(breaches(source), Vec::<String>::new(), "{source}");
    }
}
