# shellcheck shell=bash
# Two network namespaces, each with a policy, a timer and flows of its own, beside the host's
# Runs in: box

. lib/timer.sh

prepare() {
    local root=$1
    timer_every_second "$root"
    mkdir -p "$root/etc/conntidy/netns"
    cat >"$root/etc/conntidy/policy.toml" <<'POLICY'
version = 1
[timeouts]
tcp.established = "3d"
POLICY
    cat >"$root/etc/conntidy/netns/blue.toml" <<'POLICY'
version = 1
[run]
every = "1s"
boot-grace = "0s"
[timeouts]
tcp.established = "1d"
[rules.closed]
match = { protocol = "tcp", state = "TIME_WAIT" }
action = "delete"
budget = { percent = 100 }
POLICY
    cat >"$root/etc/conntidy/netns/green.toml" <<'POLICY'
version = 1
[run]
every = "1s"
boot-grace = "0s"
[timeouts]
tcp.established = "2d"
[rules.closed]
match = { protocol = "tcp", state = "TIME_WAIT" }
action = "report"
POLICY
}

established() { ip netns exec "$1" sysctl -n net.netfilter.nf_conntrack_tcp_timeout_established; }
is() { [ "$(established "$1")" = "$2" ]; }
gone() { [ "$(entries "$@")" = 0 ]; }

scenario() {
    expect "a timer may be ahead of its namespace" systemctl start conntidy@blue.timer conntidy@green.timer
    sleep 2
    equal "and is passed over" no property conntidy@blue.service ConditionResult
    router_up green
    flows time_wait 4
    hold live established 2
    router_up blue
    flows time_wait 3
    eventually 20 "blue has its value" is blue 86400
    eventually 20 "green has another" is green 172800
    equal "the host a third" 259200 key nf_conntrack_tcp_timeout_established
    eventually 20 "blue's closed flows are deleted" gone -p tcp --state TIME_WAIT
    # shellcheck disable=SC2034  # of traffic.sh
    ROUTER=green
    expect "green's are only counted" test "$(entries -p tcp --state TIME_WAIT)" -ge 4
    expect "and its live ones live" grep '^2 alive, 0 broken' <(ask live)
    ip netns exec green sysctl --quiet --write net.netfilter.nf_conntrack_tcp_timeout_established=5
    eventually 20 "a drifted key is put back there" is green 172800
    eventually 10 "blue's unit is well" ended conntidy@blue.service 0
    eventually 10 "green's too" ended conntidy@green.service 0
}
