# shellcheck shell=bash
# A flow that stays unreplied for the persisted time goes, a younger one stays
# Runs in: box

. lib/timer.sh

prepare() {
    local root=$1
    timer_every_second "$root"
    mkdir -p "$root/etc/conntidy"
    cat >"$root/etc/conntidy/policy.toml" <<'POLICY'
version = 1
[run]
every = "1s"
boot-grace = "0s"
[timeouts]
udp.unreplied = "10m"
[sysctl]
nf_conntrack_timestamp = true
[rules.stuck]
match = { protocol = "udp", dst = "10.77.2.200", status = "unreplied", persisted = "10s" }
action = "delete"
budget = { percent = 100 }
POLICY
}

stuck() { entries -p udp --orig-dst 10.77.2.200 --orig-port-dst "$1"; }
are() { [ "$(stuck "$1")" = "$2" ]; }

scenario() {
    eventually 10 "the policy's values" test "$(key nf_conntrack_timestamp)" = 1
    router_up
    local start=$SECONDS took
    flows unreplied 3
    sleep 7
    flows unreplied_too 2
    equal "older ones" 3 stuck 9
    eventually 20 "stuck for that time they go" are 9 0
    took=$((SECONDS - start))
    equal "younger ones stay" 2 stuck 10
    expect "and not before their time: $took s" test "$took" -ge 9
    eventually 20 "until it is theirs" are 10 0
}
