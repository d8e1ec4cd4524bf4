# shellcheck shell=bash
# Members of the group read snapshots and nothing else; root's shell and the service share what is kept
# Runs in: box

prepare() {
    local root=$1
    mkdir -p "$root/etc/conntidy"
    cat >"$root/etc/conntidy/policy.toml" <<'POLICY'
version = 1
[run]
every = "1s"
boot-grace = "0s"
[timeouts]
udp.unreplied = "25s"
[rules.unreplied]
match = { protocol = "udp", dst = "10.77.2.200", status = "unreplied", idle-for = "1s" }
action = "delete"
budget = { percent = 100 }
[snapshot]
directory = "/var/lib/conntidy/snapshots"
every = "1h"
POLICY
}

# as USER COMMAND
as() { runuser -u "$1" -- "${@:2}"; }
status() { "$@" >/dev/null 2>&1 && echo 0 || echo $?; }
snapshots() { find /var/lib/conntidy/snapshots -name '*.jsonl*'; }

scenario() {
    useradd --groups conntidy olga
    useradd stranger
    systemctl stop conntidy-reconcile.timer
    router_up
    flows unreplied 4
    sleep 3
    systemctl start conntidy-reconcile.service
    equal "the service deletes" 0 entries -p udp --orig-dst 10.77.2.200
    local snapshot
    snapshot=$(snapshots | head -n 1)
    expect "and takes the snapshot that is due" test -n "$snapshot"
    equal "that is the group's to read" 'conntidy conntidy 640' stat --format='%U %G %a' "$snapshot"
    expect "an operator reads it" as olga conntidy snapshot show "$snapshot"
    expect_not "and changes nothing" as olga rm -f "$snapshot"
    expect_not "nor reads what is kept beside it" as olga sh -c 'cat /var/lib/conntidy/netns-*/state.json'
    expect_not "a stranger reads nothing" as stranger conntidy snapshot show "$snapshot"

    expect "root undoes what the service did" conntidy undo
    equal "by conntrack they are back" 4 entries -p udp --orig-dst 10.77.2.200
    sysctl --quiet --write net.netfilter.nf_conntrack_udp_timeout=99
    equal "root applies, with the rule on hold: a refusal" 3 status conntidy apply
    equal "the value is back" 25 key nf_conntrack_udp_timeout
    equal "the flows stay" 4 entries -p udp --orig-dst 10.77.2.200
    sleep 1.1
    systemctl start conntidy-reconcile.service 2>/dev/null || :
    equal "the service goes on with what root left, and says the same" 3 property conntidy-reconcile.service ExecMainStatus
    equal "and the flows stay" 4 entries -p udp --orig-dst 10.77.2.200
    equal "all of it is the service's" '' find /var/lib/conntidy ! -user conntidy
}
