# shellcheck shell=bash
# What a run did is in the journal as records with documented fields, and journalctl -x explains them
# Runs in: box

prepare() {
    local root=$1
    mkdir -p "$root/etc/conntidy"
    cat >"$root/etc/conntidy/policy.toml" <<'POLICY'
version = 1
[run]
every = "1s"
boot-grace = "0s"
[timeouts]
udp.unreplied = "25s"
[rules.closed]
match = { protocol = "tcp", state = "TIME_WAIT" }
action = "delete"
budget = { percent = 100 }
POLICY
}

# field NAME MATCH...: of the last record that matches
field() {
    local name=$1
    shift
    journalctl --no-pager --output=json --lines=1 "$@" | jq --raw-output ".$name"
}

scenario() {
    systemctl stop conntidy-reconcile.timer
    equal "a key that was changed at boot: its old value" 30 field CONNTIDY_BEFORE CONNTIDY_KEY=nf_conntrack_udp_timeout
    equal "its new one" 25 field CONNTIDY_AFTER CONNTIDY_KEY=nf_conntrack_udp_timeout
    equal "which unit did it" conntidy.service field _SYSTEMD_UNIT CONNTIDY_KEY=nf_conntrack_udp_timeout
    sysctl --quiet --write net.netfilter.nf_conntrack_udp_timeout=99
    router_up
    flows time_wait 5
    systemctl start conntidy-reconcile.service
    equal "a key that drifted: what was found" 99 field CONNTIDY_BEFORE MESSAGE_ID=565b5b610c0c4289b4f58f305e645237
    equal "and who noticed" conntidy-reconcile.service field _SYSTEMD_UNIT MESSAGE_ID=565b5b610c0c4289b4f58f305e645237
    expect "what the rule did" test "$(field CONNTIDY_DONE CONNTIDY_RULE=closed)" -ge 5
    expect "and the run" test "$(field CONNTIDY_DELETED MESSAGE_ID=b79a22ab0e1b4d98bf2bbb0a89cf0511)" -ge 5
    equal "in the same run" "$(field CONNTIDY_RUN CONNTIDY_RULE=closed)" \
        field CONNTIDY_RUN MESSAGE_ID=b79a22ab0e1b4d98bf2bbb0a89cf0511
    expect "journalctl -x explains it" sh -c \
        'journalctl --no-pager -x MESSAGE_ID=565b5b610c0c4289b4f58f305e645237 | grep "Subject:"'
    expect "in lines of text on stderr elsewhere" sh -c 'conntidy apply 2>&1 | grep -i "in sync\|applied"'
}
