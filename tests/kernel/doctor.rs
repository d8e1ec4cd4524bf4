//! What `doctor` finds in namespaces that are made to be found wanting.

use conntidy::flow::Protocol;
use conntidy::kernel::namespace::within_new;
use libtest_mimic::Failed;
use serde_json::Value;

use crate::fixture;
use crate::flows::{self, flow};
use crate::gateway::{Gateway, Ran};

crate::trials!(
    root_of_a_user_namespace_keeps_state_at_home,
    the_root_of_a_namespace_lacks_nothing,
    a_missing_privilege_is_named_with_its_way_out,
    a_read_only_proc_sys_is_named_with_its_way_out,
    a_state_directory_that_cannot_be_written_is_named,
    what_blinds_rules_is_said_until_it_is_switched_on,
    the_session_and_own_addresses_are_shown,
    timeout_objects_are_shown,
    looking_and_trying_change_nothing_here,
    what_the_kernel_honours_is_tried_elsewhere,
    trying_without_privilege_is_told,
    another_namespace_is_looked_at_by_its_path,
);

/// The finding of a name.
fn find<'a>(document: &'a Value, name: &str) -> &'a Value {
    let mut findings = document["findings"].as_array().into_iter().flatten();
    findings
        .find(|finding| finding["name"] == name)
        .unwrap_or(&Value::Null)
}

fn verdict(document: &Value, name: &str) -> String {
    find(document, name)["verdict"]
        .as_str()
        .unwrap_or("none")
        .to_owned()
}

fn examine(gateway: &Gateway, arguments: &[&str], code: i32) -> Result<Value, Failed> {
    let arguments = [&["doctor", "-o", "json"], arguments].concat();
    gateway.run(&arguments)?.exits(code)?.document()
}

fn the_root_of_a_namespace_lacks_nothing() -> Result<(), Failed> {
    crate::needs!("ip");
    let gateway = Gateway::new()?;
    let found = examine(&gateway, &[], 0)?;
    assert_eq!(found["ready"], true);
    for name in ["nf_conntrack", "ctnetlink", "sysctl", "directory", "fill"] {
        assert_eq!(verdict(&found, name), "good", "{name}");
    }
    // As in a unit with PrivateNetwork=yes.
    assert_eq!(verdict(&found, "netns"), "warning");
    assert!(
        find(&found, "netns")["way_out"]
            .to_string()
            .contains("PrivateNetwork")
    );
    assert_eq!(verdict(&found, "machine-wide"), "note");
    let max = found["tunables"].as_array().into_iter().flatten();
    let mut max = max.filter(|tunable| tunable["name"] == "nf_conntrack_max");
    assert_eq!(
        max.next().map(|max| &max["writable"]),
        Some(&Value::Bool(false))
    );
    fixture::run("ip", &fixture::words("link add wan0 type veth peer lan0"))?;
    assert_eq!(verdict(&examine(&gateway, &[], 0)?, "netns"), "good");
    let text = gateway.run(&["doctor"])?.exits(0)?;
    assert!(text.out.contains("Ready"), "{}", text.out);
    Ok(())
}

fn a_missing_privilege_is_named_with_its_way_out() -> Result<(), Failed> {
    crate::needs!("setpriv");
    let gateway = Gateway::new()?;
    let output = gateway
        .command(&fixture::NO_PRIVILEGE, &["doctor", "-o", "json"])
        .output()?;
    let ran = Ran::from(output).exits(1)?;
    assert!(ran.err.contains("ctnetlink"), "{}", ran.err);
    let found = ran.document()?;
    assert_eq!(found["ready"], false);
    // Who owns the sysctl files may write them without it.
    assert_eq!(found["lacks"][0], "ctnetlink");
    assert!(
        find(&found, "ctnetlink")["way_out"]
            .to_string()
            .contains("CAP_NET_ADMIN")
    );
    // What needs no privilege is told all the same.
    assert_eq!(verdict(&found, "fill"), "good");
    assert_eq!(verdict(&found, "own-addresses"), "good");
    Ok(())
}

fn a_read_only_proc_sys_is_named_with_its_way_out() -> Result<(), Failed> {
    crate::needs!("unshare", "mount");
    let ran = Gateway::new()?.run_in_own_mounts(
        "mount --bind /proc/sys /proc/sys
         mount -o remount,bind,ro /proc/sys
         exec \"$1\" doctor -o json",
    )?;
    let found = ran.exits(1)?.document()?;
    assert_eq!(found["lacks"], serde_json::json!(["sysctl"]));
    assert!(
        find(&found, "sysctl")["says"]
            .to_string()
            .contains("read-only")
    );
    Ok(())
}

fn a_state_directory_that_cannot_be_written_is_named() -> Result<(), Failed> {
    crate::needs!("unshare", "mount");
    let ran = Gateway::new()?.run_in_own_mounts(
        "mount -t tmpfs -o ro none \"$2\"
         exec \"$1\" doctor -o json",
    )?;
    let found = ran.exits(1)?.document()?;
    assert_eq!(found["lacks"], serde_json::json!(["directory"]));
    Ok(())
}

fn what_blinds_rules_is_said_until_it_is_switched_on() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let keys = ["nf_conntrack_acct", "nf_conntrack_timestamp"];
    let found = examine(&gateway, &[], 0)?;
    for (key, field) in keys.iter().zip(["bytes-above", "age-above"]) {
        assert_eq!(verdict(&found, key), "note");
        assert!(find(&found, key)["says"].to_string().contains(field));
        fixture::write_tunable(key, 1)?;
    }
    fixture::write_tunable("nf_conntrack_events", 0)?;
    let found = examine(&gateway, &[], 0)?;
    for key in keys {
        assert_eq!(verdict(&found, key), "good");
    }
    assert_eq!(verdict(&found, "nf_conntrack_events"), "note");
    Ok(())
}

fn the_session_and_own_addresses_are_shown() -> Result<(), Failed> {
    crate::needs!("ip");
    fixture::run("ip", &fixture::words("address add 10.9.9.9/32 dev lo"))?;
    let output = Gateway::new()?
        .command(&[], &["doctor", "-o", "json"])
        .env("SSH_CONNECTION", "198.51.100.7 50000 10.9.9.9 22")
        .output()?;
    let found = Ran::from(output).exits(0)?.document()?;
    let says = |name| find(&found, name)["says"].to_string();
    assert!(says("own-addresses").contains("10.9.9.9"));
    assert!(says("session").contains("198.51.100.7:50000 -> 10.9.9.9:22"));
    Ok(())
}

fn timeout_objects_are_shown() -> Result<(), Failed> {
    crate::needs!("nft");
    let gateway = Gateway::new()?;
    assert_eq!(verdict(&examine(&gateway, &[], 0)?, "ct-timeout"), "good");
    let script = "table ip t { ct timeout u { protocol udp; policy = { replied : 7 }; }; }";
    fixture::run("nft", &[script])?;
    let found = examine(&gateway, &[], 0)?;
    assert_eq!(verdict(&found, "ct-timeout"), "note");
    assert!(
        find(&found, "ct-timeout")["says"]
            .to_string()
            .contains("17")
    );
    Ok(())
}

fn looking_and_trying_change_nothing_here() -> Result<(), Failed> {
    let dns = flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53");
    flows::create([&dns])?;
    let before = fixture::table()?;
    let gateway = Gateway::new()?;
    examine(&gateway, &["--probe"], 0)?;
    let after = fixture::table()?;
    assert_eq!(after.len(), 1);
    assert_eq!(after[0].0.id, before[0].0.id);
    assert!(!gateway.state_root().exists(), "looking makes no directory");
    Ok(())
}

fn what_the_kernel_honours_is_tried_elsewhere() -> Result<(), Failed> {
    let found = examine(&Gateway::new()?, &["--probe"], 0)?;
    for name in ["create", "retime", "delete", "delete-checks-id", "zones"] {
        assert_eq!(verdict(&found, name), "good", "{name}");
    }
    assert_ne!(verdict(&found, "labels"), "none");
    Ok(())
}

fn trying_without_privilege_is_told() -> Result<(), Failed> {
    crate::needs!("setpriv");
    let gateway = Gateway::new()?;
    let wrapper = ["setpriv", "--bounding-set=-sys_admin", "--"];
    let output = gateway
        .command(&wrapper, &["doctor", "--probe", "-o", "json"])
        .output()?;
    let found = Ran::from(output).exits(0)?.document()?;
    assert_eq!(verdict(&found, "namespace"), "warning");
    assert!(
        find(&found, "namespace")["says"]
            .to_string()
            .contains("CAP_SYS_ADMIN")
    );
    Ok(())
}

fn another_namespace_is_looked_at_by_its_path() -> Result<(), Failed> {
    flows::create([&flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53")])?;
    let thread = std::fs::read_link("/proc/thread-self")?;
    let here = format!("/proc/{}/ns/net", thread.display());
    let gateway = Gateway::new()?;
    let found = within_new(|| examine(&gateway, &["--netns", &here], 0))??;
    assert_eq!(found["netns"]["name"], here);
    assert!(
        find(&found, "fill")["says"]
            .to_string()
            .starts_with("\"1 of")
    );
    Ok(())
}

fn root_of_a_user_namespace_keeps_state_at_home() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let output = gateway
        .command(&[], &["doctor", "-o", "json"])
        .env_clear()
        .env("HOME", gateway.path())
        .output()?;
    let found = Ran::from(output).exits(0)?.document()?;
    let home = gateway.path().join(".local/state/conntidy");
    let says = find(&found, "directory")["says"].to_string();
    assert!(says.contains(&home.display().to_string()), "{says}");
    Ok(())
}
