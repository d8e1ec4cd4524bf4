use serde_json::Value;

use crate::fixture::Cli;

#[test]
fn every_schema_is_json_schema_and_has_null_only_where_it_is_printed() {
    for name in ["policy", "check", "runs"] {
        let ran = Cli::new().run(["schema", name]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let schema: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert!(schema.get("$schema").is_some());
        // A run's report has null for what is not known.
        let has_null = ran.stdout.contains("\"null\"") || ran.stdout.contains("null\n");
        assert_eq!(has_null, name == "runs", "{name}");
    }
}

#[test]
fn an_unknown_schema_is_a_usage_error_that_lists_the_known_ones() {
    let ran = Cli::new().run(["schema", "weather"]);
    assert_eq!(ran.code, 64);
    assert!(ran.stderr.contains("policy"), "{}", ran.stderr);
}

/// What of a document its schema does not allow: keys that are missing, and keys that it lacks.
fn mismatches(root: &Value, schema: &Value, document: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(name.strip_prefix('#').unwrap()).unwrap();
        return mismatches(root, target, document, at, found);
    }
    for key in schema["required"].as_array().into_iter().flatten() {
        if document.get(key.as_str().unwrap()).is_none() {
            found.push(format!("{at} lacks {key}"));
        }
    }
    for (index, item) in document.as_array().into_iter().flatten().enumerate() {
        mismatches(
            root,
            &schema["items"],
            item,
            &format!("{at}[{index}]"),
            found,
        );
    }
    if let (Some(object), Some(known)) = (document.as_object(), schema.get("properties")) {
        for (key, value) in object {
            match known.get(key) {
                Some(schema) => mismatches(root, schema, value, &format!("{at}.{key}"), found),
                None => found.push(format!("{at}.{key} is not in the schema")),
            }
        }
    }
}

#[test]
fn what_check_prints_is_what_its_schema_says() {
    let cli = Cli::new();
    cli.write("a.toml", "version = 1\nnonsense = 1\n[table]\nmax = 0\n");
    let schema = cli.run(["schema", "check"]).stdout;
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let printed = cli
        .run(["check", "-o", "json", "a.toml", "missing.toml"])
        .stdout;
    let printed: Value = serde_json::from_str(&printed).unwrap();
    let diagnostics = printed["diagnostics"].as_array().unwrap();
    assert!(diagnostics.iter().any(|found| found.get("help").is_none()));
    let mut found = Vec::new();
    mismatches(&schema, &schema, &printed, "$", &mut found);
    assert_eq!(found, [""; 0]);
}
