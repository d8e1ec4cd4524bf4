//! The workflows of `examples/ci`: their very commands, in a directory as they describe it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::fixture::Cli;

/// One-line commands of a workflow: what GitHub has behind `run:`, GitLab below `script:`.
fn commands(workflow: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_script = false;
    for line in workflow.lines() {
        let text = line.trim();
        if let Some(command) = text.trim_start_matches("- ").strip_prefix("run: ") {
            assert_ne!(command, "|", "only commands of one line are run");
            found.push(command.to_owned());
        } else if text == "script:" {
            in_script = true;
        } else if let (true, Some(command)) = (in_script, text.strip_prefix("- ")) {
            found.push(command.to_owned());
        } else {
            in_script = false;
        }
    }
    found
}

fn run_all(workflow: &str) -> Cli {
    let cli = Cli::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for name in ["gateway.toml", "gateway.jsonl.zst", "ci/gateway.test.toml"] {
        cli.write(name, fs::read(examples.join(name)).unwrap());
    }
    let program = Path::new(env!("CARGO_BIN_EXE_conntidy"));
    let path = format!(
        "{}:{}",
        program.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let text = fs::read_to_string(examples.join("ci").join(workflow)).unwrap();
    let commands = commands(&text);
    assert_eq!(commands.len(), 4, "{commands:?}");
    for command in commands {
        let output = Command::new("sh")
            .args(["-e", "-c", &command])
            .current_dir(cli.root())
            .env("PATH", &path)
            .env("GITHUB_STEP_SUMMARY", cli.root().join("summary.md"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    }
    cli
}

#[test]
fn the_commands_of_github_actions_succeed_and_write_a_summary() {
    let cli = run_all("github-actions.yml");
    let summary = fs::read_to_string(cli.root().join("summary.md")).unwrap();
    assert!(summary.starts_with("## conntidy plan: gw1"), "{summary}");
}

#[test]
fn the_commands_of_gitlab_succeed_and_write_reports() {
    let cli = run_all("gitlab-ci.yml");
    for report in ["tests.xml", "plan.xml"] {
        let text = fs::read_to_string(cli.root().join(report)).unwrap();
        assert!(text.contains("failures=\"0\""), "{text}");
        assert!(text.ends_with("</testsuites>\n"), "{text}");
    }
}
