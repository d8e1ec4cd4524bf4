# shellcheck shell=bash
# The table's size at boot, a full table healed, and a hash that is resized only when asked to
# Runs in: vm

prepare() {
    local root=$1
    mkdir -p "$root/etc/conntidy" "$root/etc/modules-load.d"
    echo nf_conntrack >"$root/etc/modules-load.d/conntrack.conf"
    cat >"$root/etc/conntidy/policy.toml" <<'POLICY'
version = 1
[run]
every = "1s"
boot-grace = "0s"
[table]
max = 65536
buckets = 16384
POLICY
}

connects() { in_client timeout 10 python3 "$FLOWS" close 1; }

scenario() {
    systemctl stop conntidy-reconcile.timer
    equal "at boot the table has its size" 65536 key nf_conntrack_max
    equal "and the hash is resized" 16384 key nf_conntrack_buckets

    router_up
    # Established: a full table would sometimes drop one that is not assured, and let the new one pass.
    hold full established 50
    sysctl --quiet --write net.netfilter.nf_conntrack_max=50
    expect_not "a full table lets nothing new pass" connects
    expect "as the kernel says" sh -c 'dmesg | grep "table full, dropping packet"'
    expect "the unit runs" systemctl start conntidy-reconcile.service
    equal "the table has its size again" 65536 key nf_conntrack_max
    expect "and connections pass" connects

    sed -i 's/16384/32768/' /etc/conntidy/policy.toml
    expect "the hash is to be larger" systemctl start conntidy-reconcile.service
    equal "a resize would stop packets: the timer leaves it" 16384 key nf_conntrack_buckets
    expect "and says so" sh -c 'conntidy plan | grep "nf_conntrack_buckets.*16384.*32768"'
    expect "when it is asked to" conntidy apply --resize now
    equal "it is resized" 32768 key nf_conntrack_buckets
}
