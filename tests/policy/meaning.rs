//! What the loader makes of a policy.

use conntidy::flow::Protocol;
use conntidy::policy::*;

pub(crate) fn load_policy(text: &str) -> Policy {
    let loaded = load::load(&[Text::file("policy.toml", text)]);
    loaded
        .policy
        .unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics))
}

fn rule(text: &str) -> Rule {
    load_policy(&format!("version = 1\n[rules.a]\n{text}"))
        .rules
        .remove(0)
}

#[test]
fn the_smallest_policy_has_the_documented_defaults() {
    let policy = load_policy("version = 1");
    assert_eq!(policy.mode, RunMode::Act);
    assert!(!policy.strict_filter);
    assert_eq!(policy.limits.delete, Percent(5000));
    assert_eq!(policy.limits.expire, Percent(8000));
    assert_eq!(policy.limits.pace, Some(100_000));
    assert_eq!(policy.goals, []);
    assert_eq!(policy.snapshot.directory, "/var/lib/conntidy/snapshots");
    assert_eq!(policy.snapshot.compression, Compression::Zstd);
    assert_eq!(policy.snapshot, SnapshotSettings::default());
    assert_eq!(policy.snapshot.detail, Detail::Aggregate);
    assert_eq!(policy.snapshot.every, None);
    assert!(policy.snapshot.keep.is_everything());
    assert_eq!(policy.audit.runs, 50);
    assert_eq!(policy.audit.max_bytes, 256 << 20);
    assert_eq!(policy.sha256.len(), 64);
}

#[test]
fn a_rule_has_the_documented_defaults() {
    let rule = rule("match = { protocol = \"tcp\" }\naction = \"expire\"");
    assert_eq!(
        rule.action,
        Action::Expire {
            grace: DEFAULT_GRACE
        }
    );
    assert_eq!(rule.order, 50);
    assert_eq!(rule.budget, None);
    assert!(!rule.allow_assured && !rule.include_host && !rule.ignore_ct_timeout);
}

#[test]
fn max_is_held_from_below_and_everything_else_exactly() {
    let policy = load_policy(
        "version = 1\n[table]\nmax = \"512k\"\nbuckets = \"auto\"\nexpect-max = 4096\n\
         [timeouts]\ntcp.close = \"10s\"\nudp.stream = { value = \"2m\", mode = \"at-most\" }\n\
         [sysctl]\nnf_conntrack_acct = true\n",
    );
    let goals: Vec<_> = policy
        .goals
        .iter()
        .map(|goal| (goal.name.as_str(), goal.want, goal.mode, goal.path.as_str()))
        .collect();
    assert_eq!(
        goals,
        [
            (
                "nf_conntrack_max",
                Want::Number(512_000),
                Mode::AtLeast,
                "table.max"
            ),
            (
                "nf_conntrack_buckets",
                Want::BucketsAuto,
                Mode::Enforce,
                "table.buckets"
            ),
            (
                "nf_conntrack_expect_max",
                Want::Number(4096),
                Mode::Enforce,
                "table.expect-max"
            ),
            (
                "nf_conntrack_tcp_timeout_close",
                Want::Number(10),
                Mode::Enforce,
                "timeouts.tcp.close"
            ),
            (
                "nf_conntrack_udp_timeout_stream",
                Want::Number(120),
                Mode::AtMost,
                "timeouts.udp.stream"
            ),
            (
                "nf_conntrack_acct",
                Want::Number(1),
                Mode::Enforce,
                "sysctl.nf_conntrack_acct"
            ),
        ]
    );
}

#[test]
fn rules_are_tried_by_order_and_then_by_name() {
    let policy = load_policy(
        "version = 1\n[rules]\nb = { match = { zone = 1 }, action = \"report\" }\n\
         a = { match = { zone = 1 }, action = \"report\" }\n\
         z = { match = { zone = 1 }, action = \"report\", order = -3 }\n\
         off = { match = { zone = 1 }, action = \"report\", enabled = false }\n",
    );
    let names: Vec<_> = policy.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["z", "a", "b"]);
}

#[test]
fn a_state_means_every_protocol_that_has_it_unless_protocols_are_named() {
    let any = rule("match = { state = \"ESTABLISHED\" }\naction = \"report\"");
    assert_eq!(
        any.predicate.tests,
        [Test::State(vec![(Protocol::TCP, 3), (Protocol::SCTP, 4)])]
    );
    let tcp = rule("match = { protocol = \"tcp\", state = \"ESTABLISHED\" }\naction = \"report\"");
    assert_eq!(
        tcp.predicate.tests[1],
        Test::State(vec![(Protocol::TCP, 3)])
    );
}

#[test]
fn sets_are_referred_to_by_index() {
    let policy = load_policy(
        "version = 1\n[sets.b]\nlocal = true\n[sets.a]\naddresses = [\"10.0.0.1\"]\n\
         [rules.r]\nmatch = { src = \"@b\", dst = [\"@a\", \"10.0.0.0/8\"] }\naction = \"report\"\n",
    );
    assert_eq!(policy.sets[0].name, "a");
    let prefix = AddressTerm::Prefix("10.0.0.0/8".parse().unwrap());
    assert_eq!(
        policy.rules[0].predicate.tests,
        [
            Test::Address(AddressField::Src, vec![AddressTerm::Set(1)]),
            Test::Address(AddressField::Dst, vec![AddressTerm::Set(0), prefix]),
        ]
    );
}

#[test]
fn apply_to_existing_true_means_every_timeout_that_is_set_and_governs() {
    let policy = load_policy(
        "version = 1\n[timeouts]\ntcp.close = 5\ntcp.max-retrans = 100\nicmp = 5\n\
         generic = { value = 5, mode = \"observe\" }\napply-to-existing = true\n",
    );
    let listed: Vec<_> = policy
        .apply_to_existing
        .iter()
        .map(|existing| (existing.name.as_str(), existing.by_key))
        .collect();
    assert_eq!(
        listed,
        [
            ("nf_conntrack_tcp_timeout_close", false),
            ("nf_conntrack_icmp_timeout", false)
        ]
    );
    let by_key = load_policy(
        "version = 1\n[timeouts]\ntcp.close = 5\napply-to-existing = [\"tcp.close\"]\n",
    );
    assert!(by_key.apply_to_existing[0].by_key);
}

#[test]
fn a_later_layer_wins_key_by_key_in_tables_and_whole_in_matches() {
    let low = Text::file(
        "low",
        "version = 1\n[table]\nmax = { per-core = \"1k\", cap = \"8k\" }\n\
         [timeouts]\ntcp.close = 5\ntcp.time-wait = { value = 20, mode = \"at-most\" }\n\
         [rules.a]\nmatch = { protocol = \"tcp\", dport = 22 }\naction = \"delete\"\n\
         budget = { count = 5 }\n",
    );
    let high = Text::file(
        "high",
        "[table]\nmax = { per-gib = \"2k\" }\n[timeouts]\ntcp.time-wait = 10\n\
         [rules.a]\nbudget = { percent = 1 }\n",
    );
    let set = Text::assignment("rules.a.match.src=10.0.0.1");
    let policy = load::load(&[low, high, set]).policy.unwrap();
    let number = |name: &str| {
        let goal = policy.goals.iter().find(|goal| goal.name == name).unwrap();
        (goal.want, goal.mode)
    };
    let scaled = Scaled {
        per_core: None,
        per_gib: Some(2000),
        min: None,
        cap: None,
    };
    assert_eq!(number("nf_conntrack_max").0, Want::Scaled(scaled));
    assert_eq!(number("nf_conntrack_tcp_timeout_close").0, Want::Number(5));
    let time_wait = number("nf_conntrack_tcp_timeout_time_wait");
    assert_eq!(time_wait, (Want::Number(10), Mode::Enforce));
    let rule = &policy.rules[0];
    assert_eq!(rule.action, Action::Delete);
    let budget = Budget {
        count: None,
        percent: Some(Percent(100)),
    };
    assert_eq!(rule.budget, Some(budget));
    // Even an assignment to a part of a match replaces the match.
    let src = AddressTerm::Prefix("10.0.0.1/32".parse().unwrap());
    assert_eq!(
        rule.predicate.tests,
        [Test::Address(AddressField::Src, vec![src])]
    );
}

#[test]
fn the_whole_snapshot_section_is_read() {
    let policy = load_policy(
        "version = 1\n[snapshot]\nevery = \"15m\"\ndetail = \"full\"\n\
         on-pressure = { above = \"90%\" }\naddresses = \"pseudonym\"\ncredential = \"key\"\n\
         compression = \"gzip\"\nkeep = { last = 96, daily = 14, max-age = \"30d\", max-bytes = \"1GiB\" }\n",
    );
    assert_eq!(
        policy.snapshot,
        SnapshotSettings {
            directory: "/var/lib/conntidy/snapshots".to_owned(),
            every: Some(Seconds(900)),
            detail: Detail::Full,
            on_pressure: Some(OnPressure {
                above: Percent(9000),
                again_after: Seconds(600),
                detail: Detail::Full,
            }),
            addresses: AddressSetting::Pseudonym(KeySource::Credential("key".to_owned())),
            compression: Compression::Gzip,
            keep: SnapshotKeep {
                last: Some(96),
                daily: Some(14),
                max_age: Some(Seconds(30 * 86_400)),
                max_bytes: Some(1 << 30),
                ..SnapshotKeep::default()
            },
        }
    );
}
