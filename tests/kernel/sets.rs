//! Sets whose members the running kernel has: nftables, interfaces, lost addresses.

use conntidy::flow::{Flow, Protocol};
use conntidy::kernel::{addresses, nft};
use conntidy::observe::Header;
use conntidy::plan::Refusal;
use conntidy::policy::NftSet;
use libtest_mimic::Failed;

use crate::fixture::{self, conntrack, run, words};
use crate::flows::{self, flow, translated};
use crate::gateway::{Gateway, assured, result, rule};

crate::trials!(
    flows_of_a_lost_address_go_once_it_has_settled_and_others_stay,
    an_address_that_comes_back_keeps_its_flows,
    an_address_that_is_tentative_or_deprecated_is_still_this_hosts,
    a_plan_remembers_no_address,
    without_state_nothing_is_lost_and_no_rule_is_refused,
    addresses_that_cannot_be_read_are_not_lost,
    members_of_an_nftables_set_are_used,
    keys_of_an_nftables_map_are_used,
    an_nftables_set_that_cannot_be_read_refuses_its_rules,
    an_empty_nftables_set_refuses_its_rules_unless_allowed,
    an_nftables_set_of_another_namespace_is_read_there,
    a_large_nftables_set_is_read_whole,
    without_nft_its_sets_cannot_be_read,
    an_interface_has_its_own_addresses_alone,
    a_snapshot_has_what_its_sets_held,
    check_reads_no_kernel,
);

const LOST: &str = r#"
    [sets.gone]
    local = "lost"
    settle = "30s"
    [rules.old-wan]
    match = { nat-src = "@gone" }
    action = "delete"
    allow-assured = true
"#;

/// An interface that is up.
fn link(name: &str) -> Result<(), Failed> {
    ip(&format!("link add {name} type veth peer name {name}-peer"))?;
    ip(&format!("link set {name} up"))
}

fn ip(line: &str) -> Result<(), Failed> {
    run("ip", &words(line)).map(drop)
}

/// A flow whose source is translated to this address.
fn masqueraded(port: u16, wan: &str) -> Flow {
    let one = flow(Protocol::UDP, &format!("10.0.0.1:{port}"), "192.0.2.1:5060");
    assured(translated(one, "192.0.2.1:5060", &format!("{wan}:{port}")))
}

fn later(seconds: u64) -> impl FnOnce(&mut Header) {
    move |header| {
        header.uptime_ns += seconds * 1_000_000_000;
        header.time_ns += seconds * 1_000_000_000;
    }
}

/// Applies so many seconds later; how many flows went.
fn went(gateway: &Gateway, seconds: u64) -> Result<u64, Failed> {
    let report = gateway.apply_as(LOST, later(seconds))?;
    assert_eq!(rule(&report.plan, "old-wan").refused, None);
    Ok(result(&report, "old-wan").done)
}

fn flows_of_a_lost_address_go_once_it_has_settled_and_others_stay() -> Result<(), Failed> {
    crate::needs!("ip");
    link("wan0")?;
    for address in ["203.0.113.1/32", "203.0.113.2/32", "2001:db8::1/128"] {
        ip(&format!("address add {address} dev wan0 nodad"))?;
    }
    let old = masqueraded(1, "203.0.113.1");
    let six = flow(Protocol::UDP, "[fd00::1]:2", "[2001:db8:9::1]:53");
    let six = assured(translated(six, "[2001:db8:9::1]:53", "[2001:db8::1]:2"));
    let other = masqueraded(3, "203.0.113.2");
    // Never an address of this host: a routed pool.
    let pool = masqueraded(4, "198.51.100.1");
    // Talks to the lost address, which is somebody else's now.
    let towards = flow(Protocol::UDP, "10.0.0.1:5", "203.0.113.1:53");
    let kept = [other, pool, assured(towards)];
    flows::create(kept.iter().chain([&old, &six]))?;
    let gateway = Gateway::new()?;
    assert_eq!(went(&gateway, 0)?, 0);
    ip("address del 203.0.113.1/32 dev wan0")?;
    ip("address del 2001:db8::1/128 dev wan0")?;
    // Seen 300 s ago, but nobody knows since when it is missing.
    assert_eq!(went(&gateway, 300)?, 0);
    let doctor = gateway.run(&["doctor", "-o", "json"])?.document()?;
    let findings = doctor["findings"].as_array().ok_or("no findings")?;
    let lost = findings.iter().find(|f| f["name"] == "lost-addresses");
    let says = lost.and_then(|lost| lost["says"].as_str()).unwrap_or("");
    assert!(says.contains("203.0.113.1 (missed for"), "{doctor}");
    assert!(!says.contains("203.0.113.2"), "{says}");
    assert_eq!(went(&gateway, 329)?, 0);
    assert_eq!(fixture::keys()?.len(), 5);
    assert_eq!(went(&gateway, 331)?, 2);
    fixture::same_keys(&fixture::keys()?, &flows::keys_of(&kept))?;
    if fixture::has("conntrack") {
        assert!(conntrack("-L -p udp --reply-dst 203.0.113.1")?.is_empty());
        assert!(!conntrack("-L -p udp --reply-dst 203.0.113.2")?.is_empty());
    }
    Ok(())
}

fn an_address_that_comes_back_keeps_its_flows() -> Result<(), Failed> {
    crate::needs!("ip");
    link("wan0")?;
    ip("address add 203.0.113.1/32 dev wan0")?;
    flows::create([&masqueraded(1, "203.0.113.1")])?;
    let gateway = Gateway::new()?;
    assert_eq!(went(&gateway, 0)?, 0);
    ip("address del 203.0.113.1/32 dev wan0")?;
    assert_eq!(went(&gateway, 10)?, 0);
    // On another interface it is this host's all the same.
    link("wan1")?;
    ip("address add 203.0.113.1/32 dev wan1")?;
    assert_eq!(went(&gateway, 100)?, 0);
    ip("address del 203.0.113.1/32 dev wan1")?;
    assert_eq!(went(&gateway, 110)?, 0);
    assert_eq!(went(&gateway, 139)?, 0);
    assert_eq!(went(&gateway, 141)?, 1);
    Ok(())
}

fn an_address_that_is_tentative_or_deprecated_is_still_this_hosts() -> Result<(), Failed> {
    crate::needs!("ip");
    ip("link add wan0 type veth peer name wan1")?;
    // Without a carrier duplicate address detection does not end.
    ip("link set wan0 up")?;
    ip("address add 2001:db8::1/64 dev wan0")?;
    ip("address add 203.0.113.1/24 dev wan0 valid_lft 1000 preferred_lft 0")?;
    let shown = run("ip", &["address", "show", "dev", "wan0"])?;
    assert!(
        shown.contains("tentative") && shown.contains("deprecated"),
        "{shown}"
    );
    let own = addresses::own()?;
    for address in ["2001:db8::1", "203.0.113.1"] {
        assert!(own.contains(&address.parse()?), "{address}: {own:?}");
    }
    Ok(())
}

fn a_plan_remembers_no_address() -> Result<(), Failed> {
    crate::needs!("ip");
    link("wan0")?;
    ip("address add 203.0.113.1/32 dev wan0")?;
    flows::create([&masqueraded(1, "203.0.113.1")])?;
    let gateway = Gateway::new()?;
    went(&gateway, 0)?;
    let memory = gateway.state()?.directory().join("state.json");
    let before = std::fs::read(&memory)?;
    ip("address del 203.0.113.1/32 dev wan0")?;
    gateway.write_policy(LOST)?;
    for command in [&["plan"][..], &["explain", "udp 10.0.0.1:1 192.0.2.1:5060"]] {
        let arguments = [command, &["-p", "policy.toml"]].concat();
        gateway.run(&arguments)?.exits(0)?;
    }
    assert_eq!(std::fs::read(&memory)?, before);
    assert_eq!(went(&gateway, 400)?, 0);
    Ok(())
}

fn without_state_nothing_is_lost_and_no_rule_is_refused() -> Result<(), Failed> {
    crate::needs!("ip");
    link("wan0")?;
    ip("address add 203.0.113.1/32 dev wan0")?;
    flows::create([&masqueraded(1, "203.0.113.1")])?;
    let gateway = Gateway::new()?;
    gateway.run_apply(LOST)?.exits(0)?;
    ip("address del 203.0.113.1/32 dev wan0")?;
    went(&gateway, 10)?;
    std::fs::remove_dir_all(gateway.state_root())?;
    assert_eq!(went(&gateway, 100)?, 0);
    let plan = ["plan", "-p", "policy.toml", "--fail-on", "refused"];
    gateway.run(&plan)?.exits(0)?;
    // As it is without the state that told of it.
    assert_eq!(went(&gateway, 1_000)?, 0);
    Ok(())
}

fn addresses_that_cannot_be_read_are_not_lost() -> Result<(), Failed> {
    crate::needs!("ip");
    link("wan0")?;
    ip("address add 203.0.113.1/32 dev wan0")?;
    flows::create([&masqueraded(1, "203.0.113.1")])?;
    let gateway = Gateway::new()?;
    went(&gateway, 0)?;
    for seconds in [100, 200] {
        let report = gateway.apply_as(LOST, |header| {
            later(seconds)(header);
            header.addresses = None;
        })?;
        let refused = &rule(&report.plan, "old-wan").refused;
        assert!(
            matches!(refused, Some(Refusal::UnreadableSet { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(went(&gateway, 300)?, 0);
    assert_eq!(fixture::keys()?.len(), 1);
    Ok(())
}

fn nft(script: &str) -> Result<(), Failed> {
    run("nft", &[script]).map(drop)
}

fn banning(set: &str, more: &str) -> String {
    format!(
        "[sets.banned]\nnft = \"{set}\"\n{more}\n[rules.banned]\nmatch = {{ src = \"@banned\" }}\n\
         action = \"delete\"\nbudget = {{ count = 100 }}\n"
    )
}

fn from(address: &str) -> Flow {
    flow(Protocol::UDP, &format!("{address}:7"), "192.0.2.1:53")
}

fn members_of_an_nftables_set_are_used() -> Result<(), Failed> {
    crate::needs!("nft");
    nft(
        "table inet filter { set banned { type ipv4_addr; flags interval, timeout; counter; \
         elements = { 198.51.100.1 timeout 1h comment \"scan\", 203.0.113.0/24, \
         192.0.2.5-192.0.2.9 }; }; }",
    )?;
    let doomed = ["198.51.100.1", "203.0.113.77", "192.0.2.6"].map(from);
    let kept = ["198.51.100.2", "192.0.2.10", "10.0.0.1"].map(from);
    flows::create(doomed.iter().chain(&kept))?;
    let report = Gateway::new()?.apply(&banning("inet filter banned", ""))?;
    assert_eq!(result(&report, "banned").done, 3);
    fixture::same_keys(&fixture::keys()?, &flows::keys_of(&kept))
}

fn keys_of_an_nftables_map_are_used() -> Result<(), Failed> {
    crate::needs!("nft");
    nft(
        "table ip t { map verdicts { type ipv4_addr : verdict; elements = { 198.51.100.1 : drop, \
         198.51.100.2 : accept }; }; }",
    )?;
    let doomed = ["198.51.100.1", "198.51.100.2"].map(from);
    let kept = [from("198.51.100.3")];
    flows::create(doomed.iter().chain(&kept))?;
    let report = Gateway::new()?.apply(&banning("ip t verdicts", ""))?;
    assert_eq!(result(&report, "banned").done, 2);
    fixture::same_keys(&fixture::keys()?, &flows::keys_of(&kept))
}

fn an_nftables_set_that_cannot_be_read_refuses_its_rules() -> Result<(), Failed> {
    crate::needs!("nft");
    nft(
        "table inet filter { set ports { type inet_service; elements = { 22 }; }; \
         set pairs { type ipv4_addr . inet_service; elements = { 198.51.100.1 . 80 }; }; \
         set wild { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, * }; }; }",
    )?;
    flows::create([&from("198.51.100.1")])?;
    let gateway = Gateway::new()?;
    for (set, why) in [
        ("inet filter banned", "has no set or map `banned`"),
        ("ip filter ports", "has no table `ip filter`"),
        ("inet filter ports", "of type `inet_service`"),
        ("inet filter pairs", "concatenations"),
        ("inet filter wild", "catch-all"),
        // A word of nft's own language, which it takes for no name.
        ("inet filter set", "nft failed: Error: syntax error"),
    ] {
        // Leave for an empty set is none for an unreadable one.
        let ran = gateway.run_apply(&banning(set, "allow-empty = true"))?;
        let report = ran.exits(3)?.document()?;
        let refused = &report["plan"]["rules"][0]["refused"];
        assert_eq!(refused["kind"], "unreadable-set");
        let error = refused["error"].as_str().unwrap_or_default();
        assert!(error.contains(why), "{set}: {error}");
    }
    assert_eq!(fixture::keys()?.len(), 1);
    Ok(())
}

fn an_empty_nftables_set_refuses_its_rules_unless_allowed() -> Result<(), Failed> {
    crate::needs!("nft");
    nft("table inet filter { set banned { type ipv4_addr; }; }")?;
    flows::create([&from("198.51.100.1")])?;
    let gateway = Gateway::new()?;
    let policy = |more| banning("inet filter banned", more);
    gateway.run_apply(&policy(""))?.exits(3)?;
    gateway.run_apply(&policy("allow-empty = true"))?.exits(0)?;
    assert_eq!(fixture::keys()?.len(), 1);
    Ok(())
}

fn an_nftables_set_of_another_namespace_is_read_there() -> Result<(), Failed> {
    crate::needs!("nft");
    nft("table inet filter { set banned { type ipv4_addr; elements = { 198.51.100.1 }; }; }")?;
    flows::create(["198.51.100.1", "198.51.100.2"].map(from).iter())?;
    let thread = std::fs::read_link("/proc/thread-self")?;
    let here = format!("/proc/{}/ns/net", thread.display());
    let gateway = Gateway::new()?;
    gateway.write_policy(&banning("inet filter banned", ""))?;
    let arguments = ["plan", "-p", "policy.toml", "--netns", &here, "-o", "json"];
    let elsewhere = conntidy::kernel::namespace::within_new(|| gateway.run(&arguments))??;
    let plan = elsewhere.exits(0)?.document()?;
    assert_eq!(plan["summary"]["delete"], 1, "{plan}");
    Ok(())
}

fn a_large_nftables_set_is_read_whole() -> Result<(), Failed> {
    crate::needs!("nft");
    nft("table inet filter { set banned { type ipv4_addr; flags timeout; size 200000; }; }")?;
    let files = tempfile::tempdir()?;
    // A transaction has to fit the buffer of the socket over which it is sent.
    for part in 0..100_u32 {
        let elements: Vec<String> = (0..1000)
            .map(|n| {
                let address = std::net::Ipv4Addr::from_bits((10 << 24) + part * 1000 + n);
                format!("{address} timeout 1h comment \"one of many\"")
            })
            .collect();
        let script = format!(
            "add element inet filter banned {{ {} }}\n",
            elements.join(", ")
        );
        let path = files.path().join("elements.nft");
        std::fs::write(&path, script)?;
        run("nft", &["-f", path.to_str().ok_or("not UTF-8")?])?;
    }
    let set = NftSet {
        family: "inet".to_owned(),
        table: "filter".to_owned(),
        name: "banned".to_owned(),
    };
    let members = nft::members(&set)?;
    assert_eq!(members.prefixes.len(), 100_000);
    assert!(members.prefixes.contains(&"10.1.134.159/32".parse()?));
    Ok(())
}

fn without_nft_its_sets_cannot_be_read() -> Result<(), Failed> {
    crate::needs!("unshare", "mount");
    let gateway = Gateway::new()?;
    gateway.write_policy(&banning("inet filter banned", ""))?;
    let ran = gateway.run_in_own_mounts(
        "for nft in /usr/sbin/nft /sbin/nft /usr/bin/nft /bin/nft; do
             [ ! -f $nft ] || mount --bind /dev/null $nft
         done
         PATH=/usr/sbin:/usr/bin \"$1\" plan -p policy.toml -o json",
    )?;
    let plan = ran.exits(0)?.document()?;
    let error = plan["rules"][0]["refused"]["error"].as_str();
    let error = error.ok_or("not refused")?;
    assert!(error.contains("nft is not installed"), "{error}");
    Ok(())
}

fn an_interface_has_its_own_addresses_alone() -> Result<(), Failed> {
    crate::needs!("ip");
    link("wan0")?;
    link("lan0")?;
    ip("link set wan0 addrgenmode none")?;
    ip("address flush dev wan0")?;
    let policy = "[sets.wan]\ninterface = \"wan0\"\n[rules.wan]\nmatch = { nat-src = \"@wan\" }\n\
                  action = \"delete\"\nallow-assured = true\n";
    let (old, other) = (masqueraded(1, "203.0.113.1"), masqueraded(2, "203.0.113.2"));
    flows::create([&old, &other])?;
    let gateway = Gateway::new()?;
    ip("address add 203.0.113.2/32 dev lan0")?;
    let refused = |kind: &str, policy: &str| -> Result<(), Failed> {
        let report = gateway.run_apply(policy)?.exits(3)?.document()?;
        assert_eq!(report["plan"]["rules"][0]["refused"]["kind"], kind);
        Ok(())
    };
    refused("empty-set", policy)?;
    refused("unreadable-set", &policy.replace("\"wan0\"", "\"wan7\""))?;
    // Of a point-to-point link this end counts.
    ip("address add 203.0.113.1 peer 203.0.113.2 dev wan0")?;
    gateway.run_apply(policy)?.exits(0)?;
    fixture::same_keys(&fixture::keys()?, &flows::keys_of([&other]))
}

fn a_snapshot_has_what_its_sets_held() -> Result<(), Failed> {
    crate::needs!("ip", "nft");
    link("wan0")?;
    ip("address add 203.0.113.1/32 dev wan0")?;
    nft("table inet filter { set banned { type ipv4_addr; elements = { 198.51.100.1 }; }; }")?;
    let policy = format!(
        "{}{LOST}[sets.wan]\ninterface = \"wan0\"\n[sets.missing]\ninterface = \"wan7\"\n\
         [rules.missing]\nmatch = {{ src = \"@missing\" }}\naction = \"report\"\n\
         [rules.wan]\nmatch = {{ dst = \"@wan\" }}\naction = \"report\"\n",
        banning("inet filter banned", "")
    );
    let old = masqueraded(1, "203.0.113.9");
    let towards = flow(Protocol::UDP, "10.0.0.9:9", "203.0.113.1:53");
    flows::create([&from("198.51.100.1"), &from("198.51.100.2"), &old, &towards])?;
    let gateway = Gateway::new()?;
    let lose = |header: &mut Header| {
        let lost = "203.0.113.9".parse().expect("an address");
        header.addresses.get_or_insert_default().push(lost);
    };
    gateway.apply_as(LOST, lose)?;
    let short = LOST.replace("30s", "0s");
    let policy = policy.replace(LOST, &short);
    gateway.write_policy(&policy)?;
    let arguments = [
        "snapshot",
        "take",
        "-p",
        "policy.toml",
        "--out",
        "a.jsonl.zst",
    ];
    let taken = gateway.run(&arguments)?.exits(0)?;
    assert!(
        taken.err.contains("`@missing` is not recorded"),
        "{}",
        taken.err
    );
    nft("flush ruleset")?;
    ip("link del wan0")?;
    let arguments = [
        "plan",
        "-p",
        "policy.toml",
        "--from",
        "a.jsonl.zst",
        "-o",
        "json",
    ];
    let plan = gateway.run(&arguments)?.exits(0)?.document()?;
    let rules = plan["rules"].as_array().ok_or("no rules")?;
    let of = |name: &str, field: &str| {
        let found = rules.iter().find(|rule| rule["name"] == name);
        found.map(|rule| rule[field].clone()).unwrap_or_default()
    };
    assert_eq!(of("banned", "selected"), 1, "{plan}");
    assert_eq!(of("old-wan", "selected"), 1, "{plan}");
    assert_eq!(of("wan", "matched"), 1, "{plan}");
    let error = of("missing", "refused")["error"].to_string();
    assert!(error.contains("the snapshot did not record it"), "{error}");
    let arguments = [
        "rehearse",
        "policy.toml",
        "--from",
        "a.jsonl.zst",
        "-o",
        "json",
    ];
    let rehearsal = gateway.run(&arguments)?.exits(3)?.document()?;
    assert_eq!(rehearsal["plan"]["summary"]["delete"], 2, "{rehearsal}");
    Ok(())
}

fn check_reads_no_kernel() -> Result<(), Failed> {
    let gateway = Gateway::new()?;
    let policy = format!(
        "{LOST}[sets.wan]\ninterface = \"wan7\"\n[rules.wan]\nmatch = {{ src = \"@wan\" }}\n\
         action = \"report\"\n[sets.nft]\nnft = \"inet no-such table\"\n[rules.nft]\n\
         match = {{ src = \"@nft\" }}\naction = \"report\"\n"
    )
    .replace(
        "allow-assured = true",
        "allow-assured = true\nbudget = { count = 9 }",
    );
    gateway.write_policy(&policy)?;
    gateway
        .run(&["check", "--strict", "policy.toml"])?
        .exits(0)?;
    Ok(())
}
