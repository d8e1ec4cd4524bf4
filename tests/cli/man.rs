use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use clap::CommandFactory;
use conntidy::policy::Document;
use serde_json::Value;

use crate::fixture::Cli;

/// File names of all pages below a directory, with their sections' directories.
fn written(cli: &Cli, directory: &str) -> BTreeSet<String> {
    let mut pages = BTreeSet::new();
    for section in fs::read_dir(cli.root().join(directory)).unwrap() {
        let section = section.unwrap();
        for page in fs::read_dir(section.path()).unwrap() {
            let name = page.unwrap().file_name();
            let section = section.file_name();
            pages.insert(format!("{}/{}", section.display(), name.display()));
        }
    }
    pages
}

fn commands(command: &clap::Command, name: &str, into: &mut BTreeSet<String>) {
    into.insert(format!("man1/{name}.1"));
    for command in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        commands(command, &format!("{name}-{}", command.get_name()), into);
    }
}

#[test]
fn every_command_and_both_formats_have_a_page_where_man_finds_it() {
    let cli = Cli::new();
    let ran = cli.run(["man", "--out-dir", "share/man"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let mut expected = BTreeSet::from([
        "man5/conntidy-policy.5".to_owned(),
        "man5/conntidy-snapshot.5".to_owned(),
    ]);
    let mut program = conntidy::cli::args::Cli::command().disable_help_subcommand(true);
    program.build();
    commands(&program, "conntidy", &mut expected);
    assert_eq!(written(&cli, "share/man"), expected);
}

#[test]
fn a_page_is_found_as_people_name_it() {
    for (arguments, title) in [
        (vec!["man"], "CONNTIDY 1"),
        (vec!["man", "apply"], "CONNTIDY-APPLY 1"),
        (vec!["man", "conntidy-apply"], "CONNTIDY-APPLY 1"),
        (vec!["man", "snapshot-take"], "CONNTIDY-SNAPSHOT-TAKE 1"),
        (vec!["man", "policy"], "CONNTIDY-POLICY 5"),
        (vec!["man", "snapshot"], "CONNTIDY-SNAPSHOT 1"),
        (vec!["man", "snapshot.5"], "CONNTIDY-SNAPSHOT 5"),
    ] {
        let ran = Cli::new().run(&arguments);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let titles: Vec<_> = ran
            .stdout
            .lines()
            .filter(|l| l.starts_with(".TH"))
            .collect();
        assert_eq!(titles.len(), 1);
        assert!(
            titles[0].starts_with(&format!(".TH {title} ")),
            "{titles:?}"
        );
    }
    let ran = Cli::new().run(["man", "weather"]);
    assert_eq!(ran.code, 64);
    assert!(ran.stderr.contains("snapshot-take.1"), "{}", ran.stderr);
}

/// Names of all properties of a schema.
fn keys(schema: &Value, into: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(properties) = map.get("properties").and_then(Value::as_object) {
                into.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| keys(value, into));
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, into)),
        _ => {}
    }
}

#[test]
fn the_page_of_the_policy_explains_every_key() {
    let page = Cli::new().run(["man", "policy"]).stdout.replace("\\-", "-");
    let mut expected = BTreeSet::new();
    keys(&schemars::schema_for!(Document).to_value(), &mut expected);
    assert!(expected.len() > 100, "{expected:?}");
    let explained: BTreeSet<_> = page
        .split(".TP\n\\fB")
        .skip(1)
        .filter_map(|entry| Some(entry.split_once("\\fR")?.0.to_owned()))
        .collect();
    let missing: Vec<_> = expected.difference(&explained).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn nothing_of_a_document_is_lost_in_its_page() {
    for (page, document) in [
        ("policy", include_str!("../../docs/policy.md")),
        ("snapshot.5", include_str!("../../docs/snapshot-format.md")),
    ] {
        let page = Cli::new().run(["man", page]).stdout;
        let page = page
            .replace("\\fB", "")
            .replace("\\fR", "")
            .replace("\\fI", "")
            .replace("\\*(Aq", "'")
            .to_lowercase();
        let page: BTreeSet<_> = words(&page).collect();
        let text = shown(document).to_lowercase();
        let missing: BTreeSet<_> = words(&text).filter(|word| !page.contains(word)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

/// A document without what a page leaves out: its title, headers of tables, languages of code, where links lead to.
fn shown(document: &str) -> String {
    let lines: Vec<_> = document.lines().collect();
    let is_header = |index: usize| {
        let next = lines.get(index + 1);
        next.is_some_and(|next| next.starts_with("|---"))
    };
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate().skip(1) {
        if is_header(index) || line.starts_with("```") {
            continue;
        }
        for (part, piece) in line.split("](").enumerate() {
            let piece = match piece.split_once(')') {
                Some((_, after)) if part > 0 => after,
                _ => piece,
            };
            text.push_str(piece);
            text.push(' ');
        }
        text.push('\n');
    }
    text
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
}

#[test]
fn mandoc_has_nothing_to_say_but_that_pages_have_no_date() {
    if Command::new("mandoc").arg("-h").output().is_err() {
        assert!(
            std::env::var_os("CONNTIDY_REQUIRE_ALL").is_none(),
            "there is no mandoc (Debian: apt-get install mandoc)"
        );
        eprintln!("skipped: there is no mandoc");
        return;
    }
    let cli = Cli::new();
    cli.run(["man", "--out-dir", "."]);
    for page in written(&cli, ".") {
        let said = Command::new("mandoc")
            .args(["-T", "lint", "-W", "warning", &page])
            .current_dir(cli.root())
            .output()
            .unwrap();
        let said = String::from_utf8(said.stdout).unwrap() + &String::from_utf8_lossy(&said.stderr);
        let said: Vec<_> = said
            .lines()
            .filter(|line| !line.contains("missing date"))
            .collect();
        assert!(said.is_empty(), "{said:#?}");
    }
}
