# shellcheck shell=bash
# Filling the table to the mark activates the pressure rule; its end, and not a moment earlier, deactivates it
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
[rules.pressure]
when = { fill-above = "2%", until-below = "1%" }
match = { protocol = "tcp", state = "SYN_SENT", status = "unreplied" }
action = "expire"
grace = "10s"
budget = { percent = 100 }
POLICY
}

# The longest time that a half-open flow has left, by conntrack.
left() { conntrack -L -p tcp --state SYN_SENT 2>/dev/null | awk '$3 > most { most = $3 } END { print most + 0 }'; }
is_shortened() { [ "$(left)" -le 10 ]; }
scenario() {
    local max
    router_up
    max=$(key nf_conntrack_max)
    figure "the table: $(entries) of $max"
    flows syn_sent 5
    after_rounds conntidy-reconcile.service 3
    expect "below the mark half-open flows keep their time" test "$(left)" -gt 60

    flows flood $((max * 14 / 1000))
    flows flood_too $((max * 11 / 1000))
    expect "past the mark" test "$(entries)" -gt $((max * 2 / 100))
    eventually 20 "the rule is active: half-open flows are shortened" is_shortened

    # Between the marks.
    conntrack -D --orig-dst 10.77.2.201 >/dev/null 2>&1
    expect "below the first mark, above the second" test "$(entries)" -gt $((max / 100)) -a "$(entries)" -lt $((max * 2 / 100))
    flows syn_sent 5
    eventually 20 "it is still active" is_shortened

    conntrack -D --orig-dst 10.77.2.200 >/dev/null 2>&1
    expect "below the second" test "$(entries)" -lt $((max / 100))
    after_rounds conntidy-reconcile.service 2
    flows syn_sent 5
    after_rounds conntidy-reconcile.service 3
    expect "it is not: new half-open flows keep their time" test "$(left)" -gt 60
}
