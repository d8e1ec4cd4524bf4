use std::fs;

use crate::fixture::Cli;

/// Runs `check` on a copy of each case and keeps what it prints beside the cases.
fn snapshot_cases(pattern: &str, code: i32) {
    insta::glob!("../cases/policy", pattern, |path| {
        let cli = Cli::new();
        let name = path.file_name().unwrap().to_str().unwrap();
        cli.write(name, fs::read(path).unwrap());
        cli.write("members.txt", "198.51.100.0/24 # spare\n");
        let ran = cli.run(["check", name]);
        assert_eq!(ran.code, code, "{name}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.stderr, "", "{name}");
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../cases/policy/printed");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!("check", ran.stdout));
    });
}

#[test]
fn every_mistake_is_shown_with_its_place() {
    snapshot_cases("invalid/*.toml", 78);
}

#[test]
fn valid_policies_pass_with_their_doubts_shown() {
    snapshot_cases("valid/*.toml", 0);
}

#[test]
fn mistakes_of_all_layers_are_shown_at_their_own_places() {
    let cli = Cli::new();
    cli.write(
        "usr/lib/conntidy/policy.toml",
        "version = 1\n[rules.a]\nmatch = { protocol = \"tcp\" }\naction = \"report\"\n",
    );
    cli.write(
        "usr/lib/conntidy/policy.d/10-vendor.toml",
        "[limits]\ndelete = \"200%\"\n",
    );
    cli.write(
        "etc/conntidy/policy.d/20-site.toml",
        "[rules.a]\nacton = \"delete\"\n",
    );
    cli.write(
        "run/conntidy/policy.d/30-now.toml",
        "[timeouts]\ntcp.close = 0\n",
    );
    let ran = cli.run([
        "check",
        "--root",
        ".",
        "--set",
        "table.max=lots",
        "--set",
        "rules.a.order=1e3",
    ]);
    assert_eq!(ran.code, 78);
    insta::assert_snapshot!(ran.stdout);
}

#[test]
fn the_system_s_files_override_each_other_by_name_and_dev_null_masks() {
    let cli = Cli::new();
    let mistake = "nonsense = 1\n";
    cli.write("usr/lib/conntidy/policy.toml", mistake);
    cli.write("etc/conntidy/policy.toml", "version = 1\n");
    cli.write("usr/lib/conntidy/policy.d/10-vendor.toml", mistake);
    cli.write(
        "run/conntidy/policy.d/10-vendor.toml",
        "run.mode = \"report\"\n",
    );
    cli.write("usr/lib/conntidy/policy.d/20-masked.toml", mistake);
    std::os::unix::fs::symlink(
        "/dev/null",
        cli.root().join("run/conntidy/policy.d/20-masked.toml"),
    )
    .unwrap();
    cli.write("etc/conntidy/policy.d/notes.txt", "not a policy");
    cli.write("etc/conntidy/policy.d/.hidden.toml", mistake);
    let ran = cli.run(["check", "--root", "."]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert_eq!(
        ran.stdout,
        "./etc/conntidy/policy.toml, ./run/conntidy/policy.d/10-vendor.toml: valid\n"
    );
}

#[test]
fn only_dev_null_masks_and_whatever_else_cannot_be_read_is_an_error() {
    let link = |target: &str, path: std::path::PathBuf| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    };
    for name in ["policy.toml", "policy.d/50-protect.toml"] {
        for kind in ["dangling", "directory", "fifo"] {
            let cli = Cli::new();
            cli.write("usr/lib/conntidy/policy.toml", "version = 1\n");
            cli.write("usr/lib/conntidy/policy.d/50-protect.toml", "");
            let path = cli.root().join("etc/conntidy").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match kind {
                "dangling" => link("no-such.toml", path),
                "directory" => std::fs::create_dir(path).unwrap(),
                _ => fifo(&path),
            }
            let ran = cli.run(["check", "--root", "."]);
            assert_eq!(ran.code, 78, "{kind} {name}: {}", ran.stdout);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(
                said.contains(&format!("etc/conntidy/{name} cannot be read")),
                "{said}"
            );
        }
    }
    let cli = Cli::new();
    cli.write("usr/lib/conntidy/policy.toml", "version = 1\n");
    link("nowhere", cli.root().join("etc/conntidy/policy.d"));
    assert_eq!(cli.run(["check", "--root", "."]).code, 78);
}

fn fifo(path: &std::path::Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

#[test]
fn an_entry_that_a_higher_directory_overrides_need_not_be_readable() {
    let cli = Cli::new();
    std::fs::create_dir_all(cli.root().join("usr/lib/conntidy/policy.toml")).unwrap();
    cli.write("etc/conntidy/policy.toml", "version = 1\n");
    assert_eq!(cli.run(["check", "--root", "."]).code, 0);
}

#[test]
fn a_set_file_that_has_no_end_or_no_writer_is_unreadable_at_once() {
    for kind in ["fifo", "directory", "/dev/zero"] {
        let cli = Cli::new();
        let file = if kind == "/dev/zero" { kind } else { "members" };
        cli.write(
            "policy.toml",
            format!("version = 1\n[sets.a]\nfile = \"{file}\"\n"),
        );
        match kind {
            "fifo" => fifo(&cli.root().join(file)),
            "directory" => std::fs::create_dir(cli.root().join(file)).unwrap(),
            _ => {}
        }
        let ran = cli.run(["check", "policy.toml"]);
        assert_eq!(ran.code, 0, "{kind}: {}", ran.stderr);
        assert!(
            ran.stdout.contains("unreadable-set"),
            "{kind}: {}",
            ran.stdout
        );
    }
}

#[test]
fn a_set_file_that_is_too_large_is_unreadable() {
    let cli = Cli::new();
    cli.write("policy.toml", "version = 1\n[sets.a]\nfile = \"members\"\n");
    let members = std::fs::File::create(cli.root().join("members")).unwrap();
    members.set_len((64 << 20) + 1).unwrap();
    let ran = cli.run(["check", "policy.toml"]);
    assert!(ran.stdout.contains("larger than 64 MiB"), "{}", ran.stdout);
}

#[test]
fn a_set_file_may_begin_with_a_byte_order_mark() {
    let cli = Cli::new();
    cli.write("policy.toml", "version = 1\n[sets.a]\nfile = \"members\"\n");
    cli.write("members", "\u{feff}10.0.0.1\n");
    let ran = cli.run(["check", "policy.toml", "--strict"]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
}

#[test]
fn a_named_file_is_read_alone() {
    let cli = Cli::new();
    cli.write("policy.toml", "version = 1\n");
    cli.write("policy.d/10.toml", "nonsense = 1\n");
    let ran = cli.run(["check", "policy.toml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "policy.toml: valid\n"));
}

#[test]
fn a_missing_policy_is_an_error() {
    let cli = Cli::new();
    let named = cli.run(["check", "no-such.toml"]);
    assert_eq!(named.code, 78);
    assert!(named.stdout.contains("no-such.toml"), "{}", named.stdout);
    let default = cli.run(["check", "--root", "."]);
    assert_eq!(default.code, 78);
    assert!(
        default.stderr.contains("there is no policy"),
        "{}",
        default.stderr
    );
}

#[test]
fn a_file_that_is_not_utf8_is_shown_with_its_place() {
    let cli = Cli::new();
    cli.write("policy.toml", b"version = 1\n# caf\xe9\n");
    let ran = cli.run(["check", "policy.toml"]);
    assert_eq!(ran.code, 78);
    assert!(ran.stdout.contains("policy.toml:2:6"), "{}", ran.stdout);
}

#[test]
fn set_files_are_read_beside_the_file_that_names_them() {
    let cli = Cli::new();
    cli.write("etc/conntidy/policy.toml", "version = 1\n");
    cli.write(
        "etc/conntidy/policy.d/10.toml",
        "[sets.a]\nfile = \"a.txt\"\n[sets.b]\nfile = \"b.txt\"\n",
    );
    cli.write("etc/conntidy/policy.d/a.txt", "10.0.0.1\n");
    cli.write("etc/conntidy/policy.d/b.txt", "10.0.0.1\nbackend.example\n");
    let ran = cli.run(["check", "--root", "."]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    insta::assert_snapshot!(ran.stdout);
    assert_eq!(cli.run(["check", "--root", ".", "--strict"]).code, 78);
}

#[test]
fn an_assignment_overrides_one_key() {
    let cli = Cli::new();
    cli.write(
        "policy.toml",
        "version = 1\n[rules.a]\nmatch = { protocol = \"tcp\", dport = 22 }\naction = \"delete\"\n",
    );
    assert_eq!(cli.run(["check", "policy.toml", "--strict"]).code, 78);
    for assignment in ["rules.a.action=report", "rules.a.enabled=false"] {
        let ran = cli.run(["check", "policy.toml", "--strict", "--set", assignment]);
        assert_eq!(ran.code, 0, "{}", ran.stdout);
    }
}

#[test]
fn json_has_lines_columns_and_codes() {
    let cli = Cli::new();
    cli.write(
        "policy.toml",
        "version = 1\n[run]\nmode = \"äct\"\nevry = \"5m\"\n",
    );
    let ran = cli.run([
        "check",
        "policy.toml",
        "-o",
        "json",
        "--set",
        "table.mode=enforce",
    ]);
    assert_eq!(ran.code, 78);
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    insta::assert_json_snapshot!(document);
}

#[test]
fn several_files_are_several_policies() {
    let cli = Cli::new();
    cli.write("good.toml", "version = 1\n");
    cli.write("bad.toml", "version = 1\nnonsense = 1\n");
    let ran = cli.run(["check", "good.toml", "bad.toml"]);
    assert_eq!(ran.code, 78);
    assert!(
        ran.stdout.starts_with("good.toml: valid\n"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout
            .contains("bad.toml: invalid, 1 error; warnings are shown once"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_reader_that_leaves_early_does_not_make_a_policy_valid() {
    let cli = Cli::new();
    cli.write("bad.toml", "version = 1\nnonsense = 1\n");
    for output in ["text", "json"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_conntidy"));
        command.args(["check", "bad.toml", "-o", output]);
        let ended = command.current_dir(cli.root()).stdout(writer).status();
        assert_eq!(ended.unwrap().code(), Some(78), "{output}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_one_mistake_among_the_others() {
    let cli = Cli::new();
    cli.write("a.toml", "version = 1\nnonsense = 1\n");
    cli.write("c.toml", "version = 1\nother = 1\n");
    let args = ["check", "a.toml", "missing.toml", "c.toml"];
    let ran = cli.run(args);
    assert_eq!((ran.code, ran.stderr.as_str()), (78, ""));
    for said in ["nonsense", "missing.toml cannot be read", "other"] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    let ran = cli.run(args.into_iter().chain(["-o", "json"]));
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["errors"], 3);
    assert_eq!(document["diagnostics"][1]["code"], "unreadable-file");
    assert_eq!(document["diagnostics"][1]["file"], "missing.toml");
}

#[test]
fn a_file_may_be_named_as_the_other_commands_name_it() {
    let cli = Cli::new();
    cli.write("a.toml", "version = 1\n");
    cli.write("b.toml", "version = 1\n");
    for flag in ["-p", "--policy"] {
        let ran = cli.run(["check", flag, "b.toml"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "b.toml: valid\n"));
    }
    let ran = cli.run(["check", "-p", "b.toml", "a.toml"]);
    assert_eq!(ran.stdout, "a.toml: valid\nb.toml: valid\n");
}

#[test]
fn a_policy_that_stands_by_itself_gets_a_tip() {
    let ran = Cli::new().run(["plan", "gw.toml"]);
    assert_eq!(ran.code, 64);
    assert!(ran.stderr.contains("--policy gw.toml"), "{}", ran.stderr);
}

#[test]
fn an_empty_set_file_that_a_rule_uses_is_a_doubt() {
    let cli = Cli::new();
    let policy = |set: &str| {
        format!(
            "version = 1\n[sets.a]\nfile = \"members\"\n{set}\n[rules.r]\nmatch = {{ src = \"@a\" }}\naction = \"report\"\n"
        )
    };
    cli.write("members", "# none yet\n");
    cli.write("a.toml", policy(""));
    let ran = cli.run(["check", "a.toml"]);
    assert!(ran.stdout.contains("empty-set"), "{}", ran.stdout);
    cli.write("a.toml", policy("allow-empty = true"));
    assert_eq!(cli.run(["check", "a.toml"]).stdout, "a.toml: valid\n");
}

#[test]
fn bytes_that_are_no_text_are_one_mistake() {
    let cli = Cli::new();
    cli.write("policy.toml", b"version = 1\ncaf\xe9 = 1\n");
    let ran = cli.run(["check", "policy.toml"]);
    assert!(ran.stdout.contains("invalid, 1 error;"), "{}", ran.stdout);
}
