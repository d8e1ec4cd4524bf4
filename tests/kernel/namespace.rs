//! Namespaces, capabilities and tunables of the calling thread.

use std::process::Command;

use conntidy::flow::Protocol;
use conntidy::kernel::capability::{self, Access};
use conntidy::kernel::namespace::{self, NamespaceError};
use conntidy::kernel::sysctl::{LiveTunables, TunableError, Tunables};
use conntidy::kernel::{Live, identity};
use conntidy::observe::Observe;
use libtest_mimic::Failed;

use crate::fixture;
use crate::flows::{self, flow};
use crate::gateway::{Gateway, Ran};

crate::trials!(
    within_a_namespace_its_own_table_is_seen,
    children_inherit_the_namespace,
    an_unknown_namespace_is_named,
    what_is_no_network_namespace_is_told_from_a_missing_privilege,
    a_namespace_is_called_the_same_however_it_was_reached,
    a_second_private_namespace_is_refused_once_threads_exist,
    the_root_of_a_namespace_may_use_ctnetlink,
    a_tunable_is_written_and_read_back_here_alone,
    a_refused_value_and_a_forbidden_key_are_told_apart,
    a_timeout_policy_is_found_by_its_protocol,
);

fn path_of_this_thread() -> Result<String, Failed> {
    let thread = std::fs::read_link("/proc/thread-self")?;
    Ok(format!("/proc/{}/ns/net", thread.display()))
}

fn within_a_namespace_its_own_table_is_seen() -> Result<(), Failed> {
    flows::create([&flow(Protocol::UDP, "10.0.0.1:1", "10.0.0.2:2")])?;
    let here = (identity::netns()?, path_of_this_thread()?);
    namespace::within_new(|| -> Result<(), Failed> {
        assert_ne!(identity::netns()?, here.0);
        assert_eq!(Live::default().count()?, 0);
        let (netns, count) =
            namespace::within(&here.1, || (identity::netns(), Live::default().count()))?;
        assert_eq!(netns?, here.0);
        assert_eq!(count?, 1);
        assert_eq!(Live::default().count()?, 0);
        Ok(())
    })?
}

fn children_inherit_the_namespace() -> Result<(), Failed> {
    let here = identity::netns()?;
    let output = Command::new("readlink").arg("/proc/self/ns/net").output()?;
    let theirs = String::from_utf8_lossy(&output.stdout);
    assert_eq!(theirs.trim(), format!("net:[{}]", here.inode));
    let thread = std::thread::spawn(identity::netns).join();
    assert_eq!(thread.map_err(|_| "panicked")??, here);
    Ok(())
}

fn an_unknown_namespace_is_named() -> Result<(), Failed> {
    for target in ["conntidy-no-such-namespace", "/proc/self/no-such-file"] {
        match namespace::within(target, || ()) {
            Err(error @ NamespaceError::Open { .. }) => {
                assert!(error.to_string().contains(target), "{error}");
            }
            other => return Err(format!("{other:?}").into()),
        }
    }
    Ok(())
}

fn what_is_no_network_namespace_is_told_from_a_missing_privilege() -> Result<(), Failed> {
    for target in [
        "/proc/self/stat",
        "/proc/self/ns/uts",
        "/",
        "/etc/passwd",
        "",
    ] {
        match namespace::within(target, || ()) {
            Err(error @ NamespaceError::Foreign { .. }) => {
                let says = format!("`{target}` is no network namespace");
                assert_eq!(error.to_string(), says);
            }
            other => return Err(format!("{target}: {other:?}").into()),
        }
    }
    let gateway = Gateway::new()?;
    for target in ["/etc/passwd", "/", ""] {
        let ran = gateway.run(&["doctor", "--netns", target])?.exits(1)?;
        assert!(ran.err.contains(&format!("`{target}`")), "{}", ran.err);
        assert!(ran.err.contains("ip netns list"), "{}", ran.err);
    }
    let here = path_of_this_thread()?;
    let output = gateway
        .command(&fixture::NO_PRIVILEGE, &["doctor", "--netns", &here])
        .output()?;
    let ran = Ran::from(output).exits(77)?;
    assert!(ran.err.contains("CAP_SYS_ADMIN"), "{}", ran.err);
    Ok(())
}

fn a_namespace_is_called_the_same_however_it_was_reached() -> Result<(), Failed> {
    crate::needs!("unshare", "mount");
    let ran = Gateway::new()?.run_in_own_mounts(
        "mount -t tmpfs none /run
         mkdir /run/netns
         touch /run/netns/trial-a
         mount --bind /proc/self/ns/net /run/netns/trial-a
         ln -s /run/netns/trial-a /run/other
         cd /run
         for target in trial-a /run/netns/trial-a ./other /proc/self/ns/net; do
             \"$1\" snapshot take --quiet --directory /run --netns $target
         done
         \"$1\" snapshot take --quiet --directory /run",
    )?;
    let ran = ran.exits(0)?;
    let names = ran.out.lines();
    let same = names.filter(|name| name.contains("Z-trial-a.") || name.contains("Z-trial-a~"));
    assert_eq!(same.count(), 5, "{}", ran.out);
    Ok(())
}

fn a_second_private_namespace_is_refused_once_threads_exist() -> Result<(), Failed> {
    match namespace::private() {
        Err(NamespaceError::Threads) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn the_root_of_a_namespace_may_use_ctnetlink() -> Result<(), Failed> {
    let may = capability::look();
    assert_eq!(may.ctnetlink, Access::Granted);
    assert!(may.net_admin && may.sys_admin);
    assert_eq!(may.userns_forbidden_by, None);
    assert!(may.netns.is_some_and(|netns| !netns.initial));
    Ok(())
}

fn a_tunable_is_written_and_read_back_here_alone() -> Result<(), Failed> {
    let name = "nf_conntrack_udp_timeout";
    assert!(LiveTunables.exists(name) && LiveTunables.writable(name));
    assert_eq!(LiveTunables.read(name)?, "30");
    LiveTunables.write(name, "47")?;
    assert_eq!(LiveTunables.read(name)?, "47");
    assert_eq!(Live::default().header()?.number(name), Some(47));
    let elsewhere = namespace::within_new(|| LiveTunables.read(name))??;
    assert_eq!(elsewhere, "30");
    Ok(())
}

fn a_refused_value_and_a_forbidden_key_are_told_apart() -> Result<(), Failed> {
    let value = LiveTunables.write("nf_conntrack_udp_timeout", "abc");
    assert!(
        matches!(value, Err(TunableError::Value { .. })),
        "{value:?}"
    );
    let key = LiveTunables.write("nf_conntrack_max", "100000");
    assert!(matches!(key, Err(TunableError::Denied(_))), "{key:?}");
    let missing = LiveTunables.write("nf_conntrack_nothing", "1");
    assert!(
        matches!(missing, Err(TunableError::Missing(_))),
        "{missing:?}"
    );
    let initial = LiveTunables.read("net.nf_conntrack_max");
    assert!(
        matches!(initial, Err(TunableError::Missing(_))),
        "{initial:?}"
    );
    Ok(())
}

fn a_timeout_policy_is_found_by_its_protocol() -> Result<(), Failed> {
    if !fixture::has("nft") {
        return fixture::skip("a_timeout_policy_is_found_by_its_protocol", "no nft");
    }
    let before = Live::default().header()?.ct_timeout_protocols;
    assert_eq!(before.as_deref(), Some(&[][..]));
    let script = "table ip t { counter c { }; ct timeout u { protocol udp; policy = { unreplied : 7 }; }; \
                  ct timeout t { protocol tcp; policy = { close : 3 }; }; }";
    fixture::run("nft", &[script])?;
    let after = Live::default().header()?.ct_timeout_protocols;
    assert_eq!(after.as_deref(), Some(&[6, 17][..]));
    Ok(())
}
