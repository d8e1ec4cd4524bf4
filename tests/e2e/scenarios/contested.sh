# shellcheck shell=bash
# A key that another program sets again and again becomes contested: no more writes, a failed unit, until it is taken
# Runs in: box

. lib/timer.sh

prepare() {
    local root=$1
    timer_every_second "$root"
    mkdir -p "$root/etc/conntidy"
    cat >"$root/etc/conntidy/policy.toml" <<'POLICY'
version = 1
[timeouts]
tcp.established = "1d"
udp.unreplied = "25s"
POLICY
}

is() { [ "$(key "$1")" = "$2" ]; }

scenario() {
    eventually 10 "the policy's value" is nf_conntrack_udp_timeout 25
    # As kube-proxy does: whenever it differs from what it wants.
    while sleep 0.1; do is nf_conntrack_udp_timeout 99 || sysctl --quiet --write net.netfilter.nf_conntrack_udp_timeout=99; done &
    local other=$!
    eventually 30 "fought over, the key is contested: exit 5" ended conntidy-reconcile.service 5
    expect "the journal names it" sh -c 'journalctl --unit conntidy-reconcile.service --output cat | grep -i "nf_conntrack_udp_timeout.*contested"'
    kill "$other"
    after_rounds conntidy-reconcile.service 3
    equal "and writes no more" 99 key nf_conntrack_udp_timeout
    sysctl --quiet --write net.netfilter.nf_conntrack_tcp_timeout_established=4000
    eventually 10 "other keys are kept meanwhile" is nf_conntrack_tcp_timeout_established 86400
    # Between two runs of the timer.
    eventually 20 "root takes it, sharing the service's state" conntidy apply --take nf_conntrack_udp_timeout
    equal "at once" 25 key nf_conntrack_udp_timeout
    eventually 10 "the unit is well again" ended conntidy-reconcile.service 0
}
