//! The policies that people start from pass without a doubt.

use std::fs;
use std::path::Path;

use conntidy::policy::{Text, load};

fn examples() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn every_example_passes_without_a_doubt() {
    let examples = examples();
    assert_eq!(examples.len(), 6);
    for (name, text) in examples {
        let loaded = load::load(&[Text::file(name.clone(), text)]);
        assert_eq!(loaded.diagnostics, [], "{name}");
        let policy = loaded.policy.unwrap();
        assert!(
            !policy.rules.is_empty() && !policy.protect.is_empty(),
            "{name}"
        );
    }
}

#[test]
fn no_example_deletes_without_a_budget_or_acts_on_everything() {
    for (name, text) in examples() {
        let policy = load::load(&[Text::file(name.clone(), text)])
            .policy
            .unwrap();
        for rule in &policy.rules {
            assert!(!rule.everything, "{name}: {}", rule.name);
            let is_delete = rule.action == conntidy::policy::Action::Delete;
            assert!(!is_delete || rule.budget.is_some(), "{name}: {}", rule.name);
        }
    }
}
