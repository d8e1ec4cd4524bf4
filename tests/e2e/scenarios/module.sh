# shellcheck shell=bash
# nf_conntrack absent at boot is no failure; the policy comes when the module does, and again after it was unloaded
# Runs in: vm

prepare() {
    local root=$1
    mkdir -p "$root/etc/conntidy"
    cat >"$root/etc/conntidy/policy.toml" <<'POLICY'
version = 1
[table]
max = 77777
buckets = 32768
[timeouts]
tcp.established = "1d"
[sysctl]
nf_conntrack_acct = true
POLICY
}

values() { sysctl -n net.netfilter.nf_conntrack_{max,buckets,tcp_timeout_established,acct} | xargs; }
are() { [ "$(values)" = "$1" ]; }
loaded() { lsmod | grep -q '^nf_conntrack '; }

scenario() {
    local policy='77777 32768 86400 1'
    equal "the unit ends well without the module" success property conntidy.service Result
    equal "with status 0" 0 property conntidy.service ExecMainStatus
    expect_not "and did not load it" loaded
    expect "the journal says that it waits" said conntidy.service '4 keys pending'

    modprobe nf_conntrack
    eventually 30 "loaded late: the policy's values come by themselves" are "$policy"
    eventually 30 "and the unit ends well" test "$(property conntidy-module.service Result)" = success

    eventually 30 "unloaded" modprobe -r nf_conntrack_netlink nf_conntrack
    expect_not "and gone" loaded
    modprobe nf_conntrack
    figure "the kernel's own values after loading again: $(values)"
    eventually 30 "loaded again: the values come back" are "$policy"
    equal "no unit failed" 0 sh -c 'systemctl --failed --no-legend | wc -l'
}
