# shellcheck shell=bash
# At boot the policy is applied after systemd-sysctl, before the network, without an ordering cycle
# Runs in: box vm

prepare() {
    local root=$1
    mkdir -p "$root/etc/conntidy" "$root/etc/sysctl.d" "$root/etc/systemd/system/sysinit.target.wants" \
        "$root/etc/systemd/system/multi-user.target.wants" "$root/etc/systemd/network" "$root/etc/modules-load.d"
    cat >"$root/etc/conntidy/policy.toml" <<'POLICY'
version = 1
[timeouts]
tcp.established = "1d"
tcp.time-wait = "30s"
POLICY
    echo nf_conntrack >"$root/etc/modules-load.d/conntrack.conf"
    # What the policy has to win over.
    echo net.netfilter.nf_conntrack_tcp_timeout_established=77777 >"$root/etc/sysctl.d/90-other.conf"
    # A network to be before.
    printf '[NetDev]\nName=lan0\nKind=veth\n[Peer]\nName=lan1\n' >"$root/etc/systemd/network/lan0.netdev"
    printf '[Match]\nName=lan0\n[Network]\nAddress=192.0.2.1/24\nLinkLocalAddressing=no\n' >"$root/etc/systemd/network/lan0.network"
    ln -sf /lib/systemd/system/systemd-networkd.service "$root/etc/systemd/system/multi-user.target.wants/"
    # Ordered as cloud-init is. It would make a cycle with a unit that has the default dependencies.
    cat >"$root/etc/systemd/system/witness.service" <<'UNIT'
[Unit]
DefaultDependencies=no
After=network-pre.target
Before=systemd-networkd.service network.target sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo the witness sees $$(cat /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established)'
UNIT
    ln -sf ../witness.service "$root/etc/systemd/system/sysinit.target.wants/"
}

# before WHAT UNIT TIMESTAMP UNIT TIMESTAMP: the first comes first, and both came
before() {
    local what=$1 first second
    first=$(when "$2" "$3") second=$(when "$4" "$5")
    if [ "$first" -gt 0 ] && [ "$first" -le "$second" ]; then
        ok "$what: $(((second - first) / 1000)) ms"
    else
        failed "$what: $2 $3 $first, $4 $5 $second"
    fi
}

scenario() {
    equal "the unit ends well" success property conntidy.service Result
    equal "with status 0" 0 property conntidy.service ExecMainStatus
    equal "the policy's value" 86400 key nf_conntrack_tcp_timeout_established
    equal "another one" 30 key nf_conntrack_tcp_timeout_time_wait
    expect "before anything of the network" said witness.service '^the witness sees 86400$'
    before "systemd-sysctl before conntidy" systemd-sysctl.service ActiveEnterTimestamp conntidy.service ExecMainStartTimestamp
    systemd-detect-virt --quiet --container || before "modules before conntidy" systemd-modules-load.service ActiveEnterTimestamp conntidy.service ExecMainStartTimestamp
    before "conntidy before network-pre.target" conntidy.service ExecMainExitTimestamp network-pre.target ActiveEnterTimestamp
    before "conntidy before systemd-networkd" conntidy.service ExecMainExitTimestamp systemd-networkd.service ExecMainStartTimestamp
    eventually 20 "the network came up" ip -4 addr show dev lan0 up
    expect_not "no ordering cycle" sh -c 'journalctl --no-pager | grep "ordering cycle"'

    local start applied
    start=$(systemctl show --property=UserspaceTimestampMonotonic --value)
    applied=$(when conntidy.service ExecMainExitTimestamp)
    figure "from systemd's start to the policy applied: $(((applied - start) / 1000)) ms, conntidy's own part $(((applied - $(when conntidy.service ExecMainStartTimestamp)) / 1000)) ms"
    local unit
    for unit in conntidy.service conntidy-module.service conntidy-reconcile.service conntidy@blue.service; do
        figure "systemd-analyze security $unit: $(systemd-analyze security --no-pager "$unit" | sed -n 's/.*Overall exposure level.*: //p')"
    done
}
