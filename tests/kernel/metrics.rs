//! What `metrics` says, judged by `conntrack` and promtool.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use conntidy::flow::{Protocol, Status};
use libtest_mimic::Failed;

use crate::fixture;
use crate::flows::{self, flow};
use crate::gateway::{Gateway, Ran};

crate::trials!(
    the_table_is_as_conntrack_counts_it,
    promtool_accepts_every_metric,
    runs_and_rules_are_told_also_of_idle_runs,
    a_refused_rule_is_told_with_its_reason,
    the_file_is_replaced_whole_and_readable_by_all,
    a_directory_that_is_not_there_is_named,
    without_privilege_the_sysctls_still_tell,
    without_a_state_directory_the_table_still_tells,
    looking_leaves_nothing_behind,
);

const POLICY: &str = r#"
[rules.dns]
match = { protocol = "udp", src = "10.0.0.0/8" }
action = "delete"
every = "1h"
include-host = true
budget = { percent = 100 }
[limits]
delete = "100%"
"#;

fn dns() -> Result<(), Failed> {
    flows::create(&[
        flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53"),
        flow(Protocol::UDP, "10.0.0.1:2", "192.0.2.1:53"),
    ])
}

fn metrics(gateway: &Gateway, arguments: &[&str]) -> Result<String, Failed> {
    let arguments = [&["metrics"], arguments].concat();
    Ok(gateway.run(&arguments)?.exits(0)?.out)
}

/// The value of the only sample of a metric whose labels include these.
fn value(text: &str, metric: &str, labels: &str) -> Option<String> {
    let start = format!("{metric}{{");
    let mut found = text
        .lines()
        .filter(|line| line.starts_with(&start) && line.contains(labels))
        .filter_map(|line| line.rsplit_once(' '));
    let (_, value) = found.next()?;
    assert!(found.next().is_none(), "{metric} twice:\n{text}");
    Some(value.to_owned())
}

fn the_table_is_as_conntrack_counts_it() -> Result<(), Failed> {
    crate::needs!("conntrack");
    dns()?;
    let mut answered = flow(Protocol::UDP, "10.0.0.2:1", "192.0.2.1:53");
    answered.status |= Status::SEEN_REPLY | Status::ASSURED;
    flows::create(&[answered])?;
    let text = metrics(&Gateway::new()?, &["--classes"])?;
    let counted = fixture::run("conntrack", &["-C"])?.trim().to_owned();
    assert_eq!(counted, "3");
    let is = |metric: &str, labels: &str| value(&text, metric, labels);
    assert_eq!(is("conntidy_table_entries", ""), Some(counted));
    let unreplied = fixture::run("conntrack", &["-L"])?
        .matches("[UNREPLIED]")
        .count();
    let class = |class| is("conntidy_table_class_entries", class);
    assert_eq!(class("class=\"unreplied\""), Some(unreplied.to_string()));
    assert_eq!(class("class=\"assured\""), Some("1".to_owned()));
    assert_eq!(class("class=\"closing\""), Some("0".to_owned()));
    let limit = fixture::read_tunable("nf_conntrack_max")?.to_string();
    assert_eq!(is("conntidy_table_entries_limit", ""), Some(limit));
    // `conntrack -S` prints a line a processor.
    let cpus = fixture::run("conntrack", &["-S"])?.lines().count();
    assert_eq!(text.matches("conntidy_cpu_early_drop_total{").count(), cpus);
    assert_eq!(is("conntidy_run_last_exit_code", ""), None);
    assert_eq!(is("conntidy_table_time_to_full_seconds", ""), None);
    Ok(())
}

fn promtool_accepts_every_metric() -> Result<(), Failed> {
    // promtool knows `--version` and no `-V`.
    let asked = Command::new("promtool").arg("--version").output();
    if !asked.is_ok_and(|output| output.status.success()) {
        return fixture::skip(module_path!(), "no promtool");
    }
    let gateway = Gateway::new()?;
    dns()?;
    gateway.run_apply(POLICY)?.exits(0)?;
    let text = metrics(&gateway, &["--classes"])?;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdin = promtool.stdin.take();
    stdin.ok_or("no stdin")?.write_all(text.as_bytes())?;
    let ran = Ran::from(promtool.wait_with_output()?).exits(0)?;
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
    Ok(())
}

fn runs_and_rules_are_told_also_of_idle_runs() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    dns()?;
    gateway.run_apply(POLICY)?.exits(0)?;
    // Its interval has not passed: nothing to do, and no record.
    gateway
        .run(&["apply", "--due", "-p", "policy.toml"])?
        .exits(0)?;
    assert_eq!(gateway.state()?.runs()?.len(), 1);
    let text = metrics(&gateway, &[])?;
    let of_rule = |metric: &str| value(&text, metric, "rule=\"dns\"");
    assert_eq!(
        of_rule("conntidy_rule_matched_entries").as_deref(),
        Some("2")
    );
    assert_eq!(
        of_rule("conntidy_rule_deleted_entries").as_deref(),
        Some("2")
    );
    assert_eq!(
        of_rule("conntidy_rule_expired_entries").as_deref(),
        Some("0")
    );
    assert_eq!(of_rule("conntidy_rule_refused").as_deref(), Some("0"));
    let exit_code = value(&text, "conntidy_run_last_exit_code", "");
    assert_eq!(exit_code.as_deref(), Some("0"));
    let ended = value(&text, "conntidy_run_last_end_timestamp_seconds", "");
    let succeeded = value(&text, "conntidy_run_last_success_timestamp_seconds", "");
    assert!(ended.is_some() && ended == succeeded, "{text}");
    Ok(())
}

fn a_refused_rule_is_told_with_its_reason() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    dns()?;
    let policy = POLICY.replace("{ percent = 100 }", "{ count = 1 }");
    gateway.run_apply(&policy)?.exits(3)?;
    let text = metrics(&gateway, &[])?;
    let labels = "rule=\"dns\",reason=\"over-budget\"";
    let refused = value(&text, "conntidy_rule_refused", labels);
    assert_eq!(refused.as_deref(), Some("1"), "{text}");
    let exit_code = value(&text, "conntidy_run_last_exit_code", "");
    assert_eq!(exit_code.as_deref(), Some("3"));
    Ok(())
}

fn the_file_is_replaced_whole_and_readable_by_all() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let directory = gateway.path().join("textfile");
    fs::create_dir(&directory)?;
    let path = directory.join("conntidy.prom");
    fs::write(&path, "old")?;
    let out = metrics(&gateway, &["--out", "textfile/conntidy.prom"])?;
    assert_eq!(out, "");
    assert!(fs::read_to_string(&path)?.contains("conntidy_table_entries{"));
    assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(&directory)?.count(), 1);
    Ok(())
}

fn a_directory_that_is_not_there_is_named() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let ran = gateway
        .run(&["metrics", "--out", "nowhere/a.prom"])?
        .exits(1)?;
    assert!(ran.err.contains("nowhere/a.prom"), "{}", ran.err);
    Ok(())
}

fn without_privilege_the_sysctls_still_tell() -> Result<(), Failed> {
    crate::needs!("setpriv");
    let gateway = Gateway::new()?;
    dns()?;
    let wrapper = ["setpriv", "--bounding-set=-net_admin", "--"];
    let ran = Ran::from(gateway.command(&wrapper, &["metrics"]).output()?).exits(0)?;
    let entries = value(&ran.out, "conntidy_table_entries", "");
    assert_eq!(entries.as_deref(), Some("2"));
    assert!(!ran.out.contains("conntidy_cpu_"));
    assert!(ran.err.contains("CAP_NET_ADMIN"), "{}", ran.err);
    Ok(())
}

fn without_a_state_directory_the_table_still_tells() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let state = gateway.state()?;
    state.create()?;
    fs::write(state.directory().join("state.json"), "{")?;
    let ran = gateway.run(&["metrics"])?.exits(0)?;
    let readable = value(&ran.out, "conntidy_state_readable", "");
    assert_eq!(readable.as_deref(), Some("0"));
    assert!(value(&ran.out, "conntidy_table_entries", "").is_some());
    assert!(ran.err.contains("state.json"), "{}", ran.err);
    Ok(())
}

fn looking_leaves_nothing_behind() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    metrics(&gateway, &["--classes"])?;
    assert!(!gateway.state_root().exists());
    Ok(())
}
