//! `conntidy convert`: sysctl lines, conntrack lines and scripts become a policy that passes `check`.

use crate::fixture::{Cli, Ran};

/// Converts a file; the policy passes `check`, whatever it was made of.
fn convert(name: &str, content: &str) -> Ran {
    let cli = Cli::new();
    cli.write(name, content);
    let ran = cli.run(["convert", name]);
    cli.write("policy.toml", &ran.stdout);
    let checked = cli.run(["check", "policy.toml"]);
    assert_eq!(checked.code, 0, "{}\n{}", ran.stdout, checked.stderr);
    ran
}

/// The policy without its comments.
fn policy(ran: &Ran) -> String {
    let lines = ran.stdout.lines();
    let lines: Vec<_> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    lines.join("\n")
}

#[test]
fn a_sysctl_file_becomes_tunables_where_a_policy_has_them() {
    let ran = convert(
        "99-conntrack.conf",
        "# Gateway\nnet.netfilter.nf_conntrack_max = 131072\nnet/netfilter/nf_conntrack_tcp_timeout_established=7200\n\
         -net.netfilter.nf_conntrack_acct = 1\nnet.ipv4.ip_forward = 1\n\
         net.netfilter.nf_conntrack_icmp_timeout = 0\nnet.nf_conntrack_max = 262144\n",
    );
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert_eq!(
        policy(&ran),
        "version = 1\n[table]\nmax = 262144\n[timeouts]\ntcp.established = \"2h\"\n[sysctl]\nnf_conntrack_acct = true"
    );
    for told in [
        "99-conntrack.conf:2: not turned: net.netfilter.nf_conntrack_max = 131072",
        "99-conntrack.conf:7 sets it to 262144, and later ones win",
        "99-conntrack.conf:5: not turned: net.ipv4.ip_forward = 1",
        "99-conntrack.conf:6: not turned: net.netfilter.nf_conntrack_icmp_timeout = 0",
    ] {
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
    assert!(
        ran.stdout
            .contains("# 99-conntrack.conf:7: net.nf_conntrack_max = 262144\nmax = 262144"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_crontab_becomes_rules_that_run_as_often() {
    let ran = convert(
        "conntrack.cron",
        "SHELL=/bin/sh\n\
         */10 * * * * root /usr/sbin/conntrack -D -p tcp --state TIME_WAIT >/dev/null 2>&1 || true\n\
         @hourly root conntrack -D -s 172.17.0.0/16\n\
         0 3 * * * root conntrack -D --state ESTABLISHED --timeout 86400\n",
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(
        policy(&ran),
        "version = 1\n\
         [rules.delete-tcp-time-wait]\norder = 10\nevery = \"10m\"\n\
         match = { protocol = \"tcp\", state = \"TIME_WAIT\" }\naction = \"delete\"\n\
         [rules.delete-from]\norder = 20\nevery = \"1h\"\nmatch = { src = \"172.17.0.0/16\" }\n\
         action = \"delete\"\nallow-assured = true\n\
         [rules.idle-established]\norder = 30\nevery = \"1d\"\n\
         match = { state = \"ESTABLISHED\", idle-for = \"1d\" }\naction = \"expire\""
    );
    assert!(
        ran.stdout
            .contains("# conntrack.cron:2: */10 * * * * root /usr/sbin/conntrack -D -p tcp"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr.contains("3 turned, 0 not, 1 that only look"),
        "{}",
        ran.stderr
    );
}

#[test]
fn idle_deletes_get_a_grace_that_the_timeout_leaves_room_for() {
    let ran = convert(
        "gw.sh",
        "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=7200\n\
         conntrack -D -p tcp --state ESTABLISHED --timeout 3600\n",
    );
    let text = policy(&ran);
    assert!(
        text.contains("action = \"expire\"\ngrace = \"30m\"\naccept-risk = "),
        "{text}"
    );
    // Nothing is ever idle for so long: that line never did anything.
    let ran = convert(
        "gw.sh",
        "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=3600\n\
         conntrack -D -p tcp --state ESTABLISHED --timeout 3600\n",
    );
    assert_eq!(ran.code, 4);
    assert!(!policy(&ran).contains("[rules"), "{}", ran.stdout);
    assert!(ran.stderr.contains("gw.sh:2: not turned"), "{}", ran.stderr);
}

#[test]
fn the_grace_goes_by_the_timeout_of_the_rules_own_protocol_and_state() {
    for (set, line, grace) in [
        ("", "-p tcp --state CLOSE_WAIT -t 30", "15s"),
        ("", "-p tcp --state TIME_WAIT -t 30", "45s"),
        ("", "-p tcp --state SYN_SENT2 -t 60", "30s"),
        ("tcp_timeout_time_wait=60", "--state TIME_WAIT -t 30", "15s"),
        // The timeout of another state is none of its business.
        (
            "tcp_timeout_established=20",
            "-p tcp --state TIME_WAIT -t 30",
            "45s",
        ),
        (
            "sctp_timeout_established=7200",
            "-p sctp --state ESTABLISHED -t 3600",
            "30m",
        ),
        // Both protocols have the state.
        (
            "tcp_timeout_established=7200",
            "--state ESTABLISHED -t 3600",
            "30m",
        ),
        (
            "sctp_timeout_established=7200",
            "--state ESTABLISHED -t 3600",
            "30m",
        ),
    ] {
        let set = match set {
            "" => String::new(),
            set => format!("sysctl -w net.netfilter.nf_conntrack_{set}\n"),
        };
        let ran = convert("gw.sh", &format!("{set}conntrack -D {line}\n"));
        assert_eq!(ran.code, 0, "{line}: {}", ran.stderr);
        let grace = format!("action = \"expire\"\ngrace = \"{grace}\"\naccept-risk = ");
        assert!(policy(&ran).contains(&grace), "{line}: {}", ran.stdout);
    }
    // Only what TCP has is never idle for so long.
    let ran = convert(
        "gw.sh",
        "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=3600\n\
         conntrack -D --state ESTABLISHED -t 3600\n",
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!policy(&ran).contains("grace"), "{}", ran.stdout);
    for (line, why) in [
        ("--state ESTABLISHED,CLOSE_WAIT -t 30", "a timeout each"),
        ("--state SYN_SENT -t 30", "a SYN that is sent again"),
        ("--state TIME_WAIT -t 120", "they end after 2m"),
    ] {
        let ran = convert("gw.sh", &format!("conntrack -D -p tcp {line}\n"));
        assert_eq!((policy(&ran).as_str(), ran.code), ("version = 1", 4));
        assert!(ran.stderr.contains(why), "{line}: {}", ran.stderr);
    }
}

#[test]
fn what_cannot_be_turned_is_listed_with_its_reason_and_never_dropped() {
    let lines = [
        ("conntrack -F", "empties the whole table"),
        ("conntrack -D --state INVALID", "no entry is INVALID"),
        ("conntrack -D -p tcp -s $CLIENT", "known only when it runs"),
        ("conntrack -U -p tcp -m 1", "no rule does"),
        ("conntrack -D -p tcp -t 60", "is no filter"),
        (
            "conntrack -L | grep x | xargs conntrack -D",
            "goes by what another command writes",
        ),
        ("test -e /run/x && conntrack -D -p udp", "under a condition"),
        (
            "ip netns exec gw1 conntrack -D -p udp",
            "another network namespace",
        ),
        ("sysctl -p /etc/gw.conf", "loads files"),
        ("conntrack -R /etc/gw.ct", "loads a file"),
        (
            "sysctl -w net.netfilter.nf_conntrack_tcp_*=1",
            "known only when it runs",
        ),
        (
            "systemctl restart networking",
            "is no sysctl and no conntrack command",
        ),
        ("echo 'x", "a quote does not end"),
    ];
    let script = lines.map(|(line, _)| line).join("\n");
    let ran = convert("cleanup.sh", &format!("#!/bin/sh\n{script}\n"));
    assert_eq!(ran.code, 4);
    assert_eq!(policy(&ran), "version = 1");
    for (index, (line, why)) in lines.iter().enumerate() {
        let place = format!("cleanup.sh:{}: not turned: {line}", index + 2);
        let at = ran
            .stderr
            .find(&place)
            .unwrap_or_else(|| panic!("{place}\n{}", ran.stderr));
        let after: Vec<_> = ran.stderr[at..].lines().take(2).collect();
        assert!(after[1].contains(why), "{line}: {}", after[1]);
        assert!(
            ran.stdout
                .contains(&format!("# cleanup.sh:{}: {line}", index + 2))
        );
    }
    let condition = convert(
        "full.sh",
        "if [ $(conntrack -C) -gt 200000 ]; then\n  conntrack -D -p tcp --state TIME_WAIT\nfi\nconntrack -D -p udp\n",
    );
    assert!(
        condition.stderr.contains("full.sh:2: not turned"),
        "{}",
        condition.stderr
    );
    assert!(
        policy(&condition).contains("protocol = \"udp\""),
        "{}",
        condition.stdout
    );
}

#[test]
fn every_option_that_a_rule_can_say_is_said() {
    for (line, fields) in [
        (
            "-D -f ipv6 -p udp --dport 53",
            "family = \"ipv6\", protocol = \"udp\", dport = 53",
        ),
        ("-D -d 2001:db8::/32", "dst = \"2001:db8::/32\""),
        (
            "-D -r 192.0.2.1 -q 10.0.0.1",
            "reply-src = \"192.0.2.1\", reply-dst = \"10.0.0.1\"",
        ),
        ("-D -u ASSURED", "status = \"assured\""),
        ("-D --mark 0x10/0xff", "mark = \"0x10/0xff\""),
        ("-D -w 7", "zone = 7"),
        ("-F -n nat", "nat = \"any\""),
        ("-D --src-nat 203.0.113.1", "nat-src = \"203.0.113.1\""),
        ("-D --dst-nat", "nat = \"dst\""),
        (
            "-D -p icmp --icmp-type 8",
            "protocol = \"icmp\", icmp-type = 8",
        ),
        ("-F --state TIME_WAIT", "state = \"TIME_WAIT\""),
        (
            "-D -p tcp --state TIME_WAIT,CLOSE",
            "protocol = \"tcp\", state = [\"CLOSE\", \"TIME_WAIT\"]",
        ),
    ] {
        let ran = convert("one.sh", &format!("sudo -n conntrack {line}\n"));
        assert_eq!(ran.code, 0, "{line}: {}", ran.stderr);
        let wanted = format!("match = {{ {fields} }}");
        assert!(ran.stdout.contains(&wanted), "{line}: {}", ran.stdout);
    }
}

#[test]
fn the_same_line_twice_is_one_rule_that_names_both() {
    let ran = convert(
        "a.sh",
        "conntrack -F --state TIME_WAIT\nconntrack -D --state TIME_WAIT\n",
    );
    assert_eq!(policy(&ran).matches("[rules.").count(), 1);
    assert!(
        ran.stdout.contains("# a.sh:1: conntrack -F")
            && ran.stdout.contains("# a.sh:2: conntrack -D")
    );
}

#[test]
fn stdin_and_directories_are_read_too() {
    let cli = Cli::new();
    cli.write("d/20.conf", "net.netfilter.nf_conntrack_acct = 0\n");
    cli.write("d/10.conf", "net.netfilter.nf_conntrack_acct = 1\n");
    let ran = cli.run(["convert", "d"]);
    assert!(
        policy(&ran).ends_with("nf_conntrack_acct = false"),
        "{}",
        ran.stdout
    );
    let output = cli
        .command()
        .args(["convert", "-"])
        .write_stdin("echo 1 > /proc/sys/net/netfilter/nf_conntrack_timestamp\n")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(
            "# stdin:1: echo 1 > /proc/sys/net/netfilter/nf_conntrack_timestamp\nnf_conntrack_timestamp = true"
        ),
        "{text}"
    );
}

#[test]
fn what_was_put_aside_in_a_directory_is_passed_over_and_named() {
    let cli = Cli::new();
    cli.write(
        "sysctl.d/99-ct.conf",
        "net.netfilter.nf_conntrack_acct = 0\n",
    );
    cli.write(
        "sysctl.d/99-ct.conf.bak",
        "net.netfilter.nf_conntrack_acct = 1\n",
    );
    cli.write("sysctl.d/README.sysctl", "Don't put files here\n");
    cli.write(
        "sysctl.d/.99-z.conf",
        "net.netfilter.nf_conntrack_acct = 1\n",
    );
    cli.write(
        "sysctl.d/more/x.conf",
        "net.netfilter.nf_conntrack_acct = 1\n",
    );
    cli.write("cron.d/flush", "0 3 * * * root conntrack -D -p gre\n");
    cli.write(
        "cron.d/flush.disabled",
        "@daily root conntrack -D -p icmp\n",
    );
    cli.write("cron.d/flush.sh", "@daily root conntrack -D -p icmp\n");
    cli.write("cron.d/README", "Files here are read by cron\n");
    cli.write("jobs/flush.sh", "conntrack -D -p udp\n");
    cli.write("jobs/flush.sh~", "conntrack -D -p icmp\n");
    cli.write("jobs/flush.sh.dpkg-old", "conntrack -D -p icmp\n");
    cli.write("jobs/gw.cron", "@daily root conntrack -D -p sctp\n");
    cli.write("jobs/gw", "conntrack -D -p dccp\n");
    cli.write("jobs/README.md", "All the jobs of this gateway\n");
    let ran = cli.run(["convert", "sysctl.d", "cron.d", "jobs"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        policy(&ran).contains("nf_conntrack_acct = false"),
        "{}",
        ran.stdout
    );
    for protocol in ["gre", "udp", "sctp", "dccp"] {
        let matched = format!("match = {{ protocol = \"{protocol}\" }}");
        assert!(policy(&ran).contains(&matched), "{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("icmp"), "{}", ran.stdout);
    let listed = ran.stdout.split("\n# Passed over").nth(1).unwrap();
    let listed: Vec<_> = listed.lines().skip(1).collect();
    let names = [
        "sysctl.d/.99-z.conf",
        "sysctl.d/99-ct.conf.bak",
        "sysctl.d/README.sysctl",
        "sysctl.d/more",
        "cron.d/README",
        "cron.d/flush.disabled",
        "cron.d/flush.sh",
        "jobs/README.md",
        "jobs/flush.sh.dpkg-old",
        "jobs/flush.sh~",
    ];
    assert_eq!(listed, names.map(|name| format!("# {name}")));
    for name in names {
        let note = format!("note: {name} is passed over");
        assert!(ran.stderr.contains(&note), "{}", ran.stderr);
    }
    // By itself it is read.
    let ran = cli.run(["convert", "cron.d/flush.disabled"]);
    assert!(policy(&ran).contains("icmp"), "{}", ran.stdout);
}

#[test]
fn a_directory_counts_by_its_name_however_it_is_reached() {
    let cli = Cli::new();
    cli.write("sysctl.d/10.conf", "net.netfilter.nf_conntrack_acct = 1\n");
    cli.write("sysctl.d/flush.sh", "conntrack -D -p udp\n");
    std::os::unix::fs::symlink("sysctl.d", cli.root().join("link")).unwrap();
    for directory in ["sysctl.d", "sysctl.d/", "link", "sysctl.d/../sysctl.d/."] {
        let ran = cli.run(["convert", directory]);
        assert!(
            !policy(&ran).contains("[rules"),
            "{directory}: {}",
            ran.stdout
        );
        assert!(policy(&ran).contains("nf_conntrack_acct = true"));
    }
}

#[test]
fn the_name_of_a_file_writes_nothing_into_the_policy() {
    let ran = convert(
        "a\n[rules.x]\nmatch = { everything = true }\n#",
        "net.netfilter.nf_conntrack_acct = 1\nconntrack -D -p udp\nconntrack -F\n",
    );
    assert_eq!(ran.stdout.matches("\n[rules.").count(), 1, "{}", ran.stdout);
    // At the head, at a key, at a rule and among what was left; and on stderr.
    let shown = "a\\n[rules.x]\\nmatch = { everything = true }\\n#";
    for place in [
        format!("# Made by `conntidy convert` of {shown}."),
        format!("# {shown}:1: net.netfilter.nf_conntrack_acct = 1\nnf_conntrack_acct = true"),
        format!("# {shown}:2: conntrack -D -p udp\n"),
        format!("# {shown}:3: conntrack -F\n"),
    ] {
        assert!(ran.stdout.contains(&place), "{place}\n{}", ran.stdout);
    }
    let told = format!("{shown}:3: not turned: conntrack -F\n");
    assert!(ran.stderr.contains(&told), "{}", ran.stderr);
}

#[test]
fn times_that_no_interval_says_make_no_rule() {
    for times in [
        "@reboot",
        "@monthly",
        "0 3 1 * *",
        "*/5 2-4 * * *",
        "*/7 * * * *",
    ] {
        let ran = convert("cron", &format!("{times} root conntrack -D -p udp\n"));
        assert_eq!(
            (policy(&ran).as_str(), ran.code),
            ("version = 1", 4),
            "{times}"
        );
        assert!(ran.stderr.contains("no interval says"), "{}", ran.stderr);
    }
    for (times, every) in [("0 3 * * SUN", "7d"), ("*/5 * * * *", "5m")] {
        let ran = convert("cron", &format!("{times} root conntrack -D -p udp\n"));
        assert_eq!(ran.code, 0, "{times}: {}", ran.stderr);
        let every = format!("\nevery = \"{every}\"\n");
        assert!(policy(&ran).contains(&every), "{times}: {}", ran.stdout);
    }
    // Nobody says how often a script runs.
    let script = convert("a.sh", "conntrack -D -p udp\n");
    assert_eq!(script.code, 0, "{}", script.stderr);
    let unsaid = "# every = \"5m\"    it is not said how often this ran";
    assert!(script.stdout.contains(unsaid), "{}", script.stdout);
    let boot = convert(
        "cron",
        "@reboot root sysctl -w net.netfilter.nf_conntrack_acct=1\n",
    );
    assert_eq!(boot.code, 0, "{}", boot.stderr);
}

#[test]
fn host_bits_are_masked_as_the_tool_does() {
    for (line, src) in [
        ("-s 10.1.2.3/8", "10.0.0.0/8"),
        ("-s 10.1.2.3 --mask-src 255.0.0.0", "10.0.0.0/8"),
        ("-s 2001:db8:1::1/32", "2001:db8::/32"),
        ("-s 10.1.2.3/32", "10.1.2.3"),
    ] {
        let ran = convert("a.sh", &format!("conntrack -D -p udp {line}\n"));
        assert_eq!(ran.code, 0, "{line}: {}", ran.stderr);
        let src = format!("src = \"{src}\"");
        assert!(policy(&ran).contains(&src), "{line}: {}", ran.stdout);
    }
}
