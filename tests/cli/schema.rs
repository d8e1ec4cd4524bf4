use crate::fixture::Cli;

#[test]
fn every_schema_is_json_schema_without_null() {
    for name in ["policy", "check", "runs"] {
        let ran = Cli::new().run(["schema", name]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let schema: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert!(schema.get("$schema").is_some());
        assert!(!ran.stdout.contains("\"null\""), "{name}");
        assert!(!ran.stdout.contains("null\n"), "{name}");
    }
}

#[test]
fn an_unknown_schema_is_a_usage_error_that_lists_the_known_ones() {
    let ran = Cli::new().run(["schema", "weather"]);
    assert_eq!(ran.code, 64);
    assert!(ran.stderr.contains("policy"), "{}", ran.stderr);
}
