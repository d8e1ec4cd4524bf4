# shellcheck shell=bash
# Flows in a flowtable are left alone by rules that take everything else, and go on; the others are taken
# Runs in: vm

prepare() {
    local root=$1
    mkdir -p "$root/etc/conntidy"
    cat >"$root/etc/conntidy/policy.toml" <<'POLICY'
version = 1
[run]
every = "1s"
boot-grace = "0s"
[sysctl]
nf_flowtable_tcp_timeout = 600
nf_flowtable_udp_timeout = 600
[rules.tcp]
match = { protocol = "tcp", dport = 9000 }
action = "delete"
allow-assured = true
budget = { percent = 100 }
[rules.udp]
match = { protocol = "udp" }
action = "delete"
allow-assured = true
budget = { percent = 100 }
POLICY
}

offloaded() { conntrack -L "$@" 2>/dev/null | grep -c OFFLOAD || :; }
are_offloaded() { [ "$(offloaded -p tcp)" = 4 ] && [ "$(offloaded -p udp)" = 2 ]; }

scenario() {
    systemctl stop conntidy-reconcile.timer
    router_up
    hold plain established 3
    nft --file - <<'RULES'
table inet fast {
    flowtable fast {
        hook ingress priority 0
        devices = { in0, out0 }
    }
    chain forward {
        type filter hook forward priority filter
        meta l4proto { tcp, udp } flow add @fast
    }
}
RULES
    hold fast established 4
    hold dns dns 2
    ask fast >/dev/null
    ask dns >/dev/null
    eventually 20 "four streams and two dialogues are offloaded" are_offloaded
    expect "the unit runs" systemctl start conntidy-reconcile.service
    equal "the flowtable's timeouts are the policy's" 600 key nf_flowtable_tcp_timeout
    equal "offloaded streams stay" 4 offloaded -p tcp
    equal "offloaded dialogues stay" 2 offloaded -p udp
    equal "the others are gone" 4 entries -p tcp --orig-port-dst 9000
    expect "offloaded streams go on" grep '^4 alive, 0 broken' <(ask fast)
    expect "offloaded dialogues go on" grep '^2 alive, 0 broken' <(ask dns)
}
