# shellcheck shell=bash
# The timer deletes closed and stale translated flows; live, half-closed and protected ones stay, and traffic shows it
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
[rules.closed]
match = { protocol = "tcp", state = "TIME_WAIT", idle-for = "2s" }
action = "delete"
budget = { percent = 100 }
[rules.half-closed]
match = { protocol = "tcp", state = ["FIN_WAIT", "CLOSE_WAIT", "LAST_ACK"], idle-for = "5s" }
action = "delete"
allow-assured = true
budget = { percent = 100 }
[sets.backends]
addresses = ["10.77.2.3"]
[rules.stale-dns]
match = { protocol = "udp", dst = "10.77.1.1", dport = 53, not = { reply-src = "@backends" } }
action = "delete"
allow-assured = true
order = 40
budget = { percent = 100 }
[protect.first]
match = { protocol = "tcp", reply-src = "10.77.2.2", dport = 8080 }
POLICY
}

gone() { [ "$(entries "$@")" = 0 ]; }

scenario() {
    systemctl stop conntidy-reconcile.timer
    router_up
    hold live established 5
    hold live6 established6 2
    hold half half_closed 2
    hold dns dns 3
    flows time_wait 6
    flows protected 4
    expect "closed flows are there" test "$(entries -p tcp --state TIME_WAIT --orig-port-dst 9000)" -ge 6
    equal "closed ones that are protected too" 4 entries -p tcp --state TIME_WAIT --orig-port-dst 8080
    equal "translated to the old backend" 3 entries -p udp --reply-src 10.77.2.2
    router_moves_dns
    expect "which still answers" grep '^3 alive, 0 broken' <(ask dns)

    systemctl start conntidy-reconcile.timer
    eventually 20 "the timer deletes what is closed" gone -p tcp --state TIME_WAIT --orig-port-dst 9000
    eventually 20 "and what goes to the old backend" gone -p udp --reply-src 10.77.2.2
    expect "the new backend answers now, from the same sockets" grep '^0 alive, 3 broken' <(ask dns)
    equal "through new entries" 3 entries -p udp --reply-src 10.77.2.3
    after_rounds conntidy-reconcile.service 6
    equal "protected ones stay" 4 entries -p tcp --state TIME_WAIT --orig-port-dst 8080
    expect "live ones live" grep '^5 alive, 0 broken' <(ask live)
    expect "over IPv6 too" grep '^2 alive, 0 broken' <(ask live6)
    expect "half-closed downloads go on" grep '^2 alive, 0 broken' <(ask half)
    equal "and are tracked" 2 entries -p tcp --state CLOSE_WAIT
    eventually 10 "the unit is well" ended conntidy-reconcile.service 0
}
