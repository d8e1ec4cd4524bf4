# shellcheck shell=bash
# A key that somebody else changed is put back by the timer and reported; systemd-sysctl's restart is healed
# Runs in: box

. lib/timer.sh

prepare() {
    local root=$1
    timer_every_second "$root"
    mkdir -p "$root/etc/conntidy" "$root/etc/sysctl.d"
    cat >"$root/etc/conntidy/policy.toml" <<'POLICY'
version = 1
[timeouts]
tcp.established = "1d"
udp.unreplied = "25s"
POLICY
    echo net.netfilter.nf_conntrack_tcp_timeout_established=77777 >"$root/etc/sysctl.d/90-other.conf"
}

is() { [ "$(key "$1")" = "$2" ]; }

scenario() {
    eventually 10 "the policy's value" is nf_conntrack_udp_timeout 25
    sysctl --quiet --write net.netfilter.nf_conntrack_udp_timeout=99
    eventually 10 "a drifted key is put back" is nf_conntrack_udp_timeout 25
    expect "and reported with both values" said conntidy-reconcile.service 'nf_conntrack_udp_timeout.*99.*25|nf_conntrack_udp_timeout.*25.*99'

    equal "the boot won over sysctl.d" 86400 key nf_conntrack_tcp_timeout_established
    systemctl restart systemd-sysctl.service
    eventually 10 "a restarted systemd-sysctl is healed" is nf_conntrack_tcp_timeout_established 86400
}
