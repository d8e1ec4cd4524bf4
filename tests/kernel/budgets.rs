//! What refuses a rule whole, and in which ways a run may act.

use std::collections::BTreeMap;

use conntidy::flow::protocol::tcp;
use conntidy::flow::{Flow, FlowKey, Protocol};
use conntidy::kernel::namespace::within_new;
use conntidy::plan::Refusal;
use libtest_mimic::Failed;

use crate::fixture;
use crate::flows::{self, flow, in_state};
use crate::gateway::{Gateway, assured, is_about, lasting, left, remaining, result, rule};

crate::trials!(
    past_its_budget_a_rule_is_refused_whole,
    past_the_run_limit_every_rule_of_that_action_is_refused,
    an_assured_flow_counts_against_a_budget_of_its_own,
    streaming_and_collecting_end_in_the_same_table,
    a_group_over_its_count_is_taken_whole_and_others_are_left,
    reports_count_and_change_nothing,
    a_policy_in_report_mode_changes_nothing_at_all,
    pace_is_kept,
);

/// Flows of one client to one port.
fn udp(client: u8, port: u16, count: u16) -> Vec<Flow> {
    (1..=count)
        .map(|n| {
            let src = format!("10.0.0.{client}:{n}");
            flow(Protocol::UDP, &src, &format!("192.0.2.1:{port}"))
        })
        .collect()
}

fn past_its_budget_a_rule_is_refused_whole() -> Result<(), Failed> {
    let dns = udp(1, 53, 60);
    let time = udp(1, 123, 5);
    flows::create(dns.iter().chain(&time))?;
    let ran = Gateway::new()?.run_apply(
        r#"
        [rules.dns]
        match = { protocol = "udp", dport = 53 }
        action = "delete"
        budget = { count = 59 }
        [rules.time]
        match = { protocol = "udp", dport = 123 }
        action = "delete"
        budget = { count = 5 }
        "#,
    )?;
    let report = ran.exits(3)?.document()?;
    let rules = &report["plan"]["rules"];
    assert_eq!(rules[0]["refused"]["kind"], "over-budget");
    assert_eq!(rules[0]["refused"]["limit"], 59);
    assert_eq!(rules[0]["selected"], 60);
    assert_eq!(report["plan"]["summary"]["delete"], 5);
    fixture::same_keys(&fixture::keys()?, &flows::keys_of(&dns))
}

fn past_the_run_limit_every_rule_of_that_action_is_refused() -> Result<(), Failed> {
    let (dns, time) = (udp(1, 53, 60), udp(2, 123, 60));
    let web: Vec<Flow> = (1..=60)
        .map(|n| flow(Protocol::TCP, &format!("10.0.0.3:{n}"), "192.0.2.1:443"))
        .map(|flow| lasting(in_state(flow, tcp::ESTABLISHED), 9_000))
        .collect();
    flows::create(dns.iter().chain(&time).chain(&web))?;
    let report = Gateway::new()?.apply(
        r#"
        [limits]
        delete = "50%"
        [rules.dns]
        match = { protocol = "udp", dport = 53 }
        action = "delete"
        [rules.time]
        match = { protocol = "udp", dport = 123 }
        action = "delete"
        [rules.web]
        match = { protocol = "tcp", dport = 443 }
        action = "expire"
        "#,
    )?;
    for name in ["dns", "time"] {
        let refused = &rule(&report.plan, name).refused;
        let expected = Refusal::OverRunLimit {
            total: 120,
            limit: 90,
        };
        assert_eq!(refused.as_ref(), Some(&expected));
    }
    assert_eq!(result(&report, "web").done, 60);
    assert!(report.has_refusals());
    assert_eq!(fixture::keys()?.len(), 180);
    Ok(())
}

fn an_assured_flow_counts_against_a_budget_of_its_own() -> Result<(), Failed> {
    let open: Vec<Flow> = udp(1, 53, 51).into_iter().map(assured).collect();
    flows::create(open.iter().chain(&udp(2, 80, 100)))?;
    let gateway = Gateway::new()?;
    let report = gateway.apply(
        r#"
        [rules.dns]
        match = { protocol = "udp", dport = 53 }
        action = "delete"
        allow-assured = true
        "#,
    )?;
    let expected = Refusal::OverAssuredBudget {
        assured: 51,
        limit: 50,
    };
    assert_eq!(rule(&report.plan, "dns").refused.as_ref(), Some(&expected));
    assert_eq!(fixture::keys()?.len(), 151);
    Ok(())
}

/// Keys with what remains, after a policy was applied to a table of its own.
fn table_after(percent: u8, streams: bool) -> Result<BTreeMap<FlowKey, u32>, Failed> {
    within_new(|| -> Result<_, Failed> {
        let mut all = flows::many(4_000);
        all.extend((0..200).map(|n| {
            let closing = flow(
                Protocol::TCP,
                &format!("10.77.0.1:{}", 2_000 + n),
                "192.0.2.9:80",
            );
            lasting(in_state(closing, tcp::TIME_WAIT), 100)
        }));
        for (n, flow) in (0_u32..).zip(&mut all) {
            if n % 2 == 0 {
                flow.timeout = 20_000 + n;
            }
            if n % 3 == 0 {
                *flow = assured(*flow);
            }
        }
        flows::create(&all)?;
        let report = Gateway::new()?.apply(&format!(
            r#"
            [limits]
            delete = "{percent}%"
            expire = "{percent}%"
            [rules.a-closing]
            match = {{ state = "TIME_WAIT" }}
            action = "delete"
            budget = {{ percent = {percent} }}
            [rules.b-names]
            match = {{ protocol = "udp", dport = 53 }}
            action = "delete"
            allow-assured = true
            budget = {{ percent = {percent} }}
            [rules.c-rest]
            match = {{ protocol = "tcp", sport = "1024-9999" }}
            order = 60
            action = "expire"
            grace = "3h"
            budget = {{ percent = {percent} }}
            [protect.some]
            match = {{ sport = [1027, 1031] }}
            "#
        ))?;
        assert!(report.plan.rules.iter().all(|rule| rule.streams == streams));
        assert!(
            !report.is_incomplete() && !report.has_refusals(),
            "{report:#?}"
        );
        remaining()
    })?
}

fn streaming_and_collecting_end_in_the_same_table() -> Result<(), Failed> {
    let streamed = table_after(100, true)?;
    let collected = table_after(99, false)?;
    let keys = |table: &BTreeMap<FlowKey, u32>| table.keys().copied().collect::<Vec<_>>();
    fixture::same_keys(&keys(&streamed), &keys(&collected))?;
    assert!(streamed.len() < 4_200 && streamed.len() > 1_000);
    assert!(
        streamed
            .values()
            .any(|&left| left == 10_800 || left == 10_799)
    );
    for (key, &left) in &streamed {
        // The two tables are some seconds apart.
        let distance = collected[key].abs_diff(left);
        assert!(distance <= 20, "{key}: {left} and {}", collected[key]);
    }
    Ok(())
}

fn a_group_over_its_count_is_taken_whole_and_others_are_left() -> Result<(), Failed> {
    let (many, few) = (udp(1, 53, 6), udp(2, 53, 5));
    let elsewhere = udp(1, 123, 9);
    flows::create(many.iter().chain(&few).chain(&elsewhere))?;
    let policy = |action: &str| {
        format!(
            "[rules.crowd]\nmatch = {{ protocol = \"udp\", dport = 53, over = {{ per = \"src\", count = 5 }} }}\naction = \"{action}\""
        )
    };
    let gateway = Gateway::new()?;
    let report = gateway.apply(&policy("report"))?;
    assert_eq!(rule(&report.plan, "crowd").matched, 6);
    let report = gateway.apply(&policy("delete"))?;
    assert_eq!(result(&report, "crowd").done, 6);
    let kept = flows::keys_of(few.iter().chain(&elsewhere));
    fixture::same_keys(&fixture::keys()?, &kept)
}

fn reports_count_and_change_nothing() -> Result<(), Failed> {
    flows::create(&udp(1, 53, 7))?;
    let before = fixture::table()?;
    let report = Gateway::new()?.apply(
        r#"
        [rules.dns]
        match = { protocol = "udp", dport = 53 }
        action = "report"
        [rules.udp]
        match = { protocol = "udp" }
        action = "report"
        "#,
    )?;
    for name in ["dns", "udp"] {
        let plan = rule(&report.plan, name);
        assert_eq!((plan.matched, plan.selected), (7, 0), "{name}");
    }
    assert!(report.rules.is_empty());
    fixture::same_keys(
        &fixture::keys()?,
        &before.iter().map(|(f, _)| f.key()).collect::<Vec<_>>(),
    )
}

fn a_policy_in_report_mode_changes_nothing_at_all() -> Result<(), Failed> {
    let dns = udp(1, 53, 7);
    let stream = assured(lasting(
        flow(Protocol::UDP, "10.0.0.9:9", "192.0.2.1:80"),
        110,
    ));
    flows::create(dns.iter().chain([&stream]))?;
    let report = Gateway::new()?
        .run_apply(
            r#"
            [run]
            mode = "report"
            [timeouts]
            udp.stream = "60s"
            apply-to-existing = true
            [rules.dns]
            match = { protocol = "udp", dport = 53 }
            action = "delete"
            "#,
        )?
        .exits(0)?
        .document()?;
    assert_eq!(report["plan"]["rules"][0]["matched"], 7);
    assert_eq!(report["plan"]["summary"]["delete"], 0);
    assert_eq!(report["sysctl"].as_array().map(Vec::len), Some(0));
    assert_eq!(
        fixture::read_tunable("nf_conntrack_udp_timeout_stream")?,
        120
    );
    assert_eq!(fixture::keys()?.len(), 8);
    is_about(left(&stream)?, 110)
}

fn pace_is_kept() -> Result<(), Failed> {
    flows::create(&udp(1, 53, 300))?;
    let report = Gateway::new()?.apply(
        r#"
        [limits]
        delete = "100%"
        pace = "300/s"
        [rules.dns]
        match = { protocol = "udp", dport = 53 }
        action = "delete"
        budget = { count = 300 }
        "#,
    )?;
    assert_eq!(result(&report, "dns").done, 300);
    assert!(report.timings.act_ms > 800, "{:?}", report.timings);
    Ok(())
}
