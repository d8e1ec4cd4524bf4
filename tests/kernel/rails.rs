//! What rules do to entries, and what the rails keep them from.

use conntidy::flow::protocol::tcp;
use conntidy::flow::{Flow, Protocol, Status};
use libtest_mimic::Failed;

use crate::fixture::{self, conntrack};
use crate::flows::{self, flow, in_state};
use crate::gateway::{Gateway, assured, is_about, lasting, left, result, rule};

crate::trials!(
    closing_rule_deletes_idle_time_wait_alone_and_a_second_plan_is_empty,
    expire_shortens_and_never_lengthens,
    a_short_grace_leaves_assured_flows_without_accepted_risk,
    an_assured_flow_is_deleted_with_leave_only,
    a_half_closed_flow_is_deleted_by_proven_idleness_only,
    protected_flows_are_left_by_every_rule,
    the_session_is_left_by_every_rule,
    the_hosts_own_flows_are_left_unless_a_rule_includes_them,
    one_tuple_in_two_zones_is_deleted_in_the_right_one,
);

fn tcp_flow(port: u16, state: u8, seconds: u32) -> Flow {
    let one = flow(Protocol::TCP, &format!("10.0.0.1:{port}"), "192.0.2.1:443");
    lasting(in_state(one, state), seconds)
}

fn closing_rule_deletes_idle_time_wait_alone_and_a_second_plan_is_empty() -> Result<(), Failed> {
    const POLICY: &str = r#"
        [rules.closing]
        match = { protocol = "tcp", state = "TIME_WAIT", idle-for = "10s" }
        action = "delete"
    "#;
    let doomed = [
        tcp_flow(1, tcp::TIME_WAIT, 100),
        assured(tcp_flow(2, tcp::TIME_WAIT, 60)),
        lasting(
            in_state(
                flow(Protocol::TCP, "[fd00::1]:3", "[fd00::2]:443"),
                tcp::TIME_WAIT,
            ),
            50,
        ),
    ];
    let kept = [
        tcp_flow(4, tcp::TIME_WAIT, 120),
        tcp_flow(5, tcp::CLOSE, 5),
        tcp_flow(6, tcp::FIN_WAIT, 100),
        tcp_flow(7, tcp::ESTABLISHED, 400_000),
        lasting(flow(Protocol::UDP, "10.0.0.1:8", "192.0.2.1:53"), 100),
    ];
    flows::create(doomed.iter().chain(&kept))?;
    let gateway = Gateway::new()?;
    assert_eq!(rule(&gateway.plan(POLICY)?, "closing").selected, 3);
    let report = gateway.apply(POLICY)?;
    assert_eq!(result(&report, "closing").done, 3);
    assert_eq!(
        (report.count_before, report.count_after),
        (Some(8), Some(5))
    );
    fixture::same_keys(&fixture::keys()?, &flows::keys_of(&kept))?;
    if fixture::has("conntrack") {
        let shown = conntrack("-L -f ipv4 -p tcp --state TIME_WAIT")?;
        assert_eq!(shown.lines().count(), 1, "{shown}");
        assert!(conntrack("-L -f ipv6")?.is_empty());
    }
    let again = gateway.plan(POLICY)?;
    assert!(again.summary.is_empty(), "{:?}", again.summary);
    Ok(())
}

fn expire_shortens_and_never_lengthens() -> Result<(), Failed> {
    let long = tcp_flow(1, tcp::ESTABLISHED, 300_000);
    let short = tcp_flow(2, tcp::ESTABLISHED, 7_000);
    let equal = tcp_flow(3, tcp::ESTABLISHED, 7_440);
    let mut fixed = tcp_flow(4, tcp::ESTABLISHED, 300_000);
    fixed.status |= Status::FIXED_TIMEOUT;
    let other = lasting(flow(Protocol::UDP, "10.0.0.1:5", "192.0.2.1:443"), 100_000);
    flows::create([&long, &short, &equal, &fixed, &other])?;
    let report = Gateway::new()?.apply(
        r#"
        [rules.web]
        match = { protocol = "tcp", dport = 443 }
        action = "expire"
        "#,
    )?;
    let plan = rule(&report.plan, "web");
    assert_eq!((plan.matched, plan.selected, plan.already), (4, 1, 2));
    assert_eq!(plan.left.fixed_timeout, 1);
    assert_eq!(result(&report, "web").done, 1);
    is_about(left(&long)?, 7_440)?;
    is_about(left(&short)?, 7_000)?;
    is_about(left(&equal)?, 7_440)?;
    is_about(left(&fixed)?, 300_000)?;
    is_about(left(&other)?, 100_000)?;
    Ok(())
}

fn a_short_grace_leaves_assured_flows_without_accepted_risk() -> Result<(), Failed> {
    let policy = |risk: &str| {
        format!(
            "[rules.dns]\nmatch = {{ protocol = \"udp\", dport = 53 }}\naction = \"expire\"\ngrace = \"10s\"\n{risk}"
        )
    };
    let stream = assured(lasting(
        flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53"),
        110,
    ));
    let once = lasting(flow(Protocol::UDP, "10.0.0.1:2", "192.0.2.1:53"), 28);
    flows::create([&stream, &once])?;
    let gateway = Gateway::new()?;
    let report = gateway.apply(&policy(""))?;
    let plan = rule(&report.plan, "dns");
    assert_eq!((plan.selected, plan.left.grace), (1, 1));
    is_about(left(&once)?, 10)?;
    is_about(left(&stream)?, 110)?;
    let report = gateway.apply(&policy("accept-risk = \"the resolver is gone\""))?;
    let plan = rule(&report.plan, "dns");
    assert_eq!((plan.selected, plan.already), (1, 1));
    assert_eq!(plan.accept_risk.as_deref(), Some("the resolver is gone"));
    is_about(left(&stream)?, 10)?;
    Ok(())
}

fn an_assured_flow_is_deleted_with_leave_only() -> Result<(), Failed> {
    let policy = |leave: &str| {
        format!(
            "[rules.web]\nmatch = {{ protocol = \"tcp\", dport = 443, dst = \"192.0.2.1\" }}\naction = \"delete\"\nbudget = {{ count = 100 }}\n{leave}"
        )
    };
    let open = assured(tcp_flow(1, tcp::ESTABLISHED, 400_000));
    let closed = assured(tcp_flow(2, tcp::CLOSE, 9));
    let half = tcp_flow(3, tcp::CLOSE_WAIT, 59);
    let opening = tcp_flow(4, tcp::SYN_RECV, 59);
    flows::create([&open, &closed, &half, &opening])?;
    let gateway = Gateway::new()?;
    let report = gateway.apply(&policy(""))?;
    let plan = rule(&report.plan, "web");
    assert_eq!((plan.selected, plan.left.assured), (2, 1));
    assert_eq!(plan.left.half_closed, 1);
    let kept = flows::keys_of([&open, &half]);
    fixture::same_keys(&fixture::keys()?, &kept)?;
    let report = gateway.apply(&policy("allow-assured = true"))?;
    assert_eq!(result(&report, "web").done, 1);
    fixture::same_keys(&fixture::keys()?, &flows::keys_of([&half]))
}

fn a_half_closed_flow_is_deleted_by_proven_idleness_only() -> Result<(), Failed> {
    const POLICY: &str = r#"
        [timeouts]
        tcp.close-wait = "2h"
        [rules.half-closed]
        match = { protocol = "tcp", state = "CLOSE_WAIT", idle-for = "2s" }
        action = "delete"
    "#;
    fixture::write_tunable("nf_conntrack_tcp_timeout_close_wait", 7_200)?;
    let half = tcp_flow(1, tcp::CLOSE_WAIT, 7_000);
    let alive = tcp_flow(2, tcp::CLOSE_WAIT, 7_200);
    flows::create([&half, &alive])?;
    let gateway = Gateway::new()?;
    let report = gateway.apply(POLICY)?;
    assert_eq!(rule(&report.plan, "half-closed").unproven, 1);
    assert_eq!(fixture::keys()?.len(), 2);
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    // A packet passes.
    flows::change(std::iter::once(conntidy::kernel::Change::Retime {
        key: alive.key(),
        seconds: 7_200,
    }))?;
    let report = gateway.apply(POLICY)?;
    assert_eq!(result(&report, "half-closed").done, 1);
    fixture::same_keys(&fixture::keys()?, &flows::keys_of([&alive]))
}

fn protected_flows_are_left_by_every_rule() -> Result<(), Failed> {
    const POLICY: &str = r#"
        [timeouts]
        udp.stream = "60s"
        apply-to-existing = true
        [rules.tcp]
        match = { protocol = "tcp" }
        action = "delete"
        allow-assured = true
        budget = { percent = 100 }
        [rules.crowd]
        match = { protocol = "icmp", over = { per = "src", count = 1 } }
        action = "delete"
        [protect.management]
        match = { protocol = "tcp", dport = [22, 6443] }
        [protect.neighbours]
        match = { address = "198.51.100.0/24" }
        [limits]
        delete = "100%"
    "#;
    let ssh = flow(Protocol::TCP, "10.0.0.1:1", "192.0.2.1:22");
    let ssh = assured(in_state(ssh, tcp::ESTABLISHED));
    let udp = flow(Protocol::UDP, "10.0.0.1:2", "198.51.100.1:53");
    let udp = assured(lasting(udp, 110));
    let pings = [1, 2, 3].map(|id| flows::icmp("10.0.0.3", "198.51.100.2", 8, 0, id));
    let kept = [&[ssh, udp][..], &pings].concat();
    flows::create(kept.iter().chain([&tcp_flow(9, tcp::ESTABLISHED, 600)]))?;
    let report = Gateway::new()?.apply(POLICY)?;
    assert_eq!(rule(&report.plan, "tcp").left.protected, 1);
    assert_eq!(rule(&report.plan, "crowd").left.protected, 3);
    let timeout = "nf_conntrack_udp_timeout_stream";
    assert_eq!(rule(&report.plan, timeout).left.protected, 1);
    let by: Vec<u64> = report.plan.protected.iter().map(|p| p.flows).collect();
    assert_eq!(by, [1, 4]);
    assert_eq!(report.plan.summary.protected, 5);
    fixture::same_keys(&fixture::keys()?, &flows::keys_of(&kept))?;
    is_about(left(&udp)?, 110)
}

fn the_session_is_left_by_every_rule() -> Result<(), Failed> {
    let session = flow(Protocol::TCP, "198.51.100.7:50000", "10.0.0.1:22");
    // Reached through a translated address.
    let forwarded = flow(Protocol::TCP, "198.51.100.8:50000", "203.0.113.1:2222");
    let forwarded = flows::translated(forwarded, "10.0.0.1:22", "198.51.100.8:50000");
    let [session, forwarded, other] = [
        session,
        forwarded,
        flow(Protocol::TCP, "198.51.100.9:50000", "10.0.0.1:22"),
    ]
    .map(|flow| assured(in_state(flow, tcp::ESTABLISHED)));
    let gateway = Gateway::new()?;
    gateway.write_policy(
        r#"
        [rules.ssh]
        match = { protocol = "tcp", reply-src = "10.0.0.1", reply-sport = 22 }
        action = "delete"
        allow-assured = true
        "#,
    )?;
    for (connection, kept) in [
        ("198.51.100.7 50000 10.0.0.1 22", session),
        ("198.51.100.8 50000 10.0.0.1 22", forwarded),
    ] {
        for flow in [session, forwarded, other] {
            flows::change(std::iter::once(conntidy::kernel::Change::Create {
                flow: &flow,
                extra: conntidy::flow::Extra::default(),
            }))?;
        }
        let output = gateway
            .command(&[], &["apply", "-p", "policy.toml", "-o", "json"])
            .env("SSH_CONNECTION", connection)
            .output()?;
        let report = crate::gateway::Ran::from(output).exits(0)?.document()?;
        assert_eq!(report["plan"]["rules"][0]["left"]["session"], 1);
        fixture::same_keys(&fixture::keys()?, &flows::keys_of([&kept]))?;
    }
    Ok(())
}

fn the_hosts_own_flows_are_left_unless_a_rule_includes_them() -> Result<(), Failed> {
    crate::needs!("ip");
    fixture::run("ip", &fixture::words("address add 10.9.9.9/32 dev lo"))?;
    let policy = |include: &str| {
        format!(
            "[rules.dns]\nmatch = {{ protocol = \"udp\", dport = 53 }}\naction = \"delete\"\n{include}"
        )
    };
    let out = flow(Protocol::UDP, "10.9.9.9:1", "192.0.2.1:53");
    let into = flow(Protocol::UDP, "192.0.2.2:2", "10.9.9.9:53");
    let through = flow(Protocol::UDP, "10.0.0.3:3", "192.0.2.1:53");
    flows::create([&out, &into, &through])?;
    let gateway = Gateway::new()?;
    let report = gateway.apply(&policy(""))?;
    let plan = rule(&report.plan, "dns");
    assert_eq!((plan.selected, plan.left.host), (1, 2));
    fixture::same_keys(&fixture::keys()?, &flows::keys_of([&out, &into]))?;
    let report = gateway.apply(&policy("include-host = true"))?;
    assert_eq!(result(&report, "dns").done, 2);
    Ok(())
}

fn one_tuple_in_two_zones_is_deleted_in_the_right_one() -> Result<(), Failed> {
    const POLICY: &str = r#"
        [rules.zone]
        match = { zone = 7, protocol = "udp" }
        action = "delete"
    "#;
    let plain = flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53");
    let mut zoned = plain;
    (zoned.zone_orig, zoned.zone_reply) = (7, 7);
    flows::create([&plain, &zoned])?;
    let report = Gateway::new()?.apply(POLICY)?;
    assert_eq!(result(&report, "zone").done, 1);
    fixture::same_keys(&fixture::keys()?, &flows::keys_of([&plain]))
}
