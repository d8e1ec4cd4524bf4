//! `snapshot take` on the real kernel.

use std::path::Path;
use std::process::{Command, Output};

use conntidy::flow::{Extra, Flow, OwnedExtra};
use conntidy::kernel::Recorded;
use conntidy::observe::{Observe, Record};
use libtest_mimic::Failed;

use crate::fixture;
use crate::flows;
use crate::gateway::Gateway;

crate::trials!(
    what_is_taken_is_what_the_table_holds,
    a_set_of_the_policy_is_recorded_with_its_members,
    a_setting_needs_no_policy,
    stdout_is_a_stream_that_other_programs_read,
    a_full_disk_costs_the_new_snapshot_only,
    however_full_the_disk_is_nothing_older_is_lost,
    applying_takes_the_snapshot_that_is_due_before_its_rules_run,
    a_store_that_fails_keeps_no_rule_from_running,
);

/// `conntidy` in this thread's namespace, with state of its own.
fn conntidy(home: &Path, arguments: &[&str]) -> Result<Output, Failed> {
    Ok(Command::new(env!("CARGO_BIN_EXE_conntidy"))
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()?)
}

fn succeeds(output: Output) -> Result<String, Failed> {
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn recorded(path: &str) -> Result<Vec<(Flow, OwnedExtra)>, Failed> {
    let mut flows = Vec::new();
    let mut keep = |record: &Record<'_>| flows.push((record.flow, record.extra.to_owned()));
    let dumped = Recorded::open(path)?.dump(&mut [&mut keep])?;
    fixture::sound(dumped, flows.len())?;
    Ok(flows)
}

fn what_is_taken_is_what_the_table_holds() -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    flows::create(&flows::many(2000))?;
    let directory = home.path().join("snapshots");
    let directory = directory.to_str().ok_or("not UTF-8")?;
    let said = succeeds(conntidy(
        home.path(),
        &["snapshot", "take", "--directory", directory],
    )?)?;
    let path = said.trim_end();
    assert!(path.starts_with(directory), "{path}");
    let mut taken = recorded(path)?;
    let table = fixture::table()?;
    assert_eq!(taken.len(), 2000);
    for ((taken, _), (now, _)) in taken.iter_mut().zip(&table) {
        // Time goes on between the two dumps.
        assert!(taken.timeout >= now.timeout && taken.timeout <= now.timeout + 5);
        taken.timeout = now.timeout;
    }
    assert_eq!(taken, table);
    let header = Recorded::open(path)?.header()?;
    assert_eq!(header.count, Some(2000));
    assert!(header.number("nf_conntrack_max").is_some());
    Ok(())
}

fn a_set_of_the_policy_is_recorded_with_its_members() -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let policy = home.path().join("policy.toml");
    let directory = home.path().join("here");
    let text = format!(
        "version = 1\n[sets.backends]\naddresses = [\"10.0.3.0/24\"]\n[sets.own]\nlocal = true\n\
         [snapshot]\ndirectory = \"{}\"\ncompression = \"none\"\n",
        directory.display()
    );
    std::fs::write(&policy, text)?;
    let policy = policy.to_str().ok_or("not UTF-8")?;
    let said = succeeds(conntidy(
        home.path(),
        &["snapshot", "take", "--policy", policy],
    )?)?;
    let path = said.trim_end();
    assert!(Path::new(path).starts_with(&directory), "{path}");
    assert_eq!(Path::new(path).extension(), Some("jsonl".as_ref()));
    let header = Recorded::open(path)?.header()?;
    let sets: Vec<_> = header.sets.iter().collect();
    assert_eq!(sets.len(), 1, "own addresses are in the header: {sets:?}");
    assert_eq!(sets[0].0, "backends");
    assert_eq!(sets[0].1[0].to_string(), "10.0.3.0/24");
    assert!(header.policy_sha256.is_some());
    Ok(())
}

fn a_setting_needs_no_policy() -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let to = home.path().to_str().ok_or("not UTF-8")?;
    let plain = ["--set", "snapshot.compression=none"];
    let take = ["snapshot", "take", "--directory", to];
    let said = succeeds(conntidy(home.path(), &[&take[..], &plain].concat())?)?;
    let path = Path::new(said.trim_end());
    assert_eq!(path.extension(), Some("jsonl".as_ref()), "{said}");
    let wrong = ["--set", "snapshot.compression=lzma"];
    let output = conntidy(home.path(), &[&take[..], &wrong].concat())?;
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("lzma") && !said.contains("/dev/null"),
        "{said}"
    );
    Ok(())
}

fn stdout_is_a_stream_that_other_programs_read() -> Result<(), Failed> {
    for program in ["zstdcat", "jq", "conntrack"] {
        if !fixture::has(program) {
            let name = "stdout_is_a_stream_that_other_programs_read";
            return fixture::skip(name, &format!("no {program}"));
        }
    }
    fixture::conntrack(
        "-I -s 10.0.0.1 -d 198.51.100.1 -p tcp --sport 1111 --dport 80 --state TIME_WAIT \
         -u SEEN_REPLY,ASSURED -t 1000 --src-nat 203.0.113.1:4444 --mark 7",
    )?;
    let home = tempfile::tempdir()?;
    let output = Command::new("sh")
        .args([
            "-c",
            "\"$0\" snapshot take --out - | zstdcat | jq -c 'select(.src) | \
             [.src, .dport, .reply_dst, .reply_dport, .state, .mark, (.status | index(\"src-nat\") != null)]'",
        ])
        .arg(env!("CARGO_BIN_EXE_conntidy"))
        .env("HOME", home.path())
        .output()?;
    assert_eq!(
        succeeds(output)?,
        "[\"10.0.0.1\",80,\"203.0.113.1\",4444,\"TIME_WAIT\",7,true]\n"
    );
    Ok(())
}

fn a_full_disk_costs_the_new_snapshot_only() -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let script = "set -e; mount -t tmpfs -o size=64k none \"$1\"; \
        \"$0\" snapshot take --directory \"$1\" > \"$2/first\"; \
        dd if=/dev/zero of=\"$1/ballast\" bs=1k status=none 2>/dev/null || true; \
        if \"$0\" snapshot take --directory \"$1\" 2> \"$2/said\"; then exit 9; fi; \
        rm \"$1/ballast\"; ls -A \"$1\" > \"$2/left\"; \
        \"$0\" snapshot show \"$(cat \"$2/first\")\" > \"$2/shown\"";
    let full = home.path().join("full");
    std::fs::create_dir(&full)?;
    let one = flows::flow(conntidy::flow::Protocol::UDP, "10.0.0.1:1", "10.0.0.2:2");
    let entry = (one, Extra::default().to_owned());
    flows::create_with(&[entry])?;
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(env!("CARGO_BIN_EXE_conntidy"))
        .args([&full, home.path()])
        .env("HOME", home.path())
        .output()?;
    succeeds(output)?;
    let read = |name: &str| std::fs::read_to_string(home.path().join(name));
    let said = read("said")?;
    assert!(said.contains("No space left on device"), "{said}");
    let first = read("first")?;
    let name = first.trim_end().rsplit('/').next().unwrap_or_default();
    assert_eq!(read("left")?.lines().collect::<Vec<_>>(), [name]);
    assert!(read("shown")?.contains("flows      1"));
    Ok(())
}

fn however_full_the_disk_is_nothing_older_is_lost() -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    flows::create(&flows::many(3000))?;
    let full = home.path().join("full");
    std::fs::create_dir(&full)?;
    // Each round leaves less room: the snapshot fits, fits in part, or not at all.
    let script = "set -e; mount -t tmpfs -o size=2m none \"$1\"; cd \"$1\"; store=\"$1/store\"; \
        take() { \"$0\" -q snapshot take --set snapshot.directory=\"$store\" \
            --set snapshot.compression=none --set 'snapshot.keep={ last = 2 }'; }; \
        take > /dev/null; fitted=0; failed=0; \
        for room in 1300 1100 1000 900 800 700 600 550 500 450 400 350 300 200 100 60 20 8 4 0; do \
            rm -f ballast; sync; \
            free=$(df -k --output=avail . | tail -n 1); \
            if [ $free -gt $room ]; then \
                dd if=/dev/zero of=ballast bs=1k count=$((free - room)) status=none; fi; \
            before=$(ls store); newest=$(echo \"$before\" | sort | tail -n 1); \
            if take > /dev/null 2> said; then fitted=$((fitted + 1)); [ -e \"store/$newest\" ]; else \
                failed=$((failed + 1)); [ \"$(ls store)\" = \"$before\" ]; \
                grep -q 'No space left on device' said; fi; \
            [ -z \"$(find store -name '.*' -type f)\" ]; \
            for file in store/*; do \"$0\" snapshot show \"$file\" > /dev/null; done; \
        done; echo $fitted $failed > \"$2/rounds\"";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(env!("CARGO_BIN_EXE_conntidy"))
        .args([&full, home.path()])
        .env("HOME", home.path())
        .output()?;
    succeeds(output)?;
    let rounds = std::fs::read_to_string(home.path().join("rounds"))?;
    let counts: Vec<u32> = rounds.split_whitespace().flat_map(str::parse).collect();
    let [fitted, failed] = counts[..] else {
        return Err(format!("no rounds: {rounds}").into());
    };
    assert!(fitted > 0 && failed > 0, "{rounds}");
    Ok(())
}

const DELETING: &str = "[rules.all]\neverything = true\naction = \"delete\"\nallow-assured = true\n\
    budget = { percent = 100 }\n[limits]\ndelete = \"100%\"\n";

fn applying_takes_the_snapshot_that_is_due_before_its_rules_run() -> Result<(), Failed> {
    flows::create(&flows::many(20))?;
    let gateway = Gateway::new()?;
    let store = gateway.path().join("store");
    let keep = "every = \"15m\"\ndetail = \"full\"\nkeep = { last = 5 }";
    let directory = store.display();
    gateway.write_policy(&format!(
        "{DELETING}[snapshot]\ndirectory = \"{directory}\"\n{keep}\n"
    ))?;
    let apply = ["apply", "-p", "policy.toml"];
    let ran = gateway.run(&apply)?.exits(0)?;
    assert!(ran.err.contains("its interval has passed"), "{}", ran.err);
    assert!(fixture::keys()?.is_empty(), "the rule ran");
    let files: Vec<_> = std::fs::read_dir(&store)?.flatten().collect();
    assert_eq!(files.len(), 1);
    let path = files[0].path();
    assert_eq!(recorded(path.to_str().ok_or("not UTF-8")?)?.len(), 20);
    let header = Recorded::open(&path)?.header()?;
    assert_eq!(header.trigger, Some(conntidy::observe::Trigger::Interval));
    assert!(header.policy_sha256.is_some());
    gateway.run(&apply)?.exits(0)?;
    assert_eq!(std::fs::read_dir(&store)?.count(), 1, "none is due yet");
    Ok(())
}

fn a_store_that_fails_keeps_no_rule_from_running() -> Result<(), Failed> {
    flows::create(&flows::many(20))?;
    let gateway = Gateway::new()?;
    let file = gateway.path().join("no-directory");
    std::fs::write(&file, "")?;
    gateway.write_policy(&format!(
        "{DELETING}[snapshot]\ndirectory = \"{}\"\nevery = \"15m\"\nkeep = {{ last = 5 }}\n",
        file.display()
    ))?;
    let ran = gateway.run(&["apply", "-p", "policy.toml"])?.exits(4)?;
    assert!(ran.err.contains("no-directory"), "{}", ran.err);
    assert!(ran.err.contains("the run goes on"), "{}", ran.err);
    assert!(fixture::keys()?.is_empty());
    Ok(())
}
