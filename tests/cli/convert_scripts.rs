//! `conntidy convert` of shell scripts: what does not run for certain becomes no rule, and what acts is never dropped.

use crate::fixture::{Cli, Ran};

fn convert(script: &str) -> Ran {
    let cli = Cli::new();
    cli.write("a.sh", script);
    let ran = cli.run(["convert", "a.sh"]);
    cli.write("policy.toml", &ran.stdout);
    let checked = cli.run(["check", "policy.toml"]);
    assert_eq!(checked.code, 0, "{}\n{}", ran.stdout, checked.stderr);
    ran
}

/// The rules and keys of the policy.
fn turned(ran: &Ran) -> usize {
    let is_one = |line: &&str| {
        let is_rule = line.starts_with("[rules.");
        is_rule
            || (line.contains(" = ") && line.starts_with("nf_conntrack"))
            || line.starts_with("max =")
    };
    let lines = ran.stdout.lines();
    lines.filter(is_one).count()
}

#[test]
fn what_may_not_run_becomes_no_rule() {
    for script in [
        "[ -f /x ] && echo flushing && conntrack -D -p udp",
        "[ -f /x ] && sysctl -w net.netfilter.nf_conntrack_acct=1 && conntrack -D -p udp",
        "grep -q wan /run/state && conntrack -D -p udp",
        "sysctl -w net.netfilter.nf_foreign=1 || conntrack -D -p udp",
        "conntrack -D -p tcp --dport 1 -s $x && conntrack -D -p udp",
        "[ -f /x ] &&\n  conntrack -D -p udp",
        "[ -f /x ] || # why not\n  conntrack -D -p udp",
        "[ -f /x ] && { echo; conntrack -D -p udp; }",
        "[ -f /x ] && (echo; conntrack -D -p udp)",
        "[ -f /x ] && ( echo ; conntrack -D -p udp )",
        "if conntrack -D -p udp; then :; fi",
        "while conntrack -D -p udp; do sleep 1; done",
        "if ! conntrack -D -p udp; then :; fi",
        "for p in udp tcp; do conntrack -D -p udp; done",
        "clean() { conntrack -D -p udp; }",
        "clean () {\n  conntrack -D -p udp\n}",
        "clean()\n{\n  conntrack -D -p udp\n}",
        "function clean {\n  conntrack -D -p udp\n}",
        "if [ -f /x ]; then\n  clean () {\n    :\n  }\n  conntrack -D -p udp\nfi",
        "case \"$1\" in stop) conntrack -D -p udp;; esac",
        "case $1 in\nstart|up)\n  : ;;\nstop)\n  conntrack -D -p udp ;;\nesac",
        "( case $1 in a) : ;; esac; conntrack -D -p udp )",
        "[ \"$(cat /proc/sys/net/netfilter/nf_conntrack_count)\" -gt 2 ] || exit 0\nconntrack -D -p udp",
        "exit 0\nconntrack -D -p udp",
        "die() { echo \"$1\"; exit 1; }\n[ -f /x ] || die no\nconntrack -D -p udp",
        "cat <<EOF\nusage: \nconntrack -D -p udp\nEOF",
        ": <<'END'\nconntrack -D -p udp\nEND",
        "cat <<-\"A\"\n\tconntrack -D -p udp\n\tA",
        "echo '\nconntrack -D -p udp\n'",
        "echo 'it\nconntrack -D -p udp\n",
        "logger \"$(conntrack -D -p udp 2>&1)\"",
        "OUT=\"`conntrack -D -p udp`\"",
        "echo $(conntrack -D -p udp)",
        "sudo ip netns exec blue conntrack -D -p udp --dport 53",
        "timeout 5 ip netns exec blue sysctl -w net.netfilter.nf_conntrack_acct=1",
        "sudo ssh gw2 conntrack -D -p udp",
        "LANG=C docker exec gw conntrack -D -p udp",
        "*/10 * * * * ssh conntrack -D -p udp",
        "*/10 * * * * [ -f /x ] || exit 0; conntrack -D -p udp",
        "echo 1 | sysctl -p -",
        "echo conntrack -D -p udp | sh",
        "sort ips | parallel conntrack -D -s {}",
        "echo net.netfilter.nf_conntrack_max=65536 >> /etc/sysctl.conf",
        "cd /proc/sys/net/netfilter && echo 65536 > nf_conntrack_max",
        "echo 131072 > /sys/module/nf_conntrack/parameters/hashsize",
        "cat /tmp/max > /proc/sys/net/netfilter/nf_conntrack_max",
        "sysctl -qp /etc/gw.conf",
    ] {
        let ran = convert(script);
        assert_eq!(turned(&ran), 0, "{script}\n{}", ran.stdout);
        assert_eq!(ran.code, 4, "{script}\n{}", ran.stderr);
    }
}

#[test]
fn what_runs_for_certain_is_turned() {
    for (script, number) in [
        ("[ -f /x ] && echo yes; conntrack -D -p udp", 1),
        (
            "sysctl -w net.netfilter.nf_conntrack_acct=1 && conntrack -D -p udp",
            2,
        ),
        ("true && conntrack -D -p udp || true", 1),
        ("echo start && conntrack -D -p udp", 1),
        ("conntrack -D -p udp || exit 1\nconntrack -D -p icmp", 2),
        (
            "command -v conntrack >/dev/null || exit 0\nconntrack -D -p udp",
            1,
        ),
        (
            "[ -x /usr/sbin/conntrack ] || exit 0\nconntrack -D -p udp",
            1,
        ),
        ("[ \"$(id -u)\" = 0 ] || exit 1\nconntrack -D -p udp", 1),
        ("if [ -f /x ]; then\n  :\nfi\nconntrack -D -p udp", 1),
        ("f() {\n  return 1\n}\nconntrack -D -p udp", 1),
        ("f()\n{\n  echo\n}\nconntrack -D -p udp", 1),
        ("case $1 in\na) echo ;;\nesac\nconntrack -D -p udp", 1),
        ("( echo )\nconntrack -D -p udp", 1),
        ("cat <<EOF\nusage: conntrack\nEOF\nconntrack -D -p udp", 1),
        ("echo 'two\nlines'\nconntrack -D -p udp", 1),
        ("# old one \\\nconntrack -D -p udp", 1),
        ("conntrack -D -p udp # now \\\nconntrack -D -p icmp", 2),
        (
            "sudo -n -u root nice -n 10 timeout -k 5 30s conntrack -D -p udp",
            1,
        ),
        (
            "*/10 * * * * [ -f /x ] || exit 0\n*/10 * * * * root conntrack -D -p udp",
            1,
        ),
        (
            "Don't:\n```bash\nexit\n```\n1. Do\n```bash\nconntrack -D -p udp\n```",
            1,
        ),
        (
            "echo 1 | sudo tee /proc/sys/net/netfilter/nf_conntrack_acct > /dev/null",
            1,
        ),
    ] {
        let ran = convert(script);
        assert_eq!(turned(&ran), number, "{script}\n{}", ran.stdout);
    }
}

#[test]
fn what_only_looks_is_no_failure() {
    for script in [
        "N=$(conntrack -C)\necho \"$N\" >> /var/log/fill.log",
        "for i in 1 2 3; do conntrack -S; done",
        "echo flushed conntrack >> /var/log/gw.log",
        "awk '\n{ print }\n' /tmp/x",
    ] {
        let ran = convert(script);
        assert_eq!((turned(&ran), ran.code), (0, 0), "{script}\n{}", ran.stderr);
    }
}
